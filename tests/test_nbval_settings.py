"""What conftest.py adds to nbval, tried on small notebooks with a pytest of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mqlab.paths import ROOT

OLD = "RabbitMQ 3.10.8 here, because. Your space on it: a (empty)."
SMALL = "The small broker of this course (it answers as RabbitMQ 4.3.6), because. Your space on it: c (empty)."
NEW = "RabbitMQ 4.3.6 there, because. Your space on it: b (empty)."


def said(text: str) -> list[nbformat.NotebookNode]:
    return [new_output("stream", name="stdout", text=text)]


def pytest_on(tmp_path: Path, name: str, *cells: nbformat.NotebookNode, **environment: str) -> str:
    """Return the outcome of each cell as a letter (. passed, F failed, s skipped), then what pytest printed."""
    path = tmp_path / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", "-p", "conftest"]
    done = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    letters = re.match(r"[.Fsx]+", done.stdout)
    return (letters[0] if letters else "") + "\n" + done.stdout + done.stderr


def cell(source: str, text: str = "", count: int | None = 1, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    outputs = said(text) if text else []
    return new_code_cell(source, outputs=outputs, execution_count=count, metadata={"tags": list(tags)})


def test_cells_are_compared_and_must_have_been_run(tmp_path: Path) -> None:
    result = pytest_on(
        tmp_path,
        "a",
        cell("print(1)", "1\n"),
        cell("print(2)", "3\n"),
        cell("print(3)", count=None),
        cell("x = 1\nx;"),
        cell("_ = 5\nassert In[1] == 'print(1)'"),
    )
    assert result.startswith(".FF..\n"), result
    assert "This cell was never run. Run `python3 course.py build a`." in result


def test_which_broker_a_notebook_met_is_evened_out(tmp_path: Path) -> None:
    error = "no queue 'q' in vhost '{}'\n"
    result = pytest_on(
        tmp_path,
        "b",
        cell(f"print({OLD!r})", NEW + "\n"),
        cell('print("' + error.format("x")[:-1] + '")', error.format("y")),
        cell(f"print({SMALL!r})", NEW + "\n"),
        cell(f"print({OLD!r}, 'more')\nprint('less')", NEW + "\n"),
    )
    assert result.startswith("...F\n"), result


@pytest.mark.parametrize(("line", "outcomes"), [(OLD, "...."), (NEW, ".FF."), (SMALL, ".FF."), ("", "FFF.")])
def test_cells_for_rabbitmq_4_3_are_compared_there_only(tmp_path: Path, line: str, outcomes: str) -> None:
    for_new = ("rabbitmq-4.3",)
    result = pytest_on(
        tmp_path,
        "c",
        cell(f"print({line!r})", NEW + "\n"),
        cell("print('old')", "new\n", tags=for_new),
        cell("1 / 0", "new\n", tags=for_new),
        cell("print('same')", "same\n"),
    )
    assert result.startswith(outcomes + "\n"), result


def test_each_notebook_has_a_space_and_a_progress_file_of_its_own(tmp_path: Path) -> None:
    solve = (
        "from mqlab.exercises import progress\nassert progress.load() == {'labs': {}}\nprogress.mark_solved('05', 1)"
    )
    result = pytest_on(
        tmp_path,
        "d",
        cell(f"import os\nassert os.environ['MQLAB_SPACE'] == 'test-{tmp_path.name}-d'"),
        cell(solve),
        MQLAB_PROGRESS=str(tmp_path / "mine.json"),
    )
    assert result.startswith("..\n"), result
    assert not (tmp_path / "mine.json").exists()


def test_without_a_broker_a_notebook_is_skipped_or_fails_where_one_is_required(tmp_path: Path) -> None:
    nowhere = {"MQLAB_BROKER": "amqp://guest:guest@127.0.0.1:1/"}
    cells = [cell("if False:\n    broker.start()"), cell("print(1)", "1\n")]
    skipped = pytest_on(tmp_path, "e", *cells, **nowhere, MQLAB_REQUIRE="")
    assert skipped.startswith("ss\n") and "no broker: The broker at 127.0.0.1:1 does not answer" in skipped, skipped
    failed = pytest_on(tmp_path, "e", *cells, **nowhere, MQLAB_REQUIRE="1")
    assert failed.startswith("EE") or "2 errors" in failed, failed
