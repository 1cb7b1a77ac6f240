"""The view of sockets as a pure function: each moment has a picture with everything in it, inside its bounds."""

import xml.etree.ElementTree as ET
from functools import partial

import pytest

from mqlab.sockets.pipes import End, Pipes
from mqlab.state import State
from mqlab.trace import Trace
from mqlab.views import sockets as view
from mqlab.views import words

SVG = "{http://www.w3.org/2000/svg}"


def lived() -> Trace:
    """A life of sockets in which each kind of event happens, told to the model without any socket."""
    pipes = Pipes()
    campus, ada, ben = End("campus", "PUSH", hwm=(2, 2)), End("Ada", "PULL", hwm=(1, 1)), End("Ben", "PULL", hwm=(1, 1))
    news, mailer = End("news", "PUB", hwm=(1, 1)), End("mailer", "SUB", hwm=(1, 1))
    ana, front, back = End("Ana", "REQ"), End("front", "ROUTER"), End("back", "DEALER")
    desk = End("desk", "ROUTER")
    pipes.bound(campus, "inproc://work")
    pipes.connected(ada, "inproc://work")
    pipes.connected(ben, "inproc://work")
    for n in range(6):
        pipes.t += 0.1
        pipes.sent(campus, (b"task %d" % n,))
    pipes.wait(campus, "put")
    pipes.received(ben, (b"task 0",))  # not the way that was worked out
    pipes.go_on(campus, "put")
    pipes.received(ada, (b"task 1",))
    pipes.bound(news, "inproc://news")
    pipes.sent(news, (b"a", b"nobody there"))
    pipes.subscribed(mailer, b"a")
    pipes.connected(mailer, "inproc://news")
    for n in range(4):
        pipes.sent(news, (b"ab"[n % 2 :][:1], b"news %d" % n))
    pipes.sent(news, (b"a", b"full"))
    pipes.unsubscribed(mailer, b"a")
    pipes.bound(front, "tcp:1")
    pipes.connected(ana, "tcp:1")
    pipes.together(front, back)
    pipes.peer(back, 7, "peer 1 of back")
    pipes.sent(ana, (b"ask",))
    pipes.received(front, (b"id", b"", b"ask"), "capture")
    pipes.sent(back, (b"id", b"", b"ask"), "capture")
    pipes.received(back, (b"id", b"", b"reply"), "capture")
    pipes.sent(front, (b"id", b"", b"reply"), "capture")
    pipes.received(ana, (b"reply",))
    pipes.wait(ana, "get")
    pipes.lost(back, 7)
    pipes.refused(back, "the handshake failed")
    pipes.bound(desk, "tcp:2")
    pipes.received(desk, (b"Chi", b"ready"))
    pipes.sent(desk, (b"nobody", b"x"))
    pipes.closed(ada)
    pipes.closed(mailer)
    pipes.closed(news)
    return Trace(pipes.events)


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def test_every_moment_has_a_picture_with_each_key_once_inside_its_bounds() -> None:
    trace = lived()
    for state in trace.states(0, len(trace) + 1):
        picture = view.draw(state, send="You send")
        root = ET.fromstring(picture)
        keys = [child.attrib["data-key"] for child in root if "data-key" in child.attrib]
        assert len(keys) == len(set(keys))
        _, top, width, height = map(float, root.attrib["viewBox"].split())
        for child in root:
            if "data-key" in child.attrib:
                x, y = map(float, child.attrib["transform"][10:-1].replace(",", " ").split())
                assert 0 < x < width and 0 < y < height + top
        for rect in root.findall(f"{SVG}rect"):
            x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0 and x + w <= width and y >= top and y + h <= height + top
        assert "data-click" not in view.draw(state)


def test_no_two_sockets_and_no_two_pipes_overlap() -> None:
    trace = lived()
    for state in trace.states(0, len(trace) + 1):
        where, wide = view.plan(state), view.width_of(state)
        assert set(where.sockets) == set(state.exchanges) and set(where.pipes) == set(state.queues)
        boxes = [(x, x + wide, y, view.TALL) for x, y in where.sockets.values()]
        boxes += [(left, right, y, view.LANE) for left, right, y in where.pipes.values()]
        for n, (left, right, y, tall) in enumerate(boxes):
            for other_left, other_right, other_y, other_tall in boxes[:n]:
                apart = abs(y - other_y) >= (tall + other_tall) / 2
                assert apart or right <= other_left or other_right <= left


def test_it_tells_marks_drops_waits_and_subscriptions() -> None:
    trace = lived()
    by_kind = {event.kind: n for n, event in reversed(list(enumerate(trace.events, 1)))}
    shown = " | ".join(texts(view.draw(trace.state(by_kind["wait"]))))
    for told in ("campus", "PUSH", "campus → Ada", "3 of 3 · full", "waits: full", "6 sent = 6 in pipes + 0 received"):
        assert told in shown, told
    dropped = next(n for n, event in enumerate(trace.events, 1) if event.why == "the pipe was full")
    shown = " | ".join(texts(view.draw(trace.state(dropped))))
    assert "news → mailer: a" in shown and "2 of 2 · full · ▼ 1 dropped" in shown and "▼ 3 dropped" in shown
    joined = next(n for n, event in enumerate(trace.events, 1) if event.connection)
    assert "DEALER · 1 peer" in texts(view.draw(trace.state(joined)))
    assert "another process" in texts(view.draw(trace.state()))


def test_every_event_has_its_sentence_and_says_how_it_was_seen() -> None:
    trace = lived()
    said = [words.says(trace, moment, view.tell) for moment in range(1, len(trace) + 1)]
    assert len(set(event.kind for event in trace)) >= 13
    for sentence in (
        "The PUSH socket campus is there.",
        "A pipe leads from campus to Ada; it holds at most 3.",
        "campus sends task 0.",
        "task 0 goes into the pipe to Ada (worked out, not seen).",
        "campus has to wait: the pipe to Ada is full.",
        "task 0 is in the pipe to Ben instead (worked out, not seen).",
        "Ben receives task 0.",
        "nobody there is dropped, because nobody is connected (worked out, not seen).",
        "mailer has subscribed to a.",
        "full is dropped, because the pipe was full (worked out, not seen).",
        "mailer is no longer subscribed to a.",
        "What comes to front or to back is passed on by the other one.",
        "peer 1 of back has connected (zmq's monitor says so).",
        "front receives ask (the proxy's copy says so).",
        "Ana waits for a message.",
        "The connection of a peer of back has ended: the handshake failed (zmq's monitor says so).",
        "Sockets of another process are there: Chi (worked out, not seen).",
        "The pipe from campus to Ada is gone, because Ada was closed.",
        "news is closed.",
    ):
        assert sentence in said, sentence


def test_senders_are_on_the_left_and_a_proxy_is_in_the_middle() -> None:
    trace = lived()
    moment = next(n for n, event in enumerate(trace.events) if event.kind == "bind" and (event.facts or {}).get("to"))
    assert view.columns(trace.state(moment)) == {
        "campus": 0, "Ada": 1, "Ben": 1, "news": 0, "mailer": 1, "front": 1, "Ana": 0, "back": 0
    }  # fmt: skip
    columns = view.columns(trace.state(moment + 2))
    assert (columns["Ana"], columns["front"], columns["back"], columns["campus"], columns["Ada"]) == (0, 1, 2, 0, 1)


def test_nothing_yet() -> None:
    assert "No socket has bound or connected yet." in texts(view.draw(State()))


def test_the_player_acts_and_tells_the_story_in_its_words() -> None:
    clicks: list[str] = []
    player = view.show(lived(), title="Work", on_send=partial(clicks.append, "sent"), send="You teach")
    said: list[dict[str, object]] = []
    player.send = said.append
    player._hear(player._line, {"type": "click", "action": "send:You teach"})
    player._hear(player._line, {"type": "story", "message": "campus:1"})
    assert clicks == ["sent"]
    [story] = [each for each in said if each["type"] == "story"]
    assert [line[2] for line in story["lines"]][:2] == ["campus sends task 0.", "task 0 goes into the pipe to Ada."]
    player.close()


@pytest.mark.parametrize("count", [60, 5_000])
def test_many_messages_are_counted(count: int) -> None:
    pipes = Pipes()
    pipes.bound(push := End("campus", "PUSH"), "tcp:1")
    pipes.connected(End("Ada", "PULL"), "tcp:1")
    for n in range(count):
        pipes.sent(push, (b"%d" % n,))
    picture = view.draw(Trace(pipes.events).state())
    assert f"{count:,} of 2,000{' · full' if count > 2000 else ''}" in texts(picture)
    assert len(picture) < 40_000
