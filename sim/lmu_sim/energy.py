"""Real frames through the netlist of an accelerator: what its nets do, and that it computes what the golden model does.

A clip is not run from its first frame to its last. The state of the network before any frame is known from the golden
model, so clips are cut into pieces that run side by side, 64 in one simulator: each starts one or two stride periods
early, from the golden state in its memories, and is counted from its own first frame on. By then every register holds
what it would hold in a run of the whole clip from reset, and the counts are the same, net by net.

What depends on the number of frames only (which copy of a state is the old one, the place in the stride period) is
taken from a short run after reset.

With several frames for each fetch of a weight, clips are sequences of rounds of so many frames, and a window is that
of a round.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist
from lmu_hw.model.golden import Golden
from lmu_hw.plan.plan import Plan
from lmu_hw.power.activity import Activity
from lmu_hw.progress import Progress
from lmu_sim.counts import Counts
from lmu_sim.frame_gates import FrameGates
from lmu_sim.gates import MAX_RUNS, Beat

__all__ = ["FrameCounts", "FrameError", "FrameRun", "run_frames"]

IntArray = NDArray[np.int64]

IDLE_CYCLES = 4
"""Nothing but the clock moves between frames: a few cycles tell as much as many."""


class FrameError(RuntimeError):
    """The netlist does not compute what the golden model does."""


@dataclass(frozen=True, eq=False)
class FrameCounts:
    """Counts over the frames of one kind of clips.

    Parameters
    ----------
    frames : int
        Frames that were counted.
    busy : Counts
        Over a window for each of them.
    idle : Counts
        Over some cycles at rest, behind such frames.
    compared : int
        Logits, labels and scores of these frames that were compared with the golden model; all were equal.
    """

    frames: int
    busy: Counts
    idle: Counts
    compared: int

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(
            self.frames + other.frames, self.busy + other.busy, self.idle + other.idle, self.compared + other.compared
        )


@dataclass(frozen=True, eq=False)
class FrameRun:
    """What the nets of an accelerator do while it computes frames.

    Parameters
    ----------
    netlist : Netlist
        Of the accelerator.
    window : int
        Clock cycles that are counted for a frame: from its first element until all is at rest again; with
        `frames_per_fetch` its share of those of a round.
    kinds : dict of str to FrameCounts
        By the kind of clips.
    """

    netlist: Netlist
    window: float
    kinds: Mapping[str, FrameCounts]

    def activity(self, kind: str, cycles: float, period: float) -> Activity:
        """Mean activity at a frame rate: a frame, and the time at rest until the next one.

        Parameters
        ----------
        kind : str
            Of the clips.
        cycles : float
            Clock cycles from frame to frame. If they are fewer than `window`, because a frame is taken in while the
            one before is computed, the work is the same and the time at rest less.
        period : float
            Clock period in seconds: a frame comes every ``cycles * period`` seconds.

        Returns
        -------
        Activity
            Over `cycles`. Its period is what the clock edges that were counted have in the time of the frames.
        """
        counts = self.kinds[kind]
        rest = counts.idle.scaled((cycles - self.window) * counts.frames / counts.idle.cycles)
        total = counts.busy + rest
        measured = counts.frames * cycles * period / total.cycles
        return replace(
            total.activity(self.netlist, measured, cycles),
            parts=(
                (counts.busy.cycles / total.cycles, counts.busy.activity(self.netlist, measured, self.window)),
                (rest.cycles / total.cycles, counts.idle.activity(self.netlist, measured, IDLE_CYCLES)),
            ),
        )


@dataclass(frozen=True)
class _Piece:
    """Frames of a clip that one run counts: `count` from `first` on."""

    clip: int
    first: int
    count: int


def _pieces(clips: int, length: int, warm_up: int, most: int) -> list[_Piece]:
    """Clips cut into at most `most` pieces if that can be, all but the last of each clip of one size."""
    counted = length - warm_up
    size = next((size for size in range(1, counted) if clips * -(-counted // size) <= most), counted)
    starts = range(warm_up, length, size)
    return [_Piece(clip, first, min(size, length - first)) for clip in range(clips) for first in starts]


def _rounds(clips: IntArray, frames: int) -> IntArray:
    """Clips of shape (clips, frames, inputs) as whole rounds, (clips, rounds, frames of a round, inputs)."""
    count = clips.shape[1] // frames
    return clips[:, : count * frames].reshape(len(clips), count, frames, -1)


class _Reference:
    """The golden model on some clips: what comes out of every round, and the states before it."""

    def __init__(self, gates: FrameGates, clips: IntArray):
        golden = Golden(gates.plan.model)
        state = golden.initial_state(len(clips))
        self.rounds = _rounds(clips, gates.frames)
        self.states: dict[tuple[int, str], list[IntArray]] = {key: [] for key in gates.states}
        self.logits: list[IntArray] = []
        labels = gates.plan.model.outputs
        for frames in self.rounds.transpose(1, 2, 0, 3):
            for (layer, kind), found in self.states.items():
                found.append(state.values[f"layer{layer}.{kind}"])
            logits = [golden.step(frame, state).get("logits") for frame in frames]
            due = [one for one in logits if one is not None]
            self.logits.append(np.stack(due, axis=1) if due else np.zeros((len(clips), 0, labels), np.int64))


class _Batch:
    """Pieces that run side by side."""

    def __init__(self, gates: FrameGates, kind: str, reference: _Reference, pieces: Sequence[_Piece]):
        self.gates, self.kind, self.reference, self.pieces = gates, kind, reference, pieces
        self.warm_up = gates.warm_up
        self.windows = self.warm_up + max(piece.count for piece in pieces)

    def run(self, done: Callable[[], None]) -> FrameCounts:
        """Warm up, count, compare; `done` is called after every window."""
        gates, pieces = self.gates, self.pieces
        starts = [piece.first - self.warm_up for piece in pieces]
        simulator = gates.simulator(starts)
        for (layer, kind), states in self.reference.states.items():
            values = np.array([states[start][piece.clip] for start, piece in zip(starts, pieces, strict=True)])
            gates.put_state(simulator, starts, layer, kind, values)
        compared = 0
        for window in range(self.windows):
            if window == self.warm_up:
                simulator.start_counting()
            active = [run for run, piece in enumerate(pieces) if window < self.warm_up + piece.count]
            if window >= self.warm_up:
                simulator.count_runs(active)
            # A run whose piece has ended goes on with some frame, uncounted.
            places = [(piece.clip, min(start + window, self.reference.rounds.shape[1] - 1))
                      for start, piece in zip(starts, pieces, strict=True)]  # fmt: skip
            found = gates.compute(simulator, np.array([self.reference.rounds[place] for place in places]))
            equal = sum(self._compared(*places[run], found, run) for run in active)
            compared += equal if window >= self.warm_up else 0
            done()
        busy = simulator.counts()
        simulator.start_counting()
        simulator.run({}, IDLE_CYCLES)
        frames = gates.frames * sum(piece.count for piece in pieces)
        return FrameCounts(frames, busy, simulator.counts(), compared)

    def _compared(self, clip: int, frame: int, found: Mapping[str, list[list[Beat]]], run: int) -> int:
        expected = self.reference.logits[frame][clip]
        different = self.gates.difference(found["o_logits"][run], found["o_decision"][run], expected)
        if different:
            last = self.gates.frames * (frame + 1) - 1
            raise FrameError(f"frame {last} of clip {clip} ({self.kind}): {different}")
        return expected.size + 2 * len(expected)


def run_frames(
    netlist: Netlist,
    plan: Plan,
    clips: Mapping[str, IntArray],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> FrameRun:
    """Run clips of several kinds, every frame from rest to rest.

    Parameters
    ----------
    netlist : Netlist
        Of the accelerator, with the core's own streams.
    plan : Plan
        Of the accelerator.
    clips : mapping of str to array_like of int, shape (clips, frames, inputs)
        Frames by kind, in the model's input format. The first frames of every clip, one or two stride periods, set
        the state up and are not counted.
    jobs : int, optional
        Simulators at work at a time; one for each processor if not given.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    FrameRun
        Counts of every net, by kind.

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
    given = {kind: np.asarray(frames, dtype=np.int64) for kind, frames in clips.items()}
    if not given:
        raise ValueError("there must be clips of one kind at least")
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    gates = FrameGates(netlist, plan)
    for kind, frames in given.items():
        least = gates.frames * (gates.warm_up + 1)
        if frames.ndim != 3 or not len(frames) or frames.shape[1] < least:
            raise ValueError(
                f"clips of {kind} must have shape (clips, frames, {plan.model.inputs}) with more than {least - 1} "
                f"frames, not {frames.shape}"
            )
    batches = []
    for kind, frames in given.items():
        reference = _Reference(gates, frames)
        shares = max(1, jobs // len(given))
        pieces = _pieces(len(frames), frames.shape[1] // gates.frames, gates.warm_up, shares * MAX_RUNS)
        many = max(min(shares, -(-len(pieces) // MAX_RUNS)), -(-len(pieces) // MAX_RUNS))
        batches += [_Batch(gates, kind, reference, pieces[first::many]) for first in range(many)]
    _prepare(gates, batches, progress)
    return FrameRun(netlist, gates.window / gates.frames, _together(batches, jobs, progress))


def _prepare(gates: FrameGates, batches: Sequence[_Batch], progress: Progress | None) -> None:
    """Run frames after reset, as many as the control that the batches start from needs."""
    starts = {piece.first - batch.warm_up for batch in batches for piece in batch.pieces}
    needed = max(gates.control_frames(start) for start in starts)
    gates.reset()
    for done in range(1, needed + 1):
        gates.advance(done)
        if progress is not None:
            progress("set up the netlist", done, needed)


def _together(batches: Sequence[_Batch], jobs: int, progress: Progress | None) -> dict[str, FrameCounts]:
    """Run batches, some at a time, and add up those of a kind."""
    total = sum(batch.windows for batch in batches)
    lock, finished = Lock(), 0

    def done() -> None:
        nonlocal finished
        with lock:
            finished += 1
            if progress is not None:
                progress("frames through the netlist", finished, total)

    found: dict[str, FrameCounts] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(batch.run, done) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            counts = future.result()
            found[batch.kind] = found[batch.kind] + counts if batch.kind in found else counts
    return found
