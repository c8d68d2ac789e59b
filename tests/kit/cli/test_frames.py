"""The command `frames`: recordings of a small made-up dataset become a file that the other commands take."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmu_hw.model import program_file
from lmu_kit.cli.main import main
from lmu_quantize import zoo
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.frames_file import load_frames

pytestmark = pytest.mark.filterwarnings("error")

MODEL = program_file.load(zoo.path("kws361", "quantized.safetensors"))
WORDS = [label for label in MODEL.labels if not label.startswith("_")]


def samples(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, 16_000).astype("<i2")


def write_wav(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples(seed), 16_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset with a clip of every word, and one of every label in the official test set."""
    for number, word in enumerate((*WORDS, "bed", "_background_noise_")):
        write_wav(tmp_path / "data" / "speech_commands" / word / "00000000_nohash_0.wav", number)
    for number, folder in enumerate((*WORDS, "_unknown_", "_silence_")):
        write_wav(tmp_path / "data" / "speech_commands_test_set" / folder / "clip.wav", 100 + number)
    return tmp_path / "data"


def test_frames_of_a_dataset_are_what_evaluate_computes(data: Path, tmp_path: Path):
    out = tmp_path / "new" / "frames.safetensors"
    words = ["frames", "kws361", "--data", data, "--out", out, "--json", tmp_path / "f.json"]
    assert main([str(word) for word in words]) == 0
    assert json.loads((tmp_path / "f.json").read_text()) == {"frames": str(out), "clips": len(MODEL.labels)}
    found = load_frames(out)
    assert (found.labels, found.format, found.front_end) == (MODEL.labels, MODEL.input, MODEL.front_end)
    assert sorted(found.truth.tolist()) == list(range(len(MODEL.labels)))
    assert "test split" in found.source
    assert "CC BY 4.0" in found.source
    first = int(np.argmax(found.truth == MODEL.labels.index(WORDS[0])))
    expected = quantize_frames(FrontEnd.from_dict(MODEL.front_end or {}).frames(samples(100)), MODEL.input)
    np.testing.assert_array_equal(found.frames[first], expected)
    scores = []
    for source in (["--frames", out], ["--data", data]):
        words = ["evaluate", "kws361", *source, "--json", tmp_path / "e.json"]
        assert main([str(word) for word in words]) == 0
        scores.append(json.loads((tmp_path / "e.json").read_text())["confusion"])
    assert scores[0] == scores[1]


def test_limit_spreads_the_clips(data: Path, tmp_path: Path):
    out = tmp_path / "few"
    assert main(["frames", "kws361", "--data", str(data), "--clips", "2", "--out", str(out)]) == 0
    assert load_frames(out).clips == 2


def test_frames_refuses_what_it_cannot_use(data: Path, tmp_path: Path, refused: Callable[..., str]):
    out = tmp_path / "file" / "frames"
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("frames", "kws361", "--data", data, "--out", out)
    assert "speech_commands" in refused("frames", "kws361", "--data", tmp_path, "--out", tmp_path / "out")
    broken = data / "speech_commands_test_set" / WORDS[0] / "clip.wav"
    broken.write_bytes(broken.read_bytes()[:100])
    assert "clip.wav" in refused("frames", "kws361", "--data", data, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
