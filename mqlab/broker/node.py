"""A running broker: where it listens, who we are there, and its management API."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

# The broker is on this machine or in the class room: a proxy for the web is never on the way to it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BrokerError(RuntimeError):
    """What is wrong with the broker, in plain words, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentence alone."""
        return [f"BrokerError: {self}"]


class Unavailable(BrokerError):
    """This kind of broker cannot be had here: under `auto` the next kind is tried."""


@dataclass(frozen=True)
class Node:
    """A broker that answers; `vhost` and `query` are those of an address given by hand."""

    kind: str  # docker, local, embedded or address
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    management: str = ""  # http://host:port of the management API
    version: str = "?"
    why: str = ""
    note: str = ""  # what else the learner should know, after why
    scheme: str = "amqp"
    vhost: str = "/"
    query: str = field(default="", repr=False)
    ports: dict[str, int] = field(default_factory=dict, compare=False)  # of mqtt, stomp and stream, if known

    @property
    def place(self) -> str:
        """Say what it is and where."""
        if self.kind == "embedded":
            return f"The small broker of this course, for learning (it answers as RabbitMQ {self.version})"
        places = {"docker": "in Docker", "local": "installed on this machine"}
        return f"RabbitMQ {self.version} {places.get(self.kind, f'at {self.host}:{self.port}')}"

    def __str__(self) -> str:
        """Say which broker it is and why, in one line without a password."""
        return f"{self.place}, because {self.why}{self.note}."

    def api(self, method: str, path: str, body: object = None, limit: float = 10) -> Any:
        """Call the management API; the answer is decoded JSON, or None.

        `limit` is in seconds. Raises urllib.error.HTTPError when refused, another OSError when there is no answer.
        """
        request = urllib.request.Request(
            f"{self.management}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode(),
            },
        )
        try:
            with _OPENER.open(request, timeout=limit) as answer:
                text = answer.read()
            return json.loads(text) if text else None
        except (http.client.HTTPException, ValueError) as problem:
            raise OSError(f"what answers at {self.management} is no RabbitMQ: {problem!r}") from problem

    def asked_version(self, limit: float = 10) -> str:
        """Ask the management API for RabbitMQ's version; raises as `api` does."""
        return str(self.api("GET", "overview", limit=limit)["rabbitmq_version"])


def in_path(text: str) -> str:
    """Quote a name for a URL's path; the slash too."""
    return quote(text, safe="")
