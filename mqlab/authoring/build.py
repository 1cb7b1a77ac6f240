"""Run the notebooks, store their outputs, make the labs from the solutions; the same bytes when run twice."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from mqlab import broker, paths
from mqlab.exercises import source

CELL_LIMIT = 60  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_CUT = re.compile(r"why-\d+|solution-only")
_KEPT_METADATA = ("tags", "slideshow", "jupyter")


def run(names: list[str]) -> int:
    """Build the notebooks and solutions whose names begin with one of these (all, when none is given).

    Returns the exit code: 1 when a notebook stopped with an error (its file stays as it was).
    Raises BrokerError when one of them needs a broker and none can be had.
    """
    prefixes = [Path(name).stem for name in names] or [""]
    found = [
        path
        for folder in (paths.NOTEBOOKS, paths.SOLUTIONS)
        for path in sorted(folder.glob("*.ipynb"))
        if path.stem.startswith(tuple(prefixes))
    ]
    for prefix in prefixes:
        if not any(path.stem.startswith(prefix) for path in found):
            print(f"No notebook's name begins with {prefix!r}. See the folders notebooks and solutions.")
            return 1
    if any("broker.start(" in path.read_text(encoding="utf-8") for path in found):
        print(broker.start_shared(kept=False))  # here, lest a notebook stores that it had to wait
    good = 0
    for path in found:
        if problem := build(path):
            print(f"✗ {path.parent.name}/{path.name}: {problem}")
        else:
            good += 1
    if good == len(found):
        return 0
    print(f"{good} of {len(found)} built. The others are as they were.")
    return 1


def build(path: Path) -> str:
    """Run one notebook and store its outputs, make its lab when it is a solution; return what is wrong, or ""."""
    try:
        before = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(_formatted(before), as_version=4)
        executed = execute(notebook, path.parent, path.stem)
        lab = lab_of(executed) if path.parent == paths.SOLUTIONS else None
    except (ValueError, nbformat.ValidationError) as error:
        return str(error)
    _write(path, executed)
    if lab is not None:
        _write(paths.LABS / path.name, lab)
    return ""


def execute(notebook: NotebookNode, folder: Path, space: str) -> NotebookNode:
    """Return the notebook run in a fresh kernel: in this folder, with this space on the broker, with no progress yet.

    ValueError: a cell stopped with an error that it is not tagged for, or did not stop in time.
    """
    notebook = cleared(notebook)
    place = "before its first cell"

    def at(cell: NotebookNode, cell_index: int) -> None:
        nonlocal place
        if cell.cell_type == "code":
            place = f"in the cell that begins {_first_line(cell)}"

    with tempfile.TemporaryDirectory() as empty:
        client = NotebookClient(
            notebook,
            timeout=CELL_LIMIT,
            kernel_name="python3",
            store_widget_state=False,
            record_timing=False,
            on_cell_start=at,
            resources={"metadata": {"path": str(folder)}},
        )
        own = {"MQLAB_SPACE": space, "MQLAB_PROGRESS": str(Path(empty, "progress.json"))}
        # Owned by the build, a private broker is shared by all its kernels.
        try:
            client.execute(env={"MQLAB_OWNER": str(os.getpid())} | os.environ | own, stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            raise ValueError(f"{place}: {error.ename}: {error.evalue}") from None
        except CellTimeoutError:
            raise ValueError(f"{place}: still running after {CELL_LIMIT} s") from None
        except DeadKernelError:
            raise ValueError(f"{place}: the kernel died") from None
    return normalised(notebook)


def normalised(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook that has run without what differs from run to run, or from machine to machine."""
    notebook = _plain(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            elif output.output_type == "error":  # a traceback names this machine's folders
                output.traceback = [f"{output.ename}: {output.evalue}"]
            if "data" in output:  # a widget's number is random; its still picture is stored beside it
                output.data.pop(WIDGET_VIEW, None)
    return notebook


def cleared(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook without outputs and execution counts."""
    notebook = _plain(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def lab_of(solution: NotebookNode) -> NotebookNode:
    """Return the lab of a solution notebook: starter code in place of solutions, no outputs.

    ValueError: a cell's solution and starter are not marked as they should be.
    """
    lab = cleared(solution)
    lab.cells = [cell for cell in lab.cells if not any(_CUT.fullmatch(tag) for tag in cell.metadata.get("tags", []))]
    for cell in lab.cells:
        if cell.cell_type == "code":
            try:
                cell.source = source.parts(cell.source)[1]
            except ValueError as error:
                raise ValueError(f"in the cell that begins {_first_line(cell)}: {error}") from None
    return lab


def text_of(notebook: NotebookNode) -> str:
    """Return the notebook as the text of its file."""
    text: str = nbformat.writes(notebook, version=4)
    return text.rstrip("\n") + "\n"


def _plain(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with only the metadata that we mean."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in _KEPT_METADATA if key in cell.metadata})
    return notebook


def _merged(outputs: Iterable[Any]) -> list[Any]:
    """Join streams of one name that follow each other: where a print is cut in two is chance."""
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":  # what was printed in passing, and printed over
            output.text = re.sub(r"^.*\r(?=[^\n])", "", output.text, flags=re.MULTILINE)
    return merged


def _formatted(text: str) -> str:
    """Return the text of a notebook's file with its code formatted by ruff."""
    config = str(paths.ROOT / "notebooks" / ".ruff.toml")
    command = [sys.executable, "-m", "ruff", "format", "--config", config, "--stdin-filename", "notebook.ipynb", "-"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", timeout=60, check=False)
    if done.returncode:
        raise ValueError(f"ruff could not format it: {done.stderr.strip()}")
    return done.stdout


def _write(path: Path, notebook: NotebookNode) -> None:
    """Write a notebook when it differs from its file, and say so."""
    text = text_of(notebook)
    old = path.read_text(encoding="utf-8") if path.exists() else None
    if text != old:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{'=' if text == old else '✓'} {path.parent.name}/{path.name}{' (unchanged)' if text == old else ''}")


def _first_line(cell: NotebookNode) -> str:
    return f"`{(cell.source.strip().splitlines() or [''])[0]}`"
