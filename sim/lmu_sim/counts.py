"""Exact counts of the activity of a netlist; they add up over runs, frames and simulators."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    edges: Numbers
    changes: Mapping[str, float]
    enabled: Mapping[str, float]

    def __add__(self, other: "AccessCounts") -> "AccessCounts":
        return AccessCounts(
            self.edges + other.edges,
            {pin: count + other.changes[pin] for pin, count in self.changes.items()},
            {pin: count + other.enabled[pin] for pin, count in self.enabled.items()},
        )


@dataclass(frozen=True, eq=False)
class NetCounts:
    """Counts of all nets, added up over the runs that were counted; integers until they are `scaled`.

    Parameters
    ----------
    half_cycles : int or float
        Time that was counted, in half clock cycles.
    toggles : ndarray of int64 or float64, shape (nets,)
        Changes.
    high : ndarray of int64 or float64, shape (nets,)
        Half clock cycles at 1.
    accesses : dict of int to AccessCounts
        Of each memory macro, by the index of its instance.
    counted : ndarray of bool, shape (nets,)
        Nets that the simulator evaluated; the others have no counts.
    runs : int
        Runs that were counted.
    """

    half_cycles: float
    toggles: Numbers
    high: Numbers
    accesses: Mapping[int, AccessCounts]
    counted: NDArray[np.bool_]
    runs: int = 1

    def __add__(self, other: "NetCounts") -> "NetCounts":
        return NetCounts(
            self.half_cycles + other.half_cycles,
            self.toggles + other.toggles,
            self.high + other.high,
            {index: counts + other.accesses[index] for index, counts in self.accesses.items()},
            self.counted & other.counted,
            self.runs + other.runs,
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
            {
                index: AccessCounts(
                    counts.edges * factor,
                    {pin: count * factor for pin, count in counts.changes.items()},
                    {pin: count * factor for pin, count in counts.enabled.items()},
                )
                for index, counts in self.accesses.items()
            },
            self.counted,
            self.runs,
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
            Known for every net that was counted.
        """
        toggles = self.toggles / self.cycles
        return Activity(
            period=period,
            cycles=self.cycles if cycles is None else cycles,
            toggles=toggles,
            duty=self.high / self.half_cycles,
            known=self.counted,
            runs=self.runs,
            source="zero-delay simulation of the netlist",
            accesses={
                index: self._accesses(counts, netlist.instances[index].nets, toggles)
                for index, counts in self.accesses.items()
            },
        )

    def _accesses(self, counts: AccessCounts, nets: Mapping[str, int], toggles: NDArray[np.float64]) -> MacroAccesses:
        enabled = {
            pin: float(toggles[nets[pin]]) * counts.enabled[pin] / changes if changes else 0.0
            for pin, changes in counts.changes.items()
        }
        return MacroAccesses(counts.edges / self.cycles, enabled)
