"""Decision smoothing in the Verilog, event for event against the golden model."""

import numpy as np
import pytest

from lmu_hw.config import AcceleratorConfig
from lmu_hw.emit import to_verilog
from lmu_hw.golden import Golden
from lmu_hw.plan import make_plan
from lmu_hw.smoothing import Smoothing, margins, smooth
from lmu_sim.cosim import STALLS, cosim
from lmu_sim.random_models import random_frames, random_model
from lmu_sim.stimulus import stimulus

CASES = {
    "keep": (21, {"layers": ("lmu", "dense")}, {"lanes": 4}, 2, 3),
    "pulse": (22, {"layers": ("lmu", "lmu")}, {"lanes": 3, "state": "pulse"}, 3, 1),
    "utterance": (23, {"layers": ("lmu", "dense"), "stride": 2}, {"lanes": 8, "state": "utterance"}, 1, 2),
    "plain": (24, {"layers": ("dense",)}, {"lanes": 1, "weights": "ram", "state": "pulse"}, 0, 1),
}
"""Seed, model, configuration, shift, refractory time."""


def case(name, utterances=4, steps=12):
    """A plan whose threshold is reached in a part of the frames."""
    seed, options, config, shift, refractory = CASES[name]
    rng = np.random.default_rng(seed)
    model = random_model(rng, **options)
    while model.outputs < 3:
        model = random_model(rng, **options)
    frames = random_frames(rng, model, utterances, steps)
    background = (0, model.outputs - 1)
    _, margin = margins(smooth(Golden(model).run(frames)["logits"].reshape(-1, model.outputs), shift), background)
    smoothing = Smoothing(background, shift, int(np.quantile(margin, 0.5)), refractory)
    return make_plan(model, AcceleratorConfig(**config, smoothing=smoothing)), frames


@pytest.fixture(scope="session")
def builds(tmp_path_factory):
    return tmp_path_factory.mktemp("builds")


@pytest.mark.parametrize("name", CASES)
def test_every_event_is_the_golden_one_under_all_stalls(name, builds):
    plan, utterances = case(name)
    frames, verilog = stimulus(plan, utterances, seed=1), to_verilog(plan)
    for stalls in STALLS:
        result = cosim(plan, frames, stalls=stalls, seed=3, directory=builds, verilog=verilog)
        assert result.mismatch is None, str(result.mismatch)
        assert result.ok, result.report()
        count, _ = result.blocks["event.label"]
        assert 0 < count < len(frames) // plan.period
        assert result.blocks["event.score"] == (count, 0)
