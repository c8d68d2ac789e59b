"""The separable layer in floats: against equations computed independently here, its contract and its file."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_quantize.float_file import ModelFileError, load_float, save_float
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, SeparableLayer

MEMORIES = (LegendreMemory(3, 4.0), LegendreMemory(3, 4.0), LegendreMemory(3, 9.5, "euler"), LegendreMemory(3, 2.0))


def random_layer(seed, inputs=5, units=6, filters=2, encoder=True, **options):
    rng = np.random.default_rng(seed)
    count = len(MEMORIES)
    shapes = {"w_m": (count * filters, 3), "w_f": (units, count * filters), "b_f": (count * filters,), "b_h": (units,)}
    tensors = {name: rng.normal(scale=0.5, size=shape) for name, shape in shapes.items()}
    e_x = rng.normal(scale=0.5, size=(count, inputs)) if encoder else None
    return SeparableLayer(MEMORIES, e_x=e_x, **tensors, **options)


def loop(layer, x):
    """Equations of the module, one scalar sum at a time, for one stream; the vectors by name, in order of frames."""
    order, filters = layer.memories[0].order, layer.filters
    m = np.zeros((len(layer.memories), order))
    seen = {name: [] for name in "umfh"}
    for t, frame in enumerate(x):
        for k, memory in enumerate(layer.memories):
            u = frame[k] if layer.e_x is None else sum(layer.e_x[k, j] * frame[j] for j in range(layer.inputs))
            a, b = memory.discretize()
            m[k] = [sum(a[i, j] * m[k, j] for j in range(order)) + b[i] * u for i in range(order)]
            seen["u"].append(u)
        seen["m"].append(m.ravel().copy())
        if (t + 1) % layer.stride:
            continue
        f = []
        for row in range(len(layer.w_m)):
            total = sum(layer.w_m[row, i] * m[row // filters, i] for i in range(order)) + layer.b_f[row]
            f.append(max(total, 0.0))
        h = []
        for row in range(layer.units):
            total = sum(layer.w_f[row, j] * f[j] for j in range(len(f))) + layer.b_h[row]
            total += frame[row] if layer.residual else 0.0
            h.append(max(total, 0.0) if layer.activation == "relu" else total)
        seen["f"].append(f)
        seen["h"].append(h)
    seen["u"] = np.reshape(seen["u"], (len(x), -1))
    return seen


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (5, {}),
        (5, {"stride": 3, "activation": "linear", "filters": 1}),
        (6, {"residual": True, "stride": 2}),
        (4, {"encoder": False, "filters": 3}),
        (4, {"encoder": False, "residual": True, "units": 4}),
    ],
)
def test_the_layer_is_the_independent_loop(inputs, options):
    layer = random_layer(1, inputs, **options)
    x = np.random.default_rng(2).normal(size=(2, 7, inputs))
    traces = FloatModel((layer,)).run(x)
    names = ["u"] if layer.e_x is not None else []
    assert list(traces) == [f"layer0.{name}" for name in [*names, "m", "f", "h"]] + ["logits"]
    for stream in range(2):
        wanted = loop(layer, x[stream])
        for name in [*names, "m", "f", "h"]:
            np.testing.assert_allclose(traces[f"layer0.{name}"][stream], wanted[name], rtol=1e-12, atol=1e-12)


def test_steps_are_the_run_and_layers_above_see_computed_frames_only():
    layers = (DenseLayer(np.eye(5)), random_layer(1, stride=2), random_layer(3, inputs=6, residual=True, stride=2))
    model = FloatModel((*layers, DenseLayer(np.ones((2, 6)))))
    x = np.random.default_rng(2).normal(size=(1, 9, 5))
    traces, state = model.run(x), model.initial_state(1)
    assert [traces[name].shape[1] for name in ("layer1.m", "layer1.f", "layer2.u", "layer2.h", "logits")] == [
        9,
        4,
        4,
        2,
        2,
    ]
    for t in range(9):
        seen = model.step(x[:, t], state)
        assert ("layer1.f" in seen) == (t % 2 == 1)
        if (t + 1) % 4 == 0:
            np.testing.assert_array_equal(seen["layer3.h"], traces["logits"][:, t // 4])


def test_biases_left_out_are_zero():
    layer = random_layer(1)
    zero = replace(layer, b_f=np.zeros(8), b_h=np.zeros(6))
    x = np.random.default_rng(2).normal(size=(1, 4, 5))
    bare = FloatModel((replace(layer, b_f=None, b_h=None),)).run(x)["logits"]
    np.testing.assert_array_equal(bare, FloatModel((zero,)).run(x)["logits"])


def test_sizes():
    layer = random_layer(1, inputs=7, units=6, filters=2)
    assert (layer.inputs, layer.units, layer.filters, layer.state_size) == (7, 6, 2, 12)
    assert FloatModel((layer,)).parameters == 4 * 7 + 8 * 3 + 8 + 6 * 8 + 6
    assert random_layer(1, encoder=False).inputs == 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"memories": ()}, ValueError, "memories must be one or more LegendreMemory"),
        (
            {"memories": (LegendreMemory(3, 4), LegendreMemory(2, 4))},
            ValueError,
            "the memories of a separable layer must have one order, not \\[2, 3\\]",
        ),
        ({"w_m": np.ones((7, 3))}, ValueError, "w_m must have as many rows for each of the 4 memories, not 7 in all"),
        ({"w_m": np.ones((8, 4))}, ValueError, "w_m must have shape \\(8, 3\\), not \\(8, 4\\)"),
        ({"w_f": np.ones((6, 7))}, ValueError, "w_f must have shape \\(6, 8\\), not \\(6, 7\\)"),
        ({"w_f": np.ones(6)}, ValueError, "w_f must be a matrix, not of shape \\(6,\\)"),
        ({"e_x": np.ones((3, 5))}, ValueError, "e_x must have shape \\(4, 5\\), not \\(3, 5\\)"),
        ({"b_f": np.ones(4)}, ValueError, "b_f must have shape \\(8,\\), not \\(4,\\)"),
        ({"b_h": np.full(6, np.nan)}, ValueError, "b_h must be finite"),
        (
            {"residual": True},
            ValueError,
            "a layer with residual must have as many units as its 5 inputs, not 6",
        ),
        ({"residual": 1}, TypeError, "layer residual must be"),
        ({"activation": "step"}, ValueError, "layer activation must be one of"),
        ({"stride": 0}, ValueError, "layer stride must be at least 1"),
    ],
)
def test_the_layer_refuses(change, error, message):
    with pytest.raises(error, match=message):
        replace(random_layer(1), **change)


def example():
    layers = (DenseLayer(np.eye(6)), random_layer(1, inputs=6, residual=True, stride=2))
    last = random_layer(2, inputs=4, units=3, filters=1, encoder=False, activation="linear")
    return FloatModel((*layers, DenseLayer(np.ones((4, 6))), replace(last, b_f=None)))


def test_the_file_keeps_the_layer(tmp_path):
    path, before = tmp_path / "model.safetensors", example()
    save_float(before, path)
    after = load_float(path)
    for one, other in zip(before.layers, after.layers, strict=True):
        assert type(one) is type(other)
        assert list(one.tensors) == list(other.tensors)
        for name, tensor in one.tensors.items():
            np.testing.assert_array_equal(other.tensors[name], tensor)
        if isinstance(one, SeparableLayer):
            for name in ("memories", "residual", "activation", "stride"):
                assert getattr(one, name) == getattr(other, name)


def test_a_file_with_another_shape_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    monkeypatch.setattr(SeparableLayer, "filters", 3)
    save_float(example(), path)
    with pytest.raises(ModelFileError, match=r"tensor layer1.w_m must have shape \(12, 3\), not \(8, 3\)"):
        load_float(path)

