"""One channel of a connection: every method a client may call on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pamqp import commands

from mqlab.broker.embedded import arguments, firehose, frames
from mqlab.broker.embedded.consumers import Consumer, Delivery, Replies, settle_all
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.methods import NOTHING
from mqlab.broker.embedded.model import REPLY_TO, generated
from mqlab.broker.embedded.properties import Facts, facts, join, short, split
from mqlab.broker.embedded.queues import Message
from mqlab.broker.embedded.transactions import Transaction

if TYPE_CHECKING:
    from mqlab.broker.embedded.session import Session

Basic, Tx = commands.Basic, commands.Tx


MESSAGE_SIZE = 1 << 29  # what no message may exceed, whatever the configured limit


class Channel:
    """One channel. Methods are named after AMQP's: `queue_declare` answers queue.declare."""

    def __init__(self, session: Session, number: int) -> None:
        assert session.vhost is not None
        self.session = session
        self.number = number
        self.vhost = session.vhost
        self.opened = True  # or not: the client published first
        self.closing = False  # the client was told that it is closed; it has to say close-ok
        self.consumers: dict[str, Consumer] = {}
        self.unacked: dict[int, Delivery] = {}
        self.delivery_tag = 0
        self.prefetch = 0
        self.last_queue = ""
        self.replies: Replies | None = None
        # Publishing.
        self.publish: frames.Publish | None = None  # whose content is on its way
        self.raw: bytes | None = None
        self.size = 0
        self.too_large = 0  # the size of a message over the limit
        self.parts: list[bytes] = []
        self.confirms = False
        self.sequence = 0
        self.confirmed: list[int] = []
        self.rejected: list[int] = []
        self.transaction: Transaction | None = None

    # Output.

    def send(self, method: Any) -> None:
        self.flush_confirms()
        self.session.send(method, self.number)

    def send_content(self, method: tuple[bytes, ...], properties: bytes, body: bytes) -> None:
        session = self.session
        session.out += frames.content(self.number, method, properties, body, session.frame_max)
        session.written(len(body))

    def flush_confirms(self) -> None:
        """Tells the publisher what was taken and what was refused."""
        out, number = self.session.out, self.number
        if self.rejected:
            before = min(self.rejected)
            if early := [tag for tag in self.confirmed if tag < before]:
                out.append(frames.settled(number, frames.ACK_INDEX, early[-1], len(early) > 1))
            out += [frames.settled(number, frames.ACK_INDEX, tag, False) for tag in self.confirmed if tag > before]
            out += [frames.settled(number, frames.NACK_INDEX, tag, False) for tag in self.rejected]
            self.rejected, self.confirmed = [], []
        elif self.confirmed:
            out.append(frames.settled(number, frames.ACK_INDEX, self.confirmed[-1], len(self.confirmed) > 1))
            self.confirmed = []

    # A message comes in: method, header, body.

    def begin_publish(self, payload: bytes) -> None:
        self.publish = frames.read_publish(payload)
        self.raw = None

    def basic_deliver(self, method: Any) -> None:
        """A client has nothing to deliver: it is told so when all of the message is there."""
        self.publish, self.raw = frames.NO_PUBLISH, None

    basic_return = basic_get_ok = basic_deliver

    def expect(self, kind: int) -> None:
        """Refuses a frame that does not belong where it came."""
        if self.publish is None:
            if kind != frames.METHOD:
                raise AmqpError("UNEXPECTED_FRAME", "expected method frame, got non method frame instead", NOTHING)
        elif self.raw is None:
            if kind != frames.HEADER:
                text = "expected content header for class 60, got non content header frame instead"
                raise AmqpError("UNEXPECTED_FRAME", text, frames.PUBLISH)
        elif kind != frames.BODY:
            text = "expected content body, got non content body frame instead"
            raise AmqpError("UNEXPECTED_FRAME", text, frames.PUBLISH)

    def header(self, payload: bytes) -> None:
        if len(payload) < 12:
            raise frames.refused(frames.HEADER, payload, "unknown_frame")
        self.expect(frames.HEADER)
        class_id, weight, self.size = frames.CLASS.unpack_from(payload)
        if weight:
            self.expect(frames.METHOD)
        if class_id != 60:
            text = f"expected content header for class 60, got one for class {class_id} instead"
            raise AmqpError("UNEXPECTED_FRAME", text, frames.PUBLISH)
        self.raw = payload[12:]
        if not self.size:
            self.published(b"")
        elif self.size > MESSAGE_SIZE:
            text = f"content body size {self.size} exceeds maximum allowed size {MESSAGE_SIZE}"
            raise AmqpError("FRAME_ERROR", text, frames.PUBLISH)
        self.too_large = self.size if self.size > self.session.limits.message_size else 0

    def body(self, payload: bytes) -> None:
        if self.raw is None:
            self.expect(frames.BODY)
        self.size -= len(payload)
        if self.size < 0:
            raise AmqpError("FRAME_ERROR", "content body frame exceeds remaining content size", frames.PUBLISH)
        if self.too_large:
            self.refuse_large()
        elif self.size:
            self.parts.append(payload)
        elif self.parts:
            parts, self.parts = self.parts, []
            self.published(b"".join((*parts, payload)))
        else:
            self.published(payload)

    def refuse_large(self) -> None:
        """A message over the limit is refused when all of it has come; nothing of it is kept."""
        if not self.size:
            text = (
                f"message size {self.too_large} is larger than configured max size {self.session.limits.message_size}"
            )
            self.publish = self.raw = None
            if not self.closing:
                raise AmqpError("PRECONDITION_FAILED", text)

    def published(self, body: bytes) -> None:
        """A message is complete: checks it, and routes it unless a transaction has to be committed first."""
        publish, raw = self.publish, self.raw
        self.publish = self.raw = None
        if self.closing:
            return
        if not self.opened:
            raise AmqpError("CHANNEL_ERROR", "expected 'channel.open'", frames.PUBLISH)
        assert publish is not None and raw is not None
        if publish is frames.NO_PUBLISH:
            raise AmqpError("COMMAND_INVALID", "unimplemented method")
        if publish.immediate:
            raise AmqpError("NOT_IMPLEMENTED", "immediate=true")
        exchange = self.vhost.exchange(publish.exchange)
        if exchange.internal:
            called = self.vhost.called("exchange", exchange.name)
            raise AmqpError("ACCESS_REFUSED", f"cannot publish to internal {called}")
        try:
            known = facts(raw)
        except ValueError as error:
            raise AmqpError("INTERNAL_ERROR", method=NOTHING) from error
        if known.reply_to == REPLY_TO:
            known = self.with_reply_to(raw)
        if known.wrong:
            raise AmqpError("PRECONDITION_FAILED", known.wrong)
        if known.user_id is not None and known.user_id != self.session.user:
            text = f"user_id property set to '{known.user_id}' but authenticated user was '{self.session.user}'"
            raise AmqpError("PRECONDITION_FAILED", text)
        message = Message(publish.address, known.raw, body, known)
        queues = self.vhost.route(publish.exchange, publish.key, known)
        if self.vhost.tracing:
            firehose.published(self, message, queues)
        if self.transaction is not None:
            self.transaction.publish(queues, message, publish.mandatory)
            return
        accepted = self.deliver(queues, message, publish.mandatory)
        if self.confirms:
            self.sequence += 1
            (self.confirmed if accepted else self.rejected).append(self.sequence)
            self.session.wake_confirms(self)

    def deliver(self, queues: list[Any], message: Message, mandatory: bool) -> bool:
        """Puts a message into its queues; False when one of them refused it."""
        if not queues and mandatory:
            method = frames.RETURN, b"\x01\x38\x08NO_ROUTE", message.address
            self.send_content(method, message.properties, message.body)
        accepted = True
        for queue in queues:
            accepted = queue.put(message) and accepted
        return accepted

    def with_reply_to(self, raw: bytes) -> Facts:
        """Direct reply-to: the pseudo-queue's own name stands in for amq.rabbitmq.reply-to."""
        if self.replies is None:
            raise AmqpError("PRECONDITION_FAILED", "fast reply consumer does not exist")
        return facts(join({**split(raw), "reply_to": short(self.replies.name)}))

    # Acknowledgements.

    def basic_ack(self, tag: int, multiple: bool) -> None:
        if multiple or self.transaction is not None or tag not in self.unacked:
            self.settle(tag, bool(multiple), "ack")
            return
        queue, entry, consumer = self.unacked.pop(tag)
        queue.forget(entry)
        if consumer is not None:
            consumer.settled()
        if queue.ready:
            queue.deliver()

    def basic_nack(self, method: Any) -> None:
        self.settle(method.delivery_tag, method.multiple, "requeue" if method.requeue else "reject")

    def basic_reject(self, method: Any) -> None:
        self.settle(method.delivery_tag, False, "give_back" if method.requeue else "refuse")

    def settle(self, tag: int, multiple: bool, how: str) -> None:
        """Takes deliveries off the list of unacknowledged ones: this one, or all up to it (all there are: tag 0)."""
        if multiple and tag == 0:
            tags = list(self.unacked)
        elif tag not in self.unacked:
            raise AmqpError("PRECONDITION_FAILED", f"unknown delivery tag {tag}")
        elif multiple:
            tags = []
            for known in self.unacked:
                tags.append(known)
                if known == tag:
                    break
        else:
            tags = [tag]
        taken = {known: self.unacked.pop(known) for known in tags}
        if self.transaction is None:
            settle_all(taken.values(), how)
        else:
            self.transaction.settle(how, taken)

    def basic_recover(self, method: Any) -> None:
        if method.requeue:
            self.send(Basic.RecoverOk())  # before what it gives back is delivered again
        self.basic_recover_async(method)

    def basic_recover_async(self, method: Any) -> None:
        if not method.requeue:
            raise AmqpError("NOT_IMPLEMENTED", "requeue=false")
        unacked, self.unacked = self.unacked, {}
        settle_all(unacked.values(), "requeue")

    # Consuming.

    def basic_qos(self, method: Any) -> None:
        if method.prefetch_size:
            raise AmqpError("NOT_IMPLEMENTED", f"prefetch_size!=0 ({method.prefetch_size})")
        self.prefetch = (
            method.prefetch_count
        )  # for consumers to come; `global` too means each of them, as in RabbitMQ 4.3
        self.send(Basic.QosOk())

    def basic_get(self, method: Any) -> None:
        queue = self.vhost.queue(self.shortcut(method.queue), self.session)
        if queue.single_active and queue.type == "quorum":
            called = f"cannot obtain access to locked {self.vhost.called('queue', queue.name)}"
            why = 'basic.get operations are not supported by <<"quorum">> queues with single active consumer'
            raise AmqpError("RESOURCE_LOCKED", f"{called}. {why}")
        entry = queue.get()
        if entry is None:
            self.send(Basic.GetEmpty())
            return
        self.flush_confirms()
        self.delivery_tag += 1
        if method.no_ack:
            queue.forget(entry)
        else:
            self.unacked[self.delivery_tag] = (queue, entry, None)
            queue.lend(entry, self, None)
        tag = frames.TAG.pack(self.delivery_tag, entry.redelivered)
        queue.expire()
        waiting = len(queue.ready).to_bytes(4, "big")
        message, properties, again = entry.message, queue.written(entry), entry.redelivered
        self.send_content((frames.GET_OK, tag, message.address, waiting), properties, message.body)
        if self.vhost.tracing:
            firehose.delivered(self, queue.name, message, properties, again)

    def basic_consume(self, method: Any) -> None:
        tag = method.consumer_tag
        if tag in self.consumers or (self.replies and self.replies.tag == tag):
            raise AmqpError("NOT_ALLOWED", f"attempt to reuse consumer tag '{tag}'")
        if method.queue == REPLY_TO:
            return self.consume_replies(method)
        queue = self.vhost.queue(self.shortcut(method.queue), self.session)
        called = self.vhost.called("queue", queue.name)
        args = method.arguments
        arguments.check_consumer(called, queue.type, args)
        taken = any(other.exclusive for other in queue.consumers)
        wanted = method.exclusive and (queue.consumers or queue.single_active)
        if queue.type == "classic" and (taken or wanted):
            raise AmqpError("ACCESS_REFUSED", f"{called} in exclusive use")
        tag = tag or generated("amq.ctag")
        consumer = Consumer(self, queue, tag, method.no_ack, method.exclusive, args)
        self.consumers[tag] = consumer
        if not method.nowait:
            self.send(Basic.ConsumeOk(tag))
        queue.subscribe(consumer)

    def consume_replies(self, method: Any) -> None:
        if not method.no_ack:
            raise AmqpError("PRECONDITION_FAILED", "reply consumer cannot acknowledge")
        if self.replies is not None:
            raise AmqpError("PRECONDITION_FAILED", "reply consumer already set")
        self.replies = Replies(
            self, generated(self.vhost.broker.reply_prefix), method.consumer_tag or generated("amq.ctag")
        )
        self.vhost.replies[self.replies.name] = self.replies
        if not method.nowait:
            self.send(Basic.ConsumeOk(self.replies.tag))

    def basic_cancel(self, method: Any) -> None:
        if self.replies and self.replies.tag == method.consumer_tag:
            self.forget_replies()
        elif consumer := self.consumers.pop(method.consumer_tag, None):
            consumer.queue.unsubscribe(consumer)
        if not method.nowait:
            self.send(Basic.CancelOk(method.consumer_tag))

    def basic_cancel_ok(self, method: Any) -> None:
        """The client has seen the broker's own cancel: a consumer that was late goes now."""
        if consumer := self.consumers.pop(method.consumer_tag, None):
            consumer.queue.unsubscribe(consumer)

    # Deliveries that were taken back, because they were not acknowledged in time.

    def replace(self, tag: int, delivery: Delivery) -> None:
        """Puts another delivery in the place of an unacknowledged one, also where its settling waits for a commit."""
        settled = [deliveries for _, deliveries in self.transaction.settled] if self.transaction else []
        next(known for known in (self.unacked, *settled) if tag in known)[tag] = delivery

    def tell_late(self, consumer: Any) -> bool:
        """Tells the client that its consumer is late; False where RabbitMQ closes the channel instead."""
        if consumer is None or consumer.tag not in self.consumers or not self.session.wants("consumer_cancel_notify"):
            return False
        self.send(Basic.Cancel(consumer.tag, nowait=True))
        return True

    def close_late(self) -> None:
        text = (
            f"delivery acknowledgement on channel {self.number} timed out. Timeout value used: -1 ms. "
            "This timeout value can be configured, see consumers doc guide to learn more"
        )
        self.session.close_channel(self, AmqpError("PRECONDITION_FAILED", text))

    def forget_replies(self) -> None:
        if self.replies is not None:
            self.vhost.replies.pop(self.replies.name, None)
            self.vhost.routes.clear()
            self.replies = None

    # Exchanges.

    def exchange_declare(self, method: Any) -> None:
        name, args = stripped(method.exchange), method.arguments
        if method.passive:
            arguments.refuse_default(name)
            self.vhost.exchange(name)
        else:
            flags = method.durable, method.auto_delete, method.internal
            self.vhost.declare_exchange(name, method.exchange_type, *flags, args)
        self.answer(method, commands.Exchange.DeclareOk)

    def exchange_delete(self, method: Any) -> None:
        self.vhost.delete_exchange(stripped(method.exchange), method.if_unused)
        self.answer(method, commands.Exchange.DeleteOk)

    def exchange_bind(self, method: Any) -> None:
        self.bind_exchanges(method, add=True)
        self.answer(method, commands.Exchange.BindOk)

    def exchange_unbind(self, method: Any) -> None:
        self.bind_exchanges(method, add=False)
        self.answer(method, commands.Exchange.UnbindOk)

    def bind_exchanges(self, method: Any, add: bool) -> None:
        source, destination = stripped(method.source), stripped(method.destination)
        arguments.refuse_default(destination)
        arguments.refuse_default(source)
        if add:
            self.vhost.exchange(source)
            self.vhost.bind(source, self.vhost.exchange(destination), method.routing_key, method.arguments)
        elif there := self.vhost.exchanges.get(destination):
            self.vhost.unbind(source, there, method.routing_key, method.arguments)

    # Queues.

    def shortcut(self, name: str) -> str:
        """No name means the queue declared last on this channel."""
        if not name and not self.last_queue:
            raise AmqpError("NOT_FOUND", "no previously declared queue")
        return name or self.last_queue

    def queue_declare(self, method: Any) -> None:
        name = stripped(method.queue)
        if name.startswith(REPLY_TO):
            return self.declare_replies(method, name)
        if method.passive:
            queue = self.vhost.queue(name, self.session)
            queue.used()
        else:
            flags = method.durable, method.exclusive, method.auto_delete
            queue = self.vhost.declare_queue(name, *flags, method.arguments, self.session)
        self.last_queue = queue.name
        if not method.nowait:
            queue.expire()
            self.declared(queue.name, len(queue.ready), queue.consumer_count())

    def declare_replies(self, method: Any, name: str) -> None:
        if name not in (REPLY_TO, *self.vhost.replies):
            if not name.startswith(self.vhost.broker.reply_prefix):
                raise AmqpError("INTERNAL_ERROR", method=NOTHING)
            raise AmqpError("NOT_FOUND", f"no {self.vhost.called('queue', name)}")
        self.last_queue = name
        if not method.nowait:
            self.declared(name, 0, 1)

    def declared(self, name: str, messages: int, consumers: int) -> None:
        self.flush_confirms()
        self.session.send_payload(frames.declare_ok(name.encode(), messages, consumers), self.number)

    def queue_bind(self, method: Any) -> None:
        self.bind_queue(method, add=True)
        self.answer(method, commands.Queue.BindOk)

    def queue_unbind(self, method: Any) -> None:
        self.bind_queue(method, add=False)
        self.send(commands.Queue.UnbindOk())

    def bind_queue(self, method: Any, add: bool) -> None:
        key = self.shortcut("") if not method.queue and not method.routing_key else method.routing_key
        name, source = stripped(self.shortcut(method.queue)), stripped(method.exchange)
        if name.startswith(f"{REPLY_TO}."):
            raise AmqpError("ACCESS_REFUSED", "cannot bind or unbind to a volatile (direct reply-to) queue")
        arguments.refuse_default(source)
        if add:
            self.vhost.exchange(source)
            self.vhost.bind(source, self.vhost.queue(name, self.session), key, method.arguments)
        elif there := self.vhost.queues.get(name):
            self.vhost.unbind(source, there, key, method.arguments)

    def queue_purge(self, method: Any) -> None:
        purged = self.vhost.queue(self.shortcut(method.queue), self.session).purge()
        self.answer(method, commands.Queue.PurgeOk, purged)

    def queue_delete(self, method: Any) -> None:
        name = stripped(self.shortcut(method.queue))
        queue = self.vhost.queues.get(name)
        if queue is None:
            self.answer(method, commands.Queue.DeleteOk, 0)
            return
        self.vhost.check_exclusive(queue, self.session)
        called = self.vhost.called("queue", name)
        if queue.type == "quorum" and (method.if_unused or method.if_empty):
            flag = "if-unused" if method.if_unused else "if-empty"
            text = f"queue.delete operations with {flag} flag set are not supported by quorum queues"
            raise AmqpError("NOT_IMPLEMENTED", f"cannot delete {called}. {text}")
        if method.if_unused and queue.consumers:
            raise AmqpError("PRECONDITION_FAILED", f"{called} in use")
        queue.expire()
        if method.if_empty and queue.ready:
            raise AmqpError("PRECONDITION_FAILED", f"{called} not empty")
        self.answer(method, commands.Queue.DeleteOk, len(queue.ready))
        self.vhost.delete_queue(queue)

    def answer(self, method: Any, answer: Callable[..., Any], *values: Any) -> None:
        if not method.nowait:
            self.send(answer(*values))

    # Confirms, transactions, flow.

    def confirm_select(self, method: Any) -> None:
        if self.transaction is not None:
            raise AmqpError("PRECONDITION_FAILED", "cannot switch from tx to confirm mode")
        self.confirms = True
        self.answer(method, commands.Confirm.SelectOk)

    def tx_select(self, method: Any) -> None:
        if self.confirms:
            raise AmqpError("PRECONDITION_FAILED", "cannot switch from confirm to tx mode")
        self.transaction = self.transaction or Transaction(self.vhost.broker)
        self.send(Tx.SelectOk())

    def tx_commit(self, method: Any) -> None:
        transaction = self.transactional()
        accepted = [
            self.deliver([queue for queue in queues if not queue.deleted], message, mandatory and not queues)
            for queues, message, mandatory in transaction.messages
        ]
        transaction.settle_now()
        transaction.end()
        if not all(accepted):
            raise AmqpError("PRECONDITION_FAILED", "partial tx completion")
        self.send(Tx.CommitOk())

    def tx_rollback(self, method: Any) -> None:
        transaction = self.transactional()
        self.unacked = dict(sorted([*self.unacked.items(), *transaction.deliveries().items()]))
        transaction.end()
        self.send(Tx.RollbackOk())

    def transactional(self) -> Transaction:
        if self.transaction is None:
            raise AmqpError("PRECONDITION_FAILED", "channel is not transactional")
        return self.transaction

    def channel_flow(self, method: Any) -> None:
        if not method.active:
            raise AmqpError("NOT_IMPLEMENTED", "active=false")
        self.send(commands.Channel.FlowOk(True))

    def channel_open(self, method: Any) -> None:
        raise AmqpError("CHANNEL_ERROR", "second 'channel.open' seen")

    # The end.

    def release(self) -> None:
        """The channel ends: its consumers go, what it did not acknowledge goes back."""
        self.forget_replies()
        consumers, self.consumers = self.consumers, {}
        for consumer in consumers.values():
            consumer.queue.unsubscribe(consumer)
        held, self.unacked = self.unacked, {}
        if self.transaction is not None:
            held = dict(sorted([*held.items(), *self.transaction.deliveries().items()]))
            self.transaction.end()
        settle_all(held.values(), "give_back")
        self.publish = self.raw = None
        self.parts = []


def stripped(name: str) -> str:
    """A name without line ends, which RabbitMQ takes out."""
    return name.replace("\n", "").replace("\r", "")
