"""Lab 02: wrong in the classic ways, right in more than one way."""

import pytest
from answers import answer, solution

LAB = "02"


def changed(n: int, *pairs: tuple[str, str]) -> str:
    """Return the solution of exercise n with texts replaced."""
    text = solution(LAB, n)
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


GATHER = "def gather(sources):\n{}\n"
ALONE = GATHER.format("    return [name for source in sources for name in source()]")
FIRST_GOODBYE = (
    (
        """        if name is None:
            open_sources -= 1
        else:
            names.append(name)""",
        """        if name is None:
            break
        names.append(name)""",
    ),
    ("while open_sources:", "while sources:"),
)
JOIN_FIRST = """
def gather(sources):
    line = Queue(maxsize=2)

    def bring(source):
        for name in source():
            line.put(name)

    threads = [Thread(target=bring, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [line.get() for _ in range(line.qsize())]
"""
BUSY = """
class Buffer:
    def __init__(self, size):
        self.items, self.size = deque(), size

    def put(self, item):
        while len(self.items) >= self.size:
            pass
        self.items.append(item)

    def get(self):
        while not self.items:
            pass
        return self.items.popleft()
"""
RUN = """
def run_all(names, work, places):
    done, failed = [], []
    {}
    return done, failed
"""

WRONG = {
    "one after the other": (1, ALONE, "Do they run at once?"),
    "the first goodbye ends it": (1, changed(1, *FIRST_GOODBYE), "not in your list"),
    "the goodbyes are kept": (
        1,
        changed(
            1, ("            open_sources -= 1\n", "            open_sources -= 1\n            names.append(name)\n")
        ),
        "Is that a person, or a goodbye?",
    ),
    "never ends": (1, changed(1, ("open_sources -= 1", "pass")), "How does its consumer learn"),
    "joins before it takes": (1, JOIN_FIRST, "How does its consumer learn"),
    "a source that nobody ends": (
        1,
        changed(
            1,
            (
                "    while open_sources:",
                "    Thread(target=Queue().get, args=(True, 8), daemon=True).start()\n    while open_sources:",
            ),
        ),
        "What are they",
    ),
    "sorted": (1, changed(1, ("return names", "return sorted(names, reverse=True)")), "Who mixed them?"),
    "get raises": (
        2,
        changed(2, ("            self.changed.wait_for(lambda: self.items, 10)\n", "")),
        "What should a consumer do",
    ),
    "get gives None": (
        2,
        changed(2, ("self.changed.wait_for(lambda: self.items, 10)", "if not self.items: return None")),
        "What should it wait for?",
    ),
    "put wakes nobody": (
        2,
        changed(2, ("append(item)\n            self.changed.notify_all()", "append(item)")),
        "Ana came, and the consumer still waits",
    ),
    "no end": (
        2,
        changed(2, ("            self.changed.wait_for(lambda: len(self.items) < self.size, 10)\n", "")),
        "When is your buffer full?",
    ),
    "one place too few": (2, changed(2, ("< self.size", "< self.size - 1")), "How do you count?"),
    "get wakes nobody": (
        2,
        changed(2, ("            self.changed.notify_all()\n            return", "            return")),
        "Somebody was taken, and it still waits",
    ),
    "a stack": (2, changed(2, ("popleft()", "pop()")), "At which end"),
    "asks once": (
        2,
        changed(
            2,
            ("self.changed.wait_for(lambda: self.items, 10)", "if not self.items: self.changed.wait(10)"),
        ),
        "has to be asked once",
    ),
    "spins": (2, BUSY, "kept the processor busy"),
    "as before, in other words": (
        3,
        changed(3, ("for _ in threads:", "for _ in range(1):")),
        "Which thread still waits?",
    ),
    "joins with a limit": (
        3,
        changed(3, ("for _ in threads:", "for _ in range(1):"), ("thread.join()", "thread.join(0.2)")),
        "nothing more will come",
    ),
    "waits for nobody": (3, changed(3, ("thread.join()", "pass")), "were not sent by then"),
    "the goodbyes first": (
        3,
        changed(
            3,
            ("    for name in names:\n        line.put(name)\n", ""),
            (
                "        line.put(None)\n",
                "        line.put(None)\n    for name in names[:0]:\n        line.put(name)\n",
            ),
        ),
        "were not sent by then",
    ),
    "one thread for all": (
        3,
        "def send_all(names, send, workers):\n    for name in names:\n        send(name)",
        "Do they work at once?",
    ),
    "mails to None": (
        3,
        changed(
            3,
            (
                "while (name := line.get()) is not None:\n            send(name)",
                "while True:\n            name = line.get()\n            send(name)\n"
                "            if name is None:\n                return",
            ),
        ),
        "A mail went to None",
    ),
    "as many as places": (4, changed(4, ("(5, 6, 5)", "(4, 4, 4)")), "in hand?"),
    "as many as producers": (4, changed(4, ("(5, 6, 5)", "(5, 5, 7)")), "Where is each"),
    "no prediction": (4, changed(4, ("(5, 6, 5)", "None")), "should be three numbers"),
    "not measured": (
        4,
        "prediction = (5, 6, 5)\n\n\ndef measured(places, producers, consumers):\n    return places",
        "do you count what really got in?",
    ),
    "waits for ever": (4, changed(4, (", timeout=0.3", "")), "no limit"),
    "counts the tries": (
        4,
        changed(
            4,
            (
                'line.put("Ana", timeout=0.3)\n                inside.append("Ana")',
                'inside.append("Ana")\n                line.put("Ana", timeout=0.3)',
            ),
        ),
        "do you count what really got in?",
    ),
    "falls at the first": (
        5,
        changed(
            5, ("except Exception:\n                failed.append(name)", "except Exception:\n                raise")
        ),
        "Who waits for whom?",
    ),
    "swallows": (5, changed(5, ("failed.append(name)", "pass")), "Who is told of a failure?"),
    "says that it was done": (5, changed(5, ("failed.append(name)", "done.append(name)")), "Which line knows"),
    "stops taking, but drains": (
        5,
        changed(5, ("                work(name)", "                if not failed:\n                    work(name)")),
        "Is each tried once?",
    ),
    "without a thread": (
        5,
        RUN.format(
            "for name in names:\n        try:\n            work(name)\n            done.append(name)\n"
            "        except Exception:\n            failed.append(name)"
        ),
        "Which thread should take?",
    ),
    "without an end": (5, changed(5, ("Queue(maxsize=places)", "Queue()")), "makes the producer wait?"),
    "tries twice": (
        5,
        changed(
            5,
            (
                "                failed.append(name)",
                "                failed.append(name)\n                try: work(name)\n"
                "                except Exception: pass",
            ),
        ),
        "Is each tried once?",
    ),
}

RIGHT = {
    "a pool of threads": (
        1,
        """
from concurrent.futures import ThreadPoolExecutor

def gather(sources):
    if not sources:
        return []
    with ThreadPoolExecutor(len(sources)) as pool:
        return [name for names in pool.map(lambda source: list(source()), sources) for name in names]
""",
    ),
    "joins, then takes, without an end": (1, JOIN_FIRST.replace("Queue(maxsize=2)", "Queue()")),
    "while around wait": (
        2,
        changed(2, ("self.changed.wait_for(lambda: self.items, 10)", "while not self.items: self.changed.wait(10)")),
    ),
    "two conditions": (
        2,
        """
from threading import Lock

class Buffer:
    def __init__(self, size):
        self.items, self.size, lock = [], size, Lock()
        self.full, self.empty = Condition(lock), Condition(lock)

    def put(self, item):
        with self.full:
            while len(self.items) == self.size:
                self.full.wait(10)
            self.items.append(item)
            self.empty.notify()

    def get(self):
        with self.empty:
            while not self.items:
                self.empty.wait(10)
            item = self.items.pop(0)
            self.full.notify()
            return item
""",
    ),
    "semaphores": (
        2,
        """
from threading import Lock, Semaphore

class Buffer:
    def __init__(self, size):
        self.items, self.places, self.there = deque(), Semaphore(size), Semaphore(0)

    def put(self, item):
        self.places.acquire(timeout=10)
        self.items.append(item)
        self.there.release()

    def get(self):
        self.there.acquire(timeout=10)
        item = self.items.popleft()
        self.places.release()
        return item
""",
    ),
    "the goodbye goes round": (
        3,
        changed(
            3,
            ("            send(name)", "            send(name)\n        line.put(None)"),
            ("for _ in threads:", "for _ in range(1):"),
        ),
    ),
    "waits for the work, then for the workers": (
        3,
        changed(
            3,
            ("            send(name)", "            send(name)\n            line.task_done()"),
            ("    for _ in threads:", "    line.join()\n    for _ in threads:"),
        ),
    ),
    "a prediction in a list": (4, changed(4, ("(5, 6, 5)", "[5, 6, 5]"))),
    "counted by the queue": (
        4,
        """
prediction = (5, 6, 5)

def measured(places, producers, consumers):
    line = Queue(places)
    got = []
    def consume():
        got.append(line.get(timeout=2))
    threads = [Thread(target=consume) for _ in range(consumers)]
    for thread in threads:
        thread.start()
    try:
        while True:
            line.put("Ana", timeout=0.2)
    except Full:
        return line.qsize() + len(got)
""",
    ),
    "an error in the second list of pairs": (
        5,
        changed(
            5,
            ("            else:\n                done.append(name)\n", ""),
            ("                work(name)", "                work(name)\n                done.append(name)"),
        ),
    ),
    "a semaphore and a pool": (
        5,
        """
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

def run_all(names, work, places):
    done, failed, free = [], [], Semaphore(places)
    def one(name):
        try:
            work(name)
            done.append(name)
        except Exception:
            failed.append(name)
        finally:
            free.release()
    with ThreadPoolExecutor(1) as pool:
        for name in names:
            free.acquire()
            pool.submit(one, name)
    return done, failed
""",
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
