"""A toy course of one lab without a broker, for the tests of exercises and authoring."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mqlab import exercises, paths
from mqlab.authoring import build

CHECKS = '''
"""Lab 99, a toy."""
from mqlab.exercises import Exercise, NotYet, returned


def check_double(broker, double):
    value = double(3)
    returned(value, int, "double")
    if value == 9:
        raise NotYet("Three became nine: is that double, or square?")
    if value != 6:
        raise NotYet(f"Double of 3 came out as {value}. What did you add?")
    return "Twice as many messages."


def check_prediction(broker, prediction):
    if prediction != "first":
        raise NotYet("Who came first?")
    return "First in, first out."


def check_pair(broker, put, get):
    items = []
    for n in (1, 2):
        put(items, n)
    if get(items) != 1:
        raise NotYet("Which of two leaves first?")
    return "Fair."


HINTS = ("One.", "Two.", "Three.")
EXERCISES = [
    Exercise(1, "Double", check_double, HINTS, seconds=1),
    Exercise(2, "Predict", check_prediction, HINTS),
    Exercise(3, "Put and get", check_pair, HINTS, seconds=1),
]
'''

SETUP = """
from pathlib import Path

from mqlab import exercises, paths

paths.SOLUTIONS = Path("../solutions").resolve()
exercises.__path__.append(str(Path("../checks").resolve()))
lab = exercises.lab("99")
"""

DOUBLE = '''
def double(x):
    """Return twice x."""
    # --- solution
    return 2 * x
    # --- starter
    # # your code
    # return x
    # --- end
'''

PREDICTION = """
# --- solution
prediction = "first"
# --- starter
# prediction = None
# --- end
"""

PAIR = """
def put(items, item):
    # --- solution
    items.append(item)
    # --- starter
    # pass
    # --- end


def get(items):
    # --- solution
    return items.pop(0)
    # --- starter
    # return None
    # --- end
"""


def code(source: str, tag: str) -> nbformat.NotebookNode:
    return new_code_cell(source.strip(), metadata={"tags": [tag]}, id=tag)


def why(n: int) -> nbformat.NotebookNode:
    return new_markdown_cell(f"Why {n}: it *works*.", metadata={"tags": [f"why-{n}"]}, id=f"why-{n}")


def solution_notebook() -> nbformat.NotebookNode:
    """The solution of the toy lab, as an author leaves it: not yet run."""
    return new_notebook(
        cells=[
            new_markdown_cell("# Lab 99\n\nIts notebook is [here](../notebooks/99-toy.ipynb).", id="title"),
            code(SETUP, "setup"),
            new_markdown_cell("For teachers.", metadata={"tags": ["solution-only"]}, id="teachers"),
            code(DOUBLE, "exercise-1"),
            code("lab.check(1, double)", "check-1"),
            why(1),
            code(PREDICTION, "exercise-2"),
            code("lab.check(2, prediction)", "check-2"),
            why(2),
            code(PAIR, "exercise-3"),
            code("lab.check(3, put, get)", "check-3"),
            why(3),
        ]
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy course, built once; its name has a space and a letter outside ASCII."""
    course = tmp_path_factory.mktemp("toy") / "Kurs für alle"
    for folder in ("notebooks", "solutions", "labs", "checks"):
        (course / folder).mkdir(parents=True)
    (course / "checks" / "lab99.py").write_text(CHECKS, encoding="utf-8")
    solution = course / "solutions" / "99-toy.ipynb"
    nbformat.write(solution_notebook(), solution)
    with pytest.MonkeyPatch.context() as own:
        use(course, own)
        assert build.run([]) == 0
    return course


@pytest.fixture
def toy(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a fresh copy of the toy course, with no progress; mqlab looks there."""
    course = shutil.copytree(built, tmp_path / built.name)
    use(course, monkeypatch)
    yield course
    sys.modules.pop("mqlab.exercises.lab99", None)


def use(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("notebooks", "labs", "solutions"):
        monkeypatch.setattr(paths, name.upper(), course / name)
    monkeypatch.setattr(exercises, "__path__", [*exercises.__path__, str(course / "checks")])
    monkeypatch.setenv("MQLAB_PROGRESS", str(course / "progress.json"))
