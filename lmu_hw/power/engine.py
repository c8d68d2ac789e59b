"""Power of a netlist from its activity: internal, switching and leakage, instance by instance.

Energies come from the library's tables by input transition time and output load. The rules of `lmu_hw.power.rules` say
how often each is spent. `find_power` is the only way to a figure, and refuses one that would be wrong.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.library import Library, Pin, Table
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.cells.transitions import find_loads, find_transitions
from lmu_hw.flows.synth import MappedMemory
from lmu_hw.power.activity import Activity, MacroAccesses, clock_nets
from lmu_hw.power.change_energy import ChangeEnergies
from lmu_hw.power.guards import (
    check_accesses,
    check_activity,
    check_clock,
    check_conserved,
    check_coverage,
    check_edges,
    check_leakage,
    check_limits,
    check_memories,
    check_settled,
)
from lmu_hw.power.result import Power
from lmu_hw.power.rules import Group, Rules, StateRules

__all__ = ["find_change_energies", "find_edges", "find_leakage", "find_power", "weigh_unguarded"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

@dataclass(frozen=True, eq=False)
class _Electrical:
    """Loads and transition times of the nets of a netlist under some conditions.

    Parameters
    ----------
    clocks : ndarray of bool, shape (nets,)
        Nets of the clock network.
    load : ndarray of float64, shape (nets,)
        Capacitance in farad.
    rise, fall : ndarray of float64, shape (nets,)
        Transition times in seconds.
    """

    clocks: BoolArray
    load: FloatArray
    rise: FloatArray
    fall: FloatArray

    @classmethod
    @functools.lru_cache(maxsize=2)
    def of(cls, netlist: Netlist, conditions: Conditions) -> "_Electrical":
        """As synthesis leaves the netlist: without the buffers and the clock tree that place and route adds."""
        loads = find_loads(netlist, conditions.wires, upper=conditions.upper_capacitance)
        rise, fall = find_transitions(netlist, loads, conditions.input_slew)
        return cls(clock_nets(netlist, conditions.clock), loads.largest, rise, fall)

    def buffered(self, conditions: Conditions) -> "_Electrical":
        """As place and route leaves it: no edge is slower than the conditions say."""
        limits = np.where(
            self.clocks, min(conditions.clock_slew, conditions.longest_slew), conditions.longest_slew
        )
        return replace(self, rise=np.minimum(self.rise, limits), fall=np.minimum(self.fall, limits))

    @property
    def slews(self) -> FloatArray:
        """The longer transition time of each net, in seconds."""
        return np.maximum(self.rise, self.fall)


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
                macro=find_macro(cell),
                accesses=_accesses(activity, indices),
            )
        )
    return groups


def _accesses(activity: Activity, indices: IntArray) -> tuple[MacroAccesses, ...] | None:
    """Accesses of all instances, or None if those of one are not known."""
    known = [activity.accesses.get(index) for index in indices.tolist()]
    return tuple(accesses for accesses in known if accesses is not None) if None not in known else None


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


def find_edges(netlist: Netlist, conditions: Conditions) -> tuple[FloatArray, FloatArray]:
    """Find the transition times that energies are looked up with: none is slower than the conditions say.

    Parameters
    ----------
    netlist : Netlist
        Any.
    conditions : Conditions
        Wires, transition times, clock.

    Returns
    -------
    rise, fall : ndarray of float64, shape (nets,)
        In seconds.
    """
    nets = _Electrical.of(netlist, conditions).buffered(conditions)
    return nets.rise, nets.fall


def find_change_energies(netlist: Netlist, conditions: Conditions) -> ChangeEnergies:
    """Find what a change of each net costs on average, every state being equally likely.

    Parameters
    ----------
    netlist : Netlist
        Any.
    conditions : Conditions
        Wires, transition times, clock.

    Returns
    -------
    ChangeEnergies
        Of every net, and of the clock edges of memory macros.
    """
    nets, rules = _Electrical.of(netlist, conditions).buffered(conditions), StateRules()
    every = np.ones(netlist.nets)
    activity = Activity(1.0, 1.0, every, 0.5 * every, every > 0, "every net once")
    energies = np.zeros(netlist.nets)
    macros: dict[int, FloatArray] = {}
    for group in _groups(netlist, activity, nets.clocks):
        for name, net in group.nets.items():
            pin = group.cell.pins[name]
            if group.macro is not None and name == group.macro.clock:
                continue
            spent = _internal(group, pin, nets, rules)
            if pin.direction in ("output", "inout"):
                spent = spent + 0.5 * nets.load[net] * pin.voltage**2
            np.add.at(energies, net, spent)
        if group.macro is not None:
            spent = _edge_energies(group, group.cell.pins[group.macro.clock], nets, rules)
            macros |= dict(zip(group.instances.tolist(), spent, strict=True))
    return ChangeEnergies(energies, macros)


def _edge_energies(group: Group, clock: Pin, nets: _Electrical, rules: Rules) -> FloatArray:
    """Joule for a clock edge of each macro of a group, by enable, write and read; shape (n, 2, 2, 2)."""
    spent = np.zeros((group.instances.size, 2, 2, 2))
    for state in np.ndindex(2, 2, 2):
        edges = np.zeros((2, 2, 2))
        edges[state] = 1
        accesses = (MacroAccesses(edges, {}),) * group.instances.size
        spent[:, *state] = _internal(replace(group, accesses=accesses), clock, nets, rules)
    return spent


def find_power(
    netlist: Netlist,
    activity: Activity,
    conditions: Conditions | None = None,
    rules: Rules | None = None,
    *,
    period: float,
    memories: Iterable[MappedMemory],
    accepted: Sequence[str] = (),
) -> Power:
    """Compute internal, switching and leakage power of every instance, if every guard passes.

    Parameters
    ----------
    netlist : Netlist
        From `lmu_hw.cells.netlist.read_netlist`.
    activity : Activity
        Activity of its nets as counted; it is checked before anything is clipped.
    conditions : Conditions, optional
        Wires, transition times at the inputs, clock; the defaults of `Conditions` if not given.
    rules : Rules, optional
        How states weigh; `StateRules` if not given.
    period : float
        Clock period in seconds that the figure is for: that of the timing constraint.
    memories : iterable of MappedMemory
        All memories of the design, from its `lmu_hw.flows.synth.Synthesis`.
    accepted : sequence of str
        Names of memories that may be flip-flops; ``*`` for all.

    Returns
    -------
    Power
        Power by instance, with sums by block.

    Raises
    ------
    PowerRefused
        If the activity, the clock, the edges, the memories or the library would make the figure wrong, with the reason.
    """
    conditions = Conditions() if conditions is None else conditions
    rules = StateRules() if rules is None else rules
    check_coverage(netlist, activity)
    check_activity(netlist, activity, conditions.clock)
    check_clock(netlist, activity, conditions.clock, period)
    check_settled(activity, period)
    check_accesses(netlist, activity)
    check_memories(memories, accepted)
    nets = _Electrical.of(netlist, conditions)
    slow_part = check_edges(netlist, nets.slews, nets.clocks)
    power = replace(_weigh(netlist, activity, nets.buffered(conditions), rules), slow_part=slow_part)
    check_limits(power)
    check_leakage(power)
    check_conserved(power)
    return power


def weigh_unguarded(
    netlist: Netlist, activity: Activity, conditions: Conditions, rules: Rules | None = None
) -> Power:
    """Power under other rules, to compare tools. It is no figure to report: no guard looks at it.

    Parameters
    ----------
    netlist : Netlist
        Any.
    activity : Activity
        Activity of its nets.
    conditions : Conditions
        Wires, transition times, clock.
    rules : Rules, optional
        How states weigh; `StateRules` if not given.
    """
    nets = _Electrical.of(netlist, conditions).buffered(conditions)
    return _weigh(netlist, activity, nets, StateRules() if rules is None else rules)


def find_leakage(
    netlist: Netlist, activity: Activity, library: Library, rules: Rules | None = None
) -> FloatArray:
    """Compute the leakage of every instance with the cells of another library, as at another temperature.

    Parameters
    ----------
    netlist : Netlist
        Its cells are replaced by those of the same name.
    activity : Activity
        From which the states of the cells follow; one that passed `find_power`.
    library : Library
        The other cells.
    rules : Rules, optional
        How states weigh; `StateRules` if not given.

    Returns
    -------
    ndarray of float64, shape (instances,)
        In watt; not a number where the library lacks the cell.
    """
    rules = StateRules() if rules is None else rules
    leakage = np.full(len(netlist.instances), np.nan)
    for group in _groups(netlist, activity.bounded(), np.zeros(netlist.nets, dtype=bool)):
        cell = library.cells.get(group.cell.name)
        if cell is not None:
            leakage[group.instances] = rules.leakage(replace(group, cell=cell))
    return leakage


def _weigh(netlist: Netlist, activity: Activity, nets: _Electrical, rules: Rules) -> Power:
    """Power without any guard."""
    activity = activity.bounded()
    count = len(netlist.instances)
    internal, switching, leakage, clock_internal, clock_switching = (np.zeros(count) for _ in range(5))
    for group in _groups(netlist, activity, nets.clocks):
        chosen = group.instances
        for name, net in group.nets.items():
            pin = group.cell.pins[name]
            inner = _internal(group, pin, nets, rules)
            outer = np.zeros(net.size)
            if pin.direction in ("output", "inout"):
                outer = 0.5 * nets.load[net] * pin.voltage**2 * group.toggles[name]
            internal[chosen] += inner
            switching[chosen] += outer
            in_clock = group.is_clock[name] & (group.cell.memory is None)
            clock_internal[chosen] += np.where(in_clock, inner, 0.0)
            clock_switching[chosen] += np.where(in_clock, outer, 0.0)
        leakage[chosen] = rules.leakage(group)
    voltage = _voltage(netlist)
    ports = {
        name: float(sum(0.5 * nets.load[net] * voltage**2 * activity.toggles[net] for net in port))
        for name, port in netlist.inputs.items()
    }
    return Power(
        netlist=netlist,
        period=activity.period,
        internal=internal,
        switching=switching,
        leakage=leakage,
        clock_internal=clock_internal,
        clock_switching=clock_switching,
        ports=ports,
        slews=nets.slews,
    )


def _internal(group: Group, pin: Pin, nets: _Electrical, rules: Rules) -> FloatArray:
    """Internal energy per cycle that a pin spends, in each instance of a group, in joule."""
    net = group.nets[pin.name]
    is_output = pin.direction in ("output", "inout")
    rates = rules.output_rates(group, pin) if is_output else [rules.input_rate(group, pin, arc) for arc in pin.power]
    load = nets.load[net] if is_output else np.zeros(net.size)
    spent = np.zeros(net.size)
    for arc, rate in zip(pin.power, rates, strict=True):
        source = group.nets.get(arc.related, net)
        slews = nets.rise[source], nets.fall[source]
        if is_output and arc.related and rules.inverted(pin, arc):
            slews = slews[::-1]
        spent += rate * _energy(arc.rise, arc.fall, slews, load)
    return spent


def _voltage(netlist: Netlist) -> float:
    """Supply of the first output pin, in volt."""
    for instance in netlist.instances:
        for name in instance.cell.outputs:
            return instance.cell.pins[name].voltage
    return 0.0
