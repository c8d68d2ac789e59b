"""Loads and transition times, with which the library's tables are looked up."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import NetWires, WireLoad
from lmu_hw.cells.library import Cell, TimingArc
from lmu_hw.cells.netlist import HIGH, LOW, Netlist

__all__ = [
    "Loads",
    "Stage",
    "causing_edges",
    "constant_nets",
    "find_loads",
    "find_stages",
    "find_transitions",
    "longest_edge",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Loads:
    """Capacitance of every net.

    Parameters
    ----------
    rise, fall : ndarray of float64, shape (nets,)
        In farad, for rising and falling edges.
    """

    rise: FloatArray
    fall: FloatArray

    @property
    def largest(self) -> FloatArray:
        """The larger of the two, which energies are computed with."""
        return np.maximum(self.rise, self.fall)


def find_loads(
    netlist: Netlist,
    wires: WireLoad | NetWires | None = None,
    *,
    upper: bool = False,
) -> Loads:
    """Find the capacitance that each net presents to its driver: pins and wire.

    Parameters
    ----------
    netlist : Netlist
        Any.
    wires : WireLoad or NetWires, optional
        Rule for wires, or the wire of each net; no wires if not given.
    upper : bool
        Whether to take the upper ends of the pins' capacitance ranges.

    Returns
    -------
    Loads
        The constants' nets included.

    Raises
    ------
    ValueError
        If `wires` are those of a netlist with another number of nets.
    """
    rise, fall = np.zeros(netlist.nets), np.zeros(netlist.nets)
    for instance in netlist.instances:
        for name, net in instance.nets.items():
            pin = instance.cell.pins[name]
            rise[net] += pin.upper_rise_capacitance if upper else pin.rise_capacitance
            fall[net] += pin.upper_fall_capacitance if upper else pin.fall_capacitance
    if isinstance(wires, NetWires):
        if wires.capacitance.shape != (netlist.nets,):
            raise ValueError(f"wires of {netlist.nets} nets were expected, not {wires.capacitance.shape[0]}")
        wire = wires.capacitance
    else:
        wire = _wire_by_rule(netlist, WireLoad() if wires is None else wires)
    return Loads(rise + wire, fall + wire)


def _wire_by_rule(netlist: Netlist, rule: WireLoad) -> FloatArray:
    """Wire of each net before layout, in farad."""
    readers, touched = np.zeros(netlist.nets), np.zeros(netlist.nets, dtype=bool)
    area = 0.0
    for instance in netlist.instances:
        area += instance.cell.area
        for name, net in instance.nets.items():
            readers[net] += instance.cell.pins[name].direction != "output"
            touched[net] = True
    wire: FloatArray = rule.fixed * touched + (rule.per_fanout + rule.per_pin_area * np.sqrt(area)) * readers
    return wire


@dataclass(frozen=True, eq=False, repr=False)
class Stage:
    """All instances of a cell on a level of a netlist.

    Parameters
    ----------
    cell : Cell
        The cell.
    instances : ndarray of int64, shape (n,)
        Their indices.
    nets : dict of str to ndarray of int64, shape (n,)
        Net of each pin.
    """

    cell: Cell
    instances: IntArray
    nets: dict[str, IntArray]

    def arcs(self) -> Iterator[tuple[str, TimingArc]]:
        """Output pins and the arcs that end at them."""
        for name in self.cell.outputs:
            for arc in self.cell.pins[name].timing:
                if arc.related in self.cell.pins:
                    yield name, arc


def find_stages(netlist: Netlist) -> list[Stage]:
    """Order the instances so that every input is known before it is needed.

    Parameters
    ----------
    netlist : Netlist
        Any.

    Returns
    -------
    list of Stage
        Stages by level, then by cell.

    Raises
    ------
    NetlistError
        If there is a loop without a flip-flop in it.
    """
    level = netlist.levels()
    order: dict[tuple[int, str], list[int]] = {}
    for index, instance in enumerate(netlist.instances):
        order.setdefault((int(level[index]), instance.cell.name), []).append(index)
    stages = []
    for key in sorted(order):
        members = [netlist.instances[index] for index in order[key]]
        nets = {name: np.array([member.nets[name] for member in members]) for name in members[0].nets}
        stages.append(Stage(members[0].cell, np.array(order[key]), nets))
    return stages


def constant_nets(netlist: Netlist) -> BoolArray:
    """Find the nets that never change: constants, and nets that cells without inputs drive.

    Parameters
    ----------
    netlist : Netlist
        Any.

    Returns
    -------
    ndarray of bool, shape (nets,)
        Whether each net is constant.
    """
    constant = np.zeros(netlist.nets, dtype=bool)
    constant[[LOW, HIGH]] = True
    for instance in netlist.instances:
        if not instance.cell.inputs:
            constant[list(instance.nets.values())] = True
    return constant


def causing_edges(arc: TimingArc, *, rising: bool) -> tuple[bool, ...]:
    """Input edges that can cause an output edge.

    Parameters
    ----------
    arc : TimingArc
        Arc from the input to the output.
    rising : bool
        The output's edge.

    Returns
    -------
    tuple of bool
        True for a rising input.
    """
    if arc.kind.startswith(("rising_edge", "falling_edge")):
        return (arc.kind == "rising_edge",)
    if arc.kind in ("preset", "clear") and rising != (arc.kind == "preset"):
        return ()
    if arc.sense in ("positive_unate", "negative_unate"):
        return (rising == (arc.sense == "positive_unate"),)
    return (True, False)


def find_transitions(netlist: Netlist, loads: Loads, input_slew: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Find the transition times of all nets, the longest over the arcs that end at a net.

    Parameters
    ----------
    netlist : Netlist
        Any.
    loads : Loads
        From `find_loads`.
    input_slew : float
        Transition time at input ports in seconds.

    Returns
    -------
    rise, fall : ndarray of float64, shape (nets,)
        In seconds; 0 for nets that never change.
    """
    slews = {edge: np.zeros(netlist.nets) for edge in (True, False)}
    for nets in netlist.inputs.values():
        for slew in slews.values():
            slew[list(nets)] = input_slew
    live = ~constant_nets(netlist)
    for stage in find_stages(netlist):
        for name, arc in stage.arcs():
            source, out = stage.nets[arc.related], stage.nets[name]
            for rising, table in ((True, arc.slew_rise), (False, arc.slew_fall)):
                load = loads.rise if rising else loads.fall
                for edge in causing_edges(arc, rising=rising):
                    if table is not None:
                        value = np.where(live[source], table(slews[edge][source], load[out]), 0.0)
                        slews[rising][out] = np.maximum(slews[rising][out], value)
    return slews[True], slews[False]


def longest_edge(netlist: Netlist) -> float:
    """Longest transition time that every pin of a netlist's cells allows; memory macros are left out.

    Parameters
    ----------
    netlist : Netlist
        Any.

    Returns
    -------
    float
        In seconds; infinite if the library sets no limits.
    """
    cells = {instance.cell.name: instance.cell for instance in netlist.instances if instance.cell.memory is None}
    limits = [pin.max_transition for cell in cells.values() for pin in cell.pins.values() if pin.max_transition]
    return min(limits, default=math.inf)
