"""Place a netlist in rows with Coloquinte, with macros and pins by rule. Placements are cached by content.

The die is `PlaceOptions.aspect` times as high as wide, and its rows are filled to `PlaceOptions.density`. Cells are
spread evenly. Memory macros stand upright on shelves, from the upper left corner of the die down, the highest first,
with a channel around each. The pins of most are on their lower edge, so they face the rows. Input ports are spread
evenly along the left edge and output ports along the right one, in the order of the netlist, the lowest bit at the
bottom. Nets of the clock network do not pull cells together: its tree is estimated apart.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.cell_placement import CellPlacement, CellRow, OutlineError, find_outlines, turn_pin
from lmu_hw.cells.lef import Lef, LefMacro, Site
from lmu_hw.cells.netlist import HIGH, Netlist
from lmu_hw.checks import require_int, require_number
from lmu_hw.files import cache_folder, write_whole
from lmu_hw.progress import Progress, silent
from lmu_hw.tools import ToolError

__all__ = ["PlaceOptions", "place_cells"]

VERSION = 1
"""Raised whenever the floorplan or the use of the placer changes, so that older placements are not taken."""

UNIT = 1000
"""Units per micrometre in which the placer counts."""

CHANNEL = 10.0
"""Free space around a macro in micrometre."""

SPREAD = 0.95
"""Density that cells are widened to while they are spread: at 1 nothing fits any more."""

PYTHON = sys.version_info[:2]

WORKER = "lmu_hw.flows.placer_worker"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PlaceOptions:
    """How a netlist is placed.

    Parameters
    ----------
    density : float
        Part of the rows that cells take, 0.05 to 0.95.
    aspect : float
        Height of the die over its width, 0.1 to 10.
    seed : int
        Of the placer, at least 0. The same seed gives the same placement.
    effort : int
        Of the placer, 1 to 9: how long it tries.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    density: float = 0.7
    aspect: float = 1.0
    seed: int = 1
    effort: int = 3

    def __post_init__(self) -> None:
        require_number("density", self.density, 0.05, 0.95)
        require_number("aspect", self.aspect, 0.1, 10)
        require_int("seed", self.seed, 0)
        require_int("effort", self.effort, 1, 9)

    def describe(self) -> str:
        """One line for reports."""
        return (
            f"placed by coloquinte, rows {self.density:.0%} full, height {self.aspect:g} times the width, inputs on "
            f"the left and outputs on the right edge, seed {self.seed}"
        )


def place_cells(
    netlist: Netlist,
    lef: Lef,
    options: PlaceOptions | None = None,
    *,
    ignored: Iterable[int] = (),
    progress: Progress = silent,
) -> CellPlacement:
    """Place the cells of a netlist, or take the placement from the cache.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    lef : Lef
        Outlines of all of them, and the site of the rows.
    options : PlaceOptions, optional
        Density, aspect, seed, effort; the defaults of `PlaceOptions` if not given.
    ignored : iterable of int
        Nets that do not pull cells together: those of the clock network.
    progress : callable
        Called with (stage, done, total): a step of the placer each, whose number is not known before.

    Returns
    -------
    CellPlacement
        On the sites of the rows, without overlaps.

    Raises
    ------
    OutlineError
        If the LEF files lack a cell, a pin, or the site.
    ToolError
        If coloquinte is not installed, or fails.
    """
    options = PlaceOptions() if options is None else options
    plan = _Floorplan(netlist, lef, options)
    problem = plan.problem(set(ignored))
    key = hashlib.sha256(json.dumps([VERSION, SPREAD, _tool_version()]).encode())
    for name in sorted(problem):
        key.update(name.encode() + problem[name].tobytes())
    path = cache_folder() / "placements" / f"{key.hexdigest()[:32]}.npz"
    if not path.is_file():
        _place(problem, path, progress)
    with np.load(path) as solution:
        return plan.placement(solution["x"], solution["y"], solution["orientations"])


def _tool_version() -> str:
    """Version of coloquinte.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    if importlib.util.find_spec("coloquinte") is None:
        why = f"; it has no wheel for Python {PYTHON[0]}.{PYTHON[1]}, only up to 3.12" if PYTHON >= (3, 13) else ""
        raise ToolError(f"coloquinte, which places cells, is not installed: pip install 'lmu-hw[place]'{why}")
    return importlib.metadata.version("coloquinte")


def _place(problem: Arrays, path: Path, progress: Progress) -> None:
    """Run the placer in a process of its own, since it writes to the standard output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="place-") as name:
        files = Path(name) / "problem.npz", Path(name) / "solution.npz"
        np.savez(files[0], **problem)  # type: ignore[arg-type]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", WORKER, *map(str, files)]
        progress("placement", 0, 0)
        with (
            (Path(name) / "log").open("w+") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
        ):
            assert process.stdout is not None
            try:
                for step, _ in enumerate(process.stdout, 1):
                    progress("placement", step, 0)
            except BaseException:
                process.kill()
                raise
            if process.wait():
                log.seek(0)
                raise ToolError(f"coloquinte failed: {(log.read().strip().splitlines() or ['without a word'])[-1]}")
        write_whole(path, files[1].read_bytes())


@dataclass(frozen=True)
class _Shelf:
    """Macros side by side: instance and left edge of each, and their common upper edge as a depth from the top."""

    depth: float
    height: float
    macros: tuple[tuple[int, float], ...]


class _Floorplan:
    """Die, rows, macros and ports of a netlist, and what the placer is given."""

    def __init__(self, netlist: Netlist, lef: Lef, options: PlaceOptions):
        self.netlist, self.options = netlist, options
        self.outlines = find_outlines(netlist, lef)
        shapes = [self.outlines[instance.cell.name] for instance in netlist.instances]
        self.blocks = [index for index, instance in enumerate(netlist.instances) if instance.cell.memory is not None]
        self.fixed = np.zeros(len(shapes), dtype=bool)
        self.fixed[self.blocks] = True
        self.widths, self.heights = (
            np.array([getattr(shape, side) for shape in shapes]) for side in ("width", "height")
        )
        self.site = _find_site(lef, [shape for shape, block in zip(shapes, self.fixed, strict=True) if not block])
        self._size(shapes)

    def _size(self, shapes: list[LefMacro]) -> None:
        """Choose the die: its width by the areas and the widest macro, and as many rows as the cells then need."""
        cells = float((self.widths * self.heights)[~self.fixed].sum()) / self.options.density
        around = [(shapes[index].width + 2 * CHANNEL, shapes[index].height + 2 * CHANNEL) for index in self.blocks]
        blocks = sum(width * height for width, height in around)
        width = max([math.sqrt((cells + blocks) / self.options.aspect), *(wide for wide, _ in around)])
        self.sites = math.ceil(width / self.site.width)
        self.width = self.sites * self.site.width
        self.shelves = self._shelve(shapes)
        least = sum(shelf.height for shelf in self.shelves)
        rows = math.ceil(max((cells + blocks) / self.width, least) / self.site.height)
        while True:
            self.rows = tuple(CellRow(0.0, row * self.site.height, self.sites, row % 2 == 1) for row in range(rows))
            self.height = rows * self.site.height
            free = sum(last - first for segments in self._segments() for first, last in segments)
            missing = cells / (self.site.width * self.site.height) - free
            if missing <= 0:
                return
            rows += math.ceil(missing / self.sites)

    def _shelve(self, shapes: list[LefMacro]) -> list[_Shelf]:
        """Put the macros on shelves, the highest first; of one height in the order of their cells and names."""
        order = sorted(
            self.blocks,
            key=lambda index: (-shapes[index].height, shapes[index].name, self.netlist.instances[index].name),
        )
        shelves: list[_Shelf] = []
        macros: list[tuple[int, float]] = []
        depth = left = height = 0.0
        for index in order:
            width = shapes[index].width + 2 * CHANNEL
            if macros and left + width > self.width + 1e-6:
                shelves.append(_Shelf(depth, height, tuple(macros)))
                depth, left, macros = depth + height, 0.0, []
            if not macros:
                height = shapes[index].height + 2 * CHANNEL
            macros.append((index, left))
            left += width
        return [*shelves, _Shelf(depth, height, tuple(macros))] if macros else shelves

    def ports(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """Places of all port bits: inputs along the left edge, outputs along the right one."""
        places: dict[str, tuple[tuple[float, float], ...]] = {}
        for group, x in ((self.netlist.inputs, 0.0), (self.netlist.outputs, self.width)):
            pitch = self.height / max(1, sum(map(len, group.values())))
            bit = 0
            for name, nets in group.items():
                places[name] = tuple((x, pitch * (bit + index + 0.5)) for index in range(len(nets)))
                bit += len(nets)
        return places

    def problem(self, ignored: set[int]) -> Arrays:
        """Cells, ports, nets and rows for the placer, in units of `UNIT`."""
        ports = self.ports()
        x, y = self._start()
        bits = [place for places in ports.values() for place in places]
        none = np.zeros(len(bits))
        cells, offsets, starts = self._nets(ignored, ports)
        channel = np.where(self.fixed, CHANNEL, 0.0)
        return {
            "width": _units([*(self.widths + 2 * channel), *none]),
            "height": _units([*(self.heights + 2 * channel), *none]),
            "x": _units([*(x - channel), *(place[0] for place in bits)]),
            "y": _units([*(y - channel), *(place[1] for place in bits)]),
            "fixed": np.array([*self.fixed, *([True] * len(bits))]),
            "obstruction": np.array([True] * len(x) + [False] * len(bits)),
            "net_cells": cells,
            "net_offsets": offsets,
            "net_starts": starts,
            "rows": _units([row.y for row in self.rows]),
            "row": _units([self.width, self.site.height]),
            "options": np.array([self.options.seed, self.options.effort]),
            "spread": np.array(SPREAD),
        }

    def _start(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower left corners before the placer runs: macros at their places, cells in the corner."""
        x, y = np.zeros(len(self.fixed)), np.zeros(len(self.fixed))
        for shelf in self.shelves:
            for index, left in shelf.macros:
                x[index] = left + CHANNEL
                y[index] = self.height - shelf.depth - CHANNEL - self.heights[index]
        return x, y

    def _nets(self, ignored: set[int], ports: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Cells of each net with two pins or more, the places of the pins in them, and the first of each net."""
        members: list[list[tuple[int, float, float]]] = [[] for _ in range(self.netlist.nets)]
        for index, instance in enumerate(self.netlist.instances):
            outline, channel = self.outlines[instance.cell.name], CHANNEL if self.fixed[index] else 0.0
            for pin, net in instance.nets.items():
                x, y = turn_pin(outline, pin, "N")
                members[net].append((index, x + channel, y + channel))
        bit = len(self.netlist.instances)
        for name, nets in (self.netlist.inputs | self.netlist.outputs).items():
            for net, _ in zip(nets, ports[name], strict=True):
                members[net].append((bit, 0.0, 0.0))
                bit += 1
        kept = [pins for net, pins in enumerate(members) if net > HIGH and net not in ignored and len(pins) > 1]
        flat = [pin for pins in kept for pin in pins]
        starts = np.cumsum([0, *map(len, kept)])
        return np.array([pin[0] for pin in flat]), _units([pin[1:] for pin in flat]), starts

    def placement(self, x: NDArray[Any], y: NDArray[Any], orientations: NDArray[Any]) -> CellPlacement:
        """The placer's result, on sites."""
        count = len(self.fixed)
        start = self._start()
        left, bottom = x[:count] / UNIT, y[:count] / UNIT
        left[self.fixed], bottom[self.fixed] = start[0][self.fixed], start[1][self.fixed]
        self._snap(left, bottom)
        turned = ["N" if fixed else str(name) for name, fixed in zip(orientations[:count], self.fixed, strict=True)]
        return CellPlacement(
            die=(0.0, 0.0, self.width, self.height),
            site=self.site,
            rows=self.rows,
            x=left,
            y=bottom,
            orientations=tuple(turned),
            fixed=self.fixed,
            ports=self.ports(),
            source=self.options.describe(),
        )

    def _snap(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Move cells to the nearest sites that are free, in place and in their order; by less than the width of a cell.

        Each row is cut into segments by the macros. From the left, a cell takes the site nearest to its place that is
        free; those that then stick out on the right are pushed back from the end.
        """
        pitch = self.site.width
        row_of = np.rint(y / self.site.height).astype(int)
        sites = np.rint(self.widths / pitch).astype(int)
        segments = self._segments()
        movable = np.flatnonzero(~self.fixed)
        order = movable[np.lexsort((x[movable], row_of[movable]))]
        for row in np.unique(row_of[order]).tolist():
            members = order[row_of[order] == row]
            middle = x[members] + self.widths[members] / 2
            for first, last in segments[row]:
                chosen = members[(middle >= first * pitch) & (middle < last * pitch)]
                places = np.rint(x[chosen] / pitch).astype(int)
                end = first
                for k, index in enumerate(chosen):
                    places[k] = max(places[k], end)
                    end = places[k] + sites[index]
                end = last
                for k in range(len(chosen) - 1, -1, -1):
                    places[k] = min(places[k], end - sites[chosen[k]])
                    end = places[k]
                if end < first:
                    raise ToolError(f"coloquinte filled row {row} beyond its end: lower the density")
                x[chosen] = places * pitch
        y[movable] = row_of[movable] * self.site.height

    def _segments(self) -> list[list[tuple[int, int]]]:
        """Free sites of each row: first, and one after the last."""
        pitch, height = self.site.width, self.site.height
        x, y = self._start()
        segments = []
        for row in self.rows:
            cuts = [
                (
                    math.floor((x[k] - CHANNEL) / pitch + 1e-6),
                    math.ceil((x[k] + self.widths[k] + CHANNEL) / pitch - 1e-6),
                )
                for k in self.blocks
                if y[k] - CHANNEL < row.y + height - 1e-6 and y[k] + self.heights[k] + CHANNEL > row.y + 1e-6
            ]
            start, free = 0, []
            for first, last in sorted(cuts):
                if first > start:
                    free.append((start, first))
                start = max(start, last)
            segments.append([*free, (start, self.sites)] if start < self.sites else free)
        return segments


def _units(values: Any) -> NDArray[np.int64]:
    return np.rint(np.asarray(values, dtype=float) * UNIT).astype(np.int64)


def _find_site(lef: Lef, shapes: list[LefMacro]) -> Site:
    """Site of the rows: the one that the standard cells stand on."""
    names = {shape.site for shape in shapes}
    sites = [lef.sites[name] for name in names if name in lef.sites]
    if len(sites) != len(names) or len({site.height for site in sites}) != 1:
        raise OutlineError(f"the LEF files must have one site for all cells, not {', '.join(sorted(names)) or 'none'}")
    for shape in shapes:
        if shape.height != sites[0].height:
            raise OutlineError(f"cell {shape.name} is {shape.height:g} um high, the rows are {sites[0].height:g} um")
    return sites[0]
