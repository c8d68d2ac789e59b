"""The pictures of a sweep: power against what it is paid with, and power against area over the clock."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lmu_hw.explore.front import DesignPoint, order
from lmu_kit.figures.drawing import open_frame, save, style

__all__ = ["write_clocks", "write_front"]

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#9c755f")
MARKERS = "osD^vP*X"
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def _logarithmic(axis: Any) -> None:
    """Give an axis a logarithmic scale with plain numbers at every decade, and between them where there are few."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(PLAIN)
    axis.set_minor_formatter(NullFormatter())


def _names(found: Sequence[DesignPoint], name: str) -> list[str]:
    """Models or technologies of the points, in order."""
    return list(dict.fromkeys(getattr(one.point, name) for one in found))


def write_front(found: Sequence[DesignPoint], path: Path) -> None:
    """Draw power against area, latency and, where it is known, accuracy; colours are technologies, filled the front.

    Parameters
    ----------
    found : sequence of DesignPoint
        One or more.
    path : Path
        SVG or PNG, by its suffix; the same points give the same bytes with the same version of matplotlib.
    """
    axes = [
        ("area, mm²", lambda one: one.outcome.area / 1e6),
        ("latency, ms", lambda one: one.outcome.latency * 1e3),
    ]
    if all(one.accuracy is not None for one in found):
        axes.append(("accuracy, %", lambda one: 100 * one.accuracy))
    numbers = order(found)
    with style():
        figure = Figure(figsize=(3.6 * len(axes), 3.6), layout="constrained")
        plots = figure.subplots(1, len(axes), sharey=True)
        for plot, (label, value) in zip(plots, axes, strict=True):
            for technology, colour in zip(_names(found, "technology"), COLOURS * len(found), strict=False):
                for front in (False, True):
                    members = [
                        one
                        for one, number in zip(found, numbers, strict=True)
                        if one.point.technology == technology and (number == 0) == front
                    ]
                    plot.scatter(
                        [value(one) for one in members],
                        [one.outcome.power * 1e6 for one in members],
                        s=20,
                        edgecolors=colour,
                        facecolors=colour if front else "none",
                        alpha=1.0 if front else 0.35,
                        zorder=3 if front else 2,
                        label=Path(technology).stem if front else None,
                    )
            plot.set_xlabel(label)
            if "accuracy" not in label:
                _logarithmic(plot.xaxis)
            open_frame(plot)
        plots[0].set_ylabel("average power, µW")
        _logarithmic(plots[0].yaxis)
        figure.legend(*plots[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        save(figure, path)


def write_clocks(found: Sequence[DesignPoint], path: Path) -> None:
    """Draw power against area, coloured by the clock, a plot for each technology; markers are networks.

    Figure 3 of Blouw et al. 2021 (arXiv:2009.04465) is this picture of one network: slow clocks need many lanes.

    Parameters
    ----------
    found : sequence of DesignPoint
        One or more.
    path : Path
        As in `write_front`.
    """
    technologies, models = _names(found, "technology"), _names(found, "model")
    clocks = [one.outcome.clock / 1e3 for one in found]
    scale = LogNorm(min(clocks) / 1.01, max(clocks) * 1.01)
    with style():
        figure = Figure(figsize=(1 + 3.4 * len(technologies), 3.6), layout="constrained")
        plots = figure.subplots(1, len(technologies), squeeze=False)[0]
        for plot, technology in zip(plots, technologies, strict=True):
            for model, marker in zip(models, MARKERS * len(found), strict=False):
                members = [one for one in found if (one.point.technology, one.point.model) == (technology, model)]
                drawn = plot.scatter(
                    [one.outcome.area / 1e6 for one in members],
                    [one.outcome.power * 1e6 for one in members],
                    c=[one.outcome.clock / 1e3 for one in members],
                    norm=scale,
                    marker=marker,
                    s=26,
                )
            plot.set(title=Path(technology).stem, xlabel="area, mm²")
            _logarithmic(plot.xaxis)
            _logarithmic(plot.yaxis)
            open_frame(plot)
        plots[0].set_ylabel("average power, µW")
        handles = [
            Line2D([], [], color="#555555", linestyle="", marker=marker, label=Path(model).stem)
            for model, marker in zip(models, MARKERS * len(found), strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.colorbar(drawn, ax=list(plots), label="clock, kHz", format=PLAIN)
        save(figure, path)
