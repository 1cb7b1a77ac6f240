"""Broken input for the embedded broker, 200,000 times: what it answers, and whether its memory comes back.

python3 course.py bench fuzz
"""

import collections
import logging
import random
import sys
import time
import warnings
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "embedded"))

from fuzz import Attacked, broken

INPUTS = 200_000
ROUND = 1_000


class Mistakes(logging.Handler):
    """Counts what the broker itself calls its mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def main() -> None:
    """Send all inputs, print a table; the exit code is 1 when the broker made a mistake or forgot the witness."""
    warnings.simplefilter("ignore", DeprecationWarning)  # pamqp's, for methods that AMQP has given up
    mistakes = Mistakes()
    logging.getLogger("mqlab").addHandler(mistakes)
    logging.getLogger("mqlab").propagate = False
    chance, attacked, process = random.Random(2026), Attacked(), psutil.Process()
    codes: collections.Counter[int | None] = collections.Counter()
    unserved, sizes = 0, []
    began = time.perf_counter()
    for n in range(1, INPUTS + 1):
        codes[attacked.take(broken(chance, attacked.whole), chance)] += 1
        if n % ROUND == 0:
            unserved += not attacked.witness_is_served()
            attacked.tidy()
            sizes.append(process.memory_info().rss / 2**20)
    took = time.perf_counter() - began
    print(f"{INPUTS:,} inputs in {took:.0f} s; {mistakes.count} mistakes of the broker")
    for code, count in codes.most_common():
        name = f"closed with {code}" if code else "not closed by the broker, or without a word"
        print(f"{count:>9,}  {name}")
    print(f"witness not served: {unserved} of {INPUTS // ROUND} times")
    print(
        f"memory after 10 %, 50 %, 100 %: {', '.join(f'{sizes[len(sizes) * k // 10 - 1]:.0f} MiB' for k in (1, 5, 10))}"
    )
    print(f"bytes of messages still counted: {attacked.broker.memory}")
    sys.exit(bool(mistakes.count or unserved or attacked.broker.memory))


if __name__ == "__main__":
    main()
