"""What keeps a wrong power figure from being printed: each guard refuses with its reason."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lmu_hw.cells.netlist import HIGH, LOW, Netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.flows.synth import MappedMemory
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.engine import Power, slew_excess

__all__ = [
    "MAX_DATA_TOGGLES",
    "MIN_COVERAGE",
    "PowerRefused",
    "check_accesses",
    "check_activity",
    "check_all",
    "check_clock",
    "check_conserved",
    "check_coverage",
    "check_edges",
    "check_memories",
]

MIN_COVERAGE = 0.99
"""Smallest part of the pins whose activity must have been observed."""

MAX_DATA_TOGGLES = 2.0
"""Most changes per cycle that a net of a zero-delay netlist can have: up and down once with the clock."""

SMALL_MEMORY = 64
"""Bits up to which a memory is a register by another name."""


class PowerRefused(ValueError):
    """A power figure would be wrong."""


def check_coverage(netlist: Netlist, activity: Activity, least: float = MIN_COVERAGE) -> float:
    """Refuse an activity that leaves pins out.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Of its nets.
    least : float
        Smallest part of the pins, 0 to 1.

    Returns
    -------
    float
        The part that was observed.

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
        missing = [netlist.names.get(net, f"net {net}") for net in np.flatnonzero(~activity.known).tolist()]
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
        Of its nets.
    clock : str
        Name of the clock port.
    period : float
        Clock period of the constraint in seconds.

    Raises
    ------
    PowerRefused
        If the periods differ, or the clock port does not change twice per cycle.
    """
    if not np.isclose(activity.period, period, rtol=1e-6, atol=0):
        raise PowerRefused(
            f"the activity was taken with a clock period of {activity.period:g} s, the constraint says {period:g} s"
        )
    toggles = float(activity.toggles[netlist.inputs[clock][0]])
    if abs(toggles - 2) > 1e-6:
        raise PowerRefused(f"the clock {clock} changes {toggles:g} times per cycle of the activity, not twice")


def check_activity(netlist: Netlist, activity: Activity, clock: str) -> None:
    """Refuse an activity that no zero-delay simulation can give.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Of its nets.
    clock : str
        Name of the clock port.

    Raises
    ------
    PowerRefused
        If a net changes more often than the clock, a duty is not a probability, a constant moves, or a net that
        changes is never high or never low.
    """
    names = netlist.names
    toggles, duty = activity.toggles, activity.duty
    if not (np.isfinite(toggles).all() and np.isfinite(duty).all()):
        raise PowerRefused("the activity has values that are not numbers")
    worst = int(np.argmax(toggles))
    if toggles[worst] > MAX_DATA_TOGGLES + 1e-9:
        raise PowerRefused(
            f"{names.get(worst, f'net {worst}')} changes {toggles[worst]:g} times per cycle, "
            f"a net of a zero-delay netlist at most {MAX_DATA_TOGGLES:g} times"
        )
    if toggles.min() < 0:
        raise PowerRefused(f"a net changes {toggles.min():g} times per cycle")
    outside = (duty < -1e-9) | (duty > 1 + 1e-9)
    if outside.any():
        net = int(np.flatnonzero(outside)[0])
        raise PowerRefused(f"{names.get(net, f'net {net}')} is high for {duty[net]:g} of the time")
    if toggles[[LOW, HIGH]].any():
        raise PowerRefused("a constant changes")
    data = ~clock_nets(netlist, clock) & activity.known & (toggles > 2 / max(activity.cycles, 1) + 1e-9)
    stuck = data & ((duty <= 0) | (duty >= 1))
    if stuck.any():
        net = int(np.flatnonzero(stuck)[0])
        raise PowerRefused(
            f"{names.get(net, f'net {net}')} changes {toggles[net]:g} times per cycle "
            f"but is high for {duty[net]:g} of the time"
        )


def check_accesses(netlist: Netlist, activity: Activity, tolerance: float = 1e-3) -> None:
    """Refuse memory macros whose pins were not observed jointly, or not as their nets were.

    Parameters
    ----------
    netlist : Netlist
        The netlist.
    activity : Activity
        Of its nets.
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
    """Refuse writable memories that became flip-flops without anyone saying so, for want of a macro.

    Parameters
    ----------
    memories : iterable of MappedMemory
        Of the synthesis.
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


def check_edges(power: Power) -> None:
    """Refuse a netlist with edges slower than the library allows: their energies would be extrapolated, and too high.

    Parameters
    ----------
    power : Power
        Of a netlist.

    Raises
    ------
    PowerRefused
        If a transition time is above its pin's limit.
    """
    excess = slew_excess(power)
    if excess > 1:
        raise PowerRefused(
            f"an edge takes {excess:.1f} times as long as the library allows: "
            "synthesise with a delay, which adds buffers"
        )


def check_conserved(power: Power, label: Callable[[str], str] = str) -> None:
    """Refuse a table whose blocks do not add up to its total.

    Parameters
    ----------
    power : Power
        Of a netlist.
    label : callable
        As for `Power.blocks`.

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


def check_all(
    netlist: Netlist,
    activity: Activity,
    power: Power,
    *,
    clock: str,
    period: float,
    memories: Iterable[MappedMemory] = (),
    accepted: Sequence[str] = (),
) -> float:
    """Apply every guard.

    Parameters
    ----------
    netlist, activity, power : Netlist, Activity, Power
        What the figure comes from.
    clock : str
        Name of the clock port.
    period : float
        Clock period of the constraint in seconds.
    memories : iterable of MappedMemory
        Of the synthesis.
    accepted : sequence of str
        Memories that may be flip-flops.

    Returns
    -------
    float
        The part of the pins with known activity, 0 to 1.

    Raises
    ------
    PowerRefused
        With the reason of the first guard that refuses.
    """
    coverage = check_coverage(netlist, activity)
    check_clock(netlist, activity, clock, period)
    check_activity(netlist, activity, clock)
    check_accesses(netlist, activity)
    check_memories(memories, accepted)
    check_edges(power)
    check_conserved(power)
    return coverage
