"""A bounded buffer: an empty one makes its consumers wait, a full one its producers."""

from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import Any


class Bounded:
    """A FIFO queue of at most `size` items, for any number of threads."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"A buffer needs room for at least one item; this one would have {size}.")
        self.items: deque[Any] = deque()
        self.size = size
        self.changed = Condition()

    def put(self, item: Any, timeout: float = 10) -> None:
        """Add `item` at the tail; wait while it is full. TimeoutError: after so many seconds it still was."""
        with self.changed:
            self._wait(lambda: len(self.items) < self.size, timeout, "nobody took anything")
            self.items.append(item)
            self.changed.notify_all()

    def get(self, timeout: float = 10) -> Any:
        """Take the item at the head; wait while there is none. TimeoutError: after so many seconds there was none."""
        with self.changed:
            self._wait(lambda: len(self.items) > 0, timeout, "nobody put anything")
            item = self.items.popleft()
            self.changed.notify_all()
            return item

    def _wait(self, until: Callable[[], bool], timeout: float, why: str) -> None:
        if not self.changed.wait_for(until, timeout):
            raise TimeoutError(f"Waited {timeout:g} s: {why}.")

    def __len__(self) -> int:
        return len(self.items)
