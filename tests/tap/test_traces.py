"""The same programs give the same trace on every broker, and each of its moments and pictures holds together."""

import json
from collections.abc import Callable

import pytest
from conservation import conserved
from programs import PROGRAMS, STORED, Run, play

from mqlab import broker
from mqlab.trace import load
from mqlab.views import topology

RECORDED = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("rabbit")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_trace_is_as_recorded_on_rabbitmq(
    program: Callable[[Run], None], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("MQLAB_SPACE", f"tap-{program.__name__.replace('_', '-')}")
    tap = broker.start().watch()
    try:
        told = play(program, tap)
        assert tap.problems == []
        assert told == RECORDED[program.__name__]
        trace = tap.trace
        again = load(trace.save(tmp_path / "run.jsonl"))  # type: ignore[operator]
        for moment in range(len(trace) + 1):
            state = trace.state(moment)
            assert conserved(state)
            assert topology.draw(again.state(moment)) == topology.draw(state)
    finally:
        tap.close()
