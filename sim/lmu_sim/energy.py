"""Real frames through the netlist of an accelerator: activity of every net, and outputs compared with the golden model.

A clip does not run from its first frame to its last. The golden model gives the state of the network before any frame,
so clips are cut into pieces that run side by side, 64 in one simulator. Each piece starts one or two stride periods
early, from the golden state in its memories, and is counted from its own first frame on. By then every register holds
the same value as in a run of the whole clip from reset, so the counts are equal, net by net.

Control that depends only on the number of frames (which copy of a state is the old one, the phase of the strides)
comes from a short run after reset.

With several frames for each fetch of a weight, clips are sequences of rounds of that many frames, and a window is that
of a round.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.netlist import Netlist
from lmu_hw.model.golden import Golden
from lmu_hw.plan.plan import Plan
from lmu_hw.power.activity import Activity
from lmu_hw.progress import Progress, silent
from lmu_sim.counts import NetCounts
from lmu_sim.frame_gates import FrameGates
from lmu_sim.gates import MAX_RUNS, Beat

__all__ = ["FrameCounts", "FrameError", "FrameRun", "run_frames"]

IntArray = NDArray[np.int64]

IDLE_CYCLES = 4
"""Cycles at rest that are counted: only the clock moves between frames, so all are equal."""


class FrameError(RuntimeError):
    """The netlist does not compute what the golden model does."""


@dataclass(frozen=True, eq=False)
class FrameCounts:
    """Counts over the frames of one kind of clips.

    Parameters
    ----------
    frames : int
        Frames that were counted.
    busy : NetCounts
        Over one window for each of the frames.
    idle : NetCounts
        Over some cycles at rest, after such frames.
    compared : int
        Logits, labels and scores compared with the golden model; all were equal.
    """

    frames: int
    busy: NetCounts
    idle: NetCounts
    compared: int

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(
            self.frames + other.frames, self.busy + other.busy, self.idle + other.idle, self.compared + other.compared
        )


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
class _Piece:
    """Frames of a clip that one run counts: `count` from `first` on."""

    clip: int
    first: int
    count: int


def _pieces(clips: int, length: int, warm_up: int, most: int) -> list[_Piece]:
    """Clips cut into at most `most` pieces if possible; all but the last piece of each clip have one size."""
    counted = length - warm_up
    size = next((size for size in range(1, counted) if clips * -(-counted // size) <= most), counted)
    starts = range(warm_up, length, size)
    return [_Piece(clip, first, min(size, length - first)) for clip in range(clips) for first in starts]


def _rounds(clips: IntArray, frames: int) -> IntArray:
    """Clips of shape (clips, frames, inputs) as whole rounds, (clips, rounds, frames of a round, inputs)."""
    count = clips.shape[1] // frames
    return clips[:, : count * frames].reshape(len(clips), count, frames, -1)


class _Reference:
    """The golden model on some clips: the logits of every round, and the states before it."""

    def __init__(self, gates: FrameGates, clips: IntArray):
        golden = Golden(gates.plan.model)
        state = golden.initial_state(len(clips))
        self.rounds = _rounds(clips, gates.frames)
        self.states: dict[tuple[int, str], list[IntArray]] = {key: [] for key in gates.states}
        self.logits: list[IntArray] = []
        labels = gates.plan.model.outputs
        for frames in self.rounds.transpose(1, 2, 0, 3):
            for (layer, kind), values in self.states.items():
                values.append(state.values[f"layer{layer}.{kind}"])
            outputs = [golden.step(frame, state).get("logits") for frame in frames]
            due = [logits for logits in outputs if logits is not None]
            self.logits.append(np.stack(due, axis=1) if due else np.zeros((len(clips), 0, labels), np.int64))


class _Batch:
    """Pieces that run side by side."""

    def __init__(self, gates: FrameGates, kind: str, reference: _Reference, pieces: Sequence[_Piece]):
        self.gates, self.kind, self.reference, self.pieces = gates, kind, reference, pieces
        self.warm_up = gates.warm_up
        self.windows = self.warm_up + max(piece.count for piece in pieces)

    def run(self, advance: Callable[[], None]) -> FrameCounts:
        """Warm up, count, compare; `advance` is called after every window."""
        gates, pieces = self.gates, self.pieces
        starts = [piece.first - self.warm_up for piece in pieces]
        simulator = gates.simulator(starts)
        for (layer, kind), states in self.reference.states.items():
            values = np.array([states[start][piece.clip] for start, piece in zip(starts, pieces, strict=True)])
            gates.put_state(simulator, starts, layer, kind, values)
        compared = 0
        for window in range(self.windows):
            if window == self.warm_up:
                simulator.use_delays(gates.delays)
                simulator.start_counting()
            active = [run for run, piece in enumerate(pieces) if window < self.warm_up + piece.count]
            if window >= self.warm_up:
                simulator.count_runs(active)
            # A run whose piece has ended continues with some frame, uncounted.
            last = self.reference.rounds.shape[1] - 1
            rounds = [(piece.clip, min(start + window, last)) for start, piece in zip(starts, pieces, strict=True)]
            beats = gates.compute(simulator, np.array([self.reference.rounds[clip, turn] for clip, turn in rounds]))
            equal = sum(self._compared(*rounds[run], beats, run) for run in active)
            compared += equal if window >= self.warm_up else 0
            advance()
        busy = simulator.counts()
        simulator.start_counting()
        simulator.run({}, IDLE_CYCLES)
        frames = gates.frames * sum(piece.count for piece in pieces)
        return FrameCounts(frames, busy, simulator.counts(), compared)

    def _compared(self, clip: int, turn: int, beats: Mapping[str, list[list[Beat]]], run: int) -> int:
        """Compare the outputs of a round with the golden model's; how many values."""
        expected = self.reference.logits[turn][clip]
        difference = self.gates.difference(beats["o_logits"][run], beats["o_decision"][run], expected)
        if difference:
            last = self.gates.frames * (turn + 1) - 1
            raise FrameError(f"frame {last} of clip {clip} ({self.kind}): {difference}")
        return expected.size + 2 * len(expected)


def run_frames(
    netlist: Netlist,
    plan: Plan,
    clips: Mapping[str, ArrayLike],
    *,
    delays: Conditions | None = None,
    jobs: int | None = None,
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
    gates = FrameGates(netlist, plan, delays)
    arrays = {kind: _checked_clips(gates, kind, frames) for kind, frames in clips.items()}
    share = max(1, jobs // len(arrays))
    batches = [batch for kind, frames in arrays.items() for batch in _batches(gates, kind, frames, share)]
    _prepare(gates, batches, progress)
    return FrameRun(netlist, gates.window / gates.frames, _run_batches(batches, jobs, progress))


def _checked_clips(gates: FrameGates, kind: str, clips: ArrayLike) -> IntArray:
    frames = np.asarray(clips, dtype=np.int64)
    least = gates.frames * (gates.warm_up + 1)
    if frames.ndim != 3 or not len(frames) or frames.shape[1] < least:
        raise ValueError(
            f"clips of {kind} must have shape (clips, frames, {gates.plan.model.inputs}) with more than {least - 1} "
            f"frames, not {frames.shape}"
        )
    return frames


def _batches(gates: FrameGates, kind: str, frames: IntArray, share: int) -> list[_Batch]:
    """Pieces of the clips of one kind, in `share` batches if they can be cut so small."""
    reference = _Reference(gates, frames)
    pieces = _pieces(len(frames), frames.shape[1] // gates.frames, gates.warm_up, share * MAX_RUNS)
    fewest = -(-len(pieces) // MAX_RUNS)
    count = max(min(share, fewest), fewest)
    return [_Batch(gates, kind, reference, pieces[first::count]) for first in range(count)]


def _prepare(gates: FrameGates, batches: Sequence[_Batch], progress: Progress) -> None:
    """Run frames after reset, as many as the control that the batches start from needs."""
    starts = {piece.first - batch.warm_up for batch in batches for piece in batch.pieces}
    needed = max(gates.control_frames(start) for start in starts)
    gates.reset()
    for done in range(1, needed + 1):
        gates.advance(done)
        progress("set up the netlist", done, needed)


def _run_batches(batches: Sequence[_Batch], jobs: int, progress: Progress) -> dict[str, FrameCounts]:
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
