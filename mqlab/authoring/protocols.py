"""Record what notebook 10 hears, for brokers that speak AMQP 0-9-1 alone: `python -m mqlab.authoring.protocols`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from mqlab import broker, paths
from mqlab.authoring import build
from mqlab.broker import protocols

NOTEBOOK = paths.NOTEBOOKS / "10-many-protocols.ipynb"
ALL = ("mqtt5", "stomp", "amqp10", "stream")


def record() -> list[Path]:
    """Run the notebook on the broker that MQLAB_BROKER names, and keep what its steps heard; return the files."""
    spoken = broker.start().protocols()
    if not spoken.speaks(*ALL):
        raise broker.BrokerError(f"Record on a broker that speaks all of it: {spoken.why}.")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as own:
        own.setenv(protocols.RECORD, folder)
        build.execute(nbformat.read(NOTEBOOK, as_version=4), NOTEBOOK.parent, "record-10")
        for file in (protocols.ANSWERS, protocols.FILM):
            shutil.copyfile(Path(folder, file.name), file)
    return [protocols.ANSWERS, protocols.FILM]


if __name__ == "__main__":
    try:
        print("Recorded:", *(path.relative_to(paths.ROOT) for path in record()))
    except (ValueError, broker.BrokerError) as problem:
        sys.exit(str(problem))
