"""Building the toy course: outputs stored, labs made, the same bytes when run twice, errors told."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mqlab.authoring import build


def write(path: Path, *sources: str, tag: str = "") -> Path:
    cells = [new_code_cell(text, id=f"c{n}", metadata={"tags": [tag]} if tag else {}) for n, text in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def outputs(path: Path) -> list[list[dict]]:
    return [cell.outputs for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def contents(course: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(course.rglob("*.ipynb"))}


def test_twice_gives_the_same_bytes(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = contents(toy)
    assert build.run([]) == 0
    assert contents(toy) == first
    assert capsys.readouterr().out == "= solutions/99-toy.ipynb (unchanged)\n= labs/99-toy.ipynb (unchanged)\n"


def test_the_solution_has_its_outputs_and_the_lab_none(toy: Path) -> None:
    solution = nbformat.read(toy / "solutions" / "99-toy.ipynb", as_version=4)
    lab = nbformat.read(toy / "labs" / "99-toy.ipynb", as_version=4)
    nbformat.validate(solution)
    nbformat.validate(lab)
    shown = [cell.outputs[0].data["text/plain"] for cell in solution.cells if cell.id.startswith("check-")]
    assert [text.split(". ")[0] for text in shown] == [f"✓ Exercise {n}: correct" for n in (1, 2, 3)]
    assert [cell.execution_count for cell in solution.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5, 6, 7]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in lab.cells)


def test_the_lab_is_the_solution_with_the_solved_lines_cut(toy: Path) -> None:
    lab = nbformat.read(toy / "labs" / "99-toy.ipynb", as_version=4)
    ids = ["title", "setup", "exercise-1", "check-1", "exercise-2", "check-2", "exercise-3", "check-3"]
    assert [cell.id for cell in lab.cells] == ids
    assert lab.cells[2].source == 'def double(x):\n    """Return twice x."""\n    # your code\n    return x'
    assert lab.cells[4].source == "prediction = None"
    assert lab.cells[2].metadata.tags == ["exercise-1"]


def test_what_differs_from_run_to_run_is_not_stored(toy: Path) -> None:
    path = write(
        toy / "notebooks" / "01-wild.ipynb",
        "import sys\nfor n in range(3):\n    print(n, flush=True)\nprint('e', file=sys.stderr)\n1",
        "import ipywidgets\nipywidgets.IntSlider(3)",
        "x  =  1",
    )
    assert build.run(["01"]) == 0
    first = path.read_bytes()
    assert build.run(["01-wild.ipynb"]) == 0
    assert path.read_bytes() == first
    assert [output.output_type for output in outputs(path)[0]] == ["stream", "stream", "execute_result"]
    assert outputs(path)[0][0].text == "0\n1\n2\n"
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert b"widget-state" not in first and b"model_id" not in first
    assert notebook.cells[2].source == "x = 1"  # formatted


def test_an_error_that_is_meant_is_stored_without_a_traceback(toy: Path) -> None:
    path = write(toy / "notebooks" / "01-meant.ipynb", "1 / 0", tag="raises-exception")
    assert build.run(["01"]) == 0
    [[error]] = outputs(path)
    assert error.traceback == ["ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("# first\n1 / 0", "in the cell that begins `# first`: ZeroDivisionError: division by zero"),
        ("import os\nos._exit(1)", "in the cell that begins `import os`: the kernel died"),
        ("import time\ntime.sleep(60)", "in the cell that begins `import time`: still running after 3 s"),
        ("def (", "ruff could not format it"),
    ],
)
def test_an_error_leaves_the_file_and_the_others_are_built(
    toy: Path, cell: str, what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CELL_LIMIT", 3)
    bad = write(toy / "notebooks" / "01-bad.ipynb", "print('fine')", cell)
    good = write(toy / "notebooks" / "02-good.ipynb", "print('fine')")
    before = bad.read_bytes()
    assert build.run(["01", "02"]) == 1
    assert bad.read_bytes() == before
    assert outputs(good)[0][0].text == "fine\n"
    said = capsys.readouterr().out
    assert f"✗ notebooks/01-bad.ipynb: {what}" in said
    assert said.endswith("1 of 2 built. The others are as they were.\n")


def test_wrong_markers_leave_solution_and_lab(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(toy / "solutions" / "98-bad.ipynb", "# --- solution\n1\n# --- end")
    before = contents(toy)
    assert build.run(["98"]) == 1
    assert contents(toy) == before
    assert "in the cell that begins `# --- solution`: '# --- end' where" in capsys.readouterr().out


def test_no_notebook_file_is_told(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy / "notebooks" / "01-bad.ipynb").write_text("{", encoding="utf-8")
    assert build.run(["01"]) == 1
    assert "01-bad.ipynb" in capsys.readouterr().out
    assert build.run(["77"]) == 1
    assert capsys.readouterr().out == "No notebook's name begins with '77'. See the folders notebooks and solutions.\n"


def test_a_notebook_runs_in_its_folder_with_a_space_and_no_progress(toy: Path) -> None:
    path = write(
        toy / "notebooks" / "01-where.ipynb",
        "import os\nfrom pathlib import Path\nfrom mqlab.exercises import progress\n"
        "Path.cwd().name, os.environ['MQLAB_SPACE'], progress.load()",
    )
    from mqlab.exercises import progress

    progress.mark_solved("99", 1)
    assert build.run(["01"]) == 0
    assert outputs(path)[0][0].data["text/plain"] == "('notebooks', '01-where', {'labs': {}})"
