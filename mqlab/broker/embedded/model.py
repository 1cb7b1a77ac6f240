"""The broker without sockets: virtual hosts, their exchanges, queues and bindings, and a message's way through them."""

from __future__ import annotations

import base64
import heapq
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pamqp import decode, encode

from mqlab.broker.embedded import arguments, deadletter
from mqlab.broker.embedded.arguments import Arguments
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.properties import Facts, entries, facts, long, short
from mqlab.broker.embedded.queues import Message, Queue
from mqlab.broker.embedded.quorum import QuorumQueue
from mqlab.broker.embedded.routing import Binding, Exchange, route

if TYPE_CHECKING:
    from mqlab.broker.embedded.journal import Journal

PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.topic": "topic",
    "amq.rabbitmq.trace": "topic",
}
REPLY_TO = "amq.rabbitmq.reply-to"
ROUTES = 10_000  # remembered ways of a virtual host, at most


def generated(prefix: str) -> str:
    """A name that nobody can guess, as the broker makes them."""
    return f"{prefix}-{base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip('=')}"


class Gone:
    """The pseudo-queue of a reply-to consumer that is no longer there."""

    kind = "queue"
    deleted = False

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, message: Message) -> bool:
        return True


class VirtualHost:
    """A world of its own: exchanges, queues, bindings."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.exchanges = {
            name: Exchange(name, kind, internal=name == "amq.rabbitmq.trace") for name, kind in PREDECLARED.items()
        }
        self.queues: dict[str, Queue] = {}
        self.replies: dict[str, Any] = {}  # direct reply-to: queue name -> who waits for the answers
        self.routes: dict[tuple[str, str], list[Any]] = {}
        self.tracing = False  # the firehose is on, see firehose.py
        self.telling = False  # it is publishing a record

    def called(self, kind: str, name: str) -> str:
        """A thing's name as RabbitMQ writes it in its answers."""
        return f"{kind} '{name}' in vhost '{self.name}'"

    # Messages.

    def route(self, exchange: str, key: str, facts: Facts) -> list[Any]:
        """The queues a message goes to, remembered where only exchange and key decide."""
        if (known := self.routes.get((exchange, key))) is not None and not (facts.cc or facts.bcc):
            return known
        by_headers = self.by_headers(exchange)
        queues = self.way(exchange, [key, *facts.cc, *facts.bcc], facts.table() if by_headers else {})
        if not by_headers and not (facts.cc or facts.bcc):
            if len(self.routes) >= ROUTES:
                self.routes.clear()
            self.routes[exchange, key] = queues
        return queues

    def way(self, exchange: str, keys: list[str], headers: dict[str, Any]) -> list[Any]:
        if exchange == "":  # every queue is bound to it by its own name
            found = (self.queues.get(key) or self.reply_queue(key) for key in dict.fromkeys(keys))
            return [queue for queue in found if queue is not None]
        return route(self.exchanges[exchange], keys, headers, self.exchanges)

    def reply_queue(self, name: str) -> Any:
        """Who waits for answers under this name; what comes too late is lost without a word."""
        if name in self.replies:
            return self.replies[name]
        return Gone(name) if name.startswith(self.broker.reply_prefix) else None

    def by_headers(self, exchange: str) -> bool:
        """Do headers decide, or could they in an exchange behind this one?"""
        if exchange == "":
            return False
        return self.exchanges[exchange].internal or any(
            e.type == "headers" and e.bindings for e in self.exchanges.values()
        )

    def dead_letter(self, queue: Queue, message: Message, reason: str, failures: int = 0) -> None:
        """Publishes a message that died in a queue to the queue's dead letter exchange, if there is one."""
        name = queue.arguments.get("x-dead-letter-exchange")
        if name is None or name not in self.exchanges:
            return
        key = queue.arguments.get("x-dead-letter-routing-key")
        known = deadletter.died(message, queue.name, reason, self.broker.clock(), key is not None, failures)
        address = short(name) + (short(key) if key is not None else short_of(message.routing_key))
        dead = Message(address, known.raw, message.body, known)
        for target in self.route(name, dead.routing_key.decode(errors="surrogateescape"), known):
            if reason == "rejected" or not deadletter.is_cycle(target.name, known.deaths):
                target.put(dead)

    # Exchanges.

    def exchange(self, name: str) -> Exchange:
        if (found := self.exchanges.get(name)) is None:
            raise AmqpError("NOT_FOUND", f"no {self.called('exchange', name)}")
        return found

    def declare_exchange(
        self, name: str, kind: str, durable: bool, auto_delete: bool, internal: bool, args: Arguments
    ) -> Exchange:
        arguments.check_exchange_type(kind)
        arguments.refuse_default(name)
        if (found := self.exchanges.get(name)) is not None:
            arguments.check_same_exchange(
                self.called("exchange", name), found, kind, durable, auto_delete, internal, args
            )
            return found
        arguments.check_name("exchange", name)
        arguments.check_string(self.called("exchange", name), "alternate-exchange", args)
        made = self.exchanges[name] = Exchange(name, kind, durable, auto_delete, internal, args)
        self.routes.clear()
        # RabbitMQ 4.3 keeps transient exchanges too.
        spec = {"type": kind, "durable": durable, "auto_delete": auto_delete, "internal": internal}
        self.broker.define(self, "exchange", name, specified(spec, args))
        return made

    def delete_exchange(self, name: str, if_unused: bool = False) -> None:
        arguments.refuse_default(name)
        if name.startswith("amq."):
            raise AmqpError("ACCESS_REFUSED", f"deletion of system {self.called('exchange', name)} not allowed")
        found = self.exchanges.get(name)
        if found is None:
            return
        if if_unused and found.bindings:
            raise AmqpError("PRECONDITION_FAILED", f"{self.called('exchange', name)} in use")
        self.remove_exchange(found)

    def remove_exchange(self, exchange: Exchange) -> None:
        del self.exchanges[exchange.name]
        for binding in exchange.bindings:
            self.broker.undefine(self, "binding", binding_name(binding))
        exchange.bindings.clear()
        self.broker.undefine(self, "exchange", exchange.name)
        self.unbind_all(exchange)

    # Queues.

    def queue(self, name: str, connection: Any) -> Queue:
        """The queue of this name, if this connection may use it."""
        if (found := self.queues.get(name)) is None:
            raise AmqpError("NOT_FOUND", f"no {self.called('queue', name)}")
        self.check_exclusive(found, connection)
        return found

    def check_exclusive(self, queue: Queue, connection: Any, strict: bool = False) -> None:
        if queue.owner is connection or (queue.owner is None and not strict):
            return
        raise AmqpError(
            "RESOURCE_LOCKED",
            f"cannot obtain exclusive access to locked {self.called('queue', queue.name)}. "
            "It could be originally declared on another connection "
            "or the exclusive property value does not match that of the original declaration.",
        )

    def declare_queue(
        self, name: str, durable: bool, exclusive: bool, auto_delete: bool, args: Arguments, connection: Any
    ) -> Queue:
        called = self.called("queue", name)
        durable = durable and not exclusive
        owner = connection if exclusive else None
        args = arguments.with_type(args)
        if not name:
            arguments.check_server_named(args)
            name = generated("amq.gen")
        else:
            arguments.check_name("queue", name)
        if (found := self.queues.get(name)) is not None:
            self.check_exclusive(found, owner, strict=True)
            arguments.check_same_queue(called, found, durable, auto_delete, args)
            found.used()
            return found
        arguments.check_queue(called, durable, exclusive, auto_delete, args)
        self.broker.check_queue_limit(name)
        made = self.make_queue(name, durable, auto_delete, owner, args, self.broker.next_number())
        if durable:
            spec = {"number": made.number, "auto_delete": auto_delete}
            self.broker.define(self, "queue", name, specified(spec, args))
        return made

    def make_queue(
        self, name: str, durable: bool, auto_delete: bool, owner: Any, args: Arguments, number: int
    ) -> Queue:
        made = QuorumQueue if args["x-queue-type"] == "quorum" else Queue
        queue = self.queues[name] = made(self, name, durable, auto_delete, owner, args, number)
        self.routes.clear()
        queue.tick()
        return queue

    def delete_queue(self, queue: Queue) -> None:
        """Deletes a queue with its messages and bindings, and tells its consumers."""
        if self.queues.get(queue.name) is not queue:
            return
        queue.deleted = True
        del self.queues[queue.name]
        for entry in queue.ready:
            queue.forget(entry)
        queue.ready.clear()
        if queue.journal is not None:
            queue.journal.drop_queue(queue.number)
        if queue.durable:
            self.broker.undefine(self, "queue", queue.name)
        self.unbind_all(queue)
        consumers, queue.consumers = queue.consumers, []
        for consumer in consumers:
            consumer.cancelled()

    # Bindings.

    def bind(self, source: str, destination: Exchange | Queue, key: str, args: Arguments) -> None:
        exchange = self.exchange(source)
        arguments.check_binding(exchange.type, key, args)
        if find_binding(exchange, destination, key, args) is None:
            binding = Binding(exchange, destination, key, args)
            exchange.bindings.append(binding)
            self.routes.clear()
            self.broker.define(self, "binding", binding_name(binding), binding_spec(binding))

    def unbind(self, source: str, destination: Exchange | Queue, key: str, args: Arguments) -> None:
        """Takes a binding away; nothing happens where there is none."""
        exchange = self.exchanges.get(source)
        if exchange and (binding := find_binding(exchange, destination, key, args)):
            exchange.bindings.remove(binding)
            self.unbound(exchange, [binding])

    def unbind_all(self, destination: Exchange | Queue) -> None:
        """A destination has gone, its bindings go too."""
        self.routes.clear()
        for exchange in list(self.exchanges.values()):
            gone = [binding for binding in exchange.bindings if binding.destination is destination]
            if gone:
                exchange.bindings = [binding for binding in exchange.bindings if binding.destination is not destination]
                self.unbound(exchange, gone)

    def unbound(self, exchange: Exchange, gone: Iterable[Binding]) -> None:
        """Bindings have gone; an auto-delete exchange goes with its last one."""
        self.routes.clear()
        for binding in gone:
            self.broker.undefine(self, "binding", binding_name(binding))
        if exchange.auto_delete and not exchange.bindings and exchange.name in self.exchanges:
            self.remove_exchange(exchange)


def short_of(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def specified(spec: dict[str, Any], args: Arguments) -> bytes:
    """What the journal keeps of a definition: a table, in it the arguments as they came."""
    return long(encode.field_table(spec)[4:] + short("arguments") + b"F" + long(args.table))


def read_spec(spec: bytes) -> tuple[dict[str, Any], Arguments]:
    values: dict[str, Any] = decode.field_table(spec)[1]
    table = dict(entries(spec[4:]))[b"arguments"][5:]
    return values, Arguments(values["arguments"], table)


def find_binding(exchange: Exchange, destination: Any, key: str, args: Arguments) -> Binding | None:
    same = (
        b
        for b in exchange.bindings
        if b.destination is destination and b.key == key and b.arguments.table == args.table
    )
    return next(same, None)


def binding_spec(binding: Binding) -> bytes:
    to = binding.destination
    spec = {"source": binding.source.name, "kind": to.kind, "to": to.name, "key": binding.key}
    return specified(spec, binding.arguments)


def binding_name(binding: Binding) -> str:
    return binding_spec(binding).hex()


class Broker:
    """All virtual hosts. Time comes from `clock` (seconds since 1970), what lasts goes to the journal."""

    def __init__(
        self,
        journal: Journal | None = None,
        memory_limit: int = 400_000_000,
        clock: Callable[[], float] = time.time,
        queue_limit: int = 10_000,
    ) -> None:
        self.journal = journal
        self.memory_limit = memory_limit
        self.clock = clock
        self.queue_limit = queue_limit
        self.memory = 0  # bytes that messages take, about
        self.number = 0  # of the latest queue
        self.reply_prefix = f"{REPLY_TO}.{secrets.token_hex(8)}"  # of the names this broker gives
        self.alarms: list[tuple[float, int, Queue]] = []
        self.most_alarms = 1_000
        self.vhosts: dict[str, VirtualHost] = {}
        self.lost: list[tuple[VirtualHost, Exchange, str]] = []  # bindings whose queue is no longer there
        self.recover()
        self.add_vhost("/")

    def add_vhost(self, name: str) -> VirtualHost:
        if name not in self.vhosts:
            self.vhosts[name] = VirtualHost(self, name)
            if self.journal is not None:
                self.journal.define(name, "vhost", name, b"")
        return self.vhosts[name]

    def delete_vhost(self, name: str) -> None:
        """Deletes a virtual host with all that is in it; the server closes its connections."""
        vhost = self.vhosts.get(name)
        if vhost is None:
            return
        for queue in list(vhost.queues.values()):
            vhost.delete_queue(queue)
        for exchange in list(vhost.exchanges.values()):
            if exchange.name not in PREDECLARED and exchange.name in vhost.exchanges:
                vhost.remove_exchange(exchange)
        for exchange in vhost.exchanges.values():
            for binding in exchange.bindings:
                self.undefine(vhost, "binding", binding_name(binding))
        del self.vhosts[name]
        if self.journal is not None:
            self.journal.undefine(name, "vhost", name)

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def check_queue_limit(self, name: str) -> None:
        if sum(len(vhost.queues) for vhost in self.vhosts.values()) >= self.queue_limit:
            limit = f"queue limit in cluster ({self.queue_limit}) is reached"
            raise AmqpError("PRECONDITION_FAILED", f"cannot declare queue '{name}': {limit}")

    @property
    def blocked(self) -> bool:
        """Do messages take more memory than they may? Then publishers have to wait."""
        return self.memory >= self.memory_limit

    # Time.

    def wake(self, queue: Queue, when: float) -> None:
        """Asks that the queue's tick is called at this time."""
        if queue.due is None or when < queue.due:
            queue.due = when
            heapq.heappush(self.alarms, (when, queue.number, queue))
            if len(self.alarms) > self.most_alarms:  # queues that were deleted, and alarms that were moved, go
                self.alarms = [alarm for alarm in self.alarms if not alarm[2].deleted and alarm[2].due == alarm[0]]
                heapq.heapify(self.alarms)
                self.most_alarms = max(1_000, 2 * len(self.alarms))

    def due(self) -> float | None:
        """When tick has to be called next."""
        return self.alarms[0][0] if self.alarms else None

    def tick(self) -> None:
        """Does what is due by now."""
        now = self.clock()
        while self.alarms and self.alarms[0][0] <= now:
            _, _, queue = heapq.heappop(self.alarms)
            queue.due = None
            if not queue.deleted:
                queue.tick()

    # The journal.

    def define(self, vhost: VirtualHost, kind: str, name: str, spec: bytes) -> None:
        if self.journal is not None:
            self.journal.define(vhost.name, kind, name, spec)

    def undefine(self, vhost: VirtualHost, kind: str, name: str) -> None:
        if self.journal is not None:
            self.journal.undefine(vhost.name, kind, name)

    def write_down(self) -> None:
        """The broker ends, all its sessions have: notes in the journal what only then has to be in there."""
        for vhost in self.vhosts.values():
            for queue in vhost.queues.values():
                queue.write_down()

    def recover(self) -> None:
        """Takes up what the journal holds."""
        if self.journal is None:
            return
        for vhost, kind, name, spec in self.journal.definitions():
            host = self.vhosts.setdefault(vhost, VirtualHost(self, vhost))
            if kind != "vhost":
                self.recover_one(host, kind, name, *read_spec(spec))
        for host, exchange, binding in self.lost:
            self.undefine(host, "binding", binding)
            host.unbound(exchange, [])
        for host in self.vhosts.values():
            for queue in list(host.queues.values()):
                queue.tick()
        self.journal.begin()

    def recover_one(self, host: VirtualHost, kind: str, name: str, spec: dict[str, Any], args: Arguments) -> None:
        if kind == "exchange":
            host.exchanges[name] = Exchange(
                name, spec["type"], spec["durable"], spec["auto_delete"], spec["internal"], spec["arguments"]
            )
        elif kind == "binding":
            source = host.exchanges[spec["source"]]
            known: Any = host.queues if spec["kind"] == "queue" else host.exchanges
            if (to := known.get(spec["to"])) is None:  # an exclusive queue: it has gone with the broker
                self.lost.append((host, source, name))
            else:
                source.bindings.append(Binding(source, to, spec["key"], args))
        elif kind == "queue":
            queue = host.make_queue(name, True, spec["auto_delete"], None, args, spec["number"])
            self.number = max(self.number, queue.number)
            self.recover_messages(queue)

    def recover_messages(self, queue: Queue) -> None:
        assert self.journal is not None
        shared: dict[bytes, bytes] = {}  # one object for equal addresses
        for row in self.journal.messages(queue.number):
            address = short_of(row.exchange) + short_of(row.routing_key)
            known = deadletter.recovered(facts(row.properties))
            queue.restore(Message(shared.setdefault(address, address), known.raw, row.body, known), row)
