"""Files that lmu-hw 0.1.0 wrote: they load, or are refused with what to do.

``tests/data/v0_1`` was written by commit 8b04c61: a small random network through `quantize_model`, its frames, the
accelerator of `emit` (3 lanes, weights in RAM), and a sweep over 2 and 4 lanes. The table is a shipped one of then.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.explore.store import Store, StoreError
from lmu_hw.explore.sweep import Sweep
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape, shape_digest
from lmu_hw.plan.weight_file import read_image
from lmu_hw.power.technology import load_technology
from lmu_hw.version import VERSION
from lmu_kit.cli.main import main
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import load_frames
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.train.config import TrainConfig

DATA = Path(__file__).parent / "data/v0_1"


@pytest.fixture(scope="module")
def model():
    return program_file.load(DATA / "quantized.safetensors")


@pytest.fixture(scope="module")
def manifest():
    return json.loads((DATA / "small.json").read_text())


def test_a_quantized_model_loads_and_computes_the_same(model):
    frames = load_frames(DATA / "frames.safetensors")
    assert frames.labels == model.labels == ("yes", "no", "silence")
    expected = np.loadtxt(DATA / "logits.csv", np.int64, delimiter=",")
    assert_array_equal(Golden(model).run(frames.frames)["logits"].reshape(-1, 3), expected)
    assert model.name == "small"


def test_a_quantized_model_is_written_as_before(model, tmp_path):
    program_file.save(model, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (DATA / "quantized.safetensors").read_bytes()


def test_a_float_model_loads_and_is_quantized_as_before(model):
    float_model, frames = load_float(DATA / "float.safetensors"), load_frames(DATA / "frames.safetensors")
    assert float_model.notes == {"made by": "lmu-hw 0.1.0"}
    again = quantize_model(float_model, frames.real(), QuantizationConfig()).model
    assert [layer.weights.keys() for layer in again.layers] == [layer.weights.keys() for layer in model.layers]


def test_a_manifest_names_the_same_accelerator(model, manifest):
    """But for the code of its weights, and for the registers before its lanes."""
    config = AcceleratorConfig.from_dict(manifest["config"])
    assert config == AcceleratorConfig(lanes=3, weights="ram", state="pulse", skip_zero_blocks=True)
    plan = make_plan(model, config)
    described = shape(plan)
    assert described.pop("weights") == "sign and magnitude"
    assert described == manifest["shape"]
    assert shape_digest(described) == manifest["shape_sha256"]
    slower = "cycles_per_frame", "latency_cycles", "lane_utilisation", "slowest_clock_hz_at_50_frames_per_s"
    report = plan.report()
    assert {key: value for key, value in report.items() if key not in slower} == {
        key: value for key, value in manifest["plan"].items() if key not in slower
    }
    assert [report[key] - manifest["plan"][key] for key in slower[:2]] == [6, 8]
    assert manifest["tools"]["lmu-hw"] == "0.1.0"


def test_a_weight_image_loads_and_fits_the_accelerators_of_then(model, manifest):
    image = read_image(DATA / "small.weights")
    image.check(manifest["shape"])
    assert main(["weights", "--for", str(DATA / "small.json"), "--check", str(DATA / "small.weights")]) == 0
    plan = make_plan(model, AcceleratorConfig.from_dict(manifest["config"]))
    with pytest.raises(ShapeError, match="this one has 3664305a; write one for it with lmu-hw weights"):
        image.check(shape(plan))
    with pytest.raises(ShapeError, match="accelerator takes two's complement: generate its Verilog again"):
        fitted(plan, manifest["shape"])


def test_a_table_of_energies_loads(model):
    technology = load_technology(DATA / "technology.json")
    assert technology.name == "nangate45"
    assert technology.energies(AcceleratorConfig()).band("table") > 0
    plan = make_plan(model, AcceleratorConfig(lanes=2))
    assert technology.energies(plan.config).typical(plan)


def test_settings_load():
    assert Smoothing.from_dict(json.loads((DATA / "smoothing.json").read_text())) == Smoothing((2,), 5, 2, 20, 10)
    settings = QuantizationConfig.from_dict(json.loads((DATA / "quantization.json").read_text()))
    assert settings == QuantizationConfig(weight_overrides={"layer1": 6})
    recipe = TrainConfig.from_json((DATA / "recipe.json").read_text())
    assert recipe == TrainConfig(labels=("yes", "no", "silence"), epochs=3, seed=5)


def test_a_sweep_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "points.jsonl"
    shutil.copy(DATA / "points.jsonl", path)
    sweep = Sweep(("quantized.safetensors",), {"lanes": (2, 4)}, ("nangate45",))
    written = json.loads(path.read_text().splitlines()[0])["sweep"]
    ours = {**written, "lmu-hw": VERSION}
    assert sweep.to_dict() == {key: ours[key] for key in sweep.to_dict()}
    message = f"written by lmu-hw 0.1.0, this is {VERSION}, .* run the sweep again in another folder"
    with pytest.raises(StoreError, match=message):
        Store(path, ours)
    assert path.read_bytes() == (DATA / "points.jsonl").read_bytes()
    with Store(path, written) as store:
        assert len(store) == 2
        plain = Sweep(sweep.models, {"levers": ("plain",), "lanes": (2, 4)}, sweep.technologies)
        assert {store.get(point.key).cycles for point in plain.points()} == {41.0, 58.0}
