"""RabbitMQ in Docker, by the course's docker-compose.yml."""

import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mqlab import paths
from mqlab.broker import owners
from mqlab.broker.node import BrokerError, Node, Unavailable
from mqlab.broker.private import free_ports, lock

SERVICE = "rabbitmq"
USER = "campus"
PORTS = {  # what docker-compose.yml says, if .env does not
    "MQLAB_AMQP_PORT": 5672,
    "MQLAB_MANAGEMENT_PORT": 15672,
    "MQLAB_MQTT_PORT": 1883,
    "MQLAB_STOMP_PORT": 61613,
    "MQLAB_STREAM_PORT": 5552,
}
INSIDE = tuple(map(str, PORTS.values()))  # the container's own ports, whatever .env says
ERASE = "Run `python3 course.py broker stop --erase` (it deletes what is kept in that RabbitMQ), then start again."


def folder() -> Path:
    """Return where we note who uses the container: it belongs to the course folder, whatever MQLAB_HOME says."""
    return paths.ROOT / ".mqlab" / "broker" / "docker"


def read_env() -> dict[str, str]:
    """Read the settings in the course folder's .env; none when there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        lines = (paths.ROOT / ".env").read_text(encoding="utf-8").splitlines()
        pairs = [line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#")]
        return {key.strip(): value.strip().strip("'\"") for key, _, value in pairs}
    return {}


def complete_env(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the settings in .env, after adding those that are missing; what is there stays as it is."""
    known = read_env()
    project = f"mqlab-{hashlib.sha256(str(paths.ROOT).encode()).hexdigest()[:8]}"
    wanted = {"COMPOSE_PROJECT_NAME": project, "MQLAB_RABBITMQ_PASSWORD": secrets.token_urlsafe(24)} | (more or {})
    missing = {key: value for key, value in wanted.items() if not known.get(key)}
    if missing:
        (paths.ROOT / ".env").touch(mode=0o600)
        with (paths.ROOT / ".env").open("a+", encoding="utf-8") as file:
            file.seek(0)
            text = file.read()
            file.write("" if text else "# Made by MQ Lab for docker-compose.yml; not for others to read.\n")
            file.write("" if not text or text.endswith("\n") else "\n")
            file.writelines(f"{key}={value}\n" for key, value in missing.items())
    return known | missing


def problem() -> str | None:
    """Say why Docker cannot be used here; None when its engine answers."""
    if not shutil.which("docker"):
        return "Docker is not installed"
    engine = _run("docker", "version", "--format", "{{.Server.Version}}", limit=15)
    if "permission denied" in engine.stderr:
        return "Docker's engine does not let this user in (`sudo usermod -aG docker $USER`, then log in again)"
    if engine.returncode:
        return "Docker is installed but its engine does not answer (start Docker Desktop, or the docker service)"
    if _run("docker", "compose", "version", limit=15).returncode:
        return "Docker's compose plugin is not installed"
    return None


def running() -> Node | None:
    """Return the RabbitMQ in Docker if it answers on the ports that .env names; asks no engine, so it is quick."""
    env = read_env()
    if not env.get("MQLAB_RABBITMQ_PASSWORD"):
        return None
    with contextlib.suppress(OSError, ValueError):
        return _node(env, *(int(env.get(key) or usual) for key, usual in PORTS.items()), limit=3)
    return None


def start(say: Callable[[str], None], kept: bool = False) -> Node:
    """Return the RabbitMQ in Docker, started if need be; this process becomes an owner of it."""
    place = folder()
    with lock(place, 1500):
        owners.add(place / "owners", kept)
        node = running()
        if node is None:
            trouble = problem()
            if trouble:
                raise Unavailable(trouble)
            ports = _ports()
            node = _up(say, ports)
            if ports is None and owners.session():
                (place / "started").touch()  # by a session: the last one to leave stops it
        return node


def stop(erase: bool = False) -> bool:
    """Stop the container whoever uses it, with `erase` its data too; tell whether there was anything to stop."""
    if not read_env().get("MQLAB_RABBITMQ_PASSWORD") or problem():
        return False
    with lock(folder(), 1500):
        return _down(erase)


def halt() -> None:
    """Stop the container as a fault does: it keeps its ports and what is on disk."""
    done = _compose("stop", "--timeout", "10", SERVICE, limit=60)
    if done.returncode:
        raise BrokerError(f"Docker did not stop RabbitMQ. Its last words:\n{_tail(done)}")


def resume() -> None:
    """Start the container again, and wait until it is healthy."""
    ports = {key: value for key, value in read_env().items() if key in PORTS}
    done = _compose("up", "--wait", "--wait-timeout", "120", "--no-recreate", SERVICE, limit=180, env=ports)
    if done.returncode:
        raise BrokerError(f"Docker did not start RabbitMQ again. Its last words:\n{_tail(done)}")


def release() -> bool:
    """Let go of the container for this session, and stop it if a session started it and nobody else is left."""
    place = folder()
    owners.leave(place / "owners")
    if not (place / "started").exists():
        return False
    with lock(place, 1500):
        return not owners.living(place / "owners") and not problem() and _down()


def _down(erase: bool = False) -> bool:
    there = _compose("ps", "--quiet", *(["--all"] if erase else []), SERVICE, limit=30).stdout.strip()
    words = ("down", "--volumes", "--timeout", "30") if erase else ("stop", SERVICE)
    done = _compose(*words, limit=90)
    if done.returncode:
        raise BrokerError(f"Docker did not stop RabbitMQ. Its last words:\n{_tail(done)}")
    shutil.rmtree(folder() / "owners", ignore_errors=True)
    (folder() / "started").unlink(missing_ok=True)
    return bool(there)


def _up(say: Callable[[str], None], ports: tuple[int, ...] | None) -> Node:
    """Start the container, which has these ports if it runs, and wait until it is healthy."""
    env = complete_env()
    note = ""
    if ports is None:
        env, note, chosen = _choose_ports(env)
        _fetch(say)
    else:
        with contextlib.suppress(OSError):
            return _node(env, *ports, limit=5)  # it has been given other ports than .env says
        # Those it has, lest Compose makes a new one. It may be paused: healthy for Compose, and deaf.
        chosen = dict(zip(PORTS, map(str, ports), strict=True))
        _compose("unpause", SERVICE, limit=30)
    say("Starting RabbitMQ in Docker: up to a minute ...")
    up = ("up", "--wait", "--wait-timeout", "120", SERVICE)
    done = _compose(*up, limit=180, env=chosen)
    if done.returncode and ports:
        # It ran, but was unhealthy.
        _compose("restart", "--timeout", "5", SERVICE, limit=60, env=chosen)
        done = _compose(*up, limit=180, env=chosen)
    ports = _ports()
    if done.returncode or ports is None:
        raise BrokerError(
            "RabbitMQ in Docker did not become healthy. Try again, or use another broker "
            f"(`python3 course.py doctor` lists them). Docker's last words:\n{_tail(done)}"
        )
    try:
        return _node(env, *ports, note=note)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 401:
            raise
        place = paths.ROOT / ".env"
        raise BrokerError(
            f"RabbitMQ in Docker refused the password in {place}: its data are older than that file. {ERASE}"
        ) from None
    except OSError as silence:
        raise BrokerError(
            f"RabbitMQ in Docker is up but does not answer ({silence}). "
            "Run `python3 course.py broker stop`, then start again."
        ) from silence


def _choose_ports(env: dict[str, str]) -> tuple[dict[str, str], str, dict[str, str]]:
    """Find other ports if something else has one of ours; return the settings, a note, and what differs from .env."""
    ports = [int(env.get(key) or usual) for key, usual in PORTS.items()]
    occupied = [str(port) for port in ports if taken(port)]
    if not occupied:
        return env, "", {}
    # All of them, so that `running` finds nothing on one of the ports in .env, rather than half of the truth.
    chosen = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    note = f" (on port {chosen['MQLAB_AMQP_PORT']}, for {' and '.join(occupied)} is taken)"
    return complete_env(chosen), note, chosen


def taken(port: int) -> bool:
    """Tell whether a program listens on that port of loopback."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def _fetch(say: Callable[[str], None]) -> None:
    """Fetch the image if this machine does not have it."""
    image = _compose("config", "--images", SERVICE, limit=30).stdout.strip()
    if image and _run("docker", "image", "inspect", image, limit=30).returncode:
        say("Fetching RabbitMQ for Docker, this once: about 120 MB ...")
        fetched = _compose("pull", "--quiet", SERVICE, limit=1200)
        if fetched.returncode:
            raise Unavailable(
                f"Docker could not fetch the image {image} (is there a network?). Its last words: {_tail(fetched, 2)}"
            )


def _ports() -> tuple[int, ...] | None:
    """Return the running container's ports on this machine, in the order of PORTS; None if it does not run."""
    found = []
    for inside in INSIDE:
        port = _compose("port", SERVICE, inside, limit=30).stdout.strip().rpartition(":")[2]
        if not port.isdigit() or port == "0":
            return None
        found.append(int(port))
    return tuple(found)


def _node(env: dict[str, str], amqp: int, management: int, *more: int, note: str = "", limit: float = 15) -> Node:
    """Make the node and ask its version, which proves that it lives and takes our password."""
    node = Node("docker", "127.0.0.1", amqp, USER, env["MQLAB_RABBITMQ_PASSWORD"], f"http://127.0.0.1:{management}")
    node = replace(node, ports=dict(zip(("mqtt", "stomp", "stream"), more, strict=False)))
    return replace(node, version=node.asked_version(limit), note=note)


def _compose(*words: str, limit: float, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    file = str(paths.ROOT / "docker-compose.yml")
    return _run(
        "docker", "compose", "--project-directory", str(paths.ROOT), "--file", file, *words, limit=limit, env=env
    )


def _run(*words: str, limit: float, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a docker command for at most `limit` seconds; one that takes longer has failed."""
    try:
        return subprocess.run(
            words,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"`{' '.join(words[:2])}` took more than {limit:.0f} seconds")


def _tail(done: "subprocess.CompletedProcess[str]", lines: int = 8) -> str:
    return "\n".join((done.stderr + done.stdout).strip().splitlines()[-lines:])
