"""Recordings that several tests train on, and the threads of PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Compute on one thread: the networks of tests are too small for more, and tests run side by side."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that are tones, in the layout of Speech Commands."""
    root, rng = tmp_path_factory.mktemp("tones") / "speech_commands", np.random.default_rng(8)
    pitches = {"yes": 400, "no": 900, "bird": 2500, "_background_noise_": 50}
    for word, pitch in pitches.items():
        (root / word).mkdir(parents=True)
        for clip in range(16 if word != "_background_noise_" else 1):
            tone = 6000 * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * np.arange(16_000) / 16_000)
            samples = (tone + 20 * rng.standard_normal(16_000)).astype(np.int16)
            soundfile.write(root / word / f"{clip:08x}_nohash_0.wav", samples, 16_000)
    words = [word for word in pitches if not word.startswith("_")]
    names = [f"{word}/{clip:08x}_nohash_0.wav" for word in words for clip in range(4)]
    (root / "validation_list.txt").write_text("\n".join(names))
    (root / "testing_list.txt").write_text("")
    return root.parent
