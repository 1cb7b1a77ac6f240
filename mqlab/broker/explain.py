"""Say in plain words what an exception of pika means, and what to do."""

from types import TracebackType
from typing import Any

from pika import exceptions as errors
from pika.adapters.utils.connection_workflow import AMQPConnectorException

AGAIN = "Run the cell with broker.start() again: it starts a new one if need be. Then run the cells below it."
NEW_CHANNEL = "That closed the channel: open a new one with connection.channel()."
NEW_CONNECTION = "That closed the connection: open a new one, and a channel on it."

# The first line whose class fits, and whose words are in the exception's text, explains it.
MEANINGS: list[tuple[type[Exception], str, str]] = [
    # Ways to lose a connection
    (
        errors.AMQPConnectionError,
        "pop from an empty deque",
        "Two threads used one connection at the same time. Give each thread a connection of its own, or hand the work "
        "to the thread that has it with connection.add_callback_threadsafe().",
    ),
    (errors.AMQPHeartbeatTimeout, "", f"RabbitMQ no longer answers. {AGAIN}"),
    (errors.StreamLostError, "", f"The connection to RabbitMQ was lost: it has stopped or no longer answers. {AGAIN}"),
    (
        errors.ConnectionClosedByBroker,
        "CONNECTION_FORCED",
        f"RabbitMQ closed the connection: it is stopping, or this notebook's space was emptied. {AGAIN}",
    ),
    (
        errors.ConnectionClosed,
        "transient_nonexcl_queues",
        "RabbitMQ 4.3 refuses a queue that is neither durable nor exclusive. Declare it with durable=True, or with "
        f"exclusive=True if only this connection needs it. {NEW_CONNECTION}",
    ),
    (errors.ConnectionClosed, "INTERNAL_ERROR", f"RabbitMQ failed at what it was asked to do. {NEW_CONNECTION}"),
    (
        errors.ConnectionClosed,
        "attempt to reuse consumer tag",
        f"Two consumers have the same consumer_tag. Leave it out: RabbitMQ then makes one. {NEW_CONNECTION}",
    ),
    (
        errors.ConnectionClosed,
        " exchange type '",
        f"There is no exchange type of that name: it is direct, fanout, topic or headers. {NEW_CONNECTION}",
    ),
    (
        errors.ConnectionClosed,
        "",
        f"RabbitMQ closed the connection, for what was sent breaks its rules. {NEW_CONNECTION}",
    ),
    # Ways not to get one
    (
        errors.ProbableAuthenticationError,
        "",
        "RabbitMQ refused the user name or the password. Use rabbit.url as it is: "
        "pika.BlockingConnection(pika.URLParameters(rabbit.url)).",
    ),
    (
        errors.ProbableAccessDeniedError,
        "",
        "RabbitMQ has no such virtual host, or this user may not use it. Use rabbit.url as it is, and run the cell "
        "with broker.start() again if this one is old.",
    ),
    (
        errors.ConnectionBlockedTimeout,
        "",
        "RabbitMQ is short of memory or disk and takes no more messages. Consume or purge what waits in its queues, "
        "then publish again on a new connection.",
    ),
    (
        errors.ConnectionWrongStateError,
        "",
        "This connection is closed. Open a new one with pika.BlockingConnection(pika.URLParameters(rabbit.url)), and a "
        "channel on it.",
    ),
    (errors.NoFreeChannels, "", "This connection has no channel left. Close those that are no longer needed."),
    (errors.AMQPConnectionError, "", f"No RabbitMQ answers at this address. {AGAIN}"),
    (AMQPConnectorException, "", f"No RabbitMQ answers at this address, or it is frozen. {AGAIN}"),
    # What a channel is closed for
    (
        errors.ChannelClosed,
        "NOT_FOUND - no queue",
        f"There is no queue of that name. Declare it first, and look at its spelling. {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "NOT_FOUND - no exchange",
        f"There is no exchange of that name. Declare it first, and look at its spelling. {NEW_CHANNEL}",
    ),
    (errors.ChannelClosed, "NOT_FOUND", f"RabbitMQ found nothing of that name. {NEW_CHANNEL}"),
    (
        errors.ChannelClosed,
        "in exclusive use",
        "Another consumer has this queue to itself. Cancel that one first, or consume without exclusive=True. "
        f"{NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "ACCESS_REFUSED",
        f"RabbitMQ does not let this user do that. Names that begin with amq. belong to RabbitMQ. {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "RESOURCE_LOCKED",
        "The queue is exclusive to another connection. Close that connection first, or declare the queue on it. "
        f"{NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "inequivalent arg",
        "There is one of that name already, with other settings. Declare it with the same settings, or delete it first "
        f"with queue_delete or exchange_delete. {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        " exchange type '",
        f"There is no exchange type of that name: it is direct, fanout, topic or headers. {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "unknown delivery tag",
        "This delivery is not waiting for an answer on this channel. Was it acknowledged twice, on another channel, or "
        f"consumed with auto_ack=True? {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "acknowledgement on channel",
        f"The consumer took too long to acknowledge a message, so RabbitMQ gave the message back. {NEW_CHANNEL}",
    ),
    (
        errors.ChannelClosed,
        "PRECONDITION_FAILED",
        f"RabbitMQ could not do that as things are: see the reason it gives at the end. {NEW_CHANNEL}",
    ),
    (errors.ChannelClosed, "", f"RabbitMQ refused that: see the reason it gives at the end. {NEW_CHANNEL}"),
    # The rest of what a channel can say
    (
        errors.ChannelWrongStateError,
        "",
        "This channel is closed. Something before may have closed it without a word: publishing to an exchange that is "
        "not there, or acknowledging a delivery twice. Open a new one with connection.channel(); if the connection is "
        "closed too, open a new connection first.",
    ),
    (
        errors.UnroutableError,
        "",
        "RabbitMQ returned the message, for no queue takes it. Is the queue declared, and bound with this routing key?",
    ),
    (
        errors.NackError,
        "",
        "RabbitMQ did not take the message: the queue is full or cannot keep it now. Publish it again later.",
    ),
    (
        errors.DuplicateConsumerTag,
        "",
        "There is a consumer with that consumer_tag on this channel already. Leave it out: one is made.",
    ),
    (
        errors.DuplicateGetOkCallback,
        "",
        "The basic_get before this one has not been answered yet. Call basic_get again after its answer.",
    ),
    (
        errors.ReentrancyError,
        "",
        "This waits for RabbitMQ inside a callback that runs while something else waits for it. Do it after "
        "start_consuming() has returned, or on a connection of its own.",
    ),
]


def explain(problem: BaseException) -> str | None:
    """Say what is wrong and what to do; None when it is not an exception of pika that we know."""
    text = str(problem)
    return next((meaning for kind, words, meaning in MEANINGS if isinstance(problem, kind) and words in text), None)


def install() -> None:
    """Make the notebook show the explanation above the traceback of pika's exceptions; harmless when done again."""
    from IPython.core.getipython import get_ipython  # only where there is one: slow to import elsewhere

    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc(tuple({kind for kind, _, _ in MEANINGS}), _show)


def _show(
    shell: Any, kind: type[BaseException], problem: BaseException, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """Show the sentence as the first lines of the error itself, so that a cell's other outputs stay what they are."""
    lines = shell.InteractiveTB.structured_traceback(kind, problem, trace, tb_offset=tb_offset)
    meaning = explain(problem)
    lines = [f"{meaning}\n", *lines] if meaning else lines
    shell._showtraceback(kind, problem, lines)
    return list(lines)
