"""The player: a widget that shows a trace through a view, moment by moment, and brings clicks back to Python."""

from __future__ import annotations

import base64
import re
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mqlab.state import KINDS, State
from mqlab.trace import Trace
from mqlab.views import animated, export, palette, still
from mqlab.views.words import Tell, story

PERIOD = 0.05  # seconds between two pushes to the page: more than 20 a second it would not draw anyway
MOST = 64  # pictures in one answer
FEW = 12  # so many new moments are shown one by one; of more only the newest is
SHARE = 0.4  # of the time may go into drawing what is new; then only the newest is drawn too
STORY = 40  # lines

# What a reader may look for next: words, and the kinds of events meant.
JUMPS = {
    "any event": KINDS,
    "a publish": ("publish",),
    "a delivery": ("deliver",),
    "an ack": ("ack",),
    "one that goes back": ("requeue",),
    "a loss: dropped, expired, dead-lettered": ("drop", "expire", "dead-letter"),
    "a return": ("return",),
    "a wait": ("wait", "go-on"),
    "a connection": ("connect", "disconnect", "cancel", "close"),
}

_HERE = Path(__file__).parent


class Wire(anywidget.AnyWidget):
    """What the page says to Python comes over a widget of its own.

    ipykernel lets a widget's messages wait for whatever thread has last written to that widget: for a running cell, as
    a rule. To this one nothing is written but an answer to each message, in the thread that serves all widgets.
    """

    _esm = "export default {}"


class Player(anywidget.AnyWidget):
    """Shows the moments of `trace` as the pictures that `draw` makes of its states.

    `draw(state)` returns an SVG picture (see `mqlab.views.queue.draw`); `says(trace, moment)` a sentence about the
    event that led to a moment; `on_click(action)` is called for a click on an element with `data-click="action"`.
    `telling` says what an event of a message's story was (see `mqlab.views.words`).
    `live` says that others add to the trace meanwhile; its text then leaves out what is a matter of chance.
    While a cell is running such calls come in another thread.
    """

    # The text and not the path: anywidget would watch the file, and with that keep every player for ever.
    _esm = (_HERE / "player.js").read_text(encoding="utf-8")
    _css = (_HERE / "player.css").read_text(encoding="utf-8") + palette.css()
    _title = traitlets.Unicode().tag(sync=True)
    _wire = traitlets.Unicode().tag(sync=True)
    _jumps = traitlets.List(traitlets.Unicode(), list(JUMPS)).tag(sync=True)
    # Worked out each time a page asks for it: a page that comes late begins with what is true then.
    _start = traitlets.Any().tag(sync=True, to_json=lambda _, player: player._snapshot())

    def __init__(
        self,
        trace: Trace,
        draw: Callable[[State], str],
        *,
        says: Callable[[Trace, int], str] | None = None,
        on_click: Callable[[str], object] | None = None,
        title: str = "Queue",
        live: bool = False,
        telling: Tell | None = None,
    ) -> None:
        self._live, self._telling = live, telling
        self.trace, self._draw, self._says = trace, draw, says or (lambda trace, moment: "")
        self._handlers = [on_click] if on_click else []
        self._moment: int | None = None  # None: the newest, whichever that is
        self._lock = threading.Lock()
        self._due: threading.Timer | None = None
        self._cost = 0.001  # seconds that a picture took to draw
        self._pushed, self._sent = 0.0, len(trace)  # when the last push was, and how long the trace was then
        self._shown = True  # until the page says that nobody looks
        self._line = Wire()
        self._line.on_msg(self._hear)
        super().__init__(_title=title, _wire=self._line.model_id)
        grown = weakref.WeakMethod(self._grown)
        self._stop_listening = trace.listen(lambda: (call := grown()) and call())

    @property
    def at(self) -> int:
        """The moment shown: so many events have happened. The newest moment stays the newest as the trace grows."""
        length = len(self.trace)
        return length if self._moment is None else max(self._moment, self.trace.first)

    @at.setter
    def at(self, moment: int) -> None:
        first, length = self.trace.first, len(self.trace)
        if not first <= moment <= length:
            raise IndexError(f"This trace has the moments {first} to {length}, not {moment}.")
        self._moment = None if moment == length else moment
        self._send_pictures(moment, 1)
        self.send({"type": "go", "at": moment})

    @property
    def state(self) -> State:
        """The state at the moment shown."""
        return self.trace.state(self.at)

    def on_click(self, handler: Callable[[str], object]) -> None:
        """Call `handler(action)` for each click on a marked element."""
        self._handlers.append(handler)

    def redraw(self) -> None:
        """Show the pictures anew: something but the trace has changed what `draw` makes of a state."""
        self.send({"type": "redraw", "at": self.at, "pictures": self._pictures(self.at, 1)})

    def close(self) -> None:
        """Take the player out of the page, and end what it does in the background."""
        if self.comm is not None:
            self._stop_listening()
            with self._lock:
                self._shown = False
                if self._due:
                    self._due.cancel()
            self._line.close()
        super().close()

    def __repr__(self) -> str:
        if self._live:
            return f"{self._title} (live)"
        at, length = self.at, len(self.trace)
        sentence = self._says(self.trace, at)
        return f"{self._title}: {at} of {length} events" + (f". {sentence}" if sentence else "")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            image, width = still.png(self._draw(self.state))
            bundle[0]["image/png"] = base64.b64encode(image).decode("ascii")
            bundle[1]["image/png"] = {"width": width}
        return bundle

    # --- towards the page

    def _pictures(self, first: int, count: int) -> list[dict[str, Any]]:
        """Return the pictures of `count` moments from `first` on, as far as they are there."""
        began = time.perf_counter()
        pictures = [
            {"t": state.t, "says": self._says(self.trace, state.moment), "svg": self._draw(state)}
            for state in self.trace.states(first, count)
        ]
        self._cost = (time.perf_counter() - began) / len(pictures)
        return pictures

    def _snapshot(self) -> dict[str, Any]:
        length, at = len(self.trace), self.at
        return {"length": length, "first": self.trace.first, "at": at, "picture": self._pictures(at, 1)[0]}

    def _send_pictures(self, first: int, count: int, *, asked: bool = False) -> None:
        """Send the pictures of `count` moments from `first` on, as far as they are there; never raises."""
        length, oldest = len(self.trace), self.trace.first
        first = max(oldest, min(first, length))
        try:
            pictures = self._pictures(first, min(count, MOST))
        except Exception as error:
            self._send_problem("The picture could not be drawn.", error)
        else:
            news = {"type": "pictures", "length": length, "oldest": oldest, "first": first, "pictures": pictures}
            self.send(news | {"asked": asked})

    def _send_problem(self, what: str, error: Exception) -> None:
        self.send({"type": "problem", "text": f"{what} {type(error).__name__}: {error}"})

    def _grown(self) -> None:
        """Push what is new: at once, or as soon as the last push is PERIOD ago. Called from any thread."""
        with self._lock:
            if self._due or not self._shown:
                return
            wait = self._pushed + PERIOD - time.monotonic()
            if wait > 0:
                self._due = threading.Timer(wait, self._push)
                self._due.daemon = True
                self._due.start()
                return
        self._push()

    def _push(self) -> None:
        with self._lock:
            self._due = None  # before the trace is read: what is added from now on is pushed again
            self._pushed = time.monotonic()
            if not self._shown:
                return
            sent, self._sent = self._sent, len(self.trace)
            new = self._sent - sent
        few = 1 < new <= min(FEW, SHARE * PERIOD / self._cost)
        self._send_pictures(self._sent - new + 1 if few else self._sent, FEW)

    def _file(self, what: str, at: int) -> dict[str, str]:
        """Return the name, the kind and the content (base64) of a file to be saved."""
        picture = self._draw(self.trace.state(at))
        name = re.sub(r"\W+", "-", self._title).strip("-").lower() or "picture"
        if what == "svg":
            kind, data = "image/svg+xml", export.svg_file(picture).encode()
        elif what == "png":
            kind, data = "image/png", still.png(picture)[0]
        elif what == "film":
            first = max(self.trace.first, at - animated.MOST + 1)
            film = animated.animate(self.trace, self._draw, says=self._says, first=first, last=at, title=self._title)
            name, kind, data = f"{name}-film", "image/svg+xml", film.encode()
        else:
            kind, data = "application/jsonl", "".join(self.trace.lines()).encode()
        ending = {"svg": "svg", "png": "png", "film": "svg"}.get(what, "jsonl")
        return {"name": f"{name}.{ending}", "kind": kind, "data": base64.b64encode(data).decode()}

    # --- from the page

    def _hear(self, _: Wire, message: dict[str, Any], buffers: object = None) -> None:
        # The next message comes to this thread, too; to the one for widgets, once JupyterLab has it: see Wire.
        self._line.send({"main": threading.current_thread() is threading.main_thread()})
        match message:
            case {"type": "hello"}:
                self._shown = True
                self._send_pictures(self.at, 1)
            case {"type": "bye"}:
                self._shown = False
            case {"type": "frames", "first": int(first), "count": int(count)}:
                self._send_pictures(first, count, asked=True)
            case {"type": "at", "at": int(at), "live": bool(live)}:
                self._moment = None if live else min(max(0, at), len(self.trace))
            case {"type": "find", "jump": str(jump), "after": int(after), "back": bool(back)}:
                found = self.trace.find(JUMPS.get(jump, KINDS), after, back)
                if found is None:
                    where = "before" if back else "after"
                    self.send({"type": "problem", "text": f"There is no such event ({jump}) {where} this moment."})
                else:
                    self.at = found
            case {"type": "story", "message": str(id)}:
                lines = [
                    [moment, t, line, seen] for moment, t, line, seen in story(self.trace, id, self._telling)[-STORY:]
                ]
                self.send({"type": "story", "message": id, "length": len(self.trace), "lines": lines})
            case {"type": "save", "what": str(what), "at": int(at)}:
                try:
                    self.send({"type": "file", **self._file(what, at)})
                except Exception as error:
                    self._send_problem("It could not be saved.", error)
            case {"type": "click", "action": str(action)}:
                try:
                    for handler in self._handlers:
                        handler(action)
                except Exception as error:
                    self._send_problem("That click did not work.", error)
