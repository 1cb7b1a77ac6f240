"""What the watched sockets say, made into events: which pipe a message is in, who has taken it, which one was dropped.

No socket is touched here. Each socket is an `End`; what it sends becomes an exchange's, its pipes are queues, who
receives is a consumer. A message's way is known when it is received; until then it is worked out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mqlab.event import Event

Frames = tuple[bytes, ...]
DEALS = ("PUSH", "DEALER", "REQ", "PAIR")  # each message to one of the pipes, in turn
COPIES = ("PUB", "XPUB")  # to every pipe that is subscribed
DROPS = (*COPIES, "ROUTER")  # at the high-water mark; the others wait
PARTNERS = {
    "PUSH": ("PULL",),
    "PUB": ("SUB", "XSUB"),
    "XPUB": ("SUB", "XSUB"),
    "REQ": ("REP", "ROUTER"),
    "REP": ("REQ", "DEALER"),
    "DEALER": ("REP", "ROUTER", "DEALER"),
    "ROUTER": ("REQ", "DEALER", "REP", "ROUTER"),
    "PAIR": ("PAIR",),
}  # who receives what a socket of this type sends
OTHERS = {"PUSH": "PULL", "PUB": "SUB", "XPUB": "SUB", "PULL": "PUSH", "SUB": "PUB", "XSUB": "PUB"}
HELD = 5_000  # messages that a pipe is known to hold one by one
LATE = 0.3  # seconds after which what has not come over a network's pipe will not come
FULL, EARLY = "the pipe was full", "it was sent before the subscription had come"
LEFT = "its sender was closed and did not linger"
ARROW = " → "  # between the names of a pipe's ends
COUNTED = "it was not received"
_LABEL = re.compile(rb'"name": ?"([^"]+)"')


@dataclass(slots=True, eq=False)
class Item:
    """A message in a pipe; `wire` None: one of many that were only counted."""

    id: str
    wire: Frames | None
    t: float
    full: bool = False  # whether the pipe held as many as it may when this one was sent


@dataclass(slots=True, eq=False)
class End:
    """A socket; `watched` says whether it is one of ours, or stands for those in other processes."""

    name: str
    type: str
    watched: bool = True
    told: bool = False
    closed: bool = False
    outs: list[Pipe] = field(default_factory=list)
    ins: list[Pipe] = field(default_factory=list)
    turn: int = 0
    sent: int = 0
    prefixes: list[bytes] = field(default_factory=list)
    identity: bytes = b""
    hwm: tuple[int, int] = (1000, 1000)  # for sending, for receiving
    lost: deque[Frames] = field(default_factory=lambda: deque(maxlen=HELD))  # what is said to be dropped, the latest
    reply: tuple[Pipe | None, Frames] = (None, ())  # of a REP: where its reply goes, and the envelope
    beyond: End | None = None  # of a proxy's socket: the other one
    left: float = 0.0  # when the last of its peers has gone
    peers: dict[int, str] = field(default_factory=dict)  # connections to other processes: their number -> their name

    @property
    def known(self) -> list[Pipe]:
        """The pipes to watched sockets."""
        return [pipe for pipe in self.outs if pipe.to.watched]


@dataclass(slots=True, eq=False)
class Pipe:
    """The way from one socket to another; `exact` where the high-water mark is kept exactly (inproc)."""

    source: End
    to: End
    exact: bool
    name: str
    limit: int
    back: Pipe | None = None
    identity: bytes = b""  # by which the ROUTER at the other end knows it
    uncounted: int = 0  # so many more than it holds one by one
    proven: bool = False  # something that was worked out to come this way has come
    waiting: deque[Item] = field(default_factory=deque)


def key(frame: bytes) -> bytes:
    """Return what a frame is recognised by: all of a short one, length and both ends of a long one."""
    return frame if len(frame) <= 256 else b"%d:%b%b" % (len(frame), frame[:64], frame[-64:])


def label_of(frames: Frames) -> str:
    """Return the text by which a picture calls a message: the name in its JSON, else its last part, or its size."""
    last = next((frame for frame in reversed(frames) if frame), b"")
    if last[:1] == b"{" and (found := _LABEL.search(last)):
        return found[1].decode(errors="replace")
    text = last[:40].decode(errors="replace")
    return text if text.strip() and text.isprintable() and "\ufffd" not in text else f"{len(last):,} bytes"


def _why(item: Item) -> str:
    return COUNTED if item.wire is None else FULL if item.full else EARLY


def received_as(item: Item, end: End) -> Frames | None:
    """Return the frames that this socket's reader gets of a message, without a ROUTER's first one."""
    wire = item.wire
    if wire is None or end.type not in ("REQ", "REP"):
        return wire
    return wire[wire.index(b"") + 1 :] if b"" in wire else None


class Pipes:
    """All sockets of a watch and what is in the pipes between them; `events` are those not yet in the trace."""

    def __init__(self, more: Callable[[], bool] = lambda: False) -> None:
        self.events: list[Event] = []
        self.ends: list[End] = []
        self.t = 0.0
        self.unsure: list[list[Any]] = []  # sends that have not returned
        self.more = more  # take more records of a proxy's capture; False when there are none
        self.ports: set[int] = set()  # from which watched sockets have connected
        self.visitors = count(1)  # to number connections of other processes
        self._numbers = count(1)
        self._bound: dict[str, End] = {}
        self._connecting: list[tuple[End, str]] = []
        self.waits: dict[tuple[End, str], Pipe] = {}

    def tell(self, kind: str, seen: str = "socket", **fields: Any) -> None:
        self.events.append(Event(kind, t=self.t, seen=seen, **fields))

    def number(self, end: End) -> str:
        """Return the name of a new message of a socket."""
        return f"{end.name}:{next(self._numbers)}"

    # ---- sockets and pipes

    def _show(self, end: End, seen: str = "socket") -> None:
        if not end.told:
            end.told = True
            self.ends.append(end)
            self.tell("exchange", seen, exchange=end.name, facts={"type": end.type if end.watched else "others"})

    def bound(self, end: End, place: str) -> None:
        self._show(end)
        self._bound[place] = end
        for other, at in self._connecting:
            if at == place and not other.closed:
                self._drop_others(other)
                self._link(end, other, place)

    def connected(self, end: End, place: str) -> None:
        self._show(end)
        self._connecting.append((end, place))
        if place in self._bound:
            self._link(self._bound[place], end, place)

    def _link(self, bound: End, other: End, place: str) -> None:
        exact = place.startswith("inproc")
        there = self._pipe(bound, other, exact)
        back = self._pipe(other, bound, exact)
        if there and back:
            there.back, back.back = back, there

    def _pipe(self, source: End, to: End, exact: bool, seen: str = "socket") -> Pipe | None:
        if to.type not in PARTNERS.get(source.type, ()):
            return None
        if pipe := next((pipe for pipe in source.outs if pipe.to is to), None):
            return pipe
        sending, receiving = source.hwm[0], to.hwm[1]
        limit = sending + receiving if sending and receiving and to.watched and source.watched else 0
        pipe = Pipe(source, to, exact, f"{source.name}{ARROW}{to.name}", limit)
        pipe.identity = to.identity if source.type == "ROUTER" else source.identity
        source.outs.append(pipe)
        to.ins.append(pipe)
        self.tell("declare", seen, queue=pipe.name, facts={"limit": limit})
        self.tell("consume", seen, queue=pipe.name, who=to.name, facts={"auto_ack": True})
        for prefix in to.prefixes:
            self._key(pipe, prefix)
        return pipe

    def _key(self, pipe: Pipe, prefix: bytes) -> None:
        self.tell("bind", exchange=pipe.source.name, queue=pipe.name, key=prefix.decode(errors="replace") or "all")

    def subscribed(self, end: End, prefix: bytes) -> None:
        end.prefixes.append(prefix)
        for pipe in end.ins:
            self._key(pipe, prefix)

    def unsubscribed(self, end: End, prefix: bytes) -> None:
        if prefix in end.prefixes:
            end.prefixes.remove(prefix)
            for pipe in end.ins if prefix not in end.prefixes else ():
                text = prefix.decode(errors="replace") or "all"
                self.tell("unbind", exchange=pipe.source.name, queue=pipe.name, key=text)

    def wants(self, end: End, topic: bytes) -> bool:
        """Tell whether a message that begins so comes to this socket."""
        if end.beyond and end.type == "XSUB":
            return any(self.wants(pipe.to, topic) for pipe in end.beyond.outs)
        return not end.watched or any(topic.startswith(prefix) for prefix in end.prefixes)

    def together(self, one: End, other: End) -> None:
        """What comes to one of them is passed on by the other."""
        self._show(one)
        self._show(other)
        self.tell("bind", exchange=one.name, facts={"to": other.name})

    def parted(self, end: End, place: str) -> None:
        """A socket does `unbind` or `disconnect`."""
        if self._bound.get(place) is end:
            del self._bound[place]
            return
        self._connecting = [each for each in self._connecting if each != (end, place)]
        other = self._bound.get(place)
        for pipe in [p for p in (*end.ins, *end.outs) if other in (p.source, p.to)]:
            self._remove(pipe, f"{end.name} has disconnected")

    def closed(self, end: End) -> None:
        """A socket is closed: what waits for it is lost; what it has sent still comes (if it lingers)."""
        if end.closed:
            return
        end.closed = True
        self._bound = {place: bound for place, bound in self._bound.items() if bound is not end}
        self._connecting = [each for each in self._connecting if each[0] is not end]
        for pipe in list(end.ins):
            self._remove(pipe, f"{end.name} was closed")
        for pipe in list(end.outs):
            self._empty(pipe)
        self._forget(end)

    def _drop_others(self, end: End) -> None:
        """Whoever was connected to is a watched socket after all."""
        for pipe in [p for p in end.outs if not p.to.watched and not p.waiting]:
            self._remove(pipe, "")

    def _empty(self, pipe: Pipe) -> None:
        """Remove a closed socket's pipe when nothing is in it any more."""
        if pipe.source.closed and not pipe.waiting and pipe in pipe.source.outs:
            self._remove(pipe, "")
            self._forget(pipe.source)

    def _remove(self, pipe: Pipe, why: str) -> None:
        for item in list(pipe.waiting):
            self._drop(pipe, item, why)
        for (end, verb), at in list(self.waits.items()):
            if at is pipe:
                self.go_on(end, verb)
        pipe.source.outs.remove(pipe)
        pipe.to.ins.remove(pipe)
        self.tell("delete", queue=pipe.name, why=why)
        if not pipe.to.watched and not pipe.to.ins:
            pipe.to.closed = True
            self._forget(pipe.to)

    def _forget(self, end: End) -> None:
        if end.closed and end.told and not end.outs and not end.ins:
            end.told = False
            self.ends.remove(end)
            self.tell("delete", exchange=end.name)

    # ---- messages

    def wire(self, end: End, frames: Frames) -> Frames:
        """Return what crosses the pipe when this socket sends these frames."""
        if end.type == "REQ":
            return (b"", *frames)
        if end.type == "REP":
            return (*end.reply[1], *frames)
        return frames[1:] if end.type == "ROUTER" else frames

    def sent(self, end: End, frames: Frames, seen: str = "socket") -> None:
        """A socket has sent a message."""
        if end.type == "XSUB":
            return
        end.sent += 1
        id = self.number(end)
        wire = self.wire(end, frames)
        topic = frames[0].decode(errors="replace") if end.type in COPIES and len(frames) > 1 else ""
        self.tell(
            "publish", seen, message=id, exchange=end.name, who=end.name, label=label_of(frames[-1:]), key=topic[:40]
        )
        pipes, why = self._ways(end, frames)
        full = [pipe for pipe in pipes if pipe.exact and pipe.limit and len(pipe.waiting) >= pipe.limit]
        if end.type in DROPS and full and len(full) == len(pipes):
            end.lost.append(wire)
            self.tell("drop", "inferred", message=id, queue=full[0].name, why=FULL)
        elif not pipes:
            self.tell("drop", "inferred", message=id, why=why)
        else:
            self.tell("route", self._sure(end), message=id, exchange=end.name, queues=tuple(p.name for p in pipes))
            for n, pipe in enumerate(pipes):
                item = Item(id if n == 0 else f"{id}/{n + 1}", wire, self.t)
                item.full = bool(pipe.limit) and len(pipe.waiting) >= pipe.limit
                pipe.waiting.append(item)
                if end.type in DROPS and (pipe in full or len(pipe.waiting) > HELD):
                    self._drop(pipe, item, FULL)
                self._pass_on(pipe)

    def _sure(self, end: End) -> str:
        return "socket" if len(end.outs) == 1 or end.type in ("REP", "ROUTER") else "inferred"

    def _ways(self, end: End, frames: Frames) -> tuple[list[Pipe], str]:
        """Return the pipes that a message goes into, or why into none."""
        if end.type in COPIES:
            found = [pipe for pipe in end.outs if self.wants(pipe.to, frames[0])]
            if end.peers and not any(not pipe.to.watched for pipe in end.outs):
                found.append(self._others(end))
            return found, "nobody has subscribed to it" if end.outs else "nobody is connected"
        if end.type == "REP":
            return [end.reply[0] or self._others(end)], ""
        if end.type == "ROUTER":
            found = [pipe for pipe in end.outs if pipe.identity == frames[0]]
            spoken = any(pipe.identity == frames[0] for pipe in end.ins)
            if not found and (end.peers or (spoken and self.t <= end.left)):
                found = [self._others(end, identity=frames[0])]
            return found, "no peer of this identity is connected"
        pipes = end.known or [self._others(end)]
        for n in range(len(pipes)):
            pipe = pipes[(end.turn + n) % len(pipes)]
            if not (pipe.exact and pipe.limit and len(pipe.waiting) >= pipe.limit):
                end.turn = (end.turn + n + 1) % len(pipes)
                return [pipe], ""
        return [pipes[end.turn % len(pipes)]], ""

    def _others(self, end: End, identity: bytes = b"") -> Pipe:
        """Return the pipe to sockets that are not watched: those of other processes."""
        for pipe in end.outs:
            if not pipe.to.watched and pipe.identity == identity:
                return pipe
        made = self._pipe(end, self._stranger(end, identity), False, "inferred")
        assert made, f"{end.type} cannot send"
        made.identity = identity
        return made

    def strangers(self, end: End) -> None:
        """Let there be a pipe to sockets of other processes."""
        self._show(end)
        self._others(end)

    def outside(self, end: End) -> bool:
        """Tell whether a socket has connected to an address at which no watched one is."""
        return any(each is end and place not in self._bound for each, place in self._connecting)

    def _stranger(self, end: End, identity: bytes) -> End:
        for pipe in (*end.ins, *end.outs):
            other = pipe.to if pipe.source is end else pipe.source
            if not other.watched and pipe.identity == identity:
                return other
        name = identity.decode(errors="replace")
        if not identity:
            name = f"others of {end.name}"
        elif not name.isprintable() or identity[:1] == b"\0":
            unnamed = sum(not each.watched and each.name.startswith("peer ") for each in self.ends)
            name = f"peer {unnamed + 1} of {end.name}"
        taken = {each.name for each in self.ends}
        while name in taken:
            name += "'"
        other = End(name, OTHERS.get(end.type, PARTNERS.get(end.type, ("PAIR",))[0]), watched=False)
        self._show(other, "inferred")
        return other

    def _pass_on(self, pipe: Pipe) -> None:
        """What goes to another process is gone from here as soon as somebody is connected."""
        if pipe.to.watched or not (pipe.source.peers or self.t <= pipe.source.left):
            return
        for item in list(pipe.waiting):
            pipe.waiting.remove(item)
            self._take(pipe, item, "inferred")

    def _take(self, pipe: Pipe, item: Item, seen: str, label: str = "") -> None:
        self.tell("deliver", seen, message=item.id, queue=pipe.name, who=pipe.to.name, label=label)
        self.tell("ack", seen, message=item.id, queue=pipe.name, who=pipe.to.name)

    def _drop(self, pipe: Pipe, item: Item, why: str) -> None:
        pipe.waiting.remove(item)
        if item.wire is not None and pipe.source.type in DROPS:
            pipe.source.lost.append(item.wire)
        self.tell("drop", "inferred", message=item.id, queue=pipe.name, why=why)

    def received(self, end: End, frames: Frames, seen: str = "socket") -> None:
        """A socket has received a message."""
        if end.type == "XPUB":
            return
        self.go_on(end, "get")
        found = self.find(end, frames)
        while found is None and self.more():
            found = self.find(end, frames)
        label = ""
        if found is None:
            found = self._find_unsure(end, frames) or self._counted(end)
        if found is None and (found := self._mistaken(end, frames)):
            label = label_of(frames[-1:])
        pipe, item = found or self._from_outside(end, frames)
        if item.wire is None:
            label = label_of(frames[-1:])
        if pipe.to is not end:
            pipe = self._moved(pipe, item, end)
        elif pipe.source.type in DEALS:
            pipe.proven = True
        while pipe.waiting[0] is not item:
            before = pipe.waiting[0]
            if pipe.source.type in DROPS or before.wire is None:
                self._drop(pipe, before, _why(before))
            elif (others := [each for each in pipe.source.known if each is not pipe]) and item.wire is not None:
                pipe.waiting.remove(before)
                others[0].waiting.append(before)
                self._move(before, others[0])
            else:
                break
        pipe.waiting.remove(item)
        self._take(pipe, item, seen, label)
        if end.type == "ROUTER":
            pipe.identity = frames[0]
            if pipe.back:
                pipe.back.identity = frames[0]
        elif end.type == "REP":
            wire = item.wire or (b"",)
            back = pipe.back if pipe.source.watched else self._others(end)
            end.reply = (back, wire[: wire.index(b"") + 1] if b"" in wire else ())
        self._empty(pipe)

    def find(self, end: End, frames: Frames) -> tuple[Pipe, Item] | None:
        """Find the message in a pipe to this socket, else in another pipe of somebody who sends to it."""
        wanted = frames[1:] if end.type == "ROUTER" else frames
        for pipe in end.ins:
            if end.type == "ROUTER" and pipe.identity not in (b"", frames[0]):
                continue
            for item in pipe.waiting:
                if received_as(item, end) == wanted:
                    return pipe, item
        for source in {id(pipe.source): pipe.source for pipe in end.ins}.values():
            for pipe in source.known if source.type in DEALS else ():
                for item in pipe.waiting if pipe.to is not end else ():
                    if received_as(item, end) == wanted:
                        return pipe, item
        return None

    def _find_unsure(self, end: End, frames: Frames) -> tuple[Pipe, Item] | None:
        """Find it among the sends that have not returned yet."""
        sources = [pipe.source for pipe in end.ins]
        for record in self.unsure:
            _, source, sending, _, _ = record
            if source in sources:
                item = Item("", self.wire(source, sending), self.t)
                if received_as(item, end) == (frames[1:] if end.type == "ROUTER" else frames):
                    self.unsure.remove(record)
                    self.sent(source, sending)
                    return self.find(end, frames)
        return None

    def _mistaken(self, end: End, frames: Frames) -> tuple[Pipe, Item] | None:
        """It was said to be dropped: then it is another one that was dropped, earlier, and this one has its place."""
        for pipe in end.ins:
            if pipe.waiting and pipe.source.type in DROPS:
                for wire in pipe.source.lost:
                    item = pipe.waiting[0]
                    if received_as(Item("", wire, 0.0), end) == (frames[1:] if end.type == "ROUTER" else frames):
                        pipe.source.lost.remove(wire)
                        if item.wire is not None:
                            pipe.source.lost.append(item.wire)
                        item.wire = wire
                        return pipe, item
        return None

    def _counted(self, end: End) -> tuple[Pipe, Item] | None:
        """Take one of those that were only counted."""
        for pipe in end.ins:
            if pipe.uncounted and not pipe.waiting:
                pipe.uncounted -= 1
                item = Item(self.number(pipe.source), None, self.t)
                self.tell("publish", message=item.id, exchange=pipe.source.name, who=pipe.source.name, label="?")
                self.tell("route", message=item.id, exchange=pipe.source.name, queues=(pipe.name,))
                pipe.waiting.append(item)
        return next(((p, p.waiting[0]) for p in end.ins if p.waiting and p.waiting[0].wire is None), None)

    def _from_outside(self, end: End, frames: Frames) -> tuple[Pipe, Item]:
        """Nobody here has sent it: another process has."""
        identity = frames[0] if end.type == "ROUTER" else b""
        other = self._stranger(end, identity)
        pipe: Pipe | None = next((pipe for pipe in other.outs if pipe.to is end), None)
        if pipe is None:
            other.type = next(kind for kind, partners in PARTNERS.items() if end.type in partners)
            pipe = self._pipe(other, end, False, "inferred")
            assert pipe
            pipe.identity = identity
        id = self.number(other)
        label = label_of(frames[-1:])
        self.tell("publish", "inferred", message=id, exchange=other.name, who=other.name, label=label)
        self.tell("route", "inferred", message=id, exchange=other.name, queues=(pipe.name,))
        item = Item(id, (b"", *frames) if end.type == "REP" else frames, self.t)
        pipe.waiting.append(item)
        return pipe, item

    def _move(self, item: Item, to: Pipe) -> None:
        self.tell("move", "inferred", message=item.id, queue=to.name, why="it was worked out wrongly")

    def _moved(self, wrong: Pipe, item: Item, end: End) -> Pipe:
        """It came another way than was worked out: put right where it is, and the order in which pipes take turns."""
        source = wrong.source
        right = next(pipe for pipe in source.outs if pipe.to is end)
        swap = not wrong.proven and not right.proven
        wrong.waiting.remove(item)
        right.waiting.appendleft(item)
        self._move(item, right)
        right.proven = True
        if swap:  # the two are the other way round: so is all that waits in them
            a, b = source.outs.index(wrong), source.outs.index(right)
            source.outs[a], source.outs[b] = right, wrong
            right.waiting.popleft()
            for one, other in ((wrong, right), (right, wrong)):
                for each in one.waiting:
                    self._move(each, other)
            wrong.waiting, right.waiting = right.waiting, wrong.waiting
            right.waiting.appendleft(item)
        return right

    def nothing(self, end: End) -> None:
        """A socket has looked and found nothing: what a publisher has sent it long enough ago will not come."""
        for pipe in list(end.ins):
            if pipe.source.type in DROPS or pipe.source.closed:
                for item in [i for i in pipe.waiting if i.t < self.t - (0 if pipe.exact else LATE)]:
                    self._drop(pipe, item, LEFT if pipe.source.closed else _why(item))
                self._empty(pipe)

    # ---- who waits

    def wait(self, end: End, verb: str) -> None:
        """A send ("put") or a receive ("get") has not returned for a while."""
        pipes = end.outs if verb == "put" else end.ins
        if not pipes or (end, verb) in self.waits:
            return
        fullest = max(pipes, key=lambda pipe: len(pipe.waiting) if verb == "put" else 0)
        if end.name not in [e.name for e, v in self.waits if self.waits[e, v] is fullest]:
            self.waits[end, verb] = fullest
            self.tell("wait", queue=fullest.name, who=end.name, why=verb)

    def go_on(self, end: End, verb: str) -> None:
        pipe = self.waits.pop((end, verb), None)
        if pipe:
            self.tell("go-on", queue=pipe.name, who=end.name)

    # ---- what zmq's monitor says

    def peer(self, end: End, number: int, name: str) -> None:
        """A connection to another process is there."""
        self._show(end)
        end.peers[number] = name
        self.tell("connect", "monitor", connection=name)
        for pipe in list(end.outs):
            if not pipe.to.watched:
                self._pass_on(pipe)

    def lost(self, end: End, number: int, why: str = "") -> None:
        name = end.peers.pop(number, None)
        if name:
            end.left = self.t
            self.tell("disconnect", "monitor", connection=name, why=why)

    def refused(self, end: End, why: str) -> None:
        """A connection could not be made."""
        name = f"a peer of {end.name}"
        self.tell("connect", "monitor", connection=name)
        self.tell("disconnect", "monitor", connection=name, why=why)

    # ---- too many to be told one by one: see `mqlab.sockets.rush`

    def every_pipe(self) -> Iterator[Pipe]:
        """Give the pipes of all sockets."""
        for end in self.ends:
            yield from end.outs
