"""Fronts and their order, against what the words mean."""

import numpy as np
import pytest

from lmu_hw.pareto import fronts, order


def beats(one, other):
    return (one <= other).all() and (one < other).any()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_beats_a_member_but_those_of_fronts_before(seed):
    values = np.random.default_rng(seed).integers(0, 5, (40, 3)).astype(float)
    numbers = fronts(values)
    for place, value in enumerate(values):
        beating = [numbers[other] for other in range(len(values)) if beats(values[other], value)]
        assert numbers[place] == (max(beating) + 1 if beating else 0)


def test_ends_come_first_then_the_lonely():
    front = [[0, 10], [1, 9], [5, 3], [10, 0]]
    assert order(np.array([*front, [10.0, 10.0]])) == [0, 3, 2, 1, 4]


def test_equals_share_a_front():
    assert fronts(np.ones((3, 2))).tolist() == [0, 0, 0]
    assert order(np.ones((3, 2))) == [0, 1, 2]
