"""An estimate of the clock tree that place and route would add: buffers and wires, from clock pins and area.

The clock port, and each clock gate, drives the clock pins behind it through levels of one kind of buffer, down to a
level that a single buffer could drive. Every buffer drives as much as its transition time allows. The wires of a level
with n driven pins in an area A have the length sqrt(n A). This is the asymptotic worst case of the shortest rectilinear
tree through n points (F. Chung and R. Graham, On Steiner trees for bounded point sets, Geometriae Dedicata 11, 1981).
It is more than such a tree needs for random points; balanced trees are longer too. A clock gate's pins take the part of
the area that they, and the pins behind the gates among them, are of all clock pins. Wires have 0.2 fF per micrometre
(N. Weste and D. Harris, CMOS VLSI Design, 4th edition, section 6.2: typical of dense wires, in all processes).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmu_hw.cells.library import Cell, LibertyError, Library
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.special import find_inverter, mean_leakage
from lmu_hw.power.activity import Activity, clock_nets

__all__ = ["ClockTree", "ClockTreeRule", "find_clock_tree", "has_clock_tree"]


@dataclass(frozen=True)
class ClockTreeRule:
    """Assumptions of the estimate.

    Parameters
    ----------
    wire : float
        Capacitance of wires in farad per micrometre.
    utilisation : float
        Part of the placed area that cells take, above 0 to 1.
    slew : float
        Transition time that a buffer may give its load, as a multiple of that of an inverter that drives four of its
        kind.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    wire: float = 0.2e-15
    utilisation: float = 0.7
    slew: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.wire < float("inf"):
            raise ValueError(f"wire must be a capacitance in farad per micrometre, not {self.wire!r}")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation must be above 0 and at most 1, not {self.utilisation!r}")
        if not 1 <= self.slew < float("inf"):
            raise ValueError(f"slew must be at least 1, not {self.slew!r}")

    def describe(self) -> str:
        """One line for reports."""
        return (
            f"buffers with edges of up to {self.slew:g} times a fan-out of four, wires of {self.wire * 1e15:g} fF/um "
            f"and sqrt(pins x area) length, {self.utilisation:.0%} of the area used"
        )


@dataclass(frozen=True)
class ClockTree:
    """An estimated clock tree.

    Parameters
    ----------
    energy : float
        Joule per clock cycle: internal energy of the buffers, what charges their pins, the wires, and the clock pins
        at the clock port, which no cell of the netlist drives.
    leakage : float
        Leakage of the buffers in watt.
    area : float
        Area of the buffers in the library's unit.
    buffer : str
        Name of the cell.
    buffers : int
        Number of them.
    wire : float
        Length of all wires in micrometre.
    """

    energy: float
    leakage: float
    area: float
    buffer: str
    buffers: int
    wire: float


@dataclass(frozen=True, eq=False)
class _Buffer:
    """A buffer at the load that it may drive."""

    cell: Cell
    load: float
    slew: float

    @property
    def pin(self) -> float:
        """Input capacitance in farad."""
        pin = self.cell.pins[self.cell.inputs[0]]
        return max(pin.rise_capacitance, pin.fall_capacitance)

    def internal(self, load: float) -> float:
        """Internal energy of a rise and a fall in joule."""
        return sum(
            float(table(self.slew, load))
            for pin in self.cell.pins.values()
            for power in pin.power
            for table in (power.rise, power.fall)
            if table is not None and (not power.supply or self.cell.supplies.get(power.supply, 1.0))
        )

    def cost(self, voltage: float) -> float:
        """Joule per cycle and farad that it drives; the buffer with the least is chosen."""
        return (self.internal(self.load) + self.pin * voltage**2) / self.load


def _slew(cell: Cell, slew: float, load: float) -> float:
    """Longest transition time of a cell with one input and one output."""
    tables = [
        table
        for arc in cell.pins[cell.outputs[0]].timing
        for table in (arc.slew_rise, arc.slew_fall)
        if table is not None
    ]
    return max((float(table(slew, load)) for table in tables), default=0.0)


def _fan_out_of_four(library: Library) -> float:
    """Transition time of the smallest inverter that drives four of its kind, behind others like it."""
    cell = find_inverter(library)
    pin = cell.pins[cell.inputs[0]]
    load, slew = 4 * max(pin.rise_capacitance, pin.fall_capacitance), 0.0
    for _ in range(8):
        slew = _slew(cell, slew, load)
    return slew


def _largest_load(cell: Cell, slew: float) -> float:
    """Load at which a buffer passes edges on as slow as they arrive, at most the library's limit."""
    limit = cell.pins[cell.outputs[0]].max_capacitance
    low, high = 0.0, limit if limit is not None else 1e-12
    if _slew(cell, slew, high) <= slew:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _slew(cell, slew, middle) <= slew else (low, middle)
    return low


def _choose(library: Library, slew: float) -> _Buffer:
    """The buffer that spends least energy for the load that it drives."""
    buffers = []
    for cell in library.cells.values():
        if len(cell.inputs) == 1 and len(cell.outputs) == 1 and not cell.sequentials and not cell.dont_use:
            function = cell.pins[cell.outputs[0]].function
            if function is not None and function.tree == ("pin", cell.inputs[0]):
                buffer = _Buffer(cell, _largest_load(cell, slew), slew)
                if buffer.load > 2 * buffer.pin:
                    buffers.append((buffer.cost(library.voltage), cell.name, buffer))
    if not buffers:
        raise LibertyError(f"the library {library.name} has no buffer that can drive two of its kind")
    return min(buffers, key=lambda entry: entry[:2])[2]


@dataclass(frozen=True)
class _Net:
    """A net of the clock network: capacitance of its pins, number of pins on it and behind the gates that it drives."""

    net: int
    pins: list[float]
    behind: int


def _nets(netlist: Netlist, clock: str) -> Iterator[_Net]:
    """Every net of the clock network."""
    clocks = clock_nets(netlist, clock)
    pins: dict[int, list[float]] = {}
    gated: dict[int, set[int]] = {}
    for instance in netlist.instances:
        inputs = [name for name in instance.cell.pins if instance.cell.pins[name].direction != "output"]
        outputs = {instance.nets[name] for name in instance.nets if name not in inputs}
        for name in inputs:
            pin, net = instance.cell.pins[name], instance.nets.get(name, -1)
            if net >= 0 and clocks[net]:
                pins.setdefault(net, []).append(max(pin.rise_capacitance, pin.fall_capacitance))
                gated.setdefault(net, set()).update(out for out in outputs if clocks[out])

    def behind(net: int) -> int:
        return len(pins.get(net, ())) + sum(behind(out) for out in gated.get(net, ()))

    for net, loads in sorted(pins.items()):
        yield _Net(net, loads, behind(net))


@dataclass(frozen=True)
class _Branch:
    """Buffers behind the port or a clock gate: internal energy of a rise and a fall, capacitance added, wire."""

    buffers: int
    internal: float
    charged: float
    wire: float


def _grow(buffer: _Buffer, rule: ClockTreeRule, pins: list[float], area: float) -> _Branch:
    """Add levels of buffers until one buffer can drive the next level, or wires alone need as many buffers."""
    load, driven = sum(pins), len(pins)
    buffers, internal, charged, wire = 0, 0.0, 0.0, 0.0
    while True:
        length = float(np.sqrt(driven * area))
        wire += length
        load += length * rule.wire
        charged += length * rule.wire
        needed = int(np.ceil(load / buffer.load))
        if needed <= 1:
            return _Branch(buffers, internal, charged, wire)
        buffers += needed
        internal += needed * buffer.internal(load / needed)
        charged += needed * buffer.pin
        if needed >= driven:
            return _Branch(buffers, internal, charged, wire)
        load, driven = needed * buffer.pin, needed


def has_clock_tree(netlist: Netlist, clock: str = "clk") -> bool:
    """Whether a netlist has a clock tree of its own: buffers or inverters behind the clock port.

    Parameters
    ----------
    netlist : Netlist
        Any.
    clock : str
        Name of the clock port.
    """
    clocks = clock_nets(netlist, clock)
    return any(
        len(instance.cell.inputs) == 1 and bool(clocks[[instance.nets[pin] for pin in instance.cell.outputs]].any())
        for instance in netlist.instances
        if not instance.cell.clock_gating and instance.cell.memory is None
    )


def find_clock_tree(
    netlist: Netlist, library: Library, activity: Activity, clock: str = "clk", rule: ClockTreeRule | None = None
) -> ClockTree:
    """Estimate the clock tree of a netlist and its energy.

    Parameters
    ----------
    netlist : Netlist
        Without a clock tree.
    library : Library
        Library with the buffer.
    activity : Activity
        Activity of the netlist. The tree of a gated clock switches only while the gate is open.
    clock : str
        Name of the clock port.
    rule : ClockTreeRule, optional
        Assumptions; the defaults of `ClockTreeRule` if not given.

    Returns
    -------
    ClockTree
        Estimated; not part of `lmu_hw.power.engine.find_power`. Without buffers, wires and energy if the netlist has a
        tree of its own.

    Raises
    ------
    LibertyError
        If the library has no buffer or inverter.
    ValueError
        If the netlist has no such clock.
    """
    rule = ClockTreeRule() if rule is None else rule
    buffer = _choose(library, rule.slew * _fan_out_of_four(library))
    if has_clock_tree(netlist, clock):
        return ClockTree(0.0, 0.0, 0.0, buffer.cell.name, 0, 0.0)
    area = sum(instance.cell.area for instance in netlist.instances) / rule.utilisation
    nets = list(_nets(netlist, clock))
    port = netlist.inputs[clock][0]
    count = sum(len(clock_net.pins) for clock_net in nets)
    energy, wire, buffers = 0.0, 0.0, 0
    for clock_net in nets:
        grown = _grow(buffer, rule, clock_net.pins, area * clock_net.behind / count)
        charged = grown.charged + (sum(clock_net.pins) if clock_net.net == port else 0.0)
        energy += 0.5 * float(activity.toggles[clock_net.net]) * (grown.internal + charged * library.voltage**2)
        wire += grown.wire
        buffers += grown.buffers
    leakage, size = buffers * mean_leakage(buffer.cell), buffers * buffer.cell.area
    return ClockTree(energy, leakage, size, buffer.cell.name, buffers, wire)
