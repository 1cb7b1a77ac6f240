"""Frames a second of the player in a real JupyterLab in headless Chromium, with every one of its tokens moving.

Python sends a whole new picture ten times a second, so the tokens never rest. In the same run, round after round:
a still page (the most that this machine can show), the player, and its peer: the same pictures by CSS transitions.

    python3 course.py bench frames
"""

import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from jupyter_page import Lab, chromium, find_chromium, jupyterlab  # noqa: E402

TOKENS = (50, 200, 500)
ROUNDS = 5
SECONDS = 4.0
RATE = 10  # pictures a second

SETUP = """
import time
import anywidget
import svg
from mqlab.state import Message
from mqlab.trace import Trace
from mqlab.views.player import Player
from mqlab.views.shapes import token

TOKENS = {tokens}
COLUMNS = 25

def draw(state):
    "All tokens, on a grid; each picture turns their order by seven places."
    tokens = []
    for n in range(TOKENS):
        row, column = divmod((n + 7 * state.published) % TOKENS, COLUMNS)
        message = Message(str(n), str(n), "queue", "Campus", n)
        tokens.append(token(message, 20 + column * 40, 20 + row * 20))
    return str(svg.SVG(viewBox=svg.ViewBoxSpec(0, 0, 1000, 440), class_=["mq-picture"], elements=tokens))

def grow(trace, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        trace.tell("publish", message=str(len(trace)), queue="queue")
        time.sleep(1 / {rate})

trace = Trace()
player = Player(trace, draw)
player
"""

PEER = '''
class Peer(anywidget.AnyWidget):
    "The same pictures, moved by the browser's own CSS transitions."
    _css = Player._css
    _esm = """
    export default {
      render({ model, el }) {
        el.className = "mqlab mqlab-peer";
        let picture = null;
        model.on("msg:custom", (message) => {
          const next = new DOMParser().parseFromString(message.svg, "image/svg+xml").documentElement;
          if (!picture) picture = el.appendChild(document.importNode(next, false));
          for (const child of [...next.children]) {
            const [x, y] = /translate[(]([-.0-9]+)[, ]+([-.0-9]+)/.exec(child.getAttribute("transform")).slice(1);
            let mine = picture.querySelector(`[data-key="${child.dataset.key}"]`);
            if (!mine) {
              mine = picture.appendChild(document.importNode(child, true));
              mine.removeAttribute("transform");
              mine.style.transition = "transform 100ms";
            }
            mine.style.transform = `translate(${x}px, ${y}px)`;
          }
        });
      },
    };
    """

other = Trace()
peer = Peer()
other.listen(lambda: peer.send({"svg": draw(other.state())}))
peer
'''

WATCH = """
async ([ms, selector]) => {
    const one = document.querySelector(`${selector} [data-key]`);
    const where = () => one ? JSON.stringify(one.getBoundingClientRect()) : "";
    const times = [];
    let moved = 0, before = "";
    for (const end = performance.now() + ms; performance.now() < end; ) {
        times.push(await new Promise(requestAnimationFrame));
        const now = where();
        moved += now !== before;
        before = now;
    }
    return { times, moved };
}
"""
PLAYER, TRANSITIONS, IDLE = ".mqlab-player", ".mqlab-peer", "nothing"


def main() -> None:
    """Measure, and print a table."""
    path = find_chromium()
    if path is None:
        sys.exit("This needs Chromium: install one, or name it in MQLAB_CHROMIUM.")
    print(f"{ROUNDS} rounds of {SECONDS:g} s each, {RATE} pictures a second; medians (lowest to highest)")
    print(f"{'tokens':>6}  {'what':<30} {'frames/s':>20} {'longest of 20':>14} {'moved':>6}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as private:
        os.environ["MQLAB_HOME"] = private
        notebooks = Path(private, "notebooks")
        notebooks.mkdir()
        with jupyterlab(notebooks, Path(private)) as url, chromium(path) as browser:
            for tokens in TOKENS:
                cells = [SETUP.format(tokens=tokens, rate=RATE), PEER]
                cells += [f"grow({trace}, {SECONDS + 1.5})" for trace in ("trace", "other")]
                cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
                spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
                nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), notebooks / f"{tokens}.ipynb")
                lab = Lab(browser.new_context(viewport={"width": 1200, "height": 1500}), url)
                lab.open(f"{tokens}.ipynb")
                lab.run(0)
                lab.run(1)
                for name, rates, slow, moved in measure(lab):
                    low, middle, high = min(rates), statistics.median(rates), max(rates)
                    figure = f"{middle:.1f} ({low:.1f} to {high:.1f})"
                    print(f"{tokens:>6}  {name:<30} {figure:>20} {statistics.median(slow):>11.1f} ms {moved:>6.0%}")
                lab.close()


def measure(lab: Lab) -> list[tuple[str, list[float], list[float], float]]:
    """Return for each rival its name, frames a second, the longest of 20 frames in ms, and the share that moved."""
    rivals = {"still page": (IDLE, None), "player": (PLAYER, 2), "peer: CSS transitions": (TRANSITIONS, 3)}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, (selector, cell) in rivals.items():
            if cell is not None:
                lab.start(cell)
                lab.page.wait_for_timeout(700)  # until it moves
            watched = lab.page.evaluate(WATCH, [SECONDS * 1000, selector])
            times = watched["times"]
            gaps = [b - a for a, b in itertools.pairwise(times)]
            rate = 1000 * len(gaps) / (times[-1] - times[0])
            found[name].append((rate, statistics.quantiles(gaps, n=20)[-1], watched["moved"] / len(times)))
            lab.idle()
    return [
        (name, [one[0] for one in all], [one[1] for one in all], statistics.median(one[2] for one in all))
        for name, all in found.items()
    ]


if __name__ == "__main__":
    main()
