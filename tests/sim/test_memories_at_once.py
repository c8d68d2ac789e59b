"""Several memories at once: bit-exact, in the planned cycles, under stalls, clears and resets."""

import numpy as np
import pytest

from lmu_hw.export.bundle import bundle
from lmu_hw.export.emit import to_verilog
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape
from lmu_sim.batch import BatchSimulator, compare_batch
from lmu_sim.cosim import CosimOptions, cosimulate_variant
from lmu_sim.stimulus import Marks, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

FOUR = [(3, 6.0)] * 4
CASES = {
    "two windows, all levers, strides": (
        2,
        {"layers": ("lmu", "lmu", "dense"), "stride": 2, "memories": [*FOUR, *[(3, 9.0)] * 4], "units": 9, "e_m": True,
         "e_h": False, "w_h": False},
        AcceleratorConfig.frugal(lanes=7, memories_at_once=4, bank_words=16, state_bank_words=4),
    ),
    "filters, residual": (
        4,
        {"layers": ("separable", "separable", "dense"), "stride": 2, "memories": FOUR, "filters": 2, "encoder": True,
         "residual": True, "inputs": 5},
        AcceleratorConfig.frugal(lanes=5, memories_at_once=2, state_bank_words=4),
    ),
    "tanh, weights in RAM, clears": (
        3,
        {"layers": ("lmu", "dense"), "memories": FOUR, "activation": "tanh", "units": 7, "w_h": True, "e_h": True},
        AcceleratorConfig(lanes=8, memories_at_once=2, weights="ram", isolate_operands=True, state="pulse"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def built(request):
    seed, options, config = CASES[request.param]
    plan = make_plan(random_model(np.random.default_rng(seed), **options), config)
    frames = random_frames(np.random.default_rng(seed), plan.model, 1, 3 * plan.rounds + 1)
    return plan, frames, to_verilog(plan)


@pytest.mark.parametrize("stalls", ["none", "random"])
def test_memories_at_once_are_exact(built, stalls):
    plan, frames, verilog = built
    result = cosimulate_variant(plan, frames, CosimOptions(stalls=stalls, seed=2), verilog=verilog)
    assert result.ok, result.report()
    assert result.blocks["layer0.m"] == (frames.shape[1] * plan.model.layers[0].state_size, 0)
    assert all(measured == planned > 0 for measured, planned in result.accesses.values())


def test_resets_and_bad_frames(built):
    plan, frames, verilog = built
    inputs, interval = plan.model.inputs, max(frame.interval for frame in plan.frames)
    resets = {1: inputs + interval // 2, plan.rounds + 1: 1}
    sent = stimulus(plan, frames, Marks(reset_in_frame=resets, malformed={2: [[0] * (inputs + 1)]}))
    result = cosimulate_variant(plan, sent, CosimOptions(stalls="random", seed=5), verilog=verilog)
    assert result.ok, result.report()
    assert result.blocks["logits"][0] > 0


def test_verilator_computes_the_same():
    seed, options, config = CASES["two windows, all levers, strides"]
    plan = make_plan(random_model(np.random.default_rng(seed), **options), config)
    frames = random_frames(np.random.default_rng(seed), plan.model, 3, 2 * plan.rounds)
    report = compare_batch(plan, frames, BatchSimulator(plan).run(frames, processes=1))
    assert report.passed
    assert report.compared > 0


def test_cycles_of_memory_updates_are_divided():
    model = random_model(np.random.default_rng(1), layers=("lmu", "dense"), memories=[(3, 6.0)] * 8, units=4, stride=1)
    updates = {}
    for parts in (1, 2, 4, 8):
        plan = make_plan(model, AcceleratorConfig(lanes=4, memories_at_once=parts))
        updates[parts] = plan.frames[0].accesses[plan.weight_memories[-1].name], plan.frames[0].issued
        (update,) = [planned for planned in plan.operations if planned.operation.updates_memory]
        assert update.blocks * update.words == 8 * 4 // parts
    assert updates[1][1] - updates[8][1] == 8 * 4 - 4
    assert plan.config == AcceleratorConfig.from_dict(plan.config.to_dict())


def test_elements_in_another_order_are_noticed(monkeypatch):
    model = random_model(np.random.default_rng(6), layers=("lmu", "dense"), memories=[(2, 6.0)] * 2, stride=1, units=2)
    plan = make_plan(model, AcceleratorConfig(lanes=2, memories_at_once=2))
    monkeypatch.setattr("lmu_sim.compare.stored_order", lambda elements, order, parts: np.arange(elements))
    result = cosimulate_variant(plan, random_frames(np.random.default_rng(6), model, 1, 4), verilog=to_verilog(plan))
    assert result.blocks["layer0.m"][1] > 0
    assert result.blocks["layer0.h"][1] == 0


def test_an_image_fits_as_many_memories_at_once():
    model = random_model(np.random.default_rng(3), layers=("lmu", "dense"), memories=FOUR, units=3)
    one, two = (make_plan(model, AcceleratorConfig(lanes=4, weights="ram", memories_at_once=n)) for n in (1, 2))
    assert fitted(two, shape(two)).images() == two.images()
    with pytest.raises(ShapeError, match="1 memories at once, the accelerator has 2"):
        fitted(one, shape(two))


@pytest.mark.parametrize(
    ("options", "config", "message"),
    [
        ({"layers": ("separable",), "encoder": False, "inputs": 4}, {}, "needs layers with e_x, layer 0 has none"),
        ({"layers": ("dense",)}, {}, "memories_at_once of 2 needs a network with memories"),
        ({"memories": FOUR[:3]}, {}, "needs a multiple of 2 memories with equal matrices, layer 0 has 3"),
        ({"memories": FOUR}, {"lanes": 2}, "needs orders of at most 2, the number of lanes, layer 0 has 3"),
        ({}, {"memories_at_once": 3}, "memories_at_once must be one of 1, 2, 4, 8, 16, not 3"),
        ({}, {"frames_per_fetch": 2}, "memories_at_once of 2 and frames_per_fetch exclude each other, give one"),
    ],
)
def test_what_cannot_be_is_refused(options, config, message):
    model = random_model(np.random.default_rng(1), **{"layers": ("lmu", "dense"), **options})
    with pytest.raises(ValueError, match=message):
        make_plan(model, AcceleratorConfig(**{"lanes": 4, "memories_at_once": 2, **config}))


def test_a_replay_refuses_several_memories_at_once():
    model = random_model(np.random.default_rng(1), layers=("lmu",), memories=FOUR)
    plan = make_plan(model, AcceleratorConfig(lanes=4, memories_at_once=2))
    with pytest.raises(ValueError, match="a replay needs memories_at_once 1, not 2"):
        bundle(plan, random_frames(np.random.default_rng(1), model, 1, 2))
