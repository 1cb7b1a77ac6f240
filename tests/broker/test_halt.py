"""A broker of ours that is stopped for a while, as by a click in a picture, and comes back."""

from dataclasses import replace

import pytest
from brokers import Start, node_of, stopped_and_started

from mqlab import broker


@pytest.fixture
def kind(kind: str) -> str:
    """Not the shared container: see test_docker.py for one of its own."""
    if kind == "docker":
        pytest.skip("see test_docker.py")
    return kind


def test_it_comes_back_with_what_is_on_disk(start: Start, kind: str) -> None:
    stopped_and_started(start("halt"))


def test_who_starts_a_halted_broker_gets_it(start: Start, kind: str) -> None:
    start("halt")
    port = node_of(kind).port
    broker.halt(kind)
    start("other")
    assert node_of(kind).port == port
    broker.resume(kind)  # it runs: nothing happens


def test_a_broker_that_is_not_ours_is_left_alone(start: Start, kind: str) -> None:
    rabbit = start("halt")
    tap = replace(rabbit, kind="address").watch()
    try:
        assert not tap.can_stop_broker
        with pytest.raises(broker.BrokerError, match="not one of this course's own"):
            tap.stop_broker()
    finally:
        tap.close()
