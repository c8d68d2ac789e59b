"""Wires of a netlist: by a rule of thumb, by a placement, or from a layout of the user's own."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.cell_placement import CellPlacement, OutlineError, WireLengths, measure_wires
from lmu_hw.cells.conditions import NetWires
from lmu_hw.cells.def_file import read_def, write_def
from lmu_hw.cells.lef import Lef, read_lef
from lmu_hw.cells.library import Cell, Library
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.pdk import PdkError, find_lef
from lmu_hw.cells.spef import read_spef, write_spef
from lmu_hw.cells.tokens import FileFormatError
from lmu_hw.files import write_whole
from lmu_hw.flows.netlist_verilog import read_verilog_netlist, with_original_names
from lmu_hw.flows.placer import PlaceOptions, place_cells
from lmu_hw.power.activity import clock_nets
from lmu_hw.progress import Progress
from lmu_kit.errors import InputError

__all__ = [
    "SIDES",
    "WIRE",
    "ChipLayout",
    "LaidOut",
    "find_wires",
    "rule_sides",
    "sides_per_reader",
    "wire_rule",
    "write_layout",
]

WIRE = 0.2e-15
"""Capacitance of a micrometre of wire in farad, much the same in all processes (Weste and Harris, CMOS VLSI Design).

The technology LEF of SKY130 and IHP SG13G2 gives 0.078 and 0.093 fF for the second metal, to the substrate only: the
neighbours, which dense wires have most of their capacitance to, are left out. OpenROAD's fit to extracted layouts gives
0.172 and 0.173 fF for signals (OpenROAD-flow-scripts, ``setRC.tcl`` of both platforms)."""

SIDES = 0.2
"""Length of wire for each reader of a net, in sides of the mean cell and cube roots of the number of cells.

This rule of thumb is for netlists without a placement. It is fitted to four, each weighted by the toggles of its nets,
and meets them within 3 %. `kws49-eighth` on IHP SG13G2, with memory macros, has 14,188 cells and 4.99 sides. On SKY130,
with states in registers, `kws49-eighth` has 22,794 and 5.63, `kws105-eighth` 35,304 and 6.44, `kws361-eighth` 80,483
and 8.65. With all nets alike they have 5.80, 4.13, 4.32 and 6.59. Detours of the router are left out. ``lmu-hw power
--place`` prints the figures of any placement; docs/power.md has the commands of these."""


@dataclass(frozen=True)
class ChipLayout:
    """Where wires come from, instead of the rule of thumb.

    Parameters
    ----------
    placement : PlaceOptions
        How cells are placed where neither `spef` nor `placed` is given.
    lef : sequence of path-like
        LEF files of technology and cells; those of the process under ``PDK_ROOT`` if not given. SPEF needs none.
    netlist : path-like, optional
        Structural Verilog of a layout: the netlist that we mapped, as place and route left it. Ours if not given.
    spef : path-like, optional
        Wires of that netlist.
    placed : path-like, optional
        DEF with the placement of that netlist.

    Raises
    ------
    InputError
        If SPEF or DEF are given without a netlist, or both.
    """

    placement: PlaceOptions = field(default_factory=PlaceOptions)
    lef: Sequence[str | os.PathLike[str]] = ()
    netlist: str | os.PathLike[str] | None = None
    spef: str | os.PathLike[str] | None = None
    placed: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.spef is not None and self.placed is not None:
            raise InputError("give SPEF or DEF, not both")
        if self.netlist is None and (self.spef is not None or self.placed is not None):
            raise InputError("SPEF and DEF belong to a netlist: give its Verilog too")


@dataclass(frozen=True, eq=False)
class LaidOut:
    """A netlist with wires.

    Parameters
    ----------
    netlist : Netlist
        Ours, or that of the user's layout.
    wires : NetWires
        Wire of each net.
    placement : CellPlacement or None
        Places of the cells; None if the wires came as SPEF.
    lengths : WireLengths or None
        Lengths of the wires of the placement.
    lef : Lef or None
        Outlines of the cells of the placement.
    """

    netlist: Netlist
    wires: NetWires
    placement: CellPlacement | None = None
    lengths: WireLengths | None = None
    lef: Lef | None = None


def rule_sides(netlist: Netlist) -> float:
    """Wire for each reader of a net by the rule of thumb, in sides of the mean cell."""
    return SIDES * len(_standard_cells(netlist)) ** (1 / 3)


def wire_rule(netlist: Netlist, clock: str = "clk", sides: float | None = None) -> NetWires:
    """Estimate wires before layout: a number of sides of the mean cell at `WIRE`, for every reader of a net.

    Nets of the clock network get none: the estimate of the clock tree has their wires.

    Parameters
    ----------
    netlist : Netlist
        Netlist of any design.
    clock : str
        Its clock port.
    sides : float, optional
        Sides of the mean cell for each reader; those of `rule_sides` if not given.
    """
    sides = rule_sides(netlist) if sides is None else sides
    per_reader = sides * _mean_side(netlist) * WIRE
    readers = netlist.readers().astype(np.float64)
    readers[clock_nets(netlist, clock)] = 0
    return NetWires(
        readers * per_reader,
        f"rule of thumb: {sides:.3g} sides of the mean cell at {WIRE * 1e15:g} fF/um, "
        f"{per_reader * 1e15:.3g} fF a reader",
    )


def _standard_cells(netlist: Netlist) -> list[Cell]:
    return [instance.cell for instance in netlist.instances if instance.cell.memory is None]


def _mean_side(netlist: Netlist) -> float:
    """Side of a square of the mean cell's area in micrometre; memory macros are left out."""
    cells = _standard_cells(netlist)
    return math.sqrt(sum(cell.area for cell in cells) / len(cells))


def sides_per_reader(laid_out: LaidOut, toggles: NDArray[np.float64] | None = None) -> float:
    """Wire of a placement per reader of a net, in sides of the mean cell, as in `rule_sides`.

    Parameters
    ----------
    laid_out : LaidOut
        Netlist and lengths.
    toggles : ndarray of float64, shape (nets,), optional
        Toggles of each net, which weigh its wire and its readers as energy does; all nets weigh the same if not given.

    Raises
    ------
    InputError
        If the layout has no placement.
    """
    if laid_out.lengths is None:
        raise InputError("the layout has no placement, only wires")
    return laid_out.lengths.per_fanout(toggles) / _mean_side(laid_out.netlist)


def find_wires(netlist: Netlist, library: Library, layout: ChipLayout, process: str, progress: Progress) -> LaidOut:
    """Place a netlist, or read its layout, and find its wires.

    Parameters
    ----------
    netlist : Netlist
        The netlist that we mapped.
    library : Library
        Its cells.
    layout : ChipLayout
        Where the wires come from.
    process : str
        Name of the process, whose LEF files are taken if `layout` names none.
    progress : callable
        Called with (stage, done, total).

    Returns
    -------
    LaidOut
        Netlist and wires. Nets of the clock network get none from a placement: the estimate of the clock tree has them.

    Raises
    ------
    InputError
        If a file cannot be used, with its name and line, or the user's netlist has other memory macros than ours.
    ToolError
        If coloquinte or Yosys is missing.
    """
    original = netlist
    placement = lengths = lef = None
    try:
        if layout.netlist is not None:
            netlist = _read_netlist(Path(layout.netlist), library, original)
        if layout.spef is not None:
            wires = read_spef(Path(layout.spef), netlist)
        else:
            lef = read_lef(map(Path, layout.lef) if layout.lef else find_lef(process, os.environ.get("PDK_ROOT")))
            clocks = set(np.flatnonzero(clock_nets(netlist, "clk")).tolist())
            if layout.placed is not None:
                placement = read_def(Path(layout.placed), netlist, lef)
            else:
                placement = place_cells(netlist, lef, layout.placement, ignored=clocks, progress=progress)
            lengths = measure_wires(netlist, lef, placement, clocks)
            wires = _placed_wires(lengths, placement)
    except (PdkError, OutlineError, FileFormatError) as error:
        raise InputError(str(error)) from None
    if layout.netlist is not None:
        netlist = with_original_names(netlist, original)
    return LaidOut(netlist, wires, placement, lengths, lef)


def _read_netlist(path: Path, library: Library, original: Netlist) -> Netlist:
    """The user's netlist of ours."""
    netlist = read_verilog_netlist(path, library, original)
    expected, found = _macros(original), _macros(netlist)
    if expected != found:
        raise FileFormatError(
            path, None, f"memory macros {_listed(expected)} were expected, not {_listed(found)}"
        )
    return netlist


def _macros(netlist: Netlist) -> Counter[str]:
    """Number of memory macros by cell."""
    return Counter(instance.cell.name for instance in netlist.instances if instance.cell.memory is not None)


def _listed(macros: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(macros.items())) or "none"


def _placed_wires(lengths: WireLengths, placement: CellPlacement) -> NetWires:
    mean = lengths.steiner.sum() / max(1, np.count_nonzero(lengths.steiner))
    return NetWires(
        lengths.steiner * WIRE,
        f"{placement.source}; Steiner trees of {lengths.steiner.sum() * 1e-3:.4g} mm ({mean:.3g} um a net, "
        f"{lengths.per_fanout():.3g} um a reader) at {WIRE * 1e15:g} fF/um, without detours of the router",
    )


def write_layout(laid_out: LaidOut, folder: str | os.PathLike[str]) -> list[Path]:
    """Write a layout for other tools: ``layout.v``, ``layout.spef``, and with a placement ``layout.def``.

    Parameters
    ----------
    laid_out : LaidOut
        From `lay_out`.
    folder : path-like
        Made if it does not exist.

    Returns
    -------
    list of Path
        The files. All use the plain names of `Netlist.to_verilog`, so they can be read back as `ChipLayout`.
    """
    target, netlist = Path(folder), laid_out.netlist
    target.mkdir(parents=True, exist_ok=True)
    texts = {"layout.v": netlist.to_verilog(), "layout.spef": write_spef(netlist, laid_out.wires)}
    if laid_out.placement is not None:
        texts["layout.def"] = write_def(netlist, laid_out.placement)
    for name, text in texts.items():
        write_whole(target / name, text.encode())
    return [target / name for name in texts]
