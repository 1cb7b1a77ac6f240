"""Plots with sliders: matplotlib draws, the page's theme gives the colours of text and axes."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anywidget
import matplotlib
import traitlets
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, ScaledTranslation

from mqlab.views import palette

# The Okabe-Ito palette.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#999999"

_INCHES = (7.6, 3.7)
_ROOM = {"left": 0.095, "right": 0.975, "bottom": 0.15, "top": 0.95, "wspace": 0.25}
_LABELS = 20, 36  # points from the axes to their names: below, and on the left
_STILL = 144  # dots an inch of the still picture
_RC: Any = {
    "font.size": 10.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "mqlab",
    "axes.prop_cycle": cycler(color=[BLUE, RED, GREEN, ORANGE, PURPLE, SKY])
    + cycler(linestyle=["-", "--", "-.", ":", "-", "--"]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": palette.LIGHT["line"],
    "axes.labelcolor": palette.LIGHT["ink"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": palette.LIGHT["line"],
    "grid.alpha": 0.3,
    "text.color": palette.LIGHT["ink"],
    "xtick.bottom": False,  # the grid is enough
    "ytick.left": False,
    "xtick.color": palette.LIGHT["soft"],
    "ytick.color": palette.LIGHT["soft"],
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}
_THEMED = {colour: f"var(--mq-{name})" for name, colour in palette.LIGHT.items() if name in ("ink", "soft", "line")}
_HERE = Path(__file__).parent
_lock = threading.Lock()  # matplotlib's settings are of the whole process, and sliders come in another thread

Draw = Callable[..., str]


@dataclass(frozen=True)
class Slider:
    """A number that the reader chooses: its name in words, its least and greatest value, the step between two."""

    label: str
    least: float
    most: float
    step: float
    value: float

    def fitted(self, value: float) -> float:
        """Return the value of this slider that is next to a number; a whole number where all of them are."""
        steps = round((min(max(value, self.least), self.most) - self.least) / self.step)
        near = round(self.least + steps * self.step, 10)
        return int(near) if all(float(part).is_integer() for part in (self.least, self.step)) else near


def slider(label: str, least: float, most: float, *, step: float = 1, value: float | None = None) -> Slider:
    """Return a slider for `show`; it begins at `value`, or at the least. ValueError: its numbers make no sense."""
    if not (step > 0 and least < most and (value is None or least <= value <= most)):
        raise ValueError(f"The slider {label!r} needs least < most, a step above 0, and a value between the two.")
    made = Slider(label, least, most, step, least)
    return Slider(label, least, most, step, made.fitted(least if value is None else value))


class Plot(anywidget.AnyWidget):
    """A plot and its sliders. `values` is what they stand at; `set(name=number)` moves them from Python."""

    _esm = (_HERE / "plot.js").read_text(encoding="utf-8")
    _css = palette.css() + (_HERE / "plot.css").read_text(encoding="utf-8")
    _title = traitlets.Unicode().tag(sync=True)
    _svg = traitlets.Unicode().tag(sync=True)
    _says = traitlets.Unicode().tag(sync=True)
    _sliders: Any = traitlets.List().tag(sync=True)
    _values: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, draw: Draw, title: str, sliders: dict[str, Slider], panels: int = 1) -> None:
        self._draw, self._panels, self._of = draw, panels, sliders
        self._figure = Figure()
        values = {name: each.value for name, each in sliders.items()}
        svg, says = self._drawn(values, _themed)
        super().__init__(
            _title=title,
            _svg=svg,
            _says=says,
            _sliders=[{"name": name, **asdict(each)} for name, each in sliders.items()],
            _values=values,
        )
        self.on_msg(self._hear)

    @property
    def values(self) -> dict[str, float]:
        """What the sliders stand at, by name."""
        return dict(self._values)

    @property
    def says(self) -> str:
        """The sentence that says what is to be seen."""
        return str(self._says)

    def set(self, **values: float) -> None:
        """Move sliders. ValueError: there is no such slider."""
        for name in values:
            if name not in self._of:
                raise ValueError(f"There is no slider {name!r}. There are: {', '.join(self._of) or 'none'}.")
        chosen = self.values | {name: self._of[name].fitted(value) for name, value in values.items()}
        svg, says = self._drawn(chosen, _themed)
        with self.hold_sync():
            self._values, self._says, self._svg = chosen, says, svg

    def _drawn(self, values: dict[str, float], written: Callable[[Figure], str]) -> tuple[str, str]:
        """Draw, and return the figure as it is written, and the sentence."""
        with _lock, matplotlib.rc_context(_RC):
            if len(self._figure.axes) == self._panels:
                for ax in self._figure.axes:
                    _wipe(ax)
            else:  # there are none yet, or the last picture has made more
                self._figure = Figure(figsize=_INCHES)
                self._axes = self._figure.subplots(1, self._panels, gridspec_kw=_ROOM)
                for ax in self._figure.axes:
                    _fix_labels(ax)
            says = self._draw(self._axes, **values)
            if not isinstance(says, str):
                raise TypeError("The function that draws a plot returns a sentence that says what is to be seen.")
            return written(self._figure), says

    def _hear(self, _: Any, message: dict[str, Any], buffers: object = None) -> None:
        match message:
            case {"set": dict(values)}:
                try:
                    self.set(**{str(name): float(value) for name, value in values.items()})
                except Exception as error:  # shown in the page: what is printed by a callback is lost
                    self._says = f"This could not be drawn. {type(error).__name__}: {error}"
                self.send({"done": True})

    def __repr__(self) -> str:
        at = ", ".join(f"{each.label} {self._values[name]:g}" for name, each in self._of.items())
        return f"{self._title}{f' ({at})' if at else ''}: {self._says}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["image/png"], _ = self._drawn(self.values, _still)
            bundle[1]["image/png"] = {"width": round(_INCHES[0] * 96)}
        return bundle


def show(draw: Draw, *, title: str, panels: int = 1, **sliders: Slider) -> Plot:
    """Return a plot: `draw(ax, **values)` draws on matplotlib's Axes and returns a sentence on what is to be seen.

    Each slider's value is given to `draw` under its name, and `draw` is called again when the reader moves one; it
    should take less than 80 ms. With more than one panel `draw` gets an array of Axes, side by side.
    """
    return Plot(draw, title, sliders, panels)


def _fix_labels(ax: Axes) -> None:
    """Give the names of both axes a place of their own: to look for one beside the numbers takes long."""
    below, left = (point / 72 for point in _LABELS)  # inches
    inches = ax.figure.dpi_scale_trans
    ax.xaxis.set_label_coords(0.5, 0, transform=ax.transAxes + ScaledTranslation(0, -below, inches))
    ax.yaxis.set_label_coords(0, 0.5, transform=ax.transAxes + ScaledTranslation(-left, 0, inches))


def _wipe(ax: Axes) -> None:
    """Take off what was drawn, and keep the axes with their ticks: to make these is a third of a picture's time."""
    legend = ax.get_legend()
    for artist in [*ax.lines, *ax.patches, *ax.collections, *ax.texts, *ax.images, *([legend] if legend else [])]:
        artist.remove()
    ax.containers.clear()
    ax.set(aspect="auto", xscale="linear", yscale="linear", xlim=(0, 1), ylim=(0, 1), xlabel="", ylabel="", title="")
    ax.set_prop_cycle(None)
    ax.dataLim.set_points(Bbox.null().get_points())
    ax.ignore_existing_data_limits = True
    ax.autoscale(True)


def _still(figure: Figure) -> str:
    """Return the figure as a PNG, in base64."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_STILL, facecolor=palette.LIGHT["paper"], metadata={"Software": None})
        return base64.b64encode(file.getvalue()).decode("ascii")


def _themed(figure: Figure) -> str:
    """Return the figure as an SVG whose text and axes have the colours of the page's theme."""
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        picture = file.getvalue()
    picture = picture[picture.index("<svg") :]
    for what in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->", r" id=\"[a-z][a-z0-9]*_[^\"]*\""):
        picture = re.sub(what, "", picture, flags=re.DOTALL)
    for colour, variable in _THEMED.items():
        picture = picture.replace(colour, variable)
    return re.sub(r' width="[^"]*" height="[^"]*"', ' aria-hidden="true"', picture, count=1)
