"""Notebook 07 in a real JupyterLab, in both themes: the routing playground by keyboard alone, and as axe judges it."""

from collections.abc import Callable

from jupyter_page import Lab
from playwright.sync_api import Locator, Page, expect

KEY = "Routing key"  # a field that only the playground has


def test_the_playground_is_played_by_keyboard(lab: Lab, screenshot: Callable[[Page | Locator, str], None]) -> None:
    lab.open("07-exchanges-and-routing.ipynb")
    lab.run_all()
    cell = lab.page.locator(".jp-CodeCell").filter(has=lab.page.get_by_label(KEY)).first
    answer = cell.get_by_role("alert").first  # the other one is of the picture
    expect(answer).to_contain_text("Worked out: push, stats.")  # by play.publish() in a later cell

    cell.get_by_label(KEY).focus()
    lab.page.keyboard.press("Control+a")
    lab.page.keyboard.type("comment.art")
    lab.page.keyboard.press("Tab")  # to the button: there are no headers in a topic exchange
    expect(cell.get_by_role("button", name="Publish")).to_be_focused()
    lab.page.keyboard.press("Shift+Tab")
    lab.page.keyboard.press("Shift+Tab")
    expect(cell.get_by_label("I say: mods gets it")).to_be_focused()
    lab.page.keyboard.press("Space")
    cell.get_by_role("button", name="Publish").focus()
    lab.page.keyboard.press("Enter")
    expect(answer).to_contain_text("RabbitMQ: stats, mods. The same.")
    expect(answer).to_contain_text("You said: mods. It also went to stats.")
    for theme in lab.themes():
        screenshot(cell.locator(".jp-OutputArea"), f"07-playground-{theme}")

    cell.get_by_label("Exchange type").select_option("headers")
    expect(cell.get_by_label("Headers")).to_be_enabled()  # and the fields have their other texts by now
    cell.get_by_label("mail wants").fill("art")
    cell.get_by_role("button", name="Publish").click()
    expect(answer).to_contain_text("“art” is no header. Write name=value")
    cell.get_by_label("mail wants").fill("course=art")
    cell.get_by_label("Headers").fill("course=art")
    cell.get_by_role("button", name="Publish").click()
    expect(answer).to_contain_text("RabbitMQ: mail. The same.")
    lab.page.evaluate("document.querySelector('.jp-CodeCell .widget-vbox').id = 'playground'")
    for _ in lab.themes():
        assert lab.findings("#playground") == []
