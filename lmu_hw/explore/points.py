"""Predict the cost of a point with the tier ``table``."""

import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from lmu_hw.explore.sweep import AUTO, Point
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.power.report import OperatingPoint, Report, frame_rate
from lmu_hw.power.table import report
from lmu_hw.power.technology import Technology

__all__ = ["SOUND", "Network", "Outcome", "longest_latency", "operating_point", "outcome", "predict"]

SOUND = "speech"
"""Kind of sound that energies are for."""


@dataclass(frozen=True)
class Network:
    """A network of a sweep, as it is sent to worker processes.

    Parameters
    ----------
    name : str
        Name in the sweep.
    sha256 : str
        Hash of its integers. Networks with equal hashes are equal.
    model : QuantizedModel
        The network.
    """

    name: str
    sha256: str
    model: QuantizedModel = field(compare=False, repr=False)


@dataclass(frozen=True)
class Outcome:
    """Cost of a point.

    Parameters
    ----------
    clock, slowest_clock : float
        In hertz. The slowest clock still keeps real time.
    frame_rate : float
        Frames per second.
    cycles : float
        Clock cycles of a frame.
    latency : float
        Longest time in seconds from the last element of a frame to the first decision that it is part of.
    utilisation : float
        Products that are needed over those that the lanes could compute in the cycles of a frame.
    dynamic, leakage : float
        Joule per frame of speech, with the estimated clock tree.
    area : float
        In square micrometre, without the clock tree.
    achievable_clock : float, optional
        In hertz; only the tier ``gates`` gives it.
    """

    clock: float
    slowest_clock: float
    frame_rate: float
    cycles: float
    latency: float
    utilisation: float
    dynamic: float
    leakage: float
    area: float
    achievable_clock: float | None = None

    @property
    def energy(self) -> float:
        """Joule per frame."""
        return self.dynamic + self.leakage

    @property
    def power(self) -> float:
        """Average watt."""
        return self.energy * self.frame_rate

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the arguments by name."""
        return asdict(self)


def operating_point(plan: Plan, clock: float | str) -> OperatingPoint:
    """Find the clock and frame rate of a plan.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    clock : float or "auto"
        In hertz, or the slowest at which no frame waits.

    Raises
    ------
    ValueError
        If the clock is too slow for the frame rate.
    """
    rate = frame_rate(plan.model.front_end)
    hertz = rate * plan.paced_cycles if clock == AUTO else float(clock)
    return OperatingPoint(hertz, rate, plan.cycles_per_frame, plan.longest_frame)


def longest_latency(plan: Plan, point: OperatingPoint) -> float:
    """Find the longest time in seconds from the last element of a frame to the first decision that it is part of.

    With strides, not every frame gives a decision; the others wait for the next frame that does. Frames that arrive
    while a longer one is still being computed wait too. With `frames_per_fetch`, the first frame of a round waits for
    the last one, and is assumed to wait for the last decision of the round.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    point : OperatingPoint
        Clock and frame rate. Frames arrive one by one; each is taken when the one before is done.
    """
    size = plan.config.frames_per_fetch
    between, period, late = size * point.clock / point.frame_rate, len(plan.frames), 0.0
    decisions = {}
    for number, frame in enumerate(3 * plan.frames):  # the first period sets up what waits
        if frame.output:
            decisions[number] = late + frame.latency
        late = max(0.0, late + frame.interval - between)
    waits = ((next(last for last in decisions if last >= number), number) for number in range(period, 2 * period))
    longest = max((last - number) * between + decisions[last] for last, number in waits)
    return longest / point.clock + (size - 1) / point.frame_rate


def outcome(plan: Plan, estimate: Report) -> Outcome:
    """Collect the outcome of a point from its plan and a report of any tier."""
    sums = estimate.sums(SOUND)
    return Outcome(
        clock=estimate.point.clock,
        slowest_clock=estimate.point.slowest_clock,
        frame_rate=estimate.point.frame_rate,
        cycles=plan.cycles_per_frame,
        latency=longest_latency(plan, estimate.point),
        utilisation=plan.utilisation,
        dynamic=sums.dynamic,
        leakage=sums.leakage,
        area=estimate.area.total,
        achievable_clock=estimate.achievable_clock,
    )


@functools.lru_cache(maxsize=8)
def _settled(network: Network) -> QuantizedModel:
    """One object for all copies of a network in a process, so that caches keyed by object find it again."""
    return network.model


def predict(
    network: Network, technologies: dict[str, Technology], points: Iterable[Point]
) -> list[tuple[str, Outcome | str]]:
    """Predict points of one network and one configuration. The plan is made once.

    Parameters
    ----------
    network : Network
        Network of all points.
    technologies : dict of str to Technology
        By their names in the points.
    points : iterable of Point
        One or more points with the same configuration.

    Returns
    -------
    list of (str, Outcome or str)
        Key of each point, and its outcome or the reason why it is infeasible: the configuration does not fit the
        network, the clock is too slow, or the table has no prices for the configuration.
    """
    points = list(points)
    try:
        plan = make_plan(_settled(network), points[0].config)
    except (TypeError, ValueError) as error:
        return [(point.key, str(error)) for point in points]
    return [(point.key, _predicted(plan, technologies[point.technology], point.clock)) for point in points]


def _predicted(plan: Plan, technology: Technology, clock: float | str) -> Outcome | str:
    try:
        rates = {SOUND: technology.energies(plan.config).typical(plan)[SOUND]}
        return outcome(plan, report(plan, technology, operating_point(plan, clock), "table", rates))
    except ValueError as error:
        return str(error)
