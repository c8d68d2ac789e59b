"""The sounds that power is estimated for: speech, silence, noise."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.program import QuantizedModel
from lmu_kit.cli.console import CommandError
from lmu_kit.inputs import check_length, model_frames, wav_frames
from lmu_quantize import zoo
from lmu_quantize.features import FrontEnd, quantize_frames

__all__ = ["find_sounds"]

IntArray = NDArray[np.int64]

SILENCE_RMS = 1e-4
"""Of full scale: the floor of a microphone in a quiet room."""

SECONDS = 1.0

NOISE_LABEL = "silence"
"""Speech Commands' class of clips without speech: recordings of background noise."""


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


def find_sounds(
    model: QuantizedModel, frames: Path | None, wav: list[Path] | None, clips: int
) -> dict[str, IntArray]:
    """Clips by kind of sound.

    Parameters
    ----------
    model : QuantizedModel
        The network; its front end makes the frames of silence.
    frames : Path, optional
        Frames file to take speech and noise from; the one shipped with the model if not given.
    wav : list of Path, optional
        Recordings to take as speech instead.
    clips : int
        Of each kind.

    Returns
    -------
    dict of str to ndarray of int64, shape (clips, T, inputs)
        ``speech``: the recordings, or clips spread evenly over those with a label other than "silence". ``noise``: the
        loudest clips labelled "silence", which is Speech Commands' class of background noise; left out where there are
        none. ``silence``: white noise at 1e-4 of full scale, left out for a model without front end.

    Raises
    ------
    CommandError
        If there is no speech.
    """
    found: dict[str, IntArray] = {}
    shipped = None
    if frames is not None or model.name in zoo.names():
        shipped = model_frames(model, frames)
    if wav:
        recordings = wav_frames(model, wav, resample=False)
        shortest = min(len(one) for one in recordings)
        found["speech"] = np.stack([one[:shortest] for one in recordings])
    elif shipped is None:
        raise CommandError(f"no frames are shipped for model {model.name!r}: give --frames or --wav")
    noise = np.zeros(0, dtype=bool)
    if shipped is not None:
        marks = [label == NOISE_LABEL for label in shipped.labels]
        noise = np.array(marks, dtype=bool)[shipped.truth]
        if not wav:
            chosen = ~noise if not noise.all() else noise
            found["speech"] = spread_clips(shipped.frames[chosen], clips)
    if model.front_end is not None:
        found["silence"] = _silence(model, clips)
    if shipped is not None and noise.any():
        found["noise"] = _loudest(shipped.frames[noise], clips)
    for kind, one in found.items():
        check_length(model, one.shape[1], kind)
    return found


def spread_clips(frames: IntArray, clips: int) -> IntArray:
    """At most so many clips, spread evenly."""
    chosen = np.linspace(0, len(frames) - 1, min(clips, len(frames))).round().astype(int)
    return frames[chosen]
