"""The quiz at the end of a notebook: every choice, right or wrong, is explained, and right answers count as progress.

The questions of notebook NN are in quizzes/NN.toml: `[[question]]` with `ask` and `choices`, a list of
`{ text = "...", why = "..." }`, one of them with `right = true`. What stands in backticks is code.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mqlab.exercises import progress
from mqlab.exercises.outcome import marked_up
from mqlab.views import palette

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Choice:
    """One answer, and why it is right or wrong."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question and its choices, one of which is right."""

    ask: str
    choices: tuple[Choice, ...]


def questions(notebook: str) -> list[Question]:
    """Return the questions of a notebook ("01"). ValueError: it has none."""
    path = _HERE / "quizzes" / f"{notebook}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = ", ".join(sorted(path.stem for path in path.parent.glob("*.toml")))
        raise ValueError(f"There is no quiz for notebook {notebook!r}. There are: {there}.") from None
    found = tomllib.loads(text)["question"]
    return [Question(each["ask"], tuple(Choice(**choice) for choice in each["choices"])) for each in found]


class Quiz(anywidget.AnyWidget):
    """The questions as radio buttons. What is chosen is explained by the page; Python notes what was right."""

    _esm = (_HERE / "quiz.js").read_text(encoding="utf-8")
    _css = palette.css() + (_HERE / "quiz.css").read_text(encoding="utf-8")
    _questions: Any = traitlets.List().tag(sync=True)
    _solved = traitlets.List(traitlets.Int()).tag(sync=True)  # numbers of the questions answered right, earlier too

    def __init__(self, notebook: str, asked: list[Question]) -> None:
        self.notebook, self.asked = notebook, asked
        super().__init__(
            _questions=[
                {
                    "ask": marked_up(question.ask),
                    "choices": [
                        {"text": marked_up(choice.text), "why": marked_up(choice.why), "right": choice.right}
                        for choice in question.choices
                    ],
                }
                for question in asked
            ],
            _solved=self._numbers(progress.answered(notebook)),
        )
        self.on_msg(self._hear)

    def __repr__(self) -> str:
        return f"Quiz of notebook {self.notebook}: {len(self.asked)} questions"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:  # where no widget can be shown: the same to be unfolded, choice by choice
            bundle[0]["text/html"] = "".join(_unfolding(n, question) for n, question in enumerate(self.asked, 1))
        return bundle

    def _hear(self, _: Any, message: dict[str, Any], buffers: object = None) -> None:
        match message:
            case {"question": int(n), "choice": int(c)} if 0 < n <= len(self.asked):
                choices = self.asked[n - 1].choices
                if 0 <= c < len(choices):
                    self._solved = self._numbers(progress.answer(self.notebook, n, choices[c].right))

    def _numbers(self, solved: set[int]) -> list[int]:
        return [n for n in range(1, len(self.asked) + 1) if n in solved]  # a quiz may have got shorter since


def _unfolding(n: int, question: Question) -> str:
    choices = "".join(
        f"<details><summary>{marked_up(choice.text)}</summary><p>{'✓ Right.' if choice.right else '✕ Not quite.'} "
        f"{marked_up(choice.why)}</p></details>"
        for choice in question.choices
    )
    return f"<p><strong>{n}. {marked_up(question.ask)}</strong></p>{choices}"


def show(notebook: str) -> Quiz:
    """Return the quiz of a notebook ("01"), to be shown. ValueError: it has none."""
    return Quiz(notebook, questions(notebook))
