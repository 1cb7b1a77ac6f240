"""Lab 07, exchanges and routing: each check publishes to what the answer has set up, and looks which queue got what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from mqlab.exercises import Exercise, NotYet, bench, returned

ENDLESS = "Your function was still running after 3 s. What does it wait for?"
Arrived = dict[str, list[str]]


def _call(broker: Any, answer: Callable[[BlockingChannel], object]) -> Any:
    return bench.lend(broker, answer, ENDLESS)


def _arrived(broker: Any, exchange: str, keys: Sequence[str], queues: Mapping[str, str]) -> Arrived:
    """Publish a message for each key; return the keys that each team's queue got."""
    bench.send(broker, exchange, keys)
    return {team: bench.bodies(broker, queue) for team, queue in queues.items()}


def _lasting(broker: Any, exchange: str) -> None:
    what = bench.otherwise(broker, exchange)
    if what == "durable":
        raise NotYet("All goes where it should, but the exchange would not outlive a restart. Which word is missing?")
    if what == "auto_delete":
        raise NotYet("Your exchange deletes itself with its last binding. Where would messages go then?")


def _once(arrived: Arrived) -> None:
    for team, keys in arrived.items():
        for key in keys:
            if keys.count(key) > 1:
                raise NotYet(f"One `{key}` was published, and {team} got it {keys.count(key)} times. Who sends again?")


def _declare(broker: Any, exchange: str, kind: str, queues: Mapping[str, str], **options: Any) -> None:
    with bench.channel(broker) as line:
        line.exchange_declare(exchange, kind, durable=True, **options)
        for queue in queues.values():
            line.queue_declare(queue, durable=True)


def _bind(broker: Any, exchange: str, bindings: Sequence[tuple[str, str]]) -> None:
    with bench.channel(broker) as line:
        for queue, key in bindings:
            line.queue_bind(queue, exchange, key)


# ---- 1 declare and bind


def check_connect(broker: Any, connect_teams: Callable[..., object]) -> str:
    """Call the answer at two starts, with a message waiting in between, and publish what is wanted and what is not."""
    teams = ("mail", "push", "statistics", "moderators")
    keys: tuple[list[str], ...] = (["sign-up", "reply"], ["reply"], ["sign-up", "comment", "reply"], [])
    with bench.fresh(broker, "check-events", *(f"check-{team}" for team in teams)) as (exchange, *names):
        queues = dict(zip(teams, names, strict=True))
        wants = dict(zip(names, keys, strict=True))

        def start() -> None:
            _call(broker, lambda line: connect_teams(line, exchange, {q: list(k) for q, k in wants.items()}))

        start()
        bench.send(broker, exchange, ["reply"])
        before = bench.ready(broker, queues["push"]) if _there(broker, queues["push"]) else 0
        start()
        after = bench.ready(broker, queues["push"]) if _there(broker, queues["push"]) else 0
        if after < before:
            raise NotYet(
                "At the second start a message that waited in `push` was gone. Who deletes, or empties, queues?"
            )
        arrived = _arrived(broker, exchange, ["sign-up", "comment", "payment", "Reply"], queues)
        for team, own in zip(teams, keys, strict=True):
            extra = [key for key in arrived[team] if key not in own]
            if extra:
                raise NotYet(
                    f"{team} wants {_list(own)}, and got `{extra[0]}` too. "
                    "Which type of exchange compares the whole routing key?"
                )
        if not any(arrived.values()):
            raise NotYet(
                "`reply` and `sign-up` were published, teams want them, and nobody has anything. "
                "What leads from an exchange to a queue?"
            )
        for team, own in zip(teams, keys, strict=True):
            missing = [key for key in own if key not in arrived[team]]
            if missing:
                raise NotYet(
                    f"{team} wants {_list(own)}, but `{missing[0]}` never came. "
                    "Is there a binding for each key of each team?"
                )
        _once(arrived)
        for queue in names:
            _durable(broker, queue)
        _lasting(broker, exchange)
    return "Four teams, six wishes: each queue got what its team wants, once, and nothing else."


def _there(broker: Any, queue: str) -> bool:
    try:
        bench.ready(broker, queue)
    except ChannelClosedByBroker:
        return False
    return True


def _durable(broker: Any, queue: str) -> None:
    try:
        with bench.channel(broker) as line:
            line.queue_declare(queue, durable=True)
    except ChannelClosedByBroker as error:
        if "'durable'" in error.reply_text:
            raise NotYet("All goes where it should, but the queues would not outlive a restart. Why not?") from None
        if "'auto_delete'" in error.reply_text:
            raise NotYet(
                "Your queues delete themselves after their last consumer. Who keeps the messages then?"
            ) from None


def _list(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys) or "nothing"


# ---- 2 five wishes

# Each wish: keys that it wants, each with what to ask when it did not come; keys that it does not, the same.
WISHES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "moderators": (
        {
            "comment.maths.new": "Which word have all keys of comments in common, and how many words may follow it?",
            "comment.art.t7.reply": "For how many words does `*` stand?",
        },
        {"course.art.left": "What do the keys of comments begin with?", "support.art.reply": "Is that a comment?"},
    ),
    "maths": (
        {
            "course.maths.subscribed": "Which word of a key is the course?",
            "comment.maths.t7.new": "How many words may follow?",
        },
        {
            "comment.art.maths.new": "It is about art, in a thread that is called maths. Which word is the course?",
            "comment.art.new": "Which word is the course?",
        },
    ),
    "replies": (
        {"comment.maths.reply": "With what does the key end?", "comment.art.t7.reply": "How many words come before?"},
        {"comment.reply.new": "It ends with another word. Where may a reply's last word stand?"},
    ),
    "first": (
        {"comment.art.new": "Which of its words may be any word?", "comment.maths.new": "Which word may be any word?"},
        {
            "comment.maths.t7.new": "It is deep in a thread: how many words may be between `comment` and `new`?",
            "comment.art.reply": "How must the key end?",
            "course.art.new": "How must the key begin?",
        },
    ),
    "audit": (
        {
            "sign-up": "It has one word. Which pattern fits every key?",
            "course.art.left": "Which pattern fits every key?",
        },
        {},
    ),
}


def check_wishes(broker: Any, bind_wishes: Callable[..., object]) -> str:
    """Let the answer bind five queues to a topic exchange, and publish all keys to it."""
    with bench.fresh(broker, "check-campus", *(f"check-{team}" for team in WISHES)) as (exchange, *names):
        queues = dict(zip(WISHES, names, strict=True))
        _declare(broker, exchange, "topic", queues)
        _call(broker, lambda line: bind_wishes(line, exchange, dict(queues)))
        keys = list(dict.fromkeys(key for wish in WISHES.values() for part in wish for key in part))
        arrived = _arrived(broker, exchange, keys, queues)
    if not any(arrived.values()):
        raise NotYet("Your function has run, and no queue gets anything. Is each queue bound to the exchange?")
    for team, (wanted, unwanted) in WISHES.items():
        if not arrived[team]:
            raise NotYet(f"Nothing came to {team}, not even `{next(iter(wanted))}`. {next(iter(wanted.values()))}")
        for key, question in wanted.items():
            if key not in arrived[team]:
                raise NotYet(f"`{key}` did not come to {team}. {question}")
        for key, question in unwanted.items():
            if key in arrived[team]:
                raise NotYet(f"`{key}` came to {team}, who do not want it. {question}")
    _once(arrived)
    return f"{len(keys)} messages, five wishes, and each queue got just what it asked for."


# ---- 3 find the bug

REPLIES = ("comment.maths.reply", "comment.maths.t7.reply")
NOISE = ("comment.maths.new", "comment.maths.deleted", "support.maths.reply", "sign-up")


def check_pushes(broker: Any, route_pushes: Callable[..., object]) -> str:
    """Let the answer start on a broker that has yesterday's bindings, waiting messages, and another team's queue."""
    with bench.fresh(broker, "check-campus", "check-push", "check-mail") as (exchange, push, mail):
        queues = {"push": push, "mail": mail}
        _declare(broker, exchange, "topic", queues)
        _bind(broker, exchange, [(push, "comment.#"), (mail, "#")])
        bench.send(broker, exchange, ["comment.art.reply"])
        bench.bodies(broker, mail)
        for _ in range(2):  # it is run at each start
            _call(broker, lambda line: route_pushes(line, exchange, push))
        arrived = _arrived(broker, exchange, [*REPLIES, *NOISE], queues)
    got = arrived["push"]
    if "sign-up" not in arrived["mail"]:
        raise NotYet(
            "The mail team, who had bound their queue to the same exchange, get nothing any more. "
            "What goes when an exchange is deleted?"
        )
    if "comment.art.reply" not in got:
        raise NotYet("A push waited in the queue before your program started, and it is gone. Who deleted the queue?")
    noise = [key for key in NOISE if key in got]
    if noise[:2] == ["comment.maths.new", "comment.maths.deleted"]:
        raise NotYet(
            f"The phones still ring for {_list(noise)}. Your program has been started, on a broker that ran "
            "yesterday's version too. Which bindings does the queue have now?"
        )
    if noise:
        raise NotYet(f"The phones ring for `{noise[0]}`. Which of your bindings lets it through?")
    missing = [key for key in REPLIES if key not in got]
    if len(missing) == len(REPLIES):
        raise NotYet("Now all phones are silent: not one reply came. Which binding is left?")
    if missing:
        raise NotYet(
            f"`{missing[0]}` is a reply, and no phone rang. How many words may be between the first and the last?"
        )
    _once(arrived)
    return "Phones ring for replies, however deep, and for nothing else. What waited still waits; mail noticed nothing."


# ---- 4 predict, then measure

TABLE = (
    ("mail", "sign-up.#"),
    ("mail", "#.reply"),
    ("push", "comment.*.reply"),
    ("statistics", "#"),
    ("moderators", "comment.#"),
    ("moderators", "#.reported"),
)
OTHERS = (("mail", "a.#"), ("push", "*.b"), ("push", "a.*"), ("moderators", "#.c.#"))
KEYS = ("sign-up", "comment.maths.reply", "comment.maths.t7.reply", "comment", "chat.reported", "Comment.art.reply")
ASK: dict[str, str] = {
    "sign-up": "May `#` stand for no word at all?",
    "comment.maths.reply": "Which patterns fit it, and how often does a queue get one message?",
    "comment.maths.t7.reply": "How many words does `*` stand for?",
    "comment": "May `#` stand for no word at all?",
    "chat.reported": "Which patterns end with that word?",
    "Comment.art.reply": "Are `Comment` and `comment` the same word?",
}


def check_measure(broker: Any, predicted: object, measure: Callable[..., object]) -> str:
    """Let the answer measure bindings that it does not know, then those of the table; compare with its predictions."""
    _measured(broker, measure, OTHERS, ("a", "a.b", "x.c.y", "b", "a.b.c"))
    truth = _measured(broker, measure, TABLE, KEYS)
    if not isinstance(predicted, Mapping) or set(predicted) != set(KEYS):
        raise NotYet(
            "`predicted` should be a dict with the six keys of the table. Is each of them there, and no other?"
        )
    wrong = []
    for key in KEYS:
        guess = predicted[key]
        if isinstance(guess, str) or not isinstance(guess, Sequence | set | frozenset):
            raise NotYet(f"`predicted[{key!r}]` should be a list of teams, and is {guess!r}. Which teams get it?")
        if unknown := [team for team in guess if team not in ("mail", "push", "statistics", "moderators")]:
            raise NotYet(f"`predicted[{key!r}]` names {unknown[0]!r}. Which four teams are in the table?")
        if set(guess) != set(truth[key]):
            wrong.append(key)
    if wrong:
        raise NotYet(
            f"You measure well. Of your six predictions {6 - len(wrong)} came true. Think again about `{wrong[0]}`. "
            f"{ASK[wrong[0]]}"
        )
    return "Six predictions, six times right, and you have measured it."


def _measured(
    broker: Any, measure: Callable[..., object], bindings: Sequence[tuple[str, str]], keys: Sequence[str]
) -> dict[str, list[str]]:
    """Return for each key the teams that get it, as the broker says; NotYet: the answer measures something else."""
    teams = ("mail", "push", "statistics", "moderators")
    with bench.fresh(broker, "check-campus", *(f"check-{team}" for team in teams)) as (exchange, *names):
        queues = dict(zip(teams, names, strict=True))
        _declare(broker, exchange, "topic", queues)
        _bind(broker, exchange, [(queues[team], key) for team, key in bindings])
        arrived = _arrived(broker, exchange, keys, queues)
        truth = {key: [team for team in teams if key in arrived[team]] for key in keys}
        value = _call(broker, lambda line: measure(line, exchange, dict(queues), list(keys)))
        left = {team: bench.bodies(broker, queue) for team, queue in queues.items()}
    returned(value, dict, "measure")
    assert isinstance(value, dict)
    if any(left.values()):
        n = sum(map(len, left.values()))
        raise NotYet(f"After your measurement {bench.some(n)} are left in the queues. Who takes them out, for good?")
    if set(value) != set(keys):
        raise NotYet(f"`measure` was given {len(keys)} keys, and gave back {len(value)}. Is each key in your dict?")
    for key in keys:
        found = value[key]
        if isinstance(found, str) or not isinstance(found, Sequence | set | frozenset):
            raise NotYet(f"For `{key}` your function gave back {found!r}. Is it a list of teams?")
        if set(found) != set(truth[key]):
            raise NotYet(
                f"`{key}` went to {', '.join(truth[key]) or 'nobody'}; your function says "
                f"{', '.join(map(str, found)) or 'nobody'}. Does it publish that key to the exchange, look into every "
                "queue, and tell this message from those before?"
            )
    return truth


# ---- 5 nothing may be lost


def check_safe(broker: Any, make_safe: Callable[..., object]) -> str:
    """Publish what nobody wants, before and after a team comes, and what that team wants."""
    with bench.fresh(broker, "check-campus", "check-lost", "check-desk", "check-mail") as (exchange, lost, desk, mail):
        queues = {"desk": desk, "mail": mail}
        for _ in range(2):  # it is run at each start
            _call(broker, lambda line: make_safe(line, exchange, lost, desk))
        bench.send(broker, exchange, ["sing-up", "comment.maths.new"])
        first = bench.bodies(broker, desk)
        with bench.channel(broker) as line:
            line.queue_declare(mail, durable=True)
        _bind(broker, exchange, [(mail, "sign-up.#")])
        arrived = _arrived(broker, exchange, ["sign-up", "sign-up.web.mobile", "sing-up.web"], queues)
        kept = arrived["desk"]
        if not first and not kept:
            raise NotYet(
                "`sing-up` was published, no team wants it, and it is not at the desk either. Follow it: which "
                "exchange comes second, does RabbitMQ know its name by the right argument, and is a queue bound there?"
            )
        if len(first) < 2 or "sing-up.web" not in kept:
            raise NotYet(
                "The desk has some of the lost messages, and others are gone. A lost message keeps its routing key: "
                "which type of exchange does not ask for it?"
            )
        if arrived["mail"] != ["sign-up", "sign-up.web.mobile"]:
            raise NotYet(
                f"Mail bound its queue with `sign-up.#` and got {_list(arrived['mail'])}. Of which type should the "
                "exchange be, so that teams can bind patterns?"
            )
        if "sign-up" in kept:
            raise NotYet("Mail got a sign-up, and the desk got it as well. Which messages does the desk want?")
        _once(arrived)
        _durable(broker, desk)
        _lasting(broker, exchange)
        _lasting(broker, lost)
    return "What a team wants goes to that team alone, and all the rest waits at the desk, with its key still on it."


# ---- 6 an audit in front


def check_audit(broker: Any, let_auditors_in: Callable[..., object]) -> str:
    """Publish to the old exchange what teams want and what nobody wants; all of it has to be in the audit too."""
    texts = ("campus", "inner", "lost", "audit", "desk", "mail", "moderators", "witness")
    with bench.fresh(broker, *(f"check-{text}" for text in texts)) as names:
        campus, inner, lost, audit, desk, mail, moderators, witness = names
        queues = {"audit": audit, "desk": desk, "mail": mail, "moderators": moderators}
        bindings = [(mail, "sign-up.#"), (mail, "#.reply"), (moderators, "comment.#")]
        _declare(broker, lost, "fanout", {})
        _declare(broker, campus, "topic", {**queues, "witness": witness}, arguments={"alternate-exchange": lost})
        _bind(broker, campus, [*bindings, (witness, "of.the.check")])
        _bind(broker, lost, [(desk, "")])
        for _ in range(2):  # it is run at each start
            _call(broker, lambda line: let_auditors_in(line, campus, inner, lost, audit, list(bindings)))
        keys = ["sign-up.web", "comment.maths.reply", "comment.art.new", "sing-up", "payment.done"]
        arrived = _arrived(broker, campus, keys, queues)
        bench.send(broker, campus, ["of.the.check"])
        seen = bench.bodies(broker, witness)
    if not arrived["audit"]:
        raise NotYet(
            f"{len(keys)} messages were published to the old exchange, and the audit has none. Which way leads there?"
        )
    missing = [key for key in keys if key not in arrived["audit"]]
    if missing:
        raise NotYet(f"The audit wants everything, and `{missing[0]}` is not there. Which pattern fits every key?")
    for team, wanted in (
        ("mail", ["sign-up.web", "comment.maths.reply"]),
        ("moderators", ["comment.maths.reply", "comment.art.new"]),
    ):
        if gone := [key for key in wanted if key not in arrived[team]]:
            raise NotYet(f"Before your change {team} got `{gone[0]}`, and now it does not. On which way did it come?")
        if new := [key for key in arrived[team] if key not in wanted]:
            raise NotYet(f"{team} never wanted `{new[0]}`, and now gets it. Which binding lets it through?")
    if not arrived["desk"]:
        raise NotYet(
            "`sing-up` is in the audit, but no longer at the desk. When does RabbitMQ ask the alternate exchange of "
            "`campus`: does any binding there fit `sing-up` now? Which exchange still knows that no *team* wants it?"
        )
    if "sing-up" not in arrived["desk"] or "payment.done" not in arrived["desk"]:
        raise NotYet("Some of what no team wants is at the desk, some is not. Does it depend on the key?")
    if extra := [key for key in arrived["desk"] if key not in ("sing-up", "payment.done")]:
        raise NotYet(f"The desk got `{extra[0]}`, which a team wants. What should come to the desk?")
    _once(arrived)
    if not seen:
        raise NotYet(
            "A binding of another team is gone from `campus`, so the exchange was deleted for a moment. "
            "Where did the producers' messages go in that moment?"
        )
    return "Everything is in the audit, once; teams and desk get what they got before; no producer was touched."


EXERCISES = [
    Exercise(
        1,
        "Connect the teams",
        check_connect,
        (
            "Three things have to be there: the exchange, each queue, and a binding for each key that a team wants. "
            "Which type of exchange compares keys as they are?",
            '`channel.exchange_declare(exchange, "direct", durable=True)` once; then for each queue a '
            "`channel.queue_declare(queue, durable=True)`. `wants.items()` gives a queue and its list of keys.",
            "Inside the loop over `wants.items()` a second loop, over the keys: "
            "`channel.queue_bind(queue, exchange, key)`.",
        ),
        seconds=9,
    ),
    Exercise(
        2,
        "Fulfil five wishes",
        check_wishes,
        (
            "Write some keys below each other, and mark for each wish which words are fixed and which may be anything. "
            "One word, or any number of them?",
            "`*` is exactly one word, `#` any number, none as well. “Everything about maths”: the second word is "
            "fixed, the first may be any one word, and any number may follow.",
            "`comment.#`, `*.maths.#`, `#.reply`, and `#` are four of the five. For the fifth, the number of words is "
            "fixed: three.",
        ),
        seconds=9,
    ),
    Exercise(
        3,
        "Find out why the phones still ring",
        check_pushes,
        (
            "Two things are wrong. One is a pattern in the program. The other is not in it any more. Where is it?",
            "A binding stays until somebody takes it away. `channel.queue_unbind(queue, exchange, key)` needs the very "
            "key with which it was made.",
            'Unbind `"comment.#"`, and bind `"comment.#.reply"`: first word, any number of words, last word.',
        ),
        seconds=9,
    ),
    Exercise(
        4,
        "Predict, then measure",
        check_measure,
        (
            "For the measurement: publish each key, and use the key as the body too. Then a queue's messages tell you "
            "which keys came to it.",
            "`channel.basic_get(queue, auto_ack=True)` gives `(None, None, None)` when the queue is empty. "
            "Begin with `{key: [] for key in keys}`.",
            "When all is published: for each team and queue take message after message, and "
            "`found[body.decode()].append(team)`. With it you can check your predictions; but predict first.",
        ),
        seconds=9,
    ),
    Exercise(
        5,
        "Lose nothing",
        check_safe,
        (
            "What fits no binding goes to the alternate exchange, if there is one, and if a queue is bound to it. "
            "That makes two exchanges, one queue, and one binding.",
            'The exchange for everybody is a topic exchange with `arguments={"alternate-exchange": lost}`. RabbitMQ '
            "does not complain about an argument that it does not know, so look at each letter.",
            "`lost` is a fanout exchange: a lost message has a key of which nobody has thought. Bind `desk` to `lost`, "
            "not to `exchange`.",
        ),
        seconds=9,
    ),
    Exercise(
        6,
        "Let auditors in",
        check_audit,
        (
            "Draw it. Producers publish to `campus`, whatever you do. If `campus` gives everything to the audit, it no "
            "longer knows what nobody wants. Which exchange could know it?",
            "Let `campus` give everything to two: to the audit, and to the exchange `inner`. On `inner` are the "
            'bindings of the teams, and an alternate of its own: `arguments={"alternate-exchange": lost}`.',
            '`channel.exchange_bind(destination=inner, source=campus, routing_key="#")`, the same pattern for the '
            "queue `audit`, and `channel.queue_bind(queue, inner, key)` for each of `bindings`. A queue bound twice "
            "gets a message once, so nothing has to be taken away.",
        ),
        seconds=9,
    ),
]
