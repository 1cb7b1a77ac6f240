"""The part of RabbitMQ's management API that this course uses: the version, virtual hosts and what is declared in them.

It stands on http.server: 20 ms at the start, where tornado, which JupyterLab brings, takes 100.
"""

import asyncio
import base64
import hmac
import json
import os
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from mqlab.broker.embedded.model import VirtualHost
from mqlab.broker.embedded.queues import Queue
from mqlab.broker.embedded.routing import Exchange
from mqlab.broker.embedded.server import Server
from mqlab.broker.embedded.session import VERSION

PRODUCT = "MQ Lab embedded broker"
LARGEST = 65536  # bytes of a request's body
LIMIT = 10  # seconds for anything here
Answer = tuple[HTTPStatus, object]
Ask = Callable[[str, list[str], object], Answer]


def start(port: int, user: str, password: str, ask: Ask) -> int:
    """Listen on that port of loopback (0: a free one); return the port.

    `ask` is called in the event loop that runs now, with a request's method, the parts of its path behind /api, and
    its JSON.
    """
    loop = asyncio.get_running_loop()
    wanted = base64.b64encode(f"{user}:{password}".encode()).decode()

    async def in_loop(method: str, path: list[str], body: object) -> Answer:
        return ask(method, path, body)

    class Handler(BaseHTTPRequestHandler):
        timeout = LIMIT

        def answer(self) -> None:
            length = self.headers.get("Content-Length") or "0"
            if not length.isdecimal() or int(length) > LARGEST:
                self.reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, refusal("too_large", "The request is too large."))
                return
            text = self.rfile.read(int(length))
            given = self.headers.get("Authorization", "").partition("Basic ")[2].strip()
            if not hmac.compare_digest(given.encode(), wanted.encode()):
                self.reply(HTTPStatus.UNAUTHORIZED, refusal("not_authorized", "The user or the password is wrong."))
                return
            root, *path = [unquote(part) for part in self.path.partition("?")[0].split("/")[1:]]
            if root != "api":
                self.reply(*NOT_HERE)
                return
            try:
                body = json.loads(text or b"null")
            except ValueError:
                self.reply(HTTPStatus.BAD_REQUEST, refusal("not_json", "The request's body is not JSON."))
                return
            self.reply(*asyncio.run_coroutine_threadsafe(in_loop(self.command, path, body), loop).result(LIMIT))

        do_GET = do_PUT = do_DELETE = do_POST = answer

        def reply(self, status: HTTPStatus, body: object) -> None:
            text = b"" if body is None else json.dumps(body, default=str).encode()
            self.send_response(status)
            if status == HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", 'Basic realm="MQ Lab"')
            if body is not None:
                self.send_header("Content-Type", "application/json")
            if status != HTTPStatus.NO_CONTENT:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing in the terminal."""

    # Not HTTPServer: it asks the name service for this machine's name, which takes seconds on some.
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = os.name != "nt"  # there it would let two programs have one port

        def handle_error(self, *_: object) -> None:
            """A client that went away is no event."""

    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, name="management", daemon=True).start()
    return int(server.server_address[1])


def refusal(error: str, reason: str) -> dict[str, str]:
    """Say no as RabbitMQ's management API does."""
    return {"error": error, "reason": reason}


NOT_HERE: Answer = (
    HTTPStatus.NOT_IMPLEMENTED,
    refusal("not_implemented", "The small broker of this course has no such page. RabbitMQ has it."),
)
NOT_FOUND: Answer = (HTTPStatus.NOT_FOUND, refusal("Object Not Found", "Not Found"))
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def declared(kind: str, vhost: VirtualHost) -> list[dict[str, Any]]:
    """Return the exchanges, queues or bindings of a virtual host."""
    if kind == "queues":
        return [spec(queue) | {"exclusive": queue.owner is not None} for queue in vhost.queues.values()]
    if kind == "exchanges":
        return [spec(each) | {"type": each.type, "internal": each.internal} for each in vhost.exchanges.values()]
    return [
        {
            "source": exchange.name,
            "vhost": vhost.name,
            "destination": binding.destination.name,
            "destination_type": binding.destination.kind,
            "routing_key": binding.key,
            "arguments": dict(binding.arguments),
        }
        for exchange in vhost.exchanges.values()
        for binding in exchange.bindings
    ]


def spec(thing: Exchange | Queue) -> dict[str, Any]:
    facts = {"name": thing.name, "durable": thing.durable, "auto_delete": thing.auto_delete}
    return facts | {"arguments": dict(thing.arguments)}


def pages(server: Server, user: str) -> Ask:
    """Return what answers requests about the server's broker, whose only user is `user`."""

    def ask(method: str, path: list[str], body: object) -> Answer:
        broker = server.broker
        match method, path:
            case "GET", ["overview"]:
                return HTTPStatus.OK, {"rabbitmq_version": VERSION, "product_name": PRODUCT}
            case "GET", ["vhosts"]:
                return HTTPStatus.OK, [{"name": name} for name in broker.vhosts]
            case "GET", ["vhosts", name] if name in broker.vhosts:
                return HTTPStatus.OK, {"name": name, "tracing": broker.vhosts[name].tracing}
            case "PUT", ["vhosts", name] if name and only_tracing(body):  # of its settings this one is known
                new = name not in broker.vhosts
                vhost = broker.add_vhost(name)
                if body:
                    vhost.tracing = body["tracing"]  # type: ignore[index]
                return HTTPStatus.CREATED if new else HTTPStatus.NO_CONTENT, None
            case "GET", ["exchanges" | "queues" | "bindings" as kind, name] if name in broker.vhosts:
                return HTTPStatus.OK, declared(kind, broker.vhosts[name])
            case "DELETE", ["vhosts", name]:
                if name not in broker.vhosts:
                    return NOT_FOUND
                broker.delete_vhost(name)
                server.cut(name)
                return HTTPStatus.NO_CONTENT, None
            case "PUT", ["permissions", name, who]:
                if name not in broker.vhosts or who != user:
                    return NOT_FOUND
                # Its one user may do everything: what would take something away is refused, not swallowed.
                return (HTTPStatus.NO_CONTENT, None) if body == EVERYTHING else NOT_HERE
        return NOT_HERE

    def only_tracing(body: object) -> bool:
        return not body or (isinstance(body, dict) and body.keys() == {"tracing"} and isinstance(body["tracing"], bool))

    def committed(method: str, path: list[str], body: object) -> Answer:
        answer = ask(method, path, body)
        server.commit()
        return answer

    return committed
