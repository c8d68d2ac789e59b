"""The balance between keywords and unknown words, set after training."""

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.train.data import EvaluationSet

__all__ = ["unknown_offset", "word_mean_recall"]

OFFSETS = np.arange(-8, 17) / 4
"""Offsets that are tried, in units of a logit."""
NEARLY = 0.002
"""Recall that is given up for a smaller offset."""
ENOUGH = 20
"""Clips from which on a word of ``unknown`` counts in full."""


def word_mean_recall(decisions: NDArray[np.int64], data: EvaluationSet, labels: tuple[str, ...]) -> float:
    """Mean recall of the labels, where every word of ``unknown`` counts the same from `ENOUGH` clips on.

    The official test set draws its unknown words evenly. A validation split has hundreds of clips of some words and a
    few of others, and the rare words are the ones that are mistaken for keywords. The recall of a word with a few clips
    says little, so it counts in proportion to its clips.

    Parameters
    ----------
    decisions : ndarray of int64, shape (N,)
        Positions in the labels.
    data : EvaluationSet
        The clips.
    labels : tuple of str
        Names.

    Returns
    -------
    float
        0 to 1.
    """
    right = decisions == data.labels
    recalls = []
    for label in np.unique(data.labels):
        members = data.labels == label
        groups = data.words[members] if labels[label] == "unknown" else data.labels[members]
        distinct, counts = np.unique(groups, return_counts=True)
        each = [right[members][groups == group].mean() for group in distinct]
        recalls.append(np.average(each, weights=np.minimum(counts, ENOUGH)))
    return float(np.mean(recalls))


def unknown_offset(logits: NDArray[np.float64], data: EvaluationSet, labels: tuple[str, ...]) -> float:
    """Find what to add to the logit of ``unknown``: the least that gives nearly the best `word_mean_recall`.

    Recall moves by `NEARLY` from one trained network to the next, so a larger offset for less is chance.

    Parameters
    ----------
    logits : ndarray of float64, shape (N, labels)
        Of the last frame of each clip.
    data : EvaluationSet
        The clips, of validation.
    labels : tuple of str
        Names; ``unknown`` among them.

    Returns
    -------
    float
        A multiple of 1/4, -2 to 4.
    """
    unknown = np.eye(len(labels))[labels.index("unknown")]
    recalls = {
        float(offset): word_mean_recall((logits + offset * unknown).argmax(axis=1), data, labels) for offset in OFFSETS
    }
    enough = max(recalls.values()) - NEARLY
    return min((offset for offset, recall in recalls.items() if recall >= enough), key=abs)
