"""Exact counts of the activity of a netlist; they add up over runs, frames and simulators."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist
from lmu_hw.power.activity import Activity, MacroAccesses

__all__ = ["AccessCounts", "NetCounts"]

Numbers = NDArray[Any]
"""Of int64 as counted, of float64 when scaled."""


@dataclass(frozen=True, eq=False)
class AccessCounts:
    """Accesses to a memory macro.

    Parameters
    ----------
    edges : ndarray of int64 or float64, shape (2, 2, 2)
        Rising clock edges by the values of the enable, the write and the read pin at the edge.
    changes : dict of str to int or float
        Cycles at whose end an input pin had another value than at the end of the cycle before.
    enabled : dict of str to int or float
        Those of them at whose end the enable was high.
    glitches, enabled_glitches : dict of str to int or float
        Further changes of the pin within a cycle, of all cycles and of those at whose end the enable was high.
    """

    edges: Numbers
    changes: Mapping[str, float]
    enabled: Mapping[str, float]
    glitches: Mapping[str, float]
    enabled_glitches: Mapping[str, float]

    def __add__(self, other: "AccessCounts") -> "AccessCounts":
        pairs = zip(self._pins(), other._pins(), strict=True)
        sums = ({pin: count + others[pin] for pin, count in counts.items()} for counts, others in pairs)
        return AccessCounts(self.edges + other.edges, *sums)

    def _pins(self) -> tuple[Mapping[str, float], ...]:
        return self.changes, self.enabled, self.glitches, self.enabled_glitches

    def scaled(self, factor: float) -> "AccessCounts":
        """All counts times a factor."""
        counts = ({pin: count * factor for pin, count in pins.items()} for pins in self._pins())
        return AccessCounts(self.edges * factor, *counts)

    def enabled_part(self, pin: str, *, settled: bool) -> float:
        """Part of the changes of a pin that belongs to cycles with the enable high, of settled values or of all."""
        changes = self.changes[pin] + (0 if settled else self.glitches[pin])
        enabled = self.enabled[pin] + (0 if settled else self.enabled_glitches[pin])
        return enabled / changes if changes else 0.0


@dataclass(frozen=True, eq=False)
class NetCounts:
    """Counts of all nets, added up over the runs that were counted; integers until they are `scaled`.

    Parameters
    ----------
    half_cycles : int or float
        Time that was counted, in half clock cycles.
    toggles : ndarray of int64 or float64, shape (nets,)
        Changes from one settled value to another.
    high : ndarray of int64 or float64, shape (nets,)
        Half clock cycles at 1.
    accesses : dict of int to AccessCounts
        Of each memory macro, by the index of its instance.
    counted : ndarray of bool, shape (nets,)
        Nets that the simulator evaluated; the others have no counts.
    runs : int
        Runs that were counted.
    glitches : ndarray of int64 or float64, shape (nets,)
        Further changes before nets settled; 0 without delays.
    lost : ndarray of float64, shape (nets,)
        What all changes lack to full swings, because the next one came before the net's transition time was over.
    settled_after : float
        Seconds from an edge of the clock to the last change after it, the longest of all cycles; 0 without delays.
    """

    half_cycles: float
    toggles: Numbers
    high: Numbers
    accesses: Mapping[int, AccessCounts]
    counted: NDArray[np.bool_]
    runs: int
    glitches: Numbers
    lost: Numbers
    settled_after: float

    def __add__(self, other: "NetCounts") -> "NetCounts":
        return NetCounts(
            self.half_cycles + other.half_cycles,
            self.toggles + other.toggles,
            self.high + other.high,
            {index: counts + other.accesses[index] for index, counts in self.accesses.items()},
            self.counted & other.counted,
            self.runs + other.runs,
            self.glitches + other.glitches,
            self.lost + other.lost,
            max(self.settled_after, other.settled_after),
        )

    @property
    def cycles(self) -> float:
        """Clock cycles that were counted."""
        return self.half_cycles / 2

    def scaled(self, factor: float) -> "NetCounts":
        """All counts times a factor; they may become fractions."""
        return NetCounts(
            self.half_cycles * factor,
            self.toggles * factor,
            self.high * factor,
            {index: counts.scaled(factor) for index, counts in self.accesses.items()},
            self.counted,
            self.runs,
            self.glitches * factor,
            self.lost * factor,
            self.settled_after,
        )

    def activity(self, netlist: Netlist, period: float, cycles: float | None = None) -> Activity:
        """Mean activity over the time that was counted.

        Parameters
        ----------
        netlist : Netlist
            The netlist that was simulated.
        period : float
            Clock period in seconds that a cycle stands for.
        cycles : float, optional
            Length of the run that the activity states; all cycles that were counted if not given.

        Returns
        -------
        Activity
            Known for every net that was counted. With delays, partial swings count as parts of a change.
        """
        toggles = self.toggles / self.cycles
        timed = self.settled_after > 0
        activity = Activity(
            period=period,
            cycles=self.cycles if cycles is None else cycles,
            toggles=toggles,
            duty=self.high / self.half_cycles,
            known=self.counted,
            runs=self.runs,
            source="zero-delay simulation of the netlist",
            accesses=self._accesses(netlist, toggles, settled=True),
        )
        if not timed:
            return activity
        swings = (self.toggles + self.glitches - self.lost) / self.cycles
        return replace(
            activity,
            toggles=swings,
            accesses=self._accesses(netlist, swings, settled=False),
            source="simulation of the netlist with the library's delays",
            settled=activity,
            changes=(self.toggles + self.glitches) / self.cycles,
            settled_after=self.settled_after,
        )

    def _accesses(
        self, netlist: Netlist, toggles: NDArray[np.float64], *, settled: bool
    ) -> dict[int, MacroAccesses]:
        accesses = {}
        for index, counts in self.accesses.items():
            nets = netlist.instances[index].nets
            enabled = {
                pin: float(toggles[nets[pin]]) * counts.enabled_part(pin, settled=settled) for pin in counts.changes
            }
            accesses[index] = MacroAccesses(counts.edges / self.cycles, enabled)
        return accesses
