"""Guards against wrong power figures. Each refuses with its reason.

`lmu_hw.power.engine.find_power` applies them all.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import HIGH, LOW, Netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.cells.transitions import longest_edge
from lmu_hw.flows.synth import MappedMemory
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.result import Power

__all__ = [
    "MAX_CELL_LEAKAGE",
    "MAX_DATA_TOGGLES",
    "MAX_SLOW_PART",
    "MIN_COVERAGE",
    "PowerRefused",
    "check_accesses",
    "check_activity",
    "check_clock",
    "check_conserved",
    "check_coverage",
    "check_edges",
    "check_leakage",
    "check_limits",
    "check_memories",
    "check_settled",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_COVERAGE = 0.99
"""Smallest part of the pins whose activity must have been counted."""

MAX_DATA_TOGGLES = 2.0
"""Most changes per cycle that a net of a zero-delay netlist can have: up and down once with the clock."""

MAX_SLOW_PART = 0.05
"""Largest part of the nets that place and route is trusted to make faster."""

MAX_CELL_LEAKAGE = 1e-5
"""Watt that a mean cell can leak at most: hundreds of times what the leakiest of the open 45 nm cells do."""

SMALL_MEMORY = 64
"""Bits up to which a memory is a register by another name."""

ROUNDING = 1e-9
"""Relative error of sums of floats."""


class PowerRefused(ValueError):
    """A power figure would be wrong."""


def _name(netlist: Netlist, net: int) -> str:
    return netlist.names.get(net, f"net {net}")


def check_coverage(netlist: Netlist, activity: Activity, least: float = MIN_COVERAGE) -> float:
    """Refuse an activity that was not counted for enough pins.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Activity of its nets.
    least : float
        Smallest part of the pins, 0 to 1.

    Returns
    -------
    float
        The part that was counted.

    Raises
    ------
    PowerRefused
        If it is too small, naming some of the nets that are missing.
    """
    if activity.toggles.size != netlist.nets:
        raise PowerRefused(
            f"the activity is of {activity.toggles.size} nets, the netlist {netlist.top} has {netlist.nets}"
        )
    coverage = activity.coverage(netlist)
    if coverage < least:
        missing = [_name(netlist, net) for net in np.flatnonzero(~activity.known).tolist()]
        raise PowerRefused(
            f"activity is known for {coverage:.1%} of the pins, {least:.0%} are needed; missing are "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}"
        )
    return coverage


def check_clock(netlist: Netlist, activity: Activity, clock: str, period: float) -> None:
    """Refuse an activity that was taken at another clock than the figure is for.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Activity of its nets.
    clock : str
        Name of the clock port.
    period : float
        Clock period of the constraint in seconds.

    Raises
    ------
    PowerRefused
        If the clock port does not change twice per cycle, or the period that its edges have in the simulated time is
        not that of the constraint.
    """
    toggles = float(activity.toggles[netlist.inputs[clock][0]])
    if abs(toggles - 2) > 1e-6:
        raise PowerRefused(f"the clock {clock} changes {toggles:g} times per cycle of the activity, not twice")
    measured = 2 * activity.period / toggles
    if not math.isclose(measured, period, rel_tol=1e-6):
        raise PowerRefused(
            f"the edges of {clock} have a period of {measured:g} s in the activity, the constraint says {period:g} s"
        )


def check_settled(activity: Activity, period: float) -> None:
    """Refuse an activity whose nets need longer to settle than half a clock cycle takes.

    Parameters
    ----------
    activity : Activity
        Activity of the nets of a netlist.
    period : float
        Clock period of the constraint in seconds.

    Raises
    ------
    PowerRefused
        If a net changed later after an edge than the next edge comes, with both times.
    """
    if activity.settled_after > period / 2:
        raise PowerRefused(
            f"nets change up to {activity.settled_after * 1e9:.4g} ns after an edge of the clock, the next edge comes "
            f"after {period / 2 * 1e9:.4g} ns: choose a slower clock"
        )


def check_activity(netlist: Netlist, activity: Activity, clock: str) -> None:
    """Refuse an activity that no simulation can give.

    The settled values must be those of a zero-delay simulation. Delays only add changes.

    Counts are checked without tolerance, except for rounding. An activity that was combined from others must be their
    weighted sum. Its parts are then checked instead of its duties. Where frames overlap, a weight is negative, and the
    duties of the sum are off by the idle time that it subtracts (see `Activity.parts`).

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Activity of its nets, as counted.
    clock : str
        Name of the clock port.

    Raises
    ------
    PowerRefused
        If a settled net changes more often than the clock, a duty is not a probability, or a constant moves. Also if a
        net changes but is never high or never low, or never changes in a single run but is high for part of it. Also if
        a net with glitches changes less often than without.
    """
    _check_activity(netlist, activity, clock_nets(netlist, clock))


def _check_activity(netlist: Netlist, activity: Activity, clocks: BoolArray) -> None:
    if activity.settled is not None:
        _check_glitches(netlist, activity, activity.settled)
        _check_activity(netlist, activity.settled, clocks)
        if activity.parts:
            _check_sum(netlist, activity)
        return
    _check_toggles(netlist, activity)
    if activity.parts:
        for _, part in activity.parts:
            _check_activity(netlist, part, clocks)
        _check_sum(netlist, activity)
    else:
        _check_duty(netlist, activity, clocks)


def _check_sum(netlist: Netlist, activity: Activity) -> None:
    """Refuse an activity that is not what its parts add up to."""
    for name in ("toggles", "duty"):
        values = getattr(activity, name)
        expected = sum(weight * getattr(part, name) for weight, part in activity.parts)
        wrong = np.flatnonzero(~np.isclose(values, expected, rtol=ROUNDING, atol=ROUNDING))
        if wrong.size:
            net = int(wrong[0])
            raise PowerRefused(
                f"the {name} of {_name(netlist, net)} is {values[net]:g}, its parts add up to {expected[net]:g}"
            )


def _check_toggles(netlist: Netlist, activity: Activity) -> None:
    toggles = activity.toggles
    if not (np.isfinite(toggles).all() and np.isfinite(activity.duty).all()):
        raise PowerRefused("the activity has values that are not numbers")
    most, least = int(np.argmax(toggles)), int(np.argmin(toggles))
    if toggles[most] > MAX_DATA_TOGGLES + ROUNDING:
        raise PowerRefused(
            f"{_name(netlist, most)} changes {toggles[most]:g} times per cycle, "
            f"a net of a zero-delay netlist at most {MAX_DATA_TOGGLES:g} times"
        )
    if toggles[least] < -ROUNDING:
        raise PowerRefused(f"{_name(netlist, least)} changes {toggles[least]:g} times per cycle")
    if toggles[[LOW, HIGH]].any():
        raise PowerRefused("a constant changes")


def _check_glitches(netlist: Netlist, activity: Activity, settled: Activity) -> None:
    toggles = activity.toggles
    if not np.isfinite(toggles).all():
        raise PowerRefused("the activity has values that are not numbers")
    if toggles[[LOW, HIGH]].any():
        raise PowerRefused("a constant changes")
    fewer = np.flatnonzero(toggles < settled.toggles * (1 - ROUNDING) - ROUNDING)
    if fewer.size:
        net = int(fewer[0])
        raise PowerRefused(
            f"{_name(netlist, net)} changes {toggles[net]:g} times per cycle with glitches, "
            f"{settled.toggles[net]:g} times without"
        )


def _check_duty(netlist: Netlist, activity: Activity, clocks: BoolArray) -> None:
    toggles, duty = activity.toggles, activity.duty
    often = toggles > 2 / max(activity.cycles, 1) + ROUNDING
    fraction = np.minimum(abs(duty), abs(1 - duty)) > ROUNDING
    for wrong, text in (
        ((duty < -ROUNDING) | (duty > 1 + ROUNDING), "is high for {high:g} of the time"),
        (
            ~clocks & activity.known & often & ((duty <= 0) | (duty >= 1)),
            "changes {changes:g} times per cycle but is high for {high:g} of the time",
        ),
        (
            activity.known & (toggles == 0) & fraction & (activity.runs == 1),
            "never changes but is high for {high:g} of the time",
        ),
    ):
        if wrong.any():
            net = int(np.flatnonzero(wrong)[0])
            raise PowerRefused(f"{_name(netlist, net)} {text.format(changes=toggles[net], high=duty[net])}")
    for net, level in ((LOW, 0), (HIGH, 1)):
        if abs(duty[net] - level) > ROUNDING:
            raise PowerRefused(f"the constant {level} is high for {duty[net]:g} of the time")


def check_accesses(netlist: Netlist, activity: Activity, tolerance: float = 1e-3) -> None:
    """Refuse memory macros whose accesses were not counted, or do not match the activity of their nets.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Activity of its nets.
    tolerance : float
        Events per cycle by which counts may differ.

    Raises
    ------
    PowerRefused
        If a macro has no accesses, or its clock edges or the changes of an input are others than those of its nets.
    """
    for index, instance in enumerate(netlist.instances):
        macro = find_macro(instance.cell)
        if macro is None:
            continue
        accesses = activity.accesses.get(index)
        if accesses is None:
            raise PowerRefused(f"the accesses of {instance.name} ({instance.cell.name}) are not known")
        edges, clock = float(accesses.edges.sum()), 0.5 * float(activity.toggles[instance.nets[macro.clock]])
        if abs(edges - clock) > tolerance:
            raise PowerRefused(
                f"{instance.name} has accesses for {edges:g} clock edges a cycle, its clock has {clock:g}"
            )
        for pin, enabled in accesses.enabled.items():
            toggles = float(activity.toggles[instance.nets[pin]])
            if enabled > toggles + tolerance:
                raise PowerRefused(
                    f"{pin} of {instance.name} changes {enabled:g} times per cycle enabled, in all {toggles:g} times"
                )


def check_memories(memories: Iterable[MappedMemory], accepted: Sequence[str] = (), small: int = SMALL_MEMORY) -> None:
    """Refuse writable memories that became flip-flops because no macro was there, unless they are accepted by name.

    Parameters
    ----------
    memories : iterable of MappedMemory
        Memories of the synthesis.
    accepted : sequence of str
        Names of memories that may be flip-flops; ``*`` for all.
    small : int
        Bits up to which a memory may be.

    Raises
    ------
    PowerRefused
        If there are others, naming them.
    """
    wrong = [
        memory
        for memory in memories
        if memory.built_of == "flip-flops"
        and not memory.chosen
        and memory.bits > small
        and memory.name not in accepted
        and "*" not in accepted
    ]
    if wrong:
        listed = ", ".join(f"{memory.name} ({memory.depth} x {memory.width} bits)" for memory in wrong)
        raise PowerRefused(
            f"built of flip-flops, as no chip would: {listed}; accept them by name, or map them to macros"
        )


def check_edges(netlist: Netlist, slews: FloatArray, clocks: BoolArray) -> float:
    """Refuse a netlist with more slow edges than place and route is trusted to mend.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    slews : ndarray of float64, shape (nets,)
        Longer transition time of each net in seconds, as synthesis left it: before anything is clipped.
    clocks : ndarray of bool, shape (nets,)
        Nets of the clock network, which gets a tree.

    Returns
    -------
    float
        Part of the other nets whose edges are slower than the library allows, 0 to 1; 0 if it has no limits.

    Raises
    ------
    PowerRefused
        If that part is above `MAX_SLOW_PART`.
    """
    data = slews[~clocks]
    slow_part = float(np.mean(data > longest_edge(netlist))) if data.size else 0.0
    if slow_part > MAX_SLOW_PART:
        raise PowerRefused(
            f"{slow_part:.1%} of the nets have edges slower than the library allows, more than the "
            f"{MAX_SLOW_PART:.0%} that place and route is trusted to mend: synthesise with a delay, which adds buffers"
        )
    return slow_part


def check_limits(power: Power) -> None:
    """Refuse edges slower than the library allows. Their energies would be extrapolated, and too high.

    Pins of memory macros are left out: their energies do not depend on transition times.

    Parameters
    ----------
    power : Power
        Power of a netlist after the conditions have limited its transition times.

    Raises
    ------
    PowerRefused
        If a transition time is above its pin's limit.
    """
    excess = 0.0
    for instance in power.netlist.instances:
        if instance.cell.memory is not None:
            continue
        for name, net in instance.nets.items():
            limit = instance.cell.pins[name].max_transition
            if limit:
                excess = max(excess, float(power.slews[net]) / limit)
    if excess > 1:
        raise PowerRefused(
            f"an edge takes {excess:.1f} times as long as the library allows: "
            "synthesise with a delay, which adds buffers"
        )


def check_leakage(power: Power) -> None:
    """Refuse leakage that real cells do not have, such as that of a wrong unit.

    Parameters
    ----------
    power : Power
        Power of a netlist.

    Raises
    ------
    PowerRefused
        If a cell's leakage is negative, all is zero, or the mean cell leaks more than `MAX_CELL_LEAKAGE`.
    """
    cells = np.array([instance.cell.memory is None for instance in power.netlist.instances], dtype=bool)
    if not cells.any():
        return
    worst = int(np.argmin(power.leakage))
    if power.leakage[worst] < 0:
        instance = power.netlist.instances[worst]
        raise PowerRefused(
            f"{instance.name} ({instance.cell.name}) leaks {power.leakage[worst]:g} W: the library makes no sense"
        )
    mean = float(power.leakage[cells].mean())
    if mean == 0:
        raise PowerRefused("no cell leaks: the library gives no leakage")
    if mean > MAX_CELL_LEAKAGE:
        raise PowerRefused(
            f"the mean cell leaks {mean:g} W, a real one less than {MAX_CELL_LEAKAGE:g} W: the library makes no sense"
        )


def check_conserved(power: Power, label: Callable[[str], str] = str) -> None:
    """Refuse a table whose blocks do not add up to its total.

    Parameters
    ----------
    power : Power
        Power of a netlist.
    label : callable
        See `Power.blocks`.

    Raises
    ------
    PowerRefused
        If they differ by more than rounding, or an instance has an energy that is not a number.
    """
    total = power.total()
    blocks = power.blocks(label).values()
    for name in ("internal", "switching", "leakage", "area", "instances"):
        whole, parts = getattr(total, name), sum(getattr(block, name) for block in blocks)
        if not np.isfinite(whole) or abs(whole - parts) > 1e-9 * abs(whole):
            raise PowerRefused(f"the {name} of the blocks adds up to {parts:g}, that of all instances is {whole:g}")
