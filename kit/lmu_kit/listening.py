"""The integer model on audio, as the hardware hears it: decisions and keyword events over time."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import Smoothing, detect
from lmu_hw.model.stream import stream_logits
from lmu_kit.errors import InputError
from lmu_kit.models import front_end_of
from lmu_quantize.audio import read_wav
from lmu_quantize.features import quantize_frames

__all__ = ["Heard", "Keyword", "listen"]


@dataclass(frozen=True)
class Keyword:
    """A keyword that was heard.

    Parameters
    ----------
    time : float
        Seconds from the start of the audio to the end of the frame that fired.
    label : str
        The keyword.
    score : int
        Its smoothed lead over the background.
    """

    time: float
    label: str
    score: int


@dataclass(frozen=True, eq=False)
class Heard:
    """What the network says over time.

    Parameters
    ----------
    times : ndarray of float64, shape (T,)
        Seconds from the start of the audio to the end of each frame that gave logits.
    logits : ndarray of int64, shape (T, labels)
        Integers of the output format.
    labels : tuple of str
        The decision of each of these frames: the label with the largest logit.
    keywords : tuple of Keyword
        Events of the decision smoothing; empty without smoothing.
    """

    times: NDArray[np.float64]
    logits: NDArray[np.int64]
    labels: tuple[str, ...]
    keywords: tuple[Keyword, ...]


def listen(
    model: QuantizedModel,
    audio: str | os.PathLike[str] | ArrayLike,
    smoothing: Smoothing | None = None,
    *,
    resample: bool = False,
) -> Heard:
    """Run the integer model over audio of any length, its state never reset.

    Parameters
    ----------
    model : QuantizedModel
        With labels and a front end.
    audio : path-like or array_like of int16, shape (samples,)
        A WAV file, or samples at the front end's rate.
    smoothing : Smoothing, optional
        Decision smoothing that gives events, the same as in the hardware.
    resample : bool
        Convert a WAV file of another rate or with more channels.

    Returns
    -------
    Heard
        Logits and decisions frame by frame, and the keywords.

    Raises
    ------
    InputError
        If the model lacks labels or a front end, or the audio is too short for the first logits.
    """
    front_end = front_end_of(model)
    if not model.labels:
        raise InputError(f"model {model.name!r} has no labels: give its {model.outputs} labels in order")
    samples = read_wav(Path(audio), resample=resample) if isinstance(audio, (str, os.PathLike)) else np.asarray(audio)
    period = math.prod(model.strides)
    least = front_end.window + (period - 1) * front_end.hop
    if len(samples) < least:
        raise InputError(f"the audio has {len(samples)} samples; the first logits need {least}")
    frames = quantize_frames(front_end.frames(samples), model.input)
    heard = stream_logits(model, frames)
    logits = heard.logits
    times = (front_end.window + heard.frames * front_end.hop) / front_end.sample_rate
    keywords: tuple[Keyword, ...] = ()
    if smoothing is not None:
        smoothing.check(model.outputs, Golden(model).operations[-1].output)
        events = detect(logits, smoothing, heard.restarts)
        keywords = tuple(
            Keyword(float(times[frame]), model.labels[label], int(score))
            for frame, label, score in zip(*events, strict=True)
        )
    return Heard(times, logits, tuple(model.labels[index] for index in decide(logits)[0]), keywords)
