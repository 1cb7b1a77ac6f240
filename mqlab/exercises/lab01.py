"""Lab 01, first in, first out: the answers go through programs of puts and gets, beside a plain list."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from mqlab import campus
from mqlab.exercises import Exercise, NotYet
from mqlab.queues import FIFO, Priority, Stack

NAMES = [event.name for event in campus.sign_ups(12)]


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "nobody"


# ---- 1 a queue


def check_line(_: Any, Line: type) -> str:
    """Put and take in a fixed order, in a random one, in two queues at once, and from an empty one."""
    line = Line()
    for name in NAMES[:4]:
        line.put(name)
    if len(line) != 4:
        raise NotYet(f"Four people wait, and `len` says {len(line)}. What does `__len__` count?")
    found = [line.get() for _ in range(4)]
    if found == NAMES[3::-1]:
        raise NotYet(f"They came as {_listed(NAMES[:4])} and left the other way round. Is that a queue, or a stack?")
    if found != NAMES[:4]:
        raise NotYet(f"They came as {_listed(NAMES[:4])} and left as {_listed(found)}. At which end does each go?")
    one, other = Line(), Line()
    one.put("Amina")
    if len(other):
        raise NotYet("Amina stands in one queue, and a second queue has her too. What do all your queues share?")
    other.put("Björn")
    if one.get() != "Amina":
        raise NotYet("Amina stood in one queue, Björn in another, and they met. What do all your queues share?")
    chance, line = random.Random(1), Line()
    came: list[int] = []
    left: list[int] = []
    for _ in range(400):
        if chance.random() < 0.55:
            came.append(len(came))
            line.put(came[-1])
        elif len(came) > len(left):
            left.append(line.get())
        if left != came[: len(left)] or len(line) != len(came) - len(left):
            raise NotYet("Puts and gets came mixed, and somebody overtook. Does a put or a get touch the wrong end?")
    try:
        value = Line().get()
    except LookupError as error:
        if not str(error) or "pop from" in str(error):
            raise NotYet(
                f"From an empty queue it says {str(error)!r}. That is what the list or the deque says. What would you "
                "tell a person who asks at an empty desk?"
            ) from None
    else:
        raise NotYet(f"From an empty queue `get` gives back {value!r}. How is one to tell that from a person?")
    return "First in, first out, whatever the program, and a plain word when nobody waits."


# ---- 2 predict, then measure


PROGRAM = [("put", (2, "Amina")), ("put", (1, "Björn")), ("get",), ("put", (1, "Chidi")), ("get",), ("get",)]


def check_orders(_: Any, prediction: Any, measured: Callable[..., object]) -> str:
    """Compare the predicted orders with the truth, and run the measurement on programs of the check's own."""
    truth = {name: _run(kind(), PROGRAM) for name, kind in (("queue", FIFO), ("stack", Stack), ("priority", Priority))}
    if not isinstance(prediction, dict) or set(prediction) != set(truth):
        raise NotYet("`prediction` should be a dict with the keys queue, stack and priority. What is it?")
    for name, order in truth.items():
        try:
            guess = list(prediction[name])
        except TypeError:
            guess = []
        if sorted(map(str, guess)) != sorted(order):
            raise NotYet(f"All three people are served by the {name}. You name {_listed(guess)}. In which order?")
        if guess != order:
            first = next(n for n, (mine, theirs) in enumerate(zip(guess, order, strict=True), 1) if mine != theirs)
            raise NotYet(
                f"The {name} does not give out {guess[first - 1]} as number {first}. Who is in it at "
                f"that get, and what is "
                "its rule?"
            )
    for seed in range(3):
        program = _program(random.Random(seed))
        for kind in (FIFO, Stack, Priority):
            found = measured(kind(), list(program))
            wanted = _run(kind(), program)
            if found is None:
                raise NotYet("`measured` gave back nothing (None). Is there a `return`?")
            if not isinstance(found, list) or any(isinstance(each, tuple) for each in found):
                raise NotYet(
                    f"`measured` should give back a list of names. Yours begins {str(found)[:40]}. What is taken?"
                )
            if found != wanted:
                raise NotYet(
                    f"{kind.__name__} gave out {_listed(wanted[:4])}, you measured {_listed(found[:4])}. Do you do the "
                    "steps in their order, each once, on the queue that you were given?"
                )
    return "Three rules, three orders: predicted, and then seen."


def _run(queue: Any, program: list[Any]) -> list[str]:
    taken = []
    for verb, *what in program:
        if verb == "put":
            queue.put(what[0])
        else:
            taken.append(queue.get()[1])
    return taken


def _program(chance: random.Random) -> list[Any]:
    program: list[Any] = []
    waiting = 0
    for n in range(30):
        if waiting and chance.random() < 0.45:
            program.append(("get",))
            waiting -= 1
        else:
            program.append(("put", (chance.randint(1, 3), f"{NAMES[n % 12]} {n}")))
            waiting += 1
    return program


# ---- 3 find the bug


def check_desk(_: Any, Desk: type) -> str:
    """Put students who cannot be compared, equally urgent ones among them, and some that can."""
    people = campus.sign_ups(6)
    desk = Desk()
    urgencies = [2, 1, 2, 1, 3, 1]
    try:
        for urgency, person in zip(urgencies, people, strict=True):
            desk.put(urgency, person)
        found = [desk.get() for _ in people]
    except TypeError as error:
        if "not supported between" not in str(error):
            raise
        raise NotYet(
            f"Two students were equally urgent, and Python said: {error}. What does the heap compare "
            f"when the first parts "
            "of two tuples are equal?"
        ) from None
    wanted = [people[n] for n in (1, 3, 5, 0, 2, 4)]
    if found != wanted:
        if any(not isinstance(each, campus.SignUp) for each in found):
            raise NotYet(f"`get` should give back the student. It gave back {str(found[0])[:60]}. What is put in?")
        urgent = [urgencies[people.index(each)] for each in found]
        if urgent != sorted(urgent):
            raise NotYet(
                f"The urgencies left as {_listed(urgent)}. Should not the most urgent, which is 1, leave first?"
            )
        raise NotYet("Equally urgent students left in another order than they came. Who settles a tie?")
    desk = Desk()
    for name in ("Zoe", "Ana", "Max", "Ben"):
        desk.put(1, name)
    if (names := [desk.get() for _ in range(4)]) != ["Zoe", "Ana", "Max", "Ben"]:
        raise NotYet(
            f"Zoe, Ana, Max and Ben were equally urgent and left as {_listed(names)}. Is a name in "
            f"the alphabet a reason to "
            "go first?"
        )
    desk = Desk()
    left = []
    for n in range(40):
        desk.put(1, -n)  # whoever compares them lets the later one go first
        if n % 3 == 2:
            left.append(desk.get())
    while len(left) < 40:
        left.append(desk.get())
    if left != [-n for n in range(40)]:
        raise NotYet(
            "With gets between the puts, equally urgent students overtook each other. Is a number given twice?"
        )
    return "The most urgent first; among equals, the first to come. Nobody is compared by name."


# ---- 4 fair between courses


def check_fair(_: Any, Fair: type) -> str:
    """A flood from one course beside single students from others; then a mixed program."""
    fair = Fair()
    for n in range(50):
        fair.put("Python", f"Python {n}")
    fair.put("Piano", "Piano 0")
    fair.put("Physics", "Physics 0")
    found = [fair.get() for _ in range(4)]
    for course in ("Piano", "Physics"):
        if f"{course} 0" not in found[:3]:
            raise NotYet(
                f"50 students of Python wait, one of {course}. After three gets {_listed(found[:3])} "
                f"were served. How long "
                f"does the one of {course} have to wait?"
            )
    if found[3] == "Python 0" or len(set(found)) < 4:
        raise NotYet("Somebody was served twice. What does `get` take away?")
    rest = [fair.get() for _ in range(48)]
    if [name for name in found + rest if name.startswith("Python")] != [f"Python {n}" for n in range(50)]:
        raise NotYet("Within one course somebody overtook, or was lost. Is each course first in, first out?")
    chance, fair = random.Random(3), Fair()
    waiting: dict[str, list[str]] = {name: [] for name in ("Art", "Biology", "Chemistry")}
    skipped = dict.fromkeys(waiting, 0)
    for n in range(300):
        if any(waiting.values()) and chance.random() < 0.48:
            name = str(fair.get())
            course = name.split()[0]
            if not waiting.get(course) or waiting[course][0] != name:
                raise NotYet(f"{name} was served, and was not the first of that course to wait. Who was?")
            waiting[course].pop(0)
            skipped[course] = 0
            for other, line in waiting.items():
                skipped[other] = skipped[other] + 1 if line and other != course else 0
            if max(skipped.values()) > 2 * len(waiting):
                raise NotYet("A course waited while the others were served again and again. Whose turn was it?")
        else:
            course = chance.choice(list(waiting))
            waiting[course].append(f"{course} {n}")
            fair.put(course, waiting[course][-1])
    try:
        value = Fair().get()
    except LookupError:
        pass
    else:
        raise NotYet(f"Nobody waits, and `get` gives back {value!r}. A LookupError would say so. Which line raises it?")
    return "The courses take turns, each is first in, first out, and a flood from one keeps nobody else waiting."


# ---- 5 two stacks


class _Counting:
    """A stack that counts what is put into it and taken from it."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self.moves = 0

    def put(self, item: Any) -> None:
        self.moves += 1
        self._items.append(item)

    def get(self) -> Any:
        self.moves += 1
        return self._items.pop()

    def __len__(self) -> int:
        return len(self._items)


def check_two_stacks(_: Any, TwoStacks: type) -> str:
    """Run puts and gets through a queue made of counting stacks; count the moves."""
    stacks: list[_Counting] = []

    def stack() -> _Counting:
        stacks.append(_Counting())
        return stacks[-1]

    queue = TwoStacks(stack)
    chance = random.Random(5)
    came: list[int] = []
    left: list[int] = []
    for n in range(1_000):
        if n < 300 or (n < 900 and chance.random() < 0.5):
            came.append(n)
            queue.put(n)
        elif len(left) < len(came):
            left.append(queue.get())
        if left != came[: len(left)]:
            if left == [came[-1]] or left[-1] > came[len(left) - 1]:
                raise NotYet("Somebody who came later was taken first. When may you pour one stack into the other?")
            raise NotYet("The order is not that of a queue. Which of the two stacks do you take from, and when?")
    if len(queue) != len(came) - len(left):
        raise NotYet(f"{len(came) - len(left)} wait, and `len` says {len(queue)}. Where may they be?")
    moves = sum(stack.moves for stack in stacks)
    if not stacks or moves < len(came) + len(left):
        raise NotYet("The stacks that you were given were hardly used. Where does your queue keep its items?")
    if len(stacks) > 2:
        raise NotYet(f"Two stacks are enough. You made {len(stacks)}. Can one be used again?")
    if moves > 4 * len(came):
        raise NotYet(
            f"{len(came)} items went in, and the stacks made {moves:,} moves: {moves / len(came):.0f} "
            f"for each item. Must all "
            "be poured back after each get?"
        )
    return f"First in, first out, from two stacks: {moves:,} moves for {len(came)} items."


EXERCISES = [
    Exercise(
        1,
        "Build a queue on a deque",
        check_line,
        (
            "A deque is open at both ends. Put at one, take at the other. And each queue needs a deque of its own.",
            "Make the deque in `__init__`: `self.items = deque()`. `append` puts at the right, "
            "`popleft` takes at the left.",
            'In `get`: `if not self.items: raise LookupError("nobody waits")`, then `return self.items.popleft()`.',
        ),
    ),
    Exercise(
        2,
        "Predict three orders, then see them",
        check_orders,
        (
            "Go through the program with a pencil, once for each kind. Write down who is inside before each get.",
            "The first get comes when Amina (2) and Björn (1) are inside. The queue gives the one "
            "who came first, the stack "
            "the one who came last, the priority queue the one with the smaller number.",
            "To measure: for each step, `queue.put(step[1])` if `step[0]` is put, else append "
            "`queue.get()[1]` to a list.",
        ),
    ),
    Exercise(
        3,
        "Find out why the urgent desk breaks down",
        check_desk,
        (
            "Python compares tuples part by part. When the urgencies are equal it looks at the next "
            "part. What is that?",
            "Between the urgency and the student put something that is never equal, and that tells who came first.",
            "`self.arrivals = itertools.count()`; push `(urgency, next(self.arrivals), student)`, "
            "and give out the last part "
            "of what is popped.",
        ),
    ),
    Exercise(
        4,
        "Be fair to every course",
        check_fair,
        (
            "Give each course a line of its own. And keep the courses themselves in a line: whose turn is it?",
            "A dict from course to deque, in the order of turns. After its turn a course that still "
            "has students goes to the "
            "end.",
            "In `get`: `course = next(iter(self.lines))`, `line = self.lines.pop(course)`, take `line.popleft()`, and "
            "`if line: self.lines[course] = line`. An empty dict is a LookupError.",
        ),
    ),
    Exercise(
        5,
        "Make a queue of two stacks",
        check_two_stacks,
        (
            "Pour a stack into another one, and its order is turned round. Turned round twice it is "
            "the order of arrival.",
            "Put always onto the first. Take always from the second. When the second is empty, and only then, pour.",
            "In `get`: `if not len(self.outside): while len(self.inside): "
            "self.outside.put(self.inside.get())`, and then "
            "`return self.outside.get()`.",
        ),
    ),
]
