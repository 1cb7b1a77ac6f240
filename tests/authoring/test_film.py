"""The README's film: what the recording gives, byte for byte, and a recording that any broker gives."""

from pathlib import Path
from typing import Any

import pytest

from mqlab.authoring import film
from mqlab.trace import load


def test_the_film_is_drawn_from_its_recording() -> None:
    assert film.draw() == film.PICTURE.read_text(encoding="utf-8"), "run `python -m mqlab.authoring.film`"
    assert film.PICTURE.stat().st_size < 100_000


@pytest.mark.usefixtures("rabbit")
def test_it_can_be_recorded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQLAB_SPACE", "film")
    recorded = film.record(tmp_path / "again.jsonl")
    stored = load(film.TRACE)
    again = load(tmp_path / "again.jsonl")
    assert again.events == recorded.events[: len(again)], "what follows is the tap's own end"

    def gist(trace: Any) -> list[tuple[str, ...]]:
        return [(e.kind, e.message, e.queue, e.who, e.seen) for e in trace.events if e.kind != "frame"]

    assert sorted(gist(again)) == sorted(gist(stored))
