"""Exact cycles and accesses of every frame, by walking the schedule as the gateware does.

Timing of the gateware, on which the cycle counts here rest, with ``r`` rows in a group whose last product is issued
in cycle ``t``: the rows are written in cycles ``t + 3`` to ``t + 2 + r`` (one later each in a model with tanh); the
next group may issue its last product from cycle ``t + r`` on; an element just written can be read from the cycle
after its write on.
"""

import itertools
from dataclasses import dataclass

from lmu_hw.schedule import PlannedOperation, Schedule

__all__ = ["FrameTiming", "steady_frames"]


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


def _run_frame(plan: Schedule, executed: tuple[PlannedOperation, ...], clock: _Clock) -> None:
    """Walk one frame whose first product may be issued in cycle ``clock.now``."""
    released = -1
    clock.first = -1
    for planned in executed:
        if planned.output:
            clock.now = max(clock.now, clock.output_free)
        for block, group in itertools.product(range(planned.operation.repeat), range(planned.groups)):
            rows = planned.rows_in(group, plan.lanes)
            for term in planned.terms:
                if term.wait and block == 0 and group == 0:
                    clock.now = max(clock.now, clock.settled)
                if clock.first < 0 and planned.products_in(group) > 1:
                    clock.first = clock.now
                clock.now += len(term.columns[group])
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


def steady_frames(plan: Schedule) -> tuple[FrameTiming, ...]:
    """Timing over one period, after a first period has filled the pipeline."""
    clock = _Clock()
    firsts = []
    latencies: dict[int, int] = {}
    for frame in range(2 * plan.period + 1):
        executed = plan.executed(frame)
        _run_frame(plan, executed, clock)
        firsts.append(clock.first)
        full = clock.released + plan.model.inputs + 1
        clock.now = max(clock.now, full) + 1
        if len(executed) not in latencies:
            idle = _Clock(now=2)  # the last element is accepted two cycles before the first product
            _run_frame(plan, executed, idle)
            latencies[len(executed)] = idle.settled if executed[-1].output else 0
    frames = []
    for frame in range(plan.period, 2 * plan.period):
        executed = plan.executed(frame)
        frames.append(_timing(plan, firsts[frame + 1] - firsts[frame], latencies[len(executed)], executed))
    return tuple(frames)


def _timing(plan: Schedule, interval: int, latency: int, executed: tuple[PlannedOperation, ...]) -> FrameTiming:
    accesses = {memory.name: 0 for memory in plan.weight_memories}
    issued = products = written = 0
    for planned in executed:
        op = planned.operation
        reads = op.repeat * planned.words
        accesses[plan.weight_memories[planned.weight_memory].name] += reads
        issued += reads
        rows = (planned.rows_in(group, plan.lanes) * planned.products_in(group) for group in range(planned.groups))
        products += op.repeat * sum(rows)
        written += op.repeat * op.rows
    accesses |= {"data": issued, "parameters": written, "data writes": written}
    return FrameTiming(interval, latency, issued, products, executed[-1].output, accesses)
