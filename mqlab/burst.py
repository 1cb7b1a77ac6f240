"""Campus under a burst of sign-ups, in virtual time: a chain of calls, and a queue, with the same work to do.

Nothing here waits. The clock goes on by a tenth of a second when `tick` says so, and the same clicks give the same run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mqlab import campus
from mqlab.trace import Trace

STEPS = {"store": 1, "mail": 6, "enrol": 1, "tell": 2}  # tenths of a second
CHAIN, QUEUE = "chain: visitors wait", "queue: work waits"
DEAD = "The mail service is dead"
MOST = 36_000  # tenths of a second that `run` runs at most


@dataclass
class Visit:
    """One sign-up: times in seconds, None for what did not happen; `seen` is what the visitor read."""

    name: str
    arrived: float
    answered: float | None = None
    seen: str = ""
    stored: float | None = None
    mailed: float | None = None
    enrolled: float | None = None

    @property
    def response_time(self) -> float:
        """From the click to the answer, an error or not; ValueError: there is none yet."""
        if self.answered is None:
            raise ValueError(f"{self.name} has no answer yet.")
        return round(self.answered - self.arrived, 1)


@dataclass
class _Process:
    """One process: whose work it has in hand, at which step, and how much of that is done."""

    name: str
    visit: Visit | None = None
    step: int = 0
    done: int = 0


@dataclass
class _Station:
    """A line and the processes that take from it; with `lane` they tell the trace what they do."""

    names: Sequence[str]
    steps: Sequence[tuple[str, int]]
    lane: str = ""
    line: deque[Visit] = field(default_factory=deque)
    processes: list[_Process] = field(init=False)

    def __post_init__(self) -> None:
        self.processes = [_Process(name) for name in self.names]

    def busy(self) -> bool:
        return bool(self.line) or any(process.visit for process in self.processes)


class Design:
    """What both designs share: the clock, the visits, and the processes that do the steps."""

    lane = ""

    def __init__(self, steps: dict[str, int] | None = None, trace: Trace | None = None) -> None:
        self.steps = STEPS | (steps or {})
        self.trace = trace
        self.now = 0  # tenths of a second
        self.visits: list[Visit] = []
        self.backlog: list[int] = []  # after each tenth of a second: what waits, in the design's own line

    @property
    def seconds(self) -> float:
        """The virtual time."""
        return self.now / 10

    def arrive(self, name: str) -> Visit:
        """Somebody signs up now."""
        self.visits.append(Visit(name, self.seconds))
        return self.visits[-1]

    def tick(self, alive: bool = True) -> None:
        """Let a tenth of a second pass, in which the mail service is alive or not."""
        raise NotImplementedError

    def busy(self) -> bool:
        """Tell whether anything is still to be done."""
        raise NotImplementedError

    def _tell(self, kind: str, visit: Visit, who: str, **more: str) -> None:
        if self.trace is not None:
            message = f"{self.lane}:{self.visits.index(visit) + 1}"
            self.trace.tell(kind, message=message, queue=self.lane, who=who, label=visit.name, **more)

    def _work(
        self,
        station: _Station,
        alive: bool,
        on_done: Callable[[_Process, Visit], None],
        on_dead: Callable[[_Process, Visit], None],
        waits: bool = False,
    ) -> None:
        """Let each process take, and do a tenth of a second of work; those who `waits` take nothing without mail."""
        for process in station.processes:
            if process.visit is None and station.line and (alive or not waits):
                process.visit, process.step, process.done = station.line.popleft(), 0, 0
                if station.lane:
                    self._tell("deliver", process.visit, process.name)
        self.now += 1
        for process in station.processes:
            visit = process.visit
            if visit is None:
                continue
            name, length = station.steps[process.step]
            if name == "mail" and not alive:
                process.visit = None
                on_dead(process, visit)
                continue
            process.done += 1
            if process.done == length:
                self._finish(visit, name)
                process.step, process.done = process.step + 1, 0
            if process.step == len(station.steps):
                process.visit = None
                on_done(process, visit)
        self.now -= 1  # the caller moves the clock, once for all its stations

    def _finish(self, visit: Visit, step: str) -> None:
        if step == "store":
            visit.stored = self.seconds
        elif step == "mail":
            visit.mailed = self.seconds
        elif step == "enrol":
            visit.enrolled = self.seconds

    def _answer(self, visit: Visit, words: str) -> None:
        visit.answered, visit.seen = self.seconds, words


class Chain(Design):
    """Each process does all four steps of a sign-up, then answers. A dead mail service is an error for the visitor."""

    lane = CHAIN

    def __init__(self, processes: int = 4, steps: dict[str, int] | None = None, trace: Trace | None = None) -> None:
        super().__init__(steps, trace)
        names = [f"web {n}" for n in range(1, processes + 1)]
        self._web = _Station(names, list(self.steps.items()), CHAIN)

    def arrive(self, name: str) -> Visit:
        visit = super().arrive(name)
        self._web.line.append(visit)
        self._tell("publish", visit, "visitors")
        return visit

    def tick(self, alive: bool = True) -> None:
        self._work(self._web, alive, self._welcome, self._fail)
        self.now += 1
        self.backlog.append(len(self._web.line))

    def busy(self) -> bool:
        return self._web.busy()

    def _welcome(self, process: _Process, visit: Visit) -> None:
        self._answer(visit, "welcome")
        self._tell("ack", visit, process.name)

    def _fail(self, process: _Process, visit: Visit) -> None:
        self._answer(visit, "error")
        self._tell("drop", visit, process.name, why="the account is stored, the mail has failed")


class WithQueue(Design):
    """One process stores, puts and answers; workers do the rest later, and wait while the mail service is dead.

    With `room` it refuses a sign-up at once when so many wait.
    """

    lane = QUEUE

    def __init__(
        self,
        workers: int = 3,
        room: int | None = None,
        steps: dict[str, int] | None = None,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(steps, trace)
        self._room = room
        self._front = _Station(["front"], [("store", self.steps["store"])])
        later = [(name, length) for name, length in self.steps.items() if name != "store"]
        self._workers = _Station([f"worker {n}" for n in range(1, workers + 1)], later, QUEUE)

    def arrive(self, name: str) -> Visit:
        visit = super().arrive(name)
        inside = (
            len(self._workers.line) + len(self._front.line) + sum(p.visit is not None for p in self._front.processes)
        )
        if self._room is not None and inside >= self._room:
            self._answer(visit, "come later")
        else:
            self._front.line.append(visit)
        return visit

    def tick(self, alive: bool = True) -> None:
        # The workers first: what the front puts at the end of this tenth, they can take in the next one.
        self._work(self._workers, alive, self._done, self._put_back, waits=True)
        self._work(self._front, alive, self._put, self._put_back)
        self.now += 1
        self.backlog.append(len(self._workers.line))

    def busy(self) -> bool:
        return self._front.busy() or self._workers.busy()

    def _put(self, process: _Process, visit: Visit) -> None:
        self._answer(visit, "welcome")
        self._workers.line.append(visit)
        self._tell("publish", visit, "front")

    def _done(self, process: _Process, visit: Visit) -> None:
        self._tell("ack", visit, process.name)

    def _put_back(self, process: _Process, visit: Visit) -> None:
        self._workers.line.appendleft(visit)
        self._workers.line = deque(sorted(self._workers.line, key=self.visits.index))
        self._tell("requeue", visit, process.name)


def run(design: Design, arrivals: Iterable[float], dead: tuple[float, float] = (0, 0)) -> list[Visit]:
    """Let one person sign up at each of these seconds, with the mail service dead from dead[0] to dead[1]; return all.

    It runs until all is done. ValueError: that is not so after an hour.
    """
    times = deque(sorted(round(10 * t) for t in arrivals))
    begin, end = (round(10 * t) for t in dead)
    people = campus.sign_ups(len(times))
    while times or design.busy():
        while times and times[0] <= design.now:
            times.popleft()
            design.arrive(people[len(design.visits)].name)
        if design.now >= MOST:
            raise ValueError("After an hour of virtual time there is still work to do.")
        design.tick(alive=not begin <= design.now < end)
    return design.visits


class Rush:
    """Both designs under the same clicks, and their one trace: what `mqlab.views.burst` shows."""

    def __init__(self) -> None:
        self.alive = True
        self.trace = Trace(clock=lambda: self.chain.seconds)
        self.chain, self.queue = Chain(trace=self.trace), WithQueue(trace=self.trace)
        for design, producer, processes in (
            (self.chain, "visitors", [f"web {n}" for n in range(1, 5)]),
            (self.queue, "front", [f"worker {n}" for n in range(1, 4)]),
        ):
            self.trace.tell("produce", queue=design.lane, who=producer)
            for name in processes:
                self.trace.tell("consume", queue=design.lane, who=name)

    def burst(self, people: int = 8) -> None:
        """Let so many people sign up, all at once, and a second pass."""
        for person in campus.sign_ups(people, first=len(self.chain.visits) + 1):
            self.chain.arrive(person.name)
            self.queue.arrive(person.name)
        self.wait(1)

    def wait(self, seconds: float = 1) -> None:
        """Let time pass, in which nobody comes."""
        for _ in range(round(10 * seconds)):
            self.chain.tick(self.alive)
            self.queue.tick(self.alive)
        if self.alive:  # something is told in any case, so that the picture's clock goes on
            self.trace.tell("produce", queue=CHAIN, who="visitors")
        else:
            self.trace.tell("trouble", why=DEAD)

    def kill_or_revive(self) -> None:
        """The mail service dies; or it comes back."""
        self.alive = not self.alive
        self.trace.tell("trouble", why="" if self.alive else DEAD)
