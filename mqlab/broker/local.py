"""An installed rabbitmq-server, run as a private node: own ports, own data, loopback only, ended with its owners."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mqlab import paths
from mqlab.broker import private
from mqlab.broker.node import Node, Unavailable
from mqlab.broker.private import USER


def folder() -> Path:
    """Return where the private node's state lies."""
    return paths.home() / "broker" / "local"


def find() -> Path | None:
    """Find the real start script of an installed RabbitMQ."""
    script = "rabbitmq-server.bat" if os.name == "nt" else "rabbitmq-server"
    # Debian's /usr/sbin/rabbitmq-server changes the user and leaves its child behind: the real one is asked first.
    places = [Path("/usr/lib/rabbitmq/bin")]
    places += [Path(prefix, "sbin") for prefix in ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")]
    for programs in filter(None, (os.environ.get("PROGRAMFILES"), os.environ.get("PROGRAMW6432"))):
        places += sorted(Path(programs, "RabbitMQ Server").glob("rabbitmq_server-*/sbin"), reverse=True)
    on_path = shutil.which(script)
    candidates = [place / script for place in places] + ([Path(on_path)] if on_path else [])
    return next((path for path in candidates if path.is_file()), None)


def running() -> Node | None:
    """Return the private node if it answers."""
    return private.running(folder(), "local")


def start(say: Callable[[str], None], kept: bool = False) -> Node:
    """Return the private node, started if need be; this process becomes an owner of it."""
    script = find()
    if script is None:
        raise Unavailable("rabbitmq-server is not installed")
    place = folder()

    def launch() -> Node:
        say("Starting RabbitMQ on this machine ...")
        what = f"The RabbitMQ installed on this machine ({script})"
        return private.launch(place, "local", what, ["mqlab.broker.keeper", str(place), str(script)])

    return private.start(place, "local", kept, launch)


def stop() -> bool:
    """End the private node whoever uses it; tell whether there was one."""
    return private.stop(folder())


def release() -> bool:
    """Let go of the node for this session; tell whether that ended it."""
    return private.release(folder())


def data_folder(place: Path) -> Path:
    """Make the empty folder for a node's data."""
    if str(place).isascii():
        data = place / "node"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        return data
    # RabbitMQ's management plugin makes bytes of its log's path and fails on letters beyond Latin-1.
    return Path(tempfile.mkdtemp(prefix="mqlab-node-"))


def settings(data: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a node's configuration into `data`; return what a client must know, and the node's environment."""
    amqp, management, distribution, mqtt, stomp, stream = private.free_ports(6)
    password = secrets.token_urlsafe(24)
    # The other protocols cost next to no time and memory, and no tool of RabbitMQ reaches this node to add them later.
    plugins = "[rabbitmq_management, rabbitmq_mqtt, rabbitmq_stomp, rabbitmq_stream].\n"
    (data / "enabled_plugins").write_text(plugins, encoding="utf-8")
    configuration = data / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"""listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}
stomp.listeners.tcp.1 = 127.0.0.1:{stomp}
stream.listeners.tcp.1 = 127.0.0.1:{stream}
stream.advertised_host = 127.0.0.1
stream.advertised_port = {stream}
default_user = {USER}
default_pass = {password}
""",
        encoding="utf-8",
    )
    name = f"mqlab{amqp}@localhost"
    # The node does not listen for other Erlang nodes (-dist_listen false), so it needs no epmd, the port mapper that
    # would outlive it. An Erlang too old for that flag takes the fixed port, on loopback. Two schedulers are enough.
    flags = (
        f"-sname {name} -dist_listen false -start_epmd false -erl_epmd_port {distribution} "
        "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
    environment |= {
        "HOME": str(data),  # Erlang makes its cookie there
        "RABBITMQ_BASE": str(data),
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(data / "data"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_PID_FILE": str(data / "pid"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(data / "none"),  # the machine's own settings do not hold here
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": flags,
    }
    if os.name == "nt":  # where Erlang looks for HOME there
        environment |= {"USERPROFILE": str(data), "HOMEDRIVE": data.drive, "HOMEPATH": str(data)[len(data.drive) :]}
    protocols = {"mqtt": mqtt, "stomp": stomp, "stream": stream}
    state = {"amqp": amqp, "management": management, "protocols": protocols, "password": password, "data": str(data)}
    return state, environment
