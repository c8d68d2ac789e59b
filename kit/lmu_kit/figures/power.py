"""The picture of a power report: one bar for each kind of sound, stacked by row."""

from pathlib import Path

from matplotlib.figure import Figure

from lmu_hw.power.report import ESTIMATED, Report
from lmu_kit.figures.drawing import open_frame, save, style

__all__ = ["write_picture"]

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#9c755f", "#bab0ac", "#86bcb6")
LEAKAGE_COLOUR = "#555555"


def write_picture(report: Report, title: str, path: Path) -> None:
    """Draw the dynamic energy of every row, its glitches hatched, and the leakage of all, in nanojoule per frame.

    Parameters
    ----------
    report : Report
        What to draw.
    title : str
        Above it.
    path : Path
        SVG or PNG, by its suffix; the same report gives the same bytes with the same version of matplotlib.
    """
    kinds = list(report.rows)
    with style():
        figure = Figure(figsize=(8, 1.6 + 0.5 * len(kinds)), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(kinds)
        glitches: str | None = "glitches, beside their block"
        for number, name in enumerate(report.names):
            sums = [report.sums(kind, name) for kind in kinds]
            values = [(energy.dynamic - (energy.glitches or 0.0)) * 1e9 for energy in sums]
            estimated = report.row(kinds[0], name).origin == ESTIMATED
            label = f"{name} (estimated)" if estimated else name
            colour = COLOURS[number % len(COLOURS)]
            axes.barh(kinds, values, left=left, label=label, color=colour, hatch="///" if estimated else None)
            left = [a + b for a, b in zip(left, values, strict=True)]
            values = [(energy.glitches or 0.0) * 1e9 for energy in sums]
            if any(values):
                axes.barh(kinds, values, left=left, label=glitches, color=colour, hatch="xxx")
                left = [a + b for a, b in zip(left, values, strict=True)]
                glitches = None  # one entry in the legend for all blocks
        values = [report.sums(kind).leakage * 1e9 for kind in kinds]
        axes.barh(kinds, values, left=left, label="leakage of all", color=LEAKAGE_COLOUR)
        axes.invert_yaxis()
        axes.set_xlabel("nJ per frame")
        axes.set_title(title, loc="left", fontsize=9)
        open_frame(axes)
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(figure, path)
