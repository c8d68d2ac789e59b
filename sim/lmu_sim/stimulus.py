"""The frames that a co-simulation sends, and the values that the golden model expects for them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.golden import Golden, State
from lmu_hw.model.operations import output_name
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.plan import Plan

__all__ = ["Expected", "Frame", "Marks", "Prediction", "reference", "stimulus"]

IntArray = NDArray[np.int64]

CLEAR_AT_TRANSFER, CLEAR_AT_OFFER = 1, 2


@dataclass(frozen=True)
class Frame:
    """One frame as it is sent.

    Parameters
    ----------
    values : tuple of int
        Elements. The accelerator drops the frame unless there are as many as the model has inputs.
    clear : int
        0, or pulse ``clear``: 1 in the cycle in which the first element is accepted, 2 in the cycle in which it is
        first offered.
    end : bool
        Whether the last element is marked as the end of an utterance.
    reset_after : int
        0, or reset the accelerator so many cycles after the first element was accepted; no later frame is sent before.
    clip : int
        Index of the utterance that the frame belongs to. The accelerator does not see it.
    """

    values: tuple[int, ...]
    clear: int = 0
    end: bool = False
    reset_after: int = 0
    clip: int = 0

    def deposit(self, width: int) -> int:
        """The frame as one number, as the bench takes it; elements of `width` bits."""
        number = int(self.end) << 1 | self.clear << 2 | len(self.values) << 4 | self.reset_after << 20
        for index, value in enumerate(self.values):
            number |= (value & ((1 << width) - 1)) << (52 + index * width)
        return number


@dataclass(frozen=True)
class Expected:
    """One frame that the accelerator computes.

    Parameters
    ----------
    frame : int
        Index of the frame among those sent.
    segment : int
        Resets before it.
    cut : bool
        Whether the reset comes while it is sent or computed.
    phase : int
        Frames computed since the state was last cleared.
    values : dict of str to ndarray of int64, shape (size,)
        Every vector computed in it, as `Golden.step` names them.
    """

    frame: int
    segment: int
    cut: bool
    phase: int
    values: dict[str, IntArray]


@dataclass(frozen=True)
class Prediction:
    """What the golden model says about frames that are sent.

    Parameters
    ----------
    expected : list of Expected
        The frames that are computed.
    saturated : dict of str to int
        Per vector, how many elements were clipped or wrapped.
    asleep : frozenset of int
        Indices of the frames that the level gate drops.
    """

    expected: list[Expected]
    saturated: dict[str, int]
    asleep: frozenset[int]


@dataclass(frozen=True)
class Marks:
    """What happens at which frame; frames are counted over all utterances, from 0.

    Parameters
    ----------
    clear_before : iterable of int, optional
        Frames before which ``clear`` is pulsed. By default, under the pulse policy, the first frame of every utterance
        but the first.
    ends : iterable of int, optional
        Frames marked as the end of an utterance. By default, under the utterance policy, the last frame of each.
    reset_in_frame : mapping of int to int
        Frames in which the accelerator is reset, and how many cycles after their first element was accepted.
    malformed : mapping of int to sequence of sequences of int
        Frames of wrong length to send before the given frame.
    """

    clear_before: Iterable[int] | None = None
    ends: Iterable[int] | None = None
    reset_in_frame: Mapping[int, int] = field(default_factory=dict)
    malformed: Mapping[int, Sequence[Sequence[int]]] = field(default_factory=dict)

    def resolve(self, plan: Plan, starts: IntArray) -> tuple[set[int], set[int]]:
        """Frames with a clear, and frames marked as an end.

        Parameters
        ----------
        plan : Plan
            The accelerator, whose state policy decides on the defaults.
        starts : ndarray of int64, shape (utterances + 1,)
            First frame of each utterance, and the number of frames.

        Raises
        ------
        ValueError
            If a mark names no frame.
        """
        policy, count = plan.config.state, int(starts[-1])
        clears, ends = self.clear_before, self.ends
        if clears is None:
            clears = starts[1:-1].tolist() if policy is StatePolicy.PULSE else ()
        if ends is None:
            ends = (starts[1:] - 1).tolist() if policy is StatePolicy.UTTERANCE else ()
        clears, ends = set(clears), set(ends)
        marks = {"clear": clears, "end": ends, "reset": self.reset_in_frame, "malformed": self.malformed}
        for name, frames in marks.items():
            for frame in frames:
                if not 0 <= frame < count:
                    raise ValueError(f"{name} marks must be frames 0 to {count - 1}, not {frame}")
        return clears, ends


def stimulus(
    plan: Plan,
    utterances: Sequence[ArrayLike] | NDArray[np.integer],
    marks: Marks = Marks(),
    *,
    seed: int = 0,
) -> tuple[Frame, ...]:
    """Frames of utterances sent back to back, marked as the state policy asks.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    utterances : sequence of array_like of int, each of shape (T, inputs)
        Input frames, in the model's input format.
    marks : Marks, optional
        Clears, ends, resets and malformed frames; those of the state policy by default.
    seed : int
        Decides which of the two legal times of a clear is used.

    Returns
    -------
    tuple of Frame
        In the order in which they are sent.

    Raises
    ------
    ValueError
        If a mark does not belong to the state policy, names no frame, or a frame does not fit the model.
    """
    clips = [_checked_clip(plan, utterance) for utterance in utterances]
    clears, ends = marks.resolve(plan, np.cumsum([0, *(len(clip) for clip in clips)]))
    rng = np.random.default_rng(seed)
    frames: list[Frame] = []
    index = 0
    for number, clip in enumerate(clips):
        for values in clip.tolist():
            for wrong in marks.malformed.get(index, ()):
                frames.append(Frame(tuple(int(value) for value in wrong), clip=number))
            clear = int(rng.choice([CLEAR_AT_TRANSFER, CLEAR_AT_OFFER])) if index in clears else 0
            frames.append(Frame(tuple(values), clear, index in ends, marks.reset_in_frame.get(index, 0), number))
            index += 1
    check(plan, frames)
    return tuple(frames)


def _checked_clip(plan: Plan, utterance: ArrayLike) -> IntArray:
    """Frames of an utterance as an array of shape (T, inputs)."""
    clip = np.asarray(utterance)
    inputs, fmt = plan.model.inputs, plan.model.input
    if clip.ndim != 2 or clip.shape[1] != inputs or clip.dtype.kind not in "iu":
        raise ValueError(f"an utterance must hold integers of shape (T, {inputs}), not {clip.dtype} of {clip.shape}")
    fmt.check("frame values", clip)
    return clip


def check(plan: Plan, frames: Sequence[Frame]) -> None:
    """Refuse frames that the bench cannot send to this accelerator."""
    longest = slots(plan)
    for index, frame in enumerate(frames):
        if frame.clear and plan.config.state is not StatePolicy.PULSE:
            raise ValueError(f"frame {index} pulses clear, but the state policy is {plan.config.state.value}")
        if frame.end and plan.config.state is not StatePolicy.UTTERANCE:
            raise ValueError(f"frame {index} marks an end, but the state policy is {plan.config.state.value}")
        if not 1 <= len(frame.values) <= longest:
            raise ValueError(f"frame {index} must have 1 to {longest} elements, not {len(frame.values)}")
        if not plan.model.input.contains(np.array(frame.values)):
            raise ValueError(f"frame {index} must hold values of {plan.model.input.min} to {plan.model.input.max}")


def slots(plan: Plan) -> int:
    """Elements of the longest frame that the bench can send: two whole frames and some, so that counters wrap."""
    return 2 * plan.model.inputs + 2


def reference(model: QuantizedModel, frames: Sequence[Frame]) -> Prediction:
    """Run the golden model over frames, with their clears, ends and resets.

    A malformed frame computes nothing; a clear or an end that it carries takes effect before the next frame.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : sequence of Frame
        As sent.

    Returns
    -------
    Prediction
    """
    golden = Golden(model)
    expected: list[Expected] = []
    asleep: list[int] = []
    saturated = dict.fromkeys((name for name in golden.vectors if name != "x"), 0)
    state: State | None = None
    segment = phase = 0
    for index, frame in enumerate(frames):
        if frame.clear or state is None:
            state, phase = golden.initial_state(), 0
        if len(frame.values) == model.inputs:
            before = dict(state.saturated)
            values = golden.step(np.array([frame.values]), state)
            for name, total in state.saturated.items():
                saturated[name] += total - before[name]
            flat = {name: value[0] for name, value in values.items()}
            if flat:
                expected.append(Expected(index, segment, frame.reset_after > 0, phase, flat))
                phase += 1
            else:
                asleep.append(index)
                phase = 0
        if frame.end or frame.reset_after:
            state = None
        if frame.reset_after:
            segment += 1
    return Prediction(expected, saturated, frozenset(asleep))


def in_rounds(plan: Plan, frames: Sequence[Expected]) -> list[list[Expected]]:
    """Frames that an accelerator computes together; those at the end of a segment that fill no round never are."""
    size = plan.config.frames_per_fetch
    segments = [list(group) for _, group in itertools.groupby(frames, key=lambda frame: frame.segment)]
    return [
        members[first : first + size] for members in segments for first in range(0, len(members) - size + 1, size)
    ]


def elements(golden: Golden, expected: Expected) -> list[tuple[int, str, int, IntArray]]:
    """What leaves the finish block in a frame, in order: index of the operation, vector, first element, values."""
    parts = []
    seen: dict[str, int] = {}
    for index, operation in enumerate(golden.operations):
        if operation.target not in expected.values:
            break
        start = seen.get(operation.target, 0)
        stop = start + operation.repeat * operation.rows
        parts.append((index, operation.target, start, expected.values[operation.target][start:stop]))
        seen[operation.target] = stop
    return parts


def logit_frames(model: QuantizedModel, frames: Sequence[Expected]) -> tuple[list[Expected], list[int]]:
    """Frames that give logits, and which of them, by index, come first after a clear.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : sequence of Expected
        Frames between two resets, as `reference` gives them.
    """
    giving: list[Expected] = []
    restarts: list[int] = []
    cleared = False
    for frame in frames:
        cleared |= frame.phase == 0
        if gives_logits(model, frame):
            restarts += [len(giving)] if cleared else []
            giving.append(frame)
            cleared = False
    return giving, restarts


def gives_logits(model: QuantizedModel, expected: Expected) -> bool:
    """Whether a frame gives logits."""
    return output_name(model) in expected.values
