"""A tiny AMQP client that says anything, right or wrong, and keeps all that it hears: for the conformance scenarios."""

import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pamqp import commands, frame, header

LIMIT = 8.0  # seconds for any answer
SILENCE = 0.08  # seconds without a word that count as "nothing comes"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
PROTOCOL = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True, "basic.nack": True}
REPLIES = {"Basic.GetEmpty", "Channel.Close", "Connection.Close", "Connection.Start", "Connection.Tune", "end"}
CONTENT = {"Basic.Deliver", "Basic.GetOk", "Basic.Return"}
Entry = list[Any]  # what was heard: the method's name, its arguments, for content also properties and body


class Wire:
    """One connection."""

    def __init__(self, port: int, note: Callable[..., None], polite: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self.note = note  # puts an entry into the transcript
        self.polite = polite  # agrees at once when the broker closes a channel or the connection
        self.buffer = b""
        self.ended = False
        self.inbox: dict[int, list[Entry]] = defaultdict(list)
        self.content: dict[int, tuple[Entry, int, list[bytes]]] = {}
        self.sizes: list[int] = []  # of the body frames that came
        self.pulses = 0  # heartbeats that came
        self.opened = 0

    # What the client says.

    def say(self, data: bytes) -> None:
        with suppress(OSError):  # hearing tells that the connection has ended
            self.socket.sendall(data)

    def raw(self, kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> None:
        self.say(struct.pack(">BHI", kind, channel, len(payload)) + payload + end)

    def tell(self, method: Any, channel: int = 0) -> None:
        self.say(frame.marshal(method, channel))

    def ask(self, method: Any, channel: int = 0) -> Entry:
        """Say a method and note its reply."""
        self.tell(method, channel)
        return self.reply(channel)

    def log_in(
        self,
        node: Any,
        vhost: str,
        *,
        password: str | None = None,
        user: str | None = None,
        capabilities: dict[str, bool] = CAPABILITIES,
        frame_max: int = 131072,
        channel_max: int = 2047,
        heartbeat: int = 0,
    ) -> Entry:
        """Open the connection as a good client does, silently; the last thing heard is returned."""
        self.say(PROTOCOL)
        self.hear(0)
        secret = f"\0{user or node.user}\0{node.password if password is None else password}"
        self.tell(commands.Connection.StartOk({"capabilities": capabilities}, "PLAIN", secret, "en_US"))
        heard = self.hear(0)
        if heard[0] != "Connection.Tune":
            return heard
        self.tell(commands.Connection.TuneOk(min(channel_max, heard[1]["channel_max"]), frame_max, heartbeat))
        self.tell(commands.Connection.Open(vhost))
        return self.hear(0)

    def channel(self) -> "Channel":
        """Open the next channel, silently."""
        self.opened += 1
        opened = Channel(self, self.opened)
        opened.tell(commands.Channel.Open())
        self.hear(opened.number)
        return opened

    def close(self) -> None:
        self.socket.close()

    # What it hears.

    def reply(self, channel: int = 0) -> Entry:
        """The next answer to a question, noted."""
        heard = self.hear(channel)
        self.note(*heard)
        return heard

    def hear(self, channel: int, wanted: Callable[[Entry], bool] | None = None, limit: float = LIMIT) -> Entry:
        """The next entry for a channel that is wanted (an answer, unless told otherwise) or that ends it."""
        until = time.monotonic() + limit
        wanted = wanted or (lambda entry: entry[0].endswith("Ok") and entry[0] != "Basic.Deliver")
        while True:
            for number in (channel, 0):
                for entry in self.inbox[number]:
                    if wanted(entry) or entry[0] in REPLIES:
                        self.inbox[number].remove(entry)
                        return entry
            if self.ended:
                return ["end"]
            if not self.pump(until):
                return ["silence"]

    def pump(self, until: float) -> bool:
        """Read what comes next; False when nothing came in time."""
        left = until - time.monotonic()
        if left <= 0:
            return False
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return True
        self.buffer += data
        while len(self.buffer) >= 8:
            if self.buffer.startswith(b"AMQP"):
                self.inbox[0].append(["protocol header", list(self.buffer[4:8])])
                self.buffer = self.buffer[8:]
                continue
            kind, number, size = struct.unpack(">BHI", self.buffer[:7])
            if len(self.buffer) < size + 8:
                break
            payload, self.buffer = self.buffer[7 : 7 + size], self.buffer[size + 8 :]
            self.take(kind, number, payload)
        return True

    def take(self, kind: int, number: int, payload: bytes) -> None:
        if kind == HEARTBEAT:
            self.pulses += 1
        elif kind == METHOD and payload[:4] == b"\x00\x1e\x00\x0b":  # of AMQP 0-8, unknown to pamqp
            self.inbox[number].append(["Access.RequestOk", {"ticket": payload[4:].hex()}])
        elif kind == METHOD:
            method = frame.unmarshal(struct.pack(">BHI", kind, number, len(payload)) + payload + b"\xce")[2]
            entry = [method.name, dict(method)]
            if method.name in CONTENT:
                self.content[number] = (entry, -1, [])
                return
            self.inbox[number].append(entry)
            if self.polite and method.name == "Channel.Close":
                self.tell(commands.Channel.CloseOk(), number)
            elif self.polite and method.name == "Connection.Close":
                self.tell(commands.Connection.CloseOk())
        elif kind == HEADER:
            entry, _, body = self.content[number]
            entry.append(properties(payload))
            self.content[number] = entry, struct.unpack(">Q", payload[4:12])[0], body
            self.finish(number)
        elif kind == BODY:
            self.sizes.append(len(payload))
            self.content[number][2].append(payload)
            self.finish(number)

    def finish(self, number: int) -> None:
        entry, size, body = self.content[number]
        if sum(map(len, body)) >= size:
            del self.content[number]
            whole = b"".join(body)
            entry.append(whole.decode("utf-8", "backslashreplace") if size < 200 else f"{size} bytes")
            self.inbox[number].append(entry)


class Channel:
    """One channel of a connection; what is asked is noted with its answer."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.number = number
        self.published = 0
        self.settled: dict[int, str] = {}

    def tell(self, method: Any) -> None:
        self.wire.tell(method, self.number)

    def ask(self, method: Any) -> Entry:
        return self.wire.ask(method, self.number)

    def silently(self, method: Any) -> Entry:
        """Ask without a note: what only prepares a scenario."""
        self.tell(method)
        heard = self.wire.hear(self.number)
        if heard[0] in ("Channel.Close", "Connection.Close", "end", "silence"):
            self.wire.note("unexpected", *heard)
        return heard

    # Questions with an answer. The queues are durable, as RabbitMQ 4.3 wants them.

    def declare(self, queue: str = "q", durable: bool = True, quiet: bool = False, **options: Any) -> Entry:
        method = commands.Queue.Declare(queue=queue, durable=durable, **options)
        return self.silently(method) if quiet else self.ask(method)

    def queue(self, queue: str = "q", **arguments: Any) -> None:
        """Make a durable queue with these arguments (max_length for x-max-length), silently."""
        self.declare(queue, quiet=True, arguments=dashes(arguments))

    def bind(self, queue: str, exchange: str, key: str = "", **arguments: Any) -> None:
        self.silently(commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=key, arguments=arguments))

    def exchange(self, name: str, kind: str = "direct", **options: Any) -> Entry:
        return self.silently(commands.Exchange.Declare(exchange=name, exchange_type=kind, durable=True, **options))

    def get(self, queue: str = "q", no_ack: bool = True) -> Entry:
        return self.ask(commands.Basic.Get(queue=queue, no_ack=no_ack))

    def drain(self, queue: str = "q") -> None:
        """Take all that waits, until there is no more."""
        while self.get(queue)[0] == "Basic.GetOk":
            pass

    def count(self, queue: str = "q") -> Entry:
        return self.ask(commands.Queue.Declare(queue=queue, passive=True))

    def wait_for(self, queue: str, messages: int) -> None:
        """Ask until that many messages are ready in the queue: dead-lettering and the like take a moment."""
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            heard = self.silently(commands.Queue.Declare(queue=queue, passive=True))
            if heard[0] != "Queue.DeclareOk" or heard[1]["message_count"] == messages:
                return
            time.sleep(0.01)
        self.wire.note(f"{queue} never held {messages} messages", heard)

    def consume(self, queue: str = "q", tag: str = "c", quiet: bool = False, **options: Any) -> Entry:
        method = commands.Basic.Consume(queue=queue, consumer_tag=tag, **options)
        return self.silently(method) if quiet else self.ask(method)

    def qos(self, count: int, global_: bool = False) -> Entry:
        return self.silently(commands.Basic.Qos(prefetch_count=count, global_=global_))

    def cancel(self, tag: str = "c") -> Entry:
        return self.ask(commands.Basic.Cancel(consumer_tag=tag))

    def close(self) -> Entry:
        return self.ask(commands.Channel.Close(200, "bye", 0, 0))

    # Words without an answer.

    def publish(
        self, exchange: str, key: str, body: str | bytes = "m", mandatory: bool = False, **properties: Any
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.tell(commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory))
        self.tell(header.ContentHeader(0, len(data), commands.Basic.Properties(**properties)))
        for at in range(0, len(data), 100_000):
            self.wire.raw(BODY, self.number, data[at : at + 100_000])
        self.published += 1

    def ack(self, tag: int = 0, multiple: bool = False) -> None:
        self.tell(commands.Basic.Ack(tag, multiple))

    def nack(self, tag: int = 0, multiple: bool = False, requeue: bool = True) -> None:
        self.tell(commands.Basic.Nack(tag, multiple, requeue))

    def reject(self, tag: int, requeue: bool = True) -> None:
        self.tell(commands.Basic.Reject(tag, requeue))

    # What comes by itself.

    def see(self, count: int = 1) -> list[Entry]:
        """Note what comes next by itself: deliveries, returns, cancels."""
        heard = []
        for _ in range(count):
            heard.append(self.wire.hear(self.number, lambda entry: entry[0] not in ("Basic.Ack", "Basic.Nack")))
            self.wire.note(*heard[-1])
        return heard

    def nothing(self, limit: float = SILENCE) -> None:
        """Note that nothing comes, or what comes."""
        self.wire.note(*self.wire.hear(self.number, lambda entry: True, limit))

    def alive(self) -> None:
        """Note whether the channel still answers; what came before on it is noted first when it is a close."""
        self.ask(commands.Basic.Qos(prefetch_count=0))

    def confirms(self) -> None:
        self.published = 0
        self.silently(commands.Confirm.Select())

    def confirmed(self, count: int | None = None) -> None:
        """Wait until all (or so many) messages are confirmed, and note how each was, in order: brokers may put several
        confirms into one."""
        count = self.published if count is None else count
        while len(self.settled) < count:
            heard = self.wire.hear(self.number, lambda entry: entry[0] in ("Basic.Ack", "Basic.Nack"))
            if heard[0] not in ("Basic.Ack", "Basic.Nack"):
                self.wire.note(*heard)
                break
            tag, multiple = heard[1]["delivery_tag"], heard[1]["multiple"]
            first = min(set(range(1, tag + 1)) - set(self.settled), default=tag) if multiple else tag
            for each in range(first, tag + 1):
                self.settled.setdefault(each, heard[0])
        self.wire.note("confirms", [self.settled[tag] for tag in sorted(self.settled)])


def dashes(arguments: dict[str, Any]) -> dict[str, Any]:
    """max_length=1 as x-max-length."""
    return {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}


def properties(payload: bytes) -> dict[str, Any]:
    """The properties of a content header that are set; headers with the types of their values."""
    content = header.ContentHeader()
    content.unmarshal(payload)
    found = {
        name: value if isinstance(value, (str, int, dict)) else str(value)
        for name, value in dict(content.properties).items()
        if value is not None and value != ""
    }
    flags = struct.unpack(">H", payload[12:14])[0]
    if flags & 1 << 13:
        at = 14
        for bit in (15, 14):  # content type and encoding come before
            at += 1 + payload[at] if flags & 1 << bit else 0
        found["headers"] = table(payload, at)[0]
    return found


def table(data: bytes, at: int) -> tuple[dict[str, str | dict | list], int]:
    """A field table with the letter of each value's type, and where it ends."""
    end = at + 4 + struct.unpack_from(">I", data, at)[0]
    at += 4
    found: dict[str, Any] = {}
    while at < end:
        name = data[at + 1 : at + 1 + data[at]].decode()
        found[name], at = value(data, at + 1 + data[at])
    return found, at


NUMBERS = {"t": "?", "b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "Q", "f": "f", "d": "d"}


def value(data: bytes, at: int) -> tuple[Any, int]:
    kind, at = chr(data[at]), at + 1
    if kind in NUMBERS:
        form = ">" + NUMBERS[kind]
        return f"{kind}:{struct.unpack_from(form, data, at)[0]}", at + struct.calcsize(form)
    if kind == "T":
        return "T:<time>", at + 8
    if kind == "V":
        return "V", at
    if kind == "D":
        places, number = struct.unpack_from(">Bi", data, at)
        return f"D:{number}e-{places}", at + 5
    if kind == "F":
        return table(data, at)
    size = struct.unpack_from(">I", data, at)[0]
    end = at + 4 + size
    if kind == "A":
        items, at = [], at + 4
        while at < end:
            item, at = value(data, at)
            items.append(item)
        return items, end
    return f"{kind}:{data[at + 4 : end].decode('utf-8', 'backslashreplace')}", end
