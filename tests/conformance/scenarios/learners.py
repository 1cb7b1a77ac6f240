"""What learners write, with pika: the course's own ways and the classic mistakes."""

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker, NackError, UnroutableError
from world import World, scenario


def story(w: World, error: AMQPError) -> None:
    code = getattr(error, "reply_code", None)
    w.note(type(error).__name__, code, getattr(error, "reply_text", None))


@scenario
def the_first_message(w: World) -> None:
    channel = w.pika().channel()
    declared = channel.queue_declare("sign-ups", durable=True)
    w.note(declared.method.queue, declared.method.message_count, declared.method.consumer_count)
    channel.basic_publish("", "sign-ups", "Ana")
    method, properties, body = channel.basic_get("sign-ups", auto_ack=True)
    w.note(method.delivery_tag, method.redelivered, method.exchange, method.routing_key, body.decode())
    w.note(properties.delivery_mode, properties.headers)
    w.note(channel.basic_get("sign-ups"))


@scenario
def a_work_queue(w: World) -> None:
    connection = w.pika()
    channel = connection.channel()
    channel.queue_declare("work", durable=True)
    channel.basic_qos(prefetch_count=1)
    for task in "abcd":
        channel.basic_publish("", "work", task, pika.BasicProperties(delivery_mode=2))
    for method, properties, body in channel.consume("work", inactivity_timeout=5):
        w.note(method.delivery_tag, method.redelivered, properties.delivery_mode, body.decode())
        channel.basic_ack(method.delivery_tag)
        if body == b"d":
            break
    w.note(channel.cancel())


@scenario
def publish_and_subscribe(w: World) -> None:
    channel = w.pika().channel()
    channel.exchange_declare("notices", "fanout")
    queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
    for queue in queues:
        channel.queue_bind(queue, "notices")
    channel.basic_publish("notices", "", "new course")
    for queue in queues:
        w.note(queue, channel.basic_get(queue, auto_ack=True)[2].decode())


@scenario
def a_missing_queue(w: World) -> None:
    channel = w.pika().channel()
    try:
        channel.queue_declare("sing-ups", passive=True)
    except ChannelClosedByBroker as error:
        story(w, error)
    w.note(channel.is_open)


@scenario
def a_queue_declared_otherwise(w: World) -> None:
    channel = w.pika().channel()
    channel.queue_declare("sign-ups", durable=True)
    try:
        channel.queue_declare("sign-ups", durable=True, arguments={"x-message-ttl": 1000})
    except ChannelClosedByBroker as error:
        story(w, error)


@scenario(differs="3.10 makes it")
def a_queue_of_old_tutorials(w: World) -> None:
    try:
        w.pika().channel().queue_declare("hello")
        w.note("made")
    except ConnectionClosedByBroker as error:
        story(w, error)


@scenario
def an_ack_twice(w: World) -> None:
    connection = w.pika()
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.basic_publish("", "q", "a")
    method, _, _ = channel.basic_get("q")
    channel.basic_ack(method.delivery_tag)
    channel.basic_ack(method.delivery_tag)
    try:
        channel.queue_declare("q", passive=True)
    except ChannelClosedByBroker as error:
        story(w, error)


@scenario
def a_forgotten_ack(w: World) -> None:
    channel = w.pika().channel()
    channel.queue_declare("q", durable=True)
    channel.basic_publish("", "q", "a")
    channel.basic_get("q")
    w.note(channel.basic_get("q"))
    channel.close()
    method, _, body = w.pika().channel().basic_get("q")
    w.note(method.redelivered, body.decode())


@scenario
def confirmed_and_unroutable(w: World) -> None:
    channel = w.pika().channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", "nowhere", "a", mandatory=True)
    except UnroutableError as error:
        w.note([(each.method.reply_code, each.method.reply_text, each.body.decode()) for each in error.messages])
    w.note(channel.basic_publish("", "nowhere", "b"))


@scenario
def confirmed_and_refused(w: World) -> None:
    channel = w.pika().channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", "q", "a")
    try:
        channel.basic_publish("", "q", "b")
    except NackError as error:
        w.note(len(error.messages))


@scenario
def request_and_reply(w: World) -> None:
    asking, answering = w.pika().channel(), w.pika().channel()
    asking.queue_declare("questions", durable=True)
    answers = []
    asking.basic_consume("amq.rabbitmq.reply-to", lambda *heard: answers.append(heard[2:]), auto_ack=True)
    asking.basic_publish(
        "", "questions", "2 + 2", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    )

    def answer(channel, method, properties, body):
        channel.basic_publish(
            "", properties.reply_to, "4", pika.BasicProperties(correlation_id=properties.correlation_id)
        )
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    answering.basic_consume("questions", answer)
    answering.start_consuming()
    asking.connection.process_data_events(5)
    w.note([(properties.correlation_id, body.decode()) for properties, body in answers])


@scenario
def retries_by_dead_letters(w: World) -> None:
    channel = w.pika().channel()
    channel.queue_declare(
        "retry",
        durable=True,
        arguments={"x-message-ttl": 30, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "work"},
    )
    channel.queue_declare(
        "work", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "retry"}
    )
    channel.basic_publish("", "work", "poison")
    for method, properties, body in channel.consume("work", inactivity_timeout=5):
        deaths = (properties.headers or {}).get("x-death", [])
        w.note(body.decode(), [(death["queue"], death["reason"], death["count"]) for death in deaths])
        if deaths and deaths[0]["count"] == 2:
            channel.basic_ack(method.delivery_tag)
            break
        channel.basic_nack(method.delivery_tag, requeue=False)


@scenario
def a_consumer_whose_queue_goes(w: World) -> None:
    connection = w.pika()
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    told = []
    channel.add_on_cancel_callback(lambda frame: told.append(frame.method.consumer_tag))
    channel.basic_consume("q", lambda *heard: None, consumer_tag="c")
    w.pika().channel().queue_delete("q")
    for _ in range(20):
        connection.process_data_events(0.1)
        if told:
            break
    w.note(told)


@scenario
def a_transaction(w: World) -> None:
    channel = w.pika().channel()
    channel.queue_declare("q", durable=True)
    channel.tx_select()
    channel.basic_publish("", "q", "a")
    channel.tx_rollback()
    channel.basic_publish("", "q", "b")
    channel.tx_commit()
    w.note(channel.basic_get("q", auto_ack=True)[2].decode())


@scenario
def a_mistake_leaves_the_other_channel(w: World) -> None:
    connection = w.pika()
    one, two = connection.channel(), connection.channel()
    try:
        one.basic_consume("nowhere", lambda *heard: None)
    except ChannelClosedByBroker as error:
        story(w, error)
    w.note(two.queue_declare("q", durable=True).method.queue, one.is_open, two.is_open)


@scenario
def a_wrong_address(w: World) -> None:
    try:
        w.pika(virtual_host="no-such-place")
    except AMQPError as error:
        w.note(type(error).__name__, getattr(error, "reply_code", None))
    try:
        w.pika(credentials=pika.PlainCredentials("nobody", "wrong"))
    except AMQPError as error:
        w.note(type(error).__name__)
