"""Delays and transition times of a netlist as arrays for the compiled simulator.

The clock network is ideal: its nets move at the edge, without skew. The output of a flip-flop moves after the delay
from its clock pin, and so does that of a memory macro. The output of any other cell moves after the delay from the
input that changed. Input ports change at the edge.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.library import Cell
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.timing import find_delays
from lmu_hw.cells.transitions import constant_nets
from lmu_hw.power.activity import clock_nets
from lmu_hw.power.engine import find_edges
from lmu_sim.gate_nodes import CompiledNetlist, GateError, NodePins

__all__ = ["RESOLUTION", "GateDelays", "find_gate_delays"]

Int32Array = NDArray[np.int32]

RESOLUTION = 1e-13
"""Step of all times in seconds."""

Edges = tuple[float, float]
"""Seconds to a rising and to a falling edge."""


@dataclass(frozen=True, eq=False)
class GateDelays:
    """Delays of a compiled netlist, in steps of `RESOLUTION`.

    Parameters
    ----------
    inputs : ndarray of int32, shape (inputs + 1, 2)
        Delay from each input of each node to a rising and a falling edge of the node's output.
    macros : ndarray of int32, shape (outputs, 2)
        Delay from the clock to each output of each memory macro.
    transitions : ndarray of int32, shape (nets, 2)
        Rise and fall time of the net in each slot.
    """

    inputs: Int32Array
    macros: Int32Array
    transitions: Int32Array


def find_gate_delays(netlist: Netlist, compiled: CompiledNetlist, conditions: Conditions) -> GateDelays:
    """Find the delays of a netlist from the library's tables, by transition time and load.

    Parameters
    ----------
    netlist : Netlist
        Any.
    compiled : CompiledNetlist
        Of the netlist.
    conditions : Conditions
        Wires, transition times, clock. No edge is slower than the conditions say; loads are those of the netlist.

    Returns
    -------
    GateDelays
        Negative delays of the tables become 0.

    Raises
    ------
    GateError
        If the library has no delay for a pin that can change.
    """
    rise, fall = find_edges(netlist, conditions)
    arcs: dict[tuple[int, str, str], Edges] = {}
    for arc in find_delays(netlist, conditions, (rise, fall)):
        keys = ((index, arc.related, arc.output) for index in arc.instances.tolist())
        arcs.update(zip(keys, zip(arc.rise.tolist(), arc.fall.tolist(), strict=True), strict=True))
    ideal = clock_nets(netlist, conditions.clock)
    fixed = ideal | constant_nets(netlist)
    delays: list[Edges] = []
    for pins in compiled.pins:
        delays += _node_delays(netlist, pins, arcs, fixed)
    macros = [
        arcs[placed.instance, placed.macro.clock, pin] for placed in compiled.macros for pin in placed.macro.data_out
    ]
    transitions = np.zeros((compiled.nets, 2), dtype=np.int32)
    transitions[compiled.slots[: netlist.nets]] = _steps(np.stack([rise, fall], axis=1))
    return GateDelays(_steps(np.array([*delays, (0.0, 0.0)])), _steps(np.array(macros).reshape(-1, 2)), transitions)


def _steps(seconds: NDArray[np.float64]) -> Int32Array:
    steps: NDArray[np.float64] = np.rint(seconds / RESOLUTION)
    return np.ascontiguousarray(np.clip(steps, 0, np.iinfo(np.int32).max // 2).astype(np.int32))


def _node_delays(
    netlist: Netlist, pins: NodePins, arcs: dict[tuple[int, str, str], Edges], fixed: NDArray[np.bool_]
) -> list[Edges]:
    """Delays from the inputs of a node: none where its output is a state, a constant or a net of the clock."""
    instance = netlist.instances[pins.instance]
    if pins.output not in instance.cell.pins or fixed[instance.nets[pins.output]]:
        return [(0.0, 0.0)] * len(pins.inputs)
    delays = []
    for name in pins.inputs:
        related = (name,) if name in instance.cell.pins else _controls(instance.cell)
        found = [arcs[key] for pin in related if (key := (pins.instance, pin, pins.output)) in arcs]
        moves = [pin for pin in related if not fixed[instance.nets[pin]]] or name not in instance.cell.pins
        if not found and moves:
            raise GateError(f"the library has no delay from {name} to {pins.output} of {instance.cell.name}")
        delays.append((max((edge[0] for edge in found), default=0.0), max((edge[1] for edge in found), default=0.0)))
    return delays


def _controls(cell: Cell) -> tuple[str, ...]:
    """Inputs that a change of the state comes from: the clock of a flip-flop, clock and data of a latch."""
    names: set[str] = set()
    for element in cell.sequentials:
        for function in (element.clock, element.data if element.kind == "latch" else None):
            names.update(() if function is None else function.pins)
    return tuple(name for name in cell.inputs if name in names)
