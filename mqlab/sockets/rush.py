"""Many messages a second: they are counted and not told one by one, and the state is made from the counts."""

from __future__ import annotations

from mqlab.sockets.pipes import COPIES, DROPS, End, Item, Pipe, Pipes
from mqlab.state import Message, Sender, State

KEPT = 1_000  # messages in a pipe that are known one by one; more of them are only a number
Arrived = dict[Pipe, int]


def counted(pipes: Pipes, state: State, counts: dict[End, tuple[int, int]]) -> State:
    """Return `state` with the messages that sockets have sent and received since, [how many, how many] for each.

    What waits then is in `pipes` too, as messages of which nothing is known: as if the pipes took turns.
    """
    base = state.copy()
    base.moment += 1
    base.t = pipes.t
    arrived: Arrived = {}
    for end, (sent, _) in counts.items():
        if sent:
            _send(base, end, sent, arrived)
    for pipe in pipes.every_pipe():
        there = len(pipe.waiting) + pipe.uncounted + arrived.get(pipe, 0)
        if not pipe.to.watched:
            taken = there if pipe.source.peers else 0
            _settle(base, pipes, pipe, arrived.get(pipe, 0), taken)
    for end in pipes.ends:
        if end.watched and (end.ins or counts.get(end)):
            left = counts.get(end, (0, 0))[1]
            for n, pipe in enumerate(end.ins):
                there = len(pipe.waiting) + pipe.uncounted + arrived.get(pipe, 0)
                share = left if n == len(end.ins) - 1 else -(-left // (len(end.ins) - n))
                taken = min(there, share)
                left -= taken
                _settle(base, pipes, pipe, arrived.get(pipe, 0), taken)
            base.published += left  # from sockets of other processes
            base.ended["acked"] += left
    return base


def _send(base: State, end: End, sent: int, arrived: Arrived) -> None:
    base.published += sent
    base.senders.setdefault((end.name, end.name), Sender()).published += sent
    ways = end.outs if end.type in COPIES else end.known or end.outs
    if not ways:
        base.ended["dropped"] += sent
        base.exchanges[end.name].dropped += sent
    elif end.type in COPIES:
        base.copied += sent * (len(ways) - 1)
        arrived |= dict.fromkeys(ways, sent)
    else:
        for n, pipe in enumerate(ways):
            arrived[pipe] = sent // len(ways) + (n < sent % len(ways))


def _settle(base: State, pipes: Pipes, pipe: Pipe, arrived: int, taken: int) -> None:
    """Take so many from the head of a pipe, put what has arrived at its end; count what is too much as dropped."""
    queue, consumer = base.queues[pipe.name], base.consumers[pipe.name, pipe.to.name]
    queue.published += arrived
    base.ended["acked"] += taken
    consumer.acked += taken
    for _ in range(min(taken, len(pipe.waiting))):
        item = pipe.waiting.popleft()
        queue.ready.remove(item.id)
        del base.messages[item.id]
        taken -= 1
    new = pipe.uncounted + arrived - taken
    base.published += pipe.uncounted
    pipe.uncounted = 0
    drops = pipe.source.type in DROPS
    most = min(pipe.limit, KEPT) if drops and pipe.exact and pipe.limit else KEPT
    extra = min(new, max(0, len(pipe.waiting) + new - most))
    new -= extra
    if drops:
        base.ended["dropped"] += extra
        queue.dropped += extra
    else:
        pipe.uncounted = extra
        base.published -= extra
    t = pipes.t
    for _ in range(new):
        id = pipes.number(pipe.source)
        pipe.waiting.append(Item(id, None, t))
        queue.ready.append(id)
        source = pipe.source.name
        steps = (("published", t), ("ready", t))
        base.messages[id] = Message(
            id, "?", pipe.name, source, queue.published, exchange=source, seen="inferred", steps=steps
        )
