"""Lab 01: wrong in the classic ways, right in more than one way."""

import pytest
from answers import answer, solution, starter

LAB = "01"


def changed(n: int, *pairs: tuple[str, str]) -> str:
    """Return the solution of exercise n with texts replaced."""
    text = solution(LAB, n)
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


POLITE = '        if not self.items:\n            raise LookupError("nobody waits at this desk")\n'
COURSE = "            self.lines[course] = line\n"
POUR = """        if not len(self.outside):
            while len(self.inside):
                self.outside.put(self.inside.get())
        return self.outside.get()
"""

WRONG = {
    "a stack": (1, changed(1, ("popleft()", "pop()")), "Is that a queue, or a stack?"),
    "one for all": (
        1,
        changed(1, ("    def __init__(self):\n        self.items = deque()", "    items = deque()")),
        "What do all your queues share?",
    ),
    "the deque's own words": (1, changed(1, (POLITE, "")), "at an empty desk"),
    "None when empty": (
        1,
        changed(1, (POLITE, "        if not self.items:\n            return None\n")),
        "tell that from",
    ),
    "no length": (1, changed(1, ("return len(self.items)", "return 0")), "What does `__len__` count?"),
    "sorted": (1, changed(1, ("self.items.append(item)", "self.items.appendleft(item)")), "a stack?"),
    "alphabet": (
        1,
        changed(1, ("return self.items.popleft()", "x = max(self.items); self.items.remove(x); return x")),
        "stack?",
    ),
    "queue for a stack": (
        2,
        changed(2, ('["Björn", "Chidi", "Amina"]', '["Amina", "Björn", "Chidi"]')),
        "The stack does not",
    ),
    "nobody": (2, changed(2, ('"queue": ["Amina", "Björn", "Chidi"]', '"queue": []')), "All three people"),
    "a list": (2, changed(2, ("prediction = {", "prediction = [0] and {1: 1} or {")), "keys queue, stack"),
    "the urgency too": (2, changed(2, ("queue.get()[1]", "queue.get()")), "a list of names"),
    "all puts first": (
        2,
        "prediction = "
        + '{"queue": ["Amina", "Björn", "Chidi"], "stack": ["Björn", "Chidi", "Amina"], '
        + '"priority": ["Björn", "Chidi", "Amina"]}\n\n\ndef measured(queue, program):\n'
        + "    for step in program:\n        if step[0] == 'put':\n            queue.put(step[1])\n"
        + "    return [queue.get()[1] for step in program if step[0] == 'get']",
        "in their order",
    ),
    "measures nothing": (2, changed(2, ("    return taken", "    pass")), "Is there a `return`?"),
    "still a pair": (3, changed(3, ("next(self.arrivals)", "0")), "What does the heap compare"),
    "by name": (3, changed(3, ("next(self.arrivals)", "str(student)")), "go first?"),
    "by id": (3, changed(3, ("next(self.arrivals)", "-next(self.arrivals)")), "Who settles a tie?"),
    "the number is its length": (3, changed(3, ("next(self.arrivals)", "len(self.items)")), "Is a number given twice?"),
    "the greatest first": (3, changed(3, ("(urgency, next", "(-urgency, next")), "most urgent, which is 1"),
    "gives back the pair": (
        3,
        changed(3, ("heappop(self.items)[-1]", "heappop(self.items)")),
        "should give back the student",
    ),
    "first in, first out for all": (4, starter(LAB, 4).replace("popleft()", "popleft() or None"), "have to wait?"),
    "the longest line first": (
        4,
        changed(4, ("next(iter(self.lines))", "max(self.lines, key=lambda c: len(self.lines[c]))")),
        "have to wait?",
    ),
    "the same course again": (
        4,
        changed(4, (COURSE, "            self.lines = {course: line} | self.lines\n")),
        "have to wait?",
    ),
    "a stack in each": (4, changed(4, ("line.popleft()", "line.pop()")), "Within one course"),
    "takes nobody away": (4, changed(4, ("line.popleft()", "line[0]")), "served twice"),
    "silent when empty": (4, changed(4, ('raise LookupError("nobody waits")', "return None")), "Which line raises it?"),
    "not poured": (5, changed(5, (POUR, "        return self.inside.get()\n")), "taken first"),
    "poured too early": (
        5,
        changed(5, ("        if not len(self.outside):\n            while", "        if True:\n            while")),
        "taken first",
    ),
    "poured back": (
        5,
        changed(
            5,
            (
                POUR,
                "        while len(self.inside):\n            self.outside.put(self.inside.get())\n"
                "        item = self.outside.get()\n        while len(self.outside):\n"
                "            self.inside.put(self.outside.get())\n        return item\n",
            ),
        ),
        "Must all be poured back",
    ),
    "a list beside them": (
        5,
        "class TwoStacks:\n    def __init__(self, stack):\n        self.items = deque()\n"
        "    def put(self, item):\n        self.items.append(item)\n"
        "    def get(self):\n        return self.items.popleft()\n"
        "    def __len__(self):\n        return len(self.items)",
        "hardly used",
    ),
    "a new stack each time": (
        5,
        changed(
            5,
            ("        if not len", "        self.stack()\n        if not len"),
            ("        self.inside, self", "        self.stack = stack\n        self.inside, self"),
        ),
        "Two stacks are enough",
    ),
    "half a length": (
        5,
        changed(5, ("len(self.inside) + len(self.outside)", "len(self.inside)")),
        "Where may they be?",
    ),
}

RIGHT = {
    "the other way round": (1, changed(1, ("append(item)", "appendleft(item)"), ("popleft()", "pop()"))),
    "a list, and an IndexError": (
        1,
        changed(1, ("deque()", "[]"), ("popleft()", "pop(0)"), ("LookupError", "IndexError")),
    ),
    "tuples for lists": (2, changed(2, ('["Amina", "Björn", "Chidi"]', '("Amina", "Björn", "Chidi")'))),
    "unpacked steps": (
        2,
        changed(
            2,
            ("for step in program:\n        if step[0] ==", "for verb, *what in program:\n        if verb =="),
            ("step[1]", "what[0]"),
        ),
    ),
    "a sorted list": (
        3,
        "class Desk:\n    def __init__(self):\n        self.items = []\n"
        "    def put(self, urgency, student):\n        self.items.append((urgency, student))\n"
        "        self.items.sort(key=lambda item: item[0])\n"
        "    def get(self):\n        return self.items.pop(0)[1]",
    ),
    "a line for each urgency": (
        3,
        "class Desk:\n    def __init__(self):\n        self.lines = {}\n"
        "    def put(self, urgency, student):\n        self.lines.setdefault(urgency, deque()).append(student)\n"
        "    def get(self):\n        urgency = min(u for u, line in self.lines.items() if line)\n"
        "        return self.lines[urgency].popleft()",
    ),
    "turns in a deque": (
        4,
        "class Fair:\n    def __init__(self):\n        self.turns, self.lines = deque(), {}\n"
        "    def put(self, course, student):\n        if not self.lines.get(course):\n"
        "            self.turns.append(course)\n            self.lines[course] = deque()\n"
        "        self.lines[course].append(student)\n"
        "    def get(self):\n        course = self.turns.popleft()\n        student = self.lines[course].popleft()\n"
        "        if self.lines[course]:\n            self.turns.append(course)\n        return student",
    ),
    "who was served longest ago": (
        4,
        "class Fair:\n    def __init__(self):\n        self.lines, self.last, self.now = {}, {}, 0\n"
        "    def put(self, course, student):\n        self.lines.setdefault(course, deque()).append(student)\n"
        "    def get(self):\n        there = [c for c, line in self.lines.items() if line]\n"
        "        if not there:\n            raise LookupError('nobody')\n"
        "        course = min(there, key=lambda c: self.last.get(c, -1))\n"
        "        self.now += 1\n        self.last[course] = self.now\n        return self.lines[course].popleft()",
    ),
    "poured with for": (
        5,
        changed(5, ("while len(self.inside):", "for _ in range(len(self.inside)):")),
    ),
    "the stacks change places": (
        5,
        changed(
            5,
            (
                POUR,
                "        if not len(self.outside):\n            while len(self.inside) > 0:\n"
                "                item = self.inside.get()\n                self.outside.put(item)\n"
                "        return self.outside.get()\n",
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_goes_wrong_with_its_own_question(name: str) -> None:
    n, text, question = WRONG[name]
    outcome = answer(LAB, n, text)
    assert outcome.status == "not yet" and question in outcome.message, outcome


@pytest.mark.parametrize("name", RIGHT)
def test_goes_right_in_more_than_one_way(name: str) -> None:
    n, text = RIGHT[name]
    outcome = answer(LAB, n, text)
    assert outcome.status == "correct", outcome
