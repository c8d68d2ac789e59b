"""The picture of a placement: every cell where it stands, coloured by the row of the report that it belongs to."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lmu_hw.cells.cell_placement import CellPlacement, find_outlines
from lmu_hw.cells.lef import Lef
from lmu_hw.cells.netlist import Netlist
from lmu_hw.power.rows import OTHER, ROWS, core_path, row_of
from lmu_kit.figures.drawing import save, style
from lmu_kit.figures.power import COLOURS

__all__ = ["write_placement"]

OTHER_COLOUR = "#dddddd"
OUTLINE = "#333333"


def write_placement(netlist: Netlist, lef: Lef, placement: CellPlacement, title: str, path: Path) -> None:
    """Draw the die, its cells and macros, with a legend of rows and a bar of length.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    lef : Lef
        Their outlines.
    placement : CellPlacement
        Their places.
    title : str
        Above the picture.
    path : Path
        SVG or PNG, by its suffix; the same placement gives the same bytes with the same version of matplotlib. The
        cells of an SVG are an image in it, for its size.
    """
    left, bottom, right, top = placement.die
    width, height = right - left, top - bottom
    with style():
        figure = Figure(figsize=(7.2, 7 * (height + 0.06 * width) / width + 0.9), layout="constrained")
        axes = figure.add_subplot()
        drawn = _draw_cells(axes, netlist, lef, placement)
        axes.add_patch(Rectangle((left, bottom), width, height, fill=False, edgecolor=OUTLINE, linewidth=1))
        _draw_ports(axes, placement)
        _draw_bar(axes, placement)
        axes.set_xlim(left - 0.01 * width, right + 0.01 * width)
        axes.set_ylim(bottom - 0.05 * width, top + 0.01 * width)
        axes.set_xlim(left - 0.01 * width, right + 0.01 * width)
        axes.set_ylim(bottom - 0.05 * width, top + 0.01 * width)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=9)
        total = sum(drawn.values())
        handles = [
            Patch(facecolor=_colour(name), label=f"{name} {area / total:.0%}") for name, area in drawn.items() if area
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(figure, path, dpi=200)


def _colour(row: str) -> str:
    return OTHER_COLOUR if row == OTHER else COLOURS[ROWS.index(row)]


def _draw_cells(axes: Axes, netlist: Netlist, lef: Lef, placement: CellPlacement) -> dict[str, float]:
    """Draw cells and macros; the area of each row."""
    outlines, core = find_outlines(netlist, lef), core_path(netlist)
    boxes: dict[str, list[np.ndarray]] = {name: [] for name in (*ROWS, OTHER)}
    areas = dict.fromkeys(boxes, 0.0)
    for index, instance in enumerate(netlist.instances):
        outline = outlines[instance.cell.name]
        width, height = outline.width, outline.height
        if placement.orientations[index] in ("E", "W", "FE", "FW"):
            width, height = height, width
        x, y = float(placement.x[index]), float(placement.y[index])
        row = row_of(instance.block, instance.cell, core)
        areas[row] += width * height
        if instance.cell.memory is None:
            boxes[row].append(np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]))
        else:
            axes.add_patch(Rectangle((x, y), width, height, facecolor=_colour(row), edgecolor=OUTLINE, linewidth=1))
            label = instance.cell.name
            axes.text(x + width / 2, y + height / 2, label, ha="center", va="center", fontsize=5, clip_on=True)
    for name, polygons in boxes.items():
        if polygons:
            axes.add_collection(PolyCollection(polygons, facecolors=_colour(name), linewidths=0, rasterized=True))
    return areas


def _draw_ports(axes: Axes, placement: CellPlacement) -> None:
    """Mark the bits of the ports on the edges."""
    x, y = zip(*(place for bits in placement.ports.values() for place in bits), strict=True)
    axes.plot(x, y, linestyle="none", marker="s", markersize=1.5, color=OUTLINE, clip_on=False)


def _draw_bar(axes: Axes, placement: CellPlacement) -> None:
    """Draw a bar of a round length below the die, about a fifth of its width."""
    left, bottom, right, _ = placement.die
    width = right - left
    power = 10 ** math.floor(math.log10(width / 5))
    length = max(step * power for step in (1, 2, 5) if step * power <= width / 5)
    y = bottom - 0.02 * width
    axes.plot([left, left + length], [y, y], color=OUTLINE, linewidth=2, solid_capstyle="butt")
    axes.text(left + length + 0.01 * width, y, f"{length:g} µm", va="center", fontsize=8)
