"""What may be declared, and in which words RabbitMQ refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pamqp import encode

from mqlab.broker.embedded import properties
from mqlab.broker.embedded.errors import AmqpError
from mqlab.broker.embedded.properties import TEN_YEARS
from mqlab.broker.embedded.routing import TYPES, Exchange

if TYPE_CHECKING:
    from mqlab.broker.embedded.queues import Queue


class Arguments(dict[str, Any]):
    """The arguments of a declaration, decoded; `table` is how they came, sorted by name and without its length."""

    def __init__(self, values: dict[str, Any] | None = None, table: bytes | None = None) -> None:
        super().__init__(values or {})
        entries = dict(properties.entries(encode.field_table(dict(self))[4:] if table is None else table))
        self.table = properties.headers_of(entries)
        self.types = {
            name.decode(errors="surrogateescape"): properties.TYPES[value[0]] for name, value in entries.items()
        }

    def type(self, name: str) -> str:
        """A value's type on the wire, as RabbitMQ calls it."""
        return self.types.get(name, "longstr")

    def extended(self, name: str, value: str) -> Arguments:
        """These arguments with one more."""
        entries = {**dict(properties.entries(self.table)), name.encode(): b"S" + encode.long_string(value)}
        return Arguments({**self, name: value}, properties.headers_of(entries))


Check = Callable[[Arguments, str], str | None]  # what is wrong with the argument of this name, in Erlang's notation


def refuse(explanation: str) -> None:
    raise AmqpError("PRECONDITION_FAILED", explanation)


def check_name(kind: str, name: str) -> None:
    if name.startswith("amq."):
        raise AmqpError("ACCESS_REFUSED", f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def refuse_default(exchange: str) -> None:
    if not exchange:
        raise AmqpError("ACCESS_REFUSED", "operation not permitted on the default exchange")


# Equivalence of what is there with what is declared again.


def described(value: Any) -> str:
    """A value as RabbitMQ writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    return str(value)


def float_text(value: float) -> str:
    """A float as Erlang writes it: the fewest digits, with an exponent where that is shorter or it is very large."""
    number = Decimal(repr(value)).normalize()
    plain = f"{number:f}"
    plain += "" if "." in plain else ".0"
    sign, (first, *others), _ = number.as_tuple()
    short = f"{'-' * sign}{first}.{''.join(map(str, others)) or 0}e{number.adjusted()}"
    return short if abs(value) >= 1 << 53 or len(short) < len(plain) else plain


def differ(called: str, name: str, received: str, current: str) -> None:
    refuse(f"inequivalent arg '{name}' for {called}: received {received} but current is {current}")


def check_same(called: str, name: str, there: Any, asked: Any) -> None:
    """A property of a redeclaration has to be what it was."""
    if there != asked:
        differ(called, name, f"'{described(asked)}'", f"'{described(there)}'")


def check_same_argument(called: str, name: str, there: Arguments, asked: Arguments) -> None:
    """An argument of a redeclaration has to be what it was, and of the same kind."""
    if name in there and name in asked:
        if type(there[name]) is not type(asked[name]) or there[name] != asked[name]:
            differ(called, name, f"'{described(asked[name])}'", f"'{described(there[name])}'")
    elif name in there or name in asked:
        differ(called, name, typed(asked, name), typed(there, name))


def typed(args: Arguments, name: str) -> str:
    return f"the value '{described(args[name])}' of type '{args.type(name)}'" if name in args else "none"


# Exchanges.


# RabbitMQ says "invalid", not "unknown", of words that any of its programs uses for something else. It has 30,000 of
# them; these are those that somebody may take for an exchange's type.
OTHER_WORD = re.compile(
    "|all|any|bar|broadcast|classic|default|delay|delayed|dlx|durable|event|events|exchange|filter|foo|hash|header|key|log|"
    "mail|match|message|messages|multicast|none|normal|notification|notify|null|pattern|persistent|priority|publish|queue|"
    "quorum|random|reply|request|rpc|simple|square|standard|stream|subscribe|test|transient|true|false|type|unknown|"
    "wildcard|work|x-jms-topic|x-random"
)


def check_exchange_type(kind: str) -> None:
    if kind in ("x-local-random", "x-modulus-hash"):
        raise AmqpError(
            "NOT_IMPLEMENTED",
            f"exchange type '{kind}': this small broker has direct, fanout, topic and headers; for others use RabbitMQ",
        )
    if kind not in TYPES:
        refuse(f"{'invalid' if OTHER_WORD.fullmatch(kind) else 'unknown'} exchange type '{kind}'")


def check_string(called: str, name: str, args: Arguments) -> None:
    """An argument that names an exchange has to be a string."""
    if name in args and args.type(name) != "longstr":
        refuse(f"invalid type '{args.type(name)}' for arg '{name}' in {called}")


def check_same_exchange(
    called: str, there: Exchange, kind: str, durable: bool, auto_delete: bool, internal: bool, args: Arguments
) -> None:
    check_same(called, "type", there.type, kind)
    check_same(called, "durable", there.durable, durable)
    check_same(called, "auto_delete", there.auto_delete, auto_delete)
    check_same(called, "internal", there.internal, internal)
    check_same_argument(called, "alternate-exchange", there.arguments, args)


def check_binding(kind: str, key: str, args: Arguments) -> None:
    """May an exchange of this type have this binding?"""
    if kind == "topic" and (many := key.split(".").count("#")) > 2:
        refuse(f"Topic binding key '{key}' uses {many} '#' wildcards, at most 2 are allowed")
    if kind == "headers" and "x-match" in args:
        match = args["x-match"]
        if args.type("x-match") != "longstr":
            refuse(f"Invalid x-match field type {args.type('x-match')} (value {described(match)}); expected longstr")
        if match not in ("all", "any", "all-with-x", "any-with-x"):
            refuse(
                f'Invalid x-match field value <<"{match}">>; expected all, any, all-with-x, or any-with-x',
            )


# Arguments of queues.


def integer(args: Arguments, name: str) -> str | None:
    return None if type(args[name]) is int else f'"expected integer, got {args.type(name)}"'


def not_negative(args: Arguments, name: str) -> str | None:
    return integer(args, name) or (f"{{value_negative,{args[name]}}}" if args[name] < 0 else None)


def not_zero(args: Arguments, name: str) -> str | None:
    return not_negative(args, name) or ("{value_zero,0}" if args[name] == 0 else None)


def life(args: Arguments, name: str) -> str | None:
    return not_negative(args, name) or (f"{{value_too_large,{args[name]}}}" if args[name] > TEN_YEARS else None)


def life_above_zero(args: Arguments, name: str) -> str | None:
    return "{value_zero,0}" if args[name] == 0 and type(args[name]) is int else life(args, name)


def priority(args: Arguments, name: str) -> str | None:
    return not_negative(args, name) or (f"{{max_value_exceeded,{args[name]}}}" if args[name] > 255 else None)


def of_type(kind: str) -> Check:
    def check(args: Arguments, name: str) -> str | None:
        return None if args.type(name) == kind else f"{{unacceptable_type,{args.type(name)}}}"

    return check


def one_of(wrong: str, *values: str) -> Check:
    """A string out of these."""

    def check(args: Arguments, name: str) -> str | None:
        return of_type("longstr")(args, name) or (None if args[name] in values else wrong)

    return check


def dead_key(args: Arguments, name: str) -> str | None:
    without = "routing_key_but_no_dlx_defined" if "x-dead-letter-exchange" not in args else None
    return of_type("longstr")(args, name) or without


def version(args: Arguments, name: str) -> str | None:
    return not_negative(args, name) or (f"\"unsupported queue version '{args[name]}'\"" if args[name] != 2 else None)


def queue_type(args: Arguments, name: str) -> str | None:
    if args.type(name) != "longstr":
        return f"{{unacceptable_type,{args.type(name)}}}"
    known = args[name] in ("classic", "quorum", "stream")
    return None if known else f"\"unsupported queue type '{args[name]}'\""


COMMON: dict[str, Check | None] = {
    "x-queue-type": queue_type,
    "x-expires": life_above_zero,
    "x-message-ttl": life,
    "x-dead-letter-exchange": None,
    "x-dead-letter-routing-key": dead_key,
    "x-max-length": not_negative,
    "x-max-length-bytes": not_negative,
    "x-overflow": one_of("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx"),
    "x-single-active-consumer": of_type("bool"),
    "x-queue-leader-locator": one_of("invalid_queue_locator_arg", "client-local", "balanced"),
}
CLASSIC: dict[str, Check | None] = {
    "x-max-priority": priority,
    "x-queue-version": version,
    "x-queue-mode": None,
    "x-queue-master-locator": None,
}
QUORUM: dict[str, Check | None] = {
    "x-dead-letter-strategy": one_of("invalid_dlx_strategy", "at-most-once", "at-least-once"),
    "x-max-in-memory-length": not_negative,
    "x-max-in-memory-bytes": not_negative,
    "x-quorum-initial-group-size": not_zero,
    "x-delivery-limit": None,
    "x-consumer-timeout": not_negative,
    "x-consumer-disconnected-timeout": not_negative,
    "x-delayed-retry-type": None,
    "x-delayed-retry-min": None,
    "x-delayed-retry-max": None,
}
STREAM = ("x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-initial-cluster-size")
KNOWN = {"classic": {**COMMON, **CLASSIC}, "quorum": {**COMMON, **QUORUM}}
EVERY = {*COMMON, *CLASSIC, *QUORUM, *STREAM}
# In the order in which RabbitMQ looks for differences.
EQUIVALENT = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-dead-letter-strategy",
    "x-quorum-initial-group-size",
)
# What RabbitMQ does with these, this broker does not; and what to do instead.
NOT_HERE = {
    "x-delayed-retry-type": "dead-letter into a queue with x-message-ttl instead, or use RabbitMQ",
    "x-delayed-retry-min": "dead-letter into a queue with x-message-ttl instead, or use RabbitMQ",
    "x-delayed-retry-max": "dead-letter into a queue with x-message-ttl instead, or use RabbitMQ",
    "x-consumer-disconnected-timeout": "it is for queues on more than one node: use RabbitMQ",
}


def with_type(args: Arguments) -> Arguments:
    """The arguments with the queue's type among them: classic where none is asked for."""
    if args.get("x-queue-type") not in (None, "", "undefined"):
        return args
    return args.extended("x-queue-type", "classic")


def check_server_named(args: Arguments) -> None:
    if args["x-queue-type"] in ("quorum", "stream"):
        refuse(f"Cannot declare a server-named queue for type rabbit_{args['x-queue-type']}_queue")


def check_same_queue(called: str, there: Queue, durable: bool, auto_delete: bool, args: Arguments) -> None:
    check_same(called, "durable", there.durable, durable)
    check_same(called, "auto_delete", there.auto_delete, auto_delete)
    for name in EQUIVALENT:
        check_same_argument(called, name, there.arguments, args)


def check_queue(called: str, durable: bool, exclusive: bool, auto_delete: bool, args: Arguments) -> None:
    """May a new queue of this kind be made?"""
    check_string(called.replace("for ", "in "), "x-dead-letter-exchange", args)
    check_arguments(called, {"x-queue-type": queue_type}, args)
    kind = args["x-queue-type"]
    if kind == "stream":
        raise AmqpError(
            "NOT_IMPLEMENTED",
            "x-queue-type stream: this small broker has no streams; use a classic or quorum queue here, or RabbitMQ",
        )
    check_arguments(called, KNOWN[kind], args)
    for name in args:
        if name in EVERY and name not in KNOWN[kind]:
            refuse(f"invalid arg '{name}' for {called} of queue type rabbit_{kind}_queue")
    check_not_here(args)
    if not durable and not exclusive:
        raise deprecated("transient_nonexcl_queues")
    if kind == "quorum" and auto_delete:
        refuse(f"invalid property 'auto-delete' for {called}")
    if kind == "quorum" and exclusive:
        refuse(f"invalid property 'exclusive-owner' for {called}")


def deprecated(feature: str) -> AmqpError:
    return AmqpError(
        "INTERNAL_ERROR",
        f"Feature `{feature}` is deprecated.\nBy default, this feature is not permitted anymore.\n"
        "The feature will be removed from a future major RabbitMQ version, regardless of the configuration; "
        "actual version to be determined.\nTo continue using this feature when it is not permitted by default",
    )


def check_not_here(args: Arguments) -> None:
    if "x-queue-master-locator" in args:
        raise deprecated("queue_master_locator")
    for name in args:
        if name in NOT_HERE:
            raise AmqpError("NOT_IMPLEMENTED", f"argument {name}: this small broker does not know it; {NOT_HERE[name]}")


def check_arguments(called: str, checks: dict[str, Check | None], args: Arguments) -> None:
    for name, check in checks.items():
        if name in args and check is not None and (wrong := check(args, name)):
            refuse(f"invalid arg '{name}' for {called}: {wrong}")


def check_consumer(called: str, kind: str, args: Arguments) -> None:
    """May a consumer of a queue of this type have these arguments?"""
    check_arguments(called, {"x-priority": integer, "x-consumer-timeout": not_negative}, args)
    for name in args:
        if name == "x-stream-offset" or (name == "x-consumer-timeout" and kind == "classic"):
            refuse(f"invalid arg '{name}' for {called} of queue type rabbit_{kind}_queue")
