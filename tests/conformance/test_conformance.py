"""Every scenario on the embedded broker and on this run's RabbitMQ: the answers are those recorded of RabbitMQ 4.3."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenarios  # noqa: F401 - collects them
from alone import Container, Small, on, run_alone
from world import ANSWERS, OTHERWISE, SCENARIOS, run_all, without

from mqlab.broker.node import Node

RECORDED = json.loads(ANSWERS.read_text(encoding="utf-8"))
RETRIES = 2
Played = Callable[[str], list[Any]]
pytestmark = pytest.mark.timeout(1200)  # the first test of a broker waits until all scenarios are played on it


def play(request: pytest.FixtureRequest, node: Node, made: Callable[[Path], Any], folder: Path) -> Played:
    """Play at once all the scenarios that this run asks of a broker, and those that want one to themselves on another,
    which is made in a folder; a function that gives the transcript of one."""
    old = node.asked_version().startswith("3.")
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if request.fixturename in getattr(item, "fixturenames", ())
    }
    names = [name for name in sorted(asked) if not (old and SCENARIOS[name].absent)]
    alone = [name for name in names if SCENARIOS[name].alone]
    played = run_all([name for name in names if name not in alone], node)
    if alone:
        with on(made, folder) as place:
            played |= run_alone(alone, place)

    def transcript(name: str) -> list[Any]:
        heard = played[name]
        otherwise = SCENARIOS[name].ours or (old and SCENARIOS[name].differs)
        for _ in range(RETRIES if SCENARIOS[name].chance and not otherwise else 0):
            if heard == RECORDED[name]:
                break
            heard = run_all([name], node)[name]
        if isinstance(heard, BaseException):
            raise heard
        for told, recorded in SCENARIOS[name].either:
            heard = json.loads(json.dumps(heard).replace(told, recorded))
        return heard

    return transcript


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest, small_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What the embedded broker answers."""
    return play(request, small_node, Small, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def real(
    request: pytest.FixtureRequest, real_node: Node, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Played, str]:
    """What RabbitMQ answers, and its version."""
    return play(request, real_node, Container, tmp_path_factory.mktemp("real")), real_node.asked_version()


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
        if fields := OTHERWISE.get(scenario.differs):
            assert without(played(name), fields) == without(RECORDED[name], fields)
            return
        pytest.skip(scenario.differs)
    assert played(name) == RECORDED[name]


def test_the_record_is_complete_and_all_of_it_used() -> None:
    assert sorted(RECORDED) == sorted(SCENARIOS)
