"""The principle in plain Python, short enough to read in a cell."""

from mqlab.queues.bounded import Bounded
from mqlab.queues.fifo import FIFO
from mqlab.queues.priority import Priority
from mqlab.queues.stack import Stack

__all__ = ["FIFO", "Bounded", "Priority", "Stack"]
