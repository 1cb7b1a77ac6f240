"""Cutting an exercise cell into its solution and its starter."""

import linecache
from typing import Any

import pytest

from mqlab.exercises import source

CELL = """\
def take(channel, n):
    # --- solution
    for _ in range(n):  # n times
        pass

    return n
    # --- starter
    # # your code
    #     deeper = 1
    #
    # return []
    # --- end


print(take)"""


def test_both_halves_are_whole_cells_without_markers() -> None:
    solution, starter = source.parts(CELL)
    assert solution == (
        "def take(channel, n):\n    for _ in range(n):  # n times\n        pass\n\n    return n\n\n\nprint(take)"
    )
    assert starter == ("def take(channel, n):\n    # your code\n        deeper = 1\n\n    return []\n\n\nprint(take)")


def test_a_cell_without_markers_is_left_as_it_is() -> None:
    assert source.parts("a = 1\n# note") == ("a = 1\n# note",) * 2


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("# --- solution\npass", "'# --- starter' is missing"),
        ("# --- solution\n# --- end", "'# --- end' where '# --- starter' should come"),
        ("# --- starter\n# --- end", "where '# --- solution' should come"),
        ("# --- solution\n# --- starter\nreturn 1\n# --- end", "not commented out: 'return 1'"),
    ],
)
def test_wrong_markers_are_said(cell: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        source.parts(cell)


DESK = """\
class Desk:
    def put(self, item):
        "Put."
        print(item)

    def get(self):
        return None
"""


@pytest.mark.parametrize(
    ("text", "attempted"),
    [
        (DESK, False),
        (DESK.replace('"Put."', "# put"), False),
        (DESK.replace("print(item)", "self.item = item"), True),
        (DESK + "\n    def __len__(self):\n        return 0\n", True),
        (DESK + "\n    items = []\n", True),
        ("def Desk():\n    pass\n", True),
    ],
)
def test_a_class_is_attempted_when_one_of_its_members_differs(text: str, attempted: bool) -> None:
    task = source.Task(DESK, DESK, "lab.check(1, Desk)", "")
    file = f"<desk {hash(text)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {}
    exec(compile(text, file, "exec"), names)
    assert source.attempted(task, (names["Desk"],)) is attempted
