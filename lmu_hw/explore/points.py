"""What a point costs, by the tier ``table``."""

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
"""What is heard while energy is counted."""


@dataclass(frozen=True)
class Network:
    """A network of a sweep, as it is sent to processes that predict.

    Parameters
    ----------
    name : str
        As the sweep names it.
    sha256 : str
        Of its integers; networks with the same are the same.
    model : QuantizedModel
        The network.
    """

    name: str
    sha256: str
    model: QuantizedModel = field(compare=False, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a point costs.

    Parameters
    ----------
    clock, slowest_clock : float
        In hertz; the slowest keeps real time.
    frame_rate : float
        Frames per second.
    cycles : float
        Of a frame.
    latency : float
        Seconds from the last element of a frame to the first decision that it is part of, the longest.
    utilisation : float
        Needed products over those that the lanes could do in the cycles of a frame.
    dynamic, leakage : float
        Joule per frame of speech, with the estimated clock tree.
    area : float
        In square micrometre, without clock tree.
    achievable_clock : float, optional
        In hertz; known to the tier ``gates`` only.
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
    """Clock and frame rate of a plan.

    Raises
    ------
    ValueError
        If the clock is too slow for the frame rate.
    """
    rate = frame_rate(plan.model.front_end)
    hertz = rate * plan.paced_cycles if clock == AUTO else float(clock)
    return OperatingPoint(hertz, rate, plan.cycles_per_frame)


def longest_latency(plan: Plan, point: OperatingPoint) -> float:
    """Seconds from the last element of a frame to the first decision that it is part of, the longest.

    With strides not every frame gives a decision, and what is heard in the others waits for the next one that does.
    Frames that come while a longer one is still computed wait too. With `frames_per_fetch` the first frame of a round
    waits for the last one, and is taken to wait for the last decision of the round.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    point : OperatingPoint
        Frames come one by one at its frame rate, each to be taken when the one before is done.
    """
    size = plan.config.frames_per_fetch
    between, period, late = size * point.clock / point.frame_rate, len(plan.frames), 0.0
    decided = {}
    for number, frame in enumerate(3 * plan.frames):  # the first period sets up what waits
        if frame.output:
            decided[number] = late + frame.latency
        late = max(0.0, late + frame.interval - between)
    waits = ((next(last for last in decided if last >= number), number) for number in range(period, 2 * period))
    longest = max((last - number) * between + decided[last] for last, number in waits)
    return longest / point.clock + (size - 1) / point.frame_rate


def outcome(plan: Plan, found: Report) -> Outcome:
    """Outcome of a point from its plan and a report of any tier."""
    sums = found.sums(SOUND)
    return Outcome(
        clock=found.point.clock,
        slowest_clock=found.point.slowest_clock,
        frame_rate=found.point.frame_rate,
        cycles=plan.cycles_per_frame,
        latency=longest_latency(plan, found.point),
        utilisation=plan.utilisation,
        dynamic=sums.dynamic,
        leakage=sums.leakage,
        area=found.area.total,
        achievable_clock=found.achievable_clock,
    )


@functools.lru_cache(maxsize=8)
def _settled(network: Network) -> QuantizedModel:
    """One object for all copies of a network in a process, so that what is kept by object is found again."""
    return network.model


def predict(
    network: Network, technologies: dict[str, Technology], points: Iterable[Point]
) -> list[tuple[str, Outcome | str]]:
    """Predict points of one network and one configuration; the plan is made once.

    Parameters
    ----------
    network : Network
        Of all points.
    technologies : dict of str to Technology
        By the name in the points.
    points : iterable of Point
        With the same configuration, one or more.

    Returns
    -------
    list of (str, Outcome or str)
        Key of each point and its outcome, or why there is none: the configuration does not fit the network, the clock
        is too slow, or the table does not know what the configuration has.
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
