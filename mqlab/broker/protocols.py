"""What else a broker speaks besides AMQP 0-9-1, where; and what was recorded, for those brokers that do not."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from mqlab import paths
from mqlab.broker.node import BrokerError, Node
from mqlab.trace import Trace, load

if TYPE_CHECKING:
    from mqlab.tap import Tap

ANSWERS = paths.ROOT / "docs" / "traces" / "protocols.json"
FILM = paths.ROOT / "docs" / "traces" / "protocols.jsonl"
RECORD = "MQLAB_RECORD"  # set by mqlab.authoring.protocols: the folder that gets both anew
NAMES = {"mqtt": "MQTT", "mqtt5": "MQTT 5", "stomp": "STOMP", "amqp10": "AMQP 1.0", "stream": "the stream protocol"}
NO_CLIENT = (
    "AMQP 1.0 needs a client that is not part of the course's set-up, for it has to be compiled on most systems: "
    "python-qpid-proton"
)
Step = TypeVar("Step", bound=Callable[..., Any])


@dataclass(frozen=True)
class Door:
    """Where one protocol is spoken, and who we are there; `version` is the protocol's own number."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str = "/"
    version: int = 0


class Protocols:
    """The doors of a broker: `mqtt`, `stomp`, `amqp10` and `stream`, each a Door, or None where it is not spoken.

    `why` says what is not spoken, and why not.
    """

    def __init__(self, mine: str, node: Node | None, url: str, prefix: str = "") -> None:
        self._mine = mine
        self._answers: dict[str, Any] | None = None
        self._told = -1  # the cell that has said that it is recorded
        self.mqtt: Door | None = None
        self.stomp: Door | None = None
        self.amqp10: Door | None = None
        self.stream: Door | None = None
        self.why = ""
        if node is None or node.kind == "address" or prefix:
            self.why = "which other protocols a RabbitMQ speaks whose address was given by hand is not known here"
        elif node.kind == "embedded":
            self.why = "the small broker of this course speaks AMQP 0-9-1 alone"
        else:
            self._open(node, unquote(urlsplit(url).path[1:]))

    def _open(self, node: Node, vhost: str) -> None:
        version = tuple(map(int, re.findall(r"\d+", node.version)[:2]))

        def door(port: int | None, number: int) -> Door | None:
            there = port and _answers(node.host, port)
            return Door(node.host, int(port or 0), node.user, node.password, vhost, number) if there else None

        self.mqtt = door(node.ports.get("mqtt"), 5 if version >= (3, 13) else 4)
        self.stomp = door(node.ports.get("stomp"), 12)
        self.stream = door(node.ports.get("stream"), 1)
        reasons = []
        if silent := [NAMES[name] for name in ("mqtt", "stomp", "stream") if getattr(self, name) is None]:
            reasons.append(f"this RabbitMQ does not answer where it should speak {' and '.join(silent)}")
        if self.mqtt and self.mqtt.version < 5:
            reasons.append(f"RabbitMQ {node.version} is too old for MQTT 5, which came with 3.13")
        if version < (4, 0):
            reasons.append(f"RabbitMQ {node.version} is too old for AMQP 1.0 of today, which came with 4.0")
        elif importlib.util.find_spec("proton") is None:
            reasons.append(NO_CLIENT)
        else:
            self.amqp10 = door(node.port, 10)
        self.why = "; ".join(reasons)

    def speaks(self, *names: str) -> bool:
        """Tell whether all of these are spoken here: mqtt, mqtt5, stomp, amqp10, stream."""
        for name in names:
            if name not in NAMES:
                raise BrokerError(f"There is no protocol {name!r} here. There is {', '.join(NAMES)}.")
        doors = [self.mqtt if name == "mqtt5" else getattr(self, name) for name in names]
        return all(doors) and not ("mqtt5" in names and self.mqtt and self.mqtt.version < 5)

    def needs(self, *names: str) -> Callable[[Step], Step]:
        """Make a step that is done where these protocols are spoken, and answered from a record elsewhere.

        The step returns what JSON can hold. In both cases it comes as JSON brings it back: a tuple as a list.
        """
        live = self.speaks(*names)

        def decorate(step: Step) -> Step:
            @functools.wraps(step)
            def call(*values: Any, **more: Any) -> Any:
                return self._heard(step.__name__, values, more, step(*values, **more))

            @functools.wraps(step)
            async def call_later(*values: Any, **more: Any) -> Any:
                return self._heard(step.__name__, values, more, await step(*values, **more))

            @functools.wraps(step)
            def look_up(*values: Any, **more: Any) -> Any:
                return self._recorded(step.__name__, values, more)

            @functools.wraps(step)
            async def look_up_later(*values: Any, **more: Any) -> Any:
                return self._recorded(step.__name__, values, more)

            if inspect.iscoroutinefunction(step):
                return call_later if live else look_up_later  # type: ignore[return-value]
            return call if live else look_up  # type: ignore[return-value]

        return decorate

    def film(self, tap: Tap) -> Tap | Trace:
        """Return the tap, where MQTT and STOMP are spoken; else the trace that was recorded of the same."""
        if self.mqtt is None or self.stomp is None:
            return load(FILM)
        if RECORD in os.environ:
            tap.settle().save(Path(os.environ[RECORD], FILM.name))
        return tap

    def _heard(self, name: str, values: tuple[Any, ...], more: dict[str, Any], answer: Any) -> Any:
        try:
            text = json.dumps(answer)
        except (TypeError, ValueError) as problem:
            raise BrokerError(f"{name}() must return what JSON can hold, to be recorded: {problem}.") from None
        if RECORD in os.environ:
            file = Path(os.environ[RECORD], ANSWERS.name)
            known: dict[str, Any] = {"on": self._mine, "answers": {}}
            known |= json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            known["answers"][_key(name, values, more)] = answer
            file.write_text(json.dumps(known, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
        return json.loads(text)

    def _recorded(self, name: str, values: tuple[Any, ...], more: dict[str, Any]) -> Any:
        record = self._record()
        key = _key(name, values, more)
        if key not in record["answers"]:
            raise BrokerError(f"{key} was not recorded, and cannot be done here: {self.why}.")
        if _cell() != self._told or _cell() == 0:
            self._told = _cell()
            print(f"({self.recorded})")
        return json.loads(json.dumps(record["answers"][key]))

    @property
    def recorded(self) -> str:
        """Say where the record was made."""
        return f"recorded on {self._record()['on']}"

    def _record(self) -> dict[str, Any]:
        if self._answers is None:
            self._answers = dict(json.loads(ANSWERS.read_text(encoding="utf-8")))
        return self._answers

    def __repr__(self) -> str:
        spoken = [NAMES[name] for name in ("mqtt", "stomp", "amqp10", "stream") if getattr(self, name)]
        if spoken and self.mqtt:
            spoken[0] = f"MQTT {'5' if self.mqtt.version == 5 else '3.1.1'}"
        listed = ", ".join(["AMQP 0-9-1", *spoken])
        if not self.why:
            return f"Spoken here, live: {listed}."
        replayed = f"What needs more is replayed, as it was {self.recorded}"
        return f"Spoken here, live: {listed}. {replayed}: {self.why}."


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _key(name: str, values: tuple[Any, ...], more: dict[str, Any]) -> str:
    told = [*map(repr, values), *(f"{key}={value!r}" for key, value in more.items())]
    return f"{name}({', '.join(told)})"


def _cell() -> int:
    """Return the number of the notebook's cell that runs; 0 outside of any."""
    if "IPython" not in sys.modules:
        return 0
    shell = sys.modules["IPython"].get_ipython()
    return int(shell.execution_count) if shell else 0
