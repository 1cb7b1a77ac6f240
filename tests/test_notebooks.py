"""The notebooks as they are stored, and the labs made from them. That they still run as stored: pytest --nbval."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from stored import LABS, NOTEBOOKS, SOLUTIONS, code_cells, read, tags, texts

from mqlab import exercises, paths
from mqlab.authoring import build
from mqlab.exercises import source, verdict

PRIVATE = re.compile(r"(/home/|/root/|/tmp/|/var/|/Users/|\b[A-Z]:\\\\?\w|amqps?://[^\s'\"@]*:[^\s'\"@]*@)")

stored = pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}/{path.stem}")
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


@stored
def test_it_was_run_from_top_to_bottom(path: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), f"run: python3 course.py build {path.stem}"


@stored
def test_it_is_stored_as_build_stores_it(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert path.read_text(encoding="utf-8") == build.text_of(build.normalised(notebook))
    assert "widgets" not in notebook.metadata and build.WIDGET_VIEW not in path.read_text(encoding="utf-8")


@stored
def test_errors_are_only_where_they_are_meant(path: Path) -> None:
    for cell in code_cells(path):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert not failed or "raises-exception" in tags(cell), cell.source


@stored
def test_no_output_tells_of_the_machine_or_a_password(path: Path) -> None:
    found = [PRIVATE.findall(texts(cell.outputs)) for cell in code_cells(path)]
    assert [one for one in found if one] == []


def test_each_solution_has_its_lab() -> None:
    assert [path.name for path in LABS] == [path.name for path in SOLUTIONS]


@each_solution
def test_the_lab_is_what_build_makes(path: Path) -> None:
    lab = paths.LABS / path.name
    made = build.text_of(build.lab_of(read(path)))
    assert lab.read_text(encoding="utf-8") == made, f"run: python3 course.py build {path.stem}"


@each_solution
def test_the_lab_and_its_notebook_point_to_each_other(path: Path) -> None:
    notebook = paths.NOTEBOOKS / path.name
    assert notebook.is_file()
    for source_path, target in ((paths.LABS / path.name, "notebooks"), (notebook, "labs")):
        prose = "".join(cell.source for cell in read(source_path).cells if cell.cell_type == "markdown")
        assert f"(../{target}/{path.name})" in prose, source_path


@each_solution
def test_each_exercise_is_whole(path: Path) -> None:
    number = path.name[:2]
    tasks = source.tasks_of(read(path).cells)
    checked = exercises.lab(number).exercises
    assert list(tasks) == list(checked) == list(range(1, len(tasks) + 1))
    for n, task in tasks.items():
        exercise = checked[n]
        assert exercise.title and 0 < exercise.seconds <= 9
        assert len(set(exercise.hints)) == 3 and all(exercise.hints)
        assert task.why.strip() and task.check.strip()
        assert ast.dump(ast.parse(task.starter)) != ast.dump(ast.parse(task.solution))
        assert f".check({n}, " in task.check


@each_solution
def test_each_solution_is_stored_as_correct(path: Path) -> None:
    for cell in code_cells(path):
        for tag in tags(cell):
            if tag.startswith("check-"):
                [output] = cell.outputs
                n = tag.removeprefix("check-")
                assert output.data["text/plain"].startswith(f"✓ Exercise {n}: correct. "), output


@each_solution
def test_the_untouched_lab_runs_and_nothing_is_attempted(path: Path, request: pytest.FixtureRequest) -> None:
    lab = paths.LABS / path.name
    if "broker.start(" in lab.read_text(encoding="utf-8"):
        request.getfixturevalue("rabbit")
    ran = build.execute(read(lab), lab.parent, f"test-untouched-{lab.stem}")
    for cell in ran.cells:
        for tag in tags(cell):
            if tag.startswith("check-"):
                n = tag.removeprefix("check-")
                assert texts(cell.outputs).count(f"○ Exercise {n}: not attempted. ") > 0, texts(cell.outputs)


@each_solution
def test_exercises_run_in_any_order_and_again(path: Path, request: pytest.FixtureRequest) -> None:
    """In one kernel: each check before its exercise, the exercises backwards, then all once more from the top."""
    if "broker.start(" in path.read_text(encoding="utf-8"):
        request.getfixturevalue("rabbit")
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    exercises_, checks = (
        [cell for cell in code if any(tag.startswith(kind) for tag in tags(cell))] for kind in ("exercise-", "check-")
    )
    setup = code[: code.index(exercises_[0])]
    early = [*setup, *(nbformat.from_dict(cell) for cell in checks)]
    for cell in early[len(setup) :]:
        cell.metadata["tags"] = ["raises-exception"]  # Python's own: the answer has no name yet
    backwards = [cell for pair in zip(reversed(exercises_), reversed(checks), strict=True) for cell in pair]
    notebook.cells = nbformat.from_dict([*early, *backwards, *code])
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    ran = build.execute(notebook, path.parent, f"test-order-{path.stem}")
    for cell in ran.cells:
        if "raises-exception" in tags(cell):
            assert [output.get("ename") for output in cell.outputs] == ["NameError"], cell.source
        elif any(tag.startswith("check-") for tag in tags(cell)):
            assert ": correct. " in texts(cell.outputs), texts(cell.outputs)


@each_solution
def test_the_solved_lab_passes_the_verdict(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "broker.start(" in path.read_text(encoding="utf-8"):
        request.getfixturevalue("rabbit")
    monkeypatch.setenv("MQLAB_PROGRESS", str(tmp_path / "progress.json"))
    lab, tasks = read(paths.LABS / path.name), source.tasks_of(read(path).cells)
    for cell in lab.cells:
        for tag in tags(cell):
            if match := re.fullmatch(r"exercise-(\d+)", tag):
                cell.source = tasks[int(match[1])].solution
    mine = tmp_path / path.name
    mine.write_text(build.text_of(lab), encoding="utf-8")
    assert verdict.run(mine) == 0
