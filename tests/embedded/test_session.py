"""One connection of the embedded broker: bytes in, bytes out, compared with what RabbitMQ 4.3 answers."""

import struct

import pytest
from hypothesis import given, strategies
from pamqp import commands, frame, header

from mqlab.broker.embedded import firehose, frames, routing
from mqlab.broker.embedded.journal import JournalError
from mqlab.broker.embedded.model import Broker
from mqlab.broker.embedded.properties import short
from mqlab.broker.embedded.session import Limits, Session

Basic, Channel, Connection, Exchange, Queue = (
    getattr(commands, name) for name in ("Basic", "Channel", "Connection", "Exchange", "Queue")
)
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True}


class Client:
    """A client without a socket: `say` methods, and `hear` what the broker answers, each as (channel, name, fields)."""

    def __init__(self, broker, limits=None, vhost="/"):
        self.woken = 0
        self.session = Session(broker, "guest", "guest", self.wake, limits)
        self.vhost = vhost

    def wake(self, session):
        self.woken += 1

    def send(self, data):
        self.session.receive(data)
        return self

    def say(self, *methods, channel=1):
        return self.send(b"".join(frame.marshal(method, channel) for method in methods))

    def hear(self):
        data, heard = self.session.take_output(), []
        while data:
            if data.startswith(b"AMQP"):
                return [*heard, data]
            used, channel, got = frame.unmarshal(data)
            data = data[used:]
            if isinstance(got, commands.base.Frame):
                heard.append((channel, got.name, dict(got)))
            elif isinstance(got, header.ContentHeader):
                heard.append((channel, "header", {name: value for name, value in got.properties if value}))
            else:
                heard.append((channel, "body", got.value))
        return heard

    def names(self):
        return [name for _, name, _ in self.hear()]

    def log_in(self, password="guest", capabilities=CAPABILITIES, mechanism="PLAIN", response=None):
        self.send(b"AMQP\0\0\x09\x01")
        response = response or f"\0guest\0{password}"
        return self.say(Connection.StartOk({"capabilities": capabilities}, mechanism, response, "en_US"), channel=0)

    def open(self, frame_max=131072, channel_max=2047):
        self.log_in()
        self.say(Connection.TuneOk(channel_max, frame_max, 0), Connection.Open(self.vhost), channel=0)
        self.say(Channel.Open())
        assert self.names() == ["Connection.Start", "Connection.Tune", "Connection.OpenOk", "Channel.OpenOk"]
        return self

    def publish(self, body=b"x", key="q", exchange="", mandatory=False, **properties):
        self.say(Basic.Publish(0, exchange, key, mandatory))
        self.say(header.ContentHeader(0, len(body), Basic.Properties(**properties)))
        return self.send(chunk(frames.BODY, body)) if body else self


def chunk(kind, payload, channel=1, end=b"\xce"):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def closed(client):
    """Code and text of the last close that was heard."""
    _, name, fields = client.hear()[-1]
    assert name in ("Channel.Close", "Connection.Close"), name
    return name.split(".")[0].lower(), fields["reply_code"], fields["reply_text"]


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def client(broker):
    client = Client(broker).open()
    client.say(Queue.Declare(0, "q", durable=True)).hear()
    return client


# Opening a connection.


def test_it_says_whose_answers_it_gives(broker):
    client = Client(broker).send(b"AMQP\0\0\x09\x01")
    ((_, name, start),) = client.hear()
    assert name == "Connection.Start"
    assert start["mechanisms"] == "PLAIN AMQPLAIN"
    assert start["server_properties"]["product"] == "MQ Lab embedded broker"
    assert start["server_properties"]["version"].startswith("4.3.")


def test_another_protocol_is_told_the_right_one(broker):
    client = Client(broker).send(b"GET / HTTP/1.1\r\n\r\n")
    assert client.hear() == [b"AMQP\0\0\x09\x01"]
    assert client.session.state == "closed"


def test_the_header_may_come_in_pieces(broker):
    client = Client(broker)
    for byte in b"AMQP\0\0\x09\x01":
        client.send(bytes([byte]))
    assert client.names() == ["Connection.Start"]


def test_amqplain_logs_in_too(broker):
    response = "\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest"
    assert Client(broker).log_in(mechanism="AMQPLAIN", response=response).names()[-1] == "Connection.Tune"


def test_a_wrong_password_is_refused(broker):
    assert closed(Client(broker).log_in("wrong")) == (
        "connection",
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
    )


def test_a_client_that_does_not_want_to_know_is_not_told(broker):
    client = Client(broker).log_in("wrong", capabilities={})
    assert client.names() == ["Connection.Start"]
    assert client.session.state == "closed"


def test_an_unknown_virtual_host(broker):
    client = Client(broker).log_in()
    client.say(Connection.TuneOk(0x7FF, 131072, 0), Connection.Open("nowhere"), channel=0)
    assert closed(client) == ("connection", 530, "NOT_ALLOWED - vhost nowhere not found")


@pytest.mark.parametrize(("channels", "size"), [(0, 131072), (5000, 131072), (10, 0), (10, 100), (10, 1 << 20)])
def test_more_than_was_offered_ends_the_connection(broker, channels, size):
    client = Client(broker).log_in()
    client.hear()
    client.say(Connection.TuneOk(channels, size, 0), channel=0)
    assert (client.session.state, client.hear()) == ("closed", [])


def test_there_is_a_limit_of_channels(broker):
    client = Client(broker).open(channel_max=2)
    client.say(Channel.Open(), channel=9)
    assert client.names() == ["Channel.OpenOk"]
    client.say(Channel.Open(), channel=3)
    text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    assert closed(client) == ("connection", 530, text)


def test_there_is_a_limit_of_connections(broker):
    client = Client(broker, Limits(connections=1))
    client.session.crowded = True
    client.log_in().say(Connection.TuneOk(2047, 131072, 0), Connection.Open("/"), channel=0)
    assert closed(client) == (
        "connection",
        530,
        "NOT_ALLOWED - connection refused: node connection limit (1) is reached",
    )


def test_update_secret(client):
    assert client.say(Connection.UpdateSecret("new", "old one expires"), channel=0).names() == [
        "Connection.UpdateSecretOk"
    ]


# Damaged and misplaced frames: what RabbitMQ 4.3.6 answered to the same bytes.

PUBLISH = frame.marshal(Basic.Publish(0, "", "q"), 1)
HEADER = struct.Struct(">HHQ")


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (
            chunk(1, b"\0\x3c\0\x0a", end=b"\0"),
            501,
            "FRAME_ERROR - type 1, all octets = <<0,60,0,10>>: {invalid_frame_end_marker,0}",
        ),
        (chunk(7, b"abc"), 501, 'FRAME_ERROR - type 7, all octets = <<"abc">>: unknown_frame'),
        (chunk(7, b"a" * 20, 0), 501, 'FRAME_ERROR - type 7, first 16 octets = <<"aaaaaaaaaaaaaaaa">>: unknown_frame'),
        (chunk(8, b""), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>"),
        (chunk(8, b"x", 0), 501, 'FRAME_ERROR - type 8, all octets = <<"x">>: unknown_frame'),
        (chunk(3, b"x", 0), 505, 'UNEXPECTED_FRAME - type 3, all octets = <<"x">>'),
        (chunk(1, b"\0\x3c"), 501, "FRAME_ERROR - type 1, all octets = <<0,60>>: unknown_frame"),
        (chunk(1, b"\0\x3c\0\x0a\0\0"), 501, "FRAME_ERROR - cannot decode <<0,0>>"),
        (chunk(1, b"\0\x3c\0\x28\0\0\x05a"), 501, "FRAME_ERROR - cannot decode <<0,0,5,97>>"),
        (chunk(1, b"\0\x3c\0\x50\0\0"), 501, "FRAME_ERROR - cannot decode <<0,0>>"),
        (chunk(1, b"\0\x32\0\x0a\0\0\x02\xff\xfe\2\0\0\0\0"), 501, "FRAME_ERROR - Malformed UTF-8 in shortstr"),
        (chunk(3, b"x"), 505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
        (
            chunk(2, HEADER.pack(60, 0, 0) + b"\0\0"),
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            PUBLISH + PUBLISH,
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (
            PUBLISH + chunk(2, HEADER.pack(50, 0, 5) + b"\0\0"),
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        ),
        (
            PUBLISH + chunk(2, HEADER.pack(60, 1, 5) + b"\0\0"),
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (PUBLISH + chunk(2, b"\0\x3c\0\0"), 501, "FRAME_ERROR - type 2, all octets = <<0,60,0,0>>: unknown_frame"),
        (
            PUBLISH + chunk(2, HEADER.pack(60, 0, 5) + b"\0\0") + PUBLISH,
            505,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            PUBLISH + chunk(2, HEADER.pack(60, 0, 2) + b"\0\0") + chunk(3, b"abc"),
            501,
            "FRAME_ERROR - content body frame exceeds remaining content size",
        ),
        (
            PUBLISH + chunk(2, HEADER.pack(60, 0, 1 << 40) + b"\0\0"),
            501,
            "FRAME_ERROR - content body size 1099511627776 exceeds maximum allowed size 536870912",
        ),
        (PUBLISH + chunk(2, HEADER.pack(60, 0, 0) + b"\x80\0\x09ab"), 541, "INTERNAL_ERROR"),
        (PUBLISH + chunk(2, HEADER.pack(60, 0, 0) + b"\0\1\0\0"), 541, "INTERNAL_ERROR"),
        (PUBLISH + chunk(2, HEADER.pack(60, 0, 0) + b"\0\0\0\0"), 541, "INTERNAL_ERROR"),
        (PUBLISH + chunk(2, HEADER.pack(60, 0, 0) + b"\x20\0\0\0\0\5\1aQ\0\0"), 541, "INTERNAL_ERROR"),
        (
            struct.pack(">BHI", 3, 1, 131073),
            501,
            "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}",
        ),
        (chunk(1, b"\0\x3c\0\x0a" + bytes(7), 3), 504, "CHANNEL_ERROR - expected 'channel.open'"),
        (frame.marshal(Channel.Open(), 1), 504, "CHANNEL_ERROR - second 'channel.open' seen"),
        (frame.marshal(Channel.CloseOk(), 1), 503, "COMMAND_INVALID - unimplemented method"),
        (frame.marshal(Connection.Open("/"), 0), 504, "CHANNEL_ERROR - unexpected method in connection state running"),
        (frame.marshal(Channel.Flow(False), 1), 540, "NOT_IMPLEMENTED - active=false"),
        (frame.marshal(Basic.Qos(5, 1), 1), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (5)"),
        (frame.marshal(Basic.Recover(False), 1), 540, "NOT_IMPLEMENTED - requeue=false"),
    ],
)
def test_what_cannot_be_read_closes_the_connection(client, data, code, text):
    assert closed(client.send(data)) == ("connection", code, text)


def test_an_unknown_method_ends_the_connection_without_a_word(client):
    client.send(chunk(1, b"\0\x3c\0\xff"))
    assert (client.hear(), client.session.state) == ([], "closed")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_bytes_may_come_in_any_pieces(client, size):
    client.say(commands.Confirm.Select())
    data = frame.marshal(Basic.Publish(0, "", "q"), 1)
    data += frame.marshal(header.ContentHeader(0, 5, Basic.Properties()), 1) + chunk(3, b"he") + chunk(3, b"llo")
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    assert client.names() == ["Confirm.SelectOk", "Basic.Ack"]
    (_, get), (_, _), (_, body) = ((name, value) for _, name, value in client.say(Basic.Get(0, "q")).hear())
    assert (get["message_count"], body) == (0, b"hello")


def test_a_large_body_goes_in_frames_of_the_agreed_size(broker):
    client = Client(broker).open(frame_max=8192)
    client.say(Queue.Declare(0, "q", durable=True)).hear()
    body = bytes(range(256)) * 40
    client.say(Basic.Publish(0, "", "q"), header.ContentHeader(0, len(body)))
    for at in range(0, len(body), 4000):
        client.send(chunk(3, body[at : at + 4000]))
    parts = [value for _, name, value in client.say(Basic.Get(0, "q", True)).hear() if name == "body"]
    assert [len(part) for part in parts] == [8184, 2056]
    assert b"".join(parts) == body


def test_after_an_error_the_rest_of_a_channel_is_not_obeyed(client):
    client.say(Basic.Ack(99), Queue.Delete(0, "q"))
    assert closed(client) == ("channel", 406, "PRECONDITION_FAILED - unknown delivery tag 99")
    client.say(Channel.CloseOk(), Channel.Open(), Queue.Declare(0, "q", passive=True))
    assert client.names() == ["Channel.OpenOk", "Queue.DeclareOk"]


def test_other_channels_live_on(client):
    client.say(Channel.Open(), channel=2).say(Basic.Get(0, "nowhere"), channel=1).say(Basic.Get(0, "q"), channel=2)
    assert client.names() == ["Channel.OpenOk", "Channel.Close", "Basic.GetEmpty"]


# Publishing.


def test_confirms_are_joined(client):
    client.say(commands.Confirm.Select()).hear()
    for _ in range(3):
        client.publish()
    ((_, name, fields),) = client.hear()
    assert (name, fields["delivery_tag"], fields["multiple"]) == ("Basic.Ack", 3, True)


def test_what_a_full_queue_refuses_is_nacked(client):
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    client.say(Queue.Declare(0, "full", durable=True, arguments=arguments), commands.Confirm.Select()).hear()
    for _ in range(2):
        client.publish(key="full")
    client.publish()
    heard = [(name, fields["delivery_tag"]) for _, name, fields in client.hear()]
    assert sorted(heard) == [("Basic.Ack", 1), ("Basic.Ack", 3), ("Basic.Nack", 2)]


def test_a_mandatory_message_nobody_wants_comes_back_before_its_confirm(client):
    client.say(commands.Confirm.Select()).hear()
    client.publish(b"lost", key="nowhere", mandatory=True, message_id="7")
    assert client.hear() == [
        (1, "Basic.Return", {"reply_code": 312, "reply_text": "NO_ROUTE", "exchange": "", "routing_key": "nowhere"}),
        (1, "header", {"message_id": "7"}),
        (1, "body", b"lost"),
        (1, "Basic.Ack", {"delivery_tag": 1, "multiple": False}),
    ]


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ({"exchange": "nowhere"}, 404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'"),
        (
            {"exchange": "amq.rabbitmq.trace"},
            403,
            "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'",
        ),
        ({"expiration": "soon"}, 406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"),
        ({"expiration": "5s"}, 406, "PRECONDITION_FAILED - invalid expiration '5s': {leftover_string,\"s\"}"),
        (
            {"user_id": "somebody"},
            406,
            "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
        ),
        ({"reply_to": "amq.rabbitmq.reply-to"}, 406, "PRECONDITION_FAILED - fast reply consumer does not exist"),
        (
            {"headers": {"CC": "q"}},
            406,
            'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
        ),
    ],
)
def test_a_message_may_be_refused(client, how, code, text):
    assert closed(client.publish(**how)) == ("channel", code, text)


def test_too_large_a_message_is_refused(broker):
    client = Client(broker, Limits(message_size=10)).open()
    client.publish(b"12345678901")
    text = "PRECONDITION_FAILED - message size 11 is larger than configured max size 10"
    assert closed(client) == ("channel", 406, text)


def test_properties_come_through_whole(client):
    sent = {
        "content_type": "application/json",
        "headers": {"b": 1, "a": [1, {"c": None}]},
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m",
        "app_id": "campus",
    }
    client.publish(**sent).say(Basic.Get(0, "q"))
    assert client.hear()[1] == (1, "header", sent)


def test_a_transaction_is_done_at_its_commit_or_not_at_all(client):
    client.say(commands.Tx.Select()).publish(b"a").say(Basic.Get(0, "q"), commands.Tx.Commit(), Basic.Get(0, "q"))
    assert client.names() == ["Tx.SelectOk", "Basic.GetEmpty", "Tx.CommitOk", "Basic.GetOk", "header", "body"]
    client.say(Basic.Ack(1), commands.Tx.Rollback(), Basic.Ack(1), commands.Tx.Commit()).publish(b"b")
    client.say(commands.Tx.Rollback(), Basic.Get(0, "q"))
    assert client.names() == ["Tx.RollbackOk", "Tx.CommitOk", "Tx.RollbackOk", "Basic.GetEmpty"]


def test_what_waits_for_a_commit_counts_as_memory(broker, client):
    client.say(commands.Tx.Select()).publish(bytes(5000))
    assert broker.memory > 5000
    client.say(commands.Tx.Rollback())
    assert broker.memory == 0
    client.publish(bytes(5000)).session.lost()
    assert broker.memory == 0


# Consuming.


def deliveries(client):
    """(tag, redelivered) of each delivery that was heard."""
    return [(f["delivery_tag"], f["redelivered"]) for _, name, f in client.hear() if name == "Basic.Deliver"]


def test_prefetch_is_for_each_consumer(client):
    for global_ in (False, True):
        client.say(Channel.Open(), Basic.Qos(0, 2, global_), channel=2 + global_)
        client.say(Basic.Consume(0, "q", "a"), Basic.Consume(0, "q", "b"), channel=2 + global_).hear()
        for _ in range(6):
            client.publish()
        assert len(deliveries(client)) == 4
        client.say(Basic.Ack(1), channel=2 + global_)
        assert deliveries(client) == [(5, False)]
        client.say(Channel.Close(200, "", 0, 0), channel=2 + global_)
        client.say(Queue.Purge(0, "q")).hear()


def test_who_has_done_first_has_the_next_turn(client):
    client.say(Basic.Qos(0, 1), Basic.Consume(0, "q", "a"), Basic.Consume(0, "q", "b"))
    for _ in range(3):
        client.publish()
    client.hear()
    client.say(Basic.Ack(2), Basic.Ack(3), Basic.Ack(1)).hear()
    client.publish()
    assert client.hear()[0][2]["consumer_tag"] == "b"


def test_acks_settle_one_or_all_up_to_it(client):
    for _ in range(4):
        client.publish()
    client.say(Basic.Consume(0, "q", "c")).hear()
    client.say(Basic.Ack(3, True), Basic.Nack(0, True, True))
    assert deliveries(client) == [(5, True)]
    client.say(Basic.Ack(2))
    assert closed(client)[1:] == (406, "PRECONDITION_FAILED - unknown delivery tag 2")


def test_a_closed_connection_gives_back_what_it_did_not_acknowledge(broker, client):
    client.publish()
    other = Client(broker).open()
    other.say(Basic.Consume(0, "q", "c"))
    assert deliveries(other) == [(1, False)]
    client.say(Basic.Consume(0, "q", "c"))
    other.session.lost()
    assert deliveries(client) == [(1, True)]


def test_a_consumer_is_told_that_its_queue_is_gone(broker, client):
    other = Client(broker).open()
    other.say(Basic.Consume(0, "q", "watcher")).hear()
    client.say(Queue.Delete(0, "q"))
    assert other.hear() == [(1, "Basic.Cancel", {"consumer_tag": "watcher", "nowait": True})]
    assert client.names() == ["Queue.DeleteOk"]


def test_an_exclusive_queue_is_its_connections_own_and_goes_with_it(broker, client):
    client.say(Queue.Declare(0, "mine", exclusive=True)).hear()
    other = Client(broker).open()
    kind, code, text = closed(other.say(Basic.Get(0, "mine")))
    assert (kind, code) == ("channel", 405)
    assert text.startswith("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'.")
    client.say(Connection.Close(200, "bye", 0, 0), channel=0)
    assert client.names() == ["Connection.CloseOk"]
    assert "mine" not in broker.vhosts["/"].queues


def test_an_exclusive_consumer_is_alone(client):
    client.say(Basic.Consume(0, "q", "one", exclusive=True), Basic.Consume(0, "q", "two"))
    assert closed(client) == ("channel", 403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")


def test_a_slow_client_gets_no_more_than_it_takes(broker):
    client = Client(broker, Limits(unsent=10_000)).open()
    client.say(Queue.Declare(0, "q", durable=True), Basic.Consume(0, "q", "c", no_ack=True)).hear()
    for _ in range(50):
        client.publish(bytes(1000))
    first = len(deliveries(client))
    assert 5 < first < 20
    client.session.serve()
    assert len(deliveries(client)) > 5


def test_direct_reply_to(broker, client):
    asker = Client(broker).open()
    asker.say(Basic.Consume(0, "amq.rabbitmq.reply-to", "answers", no_ack=True))
    asker.publish(b"ask", reply_to="amq.rabbitmq.reply-to").hear()
    client.say(Basic.Get(0, "q", True))
    reply_to = client.hear()[1][2]["reply_to"]
    assert reply_to.startswith("amq.rabbitmq.reply-to.")
    client.publish(b"answer", key=reply_to, mandatory=True)
    assert [name for name in asker.names() if name != "header"] == ["Basic.Deliver", "body"]
    asker.session.lost()
    assert client.publish(b"too late", key=reply_to, mandatory=True).hear() == []


def test_names_may_hold_any_text(client):
    name = "Anmeldungen für «Python»\t(1)"
    declare = bytearray(chunk(1, b"\0\x32\0\x0a\0\0" + bytes([len(name.encode())]) + name.encode() + b"\2\0\0\0\0"))
    assert client.send(bytes(declare)).hear()[0][2]["queue"] == name


def test_a_journal_that_fails_is_no_mistake_to_live_through(client, broker, monkeypatch):
    def fails(*_):
        raise JournalError("The disk is full.")

    monkeypatch.setattr(broker, "define", fails)
    with pytest.raises(JournalError):
        client.say(Queue.Declare(0, "another", durable=True))


def test_the_broker_lives_through_its_own_mistakes(client, monkeypatch):
    def mistake(*_):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(type(client.session.channels[1]), "queue_purge", mistake)
    assert closed(client.say(Queue.Purge(0, "q"))) == ("connection", 541, "INTERNAL_ERROR")


def test_a_quorum_queue_takes_back_after_half_an_hour():
    now = 1_800_000_000.0
    broker = Broker(clock=lambda: now)
    client = Client(broker).open()
    client.say(Queue.Declare(0, "q", durable=True, arguments={"x-queue-type": "quorum"}), Basic.Consume(0, "q", "c"))
    client.publish()
    assert client.names()[-3:] == ["Basic.Deliver", "header", "body"]
    now += 1799
    broker.tick()
    assert client.names() == []
    now += 1
    broker.tick()
    assert client.names() == ["Basic.Cancel"]
    client.say(Basic.Get(0, "q", no_ack=True))
    assert client.names() == ["Basic.GetOk", "header", "body"]
    assert broker.due() is None and broker.memory == 0


# The firehose: see also tests/broker/test_firehose.py, where each broker says the same.


@pytest.fixture
def records(broker, client):
    """Switches tracing on and binds a queue to its exchange; what is called reads the records: key, headers, body."""
    reader = Client(broker).open()
    reader.say(Queue.Declare(0, "records", durable=True), Queue.Bind(0, "records", "amq.rabbitmq.trace", "#")).hear()
    broker.vhosts["/"].tracing = True

    def read():
        found = []
        while True:
            reader.say(Basic.Get(0, "records", True))
            heard = reader.hear()
            if heard[0][1] == "Basic.GetEmpty":
                return found
            got = [fields for _, _, fields in heard]
            assert got[0]["exchange"] == "amq.rabbitmq.trace"
            found.append((got[0]["routing_key"], got[1]["headers"], b"".join(got[2:])))

    return read


def told(read):
    return [key for key, _, _ in read()]


def test_the_firehose_tells_where_it_happened(client, records):
    client.session.name = "127.0.0.1:50000 -> 127.0.0.1:5672"
    client.publish(b"hello", priority=7, content_type="text").say(Basic.Get(0, "q", True))
    everywhere = {
        "exchange_name": "",
        "routing_keys": ["q"],
        "properties": {"priority": 7, "content_type": "text"},
        "node": "mqlab@localhost",
        "vhost": "/",
        "connection": "127.0.0.1:50000 -> 127.0.0.1:5672",
        "channel": 1,
        "user": "guest",
    }
    read = records()
    assert read == [
        ("publish.", {**everywhere, "routed_queues": ["q"]}, b"hello"),
        ("deliver.q", {**everywhere, "redelivered": 0}, b"hello"),
    ]
    assert list(read[0][1]["properties"]) == ["priority", "content_type"], "the last comes first, as in RabbitMQ"


def test_the_firehose_is_off_at_first_and_does_nothing_then(client, broker, monkeypatch):
    assert [vhost.tracing for vhost in (*broker.vhosts.values(), broker.add_vhost("new"))] == [False, False]
    monkeypatch.setattr(firehose, "tell", None)
    client.publish().publish().say(Basic.Get(0, "q", True), Basic.Consume(0, "q", "c"))
    assert "Basic.Deliver" in client.names()


def test_the_firehose_of_a_virtual_host_tells_of_that_one_alone(broker, records):
    broker.add_vhost("other")
    other = Client(broker, vhost="other").open()
    other.say(Queue.Declare(0, "q", durable=True))
    other.publish().say(Basic.Get(0, "q", True))
    assert records() == []


def test_what_is_refused_is_not_told(client, records):
    client.publish(exchange="nowhere")
    assert closed(client)[1] == 404
    assert records() == []


def test_records_are_not_told_of(broker, client, records):
    watcher = Client(broker).open()
    watcher.say(Basic.Consume(0, "records", "w", no_ack=True))
    client.publish()
    assert [name for name in watcher.names() if name == "Basic.Deliver"] == ["Basic.Deliver"]


def test_a_full_queue_of_records_is_no_loop(broker, client, records):
    """What dies in it goes to a queue with a consumer, whose delivery would be told, and so on."""
    to_q = {"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    client.say(
        Queue.Declare(0, "few", durable=True, arguments=to_q), Queue.Bind(0, "few", "amq.rabbitmq.trace", "publish.#")
    )
    client.say(Queue.Bind(0, "few", "amq.rabbitmq.trace", "deliver.#"), Basic.Consume(0, "q", "c", no_ack=True))
    client.publish(b"1").publish(b"2")
    bodies = [body for _, name, body in client.hear() if name == "body"]
    assert sorted(bodies) == [b"1", b"1", b"1", b"2", b"2"], "two messages, and three records of the four"
    assert told(records) == ["publish.", "deliver.q"] * 2
    assert client.publish(b"3").names().count("Basic.Deliver") == 3, "it lives"


def test_the_queues_of_a_record_are_each_told_once(client, records):
    client.say(Exchange.Declare(0, "news", "fanout"))
    for queue in ("a", "c", "b"):
        client.say(
            Queue.Declare(0, queue, durable=True), Queue.Bind(0, queue, "news", "1"), Queue.Bind(0, queue, "news", "2")
        )
    client.publish(exchange="news").publish(key="q", headers={"CC": ["q", "none"]})
    assert [headers["routed_queues"] for _, headers, _ in records()] == [["c", "b", "a"], ["none", "q"]]


def test_quorum_queues_tell_how_often_it_was_tried(client, records):
    client.say(Queue.Declare(0, "safe", durable=True, arguments={"x-queue-type": "quorum"}))
    client.publish(key="safe").say(Basic.Get(0, "safe"), Basic.Reject(1, True), Basic.Get(0, "safe", True))
    delivered = [(headers["redelivered"], headers["properties"]) for key, headers, _ in records() if key[0] == "d"]
    assert delivered[0] == (0, {})
    again, properties = delivered[1]
    assert again == 1 and properties["headers"]["x-delivery-count"] == 1


def test_dead_letters_are_told_when_they_are_delivered(client, records):
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    client.say(Queue.Declare(0, "first", durable=True, arguments=dead))
    client.publish(key="first", headers={"CC": ["none"]}).say(Basic.Get(0, "first"), Basic.Reject(1, False))
    client.say(Basic.Get(0, "q", True))
    read = records()
    assert [key for key, _, _ in read] == ["publish.", "deliver.first", "deliver.q"]
    assert [headers["routing_keys"] for _, headers, _ in read] == [["first", "none"]] * 2 + [["q"]]
    assert read[-1][1]["properties"]["headers"]["x-death"][0]["reason"] == "rejected"


def test_answers_by_direct_reply_to_are_told(broker, client, records):
    asker = Client(broker).open()
    asker.say(Basic.Consume(0, "amq.rabbitmq.reply-to", "answers", no_ack=True))
    asker.publish(b"ask", reply_to="amq.rabbitmq.reply-to").hear()
    (_, asked, _), *_ = records()
    reply_to = asked["properties"]["reply_to"]
    client.publish(b"answer", key=reply_to)
    assert told(records) == ["publish.", f"deliver.{reply_to}"]


def test_a_name_as_long_as_a_key_is_cut_in_it(client, broker, records):
    name = "é" * 127
    vhost = broker.vhosts["/"]
    vhost.exchanges[name] = routing.Exchange(name, "fanout")
    client.send(chunk(frames.METHOD, b"\0\x3c\0\x28\0\0" + short(name) + short("k") + b"\0"))
    client.say(header.ContentHeader(0, 0, Basic.Properties()))
    ((key, headers, _),) = records()
    assert headers["exchange_name"] == name
    assert key == "publish." + "é" * 123


@given(strategies.text(), strategies.dictionaries(strategies.text(max_size=9), strategies.text(max_size=9), max_size=3))
def test_the_firehose_tells_of_any_text(key, table):
    key = key.encode()[:255].decode(errors="ignore")
    broker = Broker()
    client = Client(broker).open()
    client.say(
        Queue.Declare(0, "records", durable=True), Queue.Bind(0, "records", "amq.rabbitmq.trace", "publish.#")
    ).hear()
    broker.vhosts["/"].tracing = True
    table = {name: value for name, value in table.items() if name not in ("CC", "BCC")}
    client.publish(key=key, exchange="amq.topic", headers=table, message_type="t").say(Basic.Get(0, "records", True))
    headers = client.hear()[1][2]["headers"]
    assert headers["routing_keys"] == [key]
    assert headers["properties"] == {"headers": table, "type": "t"}


def test_a_record_comes_after_the_message_it_tells_of(client, records):
    """On the same channel too: else delivery tags would go backwards."""
    client.say(Basic.Consume(0, "records", "r"), Basic.Consume(0, "q", "c")).hear()
    client.publish().say(Basic.Cancel("c"))
    client.publish().hear()
    client.say(Queue.Declare(0, "p", durable=True), Basic.Consume(0, "p", "p")).publish(key="p")
    tags = [fields["delivery_tag"] for _, name, fields in client.hear() if name == "Basic.Deliver"]
    assert len(tags) == 3 and tags == sorted(tags)
