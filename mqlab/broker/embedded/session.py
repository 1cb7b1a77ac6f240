"""One connection's protocol: bytes in, bytes out, no sockets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import commands, decode, frame
from pamqp.exceptions import UnmarshalingException

from mqlab.broker.embedded import frames
from mqlab.broker.embedded.channel import Channel
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.model import Broker, VirtualHost

Connection = commands.Connection
VERSION = "4.3.6"  # the RabbitMQ whose answers this broker gives
PROTOCOL = b"AMQP\x00\x00\x09\x01"
ACCESS_REQUEST, ACCESS_REQUEST_OK = b"\x00\x1e\x00\x0a", b"\x00\x1e\x00\x0b\x00\x01"
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
PROPERTIES = {
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
    queues: int = 10_000
    frame_max: int = 131_072
    message_size: int = 16_777_216
    heartbeat: int = 60
    unsent: int = 1 << 20  # a connection with more to send than this gets no more deliveries for now


class Session:
    """One connection. `receive` takes bytes; what to send gathers in `out` until `take_output`; `wake` is called when there is some."""

    def __init__(
        self, broker: Broker, user: str, password: str, wake: Callable[[Session], None], limits: Limits | None = None
    ) -> None:
        self.broker = broker
        self.user = user
        self.password = password
        self.wake = wake
        self.limits = limits or Limits()
        self.state = "header"  # start, tune, open, running, closing, closed
        self.vhost: VirtualHost | None = None
        self.channels: dict[int, Channel] = {}
        self.client: dict[str, Any] = {}  # its capabilities
        self.frame_max = self.limits.frame_max
        self.channel_max = self.limits.channels
        self.heartbeat = 0
        self.rest = b""
        self.out: list[bytes] = []
        self.unsent = 0  # bytes of bodies in `out`
        self.paused = False  # the socket takes no more for now
        self.starved = False  # a consumer could not be served for lack of room
        self.awake = False
        self.confirming: list[Channel] = []
        self.published = False  # it has published, so it is told when publishers have to wait
        self.told_blocked = False

    # Output.

    def send(self, method: Any, channel: int = 0) -> None:
        self.out.append(frame.marshal(method, channel))
        if not self.awake:
            self.awake = True
            self.wake(self)

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
        if self.state == "closed":
            return
        data = self.rest + data if self.rest else data
        self.rest = b""
        try:
            self.rest = self.read(data)
        except AmqpError as error:
            self.close(error)

    def read(self, data: bytes) -> bytes:
        """Reads whole frames; what is left over."""
        at, end = 0, len(data)
        if self.state == "header":
            if not (at := self.protocol_header(data)):
                return b"" if self.state == "closed" else data
        unpack, channels = frames.HEAD.unpack_from, self.channels
        while end - at >= 8:
            kind, number, size = unpack(data, at)
            stop = at + 7 + size
            if size > self.frame_max - 8 and kind != frames.HEARTBEAT:
                self.refuse_frame_size(kind, size)
            if stop >= end:
                break
            if data[stop] != 0xCE:
                raise AmqpError("FRAME_ERROR", self.bad_end(kind, data[at + 7 : stop + 1]))
            payload = data[at + 7 : stop]
            at = stop + 1
            channel = channels.get(number)
            if channel is None or self.state != "running":
                self.other_frame(kind, number, payload)
                if self.state == "closed":
                    return b""
            elif not channel.closing:
                self.channel_frame(channel, kind, payload)
            elif kind == frames.METHOD:
                self.closing_channel(channel, payload[:4])
        return data[at:]

    def channel_frame(self, channel: Channel, kind: int, payload: bytes) -> None:
        """A frame for an open channel; a refusal closes it."""
        try:
            if kind == frames.BODY:
                channel.body(payload)
            elif kind == frames.HEADER:
                channel.header(payload)
            elif kind != frames.METHOD:
                self.other_frame(kind, channel.number, payload)
            elif payload[:4] == frames.PUBLISH:
                channel.begin_publish(payload)
            elif channel.publish is not None:
                text = "expected content header for class 60, got non content header frame instead"
                raise AmqpError("UNEXPECTED_FRAME", text)
            elif payload[:4] == frames.ACK:
                channel.basic_ack(*frames.TAG.unpack_from(payload, 4))
            else:
                self.call(channel, payload)
        except AmqpError as error:
            if not error.closes_channel:
                error.method = payload[:4] if kind == frames.METHOD else b"\0\0\0\0"
                raise
            self.close_channel(channel, error, payload[:4] if kind == frames.METHOD else frames.PUBLISH)
        except (struct.error, ValueError, IndexError) as error:
            raise AmqpError("SYNTAX_ERROR", f"cannot read this frame: {error}") from error

    def call(self, channel: Channel, payload: bytes) -> None:
        if payload[:4] == ACCESS_REQUEST:
            channel.flush_confirms()
            self.out.append(frames.HEAD.pack(frames.METHOD, channel.number, 6) + ACCESS_REQUEST_OK + frames.END)
            self.written(0)
            return
        method = read_method(payload)
        if isinstance(method, commands.Channel.Close):
            channel.release()
            self.forget(channel)
            self.send(commands.Channel.CloseOk(), channel.number)
        elif handler := getattr(
            channel, method.name.replace(".", "_").replace("Async", "_async").replace("Ok", "_ok").lower(), None
        ):
            handler(method)
        else:
            raise AmqpError("COMMAND_INVALID", "unimplemented method")

    def forget(self, channel: Channel) -> None:
        channel.flush_confirms()
        del self.channels[channel.number]

    def closing_channel(self, channel: Channel, index: bytes) -> None:
        """The client was told that the channel is closed; until it agrees nothing else counts."""
        if index == b"\x00\x14\x00\x29":
            del self.channels[channel.number]
        elif index == b"\x00\x14\x00\x28":
            self.send(commands.Channel.CloseOk(), channel.number)

    def close_channel(self, channel: Channel, error: AmqpError, index: bytes) -> None:
        channel.flush_confirms()
        channel.release()
        channel.closing = True
        class_id, method_id = struct.unpack(">HH", index)
        self.send(commands.Channel.Close(error.code, error.text, class_id, method_id), channel.number)

    def other_frame(self, kind: int, number: int, payload: bytes) -> None:
        """A frame that is not for an open channel."""
        if kind == frames.HEARTBEAT:
            return
        if kind not in (frames.METHOD, frames.HEADER, frames.BODY):
            raise AmqpError("FRAME_ERROR", f"type {kind}, first 16 octets = {erlang(payload[:16])}: unknown_frame")
        if self.state == "closing":
            self.while_closing(number, payload if kind == frames.METHOD else b"")
        elif number == 0:
            if kind != frames.METHOD:
                raise AmqpError("UNEXPECTED_FRAME", "expected method frame, got non method frame instead")
            self.connection_method(read_method(payload))
        elif self.state != "running":
            raise AmqpError("CHANNEL_ERROR", "frame on a channel before the connection is open")
        elif kind != frames.METHOD:
            raise AmqpError("UNEXPECTED_FRAME", "expected method frame, got non method frame instead")
        elif payload[:4] != b"\x00\x14\x00\x0a":
            raise AmqpError("CHANNEL_ERROR", "expected 'channel.open'")
        elif number > self.channel_max:
            raise AmqpError(
                "NOT_ALLOWED",
                f"number of channels opened ({len(self.channels)}) has reached the negotiated channel_max ({self.channel_max})",
            )
        else:
            self.channels[number] = Channel(self, number)
            self.send(commands.Channel.OpenOk(), number)

    # The connection itself.

    def protocol_header(self, data: bytes) -> int:
        """The first eight bytes; how many were read."""
        if len(data) < 8 and PROTOCOL.startswith(data):
            return 0
        if data[:8] == PROTOCOL:
            self.state = "start"
            self.send(Connection.Start(0, 9, PROPERTIES, "PLAIN AMQPLAIN", "en_US"))
            return 8
        self.state = "closed"
        self.out.append(PROTOCOL)
        self.written(0)
        return 0

    def connection_method(self, method: Any) -> None:
        if isinstance(method, Connection.Close):
            self.state = "closed"
            self.release()
            self.send(Connection.CloseOk())
        elif self.state == "start" and isinstance(method, Connection.StartOk):
            self.start_ok(method)
        elif self.state == "tune" and isinstance(method, Connection.TuneOk):
            self.tune_ok(method)
        elif self.state == "open" and isinstance(method, Connection.Open):
            self.open(method.virtual_host)
        elif self.state == "running" and isinstance(method, Connection.UpdateSecret):
            self.send(Connection.UpdateSecretOk())
        else:
            raise AmqpError("CHANNEL_ERROR", f"unexpected method in connection state {self.state}")

    def start_ok(self, method: Any) -> None:
        self.client = (method.client_properties or {}).get("capabilities") or {}
        user, password = credentials(method.mechanism, method.response)
        if (user, password) != (self.user, self.password):
            text = f"Login was refused using authentication mechanism {method.mechanism}. For details see the broker logfile."
            error = AmqpError("ACCESS_REFUSED", text)
            if not self.wants("authentication_failure_close"):
                self.state = "closed"
                return
            raise error
        self.state = "tune"
        self.send(Connection.Tune(self.limits.channels, self.limits.frame_max, self.limits.heartbeat))

    def tune_ok(self, method: Any) -> None:
        for name, asked, allowed, least in (
            ("frame_max", method.frame_max, self.limits.frame_max, 4096),
            ("channel_max", method.channel_max, self.limits.channels, 0),
        ):
            if asked > allowed or (asked == 0 and allowed != 0):
                what = "no limit" if asked == 0 else asked
                raise AmqpError(
                    "NOT_ALLOWED", f"negotiated {name} = {what} is higher than the maximum allowed value ({allowed})"
                )
            if 0 < asked < least:
                raise AmqpError(
                    "NOT_ALLOWED", f"negotiated {name} = {asked} is lower than the minimum allowed value ({least})"
                )
        self.frame_max, self.channel_max, self.heartbeat = method.frame_max, method.channel_max, method.heartbeat
        self.state = "open"

    def open(self, name: str) -> None:
        if (vhost := self.broker.vhosts.get(name)) is None:
            raise AmqpError("NOT_ALLOWED", f"vhost {name} not found")
        self.vhost = vhost
        self.state = "running"
        self.send(Connection.OpenOk())

    def while_closing(self, number: int, payload: bytes) -> None:
        """The client was told that the connection is closed; until it agrees nothing else counts."""
        if number == 0 and payload[:4] == b"\x00\x0a\x00\x33":
            self.state = "closed"
            self.wake(self)
        elif number == 0 and payload[:4] == b"\x00\x0a\x00\x32":
            self.send(Connection.CloseOk())

    def close(self, error: AmqpError) -> None:
        """Closes the connection with a reason; what it held is free at once."""
        if self.state in ("closing", "closed"):
            return
        class_id, method_id = struct.unpack(">HH", getattr(error, "method", b"\0\0\0\0"))
        self.state = "closing"
        self.release()
        self.send(Connection.Close(error.code, error.text, class_id, method_id))

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

    # Limits.

    def refuse_size(self, channel: Channel, size: int) -> None:
        limit = self.limits.message_size
        raise AmqpError("PRECONDITION_FAILED", f"message size {size} is larger than configured max size {limit}")

    def refuse_frame_size(self, kind: int, size: int) -> None:
        limit = self.frame_max - 8
        raise AmqpError("FRAME_ERROR", f"type {kind}, first 16 octets = <<>>: {{frame_too_large,{size},{limit}}}")

    def bad_end(self, kind: int, octets: bytes) -> str:
        return f"type {kind}, first 16 octets = {erlang(octets[:16])}: {{invalid_frame_end_marker,{octets[-1]}}}"


def erlang(data: bytes) -> str:
    """Bytes as Erlang prints them."""
    return f"<<{','.join(map(str, data))}>>"


def read_method(payload: bytes) -> Any:
    """A method that pamqp knows."""
    index = int.from_bytes(payload[:4], "big")
    if index not in commands.INDEX_MAPPING:
        raise AmqpError("COMMAND_INVALID", f"unknown method {index >> 16}.{index & 0xFFFF}")
    method = commands.INDEX_MAPPING[index]()
    try:
        method.unmarshal(payload[4:])
    except (struct.error, ValueError, IndexError, TypeError, UnmarshalingException) as error:
        raise AmqpError("SYNTAX_ERROR", f"cannot read {method.name}: {error}") from error
    return method


def credentials(mechanism: str, response: str | bytes) -> tuple[str, str]:
    """User and password of a log-in."""
    data = response.encode() if isinstance(response, str) else bytes(response)
    if mechanism == "PLAIN":
        parts = data.split(b"\0")
        if len(parts) == 3:
            return parts[1].decode(errors="replace"), parts[2].decode(errors="replace")
    elif mechanism == "AMQPLAIN":
        table = decode.field_table(len(data).to_bytes(4, "big") + data)[1]
        return str(table.get("LOGIN")), str(table.get("PASSWORD"))
    return "", ""
