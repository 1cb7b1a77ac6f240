"""A stack: last in, first out."""

from typing import Any


class Stack:
    """The last item put in is the first that comes out."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, item: Any) -> None:
        """Add `item` on top."""
        self.items.append(item)

    def get(self) -> Any:
        """Take the item on top; raises IndexError when the stack is empty."""
        return self.items.pop()

    def __len__(self) -> int:
        return len(self.items)
