"""The view of the wire as a pure function of a state."""

import struct
import xml.etree.ElementTree as ET
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands

from mqlab.state import State, fold
from mqlab.trace import Event, Trace
from mqlab.views import wire

METHODS = [
    (">", 0, commands.Connection.Open("campus")),
    ("<", 0, commands.Connection.OpenOk()),
    (">", 1, commands.Channel.Open()),
    ("<", 1, commands.Channel.OpenOk()),
    (">", 1, commands.Queue.Declare(queue="sign-ups", durable=True)),
    ("<", 1, commands.Queue.DeclareOk("sign-ups", 3, 0)),
    (">", 1, commands.Basic.Publish(routing_key="sign-ups")),
    ("<", 1, commands.Basic.Ack(1)),
    (">", 2, commands.Channel.Open()),
]


def frame(n: int, way: str, channel: int, method: Any, connection: str = "Campus") -> Event:
    payload = struct.pack(">I", method.index) + method.marshal()
    return Event("frame", n / 1000, connection=connection, channel=channel, way=way, frame=payload, seen="wire")


def talk() -> Trace:
    connected = Event("connect", connection="Campus", seen="wire")
    return Trace([connected, *(frame(n, *method) for n, method in enumerate(METHODS))])


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def keys(picture: str) -> list[str]:
    return [child.attrib["data-key"] for child in ET.fromstring(picture) if "data-key" in child.attrib]


def test_each_frame_is_a_row_with_what_tells_the_most() -> None:
    shown = texts(wire.draw(talk().state()))
    for words in ("connection.open", "queue.declare", "sign-ups", "sign-ups · message-count 3", "delivery-tag 1"):
        assert words in shown
    assert keys(wire.draw(talk().state())) == [f"f:{n}" for n in range(1, len(METHODS) + 1)]


def test_a_frame_keeps_its_key_as_the_picture_scrolls() -> None:
    trace = talk()
    for n in range(100):
        trace.append(frame(n, ">", 1, commands.Basic.Publish(routing_key=str(n))))
    before, after = keys(wire.draw(trace.state(60))), keys(wire.draw(trace.state(63)))
    assert len(before) == wire.ROWS
    assert before[3:] == after[:-3]


def test_a_folded_channel_is_one_row_until_another_speaks() -> None:
    state = talk().state()
    picture = wire.draw(state, folded={("Campus", 1)})
    assert "channel 1: 6 frames, the last basic.ack" in texts(picture)
    assert "queue.declare" not in texts(picture)
    assert len(keys(picture)) == 4
    assert "▸ ch 1" in texts(picture) and "▾ ch 2" in texts(picture)


def test_an_opened_frame_lists_its_fields() -> None:
    state = talk().state()
    shown = texts(wire.draw(state, opened="5"))
    assert {"queue: sign-ups", "durable: yes", "channel 1 · to the broker"} <= set(shown)
    assert "queue: sign-ups" not in texts(wire.draw(state))


def test_clicks_fold_and_open() -> None:
    player = wire.show(talk())
    sent: list[dict[str, Any]] = []
    player.send = lambda content, buffers=None: sent.append(content)
    for action, words in [("open:5", "durable: yes"), ("fold:1:Campus", "channel 1: 6 frames, the last basic.ack")]:
        player._line._handle_custom_msg({"type": "click", "action": action}, [])
        assert sent[-1]["type"] == "redraw"
        assert words in texts(sent[-1]["pictures"][0]["svg"])
    player._line._handle_custom_msg({"type": "click", "action": "fold:1:Campus"}, [])
    assert "queue.declare" in texts(sent[-1]["pictures"][0]["svg"])


names = st.sampled_from(["Campus", "<&\"'>", "ö" * 80, "a\nb"])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=60), st.binary(max_size=40), names, st.integers(0, 9)), max_size=80
    )
)
def test_any_frames_have_a_picture_with_each_key_once(given_: list[tuple[bytes, bytes, str, int]]) -> None:
    events = [
        Event("frame", n, connection=name, channel=channel, way="<>"[n % 2], frame=payload, header=header, seen="wire")
        for n, (payload, header, name, channel) in enumerate(given_)
    ]
    state = fold(events)
    picture = wire.draw(state, folded={("Campus", 1)}, opened=str(state.framed))
    found = keys(picture)
    assert len(found) == len(set(found))
    assert picture == wire.draw(fold(events), folded={("Campus", 1)}, opened=str(state.framed))


def test_before_anything_has_passed_there_is_a_picture_too() -> None:
    assert "Nothing has crossed the wire yet." in texts(wire.draw(State()))
