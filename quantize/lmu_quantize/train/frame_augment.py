"""Augmentation of frames: cheap enough to be drawn anew for every clip of every epoch.

The frames are log energies of mel bands. Gain is therefore an offset, a filter is an offset by band, and noise adds in
the exponent. Speed without pitch is a stretch of the time axis. The length of the vocal tract is a stretch of the mel
axis (Jaitly and Hinton 2013, "Vocal tract length perturbation"). Cross terms of clip and noise are left out.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmu_hw.checks import require_number

__all__ = ["FrameAugmentConfig", "augment_frames"]

NEPER = math.log(10) / 10
"""Natural logarithm of a power ratio of one decibel."""


@dataclass(frozen=True)
class FrameAugmentConfig:
    """Ranges from which the augmentation of frames draws.

    Parameters
    ----------
    shift : float
        Largest shift in time, both ways, in frames, 0 to 20.
    time_stretch, mel_stretch : float
        Largest relative stretch of the time and of the mel axis, 0 to 0.5.
    gain_db : float
        Largest gain, both ways, in decibels, 0 to 40.
    tilt_db : float
        Largest amplitude of each of two smooth filters over the mel axis, in decibels, 0 to 40.
    noise_probability : float
        Fraction of clips with noise added, 0 to 1.
    snr_db : tuple of float
        Lowest and highest signal-to-noise ratio in decibels.
    """

    shift: float = 4.0
    time_stretch: float = 0.12
    mel_stretch: float = 0.08
    gain_db: float = 8.0
    tilt_db: float = 3.0
    noise_probability: float = 0.6
    snr_db: tuple[float, float] = (0.0, 35.0)

    def __post_init__(self) -> None:
        pair = tuple(float(value) for value in self.snr_db)
        if len(pair) != 2 or not pair[0] <= pair[1]:
            raise ValueError(f"snr_db must be two numbers in ascending order, not {self.snr_db!r}")
        object.__setattr__(self, "snr_db", pair)
        for name, high in (
            ("shift", 20), ("time_stretch", 0.5), ("mel_stretch", 0.5), ("gain_db", 40), ("tilt_db", 40),
            ("noise_probability", 1),
        ):  # fmt: skip
            require_number(name, getattr(self, name), 0, high)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def augment_frames(
    frames: Tensor, noise: Tensor, floor: float, config: FrameAugmentConfig, generator: torch.Generator
) -> Tensor:
    """One variant of every sequence.

    Parameters
    ----------
    frames : Tensor
        float32, shape (batch, T, bands): natural logarithms of mel energies.
    noise : Tensor
        float32, shape (N, T, bands): the same of noise, at any level.
    floor : float
        Smallest log energy that the front end gives.
    config : FrameAugmentConfig
        Ranges.
    generator : torch.Generator
        Source of every choice.

    Returns
    -------
    Tensor
        float32, shape (batch, T, bands).
    """
    batch = len(frames)

    def draw(largest: float) -> Tensor:
        return (2 * torch.rand(batch, generator=generator) - 1) * largest

    warped = _warp(frames, draw(config.shift), 1 + draw(config.time_stretch), 1 + draw(config.mel_stretch))
    band = torch.linspace(0, math.pi, frames.shape[2])
    curve = draw(config.tilt_db)[:, None] * torch.cos(band) + draw(config.tilt_db)[:, None] * torch.cos(2 * band)
    changed = warped + (NEPER * (curve + draw(config.gain_db)[:, None]))[:, None]
    chosen = noise[torch.randint(len(noise), (batch,), generator=generator)]
    low, high = config.snr_db
    snr = low + (high - low) * torch.rand(batch, generator=generator)
    level = _power(changed) - _power(chosen) - NEPER * snr
    level[torch.rand(batch, generator=generator) >= config.noise_probability] = -math.inf
    return torch.logaddexp(changed, chosen + level[:, None, None]).clamp_min(floor)


def _power(frames: Tensor) -> Tensor:
    """Logarithm of the energy of each sequence, shape (batch,)."""
    return torch.logsumexp(frames, dim=(1, 2))


def _warp(frames: Tensor, shift: Tensor, time: Tensor, mel: Tensor) -> Tensor:
    """Stretch both axes, time about the middle and mel from the lowest band, and shift; edges are continued."""
    batch, length, bands = frames.shape
    instant = torch.linspace(-1, 1, length) * time[:, None] - (2 * shift / (length - 1))[:, None]
    band = torch.linspace(0, 2, bands) * mel[:, None] - 1
    grid = torch.stack(
        (band[:, None].expand(batch, length, bands), instant[:, :, None].expand(batch, length, bands)), dim=-1
    )
    return functional.grid_sample(frames[:, None], grid, padding_mode="border", align_corners=True)[:, 0]
