"""Every notebook in a real JupyterLab: run all, twice; its pictures steered; both themes; no horizontal scroll."""

from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_page import Lab, Player
from playwright.sync_api import Locator, expect

LESSONS = sorted(path.name for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb") if path.name > "01")
WIDER = """() => [...document.querySelectorAll(
        ".jp-Notebook, .jp-OutputArea-child, .jp-RenderedMarkdown, .cm-scroller")]
    .filter((el) => el.clientWidth && el.scrollWidth > el.clientWidth + 1)
    .map((el) => el.className + ": " + el.textContent.slice(0, 200))"""


@pytest.mark.parametrize("name", LESSONS)
def test_run_all_twice_and_steer(name: str, window: Callable[..., Lab], screenshot: Callable[..., None]) -> None:
    lab = window(viewport={"width": 1280, "height": 900})
    lab.open(name)
    for _ in range(2):
        lab.run_all()
        errors = lab.page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]')
        assert errors.all_inner_texts() == []
    assert lab.page.evaluate(WIDER) == []
    players, plots = lab.page.locator(".mqlab-player"), lab.page.locator(".mqlab-plot")
    for view in players.all():
        steer(Player(view))
    for view in plots.all():
        slide(view)
    assert players.count() + plots.count(), "a picture that moves"
    for theme in lab.themes():
        for n, view in enumerate([*players.all(), *plots.all()], 1):
            screenshot(view, f"{name[:2]}-{n}-{theme}")


def steer(view: Player) -> None:
    """Rewind, step by button and by key, and play on."""
    view.root.scroll_into_view_if_needed()
    length = int(view.slider.get_attribute("max") or 0)
    first = int(view.slider.get_attribute("min") or 0)
    view.button("To the start").click()
    expect(view.slider).to_have_value(str(first))
    if length - first < 2:
        return
    view.button("Step").click()
    expect(view.slider).to_have_value(str(first + 1))
    before = view.svg.inner_html()
    view.button("To the end").click()
    expect(view.slider).not_to_have_value(str(first + 1))
    view.still()
    assert view.svg.inner_html() != before


def slide(plot: Locator) -> None:
    """Move each slider to its end and back, by key."""
    plot.scroll_into_view_if_needed()
    for slider in plot.get_by_role("slider").all():
        value, before = slider.input_value(), plot.locator(".mqlab-plot-picture").inner_html()
        slider.press("End" if value != slider.get_attribute("max") else "Home")
        expect(slider).not_to_have_value(value)
        plot.page.wait_for_function(
            "([el, before]) => el.innerHTML !== before",
            arg=[plot.locator(".mqlab-plot-picture").element_handle(), before],
        )
        assert "could not be drawn" not in plot.locator(".mqlab-plot-says").inner_text()
