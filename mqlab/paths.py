"""Where things lie: the course folder, and the learner's own files."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
LABS = ROOT / "labs"
SOLUTIONS = ROOT / "solutions"


def home() -> Path:
    """Return the folder of the learner's own files (progress, broker state); made when it is not there.

    It is `.mqlab` in the course folder, or what the environment variable MQLAB_HOME names.
    """
    folder = Path(os.environ.get("MQLAB_HOME") or ROOT / ".mqlab")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
