"""The routing playground: the reader chooses bindings and a key; an answer is worked out, the broker's beside it."""

from __future__ import annotations

import base64
import html
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from mqlab.broker.embedded import routing
from mqlab.broker.explain import explain
from mqlab.broker.node import BrokerError
from mqlab.tap import Tap
from mqlab.views import still, topology

KINDS = ("topic", "direct", "fanout", "headers")
LIMIT = 5  # seconds for each step of the way to the broker
PATIENCE = 2.0  # seconds for a function of the reader's own
LONGEST = 255  # bytes of a routing key

Topic = Callable[[str, str], object]
Bindings = dict[str, tuple[tuple[str, dict[str, str]], ...]]  # queue -> its bindings: key, arguments


class Problem(Exception):
    """What keeps a message from being published, in words for the reader."""


@dataclass(frozen=True)
class Answer:
    """Which queues were expected to get a message, by reader and by rule, and which ones did."""

    key: str
    expected: list[str]
    worked_out: list[str]
    arrived: list[str]

    @property
    def same(self) -> bool:
        return self.worked_out == self.arrived


# ---- what the reader has typed, and what follows from it


def pairs(text: str) -> dict[str, str]:
    """Return `name=value name=value` as a dict. Problem: a word is no such pair."""
    found = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise Problem(f"“{word}” is no header. Write name=value, with a space between two of them.")
        found[name] = value
    return found


def bindings_of(kind: str, texts: Mapping[str, str]) -> Bindings:
    """Return what each queue's text means for an exchange of this kind. An empty text is no binding.

    topic, direct: keys, with a space between two. fanout: whatever stands there. headers: one binding of name=value.
    """
    if kind == "headers":
        return {queue: (("", pairs(text)),) if text.strip() else () for queue, text in texts.items()}
    if kind == "fanout":
        return {queue: (("", {}),) if text.strip() else () for queue, text in texts.items()}
    return {queue: tuple((_fitting(key), {}) for key in dict.fromkeys(text.split())) for queue, text in texts.items()}


def work_out(kind: str, bindings: Bindings, key: str, headers: dict[str, str], topic: Topic | None = None) -> list[str]:
    """Return the queues that get a message, by the rule of this kind; `topic(pattern, key)` replaces the one of topic.

    Problem: `topic` failed, or did not come back in PATIENCE seconds.
    """
    rule = routing.TYPES[kind]
    if topic and kind == "topic":
        rule = _patient(topic)
    source = routing.Exchange("", kind)
    return [
        queue
        for queue, bound in bindings.items()
        if any(rule(routing.Binding(source, None, own, arguments), key, headers) for own, arguments in bound)
    ]


def _patient(topic: Topic) -> Callable[[routing.Binding, str, routing.Headers], bool]:
    """Return `topic` as a rule that neither hangs nor raises anything but Problem."""

    def rule(binding: routing.Binding, key: str, headers: routing.Headers) -> bool:
        said: list[object] = []

        def ask() -> None:
            try:
                said.append(bool(topic(binding.key, key)))
            except BaseException as error:
                said.append(Problem(f"Your function stopped: {type(error).__name__}: {error}"))

        # A click comes in a thread that Python cannot interrupt; so the function gets one that can be left behind.
        thread = threading.Thread(target=ask, name="mqlab rule", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not said:
            raise Problem(f"Your function was still running after {PATIENCE:g} s. What makes it stop?")
        if isinstance(said[0], Problem):
            raise said[0]
        return bool(said[0])

    return rule


def _fitting(key: str) -> str:
    if len(key.encode()) > LONGEST:
        raise Problem(f"A key has room for {LONGEST} bytes, and this one has {len(key.encode())}.")
    return key


# ---- what the broker does


def _refusal(error: Exception) -> str:
    """Say what the broker refused, or why it cannot be asked."""
    text = str(error)
    if "wildcards" in text:
        return "RabbitMQ refuses that binding: a topic binding may have two # at most."
    if "x-match" in text:
        return "RabbitMQ refuses that binding: x-match is all, any, all-with-x or any-with-x."
    return explain(error) or text or type(error).__name__


class Playground(ipywidgets.VBox):
    """The fields, the button, the answer, and the picture of what passes the tap."""

    def __init__(
        self,
        tap: Tap,
        bindings: Mapping[str, str],
        kind: str,
        key: str,
        headers: str,
        topic: Topic | None,
        name: Callable[[str], str],
        title: str,
    ) -> None:
        self.title, self._tap, self._topic = title, tap, topic
        self.answer: Answer | None = None
        self.problem = ""
        self._exchange = name("playground")
        self._names = {queue: name(queue) for queue in bindings}  # what the broker calls them
        self._made: tuple[str, Bindings] | None = None  # what is declared there
        self._published = 0
        self._busy = threading.Lock()
        short = {"style": {"description_width": "9em"}, "layout": {"width": "26em"}}
        self.kind = ipywidgets.Dropdown(options=KINDS, value=kind, description="Exchange type", **short)
        self.bindings = {
            queue: ipywidgets.Text(text, description=f"{queue} wants", continuous_update=False, **short)
            for queue, text in bindings.items()
        }
        self.expected = {
            queue: ipywidgets.Checkbox(False, description=f"I say: {queue} gets it", indent=False) for queue in bindings
        }
        self.key = ipywidgets.Text(key, description="Routing key", **short)
        self.headers = ipywidgets.Text(headers, description="Headers", placeholder="name=value name=value", **short)
        self.button = ipywidgets.Button(description="Publish", button_style="primary")
        self.button.on_click(lambda _: self.publish())
        self.kind.observe(lambda change: self._change_kind(change.old, change.new), "value")
        self._others = dict.fromkeys(bindings, "")  # what stood in the fields for headers, or for keys
        self._note, self._says = ipywidgets.HTML(), ipywidgets.HTML()
        self._only = (self._exchange, *self._names.values())
        self.player = topology.show(tap, faults=False, title=title, only=self._only)
        rows = [ipywidgets.HBox([self.bindings[queue], self.expected[queue]]) for queue in bindings]
        message = ipywidgets.HBox([self.key, self.headers, self.button], layout={"flex_flow": "row wrap"})
        super().__init__([self.kind, self._note, *rows, message, self._says, self.player])
        self._explain_fields()
        self._try(self._prepare)

    def publish(self) -> None:
        """Work out where a message with these fields goes, publish it, look where it is, and say so. Never raises."""
        if self._busy.acquire(blocking=False):
            try:
                self._try(self._publish)
            finally:
                self._busy.release()

    def close(self) -> None:
        """Take the playground out of the page; what it has declared stays until it is shown again."""
        self.player.close()
        super().close()

    # --- on the way to the broker

    def _try(self, act: Callable[[], object]) -> None:
        """Do this, and show what comes out: the answer, or in words what went wrong."""
        self.problem = ""
        try:
            act()
        except Problem as problem:
            self.problem = str(problem)
        except (pika.exceptions.AMQPError, AMQPConnectorException, BrokerError, OSError) as error:
            self._made = None
            self.problem = _refusal(error)
        except Exception as error:  # shown in the page: what is raised by a click is lost
            self._made = None
            self.problem = f"{type(error).__name__}: {error}"
        if self.problem:
            self.answer = None
        self._says.value = self._html()

    def _prepare(self) -> None:
        """Declare what is to be seen before the first message, with empty queues."""
        with self._connect() as connection, connection.channel() as channel:
            for queue in self._names.values():
                channel.queue_declare(queue, durable=True)
                channel.queue_purge(queue)
            self._declare(channel, self.kind.value, self._read_bindings())
        self._tap.settle()

    def _publish(self) -> None:
        kind, bindings, key = self.kind.value, self._read_bindings(), _fitting(self.key.value.strip())
        headers = pairs(self.headers.value)
        expected = [queue for queue, box in self.expected.items() if box.value]
        worked_out = work_out(kind, bindings, key, headers, self._topic)
        with self._connect() as connection, connection.channel() as channel:
            self._declare(channel, kind, bindings)
            before = self._counts(channel)
            channel.confirm_delivery()  # so that it is in its queues when we look
            self._published += 1
            properties = pika.BasicProperties(headers=headers or None)
            channel.basic_publish(self._exchange, key, str(self._published).encode(), properties)
            after = self._counts(channel)
        self._tap.settle()
        arrived = [queue for queue in self._names if after[queue] > before[queue]]
        self.answer = Answer(key, expected, worked_out, arrived)

    def _connect(self) -> pika.BlockingConnection:
        parameters = pika.URLParameters(self._tap.url_as("Campus"))
        # The heartbeat ends a wait for a broker that no longer answers.
        parameters.heartbeat = parameters.socket_timeout = parameters.stack_timeout = LIMIT
        parameters.blocked_connection_timeout = LIMIT
        return pika.BlockingConnection(parameters)

    def _declare(self, channel: BlockingChannel, kind: str, bindings: Bindings) -> None:
        """Declare exchange, queues and bindings; an exchange of other bindings is deleted, and all of them with it."""
        if self._made != (kind, bindings):
            channel.exchange_delete(self._exchange)
        elif self._there(channel):
            return
        self._made = None
        channel.exchange_declare(self._exchange, kind, durable=True)
        for queue, bound in bindings.items():
            channel.queue_declare(self._names[queue], durable=True)
            for key, arguments in bound:
                channel.queue_bind(self._names[queue], self._exchange, key, arguments or None)
        self._made = (kind, bindings)

    def _there(self, channel: BlockingChannel) -> bool:
        """Is what was declared still there? The notebook's space may have been emptied since."""
        try:
            with channel.connection.channel() as asking:
                asking.exchange_declare(self._exchange, passive=True)
                for queue in self._names.values():
                    asking.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def _counts(self, channel: BlockingChannel) -> dict[str, int]:
        asked = {queue: channel.queue_declare(name, passive=True) for queue, name in self._names.items()}
        return {queue: said.method.message_count for queue, said in asked.items()}

    # --- on the page

    def _read_bindings(self) -> Bindings:
        return bindings_of(self.kind.value, {queue: field.value for queue, field in self.bindings.items()})

    def _change_kind(self, old: str, new: str) -> None:
        """Keys are no headers: each of the two has texts of its own."""
        if "headers" in (old, new):
            for queue, field in self.bindings.items():
                self._others[queue], field.value = field.value, self._others[queue]
        self._explain_fields()

    def _explain_fields(self) -> None:
        kind = self.kind.value
        words = {
            "topic": "A queue wants patterns, with a space between two. An empty field is no binding.",
            "direct": "A queue wants keys, with a space between two. An empty field is no binding.",
            "fanout": "A queue wants all, whatever stands in its field. An empty field is no binding.",
            "headers": "A queue wants headers: name=value name=value, with x-match=any if one is enough. "
            "An empty field is no binding.",
        }
        self._note.value = f"<div style='line-height:1.4'>{words[kind]}</div>"
        self.headers.disabled = kind != "headers"
        self.key.disabled = kind in ("headers", "fanout")

    def _sentences(self) -> list[str]:
        if self.problem:
            return [self.problem]
        if self.answer is None:
            return ["Nothing is published yet."]
        a = self.answer
        said = [f"Worked out: {_list(a.worked_out)}."]
        if a.same:
            said.append(f"RabbitMQ: {_list(a.arrived)}. The same.")
        else:
            said.append(f"RabbitMQ: {_list(a.arrived)}. They differ: which of the two is wrong?")
        missed = [queue for queue in a.arrived if queue not in a.expected]
        excess = [queue for queue in a.expected if queue not in a.arrived]
        said.append(
            f"You said: {_list(a.expected)}. "
            + ("Right." if not missed + excess else "")
            + (f"It also went to {_list(missed)}. " if missed else "")
            + (f"It did not go to {_list(excess)}." if excess else "")
        )
        return [sentence.strip() for sentence in said]

    def _html(self) -> str:
        lines = "".join(f"<div>{html.escape(sentence)}</div>" for sentence in self._sentences())
        # An alert that comes into the page is read out.
        return f"<div role='alert' style='line-height:1.5; margin:0.3em 0'>{lines}</div>"

    def __repr__(self) -> str:
        return " ".join([f"{self.title} ({self.kind.value}).", *self._sentences()])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        picture, width = still.png(topology.draw(topology.part(self._tap.trace.state(), self._only)))
        return bundle | {"image/png": base64.b64encode(picture).decode("ascii")}, {"image/png": {"width": width}}


def _list(queues: list[str]) -> str:
    return ", ".join(queues) or "no queue"


def show(
    tap: Tap,
    bindings: Mapping[str, str],
    *,
    kind: str = "topic",
    key: str = "",
    headers: str = "",
    topic: Topic | None = None,
    name: Callable[[str], str] = str,
    title: str = "Where does it go?",
) -> Playground:
    """Return a playground: `bindings` says for each queue what stands in its field at first.

    What is published goes to the tap's broker. `topic(pattern, key)` is a reader's own rule for topic exchanges, to be
    held against the broker's answer; `name` makes the broker's names of exchange and queues (rabbit.name).
    """
    return Playground(tap, bindings, kind, key, headers, topic, name, title)
