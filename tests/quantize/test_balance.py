"""The shift of the logit of unknown: every unknown word counts the same."""

import numpy as np
import pytest

from lmu_quantize.train.balance import unknown_offset, word_mean_recall
from lmu_quantize.train.data import EvaluationSet

LABELS = ("yes", "unknown")


def clips(frequent: int = 40, rare: int = 20) -> EvaluationSet:
    """Four of yes, then so many of a frequent and of a rare unknown word."""
    words = np.array(["yes"] * 4 + ["cat"] * frequent + ["bird"] * rare)
    return EvaluationSet(np.zeros((len(words), 1, 1), np.float32), np.array([0] * 4 + [1] * (len(words) - 4)), words)


@pytest.mark.parametrize(("frequent", "rare", "part"), [(40, 20, 0.5), (80, 30, 0.5), (40, 5, 0.8), (8, 2, 0.8)])
def test_words_of_unknown_with_enough_clips_count_the_same(frequent: int, rare: int, part: float) -> None:
    decisions = np.array([0, 0, 0, 1, *[1] * frequent, *[0] * rare])
    recall = word_mean_recall(decisions, clips(frequent, rare), LABELS)
    assert recall == pytest.approx((3 / 4 + part) / 2)


def test_offset_saves_the_rare_word() -> None:
    logits = np.zeros((64, 2))
    logits[:4, 0] = 3.0
    logits[4:44, 1] = 2.0
    logits[44:, 0] = 1.1
    assert unknown_offset(logits, clips(), LABELS) == 1.25
    decisions = (logits + np.array([0, 1.25])).argmax(axis=1)
    assert word_mean_recall(decisions, clips(), LABELS) == 1


def test_of_equal_offsets_the_nearest_to_nothing_is_taken() -> None:
    logits = np.array([[9.0, 0.0]] * 4 + [[0.0, 9.0]] * 60)
    assert unknown_offset(logits, clips(), LABELS) == 0
