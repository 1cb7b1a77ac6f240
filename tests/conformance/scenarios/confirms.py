"""Publisher confirms and transactions."""

from pamqp import commands
from world import World, scenario

Queue, Basic, Confirm, Tx = commands.Queue, commands.Basic, commands.Confirm, commands.Tx


@scenario
def select_and_select_again(w: World) -> None:
    channel = w.channel()
    channel.ask(Confirm.Select())
    channel.ask(Confirm.Select())
    channel.tell(Confirm.Select(nowait=True))
    channel.alive()


@scenario
def one_message(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.confirms()
    channel.publish("", "q")
    channel.nothing(5)


@scenario
def many_messages(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.confirms()
    for number in range(50):
        channel.publish("", "q", str(number), delivery_mode=1 + number % 2)
    channel.confirmed()
    channel.count()


@scenario
def tags_count_from_the_select(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.publish("", "q", "before")
    channel.confirms()
    channel.publish("", "q", "after")
    channel.nothing(5)


@scenario
def unroutable_is_confirmed(w: World) -> None:
    channel = w.channel()
    channel.confirms()
    channel.publish("", "nowhere")
    channel.nothing(5)


@scenario
def returned_before_confirmed(w: World) -> None:
    channel = w.channel()
    channel.confirms()
    channel.publish("", "nowhere", "a", mandatory=True)
    channel.nothing(5)
    channel.nothing(5)


@scenario
def confirmed_when_in_all_queues(w: World) -> None:
    channel = w.channel()
    for queue in ("a", "b", "c"):
        channel.queue(queue)
        channel.bind(queue, "amq.fanout")
    channel.confirms()
    channel.publish("amq.fanout", "", delivery_mode=2)
    channel.confirmed()
    for queue in ("a", "b", "c"):
        channel.count(queue)


@scenario
def a_mistake_after_messages(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.confirms()
    channel.publish("", "q")
    channel.confirmed()
    channel.publish("nowhere", "k")
    channel.alive()


@scenario
def confirms_on_a_transacted_channel(w: World) -> None:
    channel = w.channel()
    channel.ask(Tx.Select())
    channel.ask(Confirm.Select())


@scenario
def a_transaction_on_a_confirming_channel(w: World) -> None:
    channel = w.channel()
    channel.ask(Confirm.Select())
    channel.ask(Tx.Select())


@scenario
def select_twice(w: World) -> None:
    channel = w.channel()
    channel.ask(Tx.Select())
    channel.ask(Tx.Select())


@scenario
def commit_without_select(w: World) -> None:
    w.channel().ask(Tx.Commit())


@scenario
def rollback_without_select(w: World) -> None:
    w.channel().ask(Tx.Rollback())


@scenario
def messages_wait_for_the_commit(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Tx.Select())
    channel.publish("", "q", "a")
    channel.publish("", "q", "b")
    channel.count()
    channel.ask(Tx.Commit())
    channel.wait_for("q", 2)
    channel.drain()


@scenario
def messages_are_forgotten_by_a_rollback(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Tx.Select())
    channel.publish("", "q", "a")
    channel.ask(Tx.Rollback())
    channel.publish("", "q", "b")
    channel.ask(Tx.Commit())
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def acks_wait_for_the_commit(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.ask(Tx.Select())
    channel.get(no_ack=False)
    channel.ack(1)
    channel.close()
    other = w.channel()
    other.wait_for("q", 2)
    other.ask(Tx.Select())
    other.get(no_ack=False)
    other.ack(1)
    other.ask(Tx.Commit())
    other.close()
    w.channel().drain()


@scenario
def a_rollback_forgets_acks(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a")
    channel.ask(Tx.Select())
    channel.get(no_ack=False)
    channel.ack(1)
    channel.ask(Tx.Rollback())
    channel.ack(1)
    channel.ask(Tx.Commit())
    channel.close()
    w.channel().drain()


@scenario
def nacks_wait_for_the_commit(w: World) -> None:
    channel = w.channel()
    channel.queue()
    w.fill("q", "a", "b")
    channel.ask(Tx.Select())
    channel.get(no_ack=False)
    channel.get(no_ack=False)
    channel.nack(1, requeue=True)
    channel.reject(2, requeue=False)
    channel.count()
    channel.ask(Tx.Commit())
    channel.wait_for("q", 1)
    channel.drain()


@scenario
def an_unknown_tag_in_a_transaction(w: World) -> None:
    channel = w.channel()
    channel.ask(Tx.Select())
    channel.ack(9)
    channel.alive()


@scenario
def a_mistake_forgets_the_transaction(w: World) -> None:
    channel = w.channel()
    channel.queue()
    channel.ask(Tx.Select())
    channel.publish("", "q", "a")
    channel.count("nowhere")
    w.channel().drain()


@scenario
def mandatory_in_a_transaction(w: World) -> None:
    channel = w.channel()
    channel.ask(Tx.Select())
    channel.publish("", "nowhere", "a", mandatory=True)
    channel.nothing()
    channel.tell(Tx.Commit())
    for _ in range(2):
        channel.nothing(5)
