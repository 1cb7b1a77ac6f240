"""The process of its own: it takes a function's source from its standard input, runs it, and ends with its parent."""

import __future__

import asyncio
import inspect
import json
import linecache
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from mqlab.processes import MARK, unpacked


def main() -> None:
    """Run the function that was ordered; exit code 0 when it returned, 1 when it failed."""
    order = json.loads(sys.stdin.buffer.readline())
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # so `input()` in the function finds an end, and does not take the lifeline's words
    threading.Thread(target=watch, args=[lifeline], daemon=True).start()
    try:
        run(order)
    except (Exception, KeyboardInterrupt) as error:
        tell(order["name"], error)
        sys.exit(1)


def watch(lifeline: int) -> None:
    """End this process, whatever it does, when nobody holds the other end of its standard input any more."""
    while os.read(lifeline, 1024):
        pass
    os._exit(0)


def run(order: dict[str, Any]) -> None:
    """Define the functions, and call the last of them."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for name, source in order["sources"]:
        file = f"<{name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        # Annotations are not looked at: they may name what only the notebook knows.
        exec(compile(source, file, "exec", __future__.annotations.compiler_flag), space)
    result = space[order["sources"][-1][0]](*unpacked(order["arguments"]))
    if inspect.iscoroutine(result):
        asyncio.run(result)


def tell(name: str, error: BaseException) -> None:
    """Print the traceback from the function on, and in one sentence what is wrong."""
    trace: TracebackType | None = error.__traceback__
    while trace and not trace.tb_frame.f_code.co_filename.startswith("<"):
        trace = trace.tb_next
    print("".join(traceback.format_exception(type(error), error, trace)), end="", flush=True)
    own = [frame for frame in traceback.extract_tb(trace) if frame.filename.startswith("<")]
    place = f" in `{own[-1].filename[1:-1]}`, at the line `{own[-1].line}`" if own else ""
    if isinstance(error, NameError):
        help = f"it does not know `{error.name}`. Import it inside the function, or give it with `needs=[...]`"
    else:
        help = f"{type(error).__name__}: {error}".removesuffix(": ")
    sentence = f"{name} has failed{place}: {help}."
    print(MARK + " ".join(sentence.split()), flush=True)


if __name__ == "__main__":
    main()
