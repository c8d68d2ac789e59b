"""Long runs of the golden model: the same integers as frame by frame."""

import numpy as np
import pytest

from lmu_hw.model import golden as golden_module
from lmu_hw.model.golden import Golden
from lmu_sim.testing.random_models import random_frames, random_model

MIXED = [(3, 5.0), (3, 5.0), (1, 4.0), (4, 9.5)]
SPOTTER = {"stride": 1, "e_h": False, "e_m": False, "w_x": True, "w_h": False, "bias": True}
CASES = {
    "spotter": {"layers": ("lmu", "lmu", "dense"), **SPOTTER},
    "mixed orders": {"layers": ("lmu", "dense"), **SPOTTER, "memories": MIXED},
    "feedback": {"layers": ("lmu", "dense"), **SPOTTER, "e_m": True, "w_h": True},
    "hidden feedback": {"layers": ("lmu",), **SPOTTER, "e_h": True},
    "stride": {"layers": ("lmu", "lmu"), **SPOTTER, "stride": 3},
    "dense": {"layers": ("dense", "dense")},
}


@pytest.mark.parametrize("name", CASES)
def test_long_runs_give_the_same_integers(name, monkeypatch):
    monkeypatch.setattr(golden_module, "CHUNK", 7)
    rng = np.random.default_rng(4)
    model = random_model(rng, **CASES[name])
    frames = random_frames(rng, model, 3, 40)
    golden = Golden(model)
    state, other = golden.initial_state(3), golden.initial_state(3)
    done: list[int] = []
    found = [golden.run_long(frames[:, :25], state, done.append), golden.run_long(frames[:, 25:], state)]
    expected = [golden.run(frames[:, :25], other)["logits"], golden.run(frames[:, 25:], other)["logits"]]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert done == [7, 14, 21, 25]
    assert (state.phase, state.saturated) == (other.phase, other.saturated)
    assert state.values.keys() == other.values.keys()
    for vector, values in state.values.items():
        np.testing.assert_array_equal(values, other.values[vector], err_msg=vector)


def test_only_memories_are_stepped_through_in_a_spotter(monkeypatch):
    model = random_model(np.random.default_rng(4), **CASES["spotter"])
    monkeypatch.setattr(Golden, "step", None)
    assert Golden(model).run_long(np.zeros((1, 5, model.inputs), np.int64)).shape == (1, 5, model.outputs)


def test_frames_are_checked():
    model = random_model(np.random.default_rng(4), **CASES["spotter"])
    with pytest.raises(ValueError, match=r"frames must have shape \(batch, T, \d+\), not \(2, 3\)"):
        Golden(model).run_long(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="frame values must be in"):
        Golden(model).run_long(np.full((1, 2, model.inputs), model.input.max + 1))
    assert Golden(model).run_long(np.zeros((2, 0, model.inputs), np.int64)).shape == (2, 0, model.outputs)
