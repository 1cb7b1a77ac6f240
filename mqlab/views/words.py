"""What happened, in a sentence: the caption of every view."""

from __future__ import annotations

from collections.abc import Callable

from mqlab.event import Event
from mqlab.state import Message
from mqlab.trace import Trace

HOW = {
    "inferred": " (worked out, not seen)",
    "firehose": " (the broker says so)",
    "monitor": " (zmq's monitor says so)",
    "capture": " (the proxy's copy says so)",
}


Tell = Callable[[Event, Message | None], str]


def says(trace: Trace, moment: int, telling: Tell | None = None) -> str:
    """Say in a sentence what the event that led to `moment` was, and how it is known if it was not simply seen.

    `telling` says what an event was in the words of another world than a broker's.
    """
    if moment == 0:
        return "Nothing has happened yet."
    if moment <= trace.first:
        return f"The first {trace.first:,} events are folded together."
    event = trace[moment - 1]
    message = None
    if event.message and event.kind != "publish" and not event.label:
        message = next(trace.states(moment - 1, 1)).messages.get(event.message)
    sentence = (telling or tell)(event, message)
    return sentence[:-1] + HOW.get(event.seen, "") + sentence[-1]


def tell(event: Event, message: Message | None = None) -> str:
    """Say what an event was; `message` is what it was about, as it was before, where the event itself does not say."""
    facts = event.facts or {}
    label = event.label or (message.label if message else event.message)
    who = event.who or (message.holder or message.producer if message else "")
    queue = event.queue or (message.queue if message else "")
    why = f": {event.why}" if event.why else ""
    because = f", because {event.why}" if event.why else ""
    to = facts.get("to") or event.queue
    match event.kind:
        case "declare":
            return f"The queue {queue} is there{_limits(facts)}."
        case "exchange":
            return f"The {facts.get('type', 'direct')} exchange {event.exchange} is there."
        case "delete":
            return f"The {'queue ' + queue if queue else 'exchange ' + event.exchange} is deleted{because}."
        case "bind":
            return f"{to} is bound to {event.exchange}{_with(event.key, facts)}."
        case "unbind":
            return f"{to} is no longer bound to {event.exchange}{_with(event.key, facts)}."
        case "connect":
            return f"{event.connection} has connected."
        case "disconnect":
            return f"The connection of {event.connection} has ended{why}."
        case "open":
            return f"{event.connection} opens channel {event.channel}."
        case "close":
            return f"Channel {event.channel} of {event.connection} is closed{why}."
        case "qos":
            n = facts.get("prefetch", 0)
            return f"{event.connection} wants {f'at most {n:,}' if n else 'any number of'} messages unacked at a time."
        case "confirms":
            return f"{event.connection} asks the broker to confirm what it publishes on channel {event.channel}."
        case "block":
            return f"The broker takes nothing from {event.connection} for now{why}."
        case "unblock":
            return f"The broker takes messages from {event.connection} again."
        case "produce":
            return f"{who} is ready to put messages into {queue}."
        case "consume":
            return f"{who} is ready to take messages from {queue}{_limits(facts)}."
        case "cancel":
            return f"{who} takes no more messages from {queue}{why}."
        case "wait":
            return f"{who} has to wait: {queue} is {'full' if event.why == 'put' else 'empty'}."
        case "go-on":
            return f"{who} can go on."
        case "publish" if event.queue:
            return f"{who} puts {label} into {queue}."
        case "publish":
            key = f" with the key {event.key}" if event.key else ""
            return f"{who} publishes {label} to {event.exchange}{key}."
        case "route":
            exchange = event.exchange or (message.exchange if message else "")
            return f"{exchange} passes {label} on to {_list(event.queues)}."
        case "confirm":
            return f"The broker {'refuses' if facts.get('refused') else 'confirms'} {label} of {who}."
        case "deliver":
            again = ", once more" if facts.get("again") or (message and message.deliveries) else ""
            return f"{who} takes {label} from {queue}{again}."
        case "ack":
            return f"{who} is done with {label}."
        case "move":
            return f"{label} waits in {queue}{because}."
        case "requeue":
            return f"{label} goes back to its old place in {queue}{because}."
        case "dead-letter":
            return f"{label} is dead-lettered{because}."
        case "expire":
            return f"{label} has waited too long and expires."
        case "drop":
            return f"{label} is dropped{because}."
        case "return":
            return f"{label} is returned to its producer{because}."
        case "trouble":
            return f"{event.why or 'The trouble is over'}."
    return f"{event.connection} and the broker talk: {event.label or 'a frame'}."


def story(trace: Trace, message: str, telling: Tell | None = None) -> list[tuple[int, float, str, str]]:
    """Return all that happened to a message, as (moment, seconds, sentence, how it is known)."""
    told = []
    for moment, event in trace.story(message):
        known = None
        if event.kind != "publish" and not event.label:
            known = next(trace.states(moment - 1, 1)).messages.get(event.message)
        told.append((moment, event.t, (telling or tell)(event, known), event.seen))
    return told


def _with(key: str, facts: dict[str, str]) -> str:
    if facts.get("match"):
        return f" for {facts['match']}"
    return f" with the key {key}" if key else ""


def _limits(facts: dict[str, object]) -> str:
    if facts.get("auto_ack"):
        return ", and acks none of them"
    if facts.get("prefetch"):
        return f", at most {facts['prefetch']} at a time"
    if facts.get("limit"):
        return f"; it holds at most {facts['limit']}"
    return ""


def _list(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
