"""What a notebook's space is called, and what its address carries."""

import os
from pathlib import Path
from types import SimpleNamespace

import IPython
import pika
import pytest

from mqlab import paths
from mqlab.broker import space
from mqlab.broker.node import Node


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MQLAB_SPACE", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


@pytest.mark.parametrize(
    ("notebook", "name"),
    [
        ("notebooks/05-first-message.ipynb", "05-first-message"),
        ("labs/05-first-message.ipynb", "labs-05-first-message"),
        ("solutions/05-first-message.ipynb", "solutions-05-first-message"),
        ("my try/05 copy.ipynb", "my-try-05-copy"),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_in_jupyter_it_is_named_after_the_notebook(
    notebook: str, name: str, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(paths.ROOT / notebook) if absolute else notebook)
    assert space.name() == name


def test_notebooks_elsewhere_with_one_name_have_different_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for folder in ("a", "b"):
        monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / folder / "05.ipynb"))
        names.add(space.name())
    assert len(names) == 2 and all(name.startswith("05-") for name in names)


def test_mqlab_space_goes_before_the_notebooks_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/05.ipynb")
    monkeypatch.setenv("MQLAB_SPACE", "build-05")
    assert space.name() == "build-05"


def test_in_vs_code_it_is_named_after_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = {"__vsc_ipynb_file__": str(paths.NOTEBOOKS / "05-first-message.ipynb")}
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns=namespace))
    assert space.name() == "05-first-message"


def test_outside_of_notebooks_it_is_the_process() -> None:
    assert space.name() == f"python-{os.getpid()}"


def test_names_that_differ_stay_different() -> None:
    texts = ["a b", "課程", "課題", "x" * 80 + "1", "x" * 80 + "2", "Übung", "Ubung"]
    slugs = [space.slug(text) for text in texts]
    assert len(set(slugs)) == len(texts)
    assert all(name.isascii() and len(name) <= 60 for name in slugs)


def test_the_address_keeps_a_program_from_hanging() -> None:
    node = Node("address", "::1", 5671, "ana@school", "p/w:ü", scheme="amqps", query="heartbeat=7")
    parameters = pika.URLParameters(space.address(node, "labs/05 ü"))
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("::1", 5671, "labs/05 ü")
    assert (parameters.credentials.username, parameters.credentials.password) == ("ana@school", "p/w:ü")
    assert parameters.heartbeat == 7, "what a teacher wrote in the address holds"
    assert parameters.blocked_connection_timeout == 20 and parameters.stack_timeout == 10
