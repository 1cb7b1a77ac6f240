"""Events and states as JSON, for a trace in a file."""

from __future__ import annotations

import base64
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mqlab.event import Event
from mqlab.state import SHOWN_DONE, Binding, Channel, Connection, Consumer, Exchange, Message, Queue, Sender, State

_BYTES = ("frame", "header", "body")
_DEFAULTS = Event("")._asdict()


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as a line has it: without what is as usual, bytes in base64."""
    plain = {name: value for name, value in event._asdict().items() if value != _DEFAULTS[name]}
    return plain | {name: base64.b64encode(plain[name]).decode() for name in _BYTES if name in plain}


def event_from_json(plain: Mapping[str, Any]) -> Event:
    decoded = {name: base64.b64decode(plain[name], validate=True) for name in _BYTES if name in plain}
    event = Event(**{**plain, **decoded})
    for name, usual in _DEFAULTS.items():
        value = getattr(event, name)
        right = (dict, type(None)) if name == "facts" else (int, float) if name == "t" else type(usual)
        if name != "queues" and not isinstance(value, right):
            raise ValueError(f"{name} cannot be {value!r}")
    return event._replace(queues=tuple(event.queues))


def state_to_json(state: State) -> dict[str, Any]:
    """Return the state as what JSON has (maps as lists of pairs); the frames, which are events, are left out."""
    return {name: _plain(getattr(state, name)) for name in _JSON}


def state_from_json(plain: Mapping[str, Any]) -> State:
    """Return the state that `state_to_json` has written; raises KeyError, TypeError or ValueError for anything else."""
    state = State(**{name: plain[name] for name in _JSON if not isinstance(plain[name], list)})
    state.bindings = {Binding(*binding): None for binding, _ in plain["bindings"]}
    state.producers = {(place, who): n for (place, who), n in plain["producers"]}
    state.senders = {(place, who): Sender(**sender) for (place, who), sender in plain["senders"]}
    state.messages = {id: _as_message(message) for id, message in plain["messages"]}
    state.ended = Counter(dict(plain["ended"]))
    for name, exchange in plain["exchanges"]:
        state.exchanges[name] = Exchange(**exchange | {"holding": dict(exchange["holding"])})
    for name, queue in plain["queues"]:
        dead_to = queue["dead_to"]
        more = {"ready": deque(queue["ready"]), "waits": dict(queue["waits"])}
        state.queues[name] = Queue(**queue | more | {"dead_to": (dead_to[0], dead_to[1]) if dead_to else None})
    for name, connection in plain["connections"]:
        channels = {number: Channel(**channel) for number, channel in connection["channels"]}
        state.connections[name] = Connection(**connection | {"channels": channels})
    for (place, who), consumer in plain["consumers"]:
        more = {"holding": dict(consumer["holding"]), "done": deque(map(_as_message, consumer["done"]), SHOWN_DONE)}
        state.consumers[place, who] = Consumer(**consumer | more)
    state.measured.extend((waited, worked) for waited, worked in plain["measured"])
    state.done.extend(map(_as_message, plain["done"]))
    state.gone.extend((queue, who, why) for queue, who, why in plain["gone"])
    return state


_JSON = [each.name for each in fields(State) if each.name != "frames"]


def _as_message(plain: list[Any]) -> Message:
    *most, steps = plain
    return Message._make([*most, tuple((state, t) for state, t in steps)])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return [[_plain(key), _plain(one)] for key, one in value.items()]
    if isinstance(value, (tuple, deque)):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value
