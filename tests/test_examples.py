"""Every script in `examples/` runs as its docstring says, on files that the tests make."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lmu_hw as lh
from lmu_hw.model.fixed import Format
from lmu_quantize.features import FrontEnd
from lmu_quantize.frames_file import FrameSet
from tests.kit.cli.test_cli import write_wav
from tests.kit.cli.test_import import FRONT_END, LABELS, MELS, write_keras

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script: str, *arguments: object) -> str:
    """Standard output of an example, which must succeed without a warning."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small Keras model, and frames for it."""
    folder = tmp_path_factory.mktemp("keras")
    write_keras(folder / "net.keras")
    rng, fmt = np.random.default_rng(3), Format(8, 5)
    front_end = FrontEnd.from_dict(FRONT_END).to_dict()
    frames = FrameSet(rng.integers(-99, 100, (4, 20, MELS)), np.array([0, 1, 0, 1]), fmt, LABELS, front_end, "noise")
    lh.save_frames(frames, folder / "frames.safetensors")
    return folder / "net.keras", folder / "frames.safetensors"


@pytest.fixture(scope="module")
def quantized(keras: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in integers."""
    floats = lh.open_float(keras[0], labels=LABELS, front_end=FRONT_END)
    path = tmp_path_factory.mktemp("quantized") / "net.safetensors"
    lh.save_model(lh.quantize(floats, lh.open_frames(floats, keras[1])).model, path)
    return path


def test_there_is_a_test_for_every_example():
    text = Path(__file__).read_text()
    assert len(scripts := sorted(EXAMPLES.glob("*.py"))) >= 4
    assert [script.name for script in scripts if f'run("{script.name}"' not in text] == []


def test_own_keras_model(keras: tuple[Path, Path], tmp_path: Path):
    front_end = tmp_path / "front_end.json"
    front_end.write_text('{"kind": "log-mel", "n_mels": 10}')
    out = run("own_keras_model.py", keras[0], ",".join(LABELS), front_end, keras[1], tmp_path / "out")
    assert "accuracy of the integers:" in out
    assert ", 0 differ" in out
    assert "nJ per frame on IHP SG13G2" in out
    assert (tmp_path / "out" / "rtl" / "keywords.v").is_file()


def test_own_recordings(quantized: Path, tmp_path: Path):
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_wav(tmp_path / name, rate=8_000, seed=seed)
    out = run("own_recordings.py", quantized, tmp_path / "a.wav", tmp_path / "b.wav")
    assert out.count("the Verilog decides") == 2
    assert ", 0 differ" in out


def test_sweep(quantized: Path, tmp_path: Path):
    out = run("sweep.py", quantized, tmp_path / "sweep")
    assert "least power within 50 ms" in out
    assert (tmp_path / "sweep" / "points.jsonl").is_file()
    assert run("sweep.py", quantized, tmp_path / "sweep") == out


def test_custom_library(keras: tuple[Path, Path], quantized: Path):
    out = run("custom_library.py", quantized, keras[1])
    assert "nJ per frame" in out
    glitches = re.search(r"of it leakage [0-9.]+ nJ, glitches ([0-9.]+) nJ", out)
    assert glitches is not None
    assert float(glitches[1]) > 0
