"""The learner's progress: a small JSON file in their own folder.

Its shape: {"labs": {"05": {"1": {"solved": "2026-11-23T10:00:00+01:00", "hints": 2, "asked": 1}}},
"notebooks": {"01": {"finished": "2026-11-23T09:30:00+01:00", "quiz": {"1": {"tries": 2, "right": "2026-…"}}}}}.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mqlab import paths

LOCK_LIMIT = 2.0  # seconds

Progress = dict[str, Any]


def file() -> Path:
    """Return where progress is kept: what MQLAB_PROGRESS names (tests, build, check), else progress.json at home."""
    named = os.environ.get("MQLAB_PROGRESS")
    return Path(named) if named else paths.home() / "progress.json"


def load() -> Progress:
    """Return the progress, empty when there is no file. A broken file is moved aside, and that is said."""
    try:
        path = file()
        with _locked(path):
            return _read(path)
    except OSError:
        return {"labs": {}}


def solved(lab: str) -> set[int]:
    """Return the numbers of the exercises of a lab that are solved."""
    return {int(n) for n, facts in load()["labs"].get(lab, {}).items() if "solved" in facts}


def finished(notebook: str) -> bool:
    """Tell whether the learner has come to the end of a notebook."""
    return "finished" in load().get("notebooks", {}).get(notebook, {})


def finish(notebook: str) -> None:
    """Note that the learner has come to the end of a notebook, and when they first did; says so."""
    _update(("notebooks", notebook), lambda facts: facts.setdefault("finished", _now()))
    print(f"● Notebook {notebook} is done. Your map is in notebook 00.")


def answered(notebook: str) -> set[int]:
    """Return the numbers of the questions of a notebook's quiz that were answered right."""
    return _right(load().get("notebooks", {}).get(notebook, {}).get("quiz", {}))


def answer(notebook: str, question: int, right: bool) -> set[int]:
    """Note an answer to a question of a notebook's quiz, and when it first was right; return those answered right."""

    def note(quiz: dict[str, Any]) -> None:
        facts = quiz.setdefault(str(question), {})
        if "right" in facts:
            return
        facts["tries"] = facts.get("tries", 0) + 1
        if right:
            facts["right"] = _now()

    return _right(_update(("notebooks", notebook, "quiz"), note))


def _right(quiz: dict[str, Any]) -> set[int]:
    return {int(n) for n, facts in quiz.items() if "right" in facts}


def mark_solved(lab: str, exercise: int) -> None:
    """Note that an exercise is solved, and when it first was."""
    _update(("labs", lab, str(exercise)), lambda facts: facts.setdefault("solved", _now()))


def count(lab: str, exercise: int, what: str) -> int:
    """Add one to a count of an exercise ("hints", "asked") and return the new count."""

    def add(facts: dict[str, Any]) -> None:
        facts[what] = facts.get(what, 0) + 1

    return int(_update(("labs", lab, str(exercise)), add)[what])


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _update(place: tuple[str, ...], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Change the facts at one place in the file as it is now, and return them.

    When the file cannot be written, that is said, and the notebook goes on.
    """
    facts: dict[str, Any] = {}
    try:
        path = file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            progress = _read(path)
            facts = progress
            for key in place:
                facts = facts.setdefault(key, {})
            change(facts)
            _write(path, progress)
    except OSError as error:
        change(facts)
        print(f"Your progress could not be kept ({error}). Is the folder yours, and is there room?", file=sys.stderr)
    return facts


def _read(path: Path) -> Progress:
    try:
        progress = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"labs": {}}
    except ValueError:  # not JSON, or not text
        progress = None
    if _well_formed(progress):
        return {"labs": {}} | progress
    aside = path.with_name(f"{path.stem}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.json")
    path.replace(aside)
    print(f"Your progress file could not be read; it is kept as {aside.name}, and a new one begins.", file=sys.stderr)
    return {"labs": {}}


def _well_formed(progress: Any) -> bool:
    if not isinstance(progress, dict):
        return False
    labs, notebooks = progress.get("labs", {}), progress.get("notebooks", {})
    if not isinstance(notebooks, dict) or not all(isinstance(facts, dict) for facts in notebooks.values()):
        return False
    if not all(_answers(facts.get("quiz", {})) for facts in notebooks.values()):
        return False
    return isinstance(labs, dict) and all(
        isinstance(lab, dict)
        and all(n.isdecimal() and isinstance(facts, dict) and _sound(facts) for n, facts in lab.items())
        for lab in labs.values()
    )


def _answers(quiz: Any) -> bool:
    return isinstance(quiz, dict) and all(
        n.isdecimal() and isinstance(facts, dict) and isinstance(facts.get("tries", 0), int)
        for n, facts in quiz.items()
    )


def _sound(facts: dict[str, Any]) -> bool:
    return all(isinstance(facts.get(what, 0), int) for what in ("hints", "asked"))


def _write(path: Path, progress: Progress) -> None:
    """Replace the file at once: a reader, or a crash, never meets half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(progress, out, indent=1, sort_keys=True)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the progress file's lock, so that two kernels do not overwrite each other; it ends with its process.

    After LOCK_LIMIT seconds the work goes on without it: one fact may be lost then, never the file.
    """
    lock = FileLock(path.with_suffix(".lock"))
    with suppress(Timeout):
        lock.acquire(timeout=LOCK_LIMIT)
    try:
        yield
    finally:
        lock.release()
