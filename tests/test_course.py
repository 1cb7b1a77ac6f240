"""The front door, tried for real: in a copy of the course, in a folder with a space and a letter outside ASCII."""

import ast
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from mqlab.paths import ROOT

PYTHON = getattr(sys, "_base_executable", sys.executable)
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build")
STATUS = ("broker", "status")  # a command that does little
RUNS = "No broker of this course is running."


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a learner: nothing of this test run, and a home of their own."""
    ours = ("MQLAB_", "VIRTUAL_ENV", "PYTHON", "PYTEST_", "JUPYTER", "IPYTHON", "COV_")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return plain | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONUTF8": "1"} | more


def caches() -> dict[str, str]:
    """What this machine has downloaded before is not downloaded again."""
    found = {}
    for name, command in {"UV_CACHE_DIR": ["uv", "cache", "dir"], "PIP_CACHE_DIR": ["pip", "cache", "dir"]}.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
            if done.returncode == 0:
                found[name] = done.stdout.strip()
    return found


def no_network(tmp_path: Path, index: str) -> dict[str, str]:
    """Settings that leave an installer only the index given, and nothing downloaded before."""
    empty = {name: str(tmp_path / name) for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    indexes = dict.fromkeys(("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), index)
    plain = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "NO_PROXY": "", "no_proxy": ""}
    return empty | proxies | indexes | plain | {"UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}


class Course:
    """A copy of the course."""

    def __init__(self, root: Path) -> None:
        self.root = root / "Kurs für alle"
        self.home = root / "home"
        self.env = environment(self.home, **caches())
        self.venv = self.root / ".venv"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self.home.mkdir()

    def command(self, *args: str) -> list[str]:
        return [PYTHON, str(self.root / "course.py"), *args]

    def run(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args),
            cwd=self.home,
            env=self.env | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=280,
            check=False,
        )

    def start(self, *args: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*args),
            cwd=self.home,
            env=self.env | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )

    def module(self) -> ModuleType:
        """Its course.py as a module."""
        spec = importlib.util.spec_from_file_location("course_copy", self.root / "course.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def ready_or_skip(done: subprocess.CompletedProcess[str]) -> str:
    if "most often for want of the network" in done.stdout and os.environ.get("MQLAB_REQUIRE") != "1":
        pytest.skip("a first set-up needs the network")
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course that has been set up."""
    course = Course(tmp_path_factory.mktemp("course"))
    said = ready_or_skip(course.run(*STATUS))
    assert said.startswith("Setting up .venv") and said.endswith(f"Set-up is done.\n{RUNS}\n")
    return course


@pytest.fixture
def fresh(tmp_path: Path) -> Course:
    """A course as it is cloned."""
    return Course(tmp_path)


def test_every_python_of_the_venv_finds_mqlab(course: Course) -> None:
    code = "import mqlab; print(mqlab.__file__)"
    python = course.module().PYTHON
    said = subprocess.check_output([python, "-c", code], cwd=course.home, env=course.env, encoding="utf-8", timeout=60)
    assert Path(said.strip()) == course.root / "mqlab" / "__init__.py"


def test_the_second_start_needs_no_network(course: Course, tmp_path: Path) -> None:
    cut = no_network(tmp_path, "http://127.0.0.1:9/simple") | {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    assert course.run(*STATUS, **cut).stdout == f"{RUNS}\n"


def test_help_before_set_up(fresh: Course) -> None:
    for args in ([], ["--help"]):
        done = fresh.run(*args)
        assert done.returncode == 0 and "python3 course.py COMMAND" in done.stdout
    assert not fresh.venv.exists()


def test_help_after_set_up(course: Course) -> None:
    said = course.run("lab", "--help").stdout
    assert "--no-browser" in said and "--port" in said


def lose_python(venv: Path) -> None:
    for python in [*venv.glob("bin/python*"), *venv.glob("Scripts/python*")]:
        python.unlink()


def lose_package(venv: Path) -> None:
    shutil.rmtree(next(venv.rglob("pika-*.dist-info")))
    shutil.rmtree(next(venv.rglob("pika")))


def other_python(venv: Path) -> None:
    lose_python(venv)
    for folder in ("bin", "Scripts"):
        if (venv / folder).exists():
            name = "python.exe" if folder == "Scripts" else "python"
            (venv / folder / name).write_text("no program", encoding="utf-8")
            (venv / folder / name).chmod(0o755)


DAMAGES = [
    (lose_python, "The Python of .venv does not start: making .venv again"),
    (other_python, "The Python of .venv does not start: making .venv again"),
    (lambda venv: (venv / "mqlab-installing").touch(), "A former set-up did not finish: making .venv again"),
    (lose_package, "Not everything that is needed is in .venv: installing the rest."),
    (lambda venv: (venv / "mqlab-installed.json").write_text("{", encoding="utf-8"), "Not everything"),
    (lambda venv: next(venv.rglob("mqlab-course.pth")).unlink(), "Not everything"),
]


@pytest.mark.parametrize("damage, sentence", DAMAGES, ids=["lost", "broken", "interrupted", "package", "stamp", "link"])
def test_a_half_made_venv_is_repaired(course: Course, damage, sentence: str) -> None:
    damage(course.venv)
    said = course.run(*STATUS).stdout
    assert said.startswith(sentence) and said.endswith(f"Set-up is done.\n{RUNS}\n")
    assert course.run(*STATUS).stdout == f"{RUNS}\n"


def test_what_tests_need_includes_what_learners_need(course: Course) -> None:
    module = course.module()
    assert module.ready(dev=False) and not module.ready(dev=True)
    module.STAMP.write_text(module.STAMP.read_text("utf-8").replace('"dev": false', '"dev": true'), encoding="utf-8")
    assert module.ready(dev=False) and module.ready(dev=True)
    module.STAMP.write_text(module.STAMP.read_text("utf-8").replace('"dev": true', '"dev": false'), encoding="utf-8")


def test_new_pins_are_installed(course: Course) -> None:
    pins = course.root / "requirements.txt"
    before = pins.read_text(encoding="utf-8")
    pins.write_text(before + "# changed\n", encoding="utf-8")
    assert course.run(*STATUS).stdout.startswith("Not everything")
    pins.write_text(before, encoding="utf-8")
    assert course.run(*STATUS).returncode == 0


def test_no_network_keeps_what_was_there(course: Course, tmp_path: Path) -> None:
    done = course.run("bench", **no_network(tmp_path, "http://127.0.0.1:9/simple"))
    assert done.returncode == 1 and "https://pypi.org" in done.stdout
    assert course.run(*STATUS).stdout == f"{RUNS}\n"


def test_no_network_at_the_first_set_up(fresh: Course, tmp_path: Path) -> None:
    done = fresh.run(*STATUS, **no_network(tmp_path, "http://127.0.0.1:9/simple"))
    assert done.returncode == 1
    assert "for want of the network" in done.stdout and "HTTPS_PROXY" in done.stdout
    assert "Traceback" not in done.stdout
    last = done.stdout.split("What was said last:\n")[1]
    assert last.strip()


@pytest.fixture
def silent_index() -> Iterator[str]:
    """The address of a package index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


@pytest.mark.skipif(os.name == "nt", reason="process groups are of POSIX")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_first_set_up(fresh: Course, tmp_path: Path, silent_index: str, signum: int) -> None:
    running = fresh.start(*STATUS, **no_network(tmp_path, silent_index))
    assert running.stdout is not None
    assert running.stdout.readline().startswith("Setting up .venv")
    family = psutil.Process(running.pid).children(recursive=True)
    if signum == signal.SIGINT:
        os.killpg(running.pid, signum)  # what a terminal does
    else:
        running.send_signal(signum)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == "\nStopped. The same command takes it up again.\n"
    assert not psutil.wait_procs(family, timeout=5)[1]
    again = fresh.run(*STATUS)
    assert ready_or_skip(again).endswith(f"Set-up is done.\n{RUNS}\n")


def test_two_at_once(fresh: Course) -> None:
    both = [fresh.start(*STATUS) for _ in range(2)]
    said = [one.communicate(timeout=280)[0] for one in both]
    for one, text in zip(both, said, strict=True):
        ready_or_skip(subprocess.CompletedProcess([], one.returncode, text))
        assert text.endswith(f"{RUNS}\n")
    assert "".join(said).count("Set-up is done.") == 1
    assert "".join(said).count("Another course.py is setting up .venv: waiting") <= 1


def test_a_folder_that_cannot_be_used(fresh: Course) -> None:
    (fresh.root / ".mqlab").write_text("a file, not a folder", encoding="utf-8")
    done = fresh.run(*STATUS)
    assert done.returncode == 1
    assert done.stdout.startswith("The set-up cannot go on.") and "Traceback" not in done.stdout


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("error: failed to write: No space left on device (os error 28)", "The disk is full"),
        ("[Errno 28] No space left on device: '.venv'", "The disk is full"),
        ("[Errno 13] Permission denied: '.venv'", "may not write here"),
        ("[WinError 5] Access is denied: '.venv'", "may not write here"),
        ("[Errno 30] Read-only file system: '.mqlab'", "may not write here"),
        ("dns error", "else"),
    ],
)
def test_advice(course: Course, words: str, sentence: str) -> None:
    text = course.module().advice(words, "else")
    assert sentence in text.splitlines()[0] and text.endswith(words)


def test_it_parses_on_python_3_6() -> None:
    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_refused(course: Course) -> None:
    module = course.module()
    module.check_python((3, 11))
    with pytest.raises(SystemExit) as refusal:
        module.check_python((3, 8))
    text = str(refusal.value)
    assert text.startswith("MQ Lab needs Python 3.11 or newer, and this is Python 3.8.\n")
    assert "course.py" in text.splitlines()[-1]


def test_an_old_python_really(fresh: Course) -> None:
    found = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    found += map(str, Path.home().glob(".pyenv/versions/3.*/bin/python"))
    asked = "import sys; sys.exit(not (3, 6) <= sys.version_info < (3, 11))"
    old = [p for p in found if p and subprocess.run([p, "-c", asked], capture_output=True, check=False).returncode == 0]
    if not old:
        pytest.skip("no Python from 3.6 to 3.10 is here")
    for python in old:
        done = subprocess.run(
            [python, str(fresh.root / "course.py"), "lab"],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("MQ Lab needs Python 3.11 or newer, and this is Python 3.")
    assert not fresh.venv.exists()
