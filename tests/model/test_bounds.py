import dataclasses
import itertools
import json
import re
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lmu_hw.model import bounds
from lmu_hw.model.bounds import adversarial_input, certify, impulse_response_l1, verify
from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding, saturate, shift_round
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import lower
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, QuantizedSeparable, Weights
from lmu_sim.testing.random_models import legendre_memory, random_frames, random_model

STACKS = [("lmu",), ("lmu", "dense"), ("dense", "lmu"), ("lmu", "lmu")]


def transparent_model(order=4, theta=20.0, u=None, m=None, width=12, memories=1, input_format=None):
    """Model whose u is its input."""
    u = u or Quantizer(Format(8, 7))
    m = m or Quantizer(Format(12, 9))
    a, b = legendre_memory(order, theta)
    a_format, b_format = Format(width, width - 1), Format(width, width - 1)
    eye = np.eye(memories, dtype=int)
    layer = QuantizedLMU(
        matrix=(0,) * memories,
        a=(a_format.quantize(a),),
        b=(b_format.quantize(b),),
        a_format=a_format,
        b_format=b_format,
        u=u,
        m=m,
        h=Quantizer(Format(8, 6)),
        e_x=Weights(eye, 2, [0] * memories),
        w_m=Weights(np.ones((1, memories * order), int), 2, [0]),
    )
    return QuantizedModel((layer,), input_format or u.format)


def with_m(model, m):
    (layer,) = model.layers
    return dataclasses.replace(model, layers=(dataclasses.replace(layer, m=m),))


def run(model, frames):
    golden = Golden(model)
    state = golden.initial_state(len(frames))
    return golden.run(frames, state), state.saturated


def check(model, frames):
    """Run, and hold every vector and every count against the certificate; returns the counts."""
    certificate = certify(model)
    found, saturated = run(model, frames)
    for name, values in found.items():
        if name != "logits":
            bound = certificate.vectors[name]
            assert (values >= np.array(bound.lows)).all(), name
            assert (values <= np.array(bound.highs)).all(), name
            assert bound.low == min(bound.lows)
            assert bound.high == max(bound.highs)
    for op in lower(model):
        bound = certificate.operations[op.name]
        values = found.get(op.target, np.zeros((1, 0, op.start + op.repeat * op.rows), int))
        values = values[..., op.start : op.start + op.repeat * op.rows]
        assert (values >= bound.low).all()
        assert (values <= bound.high).all()
    for name, count in saturated.items():
        if not any(certificate.operations[op.name].overflows for op in lower(model) if op.target == name):
            assert count == 0, name
    return saturated


@pytest.mark.parametrize("seed", range(24))
def test_bounds_hold_on_random_models(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=STACKS[seed % 4])
    check(model, random_frames(rng, model, 4, 60))


@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold_on_random_separable_models(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=("separable", "separable", "dense") if seed % 2 else ("lmu", "separable"))
    check(model, random_frames(rng, model, 4, 60))


@pytest.mark.parametrize("overflow", Overflow)
def test_the_total_holds_the_residual(overflow):
    """Filters of 0 leave bias and residual, whose bounds are attained."""
    x, shifts, bias = Format(3, 1), np.array([0, 2]), np.array([5, -9])
    layer = QuantizedSeparable(
        matrix=(0, 0),
        a=([[0]],),
        b=([2],),
        a_format=Format(4, 1),
        b_format=Format(4, 1),
        m=Quantizer(Format(4, 1)),
        f=Quantizer(Format(4, 1)),
        h=Quantizer(Format(3, 1), Rounding.FLOOR, overflow),
        w_m=Weights(np.zeros((2, 1), int), 3, [0, 0]),
        w_f=Weights(np.ones((2, 2), int), 3, [0, 2]),
        b_h=bias,
        residual=True,
        activation="linear",
    )
    model = QuantizedModel((layer,), x)
    bound = certify(model).operations["layer0.h"]
    frames = np.array(list(itertools.product(range(x.min, x.max + 1), repeat=2)))
    totals = bias + (frames << shifts)
    assert (bound.sum_low, bound.sum_high, bound.accumulator_bits) == (0, 0, 1)
    assert Format(bound.total_bits, 0).contains(totals)
    assert not Format(bound.total_bits - 1, 0).contains(totals)
    rounded = totals >> shifts
    assert bound.below == (rounded < layer.h.low).any()
    assert bound.above == (rounded > layer.h.format.max).any()
    assert bound.overflowing == ((rounded < layer.h.low) | (rounded > layer.h.format.max)).any(axis=0).sum()
    assert (check(model, frames[None])["layer0.h"] > 0) == bound.overflows


def test_random_models_are_of_both_kinds():
    proven = [certify(random_model(np.random.default_rng(seed), layers=STACKS[seed % 4])) for seed in range(24)]
    flags = [(bound.below, bound.above) for found in proven for bound in found.operations.values()]
    assert set(flags) == {(False, False), (True, False), (False, True), (True, True)}
    assert {memory.fits for found in proven for memory in found.memories} == {True, False}


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("signed", [True, False])
def test_sums_are_exact_for_a_dense_layer(overflow, signed):
    """Every input of a small format: the bounds of sum and result are attained."""
    x, fmt = Format(3, 1, signed), Format(4, 1)
    values, bias = np.array([[3, -2, 1], [-1, -4, 0], [0, 0, 1]]), np.array([5, -60, 0])
    layer = QuantizedDense(Weights(values, 4, [0, 2, 1]), Quantizer(fmt, Rounding.FLOOR, overflow), bias)
    model = QuantizedModel((layer,), x)
    certificate = certify(model)
    bound, vector = certificate.operations["layer0.h"], certificate.vectors["layer0.h"]
    frames = np.array(list(itertools.product(range(x.min, x.max + 1), repeat=3)))
    sums = frames @ values.T
    assert (bound.sum_low, bound.sum_high) == (sums.min(), sums.max())
    assert Format(bound.accumulator_bits, 0).contains(sums)
    assert not Format(bound.accumulator_bits - 1, 0).contains(sums)
    assert Format(bound.total_bits, 0).contains(sums + bias)
    assert not Format(bound.total_bits - 1, 0).contains(sums + bias)
    rounded = (sums + bias) >> np.array([0, 2, 1])
    low = -fmt.max if overflow is Overflow.SAT_SYM else fmt.min
    assert bound.below == (rounded < low).any()
    assert bound.above == (rounded > fmt.max).any()
    assert bound.overflowing == ((rounded < low) | (rounded > fmt.max)).any(axis=0).sum()
    saturated = check(model, frames[None])
    assert (saturated["layer0.h"] > 0) == bound.overflows
    found, _ = run(model, frames[None])
    if overflow is not Overflow.WRAP:
        assert_array_equal(vector.lows, np.minimum(found["layer0.h"][0].min(axis=0), 0))
        assert_array_equal(vector.highs, np.maximum(found["layer0.h"][0].max(axis=0), 0))


def exact_l1(a, b, steps):
    """Sums of the magnitudes of the impulse response and of its powers' rows, exact."""
    a = [[Fraction(value) for value in row] for row in a.tolist()]
    state = [Fraction(value) for value in b.tolist()]
    total = [Fraction(0)] * len(state)
    for _ in range(steps):
        total = [one + abs(value) for one, value in zip(total, state, strict=True)]
        state = [sum(x * y for x, y in zip(row, state, strict=True)) for row in a]
    return total


@pytest.mark.parametrize("negligible", [bounds.NEGLIGIBLE, 0.25])
@pytest.mark.parametrize(("order", "theta"), [(1, 4.0), (3, 6.0), (4, 5.0)])
def test_power_sums_are_safe_and_tight(order, theta, negligible):
    """Against the row sums of the parts of the exact powers, also when most of them are left to the tail bound."""
    a = np.round(legendre_memory(order, theta)[0] * 2**9) / 2**9
    found = bounds._powers(a.tobytes(), negligible)
    exact = [[Fraction(value) for value in row] for row in a.tolist()]
    power = [[Fraction(i == j) for j in range(order)] for i in range(order)]
    up, down = [Fraction(0)] * order, [Fraction(0)] * order
    for _ in range(120):
        up = [one + sum(max(value, 0) for value in row) for one, row in zip(up, power, strict=True)]
        down = [one - sum(min(value, 0) for value in row) for one, row in zip(down, power, strict=True)]
        power = [[sum(row[k] * power[k][j] for k in range(order)) for j in range(order)] for row in exact]
    for part, total in ((found.noise_up, up), (found.noise_down, down)):
        for value, least in zip(part.tolist(), total, strict=True):
            assert least <= Fraction(value)
            if negligible == bounds.NEGLIGIBLE:
                assert Fraction(value) <= least + max(up + down) / 2**20


def test_the_powers_of_a_matrix_are_summed_once():
    """In every layer, pass and proof with the same matrix, whatever the formats of u and m."""
    model = transparent_model(5, 30.0, memories=3)
    bounds._powers.cache_clear()
    certify(model)
    certify(with_m(model, Quantizer(Format(14, 10))))
    certify(model)
    assert bounds._powers.cache_info().misses == 1


@pytest.mark.slow
def test_a_memory_of_order_256_is_certified():
    model = transparent_model(256, 784.0, m=Quantizer(Format(20, 9)), width=16)
    (memory,) = certify(model).memories
    assert memory.fits


@pytest.mark.parametrize(("order", "theta"), [(1, 4.0), (3, 6.0), (4, 5.0)])
def test_l1_norm_is_safe_and_tight(order, theta):
    a, b = legendre_memory(order, theta)
    a, b = np.round(a * 2**9) / 2**9, np.round(b * 2**9) / 2**9
    exact = exact_l1(a, b, 120)
    found = impulse_response_l1(a, b)
    for value, least in zip(found.tolist(), exact, strict=True):
        assert least <= Fraction(value) <= least * (1 + Fraction(1, 2**20))


def test_l1_norm_is_safe_when_cut_short(monkeypatch):
    """The tail bound alone makes up for terms that were never summed."""
    model = transparent_model()
    (whole,) = certify(model).memories
    monkeypatch.setattr(bounds, "NEGLIGIBLE", 0.25)
    (cut,) = certify(model).memories
    assert cut.steps < whole.steps / 5
    assert whole.noise * (1 - 1e-6) <= cut.noise <= 2 * whole.noise
    for order, theta in ((1, 4.0), (3, 6.0), (4, 5.0)):
        a, b = legendre_memory(order, theta)
        a, b = np.round(a * 2**9) / 2**9, np.round(b * 2**9) / 2**9
        found = impulse_response_l1(a, b)
        for value, least in zip(found.tolist(), exact_l1(a, b, 120), strict=True):
            assert least <= Fraction(value) <= 2 * least


def test_l1_norm_by_hand():
    assert_allclose(impulse_response_l1([[0.5]], [3]), [6], rtol=1e-7)
    assert impulse_response_l1([[0.5]], [3])[0] >= 6
    assert_allclose(impulse_response_l1([[-0.75, 0], [0, 0.0]], [1, -2]), [4, 2], rtol=1e-7)
    assert_allclose(impulse_response_l1([[0, 0.5], [0, 0]], [0, 1]), [0.5, 1], rtol=1e-7)
    assert_allclose(impulse_response_l1(np.zeros((2, 2)), [0, 0]), [0, 0], atol=1e-300)


@pytest.mark.parametrize("a", [[[1.0]], [[-1.0]], [[1.5]], [[1 - 2.0**-40]], [[0, 1], [-1, 0]], [[np.nan]]])
def test_l1_norm_without_decay_is_infinite(a):
    assert np.isinf(impulse_response_l1(a, [1] * len(a))).all()


def test_l1_norm_of_slow_decay_and_large_transients():
    assert_allclose(impulse_response_l1([[1 - 2.0**-10]], [1]), [1024], rtol=1e-6)
    found = impulse_response_l1([[0.5, 1e6], [0, 0.5]], [0, 1])
    assert_allclose(found, [4e6, 2], rtol=1e-2)
    assert found[0] >= 4e6


@pytest.mark.parametrize(("a", "b"), [([[0.5]], [[1]]), ([[0.5]], [1, 2]), ([0.5], [1])])
def test_l1_norm_refuses_shapes(a, b):
    with pytest.raises(ValueError, match=r"^a and b must have shapes \(d, d\) and \(d,\), not "):
        impulse_response_l1(a, b)


def test_literature_values():
    """States of a Legendre memory stay below 4.5 times the largest input."""
    for order in (4, 8, 16, 32):
        norms = impulse_response_l1(*legendre_memory(order, 50.0))
        assert norms.min() >= 0.99
        assert norms.max() <= 4.5


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize(
    ("order", "theta", "u"), [(4, 15.0, Format(8, 7)), (1, 9.0, Format(5, 4)), (5, 12.0, Format(6, 6, False))]
)
def test_adversarial_input_attains_the_bound(rounding, order, theta, u):
    model = transparent_model(order, theta, u=Quantizer(u), m=Quantizer(Format(14, 10), rounding))
    (memory,) = certify(model).memories
    assert memory.fits
    assert memory.spectral_radius < 1
    assert (memory.input_low, memory.input_high) == (u.min, u.max)
    ends = list(itertools.product(range(order), (True, False)))
    frames = np.array([adversarial_input(model, 0, element, highest=highest) for element, highest in ends])[..., None]
    assert u.contains(frames)
    assert not any(check(model, frames).values())
    states = run(model, frames)[0]["layer0.m"]
    for (element, highest), stream in zip(ends, states, strict=True):
        reached, limit = stream[-1, element], memory.highs[element] if highest else memory.lows[element]
        assert (reached <= limit) if highest else (reached >= limit)
        assert abs(limit - reached) <= 2 * memory.noise + 1e-6


@pytest.mark.parametrize("rounding", [Rounding.HALF_UP, Rounding.FLOOR])
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("order", [1, 4, 8])
def test_one_bit_less_overflows(rounding, overflow, order):
    wide = transparent_model(order, 25.0, u=Quantizer(Format(7, 6, False)), m=Quantizer(Format(20, 11), rounding))
    bound = certify(wide).vectors["layer0.m"]
    width = next(w for w in range(2, 20) if Quantizer(Format(w, 11), rounding, overflow).low <= bound.low)
    width = max(width, bound.high.bit_length() + 1)
    ends = list(itertools.product(range(order), (True, False)))
    frames = np.array([adversarial_input(wide, 0, element, highest=highest) for element, highest in ends])[..., None]

    fitting = with_m(wide, Quantizer(Format(width, 11), rounding, overflow))
    certificate = certify(fitting)
    assert not certificate.operations["layer0.m"].overflows
    assert certificate.memories[0].fits
    assert check(fitting, frames)["layer0.m"] == 0

    tight = with_m(wide, Quantizer(Format(width - 1, 11), rounding, overflow))
    certificate = certify(tight)
    assert certificate.operations["layer0.m"].overflows
    assert not certificate.memories[0].fits
    assert check(tight, frames)["layer0.m"] > 0


def test_contraction_needs_no_response():
    """A format that holds itself under one step cannot overflow, even where noise takes the linear bound beyond it."""
    model = transparent_model(1, 25.0, m=Quantizer(Format(12, 11)))
    certificate = certify(model)
    assert not certificate.memories[0].fits
    assert not certificate.operations["layer0.m"].overflows
    ends = np.array([adversarial_input(model, 0, 0, highest=highest) for highest in (True, False)])
    assert check(model, ends[..., None])["layer0.m"] == 0


def reachable(model):
    """Every state that a memory can reach from zero, and whether narrowing ever changes one on the way."""
    op = next(op for op in lower(model) if op.target == "layer0.m")
    u = np.arange(model.input.min, model.input.max + 1)
    state, drive = op.terms
    driven = (u[:, None] * drive.weights[:, 0]) << drive.shift
    known, new, clipped = {(0,) * op.rows}, [(0,) * op.rows], False
    while new:
        held = (np.array(new) @ state.weights.T) << state.shift
        sums = (held[:, None] + driven).reshape(-1, op.rows)
        rounded = shift_round(sums, op.shifts, op.narrow.rounding)
        states = saturate(rounded, op.narrow.format, op.narrow.overflow)
        clipped = clipped or (states != rounded).any()
        new = [one for one in {tuple(one) for one in states.tolist()} if one not in known]
        known.update(new)
    return np.array(sorted(known)), clipped


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize(("order", "width"), [(1, 7), (1, 5), (2, 7), (2, 6), (2, 5)])
def test_bounds_contain_every_reachable_state(order, width, rounding, overflow):
    u, m = Quantizer(Format(3, 2)), Quantizer(Format(width, 4), rounding, overflow)
    model = transparent_model(order, 5.0, u=u, m=m, width=8)
    states, clipped = reachable(model)
    certificate = certify(model)
    bound = certificate.vectors["layer0.m"]
    assert (states >= bound.lows).all()
    assert (states <= bound.highs).all()
    assert certificate.operations["layer0.m"].overflows or not clipped
    if width == 7:
        assert not clipped
        assert not certificate.operations["layer0.m"].overflows
        assert (states.max(axis=0) >= np.array(bound.highs) - 2 * certificate.memories[0].noise - 1).all()


@pytest.mark.parametrize("rounding", Rounding)
def test_sum_of_a_certified_memory(rounding):
    """The bounds of the sums are those whose rounding is the bound of the state: neither more nor fewer bits."""
    model = transparent_model(3, 12.0, m=Quantizer(Format(14, 9), rounding))
    op = next(op for op in lower(model) if op.target == "layer0.m")
    certificate = certify(model)
    bound, (memory,) = certificate.operations[op.name], certificate.memories
    shift = int(op.shifts[0])
    assert bound.low == int(np.ceil(min(memory.lows)))
    assert bound.high == int(np.floor(max(memory.highs)))
    ends = [bound.sum_low - 1, bound.sum_low, bound.sum_high, bound.sum_high + 1]
    assert_array_equal(shift_round(ends, shift, rounding), [bound.low - 1, bound.low, bound.high, bound.high + 1])
    one_step = np.abs(op.terms[0].weights) @ np.max(np.abs([memory.lows, memory.highs]), axis=0)
    assert bound.accumulator_bits <= int(one_step.max()).bit_length() + 1


def test_unstable_memory_is_bounded_by_its_format():
    model = transparent_model(1, 10.0)
    layer = dataclasses.replace(model.layers[0], a=([[2047]],), a_format=Format(12, 10))
    model = dataclasses.replace(model, layers=(layer,))
    certificate = certify(model)
    (memory,) = certificate.memories
    assert (memory.steps, memory.lows, memory.highs, memory.fits) == (0, (), (), False)
    assert memory.spectral_radius == 2047 / 1024
    assert (certificate.vectors["layer0.m"].low, certificate.vectors["layer0.m"].high) == (-2048, 2047)
    assert certificate.operations["layer0.m"].overflows
    assert certificate.overflows
    assert check(model, np.full((1, 50, 1), 127))["layer0.m"] > 0
    with pytest.raises(ValueError, match=r"^the response of element 0 of layer 0 does not decay$"):
        adversarial_input(model, 0, 0)


def test_memories_are_driven_apart():
    """Memories that share their matrices have bounds of their own, from their own rows of u."""
    model = transparent_model(2, 8.0, memories=3)
    layer = model.layers[0]
    e_x = Weights([[1, 0, 0], [0, 0, 0], [0, 0, -1]], 2, [0, 0, 2])
    model = dataclasses.replace(model, layers=(dataclasses.replace(layer, e_x=e_x),))
    first, silent, last = certify(model).memories
    assert (first.start, silent.start, last.start) == (0, 2, 4)
    assert (first.input_low, first.input_high) == (-128, 127)
    assert (silent.input_low, silent.input_high) == (0, 0)
    assert (last.input_low, last.input_high) == (-32, 32)
    assert max(silent.highs) <= silent.noise * (1 + 1e-6)
    assert max(last.highs) < max(first.highs) / 3
    sequence = adversarial_input(model, 0, 5)
    assert set(sequence.tolist()) <= {-32, 0, 32}


def test_bounds_cover_the_start_under_a_constant_input():
    """With u constant, an alternating response is largest at the start: the time before it counts as zero."""
    model = transparent_model(1, 10.0)
    layer = dataclasses.replace(
        model.layers[0], a=([[-1536]],), b=([2047],), e_x=Weights([[0]], 2, [0]), b_u=[64], m=Quantizer(Format(12, 9))
    )
    model = dataclasses.replace(model, layers=(layer,))
    (memory,) = certify(model).memories
    assert (memory.input_low, memory.input_high) == (0, 64)
    check(model, np.zeros((1, 50, 1), int))
    states = run(model, np.zeros((1, 50, 1), int))[0]["layer0.m"]
    assert states.max() > 1.5 * states[0, -1, 0]


def test_feedback_tightens_pass_by_pass():
    """The range of u follows from the range of m that follows from the range of u."""
    model = transparent_model(2, 8.0, u=Quantizer(Format(12, 7)), m=Quantizer(Format(16, 9)), input_format=Format(5, 7))
    layer = dataclasses.replace(model.layers[0], e_m=Weights([[1, -1]], 6, [6]))
    certificate = certify(dataclasses.replace(model, layers=(layer,)))
    assert not certificate.operations["layer0.u"].overflows
    assert not certificate.operations["layer0.m"].overflows
    assert certificate.vectors["layer0.u"].high < 200


@pytest.mark.parametrize("seed", range(4))
def test_certificate_round_trip(seed, tmp_path):
    model = random_model(np.random.default_rng(seed), layers=STACKS[seed])
    certificate = certify(model)
    certificate.save(tmp_path / "certificate.json")
    loaded = json.loads((tmp_path / "certificate.json").read_text(encoding="utf-8"))
    assert loaded == certificate.to_dict()
    verify(loaded, model)


@pytest.mark.parametrize(
    "path",
    [
        ("model",),
        ("overflows",),
        ("operations", "layer0.m", "sum_high"),
        ("operations", "layer0.u", "total_bits"),
        ("operations", "layer0.m", "overflows"),
        ("operations", "layer0.h", "below"),
        ("vectors", "layer0.m", "lows", 1),
        ("vectors", "x", "high"),
        ("memories", 0, "spectral_radius"),
        ("memories", 0, "highs", 3),
        ("memories", 0, "steps"),
        ("memories", 0, "fits"),
    ],
    ids=str,
)
def test_tampered_certificate_is_refused(path):
    model = transparent_model()
    certificate = certify(model).to_dict()
    *parents, last = path
    target = certificate
    for key in parents:
        target = target[key]
    old = target[last]
    if isinstance(old, bool):
        target[last] = not old
    elif isinstance(old, str):
        target[last] = old + "s"
    else:
        target[last] = old + (1 if isinstance(old, int) else 1e-3 * old)
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
    message = f"the certificate does not hold for model model: {name} differs"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        verify(certificate, model)


def test_certificate_with_other_keys_is_refused():
    model = transparent_model()
    certificate = certify(model).to_dict()
    with pytest.raises(ValueError, match="does not hold for model model: its keys differs"):
        verify(certificate | {"more": 1}, model)
    del certificate["operations"]["layer0.u"]
    with pytest.raises(ValueError, match="does not hold for model model: operations differs"):
        verify(certificate, model)
    certificate = certify(model).to_dict()
    certificate["vectors"]["layer0.m"]["lows"].pop()
    with pytest.raises(ValueError, match=r"does not hold for model model: vectors\.layer0\.m\.lows differs"):
        verify(certificate, model)


def test_certificate_of_another_model_is_refused():
    with pytest.raises(ValueError, match="does not hold for model model"):
        verify(certify(transparent_model(theta=20.0)).to_dict(), transparent_model(theta=21.0))


@pytest.mark.parametrize("certificate", [None, [], {}, {"schema": "lmu-hw/certificate/0"}])
def test_no_certificate_is_refused(certificate):
    with pytest.raises(ValueError, match=r"^a certificate must have the schema lmu-hw/certificate/1$"):
        verify(certificate, transparent_model())


@pytest.mark.parametrize("layer", [-1, 2, 1])
def test_adversarial_input_refuses_layers(layer):
    model = transparent_model()
    dense = QuantizedDense(Weights([[1]], 2, [0]), model.layers[0].h)
    model = dataclasses.replace(model, layers=(*model.layers, dense))
    with pytest.raises(ValueError, match=f"^layer must be the index of a layer with memories, not {layer}$"):
        adversarial_input(model, layer, 0)


@pytest.mark.parametrize("element", [-1, 4])
def test_adversarial_input_refuses_elements(element):
    with pytest.raises(ValueError, match=f"^element must be in 0 to 3, not {element}$"):
        adversarial_input(transparent_model(), 0, element)
