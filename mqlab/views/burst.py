"""The view of a burst: a chain of calls beside a queue, with buttons for the burst, the time and the mail service."""

from __future__ import annotations

import svg

from mqlab.burst import CHAIN, DEAD, Rush
from mqlab.state import State, first
from mqlab.views.player import Player
from mqlab.views.shapes import SIZE, box, canvas, clickable, text, token
from mqlab.views.words import says

WIDTH = 1000
PITCH, ROOM = SIZE + 4, 11  # tokens that a line shows; the others are counted
_LINE, _HANDS, _ENDS = (8, 504), (524, 770), 786


def draw(state: State) -> str:
    """Return the picture of a rush's state as SVG."""
    scene: list[svg.Element] = []
    tokens: list[svg.Element] = []
    y = _buttons(state, scene)
    for name in state.queues:
        y = _design(state, name, y, scene, tokens)
    clock = f"{state.t:.1f} s of virtual time. {DEAD}." if state.trouble else f"{state.t:.1f} s of virtual time."
    scene.append(text(8, y + 14, clock, "mq-soft"))
    return canvas(WIDTH, round(y + 28), f"{clock} {state}", scene + tokens)


def _buttons(state: State, scene: list[svg.Element]) -> float:
    dead = bool(state.trouble)
    mail = ("mail: dead", "▸ revive it") if dead else ("mail: alive", "▸ kill it")
    for n, (action, name, note) in enumerate(
        [("burst", "8 people", "▸ sign up at once"), ("wait", "nobody", "▸ a second passes"), ("mail", *mail)]
    ):
        left = 8 + n * 196
        look = "mq-box mq-faded" if action == "mail" and dead else "mq-box"
        scene.append(
            svg.G(
                class_=["mq-actor", "mq-clickable"],
                extra=clickable(action, f"{name}: {note.lstrip('▸ ')}"),
                elements=[
                    box(left, 6, 180, 50, look),
                    text(left + 10, 27, name, "mq-name"),
                    text(left + 10, 46, note, "mq-soft"),
                ],
            )
        )
    return 74.0


def _design(state: State, name: str, y: float, scene: list[svg.Element], tokens: list[svg.Element]) -> float:
    """Draw one design below y: its line, what is in hand, what has ended; return where the next one begins."""
    queue = state.queues[name]
    consumers = [each for each in state.consumers.values() if each.queue == name]
    middle = y + 52
    scene.append(text(_LINE[0], y + 15, name, "mq-name"))
    scene.append(text(_LINE[1], y + 15, f"{len(queue.ready):,} in line", "mq-soft mq-end"))
    scene.append(box(_LINE[0], middle - SIZE / 2 - 8, _LINE[1] - _LINE[0], SIZE + 16, "mq-lane"))
    fits = ROOM if len(queue.ready) <= ROOM else ROOM - 1
    for i, id in enumerate(first(queue.ready, fits)):
        tokens.append(token(state.messages[id], _LINE[1] - 8 - SIZE / 2 - i * PITCH, middle))
    if len(queue.ready) > fits:
        scene.append(text(_LINE[0] + 8, middle + 5, f"+ {len(queue.ready) - fits:,}"))
    who = "web processes" if name == CHAIN else "workers"
    scene.append(text(_HANDS[0], y + 15, f"{len(consumers)} {who}", "mq-name"))
    scene.append(box(_HANDS[0], middle - SIZE / 2 - 8, _HANDS[1] - _HANDS[0], SIZE + 16, "mq-box"))
    for n, consumer in enumerate(consumers):
        for id in consumer.holding:
            tokens.append(token(state.messages[id], _HANDS[0] + 12 + SIZE / 2 + n * (PITCH + 14), middle))
    done = sum(consumer.acked for consumer in consumers)
    failed = queue.published - len(queue.ready) - sum(len(c.holding) for c in consumers) - done
    scene.append(text(_ENDS, middle - 6, f"{done:,} welcomed, all done", "mq-soft"))
    scene.append(text(_ENDS, middle + 16, f"{failed:,} errors: no mail", "mq-name" if failed else "mq-soft"))
    scene.append(text(_LINE[0], middle + SIZE / 2 + 28, _words(state, name), "mq-soft"))
    return middle + SIZE / 2 + 44


def _words(state: State, name: str) -> str:
    """Say how long the oldest one here has waited, and for what."""
    inside = [message.steps[0][1] for message in state.messages.values() if message.queue == name]
    age = f"{state.t - min(inside):.1f} s" if inside else ""
    if name == CHAIN:
        return f"Visitors look at an empty page, the first of them for {age}." if age else "No visitor waits."
    return f"These visitors have their answer. The oldest work is {age} old." if age else "No work waits."


def show(rush: Rush, title: str = "Call or queue") -> Player:
    """Show a rush; a click lets people sign up, a second pass, or the mail service die or come back."""
    acts = {"burst": rush.burst, "wait": rush.wait, "mail": rush.kill_or_revive}

    def click(action: str) -> None:
        if act := acts.get(action):
            act()

    return Player(rush.trace, draw, says=says, on_click=click, title=title)
