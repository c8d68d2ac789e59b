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


def _names(points: Sequence[DesignPoint], name: str) -> list[str]:
    """Models or technologies of the points, in order."""
    return list(dict.fromkeys(getattr(point.point, name) for point in points))


def write_front(points: Sequence[DesignPoint], path: Path) -> None:
    """Draw power against area, latency and, where it is known, accuracy; colours are technologies, filled the front.

    Parameters
    ----------
    points : sequence of DesignPoint
        One or more.
    path : Path
        SVG or PNG, by its suffix; the same points give the same bytes with the same version of matplotlib.
    """
    axes = [
        ("area, mm²", lambda point: point.outcome.area / 1e6),
        ("latency, ms", lambda point: point.outcome.latency * 1e3),
    ]
    if all(point.accuracy is not None for point in points):
        axes.append(("accuracy, %", lambda point: 100 * point.accuracy))
    numbers = order(points)
    with style():
        figure = Figure(figsize=(3.6 * len(axes), 3.6), layout="constrained")
        plots = figure.subplots(1, len(axes), sharey=True)
        for plot, (label, value) in zip(plots, axes, strict=True):
            for technology, colour in zip(_names(points, "technology"), COLOURS * len(points), strict=False):
                for front in (False, True):
                    members = [
                        point
                        for point, number in zip(points, numbers, strict=True)
                        if point.point.technology == technology and (number == 0) == front
                    ]
                    plot.scatter(
                        [value(point) for point in members],
                        [point.outcome.power * 1e6 for point in members],
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


def write_clocks(points: Sequence[DesignPoint], path: Path) -> None:
    """Draw power against area, coloured by the clock, a plot for each technology; markers are networks.

    Figure 3 of Blouw et al. 2021 (arXiv:2009.04465) is this picture of one network: slow clocks need many lanes.

    Parameters
    ----------
    points : sequence of DesignPoint
        One or more.
    path : Path
        As in `write_front`.
    """
    technologies, models = _names(points, "technology"), _names(points, "model")
    clocks = [point.outcome.clock / 1e3 for point in points]
    scale = LogNorm(min(clocks) / 1.01, max(clocks) * 1.01)
    with style():
        figure = Figure(figsize=(1 + 3.4 * len(technologies), 3.6), layout="constrained")
        plots = figure.subplots(1, len(technologies), squeeze=False)[0]
        for plot, technology in zip(plots, technologies, strict=True):
            for model, marker in zip(models, MARKERS * len(points), strict=False):
                members = [
                    point for point in points if (point.point.technology, point.point.model) == (technology, model)
                ]
                drawn = plot.scatter(
                    [point.outcome.area / 1e6 for point in members],
                    [point.outcome.power * 1e6 for point in members],
                    c=[point.outcome.clock / 1e3 for point in members],
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
            for model, marker in zip(models, MARKERS * len(points), strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        figure.colorbar(drawn, ax=list(plots), label="clock, kHz", format=PLAIN)
        save(figure, path)
