"""The doctor: what it says of this machine, and of a machine where something is wrong."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from mqlab import doctor
from mqlab.doctor import BAD, GOOD, MISSING, Line


def test_this_machine_can_run_the_course() -> None:
    lines = doctor.report()
    assert [line.name for line in lines] == [
        *("Python", "Packages", "Ports", "Docker", "RabbitMQ", "Broker", "Disk", "Folder")
    ]
    assert {line.name: line.mark for line in lines}["Python"] == GOOD
    assert all("\n" not in str(line) for line in lines)


def test_a_notebook_shows_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.show()
    first = capsys.readouterr().out
    doctor.show()
    assert capsys.readouterr().out == first
    assert first.count("\n") == 7 and "Ports" not in first


@pytest.mark.parametrize(
    "version, mark", [((3, 10, 9), BAD), ((3, 11, 0), GOOD), ((3, 14, 2), GOOD), ((3, 15, 0), MISSING)]
)
def test_python(version: tuple[int, ...], mark: str) -> None:
    assert doctor.python(version).mark == mark


def test_packages_as_pinned() -> None:
    from importlib.metadata import version

    pins = f"# a comment\n\npika=={version('pika')}\nno-such-package==1 ; sys_platform == 'nowhere'\n"
    assert doctor.packages(pins) == Line(GOOD, "Packages", "all 1 there, as pinned")


def test_packages_missing_and_of_another_version() -> None:
    line = doctor.packages("pika==0.0.1\nno-such-package==1\n")
    assert line.mark == BAD
    assert "pika is " in line.text and "not ==0.0.1" in line.text and "no-such-package is missing" in line.text
    assert ".venv" in line.fix


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = doctor.listening(port)
        assert line.mark == MISSING and str(port) in line.text
    assert doctor.listening(port).mark == GOOD


@pytest.mark.skipif(not shutil.which("docker"), reason="the docker command is not here")
def test_docker_whose_engine_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    line = doctor.docker()
    assert line.mark == MISSING
    assert "installed but its engine does not answer" in line.text
    assert "Start" in line.fix


def test_no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(doctor.docker()) == "– Docker    is not installed."


def test_rabbitmq() -> None:
    from mqlab.broker import local

    line = doctor.rabbitmq()
    if local.find() is None:
        assert line.mark == MISSING
    else:
        assert line.mark == GOOD and line.text.endswith("is installed") and line.text[0].isdigit()


YES, NO = Line(GOOD, "", ""), Line(MISSING, "", "")


@pytest.mark.parametrize(
    "asked, in_docker, installed, mark, words",
    [
        ("auto", YES, YES, GOOD, "RabbitMQ in Docker"),
        ("auto", NO, YES, GOOD, "the RabbitMQ installed here"),
        ("local", YES, YES, GOOD, "the RabbitMQ installed here"),
        ("docker", NO, YES, MISSING, "Part I"),
        ("auto", NO, NO, GOOD, "the small one of this course"),
        ("embedded", YES, YES, GOOD, "the small one of this course"),
        ("amqp://campus:very-secret@127.0.0.1:1/", YES, YES, BAD, "127.0.0.1:1 does not answer"),
    ],
)
def test_broker(
    asked: str, in_docker: Line, installed: Line, mark: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQLAB_BROKER", asked)
    line = doctor.broker(in_docker, installed)
    assert line.mark == mark and words in line.text
    assert "very-secret" not in str(line)
    assert bool(line.fix) == (mark != GOOD)


def test_broker_at_an_address_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MQLAB_BROKER", f"amqp://127.0.0.1:{server.getsockname()[1]}/")
        assert doctor.broker(NO, NO).mark == GOOD


def test_disk() -> None:
    assert doctor.disk(10**9) == Line(BAD, "Disk", "only 1.0 GB are free.", "Make room for 2 GB.")
    assert doctor.disk(3 * 10**9).mark == GOOD


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.writing().mark == GOOD
    (tmp_path / "file").touch()
    monkeypatch.setenv("MQLAB_HOME", str(tmp_path / "file" / "home"))
    line = doctor.writing()
    assert line.mark == BAD and os.fspath(tmp_path) in line.text


def test_only_what_must_be_mended_is_a_failure() -> None:
    assert doctor.exit_code([YES, NO]) == 0
    assert doctor.exit_code([YES, NO, Line(BAD, "", "")]) == 1
