"""Run a function of a notebook as a process of its own, one that can really be killed.

The process gets the source of the function and shares nothing with the notebook. It ends with the notebook, whichever
way that ends: it watches its standard input, which closes when the notebook's process is gone.
"""

from __future__ import annotations

import atexit
import base64
import builtins
import codecs
import contextlib
import dis
import inspect
import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

LINES, LETTERS = 500, 2_000  # so many lines are kept of what a process prints, and so much of each line
MARK = "\x1e"  # begins the line in which the process says why it failed
Work = Callable[..., Any]
_workers: dict[str, Worker] = {}


class ProcessError(Exception):
    """A process cannot be started, has failed, or takes too long: the message says which, and what to do."""


class Worker:
    """A process that runs one function; made by `start`. At the end of a `with` block it is stopped."""

    def __init__(self, name: str, order: bytes) -> None:
        self.name = name
        self._lines: deque[str] = deque(maxlen=LINES)
        self._count = 0  # of all lines, those no longer kept among them
        self._changed = threading.Condition()
        self._ended = False  # all that it printed has been read
        self._why = ""
        here = str(Path(__file__).parents[2])  # the process is of this very code
        path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        windows = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # interrupting a cell, or Ctrl-C in the terminal, is not for it
            creationflags=windows,
        )
        self._reader = threading.Thread(target=self._read, name=f"mqlab-process-{name}", daemon=True)
        self._reader.start()
        with contextlib.suppress(OSError):  # it is gone already: `wait` will tell
            assert self._process.stdin
            self._process.stdin.write(order)
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """The number by which the operating system knows the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed, its newest 500 lines at most."""
        with self._changed:
            lines = list(self._lines)
            missing = self._count - len(lines)
        return "\n".join(([f"… {missing:,} lines before this are not kept"] if missing else []) + lines)

    def wait_for(self, text: str, timeout: float = 10) -> str:
        """Wait until it has printed a line with this text in it; return the line.

        Raises ProcessError when it ends without that, or takes longer than `timeout` seconds.
        """
        end = time.monotonic() + timeout
        with self._changed:
            seen = self._count - len(self._lines)
            while True:
                new = self._count - max(seen, self._count - len(self._lines))
                seen = self._count
                for line in list(self._lines)[len(self._lines) - new :]:
                    if text in line:
                        return line
                if self._ended:
                    break
                if not self._changed.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise ProcessError(f"{self.name} has not printed {text!r} within {timeout:g} s.{self._so_far()}")
        self._process.wait(5)
        raise ProcessError(self._why or f"{self.name} has ended and never printed {text!r}.{self._so_far()}")

    def wait(self, timeout: float = 10) -> int:
        """Wait until the process has ended; return its exit code, 0 when the function returned.

        Raises ProcessError when the function has failed, in a sentence; the traceback is in `output`. So it does when
        the process still runs after `timeout` seconds.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs after {timeout:g} s. `.stop()` ends it.") from None
        self._reader.join(2)
        if self._why:
            raise ProcessError(self._why)
        return code

    def kill(self) -> None:
        """Kill it, as a power cut does: it has no time for any last word. Returns when it is gone."""
        self._process.kill()
        self._gone()

    def stop(self) -> None:
        """End it, if it has not ended yet; returns when it is gone."""
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()  # see `mqlab.processes.__main__`
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def _gone(self) -> None:
        self._process.wait(10)
        self._reader.join(2)
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        if _workers.get(self.name) is self:
            del _workers[self.name]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{self.name}: {'at work' if self.alive else 'ended'}"

    def _so_far(self) -> str:
        return f" It has printed so far:\n{self.output}" if self._count else " It has printed nothing."

    def _read(self) -> None:
        """Take what the process prints, in a thread."""
        stream = self._process.stdout
        assert stream
        text = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        with stream:
            while data := os.read(stream.fileno(), 65536):
                *lines, rest = (rest + text.decode(data)).split("\n")
                self._take(lines)
                rest = rest[:LETTERS]  # a line without an end
        with self._changed:
            self._take([rest] if rest else [])
            self._ended = True
            self._changed.notify_all()

    def _take(self, lines: list[str]) -> None:
        with self._changed:
            for line in lines:
                if line.startswith(MARK):
                    self._why = line.strip(MARK + "\r")
                self._lines.append(line.strip(MARK + "\r")[:LETTERS])
            self._count += len(lines)
            self._changed.notify_all()


def start(work: Work, *arguments: Any, name: str, needs: Iterable[Work] = ()) -> Worker:
    """Run `work(*arguments)` in a process of its own, called `name`; one of that name that still runs is ended first.

    The process gets the source of `work` and of the functions that it `needs`, nothing else: imports stand inside the
    function, arguments are texts, numbers, bytes, lists and dicts of these. Raises ProcessError.
    """
    functions = [*needs, work]
    sources = [[function.__name__, _source(function)] for function in functions]
    known = {function.__name__ for function in functions}
    for function in functions:
        names = {*function.__code__.co_freevars, *_globals(function.__code__)}
        unknown = sorted(names - known - set(dir(builtins)))
        if unknown:
            raise ProcessError(
                f"`{function.__name__}` uses `{unknown[0]}`, which its own process will not know: nothing of the "
                f"notebook is there. {_remedy(function, unknown[0])}"
            )
    try:
        inspect.signature(work).bind(*arguments)
    except TypeError as error:
        raise ProcessError(
            f"`{work.__name__}` cannot be called with what comes after it in start(): {error}."
        ) from None
    order = {"name": name, "sources": sources, "arguments": [_packed(each, work) for each in arguments]}
    if name in _workers:
        _workers[name].stop()
    _workers[name] = worker = Worker(name, json.dumps(order).encode() + b"\n")
    return worker


def stop_all() -> None:
    """End every process that `start` has started and that still runs."""
    for worker in list(_workers.values()):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            worker.stop()


atexit.register(stop_all)


def _source(function: Work) -> str:
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        called = getattr(function, "__name__", repr(function))
        raise ProcessError(f"A process runs a function that is written with `def`: {called} is none.")
    name = function.__name__
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise ProcessError(f"The source of `{name}` cannot be had. Write it in a cell of the notebook.") from None


def _globals(code: CodeType) -> Iterator[str]:
    """Give the names that a function takes from outside, and so do the functions inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _remedy(function: Work, name: str) -> str:
    value = function.__globals__.get(name)
    if inspect.ismodule(value):
        return f"Write `import {value.__name__}` inside the function."
    if inspect.isfunction(value):
        return f"Give it to the process: `needs=[{name}]`."
    return "Import it inside the function, or give it as an argument."


def _packed(value: Any, work: Work) -> Any:
    """Return an argument as JSON can carry it."""
    if isinstance(value, bytes):
        return {MARK: base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_packed(each, work) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _packed(each, work) for key, each in value.items()}
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ProcessError(
        f"`{work.__name__}` cannot be given a {type(value).__name__}: it would have to leave this process. Texts, "
        "numbers, bytes, lists and dicts can; instead of a socket give its address."
    )


def unpacked(value: Any) -> Any:
    """Return what `_packed` has packed."""
    if isinstance(value, list):
        return [unpacked(each) for each in value]
    if isinstance(value, dict):
        if value.keys() == {MARK}:
            return base64.b64decode(value[MARK])
        return {key: unpacked(each) for key, each in value.items()}
    return value
