"""Exact cycles and accesses of every frame, by walking the schedule as the gateware does.

Timing of the gateware, on which the cycle counts here rest, with ``r`` rows in a group whose last product is issued
in cycle ``t``: the rows are written in cycles ``t + 3`` to ``t + 2 + r`` (one later each in a model with tanh); the
next group may issue its last product from cycle ``t + r`` on; an element just written can be read from the cycle
after its write on.

Where zero elements are skipped, cycles depend on how many elements of some vectors are not zero. A term then takes as
many products as its source has such elements, at least one. Every time below is made of others by adding fixed cycles
and taking the later of two, and by adding counts of products; so with more elements nothing is earlier. The timing
with no element zero is thus the latest, that with all of them zero the earliest, of every event of a stream.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lmu_hw.schedule import PlannedOperation, PlannedTerm, Schedule

__all__ = ["FrameTiming", "Nonzero", "all_zero", "frame_timing", "latency", "steady_frames", "stream_starts"]

Nonzero = Mapping[str, int]
"""By name of a vector, how many of its elements are not zero; vectors that are not named have none that are zero."""


@dataclass(frozen=True)
class FrameTiming:
    """Exact timing of one frame in a steady stream, nothing stalled from outside.

    Parameters
    ----------
    interval : int
        Cycles from the first product of this frame to the first product of the next one.
    latency : int
        Cycles from the acceptance of the frame's last element, by an accelerator that is idle until then, to the cycle
        in which the decision is offered; 0 for a frame without output.
    issued : int
        Cycles with a product.
    products : int
        Products needed (idle lanes and skipped blocks not counted).
    output : bool
        Whether the frame gives logits.
    accesses : dict of str to int
        Reads of each weight memory, ``parameters`` and ``data``, and writes of ``data``.
    """

    interval: int
    latency: int
    issued: int
    products: int
    output: bool
    accesses: dict[str, int]


@dataclass
class _Clock:
    """Where the hardware is: next product, and from when on the resources that it shares are free.

    ``now`` is the cycle of the next product, ``first`` that of the first product of the latest frame; from ``last_ok``
    on a group may issue its last product; from ``settled`` on all elements are in memory; from ``output_free`` on
    logits may be computed; ``released`` is the cycle in which the input frame was released.
    """

    now: int = 0
    first: int = 0
    last_ok: int = 0
    settled: int = 0
    output_free: int = 0
    released: int = 0


def all_zero(plan: Schedule) -> Nonzero:
    """Counts of a frame in which all elements that can be skipped are zero."""
    terms = (zip(one.operation.terms, one.terms, strict=True) for one in plan.operations)
    return {term.source: 0 for pairs in terms for term, planned in pairs if planned.skips}


def _products(planned: PlannedOperation, group: int, nonzero: Nonzero) -> list[int]:
    """Products of each row of a group, by term."""

    def of(source: str, term: PlannedTerm) -> int:
        every = len(term.columns[group])
        return max(1, nonzero.get(source, every)) if term.skips else every

    return [of(term.source, laid) for term, laid in zip(planned.operation.terms, planned.terms, strict=True)]


def _run_frame(plan: Schedule, executed: tuple[PlannedOperation, ...], clock: _Clock, nonzero: Nonzero) -> None:
    """Walk one frame whose first product may be issued in cycle ``clock.now``."""
    released = -1
    clock.first = -1
    for planned in executed:
        if planned.output:
            clock.now = max(clock.now, clock.output_free)
        for block, group in itertools.product(range(planned.operation.repeat), range(planned.groups)):
            rows = planned.rows_in(group, plan.lanes)
            products = _products(planned, group, nonzero)
            for term, count in zip(planned.terms, products, strict=True):
                if term.wait and block == 0 and group == 0:
                    clock.now = max(clock.now, clock.settled)
                if clock.first < 0 and sum(products) > 1:
                    clock.first = clock.now
                clock.now += count
            clock.now = max(clock.now, clock.last_ok + 1)
            if clock.first < 0:
                clock.first = clock.now - 1
            clock.last_ok = clock.now - 1 + rows
            clock.settled = clock.now + rows + plan.write_latency
        if planned.releases_input:
            released = clock.now - 1
        if planned.output:
            clock.output_free = clock.settled + 2 * plan.model.outputs
    clock.released = released if released >= 0 else clock.now - 1


def stream_starts(plan: Schedule, frames: Iterable[tuple[int, Nonzero]]) -> list[int]:
    """Cycle of the first product of each frame in a stream that nothing stalls.

    Parameters
    ----------
    plan : Schedule
        The accelerator, idle before the first frame.
    frames : iterable of (int, Nonzero)
        Of each frame its number since the last clear, and its counts.
    """
    clock = _Clock()
    starts = []
    for number, nonzero in frames:
        _run_frame(plan, plan.executed(number), clock, nonzero)
        starts.append(clock.first)
        full = clock.released + plan.model.inputs + 1
        clock.now = max(clock.now, full) + 1
    return starts


def latency(plan: Schedule, frame: int, nonzero: Nonzero) -> int:
    """Cycles from the last element of a frame, sent to an idle accelerator, to its decision; 0 if there is none."""
    executed = plan.executed(frame)
    if not executed[-1].output:
        return 0
    idle = _Clock(now=2)  # the last element is accepted two cycles before the first product
    _run_frame(plan, executed, idle, nonzero)
    return idle.settled


def steady_frames(plan: Schedule, nonzero: Nonzero) -> tuple[FrameTiming, ...]:
    """Timing over one period of equal frames, after a first period has filled the pipeline."""
    starts = stream_starts(plan, ((frame, nonzero) for frame in range(2 * plan.period + 1)))
    latencies: dict[int, int] = {}
    frames = []
    for frame in range(plan.period, 2 * plan.period):
        executed = plan.executed(frame)
        if len(executed) not in latencies:
            latencies[len(executed)] = latency(plan, frame, nonzero)
        interval = starts[frame + 1] - starts[frame]
        frames.append(frame_timing(plan, executed, nonzero, interval, latencies[len(executed)]))
    return tuple(frames)


def frame_timing(
    plan: Schedule, executed: tuple[PlannedOperation, ...], nonzero: Nonzero, interval: int, latency: int
) -> FrameTiming:
    """Products and accesses of a frame, beside its timing.

    Parameters
    ----------
    plan : Schedule
        The accelerator.
    executed : tuple of PlannedOperation
        From `Schedule.executed`.
    nonzero : Nonzero
        Counts of the frame.
    interval, latency : int
        As in `FrameTiming`.
    """
    accesses = {memory.name: 0 for memory in plan.weight_memories}
    issued = products = written = 0
    for planned in executed:
        op = planned.operation
        counts = [sum(_products(planned, group, nonzero)) for group in range(planned.groups)]
        reads = op.repeat * sum(counts)
        accesses[plan.weight_memories[planned.weight_memory].name] += reads
        issued += reads
        products += op.repeat * sum(planned.rows_in(group, plan.lanes) * n for group, n in enumerate(counts))
        written += op.repeat * op.rows
    accesses |= {"data": issued, "parameters": written, "data writes": written}
    return FrameTiming(interval, latency, issued, products, executed[-1].output, accesses)
