"""A FIFO queue: first in, first out."""

from collections import deque
from typing import Any


class FIFO:
    """The first item put in is the first that comes out."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        """Add `item` at the tail."""
        self.items.append(item)

    def get(self) -> Any:
        """Take the item at the head; raises IndexError when the queue is empty."""
        return self.items.popleft()

    def __len__(self) -> int:
        return len(self.items)
