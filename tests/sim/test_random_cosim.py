"""Random networks on random accelerators: every seed draws valid ones, with every lever, and they are bit-exact."""

import dataclasses

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.config import LEVERS
from lmu_sim.testing.random_cosim import random_cosim, random_plan


def test_a_seed_decides_the_plan():
    plans = [random_plan(np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert plans[0].config == plans[1].config != plans[2].config
    digests = [program_file.digest(plan.model) for plan in plans]
    assert digests[0] == digests[1] != digests[2]


def test_every_seed_draws_a_valid_plan_and_every_choice_is_drawn():
    plans = [random_plan(np.random.default_rng(seed)) for seed in range(60)]
    for name in LEVERS:
        assert {getattr(plan.config, name) for plan in plans} == {False, True}
    drawn = {
        field.name: {getattr(plan.config, field.name) for plan in plans}
        for field in dataclasses.fields(plans[0].config)
    }
    assert drawn["frames_per_fetch"] == {1, 2, 4}
    assert drawn["bank_words"] == {0, 8, 16}
    assert drawn["state_bank_words"] == {0, 4, 8}
    assert len(drawn["weights"]) == 2
    assert len(drawn["state"]) == 3
    assert {plan.lane_plan.wide_lanes > 0 for plan in plans} == {False, True}
    assert {bool(plan.residual_memories) for plan in plans} == {False, True}


@pytest.mark.parametrize("seed", [7, 11])
def test_random_accelerators_are_bit_exact(seed):
    """A slice: CONTRIBUTING.md has the command for many seeds."""
    results = random_cosim(seed)
    rounds = random_plan(np.random.default_rng(seed)).config.frames_per_fetch
    assert len(results) == 3 - (rounds > 1)
    for result in results:
        assert result.check().compared > 0
