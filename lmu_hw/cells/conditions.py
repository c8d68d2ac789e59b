"""Operating conditions of a netlist: wires, transition times, clock."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Conditions", "NetWires", "WireLoad"]


@dataclass(frozen=True)
class WireLoad:
    """Capacitance of wires before layout: a sum of three terms for every net.

    Parameters
    ----------
    fixed : float
        Wire capacitance in farad of every net that an instance drives or reads.
    per_fanout : float
        Wire capacitance in farad for each input pin on the net.
    per_pin_area : float
        Wire capacitance in farad per input pin and square root of the total cell area, in the library's unit.
    """

    fixed: float = 0.0
    per_fanout: float = 0.0
    per_pin_area: float = 0.0

    def describe(self) -> str:
        """One line for reports."""
        if not (self.fixed or self.per_fanout or self.per_pin_area):
            return "no wires"
        return (
            f"{self.fixed * 1e15:g} fF a net + {self.per_fanout * 1e15:g} fF a fan-out"
            f" + {self.per_pin_area * 1e15:g} fF a fan-out and square root of area"
        )


@dataclass(frozen=True, eq=False)
class NetWires:
    """Capacitance of wires of a layout, net by net.

    Parameters
    ----------
    capacitance : ndarray of float64, shape (nets,)
        Wire capacitance of each net of the netlist in farad, without pins.
    source : str
        Where it comes from, one line for reports.

    Raises
    ------
    ValueError
        If a capacitance is negative or not finite.
    """

    capacitance: NDArray[np.float64]
    source: str

    def __post_init__(self) -> None:
        wrong = np.flatnonzero(~((self.capacitance >= 0) & np.isfinite(self.capacitance)))
        if wrong.size:
            net = int(wrong[0])
            value = self.capacitance[net]
            raise ValueError(f"the wire of net {net} must have a capacitance of at least 0, not {value}")

    def describe(self) -> str:
        """One line for reports."""
        return self.source


@dataclass(frozen=True)
class Conditions:
    """Operating conditions of a netlist.

    Parameters
    ----------
    wires : WireLoad or NetWires
        Wire capacitance: by a rule before layout, or net by net.
    input_slew : float
        Transition time at input ports, the clock's included, in seconds.
    clock : str
        Name of the clock port.
    clock_slew : float
        Longest transition time on nets of the clock network in seconds. The netlist has one clock gate that drives
        hundreds of flip-flops where there will be a tree of buffers; without the limit their energies would be
        extrapolated.
    longest_slew : float
        Longest transition time on any net in seconds: place and route buffers what synthesis left slower, such as nets
        between modules that were mapped one by one.
    upper_capacitance : bool
        Whether pins count with the upper ends of their capacitance ranges, as OpenSTA has them, not with the library's
        plain figures.
    """

    wires: WireLoad | NetWires = WireLoad()
    input_slew: float = 0.0
    clock: str = "clk"
    clock_slew: float = float("inf")
    longest_slew: float = float("inf")
    upper_capacitance: bool = False
