"""An installed rabbitmq-server, run as a private node: own ports, own data, loopback only, ended with its owners."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from mqlab import paths
from mqlab.broker import owners
from mqlab.broker.node import BrokerError, Node, Unavailable

BOOT = 120  # seconds that a node may take to start; it takes 5 on a small machine
USER = "campus"


def folder() -> Path:
    """Return where the private node's state lies."""
    return paths.home() / "broker" / "local"


def lock(place: Path, limit: float) -> FileLock:
    """Return the lock under which the node starts and ends; the system frees it when its holder dies."""
    place.mkdir(parents=True, exist_ok=True)
    return FileLock(place / "lock", timeout=limit)


def find() -> Path | None:
    """Find the real start script of an installed RabbitMQ."""
    script = "rabbitmq-server.bat" if os.name == "nt" else "rabbitmq-server"
    # Debian's /usr/sbin/rabbitmq-server changes the user and leaves its child behind: the real one is asked first.
    places = [Path("/usr/lib/rabbitmq/bin")]
    places += [Path(prefix, "sbin") for prefix in ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")]
    for programs in filter(None, (os.environ.get("PROGRAMFILES"), os.environ.get("PROGRAMW6432"))):
        places += sorted(Path(programs, "RabbitMQ Server").glob("rabbitmq_server-*/sbin"), reverse=True)
    on_path = shutil.which(script)
    candidates = [place / script for place in places] + ([Path(on_path)] if on_path else [])
    return next((path for path in candidates if path.is_file()), None)


def running() -> Node | None:
    """Return the private node if it answers."""
    state = _read(folder())
    if not state.get("ready") or not owners.lives(state["keeper"]):
        return None
    node = as_node(state)
    try:
        node.asked_version(limit=5)
    except OSError:
        return None
    return node


def start(say: Callable[[str], None], kept: bool = False) -> Node:
    """Return the private node, started if need be; this process becomes an owner of it."""
    script = find()
    if script is None:
        raise Unavailable("rabbitmq-server is not installed")
    place = folder()
    try:
        with lock(place, BOOT + 30):
            # Registered before looking: a node about to end looks for owners once more under this lock.
            owners.add(place / "owners", kept)
            node = running()
            if node is None:
                # Dead, frozen or never there. What is left of an older one goes, its messages too: spaces begin empty.
                clear(place)
                say("Starting RabbitMQ on this machine ...")
                node = _launch(place, script)
            return node
    except Timeout:
        raise BrokerError(
            "Another program of this course has been starting RabbitMQ for minutes. "
            "Run `python3 course.py broker stop`, then start again."
        ) from None


def stop() -> bool:
    """End the private node whoever uses it; tell whether there was one."""
    place = folder()
    if not (place / "state.json").exists():
        return False
    # Without the lock after a while: whoever holds it may be the one that hangs.
    with contextlib.suppress(Timeout), lock(place, 5):
        return _end(place)
    return _end(place)


def release() -> bool:
    """Let go of the node for this session; tell whether that ended it."""
    place = folder()
    owners.leave(place / "owners")
    if not (place / "state.json").exists():
        return False
    with contextlib.suppress(Timeout), lock(place, 10):
        return not owners.living(place / "owners") and _end(place)
    return False


def _end(place: Path) -> bool:
    there = bool(_read(place))
    clear(place)
    shutil.rmtree(place / "owners", ignore_errors=True)
    return there


def clear(place: Path) -> None:
    """End the node and its keeper if they still run, and remove the node's data."""
    state = _read(place)
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


def _launch(place: Path, script: Path) -> Node:
    """Start a keeper, which starts the node, and wait until the node answers."""
    # A session of its own: Ctrl-C in the learner's terminal must not reach the node of a living notebook.
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with (place / "keeper.log").open("w", encoding="utf-8") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "mqlab.broker.keeper", str(place), str(script)],
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
        state = _read(place)
        if state.get("ready"):
            return as_node(state)
        if over:
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(0.05)  # the pause of the loop
    clear(place)
    words = state.get("error") or (place / "keeper.log").read_text(encoding="utf-8", errors="replace")[-1500:]
    raise BrokerError(f"The RabbitMQ installed on this machine ({script}) did not start. Its last words:\n{words}")


def as_node(state: dict[str, Any]) -> Node:
    """Make the node that a state describes."""
    management = f"http://127.0.0.1:{state['management']}"
    return Node("local", "127.0.0.1", state["amqp"], USER, state["password"], management, state.get("version", "?"))


def _read(place: Path) -> dict[str, Any]:
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


def data_folder(place: Path) -> Path:
    """Make the empty folder for a node's data."""
    if str(place).isascii():
        data = place / "node"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        return data
    # RabbitMQ's management plugin makes bytes of its log's path and fails on letters beyond Latin-1.
    return Path(tempfile.mkdtemp(prefix="mqlab-node-"))


def free_ports(n: int) -> list[int]:
    """Return n ports of loopback that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def settings(data: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a node's configuration into `data`; return what a client must know, and the node's environment."""
    amqp, management, distribution = free_ports(3)
    password = secrets.token_urlsafe(24)
    (data / "enabled_plugins").write_text("[rabbitmq_management].\n", encoding="utf-8")
    configuration = data / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"""listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
default_user = {USER}
default_pass = {password}
""",
        encoding="utf-8",
    )
    name = f"mqlab{amqp}@localhost"
    # The node does not listen for other Erlang nodes (-dist_listen false), so it needs no epmd, the port mapper that
    # would outlive it. An Erlang too old for that flag takes the fixed port, on loopback. Two schedulers are enough.
    flags = (
        f"-sname {name} -dist_listen false -start_epmd false -erl_epmd_port {distribution} "
        "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
    environment |= {
        "HOME": str(data),  # Erlang makes its cookie there
        "RABBITMQ_BASE": str(data),
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(data / "data"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_PID_FILE": str(data / "pid"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(data / "none"),  # the machine's own settings do not hold here
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": flags,
    }
    if os.name == "nt":  # where Erlang looks for HOME there
        environment |= {"USERPROFILE": str(data), "HOMEDRIVE": data.drive, "HOMEPATH": str(data)[len(data.drive) :]}
    return {"amqp": amqp, "management": management, "password": password, "data": str(data)}, environment
