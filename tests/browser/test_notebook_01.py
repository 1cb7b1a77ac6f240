"""Notebook 01 in a real JupyterLab, in both themes: run all, steer with mouse and keyboard, be the producer."""

import re
from collections.abc import Callable

from jupyter_page import Lab
from playwright.sync_api import Locator, Page, expect

PICTURE, MOMENT, PRODUCER, RIVALS, QUIZ = 13, 19, 22, 46, 56  # cells


def test_run_all_and_steer(lab: Lab, screenshot: Callable[[Page | Locator, str], None]) -> None:
    lab.open("01-fifo-principle.ipynb")
    lab.run_all()

    # Python has steered the picture to moment 9; now mouse and keyboard steer Python.
    view = lab.player(PICTURE)
    view.expect_at(9, 11)
    view.button("Step").click()
    view.expect_at(10, 11)
    view.record("m:help desk:2")
    lab.page.keyboard.press("ArrowRight")
    view.expect_at(11, 11)
    assert len({x for x, _ in view.recorded()}) > 3, "the message moves"
    assert lab.run(MOMENT).startswith("11 |")
    view.caption.click()
    for moment in (10, 9, 8):
        lab.page.keyboard.press("ArrowLeft")
        view.expect_at(moment, 11)
    assert lab.run(MOMENT).startswith("8 |")

    # You are the producer.
    view = lab.player(PRODUCER)
    view.mark("put:help desk:Campus").click()
    view.expect_at(3, 3)
    view.mark("put:help desk:Campus").press("Enter")
    view.expect_at(4, 4)
    view.mark("get:help desk:Olu").click()
    view.expect_at(6, 6)
    expect(view.caption).to_have_text("Olu is done with Finn.")
    view.mark("get:help desk:Olu").click()
    view.expect_at(8, 8)
    view.mark("get:help desk:Olu").click()
    expect(view.root.get_by_role("alert")).to_contain_text("IndexError")
    view.still()

    # One click, three rivals.
    view = lab.player(RIVALS)
    view.expect_at(27, 27)
    view.mark("put:queue:Campus").click()
    view.expect_at(30, 30)
    view.still()
    for theme in lab.themes():
        for n, name in {PICTURE: "desk", PRODUCER: "producer", RIVALS: "rivals"}.items():
            screenshot(lab.player(n).root, f"01-{name}-{theme}")


def test_the_quiz_by_mouse_keyboard_and_screen_reader(lab: Lab, screenshot: Callable[..., None]) -> None:
    lab.open("01-fifo-principle.ipynb")
    lab.run_all()
    quiz = lab.cell(QUIZ).get_by_role("group", name="Quiz")
    first = quiz.get_by_role("group", name="1. A queue holds A, B, C")
    said = first.get_by_role("status")
    expect(said).to_be_empty()
    first.get_by_role("radio", name="D").check()
    expect(said).to_contain_text("✕ Not quite. D was put last")
    # By keyboard: the arrows choose, and the notebook's cell stays the same.
    lab.page.keyboard.press("ArrowUp")
    expect(first.get_by_role("radio", name="C")).to_be_checked()
    expect(said).to_contain_text("✓ Right. The gets take A, B and C")
    expect(quiz).to_contain_text("1 of 5 answered right.")
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.press("ArrowDown")
    second = quiz.get_by_role("group", name="2. The producer and the consumer")
    expect(second.get_by_role("radio", name="… must work")).to_be_checked()
    expect(second.get_by_role("status")).to_contain_text("✕ Not quite.")
    expect(lab.cell(QUIZ)).to_have_class(re.compile("jp-mod-active"))
    for theme in lab.themes():
        screenshot(quiz, f"01-quiz-{theme}")
        assert lab.findings(".mqlab-quiz") == []
    lab.run(QUIZ)
    expect(quiz).to_contain_text("1 of 5 answered right.")
