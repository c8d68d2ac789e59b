"""Frames side by side in one simulator: each run starts from a golden state, and is counted from its own frame on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedModel
from lmu_hw.power.change_energy import ChangeEnergies
from lmu_hw.progress import Progress
from lmu_sim.counts import NetCounts
from lmu_sim.frame_gates import FrameGates
from lmu_sim.gates import Beat

__all__ = ["FrameBatch", "FrameCounts", "FrameError", "FrameSample", "Piece", "Reference", "check_clips", "prepare"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

IDLE_CYCLES = 4
"""Cycles at rest that are counted: only the clock moves between frames, so all are equal."""

DEVIATIONS = 1.96
"""Half of a 95 % confidence interval, in standard deviations."""


class FrameError(RuntimeError):
    """The netlist does not compute what the golden model does."""


@dataclass(frozen=True, eq=False)
class FrameSample:
    """Energies of single rounds of frames, drawn so that each phase of the stride period counts alike.

    Parameters
    ----------
    energies : ndarray of float64, shape (draws,)
        Dynamic energy of each round in joule, by `lmu_hw.power.change_energy`.
    phases : ndarray of int64, shape (draws,)
        Number of each round within the stride period.
    population : int
        Rounds that they were drawn from.
    """

    energies: FloatArray
    phases: IntArray
    population: int

    def __add__(self, other: "FrameSample") -> "FrameSample":
        energies = np.concatenate([self.energies, other.energies])
        return FrameSample(energies, np.concatenate([self.phases, other.phases]), self.population)

    @property
    def interval(self) -> float:
        """Half of the 95 % confidence interval of the mean energy, as a part of it; 0 if every round was drawn."""
        phases = [self.energies[self.phases == phase] for phase in np.unique(self.phases)]
        if min(energies.size for energies in phases) < 2:
            return float("inf")
        variance = sum(energies.var(ddof=1) / energies.size for energies in phases) / len(phases) ** 2
        left = max(0.0, 1 - self.energies.size / self.population)
        mean = float(np.mean([energies.mean() for energies in phases]))
        return DEVIATIONS * float(np.sqrt(variance * left)) / mean


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
    sample : FrameSample or None
        Energies of the single rounds, if they were drawn at random.
    """

    frames: int
    busy: NetCounts
    idle: NetCounts
    compared: int
    sample: FrameSample | None = None

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(
            self.frames + other.frames,
            self.busy + other.busy,
            self.idle + other.idle,
            self.compared + other.compared,
            None if self.sample is None or other.sample is None else self.sample + other.sample,
        )


@dataclass(frozen=True)
class Piece:
    """Frames of a clip that one run counts: `count` from `first` on."""

    clip: int
    first: int
    count: int


def _rounds(clips: IntArray, frames: int) -> IntArray:
    """Clips of shape (clips, frames, inputs) as whole rounds, (clips, rounds, frames of a round, inputs)."""
    count = clips.shape[1] // frames
    return clips[:, : count * frames].reshape(len(clips), count, frames, -1)


class Reference:
    """The golden model on some clips: the logits of every round, and the states before it."""

    def __init__(self, gates: FrameGates, clips: IntArray):
        self.rounds = _rounds(clips, gates.frames)
        self.states: dict[tuple[int, str], list[IntArray]] = {key: [] for key in gates.states}
        self.logits: list[IntArray | Sequence[IntArray]] = []
        if gates.sleeps:
            self._run_gated(gates.plan.model, clips)
        else:
            self._run(replace(gates.plan.model, gate=None), len(clips))

    def _run(self, model: QuantizedModel, clips: int) -> None:
        golden, labels = Golden(model), model.outputs
        state = golden.initial_state(clips)
        for frames in self.rounds.transpose(1, 2, 0, 3):
            for (layer, kind), values in self.states.items():
                values.append(state.values[f"layer{layer}.{kind}"])
            outputs = [golden.step(frame, state).get("logits") for frame in frames]
            due = [logits for logits in outputs if logits is not None]
            self.logits.append(np.stack(due, axis=1) if due else np.zeros((clips, 0, labels), np.int64))

    def _run_gated(self, model: QuantizedModel, clips: IntArray) -> None:
        """Run clip by clip, since each sleeps when it likes; states are known before the first frame only."""
        golden, nothing = Golden(model), np.zeros((0, model.outputs), np.int64)
        initial = golden.initial_state(len(clips)).values
        self.states = {(layer, kind): [initial[f"layer{layer}.{kind}"]] for layer, kind in self.states}
        outputs = []
        for clip in clips:
            state = golden.initial_state()
            outputs.append([golden.step(frame[np.newaxis], state).get("logits", nothing) for frame in clip])
        self.logits = list(zip(*outputs, strict=True))


class FrameBatch:
    """Pieces that run side by side.

    Parameters
    ----------
    gates : FrameGates
        The netlist.
    kind : str
        Kind of the clips.
    reference : Reference
        The golden model on all clips of the kind.
    pieces : sequence of Piece
        At most 64.
    weights : ChangeEnergies, optional
        Of the netlist, if the energies of single rounds are wanted.
    """

    def __init__(
        self,
        gates: FrameGates,
        kind: str,
        reference: Reference,
        pieces: Sequence[Piece],
        weights: ChangeEnergies | None = None,
    ):
        self.gates, self.kind, self.reference, self.pieces, self.weights = gates, kind, reference, pieces, weights
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
        compared, drawn = 0, []
        for window in range(self.windows):
            if window == self.warm_up:
                simulator.use_delays(gates.delays)
                if self.weights is not None:
                    simulator.weigh(self.weights)
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
            if self.weights is not None and window >= self.warm_up:
                drawn += list(zip(simulator.energies()[active], [rounds[run][1] for run in active], strict=True))
            advance()
        busy = simulator.counts()
        simulator.start_counting()
        simulator.run({}, IDLE_CYCLES)
        frames = gates.frames * sum(piece.count for piece in pieces)
        return FrameCounts(frames, busy, simulator.counts(), compared, self._sample(drawn))

    def _sample(self, drawn: Sequence[tuple[float, int]]) -> FrameSample | None:
        """The energies of rounds by their numbers in the clips."""
        if not drawn:
            return None
        energies, turns = np.array(drawn).T
        clips, length = self.reference.rounds.shape[:2]
        phases = self.gates.plan.rounds
        alike = max(1, (length - self.warm_up) // phases) * min(phases, length - self.warm_up)
        return FrameSample(energies, turns.astype(np.int64) % phases, clips * alike)

    def _compared(self, clip: int, turn: int, beats: Mapping[str, list[list[Beat]]], run: int) -> int:
        """Compare the outputs of a round with the golden model's; how many values."""
        expected = self.reference.logits[turn][clip]
        difference = self.gates.difference(beats["o_logits"][run], beats["o_decision"][run], expected)
        if difference:
            last = self.gates.frames * (turn + 1) - 1
            raise FrameError(f"frame {last} of clip {clip} ({self.kind}): {difference}")
        return expected.size + 2 * len(expected)


def check_clips(gates: FrameGates, kind: str, clips: ArrayLike) -> IntArray:
    """Clips as an array of shape (clips, frames, inputs); `ValueError` if there is no frame to count."""
    frames = np.asarray(clips, dtype=np.int64)
    least = gates.frames * (gates.warm_up + 1)
    if frames.ndim != 3 or not len(frames) or frames.shape[1] < least:
        raise ValueError(
            f"clips of {kind} must have shape (clips, frames, {gates.plan.model.inputs}) with more than {least - 1} "
            f"frames, not {frames.shape}"
        )
    return frames


def prepare(gates: FrameGates, batches: Sequence[FrameBatch], progress: Progress) -> None:
    """Run frames after reset, as many as the control that the batches start from needs."""
    starts = {piece.first - batch.warm_up for batch in batches for piece in batch.pieces}
    needed = max(gates.control_frames(start) for start in starts)
    gates.reset()
    for done in range(1, needed + 1):
        gates.advance(done)
        progress("set up the netlist", done, needed)


