"""The embedded broker without sockets: routing, queues, dead letters, time, and what the journal gives back."""

import itertools
from collections import deque

import pytest

from mqlab.broker.embedded.arguments import Arguments
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.journal import Journal
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.properties import facts, join, long, short, split
from mqlab.broker.embedded.queues import Entry, Message, put_back
from mqlab.broker.embedded.routing import Binding, headers, topic


class Clock:
    """Time that moves when a test says so."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


class Taking:
    """The channel of a consumer that is never late."""

    delivery_tag = 0


class Taker:
    """A consumer that keeps what it gets, and takes `most` at a time."""

    def __init__(self, queue, most=1_000, priority=0):
        self.queue, self.most, self.priority = queue, most, priority
        self.no_ack = self.exclusive = self.gone = self.blocked = False
        self.late, self.timeout, self.channel, self.tag = set(), None, Taking(), "c"
        self.entries = []

    def can_take(self):
        return len(self.entries) < self.most

    def take(self, entry):
        self.entries.append(entry)

    def cancelled(self):
        self.gone = True

    @property
    def unacked(self):
        return len(self.entries)

    @property
    def bodies(self):
        return [entry.message.body.decode() for entry in self.entries]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def broker(clock):
    return Broker(clock=clock)


@pytest.fixture
def vhost(broker):
    return broker.vhosts["/"]


def declare(vhost, name, **arguments):
    """A durable queue; `x_message_ttl=5` is the argument x-message-ttl."""
    values = {name.replace("_", "-"): value for name, value in arguments.items()}
    return vhost.declare_queue(name, True, False, False, Arguments(values), None)


def publish(vhost, *bodies, exchange="", key="q", **properties):
    """Publishes through the exchange; whether each message was accepted by all its queues."""
    raw = join({name: value if isinstance(value, bytes) else short(str(value)) for name, value in properties.items()})
    known = facts(raw)
    accepted = []
    for body in bodies:
        message = Message(short(exchange) + short(key), known.raw, body.encode(), known)
        accepted.append(all([queue.put(message) for queue in vhost.route(exchange, key, known)]))
    return accepted


def waiting(queue):
    return [entry.message.body.decode() for entry in queue.ready]


# Routing.


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("courses.*.started", "courses.python.started", True),
        ("courses.*.started", "courses.python.week1.started", False),
        ("courses.#", "courses", True),
        ("courses.#", "courses.python.started", True),
        ("#", "", True),
        ("#", "a.b", True),
        ("*", "", False),
        ("", "", True),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.x.y", False),
        ("#.b.#.d", "b.c.b.d", True),
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
    ],
)
def test_a_topic_fits_word_by_word(pattern, key, fits):
    assert topic(Binding(None, None, pattern, {}), key, {}) is fits


@pytest.mark.parametrize(
    ("wanted", "sent", "fits"),
    [
        ({"kind": "new", "course": 5}, {"kind": "new", "course": 5, "more": 1}, True),
        ({"kind": "new", "course": 5}, {"kind": "new"}, False),
        ({"x-match": "any", "kind": "new", "course": 5}, {"kind": "new"}, True),
        ({"x-match": "any"}, {}, False),
        ({}, {}, True),
        ({"course": None}, {"course": 7}, True),
        ({"course": 1}, {"course": True}, False),
        ({"x-more": 1}, {}, True),
        ({"x-match": "all-with-x", "x-more": 1}, {}, False),
    ],
)
def test_headers_fit_all_or_any(wanted, sent, fits):
    assert headers(Binding(None, None, "", wanted), "", sent) is fits


def test_a_message_goes_once_to_each_queue_however_many_ways_lead_there(vhost):
    queue = declare(vhost, "q")
    args = Arguments()
    for name in ("in", "left", "right"):
        vhost.declare_exchange(name, "fanout", True, False, False, args)
    for source, to in (("in", "left"), ("in", "right"), ("left", "in")):
        vhost.bind(source, vhost.exchanges[to], "", args)
    for source in ("left", "right"):
        vhost.bind(source, queue, "", args)
    publish(vhost, "once", exchange="in")
    assert waiting(queue) == ["once"]


def test_what_nobody_wants_goes_to_the_alternate_exchange(vhost):
    lost = declare(vhost, "lost")
    vhost.declare_exchange("rest", "fanout", True, False, False, Arguments())
    args = Arguments({"alternate-exchange": "rest"})
    vhost.declare_exchange("events", "direct", True, False, False, args)
    vhost.bind("rest", lost, "", Arguments())
    publish(vhost, "unknown", exchange="events", key="nobody")
    assert waiting(lost) == ["unknown"]


def test_remembered_ways_are_forgotten_when_bindings_change(vhost):
    queue = declare(vhost, "q")
    vhost.bind("amq.direct", queue, "k", Arguments())
    publish(vhost, "one", exchange="amq.direct", key="k")
    vhost.unbind("amq.direct", queue, "k", Arguments())
    publish(vhost, "two", exchange="amq.direct", key="k")
    assert waiting(queue) == ["one"]


def test_cc_and_bcc_are_more_routing_keys_and_bcc_is_not_seen(vhost):
    a, b, c = (declare(vhost, name) for name in "abc")
    keys = {name: b"A" + long(b"S" + long(name.lower()[:1])) for name in (b"b", b"c")}
    table = b"\x02CC" + keys[b"b"] + b"\x03BCC" + keys[b"c"]
    publish(vhost, "x", key="a", headers=long(table))
    assert [len(queue.ready) for queue in (a, b, c)] == [1, 1, 1]
    assert b"BCC" not in a.ready[0].message.properties


def test_an_auto_delete_exchange_goes_with_its_last_binding(vhost):
    queue = declare(vhost, "q")
    vhost.declare_exchange("short-lived", "direct", True, True, False, Arguments())
    vhost.bind("short-lived", queue, "", Arguments())
    vhost.delete_queue(queue)
    assert "short-lived" not in vhost.exchanges


# Queues and consumers.


def test_first_in_first_out(vhost):
    queue = declare(vhost, "q")
    publish(vhost, "a", "b", "c")
    assert [queue.get().message.body for _ in range(3)] == [b"a", b"b", b"c"]
    assert queue.get() is None


def test_consumers_of_one_priority_take_turns_and_a_higher_one_comes_first(vhost):
    queue = declare(vhost, "q")
    low, one, two = Taker(queue, priority=0), Taker(queue, 2, priority=5), Taker(queue, 2, priority=5)
    for taker in (low, one, two):
        queue.subscribe(taker)
    publish(vhost, *"abcdef")
    assert (one.bodies, two.bodies, low.bodies) == (["a", "c"], ["b", "d"], ["e", "f"])


def test_a_single_active_consumer_is_followed_by_the_next(vhost):
    queue = declare(vhost, "q", x_single_active_consumer=True)
    first, second = Taker(queue), Taker(queue)
    queue.subscribe(first)
    queue.subscribe(second)
    publish(vhost, "a", "b")
    queue.unsubscribe(first)
    publish(vhost, "c")
    assert (first.bodies, second.bodies) == (["a", "b"], ["c"])


def test_what_is_requeued_goes_back_to_its_place(vhost):
    queue = declare(vhost, "q")
    publish(vhost, *"abcdef")
    entries = [queue.get() for _ in range(5)]
    queue.requeue([entries[3], entries[1]])
    queue.requeue([entries[2]])
    assert waiting(queue) == ["b", "c", "d", "f"]
    assert [entry.returns for entry in queue.ready] == [1, 1, 1, 0]


def test_put_back_keeps_any_row_in_order():
    for order in itertools.permutations(range(5)):
        row = deque()
        for position in order:
            put_back(row, Entry(Message(b"", b"", b"", facts(b"\0\0")), position))
        assert [entry.position for entry in row] == [0, 1, 2, 3, 4]


def test_priorities_come_first_and_are_capped(vhost):
    queue = declare(vhost, "q", x_max_priority=3)
    for body, priority in (("low", 0), ("high", 9), ("middle", 2), ("high too", 3)):
        publish(vhost, body, priority=bytes([priority]))
    publish(vhost, "none")
    assert waiting(queue) == ["high", "high too", "middle", "low", "none"]


def test_memory_is_given_back_when_messages_go(vhost, broker):
    for name in ("a", "b"):
        vhost.bind("amq.fanout", declare(vhost, name), "", Arguments())
    publish(vhost, "x" * 1000, "y" * 1000, exchange="amq.fanout")
    assert 2000 < broker.memory < 2000 + 4 * 500
    vhost.queues["a"].purge()
    vhost.delete_queue(vhost.queues["b"])
    assert broker.memory == 0


def test_deleting_a_queue_tells_its_consumers(vhost):
    queue = declare(vhost, "q")
    taker = Taker(queue)
    queue.subscribe(taker)
    vhost.delete_queue(queue)
    assert taker.gone


# Limits, time, dead letters.


def test_a_full_queue_drops_its_oldest(vhost):
    queue = declare(vhost, "q", x_max_length=2)
    publish(vhost, "a", "b", "c")
    assert waiting(queue) == ["b", "c"]


def test_a_full_queue_may_refuse_instead(vhost):
    queue = declare(vhost, "q", x_max_length_bytes=4, x_overflow="reject-publish")
    assert publish(vhost, "aa", "bb", "c") == [True, True, False]
    assert waiting(queue) == ["aa", "bb"]


def test_what_a_full_queue_refuses_may_be_dead_lettered(vhost):
    dead = declare(vhost, "dead")
    where = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"}
    declare(vhost, "q", x_max_length=1, x_overflow="reject-publish-dlx", **where)
    assert publish(vhost, "a", "b") == [True, False]
    assert waiting(dead) == ["b"]


def test_messages_expire_at_the_head_only(vhost, broker, clock):
    queue = declare(vhost, "q", x_message_ttl=60_000)
    publish(vhost, "long")
    publish(vhost, "short", expiration=1_000)
    clock.now += 2
    broker.tick()
    assert waiting(queue) == ["long", "short"]
    assert queue.get().message.body == b"long"
    assert queue.get() is None


def test_an_expired_message_is_not_delivered(vhost, clock):
    queue = declare(vhost, "q", x_message_ttl=1_000)
    publish(vhost, "old")
    clock.now += 1
    publish(vhost, "new")
    taker = Taker(queue)
    queue.subscribe(taker)
    assert taker.bodies == ["new"]


def test_an_unused_queue_expires(vhost, broker, clock):
    queue = declare(vhost, "q", x_expires=10_000)
    clock.now += 9
    queue.get()
    clock.now += 9
    broker.tick()
    assert "q" in vhost.queues
    clock.now += 1
    broker.tick()
    assert "q" not in vhost.queues


def test_deleted_queues_leave_no_alarms_behind(vhost, broker, clock):
    for _ in range(3_000):
        queue = declare(vhost, "q", x_message_ttl=10**9)
        publish(vhost, "a")
        vhost.delete_queue(queue)
    kept = declare(vhost, "kept", x_message_ttl=1_000)
    publish(vhost, "b", key="kept")
    assert len(broker.alarms) <= 1_001
    clock.now += 2
    broker.tick()
    assert waiting(kept) == []


def test_a_death_is_told_in_the_headers(vhost, broker, clock):
    dead = declare(vhost, "dead")
    declare(vhost, "q", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    publish(vhost, "a", expiration=500)
    clock.now += 1
    broker.tick()
    (entry,) = dead.ready
    table = entry.message.facts.table()
    assert [table[name] for name in ("x-first-death-queue", "x-first-death-reason", "x-last-death-exchange")] == [
        "q",
        "expired",
        "",
    ]
    (death,) = table["x-death"]
    assert death.pop("time").timestamp() == clock.now
    assert death == {
        "count": 1,
        "reason": "expired",
        "queue": "q",
        "exchange": "",
        "routing-keys": ["q"],
        "original-expiration": "500",
    }
    assert "expiration" not in split(entry.message.properties)


def test_the_same_death_again_is_counted(vhost):
    back = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "q"}
    queue = declare(vhost, "q", **back)
    publish(vhost, "again")
    for _ in range(3):
        queue.reject([queue.get()])
    (death,) = queue.ready[0].message.facts.table()["x-death"]
    assert death["count"] == 3


def test_a_circle_without_a_rejection_ends(vhost, broker, clock):
    queue = declare(vhost, "q", x_message_ttl=1_000, x_dead_letter_exchange="")
    publish(vhost, "round")
    clock.now += 1
    broker.tick()
    assert waiting(queue) == []
    assert broker.memory == 0


# Quorum queues.


def test_a_quorum_queue_drops_what_fails_too_often(vhost):
    dead = declare(vhost, "dead")
    where = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"}
    queue = declare(vhost, "q", x_queue_type="quorum", x_delivery_limit=2, **where)
    publish(vhost, "poison")
    for _ in range(3):
        queue.give_back([queue.get()])
    assert waiting(queue) == []
    assert dead.ready[0].message.facts.table()["x-death"][0]["reason"] == "delivery_limit"


def test_a_quorum_queue_counts_returns_in_the_headers(vhost):
    queue = declare(vhost, "q", x_queue_type="quorum")
    publish(vhost, "a")
    queue.requeue([queue.get()])
    queue.give_back([queue.get()])
    entry = queue.get()
    table = facts(queue.written(entry)).table()
    assert table == {"x-acquired-count": 2, "x-delivery-count": 1}


def test_a_quorum_queue_gives_returned_messages_first_in_the_order_of_their_return(vhost):
    queue = declare(vhost, "q", x_queue_type="quorum")
    publish(vhost, *"abcd")
    a, b, c = (queue.get() for _ in range(3))
    for entry in (c, a, b):
        queue.requeue([entry])
    assert waiting(queue) == ["c", "a", "b", "d"]


def test_a_quorum_queues_active_consumer_makes_way_for_a_higher_priority_once_it_is_done(vhost):
    queue = declare(vhost, "q", x_queue_type="quorum", x_single_active_consumer=True)
    first, second = Taker(queue), Taker(queue, priority=1)
    queue.subscribe(first)
    publish(vhost, "a")
    queue.subscribe(second)
    publish(vhost, "b")
    assert (first.bodies, second.bodies) == (["a"], [])
    queue.ack([first.entries.pop()])
    queue.deliver()
    assert second.bodies == ["b"]


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"x_message_ttl": -1}, 406, "{value_negative,-1}"),
        ({"x_expires": 0}, 406, "{value_zero,0}"),
        ({"x_max_priority": 256}, 406, "{max_value_exceeded,256}"),
        ({"x_overflow": "explode"}, 406, "invalid_overflow"),
        ({"x_max_length": "many"}, 406, '"expected integer, got longstr"'),
        ({"x_delivery_limit": 3}, 406, "of queue type rabbit_classic_queue"),
        ({"x_queue_type": "list"}, 406, "unsupported queue type 'list'"),
        ({"x_queue_type": "quorum", "x_max_priority": 5}, 406, "of queue type rabbit_quorum_queue"),
        ({"x_queue_type": "stream"}, 540, "no streams; use a classic or quorum queue here, or RabbitMQ"),
        ({"x_queue_type": "quorum", "x_delayed_retry_type": "all"}, 540, "x-message-ttl"),
    ],
)
def test_arguments_are_refused_as_rabbitmq_refuses_them(vhost, arguments, code, words):
    with pytest.raises(AmqpError) as refusal:
        declare(vhost, "q", **arguments)
    assert refusal.value.code == code
    assert words in str(refusal.value)
    assert "q" not in vhost.queues


def test_another_declaration_has_to_be_the_same(vhost):
    declare(vhost, "q", x_message_ttl=1000)
    assert declare(vhost, "q", x_message_ttl=1000) is vhost.queues["q"]
    with pytest.raises(AmqpError, match="received '2000' but current is '1000'"):
        declare(vhost, "q", x_message_ttl=2000)
    with pytest.raises(AmqpError, match="received none but current is the value '1000' of type 'short'"):
        declare(vhost, "q")


def test_a_queue_neither_durable_nor_exclusive_is_refused(vhost):
    with pytest.raises(AmqpError, match="transient_nonexcl_queues") as refusal:
        vhost.declare_queue("q", False, False, False, Arguments(), None)
    assert refusal.value.code == 541
    assert not refusal.value.closes_channel


def test_there_is_a_limit_of_queues(clock):
    vhost = Broker(clock=clock, queue_limit=1).vhosts["/"]
    declare(vhost, "one")
    with pytest.raises(AmqpError, match=r"cannot declare queue 'two': queue limit in cluster \(1\) is reached"):
        declare(vhost, "two")


# The journal.


def reopened(path, clock):
    """The broker after its end, whatever it had not committed lost."""
    journal = Journal(path)
    return journal, Broker(journal, clock=clock)


def test_what_is_durable_comes_back(tmp_path, clock):
    path = tmp_path / "journal.db"
    journal, broker = reopened(path, clock)
    vhost = broker.add_vhost("campus")
    queue = declare(vhost, "q", x_max_length=10, x_queue_type="classic")
    vhost.declare_exchange("events", "topic", True, False, False, Arguments())
    vhost.declare_exchange("passing", "topic", False, False, False, Arguments())
    vhost.bind("events", queue, "a.#", Arguments())
    vhost.bind("events", vhost.exchanges["amq.fanout"], "b", Arguments())
    publish(vhost, *"abc", delivery_mode=b"\2")
    publish(vhost, "transient")
    queue.ack([queue.get()])
    journal.commit()
    journal.close()

    journal, broker = reopened(path, clock)
    vhost = broker.vhosts["campus"]
    queue = vhost.queues["q"]
    assert waiting(queue) == ["b", "c"]
    assert set(vhost.exchanges) >= {"events", "amq.direct"}
    assert not vhost.exchanges["passing"].durable, "RabbitMQ 4.3 keeps transient exchanges, too"
    assert [(b.destination.name, b.key) for b in vhost.exchanges["events"].bindings] == [
        ("q", "a.#"),
        ("amq.fanout", "b"),
    ]
    assert declare(vhost, "q", x_max_length=10, x_queue_type="classic") is queue
    publish(vhost, "d", exchange="events", key="a.b", delivery_mode=b"\2")
    assert waiting(queue) == ["b", "c", "d"]
    journal.close()


def test_what_was_deleted_stays_deleted(tmp_path, clock):
    path = tmp_path / "journal.db"
    journal, broker = reopened(path, clock)
    vhost = broker.add_vhost("campus")
    queue = declare(vhost, "q")
    vhost.bind("amq.direct", queue, "k", Arguments())
    publish(vhost, "a", delivery_mode=b"\2")
    vhost.delete_queue(queue)
    broker.add_vhost("other")
    declare(broker.vhosts["other"], "kept")
    broker.delete_vhost("other")
    journal.commit()
    journal.close()
    journal, broker = reopened(path, clock)
    assert not broker.vhosts["campus"].queues
    assert not broker.vhosts["campus"].exchanges["amq.direct"].bindings
    assert "other" not in broker.vhosts
    journal.close()
