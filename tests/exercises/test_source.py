"""Cutting an exercise cell into its solution and its starter."""

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
