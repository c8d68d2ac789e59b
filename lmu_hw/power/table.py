"""The tiers table and rtl: exact counts of an accelerator's plan times the prices of a technology's table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmu_hw.cells.memory_cost import Cost
from lmu_hw.plan.plan import Plan
from lmu_hw.power.feature_names import Feature, FeatureCounts
from lmu_hw.power.features import MEMORY_ROWS, cycle_counts, frame_counts, running_cycles, size_counts
from lmu_hw.power.fit import weigh
from lmu_hw.power.heat import Heat, find_rule, heat_by_rule, why_no_rule
from lmu_hw.power.memory_use import accesses, is_constant, row_of_memory, usages
from lmu_hw.power.rates import Rates
from lmu_hw.power.report import CLOCK_TREE, ESTIMATED, KINDS, TABLE, Area, OperatingPoint, Report, Row
from lmu_hw.power.rows import ROWS
from lmu_hw.power.technology import Energy, MemoryCosts, Technology

__all__ = ["Built", "Figures", "build", "counted_frame", "counted_size", "energy", "estimate", "report"]

MACROS = "macros"


@dataclass(frozen=True)
class Built:
    """What the memories of an accelerator are made of.

    Parameters
    ----------
    built_of : dict of str to {"logic", "flip-flops", "macros"}
        Kind of cells of each memory.
    macros : dict of str to Cost
        Costs of the memories that are made of macros.
    """

    built_of: dict[str, str]
    macros: dict[str, Cost]


def build(plan: Plan, memories: MemoryCosts, point: OperatingPoint) -> Built:
    """Choose the cells of every memory as synthesis does.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    memories : MemoryCosts
        Costs of a technology.
    point : OperatingPoint
        Clock and frame rate.
    """
    used, built_of, macros = usages(plan, point), {}, {}
    for memory in plan.memories:
        if is_constant(plan, memory):
            built_of[memory.name] = "logic"
            continue
        if plan.register_bank(memory):
            built_of[memory.name] = "flip-flops"
            continue
        built_of[memory.name], cost = memories.choose(max(2, memory.depth), memory.width, used[memory.name])
        if built_of[memory.name] == MACROS:
            macros[memory.name] = cost
    return Built(built_of, macros)


def counted_frame(plan: Plan, rates: Rates, built: Built) -> FeatureCounts:
    """Count a frame; the energy of memory macros is a count of its own."""
    counts, used = frame_counts(plan, rates, built.built_of), accesses(plan, rates.nonzero)
    for row in MEMORY_ROWS:
        counts[row][Feature.MACROS] = 0.0
    for memory in plan.memories:
        cost = built.macros.get(memory.name)
        if cost is not None:
            access = used[memory.name]
            resting = running_cycles(plan, rates.nonzero) - access.reads - access.writes
            resting = 0.0 if plan.config.gate_blocks else resting
            energy = access.reads * cost.read + access.writes * cost.write + resting * cost.idle
            counts[row_of_memory(memory)][Feature.MACROS] += energy
    return counts


def counted_size(plan: Plan, built: Built, quantity: str) -> FeatureCounts:
    """Count leakage or area; that of memory macros is a count of its own."""
    counts = size_counts(plan, built.built_of)
    for row in MEMORY_ROWS:
        counts[row][Feature.MACROS] = 0.0
    for memory in plan.memories:
        cost = built.macros.get(memory.name)
        if cost is not None:
            counts[row_of_memory(memory)][Feature.MACROS] += getattr(cost, quantity)
    return counts


@dataclass(frozen=True)
class Figures:
    """Figures of an accelerator by row.

    Parameters
    ----------
    frame : dict of str to float
        Joule from frame to frame at the operating point.
    leakage : dict of str to float
        Watt.
    area : dict of str to float
        Square micrometre.
    macro_area : float
        Area of the macros, in square micrometre; part of `area`.
    """

    frame: dict[str, float]
    leakage: dict[str, float]
    area: dict[str, float]
    macro_area: float

    def energy(self, frame_rate: float) -> Energy:
        """Energy per frame of all rows but the estimated one."""
        return energy(self.frame, self.leakage, frame_rate)


def energy(frame: Mapping[str, float], leakage: Mapping[str, float], frame_rate: float) -> Energy:
    """Energy per frame from joule per frame and watt by row; the estimated row is left out."""
    dynamic, leaking = (
        sum(value for row, value in part.items() if row != CLOCK_TREE) for part in (frame, leakage)
    )
    return Energy(dynamic, leaking / frame_rate)


def estimate(plan: Plan, technology: Technology, point: OperatingPoint, rates: Rates) -> Figures:
    """Estimate an accelerator from its counts.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    technology : Technology
        The table.
    point : OperatingPoint
        Clock and frame rate.
    rates : Rates
        Changes per frame: typical ones (tier ``table``) or those of the frames (tier ``rtl``).

    Returns
    -------
    Figures
        Figures by row.

    Raises
    ------
    ValueError
        If the table was not measured with the accelerator's levers.
    """
    energies = technology.energies(plan.config)
    built = build(plan, technology.memories, point)
    frame = weigh(counted_frame(plan, rates, built), energies.frame)
    rest = weigh(cycle_counts(plan, built.built_of), energies.cycle)
    for row, energy in rest.items():
        frame[row] += energy * point.idle_cycles
    resting = 0.0 if plan.config.gates_clock else sum(cost.idle for cost in built.macros.values())
    frame["state memory"] += resting * point.idle_cycles
    return Figures(
        frame=frame,
        leakage=weigh(counted_size(plan, built, "leakage"), energies.leakage),
        area=weigh(counted_size(plan, built, "area"), energies.area),
        macro_area=sum(cost.area for cost in built.macros.values()),
    )


def report(
    plan: Plan, technology: Technology, point: OperatingPoint, tier: str, rates: Mapping[str, Rates]
) -> Report:
    """Report of the tier ``table`` or ``rtl``.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    technology : Technology
        The table.
    point : OperatingPoint
        Clock and frame rate.
    tier : {"table", "rtl"}
        Which.
    rates : mapping of str to Rates
        Rates by kind of sound.
    """
    rows = {}
    figures = None
    for kind in sorted(rates, key=KINDS.index):
        figures = estimate(plan, technology, point, rates[kind])
        rows[kind] = tuple(
            Row(
                name,
                figures.frame[name],
                figures.leakage[name],
                figures.area[name],
                ESTIMATED if name == CLOCK_TREE else TABLE,
            )
            for name in (*ROWS, CLOCK_TREE)
        )
    if figures is None:
        raise ValueError("there must be one kind of sound at least")
    total = sum(area for row, area in figures.area.items() if row != CLOCK_TREE)
    gates = (total - figures.macro_area) / technology.gate_area if technology.gate_area else math.nan
    described: dict[str, Any] = {
        "name": technology.name,
        "node_nm": technology.node,
        "voltage_V": technology.voltage,
        "temperature_C": technology.temperature,
    } | technology.provenance
    return Report(
        tier=tier,
        technology=described,
        point=point,
        rows=rows,
        area=Area(total, figures.macro_area, gates, technology.memories.model and figures.macro_area > 0),
        band=technology.energies(plan.config).band(tier),
        missing=() if technology.energies(plan.config).glitches else ("glitches",),
        heat=_heat(technology, rows, macros=figures.macro_area > 0),
    )


def _heat(technology: Technology, rows: Mapping[str, tuple[Row, ...]], *, macros: bool) -> Heat:
    """Leakage at several temperatures. A table has that of one, so that a rule is needed for the others."""
    leakage = {kind: sum(row.leakage for row in of_kind) for kind, of_kind in rows.items()}
    reason = f"the table has leakage at {technology.temperature:g} °C only, and {why_no_rule(technology.name)}"
    rule = find_rule(technology.name, technology.voltage)
    return heat_by_rule(leakage, technology.temperature, rule, reason=reason, macros=macros)
