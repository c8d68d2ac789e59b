import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.model.fixed import Format, Overflow, Quantizer
from lmu_hw.model.operations import lower, output_name, tanh_error, tanh_table, vectors
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, QuantizedSeparable, Weights
from lmu_sim.testing.random_models import random_model

X = Format(8, 4)


def dense(frac=(3, 4), **changes):
    options = {"w": Weights([[1, 2, 3], [4, 5, 6]], 4, frac), "h": Quantizer(Format(8, 3)), "b": [7, -9]} | changes
    return QuantizedDense(**options)


def lmu(**changes):
    options = {
        "matrix": (0, 0, 1, 0),
        "a": (np.diag([5, 6]), [[7]]),
        "b": ([8, 9], [10]),
        "a_format": Format(8, 7),
        "b_format": Format(6, 4),
        "u": Quantizer(Format(7, 5)),
        "m": Quantizer(Format(10, 6)),
        "h": Quantizer(Format(8, 3)),
        "e_x": Weights(np.ones((4, 3), int), 2, [1] * 4),
        "w_m": Weights(np.ones((2, 7), int), 2, [2, 4]),
    }
    return QuantizedLMU(**options | changes)


def model(*layers):
    return QuantizedModel(layers, X)


def test_vectors():
    found = vectors(model(lmu(), dense(w=Weights([[1, 1]], 2, [0]), b=None)))
    expected = {"x": (3, X), "layer0.u": (4, Format(7, 5)), "layer0.m": (7, Format(10, 6))}
    expected |= {"layer0.h": (2, Format(8, 3)), "layer1.h": (1, Format(8, 3))}
    assert {name: (vector.size, vector.format) for name, vector in found.items()} == expected
    assert list(found) == list(expected)
    assert all(vector.name == name for name, vector in found.items())
    assert output_name(model(lmu(), dense(w=Weights([[1, 1]], 2, [0]), b=None))) == "layer1.h"


def test_dense_operation():
    (op,) = lower(model(dense()))
    assert (op.name, op.rows, op.columns, op.products, op.repeat) == ("layer0.h", 2, 3, 6, 1)
    assert op.closes_stride
    assert_array_equal(op.bias, [7, -9])
    assert_array_equal(op.frac, [7, 8])
    assert_array_equal(op.shifts, [4, 5])
    (term,) = op.terms
    assert (term.source, term.previous, term.width, term.shift) == ("x", False, 4, 0)
    assert_array_equal(term.weights, [[1, 2, 3], [4, 5, 6]])


def test_sum_is_refined_for_a_fine_target():
    (op,) = lower(model(dense(h=Quantizer(Format(12, 10)))))
    assert_array_equal(op.frac, [10, 11])
    assert_array_equal(op.shifts, [0, 1])
    assert op.terms[0].shift == 3


def test_terms_are_brought_to_one_scale():
    layer = lmu(w_x=Weights(np.ones((2, 3), int), 2, [6, 8]), w_h=Weights(np.ones((2, 2), int), 2, [0, 2]))
    op = lower(model(layer))[-1]
    assert [(term.source, term.previous, term.shift) for term in op.terms] == [
        ("x", False, 0),
        ("layer0.h", True, 7),
        ("layer0.m", False, 2),
    ]
    assert_array_equal(op.frac, [10, 12])


def test_equal_neighbouring_memories_are_one_operation():
    operations = [op for op in lower(model(lmu())) if op.target == "layer0.m"]
    names = [(op.name, op.start, op.repeat, op.rows, op.products) for op in operations]
    assert names == [
        ("layer0.m", 0, 2, 2, 12),
        ("layer0.m[4]", 4, 1, 1, 2),
        ("layer0.m[5]", 5, 1, 2, 6),
    ]
    slices = [[(term.offset, term.step) for term in op.terms] for op in operations]
    assert slices == [[(0, 2), (0, 1)], [(4, 1), (2, 1)], [(5, 2), (3, 1)]]
    state, drive = operations[0].terms
    assert (state.previous, drive.previous, state.shift, drive.shift) == (True, False, 0, 4)
    assert not operations[0].closes_stride


def separable(**changes):
    options = {
        "matrix": (0, 0),
        "a": (np.eye(2, dtype=int),),
        "b": ([8, 9],),
        "a_format": Format(8, 7),
        "b_format": Format(6, 4),
        "m": Quantizer(Format(8, 5)),
        "f": Quantizer(Format(4, 3, False)),
        "h": Quantizer(Format(6, 2)),
        "w_m": Weights([[1, 2], [3, 4], [5, 6], [7, -8]], 4, [0, 1, 0, 2]),
        "w_f": Weights(np.ones((2, 4), int), 2, [2, 1]),
    }
    return QuantizedSeparable(**options | changes)


def test_filters_read_their_own_memory():
    update, filters, hidden = lower(QuantizedModel((separable(residual=True, b_h=[3, 4], stride=2),), Format(7, 6)))
    assert [(term.source, term.previous, term.slice_columns) for term in update.terms] == [
        ("layer0.m", True, 2),
        ("x", False, 1),
    ]
    (term,) = filters.terms
    assert (filters.target, term.source, term.slice_rows, term.slice_columns) == ("layer0.f", "layer0.m", 2, 2)
    assert_array_equal(term.weights, [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, -8]])
    assert (filters.columns, filters.products) == (2, 8)
    assert (filters.strided, filters.closes_stride) == (True, True)
    assert (hidden.strided, hidden.closes_stride, hidden.columns) == (True, False, 4)
    # The sums have 5 and 4 fraction bits, the added frame has 6.
    assert (hidden.terms[0].shift, hidden.residual.source) == (2, "x")
    assert_array_equal(hidden.frac, [7, 6])
    assert_array_equal(hidden.residual.shifts, [1, 0])


def test_a_separable_layer_without_residual_adds_nothing():
    *_, hidden = lower(QuantizedModel((separable(),), Format(7, 6)))
    assert hidden.residual is None
    assert_array_equal(hidden.frac, [5, 4])


def test_memory_sum_is_refined_for_coarse_matrices():
    layer = lmu(a_format=Format(8, -1), b_format=Format(6, -1), u=Quantizer(Format(7, 3)))
    op = lower(model(layer))[1]
    assert_array_equal(op.frac, [6, 6])
    assert [term.shift for term in op.terms] == [1, 4]


@pytest.mark.parametrize("seed", range(20))
def test_operations_of_random_models(seed):
    layers = ("lmu", "dense", "lmu") if seed % 2 else ("separable", "dense", "separable")
    found = random_model(np.random.default_rng(seed), layers=layers)
    known, written = vectors(found), {}
    for op in lower(found):
        assert written.get(op.target, 0) == op.start
        written[op.target] = op.start + op.repeat * op.rows
        assert (op.shifts >= 0).all()
        assert op.layer == int(op.target.removeprefix("layer").split(".")[0])
        for term in op.terms:
            assert term.weights.shape[0] == op.rows
            assert Format(term.width, 0).contains(term.weights)
            reach = term.offset + (op.repeat - 1) * term.step + term.weights.shape[1]
            assert reach <= known[term.source].size
            assert term.previous or written.get(term.source) == known[term.source].size or term.source == "x"
    assert written == {name: vector.size for name, vector in known.items() if name != "x"}


def test_scales_must_fit_together():
    message = (
        r"^layer0\.h: the scales of the terms must differ by the same power of two in every row, "
        r"found shifts \[2, 3\] for the term on x$"
    )
    layer = lmu(w_x=Weights(np.ones((2, 3), int), 2, [2, 3]))
    with pytest.raises(ValueError, match=message):
        lower(model(layer))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (dense(frac=(0, -20), h=Quantizer(Format(8, 40))), r"layer0\.h: a sum may reach \d+, over 62 bits"),
        (dense(b=[2**62 - 6 * 128, 0]), rf"layer0\.h: a sum may reach {2**62}, over 62 bits"),
        (dense(b=[0, -(2**62)]), r"layer0\.h: a sum may reach \d+, over 62 bits"),
        (dense(frac=(32, 32), h=Quantizer(Format(8, -30)), b=None), r"layer0\.h: narrowing .* 62 bits, not 66"),
        (separable(residual=True, b_h=[2**62 - 4 * 15 - 256, 0]), rf"layer0\.h: a sum may reach {2**62}, over 62 bits"),
        (lmu(a_format=Format(8, 64)), r"layer0\.m: narrowing must drop at most 62 bits, not 64"),
    ],
)
def test_sums_too_wide_are_refused(layer, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        lower(model(layer))


def test_widest_sums_are_accepted():
    (op,) = lower(model(dense(b=[2**62 - 6 * 128 - 1, 0])))
    assert op.bias[0] == 2**62 - 769


@pytest.mark.parametrize("index", [Format(2, 0), Format(5, 2), Format(8, 5), Format(9, 3)], ids=str)
@pytest.mark.parametrize("output", [Format(4, 3), Format(8, 7), Format(8, 6), Format(12, 4)], ids=str)
def test_tanh_table(index, output):
    table = tanh_table(index, output)
    assert table.shape == (index.max + 1,)
    for i, value in enumerate(table.tolist()):
        exact = math.tanh(i / 2**index.frac) * 2**output.frac
        assert value == min(output.max, math.floor(exact + 0.5))
        assert abs(value - exact) <= 0.5 + (value == output.max)
    assert (np.diff(table) >= 0).all()


@pytest.mark.parametrize("index", [Format(4, 1), Format(6, 3), Format(8, 5), Format(6, 5), Format(5, 0)], ids=str)
@pytest.mark.parametrize("output", [Format(4, 3), Format(8, 7), Format(12, 10)], ids=str)
def test_tanh_error_on_a_dense_grid(index, output):
    reals = np.append(np.linspace(0, (index.max + 1) * index.lsb, 200_001), 50.0)
    indices = np.minimum(np.floor(reals / index.lsb + 0.5), index.max).astype(int)
    worst = np.abs(output.real(tanh_table(index, output))[indices] - np.tanh(reals)).max()
    assert worst <= tanh_error(index, output) <= worst + (index.max + 1) * index.lsb / 200_000


def test_tanh_index_is_symmetric():
    layer = dense(activation="tanh", table=Format(5, 2), h=Quantizer(Format(8, 7), overflow=Overflow.WRAP), b=None)
    (op,) = lower(model(layer))
    assert op.narrow == dataclasses.replace(layer.h, format=Format(5, 2), overflow=Overflow.SAT_SYM)
    assert op.output == Format(8, 7)
