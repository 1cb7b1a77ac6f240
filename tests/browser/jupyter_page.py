"""A real JupyterLab in a real Chromium: how to start both, and how to steer them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # whatever leaves the machine fails at once
]
PATIENCE = 60_000  # ms
RUNS = 120_000  # ms that all cells of a notebook may take, on a slow machine
expect.set_options(timeout=PATIENCE)

SETTINGS = {
    # No news pop-up over the page.
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False},
}


def find_chromium() -> str | None:
    """Return the path of a Chromium: the one that MQLAB_CHROMIUM names, or the first on the path."""
    named = os.environ.get("MQLAB_CHROMIUM")
    return named or next(filter(None, map(shutil.which, CHROMIUMS)), None)


@contextmanager
def jupyterlab(notebooks: Path, private: Path) -> Iterator[str]:
    """Run JupyterLab on the folder `notebooks`, with all its settings below `private`; yields its address."""
    for name, settings in SETTINGS.items():
        file = private / "settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime"}
    env = os.environ | {f"JUPYTER_{name}": str(private / folder) for name, folder in folders.items()}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(private / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(private / "spaces")}
    env |= {"IPYTHONDIR": str(private / "ipython"), "MQLAB_HOME": str(private / "mqlab")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--IdentityProvider.token=", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebooks}"]
    log = private / "jupyterlab.log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=env) as server:
        try:
            wait_for(url, server, log)
            yield url
        finally:
            server.terminate()  # JupyterLab ends its kernels too
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until JupyterLab answers; raises RuntimeError with its last words when it does not."""
    deadline = time.monotonic() + RUNS / 1000
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise RuntimeError(f"JupyterLab did not start:\n{last}")


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Lab:
    """A browser window with JupyterLab in it; it remembers each request to elsewhere and each error in the console."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        context.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda socket: self._note(socket.url))
        self.page.on("console", lambda message: self._complain(message) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, url: str) -> None:
        here = self.url.removeprefix("http")
        if not url.startswith((f"http{here}/", f"ws{here}/", "data:", "blob:")):
            self.outside.append(url)

    def _complain(self, message: ConsoleMessage) -> None:
        # A kernel whose threads send at once mixes up the parts of their messages now and then (ipykernel 7.4).
        mixed_up = message.text.startswith("Kernel message validation error")
        # To list kernels fails while one of them is starting (jupyter_server 2).
        starting = "(Internal Server Error)" in message.text and "/api/kernels?" in message.location["url"]
        if not (mixed_up or starting):
            self.errors.append(f"{message.text} {message.location['url']}")

    def open(self, notebook: str) -> None:
        """Open a notebook and wait for its kernel."""
        self.page.goto(f"{self.url}/lab/tree/{notebook}?reset")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        self.cell(0).wait_for()
        self.idle()

    def findings(self, context: str) -> list[tuple[str, list[str]]]:
        """Return what axe-core finds serious or critical in this part of the page, with the places."""
        found = Axe().run(self.page, context=context).response
        assert len(found["passes"]) > 10, "there was something to judge"
        serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
        return [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in serious]

    def close(self) -> None:
        """Close the window; its kernel ends with it."""
        self.menu("Kernel", "Shut Down Kernel")
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(state="detached")
        self.page.context.close()

    def theme(self, name: str) -> None:
        """Choose a theme: Light or Dark."""
        self.menu("Settings", "Theme", f"JupyterLab {name}")
        light = str(name == "Light").lower()
        self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def themes(self) -> Iterator[str]:
        """Show the page in the dark theme, then in the light one again, in which the next window begins."""
        for name in ("Dark", "Light"):
            self.theme(name)
            yield name.lower()

    def idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()

    def menu(self, *path: str) -> None:
        """Choose a command of the menu."""
        self.page.locator(".lm-MenuBar-item").get_by_text(path[0], exact=True).click()
        for name in path[1:]:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()

    def run_all(self) -> None:
        """Run all cells, and wait for the last."""
        self.cell(0).click(position={"x": 4, "y": 4})
        self.menu("Run", "Run All Cells")
        prompts = self.page.locator(".jp-CodeCell .jp-InputArea-prompt")
        expect(prompts.filter(has_text="[*]")).to_have_count(0, timeout=RUNS)
        expect(prompts.filter(has_text="[ ]")).to_have_count(0)
        self.idle()

    def cell(self, n: int) -> Locator:
        """Return cell `n`, whichever kind it is."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(n)

    def start(self, n: int) -> None:
        """Start cell `n` and do not wait for its end."""
        self.cell(n).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run(self, n: int) -> str:
        """Run cell `n` and return what it printed."""
        prompt = self.cell(n).locator(".jp-InputArea-prompt")
        before = prompt.inner_text()
        self.start(n)
        expect(prompt).not_to_have_text(before)
        expect(prompt).not_to_have_text("[*]:")
        return self.cell(n).locator(".jp-OutputArea").inner_text()

    def player(self, n: int) -> Player:
        """Return the player below cell `n`."""
        return Player(self.cell(n).locator(".mqlab-player"))


class Player:
    """A player in the page."""

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.page = root.page
        self.svg = root.locator(".mqlab-stage > svg")
        self.slider = root.get_by_role("slider", name="Moment")
        self.caption = root.locator(".mqlab-caption")
        self.where = root.locator(".mqlab-where")
        self.announced = root.locator("[aria-live=polite]")

    def button(self, name: str) -> Locator:
        """Return a button of the toolbar."""
        return self.root.get_by_role("button", name=name, exact=True)

    def mark(self, action: str) -> Locator:
        """Return the element of the picture whose click is called `action`."""
        return self.svg.locator(f'[data-click="{action}"]')

    def expect_at(self, moment: int, of: int) -> None:
        """Wait until `moment` is shown."""
        self.page.wait_for_function(  # looks each frame: while it plays a moment is soon over
            "([el, text]) => el.textContent.startsWith(text) && !el.textContent.endsWith('…')",
            arg=[self.where.element_handle(), f"{moment} / {of} ·"],
        )

    def places(self) -> dict[str, str]:
        """Return where each keyed element is at this moment."""
        return self.svg.evaluate(
            "svg => Object.fromEntries([...svg.querySelectorAll(':scope > [data-key]')]"
            ".map(el => [el.dataset.key, el.getAttribute('transform')]))"
        )

    def record(self, key: str) -> None:
        """From now on note each place that the element `key` takes."""
        self.svg.locator(f':scope > [data-key="{key}"]').evaluate(
            """el => {
                window.mqPlaces = [el.getAttribute("transform")];
                new MutationObserver(() => window.mqPlaces.push(el.getAttribute("transform")))
                    .observe(el, { attributeFilter: ["transform"] });
            }"""
        )

    def recorded(self) -> list[tuple[float, float]]:
        """Return the places noted since `record`, once nothing moves any more."""
        self.still()
        places = self.page.evaluate("window.mqPlaces")
        return [tuple(map(float, re.findall(r"-?[\d.]+", place))) for place in places]

    def still(self) -> None:
        """Wait until nothing moves any more: two frames with the same places."""
        self.svg.evaluate(
            """async svg => {
                const frame = () => new Promise(requestAnimationFrame);
                const place = el => el.getAttribute("transform") + el.getAttribute("opacity");
                const places = () => [...svg.children].map(place).join();
                for (let before = "", now = places(); before !== now; now = places()) {
                    before = now; await frame(); await frame();
                }
            }"""
        )
