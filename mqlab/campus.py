"""The running example: what happens at Campus, an online school, as small events that travel in messages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class SignUp:
    """Somebody has signed up; `user` is their number from then on."""

    user: int
    name: str
    city: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A user has subscribed to a course."""

    user: int
    course: str


@dataclass(frozen=True, slots=True)
class Commented:
    """A user has commented on a course."""

    user: int
    course: str
    text: str


@dataclass(frozen=True, slots=True)
class Notification:
    """A user is to be told something."""

    user: int
    text: str


Event = SignUp | Subscribed | Commented | Notification
KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in (SignUp, Subscribed, Commented, Notification)}

PEOPLE = (
    ("Amina", "Nairobi"),
    ("Björn", "Malmö"),
    ("Chidi", "Lagos"),
    ("Diego", "Bogotá"),
    ("Emre", "İzmir"),
    ("Fatima", "Casablanca"),
    ("Giang", "Huế"),
    ("Hana", "Osaka"),
    ("Ivana", "Split"),
    ("José", "São Paulo"),
    ("Kofi", "Accra"),
    ("Łukasz", "Kraków"),
    ("Meera", "Pune"),
    ("Nikos", "Patras"),
    ("Olena", "Lviv"),
    ("Priya", "Chennai"),
    ("Qiang", "Chengdu"),
    ("Rosa", "Cusco"),
    ("Sione", "Apia"),
    ("Tala", "Manila"),
    ("Umar", "Lahore"),
    ("Véronique", "Dakar"),
    ("Wanjiru", "Mombasa"),
    ("Zsófia", "Pécs"),
)


def sign_ups(n: int, first: int = 1) -> list[SignUp]:
    """Return `n` sign-ups, numbered from `first`: the same ones each time."""
    return [SignUp(user, *PEOPLE[(user - 1) % len(PEOPLE)]) for user in range(first, first + n)]


def to_bytes(event: Event) -> bytes:
    """Return `event` as the body of a message: JSON in UTF-8, the same bytes for the same event."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}, ensure_ascii=False, sort_keys=True).encode()


def from_bytes(body: bytes) -> Event:
    """Return the event in the body of a message; ValueError, with what to do, when there is none."""
    try:
        fields = json.loads(body)
    except ValueError:  # neither UTF-8 nor JSON
        raise _not_an_event(body, "it is not JSON") from None
    kind = KINDS.get(str(fields.pop("event", ""))) if isinstance(fields, dict) else None
    if kind is None:
        raise _not_an_event(body, f'it has no "event" that is one of {", ".join(KINDS)}')
    try:
        return kind(**fields)
    except TypeError:
        raise _not_an_event(body, f"a {kind.__name__} has {', '.join(kind.__slots__)}") from None


def _not_an_event(body: bytes, why: str) -> ValueError:
    return ValueError(f"{body[:60]!r} is not an event of Campus: {why}. Make the body with campus.to_bytes(event).")
