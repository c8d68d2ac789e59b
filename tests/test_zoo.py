"""The shipped network: what README and card say of it, and its Verilog against the golden model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden, decide
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_quantize import zoo
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import load_frames
from lmu_sim.batch import verify_batch
from lmu_sim.cosim import CosimOptions, cosimulate
from lmu_sim.runner import Simulator

ROOT = Path(__file__).parent.parent
NAME = "kws361"


@pytest.fixture(scope="module")
def model():
    return program_file.load(zoo.path(NAME, "quantized.safetensors"))


@pytest.fixture(scope="module")
def clips():
    return load_frames(zoo.path(NAME, "test.safetensors"))


def test_every_network_has_its_files():
    assert NAME in zoo.names()
    for name in zoo.names():
        for file in ("float.safetensors", "float-parent.safetensors", "calibration.safetensors", "train.csv"):
            assert zoo.path(name, file).is_file()


def test_size_is_what_the_card_says(model):
    card = zoo.path(NAME, "card.md").read_text()
    floats = load_float(zoo.path(NAME, "float.safetensors"))
    assert f"| parameters | {floats.parameters:,} |" in card
    assert f"{model.weight_bits / 1000:.1f} kbit at 4 bits" in card
    biases = sum(tensor.size for layer in floats.layers for tensor in layer.tensors.values() if tensor.ndim == 1)
    matrices = sum(a.size + b.size for layer in model.layers[:-1] for a, b in zip(layer.a, layer.b, strict=True))
    total = (model.weight_bits + 16 * biases + 16 * matrices) / 1000
    assert f"{total:.1f} kbit with biases" in card
    assert total < 361


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_lanes_are_used_as_the_readme_says(model, lanes: int):
    plan = make_plan(model, AcceleratorConfig(lanes=lanes))
    assert plan.utilisation >= 0.90
    row = re.search(rf"^\| {lanes} \| ([\d,]+) \| ([\d.]+) % \| ([\d,]+) kHz", (ROOT / "README.md").read_text(), re.M)
    assert row is not None
    assert int(row[1].replace(",", "")) == plan.cycles_per_frame
    assert float(row[2]) == round(100 * plan.utilisation, 1)
    assert int(row[3].replace(",", "")) == round(50 * plan.cycles_per_frame / 1000)


def test_accuracy_on_the_shipped_clips(model, clips):
    golden = Golden(model)
    state = golden.initial_state(clips.clips)
    decisions = decide(golden.run(clips.frames, state)["logits"][:, -1])[0]
    correct = int(np.count_nonzero(decisions == clips.truth))
    line = f"integers                accuracy {correct / 2:.2f} % ({correct} of 200 clips"
    assert line in (ROOT / "README.md").read_text()
    assert all(count == 0 for name, count in state.saturated.items() if name.endswith(".m"))


@pytest.mark.slow
@pytest.mark.parametrize("simulator", list(Simulator))
def test_verilog_is_the_golden_model_under_stalls(model, clips, simulator: Simulator):
    plan = make_plan(model, AcceleratorConfig(lanes=16, weights="ram", state="utterance"))
    frames = [clips.frames[0, 20:24], clips.frames[150, 20:24]]
    result = cosimulate(plan, frames, CosimOptions(simulator=simulator, stalls="random", seed=5))
    assert result.ok, result.report()
    assert result.compared > 8 * 700


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [4, 16])
def test_every_logit_of_whole_clips(model, clips, lanes: int):
    plan = make_plan(model, AcceleratorConfig(lanes=lanes))
    report = verify_batch(plan, clips.frames[::20])
    assert report.passed, str(report)
    assert report.compared == 10 * 49 * 12


@pytest.mark.slow
@pytest.mark.parametrize("size", ["kws49", "kws105", "kws361"])
def test_every_logit_of_the_accelerators_of_least_energy(size):
    manifest = json.loads((ROOT / "rtl" / f"lmu_{size}_eighth.json").read_text())
    plan = make_plan(
        program_file.load(zoo.path(f"{size}-eighth", "quantized.safetensors")),
        AcceleratorConfig.from_dict(manifest["config"]),
    )
    assert all(getattr(plan.config, name) for name in LEVERS if name != "skip_zero_blocks")
    assert plan.config.bank_words
    clips = load_frames(zoo.path(f"{size}-eighth", "test.safetensors"))
    report = verify_batch(plan, clips.frames[::20])
    assert report.passed, str(report)
    assert report.compared == 10 * (49 // 8) * 12
