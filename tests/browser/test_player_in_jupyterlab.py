"""The player in a real JupyterLab: mouse, keyboard, touch, themes, clicks, assistive technology."""

from collections.abc import Callable

from jupyter_page import Lab
from playwright.sync_api import Locator, Page, expect

Take = Callable[[Page | Locator, str], None]
Open = Callable[..., Lab]

CONTROLS = ["Moment", "To the start", "Step back", "Play", "Step", "To the end"]
CONTROLS += ["To the one before", "Kind of event", "To the next one", "Save", "Speed"]


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_steps_move_tokens_and_steer_python(trial: Lab) -> None:
    view = trial.player(1)
    before = view.places()
    view.record("m:desk:1")
    view.button("Step back").click()
    view.expect_at(6, 7)
    xs = [x for x, _ in view.recorded()]
    assert len(set(xs)) > 3, "it moves, and does not jump"
    assert xs == sorted(xs, reverse=True), "back the way it came"
    assert view.places()["m:desk:1"] != before["m:desk:1"]
    assert trial.run(2).strip() == "6 7 desk: Ben, Chi ready; Olu holds Ana"

    view.button("To the start").click()
    view.expect_at(0, 7)
    view.still()
    assert view.places() == {}
    assert trial.run(2).strip() == "0 7 nothing yet"
    view.button("Step").click()
    view.expect_at(1, 7)
    view.slider.fill("4")
    view.expect_at(4, 7)
    assert trial.run(2).strip() == "4 7 desk: Ana, Ben ready"
    view.button("To the end").click()
    view.expect_at(7, 7)
    view.still()
    assert view.places() == before


def test_it_plays_to_the_end_and_begins_again(trial: Lab) -> None:
    view = trial.player(1)
    view.root.get_by_label("Speed").select_option("4×")
    view.button("Play").click()
    expect(view.button("Pause")).to_be_visible()
    view.expect_at(0, 7)
    view.expect_at(7, 7)
    expect(view.button("Play")).to_be_visible()
    view.root.get_by_label("Speed").select_option("1×")
    view.button("Play").click()
    view.expect_at(2, 7)
    view.button("Pause").click()
    expect(view.button("Play")).to_be_visible()


def test_an_idle_view_asks_for_no_frames(trial: Lab) -> None:
    trial.player(1).still()
    trial.page.evaluate(
        """() => {
            window.mqFrames = 0;
            const original = window.requestAnimationFrame;
            window.requestAnimationFrame = callback => { window.mqFrames += 1; return original(callback); };
        }"""
    )
    trial.player(1).button("Step back").click()
    trial.page.wait_for_function("window.mqFrames > 5")
    trial.page.wait_for_function(
        """async () => {
            const before = window.mqFrames;
            await new Promise(resolve => setTimeout(resolve, 200));
            return window.mqFrames === before;
        }"""
    )


def test_a_click_on_the_picture_reaches_python_and_comes_back(trial: Lab) -> None:
    view = trial.player(1)
    view.mark("put:desk:Campus").click()
    view.expect_at(8, 8)
    expect(view.caption).to_contain_text("Dia")
    assert trial.run(2).strip() == "8 8 desk: Ben, Chi, Dia ready"
    view.button("To the start").click()
    view.expect_at(0, 8)
    view.button("Step").click()
    view.button("Step").click()
    view.expect_at(2, 8)
    view.mark("get:desk:Olu").click()  # a click happens now, so the picture comes back to now
    view.expect_at(10, 10)
    assert trial.run(2).strip() == "10 10 desk: Chi, Dia ready"


def test_a_click_that_fails_says_so_in_the_picture(trial: Lab) -> None:
    view = trial.player(1)
    for done in (9, 11):
        view.mark("get:desk:Olu").click()
        view.expect_at(done, done)
    view.mark("get:desk:Olu").click()
    expect(view.root.get_by_role("alert")).to_contain_text("That click did not work. IndexError")
    view.button("Step back").click()
    expect(view.root.get_by_role("alert")).to_be_empty()


def test_clicks_reach_python_while_a_cell_is_running(trial: Lab) -> None:
    expect(trial.player(1).root).to_have_attribute("data-awake", "true")
    trial.start(4)
    output = trial.cell(4).locator(".jp-OutputArea")
    expect(output).to_contain_text("begun")
    trial.player(1).mark("put:desk:Campus").click()
    expect(output).to_contain_text("8 8")


def test_python_steers_the_picture(trial: Lab) -> None:
    trial.run(5)
    trial.player(1).expect_at(3, 27)
    trial.player(1).button("To the end").click()
    trial.player(1).expect_at(27, 27)
    assert trial.run(2).startswith("27 27")


def test_every_control_works_by_keyboard_and_no_key_leaks(trial: Lab) -> None:
    view, page = trial.player(1), trial.page
    view.caption.click()
    order = []
    for _ in range(2 + len(CONTROLS)):
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order == ["Campus puts a message into desk", "Olu takes a message from desk", *CONTROLS]
    page.keyboard.press("Tab")
    assert not view.root.evaluate("el => el.contains(document.activeElement)"), "the view is no trap"

    def cells() -> list[bool]:
        return page.locator(".jp-Notebook .jp-Cell").evaluate_all(
            "cells => cells.map(cell => cell.classList.contains('jp-mod-active'))"
        )

    view.caption.click()
    assert cells() == [False, True, False, False, False, False]
    for key, moment in [("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 7)]:
        page.keyboard.press(key)
        view.expect_at(moment, 7)
    page.keyboard.press("-")
    expect(view.root.get_by_label("Speed")).to_have_value("0.5")
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(view.root.get_by_label("Speed")).to_have_value("2")
    page.keyboard.press("Space")
    expect(view.button("Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(view.button("Play")).to_be_visible()
    page.keyboard.press("End")
    view.expect_at(7, 7)
    for key in (*"jkabxddm", "Enter"):  # JupyterLab's shortcuts
        page.keyboard.press(key)
    assert cells() == [False, True, False, False, False, False]
    assert view.root.evaluate("el => el === document.activeElement")

    view.mark("put:desk:Campus").focus()
    page.keyboard.press("Enter")
    view.expect_at(8, 8)
    page.keyboard.press("Space")
    view.expect_at(9, 9)
    assert focused(page) == "Campus puts a message into desk", "the picture changed, the focus stays"
    view.button("Play").focus()
    page.keyboard.press("Space")
    expect(view.button("Pause")).to_be_focused()


def test_keys_meant_for_a_cell_stay_there(trial: Lab) -> None:
    trial.cell(2).locator(".cm-content").click()
    for key in ("Home", "ArrowLeft", "Space", "-"):
        trial.page.keyboard.press(key)
    trial.player(1).expect_at(7, 7)
    expect(trial.cell(2).locator(".cm-content")).to_contain_text(" -")


def test_assistive_technology_hears_the_steps(trial: Lab) -> None:
    view = trial.player(1)
    expect(view.root).to_have_role("region")
    expect(view.root).to_have_accessible_name("The desk")
    expect(view.root.get_by_role("group", name="desk: Ben, Chi ready")).to_be_visible()
    expect(view.root.get_by_role("button", name="Olu takes a message from desk")).to_be_visible()
    expect(view.announced).to_have_text("Olu is done with Ana.")
    view.button("Step back").click()
    expect(view.announced).to_have_text("Olu takes Ana from desk.")
    expect(view.slider).to_have_attribute("aria-valuetext", "event 6 of 7, 5.00 s: Olu takes Ana from desk.")
    view.button("To the start").click()
    expect(view.button("Step back")).to_have_attribute("aria-disabled", "true")


def test_a_theme_chosen_is_followed_at_once(lab: Lab, screenshot: Take) -> None:
    def colours(lab: Lab) -> list[str]:
        colour = "el => getComputedStyle(el).backgroundColor + getComputedStyle(el).color"
        view = lab.player(1)
        ink = view.svg.locator(".mq-text").first.evaluate("el => getComputedStyle(el).fill")
        return [view.root.evaluate(colour), view.button("Step").evaluate(colour), ink]

    lab.open("trial.ipynb")
    lab.run(0)
    lab.run(1)
    lab.player(1).button("Step back").click()
    lab.player(1).still()
    light = colours(lab)
    screenshot(lab.page, "trial-light")
    lab.theme("Dark")
    try:
        dark = colours(lab)
        screenshot(lab.page, "trial-dark")
        assert all(a != b for a, b in zip(light, dark, strict=True)), "each colour follows the theme, live"
    finally:
        lab.theme("Light")
    assert colours(lab) == light


def test_reduced_motion_jumps(window: Open) -> None:
    lab = window(reduced_motion="reduce")
    lab.open("trial.ipynb")
    lab.run(0)
    lab.run(1)
    view = lab.player(1)
    view.expect_at(7, 7)
    view.record("m:desk:1")
    view.button("Step back").click()
    view.expect_at(6, 7)
    assert len(view.recorded()) == 2, "from one place to the other at once"
    view.button("Play").click()
    view.expect_at(7, 7)


def test_touch_and_a_narrow_page(window: Open, screenshot: Take) -> None:
    lab = window(has_touch=True)
    lab.open("trial.ipynb")
    lab.run(0)
    lab.run(1)
    view = lab.player(1)
    view.expect_at(7, 7)
    view.mark("put:desk:Campus").tap()
    view.expect_at(8, 8)
    view.button("Step back").tap()
    view.expect_at(7, 8)
    lab.page.set_viewport_size({"width": 700, "height": 900})
    view.root.scroll_into_view_if_needed()
    fits = "el => el.scrollWidth <= el.clientWidth"
    assert view.root.evaluate(fits) and view.root.locator("xpath=..").evaluate(fits)
    screenshot(lab.page, "trial-narrow")


def test_two_players_of_one_trace_and_a_cell_run_again(trial: Lab) -> None:
    trial.run(3)
    first, second = trial.player(1), trial.player(3)
    second.expect_at(7, 7)
    first.button("To the start").click()
    first.expect_at(0, 7)
    second.expect_at(7, 7)
    first.mark("put:desk:Campus").click() if first.mark("put:desk:Campus").count() else first.button(
        "To the end"
    ).click()
    first.expect_at(7, 7)
    first.mark("put:desk:Campus").click()
    second.expect_at(8, 8)
    first.expect_at(8, 8)
    trial.run(1)
    expect(first.root).to_have_count(1)
    first.mark("put:desk:Campus").click()
    first.expect_at(9, 9)
    second.expect_at(9, 9)


def test_a_page_loaded_again_finds_the_moment_again(trial: Lab) -> None:
    trial.player(1).slider.fill("4")
    trial.player(1).expect_at(4, 7)
    assert trial.run(2).startswith("4 7")
    trial.menu("File", "Save Notebook")
    expect(trial.page.locator(".jp-mod-dirty")).to_have_count(0)
    trial.page.reload()
    trial.page.locator("#jupyterlab-splash").wait_for(state="detached")
    trial.idle()
    view = trial.player(1)
    view.expect_at(4, 7)
    view.button("Step").click()
    view.expect_at(5, 7)
    assert trial.run(2).startswith("5 7")


def test_a_stored_notebook_shows_a_still_picture(lab: Lab, screenshot: Take) -> None:
    lab.open("stored.ipynb")
    expect(lab.page.locator(".mqlab-player")).to_have_count(0)
    still = lab.cell(13).locator("img")
    still.scroll_into_view_if_needed()
    natural, shown = still.evaluate("el => el.decode().then(() => [el.naturalWidth, el.width])")
    assert natural == 2048 and 600 < shown <= 1024, "sharp, and no wider than the cell"
    screenshot(lab.page, "stored-light")
