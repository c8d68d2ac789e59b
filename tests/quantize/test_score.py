"""Scores: counts, recalls, and the Wilson interval against its defining equation."""

import math

import numpy as np
import pytest

from lmu_quantize.score import score_decisions, wilson_interval

LABELS = ("yes", "no", "silence")


def test_counts_and_recalls():
    score = score_decisions([0, 0, 1, 1, 0], [0, 0, 0, 1, 1], LABELS)
    np.testing.assert_array_equal(score.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert (score.correct, score.clips, score.accuracy) == (3, 5, 0.6)
    assert score.recall == {"yes": 2 / 3, "no": 1 / 2}
    assert score.mean_recall == pytest.approx(7 / 12)
    assert score.to_dict()["interval"] == list(score.interval)
    assert str(score).startswith("accuracy 60.00 % (3 of 5 clips, 95 % interval ")


def test_no_clips():
    score = score_decisions([], [], LABELS)
    assert (score.accuracy, score.mean_recall, score.recall, score.interval) == (0.0, 0.0, {}, (0.0, 1.0))


@pytest.mark.parametrize(("correct", "clips"), [(0, 10), (10, 10), (3, 7), (3816, 4092)])
def test_wilson_interval_solves_its_equation(correct: int, clips: int):
    """Both ends p satisfy |share - p| = z sqrt(p (1 - p) / clips)."""
    for p in wilson_interval(correct, clips):
        assert abs(correct / clips - p) == pytest.approx(1.96 * math.sqrt(max(0, p * (1 - p)) / clips), abs=1e-12)


@pytest.mark.parametrize(
    ("decisions", "truth", "message"),
    [
        ([0, 1], [0], r"one shape \(clips,\), not \(2,\) and \(1,\)"),
        ([3], [0], "decisions must be indices into the 3 labels, found 3"),
        ([0], [-1], "truth must be indices into the 3 labels"),
        ([[0]], [[0]], "one shape"),
    ],
)
def test_refusals(decisions: list[int], truth: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        score_decisions(decisions, truth, LABELS)


def test_a_model_without_labels_has_no_score():
    with pytest.raises(ValueError, match="into the 0 labels"):
        score_decisions([0], [0], ())
