"""A real broker in a real JupyterLab: its picture while it works, a consumer killed by a click, the way back."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_page import PATIENCE, Lab
from playwright.sync_api import Locator, Page, expect

from mqlab.trace import load

Take = Callable[[Page | Locator, str], None]


@pytest.fixture
def tapped(window: Callable[..., Lab], notebooks: object) -> Lab:
    """One window on the notebook with a tap: its picture is there, and exchange and queues."""
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


def test_a_consumer_killed_by_a_click_gives_its_messages_back(tapped: Lab, screenshot: Take) -> None:
    view = tapped.player(1)
    expect(view.svg.get_by_text("course.#")).to_be_visible()
    expect(view.svg.get_by_text("mails", exact=True)).to_be_visible()
    print(tapped.run(3))
    expect(view.svg.get_by_text("3 of 3")).to_have_count(2)
    ada, olu = held(tapped, "Ada"), held(tapped, "Olu")
    assert len(ada) == len(olu) == 3 and not ada & olu
    for theme in tapped.themes():
        screenshot(view.root, f"topology-{theme}")
    before = int(view.slider.get_attribute("max"))

    view.mark("cut:Olu").click()
    expect(view.svg.get_by_text("✕ cut off")).to_be_visible()
    view.still()
    # What Olu held is ready again, and Ada has no more hands free.
    titles = view.svg.locator(".mq-token title").all_text_contents()
    assert {t.split(":")[0] for t in titles if ": requeued" in t} == olu
    assert held(tapped, "Ada") == ada
    for theme in tapped.themes():
        screenshot(view.root, f"topology-cut-{theme}")
    assert "Ada holds" in tapped.run(4) and "[]" in tapped.run(4)

    after = int(view.slider.get_attribute("max"))
    assert after > before
    tapped.run(9)  # now all of the work is done, as fast as it goes
    acked = view.svg.get_by_text("9 ✓")
    expect(acked).to_be_visible()
    view.still()
    assert held(tapped, "Ada") == set()
    view.root.get_by_label("Kind of event").select_option("a delivery")
    for _ in range(12):  # back to the first that Ada took once more
        view.button("To the one before").click()
        view.page.wait_for_timeout(150)
        if "once more" in view.caption.inner_text():
            break
    expect(view.caption).to_contain_text(re.compile(f"Ada takes [{''.join(sorted(olu))}] from mails, once more"))

    after = int(view.slider.get_attribute("max"))
    view.slider.fill(str(before))
    view.expect_at(before, after)
    view.still()
    assert held(tapped, "Olu") == olu, "rewound: they are in Olu's hands again"
    view.button("To the end").click()
    view.root.get_by_label("Kind of event").select_option("one that goes back")
    view.button("To the one before").click()
    expect(view.caption).to_contain_text("goes back to its old place in mails")


@pytest.fixture
def lab_with_tap(window: Callable[..., Lab]) -> Lab:
    """One window: a broker with ten messages, two consumers hold three each."""
    lab = window(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    lab.open("tapped.ipynb")
    for cell in range(4):
        lab.run(cell)
    expect(lab.player(1).svg.get_by_text("3 of 3")).to_have_count(2)
    lab.player(1).still()
    return lab


def test_a_message_tells_its_story_to_mouse_and_keyboard(lab_with_tap: Lab, screenshot: Take) -> None:
    view, page = lab_with_tap.player(1), lab_with_tap.page
    story = view.root.locator(".mqlab-story")
    expect(story).to_be_hidden()
    view.svg.locator('[data-key="m:m1"]').hover()
    expect(story).to_contain_text("Campus publishes A to news with the key course.new.")
    expect(story).to_contain_text("news passes A on to mails and pushes.")
    expect(story).to_contain_text("Olu takes A from mails.")
    expect(story).to_contain_text("firehose")
    screenshot(view.root, "story")
    view.caption.hover()
    expect(story).to_be_hidden()
    view.caption.click()
    page.keyboard.press("ArrowDown")
    expect(story).to_be_visible()
    expect(view.svg.locator("g:focus")).to_have_attribute("data-key", re.compile("^m:"))
    first = story.inner_text()
    page.keyboard.press("ArrowDown")
    expect(story).not_to_have_text(first)
    page.keyboard.press("Escape")
    expect(story).to_be_hidden()


def test_pictures_films_and_traces_are_saved(lab_with_tap: Lab, tmp_path: Path) -> None:
    view, page = lab_with_tap.player(1), lab_with_tap.page
    begins = {"svg": b"<svg", "png": b"\x89PNG", "film": b"<svg", "trace": b'{"mqlab":"trace"'}
    for what, first in begins.items():
        with page.expect_download() as download:
            view.root.get_by_label("Save").select_option(what)
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert file.read_bytes().startswith(first), what
        assert file.name.startswith("the-broker"), file.name
    assert "@keyframes" in (tmp_path / "the-broker-film.svg").read_text(encoding="utf-8")
    assert load(tmp_path / "the-broker.jsonl").state().published == 10


def test_clicks_send_and_harm_while_start_consuming_blocks(lab_with_tap: Lab) -> None:
    lab = lab_with_tap
    lab.run(5)
    view = lab.player(5)
    expect(view.root).to_have_attribute("data-awake", "true")
    slow = view.mark("slow:0.2").element_handle()
    lab.start(6)
    output = lab.cell(6).locator(".jp-OutputArea")
    expect(output).to_contain_text("begun")
    expect(view.svg.get_by_text("rival", exact=True)).to_be_visible()
    assert slow.get_attribute("data-click") == "slow:0.2", (
        "the picture has more in it, and a button is the same element"
    )
    view.mark("slow:0.2").focus()
    lab.page.keyboard.press("Enter")
    expect(view.svg.get_by_text("⚠ The network is slow: 200 ms each way")).to_be_visible()
    expect(view.mark("slow:0")).to_be_focused()  # which it has become
    view.mark("slow:0").click()
    expect(view.svg.get_by_text("⚠ The network is fast again")).to_be_visible()
    view.mark("send:You publish").click()
    expect(output).to_contain_text("got hello")
    lab.idle()
    ready = view.svg.get_by_text("1 ready")
    expect(ready).to_have_count(1)  # the rival queue, which nobody consumes, got the same


def test_the_wire_is_folded_and_opened_by_clicks(lab_with_tap: Lab, screenshot: Take) -> None:
    lab_with_tap.run(7)
    view = lab_with_tap.player(7)
    expect(view.svg.get_by_text("basic.publish").first).to_be_visible()
    view.svg.get_by_text("basic.publish").last.click()
    expect(view.svg.get_by_text("routing-key: course.new")).to_be_visible()
    screenshot(view.root, "wire")
    moment = int(view.slider.get_attribute("max"))
    view.slider.fill(str(moment - 5))
    view.expect_at(moment - 5, moment)
    view.svg.get_by_text("basic.publish").first.click()
    expect(view.svg.get_by_text("body: 1 byte, ", exact=False)).to_be_visible()
    view.expect_at(moment - 5, moment)  # to open a frame is no reason to leave the past
    view.mark("fold:1:Campus").click()
    expect(view.svg.get_by_text(re.compile("^channel 1: .* frames"))).not_to_have_count(0)
    view.mark("fold:1:Campus").press("Enter")
    expect(view.svg.get_by_text(re.compile("^channel 1: .* frames"))).to_have_count(0)


def test_no_serious_finding_by_axe(tapped: Lab, screenshot: Take) -> None:
    """Topology, wire and timeline, as axe-core judges them, in both themes; only about our own part of the page."""
    for cell in (3, 7, 8):
        tapped.run(cell)
    for theme in tapped.themes():
        screenshot(tapped.player(8).root, f"timeline-{theme}")
        for cell in (1, 7, 8):
            tapped.player(cell).root.scroll_into_view_if_needed()
            tapped.player(cell).still()
        assert tapped.findings(".mqlab-player") == []


def test_the_broker_is_stopped_by_a_click_and_comes_back(lab_with_tap: Lab) -> None:
    if os.environ.get("MQLAB_BROKER") == "docker":
        pytest.skip("the container is shared with other tests; see tests/broker/test_docker.py")
    view = lab_with_tap.player(1)
    expect(view.root).to_have_attribute("data-awake", "true")
    view.mark("broker:stop").click()
    expect(view.svg.get_by_text("⚠ The broker was stopped")).to_be_visible()
    expect(view.svg.get_by_text("✕ cut off")).not_to_have_count(0)
    view.mark("broker:start").click()
    expect(view.svg.get_by_text("⚠ The broker is there again")).to_be_visible(timeout=2 * PATIENCE)
    expect(view.svg.get_by_text("0 ready", exact=True)).to_have_count(2)  # the messages were transient
