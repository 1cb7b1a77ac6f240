"""What the tests in the browser share: one JupyterLab, one Chromium, and a window for each test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_page import Lab, chromium, find_chromium, jupyterlab
from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("MQLAB_SCREENSHOTS") or ROOT / "build" / "screenshots")

QUEUE = """
from mqlab.queues import FIFO
from mqlab.trace import watch
from mqlab.views.queue import show

desk = watch(FIFO(), "desk", producer="Campus", consumer="Olu")
for name in ["Ana", "Ben", "Chi"]:
    desk.put(name)
desk.get()
"""
SHOW = """
view = show(
    desk.trace,
    on_put=lambda queue, who: desk.put("Dia"),
    on_get=lambda queue, who: desk.get(),
    title="The desk",
)
view
"""
TRIAL = [
    QUEUE,
    SHOW,
    "print(view.at, len(desk.trace), view.state)",
    'show(desk.trace, title="The same desk")',
    'import time\nprint("begun", flush=True)\nend = time.monotonic() + 20\n'
    "while len(desk.trace) < 8 and time.monotonic() < end:\n    time.sleep(0.01)\nprint(len(desk.trace), view.at)",
    "for name in range(20):\n    desk.put(name)\nview.at = 3",
]

# A producer and two consumers, each a thread with a connection of its own, on the broker of this test run.
TAPPED = [
    """
import threading, time
import pika
from mqlab import broker

rabbit = broker.start()
from mqlab.views import timeline, topology, wire

tap = rabbit.watch()
shown = topology.show(tap)
""",
    "shown",
    """
def connect(name):
    connection = pika.BlockingConnection(pika.URLParameters(tap.url_as(name)))
    return connection, connection.channel()

setup, channel = connect("Campus")
channel.exchange_declare("news", "topic", durable=True)
for queue, key in [("mails", "course.#"), ("pushes", "*.new")]:
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, "news", key)
print("declared")
""",
    """
def consume(name, hold):
    connection, channel = connect(name)
    channel.basic_qos(prefetch_count=hold)
    held = []
    try:
        for method, _, body in channel.consume("mails", inactivity_timeout=0.1):
            if method:
                held.append((method.delivery_tag, body))
            for tag, body in [each for each in held if each[1] in done]:
                channel.basic_ack(tag)
                held.remove((tag, body))
    except pika.exceptions.AMQPError as error:
        print(name, type(error).__name__)

done = {b"A", b"B"}
for name in ("Olu", "Ada"):
    threading.Thread(target=consume, args=(name, 3), daemon=True).start()
    while len(tap.settle().state().consumers) < ["Olu", "Ada"].index(name) + 1:
        time.sleep(0.02)
for letter in "ABCDEFGHIJ":
    channel.basic_publish("news", "course.new", letter.encode())
print(tap.settle().state())
""",
    "print(tap.settle().state(), tap.problems)",
    """
def block():
    connection, channel = connect("Ben")
    for queue in ("own", "rival"):
        channel.queue_declare(queue, durable=True)
    def on_message(channel, method, properties, body):
        print("got", body.decode(), flush=True)
        channel.stop_consuming()
    channel.basic_consume("own", on_message, auto_ack=True)
    connection.call_later(30, channel.stop_consuming)
    print("begun", flush=True)
    channel.start_consuming()
    connection.close()

def feed():
    for queue in ("own", "rival"):
        by_click.basic_publish("", queue, b"hello")

sender, by_click = connect("you")
topology.show(tap, on_send=feed, title="You are the producer")
""",
    "block()",
    "wire.show(tap)",
    "timeline.show(tap)",
    "done.update(letter.encode() for letter in 'ABCDEFGHIJ')",
]

PLOTS = [
    """
import numpy as np
from mqlab.simulation import simulate
from mqlab.views import plot

def waits(ax, rho, runs):
    for seed in range(runs):
        run = simulate(rho, 1, 100_000 // runs, seed=seed)
        ax.plot(np.sort(run.waiting_time)[:: len(run.waiting_time) // 100])
    ax.set_xlabel("percent of the messages")
    ax.set_ylabel("waiting time")
    return f"At utilization {rho:g} the longest wait is {run.waiting_time.max():.0f}."
""",
    """
view = plot.show(
    waits,
    title="Who waits how long",
    rho=plot.slider("utilization ρ", 0.05, 0.95, step=0.01, value=0.8),
    runs=plot.slider("runs", 1, 5),
)
view
""",
    "print(view.values)",
    "view.set(rho=0.5)",
]


@pytest.fixture(scope="session")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks, and small ones for trials."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder)
    shutil.copy(folder / "01-fifo-principle.ipynb", folder / "stored.ipynb")  # never run here
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, sources in {"trial": TRIAL, "tapped": TAPPED, "plots": PLOTS}.items():
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="session")
def server(notebooks: Path) -> Iterator[str]:
    """The address of a running JupyterLab."""
    with jupyterlab(notebooks, notebooks.parent) as url:
        yield url


@pytest.fixture(scope="module")  # Playwright keeps an event loop running as long as it is there
def browser() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    path = find_chromium()
    if path is None:
        why = "no Chromium found: install one, or name it in MQLAB_CHROMIUM"
        if os.environ.get("MQLAB_REQUIRE") == "1":
            pytest.fail(why)
        pytest.skip(why)
    with chromium(path) as browser:
        yield browser


@pytest.fixture
def window(browser: Browser, server: str) -> Iterator[Callable[..., Lab]]:
    """Open windows on JupyterLab; at the end nothing has left the machine, and no console has seen an error."""
    opened = []

    def open_window(**options: object) -> Lab:
        lab = Lab(browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options), server)
        opened.append(lab)
        return lab

    yield open_window
    for lab in opened:
        lab.close()
    assert [lab.outside for lab in opened] == [[]] * len(opened), "requests left the machine"
    assert [lab.errors for lab in opened] == [[]] * len(opened), "errors in the console"


@pytest.fixture
def lab(window: Callable[..., Lab]) -> Lab:
    """One window."""
    return window()


@pytest.fixture
def trial(lab: Lab) -> Lab:
    """One window with the notebook for trials, whose first two cells have been run: a player below cell 1."""
    lab.open("trial.ipynb")
    lab.run(0)
    lab.run(1)
    lab.player(1).expect_at(7, 7)
    return lab


@pytest.fixture
def screenshot() -> Callable[[Page | Locator, str], None]:
    """Keep a picture of the page, or of a part of it, for a human to look at."""

    def take(what: Page | Locator, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
