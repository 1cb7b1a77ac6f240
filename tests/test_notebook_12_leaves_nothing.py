"""Notebook 12 to its end, and interrupted in the middle: no socket, thread or process of it is left."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell

from mqlab import paths

LOOK = """
import gc, threading, psutil
gc.collect()
kernels = ("ipykernel", "zmq.utils.garbage")  # the latter once the kernel has sent something large, such as a picture
own = [each.name for each in threading.enumerate() if not type(each).__module__.startswith(kernels)]
listening = [each for each in psutil.Process().net_connections() if each.status == "LISTEN"]
print(len(psutil.Process().children()), "processes,", len(listening), "listening,", sorted(own))
"""
INTERRUPT = """
import os, signal
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
balance(1, patience=30)  # nobody asks for anything
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookClient]:
    monkeypatch.setenv("MQLAB_PROGRESS", str(tmp_path / "progress.json"))
    notebook = nbformat.read(next(iter(paths.NOTEBOOKS.glob("12-*.ipynb"))), as_version=4)
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(paths.NOTEBOOKS)}})
    with client.setup_kernel():
        yield client


def run(client: NotebookClient, source: str) -> str:
    """Execute a cell of the test's own in the notebook's kernel; return what it printed."""
    cell: Any = new_code_cell(source)
    client.execute_cell(cell, 0)
    return "".join(output.get("text", "") for output in cell.outputs)


def run_until(client: NotebookClient, last: str) -> None:
    """Execute the notebook's code cells from the first to the one of this id."""
    for n, cell in enumerate(client.nb.cells):
        if cell.cell_type == "code":
            client.execute_cell(cell, n)
        if cell.id == last:
            return


def test_nothing_is_left_at_its_end_nor_when_it_is_interrupted(client: NotebookClient) -> None:
    before = run(client, LOOK)
    run_until(client, "finish")
    run(client, "watch.close()")  # until then the picture can be steered
    assert run(client, LOOK) == before

    run_until(client, "hired")  # again, in the same kernel
    pids = [int(pid) for pid in run(client, "print(ada.pid, bo.pid)").split()]
    assert all(map(psutil.pid_exists, pids))
    with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
        run(client, INTERRUPT)
    assert run(client, "print(idle)") == "[b'Ada', b'Bo']\n"  # all goes on
    client.km.provisioner.process.kill()
    until = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(psutil.pid_exists, pids))
