"""From the sum that OpenSTA 2.0.17 gives for a netlist and its activity to the figure of a report, rule by rule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmu_hw.cells.conditions import Conditions
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.engine import weigh_unguarded
from lmu_hw.power.evidence import Evidence
from lmu_hw.power.opensta import OpenSta2019Rules
from lmu_hw.power.report import Report
from lmu_hw.power.result import Power
from lmu_hw.power.rules import FloatArray, Group, StateRules

__all__ = ["CheckStep", "find_evidence", "find_steps", "opensta_activity"]


@dataclass(frozen=True)
class CheckStep:
    """Energy of a frame after one more rule was changed.

    Parameters
    ----------
    rule : str
        The rule that differs from the step before.
    internal, switching, leakage : float
        In joule per frame. The estimated clock tree counts as switching.
    """

    rule: str
    internal: float
    switching: float
    leakage: float

    @property
    def dynamic(self) -> float:
        """Internal and switching energy in joule per frame."""
        return self.internal + self.switching

    @property
    def frame(self) -> float:
        """Joule per frame."""
        return self.dynamic + self.leakage

    def to_dict(self) -> dict[str, float | str]:
        """JSON form, in nanojoules."""
        energies = {
            "dynamic_nJ_per_frame": self.dynamic,
            "leakage_nJ_per_frame": self.leakage,
            "nJ_per_frame": self.frame,
        }
        return {"rule": self.rule} | {name: joules * 1e9 for name, joules in energies.items()}


class _OldLeakage(StateRules):
    """Energies as here, leakage as in OpenSTA 2.0.17."""

    def leakage(self, group: Group) -> FloatArray:
        return OpenSta2019Rules().leakage(group)


def find_evidence(report: Report) -> Evidence:
    """What a report was computed from.

    Raises
    ------
    ValueError
        If the report is not of tier gates.
    """
    if report.evidence is None:
        raise ValueError(f"a report of tier gates is needed, which has a netlist, not one of tier {report.tier}")
    return report.evidence


def opensta_activity(evidence: Evidence, kind: str) -> Activity:
    """The activity as OpenSTA 2.0.17 takes it: every net of the clock network moves twice a cycle, gated or not."""
    activity = evidence.activities[kind]
    clocks = clock_nets(evidence.netlist, evidence.conditions.clock)
    return replace(
        activity,
        toggles=np.where(clocks, 2.0, activity.toggles),
        duty=np.where(clocks, 0.5, activity.duty),
        accesses={},
    )


def _opensta_conditions(conditions: Conditions) -> Conditions:
    """Upper ends of capacitance ranges, and no limit on edges."""
    return Conditions(
        wires=conditions.wires, input_slew=conditions.input_slew, clock=conditions.clock, upper_capacitance=True
    )


def find_steps(report: Report, kind: str) -> tuple[CheckStep, ...]:
    """Energy of a frame by the rules of OpenSTA 2.0.17, and after each rule that differs here.

    Parameters
    ----------
    report : Report
        Of tier gates.
    kind : str
        Of sound.

    Returns
    -------
    tuple of CheckStep
        The first is what OpenSTA gives, the last is the report's own figure with estimates.

    Raises
    ------
    ValueError
        If the report is of another tier.
    """
    evidence = find_evidence(report)
    conditions, netlist = evidence.conditions, evidence.netlist
    counted, joint = replace(evidence.activities[kind], accesses={}), evidence.activities[kind]
    old, plain = _opensta_conditions(conditions), replace(_opensta_conditions(conditions), upper_capacitance=False)
    same = weigh_unguarded
    powers: Sequence[tuple[str, Power]] = (
        ("OpenSTA 2.0.17", same(netlist, opensta_activity(evidence, kind), old, OpenSta2019Rules())),
        ("gated clocks move as counted, not twice in every cycle", same(netlist, counted, old, OpenSta2019Rules())),
        (
            "a change costs the mean of its rise and fall energies, weighted by the states of the cell",
            same(netlist, counted, old, _OldLeakage()),
        ),
        ("leakage by state", same(netlist, counted, old)),
        ("accesses of memory macros: enable, write and read together", same(netlist, joint, old)),
        ("pin capacitances as stated, not the upper ends of their ranges", same(netlist, joint, plain)),
        ("no edge slower than the library allows, clock edges a quarter of that", same(netlist, joint, conditions)),
    )
    rate, cycles = report.point.frame_rate, report.point.clock / report.point.frame_rate
    steps = []
    for rule, power in powers:
        total = power.total()
        steps.append(CheckStep(rule, total.internal * cycles, total.switching * cycles, total.leakage / rate))
    tree = evidence.trees[kind]
    last = steps[-1]
    return (
        *steps,
        CheckStep(
            "the estimated clock tree is added",
            last.internal,
            last.switching + tree.energy * cycles,
            last.leakage + tree.leakage / rate,
        ),
    )
