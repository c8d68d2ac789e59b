"""Logits of one long stream and when they came, with or without a level gate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.gate import stretches
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedModel

__all__ = ["StreamLogits", "clip_logits", "stream_logits"]

IntArray = NDArray[np.int64]

STRETCHES = 128
"""Stretches between two sleeps that are run side by side."""


@dataclass(frozen=True, eq=False)
class StreamLogits:
    """Logits of a stream.

    Attributes
    ----------
    logits : ndarray of int64, shape (T_out, labels)
        Of every frame in which the last layer computed.
    frames : ndarray of int64, shape (T_out,)
        These frames, counted from 0.
    restarts : ndarray of int64
        Which of the logits, by index, come first after the network was asleep: its state was cleared before them.
    awake : float
        Part of the frames that were awake, 0 to 1; 1 without a gate.
    """

    logits: IntArray
    frames: IntArray
    restarts: IntArray
    awake: float


def stream_logits(
    model: QuantizedModel, frames: ArrayLike, progress: Callable[[int], None] | None = None
) -> StreamLogits:
    """Run a network over a stream from the zero state: the logits of `Golden.run`, as fast as `Golden.run_long`.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : array_like of int, shape (T, inputs)
        Input frames, in the model's input format.
    progress : callable, optional
        Called with the frames done.

    Returns
    -------
    StreamLogits

    Raises
    ------
    ValueError
        If the frames have another shape or a value outside the input format.
    """
    array = np.asarray(frames)
    if array.ndim != 2 or array.shape[1] != model.inputs:
        raise ValueError(f"a stream must have shape (T, {model.inputs}), not {array.shape}")
    period = math.prod(model.strides)
    if model.gate is None:
        logits = Golden(model).run_long(array[np.newaxis], progress=progress)[0]
        return StreamLogits(logits, np.arange(period - 1, len(array), period), np.zeros(0, np.int64), 1.0)
    return _gated_logits(model, array[np.newaxis], progress)[0]


def clip_logits(model: QuantizedModel, clips: ArrayLike, silence: int) -> IntArray:
    """Logits that stand at the end of each clip, every clip from the zero state.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    clips : array_like of int, shape (clips, T, inputs)
        Input frames, in the model's input format.
    silence : int
        Label of a clip that gave no logits, because the network never woke: its logits are 1 for this label and 0 for
        the others.

    Returns
    -------
    ndarray of int64, shape (clips, labels)
    """
    array = np.asarray(clips)
    if model.gate is None:
        return Golden(model).run_long(array)[:, -1]
    nothing = np.eye(model.outputs, dtype=np.int64)[silence]
    return np.stack([stream.logits[-1] if len(stream.logits) else nothing for stream in _gated_logits(model, array)])


def _gated_logits(
    model: QuantizedModel, streams: IntArray, progress: Callable[[int], None] | None = None
) -> list[StreamLogits]:
    """Logits of streams of shape (streams, T, inputs) through the gate."""
    if model.gate is None:
        raise ValueError("the network has no gate")
    model.input.check("frame values", streams)
    period, verdicts, parts, outputs = math.prod(model.strides), [], [], []
    for stream in streams:
        awake = model.gate.awake(stream)
        bounds = stretches(awake)
        verdicts.append(awake)
        parts += [stream[start:end] for start, end in bounds]
        outputs.append([np.arange(start + period - 1, end, period) for start, end in bounds])
    logits = iter(_part_logits(replace(model, gate=None), parts, progress))
    results, nothing = [], np.zeros((0, model.outputs), np.int64)
    for awake, frames in zip(verdicts, outputs, strict=True):
        counts = np.array([len(own) for own in frames], np.int64)
        restarts = (np.cumsum(counts) - counts)[counts > 0]
        joined = np.concatenate([nothing, *(next(logits) for _ in frames)])
        numbers = np.concatenate([np.zeros(0, np.int64), *frames])
        results.append(StreamLogits(joined, numbers, restarts, float(awake.mean()) if len(awake) else 0.0))
    return results


def _part_logits(
    model: QuantizedModel, parts: Sequence[IntArray], progress: Callable[[int], None] | None
) -> list[IntArray]:
    """Logits of stretches of frames, each from the zero state; those of like length at once."""
    golden, lengths, period = Golden(model), [len(part) for part in parts], math.prod(model.strides)
    logits = [np.zeros((0, model.outputs), np.int64)] * len(parts)
    order, done = np.argsort(lengths, kind="stable").tolist(), 0
    for first in range(0, len(order), STRETCHES):
        chosen = order[first : first + STRETCHES]
        padded = np.zeros((len(chosen), lengths[chosen[-1]], model.inputs), np.int64)
        for row, number in zip(padded, chosen, strict=True):
            row[: lengths[number]] = parts[number]
        for computed, number in zip(golden.run_long(padded), chosen, strict=True):
            logits[number] = computed[: lengths[number] // period]
        done += sum(lengths[number] for number in chosen)
        if progress is not None:
            progress(done)
    return logits
