"""A bounded buffer that runs: producers and consumers are threads, and the reader sets their numbers and rates."""

from __future__ import annotations

import base64
import threading
from itertools import count
from queue import Empty, Full, Queue
from typing import Any

import ipywidgets

from mqlab import campus
from mqlab.trace import Blocking, watch_blocking
from mqlab.views import queue as queue_view
from mqlab.views import still
from mqlab.views.player import Player

LIMIT = 60.0  # seconds; then a run ends by itself
_PRODUCERS = ("Ana", "Ben", "Chi", "Dia")
_CONSUMERS = ("Olu", "Pia", "Rui", "Sue")


class Running:
    """Threads around one buffer; `puts` and `takes` are how many messages a second each of them puts or takes."""

    def __init__(self, producers: int, consumers: int, places: int, puts: float, takes: float) -> None:
        self.puts, self.takes = puts, takes
        self.buffer: Blocking = watch_blocking(Queue(places), "buffer")
        self._numbers = count(1)
        self._stopping = threading.Event()
        self._threads = []
        for names, work, kind in (
            (_PRODUCERS[:producers], self._produce, "produce"),
            (_CONSUMERS[:consumers], self._consume, "consume"),
        ):
            for name in names:
                self.buffer.trace.tell(kind, queue="buffer", who=name)
                self._threads.append(threading.Thread(target=work, args=(name,), name=f"mqlab {name}", daemon=True))
        self._limit = threading.Timer(LIMIT, self.stop)
        self._limit.daemon = True

    def start(self) -> None:
        """Let the threads run, for LIMIT seconds at most."""
        for thread in (*self._threads, self._limit):
            thread.start()

    def stop(self) -> None:
        """End the threads, and return when they have ended. Nothing happens when they have already, or never began."""
        self._stopping.set()
        self.buffer.close()
        self._limit.cancel()
        for thread in (*self._threads, self._limit):
            if thread.ident and thread is not threading.current_thread():
                thread.join(5)

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._limit.ident is not None and not self._stopping.is_set()

    def _produce(self, who: str) -> None:
        while not self._stopping.wait(1 / self.puts):
            name = campus.sign_ups(1, first=next(self._numbers))[0].name
            try:
                self.buffer.put(name, by=who, timeout=LIMIT)
            except Full:
                return

    def _consume(self, who: str) -> None:
        while not self._stopping.is_set():
            try:
                self.buffer.get(by=who, timeout=LIMIT)
            except Empty:
                return
            self._stopping.wait(1 / self.takes)
            self.buffer.done(by=who)


class Buffer(ipywidgets.VBox):
    """The picture of a running buffer, its sliders, and a button that starts and stops it."""

    def __init__(self, producers: int, consumers: int, places: int, puts: float, takes: float, title: str) -> None:
        self.title = title
        self.running: Running
        self.player: Player
        wide = {"style": {"description_width": "16em"}, "layout": {"width": "36em"}}
        whole = {"min": 1, "max": 4, "continuous_update": False, **wide}
        rate = {"min": 0.5, "max": 10, "step": 0.5, "readout_format": ".1f", **wide}
        self.producers = ipywidgets.IntSlider(producers, description="Producers", **whole)
        self.puts = ipywidgets.FloatSlider(puts, description="Each puts … a second", **rate)
        self.places = ipywidgets.IntSlider(places, description="Places in the buffer", **{**whole, "max": 8})
        self.consumers = ipywidgets.IntSlider(consumers, description="Consumers", **whole)
        self.takes = ipywidgets.FloatSlider(takes, description="Each takes … a second", **rate)
        self.button = ipywidgets.Button(description="Start")
        self.button.on_click(lambda _: self.stop() if self.running.runs else self.start())
        for slider in (self.producers, self.places, self.consumers):
            slider.observe(lambda _: self._anew(), "value")
        for slider in (self.puts, self.takes):
            slider.observe(lambda _: self._rates(), "value")
        super().__init__()
        self._anew(False)

    def start(self) -> None:
        """Let producers and consumers run; what was in the buffer before is forgotten."""
        self._anew(True)

    def stop(self) -> None:
        """End the threads; the picture stays, and can be rewound."""
        self.running.stop()
        self._name_button()

    def close(self) -> None:
        """End the threads, and take the view out of the page."""
        self.running.stop()
        self.player.close()
        super().close()

    def _anew(self, start: bool | None = None) -> None:
        """Make new threads with the numbers of the sliders; start them, or do as before."""
        old = getattr(self, "running", None)
        start = old is not None and old.runs if start is None else start
        if old is not None:
            old.stop()
            self.player.close()
        numbers = (self.producers.value, self.consumers.value, self.places.value, self.puts.value, self.takes.value)
        self.running = Running(*numbers)
        self.player = queue_view.show(self.running.buffer, title=self.title)
        sliders = (self.producers, self.puts, self.places, self.consumers, self.takes)
        self.children = (self.player, self.button, *sliders)
        if start:
            self.running.start()
        self._name_button()

    def _rates(self) -> None:
        self.running.puts, self.running.takes = self.puts.value, self.takes.value

    def _name_button(self) -> None:
        self.button.description = "Stop" if self.running.runs else "Start"

    def __repr__(self) -> str:
        numbers = {"producer": self.producers.value, "place": self.places.value, "consumer": self.consumers.value}
        words = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in numbers.items())
        return f"{self.title}: {words}. Start sets them going."

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        picture, width = still.png(queue_view.draw(self.running.buffer.trace.state()))
        return bundle | {"image/png": base64.b64encode(picture).decode("ascii")}, {"image/png": {"width": width}}


def show(
    *,
    producers: int = 2,
    consumers: int = 1,
    places: int = 4,
    puts: float = 1.0,
    takes: float = 1.0,
    title: str = "A bounded buffer",
) -> Buffer:
    """Return a buffer of so many places, its producers and consumers (1 to 4 of each), and their rates a second."""
    return Buffer(producers, consumers, places, puts, takes, title)
