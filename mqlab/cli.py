"""The commands of course.py."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated
from urllib.parse import urlsplit

import typer

from mqlab import paths

START_PAGE = "notebooks/00-start-here.ipynb"
GRACE = 12  # seconds that a program has to end by itself when it is told to

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="MQ Lab: message queues you can see. Begin with: python3 course.py lab",
)
broker_app = typer.Typer(no_args_is_help=True, help="Start, show or stop the broker of this course.")
app.add_typer(broker_app, name="broker")


class Stopped(SystemExit):
    """Ctrl-C, or the terminal was closed: a SystemExit, so that click and asyncio let it pass."""


def main() -> None:
    """Run the command that the arguments ask for."""
    for name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"} & set(dir(signal)):
        signal.signal(getattr(signal, name), _stop)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # ✓ is not in every Windows code page
    try:
        with contextlib.suppress(AttributeError):  # not on Windows
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by course.py until somebody listens
        app(prog_name="course.py")
    except Stopped as stopped:
        _say("Stopped.")
        sys.exit(stopped.code)


def _stop(signum: int, _frame: FrameType | None) -> None:
    raise Stopped(130)


def _say(*lines: object) -> None:
    """Print lines at once; a closed terminal must not keep us from cleaning up."""
    with contextlib.suppress(OSError):
        print(*lines, sep="\n", flush=True)


def _asked_broker(value: str) -> str:
    """Return the broker asked for, or refuse it in a sentence."""
    if value in ("auto", "docker", "local", "embedded"):
        return value
    address = urlsplit(value)
    if address.scheme in ("amqp", "amqps") and address.hostname:
        return value
    raise typer.BadParameter("use auto, docker, local, embedded, or an address like amqp://user:password@host:5672/")


BrokerOption = Annotated[
    str,
    typer.Option(
        envvar="MQLAB_BROKER",
        metavar="auto|docker|local|embedded|amqp://...",
        callback=_asked_broker,
        help="Which RabbitMQ to use: auto takes Docker if it answers, else the one installed here, else the small "
        "broker of this course (embedded), which needs neither.",
    ),
]


@app.command()
def lab(
    broker: BrokerOption = "auto",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where JupyterLab listens, on this machine only.")] = 8888,
) -> None:
    """Open the course in JupyterLab; Ctrl-C closes it."""
    chosen = free_port(port)
    if chosen != port:
        _say(f"Port {port} is taken by another program: JupyterLab listens on {chosen} instead.")
    _say(f"Opening {START_PAGE} in JupyterLab. Ctrl-C here closes the course.")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={paths.ROOT}", f"--ServerApp.port={chosen}"]
    command += [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.open_browser={browser}",
        f"--LabApp.default_url=/lab/tree/{START_PAGE}",
    ]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--Application.log_level=ERROR", "--KernelManager.transport_encryption=auto"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--ServerApp.allow_root=True")
    settings = Path(__file__).parent / "jupyter"  # defaults: what the learner has set in JupyterLab goes before them
    os.environ |= {
        "MQLAB_BROKER": broker,
        "MQLAB_OWNER": str(os.getpid()),
        "JUPYTER_CONFIG_PATH": _in_front(settings, "JUPYTER_CONFIG_PATH"),
        # The tabs that are open in the learner's other JupyterLabs are not in this folder.
        "JUPYTERLAB_WORKSPACES_DIR": str(paths.home() / "workspaces"),
        "PATH": _in_front(Path(sys.executable).parent, "PATH"),  # for `!python` and JupyterLab's terminals
    }
    with _session():
        raise typer.Exit(run(command, signal.SIGTERM))


@app.command(context_settings={"ignore_unknown_options": True})
def test(
    pytest_args: Annotated[list[str] | None, typer.Argument(help="Passed on to pytest, e.g. -k fold.")] = None,
    broker: BrokerOption = "auto",
) -> None:
    """Prove the whole project: style, types, tests, every notebook."""
    with tempfile.TemporaryDirectory(prefix="mqlab-test-", ignore_cleanup_errors=True) as private:
        # Nothing of the learner's own is read or changed.
        folders = {"MQLAB_HOME": "home", "IPYTHONDIR": "ipython"}
        folders |= {f"JUPYTER_{kind}_DIR": kind.lower() for kind in ("CONFIG", "DATA", "RUNTIME")}
        folders |= {f"JUPYTERLAB_{kind}_DIR": f"lab-{kind.lower()}" for kind in ("SETTINGS", "WORKSPACES")}
        os.environ |= {name: str(Path(private, folder)) for name, folder in folders.items()}
        os.environ |= {"MQLAB_BROKER": broker, "MQLAB_OWNER": str(os.getpid())}
        python = [sys.executable, "-m"]
        steps = {
            "ruff check": [*python, "ruff", "check"],
            "ruff format": [*python, "ruff", "format", "--check"],
            "mypy": [*python, "mypy"],
            "pytest": [*python, *pytest_command(pytest_args or [])],
        }
        failed = []
        with _session():
            for name, command in steps.items():
                began = time.monotonic()
                if name == "pytest" and not _start_broker(broker, kept=False):
                    if os.environ.get("MQLAB_REQUIRE") == "1":
                        raise typer.Exit(1)
                    _say("So the tests that need a broker are skipped.")
                good = run(command, signal.SIGINT) == 0
                _say(f"{'✓' if good else '✗'} {name}: {time.monotonic() - began:.1f} s")
                if not good:
                    failed.append(name)
    _say("Not passed: " + ", ".join(failed) + "." if failed else "All passed.")
    raise typer.Exit(1 if failed else 0)


def pytest_command(args: Sequence[str]) -> list[str]:
    """Return pytest's command line; paths among `args` take the place of the usual ones."""
    own_paths = any(Path(arg.partition("::")[0]).exists() for arg in args)
    where = [] if own_paths else ["tests", "notebooks", "solutions"]
    # Three workers also where there are two cores: much of the time they wait for brokers and pages.
    return ["pytest", "--nbval", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", *where, *args]


@app.command()
def check(lab: Annotated[str, typer.Argument(help="The lab's number, or the path of a notebook.")]) -> None:
    """Say how you did in a lab: it is run from a fresh kernel."""
    from mqlab.exercises import verdict

    path = Path(lab)
    os.environ["MQLAB_OWNER"] = str(os.getpid())
    with _session():
        raise typer.Exit(verdict.run(path if path.exists() else path.stem.partition("-")[0].zfill(2)))


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Notebooks, e.g. 05; all if none is given.")] = None,
) -> None:
    """Run notebooks from a fresh kernel, store their outputs, make the labs."""
    from mqlab import broker
    from mqlab.authoring import build as authoring

    os.environ["MQLAB_OWNER"] = str(os.getpid())
    with _session():
        try:
            raise typer.Exit(authoring.run(names or []))
        except broker.BrokerError as error:
            _say(error)
            raise typer.Exit(1) from None


@app.command()
def bench(name: Annotated[str, typer.Argument(help="One benchmark; all if none is given.")] = "") -> None:
    """Measure: run the benchmarks."""
    found = [path for path in sorted((paths.ROOT / "benchmarks").glob("*.py")) if path.stem.startswith(name)]
    if not found:
        _say(f"There is no benchmark {name!r} in the folder benchmarks.")
        raise typer.Exit(2)
    os.environ["MQLAB_OWNER"] = str(os.getpid())
    with _session():
        codes = [run([sys.executable, str(path)], signal.SIGINT) for path in found]
    raise typer.Exit(max(codes))


@app.command()
def doctor() -> None:
    """Look at this machine: what is fine, what is wrong, and the fix."""
    from mqlab import doctor as own

    lines = own.report()
    _say(*lines)
    raise typer.Exit(own.exit_code(lines))


@broker_app.command()
def start(broker: BrokerOption = "auto") -> None:
    """Start a broker and keep it until `broker stop`."""
    raise typer.Exit(0 if _start_broker(broker, kept=True) else 1)


@broker_app.command()
def status() -> None:
    """Say which broker of this course runs, and where its own pages are."""
    from mqlab import broker

    _say(*broker.status())


@broker_app.command()
def stop(erase: Annotated[bool, typer.Option("--erase", help="Delete what it keeps in Docker, too.")] = False) -> None:
    """Stop the broker of this course, whoever uses it."""
    from mqlab import broker

    try:
        _say(*broker.stop(erase))
    except broker.BrokerError as error:
        _say(error)
        raise typer.Exit(1) from None


def _start_broker(kind: str, kept: bool) -> bool:
    """Start a broker and say which; where none can be had, say why and return False."""
    from mqlab import broker

    try:
        _say(broker.start_shared(kind, _say, kept))
    except broker.BrokerError as error:
        _say(error)
        return False
    return True


@contextlib.contextmanager
def _session() -> Iterator[None]:
    """Let go of what this command made others start, however it ends."""
    try:
        yield
    finally:
        from mqlab import broker

        released = broker.release()
        if released:
            _say(*released)


def run(command: Sequence[str], gently: signal.Signals) -> int:
    """Run a program and return its exit code; told to stop, send it `gently`, then end it and all that it started.

    It has a session of its own, so that a Ctrl-C in the terminal reaches it once, from here.
    """
    import psutil

    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    process = psutil.Popen(
        command, cwd=paths.ROOT, stdin=subprocess.DEVNULL, start_new_session=True, creationflags=flags
    )
    try:
        while True:
            with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
                return int(process.wait(0.5))  # in short waits, for on Windows a long one does not hear Ctrl-C
    except Stopped:
        _say("\nStopping ...")
        with contextlib.suppress(psutil.Error):
            family = [process, *process.children(recursive=True)]
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", gently))  # the first is for Windows
            with contextlib.suppress(Stopped):  # a second Ctrl-C: no more patience
                psutil.wait_procs(family, timeout=GRACE)
            for one in family:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            psutil.wait_procs(family, timeout=3)
        raise


def free_port(wanted: int) -> int:
    """Return the port of this machine that is wanted, or another that is free."""
    for port in (wanted, *range(wanted + 1, min(wanted + 20, 65536)), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Some systems let us bind where another program listens on all addresses: so ask first.
            if port and socket.socket().connect_ex(("127.0.0.1", port)) == 0:
                continue
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("This machine has no free port.")


def _in_front(folder: Path, variable: str) -> str:
    """Return the value of a path variable with a folder put before it."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))


if __name__ == "__main__":
    main()
