"""Settings of pytest: notebooks under nbval strict, each with a space and a progress file of its own."""

import functools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell
from xdist.scheduler import LoadFileScheduling

from mqlab.exercises.strict import execute_with_history

BROWSER = "tests/browser/"  # how the names of tests begin that open one
ROOT = Path(__file__).parent
REQUIRED = os.environ.get("MQLAB_REQUIRE") == "1"
_temporary = tempfile.TemporaryDirectory(prefix="mqlab-tests-", ignore_cleanup_errors=True)


class _OneBrowser(LoadFileScheduling):
    """A worker gets whole files, one of them all files that open a browser: two browsers slow each other down."""

    def _split_scope(self, nodeid: str) -> str:
        return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Take the place of `--dist loadfile`."""
    return _OneBrowser(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the browser, which takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))


def pytest_configure(config: pytest.Config) -> None:
    """Set nbval as the notebooks need it, and keep the learner's own progress out of the tests."""
    config.option.nbval_sanitize_with = str(ROOT / "tests" / "nbval.cfg")
    config.option.nbval_current_env = True
    config.option.nbval_cell_timeout = min(config.option.nbval_cell_timeout, 60)
    execute_with_history()
    os.environ["MQLAB_PROGRESS"] = str(Path(_temporary.name, "progress.json"))
    os.environ.setdefault("MQLAB_OWNER", str(os.getpid()))  # a private broker is shared by the whole test run


def pytest_unconfigure() -> None:
    if os.environ["MQLAB_OWNER"] == str(os.getpid()):  # not under course.py, nor in a worker
        from mqlab import broker

        broker.release()
    _temporary.cleanup()


@functools.cache
def _started() -> Any:
    """Return the broker of this test process, or the error that says why there is none."""
    from mqlab import broker

    with pytest.MonkeyPatch.context() as own:
        own.setenv("MQLAB_SPACE", f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
        try:
            return broker.start()
        except broker.BrokerError as error:
            return error


def _broker_or_skip() -> Any:
    started = _started()
    if isinstance(started, Exception):
        if REQUIRED:
            raise started
        pytest.skip(f"no broker: {started}")
    return started


@pytest.fixture(scope="session")
def rabbit() -> Any:
    """The broker of this test process; the test is skipped where none can be had."""
    return _broker_or_skip()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[Any]:
    """Give a notebook's kernel, which starts with its first cell, a space and a progress file of its own."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    if any("broker.start(" in cell.source for cell in item.parent.nb.cells if cell.cell_type == "code"):
        _broker_or_skip()
    name = f"test-{item.path.parent.name}-{item.path.stem}"
    with pytest.MonkeyPatch.context() as own:
        own.setenv("MQLAB_SPACE", name)
        own.setenv("MQLAB_PROGRESS", str(Path(_temporary.name, name, "progress.json")))
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[Any]:
    """Refuse cells that were never run (nbval does not compare them); ease the ones meant for RabbitMQ 4.3."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    if item.cell.execution_count is None:
        item.raise_cell_error(f"This cell was never run. Run `python3 course.py build {item.path.stem}`.")
    if "rabbitmq-4.3" in item.cell.metadata.get("tags", []) and getattr(item.parent, "broker_version", (4, 3)) < (4, 3):
        item.options |= {"check": False, "check_exception": True}
    result = yield
    printed = "".join(output.get("text", "") for output in item.test_outputs)
    if met := re.search(r"RabbitMQ (\d+)\.(\d+).*our space on it", printed):
        item.parent.broker_version = (int(met[1]), int(met[2]))
    return result
