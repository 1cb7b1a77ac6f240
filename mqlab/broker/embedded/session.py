"""One connection's protocol: bytes in, bytes out, no sockets."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import commands, decode, frame

from mqlab.broker.embedded import frames
from mqlab.broker.embedded.channel import Channel
from mqlab.broker.embedded.errors import AmqpError, Unanswered
from mqlab.broker.embedded.journal import JournalError
from mqlab.broker.embedded.methods import HANDLERS, NOTHING, method_class, read_method
from mqlab.broker.embedded.model import Broker, VirtualHost

Connection = commands.Connection
log = logging.getLogger(__name__)
MECHANISMS = ("PLAIN", "AMQPLAIN")
VERSION = "4.3.6"  # the RabbitMQ whose answers this broker gives
PROTOCOL, PROTOCOL_0_9 = b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"
CHANNEL_CLOSE, CHANNEL_CLOSE_OK = b"\x00\x14\x00\x28", b"\x00\x14\x00\x29"
ACCESS_REQUEST, ACCESS_REQUEST_OK = b"\x00\x1e\x00\x0a", b"\x00\x1e\x00\x0b\x00\x01"
CHANNEL_OPEN_OK = b"\x00\x14\x00\x0b\x00\x00\x00\x00"
CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)
FRAME_MIN = 8192
PROPERTIES: Any = {
    "capabilities": dict.fromkeys(CAPABILITIES, True),
    "cluster_name": "mqlab@localhost",
    "copyright": "MIT licence",
    "information": "A small broker for learning, part of MQ Lab. At work, use RabbitMQ.",
    "platform": "Python",
    "product": "MQ Lab embedded broker",
    "version": VERSION,
}


@dataclass(frozen=True)
class Limits:
    """What one server and one connection may have; sizes in bytes, heartbeat in seconds (0: none)."""

    connections: int = 1_000
    channels: int = 2_047
    frame_max: int = 131_072
    message_size: int = 16_777_216
    heartbeat: int = 60
    unsent: int = 1 << 20  # a connection with more to send than this gets no more deliveries for now


class Session:
    """One connection. `receive` takes bytes; what to send gathers in `out`, `wake` is called when there is some, and
    `take_output` takes it."""

    def __init__(
        self, broker: Broker, user: str, password: str, wake: Callable[[Session], None], limits: Limits | None = None
    ) -> None:
        self.broker = broker
        self.user = user
        self.password = password
        self.wake = wake
        self.limits = limits or Limits()
        self.name = ""  # of the connection: both its ends
        self.state = "header"  # start, tune, open, running, closing, closed
        self.vhost: VirtualHost | None = None
        self.channels: dict[int, Channel] = {}
        self.client: dict[str, Any] = {}  # its capabilities
        self.frame_max = FRAME_MIN
        self.channel_max = self.limits.channels
        self.heartbeat = 0
        self.rest = b""
        self.at = 0  # where in the bytes that it reads the next frame begins
        self.deaf = False  # out of step with the client: what it sends is not read any more
        self.out: list[bytes] = []
        self.unsent = 0  # bytes of bodies in `out`
        self.paused = False  # the socket takes no more for now
        self.starved = False  # a consumer could not be served for lack of room
        self.awake = False
        self.confirming: list[Channel] = []
        self.blocked = False  # it published while memory is short: nothing more is read until there is some
        self.crowded = False  # there are more connections than there may be

    # Output.

    def send(self, method: Any, channel: int = 0) -> None:
        self.out.append(frame.marshal(method, channel))
        self.written(0)

    def send_payload(self, payload: bytes, channel: int) -> None:
        """A method that pamqp would not write, or not as RabbitMQ does."""
        self.out.append(frames.HEAD.pack(frames.METHOD, channel, len(payload)) + payload + frames.END)
        self.written(0)

    def written(self, size: int) -> None:
        """A message of this size was put into `out`."""
        self.unsent += size
        if not self.awake:
            self.awake = True
            self.wake(self)

    def wake_confirms(self, channel: Channel) -> None:
        if len(channel.confirmed) + len(channel.rejected) == 1:
            self.confirming.append(channel)
            if not self.awake:
                self.awake = True
                self.wake(self)

    def has_room(self) -> bool:
        if self.paused or self.unsent > self.limits.unsent:
            self.starved = True
            return False
        return True

    def take_output(self) -> bytes:
        """All that is to be sent now."""
        for channel in self.confirming:
            channel.flush_confirms()
        self.confirming.clear()
        data = b"".join(self.out)
        self.out.clear()
        self.unsent = 0
        self.awake = False
        return data

    def serve(self) -> None:
        """There is room again: consumers that had to wait get what waits for them."""
        if self.starved and not self.paused:
            self.starved = False
            for channel in list(self.channels.values()):
                for consumer in list(channel.consumers.values()):
                    consumer.queue.deliver()

    def wants(self, capability: str) -> bool:
        return bool(self.client.get(capability))

    # Input.

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client; a refusal is answered, never raised."""
        if self.state == "closed" or self.deaf:
            return
        data = self.rest + data if self.rest else data
        if self.blocked:
            self.rest = data
            return
        self.rest = b""
        try:
            while True:
                try:
                    self.rest = self.read(data)
                    return
                except AmqpError as error:
                    if self.state in ("start", "tune") and error.name != "ACCESS_REFUSED":
                        raise Unanswered from error
                    self.close(error)
                if self.deaf:
                    return
                data = data[self.at :]  # what comes next may be that the client agrees
        except Unanswered:
            self.end()
        except JournalError:
            raise  # nothing more can be promised: the broker ends
        except Exception:
            log.exception("The broker made a mistake; the connection is closed.")
            self.close(AmqpError("INTERNAL_ERROR"))

    def read(self, data: bytes) -> bytes:
        """Reads whole frames; what is left over."""
        at, end = 0, len(data)
        if self.state == "header":
            if end < len(PROTOCOL):
                return data
            self.protocol_header(data[: len(PROTOCOL)])
            at = len(PROTOCOL)
        unpack, channels = frames.HEAD.unpack_from, self.channels
        while end - at >= 7:
            kind, number, size = unpack(data, at)
            stop = at + 7 + size
            if size > self.frame_max:
                self.deaf = True  # nobody knows where the next frame begins
                raise frames.refused(kind, b"", "frame_too_large", size, self.frame_max - 8)
            if stop >= end:
                break
            payload = data[at + 7 : stop]
            if data[stop] != 0xCE:
                self.deaf = True
                raise frames.refused(kind, payload, "invalid_frame_end_marker", data[stop])
            at = self.at = stop + 1
            channel = channels.get(number)
            if channel is None or self.state != "running":
                self.other_frame(kind, number, payload)
                if self.state == "closed":
                    return b""
            elif not channel.closing:
                self.channel_frame(channel, kind, payload)
                if kind == frames.HEADER and self.broker.blocked:  # its body waits, as in RabbitMQ
                    self.block()
                    break
            else:
                self.closing_channel(channel, kind, payload)
        return data[at:]

    def block(self) -> None:
        """It published while the broker is short of memory: it has to wait, and is told if it wants to know."""
        self.blocked = True
        if self.wants("connection.blocked"):
            self.send(Connection.Blocked("low on memory"))

    def unblock(self) -> None:
        """There is memory again: it goes on where it was."""
        self.blocked = False
        if self.wants("connection.blocked"):
            self.send(Connection.Unblocked())
        self.receive(b"")

    def channel_frame(self, channel: Channel, kind: int, payload: bytes) -> None:
        """A frame for an open channel; a refusal closes it."""
        try:
            if kind == frames.BODY:
                channel.body(payload)
            elif kind == frames.HEADER:
                channel.header(payload)
            elif kind != frames.METHOD or len(payload) < 4:
                self.strange_frame(kind, payload)
            elif channel.publish is not None:
                method_class(payload)
                channel.expect(kind)
            elif payload[:4] == frames.PUBLISH:
                channel.begin_publish(payload)
            elif payload[:4] == frames.ACK:
                if len(payload) != 13:
                    raise frames.cannot_decode(payload)
                channel.basic_ack(*frames.TAG.unpack_from(payload, 4))
            else:
                self.call(channel, payload)
        except AmqpError as error:
            if error.method is None:
                error.method = payload[:4] if kind == frames.METHOD else frames.PUBLISH
            if not error.closes_channel:
                raise
            self.close_channel(channel, error)

    def call(self, channel: Channel, payload: bytes) -> None:
        """A method that is not called often."""
        if payload[:4] == ACCESS_REQUEST:
            channel.flush_confirms()
            self.send_payload(ACCESS_REQUEST_OK, channel.number)
            return
        method = read_method(payload)
        if isinstance(method, commands.Channel.Close):
            channel.release()
            channel.flush_confirms()
            del self.channels[channel.number]
            self.send(commands.Channel.CloseOk(), channel.number)
        elif handler := getattr(channel, HANDLERS.get(method.index, ""), None):
            handler(method)
        else:
            raise AmqpError("COMMAND_INVALID", "unimplemented method")

    def closing_channel(self, channel: Channel, kind: int, payload: bytes) -> None:
        """The client was told that the channel is closed; until it agrees all else has to be in order, and is lost."""
        index = payload[:4] if kind == frames.METHOD else b""
        if index == CHANNEL_CLOSE_OK:
            del self.channels[channel.number]
        elif index == CHANNEL_CLOSE:
            self.send(commands.Channel.CloseOk(), channel.number)
        elif kind == frames.BODY:
            channel.body(payload)
        elif kind == frames.HEADER:
            channel.header(payload)
        elif kind != frames.METHOD or len(payload) < 4:
            self.strange_frame(kind, payload)
        elif channel.publish is not None:
            method_class(payload)
            channel.expect(kind)
        elif index == frames.PUBLISH:
            channel.begin_publish(payload)
        elif index != ACCESS_REQUEST:
            read_method(payload)

    def close_channel(self, channel: Channel, error: AmqpError) -> None:
        channel.flush_confirms()
        channel.release()
        channel.closing = True
        class_id, method_id = struct.unpack(">HH", error.method or NOTHING)
        self.send(commands.Channel.Close(error.code, error.text, class_id, method_id), channel.number)

    def strange_frame(self, kind: int, payload: bytes) -> None:
        """Refuses a frame of no known type, or in the wrong place."""
        if not frames.known(kind, payload):
            raise frames.refused(kind, payload, "unknown_frame")
        raise AmqpError("UNEXPECTED_FRAME", frames.snippet(kind, payload), NOTHING)

    def other_frame(self, kind: int, number: int, payload: bytes) -> None:
        """A frame that is not for an open channel."""
        if self.state == "closing":
            self.while_closing(number, payload if kind == frames.METHOD else b"")
        elif number == 0 and kind == frames.HEARTBEAT and not payload:
            return
        elif number == 0 and kind == frames.METHOD and len(payload) >= 4:
            self.connection_method(payload)
        elif number and self.state != "running":
            raise AmqpError("UNEXPECTED_FRAME", frames.snippet(kind, payload), NOTHING)
        elif number == 0 or kind == frames.HEARTBEAT or not frames.known(kind, payload):
            self.strange_frame(kind, payload)
        else:
            self.open_channel(kind, number, payload)

    def open_channel(self, kind: int, number: int, payload: bytes) -> None:
        """The first frame on a channel has to open it."""
        if self.channel_max and len(self.channels) >= self.channel_max:
            raise AmqpError(
                "NOT_ALLOWED",
                f"number of channels opened ({len(self.channels)}) has reached the negotiated channel_max "
                f"({self.channel_max})",
            )
        if kind != frames.METHOD:
            raise AmqpError("UNEXPECTED_FRAME", "expected method frame, got non method frame instead")
        method = read_method(payload)
        if payload[:4] == frames.PUBLISH:  # RabbitMQ puts a message together before it looks where it came
            self.channels[number] = channel = Channel(self, number)
            channel.opened = False
            channel.begin_publish(payload)
            return
        if not isinstance(method, commands.Channel.Open):
            raise AmqpError("CHANNEL_ERROR", "expected 'channel.open'", payload[:4])
        self.channels[number] = Channel(self, number)
        self.send_payload(CHANNEL_OPEN_OK, number)

    # The connection itself.

    def protocol_header(self, data: bytes) -> None:
        """The first eight bytes: who speaks another protocol is told which one is spoken here."""
        if data not in (PROTOCOL, PROTOCOL_0_9):
            self.out.append(PROTOCOL)
            raise Unanswered
        self.state = "start"
        self.send(Connection.Start(0, 9, PROPERTIES, " ".join(MECHANISMS), "en_US"))

    def connection_method(self, payload: bytes) -> None:
        try:
            method = read_method(payload)
        except AmqpError as error:  # that it cannot be read is said of methods of channels alone
            raise AmqpError("INTERNAL_ERROR", method=NOTHING) if self.state == "running" else Unanswered from error
        steps: dict[str, tuple[type, Callable[[Any], None]]] = {
            "start": (Connection.StartOk, self.start_ok),
            "tune": (Connection.TuneOk, self.tune_ok),
            "open": (Connection.Open, self.open),
            "running": (Connection.UpdateSecret, self.update_secret),
        }
        expected, step = steps[self.state]
        try:
            if isinstance(method, expected):
                step(method)
            elif self.state == "running" and isinstance(method, Connection.Close):
                self.state = "closed"
                self.release()
                self.send(Connection.CloseOk())
            elif self.state in ("start", "tune"):
                raise Unanswered
            else:
                state = "opening" if self.state == "open" else self.state
                raise AmqpError("CHANNEL_ERROR", f"unexpected method in connection state {state}")
        except AmqpError as error:
            error.method = payload[:4] if error.method is None else error.method
            raise

    def start_ok(self, method: Any) -> None:
        capabilities = (method.client_properties or {}).get("capabilities")
        self.client = capabilities if isinstance(capabilities, dict) else {}
        user, password = credentials(method.mechanism, method.response)
        if (user, password) != (self.user, self.password):
            if not self.wants("authentication_failure_close"):
                raise Unanswered
            text = f"Login was refused using authentication mechanism {method.mechanism}. "
            raise AmqpError("ACCESS_REFUSED", f"{text}For details see the broker logfile.", NOTHING)
        self.state = "tune"
        self.send(Connection.Tune(self.limits.channels, self.limits.frame_max, self.limits.heartbeat))

    def tune_ok(self, method: Any) -> None:
        """What the client chose has to be within what was offered; RabbitMQ ends the connection without a word too."""
        for asked, offered, least in (
            (method.frame_max, self.limits.frame_max, FRAME_MIN),
            (method.channel_max, self.limits.channels, 0),
        ):
            if asked == 0 or asked > offered or asked < least:
                raise Unanswered
        self.frame_max, self.channel_max, self.heartbeat = method.frame_max, method.channel_max, method.heartbeat
        self.state = "open"

    def open(self, method: Any) -> None:
        name = method.virtual_host
        if self.crowded:
            limit = self.limits.connections
            raise AmqpError("NOT_ALLOWED", f"connection refused: node connection limit ({limit}) is reached")
        if (vhost := self.broker.vhosts.get(name)) is None:
            raise AmqpError("NOT_ALLOWED", f"vhost {name} not found")
        self.vhost = vhost
        self.state = "running"
        self.send(Connection.OpenOk())

    def update_secret(self, method: Any) -> None:
        self.send(Connection.UpdateSecretOk())

    def while_closing(self, number: int, payload: bytes) -> None:
        """The client was told that the connection is closed; until it agrees nothing else counts."""
        if number == 0 and payload[:4] == b"\x00\x0a\x00\x33":
            self.end()
        elif number == 0 and payload[:4] == b"\x00\x0a\x00\x32":
            self.send(Connection.CloseOk())

    def close(self, error: AmqpError) -> None:
        """Closes the connection with a reason; what it held is free at once."""
        if self.state in ("closing", "closed"):
            return
        class_id, method_id = struct.unpack(">HH", error.method or NOTHING)
        self.state = "closing"
        self.release()
        self.send(Connection.Close(error.code, error.text, class_id, method_id))

    def end(self) -> None:
        """Nothing more is to be said."""
        self.state = "closed"
        self.release()
        self.written(0)

    def lost(self) -> None:
        """The socket is gone."""
        self.state = "closed"
        self.release()

    def release(self) -> None:
        """Frees what the connection held: its channels, then its exclusive queues."""
        channels, self.channels = self.channels, {}
        for channel in channels.values():
            channel.flush_confirms()
            channel.release()
        self.confirming.clear()
        if self.vhost is not None:
            for queue in [queue for queue in self.vhost.queues.values() if queue.owner is self]:
                self.vhost.delete_queue(queue)


def credentials(mechanism: str, response: str | bytes) -> tuple[str, str]:
    """User and password of a log-in."""
    data = response.encode() if isinstance(response, str) else bytes(response)
    if mechanism == "PLAIN":
        parts = data.split(b"\0")
        if len(parts) == 3:
            return parts[1].decode(errors="replace"), parts[2].decode(errors="replace")
    elif mechanism == "AMQPLAIN":
        table = decode.field_table(len(data).to_bytes(4, "big") + data)[1]
        if "LOGIN" in table and "PASSWORD" in table:
            return str(table["LOGIN"]), str(table["PASSWORD"])
    raise Unanswered
