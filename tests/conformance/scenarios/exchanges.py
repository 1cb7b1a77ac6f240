"""Exchanges and bindings: declaring, deleting, and where messages go."""

from pamqp import commands
from wire import Channel
from world import World, scenario

Exchange, Queue, Basic = commands.Exchange, commands.Queue, commands.Basic


def make(channel: Channel, name: str = "x", kind: str = "direct", **options) -> None:
    channel.ask(Exchange.Declare(exchange=name, exchange_type=kind, durable=True, **options))


def where(w: World, channel: Channel, exchange: str, keys: list[str], queues: list[str]) -> None:
    """Publish a message for each key and note which queue gets which."""
    channel.confirms()
    for key in keys:
        channel.publish(exchange, key, key or "nothing", mandatory=True)
    channel.confirmed()
    returned = [entry[3] for entry in channel.wire.inbox[channel.number] if entry[0] == "Basic.Return"]
    w.note("returned", returned)
    for queue in queues:
        w.note(queue)
        channel.drain(queue)


@scenario
def declare_each_kind(w: World) -> None:
    channel = w.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        make(channel, f"x-{kind}", kind)
        make(channel, f"x-{kind}", kind)


# A word that some program of RabbitMQ uses is "invalid", any other "unknown": which programs it has loaded is chance.
@scenario(
    differs="3.10 closes with 503, and the connection",
    either=(("invalid exchange type 'Direct'", "unknown exchange type 'Direct'"),),
)
def declare_what_may_be_taken_for_a_kind(w: World) -> None:
    words = (
        "Direct fan-out fan_out topics header log queue work pubsub broadcast round-robin default test x-random x-none"
    )
    for kind in words.split():
        make(w.channel(), kind=kind)


@scenario(differs="3.10 closes with 503, and the connection")
def declare_an_unknown_kind(w: World) -> None:
    make(w.channel(), "x", "square")


@scenario
def declare_again_of_another_kind(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "direct")
    make(channel, "x", "fanout")


@scenario
def declare_again_not_durable(w: World) -> None:
    channel = w.channel()
    make(channel, "x")
    channel.ask(Exchange.Declare(exchange="x", exchange_type="direct"))


@scenario
def declare_again_auto_delete(w: World) -> None:
    channel = w.channel()
    make(channel, "x")
    make(channel, "x", auto_delete=True)


@scenario
def declare_again_internal(w: World) -> None:
    channel = w.channel()
    make(channel, "x")
    make(channel, "x", internal=True)


@scenario
def declare_again_with_another_alternate(w: World) -> None:
    channel = w.channel()
    make(channel, "x")
    make(channel, "x", arguments={"alternate-exchange": "other"})


@scenario
def declare_again_with_other_unknown_arguments(w: World) -> None:
    channel = w.channel()
    make(channel, "x", arguments={"colour": "red"})
    make(channel, "x", arguments={"colour": "blue"})


@scenario
def an_alternate_that_is_no_string(w: World) -> None:
    make(w.channel(), "x", arguments={"alternate-exchange": 5})


@scenario
def declare_a_transient_exchange(w: World) -> None:
    w.channel().ask(Exchange.Declare(exchange="x", exchange_type="direct"))


@scenario
def passive_found_and_not(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "topic")
    channel.ask(Exchange.Declare(exchange="x", passive=True))
    channel.ask(Exchange.Declare(exchange="y", passive=True))


@scenario
def passive_of_another_kind(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "topic")
    channel.ask(Exchange.Declare(exchange="x", exchange_type="fanout", passive=True))


@scenario
def the_predeclared_ones(w: World) -> None:
    channel = w.channel()
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        channel.ask(Exchange.Declare(exchange=name, passive=True))


@scenario
def a_predeclared_one_again_as_it_is(w: World) -> None:
    make(w.channel(), "amq.topic", "topic")


@scenario
def a_predeclared_one_as_another_kind(w: World) -> None:
    make(w.channel(), "amq.topic", "direct")


@scenario
def a_name_of_the_brokers_own(w: World) -> None:
    make(w.channel(), "amq.mine")


@scenario
def the_default_exchange_declared(w: World) -> None:
    make(w.channel(), "")


@scenario
def the_default_exchange_asked_for(w: World) -> None:
    w.channel().ask(Exchange.Declare(exchange="", passive=True))


@scenario
def the_default_exchange_deleted(w: World) -> None:
    w.channel().ask(Exchange.Delete(exchange=""))


@scenario
def the_default_exchange_bound(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Bind(queue="q", exchange="", routing_key="k"))


@scenario
def the_default_exchange_unbound(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Unbind(queue="q", exchange="", routing_key="q"))


@scenario
def delete_a_predeclared_one(w: World) -> None:
    w.channel().ask(Exchange.Delete(exchange="amq.topic"))


@scenario
def delete_and_delete_again(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.ask(Exchange.Delete(exchange="x"))
    channel.ask(Exchange.Delete(exchange="x"))
    channel.ask(Exchange.Declare(exchange="x", passive=True))


@scenario
def delete_if_unused(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.queue()
    channel.bind("q", "x", "k")
    other = channel.wire.channel()
    other.ask(Exchange.Delete(exchange="x", if_unused=True))
    channel.ask(Queue.Unbind(queue="q", exchange="x", routing_key="k"))
    channel.ask(Exchange.Delete(exchange="x", if_unused=True))


@scenario
def an_internal_one_takes_no_messages(w: World) -> None:
    channel = w.channel()
    make(channel, "x", internal=True)
    channel.publish("x", "k")
    channel.alive()


@scenario
def an_internal_one_is_reached_through_another(w: World) -> None:
    channel = w.channel()
    make(channel, "inner", "fanout", internal=True)
    make(channel, "outer", "fanout")
    channel.ask(Exchange.Bind(destination="inner", source="outer"))
    channel.queue()
    channel.bind("q", "inner")
    where(w, channel, "outer", ["a"], ["q"])


@scenario
def auto_delete_goes_with_its_last_binding(w: World) -> None:
    channel = w.channel()
    make(channel, "x", auto_delete=True)
    channel.queue("q1")
    channel.queue("q2")
    channel.bind("q1", "x", "k")
    channel.bind("q2", "x", "k")
    channel.ask(Queue.Unbind(queue="q1", exchange="x", routing_key="k"))
    channel.ask(Exchange.Declare(exchange="x", passive=True))
    channel.ask(Queue.Delete(queue="q2"))
    channel.ask(Exchange.Declare(exchange="x", passive=True))


@scenario
def auto_delete_goes_with_its_last_exchange(w: World) -> None:
    channel = w.channel()
    make(channel, "x", auto_delete=True)
    make(channel, "y")
    channel.ask(Exchange.Bind(destination="y", source="x"))
    channel.ask(Exchange.Delete(exchange="y"))
    channel.ask(Exchange.Declare(exchange="x", passive=True))


@scenario
def a_destination_does_not_keep_its_source(w: World) -> None:
    channel = w.channel()
    make(channel, "source", auto_delete=True)
    make(channel, "target", auto_delete=True)
    channel.ask(Exchange.Bind(destination="target", source="source"))
    channel.ask(Exchange.Unbind(destination="target", source="source"))
    channel.ask(Exchange.Declare(exchange="target", passive=True))
    channel.ask(Exchange.Declare(exchange="source", passive=True))


@scenario
def publish_to_no_exchange(w: World) -> None:
    channel = w.channel()
    channel.publish("nowhere", "k")
    channel.alive()


@scenario
def bind_to_no_exchange(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Bind(queue="q", exchange="nowhere", routing_key="k"))


@scenario
def bind_no_queue(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.ask(Queue.Bind(queue="nowhere", exchange="x", routing_key="k"))


@scenario
def bind_neither(w: World) -> None:
    w.channel().ask(Queue.Bind(queue="no-queue", exchange="no-exchange", routing_key="k"))


@scenario
def bind_exchange_to_no_exchange(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.ask(Exchange.Bind(destination="x", source="nowhere"))


@scenario
def bind_no_exchange_to_exchange(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.ask(Exchange.Bind(destination="nowhere", source="x"))


@scenario
def unbind_what_was_not_bound(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.queue()
    channel.ask(Queue.Unbind(queue="q", exchange="x", routing_key="k"))
    channel.ask(Exchange.Unbind(destination="x", source="amq.topic", routing_key="k"))


@scenario
def unbind_no_queue(w: World) -> None:
    w.channel().ask(Queue.Unbind(queue="nowhere", exchange="amq.topic", routing_key="k"))


@scenario
def unbind_no_exchange(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Unbind(queue="q", exchange="nowhere", routing_key="k"))


@scenario
def bound_twice_is_bound_once(w: World) -> None:
    channel = w.channel()
    channel.queue()
    for _ in range(2):
        channel.bind("q", "amq.direct", "k")
    where(w, channel, "amq.direct", ["k"], ["q"])
    channel.ask(Queue.Unbind(queue="q", exchange="amq.direct", routing_key="k"))
    where(w, channel, "amq.direct", ["k"], ["q"])


@scenario
def direct_routes_by_key(w: World) -> None:
    channel = w.channel()
    make(channel)
    for queue, key in (("a", "red"), ("a", "blue"), ("b", "red"), ("c", "")):
        channel.queue(queue)
        channel.bind(queue, "x", key)
    where(w, channel, "x", ["red", "blue", "green", "", "RED"], ["a", "b", "c"])


@scenario
def the_default_exchange_routes_by_queue(w: World) -> None:
    channel = w.channel()
    channel.queue("a")
    where(w, channel, "", ["a", "b", ""], ["a"])


@scenario
def fanout_takes_no_heed_of_keys(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "fanout")
    for queue, key in (("a", "red"), ("b", "blue"), ("b", "green")):
        channel.queue(queue)
        channel.bind(queue, "x", key)
    where(w, channel, "x", ["red", "none"], ["a", "b"])


@scenario
def topic_patterns(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "topic")
    patterns = ["#", "*", "a", "a.*", "a.#", "*.b", "#.b", "a.*.c", "a.#.c", "*.*", "#.b.#", "", "*.#", "#.#", "a..c"]
    for pattern in patterns:
        channel.queue(f"q-{patterns.index(pattern)}")
        channel.bind(f"q-{patterns.index(pattern)}", "x", pattern)
    keys = ["", "a", "b", "a.b", "a.c", "a.b.c", "a.b.b.c", "a.", ".b", "..", "a..c", "A.b"]
    channel.confirms()
    for key in keys:
        channel.publish("x", key, key)
    channel.confirmed()
    for pattern in patterns:
        got = []
        while (heard := channel.silently(Basic.Get(queue=f"q-{patterns.index(pattern)}", no_ack=True)))[
            0
        ] == "Basic.GetOk":
            got.append(heard[3])
        w.note(pattern, got)


@scenario
def topic_two_matching_patterns_one_copy(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.bind("q", "amq.topic", "a.#")
    channel.bind("q", "amq.topic", "#.b")
    where(w, channel, "amq.topic", ["a.b"], ["q"])


@scenario
def topic_words_of_all_kinds(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.bind("q", "amq.topic", "a.*b")
    channel.bind("q", "amq.topic", "é.*")
    where(w, channel, "amq.topic", ["a.xb", "a.*b", "é.x"], ["q"])


@scenario(differs="3.10 takes 1 and 1.0 for the same")
def headers_all_any_and_their_x(w: World) -> None:
    channel = w.channel()
    bindings = {
        "all": {"x-match": "all", "a": 1, "b": "two"},
        "any": {"x-match": "any", "a": 1, "b": "two"},
        "all-with-x": {"x-match": "all-with-x", "a": 1, "x-c": 1},
        "any-with-x": {"x-match": "any-with-x", "x-c": 1},
        "unsaid": {"a": 1, "b": "two"},
        "all-empty": {"x-match": "all"},
        "any-empty": {"x-match": "any"},
        "there": {"x-match": "all", "a": None},
        "x-unheeded": {"x-match": "all", "a": 1, "x-c": 99},
    }
    for queue, arguments in bindings.items():
        channel.queue(queue)
        channel.silently(Queue.Bind(queue=queue, exchange="amq.headers", arguments=arguments))
    channel.confirms()
    for name, headers in {
        "both": {"a": 1, "b": "two"},
        "one": {"a": 1},
        "other value": {"a": 2, "b": "two"},
        "text": {"a": "1"},
        "with x": {"a": 1, "x-c": 1},
        "none": {},
        "more": {"a": 1, "b": "two", "c": True},
        "a float": {"a": 1.0},
    }.items():
        channel.publish("amq.headers", "", name, headers=headers)
    channel.confirmed()
    for queue in bindings:
        got = []
        while (heard := channel.silently(Basic.Get(queue=queue, no_ack=True)))[0] == "Basic.GetOk":
            got.append(heard[3])
        w.note(queue, got)


@scenario
def headers_with_an_unknown_match(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Bind(queue="q", exchange="amq.headers", arguments={"x-match": "some"}))


@scenario
def headers_with_a_match_that_is_no_text(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Queue.Bind(queue="q", exchange="amq.headers", arguments={"x-match": 5}))


@scenario
def exchanges_bound_in_a_chain_and_a_ring(w: World) -> None:
    channel = w.channel()
    for name in ("x", "y", "z"):
        make(channel, name, "topic")
    for source, target, key in (("x", "y", "a.#"), ("y", "z", "#.b"), ("z", "x", "#")):
        channel.ask(Exchange.Bind(destination=target, source=source, routing_key=key))
    for name in ("x", "y", "z"):
        channel.queue(f"q-{name}")
        channel.bind(f"q-{name}", name, "#")
    where(w, channel, "x", ["a.b", "a.c", "c.b"], ["q-x", "q-y", "q-z"])


@scenario
def one_copy_over_two_ways(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "fanout")
    for name in ("left", "right"):
        make(channel, name, "fanout")
        channel.ask(Exchange.Bind(destination=name, source="x"))
    channel.queue()
    for name in ("left", "right"):
        channel.bind("q", name)
    where(w, channel, "x", ["m"], ["q"])


@scenario
def an_exchange_unbound_from_another(w: World) -> None:
    channel = w.channel()
    make(channel, "y", "fanout")
    channel.ask(Exchange.Bind(destination="y", source="amq.direct", routing_key="k"))
    channel.queue()
    channel.bind("q", "y")
    where(w, channel, "amq.direct", ["k"], ["q"])
    channel.ask(Exchange.Unbind(destination="y", source="amq.direct", routing_key="k"))
    where(w, channel, "amq.direct", ["k"], ["q"])


@scenario
def an_alternate_takes_what_fits_nowhere(w: World) -> None:
    channel = w.channel()
    make(channel, "rest", "fanout")
    make(channel, "x", "direct", arguments={"alternate-exchange": "rest"})
    channel.queue("q")
    channel.queue("unrouted")
    channel.bind("q", "x", "k")
    channel.bind("unrouted", "rest")
    where(w, channel, "x", ["k", "other"], ["q", "unrouted"])


@scenario
def an_alternate_that_is_not_there(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "direct", arguments={"alternate-exchange": "nowhere"})
    where(w, channel, "x", ["k"], [])


@scenario
def alternates_in_a_ring(w: World) -> None:
    channel = w.channel()
    make(channel, "x", "direct", arguments={"alternate-exchange": "y"})
    make(channel, "y", "direct", arguments={"alternate-exchange": "x"})
    where(w, channel, "x", ["k"], [])


@scenario
def deleting_an_exchange_ends_its_bindings(w: World) -> None:
    channel = w.channel()
    make(channel)
    channel.queue()
    channel.bind("q", "x", "k")
    channel.ask(Exchange.Delete(exchange="x"))
    make(channel)
    where(w, channel, "x", ["k"], ["q"])


@scenario
def deleting_a_queue_ends_its_bindings(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.bind("q", "amq.direct", "k")
    channel.ask(Queue.Delete(queue="q"))
    channel.queue()
    where(w, channel, "amq.direct", ["k"], ["q"])


@scenario
def nowait_has_no_answers(w: World) -> None:
    channel = w.channel()
    channel.tell(Exchange.Declare(exchange="x", exchange_type="fanout", durable=True, nowait=True))
    channel.tell(Queue.Declare(queue="q", durable=True, nowait=True))
    channel.tell(Queue.Bind(queue="q", exchange="x", nowait=True))
    channel.tell(Exchange.Bind(destination="x", source="amq.topic", routing_key="#", nowait=True))
    where(w, channel, "amq.topic", ["m"], ["q"])
    channel.tell(Exchange.Unbind(destination="x", source="amq.topic", routing_key="#", nowait=True))
    channel.tell(Exchange.Delete(exchange="x", nowait=True))
    channel.ask(Exchange.Declare(exchange="x", passive=True))


@scenario
def the_last_queue_made_is_meant_by_no_name(w: World) -> None:
    channel = w.channel()
    channel.declare("q")
    channel.ask(Queue.Bind(queue="", exchange="amq.direct", routing_key=""))
    where(w, channel, "amq.direct", ["q", ""], ["q"])


@scenario
def no_name_and_no_queue_made(w: World) -> None:
    w.channel().ask(Queue.Bind(queue="", exchange="amq.direct", routing_key="k"))
