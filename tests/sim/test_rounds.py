"""Several frames for each fetch of a weight: bit-exact, in the planned cycles, under stalls, resets and bad frames."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.export.bundle import bundle
from lmu_hw.export.emit import to_verilog
from lmu_hw.gateware.round_walk import RoundWalk
from lmu_hw.host.link import LinkLayout
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.cosim import CosimOptions, cosimulate, cosimulate_variant
from lmu_sim.stimulus import Marks, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

FORWARD = {"e_h": False, "e_m": False, "w_h": False}
LEVERS = {"isolate_operands": True, "control_reset": True}
CASES = {
    "levers": (
        1,
        {"layers": ("lmu", "lmu", "dense"), "stride": 1, "units": 5, "memories": 3},
        {"lanes": 3, "frames_per_fetch": 2, **LEVERS},
    ),
    "ram, strides": (
        2,
        {"layers": ("lmu", "lmu", "dense"), "stride": 2, "activation": "tanh", "units": 4},
        {"lanes": 4, "frames_per_fetch": 4, "weights": "ram", "state_bank_words": 4},
    ),
    "separable": (
        3,
        {"layers": ("separable", "separable", "dense"), "stride": 2, "units": 5, "memories": 3, "encoder": True}
        | {"residual": True},
        {"lanes": 4, "frames_per_fetch": 4},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def built(request):
    seed, options, config = CASES[request.param]
    rng = np.random.default_rng(seed)
    plan = make_plan(random_model(rng, **FORWARD, **options), AcceleratorConfig(**config))
    frames = random_frames(rng, plan.model, 1, 4 * plan.rounds * plan.config.frames_per_fetch)
    return plan, frames, to_verilog(plan)


@pytest.mark.parametrize("stalls", ["none", "random"])
def test_rounds_are_exact_under_stalls(built, stalls):
    plan, frames, verilog = built
    result = cosimulate_variant(plan, frames, CosimOptions(stalls=stalls, seed=2), verilog=verilog)
    assert result.ok, result.report()
    due = frames.shape[1] // plan.period
    assert result.blocks["logits"] == (due * plan.model.outputs, 0)
    assert result.blocks["decision.label"] == (due, 0)
    for name, vector in [(f"layer0.{kind}", kind) for kind in "um"]:
        size = plan.model.layers[0].state_size if vector == "m" else len(plan.model.layers[0].matrix)
        assert result.blocks[name] == (frames.shape[1] * size, 0)
    assert all(measured == planned > 0 for measured, planned in result.accesses.values())
    assert len(result.intervals) == (0 if stalls == "random" else 4 * plan.rounds - 1 - plan.rounds)


def test_every_decision_of_a_spaced_round_comes_when_planned(built):
    plan, frames, verilog = built
    result = cosimulate_variant(plan, frames, CosimOptions(spaced=True), verilog=verilog)
    assert result.ok, result.report()
    assert len(result.latencies) == frames.shape[1] // plan.period


def test_resets_and_bad_frames_in_a_round(built):
    """A reset forgets a round that is not whole; a frame that is dropped takes no place in one."""
    plan, frames, verilog = built
    n, size = plan.model.inputs, plan.config.frames_per_fetch
    resets = {size: n // 2 + 1, 2 * size + 1: round(size * plan.cycles_per_frame), frames.shape[1] - size - 1: 1}
    wrong = {1: [[0] * (n + 1)], 4 * size - 1: [[0] * (2 * n), [0] * (n + 2)]}
    sent = stimulus(plan, frames, Marks(reset_in_frame=resets, malformed=wrong))
    result = cosimulate_variant(plan, sent, CosimOptions(stalls="random", seed=5), verilog=verilog)
    assert result.ok, result.report()
    assert result.blocks["frame_error"][1] == 0
    assert result.blocks["logits"][0] > 0


def test_frames_that_fill_no_round_are_not_computed(built):
    plan, frames, verilog = built
    result = cosimulate_variant(plan, frames[:, : plan.config.frames_per_fetch - 1], verilog=verilog)
    assert not result.hung
    assert sum(compared for name, (compared, _) in result.blocks.items() if name != "frame_error") == 0


def test_frames_of_a_round_that_are_taken_for_others_are_noticed(built, monkeypatch):
    plan, frames, verilog = built
    right = RoundWalk.source

    def swapped(walk, planned, term, turn, position):
        other = replace(term.location, memories=term.location.memories[::-1])
        return right(walk, planned, replace(term, location=other), turn, position)

    monkeypatch.setattr(RoundWalk, "source", swapped)
    faulty = to_verilog(plan)
    assert faulty != verilog
    assert cosimulate_variant(plan, frames, verilog=faulty).blocks["layer0.m"][1] > 0


def test_events_are_those_of_single_frames():
    rng = np.random.default_rng(11)
    model = random_model(rng, **FORWARD, layers=("lmu", "dense"), stride=1, units=3)
    smoothing = Smoothing((0,), score_bits=4, shift=1, threshold=1, refractory=1)
    plan = make_plan(model, AcceleratorConfig(lanes=2, frames_per_fetch=2, smoothing=smoothing))
    result = cosimulate(plan, random_frames(rng, model, 1, 24), CosimOptions(stalls="random"))
    assert result.ok, result.report()
    assert result.blocks["event.label"][0] > 0


def test_what_answers_frame_by_frame_refuses_rounds(built):
    plan, frames, _ = built
    count = plan.config.frames_per_fetch
    with pytest.raises(ValueError, match=f"a replay needs frames_per_fetch 1, not {count}"):
        bundle(plan, frames)
    with pytest.raises(ValueError, match=f"a board's link needs frames_per_fetch 1, not {count}"):
        LinkLayout.of(plan)
