"""How often every net changes, and how long it is high."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist

__all__ = ["SHORTEST", "Activity", "MacroAccesses", "clock_nets"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SHORTEST = 1e-6
"""Least part of the time for which a net that changes is high, or low."""


@dataclass(frozen=True, eq=False)
class MacroAccesses:
    """Accesses of a memory macro. They count its pins jointly, which the activity of single nets does not give.

    Parameters
    ----------
    edges : ndarray of float64, shape (2, 2, 2)
        Rising clock edges per cycle by the values of the enable, the write and the read pin at the edge, in this order
        of the axes: ``edges[1, 0, 1]`` are reads, ``edges[1, 1, 0]`` are writes.
    enabled : dict of str to float
        Changes per cycle of each input pin but the clock, as far as the enable is high when the pins have settled.
    """

    edges: FloatArray
    enabled: Mapping[str, float]

    @property
    def reads(self) -> float:
        """Reads per cycle."""
        return float(self.edges[1, 0, 1])

    @property
    def writes(self) -> float:
        """Writes per cycle, including those with a read at the same time."""
        return float(self.edges[1, 1].sum())

    @property
    def idle(self) -> float:
        """Clock edges per cycle without an access."""
        return float(self.edges.sum()) - self.reads - self.writes


@dataclass(frozen=True, eq=False)
class Activity:
    """Activity of the nets of a netlist, averaged over a run.

    Parameters
    ----------
    period : float
        Clock period of the run in seconds.
    cycles : float
        Clock cycles that were counted.
    toggles : ndarray of float64, shape (nets,)
        Changes per clock cycle; the clock itself has 2. With delays, a partial swing is a part of a change.
    duty : ndarray of float64, shape (nets,)
        Part of the time at 1.
    known : ndarray of bool, shape (nets,)
        Whether the net was counted.
    source : str
        Origin of the activity, for reports.
    accesses : dict of int to MacroAccesses
        Accesses of each memory macro, by the index of its instance; empty if pins were not observed jointly.
    runs : int
        Independent runs that it is the mean of.
    parts : tuple of (float, Activity)
        The counted activities that it is a sum of, each with its weight; empty if it was counted itself. A weight
        below 0 takes idle time off, where frames overlap in the hardware but were counted one by one. The idle time
        that was counted is a sample, so duties of such a sum may lie outside 0 to 1.
    settled : Activity or None
        The same without glitches: changes from one settled value to another. None if there were no delays.
    changes : ndarray of float64, shape (nets,), or None
        Changes per clock cycle with every partial swing counted as a whole one; None if there were no delays.
    settled_after : float
        Seconds from an edge of the clock to the last change after it, the longest of all cycles; 0 without delays.
    """

    period: float
    cycles: float
    toggles: FloatArray
    duty: FloatArray
    known: BoolArray
    source: str
    accesses: Mapping[int, MacroAccesses] = field(default_factory=dict)
    runs: int = 1
    parts: "tuple[tuple[float, Activity], ...]" = ()
    settled: "Activity | None" = None
    changes: FloatArray | None = None
    settled_after: float = 0.0

    def whole_swings(self) -> "Activity":
        """The same with every partial swing counted as a whole one."""
        if self.changes is None:
            return self
        parts = tuple((weight, part.whole_swings()) for weight, part in self.parts)
        return replace(self, toggles=self.changes, parts=parts)

    def coverage(self, netlist: Netlist) -> float:
        """Part of the instances' pins whose net was counted, 0 to 1."""
        pins = [net for instance in netlist.instances for net in instance.nets.values()]
        return float(np.mean(self.known[pins])) if pins else 1.0

    def bounded(self) -> "Activity":
        """The activity with duties between 0 and 1.

        Where frames overlap, a sample of idle time is subtracted from the counts, so that duties may lie outside. The
        guards refuse activities of which that is not the cause.
        """
        least = np.where(self.toggles > 0, SHORTEST, 0.0)
        return replace(self, duty=np.clip(self.duty, least, 1 - least))


@functools.lru_cache(maxsize=2)
def clock_nets(netlist: Netlist, clock: str) -> BoolArray:
    """Find the nets of the clock network, which the clock reaches through clock gates and cells without state.

    Parameters
    ----------
    netlist : Netlist
        Any.
    clock : str
        Name of the input port.

    Returns
    -------
    ndarray of bool, shape (nets,)
        Whether each net belongs to the clock network. Read-only: the same netlist gives the same array again.

    Raises
    ------
    ValueError
        If there is no such port of one bit.
    """
    if len(netlist.inputs.get(clock, ())) != 1:
        raise ValueError(f"the netlist {netlist.top} has no input port {clock!r} of one bit")
    reached = np.zeros(netlist.nets, dtype=bool)
    reached[netlist.inputs[clock][0]] = True
    passing = []
    for instance in netlist.instances:
        cell = instance.cell
        gate = [pin.name for pin in cell.pins.values() if pin.role == "clock"] if cell.clock_gating else []
        plain = () if cell.clock_gating or cell.sequentials or cell.memory is not None else cell.inputs
        passing += [(instance.nets[pin], instance.nets[output]) for pin in (*gate, *plain) for output in cell.outputs]
    changed = True
    while changed:
        changed = False
        for source, target in passing:
            if reached[source] and not reached[target]:
                reached[target] = changed = True
    reached.setflags(write=False)
    return reached
