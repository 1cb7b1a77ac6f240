#!/usr/bin/env python3
"""MQ Lab, the front door. Use: python3 course.py COMMAND

  lab      open the course in JupyterLab
  check    say how you did in a lab: python3 course.py check 05
  broker   start, stop or show the broker
  doctor   look at this machine: what is wrong, and the fix
  test     prove the whole project (for teachers and contributors)
  build    run the notebooks, store their outputs, make the labs
  bench    measure

The first command sets up .venv beside this file: about a minute, and this once the network is needed.
`python3 course.py COMMAND --help` tells more of each.
"""
# Standard library only. All of it parses on Python 3.6, so that an old Python gets a sentence and not a SyntaxError.

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired, call
from typing import Any

OLDEST, NEWEST = (3, 11), (3, 14)  # what the pins hold for
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"
NEEDS_DEV = ("test", "build", "bench")
WAIT = 600  # seconds, for another course.py that is setting up


def works(*command: object) -> bool:
    """Return whether this command can be run and ends well."""
    try:
        return call([str(c) for c in command], timeout=180, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) == 0
    except (OSError, TimeoutExpired):
        return False


def check_python(version: tuple) -> None:
    """Exit with a sentence when Python is too old; it names one on this machine that is not."""
    if version >= OLDEST:
        return
    text = f"MQ Lab needs Python 3.11 or newer, and this is Python {version[0]}.{version[1]}.\n"
    command = "course.py " + " ".join(sys.argv[1:] or ["lab"])
    for name in [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] + ["py -3", "python3", "python"]:
        if works(*name.split(), "-c", NEW_ENOUGH):
            sys.exit(f"{text}There is a newer one here: {name} {command}")
    text += "Get one from https://www.python.org/downloads/ or from your system's packages; or, with uv:\n"
    sys.exit(f"{text}uv run --no-project --python 3.13 {command}")


check_python(sys.version_info[:2])  # what follows may need Python 3.11 to run

ROOT = Path(__file__).resolve().parent
PRIVATE = ROOT / ".mqlab"
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "mqlab-installed.json"  # what .venv held when all was well
MARKER = VENV / "mqlab-installing"  # there while .venv is being changed


def base() -> str:
    """Return the path of the Python that .venv was made from."""
    if os.name != "nt":
        return os.path.realpath(PYTHON)
    home = re.findall(r"(?m)^home = (.+)$", (VENV / "pyvenv.cfg").read_text(encoding="utf-8"))
    return str(Path(*home, "python.exe"))


def site() -> Path:
    """Return the folder of .venv that holds the packages."""
    return next(VENV.glob("Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"))


def contents() -> dict[str, Any]:
    """Return what is to be in .venv (a fingerprint) and what is: its Python, its packages with their versions."""
    pinned = b"".join((ROOT / name).read_bytes() for name in ("requirements.txt", "requirements-dev.txt"))
    packages = [path.name for path in site().iterdir() if path.suffix in (".dist-info", ".pth")]
    return {"pinned": hashlib.sha256(pinned).hexdigest(), "base": base(), "packages": sorted(packages)}


def ready(dev: bool) -> bool:
    """Return whether .venv is whole; this starts nothing and takes milliseconds."""
    try:
        stamp, now = json.loads(STAMP.read_text(encoding="utf-8")), contents()
        same = stamp["pinned"] == now["pinned"] and stamp["base"] == now["base"] and stamp["dev"] >= dev
        there = os.access(PYTHON, os.X_OK) and os.path.lexists(base()) and not MARKER.exists()
        return same and there and set(stamp["packages"]) <= set(now["packages"])
    except (OSError, ValueError, KeyError, StopIteration):
        return False


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the set-up: SQLite's, which is the same on every system and ends with its holder."""
    PRIVATE.mkdir(exist_ok=True)
    lock = sqlite3.connect(PRIVATE / "setup.lock", timeout=0.2, isolation_level=None)
    end, told = time.monotonic() + WAIT, False
    while True:
        try:
            lock.execute("BEGIN EXCLUSIVE")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise OSError(f"{PRIVATE / 'setup.lock'}: {error}") from None
            if time.monotonic() > end:
                sys.exit("Another course.py has been setting up .venv for ten minutes.\nEnd it, then try again.")
            if not told:
                print("Another course.py is setting up .venv: waiting for it, ten minutes at most.", flush=True)
            told = True
    try:
        yield
    finally:
        lock.close()


def set_up(dev: bool) -> None:
    """Make .venv, or mend it."""
    with alone():
        if ready(dev):  # another course.py has just done it
            return
        if not os.path.lexists(VENV):
            print("Setting up .venv: about a minute.", flush=True)
        elif MARKER.exists() or not works(PYTHON, "-c", NEW_ENOUGH):
            why = "A former set-up did not finish" if MARKER.exists() else "The Python of .venv does not start"
            print(f"{why}: making .venv again, about a minute.", flush=True)
            old = PRIVATE / "old-venv"
            shutil.rmtree(old, ignore_errors=True)
            VENV.rename(old)  # in one go, so that an interruption never leaves half of it
            shutil.rmtree(old, ignore_errors=True)
        else:
            print("Not everything that is needed is in .venv: installing the rest.", flush=True)
        was_whole = STAMP.exists()
        VENV.mkdir(exist_ok=True)
        MARKER.touch()
        if not os.path.lexists(PYTHON):
            import venv

            venv.EnvBuilder(symlinks=os.name != "nt", prompt="mqlab").create(VENV)
        # A relative path: good in every encoding, and when the course is moved. An editable install needs the network.
        (site() / "mqlab-course.pth").write_text(os.path.relpath(ROOT, site()) + "\n", encoding="ascii")
        try:
            install("requirements-dev.txt" if dev else "requirements.txt")
        except SystemExit:
            if was_whole:  # the installers download everything before they touch anything: what was there still is
                MARKER.unlink()
            raise
        STAMP.write_text(json.dumps({"dev": dev, **contents()}, indent=0), encoding="utf-8")
        MARKER.unlink()
        print("Set-up is done.", flush=True)


def installers() -> Iterator[list[str]]:
    """Yield the commands that install, the fastest first; pip comes last: it has settings that uv does not read."""
    python, uv = str(PYTHON), shutil.which("uv")
    has_uv = uv is not None and works(uv, "--version")
    if has_uv:
        yield [str(uv), "pip", "install", "--python", python]
    if not works(python, "-m", "pip", "--version") and not works(python, "-m", "ensurepip", "--default-pip"):
        if has_uv:
            return
        text = "This Python cannot install packages, because its module ensurepip is missing.\nOn Debian and Ubuntu: "
        text += f"sudo apt install python3.{sys.version_info[1]}-venv. Elsewhere: install uv, docs.astral.sh/uv."
        sys.exit(f"{text}\nThen run the same command again.")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if not has_uv and works(*pip, "--retries", "1", "uv"):
        yield [python, "-m", "uv", "pip", "install", "--python", python]
    yield pip


def install(file: str) -> None:
    """Install what `file` pins and show what the installer says; exits with its last lines when it fails."""
    words: deque[str] = deque(maxlen=8)
    for command in installers():
        command += ["-r", file]
        pipe = Popen(command, cwd=ROOT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, encoding="utf-8", errors="replace")
        with pipe as installer:
            try:
                for line in installer.stdout or ():
                    words.append(line.rstrip())
                    if sys.stdout.isatty():  # one line that changes
                        width = shutil.get_terminal_size().columns - 1
                        print(f"\r  {words[-1].strip()}"[:width].ljust(width), end="", flush=True)
            except BaseException:
                installer.terminate()
                raise
        if sys.stdout.isatty():
            print()
        if installer.returncode == 0:
            return
    text = "The packages could not be installed, most often for want of the network. Once, at the first set-up, this\n"
    text += "machine must reach https://pypi.org. Behind a proxy, set HTTPS_PROXY. Then run the same command again."
    if sys.version_info[:2] > NEWEST:
        text += "\nIt may be your Python, too: the course is proven on Python 3.11 to 3.14."
    sys.exit(advice("\n".join(words), text))


def advice(words: str, otherwise: str) -> str:
    """Return the sentence that fits what was said (`otherwise` when none does), and below it what was said."""
    text = otherwise
    if re.search(r"no space left|not enough space|quota|os error 28\b", words, re.IGNORECASE):
        text = "The disk is full: the course needs about 1 GB here. Make room, then run the same command again."
    elif re.search(r"permission denied|access is denied|read-?only|unable to open|os error 13\b", words, re.IGNORECASE):
        text = "The set-up may not write here, or a program still uses .venv. Close JupyterLab and editors that use\n"
        text += "it, or move the course to a folder of your own; then run the same command again."
    return text + "\n\nWhat was said last:\n  " + words.replace("\n", "\n  ")


def hand_over(args: list[str]) -> int:
    """Become the command line of mqlab."""
    command = [str(PYTHON), "-m", "mqlab.cli", *args]
    if os.name != "nt":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a Ctrl-C now waits until mqlab.cli listens
        os.execv(command[0], command)
    process = Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command has heard it too, and ends by itself
            continue


def main(args: list[str]) -> int:
    """Set up what `args` needs, then hand over; return the exit code."""
    try:
        dev = args[:1] != [] and args[0] in NEEDS_DEV
        if not ready(dev):
            if args in ([], ["-h"], ["--help"]):
                print(__doc__)
                return 0
            for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):  # a closed terminal is a Ctrl-C too
                signal.signal(getattr(signal, name), signal.default_int_handler)
            set_up(dev)
        return hand_over(args)
    except KeyboardInterrupt:
        print("\nStopped. The same command takes it up again.", file=sys.stderr)
        return 130
    except OSError as error:
        sys.exit(advice(str(error), "The set-up cannot go on. Mend what is said below, then try again."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
