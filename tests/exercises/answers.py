"""For the tests of a lab's checks: an answer, given as the text of an exercise cell, is judged as in the notebook."""

import ast
import itertools
import json
import linecache
from typing import Any

from mqlab import exercises
from mqlab.exercises import Outcome, source

_numbers = itertools.count(1)


def answer(lab: str, n: int, text: str, rabbit: Any = None) -> Outcome:
    """Run `text` in place of exercise n's cell, then its check cell; return the outcome.

    What the notebook's other cells import and define is there; these cells are not run.
    """
    names = _surroundings(lab) | {"rabbit": rabbit, "lab": exercises.lab(lab, rabbit)}
    _execute(text, names)
    check = ast.parse(source.tasks(lab)[n].check).body[-1]
    assert isinstance(check, ast.Expr)
    outcome = eval(compile(ast.Expression(check.value), "<check>", "eval"), names)
    assert isinstance(outcome, Outcome)
    return outcome


def with_bodies(lab: str, n: int, *bodies: str, before: str = "") -> str:
    """Return the def lines of exercise n's starter, each with another body, indented by one step less than it will be.

    `before` comes first; def lines for which there is no body are left out.
    """
    heads = [line for line in starter(lab, n).splitlines() if line.startswith("def ")]
    functions = (
        "\n".join([head, *(f"    {line}" for line in body.strip("\n").splitlines())])
        for head, body in zip(heads, bodies, strict=False)
    )
    return "\n".join([before, *functions])


def assert_not_yet(outcome: Outcome, question: str) -> None:
    assert outcome.status == "not yet", outcome
    assert question in outcome.message, outcome
    assert "?" in outcome.message


def assert_correct(outcome: Outcome) -> None:
    assert outcome.status == "correct", outcome


def starter(lab: str, n: int) -> str:
    """Return the cell of exercise n as the learner finds it."""
    return source.tasks(lab)[n].starter


def solution(lab: str, n: int) -> str:
    """Return the cell of exercise n as the solution notebook has it."""
    return source.tasks(lab)[n].solution


def _surroundings(lab: str) -> dict[str, Any]:
    """Return what the untagged code cells of a solution notebook import and define."""
    path = source.notebook_of(lab)
    assert path is not None
    names: dict[str, Any] = {"__name__": "__main__"}
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and not cell["metadata"].get("tags"):
            body = [node for node in ast.parse("".join(cell["source"])).body if isinstance(node, kinds)]
            _execute(ast.unparse(ast.Module(body, [])), names)
    return names


def _execute(text: str, names: dict[str, Any]) -> None:
    """Run a cell's text so that its source can be found again, as IPython does."""
    file = f"<cell {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)
