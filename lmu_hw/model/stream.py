"""Logits of one long stream and when they came, with or without a level gate."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedModel

__all__ = ["StreamLogits", "stream_logits"]

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
    model.input.check("frame values", array)
    awake = model.gate.awake(array)
    edges = np.diff(awake.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    logits = _stretches(replace(model, gate=None), array, starts, ends, progress)
    outputs = [np.arange(start + period - 1, end, period) for start, end in zip(starts, ends, strict=True)]
    counts = np.array([len(own) for own in outputs], np.int64)
    restarts = (np.cumsum(counts) - counts)[counts > 0]
    share = float(awake.mean()) if len(awake) else 0.0
    return StreamLogits(logits, np.concatenate([starts[:0], *outputs]), restarts, share)


def _stretches(
    model: QuantizedModel,
    frames: IntArray,
    starts: IntArray,
    ends: IntArray,
    progress: Callable[[int], None] | None,
) -> IntArray:
    """Logits of stretches of a stream, each from the zero state, one after the other; those of like length at once."""
    golden, lengths, period = Golden(model), (ends - starts).tolist(), math.prod(model.strides)
    parts = [np.zeros((0, model.outputs), np.int64)] * (len(lengths) + 1)
    order, done = np.argsort(lengths, kind="stable").tolist(), 0
    for first in range(0, len(order), STRETCHES):
        chosen = order[first : first + STRETCHES]
        padded = np.zeros((len(chosen), lengths[chosen[-1]], model.inputs), np.int64)
        for row, stretch in zip(padded, chosen, strict=True):
            row[: lengths[stretch]] = frames[starts[stretch] : ends[stretch]]
        for logits, stretch in zip(golden.run_long(padded), chosen, strict=True):
            parts[stretch] = logits[: lengths[stretch] // period]
        done += sum(lengths[stretch] for stretch in chosen)
        if progress is not None:
            progress(done)
    return np.concatenate(parts)
