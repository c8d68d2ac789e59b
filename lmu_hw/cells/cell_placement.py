"""Where the cells of a netlist stand, and how long its wires are."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.lef import Lef, LefMacro, Site
from lmu_hw.cells.library import Cell
from lmu_hw.cells.netlist import HIGH, Netlist
from lmu_hw.cells.steiner import half_perimeters, steiner_lengths

__all__ = ["CellPlacement", "CellRow", "OutlineError", "WireLengths", "find_outlines", "measure_wires", "turn_pin"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODEL_ASPECT = 2.0
"""Width over height of a memory macro that is a model, for which no LEF exists."""


class OutlineError(ValueError):
    """The LEF files lack a cell or a pin of a netlist."""


@dataclass(frozen=True)
class CellRow:
    """A row of sites.

    Parameters
    ----------
    x, y : float
        Lower left corner in micrometre.
    sites : int
        Number of sites.
    flipped : bool
        Whether cells stand upside down (orientation FS), so that neighbouring rows share supply rails.
    """

    x: float
    y: float
    sites: int
    flipped: bool


@dataclass(frozen=True, eq=False)
class CellPlacement:
    """Places of all cells and ports of a netlist.

    Parameters
    ----------
    die : tuple of float
        Lower left and upper right corner (x, y, x, y) in micrometre.
    site : Site or None
        Of the rows; None if it is not known.
    rows : tuple of CellRow
        From the lowest up.
    x, y : ndarray of float64, shape (instances,)
        Lower left corner of each instance, after it is turned, in micrometre.
    orientations : tuple of str
        Of each instance, as DEF has them: N, S, E, W, FN, FS, FE, FW.
    fixed : ndarray of bool, shape (instances,)
        Whether the instance was put by rule: memory macros.
    ports : dict of str to tuple of (float, float)
        Place of each bit of each port, in micrometre.
    source : str
        One line on where it comes from, for reports.
    """

    die: tuple[float, float, float, float]
    site: Site | None
    rows: tuple[CellRow, ...]
    x: FloatArray
    y: FloatArray
    orientations: tuple[str, ...]
    fixed: NDArray[np.bool_]
    ports: dict[str, tuple[tuple[float, float], ...]]
    source: str

    @property
    def area(self) -> float:
        """Area of the die in square micrometre."""
        left, bottom, right, top = self.die
        return (right - left) * (top - bottom)


@dataclass(frozen=True, eq=False)
class WireLengths:
    """Wires of a placement.

    Parameters
    ----------
    half_perimeter : ndarray of float64, shape (nets,)
        Half perimeter of the box around each net's pins in micrometre.
    steiner : ndarray of float64, shape (nets,)
        Length of the estimated Steiner tree of each net in micrometre (`lmu_hw.cells.steiner`).
    readers : ndarray of int64, shape (nets,)
        Input pins of cells on each net.
    """

    half_perimeter: FloatArray
    steiner: FloatArray
    readers: IntArray

    def per_fanout(self, weights: FloatArray | None = None) -> float:
        """Micrometre of Steiner tree per reader: the sum over all nets by the sum of their readers.

        Parameters
        ----------
        weights : ndarray of float64, shape (nets,), optional
            Weight of each net, such as its toggles; all equal if not given.
        """
        weights = np.ones(self.steiner.shape) if weights is None else weights
        return float((weights * self.steiner).sum() / (weights * self.readers).sum())


def find_outlines(netlist: Netlist, lef: Lef) -> dict[str, LefMacro]:
    """Outline of each cell of a netlist.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    lef : Lef
        From `lmu_hw.cells.lef.read_lef`.

    Returns
    -------
    dict of str to LefMacro
        By name of the cell. A memory macro that the LEF files lack gets a box of its Liberty area, twice as wide as
        high, with its pins evenly along the lower edge.

    Raises
    ------
    OutlineError
        If a cell or one of its pins is missing.
    """
    cells = {instance.cell.name: instance.cell for instance in netlist.instances}
    outlines = {}
    for name, cell in sorted(cells.items()):
        macro = lef.macros.get(name)
        if macro is None and cell.memory is not None:
            macro = _box(cell)
        if macro is None:
            listed = ", ".join(path.name for path in lef.files) or "no files"
            raise OutlineError(f"the LEF files have no cell {name} ({listed})")
        for pin in (*cell.inputs, *cell.outputs):
            if pin not in macro.pins:
                raise OutlineError(f"cell {name} has no pin {pin} in the LEF files")
        outlines[name] = macro
    return outlines


def _box(cell: Cell) -> LefMacro:
    """Outline of a memory macro without LEF."""
    width = math.sqrt(MODEL_ASPECT * cell.area)
    pins = (*cell.inputs, *cell.outputs)
    centres = {pin: (width * (index + 0.5) / len(pins), 0.0) for index, pin in enumerate(pins)}
    return LefMacro(cell.name, "BLOCK", width, cell.area / width, "", centres)


def turn_pin(macro: LefMacro, pin: str, orientation: str) -> tuple[float, float]:
    """Place of a pin of a turned macro, from the macro's lower left corner, in micrometre.

    Parameters
    ----------
    macro : LefMacro
        The outline.
    pin : str
        One of its pins.
    orientation : str
        N, S, E, W, FN, FS, FE or FW, as in DEF.
    """
    (x, y), (width, height) = macro.pins[pin], (macro.width, macro.height)
    return {
        "N": (x, y),
        "S": (width - x, height - y),
        "W": (height - y, x),
        "E": (y, width - x),
        "FN": (width - x, y),
        "FS": (x, height - y),
        "FW": (y, x),
        "FE": (height - y, width - x),
    }[orientation]


def _pins(
    netlist: Netlist, outlines: dict[str, LefMacro], placement: CellPlacement
) -> Iterator[tuple[int, float, float]]:
    """Net and place of every pin and port bit."""
    turned: dict[tuple[str, str, str], tuple[float, float]] = {}
    for index, instance in enumerate(netlist.instances):
        cell, orientation = instance.cell.name, placement.orientations[index]
        left, bottom = float(placement.x[index]), float(placement.y[index])
        for pin, net in instance.nets.items():
            key = cell, pin, orientation
            if key not in turned:
                turned[key] = turn_pin(outlines[cell], pin, orientation)
            x, y = turned[key]
            yield net, left + x, bottom + y
    for group in (netlist.inputs, netlist.outputs):
        for name, nets in group.items():
            for net, (x, y) in zip(nets, placement.ports[name], strict=True):
                yield net, x, y


def measure_wires(netlist: Netlist, lef: Lef, placement: CellPlacement, ignored: Iterable[int] = ()) -> WireLengths:
    """Measure the wires of a placement.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    lef : Lef
        Their outlines.
    placement : CellPlacement
        Their places.
    ignored : iterable of int
        Nets that get no wires beside the constants: those of a clock network whose tree is estimated apart.

    Returns
    -------
    WireLengths
        Of each net.

    Raises
    ------
    OutlineError
        If the LEF files lack a cell or a pin.
    """
    nets, x, y = (
        np.array(values) for values in zip(*_pins(netlist, find_outlines(netlist, lef), placement), strict=True)
    )
    wired = np.ones(netlist.nets, dtype=bool)
    wired[list(ignored)] = False
    wired[: HIGH + 1] = False
    kept = wired[nets]
    nets, x, y = nets[kept], x[kept], y[kept]
    order = np.argsort(nets, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(nets, minlength=netlist.nets))])
    x, y = x[order], y[order]
    readers = np.where(wired, netlist.readers(), 0)
    return WireLengths(half_perimeters(x, y, starts), steiner_lengths(x, y, starts), readers)
