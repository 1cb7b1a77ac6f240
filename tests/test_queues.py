"""The queues of Part I: their order, and for the bounded one who waits when."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqlab.queues import FIFO, Bounded, Priority, Stack


@given(st.lists(st.one_of(st.none(), st.integers(0, 3))))
def test_the_order_of_each(program: list[int | None]) -> None:
    """A number is put, None takes; beside each queue a list, from which its rule takes."""
    rules = {FIFO: lambda items: 0, Stack: lambda items: -1, Priority: lambda items: items.index(min(items))}
    for kind, rule in rules.items():
        queue: Any = kind()
        items: list[tuple[int, int]] = []
        for n, step in enumerate(program):
            if step is not None:
                queue.put((step, n))
                items.append((step, n))
            elif items:
                assert queue.get() == items.pop(rule(items))
            else:
                with pytest.raises(IndexError):
                    queue.get()
            assert len(queue) == len(items)


@pytest.mark.parametrize("size", [1, 3])
def test_many_threads_lose_nothing_and_never_go_above_its_size(size: int) -> None:
    buffer, got, lengths = Bounded(size), [], []

    def produce(who: int) -> None:
        for n in range(200):
            buffer.put((who, n))

    def consume() -> None:
        while (item := buffer.get()) is not None:
            got.append(item)
            lengths.append(len(buffer))

    consumers = [threading.Thread(target=consume, daemon=True) for _ in range(3)]
    producers = [threading.Thread(target=produce, args=(who,), daemon=True) for who in range(3)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join(20)
    for _ in consumers:
        buffer.put(None)
    for thread in consumers:
        thread.join(20)
    assert sorted(got) == [(who, n) for who in range(3) for n in range(200)]
    assert max(lengths) <= size


def test_waits_have_a_limit_and_say_why() -> None:
    buffer = Bounded(1)
    with pytest.raises(TimeoutError, match="nobody put anything"):
        buffer.get(timeout=0.01)
    buffer.put("Ana")
    with pytest.raises(TimeoutError, match="nobody took anything"):
        buffer.put("Ben", timeout=0.01)
    assert buffer.get() == "Ana"
    with pytest.raises(ValueError, match="room for at least one"):
        Bounded(0)
