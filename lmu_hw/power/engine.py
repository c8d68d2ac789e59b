"""Power of a netlist from its activity: internal, switching and leakage, instance by instance.

Energies come from the library's tables by input transition time and output load, and are spent as often as the rules
of `lmu_hw.power.rules` say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.liberty import Table
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.cells.transitions import find_loads, find_transitions
from lmu_hw.power.activity import Accesses, Activity, clock_nets
from lmu_hw.power.rules import Group, Rules, StateRules

__all__ = ["BlockPower", "Power", "find_power", "slew_excess"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


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


@dataclass(frozen=True, eq=False, repr=False)
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
    clock_internal, clock_switching : ndarray of float64, shape (instances,)
        The parts of `internal` and `switching` that are spent at pins and nets of the clock network. What a memory
        macro's clock pin costs is its access, and in neither.
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
    clock_internal: FloatArray
    clock_switching: FloatArray
    ports: dict[str, float]
    slews: FloatArray

    @property
    def clock(self) -> FloatArray:
        """Energy spent in the clock network by each instance, in joule per cycle."""
        return self.clock_internal + self.clock_switching

    def total(self) -> BlockPower:
        """Sums over all instances."""
        return self.sum_of(np.arange(len(self.netlist.instances)))

    def sum_of(self, chosen: IntArray) -> BlockPower:
        """Sums over some instances, given by their indices."""
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
        return {name: self.sum_of(np.array(indices)) for name, indices in sorted(chosen.items())}

    def watts(self) -> tuple[float, float, float]:
        """Internal, switching and leakage power in watt at the clock period."""
        total = self.total()
        return total.internal / self.period, total.switching / self.period, total.leakage


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


def _accesses(activity: Activity, indices: IntArray) -> tuple[Accesses, ...] | None:
    """Of all instances, or of none."""
    found = [activity.accesses.get(index) for index in indices.tolist()]
    return tuple(one for one in found if one is not None) if None not in found else None


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
    conditions: Conditions | None = None,
    rules: Rules | None = None,
) -> Power:
    """Compute internal, switching and leakage power of every instance.

    Parameters
    ----------
    netlist : Netlist
        From `lmu_hw.cells.netlist.read_netlist`.
    activity : Activity
        Of its nets.
    conditions : Conditions, optional
        Wires, transition times at the inputs, clock; the defaults of `Conditions` if not given.
    rules : Rules, optional
        How states weigh; `StateRules` if not given.

    Returns
    -------
    Power
        By instance; sums by block.
    """
    conditions = Conditions() if conditions is None else conditions
    rules = StateRules() if rules is None else rules
    loads = find_loads(netlist, conditions.wires, upper=conditions.upper_capacitance)
    rise, fall = find_transitions(netlist, loads, conditions.input_slew)
    load = loads.largest
    clocks = clock_nets(netlist, conditions.clock)
    for edges in (rise, fall):
        np.minimum(edges, conditions.longest_slew, out=edges)
        edges[clocks] = np.minimum(edges[clocks], conditions.clock_slew)
    count = len(netlist.instances)
    internal, switching, leakage, clock_internal, clock_switching = (np.zeros(count) for _ in range(5))
    for group in _groups(netlist, activity, clocks):
        inner, outer, clock_inner, clock_outer = (np.zeros(group.instances.size) for _ in range(4))
        for name, net in group.nets.items():
            pin = group.cell.pins[name]
            is_output = pin.direction in ("output", "inout")
            rates = (
                rules.output_rates(group, pin)
                if is_output
                else [rules.input_rate(group, pin, power) for power in pin.power]
            )
            spent = np.zeros(group.instances.size)
            for power, rate in zip(pin.power, rates, strict=True):
                source = group.nets.get(power.related, net)
                slews = rise[source], fall[source]
                if is_output and power.related and rules.inverted(pin, power):
                    slews = slews[::-1]
                energy = _energy(power.rise, power.fall, slews, load[net] if is_output else np.zeros(net.size))
                spent += rate * energy
            inner += spent
            moved = 0.5 * load[net] * pin.voltage**2 * group.toggles[name] if is_output else np.zeros(net.size)
            outer += moved
            ticking = group.is_clock[name] & (group.cell.memory is None)
            clock_inner += np.where(ticking, spent, 0.0)
            clock_outer += np.where(ticking, moved, 0.0)
        internal[group.instances], switching[group.instances] = inner, outer
        clock_internal[group.instances], clock_switching[group.instances] = clock_inner, clock_outer
        leakage[group.instances] = rules.leakage(group)
    voltage = _voltage(netlist)
    ports = {
        name: float(sum(0.5 * load[net] * voltage**2 * activity.toggles[net] for net in nets))
        for name, nets in netlist.inputs.items()
    }
    return Power(
        netlist,
        activity.period,
        internal,
        switching,
        leakage,
        clock_internal,
        clock_switching,
        ports,
        np.maximum(rise, fall),
    )


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
        The largest ratio of all pins but those of memory macros, whose energies do not depend on it; 0 if the library
        has no limits.
    """
    worst = 0.0
    for instance in power.netlist.instances:
        if instance.cell.memory is not None:
            continue
        for name, net in instance.nets.items():
            limit = instance.cell.pins[name].max_transition
            if limit:
                worst = max(worst, float(power.slews[net]) / limit)
    return worst
