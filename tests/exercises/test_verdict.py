"""`course.py check`: whatever a learner has done to the toy lab, each exercise is judged, and the file left alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from answers import solution

from mqlab.exercises import progress, verdict

Change = Callable[[dict[str, nbformat.NotebookNode], nbformat.NotebookNode], object]


class Learner:
    """A learner of the toy lab: edits its cells, then asks for the verdict."""

    def __init__(self, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = course / "labs" / "99-toy.ipynb"
        self.notebook = nbformat.read(self.file, as_version=4)
        self.cells = {cell.id: cell for cell in self.notebook.cells}
        self.capsys = capsys

    def solve(self, *numbers: int) -> None:
        for n in numbers:
            self.cells[f"exercise-{n}"].source = solution("99", n)

    def asks(self, lab: str | Path = "99") -> tuple[int, str]:
        nbformat.write(self.notebook, self.file)
        before = self.file.read_bytes()
        code = verdict.run(lab)
        assert self.file.read_bytes() == before
        assert [path.name for path in self.file.parent.iterdir()] == [self.file.name]
        return code, self.capsys.readouterr().out


@pytest.fixture
def learner(toy: Path, capsys: pytest.CaptureFixture[str]) -> Learner:
    return Learner(toy, capsys)


ASK = "Change the exercise's cell above, run it, then run this check again."
FIRST = "Lab 99: 99-toy.ipynb, run from its first cell in a fresh kernel.\n"


def test_an_untouched_lab_is_not_attempted(learner: Learner) -> None:
    code, said = learner.asks()
    assert code == 1
    assert said == FIRST + (
        f"○ 1 Double: {ASK}\n○ 2 Predict: {ASK}\n○ 3 Put and get: {ASK}\n0 of 3 exercises correct.\n"
    )


def test_a_solved_lab_passes_and_counts(learner: Learner) -> None:
    learner.solve(1, 2, 3)
    code, said = learner.asks(learner.file)
    assert code == 0
    assert said == FIRST + (
        "✓ 1 Double: Twice as many messages.\n✓ 2 Predict: First in, first out.\n✓ 3 Put and get: Fair.\n"
        "3 of 3 exercises correct.\n"
    )
    assert progress.solved("99") == {1, 2, 3}


def test_wrong_answers_get_their_questions_and_the_right_one_counts(learner: Learner) -> None:
    learner.solve(2)
    learner.cells["exercise-1"].source = "def double(x):\n    return x * x"
    learner.cells[
        "exercise-3"
    ].source = "def put(items, item):\n    while True:\n        pass\n\ndef get(items):\n    return 1"
    code, said = learner.asks("99")
    assert code == 1
    assert "… 1 Double: Three became nine: is that double, or square?\n  Stuck? lab.hint(1)\n✓ 2 Predict" in said
    assert "… 3 Put and get: Your code was still running after 1 s (line " in said
    assert "1 of 3 exercises correct." in said
    assert progress.solved("99") == {2}


def test_errors_in_cells_are_told_and_the_others_judged(learner: Learner) -> None:
    learner.solve(2, 3)
    learner.cells["exercise-1"].source = "import os\ndef double(x:\n    return x"
    learner.cells["exercise-3"].source += "\nmissing()"
    code, said = learner.asks()
    assert code == 1
    assert "… 1 Double: its check stopped with NameError: name 'double' is not defined" in said
    assert "✓ 2 Predict" in said and "✓ 3 Put and get" in said
    assert "The cell that begins `import os` stopped: SyntaxError: " in said
    assert (
        "The cell that begins `def put(items, item):` stopped: NameError: name 'missing' is not defined (line" in said
    )


def test_a_cell_without_end_is_interrupted_and_the_others_judged(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "CELL_LIMIT", 2)
    learner.solve(1, 2, 3)
    learner.cells["exercise-2"].source += "\nwhile True:\n    pass"
    code, said = learner.asks()
    assert code == 0  # the prediction was made before the loop
    assert 'The cell that begins `prediction = "first"` stopped: it was still running after 2 s. What makes it' in said
    assert said.endswith("3 of 3 exercises correct.\n")


def test_a_kernel_that_was_ended_is_told(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "CELL_LIMIT", 2)
    learner.solve(1, 2, 3)
    learner.cells["exercise-2"].source += "\nimport os; os._exit(0)"
    code, said = learner.asks()
    assert code == 1
    assert "✓ 1 Double" in said
    assert "… 2 Predict: could not be judged" in said and "… 3 Put and get: could not be judged" in said
    assert "stopped: the kernel ended here" in said


def test_a_check_cell_that_is_gone_is_asked_for(learner: Learner) -> None:
    learner.solve(1, 2, 3)
    learner.notebook.cells.remove(learner.cells["check-3"])
    code, said = learner.asks()
    assert code == 1
    assert "… 3 Put and get: its check cell is gone. Put back a cell with `lab.check(3, …)`." in said
    assert "✓ 1 Double" in said


def test_check_cells_are_found_without_tags(learner: Learner) -> None:
    learner.solve(1, 2, 3)
    for cell in learner.notebook.cells:
        cell.metadata.clear()
    assert learner.asks()[0] == 0


def test_a_check_cell_that_was_changed_is_held_against_the_solutions(learner: Learner) -> None:
    learner.cells["check-1"].source = "print('✓ Exercise 1: correct. Twice as many messages.')"
    learner.cells["check-2"].source = 'prediction = "first"\nlab.check(2, prediction)'
    _, said = learner.asks()
    assert f"○ 1 Double: {ASK}" in said
    assert "✓ 2 Predict" in said  # what the learner wrote in the check cell counts, as it did in JupyterLab


def test_a_broken_lab_object_is_not_correct(learner: Learner) -> None:
    learner.cells[
        "exercise-1"
    ].source += "\n\nclass Lab:\n    def check(self, *_):\n        return 'fine'\n\nlab = Lab()"
    code, said = learner.asks()
    assert code == 1
    assert said.count("its check showed something else than it should") == 3


def test_hints_taken_by_the_run_do_not_count(learner: Learner) -> None:
    progress.count("99", 1, "hints")
    learner.cells["exercise-3"].source += "\nlab.hint(1)\nlab.solution(1)"
    learner.asks()
    assert progress.load()["labs"]["99"] == {"1": {"hints": 1}}


def test_the_notebook_runs_in_its_own_folder(learner: Learner) -> None:
    learner.solve(1, 2, 3)
    (learner.file.parent.parent / "notes.txt").write_text("first", encoding="utf-8")
    learner.cells["exercise-2"].source = "from pathlib import Path\nprediction = Path('../notes.txt').read_text()"
    assert learner.asks()[0] == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"lab"', '{"cells": 3}', '{"nbformat": 9, "cells": []}', '{"cells": [{}]}']
)
def test_a_file_that_is_no_notebook_is_told_and_kept(
    toy: Path, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = toy / "labs" / "99-toy.ipynb"
    file.write_text(content, encoding="utf-8")
    assert verdict.run("99") == 2
    said = capfd.readouterr()
    assert said.out.startswith(f"{file} is not a notebook that can be read. It was left as it is.")
    assert "git checkout -- labs/99-toy.ipynb" in said.out and "Traceback" not in said.out + said.err
    assert file.read_text(encoding="utf-8") == content


def test_an_empty_notebook_lacks_all_checks(learner: Learner) -> None:
    learner.notebook.cells = []
    code, said = learner.asks()
    assert code == 1
    assert said.count("its check cell is gone") == 3


@pytest.mark.parametrize("lab", ["98", "x", "", "labs/99-nowhere.ipynb", "../secret"])
def test_an_unknown_lab_is_told(toy: Path, lab: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict.run(lab) == 2
    assert capsys.readouterr().out.startswith("There is no lab")


def test_a_lab_that_never_ends_is_stopped_whole(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "TOTAL_LIMIT", 4)
    learner.cells["exercise-1"].source = "import os, time\nprint(os.getpid())\ntime.sleep(100)"
    children = _kernels()
    code, said = learner.asks()
    assert code == 1
    assert "still running after 4 s and was stopped" in said
    assert _kernels() == children


def _kernels() -> set[int]:
    import psutil

    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_the_module_needs_no_dev_requirements() -> None:
    program = "import sys; sys.modules['ruff'] = sys.modules['hypothesis'] = None; import mqlab.exercises.verdict"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
