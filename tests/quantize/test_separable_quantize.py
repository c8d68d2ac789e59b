"""Quantizing separable layers: formats, scales, biases, the certificate and the report."""

import dataclasses
import math

import numpy as np
import pytest

from lmu_hw.model.bounds import certify
from lmu_hw.model.fixed import Format
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import lower
from lmu_hw.model.program_file import digest, load, save
from lmu_quantize.calibrate import quantize_model, trained_formats
from lmu_quantize.equalize import scale_memories
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, SeparableLayer
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.scales import WeightTerm, format_by_error, quantize_terms

WIDE = QuantizationConfig(weight_bits=12, activation_bits=8, signed_bits=12, input_bits=12, u_bits=12, state_bits=20)
MEMORIES = tuple(LegendreMemory(3, theta) for theta in (4.0, 4.0, 9.0, 9.0))


def separable(rng, inputs, units, memories=MEMORIES, encoder=True, filters=2, **options):
    rows = len(memories) * filters
    tensors = {"e_x": (len(memories), inputs), "w_m": (rows, memories[0].order), "w_f": (units, rows)}
    weights = {name: 1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for name, shape in tensors.items()}
    if not encoder:
        weights["e_x"] = None
    return SeparableLayer(
        memories, b_f=0.1 * rng.normal(size=rows), b_h=0.1 * rng.normal(size=units), **weights, **options
    )


def network(rng):
    """The kind of network that is trained: dense, separable layers with residual, logits; without and with `e_x`."""
    channels = tuple(LegendreMemory(4, theta) for theta in (3.0, 8.0)) * 3
    layers = (
        DenseLayer(rng.normal(size=(6, 5)) / 2, 0.1 * rng.normal(size=6), "relu"),
        separable(rng, 6, 6, residual=True, stride=2),
        separable(rng, 6, 6, channels, encoder=False, residual=True),
        separable(rng, 6, 7, filters=1, activation="linear"),
        DenseLayer(rng.normal(size=(4, 7)), 0.1 * rng.normal(size=4)),
    )
    return FloatModel(layers, ("a", "b", "c", "d"))


def alone(rng):
    channels = (LegendreMemory(3, 5.0),) * 4
    return FloatModel((separable(rng, 4, 4, channels, encoder=False, residual=True, activation="linear"),))


KINDS = {"network": network, "alone": alone}


def made(kind, seed=3):
    """A model, and smooth frames, as features are."""
    rng = np.random.default_rng(seed)
    model = KINDS[kind](rng)
    frames = np.zeros((8, 24, model.inputs))
    value = np.zeros((8, model.inputs))
    for t in range(24):
        value = 0.8 * value + 0.6 * rng.normal(size=value.shape)
        frames[:, t] = value
    return model, frames


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


def test_wide_integers_follow_the_floats(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames, WIDE)
    golden = Golden(result.model).run(result.model.input.quantize(frames))
    floats = model.run(frames)
    assert set(golden) == set(floats)
    for index in range(len(model.layers)):
        name = f"layer{index}.h"
        wanted = floats[name]
        error = result.model.layers[index].output.format.real(golden[name]) - wanted
        assert 10 * math.log10(np.square(wanted).sum() / np.square(error).sum()) > 25, name
    assert result.report.agreement > 0.95


def test_six_bit_weights_give_a_useful_network_whose_memories_cannot_overflow(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames, QuantizationConfig(weight_bits=6))
    assert result.report.logits.sqnr_db > 8
    assert result.report.warnings == ()
    assert all(bound.fits for bound in certify(result.model).memories)
    assert set(result.report.memories) == {name for name in model.run(frames) if name.endswith(".m")}
    assert all(result.report.memories.values())
    assert all(result.report[name].clipped == 0 for name in result.report.memories)


def test_formats_have_the_bits_asked_for():
    model, frames = made("network")
    config = QuantizationConfig(u_bits=6, state_bits=9, a_bits=8, b_bits=9, signed_bits=10, weight_bits=5)
    _, first, second, third, dense = quantize_model(model, frames, config).model.layers
    for layer in (first, second, third):
        assert (layer.f.format.width, layer.f.format.signed) == (7, False)
        assert (layer.m.format.width, layer.a_format.width, layer.b_format.width) == (9, 8, 9)
        assert {weights.width for weights in layer.weights.values()} == {5}
    assert (first.u.format.width, first.u.format.signed) == (6, True)
    assert second.u is None
    assert second.e_x is None
    assert (first.h.format.width, first.h.format.signed) == (7, False)
    assert (third.h.format.width, third.h.format.signed) == (10, True)
    assert dense.h.format.width == 16
    assert (first.residual, third.residual, first.stride, third.activation) == (True, False, 2, "linear")
    signed = quantize_model(model, frames, QuantizationConfig(activation_bits=8)).model.layers[1]
    assert (signed.f.format.width, signed.f.format.signed) == (8, True)


@pytest.mark.parametrize("setting", ["state_bits", "a_bits"])
def test_more_memory_bits_mean_a_higher_ratio_of_the_state(setting):
    model, frames = made("alone")
    base = dataclasses.replace(WIDE, state_bits=20, a_bits=16, b_bits=16)
    ratios = [
        quantize_model(model, frames, dataclasses.replace(base, **{setting: bits})).report["layer0.m"].sqnr_db
        for bits in (8, 10, 12)
    ]
    assert ratios == sorted(ratios)
    assert ratios[0] + 3 < ratios[-1]


def test_states_may_take_their_range_from_the_frames():
    model, frames = made("network")
    config = QuantizationConfig(state_bits=9, equalize=False)
    proven = quantize_model(model, frames, config)
    result = quantize_model(model, frames, dataclasses.replace(config, state_range="frames"))
    traces = model.run(frames)
    for index in (1, 2, 3):
        name = f"layer{index}.m"
        fmt = result.model.layers[index].m.format
        assert fmt == format_by_error(traces[name], 9)
        assert fmt.frac > proven.model.layers[index].m.format.frac
        assert result.report[name].sqnr_db > proven.report[name].sqnr_db
    assert "layer1.m: overflow is not excluded" in result.report.warnings
    loud = result.model.input.quantize(100 * frames)
    golden = Golden(result.model)
    state = golden.initial_state(len(loud))
    golden.run(loud, state)
    assert state.saturated["layer1.m"] > 0


def test_given_formats_are_used_and_leave_their_layer_unscaled():
    model, frames = made("network")
    formats = {
        "layer1.u": Format(7, 3), "layer1.m": Format(14, 9), "layer1.f": Format(6, 3, False),
        "layer1.h": Format(7, 4, False), "layer1.a": Format(13, 10), "layer1.b": Format(11, 8),
        "layer2.f": Format(8, 4),
    }  # fmt: skip
    result = quantize_model(model, frames, QuantizationConfig(formats=formats))
    layer = result.model.layers[1]
    used = {name: getattr(layer, name).format for name in "umfh"} | {"a": layer.a_format, "b": layer.b_format}
    assert {f"layer1.{name}": fmt for name, fmt in used.items()} == {
        name: fmt for name, fmt in formats.items() if name.startswith("layer1")
    }
    assert result.model.layers[2].f.format == formats["layer2.f"]
    np.testing.assert_array_equal(result.floats.layers[1].e_x, model.layers[1].e_x)


def test_names_that_the_layer_lacks_are_refused():
    model, frames = made("network")
    for formats in ({"layer2.u": Format(8, 4)}, {"layer0.f": Format(8, 4)}):
        with pytest.raises(ValueError, match=f"formats: the model has no '{next(iter(formats))}', only layer0.h, "):
            quantize_model(model, frames, QuantizationConfig(formats=formats))
    with pytest.raises(ValueError, match=r"weight_overrides: the model has no 'layer2.e_x', only "):
        quantize_model(model, frames, QuantizationConfig(weight_overrides={"layer2.e_x": 6}))


def test_overrides_set_the_bits_of_filters_and_mix():
    model, frames = made("network")
    config = QuantizationConfig(weight_overrides={"layer1.w_m": 6, "layer1.w_f": 3})
    layer = quantize_model(model, frames, config).model.layers[1]
    assert {name: weights.width for name, weights in layer.weights.items()} == {"e_x": 4, "w_m": 6, "w_f": 3}


def test_a_filter_is_scaled_for_the_memory_that_it_reads():
    model, frames = made("network")
    result = quantize_model(model, frames, QuantizationConfig(equalize=False, weight_bits=3))
    index, floats, layer = 2, model.layers[2], result.model.layers[2]
    power = np.square(model.run(frames)[f"layer{index}.m"]).mean(axis=(0, 1))
    power = np.maximum(power, 0.01 * power.mean())
    for row in range(len(floats.w_m)):
        memory = row // floats.filters
        own = power[memory * 4 : memory * 4 + 4]
        (alone,) = quantize_terms([WeightTerm(floats.w_m[row : row + 1], 3, own, layer.m.format.frac)])
        np.testing.assert_array_equal(alone.values[0], layer.w_m.values[row])
        assert alone.frac[0] == layer.w_m.frac[row]


def test_biases_are_the_nearest_at_the_scale_of_their_sums(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames)
    names = {"f": "b_f", "h": "b_h"}
    compared = 0
    for op in lower(result.model):
        bias = result.floats.layers[op.layer].tensors.get(names.get(op.target[-1], ""))
        if bias is not None:
            compared += 1
            assert (np.abs(np.ldexp(op.bias.astype(float), -op.frac) - bias) <= np.ldexp(0.5, -op.frac)).all()
    assert compared == 2 * sum(isinstance(layer, SeparableLayer) for layer in model.layers)


def test_the_residual_is_exact():
    """With filters that give nothing, the layer hands its input on, at any scale of the hidden state."""
    memories = (LegendreMemory(2, 4.0),) * 3
    layer = SeparableLayer(memories, None, np.zeros((3, 2)), np.zeros((3, 3)), residual=True, activation="linear")
    frames = np.random.default_rng(0).integers(-128, 128, (2, 6, 3)) / 32
    formats = {"x": Format(8, 5), "layer0.h": Format(16, 9)}
    model = quantize_model(FloatModel((layer,)), frames, QuantizationConfig(formats=formats)).model
    golden = Golden(model).run(model.input.quantize(frames))["logits"]
    np.testing.assert_array_equal(model.layers[0].h.format.real(golden), frames)


def test_logits_are_no_finer_than_their_exact_sum():
    model, frames = made("alone")
    result = quantize_model(model, 1e-9 * frames, QuantizationConfig(logits_bits=24, equalize=False))
    (layer,) = result.model.layers
    assert layer.h.format.frac <= max(int(layer.w_f.frac.max()) + layer.f.format.frac, result.model.input.frac)
    assert result.report.logits.clipped == 0


def test_equalizing_is_exact_in_floats():
    model, frames = made("network")
    scaled = scale_memories(model.layers[1], (3, -2, 0, 9))
    before = model.run(frames)
    after = dataclasses.replace(model, layers=(model.layers[0], scaled, *model.layers[2:])).run(frames)
    for name in ("layer1.f", "layer1.h", "logits"):
        np.testing.assert_array_equal(after[name], before[name])
    np.testing.assert_array_equal(after["layer1.u"], before["layer1.u"] * np.exp2([3, -2, 0, 9]))
    with pytest.raises(ValueError, match=r"^a layer must have e_x to scale the inputs of its memories$"):
        scale_memories(model.layers[2], (0,) * 6)


def test_trained_formats_have_filters():
    formats = {"x": Format(8, 3), "layer0.f": Format(7, 4, False)}
    data = {"input": formats["x"].to_dict(), "layers": [{"f": formats["layer0.f"].to_dict()}]}
    assert trained_formats(data) == formats


def test_the_report_has_every_tensor_and_vector_in_order():
    model, frames = made("network")
    result = quantize_model(model, frames)
    names = [row.name for row in result.report.rows]
    assert [name.removeprefix("layer1.") for name in names if name.startswith("layer1.")] == [
        "e_x", "w_m", "w_f", "b_f", "b_h", "a", "b", "u", "m", "f", "h",
    ]  # fmt: skip
    assert [name.removeprefix("layer2.") for name in names if name.startswith("layer2.")] == [
        "w_m", "w_f", "b_f", "b_h", "a", "b", "m", "f", "h",
    ]  # fmt: skip
    assert f"{result.report}".count("layer1.f ") == 1


def test_the_quantized_model_survives_its_file(kind, tmp_path):
    model, frames = made(kind)
    quantized = quantize_model(model, frames).model
    save(quantized, tmp_path / "model.safetensors")
    assert digest(load(tmp_path / "model.safetensors")) == digest(quantized)
