"""The small broker of this course, for learning: nothing to install. Shared by the notebooks of one course folder."""

from pathlib import Path

from mqlab import paths
from mqlab.broker import private
from mqlab.broker.node import Node


def folder() -> Path:
    """Return where the broker's state lies."""
    return paths.home() / "broker" / "embedded"


def running() -> Node | None:
    """Return the broker if it answers."""
    return private.running(folder(), "embedded")


def start(kept: bool = False) -> Node:
    """Return the broker, started if need be; this process becomes an owner of it."""
    place = folder()
    command = ["mqlab.broker.embedded", "--course", str(place)]
    return private.start(
        place, "embedded", kept, lambda: private.launch(place, "embedded", "The small broker of this course", command)
    )


def stop() -> bool:
    """End the broker whoever uses it; tell whether there was one."""
    return private.stop(folder())


def release() -> bool:
    """Let go of the broker for this session; tell whether that ended it."""
    return private.release(folder())
