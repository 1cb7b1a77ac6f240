"""Watch the broker from a thread, so that no cell waits for one that is frozen or cut off.

A killed broker is seen at once, for the system closes its connections. One that merely stops answering is not: pika
would wait for it until the heartbeat's end. So a connection of our own, with a short heartbeat, is the canary.
"""

import contextlib
import gc
import socket
import threading

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

HEARTBEAT = 2  # seconds; pika takes a broker for dead after 7 to 14 seconds of silence


_current: list["Watch"] = []
_more: set[tuple[str, int]] = set()  # other addresses of the same broker


def off() -> None:
    """Watch no broker any more."""
    while _current:
        _current.pop().stop()


def over(url: str) -> None:
    """Watch the broker at this address from now on, and no other."""
    off()
    _current.append(Watch(url))
    _current[0].start()


def also(host: str, port: int) -> None:
    """When the broker no longer answers, cut the connections to this address too: it leads there."""
    _more.add((host, port))


def no_more(host: str, port: int) -> None:
    """Take back `also`."""
    _more.discard((host, port))


class Watch(threading.Thread):
    """Cut this process's connections to a broker that no longer answers: pika then raises StreamLostError."""

    def __init__(self, url: str) -> None:
        super().__init__(name="mqlab-watch", daemon=True)
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = HEARTBEAT
        self._parameters.stack_timeout = 5
        self._parameters.client_properties = {"connection_name": "MQ Lab watches this broker"}
        self._end = threading.Event()

    def stop(self) -> None:
        """End the watch."""
        self._end.set()

    def run(self) -> None:
        """Watch until told to stop; a broker that comes back is watched again."""
        while not self._end.is_set():
            try:
                connection = pika.BlockingConnection(self._parameters)
            except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ProbableAccessDeniedError):
                pass  # it answers: another broker, or a space that was removed
            except (pika.exceptions.AMQPError, AMQPConnectorException, OSError):
                for host, port in [(self._parameters.host, self._parameters.port), *_more]:
                    cut(host, port)
                self._end.wait(5)
            else:
                # Losing the connection proves little (perhaps this computer slept): connecting again will tell.
                with contextlib.suppress(pika.exceptions.AMQPError), connection:
                    while not self._end.is_set():
                        connection.process_data_events(time_limit=1)
            self._end.wait(1)


def cut(host: str, port: int) -> int:
    """Shut down this process's sockets to the broker; return how many. Their owners see the connection's end."""
    here = {found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    count = 0
    for thing in gc.get_objects():
        # type(), for isinstance() would ask lazy proxies what they are.
        if issubclass(type(thing), socket.socket):
            try:
                if thing.getpeername()[:2] in {(one, port) for one in here}:
                    thing.shutdown(socket.SHUT_RDWR)
                    count += 1
            except (OSError, TypeError):
                continue
    return count
