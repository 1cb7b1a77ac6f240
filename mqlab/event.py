"""One thing that happened: what a trace is made of."""

from __future__ import annotations

from typing import Any, NamedTuple


class Event(NamedTuple):
    """One thing that happened.

    `kind` is one of `mqlab.state.KINDS`; `t` is in seconds since the trace began; `who` is the producer or the
    consumer; `label` is the short text that a picture puts on the message; `why` is a reason in words. `seen` says how
    we know of it: simulated, wire, firehose (a broker's own record of its routing), socket (a ZeroMQ socket of the
    lesson itself), monitor (zmq's monitor events), capture (a proxy's copy) or inferred (worked out, not seen).

    `queues` are those that a message is routed to; `facts` is what else is to be known, in the words of `mqlab.state`.
    What crossed the wire has a `frame`: the payload of an AMQP method, sent to the broker (`way` ">") or from it ("<")
    on a channel of a connection; of a message also the payload of its content header, and the beginning of its body.
    """

    kind: str
    t: float = 0.0
    message: str = ""
    queue: str = ""
    who: str = ""
    label: str = ""
    seen: str = "simulated"
    exchange: str = ""
    key: str = ""
    queues: tuple[str, ...] = ()
    why: str = ""
    connection: str = ""
    channel: int = 0
    facts: dict[str, Any] | None = None
    way: str = ""
    frame: bytes = b""
    header: bytes = b""
    body: bytes = b""
