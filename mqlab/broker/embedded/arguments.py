"""What may be declared, and in which words RabbitMQ refuses the rest."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.properties import TEN_YEARS
from mqlab.broker.embedded.routing import TYPES, Exchange

if TYPE_CHECKING:
    from mqlab.broker.embedded.queues import Queue

Arguments = dict[str, Any]
Check = Callable[[Any, Arguments], str | None]  # what is wrong with a value, in Erlang's notation


def refuse(explanation: str) -> None:
    raise AmqpError("PRECONDITION_FAILED", explanation)


def check_name(kind: str, name: str) -> None:
    if name.startswith("amq."):
        raise AmqpError("ACCESS_REFUSED", f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def refuse_default(exchange: str) -> None:
    if not exchange:
        raise AmqpError("ACCESS_REFUSED", "operation not permitted on the default exchange")


def type_of(value: Any) -> str:
    """The name of a value's AMQP type in RabbitMQ's answers."""
    names = {
        bool: "bool",
        int: "signedint",
        str: "longstr",
        bytes: "longstr",
        bytearray: "binary",
        float: "double",
        decimal.Decimal: "decimal",
        datetime.datetime: "timestamp",
        dict: "table",
        list: "array",
        type(None): "void",
    }
    return names[type(value)]


def described(value: Any) -> str:
    """A value as RabbitMQ writes it in an inequivalence."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


# Equivalence of what is there with what is declared again.


def check_same(called: str, name: str, there: Any, asked: Any) -> None:
    """A field or argument of a redeclaration has to be what it was."""
    if type(there) is type(asked) and there == asked:
        return
    if there is None or asked is None:
        received, current = (typed(value) for value in (asked, there))
    else:
        received, current = (f"'{described(value)}'" for value in (asked, there))
    refuse(f"inequivalent arg '{name}' for {called}: received {received} but current is {current}")


def typed(value: Any) -> str:
    return "none" if value is None else f"the value '{described(value)}' of type '{type_of(value)}'"


def check_exchange_type(kind: str) -> None:
    if kind in TYPES:
        return
    if kind.startswith("x-"):
        raise AmqpError(
            "NOT_IMPLEMENTED",
            f"exchange type '{kind}': this small broker has direct, fanout, topic and headers; for others use RabbitMQ",
        )
    refuse(f"unknown exchange type '{kind}'")


def check_alternate(called: str, args: Arguments) -> None:
    name = args.get("alternate-exchange")
    if name is not None and not isinstance(name, str):
        refuse(f"invalid type '{type_of(name)}' for arg 'alternate-exchange' in {called}")


def check_same_exchange(
    called: str, there: Exchange, kind: str, durable: bool, auto_delete: bool, internal: bool, args: Arguments
) -> None:
    check_same(called, "type", there.type, kind)
    check_same(called, "durable", there.durable, durable)
    check_same(called, "auto_delete", there.auto_delete, auto_delete)
    check_same(called, "internal", there.internal, internal)
    check_same(called, "alternate-exchange", there.arguments.get("alternate-exchange"), args.get("alternate-exchange"))


def check_same_queue(called: str, there: Queue, durable: bool, auto_delete: bool, args: Arguments) -> None:
    check_same(called, "durable", there.durable, durable)
    check_same(called, "auto_delete", there.auto_delete, auto_delete)
    for name in EQUIVALENT:
        check_same(called, name, there.arguments.get(name), args.get(name))


# Arguments of queues.

EQUIVALENT = (
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-type",
    "x-single-active-consumer",
    "x-message-ttl",
)


def integer(value: Any, args: Arguments) -> str | None:
    if type(value) is int:
        return None
    return f'"expected integer, got {type_of(value)}"'


def not_negative(value: Any, args: Arguments) -> str | None:
    return integer(value, args) or (f"{{value_negative,{value}}}" if value < 0 else None)


def life(value: Any, args: Arguments) -> str | None:
    if wrong := not_negative(value, args):
        return wrong
    return f"{{value_too_large,{value}}}" if value > TEN_YEARS else None


def not_zero_life(value: Any, args: Arguments) -> str | None:
    return "{value_zero,0}" if type(value) is int and value == 0 else life(value, args)


def priority(value: Any, args: Arguments) -> str | None:
    return not_negative(value, args) or (f"{{max_value_exceeded,{value}}}" if value > 255 else None)


def string(value: Any, args: Arguments) -> str | None:
    return None if isinstance(value, str) else f"{{unacceptable_type,{type_of(value)}}}"


def boolean(value: Any, args: Arguments) -> str | None:
    return None if isinstance(value, bool) else f"{{unacceptable_type,{type_of(value)}}}"


def dead_key(value: Any, args: Arguments) -> str | None:
    return string(value, args) or ("routing_key_but_no_dlx_defined" if "x-dead-letter-exchange" not in args else None)


def overflow(value: Any, args: Arguments) -> str | None:
    known = ("drop-head", "reject-publish", "reject-publish-dlx")
    return string(value, args) or (None if value in known else "invalid_overflow")


CHECKS: dict[str, Check] = {
    "x-expires": not_zero_life,
    "x-message-ttl": life,
    "x-dead-letter-exchange": string,
    "x-dead-letter-routing-key": dead_key,
    "x-max-length": not_negative,
    "x-max-length-bytes": not_negative,
    "x-max-priority": priority,
    "x-overflow": overflow,
    "x-single-active-consumer": boolean,
}


def check_server_named(args: Arguments) -> None:
    if args["x-queue-type"] != "classic":
        refuse(f"Cannot declare a server-named queue for type {args['x-queue-type']}")


def check_queue(called: str, durable: bool, exclusive: bool, auto_delete: bool, args: Arguments) -> None:
    """May a new queue of this kind be made?"""
    check_queue_type(called, args["x-queue-type"])
    for name, check in CHECKS.items():
        if name in args and (wrong := check(args[name], args)):
            refuse(f"invalid arg '{name}' for {called}: {wrong}")
    if not durable and not exclusive:
        raise AmqpError(
            "INTERNAL_ERROR",
            "Feature `transient_nonexcl_queues` is deprecated.\nIts use is not permitted per the configuration "
            "(overriding the default, which is permitted):\n"
            '    "deprecated_features.permit.transient_nonexcl_queues = false"\n'
            "Its use will not be permitted by default",
        )


def check_queue_type(called: str, kind: Any) -> None:
    if kind == "stream":
        raise AmqpError(
            "NOT_IMPLEMENTED",
            "x-queue-type stream: this small broker has no streams; use a classic or quorum queue here, or RabbitMQ",
        )
    if kind not in ("classic", "quorum"):
        refuse(f"invalid arg 'x-queue-type' for {called}: invalid_queue_type")


def check_binding(kind: str, key: str, args: Arguments) -> None:
    """May an exchange of this type have this binding?"""
    if kind == "topic" and (many := key.split(".").count("#")) > 2:
        refuse(f"Topic binding key '{key}' uses {many} '#' wildcards, at most 2 are allowed")
    if kind == "headers" and "x-match" in args:
        match = args["x-match"]
        if not isinstance(match, str):
            refuse(f"Invalid x-match field type {type_of(match)} (value {described(match)}); expected longstr")
        if match not in ("all", "any", "all-with-x", "any-with-x"):
            refuse(
                f'Invalid x-match field value <<"{match}">>; expected all, any, all-with-x, or any-with-x',
            )


def check_consumer(called: str, args: Arguments) -> None:
    """May a consumer have these arguments?"""
    if "x-priority" in args and (wrong := integer(args["x-priority"], args)):
        refuse(f"invalid arg 'x-priority' for {called}: {wrong}")
