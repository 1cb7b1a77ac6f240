"""The small broker of this course: shared by notebooks, gone with them; a dead or frozen one is noticed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest
from brokers import LIMIT, frozen_or_dead, last_word, learner, need, until

from mqlab import broker, paths
from mqlab.broker import embedded, owners, watch


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which no broker has ever run, with a space and letters outside ASCII in its name."""
    need("embedded")
    monkeypatch.setenv("MQLAB_HOME", str(tmp_path / "Schüler 課"))
    monkeypatch.setenv("MQLAB_BROKER", "embedded")
    monkeypatch.setenv("MQLAB_SPACE", "a")
    monkeypatch.delenv("MQLAB_OWNER", raising=False)
    # A course folder of its own too: `broker.stop()` here must not stop this one's RabbitMQ in Docker.
    (tmp_path / "course").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path / "course")
    yield embedded.folder()
    watch.off()
    embedded.stop()


def process(home: Path) -> psutil.Process:
    state = json.loads((home / "state.json").read_text(encoding="utf-8"))
    return psutil.Process(int(state["keeper"].partition("-")[0]))


def gone(*processes: psutil.Process) -> bool:
    return not psutil.wait_procs(processes, timeout=LIMIT)[1]


def test_it_is_private_and_nothing_of_it_stays(home: Path) -> None:
    rabbit = broker.start()
    assert (rabbit.kind, rabbit.version) == ("embedded", "4.3.6")
    running = process(home)
    assert {c.laddr.ip for c in running.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    password = pika.URLParameters(rabbit.url).credentials.password
    assert len(password) > 30 and password not in " ".join(running.cmdline()) + (home / "keeper.log").read_text("utf-8")
    if os.name != "nt":
        assert (home / "state.json").stat().st_mode & 0o077 == 0, "the password is for its owner"
        assert (home / "data").stat().st_mode & 0o077 == 0
        assert os.getsid(running.pid) != os.getsid(0), "out of reach of Ctrl-C"
    line, *others = broker.status()
    assert not others and password not in line
    assert line.startswith("The small broker of this course, for learning (it answers as RabbitMQ 4.3.6): port ")
    assert broker.stop() == ["Stopped the small broker of this course."]
    assert gone(running)
    assert sorted(path.name for path in home.iterdir()) == ["keeper.log", "lock"]
    assert broker.status() == ["No broker of this course is running."]


def test_notebooks_share_it_and_none_of_them_has_to_live(home: Path) -> None:
    # Both at once: one broker comes of it.
    say = "import pika; print('>', pika.URLParameters(rabbit.url).port)"
    learners = [learner(say, MQLAB_SPACE="one"), learner(say, MQLAB_SPACE="two")]
    assert len({last_word(one) for one in learners}) == 1
    running = process(home)
    for one in learners:
        one.kill()
        one.communicate(timeout=LIMIT)
    again = learner(say, MQLAB_SPACE="three")
    last_word(again)
    assert process(home) == running, "a kernel that is started again finds it"
    again.communicate("\n", timeout=LIMIT)


def test_it_ends_with_its_session_unless_it_is_to_be_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_OWNER", str(os.getpid()))
    kernel = learner("print('> ready')")
    last_word(kernel)
    kernel.communicate("\n", timeout=LIMIT)
    running = process(home)
    assert str(broker.start_shared()).endswith("because MQLAB_BROKER asks for it.")
    assert broker.release() == [], "it was started once more, to be kept"
    (home / "owners" / owners.KEPT).unlink()
    assert broker.release() == ["Stopped the small broker of this course."]
    assert gone(running)


def serve(home: Path) -> "subprocess.Popen[bytes]":
    """Start the broker as `start` does, but with little patience when nobody needs it."""
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mqlab.broker.embedded", "--course", str(home), "--idle", "0.3"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def test_it_ends_some_time_after_its_last_owner_and_connection(home: Path) -> None:
    owners.add(home / "owners")
    server = serve(home)
    until(embedded.running)
    url = broker.start().url
    watch.off()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        owners.leave(home / "owners")
        connection.sleep(1.5)
        assert server.poll() is None, "somebody is connected"
        owners.add(home / "owners")
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(1.5)  # an owner lives
    owners.leave(home / "owners")
    assert server.wait(LIMIT) == 0
    assert sorted(path.name for path in home.iterdir() if path.name != "owners") == ["lock"]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_broker_that_dies_or_freezes_hangs_no_cell(home: Path, how: str) -> None:
    rabbit = broker.start()
    old = process(home)
    frozen_or_dead(rabbit, lambda: old.send_signal(getattr(signal, how)))
    again = broker.start()
    pika.BlockingConnection(pika.URLParameters(again.url)).close()
    assert gone(old) and process(home) != old


def test_one_that_cannot_start_says_so(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "data").write_text("a file where its folder should be", encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(broker.BrokerError, match=r"(?s)small broker of this course did not start.*has ended"):
        broker.start()
    assert time.monotonic() - began < LIMIT
    assert "Traceback" not in (home / "keeper.log").read_text("utf-8")
