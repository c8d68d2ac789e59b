import dataclasses
import hashlib
import json
import struct

import numpy as np
import pytest
from safetensors import numpy as reference

from lmu_hw.files import canonical_json
from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, QuantizedSeparable, Weights
from lmu_hw.model.program_file import SCHEMA, ProgramFileError, digest, load, save
from lmu_hw.model.tensor_file import TensorFileError, pack, smallest, stored_bytes, unpack


def weights(rng, rows, columns, width=4):
    limit = 1 << (width - 1)
    return Weights(rng.integers(-limit, limit, (rows, columns)), width, np.full(rows, 5))


def full_model():
    """Every optional tensor, two distinct matrices, tanh, stride, and a dense layer."""
    rng = np.random.default_rng(5)
    orders, matrix = (3, 2), (0, 1, 0)
    memory, units, inputs = 8, 4, 3
    s8 = Format(8, 5)
    lmu = QuantizedLMU(
        matrix=matrix,
        a=tuple(rng.integers(-100, 100, (order, order)) for order in orders),
        b=tuple(rng.integers(-2000, 2000, order) for order in orders),
        a_format=Format(9, 9),
        b_format=Format(12, 12),
        u=Quantizer(s8),
        m=Quantizer(Format(12, 6), Rounding.FLOOR, Overflow.SAT_SYM),
        h=Quantizer(Format(8, 7)),
        e_x=weights(rng, 3, inputs),
        e_h=weights(rng, 3, units),
        e_m=weights(rng, 3, memory, 6),
        w_x=weights(rng, units, inputs),
        w_h=weights(rng, units, units),
        w_m=weights(rng, units, memory, 12),
        b_u=rng.integers(-100_000, 100_000, 3),
        b_h=rng.integers(-9, 9, units),
        activation="tanh",
        u_activation="relu",
        table=Format(8, 5),
        stride=2,
    )
    dense = QuantizedDense(weights(rng, 2, units), Quantizer(Format(16, 9)), b=np.array([1 << 40, -3]))
    return QuantizedModel(
        (lmu, dense),
        s8,
        labels=("yes", "né\n\ud800"),
        name="full",
        front_end={"kind": "mfcc", "scale": [0.1, 1e-17]},
        notes={"b": [1, None, True], "a": {"nested": "ü"}},
    )


def small_model():
    dense = QuantizedDense(Weights([[1, -8]], 4, [0]), Quantizer(Format(8, 0)), activation="relu")
    return QuantizedModel((dense,), Format(4, 0))


def separable_model():
    """Separable layers with all that they may have, and with nothing of it."""
    rng = np.random.default_rng(6)
    memories = {
        "a": (rng.integers(-100, 100, (2, 2)),),
        "b": (rng.integers(-30, 30, 2),),
        "a_format": Format(9, 9),
        "b_format": Format(8, 8),
        "m": Quantizer(Format(12, 6), Rounding.FLOOR),
        "f": Quantizer(Format(5, 4, False), overflow=Overflow.SAT_SYM),
        "h": Quantizer(Format(6, 5, False)),
    }
    whole = QuantizedSeparable(
        matrix=(0, 0),
        **memories,
        w_m=weights(rng, 6, 2),
        w_f=weights(rng, 3, 6),
        u=Quantizer(Format(8, 5)),
        e_x=weights(rng, 2, 3),
        b_f=rng.integers(-9, 9, 6),
        b_h=rng.integers(-300, 300, 3),
        residual=True,
        stride=3,
    )
    bare = QuantizedSeparable(
        matrix=(0, 0, 0), **memories, w_m=weights(rng, 3, 2), w_f=weights(rng, 2, 3), activation="linear"
    )
    return QuantizedModel((whole, bare), Format(6, 5))


def same(left, right):
    """Compare dataclasses, arrays and all, by value and type."""
    assert type(left) is type(right)
    if dataclasses.is_dataclass(left):
        for each in dataclasses.fields(left):
            same(getattr(left, each.name), getattr(right, each.name))
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            same(one, other)
    else:
        assert left == right


def parts(path):
    """Description, tensors and metadata of a file."""
    tensors, metadata = unpack(path.read_bytes())
    return json.loads(metadata["model"]), dict(tensors), metadata


def sign(description, tensors, metadata=None):
    """Bytes of a file whose sha256 is right whatever it holds; the hash is written out here again on purpose."""
    text = description if isinstance(description, str) else canonical_json(description)
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        head = f'["{name}","I{8 * array.itemsize}",{list(array.shape)}]'.replace(" ", "")
        found.update(head.encode() + array.tobytes())
    header = {"schema": SCHEMA, "version": "1", "model": text, "sha256": found.hexdigest()}
    return pack(tensors, header | (metadata or {}))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save(full_model(), path)
    return path


@pytest.mark.parametrize("make", [full_model, small_model, separable_model])
def test_round_trip_is_equal_in_every_integer_and_type(tmp_path, make):
    model, path = make(), tmp_path / "model.safetensors"
    save(model, path)
    back = load(path)
    same(model, back)
    assert digest(back) == digest(model) == parts(path)[2]["sha256"]


def test_the_golden_outputs_of_a_loaded_model_are_the_same(saved):
    model = full_model()
    frames = np.random.default_rng(1).integers(-128, 128, (3, 12, model.inputs))
    expected, found = Golden(model).run(frames), Golden(load(saved)).run(frames)
    assert set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_same_model_makes_the_same_bytes(tmp_path, saved):
    again = tmp_path / "again.safetensors"
    save(load(saved), again)
    assert again.read_bytes() == saved.read_bytes()
    shuffled = dataclasses.replace(full_model(), notes={"a": {"nested": "ü"}, "b": [1, None, True]})
    save(shuffled, again)
    assert again.read_bytes() == saved.read_bytes()


def test_the_digest_sees_every_part():
    model = full_model()
    lmu, dense = model.layers
    changed = [
        dataclasses.replace(model, name="other"),
        dataclasses.replace(model, notes={}),
        dataclasses.replace(model, layers=(dataclasses.replace(lmu, stride=3), dense)),
        dataclasses.replace(model, layers=(dataclasses.replace(lmu, b_h=lmu.b_h + 1), dense)),
        dataclasses.replace(model, layers=(lmu, dataclasses.replace(dense, h=Quantizer(Format(16, 8))))),
    ]
    assert len({digest(each) for each in [model, *changed]}) == len(changed) + 1


def test_other_safetensors_readers_read_it(saved):
    tensors, _ = unpack(saved.read_bytes())
    found = reference.load_file(saved)
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_tensors_take_the_smallest_type(saved):
    tensors = parts(saved)[1]
    assert tensors["layer0.e_x"].dtype == np.int8
    assert tensors["layer0.w_m"].dtype == np.int16
    assert tensors["layer0.b_u"].dtype == np.int32
    assert tensors["layer1.b"].dtype == np.int64


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-129, "i2"), (-128, "i1"), (127, "i1"), (128, "i2"), (-32769, "i4"), (2**31 - 1, "i4"), (2**31, "i8")],
)
def test_smallest_type_at_the_edges(value, dtype):
    array = smallest(np.array([0, value]))
    assert array.dtype == np.dtype(dtype)
    assert int(array[1]) == value
    assert stored_bytes(array) == np.array([0, value], f"<{dtype}").tobytes()


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save(small_model(), saved)
    assert saved.read_bytes() == before
    assert list(tmp_path.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"notes": {"x": np.int64(3)}}, "notes: not JSON"),
        ({"notes": {"x": float("nan")}}, "notes: not JSON"),
        ({"notes": [1]}, "notes must be an object"),
        ({"front_end": {1, 2}}, "front_end: not JSON"),
        ({"name": 3}, "name must be a text"),
    ],
)
def test_save_refuses_what_load_would_refuse(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match=f"the model cannot be saved: {message}"):
        save(dataclasses.replace(small_model(), **change), path)
    assert not path.exists()


def refused(path, message):
    with pytest.raises(ProgramFileError, match=message) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


def test_every_truncation_is_refused(saved):
    data = saved.read_bytes()
    (head,) = struct.unpack_from("<Q", data)
    for length in [*range(12), 8 + head // 2, 8 + head - 1, 8 + head, 8 + head + 1, len(data) - 1]:
        saved.write_bytes(data[:length])
        refused(saved, "truncated|not a safetensors file")


def test_a_longer_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    refused(saved, "too long: [0-9]+ bytes of tensors are announced")


def test_every_flipped_byte_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save(small_model(), path)
    data = path.read_bytes()
    for position in range(len(data)):
        for bit in (0x01, 0x29):
            path.write_bytes(data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :])
            with pytest.raises(ProgramFileError):
                load(path)


def test_an_altered_tensor_is_told_by_its_hash(saved):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    refused(saved, "metadata sha256: does not match the content")


def test_an_altered_description_is_told_by_its_hash(saved):
    saved.write_bytes(saved.read_bytes().replace(b"full", b"fuII"))
    refused(saved, "metadata sha256: does not match the content")


def test_padding_that_is_altered_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors, metadata = {}, {}
    for name in ("model", "model1", "model12", "model123"):
        save(dataclasses.replace(small_model(), name=name), path)
        tensors, metadata = unpack(path.read_bytes())
        data = path.read_bytes()
        (head,) = struct.unpack_from("<Q", data)
        if data[8 + head - 1 : 8 + head] == b" ":
            break
    path.write_bytes(data[: 8 + head - 1] + b"\t" + data[8 + head :])
    refused(path, "header: not in the form that this version writes")
    path.write_bytes(pack(tensors, metadata))
    load(path)


def test_wider_storage_than_needed_is_refused(saved):
    description, tensors, _ = parts(saved)
    tensors["layer0.e_x"] = tensors["layer0.e_x"].astype(np.int16)
    saved.write_bytes(sign(description, tensors))
    refused(saved, "header: not in the form that this version writes")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_the_signing_of_these_tests_is_right(saved):
    description, tensors, _ = parts(saved)
    assert sign(description, tensors) == saved.read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "only 0 bytes"),
        (b"\x89PNG\r\n\x1a\nxxxxxxxxxxxxxxxx", "a header of [0-9]+ bytes is announced"),
        (struct.pack("<Q", 3) + b"abc", "header is not JSON"),
        (struct.pack("<Q", 2) + b"\xff\xff", "header is not JSON"),
        (struct.pack("<Q", 2) + b"[]", "header is not a JSON object"),
        (struct.pack("<Q", 13) + b'{"a":1,"a":2}', "a key is given twice"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "nested too deeply"),
        (struct.pack("<Q", 2) + b"{}", "schema of the metadata must be 'lmu-hw/quantized-model', not None"),
        (struct.pack("<Q", 22) + b'{"__metadata__":[1,2]}', "__metadata__ must map names to texts"),
        (struct.pack("<Q", 7) + b'{"a":1}', "tensor 'a': must have exactly dtype, shape and data_offsets"),
    ],
)
def test_other_files_are_refused(tmp_path, data, message):
    path = tmp_path / "other"
    path.write_bytes(data)
    refused(path, message)


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    reference.save_file({"w": np.zeros((2, 2), np.int8)}, path, metadata={"format": "pt"})
    refused(path, "schema of the metadata must be 'lmu-hw/quantized-model', not None")
    reference.save_file({"w": np.zeros((2, 2), np.float32)}, path)
    refused(path, "tensor 'w': dtype must be one of I8, I16, I32, I64, not 'F32'")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "I8", "shape": [4], "data_offsets": [1, 5]}, "must begin at byte 0 of the data, not 1"),
        ({"dtype": "I8", "shape": [3], "data_offsets": [0, 4]}, "must take 3 bytes, not 4"),
        ({"dtype": "I8", "shape": [-4], "data_offsets": [0, 4]}, "lists of integers from 0 up"),
        ({"dtype": "I8", "shape": [True, 4], "data_offsets": [0, 4]}, "lists of integers from 0 up"),
        ({"dtype": "I8", "shape": [4], "data_offsets": [0, 2, 4]}, "lists of integers from 0 up"),
        ({"dtype": "I8", "shape": [5], "data_offsets": [0, 5]}, "truncated: 5 bytes of tensors are announced, 4 found"),
        ({"dtype": [], "shape": [4], "data_offsets": [0, 4]}, "dtype must be one of"),
    ],
)
def test_bad_tensor_entries_are_refused(entry, message):
    head = canonical_json({"w": entry}).encode()
    with pytest.raises(TensorFileError, match=message):
        unpack(struct.pack("<Q", len(head)) + head + bytes(4))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"schema": "lmu-hw/float-model"}, "schema of the metadata must be '.*', not 'lmu-hw/float-model'"),
        ({"version": "2"}, "version of the metadata must be '1', not '2'"),
        ({"extra": ""}, "unknown key 'extra' in the metadata, expected model, sha256"),
        ({"sha256": "0" * 64}, "metadata sha256: does not match"),
        ({"model": "é"}, "metadata sha256: does not match"),
    ],
)
def test_bad_metadata_is_refused(saved, metadata, message):
    description, tensors, _ = parts(saved)
    saved.write_bytes(sign(description, tensors, metadata))
    refused(saved, message)


def test_missing_metadata_is_refused(saved):
    tensors, metadata = unpack(saved.read_bytes())
    del metadata["sha256"]
    saved.write_bytes(pack(tensors, metadata))
    refused(saved, "the metadata lacks the key 'sha256'")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "metadata model: not JSON"), ("[]", "model must be an object"), ('{"a":NaN}', "metadata model: not JSON")],
)
def test_a_description_that_is_none_is_refused(saved, text, message):
    saved.write_bytes(sign(text, parts(saved)[1]))
    refused(saved, message)


def at(description, keys, value):
    """Put a value at a place in nested JSON, or remove the key if the value is the class `KeyError`."""
    place = description
    for key in keys[:-1]:
        place = place[key]
    if value is KeyError:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value


LAYER = ("layers", 0)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("name",), KeyError, "the model lacks the key 'name'"),
        (("colour",), 1, "unknown key 'colour' in the model"),
        (("name",), 5, "name must be a text, not 5"),
        (("labels",), ["a", 1], "labels must be a list of texts"),
        (("labels",), ["a", "a"], "model: labels must be 2 distinct names"),
        (("front_end",), [], "front_end must be an object"),
        (("notes",), None, "notes must be an object"),
        (("layers",), {}, "layers must be a list of objects"),
        (("layers",), [], "tensor layer0.a0: is not part of the model"),
        (("input", "width"), 63, "input: format width must be in 2 to 62, not 63"),
        (("input", "width"), 25, "model: the input format must be at most 24 bits wide"),
        (("input", "frac"), 65, "input: format frac must be in -64 to 64"),
        (("input", "frac"), 1.5, "input: format frac must be an integer"),
        (("input", "signed"), 1, "input: format signed must be true or false"),
        (("input", "bias"), 1, "input: unknown key 'bias' in the format"),
        (("input",), None, "input: the format must be an object"),
        ((*LAYER, "kind"), "conv", "layer0 kind must be one of lmu, separable, dense, not 'conv'"),
        ((*LAYER, "kind"), KeyError, "layer0 kind must be one of lmu, separable, dense, not None"),
        ((*LAYER, "kind"), "dense", "unknown key 'a_format' in layer0"),
        ((*LAYER, "stride"), KeyError, "layer0 lacks the key 'stride'"),
        ((*LAYER, "stride"), 0, "layer0: layer stride must be in 1 to 1024, not 0"),
        ((*LAYER, "stride"), 10**9, "layer0: layer stride must be in 1 to 1024, not 1000000000"),
        ((*LAYER, "stride"), True, "layer0 stride must be an integer"),
        ((*LAYER, "activation"), "gelu", "layer0: layer activation must be one of"),
        ((*LAYER, "activation"), ["relu"], "layer0 activation must be a text"),
        ((*LAYER, "activation"), "relu", "layer0: a table format must be given exactly for activation tanh"),
        ((*LAYER, "u_activation"), "tanh", "layer0: layer u_activation must be one of linear, relu"),
        ((*LAYER, "table"), None, "layer0: a table format must be given exactly for activation tanh"),
        ((*LAYER, "table", "width"), 15, "layer0: the table format must be at most 14 bits wide"),
        ((*LAYER, "m", "rounding"), "NEAREST", "layer0 m: rounding must be one of"),
        ((*LAYER, "m", "rounding"), [], "layer0 m: "),
        ((*LAYER, "u", "overflow"), "CLAMP", "layer0 u: overflow must be one of"),
        ((*LAYER, "h"), 8, "layer0 h: the quantizer must be an object"),
        ((*LAYER, "a_format", "signed"), False, "layer0: a must fit 9 bits"),
        ((*LAYER, "b_format", "width"), 17, "layer0: b_format must be at most 16 bits wide"),
        ((*LAYER, "matrix"), [0, 1, 2], "layer0: matrix must name one of the 2 matrices"),
        ((*LAYER, "matrix"), [0, 1], "layer0: e_x must have shape"),
        ((*LAYER, "matrix"), "010", "layer0 matrix must be a list of integers"),
        ((*LAYER, "matrices"), 3, "tensor layer0.a2: is missing"),
        ((*LAYER, "matrices"), 1, "layer0: matrix must name one of the 1 matrices"),
        ((*LAYER, "matrices"), -1, "layer0: a and b must be equally many matrices"),
        ((*LAYER, "weights"), [], "layer0 weights must be an object"),
        ((*LAYER, "weights", "w_m"), KeyError, "layer0 weights lacks the key 'w_m'"),
        ((*LAYER, "weights", "w_z"), 4, "unknown key 'w_z' in layer0 weights"),
        ((*LAYER, "weights", "w_x"), KeyError, "tensor layer0.w_x: is not part of the model"),
        ((*LAYER, "weights", "w_x"), 3, r"layer0.w_x: weight values must fit 3 bits \(-4 to 3\)"),
        ((*LAYER, "weights", "w_x"), 17, "layer0.w_x: weight width must be in 2 to 16"),
        ((*LAYER, "weights", "w_x"), "4", "layer0 weights w_x must be an integer"),
        ((*LAYER, "biases"), ["b_u"], "tensor layer0.b_h: is not part of the model"),
        ((*LAYER, "biases"), ["b_u", "b"], "layer0 biases must be one of b_u, b_h, not 'b'"),
        ((*LAYER, "biases"), ["b_u", "b_u"], "tensor layer0.b_u: is missing"),
        ((*LAYER, "biases"), ["b_h", "b_u"], "header: not in the form"),
        (("layers", 1, "weights"), {"e_x": 4}, "unknown key 'e_x' in layer1 weights"),
        (("layers", 1, "biases"), [], "tensor layer1.b: is not part of the model"),
    ],
)
def test_bad_fields_are_refused(saved, keys, value, message):
    description, tensors, _ = parts(saved)
    at(description, keys, value)
    saved.write_bytes(sign(description, tensors))
    refused(saved, message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer0.e_x", None, "tensor layer0.e_x: is missing"),
        ("layer0.e_x.frac", None, "tensor layer0.e_x.frac: is missing"),
        ("layer1.w", None, "tensor layer1.w: is missing"),
        ("layer2.w", np.zeros(1, np.int8), "tensor layer2.w: is not part of the model"),
        ("layer0.e_x", np.full((3, 3), 8, np.int8), "layer0.e_x: weight values must fit 4 bits"),
        ("layer0.e_x", np.zeros((3, 4), np.int8), "layer0: "),
        ("layer0.e_x", np.zeros(9, np.int8), "layer0.e_x: weight values must be a matrix"),
        ("layer0.e_x.frac", np.full(3, 33, np.int8), "layer0.e_x: weight frac must be in -32 to 32"),
        ("layer0.e_x.frac", np.array([5, 6, 5], np.int8), "model: layer0.u: the scales of the terms must differ"),
        ("layer0.a1", np.full((2, 2), 256, np.int16), "layer0: a must fit 9 bits"),
        ("layer0.b1", np.zeros(3, np.int8), "layer0: a and b must have shapes"),
        ("layer0.b_u", np.zeros(4, np.int8), "layer0: b_u must have shape"),
        ("layer1.w", np.zeros((2, 5), np.int8), "model: layer 1 must take the 4 outputs of layer 0"),
    ],
)
def test_bad_tensors_are_refused(saved, name, value, message):
    description, tensors, _ = parts(saved)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    saved.write_bytes(sign(description, tensors))
    refused(saved, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": None}, "layer0: u must be given exactly with e_x"),
        ({"residual": 1}, "layer0 residual must be true or false, not 1"),
        ({"f": None}, "layer0 f: the quantizer must be an object, not None"),
        ({"table": None}, "unknown key 'table' in layer0"),
        ({"biases": ["b_u"]}, "layer0 biases must be one of b_f, b_h, not 'b_u'"),
    ],
)
def test_wrong_separable_layers_are_refused(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save(separable_model(), path)
    description, tensors, _ = parts(path)
    description["layers"][0] |= change
    path.write_bytes(sign(description, tensors))
    refused(path, message)
