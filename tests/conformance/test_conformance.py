"""Every scenario on the embedded broker and on this run's RabbitMQ: the answers are those recorded of RabbitMQ 4.3."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import scenarios  # noqa: F401 - collects them
from world import ANSWERS, SCENARIOS, run_all

from mqlab.broker.node import Node

RECORDED = json.loads(ANSWERS.read_text(encoding="utf-8"))
Played = Callable[[str], list[Any]]


def play(request: pytest.FixtureRequest, node: Node) -> Played:
    """Play at once all the scenarios that this run asks of a broker; a function that gives the transcript of one."""
    old = node.asked_version().startswith("3.")
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if request.fixturename in getattr(item, "fixturenames", ())
    }
    played = run_all([name for name in sorted(asked) if not (old and SCENARIOS[name].absent)], node)

    def transcript(name: str) -> list[Any]:
        heard = played[name]
        if isinstance(heard, BaseException):
            raise heard
        return heard

    return transcript


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest, small_node: Node) -> Played:
    """What the embedded broker answers."""
    return play(request, small_node)


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest, real_node: Node) -> tuple[Played, str]:
    """What RabbitMQ answers, and its version."""
    return play(request, real_node), real_node.asked_version()


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_embedded_broker_answers_as_rabbitmq_4_3(small: Played, name: str) -> None:
    if reason := SCENARIOS[name].ours:
        assert small(name) != RECORDED[name], "it answers the same: no need to excuse it"
        pytest.skip(reason)
    assert small(name) == RECORDED[name]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_rabbitmq_answers_as_recorded(real: tuple[Played, str], name: str) -> None:
    played, version = real
    scenario = SCENARIOS[name]
    if version.startswith("3.") and scenario.absent:
        pytest.skip(scenario.absent)
    if version.startswith("3.") and scenario.differs:
        assert played(name) != RECORDED[name], "RabbitMQ 3.10 answers the same: no need to excuse it"
        pytest.skip(scenario.differs)
    assert played(name) == RECORDED[name]


def test_the_record_is_complete_and_all_of_it_used() -> None:
    assert sorted(RECORDED) == sorted(SCENARIOS)
