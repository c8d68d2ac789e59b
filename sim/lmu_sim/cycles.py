"""Measured cycles and memory accesses beside the planned ones."""

import itertools
from collections.abc import Collection, Sequence

import numpy as np

from lmu_hw.plan.plan import Plan
from lmu_hw.plan.timing import FrameTiming, Nonzero, all_zero, frame_timing, latency, stream_starts
from lmu_sim.stimulus import Expected, Frame
from lmu_sim.trace import Trace

__all__ = ["measure_accesses", "measure_asleep", "measure_intervals", "measure_latencies"]

Pairs = tuple[tuple[int, int], ...]
"""Measured and planned figures."""

Round = Sequence[Expected]
"""Frames that the accelerator computes together: one, unless a weight is fetched for several."""


def measure_intervals(plan: Plan, trace: Trace, rounds: Sequence[Round]) -> Pairs:
    """Cycles from frame to frame, or round to round.

    An interval counts where a whole stride period and the next frame came without a gap: no malformed frame, no clear
    that starts the strides anew.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    trace : Trace
        Of a run without stalls and resets.
    rounds : sequence of sequence of Expected
        Frames by round.

    Returns
    -------
    tuple of (int, int)
        Measured and planned clock cycles.
    """
    started = trace.segments[-1].started
    planned = _planned_intervals(plan, rounds)
    pairs = []
    steady = 0
    for index, (frames, after) in enumerate(itertools.pairwise(rounds)):
        steady += 1
        apart = len(frames) + len(after) - 1
        if after[-1].frame != frames[0].frame + apart or after[-1].phase != frames[0].phase + apart:
            steady = 0
        elif steady > plan.rounds and index + 1 < len(started):
            pairs.append((started[index + 1] - started[index], planned[index]))
    return tuple(pairs)


def measure_asleep(plan: Plan, trace: Trace, asleep: Collection[int]) -> Pairs:
    """Cycles from frame to frame, where a frame and the one before it are asleep.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    trace : Trace
        Of a run without stalls and resets.
    asleep : collection of int
        Frames that the level gate drops.

    Returns
    -------
    tuple of (int, int)
        Measured and planned clock cycles.
    """
    accepted = trace.segments[-1].accepted
    return tuple(
        (after - before, plan.asleep_cycles)
        for (before, first), (after, second) in itertools.pairwise(accepted)
        if first in asleep and second in asleep
    )


def measure_latencies(plan: Plan, trace: Trace, rounds: Sequence[Round]) -> Pairs:
    """Cycles from a frame's last element to its decision.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    trace : Trace
        Of a run without stalls and resets, each frame sent when the accelerator is at rest.
    rounds : sequence of sequence of Expected
        Frames by round.

    Returns
    -------
    tuple of (int, int)
        Measured and planned clock cycles.
    """
    segment = trace.segments[-1]
    accepted = {index: cycle for cycle, index in segment.accepted}
    planned = [pair for frames in rounds for pair in _planned_latencies(plan, frames)]
    return tuple(
        (offered - accepted[frame], cycles)
        for (frame, cycles), (_, offered, _) in zip(planned, segment.decisions, strict=False)
        if frame in accepted
    )


def measure_accesses(
    plan: Plan, trace: Trace, rounds: Sequence[Round], sent: Sequence[Frame]
) -> dict[str, tuple[int, int]]:
    """Reads of the weight memories, the parameters, and all data memories together.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    trace : Trace
        Of a run.
    rounds : sequence of sequence of Expected
        Frames by round.
    sent : sequence of Frame
        All frames.

    Returns
    -------
    dict of str to (int, int)
        Measured and planned reads by memory; empty if the accelerator was reset.
    """
    if any(frame.reset_after for frame in sent):
        return {}
    measured: dict[str, int] = {}
    for memory, count in zip(plan.memories, trace.reads, strict=True):
        name = "data" if memory.kind == "data" else memory.name
        if memory.kind in ("data", "weights", "parameters"):
            measured[name] = measured.get(name, 0) + count
    planned = dict.fromkeys(measured, 0)
    for frames in rounds:
        accesses = _planned_accesses(plan, frames)
        for name in planned:
            planned[name] += accesses[name]
    return {name: (measured[name], planned[name]) for name in measured}


def _nonzero(plan: Plan, frame: Expected) -> Nonzero:
    """Nonzero elements of each vector whose zeros are skipped."""
    names = (name for name in all_zero(plan.schedule) if name in frame.values)
    return {name: int(np.count_nonzero(frame.values[name])) for name in names}


def _timing(plan: Plan, frames: Round) -> FrameTiming:
    return plan.frames[frames[0].phase // len(frames) % plan.rounds]


def _planned_intervals(plan: Plan, rounds: Sequence[Round]) -> list[int]:
    """Cycles from each round to the next one; they depend on the data where zeros are skipped."""
    if plan.skipping_memories:
        frames = (frame for members in rounds for frame in members)
        starts = stream_starts(plan.schedule, ((frame.phase, _nonzero(plan, frame)) for frame in frames))
        return [after - before for before, after in itertools.pairwise(starts)]
    return [_timing(plan, frames).interval for frames in rounds]


def _planned_latencies(plan: Plan, frames: Round) -> list[tuple[int, int]]:
    """For each output the frame that it waits for, and the latency; it depends on the data where zeros are skipped."""
    if plan.skipping_memories and _timing(plan, frames).output:
        return [(frames[-1].frame, latency(plan.schedule, frames[0].phase, _nonzero(plan, frames[0])))]
    return [(frames[-1].frame, cycles) for cycles in _timing(plan, frames).latencies]


def _planned_accesses(plan: Plan, frames: Round) -> dict[str, int]:
    """Accesses of a round; they depend on the data where zeros are skipped."""
    if plan.skipping_memories:
        phase = frames[0].phase
        return frame_timing(plan.schedule, plan.schedule.executed(phase), _nonzero(plan, frames[0])).accesses
    return _timing(plan, frames).accesses
