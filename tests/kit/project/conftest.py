"""Recordings of one's own as a person has them: Arabic words, a blank, other rates, two channels, no lists."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import lmu_hw as lh

YES, PLEASE = "نعم", "من فضلك"
PITCHES = {YES: 400, PLEASE: 1100}
SPEAKERS = ("أمل", "badr", "clara", "dina", "emil", "farid")
RATES = (16_000, 8_000, 44_100)

RECIPE = """
[recipe]
layers = [{units = 8, memories = 4, order = 4, thetas = [16]}]
copies = 1
batch = 8
epochs = 2
quantized_epochs = 1
warmup = 0.0
threads = 1
device = "cpu"
scheme = {exact = true}

[accelerator]
lanes = 8
weights = "rom"

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


@pytest.fixture
def own(tmp_path: Path, recordings: Path) -> Callable[..., Path]:
    """Write a project of these recordings; its file."""

    def write(name: str = "own.toml", text: str = RECIPE, labels: tuple[str, ...] = (YES, PLEASE, "silence")) -> Path:
        path = tmp_path / name
        head = f"labels = [{', '.join(map(repr, labels))}]\n[data]\nfolder = '{recordings}'\nspeaker = '^\\S+'\n"
        path.write_text(head + text)
        return path

    return write


def opened(path: Path, changes: Mapping[str, Any] | None = None) -> lh.Project:
    return lh.open_project(path, changes)
