"""How soon a slider of notebook 03 answers: from the key that moves it to the new picture, in a real JupyterLab.

In the same run the peer: the same function, drawn by ipywidgets' `interactive` as most notebooks do (matplotlib's
inline pictures). Then the simulation behind it, 100,000 people by numpy, beside the same by a loop in Python.

    python3 course.py bench sliders
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from timeit import repeat

import nbformat
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from jupyter_page import Lab, chromium, find_chromium, jupyterlab  # noqa: E402
from playwright.sync_api import Locator  # noqa: E402

from mqlab.simulation import waiting_times  # noqa: E402

NOTEBOOK = "03-waiting-time.ipynb"
STEPS = 12  # of each slider, there and back
TARGET = 100  # ms

# In the notebook each plot is followed by its peer, with the same sliders.
BOTH = """
import ipywidgets
from IPython.display import display
from matplotlib import pyplot
from mqlab.views import plot

_show = plot.show

def show(draw, *, title, panels=1, **sliders):
    def peer(**values):
        _, axes = pyplot.subplots(1, panels, figsize=(7.6, 3.7))
        draw(axes, **values)
        pyplot.show()

    display(_show(draw, title=title, panels=panels, **sliders))
    whole = lambda each: float(each.least).is_integer() and float(each.step).is_integer()
    moved = {
        name: (ipywidgets.IntSlider if whole(each) else ipywidgets.FloatSlider)(
            min=each.least, max=each.most, step=each.step, value=each.value
        )
        for name, each in sliders.items()
    }
    box = ipywidgets.interactive(peer, **moved)
    box.add_class("mqlab-peer")
    display(box)

plot.show = show
"""

# Until the picture is another one; both are looked at where they are drawn.
PRESSED = """([root, slider, key]) => new Promise((resolve, reject) => {
    const begun = performance.now();
    const drawn = (node) => /^(img|svg)$/i.test(node.nodeName) || node.querySelector?.("img, svg");
    const watcher = new MutationObserver((changes) => {
        if (!changes.some(({ addedNodes }) => [...addedNodes].some(drawn))) return;
        watcher.disconnect();
        requestAnimationFrame(() => resolve(performance.now() - begun));
    });
    setTimeout(() => reject("no picture came"), 10000);
    watcher.observe(root, { childList: true, subtree: true });
    const at = root.querySelector(slider);
    if (at.type === "range") {
        at.value = Number(at.value) + (key === "ArrowRight" ? 1 : -1) * Number(at.step);
        at.dispatchEvent(new Event("input", { bubbles: true }));
    } else at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
})"""
RIVALS = {
    "ours": (".mqlab-plot", "input[type=range]"),
    "ipywidgets' interactive": (".mqlab-peer", ".noUi-handle"),
}


def main() -> None:
    """Measure, and print a table."""
    path = find_chromium()
    if path is None:
        sys.exit("This needs Chromium: install one, or name it in MQLAB_CHROMIUM.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private:
        os.environ["MQLAB_HOME"] = private
        notebooks = Path(private, "notebooks")
        notebooks.mkdir()
        notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4)
        notebook.cells = [nbformat.v4.new_code_cell(BOTH.strip()), *notebook.cells]
        nbformat.write(notebook, notebooks / NOTEBOOK)
        with jupyterlab(notebooks, Path(private)) as url, chromium(path) as browser:
            lab = Lab(browser.new_context(viewport={"width": 1280, "height": 1500}), url)
            lab.open(NOTEBOOK)
            lab.run_all()
            print(
                f"Milliseconds from a slider's move to its picture, {STEPS} moves: median (longest). Target: {TARGET}"
            )
            titles = [each.text_content() or "" for each in lab.page.locator(".mqlab-plot-title").all()]
            for n, title in enumerate(titles):
                words = [answer(name, lab.page.locator(root).nth(n), slider) for name, (root, slider) in RIVALS.items()]
                print(f"{title:<30} {' | '.join(words)}")
            lab.close()
    simulation()


def answer(name: str, root: Locator, slider: str) -> str:
    """Move a slider there and back, and say how long the pictures took."""
    root.scroll_into_view_if_needed()
    keys = ["ArrowLeft"] * (STEPS // 2) + ["ArrowRight"] * (STEPS // 2)
    took = [root.page.evaluate(PRESSED, [root.element_handle(), slider, key]) for key in keys]
    return f"{name} {statistics.median(took):4.0f} ({max(took):4.0f})"


def simulation() -> None:
    """Compare the recursion by numpy with the same as a loop."""
    random = np.random.default_rng(1)
    arrived, work = np.cumsum(random.exponential(1.25, 100_000)), random.exponential(1, 100_000)

    def loop() -> list[float]:
        wait, found = 0.0, [0.0]
        for gap, before in zip(np.diff(arrived).tolist(), work.tolist(), strict=False):
            wait = max(0.0, wait + before - gap)
            found.append(wait)
        return found

    assert np.allclose(loop(), waiting_times(arrived, work))
    ours, theirs = (
        statistics.median(repeat(run, number=1, repeat=9)) * 1000
        for run in (lambda: waiting_times(arrived, work), loop)
    )
    print(f"100,000 people: numpy {ours:.1f} ms, a loop {theirs:.1f} ms (medians of 9): {theirs / ours:.0f} times")


if __name__ == "__main__":
    main()
