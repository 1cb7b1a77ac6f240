"""The notebooks as a reader meets them: their parts, headings, length, links, spelling; nothing that ages in an output.

Names that are not defined on a run from top to bottom are found by ruff (F821), which reads notebooks whole.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored import NOTEBOOKS, SOLUTIONS, code_cells, read, tags, texts

from mqlab import paths

LESSONS = [path for path in NOTEBOOKS if not path.name.startswith("00")]
ALL = [*NOTEBOOKS, *SOLUTIONS]
MOST_LINES, USUAL_LINES = 16, 6  # of a code cell, the longest and the mean
NAMES = "Ines"  # which codespell would mend
WORDS = (800, 1_700)  # of a notebook's prose
AGES = {
    "a time": r"\b\d\d:\d\d:\d\d\b|\b20\d\d-\d\d-\d\d\b",
    "an address with a port": r"\b(?:127\.0\.0\.1|localhost):\d+",
    "an address in memory": r"\b0x[0-9a-f]{6,}",
    "a name that the broker made": r"amq\.(?:gen|ctag)-",
}
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|href=['\"]([^'\"]+)")

each_notebook = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each = pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")


def prose(path: Path) -> list[str]:
    """Return the text of each Markdown cell, without the code in it."""
    return [FENCE.sub("", cell.source) for cell in read(path).cells if cell.cell_type == "markdown"]


def headings(path: Path) -> list[tuple[int, str]]:
    lines = [line for text in prose(path) for line in text.splitlines()]
    return [(len(match[1]), match[2]) for match in map(re.compile(r"(#+)\s+(.*)").match, lines) if match]


def targets(path: Path) -> Iterator[str]:
    for text in prose(path):
        for match in LINK.finditer(re.sub(r"`[^`]*`", "", text)):
            yield match[1] or match[2]


@each
def test_headings_are_in_order(path: Path) -> None:
    levels = [level for level, _ in headings(path)]
    assert levels[0] == 1 and levels.count(1) == 1, "one title, at the top"
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels)), headings(path)
    names = [name for _, name in headings(path)]
    assert len(set(names)) == len(names)


@each_notebook
def test_a_notebook_opens_and_closes_as_all_do(path: Path) -> None:
    number, notebook = path.name[:2], read(path)
    opening = notebook.cells[0].source
    assert opening.startswith(f"# {number} · ")
    for part in ("**What you will see** · ", "**What you need** · ", "**How long** · about "):
        assert part in opening
    assert [name for _, name in headings(path)][-2:] == ["Quiz", "Recap"]
    code = [cell.source for cell in code_cells(path)]
    assert f'quiz.show("{number}")' in code[-2] and code[-1] == f'progress.finish("{number}")'
    assert sum("**Predict.**" in text for text in prose(path)) >= 4


@each_solution
def test_a_lab_opens_and_closes_as_all_do(path: Path) -> None:
    notebook = read(path)
    opening = notebook.cells[0].source
    assert opening.startswith(f"# Lab {path.name[:2]} · ")
    for part in ("**What you will do** · ", "**What you need** · ", "**How long** · about "):
        assert part in opening
    titles = [name for _, name in headings(path)]
    assert 4 <= sum(name.startswith("Exercise ") for name in titles) <= 6
    assert titles[-1] == "How far you have come"
    stories = [text for text in prose(path) if text.startswith("## Exercise")]
    assert all(part in text for text in stories for part in ("**Goal.**", "**You practise**", "**Out of scope.**"))


@each_notebook
def test_it_is_as_long_as_a_lesson(path: Path) -> None:
    words = sum(len(text.split()) for text in prose(path))
    assert WORDS[0] <= words <= WORDS[1], words
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= MOST_LINES and sum(lengths) / len(lengths) <= USUAL_LINES


@each
def test_nothing_in_an_output_ages(path: Path) -> None:
    shown = [texts(cell.outputs) for cell in code_cells(path) if "nbval-ignore-output" not in tags(cell)]
    found = [(what, match[0]) for what, form in AGES.items() for each in shown for match in re.finditer(form, each)]
    assert found == []


@each
def test_links_resolve(path: Path) -> None:
    for target in targets(path):
        if target.startswith(("http://", "https://")):
            continue  # CI has no network; they are few
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.is_file(), target
        if anchor:
            assert anchor in [name.replace(" ", "-") for _, name in headings(there)], target


def test_spelling(tmp_path: Path) -> None:
    for path in ALL:
        cells = [cell.source for cell in read(path).cells]
        (tmp_path / f"{path.parent.name}-{path.stem}.txt").write_text("\n\n".join(cells), encoding="utf-8")
    for path in (Path(paths.ROOT) / "mqlab" / "exercises").rglob("*.toml"):
        (tmp_path / f"quiz-{path.stem}.txt").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    for path in (Path(paths.ROOT) / "mqlab" / "exercises").glob("lab*.py"):
        (tmp_path / f"{path.stem}.txt").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare", "-L", NAMES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stdout + done.stderr
