"""Keep a private RabbitMQ node as long as one of its owners lives: `python -m mqlab.broker.keeper FOLDER SCRIPT`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from filelock import Timeout

from mqlab.broker import local, owners, private


def main(place: Path, script: str) -> None:
    """Start the node, then wait until it dies or nobody needs it; leave nothing behind."""
    signal.signal(signal.SIGTERM, _leave)
    data = local.data_folder(place)
    state, environment = local.settings(data)
    state["keeper"] = owners.ident(os.getpid())
    private.write(place, state)
    trouble = ""
    try:
        node = _launch(script, data, environment)
        state["processes"] = [owners.ident(node.pid)]
        private.write(place, state)
        version = _wait_ready(state, node)
        while version:
            # Erlang is a child of the script: known by name it is found even if the script alone was killed.
            children = psutil.Process(node.pid).children()
            state["processes"] = [owners.ident(pid) for pid in (node.pid, *(child.pid for child in children))]
            private.write(place, state | {"version": version, "ready": True})
            if not _stay(place, node):
                break
            _stop(node)  # somebody wants to see what happens without a broker
            node.wait(private.BOOT)
            if not _stay(place, None):
                break
            node = _launch(script, data, environment)
            version = _wait_ready(state, node)
        else:
            trouble = (data / "output.log").read_text(encoding="utf-8", errors="replace")[-1500:].strip() or "(none)"
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        private.clear(place, state)
        if trouble:
            private.write(place, {"error": trouble})


def _launch(script: str, data: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (data / "output.log").open("wb") as log:
        return subprocess.Popen(
            [script],
            cwd=data,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(node: "subprocess.Popen[bytes]") -> None:
    """Ask the node to end, with all that it has started."""
    process = psutil.Process(node.pid)
    for each in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.Error):
            each.terminate()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _wait_ready(state: dict[str, Any], node: "subprocess.Popen[bytes]") -> str:
    """Wait until the node answers on both its ports; return its version, or "" if it died or took too long."""
    end = time.monotonic() + private.BOOT
    asked = private.as_node(state, "local")
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            version = asked.asked_version(limit=5)
            socket.create_connection(("127.0.0.1", state["amqp"]), timeout=5).close()
            return version
        # This wait is the pause of the loop, and the way to see at once that the node died.
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(0.05)
            return ""
    return ""


def _stay(place: Path, node: "subprocess.Popen[bytes] | None") -> bool:
    """Return True when the node is to be halted (where there is none: to go on), False under two seconds after its end.

    It ends when it dies, or with its last owner.
    """
    alone = 0
    while True:
        for _ in range(5):
            if (place / "halted").exists() == (node is not None):
                return True
            try:
                if node is None:
                    time.sleep(0.2)
                else:
                    node.wait(0.2)
                    return False
            except subprocess.TimeoutExpired:
                continue
        # Twice, so that a notebook whose kernel restarts finds its node again.
        alone = 0 if owners.living(place / "owners") else alone + 1
        if alone >= 2:
            with contextlib.suppress(Timeout), private.lock(place, 60):
                if not owners.living(place / "owners"):
                    private.clear(place)
                    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
