"""The view of queues as a pure function: what a picture holds, tested without a browser."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqlab.queues import FIFO
from mqlab.state import State, fold
from mqlab.trace import Event, Trace, ticking, watch
from mqlab.views.palette import DARK, LIGHT, LOOKS, css, still_css
from mqlab.views.queue import DONE, HELD, ROOM, draw

SVG = "{http://www.w3.org/2000/svg}"


def keys(picture: str) -> dict[str, ET.Element]:
    """Return the keyed children of a picture; they have to be direct children of its root."""
    root = ET.fromstring(picture)
    assert len(root.findall(".//*[@data-key]")) == len(root.findall("./*[@data-key]"))
    return {child.attrib["data-key"]: child for child in root.findall("./*[@data-key]")}


def place(element: ET.Element) -> tuple[float, float]:
    x, y = element.attrib["transform"].removeprefix("translate(").removesuffix(")").split()
    return float(x), float(y)


def busy() -> Trace:
    trace = ticking()
    for n in range(6):
        trace.tell("publish", message=f"m{n}", queue="q", who="Campus", label=f"L{n}")
    for n in range(3):
        trace.tell("deliver", message=f"m{n}", queue="q", who="Ana")
    trace.tell("ack", message="m0")
    trace.tell("requeue", message="m1")
    return trace


def test_tokens_lie_in_the_order_in_which_they_leave() -> None:
    tokens = keys(draw(busy().state()))
    waiting = [place(tokens[f"m:m{n}"])[0] for n in (1, 3, 4, 5)]
    assert waiting == sorted(waiting, reverse=True), "the head is on the right"
    assert waiting[0] < place(tokens["m:m2"])[0] < place(tokens["m:m0"])[0], "queue, then consumer, then done"


def test_states_differ_by_class_and_by_shape() -> None:
    tokens = keys(draw(busy().state()))
    shape = {n: tokens[f"m:m{n}"].find("*[@class='mq-shape']").tag for n in (0, 1, 2, 3)}
    assert [tokens[f"m:m{n}"].attrib["class"].split()[1] for n in range(4)] == [
        "mq-acked",
        "mq-requeued",
        "mq-unacked",
        "mq-ready",
    ]
    assert (shape[0], shape[2], shape[3]) == (f"{SVG}circle", f"{SVG}polygon", f"{SVG}rect")
    assert (
        len({(look.shape, look.badge) for look in LOOKS.values()}) == len({look.colour for look in LOOKS.values()}) == 9
    )


def test_what_has_no_room_is_counted() -> None:
    trace = ticking()
    for n in range(4_707):
        trace.append(Event("publish", message=str(n), queue="q", who="Campus"))
    picture = draw(trace.state())
    assert len(keys(picture)) == ROOM - 1
    assert "+ 4,700" in picture
    assert len(picture) < 10_000


def test_few_in_hand_and_few_done_are_shown_the_rest_is_counted() -> None:
    trace = ticking()
    for n in range(20):
        trace.tell("publish", message=str(n), queue="q", who="Campus")
        trace.tell("deliver", message=str(n), who="Ana")
        if n < 10:
            trace.tell("ack", message=str(n))
    picture = draw(trace.state())
    assert len(keys(picture)) == HELD + DONE
    assert f"+ {10 - HELD}" in picture
    assert "10 done" in picture


def test_names_from_outside_cannot_break_the_picture() -> None:
    nasty = "<b>&\"'</text>"
    trace = ticking()
    trace.tell("publish", message=nasty, queue=nasty, who=nasty, label=nasty)
    trace.tell("consume", queue=nasty, who=nasty)
    root = ET.fromstring(draw(trace.state(), puts=True, gets=True))
    assert nasty in [element.text for element in root.iter(f"{SVG}text")]
    assert [b.attrib["data-click"] for b in root.iterfind(".//*[@role='button']")] == [
        f"put:{nasty}:{nasty}",
        f"get:{nasty}:{nasty}",
    ]


def test_producers_and_consumers_are_buttons_only_when_somebody_listens() -> None:
    state = busy().state()
    assert "data-click" not in draw(state)
    root = ET.fromstring(draw(state, puts=True, gets=True))
    buttons = root.findall(".//*[@role='button']")
    assert [b.attrib["data-click"] for b in buttons] == ["put:q:Campus", "get:q:Ana"]
    assert all(b.attrib["tabindex"] == "0" and b.attrib["aria-label"] for b in buttons)


def test_the_balance_is_told() -> None:
    assert "6 published = 4 ready + 1 unacked + 1 acked" in draw(busy().state())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["put", "get"]), max_size=40))
def test_the_same_state_gives_the_same_picture_and_each_key_once(program: list[str]) -> None:
    desk = watch(FIFO(), "desk")
    for n, step in enumerate(program):
        if step == "put":
            desk.put(n)
        elif len(desk):
            desk.get()
    picture = draw(desk.trace.state())
    assert picture == draw(fold(desk.trace.events))
    root = ET.fromstring(picture)
    found = [child.attrib["data-key"] for child in root if "data-key" in child.attrib]
    assert len(found) == len(set(found))


def test_an_empty_state_has_a_picture_too() -> None:
    assert "0 published" in draw(State())


def test_long_labels_have_smaller_letters_than_short_ones() -> None:
    sizes = dict(re.findall(r"(?m)^((?:\.mq-small )?\.mq-label) \{[^}]*font-size: (\d+)px", css()))
    assert sizes == {".mq-label": "15", ".mq-small .mq-label": "12"}


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_style_of_a_still_picture_has_literal_colours(theme: dict[str, str]) -> None:
    still = still_css(theme)
    assert "var(" not in still
    assert theme["ink"] in still
    assert "var(--mq-ink)" in css()


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def test_a_bounded_queue_shows_its_places_and_who_waits_for_whom() -> None:
    trace = ticking()
    trace.tell("declare", queue="buffer", facts={"limit": 3})
    trace.tell("wait", queue="buffer", who="Olu", why="get")
    assert {"waits: empty", "Olu waits for somebody to put something.", "0 of 3 places taken"} <= set(
        texts(draw(trace.state()))
    )
    trace.tell("go-on", queue="buffer", who="Olu")
    for n in range(3):
        trace.tell("publish", queue="buffer", message=f"m{n}", who="Ana")
    trace.tell("consume", queue="buffer", who="Olu")
    for who in ("Ana", "Ben"):
        trace.tell("wait", queue="buffer", who=who, why="put")
    picture = draw(trace.state())
    shown = texts(picture)
    assert {"3 of 3 places taken", "Ana and Ben wait for Olu to take something."} <= set(shown)
    assert shown.count("waits: full") == 2
    dashed = [rect for rect in ET.fromstring(picture).iter(f"{SVG}rect") if "mq-faded" in rect.attrib["class"]]
    assert len(dashed) == 3 + 2, "each place, each who waits"
