"""Noise: recordings and coloured noise, and clips of silence that are cut from it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NoiseBank", "noise_for_training", "rms", "silence_clip", "test_silence", "to_int16", "unheard_noise"]

FloatArray = NDArray[np.float32]

FULL_SCALE = 32768.0
COLOUR_SECONDS = 20
RATE = 16_000
SILENCE_RMS = (1e-4, 0.35)
"""Lowest and highest RMS of silence, full scale being 1."""
HELD_OUT = 0.2
"""Last part of every noise recording, kept for the silence of validation and test."""
TEST_SEED = (0, 8)


class NoiseBank:
    """Noise to cut from: recordings, and coloured noise from white to brown.

    Parameters
    ----------
    recordings : sequence of ndarray of int16
        Background noise at 16 kHz, each longer than a second.
    rng : numpy.random.Generator
        Source of the coloured noise.
    """

    def __init__(self, recordings: Sequence[NDArray[np.int16]], rng: np.random.Generator) -> None:
        self.recordings: list[FloatArray] = [
            recording.astype(np.float32) / np.float32(FULL_SCALE) for recording in recordings if len(recording) > RATE
        ]
        self.colours = [_coloured(rng, exponent) for exponent in (0.0, 0.5, 1.0, 1.5, 2.0)]

    def cut(self, rng: np.random.Generator, samples: int) -> FloatArray:
        """Cut a stretch with an RMS of 1, half of the time from a recording if there is one.

        Parameters
        ----------
        rng : numpy.random.Generator
            Chooses the noise and the place.
        samples : int
            Length, at most one second at 16 kHz.

        Returns
        -------
        ndarray of float32, shape (samples,)
        """
        pool = self.recordings if self.recordings and rng.random() < 0.5 else self.colours
        noise = pool[int(rng.integers(len(pool)))]
        start = int(rng.integers(len(noise) - samples + 1))
        stretch = noise[start : start + samples]
        return stretch / np.float32(max(rms(stretch), 1e-6))


def _coloured(rng: np.random.Generator, exponent: float) -> FloatArray:
    """Noise whose power falls with frequency to the power `exponent`; below 40 Hz it is flat."""
    samples = COLOUR_SECONDS * RATE
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 40.0)
    return np.fft.irfft(spectrum * frequency ** (-exponent / 2), samples).astype(np.float32)


def rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def to_int16(values: FloatArray) -> NDArray[np.int16]:
    """Samples of 16 bits, rounded and saturated."""
    return np.clip(np.floor(values * FULL_SCALE + 0.5), -32768, 32767).astype(np.int16)


def silence_clip(
    samples: int, noise: NoiseBank, levels: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.int16]:
    """One clip without a word: noise at a level drawn evenly in decibels.

    Parameters
    ----------
    samples : int
        Length, at most one second at 16 kHz.
    noise : NoiseBank
        What it is cut from.
    levels : tuple of float
        Lowest and highest RMS, full scale being 1.
    rng : numpy.random.Generator
        Source of every choice.

    Returns
    -------
    ndarray of int16, shape (samples,)
    """
    low, high = np.log(levels)
    return to_int16(noise.cut(rng, samples) * np.float32(np.exp(rng.uniform(low, high))))


def noise_for_training(recording: NDArray[np.int16]) -> NDArray[np.int16]:
    """Give the part of a noise recording that training uses: all but the last fifth, or but the last second."""
    return recording[: _first_unheard(recording)]


def unheard_noise(recording: NDArray[np.int16]) -> NDArray[np.int16]:
    """Give the part of a noise recording that training does not use."""
    return recording[_first_unheard(recording) :]


def test_silence(recordings: Sequence[NDArray[np.int16]], clips: int) -> NDArray[np.int16]:
    """Make clips of silence for a test that has no recordings of it; always the same ones.

    They are cut as in training, at the default levels, from the noise that training does not use and from coloured
    noise.

    Parameters
    ----------
    recordings : sequence of ndarray of int16
        Background noise at 16 kHz.
    clips : int
        How many.

    Returns
    -------
    ndarray of int16, shape (clips, 16000)
    """
    rng = np.random.default_rng(TEST_SEED)
    bank = NoiseBank([unheard_noise(recording) for recording in recordings], rng)
    return np.stack([silence_clip(RATE, bank, SILENCE_RMS, rng) for _ in range(clips)])


def _first_unheard(recording: NDArray[np.int16]) -> int:
    return len(recording) - max(RATE + 1, int(len(recording) * HELD_OUT))
