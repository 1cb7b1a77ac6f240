"""The bench of the ZeroMQ checks: whatever an answer does, the stage ends, and says what was wrong."""

import threading
import time
from typing import Any

import pytest
import zmq

from mqlab.exercises import NotYet
from mqlab.exercises import zmq_bench as bench


def alive() -> set[threading.Thread]:
    return set(threading.enumerate())


def blocks(context: Any) -> None:
    context.socket(zmq.PULL).recv()


def polls(context: Any) -> None:
    context.socket(zmq.PULL).poll()


def swallows(context: Any) -> None:
    puller = context.socket(zmq.PULL)
    while True:
        try:
            puller.recv()
        except BaseException:
            continue


def term_hangs(context: Any) -> None:
    context.socket(zmq.PULL)
    context.term()


def lingers_for_nobody(context: Any) -> None:
    pusher = context.socket(zmq.PUSH)
    pusher.connect("tcp://127.0.0.1:1")
    pusher.send(b"certificate")
    pusher.close()
    context.term()


@pytest.mark.parametrize("answer", [blocks, polls, swallows, term_hangs])
def test_an_answer_that_never_ends_is_asked_and_nothing_is_left(answer: Any) -> None:
    before, begun = alive(), time.monotonic()
    with pytest.raises(NotYet, match="What does it wait for"), bench.stage() as stage:
        stage.lend(answer, "What does it wait for?", 0.3)
    assert time.monotonic() - begun < 3
    assert alive() <= before
    assert stage.context.closed and stage.lent.closed


def test_a_socket_that_lingers_for_nobody_is_given_up() -> None:
    with bench.stage() as stage, pytest.raises(NotYet):
        stage.lend(lingers_for_nobody, "What does it wait for?", 0.3)
    assert stage.lent.closed


def test_open_sockets_are_seen_even_when_nobody_holds_them() -> None:
    with bench.stage() as stage:
        stage.lend(lambda context: [context.socket(zmq.PULL), context.socket(zmq.PULL), context.socket(zmq.PUB)], "?")
        with pytest.raises(NotYet, match="2 PULL sockets and a PUB socket open"):
            stage.expect_tidy()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("work", [blocks, swallows, term_hangs])
def test_threads_of_an_answer_are_seen_and_ended(work: Any) -> None:
    before = alive()
    with bench.stage() as stage:
        stage.lend(lambda context: threading.Thread(target=work, args=(context,), daemon=True).start(), "?")
        assert len(stage.threads_left()) == 1
    assert alive() <= before


def test_what_zeromq_refuses_becomes_a_question() -> None:
    def twice(context: Any) -> None:
        asker = context.socket(zmq.REQ)
        asker.connect("tcp://127.0.0.1:1")
        asker.send(b"one")
        asker.send(b"two")

    with bench.stage() as stage:
        _, address = stage.bind(zmq.PULL)
        for answer, question in (
            (twice, "In which order"),
            (lambda context: context.socket(zmq.PULL).bind(address), "Which side binds"),
            (lambda context: context.socket(zmq.PULL).connect("here"), "Is it an address"),
            (lambda context: context.socket(zmq.PUSH).recv(), "some only send"),
            (lambda context: context.socket(zmq.PULL).recv(zmq.NOBLOCK), "when nothing comes"),
        ):
            with pytest.raises(NotYet, match=question):
                stage.lend(answer, "?")


def test_a_free_address_is_held_until_it_is_bound() -> None:
    with bench.stage() as stage:
        address = stage.free()

        def send(context: Any) -> None:
            with context.socket(zmq.PUSH) as pusher:
                pusher.connect(address)
                pusher.send_multipart([b"certificate", b"Amina"])

        stage.lend(send, "?")
        stage.expect_tidy()
        sink, where = stage.bind(zmq.PULL, at=address)
        assert where == address
        assert bench.take(sink, 1) == [[b"certificate", b"Amina"]]
        assert bench.rest(sink, 10) == []


def test_a_player_that_waits_in_vain_gives_up() -> None:
    with bench.stage() as stage:
        puller = stage.socket(zmq.PULL, rcvtimeo=50)
        player = stage.play(puller.recv)
        assert player.result() is None
        assert isinstance(player.error, zmq.Again)
