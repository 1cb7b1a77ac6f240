"""The player without a page: its moment, what it would send, its still picture, and what it leaves behind."""

import base64
import gc
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mqlab.queues import FIFO
from mqlab.state import KINDS, State
from mqlab.trace import Event, Trace, ticking, watch
from mqlab.views.player import FEW, JUMPS, MOST, Player
from mqlab.views.queue import draw, show
from mqlab.views.words import says

Sent = list[dict[str, Any]]
PATIENCE = 10  # seconds


def words(trace: Trace, moment: int) -> str:
    return f"Event {moment}." if moment else ""


def picture(state: State) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" aria-label="{state.moment}"/>'


def grow(trace: Trace, n: int = 1) -> None:
    for _ in range(n):
        trace.tell("publish", message=f"m{len(trace)}", queue="q", who="Campus")


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """A player of five events; what it sends is kept in `player.sent`, and `player.arrived` is set each time."""

    class Listening(Player):
        def send(self, content: dict[str, Any], buffers: object = None) -> None:
            self.sent.append(content)
            self.arrived.set()

    trace = ticking()
    grow(trace, 5)
    player = Listening(trace, picture, says=words, title="Trial")
    player.sent, player.arrived = [], threading.Event()
    yield player
    player.close()


def hear(player: Player, **message: Any) -> None:
    """Let the page say something."""
    player._line._handle_custom_msg(message, [])


def sent_pictures(player: Any) -> dict[int, str]:
    messages = [m for m in player.sent if m["type"] == "pictures"]
    return {m["first"] + n: p["svg"] for m in messages for n, p in enumerate(m["pictures"])}


def wait_until(player: Any, true: Callable[[], bool]) -> None:
    while not true():
        assert player.arrived.wait(PATIENCE), player.sent
        player.arrived.clear()


def test_it_shows_the_newest_moment_until_told_otherwise(player: Player) -> None:
    assert (player.at, player.state.moment) == (5, 5)
    grow(player.trace)
    assert player.at == 6
    player.at = 2
    grow(player.trace)
    assert (player.at, player.state.moment, player.state.ready) == (2, 2, 2)
    player.at = 7
    grow(player.trace)
    assert player.at == 8
    for wrong in (-1, 9):
        with pytest.raises(IndexError, match=f"moments 0 to 8, not {wrong}"):
            player.at = wrong


def test_the_page_steers_python(player: Player) -> None:
    hear(player, type="at", at=3, live=False)
    assert player.at == 3
    hear(player, type="at", at=5, live=True)
    grow(player.trace)
    assert player.at == 6


def test_python_steers_the_page(player: Any) -> None:
    player.at = 2
    assert player.sent[-1] == {"type": "go", "at": 2}
    assert 2 in sent_pictures(player), "with the picture, so that the page need not ask"


def test_a_window_of_pictures_is_sent_on_demand(player: Any) -> None:
    hear(player, type="frames", first=3, count=40)
    assert sent_pictures(player) == {k: picture(player.trace.state(k)) for k in (3, 4, 5)}
    assert player.sent[-1]["asked"] and player.sent[-1]["length"] == 5
    assert [p["says"] for p in player.sent[-1]["pictures"]] == ["Event 3.", "Event 4.", "Event 5."]
    assert [p["t"] for p in player.sent[-1]["pictures"]] == [2.0, 3.0, 4.0]
    grow(player.trace, 200)
    player.sent.clear()
    hear(player, type="frames", first=0, count=10_000)
    assert list(sent_pictures(player)) == list(range(MOST))


def test_growth_is_pushed_at_once_then_seldom_and_the_last_is_never_lost(player: Any) -> None:
    grow(player.trace)
    assert list(sent_pictures(player)) == [6]
    grow(player.trace, 500)
    wait_until(player, lambda: 506 in sent_pictures(player))
    assert len(player.sent) < 50, "a message is not sent for each event"


def test_few_new_moments_are_all_pushed(player: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqlab.views.player.SHARE", 1e9)  # however long a slow machine takes to draw
    grow(player.trace)
    grow(player.trace, FEW)
    wait_until(player, lambda: 6 + FEW in sent_pictures(player))
    assert list(sent_pictures(player)) == list(range(6, 7 + FEW))


def test_growth_in_many_threads_loses_nothing(player: Any) -> None:
    trace = player.trace
    threads = [
        threading.Thread(
            target=lambda n=n: [trace.tell("publish", message=f"{n}.{i}", queue="q", who="x") for i in range(200)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    wait_until(player, lambda: 805 in sent_pictures(player))
    assert player.at == 805


def test_nothing_is_pushed_when_nobody_looks(player: Any) -> None:
    hear(player, type="bye")
    grow(player.trace)
    assert player.sent == []
    hear(player, type="hello")
    assert list(sent_pictures(player)) == [6]
    grow(player.trace)
    wait_until(player, lambda: 7 in sent_pictures(player))


def test_clicks_reach_each_handler_and_their_errors_the_page(player: Any) -> None:
    clicks: list[str] = []
    player.on_click(clicks.append)
    player.on_click(lambda action: FIFO().get())
    hear(player, type="click", action="take:Ben")
    assert clicks == ["take:Ben"]
    assert player.sent == [{"type": "problem", "text": "That click did not work. IndexError: pop from an empty deque"}]


def test_a_picture_that_cannot_be_drawn_is_said_and_stops_nobody(player: Any) -> None:
    player._draw = lambda state: 1 / 0
    grow(player.trace)
    assert player.sent == [
        {"type": "problem", "text": "The picture could not be drawn. ZeroDivisionError: division by zero"}
    ]


def test_its_line_of_text_is_the_same_each_time(player: Player) -> None:
    assert repr(player) == "Trial: 5 of 5 events. Event 5."
    player.at = 0
    assert repr(player) == "Trial: 0 of 5 events"
    desk = watch(FIFO(), "desk", producer="Campus", consumer="Olu")
    desk.put("Ana")
    assert repr(show(desk)) == "Queue (live)"
    assert repr(show(desk.trace)) == f"Queue: 3 of 3 events. {says(desk.trace, 3)}"


def test_a_small_still_picture_lies_beside_the_view() -> None:
    desk = watch(FIFO(), "desk", producer="Campus", consumer="Olu")
    for n in range(9):
        desk.put(f"Z{n}")
    data, metadata = show(desk.trace)._repr_mimebundle_()
    image = base64.b64decode(data["image/png"])
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("Queue: 11 of 11 events.")
    assert struct.unpack(">I", image[16:20])[0] == 2 * metadata["image/png"]["width"]
    assert len(image) < 60_000
    assert data == show(desk.trace)._repr_mimebundle_()[0] | {
        k: v for k, v in data.items() if k.startswith("application/")
    }, "the same bytes again"


def test_closed_it_leaves_no_thread_and_the_trace_forgets_it() -> None:
    trace = ticking()
    player = Player(trace, draw, says=says)
    grow(trace, 3)  # the first is pushed at once, the others later
    timer = player._due
    assert timer is not None and timer.daemon
    player.close()
    timer.join(PATIENCE)
    assert not timer.is_alive()
    assert trace._listeners == []
    forgotten = weakref.ref(player)
    del player, timer
    gc.collect()
    assert forgotten() is None
    grow(trace)


def last(player: Any, kind: str) -> dict[str, Any]:
    return next(message for message in reversed(player.sent) if message["type"] == kind)


def test_the_next_event_of_a_kind_is_looked_for(player: Any) -> None:
    player.trace.tell("deliver", message="m0", who="Olu")
    grow(player.trace, 3)
    player.at = 0
    hear(player, type="find", jump="a delivery", after=0, back=False)
    assert (player.at, last(player, "go")["at"]) == (6, 6)
    hear(player, type="find", jump="a publish", after=6, back=True)
    assert player.at == 5
    hear(player, type="find", jump="an ack", after=5, back=False)
    assert last(player, "problem")["text"] == "There is no such event (an ack) after this moment."
    assert player.at == 5
    assert {kind for kinds in JUMPS.values() for kind in kinds} == set(KINDS)


def test_a_message_s_story_is_told(player: Any) -> None:
    player.trace.tell("deliver", message="m0", who="Olu")
    hear(player, type="story", message="m0")
    told = last(player, "story")
    assert told["message"] == "m0" and told["length"] == 6
    assert [line[2:] for line in told["lines"]] == [
        ["Campus puts m0 into q.", "simulated"],
        ["Olu takes m0 from q.", "simulated"],
    ]


@pytest.mark.parametrize(
    ("what", "name", "begin"),
    [
        ("svg", "trial.svg", b"<svg"),
        ("png", "trial.png", b"\x89PNG"),
        ("film", "trial-film.svg", b"<svg"),
        ("trace", "trial.jsonl", b'{"mqlab":"trace","format":1}\n{"kind":"publish"'),
    ],
)
def test_pictures_film_and_trace_are_saved(player: Any, what: str, name: str, begin: bytes) -> None:
    hear(player, type="save", what=what, at=3)
    file = last(player, "file")
    assert file["name"] == name
    assert base64.b64decode(file["data"]).startswith(begin)
    assert last(player, "file") == file


def test_what_cannot_be_saved_is_said(player: Any) -> None:
    hear(player, type="save", what="svg", at=99)
    assert last(player, "problem")["text"].startswith(
        "It could not be saved. IndexError: This trace has the moments 0 to 5"
    )


def test_it_is_drawn_anew_when_something_else_has_changed(player: Any) -> None:
    player._draw = lambda state: picture(state).replace("aria-label", "aria-other")
    player.at = 2
    player.redraw()
    told = last(player, "redraw")
    assert told["at"] == 2 and "aria-other" in told["pictures"][0]["svg"]


def test_what_a_trace_has_folded_away_is_not_shown() -> None:
    trace = Trace(limit=300)
    player = Player(trace, picture, says=words)
    try:
        for n in range(2_000):
            trace.append(Event("publish", n, f"m{n}", "q"))
            trace.append(Event("drop", n, f"m{n}"))
        assert trace.first > 0
        sent: Sent = []
        player.send = lambda content, buffers=None: sent.append(content)
        hear(player, type="frames", first=0, count=3)
        assert sent[-1]["first"] == sent[-1]["oldest"] == trace.first
        hear(player, type="at", at=1, live=False)
        assert player.at == trace.first
        with pytest.raises(IndexError, match=f"moments {trace.first} to 4000, not 1"):
            player.at = 1
        assert player._snapshot()["first"] == trace.first
    finally:
        player.close()


def test_slow_pictures_are_not_drawn_one_by_one(player: Any) -> None:
    player._cost = 1.0  # seconds
    player._pushed = time.monotonic()
    grow(player.trace, 5)
    wait_until(player, lambda: 10 in sent_pictures(player))
    assert list(sent_pictures(player)) == [10]
