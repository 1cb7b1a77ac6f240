"""A notebook's own space on a broker: a virtual host of its own, or a prefix where none can be made."""

import contextlib
import getpass
import hashlib
import os
import platform
import re
import sys
import unicodedata
import urllib.error
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pika

from mqlab import paths
from mqlab.broker.node import BrokerError, Node, in_path

# Put into every address, unless the given one says otherwise, so that nothing hangs.
LIMITS = {
    # Between two cells a notebook answers no heartbeat, and RabbitMQ cuts the connection after two or three of them:
    # long enough to read and think. `watch` sees a broker that stops answering much earlier.
    "heartbeat": 1800,
    "blocked_connection_timeout": 20,
    "socket_timeout": 5,
    "stack_timeout": 10,
}


def slug(text: str) -> str:
    """Make a short plain name of any text; different texts get different names as far as they differ in it."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")
    changed = not text.isascii() or len(name) > 50 or not name
    return f"{name[:50]}-{_hash(text)}".strip("-") if changed else name


def name() -> str:
    """Work out the name of this notebook's space; `python-<pid>` outside of any notebook."""
    if os.environ.get("MQLAB_SPACE"):
        return slug(os.environ["MQLAB_SPACE"])
    notebook = os.environ.get("JPY_SESSION_NAME") or _vs_code()
    if not notebook:
        return f"python-{os.getpid()}"
    path = Path(notebook)
    path = path if path.is_absolute() else paths.ROOT / path
    if not path.is_relative_to(paths.ROOT):
        return f"{slug(path.stem)}-{_hash(str(path))}"
    # labs/05-first-message.ipynb must not meet notebooks/05-first-message.ipynb.
    parts = path.relative_to(paths.ROOT).with_suffix("").parts
    return slug("-".join(parts[1:] if parts[0] == "notebooks" else parts))


def open_own(node: Node, space: str) -> tuple[str, str]:
    """Make the space on the broker, empty; return its address, and the prefix of its names ("" on an own vhost).

    Deleting the old virtual host also cuts the connections that an earlier run of the same notebook left open.
    """
    vhost = space if node.kind != "address" else f"mqlab-{_person()}-{space}"
    try:
        with contextlib.suppress(urllib.error.HTTPError):
            node.api("DELETE", f"vhosts/{in_path(vhost)}")
        node.api("PUT", f"vhosts/{in_path(vhost)}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        node.api("PUT", f"permissions/{in_path(vhost)}/{in_path(node.user)}", everything)
    except OSError as problem:
        if node.kind != "address":
            raise BrokerError(
                f"RabbitMQ did not make a virtual host for this notebook ({problem}). "
                "Run `python3 course.py broker stop`, then run this cell again."
            ) from problem
        return address(node, node.vhost), f"mqlab-{_person()}-{space}-"
    return address(node, vhost), ""


def close_own(node: Node, space: str) -> None:
    """Remove a space made by `open_own`, if the broker is still there."""
    with contextlib.suppress(OSError):
        vhost = space if node.kind != "address" else f"mqlab-{_person()}-{space}"
        node.api("DELETE", f"vhosts/{in_path(vhost)}", limit=3)


def address(node: Node, vhost: str) -> str:
    """Return the complete AMQP address, with the limits that keep a program from hanging."""
    query = urlencode(LIMITS | dict(parse_qsl(node.query)))
    host = f"[{node.host}]" if ":" in node.host else node.host
    who = f"{in_path(node.user)}:{in_path(node.password)}"
    return f"{node.scheme}://{who}@{host}:{node.port}/{in_path(vhost)}?{query}"


def forget(url: str, name: str) -> None:
    """Delete the queue and the exchange of that name which an earlier run may have left; none is fine too."""
    for delete in ("queue_delete", "exchange_delete"):
        # A new connection each: a refusal (a connection still open owns the queue) closes the channel. The learner's
        # own declaration then says what is wrong.
        with contextlib.suppress(pika.exceptions.AMQPError), pika.BlockingConnection(pika.URLParameters(url)) as own:
            getattr(own.channel(), delete)(name)


def _person() -> str:
    """Name this course folder of this user on this machine, so that nobody else's space has the same name."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "learner"
    return f"{slug(user)}-{_hash(f'{platform.node()} {paths.ROOT}')}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _vs_code() -> str | None:
    """Return the path of the notebook that VS Code runs, if it does."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return shell.user_ns.get("__vsc_ipynb_file__") if shell else None
