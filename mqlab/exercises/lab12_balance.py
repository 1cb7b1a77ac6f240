"""Lab 12, the load balancer: a play of workers and clients, with the answer between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import zmq

from mqlab.exercises import zmq_bench as bench
from mqlab.exercises.guard import Overtime, limit
from mqlab.exercises.outcome import NotYet

SECONDS = 3.0  # for the answer, and as long as the play waits
WAIT = 1_500  # milliseconds that the play waits for a message that must come
_numbers = count(1)


class Done(Exception):
    """Ends a part of the play."""


class Play:
    """Workers and clients in a thread of their own, who speak to a balancer, one line at a time."""

    def __init__(self, own: zmq.Context[Any], front: str, back: str) -> None:
        self.question = ""
        self.answered = 0
        self.over = threading.Event()  # the balancer has left
        self._ending = threading.Thread(target=own.term, daemon=True)
        self._own, self._front, self._back = own, front, back
        self._sockets: dict[str, zmq.Socket[Any]] = {}

    def act(self) -> None:
        try:
            self._play()
            if not self.over.wait(0.7):
                raise Done(
                    "All four answers were passed on, and your function was still running. How does it count them?"
                )
        except Done as question:
            self.question = str(question)
        except zmq.ZMQError:  # the check is over
            pass
        finally:
            for socket in self._sockets.values():
                socket.close(linger=0)
            if self.question:  # whoever waits on the other sockets need not wait for the limit
                self._ending.start()

    def close(self) -> None:
        """Wait for the context's end, if this has ended it; its other sockets are closed."""
        if self._ending.ident:
            self._ending.join(5)

    def _says(self, who: str, *words: bytes) -> None:
        self._sockets[who].send_multipart([b"", *words])

    def _enters(self, who: str, address: str) -> None:
        socket = self._sockets[who] = self._own.socket(zmq.DEALER)  # sees what a REQ would throw away
        socket.identity = who.encode()
        socket.connect(address)

    def _next(self, expected: str, who: list[str], story: str) -> list[bytes]:
        """Wait until one of them hears something; end the play with a question when it is another one, or nobody."""
        poller = zmq.Poller()
        for each in who:
            poller.register(self._sockets[each], zmq.POLLIN)
        until = time.monotonic() + WAIT / 1000
        while not (heard := dict(poller.poll(50))) and time.monotonic() < until:
            if self.over.is_set() and not poller.poll(0):
                raise Done
        if not heard:
            raise Done(f"{story}, and nothing happened any more. {self._why_nothing(expected)}")
        for each in who:
            if self._sockets[each] in heard and each != expected:
                raise Done(self._why_other(each, story))
        return self._sockets[expected].recv_multipart()

    def _why_nothing(self, expected: str) -> str:
        if expected in ("Ada", "Bo"):
            return f"{expected} has asked for work, and a request is there. Who gives it to {expected}?"
        return f"{expected} waits for the answer. Which parts of it tell ROUTER whom it is for?"

    def _why_other(self, who: str, story: str) -> str:
        if who in ("Ada", "Bo"):
            return f"{story}, and {who}, who is busy, was given one more request. When does a worker leave the line?"
        return f"{story}, and {who} got an answer to nothing. To whom do you pass on what a worker says?"

    def _work(self, worker: str, others: list[str], story: str) -> tuple[list[bytes], str]:
        """Let a worker get a request; return its envelope and whose request it is."""
        letter = self._next(worker, [worker, *others], story)
        if len(letter) != 4 or letter[0] or letter[2]:
            raise Done(
                f"{worker} got {_parts(letter)}. A REQ socket cannot read that: it wants an empty part first, then the "
                "client's name, an empty part, and the request. What does your letter to a worker begin with?"
            )
        return letter[1:3], letter[1].decode()

    def _answer(self, worker: str, envelope: list[bytes], client: str) -> None:
        """Let a worker answer, and its client get that."""
        self._says(worker, *envelope, b"certificate for " + client.encode())
        others = [who for who in self._sockets if who[0] in "cC"]
        letter = self._next(client, others, f"{worker} had answered {client}")
        if letter != [b"", b"certificate for " + client.encode()]:
            raise Done(
                f"{client} got {_parts(letter)}. A REQ socket wants an empty part, then the answer. What is missing?"
            )
        self.answered += 1

    def _play(self) -> None:
        for client in ("Client 1", "Client 2", "Client 3", "Client 4"):
            self._enters(client, self._front)
        self._enters("Ada", self._back)
        self._says("Ada", b"READY")
        for client in ("Client 1", "Client 2", "Client 3"):
            self._says(client, b"Please")
        first, whose = self._work("Ada", [], "Ada was ready, and three requests had come")
        self._enters("Bo", self._back)
        self._says("Bo", b"READY")
        second, other = self._work("Bo", ["Ada"], "Ada was busy, Bo was ready, and requests were waiting")
        self._answer("Ada", first, whose)
        third, last = self._work("Ada", ["Bo"], "Ada had answered, Bo was busy, and a request was waiting")
        self._says("Client 4", b"Please")
        self._answer("Bo", second, other)
        fourth, newest = self._work("Bo", ["Ada"], "Bo had answered, Ada was busy, and a request had come")
        self._answer("Ada", third, last)
        self._answer("Bo", fourth, newest)


def check_balance(_: Any, balance: Callable[..., object]) -> str:
    """Play two workers and four clients, and see who gets what while the answer stands between them."""
    with bench.stage() as stage:
        own = stage.lent
        front, back = own.socket(zmq.ROUTER), own.socket(zmq.ROUTER)
        addresses = [f"inproc://lab-12-balance-{next(_numbers)}" for _ in range(2)]
        front.bind(addresses[0])
        back.bind(addresses[1])
        play = Play(own, *addresses)
        player = stage.play(play.act)
        stuck, refused = False, ""
        try:
            with limit(SECONDS + WAIT / 1000):
                balance(front, back, 4)
        except Overtime:
            stuck = True
        except zmq.ZMQError as error:
            refused = str(error)
        finally:
            play.over.set()
            player.join(10)
            front.close(linger=0)
            back.close(linger=0)
            play.close()
    if play.question and (stuck or refused or play.answered):
        raise NotYet(play.question)
    if refused:
        raise NotYet(f"A socket refused: {refused}. Whose turn was it, and what did you give it?")
    if stuck:
        raise NotYet("All four answers were passed on, and your function was still running. How does it count them?")
    if play.answered < 4:
        raise NotYet(
            f"Your function came back when {play.answered} of 4 answers had been passed on. What do you count: is "
            "READY "
            "an answer, or a request?"
        )
    return "Four answers, two workers, and whoever was busy was left in peace."


def _parts(letter: list[bytes]) -> str:
    return f"{len(letter)} part{'' if len(letter) == 1 else 's'} {letter}"
