"""The private node: shared, private, gone with its last owner; dead and frozen ones are noticed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pika
import psutil
import pytest
from brokers import LIMIT, frozen_or_dead, last_word, learner, need, until
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mqlab import broker, paths
from mqlab.broker import local, owners, watch


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which no node has ever run."""
    need("local")
    monkeypatch.setenv("MQLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MQLAB_BROKER", "local")
    monkeypatch.setenv("MQLAB_SPACE", "a")
    monkeypatch.delenv("MQLAB_OWNER", raising=False)
    # A course folder of its own too: `broker.stop()` here must not stop this one's RabbitMQ in Docker.
    (tmp_path / "course").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path / "course")
    yield tmp_path / "home" / "broker" / "local"
    watch.off()
    local.stop()


def state(home: Path) -> dict[str, object]:
    return dict(json.loads((home / "state.json").read_text(encoding="utf-8")))


def processes(home: Path) -> list[psutil.Process]:
    """Return the keeper and the node's processes."""
    found = state(home)
    names = [found["keeper"], *found["processes"]]  # type: ignore[misc]
    return [psutil.Process(int(str(name).partition("-")[0])) for name in names]


def test_it_is_private_and_nothing_of_it_stays(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rabbit = broker.start()
    keeper_process, *node = processes(home)
    family = [*node, *node[0].children(recursive=True)]
    listening = [c for one in family for c in one.net_connections() if c.status == psutil.CONN_LISTEN]
    found = state(home)
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    assert {c.laddr.port for c in listening} == {
        found["amqp"],
        found["management"],
        *found["protocols"].values(),  # type: ignore[attr-defined]
    }, "no port for other Erlang nodes"
    epmds = [one.info for one in psutil.process_iter(["name", "environ"]) if one.info["name"].startswith("epmd")]
    assert not [one for one in epmds if (one["environ"] or {}).get("HOME") == str(home / "node")], "none of this node's"
    if os.name != "nt":
        assert (home / "state.json").stat().st_mode & 0o077 == 0, "the password is for its owner"
        assert (home / "node").stat().st_mode & 0o077 == 0
        assert os.getsid(keeper_process.pid) != os.getsid(0) != os.getsid(node[0].pid), "out of reach of Ctrl-C"
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.ConnectionParameters(port=pika.URLParameters(rabbit.url).port))  # guest, guest
    assert broker.stop() == ["Stopped the RabbitMQ installed on this machine."]
    assert not psutil.wait_procs([keeper_process, *family], timeout=LIMIT)[1]
    assert sorted(path.name for path in home.iterdir()) == ["keeper.log", "lock"]
    assert (home / "keeper.log").read_text(encoding="utf-8") == ""
    assert broker.stop() == ["No broker of this course was running."]


@pytest.mark.skipif(os.name == "nt", reason="there a folder in use stays")
def test_the_node_ends_even_if_its_folder_has_gone(home: Path) -> None:
    process = learner("print('> up')")
    last_word(process)
    family = processes(home)
    shutil.rmtree(home, ignore_errors=True)
    process.kill()
    process.wait(LIMIT)
    assert not psutil.wait_procs(family, timeout=LIMIT)[1]


def test_notebooks_share_it_until_the_last_is_killed(home: Path) -> None:
    # Both at once: one node comes of it.
    say = "import pika; print('>', pika.URLParameters(rabbit.url).port)"
    learners = [learner(say, MQLAB_SPACE="one"), learner(say, MQLAB_SPACE="two")]
    ports = {last_word(one) for one in learners}
    assert ports == {str(state(home)["amqp"])}
    everyone = processes(home)
    learners[0].kill()
    learners[0].wait(LIMIT)
    until(lambda: len(owners.living(home / "owners")) == 1)
    assert local.running(), "one notebook still needs it"
    learners[1].kill()
    assert not psutil.wait_procs(everyone, timeout=LIMIT)[1]
    until(lambda: not (home / "state.json").exists())
    assert not (home / "node").exists()
    for one in learners:
        one.communicate(timeout=LIMIT)


def test_it_outlives_the_kernels_of_its_session_and_ends_with_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_OWNER", str(os.getpid()))
    kernel = learner("print('> ready')")
    last_word(kernel)
    kernel.communicate("\n", timeout=LIMIT)
    until(lambda: len(owners.living(home / "owners")) == 1)
    everyone = processes(home)
    # `course.py broker start` in another terminal: now it stays until `broker stop`.
    said: list[str] = []
    node = broker.start_shared(say=said.append)
    assert not said and node.password not in f"{node!r} {node}"
    assert broker.release() == []
    assert broker.status() == [
        f"RabbitMQ {node.version} installed on this machine: port {node.port}; its own pages are at {node.management} "
        f"(user campus, the password is in {home / 'state.json'})."
    ]
    (home / "owners" / owners.KEPT).unlink()
    owners.add(home / "owners")
    assert broker.release() == ["Stopped the RabbitMQ installed on this machine."]
    assert not psutil.wait_procs(everyone, timeout=LIMIT)[1]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_broker_that_dies_or_freezes_hangs_no_cell(home: Path, how: str) -> None:
    rabbit = broker.start()
    old = processes(home)

    def strike() -> None:
        # The frozen one's keeper is killed as well: then nobody but the next start can clean up.
        for process in old[1:] if how == "SIGKILL" else old:
            process.send_signal(getattr(signal, how) if process is not old[0] else signal.SIGKILL)

    frozen_or_dead(rabbit, strike)
    again = broker.start()
    pika.BlockingConnection(pika.URLParameters(again.url)).close()
    assert not psutil.wait_procs(old, timeout=LIMIT)[1], "nothing of the old one is left"


@pytest.mark.skipif(os.name == "nt", reason="the script is one for a Unix shell")
def test_one_that_cannot_start_says_so_and_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "rabbitmq-server"
    script.write_text("#!/bin/sh\necho erl: command not found\nexit 127\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(local, "find", lambda: script)
    with pytest.raises(broker.BrokerError, match=r"(?s)did not start.*erl: command not found"):
        broker.start()
    assert sorted(path.name for path in home.iterdir() if path.name != "owners") == ["keeper.log", "lock"]


def test_the_first_start_in_a_notebook_passes_nbval(home: Path, tmp_path: Path) -> None:
    """What is said while the node starts is printed over, so the stored output is the same as on a later start."""
    line = new_output("stream", name="stdout", text="THE LINE\n")
    refusal = new_output(
        "error", ename="ChannelClosedByBroker", evalue="(404, \"NOT_FOUND - no queue 'x' in vhost 'a'\")"
    )
    notebook = new_notebook(
        cells=[
            new_code_cell("from mqlab import broker\nrabbit = broker.start()", execution_count=1, outputs=[line]),
            new_code_cell(
                "import pika\nconnection = pika.BlockingConnection(pika.URLParameters(rabbit.url))\n"
                "connection.channel().basic_consume('x', print)",
                execution_count=2,
                outputs=[refusal],
                metadata={"tags": ["raises-exception"]},
            ),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, tmp_path / "a.ipynb")
    sanitize = "[line]\nregex: RabbitMQ .* Your space on it: .* \\(empty\\)\\.\nreplace: THE LINE\n"
    (tmp_path / "nbval.cfg").write_text(sanitize, encoding="utf-8")
    options = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with=nbval.cfg", "--nbval-cell-timeout=60"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "a.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_a_recycled_number_is_not_taken_for_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MQLAB_OWNER", raising=False)
    mine = owners.ident(os.getpid())
    assert owners.lives(mine)
    pid, began = mine.split("-")
    assert not owners.lives(f"{pid}-{int(began) - 3600}")
    assert not owners.lives("no-process")
    (tmp_path / f"{pid}-1").touch()
    assert owners.living(tmp_path) == []
    owners.add(tmp_path)
    assert owners.living(tmp_path) == [mine], "files of the dead are removed"
    assert [path.name for path in tmp_path.iterdir()] == [mine]
