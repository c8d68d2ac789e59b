import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from lmu_hw.model.bounds import certify, impulse_response_l1
from lmu_hw.model.fixed import Format, Overflow, Rounding
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import lower
from lmu_hw.model.program_file import digest, load, save
from lmu_hw.plan.plan import make_plan
from lmu_quantize.calibrate import quantize_model, trained_formats
from lmu_quantize.equalize import equalizing_shifts, scale_memories
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.scales import WeightTerm, finest_format, format_by_error, format_by_percentile, quantize_terms

WIDE = QuantizationConfig(weight_bits=12, activation_bits=8, signed_bits=12, input_bits=12, u_bits=12, state_bits=20)
THREE = (LegendreMemory(4, 12.0),) * 3


def matrix(rng, rows, columns, gain=1.0):
    return gain * rng.normal(size=(rows, columns)) / math.sqrt(columns)


def kws(rng, inputs=10, units=12, memories=THREE, outputs=4, layers=2, **extra):
    """The keyword-spotting variant: feed-forward LMU layers with ReLU, then a dense layer."""
    found = []
    size = inputs
    for _ in range(layers):
        d = sum(memory.order for memory in memories)
        found.append(
            LMULayer(
                memories,
                matrix(rng, len(memories), size, 2.0),
                matrix(rng, units, d, 2.0),
                w_x=matrix(rng, units, size),
                b_h=0.1 * rng.normal(size=units),
                **extra,
            )
        )
        size = units
    return FloatModel((*found, DenseLayer(matrix(rng, outputs, size), 0.1 * rng.normal(size=outputs))))


def lmu2019(rng, inputs=3, units=8, memory=6):
    """The cell of 2019, every term of it, with a dense layer above."""
    cell = LMULayer(
        (LegendreMemory(memory, 20.0),),
        e_x=matrix(rng, 1, inputs),
        e_h=matrix(rng, 1, units, 0.3),
        e_m=matrix(rng, 1, memory, 0.1),
        w_x=matrix(rng, units, inputs),
        w_h=matrix(rng, units, units, 0.3),
        w_m=matrix(rng, units, memory),
        b_u=[0.05],
        b_h=0.1 * rng.normal(size=units),
        activation="tanh",
    )
    return FloatModel((cell, DenseLayer(matrix(rng, 3, units))))


def mixed_orders(rng):
    shapes = (3, 10.0), (5, 25.0), (3, 10.0), (4, 12.0, "euler")
    memories = tuple(LegendreMemory(*shape) for shape in shapes)
    return kws(rng, memories=memories, layers=1)


def strided(rng):
    one = kws(rng, layers=2)
    first, second, dense = one.layers
    return dataclasses.replace(one, layers=(dataclasses.replace(first, stride=2), second, dense))


def dense_first(rng):
    first = DenseLayer(matrix(rng, 10, 6), activation="relu")
    return FloatModel((first, *kws(rng, layers=1).layers))


def recurrent_with_relu_inputs(rng):
    memories = (LegendreMemory(4, 9.0),) * 2
    cell = LMULayer(
        memories, matrix(rng, 2, 5), matrix(rng, 7, 8), e_h=matrix(rng, 2, 7, 0.2), b_u=[0.2, 0.1], u_activation="relu"
    )
    return FloatModel((cell, DenseLayer(matrix(rng, 5, 7), activation="tanh"), DenseLayer(matrix(rng, 3, 5))))


def lmu_alone(rng):
    return FloatModel((LMULayer((LegendreMemory(4, 8.0),), matrix(rng, 1, 3), matrix(rng, 3, 4), activation="linear"),))


KINDS = {
    "kws": kws,
    "2019": lmu2019,
    "mixed": mixed_orders,
    "strided": strided,
    "dense first": dense_first,
    "relu u": recurrent_with_relu_inputs,
    "alone": lmu_alone,
}


def walk(rng, model, sequences=8, length=24):
    """Smooth frames, as features are: neighbouring frames are alike."""
    steps = rng.normal(size=(sequences, length, model.inputs))
    smooth = np.empty_like(steps)
    value = np.zeros((sequences, model.inputs))
    for t in range(length):
        value = 0.8 * value + 0.6 * steps[:, t]
        smooth[:, t] = value
    return smooth


def made(kind, seed=3):
    rng = np.random.default_rng(seed)
    model = KINDS[kind](rng)
    return model, walk(rng, model)


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


def test_wide_integers_follow_the_floats(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames, WIDE)
    wanted = model.run(frames)["logits"]
    golden = Golden(result.model).run(result.model.input.quantize(frames))["logits"]
    error = result.model.layers[-1].output.format.real(golden) - wanted
    assert golden.shape == wanted.shape
    assert 10 * math.log10(np.square(wanted).sum() / np.square(error).sum()) > 25
    assert result.report.logits.sqnr_db > 25
    assert result.report.agreement > 0.95


def test_default_bits_give_a_useful_network(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames)
    assert result.report.logits.sqnr_db > 8
    assert all(result.report.memories.values())


def test_more_weight_bits_mean_a_higher_ratio(kind):
    model, frames = made(kind)
    ratios = [
        quantize_model(model, frames, dataclasses.replace(WIDE, weight_bits=bits)).report.logits.sqnr_db
        for bits in (4, 6, 8)
    ]
    assert ratios[0] + 3 < ratios[1]
    assert ratios[1] + 1 < ratios[2]


@pytest.mark.parametrize("setting", ["state_bits", "a_bits"])
def test_more_memory_bits_mean_a_higher_ratio_of_the_state(setting):
    model, frames = made("kws")
    base = dataclasses.replace(WIDE, state_bits=20, a_bits=16, b_bits=16)
    ratios = [
        quantize_model(model, frames, dataclasses.replace(base, **{setting: bits})).report["layer0.m"].sqnr_db
        for bits in (8, 10, 12)
    ]
    assert ratios == sorted(ratios)
    assert ratios[0] + 3 < ratios[-1]


def test_no_logit_saturates_on_the_calibration_frames(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames, QuantizationConfig(logits_bits=8))
    assert result.report.logits.clipped == 0
    fmt = result.model.layers[-1].output.format
    if model.layers[-1].activation != "tanh":
        assert fmt.max * fmt.lsb >= 1.25 * np.abs(model.run(frames)["logits"]).max()


def test_no_memory_can_overflow(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames)
    bounds = certify(result.model).memories
    assert all(bound.fits for bound in bounds)
    for name, proven in result.report.memories.items():
        assert proven
        assert result.report[name].clipped == 0


def test_rounding_errors_of_coarse_states_are_part_of_the_proof():
    rng = np.random.default_rng(1)
    coarser = 0
    for theta in range(6, 30, 2):
        model = kws(rng, memories=(LegendreMemory(6, float(theta)),), layers=1)
        result = quantize_model(model, walk(rng, model, 2, 12), QuantizationConfig(state_bits=8))
        layer = result.model.layers[0]
        a, b = layer.a_format.real(layer.a[0]), layer.b_format.real(layer.b[0])
        noiseless = impulse_response_l1(a, b).max() * layer.u.format.magnitude * layer.u.format.lsb
        coarser += layer.m.format.frac < finest_format(noiseless, 8).frac
        assert result.report.memories["layer0.m"]
    assert 0 < coarser < 12


def test_one_bit_finer_the_state_of_a_feed_forward_layer_is_not_proven():
    model, frames = made("kws")
    first = quantize_model(model, frames)
    fmt = first.model.layers[0].m.format
    finer = {"layer0.m": Format(fmt.width, fmt.frac + 1)}
    second = quantize_model(model, frames, QuantizationConfig(formats=finer))
    assert second.model.layers[0].m.format == finer["layer0.m"]
    assert not second.report.memories["layer0.m"]


def test_a_memory_without_a_bound_takes_its_format_from_the_frames():
    rng = np.random.default_rng(0)
    cell = LMULayer((LegendreMemory(6, 4.0, "euler"),), [[1e-3, 0.0]], matrix(rng, 3, 6))
    model = FloatModel((cell,))
    frames = np.zeros((1, 4, 2))
    frames[0, 0, 0] = 1.0
    result = quantize_model(model, frames, QuantizationConfig(state_bits=12))
    peak = np.abs(model.run(frames)["layer0.m"]).max()
    assert not result.report.memories["layer0.m"]
    assert 2 <= result.model.layers[0].m.format.max * result.model.layers[0].m.format.lsb / peak < 4 * 1.01


def test_the_scales_of_every_sum_obey_the_rule(kind):
    model, frames = made(kind)
    quantized = quantize_model(model, frames).model
    assert len(lower(quantized)) >= len(quantized.layers)
    for layer in quantized.layers:
        sums = (("e_x", "e_h", "e_m"), ("w_x", "w_h", "w_m"))
        for names in sums:
            fracs = [layer.weights[name].frac for name in names if name in layer.weights]
            for left, right in itertools.combinations(fracs, 2):
                assert np.unique(left - right).size == 1


@pytest.mark.parametrize(("weight_range", "least"), [("symmetric", -7), ("full", -8)])
def test_weights_keep_their_range(weight_range, least):
    model, frames = made("kws")
    quantized = quantize_model(model, frames, QuantizationConfig(weight_range=weight_range)).model
    values = np.concatenate([w.values.ravel() for layer in quantized.layers for w in layer.weights.values()])
    assert values.min() == least
    assert values.max() == 7


def test_overrides_set_the_bits_of_a_layer_or_a_matrix():
    model, frames = made("kws")
    config = QuantizationConfig(weight_overrides={"layer1": 6, "layer1.w_m": 5, "layer2.w": 8})
    quantized = quantize_model(model, frames, config).model
    widths = {f"{i}.{name}": w.width for i, layer in enumerate(quantized.layers) for name, w in layer.weights.items()}
    assert widths == {
        "0.e_x": 4, "0.w_x": 4, "0.w_m": 4, "1.e_x": 6, "1.w_x": 6, "1.w_m": 5, "2.w": 8,
    }  # fmt: skip


def test_formats_of_signals_have_the_bits_asked_for():
    model, frames = made("kws")
    quantized = quantize_model(model, frames, QuantizationConfig(activation_bits=7, u_bits=6, input_bits=5)).model
    assert (quantized.input.width, quantized.input.signed) == (5, True)
    assert (quantized.layers[0].h.format.width, quantized.layers[0].h.format.signed) == (7, False)
    assert (quantized.layers[0].u.format.width, quantized.layers[0].u.format.signed) == (6, True)
    assert (quantized.layers[2].h.format.width, quantized.layers[2].h.format.signed) == (16, True)
    wide = quantize_model(model, frames, QuantizationConfig(activation_bits=8)).model
    assert (wide.layers[0].h.format.width, wide.layers[0].h.format.signed) == (8, True)


def test_given_formats_are_used_and_leave_their_layer_unscaled():
    model, frames = made("2019")
    formats = {
        "x": Format(9, 5),
        "layer0.u": Format(7, 5),
        "layer0.m": Format(14, 9),
        "layer0.h": Format(8, 6),
        "layer0.a": Format(13, 12),
        "layer0.b": Format(11, 10),
        "layer0.table": Format(9, 6),
        "layer1.h": Format(12, 8),
    }
    result = quantize_model(model, frames, QuantizationConfig(formats=formats))
    cell, dense = result.model.layers
    found = {
        "x": result.model.input, "layer0.u": cell.u.format, "layer0.m": cell.m.format, "layer0.h": cell.h.format,
        "layer0.a": cell.a_format, "layer0.b": cell.b_format, "layer0.table": cell.table, "layer1.h": dense.h.format,
    }  # fmt: skip
    assert found == formats
    assert result.floats is not None
    np.testing.assert_array_equal(result.floats.layers[0].e_x, model.layers[0].e_x)


def test_weights_that_lie_on_a_grid_are_found_exactly():
    rng = np.random.default_rng(8)
    model, frames = made("kws")
    layers = []
    for layer in model.layers:
        rows = rng.integers(2, 6, len(layer.tensors.get("w_m", layer.tensors.get("w"))))
        tensors = {}
        for name, offset in (("w_x", 1), ("w_m", 0), ("w", 0)):
            if name in layer.tensors:
                values = rng.integers(-7, 8, layer.tensors[name].shape)
                tensors[name] = np.ldexp(values.astype(float), -(rows + offset)[:, None])
        layers.append(dataclasses.replace(layer, **tensors))
    model = dataclasses.replace(model, layers=tuple(layers))
    result = quantize_model(model, frames, QuantizationConfig(equalize=False))
    for name in ("layer0.w_x", "layer0.w_m", "layer1.w_x", "layer1.w_m", "layer2.w"):
        assert math.isinf(result.report[name].sqnr_db)


def test_biases_are_the_nearest_at_the_scale_of_their_sums(kind):
    model, frames = made(kind)
    result = quantize_model(model, frames)
    for op in lower(result.model):
        names = {"u": "b_u", "h": "b_h" if isinstance(result.floats.layers[op.layer], LMULayer) else "b"}
        bias = result.floats.layers[op.layer].tensors.get(names.get(op.target.split(".")[1], ""))
        if bias is not None:
            assert (np.abs(np.ldexp(op.bias.astype(float), -op.frac) - bias) <= np.ldexp(0.5, -op.frac)).all()


def test_equal_memories_share_their_matrices():
    model, frames = made("mixed")
    layer = quantize_model(model, frames).model.layers[0]
    assert layer.matrix == (0, 1, 0, 2)
    assert len(layer.a) == len(layer.b) == 3


def test_tables_are_the_best_of_their_width():
    model, frames = made("2019")
    coarse = quantize_model(model, frames, dataclasses.replace(WIDE, signed_bits=8, table_bits=5))
    fine = quantize_model(model, frames, dataclasses.replace(WIDE, signed_bits=8, table_bits=12))
    assert coarse.model.layers[0].table.width == 5
    assert coarse.report["layer0.h"].sqnr_db + 6 < fine.report["layer0.h"].sqnr_db


@pytest.mark.parametrize("gain", [0.3, 0.1, 0.01])
def test_small_hidden_states_of_tanh_are_kept(gain):
    """A format of h that ends far below 1 is no reason for a coarse table."""
    model, frames = made("2019")
    cell, dense = model.layers
    small = {name: gain * cell.tensors[name] for name in ("w_x", "w_m", "b_h")}
    model = dataclasses.replace(model, layers=(dataclasses.replace(cell, **small), dense))
    result = quantize_model(model, frames, QuantizationConfig(weight_bits=8))
    assert result.report["layer0.h"].sqnr_db > 20
    assert result.report.agreement > 0.9


def test_the_table_of_a_silent_tanh_is_fine_and_holds_one():
    memory, encoder = LegendreMemory(3, 5.0), np.zeros((1, 2))
    cell = LMULayer((memory,), np.zeros((1, 2)), np.zeros((2, 3)), activation="tanh", e_h=encoder)
    model = quantize_model(FloatModel((cell, DenseLayer(np.ones((1, 2))))), np.zeros((1, 5, 2))).model
    assert model.layers[0].table == Format(10, 8)


def test_saturated_hidden_states_of_tanh_are_kept():
    model = FloatModel((DenseLayer([[40.0]], activation="tanh"), DenseLayer([[1.0]])))
    report = quantize_model(model, np.linspace(-3, 3, 101)[None, :, None]).report
    assert report["layer0.h"].sqnr_db > 30
    assert report.warnings == ()


def test_modes_reach_every_vector():
    model, frames = made("2019")
    config = QuantizationConfig(rounding=Rounding.FLOOR, overflow=Overflow.SAT_SYM)
    cell, dense = quantize_model(model, frames, config).model.layers
    for quantizer in (cell.u, cell.m, cell.h, dense.h):
        assert quantizer.rounding is Rounding.FLOOR
        assert quantizer.overflow is Overflow.SAT_SYM


def test_the_percentile_rule_clips_what_it_says():
    model, frames = made("kws")
    frames[0, 0] = 1000.0
    config = QuantizationConfig(range_rule="percentile", percentile=99.0)
    result = quantize_model(model, frames, config)
    assert 0 < result.report["x"].clipped <= 0.01
    config = dataclasses.replace(config, percentile=100)
    assert quantize_model(model, frames, config).report["x"].clipped == 0


def test_equalizing_is_exact_in_floats(kind):
    model, frames = made(kind)
    rng = np.random.default_rng(2)
    layers = [
        scale_memories(layer, rng.integers(-9, 10, len(layer.memories)).tolist())
        if isinstance(layer, LMULayer)
        else layer
        for layer in model.layers
    ]
    scaled = dataclasses.replace(model, layers=tuple(layers))
    before, after = model.run(frames), scaled.run(frames)
    for name, value in before.items():
        if name.endswith(".h") or name == "logits":
            np.testing.assert_array_equal(after[name], value)


def test_equalizing_brings_unequal_inputs_to_one_scale():
    model, frames = made("kws")
    uneven = scale_memories(model.layers[0], (-7, 0, 5))
    model = dataclasses.replace(model, layers=(uneven, *model.layers[1:]))
    u = model.run(frames)["layer0.u"]
    shifts = equalizing_shifts(u, 8)
    even = np.abs(u * np.exp2(shifts)).max(axis=(0, 1))
    assert even.max() / even.min() < 4
    without = quantize_model(model, frames, dataclasses.replace(WIDE, equalize=False, u_bits=8))
    result = quantize_model(model, frames, dataclasses.replace(WIDE, u_bits=8))
    assert result.report.logits.sqnr_db > without.report.logits.sqnr_db + 6
    assert result.model.notes["equalization"]["layer0.u"] == list(shifts)


def test_equalizing_leaves_silent_memories_alone():
    assert equalizing_shifts(np.zeros((2, 3, 4)), 8) == (0, 0, 0, 0)
    u = np.stack([np.full(9, 1.0), np.zeros(9), np.full(9, 0.25), np.full(9, 1.0)], axis=-1)
    assert equalizing_shifts(u, 8) == (0, 0, 2, 0)


def test_scale_memories_wants_one_shift_each():
    model, _ = made("kws")
    with pytest.raises(ValueError, match="shifts must be 3, one for each memory, not 2"):
        scale_memories(model.layers[0], (1, 2))


def speech_like(rng, clips=4):
    """One second of voiced sound with moving formants between pauses, as int16."""
    t = np.arange(16_000) / 16_000
    found = []
    for _ in range(clips):
        pitch, first, second = rng.uniform(90, 220), rng.uniform(300, 800), rng.uniform(900, 2400)
        centre = first * (1 + 0.3 * np.sin(2 * np.pi * 2 * t))
        voice = sum(
            np.exp(-(((k * pitch - centre) / 200) ** 2)) * np.sin(2 * np.pi * k * pitch * t)
            + 0.5 * np.exp(-(((k * pitch - second) / 300) ** 2)) * np.sin(2 * np.pi * k * pitch * t)
            for k in range(1, 30)
        )
        envelope = np.exp(-(((t - rng.uniform(0.35, 0.65)) / 0.18) ** 2))
        found.append(6000 * envelope * voice + 20 * rng.normal(size=t.size))
    return np.clip(np.rint(found), -32768, 32767).astype(np.int16)


def test_frames_of_a_front_end_calibrate_a_network(tmp_path):
    rng = np.random.default_rng(4)
    front_end = FrontEnd("mfcc", n_coefficients=10)
    frames = front_end.frames_batch(speech_like(rng))
    frames = (frames - frames.mean(axis=(0, 1))) / frames.std(axis=(0, 1))
    model = dataclasses.replace(kws(rng), labels=("a", "b", "c", "d"), name="speech", front_end=front_end.to_dict())
    result = quantize_model(model, frames, QuantizationConfig(weight_bits=8))
    assert result.report.logits.sqnr_db > 20
    assert (result.model.labels, result.model.name) == (model.labels, "speech")
    assert result.model.front_end == front_end.to_dict()
    save(result.model, tmp_path / "model.safetensors")
    assert digest(load(tmp_path / "model.safetensors")) == digest(result.model)


def test_the_same_input_gives_the_same_model():
    model, frames = made("2019")
    assert digest(quantize_model(model, frames).model) == digest(quantize_model(model, frames).model)


def test_the_notes_say_how_it_was_made():
    model, frames = made("kws")
    model = dataclasses.replace(model, notes={"origin": "test"})
    config = QuantizationConfig(weight_bits=5)
    notes = quantize_model(model, frames, config).model.notes
    assert notes["origin"] == "test"
    assert QuantizationConfig.from_dict(notes["quantization"]) == config
    assert notes["calibration"]["frames"] == [8, 24, 10]
    assert len(notes["calibration"]["sha256"]) == 64


def test_the_report_is_json_and_a_table():
    model, frames = made("2019")
    report = quantize_model(model, frames).report
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    names = [row["name"] for row in data["rows"]]
    cell = ["e_x", "e_h", "e_m", "w_x", "w_h", "w_m", "b_u", "b_h", "a", "b", "u", "m", "h"]
    assert names == ["x", *(f"layer0.{name}" for name in cell), "layer1.w", "layer1.h"]
    assert {row["kind"] for row in data["rows"]} == {"vector", "weight", "bias", "matrix"}
    lines = str(report).splitlines()
    assert len(lines) == len(names) + 5
    assert lines[0].split()[:4] == ["name", "kind", "format", "elements"]
    assert lines[-4].startswith("SQNR: power of the signal over that of the quantization error; clipped: ")
    assert "; format s4.3..4: signed (u: unsigned), 4 bits, 3 to 4 of them fraction bits" in lines[-4]
    assert lines[-3] == "layer0.m: cannot overflow (proven)"
    assert lines[-2] == "layer0.h: error of the tanh table at most 0.00781, over all inputs (beyond its formats too)"
    assert lines[-1].startswith("same decision as the float model: ")
    assert data["tanh_error"] == {"layer0.h": pytest.approx(2**-7, abs=1e-6)}
    assert data["warnings"] == []
    assert report["layer0.h"].name == "layer0.h"
    with pytest.raises(KeyError, match="layer9"):
        report["layer9.h"]


def test_the_report_measures_what_it_says():
    frames = np.array([[[0.5], [0.25], [3.0], [-0.125]]])
    model = FloatModel((DenseLayer([[1.0]]),))
    formats = {"x": Format(3, 1), "layer0.h": Format(8, 3)}
    report = quantize_model(model, frames, QuantizationConfig(formats=formats)).report
    row = report["x"]
    assert (row.elements, row.clipped, row.format) == (4, 0.25, "s3.1")
    assert row.max_error == 1.5
    errors = np.array([0.0, 0.25, -1.5, 0.125])
    wanted = 10 * math.log10(np.square(frames).sum() / np.square(errors).sum())
    assert row.sqnr_db == pytest.approx(wanted)
    assert math.isinf(report["layer0.w"].sqnr_db)
    assert report.to_dict()["rows"][1]["sqnr_db"] is None


def test_trained_formats_are_read():
    data = {
        "input": {"width": 8, "frac": 4, "signed": True},
        "layers": [
            {
                "type": "lmu",
                "u": {"width": 8, "frac": 3, "signed": True},
                "h": {"width": 7, "frac": 5, "signed": False},
                "weights": {"e_x": {"bits": 4, "frac": [3]}},
            },
            {"type": "dense", "weights": {"w": {"bits": 4, "frac": [2]}}},
        ],
    }
    wanted = {"x": Format(8, 4), "layer0.u": Format(8, 3), "layer0.h": Format(7, 5, signed=False)}
    assert trained_formats(data) == wanted
    with pytest.raises(ValueError, match="must have the keys input and layers"):
        trained_formats({"layers": []})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    model, frames = made("kws")
    frames[1, 2, 3] = bad
    with pytest.raises(ValueError, match="calibration frames must be finite"):
        quantize_model(model, frames)
    with pytest.raises(ValueError, match="w must be finite"):
        quantize_model(FloatModel((DenseLayer([[bad]]),)), np.zeros((1, 1, 1)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 10), r"must have shape \(N, T, 10\), not \(6, 10\)"),
        ((6, 5, 9), r"must have shape \(N, T, 10\), not \(6, 5, 9\)"),
        ((0, 5, 10), "needs at least 1 sequence of 2 frames"),
        ((3, 1, 10), "needs at least 1 sequence of 2 frames"),
    ],
)
def test_frames_of_another_shape_are_refused(shape, message):
    model, _ = made("strided")
    with pytest.raises(ValueError, match=message):
        quantize_model(model, np.zeros(shape))


def test_names_that_the_model_lacks_are_refused():
    model, frames = made("kws")
    with pytest.raises(ValueError, match=r"weight_overrides: the model has no 'layer0.e_h', only layer0, layer0.e_x"):
        quantize_model(model, frames, QuantizationConfig(weight_overrides={"layer0.e_h": 4}))
    with pytest.raises(ValueError, match=r"formats: the model has no 'layer0.table'"):
        quantize_model(model, frames, QuantizationConfig(formats={"layer0.table": Format(8, 4)}))


def test_silent_frames_and_zero_weights_still_make_a_model():
    model = FloatModel((LMULayer((LegendreMemory(3, 5.0),), np.zeros((1, 2)), np.zeros((2, 3)), b_h=[0.0, 0.5]),))
    report = quantize_model(model, np.zeros((1, 5, 2))).report
    assert report.agreement == 1.0
    assert report["layer0.h"].max_error < 0.01


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight_bits": 1}, ValueError, "weight_bits must be in 2 to 16, not 1"),
        ({"weight_bits": 4.0}, TypeError, r"weight_bits must be an integer, not 4\.0"),
        ({"weight_bits": True}, TypeError, "weight_bits must be an integer, not True"),
        ({"activation_bits": 9}, ValueError, "activation_bits must be in 7 to 8, not 9"),
        ({"signed_bits": 17}, ValueError, "signed_bits must be in 2 to 16, not 17"),
        ({"input_bits": 0}, ValueError, "input_bits must be in 2 to 16, not 0"),
        ({"u_bits": "8"}, TypeError, "u_bits must be an integer, not '8'"),
        ({"state_bits": 3}, ValueError, "state_bits must be in 4 to 24, not 3"),
        ({"state_range": "wide"}, ValueError, "state_range must be one of proven, frames, not 'wide'"),
        ({"a_bits": 3}, ValueError, "a_bits must be in 4 to 16, not 3"),
        ({"b_bits": 17}, ValueError, "b_bits must be in 4 to 16, not 17"),
        ({"logits_bits": 25}, ValueError, "logits_bits must be in 8 to 24, not 25"),
        ({"table_bits": 3}, ValueError, "table_bits must be in 4 to 14, not 3"),
        ({"weight_range": "wide"}, ValueError, "weight_range must be one of symmetric, full, not 'wide'"),
        ({"range_rule": "max"}, ValueError, "range_rule must be one of mse, percentile, not 'max'"),
        ({"percentile": 0}, ValueError, "percentile must be a finite number above 0 and at most 100, not 0"),
        ({"percentile": math.nan}, ValueError, "percentile must be a finite number above 0 and at most 100, not nan"),
        ({"percentile": "99"}, TypeError, "percentile must be a number, not '99'"),
        ({"equalize": 1}, TypeError, "equalize must be true or false, not 1"),
        ({"rounding": "NEAREST"}, ValueError, "rounding must be one of ROUND, .*, not 'NEAREST'"),
        ({"overflow": None}, ValueError, "overflow must be one of SAT, .*, not None"),
        ({"weight_overrides": [4]}, TypeError, r"weight_overrides must be a mapping, not \[4\]"),
        ({"weight_overrides": {"layer0.b_h": 4}}, ValueError, "weight_overrides has an unknown name 'layer0.b_h'"),
        ({"weight_overrides": {"layer0": 1}}, ValueError, "weight_overrides layer0 must be in 2 to 16, not 1"),
        ({"formats": {"layer0.v": Format(8, 0)}}, ValueError, "formats has an unknown name 'layer0.v'"),
        ({"formats": {1: Format(8, 0)}}, ValueError, "formats has an unknown name 1"),
        ({"formats": {"x": 8}}, TypeError, "formats x must be a Format, not 8"),
    ],
)
def test_bad_settings_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        QuantizationConfig(**change)


def test_settings_survive_json():
    config = QuantizationConfig(
        weight_bits=5,
        weight_overrides={"layer0": 8},
        formats={"x": Format(8, 4)},
        rounding=Rounding.FLOOR,
        overflow=Overflow.WRAP,
        equalize=False,
    )
    assert QuantizationConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert QuantizationConfig.from_dict({}) == QuantizationConfig()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, r"the quantization settings must be an object, not \[\]"),
        ({"bits": 4}, ValueError, "unknown key 'bits' in the quantization settings, expected weight_bits, "),
        ({"rounding": "NEAREST"}, ValueError, "rounding must be one of ROUND, .*, not 'NEAREST'"),
        ({"overflow": []}, ValueError, r"overflow must be one of SAT, .*, not \[\]"),
        ({"formats": 3}, TypeError, "formats must be an object, not 3"),
        ({"formats": {"x": {"width": 8}}}, ValueError, "the format lacks the key 'frac'"),
    ],
)
def test_bad_json_settings_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        QuantizationConfig.from_dict(data)


@pytest.mark.parametrize("peak", [0.0, 1e-300, 5e-324, 0.3, 127.0, 127.4, 127.5, 1e9])
def test_the_finest_format_holds_its_peak(peak):
    fmt = finest_format(peak, 8)
    assert math.floor(math.ldexp(peak, fmt.frac) + 0.5) <= 127
    if 1e-6 < peak < 1e9:
        assert math.floor(math.ldexp(peak, fmt.frac + 1) + 0.5) > 127


def test_the_format_by_error_is_the_best_of_all():
    rng = np.random.default_rng(6)
    values = rng.standard_t(3, size=5000)
    fmt = format_by_error(values, 5)

    def error(frac):
        other = Format(5, frac)
        return np.square(other.real(other.quantize(values)) - values).sum()

    assert error(fmt.frac) == min(error(frac) for frac in range(-10, 12))
    assert fmt.frac > format_by_percentile(values, 5, 100.0).frac


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_the_scales_of_a_sum_are_the_joint_best(terms):
    rng = np.random.default_rng(terms)
    gains = [1.0, 0.2, 3.0][:terms]
    found = [WeightTerm(g * rng.standard_t(4, size=(3, 6)), 4, rng.uniform(0.1, 2, 6), 4) for g in gains]
    quantized = quantize_terms(found)

    def row_error(term, row, frac):
        scaled = np.clip(np.floor(np.ldexp(term.weights[row], frac) + 0.5), -7, 7)
        return float(np.square(np.ldexp(scaled, -frac) - term.weights[row]) @ term.power)

    fracs = range(-3, 9)
    table = [[[row_error(term, row, frac) for frac in fracs] for row in range(3)] for term in found]
    best = min(
        sum(
            min(
                (
                    sum(table[k][row][base + offset] for k, offset in enumerate((0, *offsets)))
                    for base in range(len(fracs))
                    if all(0 <= base + offset < len(fracs) for offset in offsets)
                ),
                default=math.inf,
            )
            for row in range(3)
        )
        for offsets in itertools.product(range(-6, 7), repeat=terms - 1)
    )
    total = sum(
        float(np.square(weights.real() - term.weights).sum(axis=0) @ term.power)
        for weights, term in zip(quantized, found, strict=True)
    )
    assert total == pytest.approx(best)


def test_a_row_of_zeros_takes_a_scale_of_the_others():
    weights = np.array([[0.0, 0.0], [1.0, 0.5], [0.25, 0.125]])
    (quantized,) = quantize_terms([WeightTerm(weights, 4, np.ones(2), 0)])
    assert quantized.frac[0] == quantized.frac[1:].max()
    np.testing.assert_array_equal(quantized.real(), weights)


def scaled(model, weights=1.0, biases=1.0):
    layers = [
        dataclasses.replace(
            layer, **{name: value * (biases if name[0] == "b" else weights) for name, value in layer.tensors.items()}
        )
        for layer in model.layers
    ]
    return dataclasses.replace(model, layers=tuple(layers))


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_frames_that_no_format_holds_are_warned_of(scale):
    model, frames = made("alone")
    report = quantize_model(model, scale * frames).report
    assert report.warnings[0] == "x: SQNR 0.0 dB, below 3 dB"
    assert ("x: 100.0 % clipped, above 5 %" in report.warnings) == (scale > 1)
    assert report.to_dict()["warnings"] == list(report.warnings)
    assert "warning: x: SQNR 0.0 dB, below 3 dB" in str(report).splitlines()


def test_good_models_are_without_warnings(kind):
    model, frames = made(kind)
    assert quantize_model(model, frames, WIDE).report.warnings == ()


def test_a_model_that_decides_otherwise_is_warned_of():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, 6))
    weights[1] = weights[0] + 0.01 * rng.normal(size=6)  # logits that 4 bits do not tell apart
    model = FloatModel((DenseLayer(w=rng.normal(size=(6, 4)), activation="relu"), DenseLayer(w=weights)))
    report = quantize_model(model, rng.uniform(-1, 1, (20, 30, 4))).report
    assert report.agreement == 0.635
    assert report.warnings == ("same decision as the float model in 63.50 % of the frames, below 80 %",)


def test_a_handed_model_that_decides_otherwise_is_warned_of(handed_cases):
    model = load_float(handed_cases / "models" / "mixed_rows.safetensors")
    frames = np.random.default_rng(0).uniform(-1, 1, (20, 30, 4))
    assert quantize_model(model, frames).report.warnings == (
        "layer1.w: 33.3 % clipped, above 20 %",
        "same decision as the float model in 59.50 % of the frames, below 80 %",
    )


def test_a_memory_that_is_not_proven_is_warned_of():
    model, frames = made("kws")
    fmt = quantize_model(model, frames).model.layers[0].m.format
    finer = {"layer0.m": Format(fmt.width, fmt.frac + 1)}
    report = quantize_model(model, frames, QuantizationConfig(formats=finer)).report
    assert report.warnings == ("layer0.m: overflow is not excluded",)


def test_strides_that_no_accelerator_is_built_for_are_refused():
    model, frames = made("strided")
    layers = (dataclasses.replace(model.layers[0], stride=10**9), *model.layers[1:])
    with pytest.raises(ValueError, match=r"^layer stride must be in 1 to 1024, not 1000000000$"):
        quantize_model(dataclasses.replace(model, layers=layers), frames)


@pytest.mark.parametrize("kind", ["kws", "2019"])
@pytest.mark.parametrize(
    ("frames_by", "weights_by", "biases_by"),
    [(1e30, 1, 1), (1e-30, 1, 1), (1, 1e-30, 1), (1, 1, 1e12), (1e8, 1e-8, 1)],
)
def test_what_is_quantized_can_be_planned(kind, frames_by, weights_by, biases_by):
    model, frames = made(kind)
    result = quantize_model(scaled(model, weights_by, biases_by), frames_by * frames)
    assert make_plan(result.model).accumulator_width <= 62


def test_a_bias_beyond_every_sum_is_refused():
    model, frames = made("kws")
    with pytest.raises(ValueError, match=r"^layer0\.h: the bias b_h reaches .* at the scale of its sum, over 62 bits$"):
        quantize_model(scaled(model, biases=1e30), frames)


def test_a_sum_beyond_62_bits_is_refused():
    model, frames = made("2019")
    with pytest.raises(ValueError, match=r"^layer0\.u: a sum may reach \d+, over 62 bits$"):
        quantize_model(scaled(model, weights=1e8), 1e-8 * frames)


def test_a_float_model_that_diverges_is_refused():
    model, frames = made("2019")
    with pytest.raises(ValueError, match=r"^layer0\.\w of the float model is not finite on the calibration frames$"):
        quantize_model(scaled(model, weights=1e30), frames)
