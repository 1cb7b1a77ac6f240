"""How an exchange chooses where a message goes: the four types of AMQP 0-9-1, and the way through bound exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Headers = Mapping[str, Any]


@dataclass(eq=False)
class Binding:
    """From a source exchange to a queue or to another exchange."""

    source: Exchange
    destination: Any  # Queue or Exchange
    key: str
    arguments: Any  # Arguments


@dataclass(eq=False)
class Exchange:
    """A named place to publish to; it keeps nothing, it only routes."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: Any = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)
    kind = "exchange"


def direct(binding: Binding, key: str, headers: Headers) -> bool:
    """The routing key is the binding key."""
    return binding.key == key


def fanout(binding: Binding, key: str, headers: Headers) -> bool:
    """Everything."""
    return True


def topic(binding: Binding, key: str, headers: Headers) -> bool:
    """Word by word: `*` stands for one word, `#` for any number of words."""
    return words_match(words_of(binding.key), words_of(key))


def words_of(key: str) -> list[str]:
    return key.split(".") if key else []


def words_match(pattern: list[str], words: list[str]) -> bool:
    """Does the pattern fit? Each `#` is first tried for no word, later for one word more."""
    at = word = 0
    back: tuple[int, int] | None = None  # where to go on after the latest `#`
    while word < len(words):
        if at < len(pattern) and pattern[at] == "#":
            at, back = at + 1, (at + 1, word)
        elif at < len(pattern) and pattern[at] in ("*", words[word]):
            at, word = at + 1, word + 1
        elif back is None:
            return False
        else:
            at, word = back[0], back[1] + 1
            back = at, word
    return all(rest == "#" for rest in pattern[at:])


def headers(binding: Binding, key: str, headers: Headers) -> bool:
    """The binding's arguments are among the message's headers: all of them, or any (`x-match`)."""
    match = binding.arguments.get("x-match", "all")
    wanted = [item for item in binding.arguments.items() if asked(item[0], match)]
    return (any if match in ("any", "any-with-x") else all)(fits(name, value, headers) for name, value in wanted)


def asked(name: str, match: str) -> bool:
    """Names that begin with x- count only where x-match says so."""
    return name != "x-match" and (match in ("any-with-x", "all-with-x") or not name.startswith("x-"))


def fits(name: str, value: Any, headers: Headers) -> bool:
    """A binding's argument without a value asks only whether the header is there."""
    if name not in headers or value is None:
        return name in headers
    return type(headers[name]) is type(value) and headers[name] == value


TYPES: dict[str, Callable[[Binding, str, Headers], bool]] = {
    "direct": direct,
    "fanout": fanout,
    "topic": topic,
    "headers": headers,
}


def route(first: Exchange, keys: Iterable[str], headers: Headers, exchanges: Mapping[str, Exchange]) -> list[Any]:
    """The queues a message with these routing keys goes to, each once, through bound and alternate exchanges."""
    queues: dict[Any, None] = {}
    seen = {first.name}
    todo = [first]
    while todo:
        exchange = todo.pop()
        fits = TYPES[exchange.type]
        found = [b.destination for b in exchange.bindings if any(fits(b, key, headers) for key in keys)]
        if not found and (alternate := exchanges.get(exchange.arguments.get("alternate-exchange", ""))):
            found = [alternate]
        for destination in found:
            if destination.kind == "queue":
                queues[destination] = None
            elif destination.name not in seen:
                seen.add(destination.name)
                todo.append(destination)
    return list(queues)
