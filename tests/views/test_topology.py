"""The view of a broker as a pure function: what it holds, and a layout in which few lines cross."""

import xml.etree.ElementTree as ET
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import lived

from mqlab.state import DEFAULT, State
from mqlab.trace import Event, Trace
from mqlab.views import topology
from mqlab.views.topology import CONSUMERS, EXCHANGES, WIDTH, crossings, draw, ordered, plan

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def tokens(picture: str) -> dict[str, tuple[float, float]]:
    found = {}
    for child in ET.fromstring(picture):
        if "data-key" in child.attrib:
            x, y = child.attrib["transform"].removeprefix("translate(").rstrip(")").replace(",", " ").split()
            found[child.attrib["data-key"]] = (float(x), float(y))
    return found


def test_every_moment_of_a_life_has_a_picture_with_each_key_once_inside_its_bounds() -> None:
    trace = lived()
    for state in trace.states(0, len(trace) + 1):
        picture = draw(state, faults=True, stoppable=True, send=["You publish"])
        root = ET.fromstring(picture)
        keys = [child.attrib["data-key"] for child in root if "data-key" in child.attrib]
        assert len(keys) == len(set(keys))
        _, top, width, height = map(float, root.attrib["viewBox"].split())
        assert all(0 < x < width and 0 < y < height + top for x, y in tokens(picture).values())
        assert picture == draw(trace.state(state.moment), faults=True, stoppable=True, send=["You publish"])


def test_it_tells_what_is_declared_and_where_each_message_is() -> None:
    trace = lived()
    moments = {event.kind: n for n, event in enumerate(trace.events, 1)}
    picture = draw(trace.state(moments["deliver"]))
    shown = texts(picture)
    for words in ("news", "topic", "course.#", "*.new", "mails", "0 of 9 · quorum", "1 of 2", "✕ failed", "mailer"):
        assert words in shown, words
    assert CONSUMERS[0] < tokens(picture)["m:m2"][0] < CONSUMERS[1], "in the consumer's hands"
    first_route = next(n for n, event in enumerate(trace.events, 1) if event.kind == "route")
    at_exchange = tokens(draw(trace.state(first_route - 1)))["m:m1"]
    assert EXCHANGES[0] < at_exchange[0] < EXCHANGES[1] + 40
    copied = tokens(draw(trace.state(first_route)))
    assert {"m:m1", "m:m1/2"} == set(copied)
    assert copied["m:m1"][1] != copied["m:m1/2"][1]


def test_a_part_is_drawn_at_every_moment_and_nothing_else() -> None:
    trace = lived()
    for state in trace.states(0, len(trace) + 1):
        shown = texts(draw(topology.part(state, ["news"]), faults=True, send="You publish"))
        assert ("news" in shown) == ("news" in state.exchanges)
        bound = {b.to for b in state.bindings if b.exchange == "news" and b.kind == "queue"}
        assert not {*state.queues} - bound & {*shown}
        assert not {*state.exchanges} - {"news"} & {*shown}
    assert topology.part(trace.state(), state.exchanges.keys() | state.queues.keys()) == trace.state()


def test_buttons_stay_where_they_are_as_the_picture_grows() -> None:
    trace = lived()

    def rows(moment: int) -> list[str]:
        root = ET.fromstring(
            draw(trace.state(moment), faults=True, stoppable=True, send=["You publish", "A friend does"])
        )
        buttons = [each for each in root if each.get("data-click", "").startswith(("send:", "slow:", "broker:"))]
        left, top, _, _ = root.attrib["viewBox"].split()
        return [left, top, *(ET.tostring(each, encoding="unicode") for each in buttons)]

    assert len(rows(0)) == 6
    calm = [state.moment for state in trace.states(0, len(trace) + 1) if not state.trouble]
    assert len(calm) > 30
    assert [moment for moment in calm if rows(moment) != rows(0)] == []


def test_what_is_worked_out_looks_otherwise() -> None:
    trace = lived()
    first_route = next(n for n, event in enumerate(trace.events, 1) if event.kind == "route")
    assert "mq-inferred" in draw(trace.state(first_route))
    assert "worked out and not seen" in draw(trace.state(first_route))
    assert "mq-inferred" not in draw(trace.state(first_route - 1))


def test_what_comes_back_and_who_was_cut_off_is_shown() -> None:
    trace = lived()
    returned = next(n for n, event in enumerate(trace.events, 1) if event.kind == "return")
    assert "↩ 1" in " ".join(texts(draw(trace.state(returned))))
    cancelled = next(n for n, event in enumerate(trace.events, 1) if event.kind == "cancel")
    assert "✕ the connection was cut" in texts(draw(trace.state(cancelled)))


def test_many_messages_are_counted() -> None:
    trace = Trace([Event("declare", queue="q")])
    for n in range(4_705):
        trace.append(Event("publish", message=f"m{n}", queue="q", who="Campus"))
    assert "+ 4,700" in texts(draw(trace.state()))


def test_harm_is_offered_only_where_it_is_real() -> None:
    state = lived().state(20)
    assert "data-click" not in draw(state)
    found = [e.attrib["data-click"] for e in ET.fromstring(draw(state, faults=True)).iter() if "data-click" in e.attrib]
    assert found == ["cut:Campus", "cut:mailer", "slow:0.2"]
    assert "broker:stop" in draw(state, faults=True, stoppable=True)
    state.trouble = "The broker was stopped"
    assert "broker:start" in draw(state, faults=True, stoppable=True)


# ---- layout


def broker(edges: list[tuple[int, int]], queues: int) -> State:
    """A broker with these bindings, each exchange declared before the queues."""
    trace = Trace(Event("exchange", exchange=f"x{n}") for n in sorted({a for a, _ in edges}))
    for n in range(queues):
        trace.append(Event("declare", queue=f"q{n}"))
    for a, b in edges:
        trace.append(Event("bind", exchange=f"x{a}", queue=f"q{b}", key="k"))
    return trace.state()


def crossed(state: State) -> int:
    """How often the bindings of the picture cross."""
    where = plan(state)
    left = sorted(where.exchanges, key=lambda name: where.exchanges[name])
    right = sorted(where.queues, key=lambda name: where.queues[name])
    return crossings([(left.index(b.exchange), right.index(b.to)) for b in state.bindings])


@st.composite
def caterpillars(draw_: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    """Bindings that can be drawn without crossings (a path of exchanges and queues, with leaves), in a random order."""
    exchanges = draw_(st.integers(1, 4))
    edges, queues = [], 0
    for exchange in range(exchanges):
        if exchange and queues and draw_(st.booleans()):
            edges.append((exchange, queues - 1))  # shares a queue with the one before
        for _ in range(draw_(st.integers(1, 3))):
            edges.append((exchange, queues))
            queues += 1
    names = draw_(st.permutations(range(queues)))
    order = draw_(st.permutations(range(exchanges)))
    return draw_(st.permutations([(order[a], names[b]) for a, b in edges])), queues


@settings(max_examples=200, deadline=None)
@given(caterpillars())
def test_what_can_be_drawn_without_crossings_is(case: tuple[list[tuple[int, int]], int]) -> None:
    edges, queues = case
    assert queues <= 12
    assert crossed(broker(edges, queues)) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=9, unique=True))
def test_where_lines_must_cross_there_are_hardly_more_than_needed(edges: list[tuple[int, int]]) -> None:
    left, right = tuple(f"x{n}" for n in range(3)), tuple(f"q{n}" for n in range(5))
    named = tuple((f"x{a}", f"q{b}") for a, b in edges)
    one, two = ordered(left, right, named)
    assert (tuple(sorted(one)), tuple(sorted(two))) == (left, right)
    found = crossings([(one.index(a), two.index(b)) for a, b in named])
    least = min(
        crossings([(p.index(a), q.index(b)) for a, b in named]) for p in permutations(left) for q in permutations(right)
    )
    assert found <= least + 1


def test_an_order_without_crossings_stays_as_declared() -> None:
    state = broker([(0, 0), (0, 1), (1, 2), (1, 3)], 5)
    where = plan(state)
    assert sorted(where.queues, key=lambda name: where.queues[name]) == [f"q{n}" for n in range(5)]


def test_nothing_overlaps_with_twelve_queues_and_two_columns_of_exchanges() -> None:
    edges = [(n // 4, n) for n in range(12)]
    trace = Trace(Event("exchange", exchange=f"x{n}") for n in range(3))
    for n in range(12):
        trace.append(Event("declare", queue=f"q{n}", facts={"dead_to": [DEFAULT, "q11"]} if n == 3 else None))
        trace.append(Event("consume", queue=f"q{n}", who=f"c{n}"))
    for a, b in edges:
        trace.append(Event("bind", exchange=f"x{a}", queue=f"q{b}", key=f"key.{b}"))
    trace.append(Event("bind", exchange="x0", key="#", facts={"to": "x1"}))
    where = plan(trace.state())
    assert where.deeper == {"x1"}
    for places, height in (
        (list(where.queues.values()), topology.ROW),
        ([where.exchanges[name] for name in ("x0", "x2", DEFAULT)], topology.PERSON),
        (list(where.consumers.values()), topology.PERSON),
    ):
        places.sort()
        assert all(b - a >= height for a, b in pairwise(places))
    assert max(where.queues.values()) < where.height
    assert f'viewBox="0 0 {WIDTH}' in draw(trace.state())


names = st.sampled_from(["mails", "<&\"'>", "q" * 80, "日本", "a\nb\x00"])


@settings(max_examples=60, deadline=None)
@given(names, names, names)
def test_any_names_will_do(exchange: str, queue: str, who: str) -> None:
    trace = Trace(
        [
            Event("connect", connection=who),
            Event("exchange", exchange=exchange),
            Event("declare", queue=queue),
            Event("bind", exchange=exchange, queue=queue, key=who),
            Event("publish", message="m", exchange=exchange, who=who, label=queue, connection=who),
            Event("route", message="m", queues=(queue,)),
            Event("deliver", message="m", who=who),
        ]
    )
    ET.fromstring(draw(trace.state(), faults=True))


@pytest.mark.parametrize("moment", [0, 1])
def test_before_anything_is_there_it_says_so(moment: int) -> None:
    trace = Trace([Event("trouble", why="The network is slow")])
    assert "Nobody has connected yet." in texts(draw(trace.state(moment)))
