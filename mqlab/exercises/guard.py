"""Run a learner's code so that whatever it does (stop, exit, run for ever) becomes an outcome."""

import io
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from mqlab.exercises.outcome import NotYet, Outcome

RING_AGAIN = 0.5  # seconds
OURS = str(Path(__file__).parents[1]) + os.sep
MOST_PRINTED = 1_000  # characters


class Overtime(BaseException):
    """A limit is over. No Exception, so that a learner's `except Exception` lets it by."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Interrupt what runs in this block by Overtime after so many seconds, and again every half second until it ends.

    Outside the main thread nothing is interrupted: Python runs signal handlers in the main thread only.
    On Windows a wait for a lock or a queue without a timeout goes on, as it does on Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.get_ident()
    outside = sys._getframe(2)  # 0 is this generator, 1 contextlib's __enter__, 2 the one who wrote `with limit(...)`
    tracing = sys.gettrace()
    rings = 0
    finished = False  # a plain name: setting it calls nothing, so no signal comes between
    done = threading.Event()

    def ring() -> None:
        nonlocal rings
        wait = seconds
        while not done.wait(wait):
            rings += 1
            if os.name == "nt":
                signal.raise_signal(signal.SIGINT)
            else:
                signal.pthread_kill(main, signal.SIGINT)
            wait = RING_AGAIN

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if finished:
            return
        if rings == 0:  # the learner's own interrupt, or an outer limit's
            if callable(before):
                before(number, frame)
            return
        if rings > 1:
            raise_when_caught(frame, outside)
        raise Overtime

    before = signal.signal(signal.SIGINT, on_interrupt)
    bell = threading.Thread(target=ring, name="mqlab limit", daemon=True)
    bell.start()
    try:
        yield
    finally:
        finished = True
        done.set()
        bell.join()
        sys.settrace(tracing)
        signal.signal(signal.SIGINT, before)


def raise_when_caught(frame: FrameType | None, outside: FrameType | None = None) -> None:
    """Raise Overtime once more on the line that catches it: `while True: try: ... except: ...` would never end.

    For the thread that calls it, in `frame` and what has called it, up to `outside`. What is ours may tidy up.
    """

    def on_line(frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            raise Overtime
        return on_line

    sys.settrace(lambda *_: None)  # frames entered from now on are left alone
    while frame is not None and frame is not outside:
        if not frame.f_code.co_filename.startswith(OURS):
            frame.f_trace = on_line
        frame = frame.f_back


class _Kept(io.StringIO):
    """Keeps the beginning of what is printed."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, MOST_PRINTED - self.tell())])
        return len(text)


def judge(number: int, check: Callable[..., str], broker: Any, answers: tuple[Any, ...], seconds: float) -> Outcome:
    """Run one check on a learner's answers and return the outcome; only a KeyboardInterrupt of theirs goes through."""
    printed = _Kept()
    try:
        with limit(seconds), redirect_stdout(printed), redirect_stderr(printed):
            return Outcome(number, "correct", check(broker, *answers))
    except KeyboardInterrupt:
        raise
    except NotYet as question:
        message = str(question)
    except BaseException as error:
        message = question_about(error, answers, seconds)
    return Outcome(number, "not yet", message, printed.getvalue())


def question_about(error: BaseException, answers: tuple[Any, ...], seconds: float) -> str:
    """Return what to ask a learner whose code stopped with this error, or had to be stopped."""
    line = _learners_line(error.__traceback__, answers)
    where = f" ({line})" if line else ""
    if isinstance(error, Overtime):
        return f"Your code was still running after {seconds:g} s{where}. What makes it stop?"
    if isinstance(error, RecursionError):
        return f"Your code called itself again and again{where}. What makes it stop?"
    if isinstance(error, SystemExit):
        return f"Your code asked Python to exit{where}. It should end by itself: does a `return` do?"
    sentence = _explained(error) or f"{_named(error)}."
    if not line:
        return f"The check could not go on: {sentence} What does your code give back, and what does it leave open?"
    return f"Your code stopped{where}: {sentence} What did you mean there?"


def _learners_line(traceback: TracebackType | None, answers: tuple[Any, ...]) -> str:
    """Return the innermost line of the learner's own code in a traceback as "line 3: `...`", or ""."""
    parts = [part for answer in answers for part in (vars(answer).values() if isinstance(answer, type) else (answer,))]
    theirs = [part.__globals__ for part in parts if hasattr(part, "__globals__")]
    found = ""
    while traceback is not None:
        frame = traceback.tb_frame
        if any(frame.f_globals is names for names in theirs):
            text = linecache.getline(frame.f_code.co_filename, traceback.tb_lineno, frame.f_globals).strip()
            found = f"line {traceback.tb_lineno}" + (f": `{_short(text, 70)}`" if text else "")
        traceback = traceback.tb_next
    return found


def _explained(error: BaseException) -> str:
    """Return what the broker module has to say on an error, and the error itself; "" when it knows nothing of it."""
    from mqlab.broker.explain import explain  # labs without a broker need not load it

    sentence = explain(error)
    return f"{sentence} ({_named(error)})" if sentence else ""


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {_short(text, 200)}" if text else type(error).__name__


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
