"""Power of a netlist from its activity: internal, switching and leakage, instance by instance.

Energies come from the library's tables by input transition time and output load, weighted by how often each pin
changes and how likely the states are that they hold for. Pins are taken as independent of each other where the
library distinguishes states.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lmu_hw.flows.expression import Expression, Tree
from lmu_hw.flows.liberty import Cell, InternalPower, Pin, Table, TimingArc
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.netlist import HIGH, LOW, Netlist

__all__ = [
    "BlockPower",
    "Conditions",
    "Group",
    "Loads",
    "Power",
    "Rules",
    "StateRules",
    "WireLoad",
    "find_loads",
    "find_power",
    "find_transitions",
    "slew_excess",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class WireLoad:
    """Capacitance of wires, before there is a layout: a sum of three terms for every net.

    Parameters
    ----------
    fixed : float
        In farad, of every net that is driven or read by an instance.
    per_fanout : float
        In farad, for every input pin on the net.
    per_pin_area : float
        In farad per square root of the total cell area (in the library's unit) and input pin.
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


@dataclass(frozen=True)
class Conditions:
    """What a netlist works under, besides its activity.

    Parameters
    ----------
    wires : WireLoad
        Wire capacitance.
    input_slew : float
        Transition time at input ports, the clock's included, in seconds.
    clock : str
        Name of the clock port.
    upper_capacitance : bool
        Whether pins count with the upper ends of their capacitance ranges, as OpenSTA has them, not with the library's
        plain figures.
    """

    wires: WireLoad = WireLoad()
    input_slew: float = 0.0
    clock: str = "clk"
    upper_capacitance: bool = False


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


@dataclass(frozen=True, eq=False)
class Group:
    """All instances of one cell.

    Parameters
    ----------
    cell : Cell
        The cell.
    instances : ndarray of int64, shape (n,)
        Their indices.
    nets : dict of str to ndarray of int64, shape (n,)
        Net of each pin.
    toggles : dict of str to ndarray of float64, shape (n,)
        Changes per cycle of each pin.
    duty : dict of str to ndarray of float64, shape (n,)
        Part of the time at 1 of each pin.
    is_clock : dict of str to ndarray of bool, shape (n,)
        Whether each pin is in the clock network.
    """

    cell: Cell
    instances: IntArray
    nets: dict[str, IntArray]
    toggles: dict[str, FloatArray]
    duty: dict[str, FloatArray]
    is_clock: dict[str, BoolArray]


class Rules(Protocol):
    """How states and transitions weigh the library's energies."""

    def input_weight(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        """Weight of the sum of rise and fall energy for each change of an input pin."""

    def output_weights(self, group: Group, pin: Pin) -> Sequence[FloatArray]:
        """Weight of the sum of rise and fall energy for each change of an output pin, for each of its energies."""

    def leakage(self, group: Group) -> FloatArray:
        """Leakage in watt."""

    def inverted(self, pin: Pin, power: InternalPower) -> bool:
        """Whether a rising output comes from a falling related pin."""


def _substitute(tree: Tree, known: Mapping[str, Tree]) -> str:
    """Text of an expression with pins replaced by what they stand for."""
    if tree[0] == "pin":
        name = str(tree[1])
        return f"({_substitute(known[name], known)})" if name in known else name
    parts = [_substitute(part, known) for part in tree[1:]]
    match tree[0]:
        case "not":
            return f"!({parts[0]})"
        case "and":
            return f"({parts[0]})*({parts[1]})"
        case "or":
            return f"({parts[0]})+({parts[1]})"
        case "xor":
            return f"({parts[0]})^({parts[1]})"
        case "one":
            return "1"
        case _:
            return "0"


def _known_outputs(cell: Cell) -> dict[str, Tree]:
    """Outputs, and inverse states, as functions of inputs and states."""
    known: dict[str, Tree] = {
        pin.name: pin.function.tree
        for pin in cell.pins.values()
        if pin.direction == "output" and pin.function is not None and pin.three_state is None
    }
    for one in cell.sequentials:
        if one.inverse:
            known[one.inverse] = ("not", ("pin", one.state))
    return known


def _state_duty(group: Group) -> dict[str, FloatArray]:
    """Duties of pins and of the states behind flip-flop outputs."""
    duty = dict(group.duty)
    for one in group.cell.sequentials:
        for pin in group.cell.pins.values():
            if pin.direction == "output" and pin.function is not None:
                if pin.function.tree == ("pin", one.state):
                    duty[one.state] = group.duty[pin.name]
                elif pin.function.tree in (("pin", one.inverse), ("not", ("pin", one.state))):
                    duty.setdefault(one.state, 1 - group.duty[pin.name])
    return duty


class StateRules:
    """The default: every change costs half of its rise and fall energies, in the state that it is likely to happen in.

    An input's energies hold with the probability of their conditions. An output's change is ascribed to its inputs
    in proportion to how often each changes times the probability that the output follows it in the state of the
    energy's condition. Leakage is that of each state, weighted by the state's probability, and the cell's general
    figure for the rest. Outputs in conditions are replaced by their functions, so that impossible states weigh nothing.
    """

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], Expression] = {}

    def _condition(self, group: Group, when: Expression) -> Expression:
        key = (group.cell.name, when.text)
        if key not in self.texts:
            self.texts[key] = Expression(_substitute(when.tree, _known_outputs(group.cell)))
        return self.texts[key]

    def _probability(self, group: Group, when: Expression | None) -> FloatArray:
        one = np.ones(group.instances.size)
        return one if when is None else one * self._condition(group, when).probability(_state_duty(group))

    def input_weight(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        if power.supply and not group.cell.supplies.get(power.supply, 1.0):
            return np.zeros(group.instances.size)
        return 0.5 * self._probability(group, power.when)

    def _cause(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        """How often the output is likely to follow the related pin in the state of an energy."""
        size = group.instances.size
        if not power.related or (power.supply and not group.cell.supplies.get(power.supply, 1.0)):
            return np.zeros(size)
        toggles = group.toggles[power.related]
        function = pin.function
        if function is not None and power.related in function.pins:
            duty = _state_duty(group)
            rest = {name: duty[name] for name in function.pins}
            follows = np.ones(size) * function.sensitivity(power.related, rest)
            if power.when is None:
                return toggles * follows
            changed = _difference(function, power.related)
            both = Expression(f"({changed})*({self._condition(group, power.when).text})")
            return toggles * both.probability(duty)
        return toggles * self._probability(group, power.when)

    def output_weights(self, group: Group, pin: Pin) -> list[FloatArray]:
        causes = [self._cause(group, pin, power) for power in pin.power]
        weights = []
        for power, cause in zip(pin.power, causes, strict=True):
            if not power.related:
                weights.append(self.input_weight(group, pin, power))
                continue
            alike = [
                other
                for one, other in zip(pin.power, causes, strict=True)
                if one.related and one.supply == power.supply
            ]
            total = np.sum(alike, axis=0)
            even = np.full(group.instances.size, 1 / len(alike))
            live = not power.supply or bool(group.cell.supplies.get(power.supply, 1.0))
            share = np.where(total > 0, cause / np.where(total > 0, total, 1), even if live else 0.0)
            weights.append(0.5 * share)
        return weights

    def leakage(self, group: Group) -> FloatArray:
        cell = group.cell
        size = group.instances.size
        groups = [one for one in cell.leakages if not one.supply or cell.supplies.get(one.supply, 1.0)]
        general = [one.power for one in groups if one.when is None]
        states = [one for one in groups if one.when is not None]
        rest = cell.leakage if cell.leakage is not None else sum(general)
        power, covered = np.zeros(size), np.zeros(size)
        for one in states:
            chance = self._probability(group, one.when)
            power += chance * one.power
            covered += chance
        return power + np.clip(1 - covered, 0, 1) * rest

    def inverted(self, pin: Pin, power: InternalPower) -> bool:
        arcs = [arc for arc in pin.timing if arc.related == power.related]
        return bool(arcs) and arcs[0].sense == "negative_unate"


def _difference(function: Expression, pin: str) -> str:
    """Text of the Boolean difference."""

    def cofactor(tree: Tree, value: str) -> str:
        return _substitute(tree, {pin: ("one",) if value == "1" else ("zero",)})

    return f"({cofactor(function.tree, '1')})^({cofactor(function.tree, '0')})"


@dataclass(frozen=True)
class BlockPower:
    """Sums over the instances of a block.

    Parameters
    ----------
    internal, switching : float
        Energy per clock cycle in joule.
    leakage : float
        In watt.
    area : float
        In the library's unit.
    instances : int
        Number of cells.
    """

    internal: float
    switching: float
    leakage: float
    area: float
    instances: int

    @property
    def dynamic(self) -> float:
        """Internal and switching energy per cycle in joule."""
        return self.internal + self.switching


@dataclass(frozen=True, eq=False)
class Power:
    """Power of a netlist.

    Parameters
    ----------
    netlist : Netlist
        Of which.
    period : float
        Clock period in seconds.
    internal, switching : ndarray of float64, shape (instances,)
        Energy per clock cycle in joule.
    leakage : ndarray of float64, shape (instances,)
        In watt.
    clock : ndarray of float64, shape (instances,)
        The part of `internal` and `switching` that is spent at pins and nets of the clock network, in joule per cycle.
    ports : dict of str to float
        Energy per cycle in joule that the outside spends on the nets of each input port; in no other sum. That of
        the clock port is where a clock tree would be.
    slews : ndarray of float64, shape (nets,)
        Longer of the rise and fall time of each net, in seconds.
    """

    netlist: Netlist
    period: float
    internal: FloatArray
    switching: FloatArray
    leakage: FloatArray
    clock: FloatArray
    ports: dict[str, float]
    slews: FloatArray

    def total(self) -> BlockPower:
        """Sums over all instances."""
        return self._sum(np.arange(len(self.netlist.instances)))

    def _sum(self, chosen: IntArray) -> BlockPower:
        return BlockPower(
            float(self.internal[chosen].sum()),
            float(self.switching[chosen].sum()),
            float(self.leakage[chosen].sum()),
            sum(self.netlist.instances[index].cell.area for index in chosen.tolist()),
            int(chosen.size),
        )

    def blocks(self, label: Callable[[str], str] = str) -> dict[str, BlockPower]:
        """Sums over the instances of each block.

        Parameters
        ----------
        label : callable
            From the path of a module instance to the name of the row that it goes to; each path its own row by default.

        Returns
        -------
        dict of str to BlockPower
            By name; they add up to `total`.
        """
        chosen: dict[str, list[int]] = {}
        for index, instance in enumerate(self.netlist.instances):
            chosen.setdefault(label(instance.block), []).append(index)
        return {name: self._sum(np.array(indices)) for name, indices in sorted(chosen.items())}

    def watts(self) -> tuple[float, float, float]:
        """Internal, switching and leakage power in watt at the clock period."""
        total = self.total()
        return total.internal / self.period, total.switching / self.period, total.leakage


def find_loads(
    netlist: Netlist,
    wires: WireLoad = WireLoad(),
    *,
    upper: bool = False,
) -> Loads:
    """Capacitance that each net presents to its driver: pins and wire.

    Parameters
    ----------
    netlist : Netlist
        Any.
    wires : WireLoad
        Rule for wires.
    upper : bool
        Whether to take the upper ends of the pins' capacitance ranges.

    Returns
    -------
    Loads
        The constants' nets included.
    """
    rise, fall = np.zeros(netlist.nets), np.zeros(netlist.nets)
    readers, touched = np.zeros(netlist.nets), np.zeros(netlist.nets, dtype=bool)
    area = 0.0
    for instance in netlist.instances:
        area += instance.cell.area
        for name, net in instance.nets.items():
            pin = instance.cell.pins[name]
            rise[net] += pin.upper_rise_capacitance if upper else pin.rise_capacitance
            fall[net] += pin.upper_fall_capacitance if upper else pin.fall_capacitance
            readers[net] += pin.direction != "output"
            touched[net] = True
    wire = wires.fixed * touched + (wires.per_fanout + wires.per_pin_area * np.sqrt(area)) * readers
    return Loads(rise + wire, fall + wire)


def _constant_nets(netlist: Netlist) -> BoolArray:
    constant = np.zeros(netlist.nets, dtype=bool)
    constant[[LOW, HIGH]] = True
    for instance in netlist.instances:
        if not instance.cell.inputs:
            constant[list(instance.nets.values())] = True
    return constant


def find_transitions(netlist: Netlist, loads: Loads, input_slew: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Transition times of all nets, from ports to flip-flops and on: the longest over the arcs that end at a net.

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
    rise, fall = np.zeros(netlist.nets), np.zeros(netlist.nets)
    for nets in netlist.inputs.values():
        rise[list(nets)] = fall[list(nets)] = input_slew
    constant = _constant_nets(netlist)
    level = netlist.levels()
    order: dict[tuple[int, str], list[int]] = {}
    for index, instance in enumerate(netlist.instances):
        order.setdefault((int(level[index]), instance.cell.name), []).append(index)
    for key in sorted(order):
        members = [netlist.instances[index] for index in order[key]]
        cell = members[0].cell
        for name in cell.outputs:
            out = np.array([member.nets[name] for member in members])
            new_rise, new_fall = np.zeros(out.size), np.zeros(out.size)
            for arc in cell.pins[name].timing:
                if arc.related not in cell.pins:
                    continue
                source = np.array([member.nets[arc.related] for member in members])
                live = ~constant[source]
                for table, load, new, edges in (
                    (arc.slew_rise, loads.rise, new_rise, _edges(arc, rise, fall, rising=True)),
                    (arc.slew_fall, loads.fall, new_fall, _edges(arc, rise, fall, rising=False)),
                ):
                    if table is None:
                        continue
                    for slew in edges:
                        value = np.where(live, table(slew[source], load[out]), 0.0)
                        np.maximum(new, value, out=new)
            rise[out], fall[out] = new_rise, new_fall
    return rise, fall


def _edges(arc: TimingArc, rise: FloatArray, fall: FloatArray, *, rising: bool) -> list[FloatArray]:
    """Transition times of the input edges that can cause an output edge."""
    if arc.kind.startswith(("rising_edge", "falling_edge")):
        return [rise if arc.kind == "rising_edge" else fall]
    if arc.kind in ("preset", "clear") and rising != (arc.kind == "preset"):
        return []
    if arc.sense == "positive_unate":
        return [rise if rising else fall]
    if arc.sense == "negative_unate":
        return [fall if rising else rise]
    return [rise, fall]


def _groups(netlist: Netlist, activity: Activity, clocks: BoolArray) -> list[Group]:
    groups = []
    for indices in netlist.groups().values():
        members = [netlist.instances[index] for index in indices.tolist()]
        cell = members[0].cell
        nets = {name: np.array([member.nets[name] for member in members]) for name in members[0].nets}
        groups.append(
            Group(
                cell=cell,
                instances=indices,
                nets=nets,
                toggles={name: activity.toggles[net] for name, net in nets.items()},
                duty={name: activity.duty[net] for name, net in nets.items()},
                is_clock={name: clocks[net] for name, net in nets.items()},
            )
        )
    return groups


def _energy(
    rise: Table | None, fall: Table | None, slews: tuple[FloatArray, FloatArray], load: FloatArray
) -> FloatArray:
    """Sum of the rise and fall energies in joule."""
    total = np.zeros(load.shape)
    if rise is not None:
        total = total + rise(slews[0], load)
    if fall is not None:
        total = total + fall(slews[1], load)
    return total


def find_power(
    netlist: Netlist,
    activity: Activity,
    conditions: Conditions = Conditions(),
    rules: Rules | None = None,
) -> Power:
    """Compute internal, switching and leakage power of every instance.

    Parameters
    ----------
    netlist : Netlist
        From `lmu_hw.power.netlist.read_netlist`.
    activity : Activity
        Of its nets.
    conditions : Conditions
        Wires, transition times at the inputs, clock.
    rules : Rules, optional
        How states weigh; `StateRules` if not given.

    Returns
    -------
    Power
        By instance; sums by block.
    """
    rules = StateRules() if rules is None else rules
    loads = find_loads(netlist, conditions.wires, upper=conditions.upper_capacitance)
    rise, fall = find_transitions(netlist, loads, conditions.input_slew)
    load = loads.largest
    clocks = clock_nets(netlist, conditions.clock)
    count = len(netlist.instances)
    internal, switching, leakage, clock = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    for group in _groups(netlist, activity, clocks):
        inner, outer, ticking = (np.zeros(group.instances.size) for _ in range(3))
        for name, net in group.nets.items():
            pin = group.cell.pins[name]
            is_output = pin.direction in ("output", "inout")
            weights = (
                rules.output_weights(group, pin)
                if is_output
                else [rules.input_weight(group, pin, power) for power in pin.power]
            )
            spent = np.zeros(group.instances.size)
            for power, weight in zip(pin.power, weights, strict=True):
                source = group.nets.get(power.related, net)
                slews = rise[source], fall[source]
                if is_output and power.related and rules.inverted(pin, power):
                    slews = slews[::-1]
                energy = _energy(power.rise, power.fall, slews, load[net] if is_output else np.zeros(net.size))
                spent += weight * energy * group.toggles[name]
            inner += spent
            moved = 0.5 * load[net] * pin.voltage**2 * group.toggles[name] if is_output else np.zeros(net.size)
            outer += moved
            ticking += np.where(group.is_clock[name], spent + moved, 0.0)
        internal[group.instances], switching[group.instances] = inner, outer
        clock[group.instances] = ticking
        leakage[group.instances] = rules.leakage(group)
    voltage = _voltage(netlist)
    ports = {
        name: float(sum(0.5 * load[net] * voltage**2 * activity.toggles[net] for net in nets))
        for name, nets in netlist.inputs.items()
    }
    return Power(netlist, activity.period, internal, switching, leakage, clock, ports, np.maximum(rise, fall))


def _voltage(netlist: Netlist) -> float:
    """Supply of the first output pin, in volt."""
    for instance in netlist.instances:
        for name in instance.cell.outputs:
            return instance.cell.pins[name].voltage
    return 0.0


def slew_excess(power: Power) -> float:
    """Longest transition time over its pin's limit: above 1, energies are extrapolated and too high.

    Parameters
    ----------
    power : Power
        From `find_power`.

    Returns
    -------
    float
        The largest ratio of all pins; 0 if the library has no limits.
    """
    worst = 0.0
    for instance in power.netlist.instances:
        for name, net in instance.nets.items():
            limit = instance.cell.pins[name].max_transition
            if limit:
                worst = max(worst, float(power.slews[net]) / limit)
    return worst
