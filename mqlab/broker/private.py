"""A broker that runs as processes of ours: its state file, its start under a lock, its end with its owners."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from mqlab import paths
from mqlab.broker import owners
from mqlab.broker.node import BrokerError, Node

BOOT = 120  # seconds that a broker may take to start; RabbitMQ takes 5 on a small machine
USER = "campus"


def lock(place: Path, limit: float) -> FileLock:
    """Return the lock under which the broker starts and ends; the system frees it when its holder dies."""
    place.mkdir(parents=True, exist_ok=True)
    return FileLock(place / "lock", timeout=limit)


def running(place: Path, kind: str) -> Node | None:
    """Return the broker if it answers."""
    state = read(place)
    if not state.get("ready") or not owners.lives(state["keeper"]):
        return None
    node = as_node(state, kind)
    try:
        node.asked_version(limit=5)
    except OSError:
        return None
    return node


def start(place: Path, kind: str, kept: bool, launch: Callable[[], Node]) -> Node:
    """Return the broker, launched if need be; this process becomes an owner of it."""
    try:
        with lock(place, BOOT + 30):
            # Registered before looking: a broker about to end looks for owners once more under this lock.
            owners.add(place / "owners", kept)
            with contextlib.suppress(KeyError, BrokerError):
                resume(place)
            node = running(place, kind)
            if node is None:
                # Dead, frozen or never there. What is left of an older one goes, its messages too: spaces begin empty.
                clear(place)
                node = launch()
            return node
    except Timeout:
        raise BrokerError(
            "Another program of this course has been starting a broker for minutes. "
            "Run `python3 course.py broker stop`, then start again."
        ) from None


def launch(place: Path, kind: str, what: str, command: Sequence[str]) -> Node:
    """Run the command, which writes the state, and wait until the broker is ready; `what` is it called in an error."""
    # A session of its own: Ctrl-C in the learner's terminal must not reach the broker of a living notebook.
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with (place / "keeper.log").open("w", encoding="utf-8") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=paths.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=flags,
        )
    end = time.monotonic() + BOOT + 10
    while time.monotonic() < end:
        over = keeper.poll() is not None  # asked before the state is read: its last words are in there
        state = read(place)
        if state.get("ready"):
            return as_node(state, kind)
        if over:
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(0.02)  # the pause of the loop
    clear(place)
    words = state.get("error") or (place / "keeper.log").read_text(encoding="utf-8", errors="replace")[-1500:]
    raise BrokerError(f"{what} did not start. Its last words:\n{words}")


def stop(place: Path) -> bool:
    """End the broker whoever uses it; tell whether there was one."""
    if not (place / "state.json").exists():
        return False
    # Without the lock after a while: whoever holds it may be the one that hangs.
    with contextlib.suppress(Timeout), lock(place, 5):
        return _end(place)
    return _end(place)


def release(place: Path) -> bool:
    """Let go of the broker for this session; tell whether that ended it."""
    owners.leave(place / "owners")
    if not (place / "state.json").exists():
        return False
    with contextlib.suppress(Timeout), lock(place, 10):
        return not owners.living(place / "owners") and _end(place)
    return False


def halt(place: Path) -> None:
    """Stop the broker as a fault does: it keeps its ports and what is on disk, and waits for `resume`."""
    state = read(place)
    (place / "halted").touch()
    _await(state["amqp"], False)


def resume(place: Path) -> None:
    """Start again a broker that was halted; nothing happens to one that was not."""
    if (place / "halted").exists():
        (place / "halted").unlink(missing_ok=True)
        _await(read(place)["amqp"], True)


def _await(port: int, there: bool) -> None:
    """Wait until something listens on that port of loopback, or nothing does any more."""
    end = time.monotonic() + BOOT
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            found = True
        except OSError:
            found = False
        if found == there:
            return
        time.sleep(0.05)
    raise BrokerError(
        f"The broker did not {'start again' if there else 'stop'} in {BOOT} s. Run `python3 course.py broker stop`."
    )


def _end(place: Path) -> bool:
    there = bool(read(place))
    clear(place)
    shutil.rmtree(place / "owners", ignore_errors=True)
    return there


def clear(place: Path, known: dict[str, Any] | None = None) -> None:
    """End the broker and its keeper if they still run, and remove its data; `known`: its state, if no file tells it."""
    state = read(place) or known or {}
    # The keeper first: it must not see its node die and clean up at the same time. A keeper that clears spares itself.
    names = [name for name in (state.get("keeper", ""), *state.get("processes", [])) if owners.lives(name)]
    for name in names:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(name.partition("-")[0]))
            if process.pid != os.getpid():
                family = [] if name == state["keeper"] else process.children(recursive=True)
                _kill([*family, process])
    if state.get("data"):
        shutil.rmtree(state["data"], ignore_errors=True)
    (place / "state.json").unlink(missing_ok=True)
    (place / "halted").unlink(missing_ok=True)


def _kill(processes: list[psutil.Process]) -> None:
    """Kill them and wait until they have gone; one that only its parent can bury has gone too."""

    def alive(process: psutil.Process) -> bool:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    end = time.monotonic() + 10
    for process in processes:
        with contextlib.suppress(psutil.Error):
            while alive(process) and time.monotonic() < end:
                time.sleep(0.02)


def as_node(state: dict[str, Any], kind: str) -> Node:
    """Make the node that a state describes."""
    management = f"http://127.0.0.1:{state['management']}"
    known = {"version": state.get("version", "?"), "ports": state.get("protocols", {})}
    return Node(kind, "127.0.0.1", state["amqp"], USER, state["password"], management, **known)


def read(place: Path) -> dict[str, Any]:
    """Read the state; empty when there is none."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((place / "state.json").read_text(encoding="utf-8")))
    return {}


def write(place: Path, state: dict[str, Any]) -> None:
    """Write the state so that a reader sees the old one or the new one, never half; it holds the password."""
    draft = place / "state.json.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(state, file)
    draft.replace(place / "state.json")


def free_ports(n: int) -> list[int]:
    """Return n ports of loopback that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
