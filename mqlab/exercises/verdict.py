"""course.py check: the verdict on a lab, from a fresh kernel, by nbval against the outputs stored in the solution."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import nbval.plugin
import psutil
import pytest
from nbformat import NotebookNode
from nbval.kernel import RunningKernel

from mqlab import exercises, paths
from mqlab.exercises import progress, source
from mqlab.exercises.outcome import MARKS
from mqlab.exercises.strict import execute_with_history

CELL_LIMIT = 30  # seconds
TOTAL_LIMIT = 300  # seconds
REPORT = "report.jsonl"
NOT_YET = MARKS["not yet"]
_CHECK_TAG = re.compile(r"check-(\d+)")
_CHECK_CALL = re.compile(r"^\s*\w+\.check\(\s*(\d+)\b", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Sheet:
    """What nbval runs: the learner's cells, but each check cell as the solution has it."""

    notebook: NotebookNode
    checks: dict[int, int]  # exercise -> place among the code cells


@dataclass(frozen=True)
class Ran:
    """How one cell went: whether nbval passed it, what it showed, the error it stopped with."""

    passed: bool
    text: str
    error: str


def run(lab: str | Path) -> int:
    """Judge a lab ("05", or the path of a notebook) and print a line for each exercise.

    Returns the exit code: 0 only when all are correct. The learner's notebook is read, never written.
    """
    try:
        path = _path_of(lab)
        number = path.name[:2]
        titles = {n: exercise.title for n, exercise in exercises.lab(number).exercises.items()}
        sheet = sheet_of(_read(path), _read(_solution_of(number)))
        print(f"Lab {number}: {path.name}, run from its first cell in a fresh kernel.", flush=True)
        ran = _nbval(sheet.notebook, path.parent, f"check-{number}")
    except ValueError as error:
        print(error)
        return 2
    except subprocess.TimeoutExpired:
        print(f"The lab was still running after {TOTAL_LIMIT} s and was stopped. Which of its cells takes so long?")
        return 1
    correct = 0
    for n, title in titles.items():
        mark, message = judged(n, sheet, ran)
        print(f"{mark} {n} {title}: {message}")
        if mark == MARKS["correct"]:
            correct += 1
            progress.mark_solved(number, n)
    for line in stopped(sheet, ran):
        print(line)
    print(f"{correct} of {len(titles)} exercises correct.")
    return 0 if correct == len(titles) else 1


def sheet_of(learners: NotebookNode, solution: NotebookNode) -> Sheet:
    """Return the notebook for nbval: only check cells have a stored output, so only they are compared."""
    stored = {
        int(match[1]): cell
        for cell in solution.cells
        for tag in cell.metadata.tags
        if (match := _CHECK_TAG.fullmatch(tag))
    }
    checks: dict[int, int] = {}
    cells = []
    for cell in learners.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        n = _checked_by(cell)
        if n in stored:
            if cell.source.strip() != stored[n].source.strip():  # what else the learner wrote there is run before it
                cells.append(nbformat.v4.new_code_cell(cell.source))
            checks[n] = len(cells)  # of two check cells for one exercise the later counts
            cells.append(nbformat.v4.new_code_cell(stored[n].source, outputs=stored[n].outputs, execution_count=1))
        else:
            cells.append(nbformat.v4.new_code_cell(cell.source))
    return Sheet(nbformat.v4.new_notebook(cells=cells), checks)


def judged(n: int, sheet: Sheet, ran: list[Ran | None]) -> tuple[str, str]:
    """Return (mark, what to tell the learner) on exercise n."""
    if n not in sheet.checks:
        return NOT_YET, f"its check cell is gone. Put back a cell with `lab.check({n}, …)`."
    cell = ran[sheet.checks[n]]
    if cell is None:
        return NOT_YET, "could not be judged: the kernel had ended before. See which cell ended it."
    said = re.match(rf"([{''.join(MARKS.values())}]) Exercise {n}: [a-z ]+\. (.*)", cell.text, re.DOTALL)
    if cell.passed and said:
        return said[1], said[2]
    if said and said[1] != MARKS["correct"]:
        return said[1], said[2]
    if cell.error:
        return NOT_YET, f"its check stopped with {cell.error}. Did a cell before it stop, or is one missing?"
    return NOT_YET, "its check showed something else than it should. Does your code print or display from elsewhere?"


def stopped(sheet: Sheet, ran: list[Ran | None]) -> list[str]:
    """Return a line on each cell, other than a check cell, that stopped with an error."""
    lines = []
    for place, (cell, result) in enumerate(zip(sheet.notebook.cells, ran, strict=True)):
        if result and result.error and place not in sheet.checks.values():
            lines.append(f"The cell that begins `{cell.source.strip().splitlines()[0]}` stopped: {result.error}")
    return lines


def _checked_by(cell: NotebookNode) -> int | None:
    """Return the exercise that a cell of the learner checks, by its tag, else by its source."""
    by_tag = filter(None, map(_CHECK_TAG.fullmatch, cell.metadata.tags))
    match = next(by_tag, None) or _CHECK_CALL.search(cell.source)
    return int(match[1]) if match else None


def _path_of(lab: str | Path) -> Path:
    given = Path(lab)
    if given.suffix == ".ipynb":
        if given.is_file() and re.match(r"\d\d-", given.name):
            return given
        raise ValueError(f"There is no lab at {given}. A lab's name begins with its number, as 05-first-message.ipynb.")
    number = source.number_of(str(lab))
    solution = source.notebook_of(number)
    name = solution.name if solution else ""
    found = sorted(paths.LABS.glob(f"{number}-*.ipynb"), key=lambda path: path.name != name)  # that, before copies
    if not found:
        there = ", ".join(sorted({path.name[:2] for path in paths.LABS.glob("*.ipynb")})) or "none yet"
        raise ValueError(f"There is no lab {lab!r} in the folder labs. The labs that are there: {there}.")
    return found[0]


def _solution_of(number: str) -> Path:
    path = source.notebook_of(number)
    if path is None:
        raise ValueError(f"The solution of lab {number} is missing from the folder solutions. Fetch the course again.")
    return path


def _read(path: Path) -> NotebookNode:
    try:
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        for cell in notebook.cells:
            cell.metadata.tags = [str(tag) for tag in cell.metadata.get("tags") or []]
            cell.source.strip()
    except OSError as error:
        raise ValueError(f"{path} could not be opened: {error.strerror}.") from None
    except Exception:  # not JSON, not a notebook, of a format yet to come: nbformat has an exception for each
        raise ValueError(
            f"{path} is not a notebook that can be read. It was left as it is. "
            f"Rename it to keep it, then `git checkout -- labs/{path.name}` brings a fresh one."
        ) from None
    return notebook


def _nbval(notebook: NotebookNode, folder: Path, space: str) -> list[Ran | None]:
    """Run a notebook through nbval in a process of its own; return how each code cell went, None where none could."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        nbformat.write(notebook, place / "lab.ipynb")
        if progress.file().exists():  # so that hints taken by the run do not count
            shutil.copy(progress.file(), place / "progress.json")
        own = {
            "MQLAB_SPACE": space,
            "MQLAB_PROGRESS": str(place / "progress.json"),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        environment = {"MQLAB_OWNER": str(os.getpid())} | os.environ | own
        command = [sys.executable, "-m", __name__, str(place), str(folder.resolve()), str(CELL_LIMIT)]
        log, report = place / "log.txt", place / REPORT
        with log.open("wb") as said:
            process = subprocess.Popen(command, cwd=place, env=environment, stdout=said, stderr=subprocess.STDOUT)
            try:
                process.wait(TOTAL_LIMIT)
            finally:
                _end(process)
        if not report.exists() and notebook.cells:
            last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
            raise ValueError(f"The lab could not be run at all. `python3 course.py doctor` may tell why.\n{last}")
        results: list[Ran | None] = [None] * len(notebook.cells)
        for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else []:
            facts = json.loads(line)
            n = facts.pop("cell")
            results[n] = Ran(**facts)
        return results


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its kernel, when they have not ended by themselves."""
    if process.poll() is None:
        for one in _family(psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(10)


def _family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that it started, but the broker's keeper, whose node others may use too."""
    found = [process]
    with suppress(psutil.Error):
        for child in process.children():
            if "mqlab.broker.keeper" not in child.cmdline():
                found += _family(child)
    return found


class _Recorder:
    """A plugin of pytest that writes how each cell went, as a line of JSON each."""

    def __init__(self, report: Path, cell_limit: str) -> None:
        self.report = report
        self.cell_limit = cell_limit

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.when != "call" or (call.excinfo and item.test_outputs is None):  # the latter: no kernel to run it
            return
        ran = Ran(call.excinfo is None, _shown(item.test_outputs), "")
        if call.excinfo and not item.parent.kernel.is_alive():
            ran = replace(ran, error="the kernel ended here, so what follows could not run. What ends it?")
        elif item.parent.timed_out:
            ran = replace(ran, error=f"it was still running after {self.cell_limit} s. What makes it stop?")
            item.parent.timed_out = False  # it was interrupted: the cells that follow are judged as ever
        else:
            ran = replace(ran, error=_error(item.test_outputs))
        with self.report.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"cell": item.cell_num} | asdict(ran)) + "\n")


def _shown(outputs: list[Any]) -> str:
    """Return what a cell displayed, as plain text."""
    return "\n".join(output.data["text/plain"] for output in outputs if "text/plain" in output.get("data", {}))


def _error(outputs: list[Any]) -> str:
    """Return the error a cell stopped with, and the line of the cell; "" when it did not."""
    for output in outputs:
        if output.output_type == "error":
            line = re.search(r"Cell In\[\d+\], line (\d+)", _COLOUR.sub("", "\n".join(output.traceback)))
            return f"{output.ename}: {output.evalue}" + (f" (line {line[1]})" if line else "")
    return ""


def _inside(place: Path, folder: str, cell_limit: str) -> int:
    """Run pytest on the notebook, with the learner's folder as its own: what the process of _nbval does."""

    class KernelThere(RunningKernel):
        def __init__(self, name: str, cwd: str, **options: Any) -> None:
            super().__init__(name, cwd=folder, **options)

    nbval.plugin.RunningKernel = KernelThere
    execute_with_history()
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={cell_limit}", "-p", "no:cacheprovider"]
    return pytest.main(
        [*options, "-c", str(place / "pytest.ini"), str(place / "lab.ipynb")],
        plugins=[nbval.plugin, _Recorder(place / REPORT, cell_limit)],
    )


if __name__ == "__main__":
    sys.exit(_inside(Path(sys.argv[1]), *sys.argv[2:]))
