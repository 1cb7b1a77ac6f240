"""The page: frames a second, time from a publish to the picture, a minute under load, and what an idle view costs.

A real JupyterLab in a real Chromium (headless, drawing without a graphics card), on one of the brokers.

    python3 course.py bench page
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import nbformat
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from jupyter_page import Lab, chromium, find_chromium, jupyterlab  # noqa: E402

FRAMES = """
import random
from mqlab.trace import Event, Trace
from mqlab.views.player import Player

random.seed(1)
def crowd(state):
    tokens = "".join(
        f'<g data-key="m:{n}" class="mq-token mq-ready" '
        f'transform="translate({random.random() * 950:.1f},{random.random() * 480:.1f})">'
        f'<title>m{n}</title><circle r="8" class="mq-shape"/><text class="mq-label" y="4">{n}</text></g>'
        for n in range(count)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 500" class="mq-picture">{tokens}</svg>'

crowded = Trace(Event("declare", queue="q") for _ in range(400))
"""
SHOWN = "count = {count}\nPlayer(crowded, crowd, title='A crowd of {count}')"
TAPPED = """
import os, time, pika
from mqlab import broker
from mqlab.views import topology
rabbit = broker.start()
tap = rabbit.watch()
connection = pika.BlockingConnection(pika.URLParameters(tap.url_as("Campus")))
channel = connection.channel()
channel.queue_declare("sign-ups", durable=True)
tap.settle()
topology.show(tap)
"""
LATENCY = """
sent = {}
for n in range(60):
    sent[f"L{n}"] = time.time()
    channel.basic_publish("", "sign-ups", f"L{n}".encode())
    channel.basic_get("sign-ups", auto_ack=True) if n > 3 else None
    time.sleep(0.23)
print(repr(sent))
"""
PIDS = "print(os.getpid(), tap._process.pid, tap.url)"
GROWN = "print(len(tap.trace), tap.trace.first, tap.trace.state().published, tap.problems)"

LOAD = """
import sys
from tap import steady
_, url, seconds, rate = sys.argv
sent, taken, took = steady(url, url, float(seconds), int(rate), "load")
print("sent", sent, "rate", round(sent / took), "taken", taken)
"""  # a process of its own: the load must not share one with what is measured

COUNT_FRAMES = """async ([root, ms]) => {
    let frames = 0, moved = 0, last = "";
    const end = performance.now() + ms;
    while (performance.now() < end) {
        await new Promise(requestAnimationFrame);
        frames += 1;
        const token = root.querySelector('[data-key="m:0"]');
        const place = token?.getAttribute("transform") ?? "";
        moved += place !== last;
        last = place;
    }
    return [frames * 1000 / ms, moved * 1000 / ms];
}"""
SEE = """root => {
    window.mqSeen = {};
    const look = () => {
        for (const label of root.querySelectorAll(".mq-label"))
            if (!(label.textContent in window.mqSeen)) window.mqSeen[label.textContent] = Date.now() / 1000;
        if (!window.mqStop) requestAnimationFrame(look);
    };
    look();
}"""


@contextlib.contextmanager
def opened(cells: list[str]) -> Iterator[tuple[Lab, Path]]:
    """A window on a notebook of these cells."""
    path = find_chromium()
    assert path, "there is no Chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "notebooks"
        folder.mkdir()
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        made = [nbformat.v4.new_code_cell(source.strip()) for source in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=spec), folder / "bench.ipynb")
        with jupyterlab(folder, Path(temporary)) as url, chromium(path) as browser:
            lab = Lab(browser.new_context(viewport={"width": 1280, "height": 1000}), url)
            lab.page.set_default_timeout(120_000)
            lab.open("bench.ipynb")
            yield lab, folder
            lab.close()


def frames(lab: Lab, first: int) -> None:
    """Play a trace in whose moments each of so many elements has another place."""
    lab.run(first)
    for n, count in enumerate((50, 200, 500)):
        lab.run(first + 1 + n)
        view = lab.player(first + 1 + n)
        view.root.scroll_into_view_if_needed()
        view.root.get_by_label("Speed").select_option("2×")
        view.button("Play").click()
        time.sleep(1)
        rates = [lab.page.evaluate(COUNT_FRAMES, [view.root.element_handle(), 2000]) for _ in range(3)]
        view.button("Pause").click()
        shown = statistics.median(rate[0] for rate in rates)
        print(f"  {count} moving elements, at double speed: {shown:.0f} frames a second")


def usage(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid))


def renderers() -> list[int]:
    """The processes of the browser."""
    return [child.pid for child in psutil.Process().children(recursive=True) if "chrom" in child.name()]


def idle(pids: list[int]) -> tuple[float, float]:
    """Return the share of a processor, in per cent, that these processes and the browser use while nothing happens."""
    time.sleep(12)  # what comes after the last picture, such as the browser's tidying up, is over
    before = usage(pids), usage(renderers())
    time.sleep(10)
    after = usage(pids), usage(renderers())
    return 10 * (after[0] - before[0]), 10 * (after[1] - before[1])


def main(seconds: float = float(os.environ.get("MQLAB_SECONDS", "60"))) -> None:
    """Measure all of it."""
    asked = [each for each in sys.argv[1:] if not each.startswith("-")]
    os.environ["MQLAB_BROKER"] = asked[0] if asked else os.environ.get("MQLAB_BROKER", "embedded")
    print(f"  on the broker: {os.environ['MQLAB_BROKER']}")
    cells = [FRAMES, *(SHOWN.format(count=count) for count in (50, 200, 500)), TAPPED, LATENCY, PIDS, GROWN, "0"]
    with opened(cells) as (lab, _):
        lab.run(8)  # what JupyterLab itself does once somebody has worked in it
        without = idle([])
        frames(lab, 0)
        lab.run(4)
        view = lab.player(4)
        view.svg.get_by_text("sign-ups").first.wait_for()
        view.root.evaluate(SEE)
        sent: dict[str, float] = eval(lab.run(5).strip().splitlines()[-1])
        lab.page.wait_for_timeout(1000)
        seen = lab.page.evaluate("window.mqSeen")
        times = sorted((seen[label] - t) * 1000 for label, t in sent.items() if label in seen)
        told = f"median {statistics.median(times):.0f} ms, 95 % {times[int(len(times) * 0.95)]:.0f} ms"
        print(f"  from a publish to the page: {told} ({len(times)} of {len(sent)} seen)")

        kernel, tap, url = lab.run(6).split()
        ours = [int(kernel), int(tap)]
        lab.page.evaluate("window.mqStop = true")
        with_view = idle(ours)
        told = f"notebook and tap {with_view[0]:.1f} % of a processor, all of Chromium {with_view[1]:.1f} %"
        print(f"  idle for 10 s: {told} (without any view {without[1]:.1f} %)")
        load(lab, ours, url, seconds)


def load(lab: Lab, ours: list[int], url: str, seconds: float) -> None:
    """5,000 messages a second through the tap while the page shows them."""
    program = subprocess.Popen(
        [sys.executable, "-c", LOAD, url, str(seconds), "5000"],
        cwd=Path(__file__).parent,  # where tap.py is
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    moments: list[int] = []
    end = time.monotonic() + seconds - 2
    next_mark, step = time.monotonic() + seconds / 4, seconds / 4
    while time.monotonic() < end:
        lab.page.wait_for_timeout(500)
        moments.append(int(lab.page.locator(".mqlab-slider").last.get_attribute("max") or 0))
        if time.monotonic() >= next_mark:
            next_mark += step
            memory = [f"{psutil.Process(pid).memory_info().rss / 1e6:.0f}" for pid in ours]
            heap = lab.page.evaluate("performance.memory.usedJSHeapSize") / 1e6
            print(f"    MB: notebook {memory[0]}, tap {memory[1]}, page's heap {heap:.0f}; moment {moments[-1]:,}")
    said, _ = program.communicate(timeout=120)
    live = sum(b > a for a, b in pairwise(moments))
    print(f"  {' '.join(said.split())}; in {live} of {len(moments) - 1} looks (two a second) the page had gone on")
    lab.page.wait_for_timeout(2000)
    length, first, published, problems = lab.run(7).strip().split(maxsplit=3)
    print(
        f"  the trace has {int(length):,} events, {int(first):,} of them folded away; {published} published; {problems}"
    )


if __name__ == "__main__":
    main()
