"""A function of a notebook as a process of its own: it runs, it can be killed, and none is left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from mqlab import processes
from mqlab.processes import ProcessError


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    before = psutil.Process().children()  # of other tests
    yield
    processes.stop_all()
    assert [child for child in psutil.Process().children() if child not in before] == []


def answer(address, marks, encoding="utf-8"):
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(address)
        print("ready")
        socket.send(socket.recv() + marks["end"] + double(encoding).encode())


def double(text):
    return text * 2


def forever():
    print("on")
    while True:
        pass


def talk(lines):
    for n in range(lines):
        print("line", n)


def test_a_process_answers_over_a_socket(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/a" if zmq.has("ipc") else "tcp://127.0.0.1:5599"
    with (
        processes.start(answer, address, {"end": b"\0!"}, "ab", name="Ada", needs=[double]) as worker,
        zmq.Context() as context,
        context.socket(zmq.REQ) as socket,
    ):
        assert worker.wait_for("ready") == "ready" and worker.alive and repr(worker) == "Ada: at work"
        socket.connect(address)
        socket.send(b"\xff")
        assert socket.recv() == b"\xff\0!abab"
        assert worker.wait() == 0
    assert not worker.alive and worker.output == "ready"


def test_a_killed_process_is_gone_at_once() -> None:
    worker = processes.start(forever, name="Ada")
    worker.wait_for("on")
    worker.kill()
    assert not worker.alive and not psutil.pid_exists(worker.pid)
    assert worker.wait() != 0
    worker.kill()
    worker.stop()


def test_a_second_process_of_a_name_ends_the_first() -> None:
    first = processes.start(forever, name="Ada")
    other = processes.start(forever, name="Bob")
    second = processes.start(forever, name="Ada")
    assert [first.alive, other.alive, second.alive] == [False, True, True]


PARENT = """
import sys
from mqlab import processes

def forever():
    print("on")
    while True:
        pass

worker = processes.start(forever, name="Ada")
worker.wait_for("on")
print(worker.pid, flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt", "import os; os._exit(3)", "sys.stdin.read()"])
def test_no_process_outlives_the_one_that_started_it(end: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PARENT.format(end=end))
    parent = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    child = psutil.Process(pid) if psutil.pid_exists(pid) else None
    if "stdin" in end:
        parent.kill()
    parent.communicate()
    if child:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.wait(10)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT goes to a process group on POSIX systems")
def test_an_interrupted_cell_leaves_it_running() -> None:
    worker = processes.start(forever, name="Ada")
    worker.wait_for("on")
    assert os.getpgid(worker.pid) != os.getpgid(0)
    os.kill(worker.pid, signal.SIGINT)  # not even then is it silent
    with pytest.raises(ProcessError, match="KeyboardInterrupt"):
        worker.wait()


def test_what_it_prints_is_bounded() -> None:
    worker = processes.start(talk, 20_000, name="Ada")
    assert worker.wait() == 0
    lines = worker.output.splitlines()
    assert len(lines) == processes.LINES + 1
    assert lines[0] == "… 19,500 lines before this are not kept" and lines[-1] == "line 19999"

    def endless():
        import sys

        sys.stdout.write("x" * 1_000_000 + "é" * 10)

    worker = processes.start(endless, name="Ada")
    assert worker.wait() == 0 and len(worker.output) == processes.LETTERS


def fail():
    print("before")
    unknown_to_all  # type: ignore[name-defined] # noqa: B018, F821


def test_a_failure_is_told_in_one_sentence() -> None:
    def divide(a, b):
        return inner(a, b)

    def inner(a, b):
        return a / b

    worker = processes.start(divide, 1, 0, name="Ada", needs=[inner])
    sentence = "Ada has failed in `inner`, at the line `return a / b`: ZeroDivisionError: division by zero."
    with pytest.raises(ProcessError) as caught:
        worker.wait()
    assert str(caught.value) == sentence
    assert worker.output.splitlines()[0].startswith("Traceback") and worker.output.endswith(sentence)
    assert "__main__" not in worker.output  # only the learner's own lines
    with pytest.raises(ProcessError, match="Ada has failed"):
        worker.wait_for("never")


def test_a_name_known_only_at_run_time_is_told_too() -> None:
    def late():
        eval("nobody")

    worker = processes.start(late, name="Ada")
    with pytest.raises(ProcessError, match=r"does not know `nobody`. Import it inside"):
        worker.wait()


def test_an_exit_code_is_no_failure() -> None:
    def leave():
        import sys

        sys.exit(3)

    assert processes.start(leave, name="Ada").wait() == 3


def test_waiting_has_a_limit() -> None:
    worker = processes.start(forever, name="Ada")
    worker.wait_for("on")
    began = time.monotonic()
    with pytest.raises(ProcessError, match=r"still runs after 0.1 s"):
        worker.wait(0.1)
    with pytest.raises(ProcessError, match=r"not printed 'done' within 0.1 s. It has printed so far:\non"):
        worker.wait_for("done", 0.1)
    assert time.monotonic() - began < 5
    quiet = processes.start(talk, 0, name="Bob")
    with pytest.raises(ProcessError, match=r"Bob has ended and never printed 'x'. It has printed nothing"):
        quiet.wait_for("x")


def test_a_line_is_found_after_it_was_printed() -> None:
    worker = processes.start(talk, 10, name="Ada")
    worker.wait()
    assert worker.wait_for("line 3") == "line 3"


def test_a_coroutine_runs_too() -> None:
    async def soon():
        import asyncio

        await asyncio.sleep(0)
        print("done")

    worker = processes.start(soon, name="Ada")
    assert worker.wait() == 0 and worker.output == "done"
    assert asyncio.iscoroutinefunction(soon)


def test_annotations_and_input_do_no_harm() -> None:
    def ask(socket: "zmq.Socket[bytes]") -> None:
        try:
            input()
        except EOFError:
            print("nobody there")

    worker = processes.start(ask, "", name="Ada")
    assert worker.wait() == 0 and worker.output == "nobody there"


def uses_module():
    return zmq.PUSH


def uses_function():
    return [double(text) for text in "ab"]


@pytest.mark.parametrize(
    ("work", "arguments", "telling"),
    [
        (uses_module, (), "Write `import zmq` inside"),
        (uses_function, (), r"needs=\[double\]"),
        (fail, (), "uses `unknown_to_all`"),
        (lambda: 1, (), "written with `def`"),
        (print, (), "print is none"),
        (talk, (), "missing a required argument: 'lines'"),
        (talk, (object(),), "cannot be given a object"),
        (talk, (float("nan"),), "cannot be given a float"),
        (talk, ({1: 2},), "cannot be given a dict"),
    ],
)
def test_what_cannot_run_is_refused_kindly(work: processes.Work, arguments: tuple[object, ...], telling: str) -> None:
    with pytest.raises(ProcessError, match=telling):
        processes.start(work, *arguments, name="Ada")


def test_a_function_without_source_or_with_a_closure_is_refused() -> None:
    space: dict[str, processes.Work] = {}
    exec("def work():\n    pass", space)
    with pytest.raises(ProcessError, match="source of `work` cannot be had"):
        processes.start(space["work"], name="Ada")

    def inside():
        return space

    with pytest.raises(ProcessError, match=r"uses `space`, which .* as an argument"):
        processes.start(inside, name="Ada")
