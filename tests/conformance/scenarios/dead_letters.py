"""Dead letters: why, where to, and the headers that tell of it."""

import time

from pamqp import commands
from wire import Channel
from world import NO_LAST_DEATH, World, scenario

Queue, Basic, Exchange = commands.Queue, commands.Basic, commands.Exchange


def pair(w: World, **arguments: object) -> Channel:
    """A queue whose dead letters go to the queue "dead" through the default exchange."""
    channel = w.channel()
    channel.queue("dead")
    channel.queue("q", dead_letter_exchange="", dead_letter_routing_key="dead", **arguments)
    return channel


def dead(channel: Channel, count: int = 1) -> None:
    channel.wait_for("dead", count)
    channel.drain("dead")


@scenario(differs=NO_LAST_DEATH)
def rejected(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)


@scenario(differs=NO_LAST_DEATH)
def nacked_all_at_once(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", "b", "c")
    for _ in range(3):
        channel.get(no_ack=False)
    channel.nack(3, multiple=True, requeue=False)
    dead(channel, 3)


@scenario(differs=NO_LAST_DEATH)
def expired(w: World) -> None:
    channel = pair(w, message_ttl=30)
    w.fill("q", "a")
    dead(channel)


@scenario(differs=NO_LAST_DEATH)
def expired_by_its_own_time(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", expiration="30")
    dead(channel)


@scenario(differs=NO_LAST_DEATH)
def pushed_out(w: World) -> None:
    channel = pair(w, max_length=1)
    w.fill("q", "a", "b")
    dead(channel)
    channel.drain("q")


@scenario(differs=NO_LAST_DEATH)
def refused_by_a_full_queue(w: World) -> None:
    channel = pair(w, max_length=1, overflow="reject-publish-dlx")
    channel.confirms()
    for body in "ab":
        channel.publish("", "q", body)
        channel.confirmed()
    dead(channel)
    channel.drain("q")


@scenario
def refused_by_a_full_queue_without_dlx(w: World) -> None:
    channel = pair(w, max_length=1, overflow="reject-publish")
    channel.confirms()
    for body in "ab":
        channel.publish("", "q", body)
        channel.confirmed()
    channel.count("dead")


@scenario(differs=NO_LAST_DEATH)
def the_key_stays_without_another(w: World) -> None:
    channel = w.channel()
    channel.queue("dead")
    channel.bind("dead", "amq.topic", "first.*")
    channel.queue("q", dead_letter_exchange="amq.topic")
    channel.bind("q", "amq.direct", "first.key")
    channel.publish("amq.direct", "first.key", "a")
    channel.wait_for("q", 1)
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)


@scenario
def an_exchange_that_is_not_there(w: World) -> None:
    channel = w.channel()
    channel.declare(arguments={"x-dead-letter-exchange": "nowhere"})
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    channel.alive()
    channel.drain()


@scenario(differs=NO_LAST_DEATH)
def an_exchange_made_later(w: World) -> None:
    channel = w.channel()
    channel.queue("q", dead_letter_exchange="later")
    channel.queue("dead")
    channel.exchange("later", "fanout")
    channel.bind("dead", "later")
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)


@scenario
def dead_letters_that_fit_nowhere(w: World) -> None:
    channel = w.channel()
    channel.queue("q", dead_letter_exchange="amq.direct")
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    channel.alive()
    channel.drain()


@scenario(differs="3.10 takes the x-death that a client sends for its own and counts on")
def twice_for_the_same_reason(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", headers={"own": "h"})
    for tag in (1, 3):
        channel.get(no_ack=False)
        channel.reject(tag, requeue=False)
        channel.wait_for("dead", 1)
        headers = channel.silently(Basic.Get(queue="dead", no_ack=False))
        w.note(*headers)
        if tag == 1:
            channel.ack(2)
            # As a retry does: the message as it came, with its headers.
            counted = {"x-death": [{"queue": "q", "reason": "rejected", "exchange": "", "count": 1}], "own": "h"}
            channel.publish("", "q", "a", headers=counted)
            channel.wait_for("q", 1)


@scenario(differs=NO_LAST_DEATH)
def round_and_round(w: World) -> None:
    channel = w.channel()
    channel.queue("wait", message_ttl=30, dead_letter_exchange="", dead_letter_routing_key="q")
    channel.queue("q", dead_letter_exchange="", dead_letter_routing_key="wait")
    w.fill("q", "a")
    for tag in (1, 2, 3):
        channel.wait_for("q", 1)
        channel.get(no_ack=False)
        channel.reject(tag, requeue=False)


@scenario
def a_ring_without_a_rejection_ends(w: World) -> None:
    channel = w.channel()
    channel.queue("a", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="b")
    channel.queue("b", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="a")
    w.fill("a", "m")
    time.sleep(0.3)
    channel.count("a")
    channel.count("b")


@scenario
def a_queue_that_is_its_own_dead_letter(w: World) -> None:
    channel = w.channel()
    channel.queue("q", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="q")
    w.fill("q", "a")
    time.sleep(0.2)
    channel.count()


@scenario(differs=NO_LAST_DEATH)
def rejected_back_into_its_own_queue(w: World) -> None:
    channel = w.channel()
    channel.queue("q", dead_letter_exchange="", dead_letter_routing_key="q")
    w.fill("q", "a")
    for tag in (1, 2):
        channel.wait_for("q", 1)
        channel.get(no_ack=False)
        channel.reject(tag, requeue=False)
    channel.wait_for("q", 1)
    channel.drain()


@scenario(differs=NO_LAST_DEATH)
def two_reasons(w: World) -> None:
    channel = w.channel()
    channel.queue("dead")
    channel.queue("middle", message_ttl=30, dead_letter_exchange="", dead_letter_routing_key="dead")
    channel.queue("q", dead_letter_exchange="", dead_letter_routing_key="middle")
    w.fill("q", "a", headers={"own": 1}, message_id="m")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)


@scenario(differs=NO_LAST_DEATH)
def to_two_queues(w: World) -> None:
    channel = w.channel()
    channel.exchange("x", "fanout")
    for queue in ("dead", "dead too"):
        channel.queue(queue.replace(" ", "-"))
        channel.bind(queue.replace(" ", "-"), "x")
    channel.queue("q", dead_letter_exchange="x")
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)
    channel.wait_for("dead-too", 1)
    channel.drain("dead-too")


@scenario(differs="3.10 drops CC, 4.3 only heeds it no more")
def cc_is_dropped_with_a_key(w: World) -> None:
    channel = pair(w)
    channel.queue("copy")
    w.fill("q", "a", headers={"CC": ["copy"]})
    channel.drain("copy")
    channel.reject(channel.get(no_ack=False)[1]["delivery_tag"], requeue=False)
    dead(channel)
    channel.drain("copy")


@scenario(differs=NO_LAST_DEATH)
def cc_is_told_in_x_death(w: World) -> None:
    channel = w.channel()
    for queue in ("dead", "copy"):
        channel.queue(queue)
        channel.bind(queue, "amq.direct", queue)
    channel.bind("dead", "amq.direct", "q")
    channel.queue("q", dead_letter_exchange="amq.direct")
    w.fill("q", "a", headers={"CC": ["copy"], "BCC": ["nowhere"]})
    channel.drain("copy")
    channel.reject(channel.get(no_ack=False)[1]["delivery_tag"], requeue=False)
    dead(channel)
    channel.wait_for("copy", 1)
    channel.drain("copy")


@scenario
def purged_and_deleted_ones_are_no_dead_letters(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a")
    channel.ask(Queue.Purge(queue="q"))
    w.fill("q", "b")
    channel.ask(Queue.Delete(queue="q"))
    channel.alive()
    channel.count("dead")


@scenario
def acknowledged_and_requeued_ones_are_no_dead_letters(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", "b")
    channel.get(no_ack=False)
    channel.get(no_ack=False)
    channel.ack(1)
    channel.reject(2, requeue=True)
    channel.wait_for("q", 1)
    channel.count("dead")


@scenario(differs=NO_LAST_DEATH)
def the_order_of_dead_letters(w: World) -> None:
    channel = pair(w, message_ttl=30)
    w.fill("q", "a", "b", "c", "d")
    dead(channel, 4)


@scenario(differs=NO_LAST_DEATH)
def to_a_consumer(w: World) -> None:
    channel = pair(w)
    channel.consume("dead")
    w.fill("q", "a")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    channel.see()


@scenario(differs="3.10 takes the x-death that a client sends for its own")
def x_death_is_not_a_list(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", headers={"x-death": "mine"})
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)


@scenario(differs=NO_LAST_DEATH)
def an_expired_one_may_expire_no_more(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", expiration="20")
    channel.wait_for("dead", 1)
    time.sleep(0.08)
    channel.drain("dead")


@scenario(differs=NO_LAST_DEATH)
def a_rejected_one_keeps_its_time(w: World) -> None:
    channel = pair(w)
    w.fill("q", "a", expiration="60000")
    channel.get(no_ack=False)
    channel.reject(1, requeue=False)
    dead(channel)
