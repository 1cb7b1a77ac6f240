"""Plots with sliders: what is drawn, what is told, what a slider does."""

import base64
from typing import Any

import pytest
from matplotlib.axes import Axes

from mqlab.views import plot


def line(ax: Axes, slope: float = 1) -> str:
    ax.plot([0, 1], [0, slope], label="rising")
    ax.set_xlabel("time")
    return f"The line rises to {slope:g}."


def test_a_plot_says_what_is_to_be_seen_and_follows_its_sliders() -> None:
    view = plot.show(line, title="A line", slope=plot.slider("slope", 0, 5, step=0.5, value=2))
    assert repr(view) == "A line (slope 2): The line rises to 2."
    before = view._svg
    view.set(slope=3.3)
    assert view.values == {"slope": 3.5} and view.says == "The line rises to 3.5." and view._svg != before
    view.set(slope=99)
    assert view.values == {"slope": 5.0}
    with pytest.raises(ValueError, match=r"no slider 'steep'\. There are: slope"):
        view.set(steep=1)


def test_whole_sliders_give_whole_numbers() -> None:
    given: list[Any] = []

    def draw(ax: Axes, n: int) -> str:
        given.append(n)
        return ""

    plot.show(draw, title="", n=plot.slider("n", 1, 9, value=3)).set(n=4)
    assert given == [3, 4] and all(isinstance(n, int) for n in given)


def test_the_picture_takes_the_colours_of_the_theme_and_is_the_same_each_time() -> None:
    one, two = (plot.show(line, title="A line")._svg for _ in range(2))
    assert one == two
    assert "var(--mq-ink)" in one and "var(--mq-line)" in one and "#000000" not in one and "#1f2328" not in one
    assert "<style" not in one and "metadata" not in one and ">time</text>" in one


def many_things(ax: Axes, kind: int) -> str:
    if kind == 0:
        ax.plot([1, 10, 100], [5, 2, 9], label="one")
        ax.set(xscale="log", yscale="log", title="logarithms")
        ax.legend()
    elif kind == 1:
        ax.errorbar([1, 2], [3, 4], [1, 1], fmt="o", label="two")
        ax.fill_between([0, 3], [0, 1])
        ax.set(xlabel="x", ylim=(5, 0))
        ax.annotate("here", (1, 3), (2, 1), arrowprops={})
    elif kind == 2:
        ax.bar(["a", "b", "c"], [1, 2, 3])
        ax.twinx().plot([0, 1], [100, 200])
    elif kind == 3:
        ax.plot([5, 6], [-7, 8])
        ax.invert_yaxis()
    else:
        ax.imshow([[0, 1], [1, 0]])
        ax.set_xticks([0, 1], ["no", "yes"])
    return ""


def test_nothing_of_the_picture_before_is_left_in_the_next_one() -> None:
    fresh = [plot.show(many_things, title="", kind=plot.slider("kind", 0, 4, value=kind))._svg for kind in range(5)]
    moved = plot.show(many_things, title="", kind=plot.slider("kind", 0, 4))
    for kind in (3, 1, 0, 2, 1, 3, 3, 0, 4, 0, 2, 2, 4, 3, 1):
        moved.set(kind=kind)
        assert moved._svg == fresh[kind], kind


def test_it_has_a_still_picture_for_where_no_widget_can_be_shown() -> None:
    bundle = plot.show(line, title="A line")._repr_mimebundle_()
    assert bundle is not None
    assert base64.b64decode(bundle[0]["image/png"]).startswith(b"\x89PNG")
    assert bundle[0]["text/plain"] == "A line: The line rises to 1."


def test_a_message_from_the_page_moves_the_slider_and_what_cannot_be_drawn_is_told() -> None:
    def draw(ax: Axes, n: float) -> str:
        return f"{1 / n:g}"

    view = plot.show(draw, title="", n=plot.slider("n", 0, 4, value=2))
    sent: list[Any] = []
    view.send = lambda content, buffers=None: sent.append(content)
    view._handle_custom_msg({"set": {"n": 4}}, [])
    assert view.says == "0.25"
    view._handle_custom_msg({"set": {"n": 0}}, [])
    assert view.says == "This could not be drawn. ZeroDivisionError: division by zero"
    assert sent == [{"done": True}] * 2


def test_numbers_that_make_no_sense_are_refused() -> None:
    for numbers in [(1, 1), (2, 1)]:
        with pytest.raises(ValueError, match="least < most"):
            plot.slider("n", *numbers)
    with pytest.raises(ValueError, match="a value between"):
        plot.slider("n", 0, 1, value=2)
    with pytest.raises(TypeError, match="returns a sentence"):
        plot.show(lambda ax: None, title="")  # type: ignore[arg-type,return-value]


def test_panels_stand_side_by_side() -> None:
    def draw(axes: Any) -> str:
        return str(len(axes))

    assert plot.show(draw, title="", panels=2).says == "2"
