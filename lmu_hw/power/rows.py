"""The rows of a report: the part of an accelerator that each cell belongs to."""

import re
from dataclasses import replace

import numpy as np

from lmu_hw.cells.library import Cell
from lmu_hw.cells.netlist import Netlist
from lmu_hw.power.result import BlockPower, Power

__all__ = ["OTHER", "ROWS", "core_path", "power_rows", "row_of"]

ROWS = (
    "weight memory",
    "state memory",
    "multipliers",
    "accumulators",
    "finish",
    "control",
    "interface",
    "clock",
)
"""Every row, in the order of a report.

``finish`` holds biases, narrowing and activation with their parameters. ``control`` holds the sequencer, the fetch
and the multiplexers of the core's top level. ``interface`` holds the streams' ends and wrappers. ``clock`` holds
clock gates and the clock pins of flip-flops.
"""

OTHER = "other"
"""Row of a block of the core that is not known here; real designs have none."""

BLOCKS = {
    "memory_weights": "weight memory",
    "memory_parameters": "finish",
    "memory_": "state memory",
    "lanes.operands": "multipliers",
    "lanes.multiply": "multipliers",
    "lanes.accumulate": "accumulators",
    "engine.accumulate": "accumulators",
    "engine": "multipliers",
    "finish": "finish",
    "sequencer": "control",
    "fetch": "control",
    "input": "interface",
    "level_gate": "interface",
    "output": "interface",
}
"""Row by the start of a path in the core; the first that fits."""


def core_path(netlist: Netlist) -> str:
    """Find the path of the accelerator's core in a netlist: empty if it is the top, ``core`` in a wrapper.

    Parameters
    ----------
    netlist : Netlist
        Netlist of an accelerator.

    Returns
    -------
    str
        Parts joined by dots; nothing too if the design has no core.
    """
    for block in netlist.blocks():
        match = re.match(r"(.*?)(^|\.)lanes(\.|$)", block)
        if match:
            return match[1]
    return ""


def row_of(block: str, cell: Cell, core: str = "") -> str:
    """Row that a cell belongs to.

    Parameters
    ----------
    block : str
        Path of the module instance that it is in, `Instance.block`.
    cell : Cell
        The cell: clock gates are clock wherever they are.
    core : str
        Path of the accelerator's core, from `core_path`.

    Returns
    -------
    str
        One of `ROWS`, or `OTHER`.
    """
    if cell.clock_gating:
        return "clock"
    if core:
        if block != core and not block.startswith(f"{core}."):
            return "interface"
        block = block[len(core) + 1 :]
    if not block:
        return "control"
    return next((row for start, row in BLOCKS.items() if block.startswith(start)), OTHER)


def power_rows(power: Power) -> dict[str, BlockPower]:
    """Sum power by row. Energy at pins and nets of the clock network goes to the clock's row.

    Parameters
    ----------
    power : Power
        Power of an accelerator.

    Returns
    -------
    dict of str to BlockPower
        Sums in the order of `ROWS`, including rows without cells. They add up to `Power.total`.
    """
    core = core_path(power.netlist)
    rows = np.array([row_of(instance.block, instance.cell, core) for instance in power.netlist.instances])
    names = [*ROWS, *([OTHER] if OTHER in rows else [])]
    sums = {name: power.sum_of(np.flatnonzero(rows == name)) for name in names}
    for name in names:
        if name != "clock":
            internal = float(power.clock_internal[rows == name].sum())
            switching = float(power.clock_switching[rows == name].sum())
            sums[name] = _add(sums[name], -internal, -switching)
            sums["clock"] = _add(sums["clock"], internal, switching)
    return sums


def _add(row: BlockPower, internal: float, switching: float) -> BlockPower:
    return replace(row, internal=row.internal + internal, switching=row.switching + switching)
