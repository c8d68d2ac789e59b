"""Recordings of one's own as a person has them: Arabic words, a blank, other rates, two channels, no lists."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

PITCHES = {"نعم": 400, "من فضلك": 1100}
SPEAKERS = ("أمل", "badr", "clara", "dina", "emil", "farid")
RATES = (16_000, 8_000, 44_100)

TINY = """
labels = ["نعم", "من فضلك", "silence"]

[data]
folder = "{folder}"
speaker = '^\\S+'

[front_end]
window = 1600
hop = 1600
n_fft = 2048
n_mels = 12

[recipe]
layers = [{{units = 8, memories = 4, order = 3, thetas = [5]}}]
augment = {{noise_probability = 0.1, mel_masks = 0, time_masks = 0}}
dropout = 0.0
copies = 1
batch = 4
epochs = 12
quantized_epochs = 2
threads = 1
device = "cpu"
scheme = {{exact = true}}

[accelerator]
lanes = 8

[flow.cosim]
clips = 1
"""


def write_tone(path: Path, pitch: float, seed: int, seconds: float = 0.8) -> None:
    rng = np.random.default_rng(seed)
    rate = RATES[seed % 3]
    tone = 0.3 * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * np.arange(int(seconds * rate)) / rate)
    samples = tone + 0.003 * rng.standard_normal(len(tone))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples if seed % 2 else np.stack([samples, samples], axis=1), rate)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "my recordings"
    for number, (word, pitch) in enumerate(PITCHES.items()):
        for index, speaker in enumerate(SPEAKERS):
            for take in range(2):
                write_tone(root / word / f"{speaker} {take}.wav", pitch, 20 * number + 2 * index + take)
    write_tone(root / "_background_noise_" / "room.wav", 50, 1, seconds=8.0)
    return root


@pytest.fixture(scope="session")
def tiny(recordings: Path) -> str:
    """Text of a project of these recordings that is trained within a second."""
    return TINY.format(folder=recordings)
