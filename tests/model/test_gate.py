"""The level gate: its arithmetic, its bounds, its place in the model and the file, and streams that sleep."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.model.bounds import certify, verify
from lmu_hw.model.fixed import Format
from lmu_hw.model.gate import Gate, levels
from lmu_hw.model.golden import Golden
from lmu_hw.model.stream import stream_logits
from lmu_sim.testing.random_models import random_model

GATE = Gate(margin=20, hold=3, rise=3, fall=1, floor=-40)
ELEMENT = Format(6, 2)


def gated(stride=1, gate=GATE, **options):
    layers = ("lmu", "dense", "lmu")
    model = random_model(np.random.default_rng(5), layers=layers, inputs=3, stride=stride, **options)
    low, high = model.inputs * model.input.min, model.inputs * model.input.max
    return replace(model, gate=replace(gate, margin=(high - low) // 8, floor=low))


def sounds(model, steps, seed=0):
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.random(-(-steps // 6)) < 0.4, 6)[:steps, None]
    frames = rng.integers(model.input.min, model.input.max, (steps, model.inputs), endpoint=True)
    return np.where(loud, frames, np.minimum(frames, model.input.min + 1))


def in_fractions(gate, frames):
    """Awake or not, from the equations, in exact fractions."""
    step = Fraction(1, 2**gate.fraction_bits)
    floor, since, verdicts = Fraction(gate.floor), math.inf, []
    for frame in frames.tolist():
        difference = sum(frame) - floor
        since = 0 if difference >= gate.margin else since + 1
        verdicts.append(since <= gate.hold)
        way = difference / 2 ** (gate.fall if difference < 0 else gate.rise)
        floor += math.floor(way / step) * step
    return verdicts


@pytest.mark.parametrize("shifts", [(3, 1), (1, 4), (0, 0), (5, 5)])
def test_frames_are_awake_as_the_equations_say(shifts):
    gate = replace(GATE, rise=shifts[0], fall=shifts[1])
    frames = np.random.default_rng(1).integers(-32, 32, (300, 3))
    awake = gate.awake(frames).tolist()
    assert awake == in_fractions(gate, frames)
    assert 20 < sum(awake) < 300


def test_steady_noise_puts_the_network_to_sleep_whatever_its_level():
    gate = replace(GATE, rise=5)
    for level in (-90, 0, 60):
        rng = np.random.default_rng(level + 90)
        noise = np.full((200, 3), level // 3) + rng.integers(-1, 2, (200, 3))
        awake = gate.awake(noise)
        assert not awake[120:].any()
        word = noise.copy()
        word[150:160] += 10
        heard = gate.awake(word)
        assert heard[150:163].all()
        assert not heard[:150][120:].any()


def test_extreme_frames_reach_the_bounds_and_do_not_leave_them():
    gate = replace(GATE, rise=0, fall=0)
    bound = gate.bound(5, ELEMENT)
    assert (bound.level_low, bound.level_high) == (5 * ELEMENT.min, 5 * ELEMENT.max)
    state = gate.initial_state()
    floors = []
    for level in (bound.level_low, bound.level_high, bound.level_low):
        gate.step(level, state)
        floors.append(state.floor)
    assert floors == [bound.floor_low, bound.floor_high, bound.floor_low]
    for value, bits in (
        (bound.level_low, bound.level_bits), (bound.floor_low, bound.floor_bits),
        (bound.floor_low - bound.floor_high, bound.difference_bits),
    ):  # fmt: skip
        assert -(1 << (bits - 1)) <= value < -(1 << (bits - 2))


def test_the_floor_stays_between_the_levels():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gate = replace(GATE, rise=int(rng.integers(0, 6)), fall=int(rng.integers(0, 6)))
        bound, state = gate.bound(2, ELEMENT), gate.initial_state()
        for level in rng.choice([bound.level_low, bound.level_high, 0], 200).tolist():
            gate.step(level, state)
            assert bound.floor_low <= state.floor <= bound.floor_high


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hold", 0, "hold must be in 1 to 65535, not 0"),
        ("rise", 13, "rise must be in 0 to 12, not 13"),
        ("fall", -1, "fall must be in 0 to 12, not -1"),
        ("margin", 1.5, "margin must be an integer, not 1.5"),
    ],
)
def test_parameters_are_checked(field, value, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}$"):
        Gate(**GATE.to_dict() | {field: value})


def test_a_gate_must_fit_the_network():
    model = random_model(np.random.default_rng(1), layers=("dense",), inputs=2)
    low, high = 2 * model.input.min, 2 * model.input.max
    with pytest.raises(ValueError, match=f"the gate's floor must be a level of {low} to {high}, not {high + 1}"):
        replace(model, gate=replace(GATE, floor=high + 1))
    message = f"the gate's margin must be a difference of levels, {low - high} to {high - low}, not {high - low + 1}"
    with pytest.raises(ValueError, match=message):
        replace(model, gate=replace(GATE, floor=low, margin=high - low + 1))
    with pytest.raises(TypeError, match="gate must be Gate or None, not 3"):
        replace(model, gate=3)


def test_held_open_every_frame_is_awake():
    frames = np.random.default_rng(2).choice([-32, 31], (100, 3))
    assert GATE.held_open(3, ELEMENT).awake(frames).all()
    assert not GATE.awake(frames).all()


def test_the_file_keeps_the_gate(tmp_path):
    model = gated()
    program_file.save(model, tmp_path / "gated.safetensors")
    assert program_file.load(tmp_path / "gated.safetensors").gate == model.gate
    assert program_file.digest(model) != program_file.digest(replace(model, gate=None))
    with pytest.raises(ValueError, match="unknown key 'loud' in the gate, expected margin, hold, rise, fall, floor"):
        Gate.from_dict(model.gate.to_dict() | {"loud": 1})


def test_the_certificate_proves_the_gate():
    model = gated()
    described = certify(model).to_dict()
    assert described["gate"]["level_high"] == 3 * model.input.max
    verify(described, model)
    described["gate"]["floor_bits"] += 1
    with pytest.raises(ValueError, match=r"gate\.floor_bits differs"):
        verify(described, model)
    assert "gate" not in certify(replace(model, gate=None)).to_dict()


@pytest.mark.parametrize("stride", [1, 3])
def test_a_frame_asleep_computes_nothing_and_clears_the_state(stride):
    model = gated(stride)
    golden, plain = Golden(model), Golden(replace(model, gate=None))
    state, other = golden.initial_state(), plain.initial_state()
    frames = sounds(model, 80)
    awake = model.gate.awake(frames)
    assert 10 < awake.sum() < 70
    for frame, heard in zip(frames, awake, strict=True):
        values = golden.step(frame[None], state)
        if not heard:
            assert values == {}
            assert not any(value.any() for value in state.values.values())
            other = plain.initial_state()
            continue
        expected = plain.step(frame[None], other)
        assert values.keys() == expected.keys()
        assert all(np.array_equal(values[name], expected[name]) for name in values)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("gate", [True, False])
def test_the_logits_of_a_stream_are_those_of_the_steps(stride, gate):
    model = gated(stride)
    model = model if gate else replace(model, gate=None)
    frames = sounds(model, 150, seed=3)
    golden = Golden(model)
    state, logits, numbers, restarts, fresh = golden.initial_state(), [], [], [], False
    for number, frame in enumerate(frames):
        values = golden.step(frame[None], state)
        fresh |= gate and (not values or number == 0)
        if "logits" in values:
            restarts += [len(logits)] if fresh else []
            logits.append(values["logits"][0])
            numbers.append(number)
            fresh = False
    stream = stream_logits(model, frames)
    assert np.array_equal(stream.logits, logits)
    assert stream.frames.tolist() == numbers
    assert stream.restarts.tolist() == restarts
    assert stream.awake == (model.gate.awake(frames).mean() if gate else 1.0)


def test_a_stream_that_is_never_loud_gives_nothing():
    model = gated()
    stream = stream_logits(model, np.full((5, 3), model.input.min))
    assert stream.logits.shape == (0, model.outputs)
    assert stream.awake == 0
    assert stream_logits(model, np.zeros((0, 3), np.int64)).logits.shape == (0, model.outputs)


def test_a_gate_takes_one_stream_at_a_time():
    model = gated()
    golden = Golden(model)
    with pytest.raises(ValueError, match="a network with a gate runs one stream at a time, not 2"):
        golden.run(np.zeros((2, 3, 3), np.int64))
    with pytest.raises(ValueError, match="a network with a gate takes stream_logits"):
        golden.run_long(np.zeros((1, 3, 3), np.int64))
    with pytest.raises(ValueError, match=r"a stream must have shape \(T, 3\), not \(1, 3, 3\)"):
        stream_logits(model, np.zeros((1, 3, 3), np.int64))


def test_levels_are_sums():
    assert levels([[1, 2, -4], [0, 0, 7]]).tolist() == [-1, 7]
