"""How well decisions match labels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Score", "score_decisions", "wilson_interval"]


def wilson_interval(correct: int, clips: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), 95 % by default.

    Parameters
    ----------
    correct, clips : int
        Successes and trials.
    z : float
        Quantile of the normal distribution.

    Returns
    -------
    low, high : float
        0 to 1; (0, 1) without trials.
    """
    if clips == 0:
        return 0.0, 1.0
    share = correct / clips
    centre = share + z * z / (2 * clips)
    spread = z * math.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips))
    scale = 1 + z * z / clips
    return (centre - spread) / scale, (centre + spread) / scale


@dataclass(frozen=True, eq=False)
class Score:
    """Decisions against labels.

    Parameters
    ----------
    labels : tuple of str
        Names.
    confusion : ndarray of int64, shape (labels, labels)
        Clips by true label (row) and decision (column).
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def clips(self) -> int:
        """Number of clips."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Number of clips with the right decision."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right decisions, 0 to 1; 0 without clips."""
        return self.correct / max(1, self.clips)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(self.correct, self.clips)

    @property
    def recall(self) -> dict[str, float]:
        """Share of right decisions for each label that has clips."""
        totals = self.confusion.sum(axis=1)
        return {
            label: int(self.confusion[index, index]) / int(totals[index])
            for index, label in enumerate(self.labels)
            if totals[index]
        }

    @property
    def mean_recall(self) -> float:
        """Mean of `recall`."""
        return float(np.mean(list(self.recall.values()))) if self.recall else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "clips": self.clips,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "mean_recall": self.mean_recall,
            "recall": self.recall,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {100 * self.accuracy:.2f} % ({self.correct} of {self.clips} clips, "
            f"95 % interval {100 * low:.2f} to {100 * high:.2f} %), mean recall {100 * self.mean_recall:.2f} %"
        )


def score_decisions(decisions: ArrayLike, truth: ArrayLike, labels: tuple[str, ...]) -> Score:
    """Count decisions against labels.

    Parameters
    ----------
    decisions, truth : array_like of int, shape (clips,)
        Indices into `labels`.
    labels : tuple of str
        Names.

    Returns
    -------
    Score
        The counts.

    Raises
    ------
    ValueError
        If there are more decisions than truths or the other way round, or an index is of no label.
    """
    pair = (np.asarray(truth, np.int64), np.asarray(decisions, np.int64))
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise ValueError(f"decisions and truth must have one shape (clips,), not {pair[1].shape} and {pair[0].shape}")
    for name, indices in zip(("truth", "decisions"), pair, strict=True):
        if indices.size and not 0 <= indices.min() <= indices.max() < len(labels):
            raise ValueError(f"{name} must be indices into the {len(labels)} labels, found {indices.max()}")
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, pair, 1)
    return Score(labels, confusion)
