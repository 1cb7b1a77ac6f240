"""The film of a trace: at each moment it shows what the view draws, and nothing in it can run or reach out."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import lived

from mqlab.queues import FIFO
from mqlab.trace import Event, Trace, watch
from mqlab.views import export, queue, topology, words
from mqlab.views.animated import MOST, MOVE, REST, animate

SVG = "{http://www.w3.org/2000/svg}"
SECONDS = 0.9


def desk(program: list[str]) -> Trace:
    watched = watch(FIFO(), "desk", producer="Campus", consumer="Olu")
    for n, step in enumerate(program):
        if step == "put":
            watched.put(n)
        elif len(watched):
            watched.get()
    return watched.trace


class Film:
    """A film, played by reading its keyframes."""

    def __init__(self, text: str) -> None:
        self.root = ET.fromstring(text)
        style = self.root.find(f"{SVG}style").text
        self.length = 0.0
        self.frames: dict[str, list[tuple[float, dict[str, str]]]] = {}
        for name, body in re.findall(r"@keyframes (\w+)\{((?:[\d.]+%\{[^}]*\})+)\}", style):
            steps = re.findall(r"([\d.]+)%\{([^}]*)\}", body)
            self.frames[name] = [(float(p), dict(rule.split(":", 1) for rule in css.split(";"))) for p, css in steps]
        for length in re.findall(r"animation:\w+ ([\d.]+)s", style):
            self.length = float(length)

    def at(self, seconds: float) -> set[tuple[str, str]]:
        """What is to be seen: (what is written on it, where it is)."""
        found: set[tuple[str, str]] = set()
        for child in self.root:
            self.visit(child, seconds, "", found)
        return found

    def visit(self, element: ET.Element, seconds: float, place: str, found: set[tuple[str, str]]) -> None:
        css: dict[str, str] = {}
        for name in element.attrib.get("class", "").split():
            for percent, rule in self.frames.get(name, []):
                if percent <= 100 * seconds / self.length + 1e-3:
                    css = rule
        if css.get("visibility") == "hidden" or css.get("opacity") == "0":
            return
        if not css and (element.attrib.get("visibility") == "hidden" or element.attrib.get("opacity") == "0"):
            return
        moved = css.get("transform", "").replace("px", "") or element.attrib.get("transform", "")
        place = moved if moved.startswith("translate") and not place else place
        for text in element.findall(f"{SVG}text"):
            found.add((text.text or "", place))
        if element.tag == f"{SVG}text":
            found.add((element.text or "", place))
        for child in element:
            self.visit(child, seconds, place, found)


def drawn(picture: str) -> set[tuple[str, str]]:
    """The same of a picture of the view."""
    found: set[tuple[str, str]] = set()

    def visit(element: ET.Element, place: str) -> None:
        moved = element.attrib.get("transform", "")
        place = moved if moved.startswith("translate") and not place else place
        if element.tag == f"{SVG}text":
            found.add((element.text or "", place))
        for child in element:
            visit(child, place)

    for child in ET.fromstring(picture):
        visit(child, "")
    return {
        (text, re.sub(r"translate\(([-\d.]+)[ ,]+([-\d.]+)\)", r"translate(\1,\2)", place)) for text, place in found
    }


def plain(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Numbers as they are written shortest."""

    def short(match: re.Match[str]) -> str:
        return f"translate({float(match[1]):g},{float(match[2]):g})"

    return {(text, re.sub(r"translate\(([-\d.]+),([-\d.]+)\)", short, place)) for text, place in found}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["put", "get"]), max_size=25))
def test_at_each_rest_it_shows_what_the_view_draws(program: list[str]) -> None:
    trace = desk(program)
    film = Film(animate(trace, queue.draw))
    pictures: list[str] = []
    for state in trace.states(0, len(trace) + 1):
        picture = queue.draw(state)
        if not pictures or picture != pictures[-1]:
            pictures.append(picture)
    assert film.length == pytest.approx(len(pictures) * SECONDS + REST)
    for n, picture in enumerate(pictures):
        assert plain(film.at(n * SECONDS + MOVE + 0.1)) == plain(drawn(picture)), n


def test_a_broker_s_life_as_a_film() -> None:
    trace = lived()
    text = animate(trace, topology.draw, says=words.says, title="A life")
    assert text == animate(trace, topology.draw, says=words.says, title="A life"), "the same bytes again"
    assert len(text) < 150_000
    film = Film(text)
    shown = {text for text, _ in film.at(film.length - 0.1)}
    assert words.says(trace, len(trace)) in shown
    assert film.root.find(f"{SVG}title").text == "A life"
    assert "Campus publishes Ana to news" in film.root.find(f"{SVG}desc").text
    assert len({"Campus", "news", "mails"} & shown) >= 2


@pytest.mark.parametrize(
    "text", [animate(lived(), topology.draw), export.svg_file(topology.draw(lived().state(20), faults=True))]
)
def test_nothing_in_it_runs_or_reaches_out(text: str) -> None:
    root = ET.fromstring(text)
    assert root.attrib["viewBox"] and root.attrib["width"] and root.attrib["height"]
    for element in root.iter():
        assert element.tag.removeprefix(SVG) not in ("script", "image", "use", "a", "foreignObject")
        for name in element.attrib:
            assert not name.startswith(("on", "data-", "aria-", "{")) and name not in ("href", "tabindex")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in text and "url(" not in text
    assert "prefers-color-scheme" in text


def test_a_film_that_is_too_long_is_refused_with_what_to_do() -> None:
    trace = Trace(Event("publish", n, f"m{n}", "q") for n in range(MOST + 5))
    with pytest.raises(ValueError, match="Choose a part of it with first and last"):
        animate(trace, queue.draw)
    assert animate(trace, queue.draw, first=10, last=20).startswith("<svg")


def test_any_name_and_any_length_will_do() -> None:
    trace = Trace([Event("publish", 0, "m1", "desk\x00\x0b", "Ana" * 100, "<&\x01>")])
    film = ET.fromstring(animate(trace, queue.draw, says=words.says, title="a\x00b"))
    captions = [text.text for text in film.iter(f"{SVG}text") if (text.text or "").startswith("AnaAna")]
    assert captions and all(len(caption) <= 120 for caption in captions)


@pytest.mark.parametrize(("first", "last"), [(3, 2), (0, 99), (-1, 2)])
def test_moments_that_are_not_there_are_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="This trace has the moments 0 to"):
        animate(desk(["put", "get"]), queue.draw, first=first, last=last)
