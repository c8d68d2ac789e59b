"""The level gate in hardware: frames awake and asleep against the golden model, bit for bit and to the cycle."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.host.link import LinkLayout
from lmu_hw.model.gate import Gate, levels
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape
from lmu_sim.cosim import CosimOptions, cosimulate, cosimulate_variant
from lmu_sim.stimulus import Marks, reference, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

LEVERS = {"stop_clock": True, "gate_blocks": True, "control_reset": True}
SPOTTER = {"stride": 1, "e_h": False, "e_m": False, "w_x": True, "w_h": False, "bias": True}

CASES = {
    "keep": ({"layers": ("lmu", "dense"), **SPOTTER, "inputs": 4}, {"lanes": 4}),
    "strided": ({"layers": ("lmu", "lmu"), "stride": 2, "inputs": 3}, {"lanes": 3, "state": "utterance"}),
    "levers": ({"layers": ("lmu", "dense"), "inputs": 5}, {"lanes": 4, "state": "pulse", **LEVERS}),
    "loaded": ({"layers": ("lmu", "dense"), "inputs": 1}, {"lanes": 2, "weights": "ram", "state": "pulse"}),
    "engine": (
        {"layers": ("lmu", "dense"), **SPOTTER, "inputs": 4, "memories": [(3, 6.0)] * 2},
        {"lanes": 4, "memories_at_once": 2},
    ),
    "zeros": (
        {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 9, "activation": "relu", "inputs": 4},
        {"lanes": 3, "state": "utterance", "skip_zero_elements": True, **LEVERS},
    ),
}


def sounds(rng, model, utterances, steps):
    """Frames that are quiet for some time, then loud for some, shape (utterances, steps, inputs)."""
    frames = random_frames(rng, model, utterances, steps)
    quiet = np.repeat(rng.random((utterances, -(-steps // 5), 1)) < 0.6, 5, axis=1)[:, :steps]
    low = model.input.min + (model.input.max - model.input.min) // 8
    return np.where(quiet, np.minimum(frames, low), frames)


def case(name, utterances=3, steps=25):
    options, config = CASES[name]
    rng = np.random.default_rng(list(CASES).index(name))
    model = random_model(rng, **options)
    span = model.inputs * (model.input.max - model.input.min)
    low = model.inputs * model.input.min
    model = replace(model, gate=Gate(margin=span // 8, hold=3, rise=3, fall=2, floor=low + span // 16))
    plan = make_plan(model, AcceleratorConfig(**config))
    return plan, sounds(rng, model, utterances, steps)


@pytest.mark.parametrize("name", CASES)
def test_frames_awake_and_asleep_under_stalls_clears_and_resets(name):
    plan, frames = case(name)
    wrong = {7: [[0] * (plan.model.inputs + 1)], 31: [[0] * (2 * plan.model.inputs + 1)]}
    sent = stimulus(plan, frames, Marks(reset_in_frame={40: 11}, malformed=wrong), seed=2)
    computed = reference(plan.model, sent)
    assert min(len(computed.asleep), len(computed.expected)) > 15
    result = cosimulate(plan, sent, CosimOptions(stalls="random", seed=3))
    result.check()
    assert result.blocks["asleep"][1] == 0
    assert result.blocks["asleep"][0] > 60


@pytest.mark.parametrize("name", ["keep", "zeros"])
def test_cycles_of_both_kinds_of_frames_are_those_of_the_plan(name):
    plan, frames = case(name, utterances=1, steps=80)
    result = cosimulate(plan, frames)
    result.check()
    asleep = [pair for pair in result.intervals if pair[1] == plan.asleep_cycles]
    assert len(asleep) > 10
    assert len(result.intervals) > len(asleep)
    spaced = cosimulate(plan, frames, CosimOptions(spaced=True))
    spaced.check()
    assert len(spaced.latencies) == len(reference(plan.model, stimulus(plan, frames)).expected)
    ungated = make_plan(replace(plan.model, gate=None), plan.config)
    assert ungated.frames == plan.frames
    assert ungated.asleep_cycles == 0


def test_another_gate_is_noticed():
    plan, frames = case("keep", utterances=1, steps=40)
    other = replace(plan.model, gate=replace(plan.model.gate, hold=4))
    result = cosimulate_variant(plan, frames, model=other)
    assert result.blocks["asleep"][1] > 0
    assert not result.exact


def test_smoothing_starts_anew_after_sleep():
    plan, frames = case("keep", utterances=1, steps=80)
    smoothing = Smoothing((0,), 2, 1, 1, 2)
    plan = make_plan(plan.model, replace(plan.config, smoothing=smoothing))
    result = cosimulate(plan, frames, CosimOptions(stalls="random"))
    result.check()
    assert result.blocks["event.label"][0] > 3


def test_what_knows_no_gate_refuses_it():
    plan, _ = case("loaded")
    model, config = plan.model, plan.config
    message = "frames_per_fetch of 2 needs a network without a gate, which judges frame by frame"
    with pytest.raises(ValueError, match=message):
        make_plan(model, AcceleratorConfig(frames_per_fetch=2))
    with pytest.raises(ValueError, match="a board's link needs a network without a gate"):
        LinkLayout.of(plan)
    plain = make_plan(replace(model, gate=None), config)
    gate = r"a gate with margin=\d+ hold=3 rise=3 fall=2 floor=-?\d+"
    with pytest.raises(ShapeError, match=f"{gate}, the accelerator has no gate"):
        fitted(plan, shape(plain))
    other = make_plan(replace(model, gate=replace(model.gate, hold=9)), config)
    for own, theirs in ((plain, plan), (other, plan)):
        with pytest.raises(ShapeError, match=f"(no gate|hold=9 .*), the accelerator has {gate}"):
            fitted(own, shape(theirs))
    assert fitted(plan, shape(plan)).images() == plan.images()


def test_held_open_computes_every_frame():
    plan, frames = case("keep", utterances=1, steps=20)
    model = plan.model
    opened = replace(model, gate=model.gate.held_open(model.inputs, model.input))
    assert levels(frames).min() < levels(frames).max()
    sent = stimulus(plan, frames)
    every, plain = reference(opened, sent), reference(replace(model, gate=None), sent)
    assert not every.asleep
    assert len(every.expected) == len(sent)
    for one, other in zip(every.expected, plain.expected, strict=True):
        assert all(np.array_equal(values, other.values[name]) for name, values in one.values.items())
    cosimulate(make_plan(opened, plan.config), frames).check()
