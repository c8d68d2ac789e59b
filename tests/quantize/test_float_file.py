"""The file of a float model: what is saved is loaded, and anything else is refused by name."""

import hashlib
import json
import struct
import subprocess
import sys

import numpy as np
import pytest

from lmu_quantize.float_file import SCHEMA, ModelFileError, load_float, save_float
from lmu_quantize.loaders import load_model
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer


def example():
    rng = np.random.default_rng(0)
    memories = (LegendreMemory(3, 8.25), LegendreMemory(2, 5, "euler"))
    shapes = {"e_x": (2, 4), "e_h": (2, 6), "e_m": (2, 5), "b_u": (2,)}
    shapes |= {"w_x": (6, 4), "w_h": (6, 6), "w_m": (6, 5), "b_h": (6,)}
    tensors = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return FloatModel(
        layers=(
            LMULayer(memories, **tensors, activation="tanh", u_activation="relu", stride=2),
            LMULayer((LegendreMemory(2, 3),), e_x=rng.normal(size=(1, 6)), w_m=rng.normal(size=(3, 2))),
            DenseLayer(rng.normal(size=(5, 3)), rng.normal(size=5), "relu"),
            DenseLayer(rng.normal(size=(2, 5))),
        ),
        labels=("yes", "nö"),
        name="example",
        front_end={"window": 40, "bands": [1.5, 2.0]},
        notes={"seed": 3, "nested": {"hash": "ab", "none": None}},
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "example.safetensors"
    save_float(example(), path)
    return path


def parts(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def write(path, header, data):
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def resign(header, data):
    """Make the hash right again, so that what comes after it is tested."""
    digest = hashlib.sha256(header["__metadata__"]["model"].encode())
    for name in sorted(set(header) - {"__metadata__"}):
        digest.update(data[slice(*header[name]["data_offsets"])])
    header["__metadata__"]["sha256"] = digest.hexdigest()


def edit_model(header, change):
    model = json.loads(header["__metadata__"]["model"])
    change(model)
    header["__metadata__"]["model"] = json.dumps(model)


@pytest.mark.parametrize("load", [load_float, load_model])
def test_what_is_saved_is_loaded(saved, load):
    before, after = example(), load(saved)
    assert (after.labels, after.name) == (before.labels, before.name)
    assert (after.front_end, after.notes) == (before.front_end, before.notes)
    assert len(after.layers) == len(before.layers)
    for one, other in zip(before.layers, after.layers, strict=True):
        assert type(one) is type(other)
        assert one.activation == other.activation
        if isinstance(one, LMULayer):
            assert (one.memories, one.u_activation, one.stride) == (other.memories, other.u_activation, other.stride)
        assert list(one.tensors) == list(other.tensors)
        for name, tensor in one.tensors.items():
            np.testing.assert_array_equal(tensor, other.tensors[name])
    frames = np.random.default_rng(1).normal(size=(2, 9, 4))
    np.testing.assert_array_equal(before.run(frames)["logits"], after.run(frames)["logits"])


def test_same_model_makes_the_same_bytes(saved, tmp_path):
    code = (
        "import sys; from lmu_quantize.float_file import load_float, save_float; "
        "save_float(load_float(sys.argv[1]), sys.argv[2])"
    )
    for seed in ("1", "2"):
        again = tmp_path / f"again{seed}.safetensors"
        environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, saved, again], check=True, env=environment)
        assert again.read_bytes() == saved.read_bytes()


def test_layout_is_as_documented(saved):
    header, data = parts(saved)
    metadata = header.pop("__metadata__")
    assert (metadata["schema"], metadata["version"]) == ("lmu-hw/float-model", "1")
    model = json.loads(metadata["model"])
    assert sorted(header) == sorted(name for layer in model["layers"] for name in layer["tensors"])
    assert {entry["dtype"] for entry in header.values()} == {"F64"}
    stored = np.frombuffer(data[slice(*header["layer3.w"]["data_offsets"])], "<f8").reshape(2, 5)
    np.testing.assert_array_equal(stored, example().layers[3].w)
    digest = hashlib.sha256(metadata["model"].encode())
    for name in sorted(header):
        digest.update(data[slice(*header[name]["data_offsets"])])
    assert metadata["sha256"] == digest.hexdigest()


def test_save_replaces_a_file_and_leaves_nothing_else(saved):
    saved.write_bytes(b"old")
    save_float(example(), saved)
    assert load_float(saved).name == "example"
    assert [path.name for path in saved.parent.iterdir()] == ["example.safetensors"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_float(example(), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["example.safetensors"]


@pytest.mark.parametrize("notes", [{"a": np.float64("nan")}, {"a": np.zeros(2)}, {"a": {1, 2}}])
def test_save_refuses_notes_that_are_not_json(tmp_path, notes):
    model = FloatModel((DenseLayer(np.zeros((1, 1))),), notes=notes)
    with pytest.raises(ValueError, match=r"^name, front_end and notes of a model must be JSON to be saved: "):
        save_float(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_load_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_float(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, -8, -1])
def test_truncated_files_are_refused(saved, keep):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: int(len(raw) * keep) if keep == 0.5 else keep])
    with pytest.raises(ModelFileError, match=r"^\S*example\.safetensors: not a whole safetensors file: .+$"):
        load_float(saved)


def test_every_altered_byte_of_the_data_is_refused(saved):
    raw = saved.read_bytes()
    _, data = parts(saved)
    for position in range(len(raw) - len(data), len(raw), 37):
        altered = bytearray(raw)
        altered[position] ^= 1
        saved.write_bytes(bytes(altered))
        with pytest.raises(ModelFileError, match=r"example\.safetensors: sha256 does not match"):
            load_float(saved)


def test_no_flipped_bit_is_taken(saved):
    content = saved.read_bytes()
    rng = np.random.default_rng(17)
    for position in [*range(0, len(content), 11), *rng.integers(len(content), size=50).tolist()]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"example\.safetensors: "):
            load_float(saved)


@pytest.mark.parametrize("value", ["2", 2])
def test_an_altered_description_is_refused(saved, value):
    header, data = parts(saved)
    edit_model(header, lambda model: model["notes"].update(seed=value))
    write(saved, header, data)
    with pytest.raises(ModelFileError, match=r"sha256 does not match, the file was altered after it was written$"):
        load_float(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema", "other", rf"schema must be '{SCHEMA}', not 'other'$"),
        ("schema", None, rf"schema must be '{SCHEMA}', not None$"),
        ("version", "2", r"version must be '1', not '2'$"),
        ("sha256", None, r"sha256 does not match"),
        ("model", None, r"metadata 'model' is not the JSON of a model: "),
        ("model", "[1]", r"metadata 'model' is not the JSON of a model: "),
        (
            "model",
            '{"layers": [{"kind": "dense"}]}',
            r"metadata 'model' is not the JSON of a model: KeyError\('tensors'\)$",
        ),
    ],
)
def test_other_metadata_is_refused(saved, field, value, message):
    header, data = parts(saved)
    header["__metadata__"][field] = value
    if value is None:
        del header["__metadata__"][field]
    write(saved, header, data)
    with pytest.raises(ModelFileError, match=r"^\S*example\.safetensors: " + message) as caught:
        load_float(saved)
    assert "\n" not in str(caught.value)


def test_a_file_without_metadata_is_refused(saved):
    header, data = parts(saved)
    del header["__metadata__"]
    write(saved, header, data)
    with pytest.raises(ModelFileError, match="schema must be"):
        load_float(saved)


def test_a_missing_tensor_is_refused(saved):
    header, data = parts(saved)
    last = max(set(header) - {"__metadata__"}, key=lambda name: header[name]["data_offsets"])
    start, _ = header.pop(last)["data_offsets"]
    write(saved, header, data[:start])
    with pytest.raises(ModelFileError, match=rf"example\.safetensors: tensor {last} is missing$"):
        load_float(saved)


def test_an_extra_tensor_is_refused(saved):
    header, data = parts(saved)
    header["layer3.b"] = {"dtype": "F64", "shape": [1], "data_offsets": [len(data), len(data) + 8]}
    write(saved, header, data + bytes(8))
    with pytest.raises(ModelFileError, match=r"example\.safetensors: tensor layer3\.b is not part of the model$"):
        load_float(saved)


def test_a_tensor_of_another_shape_is_refused(saved):
    header, data = parts(saved)
    header["layer2.w"]["shape"] = [3, 5]
    write(saved, header, data)
    with pytest.raises(ModelFileError, match=r"tensor layer2\.w must have shape \(5, 3\), not \(3, 5\)$"):
        load_float(saved)


def test_a_tensor_of_another_type_is_refused(saved):
    header, data = parts(saved)
    header["layer2.w"]["dtype"] = "I64"
    write(saved, header, data)
    with pytest.raises(ModelFileError, match=r"tensor layer2\.w must be float64, not int64$"):
        load_float(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_refused(saved, value):
    header, data = parts(saved)
    start = header["layer0.w_m"]["data_offsets"][0]
    data = data[:start] + struct.pack("<d", value) + data[start + 8 :]
    resign(header, data)
    write(saved, header, data)
    with pytest.raises(ModelFileError, match=r"tensor layer0\.w_m must be finite, found NaN or infinity$"):
        load_float(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model["layers"][0].update(activation="gelu"), "layer activation must be one of"),
        (lambda model: model["layers"][0].update(stride=0), "layer stride must be at least 1, not 0"),
        (lambda model: model["layers"][1]["memories"][0].update(theta=-1), "memory theta must be a positive number"),
        (lambda model: model.update(labels=["one"]), "labels must be 2 distinct names"),
        (lambda model: model.pop("notes"), "'notes'"),
    ],
)
def test_a_description_of_no_valid_model_is_refused(saved, change, message):
    header, data = parts(saved)
    edit_model(header, change)
    resign(header, data)
    write(saved, header, data)
    with pytest.raises(
        ModelFileError, match=r"example\.safetensors: metadata 'model' is not a valid model: " + message
    ):
        load_float(saved)
