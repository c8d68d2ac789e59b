"""The tiers table and rtl for a network with a level gate."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.gate import Gate, stretches
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.power import table
from lmu_hw.power.rates import Rates, find_rates
from lmu_hw.power.report import OperatingPoint, Report, Sleep
from lmu_hw.power.technology import Technology
from lmu_kit.sounds import Sounds, find_sounds

__all__ = ["estimate_gated"]

IntArray = NDArray[np.int64]

LEFT_OUT = ("level gate", "frames asleep")
"""What no table has a price for."""


def estimate_gated(
    plan: Plan, technology: Technology, point: OperatingPoint, tier: str, sounds: Sounds | None
) -> Report:
    """Report of the tier ``table`` or ``rtl`` for a network with a level gate.

    A frame that is awake costs what it costs without a gate. One that is asleep costs nothing here: tables price
    neither the gate nor a frame that is only received. Tier table knows no sounds, so that every frame is awake.

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
    sounds : dict of str to ndarray of int64, shape (clips, T, inputs), optional
        Of tier rtl; those that ship with the network if not given.
    """
    opened = make_plan(replace(plan.model, gate=None), plan.config)
    if tier == "table" or plan.model.gate is None:
        rates: Mapping[str, Rates] = technology.energies(plan.config).typical(opened)
        whole = table.report(opened, technology, point, tier, rates)
        return _with_sleep(whole, whole, dict.fromkeys(rates, 0.0))
    sounds = find_sounds(plan.model) if sounds is None else sounds
    every = {kind: find_rates(opened, frames) for kind, frames in sounds.items()}
    whole = table.report(opened, technology, point, tier, every)
    asleep = {kind: 1 - float(np.mean([plan.model.gate.awake(clip) for clip in sounds[kind]])) for kind in sounds}
    awake = {kind: _awake_rates(opened, plan.model.gate, frames) for kind, frames in sounds.items()}
    some = table.report(opened, technology, point, tier, {kind: awake[kind] or every[kind] for kind in sounds})
    rows = {
        kind: tuple(replace(row, frame=(1 - asleep[kind]) * row.frame) for row in some.rows[kind]) for kind in some.rows
    }
    return _with_sleep(replace(some, rows=rows), whole, asleep)


def _with_sleep(report: Report, whole: Report, asleep: Mapping[str, float]) -> Report:
    sleep = Sleep({kind: asleep[kind] for kind in report.rows}, {kind: whole.sums(kind) for kind in whole.rows})
    return replace(report, sleep=sleep, missing=(*report.missing, *LEFT_OUT))


def _awake_rates(opened: Plan, gate: Gate, clips: IntArray) -> Rates | None:
    """Changes per frame that is awake, over stretches that start from the zero state; None if all are asleep."""
    found: list[tuple[int, Rates]] = []
    for clip in clips:
        for start, end in stretches(gate.awake(clip)):
            found.append((end - start, find_rates(opened, clip[None, start:end])))
    if not found:
        return None
    total = sum(length for length, _ in found)

    def mean(name: str) -> float:
        return sum(length * float(getattr(rates, name)) for length, rates in found) / total

    nonzero = {}
    for name in {name for _, rates in found for name in rates.nonzero}:
        known = [(length, rates.nonzero[name]) for length, rates in found if name in rates.nonzero]
        nonzero[name] = sum(length * count for length, count in known) / sum(length for length, _ in known)
    return Rates(mean("operand"), mean("product"), mean("total"), nonzero)
