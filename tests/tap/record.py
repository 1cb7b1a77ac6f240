"""Record the traces of the programs on the broker that MQLAB_BROKER names: `python tests/tap/record.py [NAME ...]`."""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from programs import PROGRAMS, STORED, play  # noqa: E402

from mqlab import broker  # noqa: E402


def main(names: list[str]) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for program in PROGRAMS:
        if names and not any(name in program.__name__ for name in names):
            continue
        tap = broker.start().watch()
        stored[program.__name__] = play(program, tap)
        print(program.__name__, len(stored[program.__name__]), tap.problems)
        tap.close()
    STORED.write_text(json.dumps(stored, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
