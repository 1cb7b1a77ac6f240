"""Queues by simulation: many messages through one queue, as arrays. The same models as in theory, and any between them.

For one consumer a whole run is two lines of numpy (Lindley's recursion, its maximum taken by `minimum.accumulate`); for
more of them, or with limited room, a loop over the messages with a heap of the times at which consumers are free.
Source: Asmussen, Glynn: Stochastic Simulation, chapters I and IV.
"""

import heapq
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from mqlab.theory import offered_load

Times = NDArray[np.float64]

BATCHES = 20
T_95 = 2.093  # Student's t for a confidence of 95 % and 19 degrees of freedom: BATCHES - 1


@dataclass(frozen=True)
class Run:
    """Messages in the order of their arrival; arrays of one time each, but those that found no room are left out."""

    arrived: Times
    begun: Times
    done: Times
    lost: int  # how many found no room

    @property
    def waiting_time(self) -> Times:
        """From the arrival to the beginning of the work."""
        return self.begun - self.arrived

    @property
    def processing_time(self) -> Times:
        """From the beginning of the work to its end."""
        return self.done - self.begun

    @property
    def total_time(self) -> Times:
        """From the arrival to the end of the work."""
        return self.done - self.arrived

    @property
    def throughput(self) -> float:
        """Messages done per unit of time."""
        return len(self.done) / float(self.done.max()) if len(self.done) else 0.0

    def present(self, at: Times) -> NDArray[np.int64]:
        """Return how many waited or were in work at each of these moments."""
        return np.searchsorted(self.arrived, at, "right") - np.searchsorted(np.sort(self.done), at, "right")

    def without_warm_up(self, part: float = 0.1) -> "Run":
        """Return the run without the first part of its messages: they found the queue emptier than all the others."""
        first = int(len(self.arrived) * part)
        return Run(self.arrived[first:], self.begun[first:], self.done[first:], self.lost)


def simulate(
    arrival_rate: float,
    service_rate: float,
    messages: int = 100_000,
    *,
    consumers: int = 1,
    room: int | None = None,
    variation: float = 1.0,
    seed: int | None = None,
) -> Run:
    """Run so many messages, which arrive at random, through one queue.

    consumers: how many take from it, each of this service rate. room: how many messages fit in, those in work among
    them (None: any number). variation: that of the processing time, its variance over its mean squared (0: always the
    same; 1: exponential). seed: the same one gives the same run. ValueError: a number that makes no sense.
    """
    offered_load(arrival_rate, service_rate)  # refuses rates that make no sense
    if messages < 1 or consumers < 1 or variation < 0 or (room is not None and room < consumers):
        raise ValueError(
            "There is at least one message and one consumer, a variation is not negative, and there is room for "
            "at least one message per consumer."
        )
    random = np.random.default_rng(seed)
    arrived = np.cumsum(random.exponential(1 / arrival_rate, messages))
    work = processing_times(random, service_rate, messages, variation)
    if consumers > 1 or room is not None:
        return _one_by_one(arrived, work, consumers, room)
    begun = arrived + waiting_times(arrived, work)
    return Run(arrived, begun, begun + work, 0)


def processing_times(
    random: np.random.Generator, service_rate: float, shape: int | tuple[int, ...], variation: float = 1.0
) -> Times:
    """Return times of the mean 1 / service_rate and of this variation, from a gamma distribution (1: exponential)."""
    if variation == 0:
        return np.full(shape, 1 / service_rate)
    return random.gamma(1 / variation, variation / service_rate, shape)


def waiting_times(arrived: Times, work: Times) -> Times:
    """Return how long each message waits for one consumer; along the last axis, so that many runs go at once.

    A message waits as long as the one before it did, and was worked on, less the gap between the two; never below 0.
    """
    steps = work[..., :-1] - np.diff(arrived)
    level = np.concatenate([np.zeros((*steps.shape[:-1], 1)), np.cumsum(steps, axis=-1)], axis=-1)
    return level - np.minimum.accumulate(level, axis=-1)


def _one_by_one(arrived: Times, work: Times, consumers: int, room: int | None) -> Run:
    """Run messages through a queue, each to the consumer that is free first; who finds no room is lost."""
    free = [0.0] * consumers
    inside: list[float] = []  # when each of those that are there is done: a heap, kept where room is limited
    begun = []
    for at, takes in zip(arrived.tolist(), work.tolist(), strict=True):
        begins = at if at > free[0] else free[0]
        if room is not None:
            while inside and inside[0] <= at:
                heapq.heappop(inside)
            if len(inside) == room:
                begun.append(nan)  # never
                continue
            heapq.heappush(inside, begins + takes)
        heapq.heapreplace(free, begins + takes)
        begun.append(begins)
    found = np.array(begun)
    kept = ~np.isnan(found)
    return Run(arrived[kept], found[kept], found[kept] + work[kept], int(np.sum(~kept)))


def interval(values: Times) -> tuple[float, float]:
    """Return the mean of one run's values and the half-width of its 95 % confidence interval, by batch means.

    Neighbours in a queue are alike (who comes after a long wait waits long), so the values are cut into 20 batches, and
    the spread of their means is taken. ValueError: fewer than 20 values.
    """
    if len(values) < BATCHES:
        raise ValueError(f"An interval needs at least {BATCHES} values; here are {len(values)}.")
    size = len(values) // BATCHES
    means = values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return float(values.mean()), T_95 * float(means.std(ddof=1)) / sqrt(BATCHES)
