"""One door to a broker: `start()` gives the address of a RabbitMQ, or of the small broker of this course."""

import atexit
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from mqlab import paths
from mqlab.broker import docker, embedded, explain, local, private, space, watch
from mqlab.broker.node import BrokerError, Node, Unavailable
from mqlab.broker.protocols import Protocols

if TYPE_CHECKING:
    from mqlab.tap import Tap

__all__ = ["Broker", "BrokerError", "release", "start", "start_shared", "status", "stop"]

KINDS = ("auto", "docker", "local", "embedded")
PRIVATE = {"local": local, "embedded": embedded}  # kinds that are a node of the learner's own
Say = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class Broker:
    """A broker and this notebook's own space on it; `url` is all that pika.URLParameters needs."""

    url: str
    kind: str  # docker, local, embedded or address
    version: str
    why: str
    space: str
    line: str  # what it is printed as
    prefix: str = ""  # of every name, where no virtual host could be made
    _asked: set[str] = field(default_factory=set, compare=False)
    _node: Node | None = field(default=None, compare=False)

    def name(self, text: str) -> str:
        """Return the name to use for a queue or an exchange called `text`.

        It is `text` itself, but where the space is a prefix: then it has the prefix, and what an earlier run left under
        that name is deleted when it is first asked for.
        """
        if not self.prefix or not text or text.startswith("amq."):
            return text
        name = self.prefix + text
        if name not in self._asked:
            self._asked.add(name)
            space.forget(self.url, name)
        return name

    def watch(self, **options: Any) -> "Tap":
        """Return a tap: a second address, on which everything is passed on unchanged and told to a trace.

        Another call makes a new one and closes this one (`shared=False`: it does not). Its address is `.url`, its
        trace `.trace`. Where a notebook has a virtual host of its own, the broker is asked where each message goes
        (`firehose=False`: it is not). The trace keeps the newest `limit` events (100,000).
        """
        from mqlab import tap  # it stands on this package

        node = None if self.prefix else self._node
        ours: dict[str, Any] = {}
        if self.kind in KINDS:
            ours = {"halt": lambda: halt(self.kind), "resume": lambda: resume(self.kind)}
        return tap.open_tap(self.url, node, **ours, **options)

    def protocols(self) -> Protocols:
        """Return where MQTT, STOMP, AMQP 1.0 and streams are spoken, in this notebook's own space."""
        return Protocols(f"RabbitMQ {self.version}", self._node, self.url, self.prefix)

    def __str__(self) -> str:
        return self.line

    __repr__ = __str__


def start(kind: str = "auto") -> Broker:
    """Return a broker with an empty space for this notebook, started if need be, and say which it is and why.

    `kind` is auto, docker, local, embedded or an address (amqp://user:password@host:port/vhost). Raises BrokerError.
    """
    node = _node(kind, _say_in_passing)
    name = space.name()
    url, prefix = space.open_own(node, name)
    node = replace(node, version=_greet(node, url))
    if prefix:
        line = f"{node} It lets you make no virtual host, so your space on it is the names that begin with {prefix}"
    else:
        line = f"{node} Your space on it: {name} (empty)."
        if name.startswith("python-"):
            atexit.register(space.close_own, node, name)
    explain.install()
    watch.over(url)
    print(line, flush=True)
    return Broker(url, node.kind, node.version, node.why, name, line, prefix, _node=node)


def start_shared(kind: str = "auto", say: Say | None = None, kept: bool = True) -> Node:
    """Start a broker for the notebooks to come, without a space of its own.

    A node of ours then lives until `stop`; with `kept` false until this process and its session have ended.
    """
    node = _node(kind, say or _say_in_passing, kept)
    if node.kind == "address":
        node = replace(node, version=_greet(node, space.address(node, node.vhost)))
    return node


def status() -> list[str]:
    """Say in a line each which brokers of this course run."""
    secrets = {
        "docker": paths.ROOT / ".env",
        "local": local.folder() / "state.json",
        "embedded": embedded.folder() / "state.json",
    }
    lines = [
        f"{node.place}: port {node.port}; "
        + (f"its own pages are at {node.management} " if node.kind != "embedded" else "it has no pages of its own ")
        + f"(user {node.user}, the password is in {secrets[node.kind]})."
        for node in (docker.running(), local.running(), embedded.running())
        if node
    ]
    return lines or ["No broker of this course is running."]


def stop(erase: bool = False) -> list[str]:
    """Stop the brokers of this course, whoever uses them, and say what was done.

    `erase` also deletes what RabbitMQ in Docker keeps.
    """
    done = []
    if local.stop():
        done.append("Stopped the RabbitMQ installed on this machine.")
    if embedded.stop():
        done.append("Stopped the small broker of this course.")
    if docker.stop(erase):
        done.append("Stopped RabbitMQ in Docker" + (" and deleted what it kept." if erase else "."))
    return done or ["No broker of this course was running."]


def release() -> list[str]:
    """Stop what only this session (`course.py lab` or `test`) needed. Say what was done."""
    done = []
    if local.release():
        done.append("Stopped the RabbitMQ installed on this machine.")
    if embedded.release():
        done.append("Stopped the small broker of this course.")
    if docker.release():
        done.append("Stopped RabbitMQ in Docker.")
    return done


def halt(kind: str) -> None:
    """Stop a broker of this course (docker, local or embedded) as a fault does; what is on disk stays."""
    if kind == "docker":
        docker.halt()
    else:
        private.halt(PRIVATE[kind].folder())


def resume(kind: str) -> None:
    """Start again what `halt` stopped, at the same address, and wait until it answers."""
    if kind == "docker":
        docker.resume()
    else:
        private.resume(PRIVATE[kind].folder())


def _node(kind: str, say: Say, kept: bool = False) -> Node:
    """Find or start the broker that is asked for, by the argument or by MQLAB_BROKER."""
    asked = kind if kind != "auto" else os.environ.get("MQLAB_BROKER") or "auto"
    why = "MQLAB_BROKER asks for it" if kind == "auto" else "you asked for it"
    if re.match(r"amqps?://", asked):
        return _at(asked, why)
    if asked not in KINDS:
        kinds = "auto, docker, local, embedded or an amqp:// address"
        raise BrokerError(f"There is no broker of the kind {asked!r}. Use {kinds}.")
    if asked == "embedded":
        return replace(embedded.start(kept), why=why)
    try:
        if asked == "docker":
            return replace(docker.start(say, kept), why=why)
        if asked == "local":
            return replace(local.start(say, kept), why=why)
    except Unavailable as missing:
        raise BrokerError(f"{_sentence(missing)} {_ways()}") from None
    try:
        return replace(docker.start(say, kept), why="its engine answers")
    except Unavailable as first:
        reason = str(first).partition(" (")[0]
    try:
        return replace(local.start(say, kept), why=reason)
    except Unavailable as second:
        return replace(embedded.start(kept), why=f"{reason}, and {second}")


def _at(url: str, why: str) -> Node:
    """Make a node of an address given by hand."""
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        pika.URLParameters(url)
    except ValueError as problem:
        raise BrokerError(
            f"This is not an AMQP address: {problem}. It looks like amqp://user:password@host:5672/vhost."
        ) from None
    host = parts.hostname or "localhost"
    return Node(
        "address",
        host,
        port,
        unquote(parts.username or "guest"),
        unquote(parts.password or "guest"),
        os.environ.get("MQLAB_MANAGEMENT_URL", f"http://{host}:15672").rstrip("/"),
        why=why,
        scheme=parts.scheme,
        vhost=unquote(parts.path[1:]) or "/",
        query=parts.query,
    )


def _greet(node: Node, url: str) -> str:
    """Connect once with the address, as a learner will; return the version that RabbitMQ tells."""
    try:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            version = connection._impl.server_properties.get("version", b"?")  # pika shows it nowhere else
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as problem:
        place = f"the broker at {node.host}:{node.port}"
        if isinstance(problem, pika.exceptions.ProbableAuthenticationError):
            text = f"{place} refused the user name or the password. Look at the address in MQLAB_BROKER."
        elif isinstance(problem, pika.exceptions.ProbableAccessDeniedError):
            text = f"{place} lets {node.user} into no virtual host {node.vhost}. Look at the address in MQLAB_BROKER."
        else:
            text = f"{place} does not answer. Is it running, and is the address right?"
        raise BrokerError(text[0].upper() + text[1:]) from None
    return version.decode() if isinstance(version, bytes) else str(version)


def _say_in_passing(text: str) -> None:
    """Show what takes a while; the line that comes next is printed over it, on the screen and for nbval."""
    print(text, end="\r", flush=True)


def _sentence(problem: Exception) -> str:
    text = str(problem)
    return f"{text[0].upper()}{text[1:]}."


def _ways() -> str:
    install = {"darwin": "brew install rabbitmq", "win32": "choco install rabbitmq"}.get(
        sys.platform, "sudo apt-get install rabbitmq-server"
    )
    return (
        "Do one of these, then run the cell again: install and start Docker Desktop; or install RabbitMQ "
        f"({install}); or set MQLAB_BROKER to the address of one (amqp://user:password@host:5672/vhost), or to "
        "embedded for the small broker of this course."
    )
