"""Augmentation of frames: nothing where it is off, gains and noise as in the power domain, stretches along the axes."""

import math

import numpy as np
import pytest
import torch

from lmu_quantize.train.frame_augment import NEPER, FrameAugmentConfig, augment_frames

OFF = {"shift": 0, "time_stretch": 0, "mel_stretch": 0, "gain_db": 0, "tilt_db": 0, "noise_probability": 0}
FLOOR = math.log(1e-6)


def frames(batch: int = 5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-8, 2, (batch, 49, 40)).astype(np.float32))


def augmented(x: torch.Tensor, seed: int = 0, **changes: object) -> torch.Tensor:
    noise = torch.linspace(-9, -3, 40).expand(2, 49, 40)
    config = FrameAugmentConfig(**(OFF | changes))
    return augment_frames(x, noise, FLOOR, config, torch.Generator().manual_seed(seed))


def test_nothing_changes_when_all_is_off() -> None:
    torch.testing.assert_close(augmented(frames()), frames(), atol=5e-4, rtol=0)


def test_the_same_seed_gives_the_same_frames() -> None:
    everything = FrameAugmentConfig().to_dict()
    first, again, other = (augmented(frames(), seed, **everything) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gain_is_an_offset_of_the_whole_clip() -> None:
    change = augmented(frames(), gain_db=10) - frames()
    torch.testing.assert_close(change, change[:, :1, :1].expand_as(change), atol=5e-4, rtol=0)
    assert float(change.abs().max()) <= 10 * NEPER + 1e-3
    assert float(change[:, 0, 0].std()) > 0


def test_tilt_is_an_offset_by_band() -> None:
    change = augmented(frames(), tilt_db=6) - frames()
    torch.testing.assert_close(change, change[:, :1].expand_as(change), atol=5e-4, rtol=0)
    assert float(change[:, 0].std(dim=1).min()) > 0


def test_noise_adds_energy_at_the_ratio_asked_for() -> None:
    noisy = augmented(frames(), noise_probability=1, snr_db=(6, 6))
    clean, total = torch.exp(frames()).sum(dim=(1, 2)), torch.exp(noisy).sum(dim=(1, 2))
    ratio = 10 * torch.log10(clean / (total - clean))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 6.0), atol=0.01, rtol=0)
    assert (noisy >= frames() - 5e-4).all()


def test_shift_moves_along_time_and_continues_the_edge() -> None:
    ramp = torch.arange(49.0)[None, :, None].expand(3, 49, 40)
    moved = augmented(ramp, shift=5)
    steps = moved[:, 24, 0] - 24
    assert float(steps.abs().max()) <= 5
    expected = (ramp + steps[:, None, None]).clamp(0, 48)
    torch.testing.assert_close(moved, expected, atol=2e-4, rtol=0)


def test_stretch_of_the_mel_axis_keeps_the_lowest_band() -> None:
    ramp = torch.arange(40.0)[None, None].expand(4, 49, 40)
    stretched = augmented(ramp, mel_stretch=0.2)
    factor = stretched[:, 0, 20] / 20
    assert float((factor - 1).abs().max()) <= 0.2 + 1e-4
    torch.testing.assert_close(stretched, (ramp * factor[:, None, None]).clamp(max=39), atol=2e-4, rtol=0)


def test_no_energy_is_below_the_floor() -> None:
    assert float(augmented(frames() - 20, gain_db=10).min()) == pytest.approx(FLOOR)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"snr_db": (3, 1)}, r"^snr_db must be two numbers in ascending order, not \(3, 1\)$"),
        ({"shift": 21}, "^shift must be a finite number in 0 to 20, not 21$"),
        ({"mel_stretch": -0.1}, r"^mel_stretch must be a finite number in 0 to 0\.5, not -0\.1$"),
        ({"noise_probability": 1.5}, r"^noise_probability must be a finite number in 0 to 1, not 1\.5$"),
    ],
)
def test_configuration_is_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameAugmentConfig(**values)
