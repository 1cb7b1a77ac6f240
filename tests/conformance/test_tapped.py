"""The random programs through a tap: it understands whatever clients do, and counts what the broker counts."""

import os
import time
from dataclasses import replace

import pika
from conservation import conserved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_programs import Player, programs
from world import empty

from mqlab.broker import space
from mqlab.broker.node import Node
from mqlab.state import State
from mqlab.tap import Tap

EXAMPLES = int(os.environ.get("MQLAB_PROGRAMS", "25"))
LIMIT = 3.0  # seconds until the broker's counts are the tap's


def held(state: State) -> dict[str, int | None]:
    """How many messages are ready in each queue of the programs; None where there is no such queue."""
    return {name: len(state.queues[name].ready) if name in state.queues else None for name in "ab"}


def truth(node: Node, vhost: str, told: dict[str, int | None]) -> dict[str, int | None]:
    """The same by the broker's word; of exclusive queues it says nothing, they are taken to be as told."""
    found: dict[str, int | None] = {}
    with pika.BlockingConnection(pika.URLParameters(space.address(node, vhost))) as connection:
        for name in told:
            channel = connection.channel()
            try:
                found[name] = channel.queue_declare(name, passive=True).method.message_count
            except pika.exceptions.ChannelClosedByBroker as error:
                found[name] = None if error.reply_code == 404 else told[name]
    return found


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MQLAB_REQUIRE" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), firehose=st.booleans())
def test_a_tap_understands_any_program(tapped_node: Node, data: st.DataObject, firehose: bool) -> None:
    program = data.draw(programs(tapped_node.asked_version()), "program")
    with empty(tapped_node) as world:
        tap = Tap(space.address(tapped_node, world.vhost), tapped_node, firehose=firehose)
        world.node = replace(tapped_node, port=tap.port)
        try:
            Player(world).play(program)
            end = time.monotonic() + LIMIT
            while (told := held(tap.settle().state())) != (true := truth(tapped_node, world.vhost, told)):
                if time.monotonic() > end:
                    break
            assert told == true
        finally:
            world.close()
            tap.close()
        assert tap.problems == []
        assert all(conserved(state) for state in tap.trace.states(0, len(tap.trace) + 1))
