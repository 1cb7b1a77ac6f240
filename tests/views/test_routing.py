"""The routing playground: what the reader types, what follows from it, what the broker does, and what goes wrong."""

import ast
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mqlab import paths
from mqlab.broker.embedded.routing import words_match, words_of
from mqlab.views import routing

WISHES = {"mail": "*.maths.reply sign-up.#", "push": "#.reply", "statistics": "#", "moderators": "comment.*"}
WORDS = ["comment", "maths", "reply", ""]  # a word may be of no letters


# ---- without a broker


def notebooks_own() -> Callable[[str, str], bool]:
    """Return the function that notebook 07 builds, as it is after its last cell."""
    names: dict[str, Any] = {}
    for cell in json.loads(Path(paths.NOTEBOOKS, "07-exchanges-and-routing.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            body = [node for node in ast.parse("".join(cell["source"])).body if isinstance(node, ast.FunctionDef)]
            kept = [node for node in body if node.name in ("words_match", "topic_matches")]
            exec(ast.unparse(ast.Module(list[ast.stmt](kept), [])), names)
    return names["topic_matches"]  # type: ignore[no-any-return]


topic_matches = notebooks_own()
words = st.lists(st.sampled_from(WORDS), max_size=4).map(".".join)
patterns = (
    st.lists(st.sampled_from([*WORDS, "*", "#"]), min_size=1, max_size=5)
    .filter(lambda parts: parts.count("#") <= 2)  # RabbitMQ 4.3 refuses more
    .map(".".join)
    .filter(bool)
)


@given(patterns, words)
@settings(max_examples=300, deadline=None)
def test_the_notebooks_function_is_the_small_brokers(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) == words_match(words_of(pattern), words_of(key))


def test_texts_become_bindings() -> None:
    texts = {"mail": " comment.# sign-up  comment.#", "push": " "}
    assert routing.bindings_of("topic", texts) == {"mail": (("comment.#", {}), ("sign-up", {})), "push": ()}
    assert routing.bindings_of("fanout", texts) == {"mail": (("", {}),), "push": ()}
    assert routing.bindings_of("headers", {"mail": "x-match=any course=maths", "push": ""}) == {
        "mail": (("", {"x-match": "any", "course": "maths"}),),
        "push": (),
    }


@pytest.mark.parametrize("text", ["urgent", "course=maths urgent", "=yes"])
def test_what_is_no_header_is_said(text: str) -> None:
    with pytest.raises(routing.Problem, match="Write name=value"):
        routing.pairs(text)


@pytest.mark.parametrize(
    ("kind", "texts", "key", "headers", "queues"),
    [
        ("topic", WISHES, "comment.maths.reply", {}, ["mail", "push", "statistics"]),
        ("direct", WISHES, "comment.maths.reply", {}, []),
        ("direct", {"mail": "reply", "push": "Reply"}, "reply", {}, ["mail"]),
        ("fanout", {"mail": "all", "push": ""}, "reply", {}, ["mail"]),
        ("headers", {"mail": "a=1 b=2", "push": "x-match=any a=1 b=2"}, "", {"a": "1"}, ["push"]),
        ("headers", {"mail": "a=1 x-b=2", "push": "x-match=all-with-x a=1 x-b=2"}, "", {"a": "1"}, ["mail"]),
    ],
)
def test_it_is_worked_out(
    kind: str, texts: dict[str, str], key: str, headers: dict[str, str], queues: list[str]
) -> None:
    assert routing.work_out(kind, routing.bindings_of(kind, texts), key, headers) == queues


def test_a_function_of_the_readers_own_neither_hangs_nor_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings = routing.bindings_of("topic", {"mail": "a"})
    assert routing.work_out("topic", bindings, "b", {}, lambda pattern, key: "truthy") == ["mail"]
    with pytest.raises(routing.Problem, match="Your function stopped: ZeroDivisionError"):
        routing.work_out("topic", bindings, "a", {}, lambda pattern, key: 1 / 0)
    monkeypatch.setattr(routing, "PATIENCE", 0.1)
    go_on = threading.Event()
    with pytest.raises(routing.Problem, match="still running after"):
        routing.work_out("topic", bindings, "a", {}, lambda pattern, key: go_on.wait(10))
    go_on.set()


# ---- with one


@given(st.lists(patterns, min_size=4, max_size=6, unique=True), st.lists(words, min_size=5, max_size=9, unique=True))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_notebooks_function_is_the_brokers(rabbit: Any, several: list[str], keys: list[str]) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
        channel.confirm_delivery()
        exchange = rabbit.name("trial")
        channel.exchange_declare(exchange, "topic", durable=True)
        queues = {pattern: channel.queue_declare("", exclusive=True).method.queue for pattern in several}
        for pattern, queue in queues.items():
            channel.queue_bind(queue, exchange, pattern)
        for key in keys:
            channel.basic_publish(exchange, key, key)
        for pattern, queue in queues.items():
            got = []
            while (message := channel.basic_get(queue, auto_ack=True))[0]:
                got.append(message[2].decode())
            assert got == [key for key in keys if topic_matches(pattern, key)], pattern


@pytest.fixture(scope="module")
def tap(rabbit: Any) -> Iterator[Any]:
    tap = rabbit.watch(shared=False)
    yield tap
    tap.close()
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
        for exchange in ("playground", "trial"):
            channel.exchange_delete(rabbit.name(exchange))
        for queue in WISHES:
            channel.queue_delete(rabbit.name(queue))


@pytest.fixture
def play(rabbit: Any, tap: Any) -> Iterator[routing.Playground]:
    """A playground with the bindings of the notebook."""
    view = routing.show(tap, WISHES, key="comment.art.reply", topic=topic_matches, name=rabbit.name)
    yield view
    view.close()


def test_it_says_three_answers(play: routing.Playground) -> None:
    assert repr(play) == "Where does it go? (topic). Nothing is published yet."
    play.expected["push"].value = play.expected["mail"].value = True
    play.button.click()
    assert repr(play) == (
        "Where does it go? (topic). Worked out: push, statistics. RabbitMQ: push, statistics. The same. "
        "You said: mail, push. It also went to statistics. It did not go to mail."
    )
    assert "role='alert'" in play._says.value and "It did not go to mail." in play._says.value
    play.expected["mail"].value, play.expected["statistics"].value = False, True
    play.publish()
    assert repr(play).endswith("You said: push, statistics. Right.")


def test_what_nobody_wants_is_dropped_and_seen_so(play: routing.Playground, tap: Any) -> None:
    play.bindings["statistics"].value, play.key.value = "", "nothing.of.this"
    before = tap.settle().state().ended["dropped"]
    play.publish()
    assert play.answer == routing.Answer("nothing.of.this", [], [], [])
    assert tap.settle().state().ended["dropped"] == before + 1


def test_each_kind_agrees_with_the_broker(play: routing.Playground) -> None:
    for kind, texts, headers in (
        ("direct", {"mail": "a b", "push": "a"}, ""),
        ("fanout", {"mail": "x", "push": ""}, ""),
        ("headers", {"mail": "a=1 b=2", "push": "x-match=any a=1 b=2"}, "a=1"),
        ("headers", {"mail": "x-c=3", "push": "x-match=any-with-x x-c=4"}, "a=1 x-c=4"),
        ("topic", {"mail": "#.a.#", "push": "*.a"}, ""),
    ):
        play.kind.value, play.key.value, play.headers.value = kind, "a", headers
        for queue, field in play.bindings.items():
            field.value = texts.get(queue, "")
        play.publish()
        assert play.answer and play.answer.same, play


def test_a_wrong_function_is_found_out(rabbit: Any, tap: Any) -> None:
    view = routing.show(tap, {"mail": "comment.*"}, key="comment.a.b", topic=str.startswith, name=rabbit.name)
    view._topic = lambda pattern, key: key.startswith("comment.")
    view.publish()
    assert "Worked out: mail. RabbitMQ: no queue. They differ: which of the two is wrong?" in repr(view)
    view.close()


def test_what_the_broker_refuses_is_said_and_the_next_one_works(play: routing.Playground) -> None:
    play.bindings["mail"].value = "#.#.#"
    play.publish()
    assert "two # at most" in play.problem or (play.answer and play.answer.same), "older ones take it"
    play.bindings["mail"].value = "#.reply"
    play.publish()
    assert play.answer and play.answer.arrived == ["mail", "push", "statistics"]
    play.kind.value = "headers"
    assert [field.value for field in play.bindings.values()] == [""] * 4
    play.bindings["mail"].value = "x-match=some a=1"
    play.publish()
    assert "x-match is all, any, all-with-x or any-with-x" in play.problem and play.answer is None
    play.bindings["mail"].value, play.headers.value = "a=1", "a"
    play.publish()
    assert "“a” is no header." in repr(play)
    play.kind.value = "topic"
    assert play.bindings["mail"].value == "#.reply"
    play.key.value = "a" * 256
    play.publish()
    assert "has room for 255 bytes" in play.problem


def test_it_mends_what_somebody_has_taken_away(rabbit: Any, play: routing.Playground) -> None:
    play.publish()
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection, connection.channel() as channel:
        channel.queue_delete(rabbit.name("push"))
    play.publish()
    assert play.answer and play.answer.arrived == ["push", "statistics"]


def test_with_the_tap_or_the_broker_gone_it_says_so_and_does_not_hang(rabbit: Any) -> None:
    own = rabbit.watch(shared=False)
    view = routing.show(own, WISHES, name=rabbit.name)
    own.close()
    began = time.monotonic()
    view.publish()
    assert "No RabbitMQ answers at this address" in repr(view)
    assert time.monotonic() - began < 30
    later = routing.show(own, WISHES, name=rabbit.name)
    assert later.problem, "and it can be shown all the same"
    for each in (view, later):
        each.close()


def test_its_still_picture_is_the_same_each_time(rabbit: Any) -> None:
    pictures = []
    for _ in range(2):
        own = rabbit.watch(shared=False)
        view = routing.show(own, WISHES, key="comment.art.reply", name=rabbit.name)
        view.publish()
        bundle: Any = view._repr_mimebundle_()
        pictures.append(bundle[0]["image/png"])
        assert "application/vnd.jupyter.widget-view+json" in bundle[0]
        view.close()
        own.close()
    assert pictures[0] == pictures[1]
