"""Frames in words: real ones read as AMQP calls them, broken ones as bytes, and no password ever."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, header

from mqlab import frames
from mqlab.trace import Event


def event(method: Any, properties: Any = None, body: bytes = b"", way: str = ">") -> Event:
    payload = struct.pack(">I", method.index) + method.marshal()
    content = b""
    if properties is not None:
        whole = header.ContentHeader(0, len(body), properties).marshal()
        content = whole
    return Event("frame", way=way, frame=payload, header=content, body=body[:256], connection="Campus", channel=1)


def test_a_message_is_told_with_its_three_parts() -> None:
    properties = commands.Basic.Properties(content_type="text/plain", headers={"n": 1, "of": ["a", "b"]}, priority=3)
    told = event(commands.Basic.Publish(exchange="news", routing_key="course.new"), properties, b"Ana " * 100)
    assert frames.name(told) == "basic.publish"
    assert frames.telling(told) == "news · course.new · + header + body of 400 B"
    found = dict(frames.fields(told))
    assert found["exchange"] == "news"
    assert found["mandatory"] == "no"
    assert found["content-type"] == "text/plain"
    assert found["headers"] == "{n=1, of=[a, b]}"
    assert found["priority"] == "3"
    assert found["body"].startswith("400 bytes, Ana Ana")


def test_names_are_amqp_s_own() -> None:
    methods = {
        commands.Basic.GetOk(1, False, "", "q", 0): "basic.get-ok",
        commands.Connection.StartOk(): "connection.start-ok",
        commands.Queue.DeclareOk("q", 1, 0): "queue.declare-ok",
        commands.Basic.CancelOk("x"): "basic.cancel-ok",
    }
    assert [frames.name(event(method)) for method in methods] == list(methods.values())
    assert frames.telling(event(commands.Basic.Publish(routing_key="q"))) == "(default) · q"
    assert frames.telling(event(commands.Basic.Ack(7, True))) == "delivery-tag 7 · multiple"
    assert frames.telling(event(commands.Channel.Close(404, "NOT_FOUND", 60, 40))) == "reply-code 404 · NOT_FOUND"


def test_no_password_is_told() -> None:
    start = commands.Connection.StartOk({"product": "x"}, "PLAIN", "\0campus\0very-secret", "en_US")
    update = commands.Connection.UpdateSecret("very-secret", "a reason")
    for method in (start, commands.Connection.SecureOk("very-secret"), update):
        payload = struct.pack(">I", method.index) + method.marshal()
        hidden = frames.without_secrets(payload)
        assert b"very-secret" in payload and b"secret" not in hidden
        assert len(hidden) == len(payload)
        told = Event("frame", frame=payload)
        assert "secret" not in str(frames.fields(told)).replace("update-secret", "").replace("new-secret", "")
        assert "*****" in str(frames.fields(told))
        assert frames.name(told) == frames.name(event(method))
    other = event(commands.Queue.Declare(queue="very-secret")).frame
    assert frames.without_secrets(other) == other


@given(st.binary(max_size=80), st.binary(max_size=60), st.binary(max_size=30))
def test_any_bytes_have_words(frame: bytes, content: bytes, body: bytes) -> None:
    told = Event("frame", frame=frame, header=content, body=body)
    assert isinstance(frames.name(told), str)
    assert isinstance(frames.telling(told), str)
    assert all(isinstance(field, str) and isinstance(value, str) for field, value in frames.fields(told))
    assert len(frames.without_secrets(frame)) <= len(frame)


@given(st.sampled_from(frames.HIDDEN), st.binary(max_size=40))
def test_broken_secrets_are_not_told_either(index: int, rest: bytes) -> None:
    hidden = frames.without_secrets(struct.pack(">I", index) + rest)
    assert hidden[:4] == struct.pack(">I", index)
