"""A life of a broker in which each kind of event happens: what the tests of views and words look at."""

from mqlab.state import DEFAULT
from mqlab.trace import Event, Trace

WIRE = {"seen": "wire", "connection": "Campus", "channel": 1}
MAILER = {"seen": "wire", "connection": "mailer", "channel": 1}

LIFE: list[tuple[Event, str]] = [
    (Event("connect", **WIRE | {"channel": 0}), "Campus has connected."),
    (Event("open", **WIRE), "Campus opens channel 1."),
    (Event("exchange", exchange="news", facts={"type": "topic"}, **WIRE), "The topic exchange news is there."),
    (
        Event("declare", queue="mails", facts={"type": "quorum", "limit": 9, "dead_to": [DEFAULT, "failed"]}, **WIRE),
        "The queue mails is there; it holds at most 9.",
    ),
    (Event("declare", queue="failed", facts={"type": "classic"}, **WIRE), "The queue failed is there."),
    (Event("declare", queue="pushes", **WIRE), "The queue pushes is there."),
    (
        Event("bind", exchange="news", queue="mails", key="course.#", **WIRE),
        "mails is bound to news with the key course.#.",
    ),
    (
        Event("bind", exchange="news", queue="pushes", key="*.new", **WIRE),
        "pushes is bound to news with the key *.new.",
    ),
    (
        Event("bind", exchange="news", queue="failed", facts={"match": "x-match=any"}, **WIRE),
        "failed is bound to news for x-match=any.",
    ),
    (
        Event("unbind", exchange="news", queue="failed", facts={"match": "x-match=any"}, **WIRE),
        "failed is no longer bound to news for x-match=any.",
    ),
    (
        Event("confirms", **WIRE),
        "Campus asks the broker to confirm what it publishes on channel 1.",
    ),
    (Event("connect", **MAILER | {"channel": 0}), "mailer has connected."),
    (Event("open", **MAILER), "mailer opens channel 1."),
    (Event("qos", facts={"prefetch": 2}, **MAILER), "mailer wants at most 2 messages unacked at a time."),
    (
        Event("consume", queue="mails", who="mailer", facts={"prefetch": 2}, **MAILER),
        "mailer is ready to take messages from mails, at most 2 at a time.",
    ),
    (
        Event("publish", message="m1", exchange="news", key="course.new", who="Campus", label="Ana", **WIRE),
        "Campus publishes Ana to news with the key course.new.",
    ),
    (
        Event("route", message="m1", exchange="news", queues=("mails", "pushes"), seen="inferred"),
        "news passes Ana on to mails and pushes (worked out, not seen).",
    ),
    (Event("confirm", exchange="news", who="Campus", label="Ana", **WIRE), "The broker confirms Ana of Campus."),
    (Event("deliver", message="m1", queue="mails", who="mailer", **MAILER), "mailer takes Ana from mails."),
    (
        Event("requeue", message="m1", why="mailer refused it", **MAILER),
        "Ana goes back to its old place in mails, because mailer refused it.",
    ),
    (Event("deliver", message="m1", queue="mails", who="mailer", **MAILER), "mailer takes Ana from mails, once more."),
    (Event("ack", message="m1", **MAILER), "mailer is done with Ana."),
    (Event("expire", message="m1/2", seen="inferred"), "Ana has waited too long and expires (worked out, not seen)."),
    (
        Event("publish", message="m2", exchange=DEFAULT, key="mails", who="Campus", label="Ben", **WIRE),
        "Campus publishes Ben to (default) with the key mails.",
    ),
    (
        Event("route", message="m2", exchange=DEFAULT, queues=("mails",), seen="firehose"),
        "(default) passes Ben on to mails (the broker says so).",
    ),
    (Event("deliver", message="m2", queue="mails", who="mailer", **MAILER), "mailer takes Ben from mails."),
    (
        Event("dead-letter", message="m2", why="mailer rejected it", **MAILER),
        "Ben is dead-lettered, because mailer rejected it.",
    ),
    (
        Event("publish", message="m2", exchange=DEFAULT, key="failed", who="mails", label="Ben", seen="inferred"),
        "mails publishes Ben to (default) with the key failed (worked out, not seen).",
    ),
    (
        Event("route", message="m2", exchange=DEFAULT, queues=("failed",), seen="inferred"),
        "(default) passes Ben on to failed (worked out, not seen).",
    ),
    (
        Event("publish", message="m3", exchange="news", key="x", who="Campus", label="Chi", **WIRE),
        "Campus publishes Chi to news with the key x.",
    ),
    (
        Event("return", message="m3", why="no queue takes it", **WIRE),
        "Chi is returned to its producer, because no queue takes it.",
    ),
    (
        Event("publish", message="m4", exchange="news", key="y", who="Campus", label="Dia", **WIRE),
        "Campus publishes Dia to news with the key y.",
    ),
    (
        Event("drop", message="m4", why="no queue takes it", seen="inferred"),
        "Dia is dropped, because no queue takes it (worked out, not seen).",
    ),
    (Event("block", why="low on memory", **WIRE), "The broker takes nothing from Campus for now: low on memory."),
    (Event("unblock", **WIRE), "The broker takes messages from Campus again."),
    (Event("frame", label="basic.qos-ok", **MAILER), "mailer and the broker talk: basic.qos-ok."),
    (Event("trouble", why="The network is slow: 200 ms each way"), "The network is slow: 200 ms each way."),
    (
        Event("cancel", queue="mails", who="mailer", why="the connection was cut", **MAILER),
        "mailer takes no more messages from mails: the connection was cut.",
    ),
    (Event("close", **MAILER), "Channel 1 of mailer is closed."),
    (Event("disconnect", why="cut by a click", **MAILER), "The connection of mailer has ended: cut by a click."),
    (Event("delete", queue="pushes", **WIRE), "The queue pushes is deleted."),
    (Event("produce", queue="desk", who="Olu"), "Olu is ready to put messages into desk."),
    (Event("wait", queue="desk", who="Olu", why="put"), "Olu has to wait: desk is full."),
    (Event("go-on", queue="desk", who="Olu"), "Olu can go on."),
    (Event("publish", message="d1", queue="desk", who="Olu", label="Eve"), "Olu puts Eve into desk."),
    (
        Event("move", message="d1", queue="failed", why="it was worked out wrongly", seen="inferred"),
        "Eve waits in failed, because it was worked out wrongly (worked out, not seen).",
    ),
]


def lived() -> Trace:
    """Return the trace of that life, an event each tenth of a second."""
    return Trace(event._replace(t=n / 10) for n, (event, _) in enumerate(LIFE))
