"""The view of time as a pure function of a state, and its measures."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lives import lived

from mqlab.state import State
from mqlab.trace import Event, Trace
from mqlab.views import timeline
from mqlab.views.timeline import LEFT, RIGHT, duration, percentile, ticks

SVG = "{http://www.w3.org/2000/svg}"


def worked() -> Trace:
    """Two messages: one waits 1 s and is worked on for 2 s, the other one 2 s and 6 s; a third goes on waiting."""
    told = [
        Event("publish", 0, "m1", "q", "Campus", "Ana"),
        Event("publish", 1, "m2", "q", "Campus", "Ben"),
        Event("deliver", 1, "m1", "q", "Olu"),
        Event("ack", 3, "m1"),
        Event("deliver", 3, "m2", "q", "Olu"),
        Event("publish", 5, "m3", "q", "Campus", "Chi"),
        Event("ack", 9, "m2"),
        Event("declare", 10, queue="q"),
    ]
    return Trace(told)


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def test_waiting_and_processing_are_measured() -> None:
    lines = timeline.told(worked().state())
    assert lines == [
        "Throughput: 0.2 acked a second since the trace began",
        "Waiting: 1.50 s on average of 2; 50 %: 1.00 s, 95 %: 2.00 s, 99 %: 2.00 s (of the last 2)",
        "Processing: 4.00 s on average of 2; 50 %: 2.00 s, 95 %: 6.00 s, 99 %: 6.00 s (of the last 2)",
    ]
    assert set(lines) <= set(texts(timeline.draw(worked().state())))


def test_bars_are_as_long_as_the_times() -> None:
    picture = ET.fromstring(timeline.draw(worked().state()))
    bars = {bar.attrib["data-key"].rpartition(":")[0]: bar for bar in picture if "data-key" in bar.attrib}
    assert list(bars) == ["b:m1", "b:m2", "b:m3"]
    second = (RIGHT - LEFT) / 10
    for key, expected in {"b:m1": [1, 2], "b:m2": [2, 6], "b:m3": [5]}.items():
        widths = [float(rect.attrib["width"]) / second for rect in bars[key].iter(f"{SVG}rect")]
        assert widths == pytest.approx(expected, abs=0.01)
    heights = [float(rect.attrib["height"]) for rect in bars["b:m1"].iter(f"{SVG}rect")]
    assert heights[0] < heights[1], "told apart by more than colour"
    assert bars["b:m1"].find(f".//{SVG}circle") is not None
    assert bars["b:m3"].find(f".//{SVG}circle") is None


def test_only_the_latest_have_a_row() -> None:
    trace = Trace(Event("publish", n / 10, f"m{n}", "q", "Campus") for n in range(4_712))
    picture = timeline.draw(trace.state(), rows=12)
    assert "+ 4,700 earlier" in texts(picture)
    assert picture.count("data-key") == 12


def test_every_moment_of_a_life_has_a_picture() -> None:
    trace = lived()
    for state in trace.states(0, len(trace) + 1):
        keys = [child.attrib.get("data-key") for child in ET.fromstring(timeline.draw(state))]
        found = [key for key in keys if key]
        assert len(found) == len(set(found))
    assert "No message yet." in texts(timeline.draw(State()))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_by_nearest_rank(values: list[float], p: int) -> None:
    assert percentile(values, p) == np.percentile(values, p, method="inverted_cdf")


@given(st.floats(0, 1e5), st.floats(1e-4, 1e5))
def test_ticks_are_few_round_and_inside(begin: float, width: float) -> None:
    found = ticks(begin, begin + width)
    assert len(found) <= 9
    assert all(begin - width * 1e-6 <= t <= begin + width * (1 + 1e-6) for t in found)


def test_times_are_written_as_people_read_them() -> None:
    assert [duration(t) for t in (0.0004, 0.0123, 0.5, 1.4, 200)] == [
        "0.4 ms",
        "12 ms",
        "500 ms",
        "1.40 s",
        "3 min 20 s",
    ]
