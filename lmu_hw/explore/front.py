"""What to choose from a sweep: the Pareto front of power, area, latency and accuracy, and the best within limits."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw import pareto
from lmu_hw.explore.points import Outcome
from lmu_hw.explore.sweep import AUTO, Point
from lmu_hw.files import canonical_json, write_rows

__all__ = ["AIMS", "Found", "Limits", "best", "order", "row", "spread", "write_csv"]

AIMS = ("power", "area", "latency", "accuracy")
"""What a front weighs."""


@dataclass(frozen=True)
class Found:
    """A point of a sweep with what it costs.

    Parameters
    ----------
    point : Point
        The point.
    outcome : Outcome
        By the tier ``table``.
    accuracy : float or None
        Of the network, 0 to 1; None if it is not known.
    gates : Outcome, optional
        By the tier ``gates``.
    """

    point: Point
    outcome: Outcome
    accuracy: float | None = None
    gates: Outcome | None = None

    def cost(self, aim: str) -> float:
        """One of `AIMS` as what is to be small: accuracy as its negative, 0 where it is not known."""
        if aim == "accuracy":
            return -(self.accuracy or 0.0)
        return float(getattr(self.outcome, aim))


@dataclass(frozen=True)
class Limits:
    """What a choice must keep; None is no limit.

    Parameters
    ----------
    power, area, latency : float or None
        At most so many watt, square micrometre, seconds.
    accuracy : float or None
        At least so much, 0 to 1; a network whose accuracy is not known does not keep it.
    """

    power: float | None = None
    area: float | None = None
    latency: float | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"the limit of {one.name} must be a number above 0, not {value!r}")
        if self.accuracy is not None and self.accuracy > 1:
            raise ValueError(f"the limit of accuracy must be at most 1, not {self.accuracy!r}")

    def allow(self, found: Found) -> bool:
        """Whether a point keeps all limits."""
        limits = {aim: getattr(self, aim) for aim in AIMS}
        return all(
            limit is None or found.cost(aim) <= (-limit if aim == "accuracy" else limit)
            for aim, limit in limits.items()
        )


def order(found: Sequence[Found]) -> NDArray[np.int64]:
    """Number of the Pareto front of each point among those of its technology: 0 where none other is better.

    A process is rarely free to choose, so technologies do not compete.
    Accuracy counts if it is known of all points.

    Parameters
    ----------
    found : sequence of Found
        Of one sweep.
    """
    costs = _costs(found)
    numbers = np.zeros(len(found), np.int64)
    for technology in {one.point.technology for one in found}:
        places = [place for place, one in enumerate(found) if one.point.technology == technology]
        numbers[places] = pareto.fronts(costs[places])
    return numbers


def spread(found: Sequence[Found]) -> list[Found]:
    """Points of a front in such an order that the first ones cover all of it."""
    return [found[place] for place in pareto.order(_costs(found))] if found else []


def _costs(found: Sequence[Found]) -> NDArray[np.float64]:
    """What is to be small, shape (points, aims); accuracy is left out where it is not known of all."""
    known = all(one.accuracy is not None for one in found)
    aims = [aim for aim in AIMS if known or aim != "accuracy"]
    return np.array([[one.cost(aim) for aim in aims] for one in found])


def best(found: Sequence[Found], limits: Limits, aim: str = "power") -> Found | None:
    """Point with the least cost among those that keep the limits, of any technology; None if none does.

    Parameters
    ----------
    found : sequence of Found
        To choose from.
    limits : Limits
        What must be kept.
    aim : str
        One of `AIMS`; among equals the one of less power, then area, then latency is taken.
    """
    if aim not in AIMS:
        raise ValueError(f"the aim must be one of {', '.join(AIMS)}, not {aim!r}")
    allowed = [one for one in found if limits.allow(one)]
    return min(allowed, key=lambda one: [one.cost(name) for name in (aim, *AIMS)], default=None)


def write_csv(found: Sequence[Found], path: Path) -> None:
    """Write a row for each point; units are in the names of the columns.

    Parameters
    ----------
    found : sequence of Found
        One or more.
    path : Path
        The file, written whole.
    """
    write_rows([row(one, int(number)) for one, number in zip(found, order(found), strict=True)], path)


def _cell(value: Any) -> Any:
    """Text of a choice; JSON of one with parts."""
    return canonical_json(value) if isinstance(value, dict) else getattr(value, "value", value)


def row(found: Found, front: int) -> dict[str, Any]:
    """Row of the CSV: columns by name, from the point's place among the fronts of `order`."""
    point, done, gates = found.point, found.outcome, found.gates
    return {
        "model": point.model,
        "technology": point.technology,
        **{name: _cell(value) for name, value in asdict(point.config).items()},
        "clock_Hz": done.clock,
        "clock_is_slowest": point.clock == AUTO,
        "slowest_clock_Hz": done.slowest_clock,
        "cycles_per_frame": done.cycles,
        "lane_utilisation": done.utilisation,
        "latency_ms": done.latency * 1e3,
        "dynamic_nJ_per_frame": done.dynamic * 1e9,
        "leakage_nJ_per_frame": done.leakage * 1e9,
        "nJ_per_frame": done.energy * 1e9,
        "power_uW": done.power * 1e6,
        "area_um2": done.area,
        "accuracy": found.accuracy,
        "front": front,
        "gates_nJ_per_frame": None if gates is None else gates.energy * 1e9,
        "gates_power_uW": None if gates is None else gates.power * 1e6,
        "gates_area_um2": None if gates is None else gates.area,
        "gates_achievable_clock_Hz": None if gates is None else gates.achievable_clock,
    }
