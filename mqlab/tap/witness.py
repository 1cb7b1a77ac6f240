"""What the frames of all tapped connections mean: events, in the order in which they happened.

The witness keeps the state that its events make, and reads in it which message a delivery is. What is not on the wire
it works out: where an exchange sends a message, what dies in a queue. Such events say so (`seen`), and are corrected
when the wire shows otherwise.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mqlab.broker.embedded import routing
from mqlab.broker.embedded.errors import AmqpError, Unanswered
from mqlab.broker.embedded.frames import PUBLISH, TAG, read_publish
from mqlab.broker.embedded.methods import read_method
from mqlab.broker.embedded.model import PREDECLARED, REPLY_TO
from mqlab.broker.embedded.properties import Facts
from mqlab.broker.embedded.quorum import DELIVERY_LIMIT
from mqlab.event import Event
from mqlab.frames import without_secrets
from mqlab.state import DEFAULT, State, TraceError, apply, copies
from mqlab.tap.links import Channel, Consumer, Link, Place, Record
from mqlab.tap.reading import (
    binding_facts,
    clean,
    dotted,
    exchange_facts,
    label_of,
    persistent,
    properties_of,
    queue_facts,
    short,
    tags,
)
from mqlab.tap.streams import Unit

PATIENCE = 1.0  # seconds to wait for the broker's word on where a message went
CLOSES = (b"\x00\x14\x00\x28", b"\x00\x0a\x00\x32")  # channel.close, connection.close
MARGIN = 0.05  # seconds after which what should have expired is taken for expired
UNKNOWN = "?"  # the type of an exchange that was declared before the tap
ELSEWHERE = "another program"  # who publishes what did not come through the tap


class Witness:
    """Takes units in the order in which they passed, and gives events.

    `now` tells the seconds since the tap began. `out` gathers the events until somebody takes them; `problems` what the
    witness itself could not make sense of, which is a mistake of ours.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.state = State()
        self.out: list[Event] = []
        self.problems: list[str] = []
        self.began: float | None = None
        self.firehose = False
        self.speakers: dict[int, str] = {}  # port of the broker -> the protocol that is spoken there
        self.version = (4, 3)
        self.exchanges = {name: routing.Exchange(name, kind) for name, kind in PREDECLARED.items()}
        self.places: dict[str, Place] = {}
        self.settings: dict[str, dict[str, Any]] = {}  # of each queue
        self.marks: dict[str, tuple[bytes, int]] = {}  # message -> digest and size of its body
        self.transient: set[str] = set()  # messages that are not kept on disk
        self.due: dict[str, float] = {}  # message -> when it expires
        self.failures: dict[str, int] = {}  # message -> failed deliveries
        self.pending: deque[Unit | Callable[[], None]] = deque()
        self.waiting: dict[int, list[Unit]] = {}  # channel number -> publishes without a record
        self.known: dict[str, Link] = {}  # the broker's name of a connection -> link
        self.alive: dict[int, Link] = {}
        self.links = 0
        self.clients = 0
        self.count = 0

    # ---- in

    def connected(self) -> Link:
        """A client has connected; return what stands for it."""
        self.links += 1
        link = self.alive[self.links] = Link(self.links)
        return link

    def see(self, units: Iterable[Unit]) -> None:
        """Take what has passed."""
        for unit in units:
            self.pending.append(unit)
            if self.firehose and unit.frame[:4] == PUBLISH:
                unit.asked = True
                self.waiting.setdefault(unit.channel, []).append(unit)
            elif unit.way == "<" and unit.frame[:4] in CLOSES:  # of what it refused the broker tells nothing more
                for each in (each for waiting in self.waiting.values() for each in waiting):
                    if each.link is unit.link and unit.channel in (0, each.channel):
                        each.asked = False
        self.advance()

    def listen(self, firehose: bool) -> None:
        """From now on the firehose tells of messages, or does not."""
        self.firehose = firehose
        self.waiting.clear()
        self.advance()

    def ended(self, link: Link, why: str) -> None:
        """A connection is over, for this reason unless it has told another."""
        now = self.now()
        self.pending.append(lambda: self.end(link, why, now))
        self.advance()

    def trouble(self, why: str) -> None:
        """Somebody has done something to the broker or the network."""
        now = self.now()
        self.pending.append(lambda: self.emit(Event("trouble", self.t(now), why=why, seen="wire")))
        self.advance()

    def restarted(self, why: str) -> None:
        """The broker is there again: what it has not kept on disk is gone."""
        self.pending.append(lambda: self.forget_transient(why))
        self.advance()

    def forget_transient(self, why: str) -> None:
        t = self.t(self.now())
        self.emit(Event("trouble", t, why=why, seen="wire"))
        for name, queue in list(self.state.queues.items()):
            settings = self.settings.get(name, {})
            if not settings.get("durable", True):
                self.delete_queue(name, t, "it was not durable", "inferred")
            elif settings.get("type") != "quorum":
                for id in [each for each in queue.ready if each in self.transient]:
                    self.drop(id, t, "it was not kept on disk")

    def record(self, record: Record) -> None:
        """Take the firehose's word on a message."""
        waiting = self.waiting.get(record.channel, [])
        link = self.known.get(record.connection)
        for n, unit in enumerate(waiting):
            if unit.digest != record.digest or unit.size != record.size or (link or unit.link) is not unit.link:
                continue
            publish = read_publish(unit.frame)
            if (publish.exchange, publish.key) == (record.exchange, record.key):
                unit.routed = tuple(sorted(record.queues))
                self.known[record.connection] = unit.link
                del waiting[n]
                self.advance()
                return
        if link is None:  # not of a tapped connection
            self.pending.append(lambda: self.from_elsewhere(record))
            self.advance()

    def advance(self) -> None:
        """Interpret what is there, up to a message whose record is still to come."""
        while self.pending:
            unit = self.pending[0]
            if isinstance(unit, Unit):
                if self.firehose and unit.frame[:4] == PUBLISH and unit.routed is None:
                    if unit.asked and self.now() < unit.t + PATIENCE:
                        return
                    waiting = self.waiting.get(unit.channel, [])
                    if unit in waiting:
                        waiting.remove(unit)
                self.pending.popleft()
                self.attempt(lambda unit=unit: self.read(unit))  # type: ignore[misc]
            else:
                self.pending.popleft()
                self.attempt(unit)

    def attempt(self, step: Callable[[], object]) -> None:
        """What the witness cannot make sense of must not stop it."""
        try:
            step()
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")

    def tick(self) -> None:
        """Let time pass: records that do not come, messages that expire."""
        self.advance()
        if self.due and not self.pending:
            self.attempt(self.expire)

    # ---- out

    def t(self, seconds: float) -> float:
        """Seconds since the first event."""
        if self.began is None:
            self.began = seconds
        return round(seconds - self.began, 6)

    def emit(self, event: Event) -> None:
        """Tell an event, which has to follow from the state; keep the state."""
        message = self.state.messages.get(event.message) if event.message else None
        if message and event.kind != "publish":  # so that whoever reads it need not look for what it is about
            again = {"again": message.deliveries} if event.kind == "deliver" and message.deliveries else event.facts
            who, queue = event.who or message.holder, event.queue or message.queue
            event = event._replace(label=message.label, who=who, queue=queue, facts=again)
        if event.t < self.state.t:  # what follows from a later sight
            event = event._replace(t=self.state.t)
        try:
            apply(self.state, event)
        except TraceError as error:
            self.problems.append(str(error))
        else:
            self.out.append(event)

    def tell(self, unit: Unit, kind: str, **fields: Any) -> None:
        """Tell an event that this unit is."""
        link = unit.link
        self.emit(
            Event(
                kind,
                self.t(unit.t),
                seen="wire",
                connection=link.name,
                channel=unit.channel,
                way=unit.way,
                frame=without_secrets(unit.frame),
                header=unit.header,
                body=unit.body,
                **fields,
            )
        )

    def infer(self, t: float, kind: str, seen: str = "inferred", **fields: Any) -> None:
        """Tell an event that follows from others; `t` as the trace has it."""
        self.emit(Event(kind, t, seen=seen, **fields))

    # ---- methods

    def read(self, unit: Unit) -> None:
        """Interpret a method."""
        link: Link = unit.link
        if link.over:
            return
        if not link.name:
            if unit.frame[:4] != b"\x00\x0a\x00\x0b":  # connection.start-ok
                if unit.frame[:4] == b"\x00\x0a\x00\x0a":
                    self.read_version(unit.frame)
                link.early.append(unit)
                return
            self.connect(unit, link)
            return
        channel = link.channels.get(unit.channel)
        handler = HOT[unit.way].get(unit.frame[:4])
        if handler and channel:
            handler(self, unit, link, channel)
            return
        try:
            method = read_method(unit.frame)
        except (AmqpError, Unanswered):
            self.tell(unit, "frame", label="unreadable method")
            return
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", getattr(method, "name", "")).replace(".", "_").lower()
        side = "client" if unit.way == ">" else "broker"
        action = getattr(self, f"{side}_{name}", None)
        told = len(self.out)
        if action:
            action(unit, link, channel, method)
        if len(self.out) == told or not any(event.frame for event in self.out[told:]):
            self.tell(unit, "frame", label=dotted(name))

    def connect(self, unit: Unit, link: Link) -> None:
        """The client has told who it is."""
        try:
            properties = read_method(unit.frame).client_properties or {}
        except (AmqpError, Unanswered):
            properties = {}
        name = str(properties.get("connection_name") or "")
        if not name:
            self.clients += 1
            name = f"client {self.clients}"
        link.name = self.unused(name[:60])
        first = link.early[0] if link.early else unit
        self.emit(Event("connect", self.t(first.t), connection=link.name, seen="wire"))
        for early in link.early:
            self.tell(early, "frame", label="connection.start")
        link.early.clear()
        self.tell(unit, "frame", label="connection.start-ok")

    def unused(self, name: str) -> str:
        """Return the name, with a number where a connection that is open has it."""
        names = {each.name for each in self.state.connections.values() if each.open}
        return next(each for n in range(1, len(names) + 2) if (each := name if n == 1 else f"{name} {n}") not in names)

    def read_version(self, frame: bytes) -> None:
        found = re.search(rb"versionS....(\d+)\.(\d+)", frame, re.DOTALL)
        if found:
            self.version = (int(found[1]), int(found[2]))

    def ask(self, channel: Channel | None, method: Any) -> bool:
        """Note a question; tell whether no answer will come, so that it holds at once."""
        if channel is None or getattr(method, "nowait", False):
            return True
        channel.asked.append(method)
        return False

    def answered(self, channel: Channel | None) -> Any:
        return channel.asked.popleft() if channel and channel.asked else None

    # connections and channels

    def client_connection_close(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        link.why = "" if method.reply_code in (0, 200) else f"{method.reply_code} {method.reply_text}"

    def broker_connection_close(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        link.why = f"{method.reply_code} {method.reply_text}"
        self.tell(unit, "frame", label="connection.close", why=link.why)
        self.end(link, link.why, unit.t)

    def broker_connection_close_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.tell(unit, "frame", label="connection.close-ok")
        self.end(link, "", unit.t)

    def broker_connection_blocked(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.tell(unit, "block", why=method.reason)

    def broker_connection_unblocked(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.tell(unit, "unblock")

    def broker_channel_open_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        link.channels[unit.channel] = Channel(unit.channel)
        self.tell(unit, "open")

    def client_channel_close(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.ask(channel, method)

    def broker_channel_close_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel:
            self.end_channel(link, channel, self.t(unit.t), "", f"{link.name} closed its channel")
            del link.channels[unit.channel]
        self.tell(unit, "close")

    def broker_channel_close(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        why = f"{method.reply_code} {method.reply_text}"
        if channel:
            self.end_channel(link, channel, self.t(unit.t), why, f"the broker closed the channel of {link.name}")
            del link.channels[unit.channel]
        self.tell(unit, "close", why=why)

    def end_channel(self, link: Link, channel: Channel, t: float, why: str, requeued: str) -> None:
        """What was unacked goes back, its consumers go."""
        for id in channel.unacked.values():
            self.requeue(id, t, requeued, failed=True)
        channel.unacked.clear()
        channel.consumers.clear()
        mine = [
            key for key, c in self.state.consumers.items() if (c.connection, c.channel) == (link.name, channel.number)
        ]
        for queue, who in mine:
            self.infer(t, "cancel", "wire", queue=queue, who=who, why=why, connection=link.name)
            self.without_consumer(queue, t)
        for id in (*channel.returns, *channel.stuck):
            if id in self.state.messages and self.state.messages[id].state == "published":
                self.drop(id, t, f"the channel was closed: {why}" if why else "no queue takes it")

    def end(self, link: Link, why: str, now: float) -> None:
        """A connection is over."""
        if link.over:
            return
        link.over = True
        self.alive.pop(link.number, None)
        self.known = {name: each for name, each in self.known.items() if each is not link}
        if not link.name:
            return
        why = why if link.why is None else link.why
        t = self.t(now)
        for channel in link.channels.values():
            self.end_channel(link, channel, t, why, f"the connection of {link.name} ended")
        link.channels.clear()
        for queue, who in [key for key, c in self.state.consumers.items() if c.connection == link.name]:
            self.infer(t, "cancel", "wire", queue=queue, who=who, connection=link.name)
        for queue in sorted(link.exclusive & self.settings.keys()):
            self.delete_queue(queue, t, "it was for that connection only", "inferred")
        self.emit(Event("disconnect", t, connection=link.name, why=why, seen="wire"))

    # exchanges, queues, bindings

    def client_exchange_declare(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.exchange_declared(unit, method)

    def broker_exchange_declare_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.exchange_declared(unit, asked)

    def exchange_declared(self, unit: Unit, method: Any) -> None:
        if method.passive or not method.exchange:
            return
        facts = exchange_facts(method.exchange_type, method.durable, method.auto_delete, method.arguments or {})
        self.know_exchange(method.exchange, facts)
        self.tell(unit, "exchange", exchange=method.exchange, facts=facts)

    def know_exchange(self, name: str, facts: dict[str, Any]) -> None:
        if name not in self.exchanges:
            arguments = {"alternate-exchange": facts["alternate"]} if facts.get("alternate") else {}
            delete = facts.get("auto_delete", False)
            self.exchanges[name] = routing.Exchange(name, facts["type"], auto_delete=delete, arguments=arguments)

    def client_exchange_delete(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.exchange_deleted(unit, method)

    def broker_exchange_delete_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.exchange_deleted(unit, asked)

    def exchange_deleted(self, unit: Unit, method: Any) -> None:
        if method.exchange in self.state.exchanges:
            self.unknow_exchange(method.exchange)
            self.tell(unit, "delete", exchange=method.exchange)

    def unknow_exchange(self, name: str) -> None:
        for id in list(self.state.exchanges[name].holding):
            self.drop(id, self.state.t, "its exchange is deleted")
        self.exchanges.pop(name, None)
        for exchange in self.exchanges.values():
            exchange.bindings = [
                b for b in exchange.bindings if b.destination.name != name or b.destination.kind == "queue"
            ]

    def client_queue_declare(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.queue_declared(unit, link, channel, method, method.queue)

    def broker_queue_declare_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.queue_declared(unit, link, channel, asked, method.queue)

    def queue_declared(self, unit: Unit, link: Link, channel: Channel | None, method: Any, name: str) -> None:
        if channel:
            channel.last_queue = name
        if name.startswith(f"{REPLY_TO}."):  # an address that is asked for, and no queue
            return
        if method.passive:
            self.know_queue(name, {})
            if name not in self.state.queues:
                self.tell(unit, "declare", queue=name)
            return
        facts = queue_facts(method.durable, method.exclusive, method.auto_delete, method.arguments or {})
        if method.exclusive:
            link.exclusive.add(name)
        self.know_queue(name, facts)
        self.tell(unit, "declare", queue=name, facts=facts)

    def know_queue(self, name: str, facts: dict[str, Any]) -> None:
        self.places.setdefault(name, Place(name))
        self.settings.setdefault(name, {}).update(facts)

    def client_queue_delete(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.queue_deleted(unit, method.queue or (channel.last_queue if channel else ""))

    def broker_queue_delete_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.queue_deleted(unit, asked.queue or (channel.last_queue if channel else ""))

    def queue_deleted(self, unit: Unit, name: str) -> None:
        if name in self.state.queues:
            self.delete_queue(name, self.t(unit.t), "the queue is deleted", "wire", unit)

    def delete_queue(self, name: str, t: float, why: str, seen: str, unit: Unit | None = None) -> None:
        if name not in self.state.queues:
            return
        held = [id for c in self.state.consumers.values() if c.queue == name for id in c.holding]
        for id in [*self.state.queues[name].ready, *held]:
            self.drop(id, t, why, seen)
        if unit:
            self.tell(unit, "delete", queue=name)
        else:
            self.infer(t, "delete", seen, queue=name, why=why)
        self.places.pop(name, None)
        self.settings.pop(name, None)
        self.unbind_queue(name)

    def unbind_queue(self, name: str) -> None:
        for exchange in list(self.exchanges.values()):
            kept = [b for b in exchange.bindings if b.destination.name != name or b.destination.kind != "queue"]
            gone, exchange.bindings = len(exchange.bindings) - len(kept), kept
            if gone:
                self.auto_delete_exchange(exchange)

    def auto_delete_exchange(self, exchange: routing.Exchange) -> None:
        if exchange.auto_delete and not exchange.bindings and exchange.name in self.state.exchanges:
            self.unknow_exchange(exchange.name)
            self.infer(self.state.t, "delete", exchange=exchange.name, why="its last binding has gone")

    def client_queue_purge(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.purged(unit, method.queue or (channel.last_queue if channel else ""))

    def broker_queue_purge_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.purged(unit, asked.queue or (channel.last_queue if channel else ""))

    def purged(self, unit: Unit, name: str) -> None:
        queue = self.state.queues.get(name)
        for n, id in enumerate(list(queue.ready) if queue else []):
            if n == 0:
                self.forget(id)
                self.tell(unit, "drop", message=id, why="the queue was purged")
            else:
                self.drop(id, self.t(unit.t), "the queue was purged", "wire")

    def client_queue_bind(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        method.queue = method.queue or (channel.last_queue if channel else "")
        if self.ask(channel, method):
            self.bound(unit, method, True)

    def client_queue_unbind(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        method.queue = method.queue or (channel.last_queue if channel else "")
        self.ask(channel, method)

    def client_exchange_bind(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.bound(unit, method, True)

    def client_exchange_unbind(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.bound(unit, method, False)

    def broker_queue_bind_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.bound(unit, asked, True)

    broker_exchange_bind_ok = broker_queue_bind_ok

    def broker_queue_unbind_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if asked := self.answered(channel):
            self.bound(unit, asked, False)

    broker_exchange_unbind_ok = broker_queue_unbind_ok

    def bound(self, unit: Unit, method: Any, there: bool) -> None:
        to_queue = hasattr(method, "queue")
        source, to = (method.exchange, method.queue) if to_queue else (method.source, method.destination)
        changed = self.know_binding(
            source, "queue" if to_queue else "exchange", to, method.routing_key, method.arguments, there
        )
        if not changed:
            return
        facts = binding_facts(method.arguments or {}, "" if to_queue else to)
        fields = {
            "exchange": source,
            "key": method.routing_key,
            "queue": to if to_queue else "",
            "facts": facts or None,
        }
        if source not in self.state.exchanges:
            kind = self.exchanges[source].type
            self.infer(self.t(unit.t), "exchange", exchange=source, facts={"type": kind})
        self.tell(unit, "bind" if there else "unbind", **fields)
        if not there:
            self.auto_delete_exchange(self.exchanges[source])

    def know_binding(self, source: str, kind: str, to: str, key: str, arguments: Any, there: bool) -> bool:
        """Note a binding, or that it has gone; tell whether that is news."""
        if not source:
            return False
        exchange = self.exchanges.setdefault(source, routing.Exchange(source, UNKNOWN))
        if kind == "queue":
            self.know_queue(to, {})
            destination: Any = self.places[to]
        else:
            destination = self.exchanges.setdefault(to, routing.Exchange(to, UNKNOWN))
        values = dict(arguments or {})
        found = [
            b for b in exchange.bindings if (b.destination, b.key, dict(b.arguments)) == (destination, key, values)
        ]
        if there and not found:
            exchange.bindings.append(routing.Binding(exchange, destination, key, values))
        elif found and not there:
            exchange.bindings.remove(found[0])
        return bool(found) != there

    # consumers

    def client_basic_qos(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.ask(channel, method)

    def broker_basic_qos_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if (asked := self.answered(channel)) and channel:
            channel.prefetch = asked.prefetch_count
            shared = bool(asked.global_) and self.version < (4, 3)
            self.tell(unit, "qos", facts={"prefetch": asked.prefetch_count} | ({"shared": True} if shared else {}))

    def client_basic_consume(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        method.queue = method.queue or (channel.last_queue if channel else "")
        if self.ask(channel, method) and channel:
            self.consuming(unit, link, channel, method, method.consumer_tag)

    def broker_basic_consume_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if (asked := self.answered(channel)) and channel:
            self.consuming(unit, link, channel, asked, method.consumer_tag)

    def consuming(self, unit: Unit, link: Link, channel: Channel, method: Any, tag: str) -> None:
        link.consumers += 1
        who = link.name if link.consumers == 1 else f"{link.name} #{link.consumers}"
        queue = link.replies if method.queue == REPLY_TO else method.queue
        channel.consumers[tag] = Consumer(queue, who, method.no_ack)
        self.know_queue(queue, {"auto_delete": True} if method.queue == REPLY_TO else {})
        facts = {"prefetch": 0 if method.no_ack else channel.prefetch, "auto_ack": bool(method.no_ack)}
        self.tell(unit, "consume", queue=queue, who=who, facts={k: v for k, v in facts.items() if v} or None)

    def client_basic_cancel(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.cancelled(unit, link, channel, method.consumer_tag, "")

    def broker_basic_cancel_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.answered(channel):
            self.cancelled(unit, link, channel, method.consumer_tag, "")

    def broker_basic_cancel(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.cancelled(unit, link, channel, method.consumer_tag, "the broker has cancelled it")

    def cancelled(self, unit: Unit, link: Link, channel: Channel | None, tag: str, why: str) -> None:
        """A consumer takes no more messages; what it holds it may still ack, so it leaves the picture after that."""
        consumer = channel.consumers.pop(tag, None) if channel else None
        if consumer is None:
            return
        known = self.state.consumers.get((consumer.queue, consumer.who))
        if known and not known.holding:
            self.tell(unit, "cancel", queue=consumer.queue, who=consumer.who, why=why)
        else:
            self.tell(unit, "frame", label="basic.cancel-ok" if not why else "basic.cancel")
        self.without_consumer(consumer.queue, self.t(unit.t))

    def without_consumer(self, queue: str, t: float) -> None:
        others = any(c.queue == queue for channel in self.channels() for c in channel.consumers.values())
        if self.settings.get(queue, {}).get("auto_delete") and not others:
            held = any(c.queue == queue and c.holding for c in self.state.consumers.values())
            if not held:
                self.delete_queue(queue, t, "its last consumer has gone", "inferred")

    def channels(self) -> Iterator[Channel]:
        """All open channels."""
        for link in self.alive.values():
            yield from link.channels.values()

    # messages that are published

    def client_confirm_select(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.ask(channel, method):
            self.confirming(unit, channel)

    def broker_confirm_select_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if self.answered(channel):
            self.confirming(unit, channel)

    def confirming(self, unit: Unit, channel: Channel | None) -> None:
        if channel and channel.unconfirmed is None:
            channel.unconfirmed = OrderedDict()
        self.tell(unit, "confirms")

    def publish(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.publish, with its message."""
        if channel.transaction is not None:
            channel.transaction.append(unit)
            self.tell(unit, "frame", label="basic.publish")
        else:
            self.published(unit, link, channel)

    def published(self, unit: Unit, link: Link, channel: Channel, as_frame: bool = True) -> None:
        publish = read_publish(unit.frame)
        exchange, key = clean(publish.exchange) or DEFAULT, clean(publish.key)
        self.count += 1
        id, label = f"m{self.count}", label_of(unit, self.count)
        properties = properties_of(unit.header)
        t = self.t(unit.t)
        if as_frame:
            self.tell(unit, "publish", message=id, exchange=exchange, key=key, who=link.name, label=label)
        else:
            fields = {"connection": link.name, "channel": channel.number}
            self.infer(
                t,
                "publish",
                "wire",
                message=id,
                exchange=exchange,
                key=key,
                who=link.name,
                label=label,
                **fields,
            )
        self.marks[id] = (unit.digest, unit.size)
        if not persistent(unit.header):
            self.transient.add(id)
        if publish.key.startswith(f"{REPLY_TO}."):  # of these RabbitMQ 3.10 says nothing
            unit.routed = None
        if unit.routed is None:
            queues = self.queues_for(publish.exchange, publish.key, properties)
        else:
            queues = self.named(unit.routed, publish.exchange)
        seen = "inferred" if unit.routed is None else "firehose"
        if queues is None:
            channel.stuck.append(id)
        elif queues:
            self.route(id, queues, t, seen, properties)
        elif publish.mandatory:
            channel.returns.append(id)
        else:
            self.drop(id, t, "no queue takes it", seen)
        if channel.unconfirmed is not None and channel.transaction is None:
            channel.sequence += 1
            channel.unconfirmed[channel.sequence] = (exchange, label)

    def named(self, queues: Iterable[str], exchange: str) -> tuple[str, ...]:
        """The names that queues have here: those of direct reply-to are called after who waits there.

        Of the default exchange RabbitMQ 4.3 says that it routes to the queue of that name, whether there is one or not.
        """
        known = [self.reply_queue() or each if each.startswith(REPLY_TO) else each for each in queues]
        return tuple(each for each in known if exchange or each in self.places)

    def reply_queue(self) -> str | None:
        found = [link.replies for link in self.alive.values() if link.replies in self.settings]
        return found[0] if len(found) == 1 else None

    def queues_for(self, exchange: str, key: str, properties: Facts | None) -> tuple[str, ...] | None:
        """Work out where a message goes; None where that cannot be known."""
        keys = [key, *(properties.cc + properties.bcc if properties else ())]
        if not exchange:
            names = [self.reply_queue() if each.startswith(f"{REPLY_TO}.") else each for each in dict.fromkeys(keys)]
            if None in names:
                return None
            return tuple(sorted(name for name in names if name in self.places))
        if exchange not in self.exchanges:
            return None
        headers: Mapping[str, Any] = properties.table() if properties else {}
        try:
            found = routing.route(self.exchanges[exchange], keys, headers, self.exchanges)
        except KeyError:  # an exchange of a type whose choice is not known here
            return None
        return tuple(sorted(each.name for each in found))

    def route(self, id: str, queues: tuple[str, ...], t: float, seen: str, properties: Facts | None) -> None:
        """A message comes into its queues; the full ones refuse it or lose another."""
        exchange = self.state.messages[id].exchange
        self.emit(Event("route", t, id, exchange=exchange, queues=queues, seen=seen))
        mark = self.marks[id]
        for copy, name in zip(copies(id, len(queues)), queues, strict=True):
            self.marks[copy] = mark
            if id in self.transient:
                self.transient.add(copy)
            settings = self.settings.get(name) or {}
            lives = (settings.get("ttl"), properties.expiration if properties else None)
            if lives != (None, None):
                self.due[copy] = t + min(life for life in lives if life is not None) / 1000
            limit = settings.get("limit")
            if limit is not None and len(self.state.queues[name].ready) > limit:
                if settings.get("overflow", "drop-head") == "drop-head":
                    self.die(self.state.queues[name].ready[0], t, "the queue is full", "maxlen")
                else:
                    self.drop(copy, t, "the queue is full")

    def confirm(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.ack or basic.nack of the broker."""
        tag, flags = TAG.unpack_from(unit.frame, 4)
        refused = unit.frame[3] == 0x78
        first = True
        waiting = channel.unconfirmed if channel.unconfirmed is not None else OrderedDict()
        for number in tags(waiting, tag, bool(flags & 1)):
            exchange, label = waiting.pop(number)
            if (exchange, link.name) not in self.state.senders:
                continue
            fields = {
                "exchange": exchange,
                "who": link.name,
                "label": label,
                "facts": {"refused": True} if refused else None,
            }
            if first:
                self.tell(unit, "confirm", **fields)
                first = False
            else:
                self.infer(self.t(unit.t), "confirm", "wire", connection=link.name, **fields)
        if first:
            self.tell(unit, "frame", label="basic.nack" if refused else "basic.ack")

    def returned(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.return: what no queue takes comes back."""
        code = int.from_bytes(unit.frame[4:6], "big")
        at = 7 + unit.frame[6]
        why = "no queue takes it" if code == 312 else f"{code} {unit.frame[7:at].decode(errors='replace')}"
        exchange, at = short(unit.frame, at)
        key, at = short(unit.frame, at)
        place = exchange or DEFAULT
        mark = (unit.digest, unit.size)
        message = None
        for id in (*channel.returns, *channel.stuck):
            known = self.state.messages.get(id)
            if (
                known
                and known.state == "published"
                and (known.exchange, known.key, self.marks.get(id)) == (place, key, mark)
            ):
                message = id
                break
        if message is None:  # it was thought to have gone to a queue
            ready = (each for each in self.state.messages.values() if each.state == "ready")
            told = (place, key, link.name, mark)
            same = (m.id for m in ready if (m.exchange, m.key, m.producer, self.marks.get(m.id)) == told)
            message = next(same, None)
        if message is None:
            self.tell(unit, "frame", label="basic.return")
            return
        for kept in (channel.returns, channel.stuck):
            if message in kept:
                kept.remove(message)
        self.forget(message)
        self.tell(unit, "return", message=message, why=why)

    # messages that are delivered

    def deliver(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.deliver."""
        tag, at = short(unit.frame, 4)
        number, _ = TAG.unpack_from(unit.frame, at)
        consumer = channel.consumers.get(tag)
        if consumer is None:  # its consume came before the tap
            self.tell(unit, "frame", label="basic.deliver")
            return
        exchange, at = short(unit.frame, at + 9)
        key, _ = short(unit.frame, at)
        self.hand_over(unit, link, channel, consumer, number, exchange, key)

    def got(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.get-ok."""
        asked = self.answered(channel)
        if asked is None:
            self.tell(unit, "frame", label="basic.get-ok")
            return
        number, _ = TAG.unpack_from(unit.frame, 4)
        exchange, at = short(unit.frame, 13)
        key, _ = short(unit.frame, at)
        self.hand_over(unit, link, channel, Consumer(asked.queue, link.name, asked.no_ack), number, exchange, key)

    def client_basic_get(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        method.queue = method.queue or (channel.last_queue if channel else "")
        self.know_queue(method.queue, {})
        self.ask(channel, method)

    def broker_basic_get_empty(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.answered(channel)

    def hand_over(
        self, unit: Unit, link: Link, channel: Channel, consumer: Consumer, number: int, exchange: str, key: str
    ) -> None:
        id = self.find(unit, consumer.queue, exchange or DEFAULT, key)
        self.tell(unit, "deliver", message=id, queue=consumer.queue, who=consumer.who)
        if consumer.auto_ack:
            self.forget(id)
            self.infer(
                self.t(unit.t), "ack", "wire", message=id, who=consumer.who, why="auto-ack", connection=link.name
            )
        else:
            channel.unacked[number] = id

    def find(self, unit: Unit, queue: str, exchange: str, key: str) -> str:
        """Return the message that is delivered; what was not seen to come into the queue is made to be there."""
        mark = (unit.digest, unit.size)
        messages, t = self.state.messages, self.t(unit.t)

        def same(id: str) -> bool:
            known = messages[id]
            return self.marks.get(id) == mark and known.exchange == exchange and (known.key == key or not key)

        here = self.state.queues.get(queue)
        if here:
            if here.ready and same(here.ready[0]):
                return here.ready[0]
            for id in here.ready:
                if same(id):
                    return id
        for consumer in self.state.consumers.values():  # it went back, and the tap did not hear of it yet
            if consumer.queue == queue:
                for id in consumer.holding:
                    if same(id):
                        self.requeue(id, t, "it is delivered again", failed=True)
                        return id
        place = self.state.exchanges.get(exchange)
        for id in place.holding if place else ():  # it went to a queue after all
            if same(id):
                self.route(id, (queue,), t, "inferred", properties_of(unit.header))
                return id
        for died in self.from_death(unit, mark):
            return self.come_from_death(died, queue, exchange, key, t)
        return self.appear(mark, exchange, key, (queue,), t, label_of(unit, self.count + 1), "inferred")

    def from_death(self, unit: Unit, mark: tuple[bytes, int]) -> Iterator[str]:
        """Give the message in another queue that this one was before it was dead-lettered: its headers tell."""
        if b"x-death" not in unit.header:
            return
        properties = properties_of(unit.header)
        deaths = properties.table().get("x-death") if properties else None
        origin = deaths[0].get("queue", "") if deaths else ""
        queue = self.state.queues.get(origin)
        held = [id for c in self.state.consumers.values() if c.queue == origin for id in c.holding]
        yield from (id for id in [*(queue.ready if queue else ()), *held] if self.marks.get(id) == mark)

    def come_from_death(self, id: str, queue: str, exchange: str, key: str, t: float) -> str:
        label, origin = self.state.messages[id].label, self.state.messages[id].queue
        self.infer(t, "dead-letter", message=id, why="the message says so")
        self.again(id, label, origin, exchange, key, (queue,), t)
        return id

    def from_elsewhere(self, record: Record) -> None:
        """The firehose tells of a message that did not come through the tap."""
        t = self.t(self.now())
        self.count += 1
        label = record.label or str(self.count)
        mark, who = (record.digest, record.size), self.speaker(record)
        if who != ELSEWHERE and who not in self.state.connections:
            self.infer(t, "connect", "firehose", connection=who)
        self.appear(mark, record.exchange or DEFAULT, record.key, record.queues, t, label, "firehose", who)

    def speaker(self, record: Record) -> str:
        """Return which protocol a message came by, as the broker's port tells; AMQP 0-9-1 has no say on channel 0."""
        port = record.connection.rpartition(":")[2]
        if port.isdigit() and int(port) in self.speakers:
            return self.speakers[int(port)]
        return "AMQP 1.0" if record.channel == 0 and port.isdigit() else ELSEWHERE

    def appear(
        self,
        mark: tuple[bytes, int],
        exchange: str,
        key: str,
        queues: tuple[str, ...],
        t: float,
        label: str,
        seen: str,
        who: str = ELSEWHERE,
    ) -> str:
        """A message is there that nobody was seen to publish."""
        self.count += 1
        id = f"m{self.count}"
        self.infer(t, "publish", seen, message=id, exchange=exchange, key=key, who=who, label=label)
        self.marks[id] = mark
        queues = self.named(queues, exchange.replace(DEFAULT, "")) if seen == "firehose" else queues
        if queues:
            self.route(id, queues, t, seen, None)
        else:
            self.drop(id, t, "no queue takes it", seen)
        return id

    # messages that end, or come back

    def acked(self, unit: Unit, link: Link, channel: Channel) -> None:
        """basic.ack of a client."""
        tag, flags = TAG.unpack_from(unit.frame, 4)
        self.settle(unit, link, channel, tag, bool(flags & 1), "ack", "")

    def client_basic_nack(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel:
            kind = "requeue" if method.requeue else "reject"
            self.settle(
                unit, link, channel, method.delivery_tag, method.multiple, kind, "nacked", self.version < (4, 3)
            )

    def client_basic_reject(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel:
            kind = "requeue" if method.requeue else "reject"
            self.settle(unit, link, channel, method.delivery_tag, False, kind, "rejected")

    def client_basic_recover(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.ask(channel, method)

    def broker_basic_recover_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        self.answered(channel)
        for id in list(channel.unacked.values()) if channel else ():
            self.requeue(id, self.t(unit.t), f"{link.name} asked for it", failed=False)
        if channel:
            channel.unacked.clear()

    def settle(
        self,
        unit: Unit,
        link: Link,
        channel: Channel,
        tag: int,
        multiple: bool,
        kind: str,
        verb: str,
        failed: bool = True,
    ) -> None:
        """A client says what became of its deliveries; in a transaction that holds when it is committed."""
        if channel.transaction is not None and kind == "ack":
            channel.transaction.append(unit)
            self.tell(unit, "frame", label="basic.ack")
            return
        t, first = self.t(unit.t), True
        for number in tags(channel.unacked, tag, multiple):
            id = channel.unacked.pop(number)
            message = self.state.messages.get(id)
            if message is None or message.state != "unacked":
                continue
            why = f"{message.holder} {verb} it" if verb else ""
            with_frame = {"unit": unit} if first else {}
            first = False
            if kind == "ack":
                self.forget(id)
                self.happen("ack", id, t, "", link, **with_frame)
            elif kind == "requeue":
                self.requeue(id, t, why, failed, link, **with_frame)
            else:
                self.die(id, t, why, "rejected", link, **with_frame)
            self.after_cancel(message.queue, message.holder, t)
        if first:
            self.tell(unit, "frame", label={"ack": "basic.ack"}.get(kind, "basic.nack"))

    def after_cancel(self, queue: str, who: str, t: float) -> None:
        """A cancelled consumer that has settled its last message leaves the picture."""
        known = self.state.consumers.get((queue, who))
        if known is None or known.holding or not known.channel:  # 0: it only asks by basic.get
            return
        if not any(c.who == who and c.queue == queue for ch in self.channels() for c in ch.consumers.values()):
            self.infer(t, "cancel", "wire", queue=queue, who=who)
            self.without_consumer(queue, t)

    def happen(
        self, kind: str, id: str, t: float, why: str, link: Link | None = None, unit: Unit | None = None
    ) -> None:
        """A message's event: the frame itself, or one that follows from it."""
        if unit:
            self.tell(unit, kind, message=id, why=why)
        else:
            self.infer(
                t, kind, "wire" if link else "inferred", message=id, why=why, connection=link.name if link else ""
            )

    def requeue(
        self, id: str, t: float, why: str, failed: bool, link: Link | None = None, unit: Unit | None = None
    ) -> None:
        message = self.state.messages.get(id)
        if message is None or message.state != "unacked":
            return
        settings = self.settings.get(message.queue, {})
        if settings.get("type") == "quorum" and failed:
            self.failures[id] = self.failures.get(id, 0) + 1
            limit = settings.get("delivery_limit", DELIVERY_LIMIT if self.version >= (4, 0) else -1)
            if 0 <= limit < self.failures[id]:
                self.die(id, t, "it was delivered too often", "delivery_limit", link, unit)
                return
        self.happen("requeue", id, t, why, link or Link(0), unit)

    def die(self, id: str, t: float, why: str, reason: str, link: Link | None = None, unit: Unit | None = None) -> None:
        """A message dies in its queue: it is dead-lettered where the queue has an exchange for that."""
        message = self.state.messages[id]
        dead_to = self.settings.get(message.queue, {}).get("dead_to")
        if not dead_to or (dead_to[0] != DEFAULT and dead_to[0] not in self.exchanges):
            self.forget(id)
            self.happen("expire" if reason == "expired" else "drop", id, t, why, link, unit)
            return
        mark = self.marks.get(id, (b"", 0))
        self.forget(id)
        self.happen("dead-letter", id, t, why, link, unit)
        self.marks[id] = mark
        exchange, key = dead_to
        key = message.key if key is None else key
        queues = self.queues_for("" if exchange == DEFAULT else exchange, key, None) or ()
        if reason != "rejected":
            queues = tuple(each for each in queues if each != message.queue)
        self.again(id, message.label, message.queue, exchange, key, queues, t)

    def again(self, id: str, label: str, who: str, exchange: str, key: str, queues: tuple[str, ...], t: float) -> None:
        """A dead message is published again, by the queue in which it died."""
        mark = self.marks.get(id, (b"", 0))
        self.infer(t, "publish", message=id, exchange=exchange, key=key, who=who, label=label)
        self.marks[id] = mark
        if queues:
            self.route(id, queues, t, "inferred", None)
        else:
            self.drop(id, t, "no queue takes it")

    def drop(self, id: str, t: float, why: str, seen: str = "inferred") -> None:
        self.forget(id)
        self.infer(t, "drop", seen, message=id, why=why)

    def forget(self, id: str) -> None:
        """A message is about to end."""
        self.marks.pop(id, None)
        self.transient.discard(id)
        self.due.pop(id, None)
        self.failures.pop(id, None)

    def expire(self) -> None:
        """What has waited too long at the head of a queue is gone."""
        now = self.t(self.now())
        for name in {self.state.messages[id].queue for id in self.due}:
            ready = self.state.queues[name].ready if name in self.state.queues else ()
            while ready and self.due.get(ready[0], now) + MARGIN < now:
                self.die(ready[0], now, "it has waited too long", "expired")

    # transactions

    def client_tx_select(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel and channel.transaction is None:
            channel.transaction = []

    def broker_tx_commit_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel is None or channel.transaction is None:
            return
        self.tell(unit, "frame", label="tx.commit-ok")
        done, channel.transaction = channel.transaction, None
        for each in done:
            each.t = unit.t
            if each.frame[:4] == PUBLISH:
                self.published(each, link, channel, as_frame=False)
                continue
            tag, flags = TAG.unpack_from(each.frame, 4)
            for number in tags(channel.unacked, tag, bool(flags & 1)):
                id = channel.unacked.pop(number)
                self.forget(id)
                self.happen("ack", id, self.t(unit.t), "", link)
        channel.transaction = []

    def broker_tx_rollback_ok(self, unit: Unit, link: Link, channel: Channel | None, method: Any) -> None:
        if channel and channel.transaction is not None:
            channel.transaction = []

    # ---- what was there before the tap

    def seed(
        self,
        exchanges: Iterable[Mapping[str, Any]],
        queues: Iterable[Mapping[str, Any]],
        bindings: Iterable[Mapping[str, Any]],
    ) -> None:
        """Take what the broker's management API tells of a virtual host."""
        t = self.t(self.now())
        for each in exchanges:
            if each["name"] and not each["name"].startswith("amq."):
                facts = exchange_facts(each["type"], each["durable"], each["auto_delete"], each["arguments"])
                self.know_exchange(each["name"], facts)
                self.infer(t, "exchange", exchange=each["name"], facts=facts)
        for each in queues:
            facts = queue_facts(each["durable"], each.get("exclusive", False), each["auto_delete"], each["arguments"])
            self.know_queue(each["name"], facts)
            self.infer(t, "declare", queue=each["name"], facts=facts)
        for each in bindings:
            kind, to, key = each["destination_type"], each["destination"], each["routing_key"]
            if self.know_binding(each["source"], kind, to, key, each["arguments"], True):
                told = binding_facts(each["arguments"], "" if kind == "queue" else to) or None
                queue = to if kind == "queue" else ""
                self.infer(t, "bind", exchange=each["source"], queue=queue, key=key, facts=told)


Handler = Callable[[Witness, Unit, Link, Channel], None]
HOT: dict[str, dict[bytes, Handler]] = {
    ">": {PUBLISH: Witness.publish, b"\x00\x3c\x00\x50": Witness.acked},
    "<": {
        b"\x00\x3c\x00\x3c": Witness.deliver,
        b"\x00\x3c\x00\x47": Witness.got,
        b"\x00\x3c\x00\x32": Witness.returned,
        b"\x00\x3c\x00\x50": Witness.confirm,
        b"\x00\x3c\x00\x78": Witness.confirm,
    },
}
