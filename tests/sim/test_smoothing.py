"""Decision smoothing in the Verilog, event for event against the golden model."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.export.emit import to_verilog
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.model.smoothing import Smoothing, leads, scores, smooth
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.bench import STALLS
from lmu_sim.cosim import CosimOptions, cosimulate_variant
from lmu_sim.stimulus import stimulus
from lmu_sim.testing.random_models import random_frames, random_model

SLOW, QUICK = pytest.mark.slow, ("pulse", "stopped", "plain")
CASES = {
    "keep": (21, {"layers": ("lmu", "dense")}, {"lanes": 4}, 0, 2, 3),
    "pulse": (22, {"layers": ("lmu", "lmu")}, {"lanes": 3, "state": "pulse"}, 2, 3, 1),
    "utterance": (23, {"layers": ("lmu", "dense"), "stride": 2}, {"lanes": 8, "state": "utterance"}, 1, 1, 2),
    "stopped": (
        25, {"layers": ("lmu", "dense")}, {"lanes": 2, "stop_clock": True, "gate_blocks": True}, 1, 1, 2
    ),
    "plain": (24, {"layers": ("dense",)}, {"lanes": 1, "weights": "ram", "state": "pulse"}, 1, 0, 1),
}
"""Seed, model, configuration, bits that a score has less than a logit, shift, refractory time."""


def case(name, utterances=4, steps=12):
    """A plan whose threshold is reached in some frames; a background label leads in others."""
    seed, options, config, fewer, shift, refractory = CASES[name]
    rng = np.random.default_rng(seed)
    lead = np.zeros(1)
    while np.count_nonzero(lead) < utterances * steps // 4:
        model = random_model(rng, **options)
        if model.outputs < 3:
            continue
        frames = random_frames(rng, model, utterances, steps)
        score_bits = max(1, vectors(model)[output_name(model)].format.width - fewer)
        logits = Golden(model).run(frames)["logits"]
        restarts = range(0, logits.size // model.outputs, logits.shape[1])
        sums = smooth(scores(logits.reshape(-1, model.outputs), score_bits), shift, restarts)
        led = np.bincount(leads(sums, ())[0], minlength=model.outputs)
        background = (int(led.argsort()[-2]),)
        lead = leads(sums, background)[1] * (led[background] > 0)
    threshold = int(np.quantile(lead[lead > 0], 0.3, method="lower"))
    smoothing = Smoothing(background, score_bits, shift, threshold, refractory)
    return make_plan(model, AcceleratorConfig(**config, smoothing=smoothing)), frames


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else SLOW) for name in CASES])
def test_every_event_is_the_golden_one_under_all_stalls(name):
    plan, utterances = case(name)
    frames, verilog = stimulus(plan, utterances, seed=1), to_verilog(plan)
    for stalls in STALLS:
        result = cosimulate_variant(plan, frames, CosimOptions(stalls=stalls, seed=3), verilog=verilog)
        assert result.mismatch is None, str(result.mismatch)
        assert result.ok, result.report()
        count, _ = result.blocks["event.label"]
        assert 0 < count < len(frames) // plan.period
        assert result.blocks["event.score"] == (count, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: {"threshold": one.threshold + 1},
        pytest.param(lambda one: {"refractory": one.refractory + 1}, marks=SLOW),
        pytest.param(lambda one: {"background": tuple(label + 1 for label in one.background)}, marks=SLOW),
        pytest.param(lambda one: {"score_bits": one.score_bits - 1, "shift": one.shift + 1}, marks=SLOW),
    ],
    ids=["threshold", "refractory time", "background", "average"],
)
def test_other_smoothing_in_the_verilog_is_noticed(change):
    plan, utterances = case("plain")
    other = replace(plan.config.smoothing, **change(plan.config.smoothing))
    verilog = to_verilog(make_plan(plan.model, replace(plan.config, smoothing=other)))
    result = cosimulate_variant(plan, stimulus(plan, utterances, seed=1), verilog=verilog)
    assert not result.ok
    assert result.mismatch.block.startswith("event.")
