"""Lab 07 on a real broker: wrong in the classic ways, right in more than one way."""

from typing import Any

import pytest
from answers import answer, assert_not_yet, solution

from mqlab.exercises import Outcome

Cases = dict[str, tuple[str, str]]


def judge(rabbit: Any, n: int, body: str) -> Outcome:
    """Judge the starter's def line with another body; for exercise 4 with the solution's predictions before it."""
    before, _, rest = solution("07", n).partition("def ")
    head = "def " + rest.splitlines()[0]
    lines = [head, *(f"    {line}" for line in body.strip("\n").splitlines())]
    return answer("07", n, before + "\n".join(lines), rabbit)


# ---- 1 connect the teams

DIRECT = 'channel.exchange_declare(exchange, "direct", durable=True)\n'
EACH = "for queue, keys in wants.items():\n"
QUEUE = "    channel.queue_declare(queue, durable=True)\n"
KEYS = "    for key in keys:\n        channel.queue_bind(queue, exchange, key)\n"

CONNECT_WRONG: Cases = {
    "no exchange": (EACH + QUEUE + KEYS, "there is no exchange of that name"),
    "another exchange": (
        DIRECT.replace("exchange,", "'events',") + EACH + QUEUE + KEYS.replace("exchange,", "'events',"),
        "under the name you were given?",
    ),
    "no queues": (DIRECT + EACH + KEYS, "there is no queue of that name"),
    "no queue for who wants nothing": (
        DIRECT + EACH + "    if not keys:\n        continue\n" + QUEUE + KEYS,
        "Did you declare it, and may it outlive",
    ),
    "nothing bound": (DIRECT + EACH + QUEUE, "What leads from an exchange to a queue?"),
    "fanout": (DIRECT.replace("direct", "fanout") + EACH + QUEUE + KEYS, "compares the whole routing key?"),
    "topic with #": (
        DIRECT.replace("direct", "topic") + EACH + QUEUE + KEYS.replace("key)", '"#")'),
        "compares the whole routing key?",
    ),
    "only the first key": (
        DIRECT + EACH + QUEUE + "    channel.queue_bind(queue, exchange, (keys or ['-'])[0])",
        "Is there a binding for each key of each team?",
    ),
    "the queue's name for a key": (
        DIRECT + EACH + QUEUE + "    channel.queue_bind(queue, exchange, queue)",
        "What leads from an exchange to a queue?",
    ),
    "the default exchange": (EACH + QUEUE + KEYS.replace("exchange,", "'',"), "the default exchange cannot be bound"),
    "exclusive queues": (
        DIRECT + EACH + QUEUE.replace("durable", "exclusive") + KEYS,
        "may it outlive your connection?",
    ),
    "everything anew at each start": (
        DIRECT + EACH + "    channel.queue_delete(queue)\n" + QUEUE + KEYS,
        "Who deletes, or empties, queues?",
    ),
    "an exchange that is not durable": (
        DIRECT.replace("durable=True", "durable=False") + EACH + QUEUE + KEYS,
        "the exchange would not outlive a restart",
    ),
    "an exchange that deletes itself": (
        DIRECT.replace("durable=True", "durable=True, auto_delete=True") + EACH + QUEUE + KEYS,
        "Your exchange deletes itself",
    ),
    "a queue that deletes itself": (
        DIRECT + EACH + QUEUE.replace("durable=True", "durable=True, auto_delete=True") + KEYS,
        "Your queues delete themselves",
    ),
    "never comes back": (DIRECT + EACH + QUEUE + KEYS + "while True: pass", "still running after 3 s"),
}
CONNECT_RIGHT = {
    "topic": DIRECT.replace("direct", "topic") + EACH + QUEUE + KEYS,
    "closes its channel": DIRECT + EACH + QUEUE + KEYS + "channel.close()",
    "quorum queues": DIRECT
    + EACH
    + QUEUE.replace("durable=True", 'durable=True, arguments={"x-queue-type": "quorum"}')
    + KEYS,
    "an exchange for each key": (
        'channel.exchange_declare(exchange, "topic", durable=True)\n'
        + EACH
        + QUEUE
        + "    for key in keys:\n"
        + '        channel.exchange_declare(f"all-{key}", "fanout", durable=True)\n'
        + '        channel.exchange_bind(f"all-{key}", exchange, key)\n'
        + '        channel.queue_bind(queue, f"all-{key}")\n'
    ),
}

# ---- 2 five wishes

WISHES = """
patterns = {{"moderators": "{moderators}", "maths": "{maths}", "replies": "{replies}", "first": "{first}"}}
for name, pattern in patterns.items():
    channel.queue_bind(queues[name], exchange, pattern)
channel.queue_bind(queues["audit"], exchange, "{audit}")
"""
BEST = {
    "moderators": "comment.#",
    "maths": "*.maths.#",
    "replies": "#.reply",
    "first": "comment.*.new",
    "audit": "#",
}


def wishes(**others: str) -> str:
    return WISHES.format(**BEST | others)


WISHES_WRONG: Cases = {
    "nothing bound": ("list(queues)", "Is each queue bound to the exchange?"),
    "one star for all comments": (wishes(moderators="comment.*"), "how many words may follow it?"),
    "two stars for all comments": (wishes(moderators="comment.*.*"), "For how many words does `*` stand?"),
    "everything for the moderators": (wishes(moderators="#"), "What do the keys of comments begin with?"),
    "a star inside a word": (wishes(moderators="comm*.#"), "Nothing came to moderators"),
    "maths anywhere": (wishes(maths="#.maths.#"), "in a thread that is called maths"),
    "maths with one word after it": (wishes(maths="*.maths.*"), "How many words may follow?"),
    "maths at the end": (wishes(maths="#.maths"), "Nothing came to maths, not even"),
    "replies below lessons only": (wishes(replies="*.*.reply"), "How many words come before?"),
    "replies anywhere": (wishes(replies="#.reply.#"), "It ends with another word."),
    "first at any depth": (wishes(first="comment.#.new"), "how many words may be between"),
    "first of all kinds": (wishes(first="*.*.new"), "How must the key begin?"),
    "first of one course": (wishes(first="comment.maths.new"), "`comment.art.new` did not come to first"),
    "a star for the audit": (wishes(audit="*"), "Which pattern fits every key?"),
    "the bindings of a queue that is not there": ('channel.queue_bind("audit-it", exchange, "#")', "no queue"),
    "a KeyError": ('channel.queue_bind(queues["moderator"], exchange, "#")', "KeyError"),
}
WISHES_RIGHT = {
    "other patterns": wishes(moderators="comment.*.#", maths="*.maths.#", audit="#.#"),
    "several bindings": wishes(moderators="comment.*.*")
    + 'channel.queue_bind(queues["moderators"], exchange, "comment.*.*.#")\n',
    "by way of another exchange": """
channel.exchange_declare("check-comments", "topic", durable=True)
channel.exchange_bind("check-comments", exchange, "comment.#")
channel.queue_bind(queues["moderators"], "check-comments", "#")
channel.queue_bind(queues["first"], "check-comments", "*.*.new")
channel.queue_bind(queues["maths"], exchange, "*.maths.#")
channel.queue_bind(queues["replies"], exchange, "#.reply")
channel.queue_bind(queues["audit"], exchange, "#")
""",
}

# ---- 3 find the bug

TOPIC = 'channel.exchange_declare(exchange, "topic", durable=True)\nchannel.queue_declare(queue, durable=True)\n'
BIND = 'channel.queue_bind(queue, exchange, "comment.#.reply")\n'
UNBIND = 'channel.queue_unbind(queue, exchange, "comment.#")\n'

PUSHES_WRONG: Cases = {
    "the pattern mended in the program": (TOPIC + BIND, "Which bindings does the queue have now?"),
    "the colleague's version": (TOPIC + BIND.replace("#", "*"), "Which bindings does the queue have now?"),
    "unbound by another pattern": (
        TOPIC + BIND + UNBIND.replace("comment.#", "comment.*"),
        "Which bindings does the queue have now?",
    ),
    "as it was, in other words": (
        TOPIC + 'channel.queue_bind(queue, exchange, routing_key="comment.#")',
        "Which bindings does the queue have now?",
    ),
    "only unbound": (TOPIC + UNBIND, "Which binding is left?"),
    "replies below lessons only": (TOPIC + BIND.replace("#", "*") + UNBIND, "How many words may be between"),
    "replies of all kinds": (TOPIC + BIND.replace("comment.#", "#") + UNBIND, "ring for `support.maths.reply`"),
    "the queue made anew": ("channel.queue_delete(queue)\n" + TOPIC + BIND, "Who deleted the queue?"),
    "the exchange made anew": ("channel.exchange_delete(exchange)\n" + TOPIC + BIND, "when an exchange is deleted?"),
    "the queue emptied": (TOPIC + UNBIND + BIND + "channel.queue_purge(queue)", "Who deleted the queue?"),
    "a direct exchange": (
        'channel.exchange_declare(exchange, "direct", durable=True)',
        "the exchange is there already, made otherwise",
    ),
}
PUSHES_RIGHT = {
    "unbound first": TOPIC + UNBIND + BIND,
    "a list of what is to go": TOPIC
    + BIND
    + 'for old in ("comment.#", "comment.*", "comment.*.reply"):\n    channel.queue_unbind(queue, exchange, old)\n',
    "nothing declared": BIND + UNBIND,
    "one binding for each depth": TOPIC
    + BIND.replace("#", "*")
    + BIND.replace("#", "*.*")
    + BIND.replace("#", "*.*.*.#")
    + UNBIND,
}

# ---- 4 predict, then measure

PUBLISH = "for key in keys:\n    channel.basic_publish(exchange, key, key)\n"
FOUND = "found = {key: [] for key in keys}\n"
TAKE = """\
for team, queue in queues.items():
    while (got := channel.basic_get(queue, auto_ack=True))[0]:
        found[got[2].decode()].append(team)
"""
RETURN = "return found"
COUNT = "channel.queue_declare(queue, passive=True).method.message_count"

MEASURE_WRONG: Cases = {
    "nothing published": (FOUND + TAKE + RETURN, "your function says nobody"),
    "predicted, not measured": ("return dict(predicted)", "gave back 6. Is each key in your dict?"),
    "predicted as far as it goes": (
        FOUND + "return {key: predicted.get(key, []) for key in keys}",
        "your function says nobody",
    ),
    "everybody": (FOUND + "return {key: list(queues) for key in keys}", "Does it publish that key"),
    "the queues, not the teams": (
        PUBLISH + FOUND + TAKE.replace("append(team)", "append(queue)") + RETURN,
        "your function says check-",
    ),
    "no ack": (PUBLISH + FOUND + TAKE.replace(", auto_ack=True", "") + RETURN, "Who takes them out, for good?"),
    "counted, and left there": (
        FOUND + PUBLISH + f"    found[key] = [team for team, queue in queues.items() if {COUNT}]\n" + RETURN,
        "are left in the queues",
    ),
    "counted, and emptied at the end": (
        FOUND
        + PUBLISH
        + f"    found[key] = [team for team, queue in queues.items() if {COUNT}]\n"
        + "for queue in queues.values():\n    channel.queue_purge(queue)\n"
        + RETURN,
        "tell this message from those before?",
    ),
    "one message of each queue": (
        PUBLISH + FOUND + TAKE.replace("while", "if") + RETURN,
        "are left in the queues",
    ),
    "nothing given back": (PUBLISH + FOUND + TAKE, "is there a `return`"),
    "to the default exchange": (
        PUBLISH.replace("exchange,", "'',") + FOUND + TAKE + RETURN,
        "Does it publish that key to the exchange",
    ),
    "a text for each key": (
        PUBLISH + FOUND + TAKE + "return {key: ', '.join(teams) for key, teams in found.items()}",
        "Is it a list of teams?",
    ),
    "the other way round": (
        PUBLISH + FOUND + TAKE + "return {team: [key for key in keys if team in found[key]] for team in queues}",
        "Is each key in your dict?",
    ),
}
MEASURE_RIGHT = {
    "one key after the other": """
found = {}
for key in keys:
    channel.basic_publish(exchange, key, b"")
    found[key] = [team for team, queue in queues.items() if channel.basic_get(queue, auto_ack=True)[0]]
return found
""",
    "by the delivered routing key": PUBLISH.replace(", key)", ", b'x')")
    + FOUND
    + TAKE.replace("got[2].decode()", "got[0].routing_key")
    + RETURN,
    "counted and emptied": """
channel.confirm_delivery()
found = {}
for key in keys:
    channel.basic_publish(exchange, key, b"x")
    found[key] = {team for team, queue in queues.items() if channel.queue_purge(queue).method.message_count}
return found
""",
    "consumed": PUBLISH
    + FOUND
    + """
for team, queue in queues.items():
    for method, _, body in channel.consume(queue, inactivity_timeout=0.1):
        if method is None:
            break
        found[body.decode()].append(team)
        channel.basic_ack(method.delivery_tag)
    channel.cancel()
"""
    + RETURN,
}

# ---- 5 lose nothing

LOST = 'channel.exchange_declare(lost, "fanout", durable=True)\n'
SAFE = 'channel.exchange_declare(exchange, "topic", durable=True, arguments={"alternate-exchange": lost})\n'
DESK = "channel.queue_declare(desk, durable=True)\n"
TO_DESK = "channel.queue_bind(desk, lost)\n"

SAFE_WRONG: Cases = {
    "no alternate": (LOST + SAFE.split(", arguments")[0] + ")\n" + DESK + TO_DESK, "Follow it: which exchange"),
    "a misspelt argument": (
        LOST + SAFE.replace("alternate-exchange", "alternate_exchange") + DESK + TO_DESK,
        "by the right argument",
    ),
    "the desk not bound": (LOST + SAFE + DESK, "is a queue bound there?"),
    "the second exchange never made": (SAFE + DESK, "which exchange comes second"),
    "the desk for the alternate": (SAFE.replace("lost}", "desk}") + DESK, "which exchange comes second"),
    "a direct exchange with one key": (
        LOST.replace("fanout", "direct") + SAFE + DESK + 'channel.queue_bind(desk, lost, "sing-up")',
        "which type of exchange does not ask for it?",
    ),
    "one star": (
        LOST.replace("fanout", "topic") + SAFE + DESK + 'channel.queue_bind(desk, lost, "*")',
        "which type of exchange does not ask for it?",
    ),
    "everything to the desk": (
        SAFE.split(", arguments")[0] + ")\n" + DESK + 'channel.queue_bind(desk, exchange, "#")',
        "Which messages does the desk want?",
    ),
    "a direct exchange for the teams": (
        LOST + SAFE.replace("topic", "direct") + DESK + TO_DESK,
        "so that teams can bind patterns?",
    ),
    "no desk": (LOST + SAFE + TO_DESK, "no queue of that name"),
    "the second exchange is transient": (
        LOST.replace("durable=True", "durable=False") + SAFE + DESK + TO_DESK,
        "would not outlive a restart",
    ),
    "no exchange": (LOST + DESK + TO_DESK, "there is no exchange `"),
}
SAFE_RIGHT = {
    "a topic with #": LOST.replace("fanout", "topic") + SAFE + DESK + 'channel.queue_bind(desk, lost, "#")',
    "headers without any": LOST.replace("fanout", "headers") + SAFE + DESK + TO_DESK,
    "the second exchange made later": SAFE + DESK + LOST + TO_DESK,
    "an internal one": LOST.replace("durable=True", "durable=True, internal=True") + SAFE + DESK + TO_DESK,
}

# ---- 6 let auditors in

INNER = 'channel.exchange_declare(inner, "topic", durable=True, arguments={"alternate-exchange": lost})\n'
TEAMS = "for queue, pattern in bindings:\n    channel.queue_bind(queue, inner, pattern)\n"
THROUGH = 'channel.exchange_bind(inner, campus, "#")\n'
AUDIT = 'channel.queue_bind(audit, campus, "#")\n'
OLD = "for queue, pattern in bindings:\n    channel.queue_unbind(queue, campus, pattern)\n"

AUDIT_WRONG: Cases = {
    "only the audit bound": (AUDIT, "does any binding there fit `sing-up` now?"),
    "the inner one without an alternate": (
        INNER.split(", arguments")[0] + ")\n" + TEAMS + THROUGH + AUDIT,
        "Which exchange still knows",
    ),
    "the audit bound within": (
        INNER + TEAMS + THROUGH + AUDIT.replace("campus", "inner"),
        "Which exchange still knows",
    ),
    "the audit not bound": (INNER + TEAMS + THROUGH, "Which way leads there?"),
    "the audit gets what the teams want": (
        "for _, pattern in bindings:\n    channel.queue_bind(audit, campus, pattern)\n",
        "Which pattern fits every key?",
    ),
    "the audit gets what is lost": (
        "channel.queue_bind(audit, lost)\n",
        "Which pattern fits every key?",
    ),
    "one star for the audit": (INNER + TEAMS + THROUGH + AUDIT.replace("#", "*"), "Which pattern fits every key?"),
    "teams unbound, not bound within": (INNER + OLD + THROUGH + AUDIT, "now it does not. On which way"),
    "no teams within": (INNER + THROUGH + AUDIT, "The desk got `sign-up.web`, which a team wants"),
    "everything to the desk": (
        'channel.exchange_bind(lost, campus, "#")\n' + AUDIT,
        "What should come to the desk?",
    ),
    "an inner fanout": (
        INNER.replace("topic", "fanout") + TEAMS + THROUGH + AUDIT,
        "never wanted `",
    ),
    "deleted and made anew": (
        INNER
        + TEAMS
        + "channel.exchange_delete(campus)\n"
        + 'channel.exchange_declare(campus, "fanout", durable=True)\n'
        + THROUGH
        + AUDIT,
        "so the exchange was deleted for a moment",
    ),
    "an alternate for what is there": (
        'channel.exchange_declare(campus, "topic", durable=True, arguments={"alternate-exchange": inner})',
        "the exchange is there already, made otherwise",
    ),
    "the names of the exchanges swapped": (
        INNER + TEAMS + "channel.exchange_bind(campus, inner, '#')\n" + AUDIT,
        "Which exchange still knows",
    ),
}
AUDIT_RIGHT = {
    "tidied up": INNER + TEAMS + THROUGH + AUDIT + OLD,
    "the audit gets its exchange": INNER
    + TEAMS
    + THROUGH
    + 'channel.exchange_declare("check-all", "fanout", durable=True)\n'
    + 'channel.exchange_bind("check-all", campus, "#")\n'
    + 'channel.queue_bind(audit, "check-all")\n',
    "the audit by two ways": INNER + TEAMS + THROUGH + AUDIT + "channel.queue_bind(audit, lost)\n",
    "what the teams want, and what is lost": (
        "for _, pattern in bindings:\n    channel.queue_bind(audit, campus, pattern)\nchannel.queue_bind(audit, lost)\n"
    ),
}

WRONG = {
    1: CONNECT_WRONG,
    2: WISHES_WRONG,
    3: PUSHES_WRONG,
    4: MEASURE_WRONG,
    5: SAFE_WRONG,
    6: AUDIT_WRONG,
}
RIGHT = {
    1: CONNECT_RIGHT,
    2: WISHES_RIGHT,
    3: PUSHES_RIGHT,
    4: MEASURE_RIGHT,
    5: SAFE_RIGHT,
    6: AUDIT_RIGHT,
}


@pytest.mark.parametrize(("n", "name"), [(n, name) for n, cases in WRONG.items() for name in cases])
def test_it_goes_wrong_and_is_asked_about_just_that(rabbit: Any, n: int, name: str) -> None:
    body, question = WRONG[n][name]
    assert_not_yet(judge(rabbit, n, body), question)


@pytest.mark.parametrize(("n", "name"), [(n, name) for n, cases in RIGHT.items() for name in cases])
def test_it_goes_right_in_more_than_one_way(rabbit: Any, n: int, name: str) -> None:
    outcome = judge(rabbit, n, RIGHT[n][name])
    assert outcome.status == "correct", outcome


GUESSES = {
    "`#` is at least one word": (
        '"comment": ["statistics", "moderators"]',
        '"comment": ["statistics"]',
        "no word at all",
    ),
    "`*` is any number": (
        '"comment.maths.t7.reply": ["mail",',
        '"comment.maths.t7.reply": ["push", "mail",',
        "How many words does `*` stand for?",
    ),
    "letters are alike": (
        '"Comment.art.reply": ["mail",',
        '"Comment.art.reply": ["moderators", "push", "mail",',
        "the same word?",
    ),
    "a key is missing": ('"chat.reported": ["statistics", "moderators"],', "", "the six keys of the table"),
    "a text": ('"chat.reported": ["statistics", "moderators"]', '"chat.reported": "statistics"', "a list of teams"),
    "a team unheard of": ('"sign-up": ["mail"', '"sign-up": ["mails"', "names 'mails'"),
}


@pytest.mark.parametrize("name", GUESSES)
def test_a_wrong_prediction_is_asked_about(rabbit: Any, name: str) -> None:
    before, after, question = GUESSES[name]
    text = solution("07", 4)
    assert before in text
    assert_not_yet(answer("07", 4, text.replace(before, after), rabbit), question)
