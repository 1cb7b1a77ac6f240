"""Notebook 02 in a real JupyterLab, in both themes: the buffer that runs, steered while it does."""

from collections.abc import Callable

from jupyter_page import Lab
from playwright.sync_api import Locator, Page, expect

BUFFER = "Producers"  # a slider that only the buffer has


def test_the_buffer_runs_and_is_steered(lab: Lab, screenshot: Callable[[Page | Locator, str], None]) -> None:
    lab.open("02-bounded-buffer.ipynb")
    lab.run_all()
    cell = lab.page.locator(".jp-CodeCell").filter(has=lab.page.get_by_text(BUFFER, exact=True)).first
    view = lab.player(0)
    view = type(view)(cell.locator(".mqlab-player"))
    expect(view.caption).to_contain_text("is ready to take messages")
    cell.get_by_role("button", name="Start", exact=True).click()
    expect(view.svg).to_contain_text("waits: full")  # two producers, one consumer, all at one a second: in 4 s
    for theme in lab.themes():
        screenshot(cell.locator(".jp-OutputArea"), f"02-buffer-{theme}")

    slider = cell.get_by_role("slider").nth(4)  # the moment, producers, puts, places, consumers, takes
    slider.focus()
    lab.page.keyboard.press("ArrowRight")
    expect(view.svg).to_contain_text("Pia")  # a second consumer
    expect(cell.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    cell.get_by_role("button", name="Stop", exact=True).click()
    expect(cell.get_by_role("button", name="Start", exact=True)).to_be_visible()
    view.button("To the start").click()
    expect(view.slider).to_have_value("0")
