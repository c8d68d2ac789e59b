"""The floor under the figures of a report: where it is known, and how far above it they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.golden import Golden
from lmu_hw.plan.plan import Plan
from lmu_hw.power.floor import Floor, find_demand, find_floor, load_floor_costs
from lmu_hw.power.report import Report
from lmu_hw.power.technology import load_technology, shipped
from lmu_kit.cli.console import console

__all__ = ["find_floors", "floors_dict", "print_floors"]

IntArray = NDArray[np.int64]


def find_floors(plan: Plan, report: Report, sounds: Mapping[str, IntArray] | None) -> dict[str, Floor]:
    """Floors by kind of sound; none for a process or corner that they were not measured for.

    Parameters
    ----------
    plan : Plan
        Of the accelerator.
    report : Report
        Of it.
    sounds : mapping of str to ndarray of int64, shape (clips, T, inputs), optional
        The frames of the report; without them no element counts as zero.
    """
    technology = report.technology
    name = technology["name"]
    costs = load_floor_costs(name, technology["voltage_V"], technology["temperature_C"])
    if costs is None or name not in shipped():
        return {}
    memories, rate = load_technology(name).memories, report.point.frame_rate
    if sounds is None:
        return dict.fromkeys(report.rows, find_floor(find_demand(plan), costs, memories, rate))
    found = {}
    for kind in report.rows:
        values = Golden(plan.model).run(sounds[kind]) | {"x": sounds[kind]}
        nonzero = {vector: np.mean(one != 0, axis=(0, 1)) for vector, one in values.items()}
        found[kind] = find_floor(find_demand(plan, nonzero), costs, memories, rate)
    return found


def floors_dict(floors: Mapping[str, Floor], report: Report) -> dict[str, Any] | None:
    """JSON form; None where no floor is known."""
    return {kind: one.to_dict(report.sums(kind).frame) for kind, one in floors.items()} or None


def print_floors(floors: Mapping[str, Floor], report: Report) -> None:
    """Print the floor of the first kind of sound."""
    if not floors:
        console.print("floor: not measured for this process and corner")
        return
    kind, one = next(iter(floors.items()))
    parts = ", ".join(f"{name} {value * 1e9:.1f}" for name, value in vars(one).items())
    console.print(
        f"floor {one.total * 1e9:.1f} nJ per frame ({kind}: {parts}); the total is "
        f"{report.sums(kind).frame / one.total:.2f} times as much"
    )
