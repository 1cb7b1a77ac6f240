"""A priority queue: the most urgent first, equals in the order of their arrival."""

import heapq
from itertools import count
from typing import Any


class Priority:
    """Items are pairs (urgency, what); the smallest urgency comes out first."""

    def __init__(self) -> None:
        self.items: list[tuple[Any, int, Any]] = []
        self.arrivals = count()

    def put(self, item: tuple[Any, Any]) -> None:
        """Add `item`; its number of arrival settles ties, so that equals stay in order."""
        heapq.heappush(self.items, (item[0], next(self.arrivals), item))

    def get(self) -> tuple[Any, Any]:
        """Take the most urgent item; raises IndexError when there is none."""
        return heapq.heappop(self.items)[-1]

    def __len__(self) -> int:
        return len(self.items)
