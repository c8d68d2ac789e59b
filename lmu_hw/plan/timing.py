"""Exact cycles and accesses of every frame, by walking the schedule as the gateware does.

The cycle counts rest on this timing of the gateware. Let the last product of a group of ``r`` rows be issued in cycle
``t``.

- The rows are written in cycles ``t + 5`` to ``t + 4 + r``; one cycle later each in a model with tanh.
- The next group may issue its last product from cycle ``t + r`` on.
- An element can be read from the cycle after its write on.

With several frames for each fetch of a weight, a frame below means a round of that many frames (`lmu_hw.plan.rounds`).
Where frames are computed together, a product takes as many cycles as there are frames, and each row of a group gives as
many elements. Other operations run once for each frame. Those of the memory wait until the previous frame is written.

Where zero elements are skipped, cycles depend on how many elements of some vectors are not zero. A term then takes that
many products, and at least one. Every time below follows from others by adding fixed cycles or counts of products, and
by taking the later of two. So with more elements nothing happens earlier. Every event of a stream is latest if no
element is zero, and earliest if all are.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lmu_hw.plan.schedule import PlannedOperation, PlannedTerm, Schedule

__all__ = ["FrameTiming", "Nonzero", "all_zero", "frame_timing", "latency", "steady_frames", "stream_starts"]

Nonzero = Mapping[str, int]
"""Elements of each vector that are not zero, by name; a vector that is not named has no zero element."""


@dataclass(frozen=True)
class FrameTiming:
    """Exact timing of one frame in a steady stream without stalls.

    Parameters
    ----------
    interval : int
        Cycles from the first product of this frame to the first product of the next one.
    latencies : tuple of int
        Cycles from the acceptance of the frame's last element to the cycle in which its decision is offered. The
        accelerator is idle before, and the outputs do not stall. One for each output of a round; none without output.
    issued : int
        Cycles with a product.
    products : int
        Needed products, without idle lanes, skipped blocks and slices of other rows.
    accesses : dict of str to int
        Reads of each weight memory, ``parameters`` and ``data``, and writes of ``data``. With `memories_at_once`, a row
        of several memories is one write and reads no parameters.
    """

    interval: int
    latencies: tuple[int, ...]
    issued: int
    products: int
    accesses: dict[str, int]

    @property
    def output(self) -> bool:
        """Whether the frame gives logits."""
        return bool(self.latencies)

    @property
    def latency(self) -> int:
        """The last of `latencies`; 0 for a frame without output."""
        return self.latencies[-1] if self.latencies else 0


@dataclass
class _Clock:
    """Progress of the hardware, in cycles.

    Attributes
    ----------
    now : int
        Cycle of the next product.
    first : int
        Cycle of the first product of the latest frame.
    last_ok : int
        From this cycle on a group may issue its last product.
    settled : int
        From this cycle on all elements are in memory.
    output_free : int
        From this cycle on logits may be computed.
    released : int
        Cycle in which the input frame was released.
    decided : list of int
        Cycles in which decisions are offered.
    """

    now: int = 0
    first: int = 0
    last_ok: int = 0
    settled: int = 0
    output_free: int = 0
    released: int = 0
    decided: list[int] = field(default_factory=list)


def all_zero(schedule: Schedule) -> Nonzero:
    """Counts of a frame in which all elements that can be skipped are zero."""
    terms = (zip(planned.operation.terms, planned.terms, strict=True) for planned in schedule.operations)
    return {term.source: 0 for pairs in terms for term, scheduled in pairs if scheduled.skips}


def _products(planned: PlannedOperation, group: int, nonzero: Nonzero) -> list[int]:
    """Products of each row of a group, by term."""

    def count(source: str, term: PlannedTerm) -> int:
        columns = len(term.columns[group])
        return max(1, nonzero.get(source, columns)) if term.skips else columns

    terms = zip(planned.operation.terms, planned.terms, strict=True)
    return [count(term.source, scheduled) for term, scheduled in terms]


def _waits(planned: PlannedOperation, number: int) -> list[bool]:
    """For each term, whether a pass of an operation waits before it until all elements are written."""
    if number == 0:
        return [term.wait for term in planned.terms]
    return [planned.chained, *[False] * (len(planned.terms) - 1)]


def _run_group(
    schedule: Schedule, planned: PlannedOperation, group: int, waits: list[bool], clock: _Clock, nonzero: Nonzero
) -> None:
    """Walk the products of a row group."""
    elements = planned.rows_in(group, schedule.lanes) * planned.sums
    products = _products(planned, group, nonzero)
    for count, wait in zip(products, waits, strict=True):
        if wait:
            clock.now = max(clock.now, clock.settled)
        if clock.first < 0 and sum(products) > 1:
            clock.first = clock.now
        clock.now += count * planned.sums
    clock.now = max(clock.now, clock.last_ok + planned.sums)
    if clock.first < 0:
        clock.first = clock.now - planned.sums
    clock.last_ok = clock.now - 1 + elements
    clock.settled = clock.now + elements + schedule.write_latency


def _run_pass(schedule: Schedule, planned: PlannedOperation, number: int, clock: _Clock, nonzero: Nonzero) -> None:
    """Walk an operation once."""
    rounds = schedule.frames_per_fetch > 1
    if planned.output and not rounds:
        clock.now = max(clock.now, clock.output_free)
    waits = _waits(planned, number)
    for _, group in itertools.product(range(planned.blocks), range(planned.groups)):
        if planned.output and rounds and group == 0:  # only the last product waits
            clock.last_ok = max(clock.last_ok, clock.output_free)
        _run_group(schedule, planned, group, waits, clock, nonzero)
        waits = [False] * len(waits)
    if planned.output:
        clock.decided.append(clock.settled)
        clock.output_free = clock.settled + 2 * schedule.outputs


def _run_frame(schedule: Schedule, executed: tuple[PlannedOperation, ...], clock: _Clock, nonzero: Nonzero) -> None:
    """Walk one frame whose first product may be issued in cycle ``clock.now``."""
    released = -1
    clock.first = -1
    for planned in executed:
        for number in range(planned.passes):
            _run_pass(schedule, planned, number, clock, nonzero)
        if planned.releases_input:
            released = clock.settled if planned.releases_late else clock.now - 1
    clock.released = released if released >= 0 else clock.now - 1


def stream_starts(schedule: Schedule, frames: Iterable[tuple[int, Nonzero]]) -> list[int]:
    """Cycle of the first product of each frame in a stream that nothing stalls.

    Parameters
    ----------
    schedule : Schedule
        The accelerator, idle before the first frame.
    frames : iterable of (int, Nonzero)
        Of each frame its number since the last clear, and its counts.
    """
    clock = _Clock()
    starts = []
    for number, nonzero in frames:
        _run_frame(schedule, schedule.executed(number), clock, nonzero)
        starts.append(clock.first)
        full = clock.released + schedule.frames_per_fetch * schedule.inputs + 1
        clock.now = max(clock.now, full) + 1
    return starts


def latency(schedule: Schedule, frame: int, nonzero: Nonzero) -> int:
    """Cycles from the last element of a frame, sent to an idle accelerator, to its decision; 0 if there is none."""
    return max(_latencies(schedule, frame, nonzero), default=0)


def _latencies(schedule: Schedule, frame: int, nonzero: Nonzero) -> tuple[int, ...]:
    """The same for every decision of a round."""
    idle = _Clock(now=2)  # the last element is accepted two cycles before the first product
    _run_frame(schedule, schedule.executed(frame), idle, nonzero)
    return tuple(idle.decided)


def steady_frames(schedule: Schedule, nonzero: Nonzero) -> tuple[FrameTiming, ...]:
    """Timing over one period of equal frames, after a first period has filled the pipeline."""
    starts = stream_starts(schedule, ((frame, nonzero) for frame in range(2 * schedule.rounds + 1)))
    known: dict[int, tuple[int, ...]] = {}
    frames = []
    for frame in range(schedule.rounds, 2 * schedule.rounds):
        executed = schedule.executed(frame)
        if len(executed) not in known:
            known[len(executed)] = _latencies(schedule, frame, nonzero)
        interval = starts[frame + 1] - starts[frame]
        frames.append(frame_timing(schedule, executed, nonzero, interval, known[len(executed)]))
    return tuple(frames)


def frame_timing(
    schedule: Schedule,
    executed: tuple[PlannedOperation, ...],
    nonzero: Nonzero,
    interval: int = 0,
    latencies: tuple[int, ...] = (),
) -> FrameTiming:
    """Products and accesses of a frame, beside its timing.

    Parameters
    ----------
    schedule : Schedule
        The accelerator.
    executed : tuple of PlannedOperation
        From `Schedule.executed`.
    nonzero : Nonzero
        Counts of the frame.
    interval, latencies : int, tuple of int
        As in `FrameTiming`.
    """
    accesses = dict.fromkeys(schedule.weight_memories, 0)
    issued = products = rows = added = written = 0
    for planned in executed:
        op = planned.operation
        counts = [_products(planned, group, nonzero) for group in range(planned.groups)]
        fetched = planned.passes * planned.blocks * sum(map(sum, counts))
        accesses[schedule.weight_memories[planned.weight_memory]] += fetched
        issued += planned.sums * fetched
        needed = sum(
            term.row_products(group, planned.rows_in(group, schedule.lanes), count)
            for group, by_term in enumerate(counts)
            for term, count in zip(planned.terms, by_term, strict=True)
        )
        products += planned.frames * op.repeat * int(needed)
        rows += planned.passes * op.repeat * op.rows if planned.parts == 1 else 0
        written += planned.frames * planned.blocks * op.rows
        added += planned.frames * op.rows if op.residual is not None else 0
    accesses |= {"data": issued + added, "parameters": rows, "data writes": written}
    return FrameTiming(interval, latencies, issued, products, accesses)
