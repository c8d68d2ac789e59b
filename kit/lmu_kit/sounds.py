"""The sounds that power is estimated for: speech, silence and noise."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.program import QuantizedModel
from lmu_kit.errors import InputError
from lmu_kit.frames import check_length, open_frames, open_recordings, spread_evenly
from lmu_quantize import zoo
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.frames_file import FrameSet

__all__ = ["Sounds", "find_sounds"]

IntArray = NDArray[np.int64]

Sounds = dict[str, IntArray]
"""Integer frames of shape (clips, T, inputs) by kind: ``speech``, ``silence``, ``noise``."""

SILENCE_RMS = 1e-4
"""Of full scale: the noise floor of a microphone in a quiet room."""

SECONDS = 1.0

NOISE_LABEL = "silence"
"""Speech Commands' class of clips without speech: recordings of background noise."""


def find_sounds(
    model: QuantizedModel,
    frames: str | os.PathLike[str] | FrameSet | None = None,
    *,
    recordings: Sequence[str | os.PathLike[str]] = (),
    clips: int = 1,
) -> Sounds:
    """Choose clips of speech, silence and noise.

    Parameters
    ----------
    model : QuantizedModel
        The network; its front end makes the frames of silence.
    frames : path-like or FrameSet, optional
        Clips to take speech and noise from; those that ship with the network if not given.
    recordings : sequence of path-like
        WAV files to take as speech instead.
    clips : int
        Number of clips of each kind.

    Returns
    -------
    dict of str to ndarray of int64, shape (clips, T, inputs)
        ``speech``: the recordings, cut to the shortest; or clips spread evenly over those with another label than
        "silence". ``noise``: the loudest clips labelled "silence", which is Speech Commands' class of background
        noise; left out where there are none. ``silence``: white noise at 1e-4 of full scale, always the same; left
        out for a model without a front end.

    Raises
    ------
    InputError
        If there is no speech, or the clips are too short for the model.
    """
    sounds: Sounds = {}
    labelled = None
    if frames is not None or model.name in zoo.names():
        labelled = open_frames(model, frames)
    if recordings:
        utterances = open_recordings(model, recordings)
        shortest = min(len(utterance) for utterance in utterances)
        sounds["speech"] = np.stack([utterance[:shortest] for utterance in utterances])
    elif labelled is None:
        raise InputError(f"no frames are shipped for model {model.name!r}: give frames or recordings")
    noise = np.zeros(0, dtype=bool)
    if labelled is not None:
        noise = np.array([label == NOISE_LABEL for label in labelled.labels], dtype=bool)[labelled.truth]
        if not recordings:
            speech = ~noise if not noise.all() else noise
            chosen = replace(labelled, frames=labelled.frames[speech], truth=labelled.truth[speech])
            sounds["speech"] = spread_evenly(chosen, clips).frames
    if model.front_end is not None:
        sounds["silence"] = _silence(model, clips)
    if labelled is not None and noise.any():
        sounds["noise"] = _loudest(labelled.frames[noise], clips)
    for kind, sound in sounds.items():
        check_length(model, sound.shape[1], kind)
    return sounds


def _silence(model: QuantizedModel, clips: int) -> IntArray:
    """Frames of white noise at `SILENCE_RMS`, made by the model's own front end; always the same."""
    front_end = FrontEnd.from_dict(model.front_end or {})
    samples = np.random.default_rng(0).normal(size=(clips, int(SECONDS * front_end.sample_rate)))
    features = front_end.frames_batch(np.round(samples * SILENCE_RMS * 32768).astype(np.int16))
    return quantize_frames(features, model.input)


def _loudest(frames: IntArray, clips: int) -> IntArray:
    """Clips with the largest mean over all elements, which is that of the logarithm of the energies."""
    order = np.argsort(-frames.mean(axis=(1, 2)), kind="stable")
    return frames[np.sort(order[:clips])]
