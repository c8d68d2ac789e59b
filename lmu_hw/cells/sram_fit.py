"""Fit the coefficients of the SRAM model to the macros of IHP SG13G2."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lmu_hw.cells.library import Cell, Library
from lmu_hw.cells.memory_cost import clock_energy
from lmu_hw.cells.special import mean_leakage
from lmu_hw.cells.sram import Macro, find_macro
from lmu_hw.cells.sram_model import features, yardsticks

__all__ = ["fit_sram_model"]

FloatArray = NDArray[np.float64]

SOURCE = (
    "18 single-port macros RM_IHPSG13_1P_* of the IHP-Open-PDK (Apache-2.0), Liberty files of the typical corner, "
    "1.2 V, 25 degrees Celsius"
)


def _fit(values: list[float], rows: FloatArray) -> tuple[list[float], float]:
    """Non-negative coefficients with the least sum of squared relative errors, and the largest of these errors."""
    target = np.array(values)
    coefficients, _ = nnls(rows / target[:, None], np.ones(target.size))
    errors = rows @ coefficients / target - 1
    return [float(f"{coefficient:.6g}") for coefficient in coefficients], float(f"{np.abs(errors).max():.3g}")


def _columns(cell: Cell) -> int:
    """Columns that share a sense amplifier. IHP's names give the power of two."""
    match = re.search(r"_c(\d+)(_|$)", cell.name)
    if match is None:
        raise ValueError(f"the name of the macro {cell.name} does not tell its column multiplexer")
    return 1 << int(match[1])


def _output(cell: Cell, macro: Macro) -> tuple[float, float, float, float]:
    """Delay of an output without load in seconds, its slope per farad, and the same for the transition time."""
    pin = cell.pins[macro.data_out[0]]
    arc = next(arc for arc in pin.timing if arc.related == macro.clock)
    most = pin.max_capacitance or 0.0
    figures = []
    for pair in ((arc.delay_rise, arc.delay_fall), (arc.slew_rise, arc.slew_fall)):
        start, end = (max(float(table(5e-11, load)) for table in pair if table is not None) for load in (0.0, most))
        figures += [start, (end - start) / most]
    return figures[0], figures[1], figures[2], figures[3]


def fit_sram_model(library: Library) -> dict[str, Any]:
    """Fit the SRAM model.

    Parameters
    ----------
    library : Library
        Cells and macros of IHP SG13G2.

    Returns
    -------
    dict
        Contents of ``lmu_hw/cells/sram_model.json``, in SI units and square micrometres.

    Raises
    ------
    ValueError
        If the library has no SRAM macros, or the name of one has no column multiplexer.
    """
    pairs = [(cell, macro) for cell in library.cells.values() if (macro := find_macro(cell)) is not None]
    if not pairs:
        raise ValueError(f"the library {library.name} has no SRAM macros to fit the model to")
    most = min(pin.max_capacitance or 0.0 for cell, macro in pairs for pin in (cell.pins[macro.data_out[0]],))
    rows = np.array([features(macro.depth, macro.width, _columns(cell)) for cell, macro in pairs])
    outputs = np.array([_output(cell, macro) for cell, macro in pairs])
    measured = {
        "read": [clock_energy(cell, macro, 1, 1, 0) for cell, macro in pairs],
        "write": [clock_energy(cell, macro, 1, 0, 1) for cell, macro in pairs],
        "area": [cell.area for cell, _ in pairs],
        "delay": outputs[:, 0].tolist(),
    }
    fitted = {name: _fit(values, rows) for name, values in measured.items()}
    scale = yardsticks(library)
    bits = np.array([macro.depth * macro.width for _, macro in pairs])
    leakage = np.array([mean_leakage(cell) for cell, _ in pairs]) / bits

    def pin(names: Callable[[Macro], tuple[str, ...]]) -> float:
        """Mean capacitance of pins, in NAND inputs."""
        values = [cell.pins[name].rise_capacitance for cell, macro in pairs for name in names(macro)]
        return float(f"{np.mean(values) / scale.capacitance:.4g}")

    return {
        "source": SOURCE,
        "features": "1, rows, width, width * columns, width * depth; depth = rows * columns",
        "coefficients": {name: entry[0] for name, entry in fitted.items()},
        "largest_error": {name: entry[1] for name, entry in fitted.items()},
        "leakage_per_bit_in_inverters": float(f"{leakage.mean() / scale.leakage:.4g}"),
        "pin_capacitance_in_nand_inputs": {
            "clock": pin(lambda macro: (macro.clock,)),
            "address": pin(lambda macro: macro.address),
            "data": pin(lambda macro: macro.data_in),
            "control": pin(lambda macro: (macro.enable, macro.read, macro.write)),
        },
        "output": {
            "delay_per_farad": float(f"{outputs[:, 1].mean():.4g}"),
            "transition": float(f"{outputs[:, 2].mean():.4g}"),
            "transition_per_farad": float(f"{outputs[:, 3].mean():.4g}"),
            "most_load_in_nand_inputs": float(f"{most / scale.capacitance:.4g}"),
        },
        "yardsticks": {name: float(f"{value:.6g}") for name, value in vars(scale).items()},
    }
