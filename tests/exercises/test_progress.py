"""The learner's progress survives two kernels at once, a broken file, and a folder that cannot be written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mqlab.exercises import progress


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mein Fortschritt" / "progress.json"
    monkeypatch.setenv("MQLAB_PROGRESS", str(path))
    return path


def test_it_is_kept_at_home_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MQLAB_PROGRESS")
    monkeypatch.setenv("MQLAB_HOME", str(tmp_path / "home"))
    progress.mark_solved("05", 1)
    assert progress.solved("05") == {1}
    assert (tmp_path / "home" / "progress.json").is_file()


def test_nothing_is_solved_at_first(file: Path) -> None:
    assert progress.load() == {"labs": {}}
    assert progress.solved("05") == set()
    assert not file.exists()


def test_solved_is_never_undone_and_keeps_its_first_moment(file: Path) -> None:
    progress.mark_solved("05", 1)
    first = file.read_text(encoding="utf-8")
    progress.mark_solved("05", 1)
    assert file.read_text(encoding="utf-8") == first
    assert progress.count("05", 1, "hints") == 1
    assert progress.count("05", 1, "hints") == 2
    assert progress.solved("05") == {1}


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"labs": []}',
        b'{"labs": {"05": []}}',
        b'{"labs": {"05": {"x": {}}}}',
        b'{"labs": {"05": {"1": {"hints": "two"}}}}',
        b'{"notebooks": []}',
    ],
)
def test_a_broken_file_is_moved_aside_and_nothing_is_lost(
    file: Path, broken: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    file.write_bytes(broken)
    progress.mark_solved("05", 2)
    said = capsys.readouterr().err
    [aside] = file.parent.glob("progress.broken-*.json")
    assert aside.read_bytes() == broken
    assert said == f"Your progress file could not be read; it is kept as {aside.name}, and a new one begins.\n"
    assert progress.solved("05") == {2}


def test_what_a_newer_course_wrote_is_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text('{"later": 1, "labs": {"05": {"1": {"stars": 3}}}}', encoding="utf-8")
    progress.mark_solved("05", 1)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["later"] == 1 and kept["labs"]["05"]["1"]["stars"] == 3


def test_several_kernels_at_once_lose_nothing(file: Path) -> None:
    count = "progress.count('05', int(sys.argv[1]) % 2, 'hints')"
    program = f"import sys; from mqlab.exercises import progress\nfor _ in range(40): {count}"
    kernels = [subprocess.Popen([sys.executable, "-c", program, str(n)]) for n in range(4)]
    assert [kernel.wait(60) for kernel in kernels] == [0] * 4
    counts = progress.load()["labs"]["05"]
    assert {n: facts["hints"] for n, facts in counts.items()} == {"0": 80, "1": 80}
    assert {path.suffix for path in file.parent.iterdir()} <= {".json", ".lock"}


def test_where_nothing_can_be_written_the_lesson_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MQLAB_PROGRESS", str(tmp_path / "a file" / "progress.json"))
    progress.mark_solved("05", 1)
    assert progress.count("05", 1, "hints") == 1
    assert progress.solved("05") == set()
    assert capsys.readouterr().err.startswith("Your progress could not be kept")
