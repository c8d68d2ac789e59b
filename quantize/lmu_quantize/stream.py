"""Hours of audio as a microphone hears them: words at random places over noise and silence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.audio import SAMPLE_RATE

__all__ = ["Stream", "make_stream", "noise_part", "word_end"]

IntArray = NDArray[np.int64]

KEYWORDS_PER_HOUR, OTHERS_PER_HOUR, NOISES_PER_HOUR = 600, 600, 120
"""Clips of keywords, of other words and of silence in an hour, each a second."""
HELD_OUT = 0.2
"""Last part of every noise recording, which training does not use; half of it each for validation and test."""
SECTION_S = (2.0, 20.0)
SECTION_DB = (-12.0, 12.0)
SILENT_SECTIONS = 0.3
LOUD_RMS = (1e-3, 0.3)
FADE = 160


@dataclass(frozen=True, eq=False)
class Stream:
    """Audio and the keywords in it.

    Attributes
    ----------
    samples : ndarray of int16, shape (n_samples,)
        At 16 kHz.
    labels : ndarray of int64, shape (keywords,)
        What is said, in order of time.
    starts, ends : ndarray of int64, shape (keywords,)
        First sample of the clip, and the sample at which the word ends.
    """

    samples: NDArray[np.int16]
    labels: IntArray
    starts: IntArray
    ends: IntArray

    @property
    def hours(self) -> float:
        """Length."""
        return len(self.samples) / (3600 * SAMPLE_RATE)


def word_end(clip: NDArray[np.int16]) -> int:
    """Sample at which the word of a clip ends.

    The level (RMS) of each 10 ms over twice the level that a tenth of them stay below is summed up; the word ends where
    97 % of the sum is reached.

    Parameters
    ----------
    clip : ndarray of int16, shape (n_samples,)
        At 16 kHz.
    """
    block = SAMPLE_RATE // 100
    blocks = clip[: len(clip) // block * block].astype(np.float64).reshape(-1, block)
    level = np.sqrt(np.square(blocks).mean(axis=1))
    total = np.cumsum(np.maximum(level - 2 * np.quantile(level, 0.1), 0.0))
    if not total[-1]:
        return len(clip)
    return (int(np.searchsorted(total, 0.97 * total[-1])) + 1) * block


def noise_part(recording: NDArray[np.int16], split: str) -> NDArray[np.int16]:
    """Part of a noise recording that the stream of a split uses, and training does not.

    Parameters
    ----------
    recording : ndarray of int16, shape (n_samples,)
        At 16 kHz.
    split : {"validation", "test"}
        Whose stream.
    """
    held_out = recording[len(recording) - int(len(recording) * HELD_OUT) :]
    middle = len(held_out) // 2
    return held_out[:middle] if split == "validation" else held_out[middle:]


def make_stream(
    clips: NDArray[np.int16],
    labels: IntArray,
    names: Sequence[str],
    noise: Sequence[NDArray[np.int16]],
    hours: float,
    seed: int,
) -> Stream:
    """Put clips at random places over a background of noise and silence.

    An hour has 600 clips of keywords, 600 of ``unknown`` and 120 of ``silence``, all drawn without repeats as long as
    there are any, none overlapping another. Where no clips of silence are given, they are cut from the noise at RMS
    levels of 0.001 to 0.3 of full scale. The background changes every 2 to 20 s: 30 % digital silence, the rest
    stretches of the noise 12 dB quieter to 12 dB louder than they were recorded.

    Parameters
    ----------
    clips : ndarray of int16, shape (N, samples)
        One second each or less, 16 kHz.
    labels : ndarray of int64, shape (N,)
        Positions in `names`.
    names : sequence of str
        Labels; all but ``unknown`` and ``silence`` are keywords.
    noise : sequence of ndarray of int16
        Recordings of noise.
    hours : float
        Length.
    seed : int
        Of all choices.

    Returns
    -------
    Stream

    Raises
    ------
    ValueError
        If there are no clips of keywords, no noise, or less time than the clips need.
    """
    rng = np.random.default_rng((seed, 6))
    track = _background(noise, round(hours * 3600 * SAMPLE_RATE), rng)
    clips, labels, chosen = _choose_clips(clips, labels, names, noise, hours, rng)
    length = clips.shape[1]
    free = len(track) - len(chosen) * length
    if free < 0:
        raise ValueError(f"{len(chosen)} clips need more than {hours:g} hours")
    starts = np.sort(rng.integers(0, free, len(chosen), endpoint=True)) + np.arange(len(chosen)) * length
    for start, clip in zip(starts.tolist(), chosen, strict=True):
        _add(track, start, clips[clip])
    keyword = _is_keyword(labels, names)
    spoken = [position for position, clip in enumerate(chosen) if keyword[clip]]
    ends = [int(starts[position]) + word_end(clips[chosen[position]]) for position in spoken]
    spoken_labels = labels[[chosen[position] for position in spoken]].astype(np.int64)
    return Stream(track, spoken_labels, starts[spoken], np.array(ends, np.int64))


def _is_keyword(labels: IntArray, names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each clip is one of a keyword; clips cut from the noise have the label -1."""
    return np.array([label >= 0 and names[label] not in ("unknown", "silence") for label in labels], np.bool_)


def _choose_clips(
    clips: NDArray[np.int16],
    labels: IntArray,
    names: Sequence[str],
    noise: Sequence[NDArray[np.int16]],
    hours: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], IntArray, list[int]]:
    """Draw the clips of a stream: all clips and their labels, with silence cut from the noise, and those in order."""
    keyword = _is_keyword(labels, names)
    if not keyword.any():
        raise ValueError("a stream needs clips of keywords")
    chosen = _draw(np.flatnonzero(keyword), round(KEYWORDS_PER_HOUR * hours), rng)
    for name, per_hour in (("unknown", OTHERS_PER_HOUR), ("silence", NOISES_PER_HOUR)):
        own = np.flatnonzero([names[label] == name for label in labels])
        count = round(per_hour * hours)
        if len(own):
            chosen += _draw(own, count, rng)
        elif name == "silence":
            clips = np.concatenate([clips, *(_loud(noise, clips.shape[1], rng) for _ in range(count))])
            labels = np.concatenate([labels, np.full(count, -1)])
            chosen += range(len(clips) - count, len(clips))
    return clips, labels, [chosen[position] for position in rng.permutation(len(chosen))]


def _draw(pool: IntArray, count: int, rng: np.random.Generator) -> list[int]:
    """Draw clips: all in random order, then all again in another, until there are enough."""
    rounds = [rng.permutation(pool) for _ in range(-(-count // len(pool)))]
    drawn: list[int] = np.concatenate([pool[:0], *rounds])[:count].tolist()
    return drawn


def _background(noise: Sequence[NDArray[np.int16]], samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    noise = [recording for recording in noise if len(recording) > SAMPLE_RATE]
    if not noise:
        raise ValueError("a stream needs recordings of noise longer than a second")
    track = np.zeros(samples, np.int16)
    start = 0
    while start < samples:
        length = int(rng.uniform(*SECTION_S) * SAMPLE_RATE)
        if rng.random() >= SILENT_SECTIONS:
            recording = noise[int(rng.integers(len(noise)))]
            gain = 10 ** (rng.uniform(*SECTION_DB) / 20)
            first = int(rng.integers(len(recording)))
            stretch = np.take(recording, np.arange(first, first + length), mode="wrap")
            track[start : start + length] = _to_int16(gain * stretch.astype(np.float64))[: samples - start]
        start += length
    return track


def _loud(noise: Sequence[NDArray[np.int16]], samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """A clip of noise at a random level, shape (1, samples)."""
    recording = noise[int(rng.integers(len(noise)))]
    first = int(rng.integers(len(recording) - samples + 1))
    stretch = recording[first : first + samples].astype(np.float64)
    low, high = LOUD_RMS
    rms = math.exp(rng.uniform(math.log(low), math.log(high)))
    return _to_int16(stretch * (rms * 32768 / max(float(np.sqrt(np.square(stretch).mean())), 1.0)))[None]


def _add(track: NDArray[np.int16], start: int, clip: NDArray[np.int16]) -> None:
    """Add a clip to the track, with 10 ms fades so that its noise does not click."""
    ramp = np.minimum(np.arange(1, len(clip) + 1) / FADE, 1.0)
    span = slice(start, start + len(clip))
    track[span] = _to_int16(track[span].astype(np.float64) + clip * ramp * ramp[::-1])


def _to_int16(values: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.floor(values + 0.5), -32768, 32767).astype(np.int16)
