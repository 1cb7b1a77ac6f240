"""A trace as a film: one SVG file that moves by itself, without script, for a README or a slide.

Each moment is a drawing of a view; between two of them what has a key moves, as in the page (see player.js). It is all
done by CSS animations of one common length, so a reader who wants no motion is shown the last moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from mqlab.state import State
from mqlab.trace import Trace
from mqlab.views import export
from mqlab.views.shapes import cut, plain

MOST = 240  # moments; a longer film is too large a file
MOVE = 0.4  # seconds that a move takes
REST = 2.0  # seconds at the end, before it begins again
SHOWN = 120  # letters of a caption
CAPTION = 30  # height of the caption below the picture
_PLACE = re.compile(r"translate\(\s*([-\d.e]+)[\s,]*([-\d.e]*)\s*\)")

Point = tuple[float, float]


@dataclass
class Actor:
    """One thing in the film: where it is at each moment at which it is there, and what it looks like."""

    places: dict[int, Point | None] = field(default_factory=dict)
    looks: dict[int, str] = field(default_factory=dict)
    enters: dict[int, Point | None] = field(default_factory=dict)
    leaves: dict[int, Point | None] = field(default_factory=dict)


def animate(
    trace: Trace,
    draw: Callable[[State], str],
    *,
    says: Callable[[Trace, int], str] | None = None,
    first: int | None = None,
    last: int | None = None,
    seconds: float = 0.9,
    title: str = "",
) -> str:
    """Return the moments `first` to `last` of a trace (all) as an SVG file that shows each for so many `seconds`.

    Moments that look like the one before are left out. `draw(state)` draws a moment, `says(trace, moment)` gives the
    sentence below it. Raises ValueError for more than MOST moments.
    """
    first = trace.first if first is None else first
    last = len(trace) if last is None else last
    if not trace.first <= first <= last <= len(trace):
        raise ValueError(f"This trace has the moments {trace.first} to {len(trace)}, not {first} to {last}.")
    actors: dict[tuple[bool, str], Actor] = {}
    boxes, sentences, before, count = [], [], "", 0
    for state in trace.states(first, last - first + 1):
        picture = draw(state)
        if picture == before:
            continue
        before = picture
        root = export.parse(picture)
        boxes.append(export.viewbox(root))
        sentences.append(says(trace, state.moment) if says else "")
        for child in root:
            _cast(actors, child, count)
        count += 1
        if count > MOST:
            raise ValueError(f"This film would be longer than {MOST} moments. Choose a part of it with first and last.")
    film = _Film(count, count * seconds + REST, seconds)
    ordered = [actors[key] for key in sorted(actors, key=lambda key: key[0])]  # scenery first, then what moves
    inside = "".join(film.act(actor) for actor in ordered)
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    width, height = max(box[2] for box in boxes), max(box[3] for box in boxes)
    if says:
        looks = {
            n: f'<text class="mq-text" x="{left + 8:g}" y="{top + height + 18:g}">{plain(cut(words, SHOWN))}</text>'
            for n, words in enumerate(sentences)
        }
        inside += film.act(Actor(places=dict.fromkeys(range(count)), looks=looks))
        height += CAPTION
    words = title or "A film of messages in a queue"
    story = f"<desc>{plain(' '.join(sentences))}</desc>" if says else ""
    return export.frame((left, top, width, height), plain(words), story + inside, film.style())


def _cast(actors: dict[tuple[bool, str], Actor], child: ElementTree.Element, n: int) -> None:
    """Note what an element of moment `n` looks like and where it is: by its key, or as scenery by its looks."""
    key = child.attrib.get("data-key")
    found = _PLACE.fullmatch(child.attrib.get("transform", "")) if key is not None else None
    enters, leaves = (_point(child.attrib.get(name)) for name in ("data-from", "data-to"))
    if found:
        del child.attrib["transform"]
    export.strip(child)
    look = export.markup(child)
    actor = actors.setdefault((key is not None, look if key is None else key), Actor())
    actor.places[n] = (float(found[1]), float(found[2] or 0)) if found else None
    actor.looks[n] = look
    actor.enters[n], actor.leaves[n] = enters, leaves


def _point(text: str | None) -> Point | None:
    if not text:
        return None
    x, _, y = text.partition(",")
    return float(x), float(y)


class _Film:
    """Makes keyframes; the same ones are written once."""

    def __init__(self, count: int, length: float, seconds: float) -> None:
        self.count, self.length, self.seconds = count, length, seconds
        self.names: dict[tuple[str, str], str] = {}

    def act(self, actor: Actor) -> str:
        """Return the markup of an actor."""
        looks = list(dict.fromkeys(actor.looks.values()))
        moves = any(place is not None for place in actor.places.values())
        if not moves:
            return "".join(self.shown(look, [n for n, each in actor.looks.items() if each == look]) for look in looks)
        if len(looks) == 1:
            inside = looks[0]
        else:
            inside = "".join(
                self.shown(look, self.until_next(actor, [n for n, each in actor.looks.items() if each == look]))
                for look in looks
            )
        return self.moved(actor, inside)

    def until_next(self, actor: Actor, moments: list[int]) -> list[int]:
        """A look lasts while its actor fades out."""
        return sorted({*moments, *(n + 1 for n in moments if n + 1 < self.count and n + 1 not in actor.looks)})

    def shown(self, look: str, moments: list[int]) -> str:
        """Return what is to be seen at these moments only, without moving."""
        if len(moments) == self.count:
            return look
        there = set(moments)
        steps, before = [], None
        for n in range(self.count):
            if (now := n in there) != before:
                steps.append((n * self.seconds, f"visibility:{'visible' if now else 'hidden'}"))
                before = now
        still = "" if self.count - 1 in there else ' visibility="hidden"'
        return f'<g class="{self.name(steps, "step-end")}"{still}>{look}</g>'

    def moved(self, actor: Actor, inside: str) -> str:
        """Return what moves from place to place, comes and goes."""
        steps: list[tuple[float, str]] = []
        place: Point = next(place for place in actor.places.values() if place is not None)
        there = False
        for n in range(self.count):
            begin, end = n * self.seconds, n * self.seconds + MOVE
            if n in actor.places:
                new = actor.places[n] or place
                if not there:
                    start = (actor.enters[n] or new) if n else new
                    steps += [(begin, _at(start, 1 if n == 0 else 0)), (end, _at(new, 1))]
                elif new != place:
                    steps += [(begin, _at(place, 1)), (end, _at(new, 1))]
                place, there = new, True
            elif there:
                gone = actor.leaves[n - 1] or place
                steps += [(begin, _at(place, 1)), (end, _at(gone, 0))]
                place, there = gone, False
        if steps[0][0] > 0:
            first = steps[0][1]
            steps.insert(0, (0, first))
        x, y = place
        still = f' transform="translate({x:g},{y:g})"' + ("" if there else ' opacity="0"')
        if len({step for _, step in steps}) == 1:
            return f"<g{still}>{inside}</g>"
        return f'<g class="{self.name(steps, "ease-in-out")}"{still}>{inside}</g>'

    def name(self, steps: list[tuple[float, str]], timing: str) -> str:
        """Return the class that plays these steps, (seconds, CSS) each."""
        frames = dict[str, str]()
        for t, css in [*steps, (self.length, steps[-1][1])]:
            frames[f"{100 * t / self.length:.3f}".rstrip("0").rstrip(".") + "%"] = css
        body = "".join(f"{at}{{{css}}}" for at, css in frames.items())
        return self.names.setdefault((body, timing), f"a{len(self.names)}")

    def style(self) -> str:
        """Return the style sheet of all that was named."""
        rules = [
            f"@keyframes {name}{{{body}}}.{name}{{animation:{name} {self.length:g}s {timing} infinite}}"
            for (body, timing), name in self.names.items()
        ]
        return "".join(rules) + "@media (prefers-reduced-motion:reduce){*{animation:none!important}}"


def _at(place: Point, opacity: int) -> str:
    return f"transform:translate({place[0]:g}px,{place[1]:g}px);opacity:{opacity}"
