"""Augmentation: recordings made louder, quieter, faster, shifted, noisy, reverberant; masked frames.

Every function draws from the generator it is given and from nothing else.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_int, require_number
from lmu_quantize.noise import FULL_SCALE, RATE, SILENCE_RMS, NoiseBank, rms, to_int16

__all__ = ["AugmentConfig", "augment_clip", "mask_frames"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges from which augmentation draws.

    Parameters
    ----------
    shift_ms : float
        Largest shift in time, both ways, in milliseconds.
    speed : float
        Largest relative change of speed, 0 to below 0.5; half of the clips keep theirs.
    gain_db : tuple of float
        Lowest and highest gain in decibels.
    noise_probability : float
        Fraction of clips with noise added, 0 to 1.
    snr_db : tuple of float
        Lowest and highest signal-to-noise ratio in decibels.
    reverb_probability : float
        Fraction of clips with reverberation, 0 to 1.
    reverb_seconds : tuple of float
        Shortest and longest time in which the reverberation decays by 60 dB, at most 1 s.
    reverb_db : tuple of float
        Lowest and highest level of the direct sound over the reverberation in decibels.
    silence_rms : tuple of float
        Lowest and highest RMS of silence, full scale being 1; drawn evenly in its logarithm.
    time_masks, time_width : int
        Masks along time in training, and the largest width of one in frames.
    mel_masks, mel_width : int
        Masks along the features, and the largest width of one.
    """

    shift_ms: float = 100.0
    speed: float = 0.12
    gain_db: tuple[float, float] = (-18.0, 10.0)
    noise_probability: float = 0.75
    snr_db: tuple[float, float] = (-3.0, 35.0)
    reverb_probability: float = 0.0
    reverb_seconds: tuple[float, float] = (0.1, 0.5)
    reverb_db: tuple[float, float] = (0.0, 15.0)
    silence_rms: tuple[float, float] = SILENCE_RMS
    time_masks: int = 1
    time_width: int = 8
    mel_masks: int = 1
    mel_width: int = 6

    def __post_init__(self) -> None:
        for name in ("gain_db", "snr_db", "reverb_seconds", "reverb_db", "silence_rms"):
            pair = tuple(float(value) for value in getattr(self, name))
            if len(pair) != 2 or not pair[0] <= pair[1]:
                raise ValueError(f"{name} must be two numbers in ascending order, not {getattr(self, name)!r}")
            object.__setattr__(self, name, pair)
        if self.silence_rms[0] <= 0 or self.silence_rms[1] > 1:
            raise ValueError(f"silence_rms must lie above 0 and at most 1, not {self.silence_rms!r}")
        if self.reverb_seconds[0] <= 0 or self.reverb_seconds[1] > 1:
            raise ValueError(f"reverb_seconds must lie above 0 and at most 1, not {self.reverb_seconds!r}")
        for name, high in (
            ("shift_ms", 1000), ("speed", 0.5), ("noise_probability", 1), ("reverb_probability", 1),
        ):  # fmt: skip
            require_number(name, getattr(self, name), 0, high)
        for name in ("time_masks", "time_width", "mel_masks", "mel_width"):
            require_int(name, getattr(self, name), 0)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def augment_clip(
    clip: NDArray[np.int16], noise: NoiseBank, config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.int16]:
    """One variant of a recording.

    Parameters
    ----------
    clip : ndarray of int16, shape (samples,)
        At most one second at 16 kHz.
    noise : NoiseBank
        Where added noise comes from.
    config : AugmentConfig
        Ranges.
    rng : numpy.random.Generator
        Source of every choice.

    Returns
    -------
    ndarray of int16, shape (samples,)
        Zeros where the variant has no sample of the clip; saturated.
    """
    samples = len(clip)
    signal = clip / np.float32(FULL_SCALE)
    shift = int(rng.uniform(-1, 1) * config.shift_ms * RATE / 1000)
    factor = 1.0 + (rng.uniform(-config.speed, config.speed) if rng.random() < 0.5 else 0.0)
    grid = np.arange(samples)
    middle = samples / 2
    moved = np.interp((grid - middle) * factor + middle - shift, grid, signal, left=0.0, right=0.0)
    if config.reverb_probability and rng.random() < config.reverb_probability:
        moved = _reverberant(moved, config, rng)
    signal = (moved * 10 ** (rng.uniform(*config.gain_db) / 20)).astype(np.float32)
    if rng.random() < config.noise_probability:
        level = rms(signal) * 10 ** (-rng.uniform(*config.snr_db) / 20)
        signal = signal + noise.cut(rng, samples) * np.float32(level)
    return to_int16(signal)


def _reverberant(
    signal: NDArray[np.float64], config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Add the response of a room: noise that decays exponentially, after the direct sound."""
    decay = rng.uniform(*config.reverb_seconds)
    length = int(decay * RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (-rng.uniform(*config.reverb_db) / 20) / np.sqrt(np.square(tail).sum())
    size = len(signal) + length
    echo = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(tail, size), size)
    return signal + echo[: len(signal)]


def mask_frames(frames: FloatArray, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Set bands of time and of features to 0, the mean of normalised features, in place.

    Parameters
    ----------
    frames : ndarray of float32, shape (batch, T, size)
        Normalised frames.
    config : AugmentConfig
        Number and largest width of the masks.
    rng : numpy.random.Generator
        Source of every choice; each sequence has its own masks.
    """
    batch, length, size = frames.shape
    for axis, extent, count, width in (
        (1, length, config.time_masks, config.time_width),
        (2, size, config.mel_masks, config.mel_width),
    ):
        for _ in range(count):
            widths = rng.integers(0, min(width, extent) + 1, size=batch)
            starts = rng.integers(0, extent - widths + 1)
            index = np.arange(extent)
            mask = (index >= starts[:, None]) & (index < (starts + widths)[:, None])
            frames *= ~(mask[:, :, None] if axis == 1 else mask[:, None, :])
