"""Lab 12's solutions while workers and servers are killed: each request is answered once, or reported as failed.

A few runs here; `python3 course.py bench kills` makes 50 in a row.
"""

import threading
from collections.abc import Callable

import psutil
import pytest
from kills import Tally, in_a_row, killed_server, killed_workers

RUNS = 2


@pytest.mark.parametrize("run", [killed_workers, killed_server])
def test_each_request_is_answered_once_or_reported_as_failed(run: Callable[[int], Tally]) -> None:
    threads, children = threading.enumerate(), psutil.Process().children()
    total = in_a_row(run, RUNS)
    assert total.wrong == []
    assert total.answered + total.failed == total.asked
    assert total.kills >= RUNS and total.answered > total.failed
    assert [child for child in psutil.Process().children() if child not in children] == []
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
