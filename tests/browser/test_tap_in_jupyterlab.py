"""A real broker in a real JupyterLab: its picture while it works, a consumer killed by a click, the way back."""

import re
from collections.abc import Callable

import pytest
from jupyter_page import Lab
from playwright.sync_api import Locator, Page, expect

Take = Callable[[Page | Locator, str], None]


@pytest.fixture
def tapped(theme: str, window: Callable[..., Lab], notebooks: object) -> Lab:
    """One window on the notebook with a tap, in each theme: its picture is there, and exchange and queues."""
    lab = window(viewport={"width": 1280, "height": 1000})
    lab.open("tapped.ipynb")
    lab.run(0)
    lab.run(1)
    assert "declared" in lab.run(2)
    return lab


def held(lab: Lab, who: str) -> set[str]:
    """Return the labels of the tokens in the hands of a consumer, as the titles of the picture say."""
    titles = lab.player(1).svg.locator(".mq-token title").all_text_contents()
    return {t.split(":")[0] for t in titles if re.search(rf"unacked, {who}\b", t)}


def test_a_consumer_killed_by_a_click_gives_its_messages_back(tapped: Lab, theme: str, screenshot: Take) -> None:
    view = tapped.player(1)
    expect(view.svg.get_by_text("course.#")).to_be_visible()
    expect(view.svg.get_by_text("mails", exact=True)).to_be_visible()
    print(tapped.run(3))
    expect(view.svg.get_by_text("3 of 3")).to_have_count(2)
    ada, olu = held(tapped, "Ada"), held(tapped, "Olu")
    assert len(ada) == len(olu) == 3 and not ada & olu
    screenshot(view.root, f"topology-{theme}")
    before = int(view.slider.get_attribute("max"))

    view.mark("cut:Olu").click()
    expect(view.svg.get_by_text("✕ its connection was cut")).to_be_visible()
    view.still()
    # What Olu held is ready again, and Ada has no more hands free.
    titles = view.svg.locator(".mq-token title").all_text_contents()
    assert {t.split(":")[0] for t in titles if ": requeued" in t} == olu
    assert held(tapped, "Ada") == ada
    screenshot(view.root, f"topology-cut-{theme}")
    assert "Ada holds" in tapped.run(4) and "[]" in tapped.run(4)

    after = int(view.slider.get_attribute("max"))
    assert after > before
    view.slider.fill(str(before))
    view.expect_at(before, after)
    view.still()
    assert held(tapped, "Olu") == olu, "rewound: they are in Olu's hands again"
    view.button("To the end").click()
    view.root.get_by_label("Kind of event").select_option("one that goes back")
    view.button("To the one before").click()
    expect(view.caption).to_contain_text("goes back to its old place in mails")
