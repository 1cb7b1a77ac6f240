"""The small broker of this course as a program: `python -m mqlab.broker.embedded --help`."""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from mqlab.broker import owners, private
from mqlab.broker.embedded import management
from mqlab.broker.embedded.journal import Journal, JournalError
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.server import Server
from mqlab.broker.embedded.session import VERSION

PASSWORD = "MQLAB_EMBEDDED_PASSWORD"
MEMORY = 400_000_000  # bytes


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m mqlab.broker.embedded",
        description=f"A small AMQP 0-9-1 broker for learning: it answers as RabbitMQ {VERSION} does, and refuses with "
        "540 what it cannot do. It listens on this machine only, and prints one line when it is ready. Ctrl-C or "
        "SIGTERM ends it. For work that matters, run RabbitMQ.",
    )
    parser.add_argument(
        "--port", type=_port, default=5672, help="where AMQP clients connect (default: 5672; 0: a free one)"
    )
    parser.add_argument("--user", default="guest", help="who may connect (default: guest)")
    parser.add_argument(
        "--password",
        default=os.environ.get(PASSWORD),
        help=f"with which password; other users of this machine can see a command line, so better set {PASSWORD}; "
        "without either one is made, and is in the line that is printed",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep in this folder what is durable: after the broker's end, kill -9 too, every durable queue, exchange "
        "and binding and every confirmed persistent message is there again (default: nothing is kept)",
    )
    parser.add_argument(
        "--memory-limit",
        type=_size,
        metavar="BYTES",
        default=MEMORY,
        help=f"block those who publish while messages take more memory than this (default: {MEMORY})",
    )
    parser.add_argument(
        "--management-port",
        type=_port,
        metavar="PORT",
        help="answer there a little of RabbitMQ's management API: overview, vhosts, permissions (default: nowhere)",
    )
    parser.add_argument(
        "--course",
        type=Path,
        metavar="FOLDER",
        help="what broker.start() uses: choose ports and password, write them to state.json in FOLDER, and end when "
        "none of the processes named in FOLDER/owners lives and the last connection is --idle seconds ago",
    )
    parser.add_argument("--idle", type=float, metavar="SECONDS", default=180, help="see --course (default: 180)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the broker until it is told to end; return the exit code."""
    chosen = options(arguments)
    made = not chosen.password
    if chosen.course:
        chosen.port = chosen.management_port = 0
        chosen.user, chosen.data = private.USER, chosen.course / "data"
        shutil.rmtree(chosen.data, ignore_errors=True)  # broker.start() begins with empty spaces
        made = True
    if made:
        chosen.password = secrets.token_urlsafe(24)
    try:
        asyncio.run(serve(chosen, show_password=made and not chosen.course))
    except (JournalError, OSError) as problem:
        print(f"The broker has ended: {problem}", file=sys.stderr)
        return 1
    return 0


async def serve(chosen: argparse.Namespace, show_password: bool) -> None:
    """Serve until told to end, or until nobody needs it; raises JournalError and OSError."""
    over = _told_to_end()
    async with contextlib.AsyncExitStack() as leaving:  # the last thing opened is the first that is closed
        if chosen.course:
            lock = private.lock(chosen.course, 0)
            leaving.callback(lock.release)
            leaving.callback(private.clear, chosen.course)
        journal = None
        if chosen.data:
            chosen.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal = Journal(chosen.data / "journal.db")
        server = Server(Broker(journal, chosen.memory_limit), chosen.user, chosen.password)
        leaving.callback(_close_journal, server)
        port = await server.start(chosen.port)
        leaving.push_async_callback(server.close)
        if chosen.management_port is not None:
            ask = management.pages(server, chosen.user)
            chosen.management_port = management.start(chosen.management_port, chosen.user, chosen.password, ask)
        kept = f"what is durable is in {chosen.data}" if chosen.data else "it keeps nothing on disk"
        print(
            f"The small broker of this course (it answers as RabbitMQ {VERSION}) is ready at 127.0.0.1:{port} "
            f"for user {chosen.user}; {kept}." + (f" The password: {chosen.password}" if show_password else ""),
            flush=True,
        )
        if chosen.course:
            private.write(chosen.course, _state(chosen, port))
            while await _needed(chosen.course, server, chosen.idle, lock, over):
                await _halt(chosen, port, server, over)
        await over


def _told_to_end() -> "asyncio.Future[None]":
    """Return what is done when a signal asks for the end, and what fails when the journal fails."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(problem: Exception | None = None) -> None:
        if not over.done():
            over.set_exception(problem) if problem else over.set_result(None)

    def trouble(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        problem = context.get("exception")
        end(problem) if isinstance(problem, JournalError) else loop.default_exception_handler(context)

    loop.set_exception_handler(trouble)
    for name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"} & set(dir(signal)):
        signal.signal(getattr(signal, name), lambda *_: loop.call_soon_threadsafe(end))
    return over


def _state(chosen: argparse.Namespace, port: int) -> dict[str, Any]:
    return {
        "keeper": owners.ident(os.getpid()),
        "amqp": port,
        "management": chosen.management_port,
        "password": chosen.password,
        "data": str(chosen.data),
        "version": VERSION,
        "ready": True,
    }


def _close_journal(server: Server) -> None:
    if server.broker.journal is not None:
        server.broker.journal.close()


async def _halt(chosen: argparse.Namespace, port: int, server: Server, over: "asyncio.Future[None]") -> None:
    """Be no broker as long as there is the file `halted`; then go on with what is in the journal."""
    await server.close()
    _close_journal(server)
    server.broker.journal = None
    while (chosen.course / "halted").exists() and not over.done() and owners.living(chosen.course / "owners"):
        await asyncio.wait([over], timeout=0.1)
    server.broker = Broker(Journal(chosen.data / "journal.db"), chosen.memory_limit)
    await server.start(port)


async def _needed(course: Path, server: Server, idle: float, lock: BaseFileLock, over: "asyncio.Future[None]") -> bool:
    """Return True when the broker is to be halted for a while; False when it is to end.

    It ends when told to, or, with the lock held then, when nobody has needed it for `idle` seconds.
    """
    who = course / "owners"
    while not (await asyncio.wait([over], timeout=min(idle, 0.25)))[0]:
        if (course / "halted").exists():
            return True
        if server.idle() >= idle and not owners.living(who):
            with contextlib.suppress(Timeout), lock:
                # Once more, now that nobody can become an owner.
                if not owners.living(who):
                    lock.acquire()  # kept beyond this block
                    over.set_result(None)
    return False


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("it is a number of bytes, 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
