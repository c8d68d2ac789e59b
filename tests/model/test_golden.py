"""The golden model against the equations of the cell, written out with fractions, one element at a time."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, QuantizedSeparable, Weights
from lmu_sim.testing.random_models import random_frames, random_model

CELLS = {
    "spotter": {
        "layers": ("lmu", "lmu", "dense"),
        "memories": [(3, 5.0), (3, 5.0), (1, 4.0), (4, 9.5)],
        "e_m": False,
        "w_h": False,
        "activation": "relu",
        "u_activation": "linear",
    },
    "2019": {
        "layers": ("lmu",),
        "memories": [(5, 12.0)],
        "e_h": True,
        "e_m": True,
        "w_x": True,
        "w_h": True,
        "bias": True,
        "activation": "tanh",
        "u_activation": "linear",
    },
    "feed_forward": {
        "layers": ("dense", "lmu", "lmu", "dense"),
        "e_h": False,
        "e_m": False,
        "w_h": False,
        "w_x": True,
        "u_activation": "relu",
    },
    "dense": {"layers": ("dense", "dense")},
    "dense_between": {"layers": ("dense", "lmu", "dense", "lmu", "dense"), "unsigned": True},
    "strided": {"layers": ("lmu", "dense", "lmu"), "stride": 3},
    "unsigned": {"layers": ("lmu", "dense"), "unsigned": True, "activation": "relu", "u_activation": "relu"},
    "wrapping": {"layers": ("lmu", "lmu"), "overflow": Overflow.WRAP},
    "symmetric": {"layers": ("lmu", "lmu"), "overflow": Overflow.SAT_SYM},
    "any": {"layers": ("lmu", "dense", "lmu")},
    "separable": {"layers": ("dense", "separable", "separable", "dense"), "encoder": True, "residual": True},
    "memory_per_channel": {"layers": ("separable", "dense"), "encoder": False, "memories": [(2, 4.0), (2, 9.0)]},
    "mixed": {"layers": ("separable", "lmu", "separable")},
} | {rounding.value: {"layers": ("lmu", "dense"), "rounding": rounding, "e_m": True} for rounding in Rounding}


def round_fraction(value, rounding):
    below, above = math.floor(value), math.ceil(value)
    if below == above:
        return below
    toward_zero, away = (below, above) if value > 0 else (above, below)
    distance = value - below
    nearest = below if distance < Fraction(1, 2) else above
    tie = distance == Fraction(1, 2)
    return {
        Rounding.FLOOR: below,
        Rounding.CEIL: above,
        Rounding.UP: away,
        Rounding.DOWN: toward_zero,
        Rounding.HALF_UP: away if tie else nearest,
        Rounding.HALF_DOWN: toward_zero if tie else nearest,
        Rounding.ROUND: (below if below % 2 == 0 else above) if tie else nearest,
    }[rounding]


def fit(value, fmt, overflow):
    low, high = (-(2 ** (fmt.width - 1)), 2 ** (fmt.width - 1) - 1) if fmt.signed else (0, 2**fmt.width - 1)
    if overflow is Overflow.WRAP:
        return (value - low) % 2**fmt.width + low
    return max(-high if overflow is Overflow.SAT_SYM and fmt.signed else low, min(value, high))


def real(integer, frac):
    return int(integer) * Fraction(2) ** int(-frac)


class Reference:
    """One stream of a model, in fractions."""

    def __init__(self, model):
        self.model = model
        self.m = [[0] * getattr(layer, "state_size", 0) for layer in model.layers]
        self.h = [[0] * layer.units for layer in model.layers]
        self.calls = [0] * len(model.layers)
        self.saturated = {}
        self.trace = {}

    def narrow(self, name, sums, to, activation="linear", table=None):
        found = []
        for value in sums:
            target, overflow = (to.format, to.overflow) if table is None else (table, Overflow.SAT_SYM)
            rounded = round_fraction(value * Fraction(2) ** target.frac, to.rounding)
            result = fit(rounded, target, overflow)
            if activation == "relu":
                rounded, result = max(rounded, 0), max(result, 0)
            self.saturated[name] = self.saturated.get(name, 0) + (rounded != result)
            if table is not None:
                size = math.floor(math.tanh(abs(result) * 2.0**-table.frac) * 2.0**to.format.frac + 0.5)
                result = int(math.copysign(min(size, 2 ** (to.format.width - 1) - 1), result))
            found.append(result)
        self.trace.setdefault(name, []).append(found)
        return found

    @staticmethod
    def sums(parts, bias, to_frac, added=(), added_frac=0):
        """Real sums; the bias has the scale of the finest term of its row, or finer if the target or `added` is."""
        parts = [part for part in parts if part[0] is not None]
        rows = range(len(parts[0][0].values))
        finest = [max(int(weights.frac[row]) + fmt.frac for weights, _, fmt in parts) for row in rows]
        finer = max(0, max(to_frac, added_frac) - min(finest)) if added else max(0, to_frac - min(finest))
        totals = []
        for row in rows:
            total = real(0 if bias is None else bias[row], finest[row] + finer)
            total += real(added[row], added_frac) if added else 0
            for weights, vector, fmt in parts:
                for weight, value in zip(weights.values[row], vector, strict=True):
                    total += real(weight, weights.frac[row]) * real(value, fmt.frac)
            totals.append(total)
        return totals

    def memory(self, layer, m, u, u_frac):
        found = []
        for index, memory in enumerate(layer.matrix):
            a, b = layer.a[memory], layer.b[memory]
            part, m = m[: len(b)], m[len(b) :]
            for row in range(len(b)):
                total = real(b[row], layer.b_format.frac) * real(u[index], u_frac)
                for column, value in enumerate(part):
                    total += real(a[row, column], layer.a_format.frac) * real(value, layer.m.format.frac)
                found.append(total)
        return found

    def separable(self, i, layer, x, fmt):
        """Sums of the hidden state, or None in frames in which it is not computed."""
        u, u_frac = x, fmt.frac
        if layer.e_x is not None:
            u, u_frac = self.sums([(layer.e_x, x, fmt)], None, layer.u.format.frac), layer.u.format.frac
            u = self.narrow(f"layer{i}.u", u, layer.u)
        self.m[i] = self.narrow(f"layer{i}.m", self.memory(layer, self.m[i], u, u_frac), layer.m)
        self.calls[i] += 1
        if self.calls[i] % layer.stride:
            return None
        order, scale = layer.orders[0], layer.m.format.frac
        shift = max(0, layer.f.format.frac - scale - int(layer.w_m.frac.min()))
        sums = []
        for row, weights in enumerate(layer.w_m.values):
            read = self.m[i][row // layer.filters * order :][:order]
            products = sum(int(weight) * value for weight, value in zip(weights, read, strict=True))
            bias = 0 if layer.b_f is None else layer.b_f[row]
            sums.append(real(products, layer.w_m.frac[row] + scale) + real(bias, layer.w_m.frac[row] + scale + shift))
        f = self.narrow(f"layer{i}.f", sums, layer.f, "relu")
        added = x if layer.residual else ()
        return self.sums([(layer.w_f, f, layer.f.format)], layer.b_h, layer.h.format.frac, added, fmt.frac)

    def frame(self, x):
        x, fmt = [int(value) for value in x], self.model.input
        for i, layer in enumerate(self.model.layers):
            out = layer.h.format
            target = out.frac if layer.table is None else layer.table.frac
            if isinstance(layer, QuantizedDense):
                sums = self.sums([(layer.w, x, fmt)], layer.b, target)
            elif isinstance(layer, QuantizedSeparable):
                sums = self.separable(i, layer, x, fmt)
                if sums is None:
                    return
            else:
                parts = [
                    (layer.e_x, x, fmt),
                    (layer.e_h, self.h[i], out),
                    (layer.e_m, self.m[i], layer.m.format),
                ]
                u = self.sums(parts, layer.b_u, layer.u.format.frac)
                u = self.narrow(f"layer{i}.u", u, layer.u, layer.u_activation)
                self.m[i] = self.narrow(f"layer{i}.m", self.memory(layer, self.m[i], u, layer.u.format.frac), layer.m)
                self.calls[i] += 1
                if self.calls[i] % layer.stride:
                    return
                parts = [(layer.w_x, x, fmt), (layer.w_h, self.h[i], out), (layer.w_m, self.m[i], layer.m.format)]
                sums = self.sums(parts, layer.b_h, target)
            self.h[i] = x = self.narrow(f"layer{i}.h", sums, layer.h, layer.activation, layer.table)
            fmt = out
        self.trace.setdefault("logits", []).append(x)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cell", CELLS)
def test_golden_follows_the_equations(cell, seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, **CELLS[cell])
    frames = random_frames(rng, model, 2, 17)
    golden = Golden(model)
    state = golden.initial_state(2)
    found = golden.run(frames, state)
    references = [Reference(model) for _ in range(2)]
    for reference, stream in zip(references, frames, strict=True):
        for frame in stream:
            reference.frame(frame)
        assert set(found) == set(reference.trace) | {"logits"}
    for name, values in found.items():
        expected = [reference.trace.get(name, np.zeros((0, model.outputs))) for reference in references]
        assert_array_equal(values, expected, err_msg=name)
    for name, count in state.saturated.items():
        assert count == sum(reference.saturated.get(name, 0) for reference in references), name


def test_the_cells_above_use_every_feature():
    models = [random_model(np.random.default_rng(seed), **options) for options in CELLS.values() for seed in range(3)]
    layers = [layer for model in models for layer in model.layers]
    lmus = [layer for layer in layers if isinstance(layer, QuantizedLMU)]
    for name in ("e_h", "e_m", "w_x", "w_h", "b_u", "b_h"):
        assert {getattr(layer, name) is None for layer in lmus} == {True, False}
    assert {layer.activation for layer in layers} == {"linear", "relu", "tanh"}
    assert {layer.u_activation for layer in lmus} == {"linear", "relu"}
    assert {layer.stride for layer in lmus} == {1, 2, 3}
    assert {layer.h.overflow for layer in layers} == set(Overflow)
    assert {layer.h.rounding for layer in layers} == set(Rounding)
    assert {layer.h.format.signed for layer in layers} == {True, False}
    assert any(len(set(layer.matrix)) > 1 for layer in lmus)
    assert any(len(set(layer.matrix)) < len(layer.matrix) for layer in lmus)
    separable = [layer for layer in layers if isinstance(layer, QuantizedSeparable)]
    for name in ("e_x", "b_f", "b_h"):
        assert {getattr(layer, name) is None for layer in separable} == {True, False}
    assert {layer.residual for layer in separable} == {True, False}
    assert {layer.filters for layer in separable} == {1, 2, 3}
    assert {layer.activation for layer in separable} == {"linear", "relu"}
    assert {layer.stride for layer in separable} == {1, 2, 3}
    assert {layer.orders[0] > 1 for layer in separable} == {True, False}
    assert any(np.ptp(weights.frac) for layer in layers for weights in layer.weights.values())


@pytest.mark.parametrize("seed", range(6))
def test_frames_batches_and_chunks_agree(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=("lmu", "dense", "lmu"), stride=1 + seed % 3)
    frames = random_frames(rng, model, 3, 24)
    golden = Golden(model)
    state = golden.initial_state(3)
    whole = golden.run(frames, state)

    chunked = golden.initial_state(3)
    parts = [golden.run(frames[:, start:stop], chunked) for start, stop in ((0, 1), (1, 1), (1, 12), (12, 24))]
    for name, values in whole.items():
        assert_array_equal(np.concatenate([part[name] for part in parts if name in part], axis=1), values)
    assert chunked.saturated == state.saturated
    assert chunked.phase == state.phase

    for stream in range(3):
        alone = golden.initial_state(1)
        steps = [golden.step(frames[stream : stream + 1, t], alone) for t in range(24)]
        for name, values in whole.items():
            assert_array_equal([step[name][0] for step in steps if name in step], values[stream])
        for name, values in alone.values.items():
            assert_array_equal(values[0], state.values[name][stream])


def small_lmu(**changes):
    identity = Weights([[1]], 2, [0])
    layer = QuantizedLMU(
        matrix=(0,),
        a=([[64]],),
        b=([64],),
        a_format=Format(8, 7),
        b_format=Format(8, 7),
        u=Quantizer(Format(8, 0)),
        m=Quantizer(Format(8, 0)),
        h=Quantizer(Format(8, 0)),
        e_x=identity,
        w_m=identity,
        activation="linear",
    )
    return QuantizedModel((dataclasses.replace(layer, **changes),), Format(8, 0))


def test_by_hand():
    found = Golden(small_lmu(stride=2)).run([[[100], [-3], [0], [127]]])
    assert_array_equal(found["layer0.u"], [[[100], [-3], [0], [127]]])
    assert_array_equal(found["layer0.m"], [[[50], [24], [12], [70]]])
    assert_array_equal(found["layer0.h"], [[[24], [70]]])
    assert_array_equal(found["logits"], found["layer0.h"])


def test_saturation_counts():
    narrow = small_lmu(u=Quantizer(Format(4, 0)), h=Quantizer(Format(3, 0)))
    golden = Golden(narrow)
    state = golden.initial_state(2)
    found = golden.run([[[7], [8], [-8], [-9]], [[0], [0], [0], [127]]], state)
    assert_array_equal(found["layer0.u"][..., 0], [[7, 7, -8, -8], [0, 0, 0, 7]])
    assert_array_equal(found["layer0.m"][..., 0], [[4, 6, -1, -5], [0, 0, 0, 4]])
    assert_array_equal(found["layer0.h"][..., 0], [[3, 3, -1, -4], [0, 0, 0, 3]])
    assert state.saturated == {"layer0.u": 3, "layer0.m": 0, "layer0.h": 4}
    golden.run([[[127]], [[1]]], state)
    assert state.saturated["layer0.u"] == 4


def test_relu_hides_clipping_below():
    golden = Golden(small_lmu(h=Quantizer(Format(3, 0)), activation="relu"))
    state = golden.initial_state()
    assert_array_equal(golden.run([[[-100], [127]]], state)["logits"], [[[0], [3]]])
    assert state.saturated["layer0.h"] == 1


def test_strides_multiply():
    rng = np.random.default_rng(5)
    model = random_model(rng, layers=("lmu", "lmu"), stride=2)
    found = Golden(model).run(random_frames(rng, model, 1, 9))
    lengths = {name: values.shape[1] for name, values in found.items()}
    expected = {"layer0.u": 9, "layer0.m": 9, "layer0.h": 4, "layer1.u": 4, "layer1.m": 4, "layer1.h": 2, "logits": 2}
    assert lengths == expected
    assert Golden(model).run(np.zeros((1, 1, model.inputs), int))["logits"].shape == (1, 0, model.outputs)
    assert Golden(model).run(np.zeros((2, 0, model.inputs), int))["logits"].shape == (2, 0, model.outputs)


def test_decide():
    label, score = decide(np.array([[1, 5, 5], [-3, -4, -3], [0, 0, 0], [1, 2, 3]]))
    assert_array_equal(label, [1, 0, 0, 2])
    assert_array_equal(score, [5, -3, 0, 3])


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ([[[0.5]]], TypeError, "frames must hold integers, not float64"),
        ([[0]], ValueError, r"frames must have shape \(batch, T, 1\), not \(1, 1\)"),
        ([[[0, 0]]], ValueError, r"frames must have shape \(batch, T, 1\), not \(1, 1, 2\)"),
        ([[[128]]], ValueError, "frame values must be in -128 to 127, found 128"),
        ([[[-129]]], ValueError, "frame values must be in -128 to 127, found -129"),
    ],
)
def test_run_refuses(frames, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        Golden(small_lmu()).run(frames)


def test_step_refuses():
    golden = Golden(small_lmu())
    with pytest.raises(ValueError, match=r"^a frame must have shape \(batch, 1\), not \(1,\)$"):
        golden.step([0], golden.initial_state())
