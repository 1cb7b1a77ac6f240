"""The course as a map: its parts, its notebooks and labs, and how far the learner has come."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from mqlab import exercises, paths
from mqlab.exercises import progress

MARKS = {"new": "○", "begun": "◐", "done": "●", "planned": "·"}
_COLOURS = {  # JupyterLab's own, so that both themes are met; elsewhere those of the Okabe-Ito palette
    "new": "var(--jp-border-color1, #999999)",
    "begun": "var(--jp-warn-color1, #E69F00)",
    "done": "var(--jp-success-color1, #009E73)",
    "planned": "var(--jp-border-color2, #cccccc)",
}
PARTS = {
    "I · The principle, no broker": {
        "01": "First in, first out",
        "02": "Producers, consumers, the bounded buffer",
        "03": "Waiting, processing, throughput",
        "04": "Call or queue",
    },
    "II · RabbitMQ": {
        "05": "The first message",
        "06": "Work queues",
        "07": "Exchanges and routing",
        "08": "Reliable delivery",
        "09": "Request and reply",
        "10": "One broker, many protocols",
    },
    "III · ZeroMQ": {"11": "Sockets without a broker", "12": "Patterns that survive"},
    "IV · Choosing and growing": {
        "13": "Kafka: the log",
        "14": "Choosing a queue",
        "15": "Tuning",
        "16": "Growing",
    },
    "Capstone": {"17": "Campus, whole"},
}


@dataclass(frozen=True)
class Stop:
    """One stop of the course: a notebook and its lab, each with its file (None: not written yet) and its state."""

    number: str
    title: str
    notebook: Path | None
    notebook_state: str
    lab: Path | None
    lab_state: str
    lab_words: str


def stop(number: str, title: str) -> Stop:
    """Return one stop as it is on this machine, with the learner's progress."""
    notebook, lab = _file(paths.NOTEBOOKS, number), _file(paths.LABS, number)
    finished = progress.finished(number)
    notebook_state = "planned" if notebook is None else "done" if finished else "new"
    if lab is None:
        return Stop(number, title, notebook, notebook_state, None, "planned", "")
    solved, of = len(progress.solved(number)), len(exercises.lab(number).exercises)
    lab_state = "done" if solved == of else "begun" if solved else "new"
    return Stop(number, title, notebook, notebook_state, lab, lab_state, f"{solved} of {of} solved")


def _file(folder: Path, number: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{number}-*.ipynb"))), None)


class CourseMap:
    """The map, for a notebook in one of the course's folders."""

    def __init__(self, parts: dict[str, list[Stop]]) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        lines = []
        for part, stops in self.parts.items():
            lines.append(part)
            for s in stops:
                lab = f" | {MARKS[s.lab_state]} lab: {s.lab_words}" if s.lab else ""
                lines.append(f"  {MARKS[s.notebook_state]} {s.number} {s.title}{lab}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = "".join(
            f"<h4 style='margin:0.9em 0 0.4em'>{escape(part)}</h4>"
            f"<div style='display:flex; flex-wrap:wrap; gap:0.5em'>{''.join(_tile(s) for s in stops)}</div>"
            for part, stops in self.parts.items()
        )
        legend = " &nbsp; ".join(
            f"{MARKS[state]} {words}"
            for state, words in {"new": "not begun", "begun": "begun", "done": "done", "planned": "planned"}.items()
        )
        return f"<div>{parts}<p style='margin-top:1em'>{legend}</p></div>"


def _tile(s: Stop) -> str:
    state = s.lab_state if s.lab and s.notebook_state == "done" else s.notebook_state
    if s.lab_state == "begun":
        state = "begun"
    title = f"{s.number} {escape(s.title)}"
    # The map is shown by a notebook in the folder notebooks: its links start there.
    name = f"<a href='{s.notebook.name}'>{title}</a>" if s.notebook else title
    lab = f"{MARKS[s.lab_state]} <a href='../labs/{s.lab.name}'>lab</a>: {s.lab_words}" if s.lab else ""
    return (
        f"<div style='width:13em; padding:0.5em 0.7em; border:1px solid var(--jp-border-color2, #cccccc); "
        f"border-left:0.4em solid {_COLOURS[state]}; border-radius:0.3em; "
        f"opacity:{0.65 if s.notebook is None else 1}'>"
        f"<div>{MARKS[s.notebook_state]} {name}</div><div style='font-size:90%'>{lab or '&nbsp;'}</div></div>"
    )


def show() -> CourseMap:
    """Return the map with the learner's progress as it is now."""
    return CourseMap({part: [stop(*entry) for entry in stops.items()] for part, stops in PARTS.items()})
