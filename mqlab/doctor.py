"""Look at this machine: what the course needs, what is there, what is wrong, and the fix."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from mqlab import paths

GOOD, BAD, MISSING = "✓", "✗", "–"  # fine; has to be mended; the course works without it
AGAIN = "Delete the folder .venv, then run: python3 course.py lab"
INSTALL = {
    "linux": "Install Docker (https://docs.docker.com/engine/install/) or RabbitMQ (sudo apt install rabbitmq-server).",
    "darwin": "Install Docker Desktop (https://docs.docker.com/get-docker/) or RabbitMQ (brew install rabbitmq).",
    "win32": "Install Docker Desktop (https://docs.docker.com/get-docker/) or RabbitMQ (https://www.rabbitmq.com).",
}


@dataclass(frozen=True)
class Line:
    """One finding: ✓ fine, ✗ to be mended, – missing but not needed."""

    mark: str
    name: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.name:<9} {self.text}" + (f" {self.fix}" if self.fix else "")


def report(ports: bool = True) -> list[Line]:
    """Return the findings; with no measured values, so that the same machine always gets the same lines."""
    lines = [python(sys.version_info[:3]), packages((paths.ROOT / "requirements.txt").read_text(encoding="utf-8"))]
    lines += [listening(8888, 5672, 15672)] if ports else []
    lines += [docker(), rabbitmq()]
    return [*lines, broker(lines[-2], lines[-1]), disk(shutil.disk_usage(paths.ROOT).free), writing()]


def show() -> None:
    """Print the findings in a notebook; ports are left out, for the course itself has them then."""
    print(*report(ports=False), sep="\n")


def exit_code(lines: list[Line]) -> int:
    """Return 1 when something has to be mended."""
    return int(any(line.mark == BAD for line in lines))


def python(version: tuple[int, ...]) -> Line:
    """Look at the Python that runs."""
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Line(
            BAD, "Python", f"{text} is too old.", "Install Python 3.11 or newer: https://www.python.org/downloads/"
        )
    if version[:2] > (3, 14):
        return Line(MISSING, "Python", f"{text} is newer than the course is proven on (3.11 to 3.14).")
    return Line(GOOD, "Python", text)


def packages(pins: str) -> Line:
    """Compare what is installed with pins, one `name==version ; marker` a line."""
    wrong, count = [], 0
    for line in pins.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        count += 1
        try:
            there = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            wrong.append(f"{wanted.name} is {there}, not {wanted.specifier}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Line(BAD, "Packages", ", ".join(wrong[:3]) + more + ".", AGAIN)
    return Line(GOOD, "Packages", f"all {count} there, as pinned")


def listening(*ports: int) -> Line:
    """Look which of these ports of this machine another program has."""
    taken = [str(port) for port in ports if _connects("127.0.0.1", port, 1)]
    if taken:
        return Line(MISSING, "Ports", f"{' and '.join(taken)} in use.", "Nothing to do: the course chooses others.")
    return Line(GOOD, "Ports", f"{', '.join(map(str, ports))} are free")


def docker() -> Line:
    """Look for a Docker whose engine answers and that has Compose."""
    from mqlab.broker import docker as own

    problem = own.problem()
    if problem is None:
        return Line(GOOD, "Docker", "its engine answers")
    text, _, fix = problem.partition(" (")
    if "engine does not answer" in text:
        fix = "Start it: sudo systemctl start docker" if sys.platform == "linux" else "Start Docker Desktop."
    elif "compose" in text:
        fix = "Install it: https://docs.docker.com/compose/install/"
    return Line(MISSING, "Docker", f"{text.removeprefix('Docker ')}.", fix.removesuffix(")"))


def rabbitmq() -> Line:
    """Look for an installed RabbitMQ and its version."""
    from mqlab.broker import local

    script = local.find()
    if script is None:
        return Line(MISSING, "RabbitMQ", "is not installed on this machine.")
    control = script.with_name("rabbitmqctl.bat" if os.name == "nt" else "rabbitmqctl")
    with contextlib.suppress(OSError, subprocess.SubprocessError), tempfile.TemporaryDirectory() as home:
        asked = subprocess.run(
            [str(control), "version"],
            env=os.environ | {"HOME": home},  # Erlang writes its cookie there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=20,
            check=True,
        )
        return Line(GOOD, "RabbitMQ", f"{asked.stdout.strip()} is installed")
    return Line(MISSING, "RabbitMQ", f"is installed ({script}), but does not tell its version.", "Is its Erlang there?")


def broker(in_docker: Line, installed: Line) -> Line:
    """Say what broker.start() will find, by what was found before."""
    asked = os.environ.get("MQLAB_BROKER") or "auto"
    if "://" in asked:
        address = urlsplit(asked)  # never shown: it holds a password
        place = f"{address.hostname}:{address.port or 5672}"
        if _connects(address.hostname or "", address.port or 5672, 3):
            return Line(GOOD, "Broker", f"{place} answers")
        return Line(
            BAD,
            "Broker",
            f"{place} does not answer.",
            "Is the address right? Without MQLAB_BROKER, one is looked for here.",
        )
    choices = {"docker": in_docker, "local": installed}
    usable = [kind for kind, line in choices.items() if line.mark == GOOD and asked in ("auto", kind)]
    if usable:
        return Line(GOOD, "Broker", {"docker": "RabbitMQ in Docker", "local": "the RabbitMQ installed here"}[usable[0]])
    if asked in ("auto", "embedded"):
        return Line(GOOD, "Broker", "the small one of this course, which is good for learning")
    return Line(
        MISSING,
        "Broker",
        f"MQLAB_BROKER asks for {asked}, which cannot be had; Part I (notebooks 01 to 04) needs none.",
        INSTALL.get(sys.platform, INSTALL["linux"]),
    )


def disk(free: int) -> Line:
    """Look whether `free` bytes are enough."""
    if free < 2e9:
        return Line(BAD, "Disk", f"only {free / 1e9:.1f} GB are free.", "Make room for 2 GB.")
    return Line(GOOD, "Disk", "more than 2 GB are free")


def writing() -> Line:
    """Try to write where the learner's notebooks and progress lie."""
    places: list[Callable[[], Path]] = [lambda: paths.NOTEBOOKS, lambda: paths.LABS, paths.home]
    try:
        for place in places:
            with tempfile.TemporaryFile(dir=place()):
                pass
    except OSError as error:
        return Line(BAD, "Folder", f"cannot be written to ({error}).", "Move the course to a folder of your own.")
    return Line(GOOD, "Folder", "can be written to")


def _connects(host: str, port: int, limit: float) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=limit).close()
        return True
    return False
