"""The film in a real browser: it moves, it follows the theme, and it stands still for who wants no motion."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from mqlab.queues import FIFO
from mqlab.trace import watch
from mqlab.views import animated, queue, words

Take = Callable[[Page | Locator, str], None]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    desk = watch(FIFO(), "help desk", producer="Campus", consumer="Olu")
    for name in ("Ana", "Ben", "Chi"):
        desk.put(name)
    desk.get()
    file = tmp_path / "film.svg"
    file.write_text(animated.animate(desk.trace, queue.draw, says=words.says, title="The desk"), encoding="utf-8")
    return file


def ana(page: Page) -> tuple[float, float]:
    """Where Ana's token is, and how much of it is to be seen."""
    return tuple(
        page.evaluate(
            """() => {
                const text = [...document.querySelectorAll("text")].find(
                    el => el.textContent === "Ana" && getComputedStyle(el).visibility === "visible");
                let actor = text;
                while (actor.parentNode.nodeName !== "svg") actor = actor.parentNode;
                return [text.getBoundingClientRect().x, Number(getComputedStyle(actor).opacity)];
            }"""
        )
    )


def test_it_moves_and_fades_in(browser: Browser, film: Path, screenshot: Take) -> None:
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme, viewport={"width": 1040, "height": 240})
        page.goto(film.as_uri())

        def at(ms: int, page: Page = page) -> None:
            page.evaluate("ms => document.getAnimations().forEach(a => { a.pause(); a.currentTime = ms; })", ms)

        places = []
        for ms in (2800, 2900, 3050, 3500):  # the publish of Ana is shown from 2,700 ms on
            at(ms)
            places.append(ana(page))
        xs, shades = zip(*places, strict=True)
        assert list(xs) == sorted(xs) and len(set(xs)) == 4, "from the producer into the queue"
        assert list(shades) == sorted(shades) and shades[-1] == 1
        screenshot(page, f"film-{scheme}")
        paper = page.evaluate("getComputedStyle(document.querySelector('.mq-card')).fill")
        assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 27, 34)")
        page.close()


def test_without_motion_the_last_moment_stands_still(browser: Browser, film: Path) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(film.as_uri())
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.locator("text", has_text="Olu is done with Ana.").is_visible()
    assert not page.locator("text", has_text="Nothing has happened yet.").is_visible()
    x, shade = ana(page)
    assert shade == 1
    page.close()
    moving = browser.new_page(reduced_motion="no-preference")
    moving.goto(film.as_uri())
    assert moving.evaluate("document.getAnimations().length") > 0
    moving.evaluate(
        "document.getAnimations().forEach(a => { a.pause(); a.currentTime = a.effect.getTiming().duration - 100; })"
    )
    assert ana(moving)[0] == pytest.approx(x, abs=1)
    moving.close()
