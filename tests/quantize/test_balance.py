"""The shift of the logit of unknown: every unknown word counts the same."""

import numpy as np
import pytest

from lmu_quantize.train.balance import unknown_offset, word_mean_recall
from lmu_quantize.train.data import EvaluationSet

LABELS = ("yes", "unknown")


def clips() -> EvaluationSet:
    """Four of yes, eight of a frequent unknown word, two of a rare one."""
    words = np.array(["yes"] * 4 + ["cat"] * 8 + ["bird"] * 2)
    return EvaluationSet(np.zeros((14, 1, 1), np.float32), np.array([0] * 4 + [1] * 10), words)


def test_words_of_unknown_count_the_same() -> None:
    decisions = np.array([0, 0, 0, 1, *[1] * 8, 0, 0])
    assert word_mean_recall(decisions, clips(), LABELS) == pytest.approx((3 / 4 + (1 + 0) / 2) / 2)


def test_offset_saves_the_rare_word() -> None:
    logits = np.zeros((14, 2))
    logits[:4, 0] = 3.0
    logits[4:12, 1] = 2.0
    logits[12:, 0] = 1.1
    assert unknown_offset(logits, clips(), LABELS) == 1.25
    decisions = (logits + np.array([0, 1.25])).argmax(axis=1)
    assert word_mean_recall(decisions, clips(), LABELS) == 1


def test_of_equal_offsets_the_nearest_to_nothing_is_taken() -> None:
    logits = np.array([[9.0, 0.0]] * 4 + [[0.0, 9.0]] * 10)
    assert unknown_offset(logits, clips(), LABELS) == 0
