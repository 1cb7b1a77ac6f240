"""Record what RabbitMQ 4.3 answers: `MQLAB_BROKER=docker python tests/conformance/record.py [NAME...]`."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import scenarios  # noqa: F401 - collects them
from alone import Container, on, run_alone
from world import ANSWERS, SCENARIOS, run_all

from mqlab import broker


def main(names: list[str]) -> None:
    node = broker.start_shared(kept=False)
    node_version = node.asked_version()
    if not node_version.startswith("4.3") or node.kind == "embedded":
        sys.exit(f"This is {node.place}, not RabbitMQ 4.3: set MQLAB_BROKER.")
    answers = json.loads(ANSWERS.read_text(encoding="utf-8")) if ANSWERS.exists() else {}
    names = names or list(SCENARIOS)
    alone = [name for name in names if SCENARIOS[name].alone]
    heard = run_all([name for name in names if name not in alone], node)
    if alone:
        with tempfile.TemporaryDirectory() as folder, on(Container, Path(folder)) as place:
            heard |= run_alone(alone, place)
    for name, answer in heard.items():
        if isinstance(answer, BaseException):
            raise answer
        answers[name] = answer
    lines = [
        f"{json.dumps(name)}: [\n" + ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in answers[name])
        for name in sorted(SCENARIOS)
        if name in answers
    ]
    ANSWERS.write_text("{\n" + "\n],\n".join(lines) + "\n]\n}\n", encoding="utf-8")
    print(f"{len(lines)} scenarios of RabbitMQ {node_version}")


if __name__ == "__main__":
    main(sys.argv[1:])
