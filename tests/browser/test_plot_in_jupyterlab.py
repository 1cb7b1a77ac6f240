"""A plot in a real JupyterLab, in both themes: its sliders by keyboard, by mouse and from Python."""

from collections.abc import Callable

from jupyter_page import Lab
from playwright.sync_api import expect

PLOT, VALUES, SET = 1, 2, 3  # cells


def test_sliders_draw_anew_and_python_knows(lab: Lab, screenshot: Callable[..., None]) -> None:
    lab.open("plots.ipynb")
    lab.run_all()
    plot = lab.cell(PLOT).get_by_role("group", name="Who waits how long")
    says = plot.locator(".mqlab-plot-says")
    expect(says).to_contain_text("At utilization 0.5 the longest wait is")  # the last cell has set it
    rho, runs = (plot.get_by_role("slider", name=name) for name in ("utilization ρ", "runs"))
    expect(rho).to_have_value("0.5")

    before = plot.locator("svg").inner_html()
    rho.press("End")
    expect(says).to_contain_text("At utilization 0.95 ")
    assert plot.locator("svg").inner_html() != before
    for _ in range(4):
        runs.press("ArrowRight")
    expect(plot.locator("svg path[style*='#D55E00' i], svg path[style*='#d55e00']")).not_to_have_count(0)
    lab.idle()
    assert lab.run(VALUES).strip() == "{'rho': 0.95, 'runs': 5}"

    box = rho.bounding_box()
    assert box
    rho.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    expect(says).to_contain_text("At utilization 0.5 ")
    rho.press("End")
    lab.run(SET)
    expect(rho).to_have_value("0.5")
    for theme in lab.themes():
        assert lab.findings(".mqlab-plot") == []
        screenshot(plot, f"plot-{theme}")
