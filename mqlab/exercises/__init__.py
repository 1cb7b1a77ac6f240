"""Exercises in a notebook: check(), hint() and solution(). The checks of lab NN are in labNN.py."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mqlab.exercises import progress, source
from mqlab.exercises.guard import Overtime, judge, limit
from mqlab.exercises.outcome import MARKS, Note, NotYet, Outcome

__all__ = ["Exercise", "Lab", "NotYet", "Note", "Outcome", "Overtime", "lab", "limit", "returned"]


@dataclass(frozen=True)
class Exercise:
    """One exercise: `check(broker, *answers)` returns a sentence of praise, or raises NotYet with a question."""

    number: int
    title: str
    check: Callable[..., str]
    hints: tuple[str, str, str]
    seconds: float = 5.0  # how long the check may take, at most 9


class Lab:
    """The exercises of one lab, for a learner's notebook."""

    def __init__(self, number: str, exercises: list[Exercise], broker: Any = None) -> None:
        self.number = number
        self.exercises = {exercise.number: exercise for exercise in exercises}
        self.broker = broker

    @cached_property
    def _tasks(self) -> dict[int, source.Task]:
        return source.tasks(self.number)

    def __repr__(self) -> str:
        done = progress.solved(self.number)
        lines = [
            f"  {MARKS['correct' if n in done else 'not attempted']} {n} {exercise.title}"
            for n, exercise in self.exercises.items()
        ]
        return "\n".join([f"Lab {self.number}: {len(done)} of {len(self.exercises)} exercises solved", *lines])

    def check(self, n: int, *answers: Any) -> Outcome:
        """Judge the answers to exercise n; a solved one is noted in the learner's progress."""
        exercise = self.exercises.get(n)
        if exercise is None:
            return Outcome(n, "not attempted", self._no_such(n))
        task = self._tasks.get(n)
        if task and len(answers) > 0 and not source.attempted(task, answers):
            advice = "Change the exercise's cell above, run it, then run this check again."
            return Outcome(n, "not attempted", advice)

        def check(broker: Any, *answers: Any) -> str:
            if task:
                source.fit(task, answers)
            return exercise.check(broker, *answers)

        outcome = judge(n, check, self.broker, answers, exercise.seconds)
        if outcome.status == "correct":
            progress.mark_solved(self.number, n)
        return outcome

    def hint(self, n: int) -> Note:
        """Give one more hint for exercise n; after the last one, all of them."""
        exercise = self.exercises.get(n)
        if exercise is None:
            return Note(self._no_such(n))
        hints, given = exercise.hints, progress.count(self.number, n, "hints")
        if given <= len(hints):
            return Note(f"Hint {given} of {len(hints)}: {hints[given - 1]}")
        listed = "\n".join(f"{i}. {hint}" for i, hint in enumerate(hints, 1))
        return Note(f"These were all the hints. `lab.solution({n})` is next.\n\n{listed}")

    def solution(self, n: int) -> Note:
        """Show the solution of exercise n when it is solved, or when asked for the second time."""
        exercise = self.exercises.get(n)
        if exercise is None:
            return Note(self._no_such(n))
        if n not in progress.solved(self.number) and progress.count(self.number, n, "asked") < 2:
            return Note(
                f"Are you sure? Exercise {n} is not solved yet, and `lab.hint({n})` has {len(exercise.hints)} hints. "
                f"Ask once more to see the solution: `lab.solution({n})`."
            )
        task = self._tasks.get(n)
        if task is None:
            return Note(
                f"The solution is not here: is the course's folder `solutions` whole? It holds lab {self.number}."
            )
        return Note(f"```python\n{task.solution}\n```\n\n{task.why}".rstrip())

    def _no_such(self, n: int) -> str:
        return f"There is no exercise {n}. This lab has: {', '.join(map(str, self.exercises))}."


def lab(number: str | int, broker: Any = None) -> Lab:
    """Return lab `number` ("05"), its checks on the broker that `broker.start()` returned.

    ValueError: there is no such lab.
    """
    number = source.number_of(number)
    name = f"{__name__}.lab{number}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"There is no lab {number}. The labs are the notebooks in the folder labs.") from None
    return Lab(number, module.EXERCISES, broker)


def returned(value: Any, kind: type, name: str) -> None:
    """Ask (by NotYet) when what the learner's function gave back is not of this kind."""
    if not isinstance(value, kind):
        what = "nothing (None): is there a `return`" if value is None else f"{type(value).__name__}: what do you return"
        article = "an" if kind.__name__[0] in "aeiou" else "a"
        raise NotYet(f"`{name}` should give back {article} {kind.__name__}. It gave back {what}?")
