"""Queues in equilibrium by formula: Little's law, M/M/1, M/M/c, M/M/1/K, M/G/1.

Rates are per unit of time, times in that unit: with rates per second, times are seconds. The names of the four models
say how messages arrive (M: at random, a Poisson stream), how long the work takes (M: exponential, G: anyhow), how many
consumers there are (1 or c) and, at the end, how many messages there is room for (K, those in work among them).

Sources: Gross, Shortle, Thompson, Harris: Fundamentals of Queueing Theory (4th ed.), chapters 2 and 5; the recursion
for Erlang's B, which does not overflow, is in Cooper: Introduction to Queueing Theory (2nd ed.), chapter 3.
"""

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Averages:
    """What holds on average, once a queue has run for long."""

    utilization: float  # the part of its time that a consumer works, 0 to 1
    throughput: float  # messages done per unit of time
    lost: float  # the part of the arrivals that found no room, 0 to 1
    waiting_time: float  # of a message that got in, before its work begins
    total_time: float  # waiting and processing
    waiting: float  # messages that wait
    present: float  # messages that wait or are in work


class Overloaded(ValueError):
    """More comes in than can be done: such a queue grows without end, and has no averages."""


def little(*, throughput: float | None = None, time: float | None = None, present: float | None = None) -> float:
    """Return the third of Little's three: present = throughput · time. ValueError: not exactly two are given."""
    given = [throughput is not None, time is not None, present is not None]
    if sum(given) != 2:
        raise ValueError("Little's law gives the third of throughput, time and present. Give it exactly two of them.")
    if throughput is not None and time is not None:
        return throughput * time
    assert present is not None
    below = time if throughput is None else throughput
    if not below:
        raise ValueError("With a throughput or a time of 0 there is nothing to divide by.")
    return present / below


def mm1(arrival_rate: float, service_rate: float) -> Averages:
    """One consumer, random arrivals, exponential work. Overloaded: when arrivals reach the service rate."""
    return mmc(arrival_rate, service_rate, 1)


def mmc(arrival_rate: float, service_rate: float, consumers: int) -> Averages:
    """One queue before c consumers, each of this service rate. Overloaded: when arrivals reach c times that rate."""
    load = _load(arrival_rate, service_rate, consumers)
    waits = erlang_c(consumers, load)
    waiting_time = waits / (consumers * service_rate - arrival_rate)
    return _averages(arrival_rate, service_rate, waiting_time, load / consumers)


def mg1(arrival_rate: float, service_rate: float, variation: float = 1.0) -> Averages:
    """One consumer whose work varies: `variation` is the variance of the processing time over its mean squared.

    0: each takes as long as the other; 1: exponential; more: a few take very long. (Pollaczek and Khinchine.)
    """
    if variation < 0:
        raise ValueError(f"A variation is 0 or more; this one is {variation:g}.")
    load = _load(arrival_rate, service_rate, 1)
    waiting_time = load / (1 - load) * (1 + variation) / 2 / service_rate
    return _averages(arrival_rate, service_rate, waiting_time, load)


def mm1k(arrival_rate: float, service_rate: float, room: int) -> Averages:
    """One consumer and room for K messages, the one in work among them; who finds it full is lost. Never overloaded."""
    load = offered_load(arrival_rate, service_rate)
    room = _count(room, "room")
    # The greatest term is 1, so that no power overflows.
    weights = [load ** (n - room if load > 1 else n) for n in range(room + 1)]
    total = sum(weights)
    lost = weights[room] / total
    present = sum(n * weight for n, weight in enumerate(weights)) / total
    throughput = arrival_rate * (1 - lost)
    busy = 1 - weights[0] / total
    total_time = present / throughput
    return Averages(busy, throughput, lost, total_time - 1 / service_rate, total_time, present - busy, present)


def offered_load(arrival_rate: float, service_rate: float) -> float:
    """Return how many consumers are kept busy on average: arrivals / service. ValueError: a rate is not above 0."""
    if not (arrival_rate > 0 and service_rate > 0):
        raise ValueError(f"Rates are greater than 0; these are {arrival_rate:g} and {service_rate:g}.")
    return arrival_rate / service_rate


def erlang_b(consumers: int, load: float) -> float:
    """Return the part of the arrivals that is turned away, where nobody may wait; load = arrivals / service."""
    blocked = 1.0
    for n in range(1, _count(consumers, "number of consumers") + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked


def erlang_c(consumers: int, load: float) -> float:
    """Return the part of the arrivals that has to wait, where all may. Overloaded: when the load reaches c."""
    _stable(load, consumers)
    blocked = erlang_b(consumers, load)
    return consumers * blocked / (consumers - load * (1 - blocked))


def waiting_percentile(arrival_rate: float, service_rate: float, part: float, consumers: int = 1) -> float:
    """Return the time that a part (0.99: 99 of 100) of the messages waits at most, M/M/c."""
    load = _load(arrival_rate, service_rate, consumers)
    waits = erlang_c(consumers, load)
    if waits <= _rest(part):
        return 0.0
    return log(waits / _rest(part)) / (consumers * service_rate - arrival_rate)


def total_percentile(arrival_rate: float, service_rate: float, part: float) -> float:
    """Return the time, waiting and processing, that a part of the messages takes at most, M/M/1."""
    _load(arrival_rate, service_rate, 1)
    return -log(_rest(part)) / (service_rate - arrival_rate)


def _averages(arrival_rate: float, service_rate: float, waiting_time: float, utilization: float) -> Averages:
    total_time = waiting_time + 1 / service_rate
    waiting, present = arrival_rate * waiting_time, arrival_rate * total_time  # Little's law, twice
    return Averages(utilization, arrival_rate, 0.0, waiting_time, total_time, waiting, present)


def _load(arrival_rate: float, service_rate: float, consumers: int) -> float:
    load = offered_load(arrival_rate, service_rate)
    _stable(load, consumers)
    return load


def _count(number: int, what: str) -> int:
    if number != int(number) or number < 1:
        raise ValueError(f"A {what} is a whole number from 1 on; this one is {number}.")
    return int(number)


def _rest(part: float) -> float:
    if not 0 <= part < 1:
        raise ValueError(f"A part is from 0 to below 1, as 0.99; this one is {part:g}.")
    return 1 - part


def _stable(load: float, consumers: int) -> None:
    if load >= _count(consumers, "number of consumers"):
        raise Overloaded(
            f"The consumers would have to work {load / consumers:.0%} of their time, so the queue grows without end "
            "and has no averages. Let fewer messages arrive, work faster, or add a consumer."
        )
