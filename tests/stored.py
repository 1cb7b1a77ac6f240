"""The notebooks as they are stored: what the tests about their files share."""

import json
from pathlib import Path
from typing import Any

import nbformat

from mqlab import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted(paths.SOLUTIONS.glob("*.ipynb"))
LABS = sorted(paths.LABS.glob("*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    found: list[str] = cell.metadata.get("tags", [])
    return found


def texts(outputs: list[Any]) -> str:
    """Return all that a cell shows but pictures of pixels."""
    kept = [
        {**output, "data": {kind: data for kind, data in output.get("data", {}).items() if kind != "image/png"}}
        for output in outputs
    ]
    return json.dumps(kept, ensure_ascii=False)
