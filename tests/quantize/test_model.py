"""FloatModel against equations computed independently here, and its contract."""

import numpy as np
import pytest
from scipy.signal import cont2discrete
from scipy.special import eval_sh_legendre

from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer

A6 = [
    [-1, -1, -1, -1, -1, -1],
    [3, -3, -3, -3, -3, -3],
    [-5, 5, -5, -5, -5, -5],
    [7, -7, 7, -7, -7, -7],
    [-9, 9, -9, 9, -9, -9],
    [11, -11, 11, -11, 11, -11],
]
B6 = [1, -3, 5, -7, 9, -11]


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(scale=0.4, size=shape)


def random_layer(seed, memories, inputs, units, **options):
    rng = np.random.default_rng(seed)
    m, d = len(memories), sum(memory.order for memory in memories)
    shapes = {"e_x": (m, inputs), "e_h": (m, units), "e_m": (m, d), "b_u": (m,)}
    shapes |= {"w_x": (units, inputs), "w_h": (units, units), "w_m": (units, d), "b_h": (units,)}
    return LMULayer(memories, **{name: rng.normal(scale=0.3, size=shape) for name, shape in shapes.items()}, **options)


def discrete(memory):
    a, b = LegendreMemory(memory.order, 1.0).continuous()
    system = (a / memory.theta, b[:, None] / memory.theta, np.eye(memory.order), np.zeros((memory.order, 1)))
    a, b, *_ = cont2discrete(system, 1.0, memory.discretizer)
    return a, b[:, 0]


def loop(layer, x):
    """Equations of the module, one scalar sum at a time, for one stream; shape (T, inputs) to lists of u, m and h."""
    function = {"relu": lambda v: max(v, 0.0), "tanh": np.tanh, "linear": lambda v: v}
    h, m = np.zeros(layer.units), np.zeros(layer.state_size)
    us, ms, hs = [], [], []
    for t in range(len(x)):
        u = np.zeros(len(layer.memories))
        for k in range(len(u)):
            total = sum(layer.e_x[k, j] * x[t, j] for j in range(layer.inputs))
            total += sum(layer.e_h[k, j] * h[j] for j in range(layer.units))
            total += sum(layer.e_m[k, j] * m[j] for j in range(layer.state_size)) + layer.b_u[k]
            u[k] = function[layer.u_activation](total)
        new, start = np.zeros_like(m), 0
        for k, memory in enumerate(layer.memories):
            a, b = discrete(memory)
            for i in range(memory.order):
                new[start + i] = sum(a[i, j] * m[start + j] for j in range(memory.order)) + b[i] * u[k]
            start += memory.order
        m = new
        us.append(u)
        ms.append(m)
        if (t + 1) % layer.stride == 0:
            total = [
                sum(layer.w_x[i, j] * x[t, j] for j in range(layer.inputs))
                + sum(layer.w_h[i, j] * h[j] for j in range(layer.units))
                + sum(layer.w_m[i, j] * m[j] for j in range(layer.state_size))
                + layer.b_h[i]
                for i in range(layer.units)
            ]
            h = np.array([function[layer.activation](value) for value in total])
            hs.append(h)
    return us, ms, hs


def test_continuous_matrices_of_order_6():
    a, b = LegendreMemory(6, 1.0).continuous()
    np.testing.assert_array_equal(a, A6)
    np.testing.assert_array_equal(b, B6)


@pytest.mark.parametrize("discretizer", ["zoh", "euler"])
@pytest.mark.parametrize(("order", "theta"), [(1, 1.0), (4, 20), (6, 40), (8, 12.5), (32, 50)])
def test_discretize_is_scipys(order, theta, discretizer):
    memory = LegendreMemory(order, theta, discretizer)
    a, b = memory.discretize()
    expected_a, expected_b = discrete(memory)
    np.testing.assert_allclose(a, expected_a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(b, expected_b, rtol=0, atol=1e-12)


def test_euler_of_order_6_is_the_printed_matrix_over_theta():
    a, b = LegendreMemory(6, 40, "euler").discretize()
    np.testing.assert_allclose(a, np.eye(6) + np.array(A6) / 40, rtol=0, atol=1e-15)
    np.testing.assert_allclose(b, np.array(B6) / 40, rtol=0, atol=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_memory_decodes_its_delayed_input(share):
    order, theta = 12, 200
    a, b = LegendreMemory(order, theta).discretize()
    t = np.arange(1000)
    signal = np.sin(2 * np.pi * t / 400) + 0.5 * np.cos(2 * np.pi * t / 271)
    decoder = np.array([eval_sh_legendre(i, share) for i in range(order)])
    m, decoded = np.zeros(order), []
    for u in signal:
        m = a @ m + b * u
        decoded.append(decoder @ m)
    delay = int(share * theta)
    np.testing.assert_allclose(decoded[400:], signal[400 - delay : 1000 - delay], rtol=0, atol=0.03)


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("u_activation", ["linear", "relu"])
def test_full_cell_is_the_independent_loop(activation, u_activation):
    memories = (LegendreMemory(6, 10),)
    layer = random_layer(1, memories, 3, 4, activation=activation, u_activation=u_activation)
    frames = draw(2, 2, 15, 3)
    out = FloatModel((layer,)).run(frames)
    for stream in range(2):
        for name, expected in zip("umh", loop(layer, frames[stream]), strict=True):
            np.testing.assert_allclose(out[f"layer0.{name}"][stream], expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(out["logits"], out["layer0.h"])


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_memories_of_mixed_order_window_and_discretizer(stride):
    memories = (LegendreMemory(3, 8), LegendreMemory(5, 20.5), LegendreMemory(2, 30, "euler"), LegendreMemory(1, 4))
    layer = random_layer(3, memories, 2, 5, activation="tanh", stride=stride)
    frames = draw(4, 1, 14, 2)
    out = FloatModel((layer,)).run(frames)
    for name, expected in zip("umh", loop(layer, frames[0]), strict=True):
        np.testing.assert_allclose(out[f"layer0.{name}"][0], expected, rtol=0, atol=1e-12)


def test_optional_terms_left_out_are_zero_terms():
    memories = (LegendreMemory(3, 8), LegendreMemory(4, 9))
    e_x, w_m = draw(5, 2, 3), draw(6, 4, 7)
    zeros = {"e_h": (2, 4), "e_m": (2, 7), "b_u": (2,), "w_x": (4, 3), "w_h": (4, 4), "b_h": (4,)}
    whole = LMULayer(memories, e_x, w_m, **{name: np.zeros(shape) for name, shape in zeros.items()})
    frames = draw(7, 2, 9, 3)
    a, b = (FloatModel((layer,)).run(frames)["logits"] for layer in (LMULayer(memories, e_x, w_m), whole))
    np.testing.assert_array_equal(a, b)


def test_dense_layers_before_between_and_after():
    memory = (LegendreMemory(4, 6),)
    first, second, third = draw(8, 3, 2), draw(9, 2, 4), draw(10, 5, 3)
    lmu0, lmu1 = random_layer(11, memory, 3, 4), random_layer(12, memory, 2, 3)
    bias = draw(13, 2)
    model = FloatModel(
        (DenseLayer(first, activation="tanh"), lmu0, DenseLayer(second, bias, "relu"), lmu1, DenseLayer(third))
    )
    frames = draw(14, 1, 8, 2)
    h0 = np.array(loop(lmu0, np.tanh(frames[0] @ first.T))[2])
    h1 = np.array(loop(lmu1, np.maximum(h0 @ second.T + bias, 0))[2])
    np.testing.assert_allclose(model.run(frames)["logits"][0], h1 @ third.T, rtol=0, atol=1e-12)


def test_layers_above_a_stride_see_its_frames_only():
    lower = random_layer(15, (LegendreMemory(4, 6),), 2, 3, stride=2)
    upper = random_layer(16, (LegendreMemory(3, 5),), 3, 4, stride=3, activation="tanh")
    dense = DenseLayer(draw(17, 2, 4))
    frames = draw(18, 1, 19, 2)
    out = FloatModel((lower, upper, dense)).run(frames)
    h0 = np.array(loop(lower, frames[0])[2])
    u1, m1, h1 = loop(upper, h0)
    assert (len(h0), len(m1), len(h1)) == (9, 9, 3)
    for name, expected in {"layer0.h": h0, "layer1.u": u1, "layer1.m": m1, "layer1.h": h1}.items():
        np.testing.assert_allclose(out[name][0], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(out["logits"][0], np.array(h1) @ dense.w.T, rtol=0, atol=1e-12)
    assert {name: value.shape[1] for name, value in out.items()} == {
        "layer0.u": 19, "layer0.m": 19, "layer0.h": 9, "layer1.u": 9, "layer1.m": 9, "layer1.h": 3,
        "layer2.h": 3, "logits": 3,
    }  # fmt: skip


def test_steps_are_the_run():
    memories = LegendreMemory(4, 6), LegendreMemory(2, 3)
    model = FloatModel((random_layer(19, memories, 3, 4, stride=2), DenseLayer(draw(20, 2, 4))))
    frames = draw(21, 3, 7, 3)
    state = model.initial_state(3)
    seen = [model.step(frames[:, t], state) for t in range(7)]
    assert [sorted(one) for one in seen[:2]] == [
        ["layer0.m", "layer0.u"],
        ["layer0.h", "layer0.m", "layer0.u", "layer1.h"],
    ]
    out = model.run(frames)
    for name in ("layer0.u", "layer0.m", "layer0.h", "layer1.h"):
        np.testing.assert_array_equal(out[name], np.stack([one[name] for one in seen if name in one], axis=1))


def test_streams_of_a_batch_are_independent():
    model = FloatModel((random_layer(22, (LegendreMemory(4, 6),), 3, 4),))
    frames = draw(23, 3, 6, 3)
    together = model.run(frames)["logits"]
    for stream in range(3):
        alone = model.run(frames[stream : stream + 1])["logits"][0]
        np.testing.assert_allclose(together[stream], alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [0, 2])
def test_run_without_a_computed_frame_has_no_logits(length):
    model = FloatModel((random_layer(24, (LegendreMemory(4, 6),), 3, 4, stride=3),))
    assert model.run(np.zeros((2, length, 3)))["logits"].shape == (2, 0, 4)


def test_sizes_and_parameters_of_the_2019_psmnist_network():
    memory = LegendreMemory(256, 784)
    shapes = {"e_x": (1, 1), "e_h": (1, 212), "e_m": (1, 256), "w_x": (212, 1), "w_h": (212, 212), "w_m": (212, 256)}
    lmu = LMULayer((memory,), **{name: np.zeros(shape) for name, shape in shapes.items()}, activation="tanh")
    model = FloatModel((lmu, DenseLayer(np.zeros((10, 212)), np.zeros(10))), labels=tuple("0123456789"))
    assert model.parameters == 102_027
    assert (model.inputs, model.outputs, lmu.inputs, lmu.units, lmu.state_size) == (1, 10, 1, 212, 256)
    assert list(lmu.tensors) == ["e_x", "e_h", "e_m", "w_x", "w_h", "w_m"]
    assert list(model.layers[1].tensors) == ["w", "b"]


def test_tensors_are_read_only_copies():
    w = np.ones((2, 2))
    layer = DenseLayer(w)
    w[:] = 5
    np.testing.assert_array_equal(layer.w, np.ones((2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        layer.w[0, 0] = 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((2.5, 1.0), TypeError, r"^memory order must be an integer, not 2\.5$"),
        ((0, 1.0), ValueError, r"^memory order must be at least 1, not 0$"),
        ((True, 1.0), TypeError, r"^memory order must be an integer, not True$"),
        ((4, "9"), TypeError, r"^memory theta must be a number, not '9'$"),
        ((4, True), TypeError, r"^memory theta must be a number, not True$"),
        ((4, 0), ValueError, r"^memory theta must be a positive number of time steps, not 0$"),
        ((4, np.inf), ValueError, r"^memory theta must be a positive number of time steps, not inf$"),
        ((4, np.nan), ValueError, r"^memory theta must be a positive number of time steps, not nan$"),
        ((4, 9, "tustin"), ValueError, r"^memory discretizer must be one of zoh, euler, not 'tustin'$"),
    ],
)
def test_memory_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        LegendreMemory(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memories": ()}, r"^memories must be one or more LegendreMemory, not \(\)$"),
        ({"memories": (4,)}, r"^memories must be one or more LegendreMemory, not \(4,\)$"),
        ({"stride": 0}, r"^layer stride must be at least 1, not 0$"),
        ({"activation": "gelu"}, r"^layer activation must be one of linear, relu, tanh, not 'gelu'$"),
        ({"u_activation": "tanh"}, r"^layer u_activation must be one of linear, relu, not 'tanh'$"),
        ({"e_x": np.zeros(2)}, r"^e_x and w_m must be matrices, not of shapes \(2,\) and \(3, 5\)$"),
        ({"w_m": np.zeros(5)}, r"^e_x and w_m must be matrices, not of shapes \(2, 4\) and \(5,\)$"),
        ({"e_x": np.zeros((1, 4))}, r"^e_x must have shape \(2, 4\), not \(1, 4\)$"),
        ({"w_m": np.zeros((3, 4))}, r"^w_m must have shape \(3, 5\), not \(3, 4\)$"),
        ({"e_h": np.zeros((3, 2))}, r"^e_h must have shape \(2, 3\), not \(3, 2\)$"),
        ({"e_m": np.zeros((5, 2))}, r"^e_m must have shape \(2, 5\), not \(5, 2\)$"),
        ({"b_u": np.zeros(3)}, r"^b_u must have shape \(2,\), not \(3,\)$"),
        ({"w_x": np.zeros((4, 3))}, r"^w_x must have shape \(3, 4\), not \(4, 3\)$"),
        ({"w_h": np.zeros(3)}, r"^w_h must have shape \(3, 3\), not \(3,\)$"),
        ({"b_h": np.zeros(2)}, r"^b_h must have shape \(3,\), not \(2,\)$"),
        ({"b_h": np.array([0, np.nan, 0])}, r"^b_h must be finite, found NaN or infinity$"),
        ({"w_m": np.full((3, 5), np.inf)}, r"^w_m must be finite, found NaN or infinity$"),
    ],
)
def test_lmu_layer_refuses(change, message):
    right = {"memories": (LegendreMemory(2, 3), LegendreMemory(3, 4)), "e_x": np.zeros((2, 4)), "w_m": np.zeros((3, 5))}
    with pytest.raises(ValueError, match=message):
        LMULayer(**(right | change))


def test_lmu_layer_refuses_a_fractional_stride():
    with pytest.raises(TypeError, match=r"^layer stride must be an integer, not 1\.5$"):
        LMULayer((LegendreMemory(2, 3),), np.zeros((1, 1)), np.zeros((1, 2)), stride=1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"w": np.zeros(3)}, r"^w must be a matrix, not of shape \(3,\)$"),
        ({"w": np.full((1, 1), np.nan)}, r"^w must be finite, found NaN or infinity$"),
        ({"w": np.zeros((2, 3)), "b": np.zeros(3)}, r"^b must have shape \(2,\), not \(3,\)$"),
        ({"w": np.zeros((2, 3)), "activation": "softmax"}, r"^layer activation must be one of .*, not 'softmax'$"),
    ],
)
def test_dense_layer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseLayer(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ()}, r"^layers must be one or more LMULayer, SeparableLayer or DenseLayer, not \(\)$"),
        ({"layers": ("dense",)}, r"^layers must be one or more .*, not \('dense',\)$"),
        (
            {"layers": (DenseLayer(np.zeros((2, 3))), DenseLayer(np.zeros((2, 3))))},
            r"^layer 1 must take the 2 outputs of layer 0, not 3 inputs$",
        ),
        (
            {"layers": (DenseLayer(np.zeros((2, 3))),), "labels": ("a",)},
            r"^labels must be 2 distinct names, not \('a',\)$",
        ),
        ({"layers": (DenseLayer(np.zeros((2, 3))),), "labels": ("a", "a")}, r"^labels must be 2 distinct names, not "),
    ],
)
def test_model_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        FloatModel(**arguments)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 4)])
def test_run_refuses_frames_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"^frames must have shape \(batch, T, 3\), not \(2, "):
        FloatModel((DenseLayer(np.zeros((2, 3))),)).run(np.zeros(shape))
