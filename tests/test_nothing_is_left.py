"""The notebooks of ZeroMQ leave nothing behind: no socket, thread or process, also when a cell is interrupted."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from mqlab import paths

NOTEBOOK = next(paths.NOTEBOOKS.glob("11-*.ipynb"))
LIMIT = 60  # seconds for a cell
END = """
import gc

watch.close()
gc.collect()
context.term()  # hangs if any socket is open
print("context ended:", context.closed)
print("threads:", [t.name for t in threading.enumerate() if "term" in t.name or t.name.startswith("mqlab-watch")])
"""
WAITS = """
with context.socket(zmq.PULL) as orders, context.socket(zmq.REQ) as employer:
    orders.bind("inproc://interrupted")
    orders.rcvtimeo = -1
    print("waiting", flush=True)
    orders.recv()
"""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    monkeypatch.setenv("MQLAB_PROGRESS", str(tmp_path / "progress.json"))
    manager, client = start_new_kernel(cwd=str(NOTEBOOK.parent), env=dict(os.environ))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: Any, code: str, on_text: Any = None) -> str:
    """Run a cell; return what it printed, and the name of its error."""
    said: list[str] = []

    def hear(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            said.append(content["text"])
            if on_text:
                on_text(content["text"])
        elif message["msg_type"] == "error":
            said.append(content["ename"])

    client.execute_interactive(code, timeout=LIMIT, output_hook=hear)
    return "".join(said)


def cells() -> dict[str, str]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "code"}


def test_a_notebook_that_has_run_leaves_nothing(kernel: tuple[Any, Any]) -> None:
    manager, client = kernel
    for name, code in cells().items():
        assert "Error" not in run(client, code), name
    assert (
        run(client, "for _ in range(10):\n    send_one()\nprint([len(each) for each in waiting().values()])")
        == "[9, 0, 0, 0]\n"
    )
    process = psutil.Process(manager.provisioner.process.pid)
    assert [child.name() for child in process.children(recursive=True)] == []
    assert run(client, END) == "context ended: True\nthreads: []\n"
    client.shutdown()
    process.wait(10)


def test_an_interrupted_cell_leaves_no_socket(kernel: tuple[Any, Any]) -> None:
    manager, client = kernel
    run(client, cells()["context"])
    said = run(client, WAITS, lambda text: manager.interrupt_kernel())
    assert said == "waiting\nKeyboardInterrupt"
    assert run(client, "context.term()\nprint(context.closed)") == "True\n"


def test_a_kernel_that_is_shut_down_takes_its_programs_along(kernel: tuple[Any, Any]) -> None:
    manager, client = kernel
    wanted = ("context", "free", "program")
    for name in wanted:
        run(client, cells()[name])
    run(
        client,
        "from mqlab import processes\nprogram = processes.start(order_and_wait, free_address(), name='Campus')\n"
        "program.wait_for('sent')",
    )
    children = psutil.Process(manager.provisioner.process.pid).children(recursive=True)
    assert children
    client.shutdown()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert gone and not alive
