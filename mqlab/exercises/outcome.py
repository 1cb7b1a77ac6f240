"""What a learner is told: the outcome of a check, a hint, a solution."""

import html
import re
from dataclasses import dataclass
from typing import Literal

Status = Literal["not attempted", "not yet", "correct"]

MARKS: dict[str, str] = {"not attempted": "○", "not yet": "…", "correct": "✓"}
# JupyterLab's own colours, so that both of its themes are met; elsewhere those of the Okabe-Ito palette.
_COLOURS: dict[str, str] = {
    "not attempted": "var(--jp-border-color0, #999999)",
    "not yet": "var(--jp-warn-color1, #E69F00)",
    "correct": "var(--jp-success-color1, #009E73)",
}


class NotYet(Exception):
    """Raised by a check when an answer is not right yet; its text is a question that points at the mistake."""


@dataclass(frozen=True, repr=False)
class Outcome:
    """How one exercise went; the message is a praise or a question, `printed` what the learner's code printed."""

    exercise: int
    status: Status
    message: str
    printed: str = ""

    @property
    def _headline(self) -> str:
        return f"{MARKS[self.status]} Exercise {self.exercise}: {self.status}."

    @property
    def _advice(self) -> str:
        return f"Stuck? lab.hint({self.exercise})" if self.status == "not yet" else ""

    def __repr__(self) -> str:
        lines = [f"{self._headline} {self.message}"]
        if self.printed:
            lines += ["  Your code printed:", *(f"  | {line}" for line in self.printed.splitlines())]
        if self._advice:
            lines.append(f"  {self._advice}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<strong>{self._headline}</strong> {marked_up(self.message)}"]
        if self.printed:
            parts.append(f"Your code printed:<pre style='margin:0'>{html.escape(self.printed.rstrip())}</pre>")
        if self._advice:
            parts.append(marked_up(f"Stuck? `lab.hint({self.exercise})`"))
        body = "".join(f"<div>{part}</div>" for part in parts)
        return (
            f"<div role='status' style='border-left:0.4em solid {_COLOURS[self.status]}; padding:0.4em 0.8em; "
            "background:var(--jp-layout-color2, transparent); color:var(--jp-content-font-color1, inherit)'>"
            f"{body}</div>"
        )


@dataclass(frozen=True, repr=False)
class Note:
    """A text for the learner, in Markdown: a hint, a question back, a solution."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def marked_up(text: str) -> str:
    """Return the text as HTML, what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")
