"""Models of other tools, from their own file to Verilog; every family of loaders."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from lmu_hw.model import program_file
from lmu_hw.model.fixed import Format
from lmu_kit.cli.main import main
from lmu_quantize.features import FrontEnd
from lmu_quantize.frames_file import FrameSet, save_frames

pytestmark = pytest.mark.filterwarnings("error")

MELS, ORDER, UNITS, OUTPUTS = 10, 3, 4, 2
THETA, LABELS = 12.0, ("up", "down")
FRONT_END = {"kind": "log-mel", "n_mels": MELS}
INPUT = Format(8, 5)


def weights() -> dict[str, np.ndarray]:
    """A small LMU and a dense layer, as Keras orients them."""
    rng = np.random.default_rng(8)
    shapes = {"kernel": (MELS, 1), "hidden": (ORDER, UNITS), "hidden_bias": (UNITS,), "w": (UNITS, OUTPUTS)}
    return {name: rng.normal(scale=0.5, size=shape).astype(np.float32) for name, shape in shapes.items()}


def keras_config() -> dict[str, object]:
    hidden = {"class_name": "Dense", "config": {"name": "inner", "units": UNITS, "activation": "relu"}}
    lmu = {"name": "lmu", "memory_d": 1, "order": ORDER, "theta": THETA, "hidden_cell": hidden, "discretizer": "zoh"}
    lmu |= {"trainable_theta": False, "hidden_to_memory": False, "memory_to_memory": False, "input_to_hidden": False}
    lmu |= {"kernel_initializer": "glorot_uniform", "use_bias": False, "return_sequences": True}
    layers = [
        {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": [None, None, MELS]}},
        {"class_name": "LMU", "config": lmu},
        {
            "class_name": "Dense",
            "config": {"name": "dense", "units": OUTPUTS, "activation": "softmax", "use_bias": False},
        },
    ]
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}


def by_position() -> dict[str, np.ndarray]:
    w = weights()
    return {
        "layers/lmu/layer/vars/0": w["kernel"],
        "layers/lmu/hidden_cell/vars/0": w["hidden"],
        "layers/lmu/hidden_cell/vars/1": w["hidden_bias"],
        "layers/dense/vars/0": w["w"],
    }


def write_h5(target: Path | io.BytesIO, arrays: dict[str, np.ndarray], **attributes: str) -> None:
    with h5py.File(target, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(attributes)


def write_keras(path: Path) -> None:
    buffer = io.BytesIO()
    write_h5(buffer, by_position())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(keras_config()))
        archive.writestr("model.weights.h5", buffer.getvalue())


def write_weights(path: Path) -> None:
    write_h5(path, by_position())


def write_legacy(path: Path) -> None:
    w = weights()
    cell = "model_weights/lmu/lmu/lmu_feedforward"
    names = {f"{cell}/kernel:0": "kernel", f"{cell}/inner/kernel:0": "hidden", f"{cell}/inner/bias:0": "hidden_bias"}
    names["model_weights/dense/dense/kernel:0"] = "w"
    arrays = {name: w[key] for name, key in names.items()}
    write_h5(path, arrays, model_config=json.dumps(keras_config()))


def state_dict() -> dict[str, np.ndarray]:
    """As the published PyTorch LMU names its tensors; without A and B, so that theta must be given."""
    rng = np.random.default_rng(4)
    shapes = {"e_x": (1, MELS), "e_h": (1, UNITS), "e_m": (1, ORDER), "W_x": (UNITS, MELS)}
    shapes |= {"W_h": (UNITS, UNITS), "W_m": (UNITS, ORDER)}
    tensors = {f"lmu.{name}": rng.normal(scale=0.2, size=shape).astype(np.float32) for name, shape in shapes.items()}
    return tensors | {"classifier.weight": weights()["w"].T.copy()}


def write_torch(path: Path) -> None:
    torch.save({name: torch.tensor(array) for name, array in state_dict().items()}, path)


def write_safetensors(path: Path) -> None:
    save_file(state_dict(), path)


BARE = ["order=3", "theta=12", "discretizer=zoh", "activation=relu"]
FAMILIES = {
    "net.keras": (write_keras, []),
    "net.weights.h5": (write_weights, [*BARE, "layers=lmu,dense"]),
    "net.h5": (write_legacy, []),
    "net.pt": (write_torch, ["theta=12", "layers=lmu,classifier"]),
    "net.safetensors": (write_safetensors, ['theta={"lmu": 12.0}', "layers=lmu,classifier"]),
}


def write_frames(path: Path, labels: tuple[str, ...] = LABELS, front_end: dict[str, object] | None = None) -> Path:
    rng = np.random.default_rng(1)
    frames = rng.integers(-60, 61, (12, 16, MELS))
    made = FrontEnd.from_dict(FRONT_END).to_dict() if front_end is None else front_end
    save_frames(FrameSet(frames, rng.integers(0, 2, 12), INPUT, labels, made, "made up"), path)
    return path


def options(folder: Path, load: list[str]) -> list[str]:
    (folder / "fe.json").write_text(json.dumps(FRONT_END))
    given = ["--labels", ",".join(LABELS), "--front-end", str(folder / "fe.json")]
    return given + [word for text in load for word in ("--load", text)]


@pytest.mark.parametrize("name", FAMILIES)
def test_from_the_file_of_another_tool_to_verilog(name: str, tmp_path: Path):
    write, load = FAMILIES[name]
    write(tmp_path / name)
    frames = str(write_frames(tmp_path / "frames"))
    (tmp_path / "config.json").write_text(json.dumps({"formats": {"x": INPUT.to_dict()}, "weight_bits": 8}))
    source, out = str(tmp_path / name), str(tmp_path / "q.safetensors")
    told = options(tmp_path, load)
    config = str(tmp_path / "config.json")
    assert main(["quantize", source, *told, "--frames", frames, "--quantization", config, "--out", out]) == 0
    model = program_file.load(out)
    assert model.labels == LABELS
    assert model.front_end == FrontEnd.from_dict(FRONT_END).to_dict()
    assert model.input == INPUT
    score = tmp_path / "score.json"
    assert main(["evaluate", out, "--frames", frames, "--json", str(score)]) == 0
    golden = json.loads(score.read_text())
    assert main(["evaluate", source, *told, "--engine", "float", "--frames", frames, "--json", str(score)]) == 0
    assert np.abs(np.array(json.loads(score.read_text())["confusion"]) - golden["confusion"]).sum() <= 2
    assert main(["verilog", out, "--lanes", "2", "--out", str(tmp_path / "v")]) == 0
    assert (tmp_path / "v" / "lmu_accelerator.v").is_file()


def test_what_a_loader_lacks_is_named_as_options(tmp_path: Path, refused: Callable[..., str]):
    write_weights(tmp_path / "net.weights.h5")
    write_torch(tmp_path / "net.pt")
    write_keras(tmp_path / "net.keras")
    frames, out = write_frames(tmp_path / "frames"), tmp_path / "q"

    def quantize(name: str, *more: str) -> str:
        return refused("quantize", tmp_path / name, "--frames", frames, "--out", out, *more)

    line = quantize("net.weights.h5")
    assert "keyword" not in line
    for option in ("--load order=VALUE", "--load discretizer=VALUE", "--load activation=VALUE", "--load theta=VALUE"):
        assert option in line
    square = {f"{name}.weight": np.eye(UNITS, dtype=np.float32) for name in ("a", "b")}
    save_file(state_dict() | square, tmp_path / "net.safetensors")
    line = quantize("net.safetensors", "--load", "theta=12")
    assert "more than one order" in line
    assert "; give --load layers=NAME,... in order" in line
    assert "layers=(" not in line
    assert "float model; quantize it first" in refused("evaluate", tmp_path / "net.weights.h5", "--frames", frames)
    assert "float model; quantize it first" in refused("evaluate", tmp_path / "net.safetensors", "--frames", frames)
    assert "'order'" in quantize("net.keras", "--load", "order=3")
    assert "KEY=VALUE" in quantize("net.keras", "--load", "order")
    assert "twice" in quantize("net.pt", "--load", "theta=3", "--load", "theta=4")
    assert "labels must be 2" in quantize("net.keras", "--labels", "a,b,c")
    assert "labels must be 2" in quantize("net.keras", "--labels", "a,a")
    assert "40 elements; the model takes 10" in quantize("net.keras", "--front-end", "log-mel")
    assert "20 elements" in quantize("net.keras", "--front-end", "mfcc")
    (tmp_path / "fe.json").write_text('{"kind": "log-mel", "mels": 10}')
    line = quantize("net.keras", "--front-end", str(tmp_path / "fe.json"))
    assert "fe.json: unknown key 'mels' in the front end" in line
    assert "none.json" in quantize("net.keras", "--front-end", "none.json")
    assert "--front-end" in refused("quantize", tmp_path / "net.keras", "--data", tmp_path, "--out", out)
    assert "--labels" in refused("evaluate", tmp_path / "net.keras", "--engine", "float", "--frames", frames)
    assert not out.exists()


def test_a_quantized_model_without_labels(tmp_path: Path, refused: Callable[..., str]):
    write_keras(tmp_path / "net.keras")
    frames, out = write_frames(tmp_path / "frames"), tmp_path / "q.safetensors"
    (tmp_path / "config.json").write_text(json.dumps({"formats": {"x": INPUT.to_dict()}}))
    command = ["quantize", tmp_path / "net.keras", "--frames", frames, "--quantization", tmp_path / "config.json"]
    assert main([str(word) for word in [*command, "--out", out]]) == 0
    assert "--labels" in refused("evaluate", out, "--frames", frames)
    assert "--front-end" in refused("evaluate", out, "--data", tmp_path, "--labels", "up,down")
    assert "--engine float" in refused("evaluate", out, "--frames", frames, "--load", "theta=3")
    assert main(["evaluate", str(out), "--frames", str(frames), "--labels", "up,down"]) == 0


def test_frames_of_other_labels_or_another_front_end(tmp_path: Path, refused: Callable[..., str]):
    write_keras(tmp_path / "net.keras")
    frames, out = write_frames(tmp_path / "frames"), tmp_path / "q.safetensors"
    (tmp_path / "config.json").write_text(json.dumps({"formats": {"x": INPUT.to_dict()}}))
    base = ["quantize", tmp_path / "net.keras", *options(tmp_path, []), "--quantization", tmp_path / "config.json"]
    assert main([str(word) for word in [*base, "--frames", frames, "--out", out]]) == 0

    def confusion(*arguments: object) -> np.ndarray:
        words = ["evaluate", out, *arguments, "--json", tmp_path / "score.json"]
        assert main([str(word) for word in words]) == 0
        return np.array(json.loads((tmp_path / "score.json").read_text())["confusion"])

    # The same clips, with the labels in another order: what was "up" is now "down" in truth.
    turned = write_frames(tmp_path / "turned", LABELS[::-1])
    np.testing.assert_array_equal(confusion("--frames", turned), confusion("--frames", frames)[::-1])
    other = write_frames(tmp_path / "other", ("left", "right"))
    assert "left, right; those of the model are up, down" in refused("evaluate", out, "--frames", other)
    foreign = FrontEnd.from_dict(FRONT_END | {"f_max": 4000.0}).to_dict()
    elsewhere = write_frames(tmp_path / "elsewhere", front_end=foreign)
    line = refused("evaluate", out, "--frames", elsewhere)
    assert "elsewhere" in line
    assert "f_max" in line
    assert "f_max" in refused(*base, "--frames", elsewhere, "--out", tmp_path / "q2")
    assert confusion("--frames", write_frames(tmp_path / "untold", front_end={})).sum() == 12
    # The short form of a front end means its defaults.
    assert confusion("--frames", write_frames(tmp_path / "short", front_end=FRONT_END)).sum() == 12
