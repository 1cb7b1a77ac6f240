"""Who needs a broker that we started: small files named after processes, so that it ends with the last of them."""

import os
from pathlib import Path

import psutil

KEPT = "kept"  # stands for `course.py broker start`: an owner until `broker stop`
SAME = 30  # seconds; clocks are set, so two readings of one process's start may differ by a little


def ident(pid: int) -> str:
    """Name a living process so that another one that gets its number later is not taken for it."""
    return f"{pid}-{psutil.Process(pid).create_time():.0f}"


def lives(name: str) -> bool:
    """Tell whether the process named by `ident` is alive."""
    pid, _, began = name.partition("-")
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(began)) < SAME and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def session() -> str | None:
    """Return the name of the `course.py lab` or `test` that this process belongs to, if any."""
    pid = os.environ.get("MQLAB_OWNER", "")
    try:
        return ident(int(pid)) if pid else None
    except (psutil.Error, ValueError):
        return None


def add(folder: Path, kept: bool = False) -> None:
    """Register this process and its session as owners; `kept`: nobody in particular, until told to stop."""
    folder.mkdir(parents=True, exist_ok=True)
    living(folder)  # so that the files of the dead do not pile up
    for name in [KEPT] if kept else filter(None, [ident(os.getpid()), session()]):
        (folder / name).touch()


def leave(folder: Path) -> None:
    """Take back what `add` did for this process and its session."""
    for name in filter(None, [ident(os.getpid()), session()]):
        (folder / name).unlink(missing_ok=True)


def living(folder: Path) -> list[str]:
    """Return the owners that live; files of dead ones are removed."""
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    alive = [name for name in found if name == KEPT or lives(name)]
    for name in set(found) - set(alive):
        (folder / name).unlink(missing_ok=True)
    return alive
