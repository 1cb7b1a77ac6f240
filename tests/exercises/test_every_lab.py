"""Each exercise of each lab, on a real broker where it has one: untouched it is not attempted, solved it is correct."""

from typing import Any

import pytest
from answers import answer, solution, starter

from mqlab import paths
from mqlab.exercises import source

NOTEBOOKS = {path.name[:2]: path for path in sorted(paths.SOLUTIONS.glob("*.ipynb"))}
each_exercise = pytest.mark.parametrize(("lab", "n"), [(lab, n) for lab in NOTEBOOKS for n in source.tasks(lab)])


@pytest.fixture
def broker_of(lab: str, request: pytest.FixtureRequest) -> Any:
    """The broker that the lab's checks run on, None where they need none."""
    needed = "broker.start(" in NOTEBOOKS[lab].read_text(encoding="utf-8")
    return request.getfixturevalue("rabbit") if needed else None


@each_exercise
def test_untouched_is_not_attempted(lab: str, n: int, broker_of: Any) -> None:
    assert answer(lab, n, starter(lab, n), broker_of).status == "not attempted"


@each_exercise
def test_the_solution_is_correct_each_time(lab: str, n: int, broker_of: Any) -> None:
    outcomes = [answer(lab, n, solution(lab, n), broker_of) for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == ["correct", "correct"], outcomes
    assert outcomes[0] == outcomes[1]
