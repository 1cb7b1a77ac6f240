"""The commands, as a learner's terminal starts, stops and misuses them."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from mqlab import cli
from mqlab.paths import ROOT

POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="signals to process groups are of POSIX")
CLOSED = "amqp://campus:very-secret@127.0.0.1:1/"


class Terminal:
    """A command of the course, started as a terminal starts it; what it says goes to a file."""

    def __init__(self, folder: Path, *args: str, **more: str) -> None:
        self.log = folder / "said.txt"
        private = {"HOME": str(folder), "USERPROFILE": str(folder), "MQLAB_HOME": str(folder / "mqlab home")}
        ours = ("JUPYTER", "IPYTHON", "MQLAB_")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        with self.log.open("w", encoding="utf-8") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "mqlab.cli", *args],
                cwd=ROOT,
                env=plain | private | {"PYTHONUTF8": "1"} | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.family = [self.process]

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, limit: float = 90) -> re.Match[str]:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found = re.search(pattern, self.said())
            if found:
                return found
            try:
                self.process.wait(0.1)
            except psutil.TimeoutExpired:
                continue
            break
        raise AssertionError(f"no {pattern!r} in: {self.said()}")

    def note_family(self) -> list[psutil.Process]:
        self.family = [self.process, *self.process.children(recursive=True)]
        return self.family

    def stop(self, signum: int) -> int:
        """Stop it as Ctrl-C does (SIGINT, to the group) or as a system does; return the exit code."""
        self.note_family()
        if signum == signal.SIGINT:
            os.killpg(self.process.pid, signum)
        else:
            self.process.send_signal(signum)
        return int(self.process.wait(20))


def is_kernel(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "ipykernel_launcher" in process.cmdline()
    return False


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """The terminals of a test: what a failed test leaves behind is ended."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        if terminal.process.is_running():
            terminal.note_family()
        for process in terminal.family:
            if process.is_running():
                process.kill()


def ask(url: str, token: str, data: object = None) -> Any:
    """Call JupyterLab."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@POSIX_ONLY
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_lab_from_start_to_end(tmp_path: Path, terminals: list[Terminal], signum: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        lab = Terminal(tmp_path, "lab", "--no-browser", "--port", str(taken), "--broker", "local")
        terminals.append(lab)
        page = lab.wait_for(r"(http://127\.0\.0\.1:(\d+))/lab/tree/notebooks/00-start-here\.ipynb\?token=(\w+)")
    address, port, token = page.groups()
    assert int(port) != taken
    assert f"Port {taken} is taken by another program: JupyterLab listens on {port} instead." in lab.said()

    listening = []
    for process in lab.note_family():
        with contextlib.suppress(psutil.NoSuchProcess):  # JupyterLab looks for other programs, which end at once
            listening += [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}
    settings = ask(f"{address}/lab/api/settings/@jupyterlab%2fapputils-extension:notification", token)
    choices = settings["schema"]["properties"]
    assert (choices["fetchNews"]["default"], choices["checkForUpdates"]["default"]) == ("false", False)

    # A kernel and a terminal to leave behind, if we are not careful.
    notebook = {"path": "notebooks/00-start-here.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    ask(f"{address}/api/sessions", token, notebook)
    ask(f"{address}/api/terminals", token, {})
    kernel = next(filter(is_kernel, lab.note_family()))
    end = time.monotonic() + 30
    while not kernel.net_connections() and time.monotonic() < end:
        time.sleep(0.1)
    environment = kernel.environ()
    assert environment["MQLAB_BROKER"] == "local"
    assert environment["MQLAB_OWNER"] == str(lab.process.pid)

    assert lab.stop(signum) == 130
    assert len(lab.family) >= 4
    assert not psutil.wait_procs(lab.family, timeout=3)[1]
    last = lab.said().partition("Stopping")[2]
    assert last.endswith("Stopped.\n") and str(ROOT / "mqlab") not in last  # no traceback of ours
    assert not (tmp_path / ".jupyter").exists(), "the learner's own settings are left alone"


@POSIX_ONLY
def test_ctrl_c_in_the_first_moment(tmp_path: Path, terminals: list[Terminal]) -> None:
    # course.py blocks SIGINT before it becomes mqlab.cli: the signal waits until somebody listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        lab = Terminal(tmp_path, "lab", "--no-browser")
        terminals.append(lab)
        assert lab.stop(signal.SIGINT) == 130
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    assert lab.said().endswith("Stopped.\n") and "Traceback" not in lab.said()


@pytest.mark.parametrize(
    "value, words",
    [
        ("rabbit", "use auto, docker, local"),
        ("http://x/", "use auto, docker, local"),
        ("amqp://", "use auto, docker, local"),
    ],
)
def test_a_broker_there_is_not(value: str, words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        cli._asked_broker(value)


@pytest.mark.parametrize("value", ["auto", "docker", "local", "embedded", "amqp://a:b@host:5672/v", "amqps://host"])
def test_a_broker_there_may_be(value: str) -> None:
    assert cli._asked_broker(value) == value


def test_a_wrong_command_is_refused_in_a_sentence(tmp_path: Path, terminals: list[Terminal]) -> None:
    wrong = Terminal(tmp_path, "lab", "--broker", "rabbit")
    terminals.append(wrong)
    assert wrong.process.wait(30) == 2
    assert "use auto, docker, local, embedded" in " ".join(wrong.said().replace("│", " ").split())


def test_a_free_port_is_kept_and_a_taken_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert cli.free_port(taken) != taken
    assert cli.free_port(taken) == taken


def test_a_port_taken_on_all_addresses() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        taken = server.getsockname()[1]
        assert cli.free_port(taken) != taken


def test_pytest_gets_the_usual_paths_or_the_ones_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    usual = ["tests", "notebooks", "solutions"]
    assert cli.pytest_command(["-k", "fold"])[-5:] == [*usual, "-k", "fold"]
    one = "tests/test_cli.py::test_x"
    assert cli.pytest_command([one])[-2:] == ["--no-loadscope-reorder", one]


SLEEPER = """
import subprocess, sys

def test_sleep(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    open({signal_file!r}, "w").write(str(child.pid))
    child.wait(60)
"""


@POSIX_ONLY
def test_the_test_command_and_ctrl_c_in_it(tmp_path: Path, terminals: list[Terminal]) -> None:
    sleeping = tmp_path / "sleeping"
    (tmp_path / "test_sleep.py").write_text(SLEEPER.format(signal_file=str(sleeping)), encoding="utf-8")
    test = Terminal(tmp_path, "test", "--broker", CLOSED, str(tmp_path / "test_sleep.py"), "-n", "1")
    terminals.append(test)
    end = time.monotonic() + 120
    while not (sleeping.exists() and sleeping.read_text("utf-8")) and time.monotonic() < end:
        time.sleep(0.1)
    said = test.said()
    assert re.search(r"[✓✗] ruff check: \d+\.\d s\n", said) and re.search(r"[✓✗] mypy: \d+\.\d s\n", said), said
    assert "So the tests that need a broker are skipped." in said and "very-secret" not in said
    assert test.stop(signal.SIGINT) == 130
    assert not psutil.wait_procs(test.family, timeout=3)[1]
    assert not psutil.pid_exists(int(sleeping.read_text("utf-8")))
    assert not (tmp_path / "mqlab home").exists(), "the learner's progress is left alone"


def test_in_ci_a_missing_broker_is_a_failure(tmp_path: Path, terminals: list[Terminal]) -> None:
    test = Terminal(tmp_path, "test", "--broker", CLOSED, "tests/test_campus.py", MQLAB_REQUIRE="1")
    terminals.append(test)
    assert test.process.wait(120) == 1
    assert "127.0.0.1:1 does not answer" in test.said() and "test session starts" not in test.said()


def test_bench_without_a_benchmark_of_that_name(tmp_path: Path, terminals: list[Terminal]) -> None:
    bench = Terminal(tmp_path, "bench", "no-such-benchmark")
    terminals.append(bench)
    assert bench.process.wait(30) == 2
    assert bench.said() == "There is no benchmark 'no-such-benchmark' in the folder benchmarks.\n"


@pytest.mark.parametrize("asked", ["05", "5", "05-first-message", "labs/05-first-message.ipynb"])
def test_check_takes_a_number_a_name_or_a_path(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mqlab.exercises import verdict

    monkeypatch.chdir(ROOT)
    judged: list[object] = []
    monkeypatch.setattr(verdict, "run", lambda lab: judged.append(lab) or 0)
    with pytest.raises(typer.Exit):
        cli.check(asked)
    assert judged == ["05"] or judged == [Path(asked)]
