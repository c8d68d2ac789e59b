"""Loaders of other frameworks' files, on files written here in the documented layouts.

What a loaded model computes is compared with loops over the tensors as the files hold them.
"""

import io
import json
import math
import subprocess
import sys
import warnings
import zipfile
from itertools import product

import h5py
import hypothesis
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import strategies
from safetensors.numpy import save_file
from scipy.signal import cont2discrete

from lmu_quantize.float_file import ModelFileError, save_float
from lmu_quantize.loaders import LayerOrderError, MissingHyperparameters, load_model, sniff
from lmu_quantize.loaders.keras import datasets
from lmu_quantize.loaders.legendre import check_memory, infer_memory
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer

FUNCTIONS = {"linear": lambda v: v, None: lambda v: v, "relu": lambda v: np.maximum(v, 0), "tanh": np.tanh}


def legendre(order, theta, discretizer="zoh"):
    """A and B of the discrete memory, from the equations and scipy; shapes (d, d) and (d, 1)."""
    a = np.zeros((order, order))
    b = np.zeros((order, 1))
    for i, j in product(range(order), range(order)):
        a[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
        b[i] = (2 * i + 1) * (-1) ** i
    a, b, *_ = cont2discrete((a / theta, b / theta, np.eye(order), np.zeros((order, 1))), 1.0, discretizer)
    return a, b


def frames(features, length=12, streams=2):
    return np.random.default_rng(99).normal(size=(streams, length, features))


class KerasLMU:
    """One keras-lmu layer: its configuration, its variables by name, and what it computes."""

    def __init__(
        self, *, x=2, memory_d=1, order=4, theta=9.5, discretizer="zoh", hidden="Dense", units=3, activation="relu",
        h2m=False, m2m=False, i2h=False, trainable_theta=False, use_bias=False, hidden_bias=True, kernel=True, seed=0,
        dtype=np.float32,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        draw = lambda *shape: rng.normal(scale=0.5, size=shape).astype(dtype)  # noqa: E731
        self.x, self.memory_d, self.order, self.units, self.activation = x, memory_d, order, units, activation
        self.h2m, self.m2m, self.i2h, self.trainable_theta = h2m, m2m, i2h, trainable_theta
        self.discretizer, self.kind = discretizer, hidden
        d = memory_d * order
        self.cell = {}
        if kernel:
            self.cell["kernel"] = draw(x + (units if h2m else 0), memory_d)
        if use_bias:
            self.cell["bias"] = draw(memory_d)
        if trainable_theta:
            self.cell["theta_inv"] = np.asarray(0.7 / theta, dtype)
        if m2m:
            self.cell["recurrent_kernel"] = draw(d, memory_d)
        self.hidden = {}
        if hidden:
            self.hidden["kernel"] = draw(d + (x if i2h else 0), units)
            if hidden == "SimpleRNNCell":
                self.hidden["recurrent_kernel"] = draw(units, units)
            if hidden_bias:
                self.hidden["bias"] = np.abs(draw(units))
        else:
            self.units = d + (x if i2h else 0)
        self.theta = theta if not trainable_theta else 1 / float(self.cell["theta_inv"])
        hidden_config = {"name": "inner", "units": units, "activation": activation, "use_bias": hidden_bias}
        self.config = {
            "memory_d": memory_d,
            "order": order,
            "theta": theta,
            "hidden_cell": {"class_name": hidden, "config": hidden_config} if hidden else None,
            "trainable_theta": trainable_theta,
            "hidden_to_memory": h2m,
            "memory_to_memory": m2m,
            "input_to_hidden": i2h,
            "discretizer": discretizer,
            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}} if kernel else None,
            "recurrent_initializer": "orthogonal",
            "use_bias": use_bias,
            "dropout": 0.1,
        }

    @property
    def recurs(self):
        return self.h2m or self.m2m or self.trainable_theta

    def run(self, x):
        """One stream, shape (T, x), to the hidden states, shape (T, units)."""
        cell = {name: array.astype(np.float64) for name, array in self.cell.items()}
        hidden = {name: array.astype(np.float64) for name, array in self.hidden.items()}
        a, b = legendre(self.order, self.theta, self.discretizer)
        m, h, out = np.zeros((self.memory_d, self.order)), np.zeros(self.units), []
        for frame in x:
            u = np.concatenate([frame, h]) if self.h2m else frame
            u = u @ cell["kernel"] if "kernel" in cell else u
            u = u + cell.get("bias", 0.0)
            if self.m2m:
                u = u + m.reshape(-1) @ cell["recurrent_kernel"]
            m = m @ a.T + u[:, None] @ b.T
            h_in = np.concatenate([m.reshape(-1), frame]) if self.i2h else m.reshape(-1)
            if self.kind:
                total = h_in @ hidden["kernel"] + hidden.get("bias", 0.0)
                if "recurrent_kernel" in hidden:
                    total = total + h @ hidden["recurrent_kernel"]
                h = FUNCTIONS[self.activation](total)
            else:
                h = h_in
            out.append(h)
        return np.array(out)

    def layer(self, class_name="LMU", name="lmu", return_sequences=True):
        """Configuration entry of a model."""
        if class_name == "RNN":
            cell = {"class_name": "LMUCell", "registered_name": "keras-lmu>LMUCell", "config": self.config}
            return entry("RNN", name, cell=cell, return_sequences=return_sequences)
        return entry(class_name, name, **self.config, return_sequences=return_sequences)

    def positions(self, class_name="LMU"):
        """Variables by path below the layer's group of a .weights.h5."""
        inner = {"RNN": "cell/", "LMUFeedforward": ""}.get(class_name, "layer/cell/" if self.recurs else "layer/")
        outer = "cell/" if class_name == "RNN" else ""
        stored = {f"{inner}vars/{i}": array for i, array in enumerate(self.cell.values())}
        return stored | {f"{outer}hidden_cell/vars/{i}": array for i, array in enumerate(self.hidden.values())}

    def names(self, layer, class_name="LMU", suffix=""):
        """Variables by path below model_weights of a legacy file."""
        inner = {"RNN": "lmu_cell_3", "LMUFeedforward": ""}.get(
            class_name, "rnn_7/lmu_cell_7" if self.recurs else "lmu_feedforward"
        )
        cell = "/".join(filter(None, (layer, layer, inner)))
        stored = {f"{cell}/{name}{suffix}": array for name, array in self.cell.items()}
        return stored | {f"{cell}/inner/{name}{suffix}": array for name, array in self.hidden.items()}


def entry(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}, "build_config": {}}


def dense_entry(name, units, activation="linear", use_bias=True):
    return entry("Dense", name, units=units, activation=activation, use_bias=use_bias)


def input_entry(features, length=None):
    return entry("InputLayer", "input", batch_shape=[None, length, features])


def sequential(*layers):
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}


def functional(*layers, keras=3):
    """A chain of layers, stored in reverse order, as a functional model of Keras 2 or 3."""
    out, before = [], None
    for layer in layers:
        name = layer["config"]["name"]
        if before is None:
            nodes = []
        elif keras == 3:
            tensor = {"class_name": "__keras_tensor__", "config": {"shape": [], "keras_history": [before, 0, 0]}}
            nodes = [{"args": [tensor], "kwargs": {"training": False}}]
        else:
            nodes = [[[before, 0, 0, {}]]]
        out.append(layer | {"name": name, "inbound_nodes": nodes})
        before = name
    return {
        "class_name": "Functional" if keras == 3 else "Model",
        "config": {"name": "model", "layers": out[::-1], "input_layers": [], "output_layers": []},
    }


def write_h5(target, variables, attributes=None, groups=()):
    with h5py.File(target, "w") as file:
        for group in groups:
            file.create_group(group)
        for name, array in variables.items():
            file[name] = array
        file.attrs.update(attributes or {})


def write_keras(path, config, variables, groups=()):
    weights = io.BytesIO()
    write_h5(
        weights, {f"layers/{name}": array for name, array in variables.items()} | {"optimizer/vars/0": 3}, {}, groups
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())


def write_legacy(path, config, variables, root="model_weights", encode=str):
    stored = {f"{root}/{name}": array for name, array in variables.items()}
    write_h5(path, stored, {} if config is None else {"model_config": encode(json.dumps(config))}, [f"{root}/dropout"])


def under(group, variables):
    return {f"{group}/{name}": array for name, array in variables.items()}


def assert_runs(model, x, expected, atol=1e-12):
    logits = model.run(x)["logits"]
    assert logits.shape == expected.shape
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(logits, expected, rtol=0, atol=atol)


def run_all(lmu, x):
    return np.array([lmu.run(stream) for stream in x])


OPTIONS = [
    {},
    {"hidden": None},
    {"hidden": None, "i2h": True},
    {"hidden": None, "memory_d": 2, "use_bias": True, "m2m": True},
    {"kernel": False, "memory_d": 2},
    {"kernel": False, "memory_d": 2, "m2m": True, "use_bias": True},
    {"memory_d": 3, "order": 5, "i2h": True},
    {"memory_d": 3, "h2m": True},
    {"memory_d": 2, "m2m": True},
    {"use_bias": True, "hidden_bias": False},
    {"trainable_theta": True},
    {"trainable_theta": True, "discretizer": "euler", "theta": 30},
    {"discretizer": "euler", "theta": 40.0, "activation": "tanh"},
    {"hidden": "SimpleRNNCell", "activation": "tanh", "i2h": True},
    {"hidden": "SimpleRNNCell", "hidden_bias": False, "h2m": True, "x": 1},
    {"activation": None, "dtype": np.float64},
    {
        "memory_d": 2, "h2m": True, "m2m": True, "i2h": True, "trainable_theta": True, "use_bias": True,
        "hidden": "SimpleRNNCell", "activation": "tanh", "x": 3, "units": 5,
    },
]  # fmt: skip
CLASSES = ["LMU", "RNN", "LMUFeedforward"]
GROUPS = {"LMU": "lmu", "RNN": "rnn", "LMUFeedforward": "lmu_feedforward"}


def cases():
    for class_name, (index, options) in product(CLASSES, enumerate(OPTIONS)):
        if class_name != "LMUFeedforward" or not options.keys() & {"h2m", "m2m", "trainable_theta"}:
            yield pytest.param(class_name, options, id=f"{class_name}-{index}")


@pytest.mark.parametrize(("class_name", "options"), list(cases()))
def test_keras_file(tmp_path, class_name, options):
    lmu = KerasLMU(**options)
    config = sequential(input_entry(lmu.x), lmu.layer(class_name))
    write_keras(tmp_path / "m.keras", config, under(GROUPS[class_name], lmu.positions(class_name)))
    model = load_model(tmp_path / "m.keras")
    assert_runs(model, frames(lmu.x), run_all(lmu, frames(lmu.x)))
    assert model.layers[0].memories == (LegendreMemory(lmu.order, lmu.theta, lmu.discretizer),) * lmu.memory_d


@pytest.mark.parametrize(("class_name", "options"), list(cases()))
@pytest.mark.parametrize(("suffix", "encode"), [("", str), (":0", str.encode)])
def test_legacy_file(tmp_path, class_name, options, suffix, encode):
    lmu = KerasLMU(**options)
    variables = lmu.names("lmu_1", class_name, suffix)
    layer = lmu.layer(class_name, "lmu_1") | {"class_name": {"RNN": "RNN"}.get(class_name, f"keras-lmu>{class_name}")}
    write_legacy(tmp_path / "m.h5", sequential(layer), variables, encode=encode)
    if not variables:
        with h5py.File(tmp_path / "m.h5", "a") as file:
            file.create_group("model_weights/lmu_1")
    assert_runs(load_model(tmp_path / "m.h5"), frames(lmu.x), run_all(lmu, frames(lmu.x)))


@pytest.mark.parametrize(("class_name", "options"), list(cases()))
@pytest.mark.parametrize("layout", ["keras 3", "legacy"])
def test_file_of_weights_only(tmp_path, class_name, options, layout):
    lmu = KerasLMU(**options)
    group = GROUPS[class_name]
    told = {"order": lmu.order, "theta": lmu.theta, "discretizer": lmu.discretizer, "inputs": lmu.x}
    told["activation"] = lmu.activation or "linear"
    if layout == "keras 3":
        stored = under(f"layers/{group}", lmu.positions(class_name))
        write_h5(tmp_path / "m.weights.h5", stored, groups=["layers/dropout", "layers/input_layer", "layers/dropout_1"])
    else:
        write_legacy(tmp_path / "m.weights.h5", None, lmu.names(group, class_name, ":0"), root="/")
    if lmu.hidden and "kernel" in lmu.cell:
        model = load_model(tmp_path / "m.weights.h5", **told)
        assert_runs(model, frames(lmu.x), run_all(lmu, frames(lmu.x)))
        assert model.layers[0].memories == (LegendreMemory(lmu.order, lmu.theta, lmu.discretizer),) * lmu.memory_d
    else:
        with pytest.raises(ModelFileError, match=r"m\.weights\.h5: "):
            load_model(tmp_path / "m.weights.h5", **told)


def stack(make=sequential):
    """Two LMUs of different kinds with dense layers and layers without weights; also the oracle and the variables."""
    rng = np.random.default_rng(5)
    first = KerasLMU(x=2, memory_d=2, units=4, seed=1)
    second = KerasLMU(x=3, units=5, h2m=True, hidden="SimpleRNNCell", activation="tanh", seed=2)
    w = {name: rng.normal(size=shape) for name, shape in {"a": (4, 3), "b": (3,), "c": (5, 2)}.items()}
    config = make(
        input_entry(2),
        entry("GaussianNoise", "noise", stddev=0.1),
        first.layer(name="low"),
        entry("Dropout", "dropout", rate=0.5),
        dense_entry("between", 3, "relu"),
        second.layer(name="high", return_sequences=False),
        entry("Dropout", "dropout_1", rate=0.5),
        dense_entry("last", 2, "softmax", use_bias=False),
    )

    def run(x):
        between = [np.maximum(h @ w["a"] + w["b"], 0) for h in run_all(first, x)]
        return run_all(second, between) @ w["c"]

    return config, w, first, second, run


def stack_by_position(first, second, w, groups=("lmu", "lmu_1", "dense", "dense_1")):
    lmu, lmu_1, dense, dense_1 = groups
    variables = under(lmu, first.positions()) | under(lmu_1, second.positions())
    variables |= {f"{dense}/vars/0": w["a"], f"{dense}/vars/1": w["b"], f"{dense_1}/vars/0": w["c"]}
    return variables | {"dropout/seed_generator/vars/0": np.array([0, 1], np.uint32)}


def keras2(*layers):
    return functional(*layers, keras=2)


@pytest.mark.parametrize(("make", "groups"), [
    (sequential, ("lmu", "lmu_1", "dense", "dense_1")),
    (functional, ("lmu_1", "lmu", "dense_1", "dense")),
])  # fmt: skip
def test_stack_in_a_keras_file(tmp_path, make, groups):
    config, w, first, second, run = stack(make)
    write_keras(tmp_path / "stack.v1.keras", config, stack_by_position(first, second, w, groups))
    model = load_model(tmp_path / "stack.v1.keras", labels=["a", "b"])
    assert_runs(model, frames(2), run(frames(2)))
    assert [type(layer) for layer in model.layers] == [LMULayer, DenseLayer, LMULayer, DenseLayer]
    assert (model.name, model.labels) == ("stack", ("a", "b"))
    assert model.notes["source"]["file"] == "stack.v1.keras"
    assert model.notes["source"]["format"] == "keras"
    assert len(model.notes["source"]["sha256"]) == 64
    assert model.notes["remarks"] == [
        "layer 'high' hands on its last frame only (return_sequences is false); here every frame's output is computed",
        "the softmax of layer 'last' was left out: the outputs are logits",
    ]
    assert load_model(tmp_path / "stack.v1.keras", name="other").name == "other"


@pytest.mark.parametrize("make", [sequential, functional, keras2])
def test_stack_in_a_legacy_file(tmp_path, make):
    config, w, first, second, run = stack(make)
    variables = first.names("low") | second.names("high")
    variables |= {"between/between/kernel": w["a"], "between/between/bias": w["b"], "last/last/kernel": w["c"]}
    write_legacy(tmp_path / "stack.h5", config, variables)
    model = load_model(tmp_path / "stack.h5")
    assert_runs(model, frames(2), run(frames(2)))
    save_float(model, tmp_path / "copy.safetensors")
    again = load_model(tmp_path / "copy.safetensors")
    np.testing.assert_array_equal(again.run(frames(2))["logits"], model.run(frames(2))["logits"])


def test_stack_in_a_file_of_weights_only(tmp_path):
    _, w, first, second, run = stack()
    write_h5(tmp_path / "stack.weights.h5", under("layers", stack_by_position(first, second, w)))
    told = {"order": 4, "discretizer": "zoh", "theta": {"lmu": 9.5, "lmu_1": 9.5}}
    told["activation"] = {"lmu": "relu", "lmu_1": "tanh"}
    model = load_model(tmp_path / "stack.weights.h5", **told, dense_activation={"dense": "relu"})
    assert_runs(model, frames(2), run(frames(2)))
    assert model.notes["remarks"] == ["the file has no configuration; layers in order: lmu, dense, lmu_1, dense_1"]
    with pytest.raises(MissingHyperparameters, match=r"stack\.weights\.h5: layer 'dense': the file does") as caught:
        load_model(tmp_path / "stack.weights.h5", **told)
    assert (caught.value.layer, caught.value.names) == ("dense", ("dense_activation",))
    problem = f"{tmp_path}/stack.weights.h5: layer 'dense': the file does not hold dense_activation"
    assert caught.value.problem == problem
    advice = "; pass dense_activation to load_model as keyword arguments"
    assert str(caught.value) == problem + advice


def test_stack_in_a_legacy_file_of_weights_only(tmp_path):
    _, w, first, second, run = stack()
    variables = first.names("low") | second.names("high")
    variables |= {"between/between/kernel:0": w["a"], "between/between/bias:0": w["b"], "last/last/kernel:0": w["c"]}
    write_legacy(tmp_path / "stack.h5", None, variables, root="/")
    told = {"order": 4, "discretizer": "zoh", "theta": 9.5, "activation": {"low": "relu", "high": "tanh"}}
    told |= {"dense_activation": {"between": "relu"}, "inputs": {"low": 2, "high": 3}}
    with pytest.raises(LayerOrderError, match=r"stack\.h5: more than one order of the layers fits") as caught:
        load_model(tmp_path / "stack.h5", **told)
    assert caught.value.ambiguous
    assert caught.value.sizes == {"between": (4, 3), "high": (3, 5), "last": (5, 2), "low": (2, 4)}
    assert str(caught.value) == f"{caught.value.problem}; pass layers=(...) to load_model, with the names in order"
    with h5py.File(tmp_path / "stack.h5", "a") as file:
        file.attrs["layer_names"] = ["low", "dropout", "between", "high", "last"]
    assert_runs(load_model(tmp_path / "stack.h5", **told), frames(2), run(frames(2)))
    with h5py.File(tmp_path / "stack.h5", "a") as file:
        file.attrs["layer_names"] = [b"last", b"high", b"between", b"low"]
    with pytest.raises(LayerOrderError, match=r"no order of the layers fits their sizes: .*; pass layers=") as caught:
        load_model(tmp_path / "stack.h5", **told)
    assert not caught.value.ambiguous
    model = load_model(tmp_path / "stack.h5", **told, layers=("low", "between", "high", "last"))
    assert_runs(model, frames(2), run(frames(2)))


def test_published_psmnist_layout(tmp_path):
    lmu = KerasLMU(x=1, order=16, theta=49, hidden="SimpleRNNCell", units=6, activation="tanh", i2h=True)
    w, b = np.random.default_rng(3).normal(size=(6, 10)), np.arange(10.0)
    config = functional(
        input_entry(1, 49), lmu.layer(name="psMNIST", return_sequences=False), dense_entry("dense", 10, "linear")
    )
    stored = under("lmu", lmu.positions()) | {"dense/vars/0": w, "dense/vars/1": b}
    write_keras(tmp_path / "psMNIST.keras", config, stored, groups=["layers/input_layer/vars"])
    assert_runs(load_model(tmp_path / "psMNIST.keras"), frames(1), run_all(lmu, frames(1)) @ w + b)


@pytest.mark.parametrize("lacking", [(), ("discretizer",), ("order", "theta", "discretizer")])
def test_keras_24_layout_with_stored_matrices(tmp_path, lacking):
    lmu = KerasLMU(x=1, order=6, theta=20, hidden="SimpleRNNCell", units=4, activation="tanh", m2m=True)
    a, b = legendre(6, 20)
    for name in lacking:
        del lmu.config[name]
    variables = {f"rnn/rnn/lmu_cell/{name}:0": array for name, array in lmu.cell.items()}
    variables |= {f"rnn/rnn/lmu_cell/simple_rnn_cell/{name}:0": array for name, array in lmu.hidden.items()}
    variables |= {"rnn/rnn/lmu_cell/A:0": a.T.astype(np.float32), "rnn/rnn/lmu_cell/B:0": b.T.astype(np.float32)}
    config = sequential(lmu.layer("RNN", "rnn", return_sequences=False))
    write_legacy(tmp_path / "m.hdf5", config, variables)
    model = load_model(tmp_path / "m.hdf5")
    assert model.layers[0].memories == (LegendreMemory(6, 20),)
    assert_runs(model, frames(1), run_all(lmu, frames(1)))
    variables["rnn/rnn/lmu_cell/A:0"] = a.T + 0.01
    write_legacy(tmp_path / "m.hdf5", config, variables)
    with pytest.raises(ModelFileError, match=r"m\.hdf5: layer 'rnn': variables A and B: A and B are not those of "):
        load_model(tmp_path / "m.hdf5")
    variables["rnn/rnn/lmu_cell/A:0"] = a.T
    write_legacy(tmp_path / "m.hdf5", None, variables, root="/")
    with pytest.raises(ModelFileError, match=r"layer 'rnn': the file does not hold activation; pass"):
        load_model(tmp_path / "m.hdf5")
    assert_runs(load_model(tmp_path / "m.hdf5", activation="tanh", inputs=1), frames(1), run_all(lmu, frames(1)))


def early(seed=0, x=2, units=5, order=6, theta=23.7, memory=True):
    """Variables of a 2019 layer and what it computes from the matrices as stored, for one stream."""
    rng = np.random.default_rng(seed)
    shapes = {
        "input_encoders": (x, 1), "hidden_encoders": (units, 1), "memory_encoders": (order, 1),
        "input_kernel": (x, units), "hidden_kernel": (units, units), "memory_kernel": (order, units),
    }  # fmt: skip
    variables = {name: rng.normal(scale=0.4, size=shape).astype(np.float32) for name, shape in shapes.items()}
    if not memory:
        variables["memory_encoders"][:] = 0
    a, b = legendre(order, theta)
    variables |= {"AT": (a - np.eye(order)).T, "BT": b.T}

    def run(stream, function=np.tanh):
        v = {name: array.astype(np.float64) for name, array in variables.items()}
        m, h, out = np.zeros(order), np.zeros(units), []
        for frame in stream:
            u = frame @ v["input_encoders"] + h @ v["hidden_encoders"] + m @ v["memory_encoders"]
            m = m + m @ v["AT"] + (u[None] @ v["BT"])[0]
            h = function(frame @ v["input_kernel"] + h @ v["hidden_kernel"] + m @ v["memory_kernel"])
            out.append(h)
        return np.array(out)

    return variables, run


def early_config(**cell):
    inner = {"class_name": "LMUCell", "config": {"name": "cell", "trainable": True, **cell}}
    layer = entry("RNN", "rnn_1", cell=inner, return_sequences=False, batch_input_shape=[None, 784, 2])
    return sequential(layer, dense_entry("dense_1", 3))


def write_early(path, variables, config, w, root="model_weights"):
    stored = {f"rnn_1/rnn_1/{name}:0": array for name, array in variables.items()}
    write_legacy(path, config, stored | {"dense_1/dense_1/kernel:0": w, "dense_1/dense_1/bias:0": np.ones(3)}, root)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("told", [{}, {"theta": 23.7, "order": 6, "method": "zoh"}])
@pytest.mark.parametrize("as_list", [False, True])
def test_2019_layout(tmp_path, dtype, told, as_list):
    variables, run = early()
    variables |= {name: variables[name].astype(dtype) for name in ("AT", "BT")}
    w = np.random.default_rng(1).normal(size=(5, 3))
    config = early_config(**told)
    if as_list:
        config["config"] = config["config"]["layers"]
    write_early(tmp_path / "m.hdf5", variables, config, w)
    model = load_model(tmp_path / "m.hdf5")
    expected = np.array([run(stream) for stream in frames(2)]) @ w + 1
    assert_runs(model, frames(2), expected, atol=1e-6)
    (memory,) = model.layers[0].memories
    assert (memory.order, memory.discretizer) == (6, "zoh")
    assert abs(memory.theta - 23.7) < 1e-5
    remarks = model.notes["remarks"]
    assert ("the memory of layer 'rnn_1' was found from AT and BT: order 6, theta 23.7" in str(remarks)) == (not told)
    assert "the activation of layer 'rnn_1' is not in the file; tanh, as in the 2019 paper" in remarks


@pytest.mark.parametrize("with_config", [True, False])
def test_2019_layout_with_another_activation_and_no_memory_encoders(tmp_path, with_config):
    variables, run = early(memory=False, theta=20)
    w = np.random.default_rng(1).normal(size=(5, 3))
    config, root = (early_config(), "model_weights") if with_config else (None, "/")
    write_early(tmp_path / "m.hdf5", variables, config, w, root)
    model = load_model(tmp_path / "m.hdf5", activation="relu")
    assert model.layers[0].e_m is None
    assert model.layers[0].memories == (LegendreMemory(6, 20),)
    assert "e_m of layer 'rnn_1' is all zeros and was left out" in model.notes["remarks"]
    expected = np.array([run(stream, FUNCTIONS["relu"]) for stream in frames(2)]) @ w + 1
    assert_runs(model, frames(2), expected)


def test_2019_activation_of_the_configuration(tmp_path):
    variables, run = early(theta=20)
    w = np.eye(5, 3)
    write_early(tmp_path / "m.hdf5", variables, early_config(hidden_activation="relu"), w)
    expected = np.array([run(stream, FUNCTIONS["relu"]) for stream in frames(2)]) @ w + 1
    assert_runs(load_model(tmp_path / "m.hdf5"), frames(2), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AT": np.zeros((6, 6))}, r"variables AT and BT: A and B are not those of a Legendre memory of order 6"),
        ({"AT": np.zeros((6, 5))}, r"variable 'AT' must be a square matrix, not of shape \(6, 5\)"),
        (
            {"BT": np.zeros((1, 5))},
            r"A and B must have shapes \(order, order\) and \(order,\), not \(6, 6\) and \(5,\)",
        ),
        ({"AT": np.full((6, 6), np.nan)}, r"A and B must be finite, found NaN or infinity"),
        ({"bias": np.zeros(5)}, r"variable 'bias' of the LMU is not expected"),
        ({"BT": None}, r"variable 'BT' of the LMU is missing"),
        ({"input_kernel": np.zeros((2, 4))}, r"w_x must have shape \(5, 2\), not \(4, 2\)"),
    ],
)
def test_2019_refusals(tmp_path, change, message):
    variables, _ = early()
    variables = {name: array for name, array in (variables | change).items() if array is not None}
    write_early(tmp_path / "m.hdf5", variables, early_config(), np.eye(5, 3))
    with pytest.raises(ModelFileError, match=rf"m\.hdf5: .*{message}"):
        load_model(tmp_path / "m.hdf5")


def test_2019_refuses_other_inputs_and_other_theta(tmp_path):
    variables, _ = early(x=3)
    write_early(tmp_path / "m.hdf5", variables, early_config(), np.eye(5, 3))
    with pytest.raises(ModelFileError, match=r"layer 'rnn_1': must take 2 inputs, not 3$"):
        load_model(tmp_path / "m.hdf5")
    variables, _ = early()
    write_early(tmp_path / "m.hdf5", variables, early_config(theta=30), np.eye(5, 3))
    with pytest.raises(ModelFileError, match=r"A and B are not those of order 6, theta 30, zoh: they differ by 0\.\d+"):
        load_model(tmp_path / "m.hdf5")
    write_early(tmp_path / "m.hdf5", variables, early_config(theta=23.7, order=5), np.eye(5, 3))
    with pytest.raises(ModelFileError, match=r"A must have order 5, not 6$"):
        load_model(tmp_path / "m.hdf5")


def torch_lmu(seed=0, x=2, units=4, order=5, theta=13, prefix=""):
    """State dict of the published LMU, and what it computes from its own matrices, for one stream."""
    rng = np.random.default_rng(seed)
    shapes = {"e_x": (1, x), "e_h": (1, units), "e_m": (1, order)}
    shapes |= {"W_x": (units, x), "W_h": (units, units), "W_m": (units, order)}
    state = {
        name: torch.tensor(rng.normal(scale=0.4, size=shape), dtype=torch.float32) for name, shape in shapes.items()
    }
    a, b = legendre(order, theta)
    state |= {"A": torch.tensor(a, dtype=torch.float32), "B": torch.tensor(b, dtype=torch.float32)}

    def run(stream, function=np.tanh):
        v = {name: tensor.double().numpy() for name, tensor in state.items()}
        m, h, out = np.zeros(order), np.zeros(units), []
        for frame in stream:
            u = v["e_x"] @ frame + v["e_h"] @ h + v["e_m"] @ m
            m = v["A"] @ m + v["B"] @ u
            h = function(v["W_x"] @ frame + v["W_h"] @ h + v["W_m"] @ m)
            out.append(h)
        return np.array(out)

    return {f"{prefix}cell.{name}": tensor for name, tensor in state.items()}, run


def torch_fft(seed=0, x=2, units=4, order=5, theta=13, length=12, prefix=""):
    """State dict of the published LMUFFT, and what it computes, for one stream."""
    rng = np.random.default_rng(seed)
    shapes = {"W_u.weight": (1, x), "W_u.bias": (1,), "W_h.weight": (units, order + x), "W_h.bias": (units,)}
    state = {
        name: torch.tensor(rng.normal(scale=0.6, size=shape), dtype=torch.float32) for name, shape in shapes.items()
    }
    a, b = legendre(order, theta)
    response = np.stack([np.linalg.matrix_power(a, t) @ b[:, 0] for t in range(length)], axis=1)
    state |= {"A": torch.tensor(a), "B": torch.tensor(b), "H": torch.tensor(response)}
    state["fft_H"] = torch.fft.rfft(torch.tensor(response), n=2 * length)

    def run(stream):
        v = {name: state[name].double().numpy() for name in shapes}
        u = np.array([np.maximum(v["W_u.weight"] @ frame + v["W_u.bias"], 0)[0] for frame in stream])
        out = []
        for t, frame in enumerate(stream):
            m = sum(response[:, t - past] * u[past] for past in range(t + 1))
            out.append(np.maximum(v["W_h.weight"] @ np.concatenate([m, frame]) + v["W_h.bias"], 0))
        return np.array(out)

    return {f"{prefix}{name}": tensor for name, tensor in state.items()}, run


def save_tensors(state, path):
    save_file({name: tensor.numpy() for name, tensor in state.items() if not tensor.is_complex()}, path)


@pytest.mark.parametrize("save", [torch.save, save_tensors])
@pytest.mark.parametrize("theta", [13, 13.4])
@pytest.mark.parametrize("make", [torch_lmu, torch_fft])
def test_torch_state_dict(tmp_path, save, theta, make):
    state, run = make(theta=theta)
    save(state, tmp_path / "m")
    model = load_model(tmp_path / "m")
    assert_runs(model, frames(2), np.array([run(stream) for stream in frames(2)]), atol=1e-6)
    assert abs(model.layers[0].memories[0].theta - theta) < 1e-5
    assert "was found from A and B: theta 13" in str(model.notes["remarks"])


@pytest.mark.parametrize("form", ["zip", "old", "checkpoint", "safetensors"])
@pytest.mark.parametrize("make", [torch_lmu, torch_fft])
def test_torch_model_with_classifier(tmp_path, form, make):
    state, run = make(prefix="module.lmu_layer.")
    w, b = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), torch.arange(3.0)
    state |= {"module.fc.weight": w, "module.fc.bias": b}
    if form == "safetensors":
        save_tensors(state, tmp_path / "m.pt")
    else:
        content = {"epoch": 3, "state_dict": state} if form == "checkpoint" else state
        torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=form != "old")
    model = load_model(tmp_path / "m.pt")
    expected = np.array([run(stream) for stream in frames(2)]) @ w.double().numpy().T + b.double().numpy()
    assert_runs(model, frames(2), expected, atol=1e-6)
    order = "the file has no configuration; layers in order: module.lmu_layer, module.fc"
    assert model.notes["remarks"][0] == order


def test_torch_stack_and_options(tmp_path):
    first, run_first = torch_lmu(seed=1, prefix="a.")
    second, run_second = torch_fft(seed=2, x=3, prefix="b.")
    between, last = torch.full((3, 4), 0.25), torch.eye(4)[:2]
    state = first | {"proj.weight": between} | second | {"classifier.weight": last}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"m\.pt: layer 'proj': the file does not hold dense_activation"):
        load_model(tmp_path / "m.pt")
    model = load_model(tmp_path / "m.pt", dense_activation={"proj": "tanh"}, activation={"a": "relu"})
    hidden = np.array([run_first(stream, FUNCTIONS["relu"]) for stream in frames(2)])
    expected = np.array([run_second(stream) for stream in np.tanh(hidden @ between.double().numpy().T)])
    assert_runs(model, frames(2), expected[..., :2], atol=1e-6)
    torch.save(dict(sorted(state.items(), reverse=True)), tmp_path / "m.pt")
    with pytest.raises(
        LayerOrderError, match=r"no order of the layers fits.*: proj \(4 to 3\), classifier \(4 to 2\), b"
    ):
        load_model(tmp_path / "m.pt", dense_activation="tanh")
    names = ("a", "proj", "b", "classifier")
    model = load_model(tmp_path / "m.pt", dense_activation={"proj": "tanh"}, activation={"a": "relu"}, layers=names)
    assert_runs(model, frames(2), expected[..., :2], atol=1e-6)
    with pytest.raises(ModelFileError, match=r"layers must name each of .* once, not a, b$"):
        load_model(tmp_path / "m.pt", dense_activation="tanh", layers=("a", "b"))
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"activation names layer 'c', the file has a, proj, b, classifier$"):
        load_model(tmp_path / "m.pt", activation={"c": "tanh"})
    save_tensors(state, tmp_path / "m.pt")
    with pytest.raises(LayerOrderError, match="more than one order of the layers fits"):
        load_model(tmp_path / "m.pt", dense_activation="tanh")
    model = load_model(tmp_path / "m.pt", dense_activation={"proj": "tanh"}, activation={"a": "relu"}, layers=names)
    assert_runs(model, frames(2), expected[..., :2], atol=1e-6)


def test_torch_zero_encoders_are_left_out(tmp_path):
    state, run = torch_lmu()
    state["cell.e_m"][:] = 0
    torch.save(state, tmp_path / "m.pt")
    model = load_model(tmp_path / "m.pt")
    assert model.layers[0].e_m is None
    assert model.layers[0].e_h is not None
    assert "e_m of layer 'cell' is all zeros and was left out" in model.notes["remarks"]
    assert_runs(model, frames(2), np.array([run(stream) for stream in frames(2)]), atol=1e-6)


def test_torch_theta_given(tmp_path):
    state, run = torch_lmu()
    torch.save(state, tmp_path / "m.pt")
    expected = np.array([run(stream) for stream in frames(2)])
    assert_runs(load_model(tmp_path / "m.pt", theta=13), frames(2), expected, atol=1e-6)
    with pytest.raises(
        ModelFileError, match=r"layer 'cell': tensors cell\.A and cell\.B: A and B are not those of order 5, theta 14"
    ):
        load_model(tmp_path / "m.pt", theta=14)
    del state["cell.A"], state["cell.B"]
    torch.save(state, tmp_path / "m.pt")
    assert_runs(load_model(tmp_path / "m.pt", theta=13), frames(2), expected, atol=1e-6)
    assert load_model(tmp_path / "m.pt", theta=40, discretizer="euler").layers[0].memories[0].discretizer == "euler"
    with pytest.raises(ModelFileError, match=r"layer 'cell': the file does not hold theta; pass theta to"):
        load_model(tmp_path / "m.pt")


class Custom:
    """An object that a state dict cannot hold."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cell.A": torch.eye(5)},
            r"tensors cell\.A and cell\.B: A and B are not those of a Legendre memory of order 5",
        ),
        ({"cell.A": torch.eye(4), "cell.B": torch.ones(4, 1)}, r"tensors cell\.A and cell\.B: A and B are not those"),
        ({"cell.W_h": None}, r"tensor cell\.W_h is missing"),
        ({"cell.W_h": torch.ones(4)}, r"tensor cell\.W_h must have 2 dimensions, not shape \(4,\)"),
        ({"cell.W_h": torch.ones(4, 3)}, r"w_h must have shape \(4, 4\), not \(4, 3\)"),
        ({"cell.W_h": torch.full((4, 4), np.nan)}, r"tensor cell\.W_h must be finite, found NaN or infinity"),
        ({"cell.W_h": torch.ones(4, 4, dtype=torch.complex64)}, r"tensor cell\.W_h must be real, not torch\.complex64"),
        ({"cell.e_x": None}, r"no tensors of an LMU \(e_x, W_m, \.\.\.\) or an LMUFFT"),
        ({"conv.weight": torch.ones(2, 2, 3)}, r"tensor conv\.weight of shape \(2, 2, 3\) is not part of an LMU"),
        ({"norm.weight": torch.ones(4)}, r"tensor norm\.weight of shape \(4,\) is not part of an LMU"),
        ({"fc.weight": torch.ones(4, 3)}, r"no order of the layers fits their sizes"),
        ({"epoch": 3}, r"entry epoch of the state dict must be a tensor, not int"),
        ({"model": Custom()}, r"holds other objects than tensors, save model\.state_dict\(\) instead"),
    ],
)
def test_torch_refusals(tmp_path, change, message):
    state, _ = torch_lmu()
    torch.save({name: value for name, value in (state | change).items() if value is not None}, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=rf"m\.pt: .*{message}"):
        load_model(tmp_path / "m.pt")


def test_torch_order_must_fit(tmp_path):
    state, _ = torch_lmu()
    a, b = legendre(4, 9)
    torch.save(state | {"cell.A": torch.tensor(a), "cell.B": torch.tensor(b)}, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"layer 'cell': tensor cell\.A must have order 5, not 4$"):
        load_model(tmp_path / "m.pt")
    state, _ = torch_fft()
    torch.save(state | {"W_h.weight": torch.ones(4, 2)}, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"tensor W_h\.weight must have more than 2 columns$"):
        load_model(tmp_path / "m.pt")


def test_torch_other_content(tmp_path):
    torch.save([1, 2], tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"m\.pt: a state dict of tensors is needed, not list$"):
        load_model(tmp_path / "m.pt")
    raw = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(raw[:-30])
    with pytest.raises(ModelFileError, match=r"m\.pt: "):
        load_model(tmp_path / "m.pt")
    torch.save(torch_lmu()[0], tmp_path / "m.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "m.pt").write_bytes((tmp_path / "m.pt").read_bytes()[:200])
    with pytest.raises(ModelFileError, match=r"m\.pt: "):
        load_model(tmp_path / "m.pt")


def test_safetensors_of_bfloat16(tmp_path):
    header = json.dumps({"cell.e_x": {"dtype": "BF16", "shape": [1, 1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ModelFileError, match=r"m: tensor cell\.e_h is missing"):
        load_model(tmp_path / "m")
    header = json.dumps({"cell.e_x": {"dtype": "C64", "shape": [0], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelFileError, match=r"m: tensor cell\.e_x must have one of the types F64, .*, BF16, not C64"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_half_precision_is_read(tmp_path, dtype, suffix):
    halves = {name: tensor.to(dtype) for name, tensor in torch_lmu(order=6, theta=40, units=3)[0].items()}
    path = tmp_path / f"m.{suffix}"
    (torch.save if suffix == "pt" else safetensors.torch.save_file)(halves, path)
    (layer,) = load_model(path).layers
    assert layer.memories == (LegendreMemory(6, 40, "zoh"),)
    np.testing.assert_array_equal(layer.w_x, halves["cell.W_x"].to(torch.float64).numpy())


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("theta", [3, 8, 50, 150])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_whole_windows_are_found_from_rounded_matrices(order, theta, dtype):
    a, b = (torch.tensor(exact, dtype=torch.float32).to(dtype).double().numpy() for exact in legendre(order, theta))
    assert infer_memory(a, b) == LegendreMemory(order, theta, "zoh")
    memory = LegendreMemory(order, theta)
    assert check_memory(memory, a, b) is memory
    with pytest.raises(ValueError, match="are not those of order"):
        check_memory(LegendreMemory(order, 2 * theta), a, b)


def test_a_window_that_is_rounded_away_must_be_given(tmp_path):
    halves = {name: tensor.bfloat16() for name, tensor in torch_lmu(order=2, theta=20_000)[0].items()}
    torch.save(halves, tmp_path / "m.pt")
    with pytest.raises(MissingHyperparameters) as caught:
        load_model(tmp_path / "m.pt")
    assert caught.value.names == ("theta",)
    (layer,) = load_model(tmp_path / "m.pt", theta=20_000).layers
    assert layer.memories[0].theta == 20_000


def test_bfloat16_variables_of_keras_are_read(tmp_path):
    values = np.array([[1.5, -2.0], [0.25, 3e-3]], dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("layers/dense/vars/0", data=bits.view("V2"))
        stored.attrs["dtype"] = "bfloat16"
        read = datasets(file, "layers")["dense/vars/0"]
    np.testing.assert_array_equal(read, (bits.astype(np.uint32) << 16).view(np.float32))


def test_files_that_expand_without_bound_are_refused_at_once(tmp_path, monkeypatch):
    for name in ("config.json", "model.weights.h5"):
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in ("config.json", "model.weights.h5"):
                archive.writestr(member, bytes(1 << 25) if member == name else b"{}")
        monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("was unpacked"))
        with pytest.raises(ModelFileError, match=rf"m\.keras: {name} has 33554432 bytes in \d+ packed ones; at most"):
            load_model(path)
        monkeypatch.undo()
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "f4", chunks=(64, 64))
    with pytest.raises(ModelFileError, match=r"m\.weights\.h5: variable layers/dense/vars/0 has shape \(1048576, 10"):
        load_model(tmp_path / "m.weights.h5")
    torch.save({"e_x": torch.zeros(1).expand(1 << 40)}, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match=r"m\.pt: tensor e_x has shape \(1099511627776,\); at most 33554432"):
        load_model(tmp_path / "m.pt")


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    strategies.sampled_from(["keras", "weights.h5", "pt", "safetensors"]),
    strategies.lists(strategies.tuples(strategies.floats(0, 0.999), strategies.integers(0, 255)), max_size=4),
    strategies.floats(0.5, 1),
)
def test_a_damaged_file_is_read_or_refused_with_its_name(whole_files, read_or_refuse, suffix, changes, kept):
    content = bytearray(whole_files[suffix].read_bytes())
    for position, value in changes:
        content[int(position * len(content))] = value
    path = whole_files[suffix].with_name(f"damaged.{suffix}")
    path.write_bytes(content[: int(kept * len(content))] if kept < 0.6 else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile tells of two members of one name
        read_or_refuse(load_model, path, ModelFileError)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    tensors = torch_lmu()[0]
    torch.save(tensors, folder / "m.pt")
    safetensors.torch.save_file(tensors, folder / "m.safetensors")
    config = sequential(input_entry(3, 5), dense_entry("dense", 2))
    variables = {"layers/dense/vars/0": np.ones((3, 2)), "layers/dense/vars/1": np.ones(2)}
    write_keras(folder / "m.keras", config, variables)
    write_h5(folder / "m.weights.h5", variables)
    return {suffix: folder / f"m.{suffix}" for suffix in ("keras", "weights.h5", "pt", "safetensors")}


def test_a_handed_checkpoint_is_read(handed_cases):
    lmu, _ = load_model(handed_cases / "models" / "half.pt").layers
    assert lmu.memories == (LegendreMemory(4, 8, "zoh"),)


@pytest.mark.parametrize(
    ("order", "theta", "discretizer"),
    [(1, 3.3, "zoh"), (4, 12.5, "zoh"), (8, 0.7, "zoh"), (16, 50, "euler"), (64, 20.25, "zoh"), (6, 5000, "zoh"),
     (6, 5000, "euler"), (8, 1e6, "zoh"), (40, 784, "zoh")],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_window_is_found_from_the_matrices(order, theta, discretizer, dtype):
    a, b = legendre(order, theta, discretizer)
    memory = infer_memory(a.astype(dtype), b.astype(dtype))
    assert (memory.order, memory.discretizer) == (order, discretizer)
    assert math.isclose(memory.theta, theta, rel_tol=1e-6 if dtype is np.float32 else 1e-12)
    assert check_memory(memory, a, b) is memory


@pytest.mark.parametrize("seed", range(12))
def test_other_matrices_are_refused(seed):
    rng = np.random.default_rng(seed)
    order = seed % 5 + 2
    a, b = legendre(order, 20)
    noise = [
        (a + rng.normal(scale=1e-3, size=a.shape), b),
        (a, 1.001 * b),
        (a.T, b),
        (a, -b),
        (rng.normal(size=a.shape), b),
    ]
    for other_a, other_b in [*noise, (np.zeros_like(a), b), (a, np.zeros_like(b)), (1e6 * a, b), (np.eye(order), b)]:
        with pytest.raises(ValueError, match="A and B are not those of a Legendre memory of order"):
            infer_memory(other_a, other_b)


def plain_model(tmp_path, *layers, variables=None, x=2, lmu=None, **options):
    """Write and load a .keras file of an LMU with layers around it; None in `layers` marks the LMU."""
    lmu = lmu or KerasLMU(x=x, **options)
    config = sequential(*[lmu.layer() if layer is None else layer for layer in layers])
    write_keras(tmp_path / "m.keras", config, under("lmu", lmu.positions()) | (variables or {}))
    return lmu, load_model(tmp_path / "m.keras")


@pytest.mark.parametrize(
    "layer",
    [
        entry("Activation", "act", activation="relu"),
        entry("ReLU", "act", max_value=None, negative_slope=0.0, threshold=0),
    ],
)
def test_activation_layer_goes_into_the_layer_before(tmp_path, layer):
    lmu, model = plain_model(tmp_path, None, layer, activation="linear")
    assert len(model.layers) == 1
    assert model.layers[0].activation == "relu"
    assert_runs(model, frames(2), np.maximum(run_all(lmu, frames(2)), 0))


@pytest.mark.parametrize(("inner", "outer"), [("linear", "tanh"), ("tanh", "relu"), ("relu", "tanh")])
def test_activation_layer_after_recurrence_or_another_is_a_layer(tmp_path, inner, outer):
    recurrence = {"hidden": "SimpleRNNCell"} if inner == "linear" else {}
    layer = entry("Activation", "act", activation=outer)
    lmu, model = plain_model(tmp_path, None, layer, activation=inner, **recurrence)
    assert [type(one) for one in model.layers] == [LMULayer, DenseLayer]
    assert_runs(model, frames(2), FUNCTIONS[outer](run_all(lmu, frames(2))))
    assert "activation layer 'act' became a dense layer with identity weights" in model.notes["remarks"]


def test_activation_layers_that_change_nothing(tmp_path):
    layers = [entry("Activation", f"a{i}", activation=name) for i, name in enumerate(["linear", "relu", "relu"])]
    lmu, model = plain_model(tmp_path, None, *layers)
    assert len(model.layers) == 1
    assert_runs(model, frames(2), run_all(lmu, frames(2)))


@pytest.mark.parametrize("last", [entry("Softmax", "soft", axis=-1), entry("Activation", "soft", activation="softmax")])
def test_softmax_layer_at_the_end(tmp_path, last):
    lmu, model = plain_model(tmp_path, None, last, entry("Dropout", "drop", rate=0.1))
    assert_runs(model, frames(2), run_all(lmu, frames(2)))
    assert "the softmax of layer 'soft' was left out: the outputs are logits" in model.notes["remarks"]


def test_activation_layer_first(tmp_path):
    layer = entry("Activation", "act", activation="tanh")
    lmu, model = plain_model(tmp_path, input_entry(2), layer, None)
    assert_runs(model, frames(2), run_all(lmu, np.tanh(frames(2))))
    with pytest.raises(ModelFileError, match="layer 'act': the number of elements of an input frame is not known"):
        plain_model(tmp_path, layer, None)


def test_reshape_and_flatten_that_change_nothing(tmp_path):
    flat = entry("InputLayer", "input", batch_shape=[None, 24])
    lmu = KerasLMU()
    config = sequential(
        flat,
        entry("Reshape", "to_frames", target_shape=[12, 2]),
        lmu.layer(return_sequences=False),
        entry("Flatten", "f"),
        entry("Reshape", "same", target_shape=[3]),
        dense_entry("dense", 2),
    )
    w, b = np.random.default_rng(1).normal(size=(3, 2)), np.ones(2)
    write_keras(tmp_path / "m.keras", config, under("lmu", lmu.positions()) | {"dense/vars/0": w, "dense/vars/1": b})
    model = load_model(tmp_path / "m.keras")
    assert_runs(model, frames(2), run_all(lmu, frames(2)) @ w + b)
    assert "the frames are those after layer 'to_frames', 2 elements each" in model.notes["remarks"]
    plain_model(tmp_path, input_entry(2), None, entry("Reshape", "same", target_shape=[-1, 3]))


NODE = {"class_name": "__keras_tensor__", "config": {"keras_history": ["input", 0, 0]}}
GATED = {"class_name": "LSTMCell", "config": {"units": 3, "activation": "tanh"}}
HIDDEN = {"class_name": "Dense", "config": {"units": 3, "activation": "relu", "use_bias": True}}


def with_config(**change):
    layer = KerasLMU().layer()
    layer["config"] |= change
    return layer


def hidden_with(**change):
    return with_config(hidden_cell={"class_name": "Dense", "config": HIDDEN["config"] | change})


def rnn_of(class_name):
    return entry("RNN", "rnn", cell={"class_name": class_name, "config": {"units": 3}}, return_sequences=True)


def without(key):
    layer = KerasLMU().layer()
    del layer["config"][key]
    return layer


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [with_config(hidden_cell=GATED)],
            r"layer 'lmu': hidden_cell LSTMCell is not supported, only Dense, SimpleRNNCell or none",
        ),
        (
            [with_config(hidden_cell=GATED | {"class_name": "GRUCell"})],
            r"layer 'lmu': hidden_cell GRUCell is not supported",
        ),
        (
            [hidden_with(activation="gelu")],
            r"hidden_cell Dense: activation 'gelu' is not supported, only linear, relu, tanh",
        ),
        (
            [hidden_with(activation={"class_name": "function", "config": "swish"})],
            r"activation 'swish' is not supported",
        ),
        (
            [hidden_with(activation={"class_name": "LeakyReLU", "config": {}})],
            r"activation 'LeakyReLU' is not supported",
        ),
        ([hidden_with(activation="softmax")], r"activation 'softmax' is not supported inside an LMU"),
        ([hidden_with(units="3")], r"hidden_cell Dense: units must be a JSON integer, not '3'"),
        ([with_config(go_backwards=True)], r"layer 'lmu': go_backwards is not supported"),
        ([with_config(stateful=True)], r"layer 'lmu': stateful is not supported"),
        ([with_config(return_state=True)], r"layer 'lmu': return_state is not supported"),
        ([with_config(time_major=True)], r"layer 'lmu': time_major is not supported"),
        ([with_config(discretizer="tustin")], r"memory discretizer must be one of zoh, euler, not 'tustin'"),
        ([with_config(theta=-1)], r"memory theta must be a positive number of time steps, not -1"),
        ([with_config(memory_d=float("inf"))], r"layer 'lmu': memory_d must be a JSON integer, not inf"),
        ([with_config(memory_d=1.5)], r"layer 'lmu': memory_d must be a JSON integer, not 1\.5"),
        ([with_config(use_bias=1)], r"layer 'lmu': use_bias must be a JSON bool, not 1"),
        ([without("memory_d")], r"layer 'lmu': the configuration has no 'memory_d'"),
        ([without("theta")], r"layer 'lmu': the configuration has no theta"),
        ([entry("Conv2D", "conv", filters=3)], r"layer 'conv': Conv2D is not supported"),
        ([entry("Bidirectional", "bi", layer={})], r"layer 'bi': Bidirectional is not supported"),
        ([entry("LSTM", "lstm", units=3)], r"layer 'lstm': LSTM is not supported"),
        ([entry("Masking", "mask")], r"layer 'mask': Masking is not supported"),
        ([entry("BatchNormalization", "bn")], r"layer 'bn': BatchNormalization is not supported"),
        ([sequential()["config"] | entry("Sequential", "inner")], r"layer 'inner': Sequential is not supported"),
        ([rnn_of("GRUCell")], r"layer 'rnn': RNN of GRUCell is not supported, only of LMUCell"),
        ([rnn_of("StackedRNNCells")], r"layer 'rnn': RNN of StackedRNNCells is not supported"),
        ([rnn_of("LMUCell")], r"layer 'rnn': the configuration of its LMUCell has no 'memory_d'"),
        ([None, dense_entry("d", 2, "sigmoid")], r"layer 'd': activation 'sigmoid' is not supported"),
        ([None, entry("ReLU", "r", max_value=6.0)], r"layer 'r': ReLU with max_value 6\.0 is not supported"),
        ([None, entry("Softmax", "s"), dense_entry("d", 3)], r"the softmax of layer 's' is not the last layer"),
        ([None, entry("Softmax", "s"), entry("ReLU", "r")], r"the softmax of layer 's' is not the last layer"),
        ([None, entry("Flatten", "f")], r"layer 'f': Flatten of a sequence is not supported"),
        ([None, entry("Reshape", "r", target_shape=[6, 6])], r"layer 'r': Reshape to \(6, 6\) after the first layer"),
        (
            [entry("Reshape", "r", target_shape=[2, 2, 3]), None],
            r"Reshape to \(2, 2, 3\) is not supported, only to \(time,",
        ),
        (
            [KerasLMU().layer(return_sequences=False), KerasLMU().layer(name="b")],
            r"layer 'b': an LMU must get a sequence",
        ),
        ([entry("InputLayer", "i", batch_shape=[None, 8, 8, 1]), None], r"input must be \[batch, time, features\] or"),
        ([{"class_name": "LMU"}], r"layer of class LMU: the configuration has no 'config'"),
        ([3], r"model: the configuration must be a JSON object, not 3"),
    ],
)
def test_keras_refusals(tmp_path, layers, message):
    lmu = KerasLMU()
    config = sequential(*[lmu.layer() if layer is None else layer for layer in layers])
    stored = under("lmu", lmu.positions()) | under("lmu_1", lmu.positions())
    write_keras(tmp_path / "m.keras", config, stored | {"dense/vars/0": np.ones((3, 3)), "dense/vars/1": np.ones(3)})
    with pytest.raises(ModelFileError, match=rf"m\.keras: .*({message})") as caught:
        load_model(tmp_path / "m.keras")
    assert "\n" not in str(caught.value)


def test_hidden_to_memory_without_what_it_needs(tmp_path):
    for change in ({"hidden_cell": None}, {"kernel_initializer": None}):
        layer = KerasLMU(h2m=True).layer()
        layer["config"] |= change
        cell = {} if "kernel_initializer" in change else {"lmu/layer/cell/vars/0": np.ones((2, 1))}
        hidden = {} if "hidden_cell" in change else {
            "lmu/hidden_cell/vars/0": np.ones((4, 3)), "lmu/hidden_cell/vars/1": np.ones(3)
        }  # fmt: skip
        write_keras(tmp_path / "m.keras", sequential(layer), cell | hidden)
        with pytest.raises(ModelFileError, match=f"hidden_to_memory without {next(iter(change))} is not supported$"):
            load_model(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lmu/layer/vars/0": np.ones((3, 1))},
            r"layer 'lmu': variable 'kernel' must have shape \(2, 1\), not \(3, 1\)$",
        ),
        ({"lmu/layer/vars/0": np.ones(2)}, r"layer 'lmu': variable 'kernel' must have shape \(2, 1\), not \(2,\)$"),
        ({"lmu/layer/vars/0": np.full((2, 1), np.nan)}, r"variable 'kernel' must be finite, found NaN or infinity$"),
        ({"lmu/layer/vars/1": np.ones(1)}, r"layer 'lmu': layers/lmu/layer must hold kernel, found 2 variables$"),
        ({"lmu/layer/vars/0": None}, r"layer 'lmu': layers/lmu/layer must hold kernel, found 0 variables$"),
        ({"lmu/hidden_cell/vars/1": None}, r"layers/lmu/hidden_cell must hold kernel, bias, found 1 variables$"),
        ({"lmu/hidden_cell/vars/0": np.ones((4, 2))}, r"hidden cell: variable 'kernel' must have shape \(4, 3\), not"),
        ({"lmu/hidden_cell/vars/1": np.ones(4)}, r"hidden cell: variable 'bias' must have shape \(3,\), not \(4,\)$"),
        (
            {"dense/vars/0": np.ones((4, 2))},
            r"layer 'dense': variable 'kernel' must have shape \(3, 2\), not \(4, 2\)$",
        ),
        ({"dense/vars/1": np.ones(3)}, r"layer 'dense': variable 'bias' must have shape \(2,\), not \(3,\)$"),
        ({"dense_1/vars/0": np.ones(3)}, r"variable layers/dense_1/vars/0 belongs to no layer of the configuration$"),
        ({"dense/vars/1": np.array(b"text")}, r"variable layers/dense/vars/1 must hold numbers, not \|S4$"),
    ],
)
def test_keras_variables_are_checked(tmp_path, change, message):
    lmu = KerasLMU()
    stored = under("lmu", lmu.positions()) | {"dense/vars/0": np.ones((3, 2)), "dense/vars/1": np.ones(2)}
    stored = {name: array for name, array in (stored | change).items() if array is not None}
    write_keras(tmp_path / "m.keras", sequential(input_entry(2), lmu.layer(), dense_entry("dense", 2)), stored)
    with pytest.raises(ModelFileError, match=rf"m\.keras: .*{message}"):
        load_model(tmp_path / "m.keras")


def test_variables_of_options_are_checked(tmp_path):
    for options, path, array, message in [
        (
            {"trainable_theta": True},
            "layer/cell/vars/1",
            np.array(-0.1),
            r"variable 'theta_inv' must be above 0, not -0\.1$",
        ),
        (
            {"trainable_theta": True},
            "layer/cell/vars/1",
            np.ones(1),
            r"variable 'theta_inv' must have shape \(\), not \(1,\)$",
        ),
        (
            {"m2m": True},
            "layer/cell/vars/1",
            np.ones((3, 1)),
            r"'recurrent_kernel' must have shape \(4, 1\), not \(3, 1\)$",
        ),
        ({"use_bias": True}, "layer/vars/1", np.ones(3), r"'bias' must have shape \(1,\), not \(3,\)$"),
        ({"kernel": False}, "layer/vars/0", None, r"without a kernel the 2 inputs must be memory_d, which is 1$"),
    ]:
        lmu = KerasLMU(**options)
        stored = lmu.positions() | ({} if array is None else {path: array})
        write_keras(tmp_path / "m.keras", sequential(input_entry(2), lmu.layer()), under("lmu", stored))
        with pytest.raises(ModelFileError, match=message):
            load_model(tmp_path / "m.keras")


def test_functional_models_that_are_no_chain(tmp_path):
    lmu = KerasLMU()
    stored = under("lmu", lmu.positions())
    chain = functional(input_entry(2), lmu.layer())

    def refuse(message, *extra, nodes=None):
        config = json.loads(json.dumps(chain))
        config["config"]["layers"] += extra
        if nodes is not None:
            config["config"]["layers"][0]["inbound_nodes"] = nodes
        write_keras(tmp_path / "m.keras", config, stored)
        with pytest.raises(ModelFileError, match=message):
            load_model(tmp_path / "m.keras")

    both = [{"args": [NODE, NODE], "kwargs": {}}]
    refuse("layer 'lmu' makes a branch, only a plain chain of layers is supported$", nodes=both)
    refuse("layer 'lmu' is used 2 times, only a plain chain", nodes=[{"args": [NODE]}, {"args": [NODE]}])
    for nodes in ([[3]], [[[]]], [{"class_name": "__keras_tensor__", "config": 3}]):
        refuse("layer 'lmu': inbound_nodes are not those of Keras 2 or 3$", nodes=nodes)
    refuse("layer 'd' makes a branch", dense_entry("d", 3) | {"inbound_nodes": [{"args": [NODE]}]})
    refuse("the model has 2 inputs, only one is supported$", entry("InputLayer", "second", batch_shape=[None, 4, 2]))
    loop = json.loads(json.dumps(NODE).replace('"input"', '"d"'))
    refuse("the layers do not make a plain chain$", dense_entry("d", 3) | {"inbound_nodes": [{"args": [loop]}]})


def test_other_models_are_refused(tmp_path):
    write_keras(tmp_path / "m.keras", {"class_name": "MyModel", "config": {}}, {"x/vars/0": 1})
    with pytest.raises(
        ModelFileError, match=r"m\.keras: model: MyModel is not supported, only Sequential and functional"
    ):
        load_model(tmp_path / "m.keras")
    write_keras(tmp_path / "m.keras", sequential(input_entry(2)), {})
    layers = r"m\.keras: layers must be one or more LMULayer, SeparableLayer or DenseLayer, not \(\)$"
    with pytest.raises(ModelFileError, match=layers):
        load_model(tmp_path / "m.keras")
    write_keras(tmp_path / "m.keras", [1], {"x/vars/0": 1})
    with pytest.raises(ModelFileError, match=r"m\.keras: model: the configuration must be a JSON object, not \[1\]$"):
        load_model(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lmu/lmu/lmu_feedforward/kernel": None}, r"layer 'lmu': variable 'kernel' of the LMU is missing$"),
        ({"lmu/lmu/lmu_feedforward/extra": 1}, r"layer 'lmu': variable 'extra' of the LMU is not expected$"),
        ({"lmu/lmu/lmu_feedforward/inner/bias": None}, r"layer 'lmu': variable 'bias' of the hidden cell is missing$"),
        ({"lmu/lmu/other/kernel": 1}, r"layer 'lmu': variables must be those of one LMU, found groups "),
        (
            {"lmu/lmu/lmu_feedforward/kernel": np.ones((5, 1))},
            r"variable 'kernel' must have shape \(2, 1\), not \(5, 1\)$",
        ),
        ({"strange/strange/kernel": 1}, r"variables of 'strange' belong to no layer of the configuration$"),
    ],
)
def test_legacy_variables_are_checked(tmp_path, change, message):
    lmu = KerasLMU()
    stored = {name: array for name, array in (lmu.names("lmu") | change).items() if array is not None}
    write_legacy(tmp_path / "m.h5", sequential(input_entry(2), lmu.layer()), stored)
    with pytest.raises(ModelFileError, match=rf"m\.h5: .*{message}"):
        load_model(tmp_path / "m.h5")


def test_legacy_configuration_takes_no_overrides_and_needs_every_layer(tmp_path):
    lmu = KerasLMU()
    write_legacy(tmp_path / "m.h5", sequential(lmu.layer()), lmu.names("lmu"))
    for option in ("order", "theta", "activation"):
        with pytest.raises(ModelFileError, match=rf"m\.h5: the file has a configuration, {option} cannot be given$"):
            load_model(tmp_path / "m.h5", **{option: 4})
    write_legacy(tmp_path / "m.h5", sequential(lmu.layer(name="other")), lmu.names("lmu"))
    with pytest.raises(ModelFileError, match=r"layer 'other': the file has no variables of it$"):
        load_model(tmp_path / "m.h5")


RIGHT = {"order": 4, "theta": 9.5, "discretizer": "zoh", "activation": "relu"}


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({}, {"order": None}, r"layer 'lmu': the file does not hold order; pass order to load_model"),
        (
            {},
            dict.fromkeys(RIGHT),
            r"not hold order, discretizer, activation, theta; pass order, discretizer, activation and theta to load_",
        ),
        ({}, {"order": 5}, r"layer 'lmu': order 5 needs 5 rows in the hidden kernel, which has 4$"),
        ({}, {"order": 3}, r"kernel of shape \(2, 1\) and hidden kernel of shape \(4, 3\) do not fit order 3$"),
        ({}, {"inputs": 3}, r"do not fit order 4 and 3 inputs$"),
        ({"m2m": True, "x": 5}, {}, r"layer 'lmu': the file does not hold inputs; pass inputs to load_model"),
        ({}, {"theta": {"lmu_1": 3}}, r"theta names layer 'lmu_1', the file has lmu$"),
        ({}, {"activation": "gelu"}, r"layer activation must be one of linear, relu, tanh, not 'gelu'$"),
    ],
)
def test_weights_only_refusals(tmp_path, options, change, message):
    lmu = KerasLMU(**options)
    write_h5(tmp_path / "m.weights.h5", under("layers/lmu", lmu.positions()))
    with pytest.raises(ModelFileError, match=rf"m\.weights\.h5: .*{message}"):
        load_model(tmp_path / "m.weights.h5", **(RIGHT | change))


@pytest.mark.parametrize(
    ("variables", "groups", "message"),
    [
        ({"conv2d/vars/0": np.ones((3, 3))}, [], r"layer 'conv2d': conv2d is not supported without a configuration$"),
        ({}, ["layers/activation"], r"layer 'activation': activation is not supported without a configuration$"),
        ({"dense/vars/0": np.ones(3)}, [], r"layer 'dense': layers/dense has no kernel$"),
        ({"dense/vars/0": np.ones((3, 3, 3))}, [], r"variables of layers/dense are not those of an LMU or Dense$"),
        ({"dense/other/0": np.ones((3, 3))}, [], r"variables of layers/dense are not those of an LMU or Dense$"),
        (
            {"dense/vars/0": np.ones((3, 3)), "dense_1/vars/0": np.ones((2, 2))},
            [],
            r"no order of the layers fits their sizes: dense \(3 to 3\), dense_1 \(2 to 2\); pass",
        ),
        (
            {"dense/vars/0": np.ones((3, 2)), "rnn/cell/vars/0": np.ones((2, 1))},
            [],
            r"a hidden cell with a kernel is needed",
        ),
    ],
)
def test_weights_only_refuses_other_layers(tmp_path, variables, groups, message):
    write_h5(tmp_path / "m.weights.h5", under("layers", variables), groups=groups)
    with pytest.raises(ModelFileError, match=rf"m\.weights\.h5: .*{message}"):
        load_model(tmp_path / "m.weights.h5", **RIGHT)


def test_weights_only_in_more_than_one_order(tmp_path):
    lmu = KerasLMU(x=3)
    stored = under("lmu", lmu.positions()) | {"dense/vars/0": np.diag([1.0, 2, 3])}
    write_h5(tmp_path / "m.weights.h5", under("layers", stored))
    with pytest.raises(LayerOrderError, match="more than one order of the layers fits their sizes"):
        load_model(tmp_path / "m.weights.h5", **RIGHT)
    model = load_model(tmp_path / "m.weights.h5", **RIGHT, layers=("dense", "lmu"), dense_activation="linear")
    assert_runs(model, frames(3), run_all(lmu, frames(3) * [1, 2, 3]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"h2m": True}, {}),
        ({"m2m": True, "x": 2}, {}),
        ({"h2m": True, "m2m": True}, {"inputs": 2}),
        ({"i2h": True}, {}),
    ],
)
def test_weights_only_inputs_told_from_shapes(tmp_path, options, told):
    lmu = KerasLMU(**options)
    write_h5(tmp_path / "m.weights.h5", under("layers/lmu", lmu.positions()))
    assert_runs(load_model(tmp_path / "m.weights.h5", **RIGHT, **told), frames(2), run_all(lmu, frames(2)))


def test_format_is_told_by_content(tmp_path):
    lmu = KerasLMU()
    path = tmp_path / "model.txt"
    write_keras(path, sequential(lmu.layer()), under("lmu", lmu.positions()))
    assert sniff(path) == "keras"
    write_legacy(path, sequential(lmu.layer()), lmu.names("lmu"))
    assert sniff(path) == "keras-h5"
    write_h5(path, under("layers/lmu", lmu.positions()))
    assert sniff(path) == "weights.h5"
    torch.save(torch_lmu()[0], path)
    assert sniff(path) == "torch"
    torch.save(torch_lmu()[0], path, _use_new_zipfile_serialization=False)
    assert sniff(path) == "torch"
    save_tensors(torch_lmu()[0], path)
    assert sniff(path) == "safetensors"
    save_float(FloatModel((DenseLayer(np.eye(2)),)), path)
    assert sniff(path) == "float"


@pytest.mark.parametrize(
    "content", [b"", b"hello world, this is text", b"PK", b'\0\0\0\0\0\0\0\0{"a": 1}', b"\x89HDF\r\n\x1a\nrest"]
)
def test_unknown_or_damaged_content(tmp_path, content):
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^\S*m\.keras: (not a|File is not a zip|damaged HDF5)"):
        load_model(tmp_path / "m.keras")


def test_other_zips_and_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ModelFileError, match=r"m\.zip: not a \.keras, Keras HDF5, PyTorch or safetensors file$"):
        load_model(tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelFileError, match=r"m\.zip: not a \.keras file: the zip has no model\.weights\.h5$"):
        load_model(tmp_path / "m.zip")
    with pytest.raises(
        ModelFileError, match=r": is a folder; of a TensorFlow SavedModel, save the Keras model as \.keras"
    ):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.keras")


@pytest.mark.parametrize("kind", ["keras", "keras-h5", "weights.h5"])
def test_truncated_keras_files(tmp_path, kind):
    lmu = KerasLMU()
    path = tmp_path / "m.keras"
    if kind == "keras":
        write_keras(path, sequential(lmu.layer()), under("lmu", lmu.positions()))
    elif kind == "keras-h5":
        write_legacy(path, sequential(lmu.layer()), lmu.names("lmu"))
    else:
        write_h5(path, under("layers/lmu", lmu.positions()))
    raw = path.read_bytes()
    for keep in (9, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:keep])
        with pytest.raises(ModelFileError, match=r"m\.keras: (File is not a zip file|damaged HDF5 content: )"):
            load_model(path, **(RIGHT if kind == "weights.h5" else {}))


def test_damaged_members_of_a_keras_file(tmp_path):
    for member, content in (("config.json", "{"), ("model.weights.h5", "no")):
        parts = {"config.json": json.dumps(sequential()), "model.weights.h5": "no"} | {member: content}
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            for name, text in parts.items():
                archive.writestr(name, text)
        with pytest.raises(ModelFileError, match=r"m\.keras: (Expecting property name|damaged HDF5 content)"):
            load_model(tmp_path / "m.keras")


def test_overrides_that_a_format_does_not_take(tmp_path):
    save_float(FloatModel((DenseLayer(np.eye(2)),)), tmp_path / "m")
    with pytest.raises(TypeError, match=r"m: a file of format float takes no options, not 'theta'$"):
        load_model(tmp_path / "m", theta=3)
    torch.save(torch_lmu()[0], tmp_path / "m")
    with pytest.raises(TypeError, match=r"m: a file of format torch takes theta, discretizer, .*layers, not 'order'$"):
        load_model(tmp_path / "m", order=3)
    with pytest.raises(ModelFileError, match="m: labels must be 4 distinct names, not "):
        load_model(tmp_path / "m", labels=["a"])


BLOCKED = """
import sys
for name in ("torch", "tensorflow", "keras", "keras_lmu"):
    sys.modules[name] = None
from lmu_quantize.loaders import load_model
keras, legacy, weights, tensors, own, state = sys.argv[1:]
for path in (keras, legacy, tensors, own):
    load_model(path)
load_model(weights, order=4, theta=9.5, discretizer="zoh", activation="relu")
try:
    load_model(state)
except ValueError as error:
    print(error)
"""


def test_without_frameworks(tmp_path):
    lmu = KerasLMU()
    write_keras(tmp_path / "a", sequential(lmu.layer()), under("lmu", lmu.positions()))
    write_legacy(tmp_path / "b", sequential(lmu.layer()), lmu.names("lmu"))
    write_h5(tmp_path / "c", under("layers/lmu", lmu.positions()))
    save_tensors(torch_lmu()[0], tmp_path / "d")
    save_float(FloatModel((DenseLayer(np.eye(2)),)), tmp_path / "e")
    torch.save(torch_lmu()[0], tmp_path / "f")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, *[tmp_path / name for name in "abcdef"]],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    message = "f: a PyTorch file needs PyTorch, which is not installed: pip install torch\n"
    assert done.stdout.endswith(message)
