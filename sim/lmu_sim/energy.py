"""Real frames through the netlist of an accelerator: activity of every net, and outputs compared with the golden model.

A clip does not run from its first frame to its last. The golden model gives the state of the network before any frame,
so clips are cut into pieces that run side by side, 64 in one simulator. Each piece starts one or two stride periods
early, from the golden state in its memories, and is counted from its own first frame on. By then every register holds
the same value as in a run of the whole clip from reset, so the counts are equal, net by net.

Control that depends only on the number of frames (which copy of a state is the old one, the phase of the strides)
comes from a short run after reset.

A network with a level gate runs whole clips instead, from reset, unless its gate is held open: which frames are asleep
depends on all that came before.

With several frames for each fetch of a weight, clips are sequences of rounds of that many frames, and a window is that
of a round.

`run_frames` counts every frame of the clips. `sample_frames` draws single rounds at random until the mean energy is
known well enough.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.netlist import Netlist
from lmu_hw.plan.plan import Plan
from lmu_hw.power.activity import Activity
from lmu_hw.power.engine import find_change_energies
from lmu_hw.progress import Progress, silent
from lmu_sim.frame_batches import IDLE_CYCLES, FrameBatch, FrameCounts, Piece, Reference, check_clips, prepare
from lmu_sim.frame_gates import FrameGates
from lmu_sim.gates import MAX_RUNS

__all__ = ["FrameRun", "Sampling", "run_frames", "sample_frames"]

IntArray = NDArray[np.int64]

@dataclass(frozen=True, eq=False)
class FrameRun:
    """Activity of the nets of an accelerator while it computes frames.

    Parameters
    ----------
    netlist : Netlist
        Of the accelerator.
    window : int
        Clock cycles that are counted for a frame, from its first element until all is at rest again. With
        `frames_per_fetch`, its share of the cycles of a round.
    kinds : dict of str to FrameCounts
        Counts by the kind of clips.
    """

    netlist: Netlist
    window: float
    kinds: Mapping[str, FrameCounts]

    def activity(self, kind: str, cycles: float, period: float) -> Activity:
        """Mean activity at a frame rate: a frame, and the time at rest until the next one.

        Parameters
        ----------
        kind : str
            Kind of the clips.
        cycles : float
            Clock cycles from frame to frame. They may be fewer than `window`, where a frame is taken in while the one
            before is computed: the work is the same, the time at rest less.
        period : float
            Clock period in seconds: a frame comes every ``cycles * period`` seconds.

        Returns
        -------
        Activity
            Mean over `cycles`. Its period spreads the clock edges that were counted over the time of the frames.
        """
        counts = self.kinds[kind]
        rest = counts.idle.scaled((cycles - self.window) * counts.frames / counts.idle.cycles)
        total = counts.busy + rest
        measured = counts.frames * cycles * period / total.cycles
        parts = (
            (counts.busy.cycles / total.cycles, counts.busy.activity(self.netlist, measured, self.window)),
            (rest.cycles / total.cycles, counts.idle.activity(self.netlist, measured, IDLE_CYCLES)),
        )
        activity = replace(total.activity(self.netlist, measured, cycles), parts=parts)
        if activity.settled is None:
            return activity
        settled = tuple((weight, part.settled or part) for weight, part in parts)
        return replace(activity, settled=replace(activity.settled, parts=settled))


@dataclass(frozen=True)
class Sampling:
    """How many frames are drawn at random.

    Parameters
    ----------
    conditions : Conditions
        Wires, transition times and clock that changes are weighed with.
    interval : float
        Half of the 95 % confidence interval of the mean dynamic energy, as a part of the mean, at which to stop.
    seed : int
        Of the random numbers.

    Raises
    ------
    ValueError
        If `interval` is not above 0 and below 1.
    """

    conditions: Conditions
    interval: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.interval < 1:
            raise ValueError(f"interval must be above 0 and below 1, not {self.interval!r}")


def _pieces(clips: int, length: int, warm_up: int, most: int) -> list[Piece]:
    """Clips cut into at most `most` pieces if possible; all but the last piece of each clip have one size."""
    counted = length - warm_up
    size = next((size for size in range(1, counted) if clips * -(-counted // size) <= most), counted)
    starts = range(warm_up, length, size)
    return [Piece(clip, first, min(size, length - first)) for clip in range(clips) for first in starts]


def run_frames(
    netlist: Netlist,
    plan: Plan,
    clips: Mapping[str, ArrayLike],
    *,
    delays: Conditions | None = None,
    jobs: int | None = None,
    held_open: bool = False,
    progress: Progress = silent,
) -> FrameRun:
    """Run clips of several kinds through a netlist, every frame from rest to rest.

    Parameters
    ----------
    netlist : Netlist
        Netlist of the accelerator, with the core's own streams.
    plan : Plan
        Plan of the accelerator.
    clips : mapping of str to array_like of int, shape (clips, frames, inputs)
        Frames by kind of clip, in the model's input format. The first frames of every clip, one or two stride
        periods, set up the state and are not counted.
    delays : Conditions, optional
        Wires, transition times and clock that delays are found with; frames are then counted with glitches. Frames that
        are not counted run without delays: nets settle at the same values.
    jobs : int, optional
        Simulators that run at a time; one for each processor if not given.
    held_open : bool
        Whether a level gate is held open, so that every frame is awake.
    progress : callable
        Called with ``set up the netlist`` or ``frames through the netlist``, frames done, and all frames.

    Returns
    -------
    FrameRun
        Counts of every net, by kind of clip.

    Raises
    ------
    ValueError
        If there are no clips, or clips without a frame to count.
    FrameError
        If a logit or a decision of any frame differs from the golden model's.
    GateError
        If the netlist cannot be simulated.
    ToolError
        If there is no C++ compiler.
    """
    if not clips:
        raise ValueError("there must be clips of one kind at least")
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    gates = FrameGates(netlist, plan, delays, held_open=held_open)
    arrays = {kind: check_clips(gates, kind, frames) for kind, frames in clips.items()}
    share = max(1, jobs // len(arrays))
    batches = [batch for kind, frames in arrays.items() for batch in _batches(gates, kind, frames, share)]
    prepare(gates, batches, progress)
    return FrameRun(netlist, gates.window / gates.frames, _run_batches(batches, jobs, progress))


def sample_frames(
    netlist: Netlist,
    plan: Plan,
    clips: Mapping[str, ArrayLike],
    sampling: Sampling,
    *,
    delays: bool = True,
    jobs: int | None = None,
    held_open: bool = False,
    progress: Progress = silent,
) -> FrameRun:
    """Run frames drawn at random through a netlist, until the mean energy of each kind is known well enough.

    Rounds are drawn without repetition, the same number from each phase of the stride period, since a frame's energy
    depends on the phase most of all. They run in batches that fill a simulator, with a warm-up each. Every frame of a
    network with a level gate runs, unless the gate is held open.

    Parameters
    ----------
    netlist, plan, clips, jobs, held_open, progress
        See `run_frames`.
    sampling : Sampling
        When to stop.
    delays : bool
        Whether the frames that count run with delays, found with the conditions of `sampling`.

    Returns
    -------
    FrameRun
        Counts by kind of clip, with the energies of the rounds that were drawn.

    Raises
    ------
    ValueError, FrameError, GateError, ToolError
        See `run_frames`.
    """
    if not clips:
        raise ValueError("there must be clips of one kind at least")
    conditions = sampling.conditions if delays else None
    if plan.model.gate is not None and not held_open:
        return run_frames(netlist, plan, clips, delays=conditions, jobs=jobs, progress=progress)
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    gates = FrameGates(netlist, plan, conditions, held_open=held_open)
    arrays = {kind: check_clips(gates, kind, frames) for kind, frames in clips.items()}
    weights = find_change_energies(netlist, sampling.conditions)
    left = {}
    for number, (kind, frames) in enumerate(arrays.items()):
        reference = Reference(gates, frames)
        draws = _draws(gates, reference, [sampling.seed, number])
        left[kind] = [FrameBatch(gates, kind, reference, pieces, weights) for pieces in draws]
    prepare(gates, [batch for batches in left.values() for batch in batches], progress)
    sums: dict[str, FrameCounts] = {}
    while left:
        share = max(1, jobs // len(left))
        batches = [batch for waiting in left.values() for batch in waiting[:share]]
        for kind, counts in _run_batches(batches, jobs, progress).items():
            sums[kind] = sums[kind] + counts if kind in sums else counts
        left = {
            kind: waiting[share:]
            for kind, waiting in left.items()
            if len(waiting) > share and _interval(sums[kind]) > sampling.interval
        }
    return FrameRun(netlist, gates.window / gates.frames, sums)


def _interval(counts: FrameCounts) -> float:
    return float("inf") if counts.sample is None else counts.sample.interval


def _draws(gates: FrameGates, reference: Reference, seed: list[int]) -> list[list[Piece]]:
    """All rounds of the clips in random order, in batches with the same number of rounds of each phase."""
    clips, length = reference.rounds.shape[:2]
    phases = gates.plan.rounds
    rng = np.random.default_rng(seed)
    by_phase = []
    for phase in range(min(phases, length - gates.warm_up)):
        turns = range(gates.warm_up + phase, length, phases)
        rounds = [Piece(clip, turn, 1) for clip in range(clips) for turn in turns]
        by_phase.append([rounds[place] for place in rng.permutation(len(rounds))])
    order = [piece for pieces in zip(*by_phase, strict=False) for piece in pieces]
    size = min(max(1, MAX_RUNS // len(by_phase)) * len(by_phase), MAX_RUNS)
    return [order[first : first + size] for first in range(0, len(order), size)]


def _batches(gates: FrameGates, kind: str, frames: IntArray, share: int) -> list[FrameBatch]:
    """Pieces of the clips of one kind, in `share` batches if they can be cut so small."""
    reference = Reference(gates, frames)
    most = len(frames) if gates.sleeps else share * MAX_RUNS
    pieces = _pieces(len(frames), frames.shape[1] // gates.frames, gates.warm_up, most)
    fewest = -(-len(pieces) // MAX_RUNS)
    count = max(min(share, fewest), fewest)
    return [FrameBatch(gates, kind, reference, pieces[first::count]) for first in range(count)]


def _run_batches(batches: Sequence[FrameBatch], jobs: int, progress: Progress) -> dict[str, FrameCounts]:
    """Run batches, `jobs` at a time, and add up those of a kind."""
    total = sum(batch.windows for batch in batches)
    lock, finished = Lock(), 0

    def advance() -> None:
        nonlocal finished
        with lock:
            finished += 1
            progress("frames through the netlist", finished, total)

    sums: dict[str, FrameCounts] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(batch.run, advance) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            counts = future.result()
            sums[batch.kind] = sums[batch.kind] + counts if batch.kind in sums else counts
    return sums
