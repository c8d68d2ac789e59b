"""Choose from a sweep: the Pareto front of power, area, latency and accuracy, and the best point within limits."""

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

__all__ = ["AIMS", "DesignPoint", "Limits", "best", "coverage_order", "order", "row", "write_csv"]

AIMS = ("power", "area", "latency", "accuracy")
"""Figures that a Pareto front weighs against each other."""


@dataclass(frozen=True)
class DesignPoint:
    """A point of a sweep with its cost and accuracy.

    Parameters
    ----------
    point : Point
        Network, configuration, technology and clock.
    outcome : Outcome
        Estimate of the tier ``table``.
    accuracy : float or None
        Accuracy of the network, 0 to 1; None if it is not known.
    gates : Outcome, optional
        Estimate of the tier ``gates``.
    """

    point: Point
    outcome: Outcome
    accuracy: float | None = None
    gates: Outcome | None = None

    def cost(self, aim: str) -> float:
        """One of `AIMS` as a cost to minimise: accuracy as its negative, or 0 if it is not known."""
        if aim == "accuracy":
            return -(self.accuracy or 0.0)
        return float(getattr(self.outcome, aim))


@dataclass(frozen=True)
class Limits:
    """Limits on a choice; None is no limit.

    Parameters
    ----------
    power, area, latency : float or None
        Upper limits in watt, square micrometre and seconds.
    accuracy : float or None
        Lower limit, 0 to 1. A network whose accuracy is not known does not keep it.

    Raises
    ------
    ValueError
        If a limit is not a number above 0, or that of accuracy is above 1.
    """

    power: float | None = None
    area: float | None = None
    latency: float | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"the limit of {field.name} must be a number above 0, not {value!r}")
        if self.accuracy is not None and self.accuracy > 1:
            raise ValueError(f"the limit of accuracy must be at most 1, not {self.accuracy!r}")

    def allow(self, point: DesignPoint) -> bool:
        """Whether a point keeps all limits."""
        limits = {aim: getattr(self, aim) for aim in AIMS}
        return all(
            limit is None or point.cost(aim) <= (-limit if aim == "accuracy" else limit)
            for aim, limit in limits.items()
        )


def order(points: Sequence[DesignPoint]) -> NDArray[np.int64]:
    """Number the Pareto front of each point among those of its technology.

    A process is rarely free to choose, so technologies do not compete. Accuracy counts if it is known for all points.

    Parameters
    ----------
    points : sequence of DesignPoint
        Points of one sweep.

    Returns
    -------
    ndarray of int64, shape (points,)
        0 for points that no other point beats, 1 for those that only points of front 0 beat, and so on.
    """
    costs = _costs(points)
    numbers = np.zeros(len(points), np.int64)
    for technology in {point.point.technology for point in points}:
        indices = [index for index, point in enumerate(points) if point.point.technology == technology]
        numbers[indices] = pareto.fronts(costs[indices])
    return numbers


def coverage_order(points: Sequence[DesignPoint]) -> list[DesignPoint]:
    """Sort the points of a front so that the first ones cover all of it."""
    return [points[index] for index in pareto.order(_costs(points))] if points else []


def _costs(points: Sequence[DesignPoint]) -> NDArray[np.float64]:
    """Costs to minimise, shape (points, aims); accuracy is left out unless it is known for all points."""
    known = all(point.accuracy is not None for point in points)
    aims = [aim for aim in AIMS if known or aim != "accuracy"]
    return np.array([[point.cost(aim) for aim in aims] for point in points])


def best(points: Sequence[DesignPoint], limits: Limits, aim: str = "power") -> DesignPoint | None:
    """Pick the point with the least cost that keeps the limits, in any technology; None if none does.

    Parameters
    ----------
    points : sequence of DesignPoint
        Points to choose from.
    limits : Limits
        Limits to keep.
    aim : str
        One of `AIMS`. Ties go to less power, then less area, then less latency.

    Raises
    ------
    ValueError
        If `aim` is not one of `AIMS`.
    """
    if aim not in AIMS:
        raise ValueError(f"the aim must be one of {', '.join(AIMS)}, not {aim!r}")
    allowed = [point for point in points if limits.allow(point)]
    return min(allowed, key=lambda point: [point.cost(name) for name in (aim, *AIMS)], default=None)


def write_csv(points: Sequence[DesignPoint], path: Path) -> None:
    """Write a row for each point. The names of the columns give the units.

    Parameters
    ----------
    points : sequence of DesignPoint
        One or more.
    path : Path
        File to write.
    """
    write_rows([row(point, int(front)) for point, front in zip(points, order(points), strict=True)], path)


def _cell(value: Any) -> Any:
    """Text of a choice; JSON of one with parts."""
    return canonical_json(value) if isinstance(value, dict) else getattr(value, "value", value)


def row(design: DesignPoint, front: int) -> dict[str, Any]:
    """Row of the CSV by column; `front` is the point's number from `order`."""
    point, predicted, gates = design.point, design.outcome, design.gates
    return {
        "model": point.model,
        "technology": point.technology,
        **{name: _cell(value) for name, value in asdict(point.config).items()},
        "clock_Hz": predicted.clock,
        "clock_is_auto": point.clock == AUTO,
        "slowest_clock_Hz": predicted.slowest_clock,
        "cycles_per_frame": predicted.cycles,
        "lane_utilisation": predicted.utilisation,
        "latency_ms": predicted.latency * 1e3,
        "dynamic_nJ_per_frame": predicted.dynamic * 1e9,
        "leakage_nJ_per_frame": predicted.leakage * 1e9,
        "nJ_per_frame": predicted.energy * 1e9,
        "power_uW": predicted.power * 1e6,
        "area_um2": predicted.area,
        "accuracy": design.accuracy,
        "front": front,
        "gates_nJ_per_frame": None if gates is None else gates.energy * 1e9,
        "gates_power_uW": None if gates is None else gates.power * 1e6,
        "gates_area_um2": None if gates is None else gates.area,
        "gates_achievable_clock_Hz": None if gates is None else gates.achievable_clock,
    }
