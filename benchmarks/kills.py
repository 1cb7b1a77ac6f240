"""Workers and servers killed under lab 12's solutions, 50 runs in a row: what became of the requests.

Each request must be answered exactly once or be reported as failed, and nobody may get two certificates.

    python3 course.py bench kills
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "exercises"))

from kills import in_a_row, killed_server, killed_workers

RUNS = 50


def main() -> None:
    """Make all runs, print a line for each kind; the exit code is 1 when anything was wrong."""
    wrong = []
    for run, what in ((killed_workers, "workers of the balancer"), (killed_server, "the server of the client")):
        began = time.monotonic()
        total = in_a_row(run, RUNS)
        print(f"{RUNS} runs, killing {what}: {total} ({time.monotonic() - began:.0f} s)", flush=True)
        wrong += total.wrong
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
