"""Read a lab's exercises from its solution notebook: the solved code, the starter code, why it works."""

import ast
import inspect
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqlab import paths
from mqlab.exercises.outcome import NotYet

_MARKER = re.compile(r"\s*# --- (solution|starter|end)\s*$")
_COMMENTED = re.compile(r"(\s*)# ?(.*)$")


@dataclass(frozen=True)
class Task:
    """One exercise as its solution notebook has it; each field is the source of a cell."""

    solution: str
    starter: str
    check: str
    why: str


def parts(cell: str) -> tuple[str, str]:
    """Return an exercise cell's (solution, starter): each whole and without the marker lines.

    ValueError: a marker is out of order, or a starter line is not commented out.
    """
    solution: list[str] = []
    starter: list[str] = []
    place = "end"
    after = {"end": "solution", "solution": "starter", "starter": "end"}
    for line in cell.splitlines():
        if marker := _MARKER.match(line):
            if marker[1] != after[place]:
                raise ValueError(f"'# --- {marker[1]}' where '# --- {after[place]}' should come")
            place = marker[1]
            continue
        if place in ("end", "solution"):
            solution.append(line)
        if place == "end":
            starter.append(line)
        elif place == "starter" and line.strip():
            commented = _COMMENTED.match(line)
            if not commented:
                raise ValueError(f"a starter line is not commented out: {line.strip()!r}")
            starter.append((commented[1] + commented[2]).rstrip())
    if place != "end":
        raise ValueError(f"'# --- {after[place]}' is missing")
    return "\n".join(solution), "\n".join(starter)


def number_of(lab: str | int) -> str:
    """Return a lab's number as two digits: "05" of 5, "5" or "05"."""
    return str(lab).zfill(2)


def notebook_of(lab: str, folder: Path | None = None) -> Path | None:
    """Return the path of a lab's notebook in the folder of solutions (or another), None when there is none."""
    return next(iter(sorted((folder or paths.SOLUTIONS).glob(f"{number_of(lab)}-*.ipynb"))), None)


def tasks(lab: str) -> dict[int, Task]:
    """Return a lab's exercises by number; empty when its solution notebook is not there or cannot be read."""
    path = notebook_of(lab)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path else []
        return tasks_of(cells)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def tasks_of(cells: list[Any]) -> dict[int, Task]:
    """Return the exercises in the cells of a solution notebook, by number."""
    tagged = {tag: "".join(cell["source"]) for cell in cells for tag in cell["metadata"].get("tags", [])}
    found = {}
    for tag, source in tagged.items():
        if match := re.fullmatch(r"exercise-(\d+)", tag):
            n = match[1]
            solution, starter = parts(source)
            found[int(n)] = Task(solution, starter, tagged.get(f"check-{n}", ""), tagged.get(f"why-{n}", ""))
    return dict(sorted(found.items()))


def attempted(task: Task, answers: tuple[Any, ...]) -> bool:
    """Tell whether any answer differs from what the starter code makes; comments and docstrings do not count.

    An answer whose source cannot be had counts as an attempt.
    """
    starter = _definitions(task.starter)
    pairs = zip(_answer_names(task), answers, strict=False)
    return any(name not in starter or not _same(starter[name], answer) for name, answer in pairs)


def fit(task: Task, answers: tuple[Any, ...]) -> None:
    """Ask (by NotYet) when answers are missing, or are not functions of as many arguments as the starter's."""
    names = _answer_names(task)
    if names and len(answers) != len(names):
        raise NotYet(f"The check is called `{task.check.strip().splitlines()[-1]}`: what did you give it?")
    starter = _definitions(task.starter)
    for name, answer in zip(names, answers, strict=False):
        definition = starter.get(name)
        if not isinstance(definition, ast.FunctionDef):
            continue
        if not callable(answer):
            kind = type(answer).__name__
            raise NotYet(f"`{name}` should be a function, here it is a value ({kind}). Is its name given without `()`?")
        wanted = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
        try:
            inspect.signature(answer).bind(*wanted)
        except TypeError:
            raise NotYet(
                f"`{name}` is called with {len(wanted)} argument{'' if len(wanted) == 1 else 's'}: "
                f"`{name}({', '.join(wanted)})`. Which does yours take?"
            ) from None
        except ValueError:  # a builtin without a signature: the check will see
            continue


def _answer_names(task: Task) -> list[str]:
    """Return the names that the check cell hands to `lab.check(n, ...)`, "" for what is not a name."""
    try:
        tree = ast.parse(task.check)
    except SyntaxError:
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "check":
            return [argument.id if isinstance(argument, ast.Name) else "" for argument in node.args[1:]]
    return []


def _definitions(source: str) -> dict[str, ast.AST]:
    """Return what a cell defines at its top: name -> function, class, or the value assigned."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return found


def _same(definition: ast.AST, answer: Any) -> bool:
    try:
        if isinstance(definition, ast.FunctionDef):
            [node] = ast.parse(textwrap.dedent(inspect.getsource(answer))).body
            return _bare(node) == _bare(definition)
        if isinstance(definition, ast.ClassDef):  # by its methods: Python 3.11 finds no source of a notebook's class
            return isinstance(answer, type) and _same_members(definition, answer)
        value = ast.literal_eval(ast.unparse(definition))
        return type(value) is type(answer) and bool(value == answer)
    except (OSError, TypeError, SyntaxError, ValueError):
        return False


def _same_members(definition: ast.ClassDef, answer: type) -> bool:
    methods = {node.name: node for node in definition.body if isinstance(node, ast.FunctionDef)}
    own = {name: value for name, value in vars(answer).items() if inspect.isfunction(value) or name[:2] != "__"}
    return own.keys() == methods.keys() and all(_same(node, own[name]) for name, node in methods.items())


def _bare(node: ast.AST) -> str:
    """Return a definition as text that knows no comments, docstrings, or places in the file."""
    tree = ast.parse(ast.unparse(node))  # a copy
    for inner in ast.walk(tree):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner, clean=False) is not None:
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.dump(tree)
