import dataclasses
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
    table_quantizer,
)

Q = Quantizer(Format(8, 4))
UNSIGNED = Quantizer(Format(8, 4, False))
KINDS = "QuantizedLMU, QuantizedSeparable, QuantizedDense"
W23 = Weights([[1, 2, 3], [4, 5, 6]], 4, [0, 1])


def lmu(**changes):
    options = {
        "matrix": (0, 1),
        "a": (np.eye(2, dtype=int), [[7]]),
        "b": ([8, 9], [10]),
        "a_format": Format(8, 7),
        "b_format": Format(6, 4),
        "u": Q,
        "m": Q,
        "h": Q,
        "e_x": Weights(np.ones((2, 3), int), 2, [1, 1]),
        "w_m": Weights(np.ones((4, 3), int), 2, [2] * 4),
    }
    return QuantizedLMU(**options | changes)


def dense(**changes):
    return QuantizedDense(**{"w": W23, "h": Q} | changes)


def separable(**changes):
    options = {
        "matrix": (0, 1),
        "a": (np.eye(2, dtype=int), 2 * np.eye(2, dtype=int)),
        "b": ([8, 9], [10, 11]),
        "a_format": Format(8, 7),
        "b_format": Format(6, 4),
        "u": Q,
        "m": Q,
        "f": UNSIGNED,
        "h": Q,
        "e_x": Weights(np.ones((2, 3), int), 2, [1, 1]),
        "w_m": Weights(np.ones((6, 2), int), 2, [2] * 6),
        "w_f": Weights(np.ones((3, 6), int), 2, [2] * 3),
    }
    return QuantizedSeparable(**options | changes)


def ones(rows, columns):
    return Weights(np.ones((rows, columns), int), 2, [0] * rows)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1.0]], 4, [0]), TypeError, "weight values must hold integers, not float64"),
        (([1], 4, [0]), ValueError, "weight values must be a matrix, not of shape (1,)"),
        ((np.zeros((0, 2), int), 4, []), ValueError, "weight values must be a matrix, not of shape (0, 2)"),
        (([[1]], 1, [0]), ValueError, "weight width must be in 2 to 16, not 1"),
        (([[1]], 17, [0]), ValueError, "weight width must be in 2 to 16, not 17"),
        (([[1, 8]], 4, [0]), ValueError, "weight values must fit 4 bits (-8 to 7), found 8"),
        (([[1, -9]], 4, [0]), ValueError, "weight values must fit 4 bits (-8 to 7), found -9"),
        (([[1]], 4, [0.5]), TypeError, "weight frac must hold integers, not float64"),
        (([[1]], 4, [0, 0]), ValueError, "weight frac must have shape (1,), not (2,)"),
        (([[1]], 4, [33]), ValueError, "weight frac must be in -32 to 32, not 33 to 33"),
        (([[1], [2]], 4, [-33, 2]), ValueError, "weight frac must be in -32 to 32, not -33 to 2"),
    ],
)
def test_weights_refuse(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Weights(*arguments)


def test_weights():
    assert W23.bits == 24
    assert_array_equal(W23.real(), [[1, 2, 3], [2, 2.5, 3]])
    with pytest.raises(ValueError, match="read-only"):
        W23.values[0, 0] = 3
    with pytest.raises(TypeError, match="weight width must be an integer"):
        Weights([[1]], 4.0, [0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"a": (), "b": ()}, ValueError, "a and b must be equally many matrices, not 0 and 0"),
        ({"b": ([8, 9],)}, ValueError, "a and b must be equally many matrices, not 2 and 1"),
        ({"b": ([8, 9], [10, 11])}, ValueError, "a and b must have shapes (d, d) and (d,), not (1, 1) and (2,)"),
        ({"b": ([[8, 9]], [10])}, ValueError, "a and b must have shapes (d, d) and (d,), not (2, 2) and (1, 2)"),
        (
            {"a": (np.zeros((0, 0), int),), "b": (np.zeros(0, int),)},
            ValueError,
            "a and b must have shapes (d, d) and (d,), not (0, 0) and (0,)",
        ),
        ({"a": (np.eye(2), [[7]])}, TypeError, "a must hold integers, not float64"),
        ({"b": ([8.0, 9], [10])}, TypeError, "b must hold integers, not float64"),
        ({"a": (np.eye(2, dtype=int), [[128]])}, ValueError, "a must fit 8 bits (-128 to 127), found 128"),
        ({"b": ([8, 9], [-33])}, ValueError, "b must fit 6 bits (-32 to 31), found -33"),
        ({"a_format": Format(8, 7, False)}, ValueError, "a_format must be signed"),
        ({"b_format": Format(8, 7, False)}, ValueError, "b_format must be signed"),
        ({"a_format": Format(17, 7)}, ValueError, "a_format must be at most 16 bits wide, not 17"),
        ({"b_format": Format(17, 7)}, ValueError, "b_format must be at most 16 bits wide, not 17"),
        ({"matrix": ()}, ValueError, "matrix must name one of the 2 matrices for each memory, not ()"),
        ({"matrix": (0, 2)}, ValueError, "matrix must name one of the 2 matrices for each memory, not (0, 2)"),
        ({"matrix": (-1, 0)}, ValueError, "matrix must name one of the 2 matrices for each memory, not (-1, 0)"),
        ({"activation": "gelu"}, ValueError, "layer activation must be one of linear, relu, tanh, not 'gelu'"),
        ({"activation": "tanh"}, ValueError, "a table format must be given exactly for activation tanh"),
        ({"table": Format(8, 4)}, ValueError, "a table format must be given exactly for activation tanh"),
        ({"u_activation": "tanh"}, ValueError, "layer u_activation must be one of linear, relu, not 'tanh'"),
        ({"stride": 0}, ValueError, "layer stride must be in 1 to 1024, not 0"),
        ({"stride": 10**9}, ValueError, "layer stride must be in 1 to 1024, not 1000000000"),
        ({"u": Quantizer(Format(25, 4))}, ValueError, "the format of u must be at most 24 bits wide, not 25"),
        ({"m": Quantizer(Format(25, 4))}, ValueError, "the format of m must be at most 24 bits wide, not 25"),
        ({"h": Quantizer(Format(25, 4))}, ValueError, "the format of h must be at most 24 bits wide, not 25"),
        ({"e_x": ones(3, 3)}, ValueError, "e_x must have shape (2, 3), not (3, 3)"),
        ({"w_m": ones(4, 4)}, ValueError, "w_m must have shape (4, 3), not (4, 4)"),
        ({"e_h": ones(2, 3)}, ValueError, "e_h must have shape (2, 4), not (2, 3)"),
        ({"e_m": ones(2, 2)}, ValueError, "e_m must have shape (2, 3), not (2, 2)"),
        ({"w_x": ones(4, 4)}, ValueError, "w_x must have shape (4, 3), not (4, 4)"),
        ({"w_h": ones(4, 3)}, ValueError, "w_h must have shape (4, 4), not (4, 3)"),
        ({"w_h": [[1]]}, TypeError, "w_h must be Weights, not [[1]]"),
        ({"b_u": [1]}, ValueError, "b_u must have shape (2,), not (1,)"),
        ({"b_h": [1.5] * 4}, TypeError, "b_h must hold integers, not float64"),
    ],
)
def test_lmu_refuses(changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        lmu(**changes)


@pytest.mark.parametrize("make", [lmu, dense])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": Format(8, 4, False)}, "the table format and the format of h must be signed for tanh"),
        ({"table": Format(8, 4), "h": UNSIGNED}, "the table format and the format of h must be signed for tanh"),
        ({"table": Format(15, 4)}, "the table format must be at most 14 bits wide, not 15"),
    ],
)
def test_tanh_refuses(make, changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(activation="tanh", **changes)


def test_lmu():
    layer = lmu(e_h=ones(2, 4), b_u=[1, 2])
    assert (layer.orders, layer.state_size, layer.inputs, layer.units, layer.output) == ((2, 1), 3, 3, 4, Q)
    assert list(layer.weights) == ["e_x", "e_h", "w_m"]
    with pytest.raises(TypeError, match="layer stride must be an integer"):
        lmu(stride=1.5)
    with pytest.raises(TypeError, match="an index in matrix must be an integer"):
        lmu(matrix=(0.0, 1))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"matrix": ()}, ValueError, "matrix must name one of the 2 matrices for each memory, not ()"),
        ({"activation": "tanh"}, ValueError, "layer activation must be one of linear, relu, not 'tanh'"),
        ({"residual": 1}, TypeError, "layer residual must be true or false, not 1"),
        ({"u": None}, ValueError, "u must be given exactly with e_x"),
        ({"e_x": None}, ValueError, "u must be given exactly with e_x"),
        ({"u": Quantizer(Format(25, 4))}, ValueError, "the format of u must be at most 24 bits wide, not 25"),
        ({"f": Quantizer(Format(25, 4))}, ValueError, "the format of f must be at most 24 bits wide, not 25"),
        (
            {"a": (np.eye(2, dtype=int), [[7]]), "b": ([8, 9], [10])},
            ValueError,
            "the memories of a separable layer must have the same order, not [1, 2]",
        ),
        ({"w_m": ones(5, 2)}, ValueError, "w_m must have as many rows for each of the 2 memories, not 5 in all"),
        ({"w_m": ones(6, 4)}, ValueError, "w_m must have shape (6, 2), not (6, 4)"),
        ({"w_m": [[1]]}, TypeError, "w_m must be Weights, not [[1]]"),
        ({"w_f": ones(3, 2)}, ValueError, "w_f must have shape (3, 6), not (3, 2)"),
        ({"e_x": ones(3, 3)}, ValueError, "e_x must have shape (2, 3), not (3, 3)"),
        ({"b_f": [1]}, ValueError, "b_f must have shape (6,), not (1,)"),
        ({"b_h": [1.5] * 3}, TypeError, "b_h must hold integers, not float64"),
        (
            {"residual": True, "w_f": ones(4, 6)},
            ValueError,
            "a residual layer must have as many units as inputs, 3, not 4",
        ),
        ({"stride": 0}, ValueError, "layer stride must be in 1 to 1024, not 0"),
    ],
)
def test_separable_refuses(changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        separable(**changes)


def test_separable():
    layer = separable(residual=True, b_f=range(6), stride=2)
    assert (layer.orders, layer.filters, layer.state_size, layer.inputs, layer.units) == ((2, 2), 3, 4, 3, 3)
    assert list(layer.weights) == ["e_x", "w_m", "w_f"]
    model = QuantizedModel((layer, dense()), Format(8, 4))
    assert model.strides == (2, 1)
    assert model.weight_bits == 2 * (6 + 12 + 18) + 24
    channels = separable(e_x=None, u=None)
    assert (channels.inputs, list(channels.weights)) == (2, ["w_m", "w_f"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"w": [[1]]}, TypeError, "w must be Weights, not [[1]]"),
        ({"activation": "gelu"}, ValueError, "layer activation must be one of linear, relu, tanh, not 'gelu'"),
        ({"activation": "tanh"}, ValueError, "a table format must be given exactly for activation tanh"),
        ({"h": Quantizer(Format(25, 4))}, ValueError, "the format of h must be at most 24 bits wide, not 25"),
        ({"b": [1]}, ValueError, "b must have shape (2,), not (1,)"),
        ({"b": [1.0, 2.0]}, TypeError, "b must hold integers, not float64"),
    ],
)
def test_dense_refuses(changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        dense(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), Format(8, 4)), f"layers must be one or more of {KINDS}, not ()"),
        (((1,), Format(8, 4)), f"layers must be one or more of {KINDS}, not (1,)"),
        (((dense(), dense()), Format(8, 4)), "layer 1 must take the 2 outputs of layer 0, not 3 inputs"),
        (((dense(),), Format(25, 4)), "the input format must be at most 24 bits wide, not 25"),
        (((dense(),), Format(8, 4), ("yes",)), "labels must be 2 distinct names, not ('yes',)"),
        (((dense(),), Format(8, 4), ("yes", "yes")), "labels must be 2 distinct names, not ('yes', 'yes')"),
    ],
)
def test_model_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        QuantizedModel(*arguments)


def test_model():
    model = QuantizedModel([lmu(stride=2), dense(w=ones(2, 4))], Format(8, 4), ["no", "yes"])
    assert (model.inputs, model.outputs, model.strides, model.labels) == (3, 2, (2, 1), ("no", "yes"))
    assert model.weight_bits == 2 * (6 + 12 + 8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.name = "other"


def test_table_quantizer():
    like = Quantizer(Format(8, 4), Rounding.CEIL, Overflow.WRAP)
    assert table_quantizer(Format(6, 2), like) == Quantizer(Format(6, 2), Rounding.CEIL, Overflow.SAT_SYM)


def test_the_period_of_the_strides_is_bounded():
    last = dense(w=ones(3, 4))

    def stacked(first, second):
        return QuantizedModel([lmu(stride=first), last, lmu(stride=second)], Format(8, 4))

    assert stacked(1024, 4).strides == (1024, 1, 4)
    with pytest.raises(ValueError, match=r"^the strides multiplied must be at most 4096, not 5120$"):
        stacked(1024, 5)
