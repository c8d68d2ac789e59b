"""Decision smoothing: averages of scores, a threshold and a refractory time turn a stream of logits into events.

An event says that a keyword was heard. Let ``x[t, j]`` be the logit of label ``j`` in the ``t``-th frame with logits.

1. ``p[t, j] = max(2**score_bits - 1 - (max over all labels of x[t] - x[t, j]), 0)``, the score of a label. It is
   largest for the largest logit, and 0 for logits far below it. It takes the place of the posterior
   probability, whose logarithm is this difference plus a term that all labels share. So no exponential function is
   needed. If the logits themselves were averaged, a few frames with large
   logits would outweigh all others.
2. ``s[t, j] = s[t-1, j] - floor(s[t-1, j] / 2**shift) + p[t, j]``, a first-order exponential average times
   ``2**shift``. ``s`` is 0 at the start and after the state was cleared. ``score_bits + shift`` bits are enough:
   ``s - floor(s / 2**shift)`` never decreases with ``s``, and ``2**shift`` times the largest score is a fixed point.
3. The lead of a keyword is its ``s`` minus the largest ``s`` of any other label, keyword or not.
4. A lead gives an event if it reaches the threshold and none of the ``refractory`` frames before gave an event.

All values are integers, and the gateware (`lmu_hw.gateware.smoothing`) gives the same bits. An average over the last
``n`` frames would store ``n`` scores of each label; this one stores one sum of each.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.checks import from_json, require_int
from lmu_hw.model.fixed import Format

__all__ = ["Events", "Smoothing", "detect", "fire", "leads", "scores", "smooth"]

IntArray = NDArray[np.int64]

MAX_SCORE_BITS = 32
MAX_SHIFT = 12
MAX_REFRACTORY = 65535
_KEYS = ("background", "score_bits", "shift", "threshold", "refractory")


@dataclass(frozen=True)
class Smoothing:
    """Parameters of decision smoothing.

    Parameters
    ----------
    background : tuple of int
        Indices of the labels that are no keyword, in ascending order.
    score_bits : int
        Bits of a score, 1 to 32 and no more than a logit has. A label scores 0 if its logit is ``2**score_bits - 1`` of
        its last places or more below the largest.
    shift : int
        The average forgets ``2**-shift`` of itself in each frame, 0 to 12; 0 takes the scores as they are.
    threshold : int
        Least lead of an event, in units of ``2**-shift`` of a logit's last place, 1 to ``most``.
    refractory : int
        Frames after an event that give none, 1 to 65535.
    """

    background: tuple[int, ...]
    score_bits: int
    shift: int
    threshold: int
    refractory: int

    def __post_init__(self) -> None:
        if isinstance(self.background, str) or not isinstance(self.background, Iterable):
            raise TypeError(f"background must be indices of labels, not {self.background!r}")
        indices = sorted(require_int("an index in background", index) for index in self.background)
        if not indices or len(set(indices)) < len(indices) or indices[0] < 0:
            raise ValueError(f"background must be one or more distinct indices of labels, not {self.background!r}")
        object.__setattr__(self, "background", tuple(indices))
        for name, low, high in (
            ("score_bits", 1, MAX_SCORE_BITS), ("shift", 0, MAX_SHIFT), ("refractory", 1, MAX_REFRACTORY),
        ):  # fmt: skip
            object.__setattr__(self, name, require_int(name, getattr(self, name), low, high))
        object.__setattr__(self, "threshold", require_int("threshold", self.threshold, 1, self.most))

    @property
    def most(self) -> int:
        """Largest sum, and so the largest lead."""
        return ((1 << self.score_bits) - 1) << self.shift

    def sum_format(self, logit: Format) -> Format:
        """Format of the sums and of leads, for logits of a format."""
        return Format(self.score_bits + self.shift, logit.frac + self.shift, False)

    def check(self, labels: int, logit: Format) -> None:
        """Refuse a network that these parameters do not fit.

        Parameters
        ----------
        labels : int
            Labels of the network.
        logit : Format
            Of its logits.

        Raises
        ------
        ValueError
            If a background label does not exist, no label is a keyword, or scores have more bits than logits.
        """
        if self.background[-1] >= labels:
            raise ValueError(f"background label {self.background[-1]} is none of the {labels} labels")
        if len(self.background) == labels:
            raise ValueError(f"all {labels} labels are background, at least one must be a keyword")
        if self.score_bits > logit.width:
            raise ValueError(f"score_bits must be in 1 to {logit.width} for logits of {logit}, not {self.score_bits}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {name: getattr(self, name) for name in _KEYS} | {"background": list(self.background)}

    @classmethod
    def from_dict(cls, data: Any) -> "Smoothing":
        """Parameters from their JSON form; an unknown or missing key is refused by name."""
        return from_json(cls, "the smoothing", data)


class Events(NamedTuple):
    """Events of a run, in order.

    Attributes
    ----------
    frames : ndarray of int64, shape (events,)
        Frames, counting those that have logits.
    labels : ndarray of int64, shape (events,)
        Indices of keywords.
    scores : ndarray of int64, shape (events,)
        Leads.
    """

    frames: IntArray
    labels: IntArray
    scores: IntArray


def scores(logits: ArrayLike, score_bits: int) -> IntArray:
    """Scores of the labels.

    Parameters
    ----------
    logits : array_like of int, shape (T, labels)
        Of successive frames.
    score_bits : int
        As in `Smoothing`.

    Returns
    -------
    ndarray of int64, shape (T, labels)
        ``p`` of each frame, 0 to ``2**score_bits - 1``.
    """
    array = np.asarray(logits, np.int64)
    return np.maximum((1 << score_bits) - 1 - (array.max(axis=1, keepdims=True) - array), 0)


def smooth(scores: IntArray, shift: int, restarts: Iterable[int] = ()) -> IntArray:
    """Averages of the scores, times ``2**shift``.

    Parameters
    ----------
    scores : ndarray of int64, shape (T, labels)
        From `scores`.
    shift : int
        As in `Smoothing`.
    restarts : iterable of int
        Frames before which the sums return to zero, as they are before frame 0.

    Returns
    -------
    ndarray of int64, shape (T, labels)
        ``s`` of each frame.
    """
    fresh = np.zeros(len(scores), np.bool_)
    fresh[list(restarts)] = True
    sums = np.empty_like(scores)
    held = np.zeros(scores.shape[1], np.int64)
    for t, frame in enumerate(scores):
        held = frame if fresh[t] else held - (held >> shift) + frame
        sums[t] = held
    return sums


def leads(sums: IntArray, background: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Label that leads in each frame, and how far.

    Parameters
    ----------
    sums : ndarray of int64, shape (T, labels)
        From `smooth`.
    background : tuple of int
        As in `Smoothing`.

    Returns
    -------
    labels, lead : ndarray of int64, shape (T,)
        Index of the label with the largest sum, and its lead over the second largest; 0 if it is no keyword.
    """
    labels = sums.argmax(axis=1)
    best, second = -np.partition(-sums, 1, axis=1)[:, :2].T
    return labels, np.where(np.isin(labels, background), 0, best - second)


def fire(lead: IntArray, threshold: int, refractory: int) -> IntArray:
    """Frames that give an event.

    Parameters
    ----------
    lead : ndarray of int64, shape (T,)
        From `leads`.
    threshold, refractory : int
        As in `Smoothing`.

    Returns
    -------
    ndarray of int64, shape (events,)
        Frames in ascending order.
    """
    candidates = np.flatnonzero(lead >= threshold)
    events: list[int] = []
    candidate = 0
    while candidate < len(candidates):
        events.append(int(candidates[candidate]))
        candidate = int(np.searchsorted(candidates, events[-1] + refractory, side="right"))
    return np.array(events, np.int64)


def detect(logits: ArrayLike, smoothing: Smoothing, restarts: Iterable[int] = ()) -> Events:
    """Events of a stream of logits, as the hardware gives them.

    Parameters
    ----------
    logits : array_like of int, shape (T, labels)
        Of successive frames, from a reset on.
    smoothing : Smoothing
        The parameters.
    restarts : iterable of int
        Frames before which the state of the network was cleared: the sums start anew, the refractory time goes on.

    Returns
    -------
    Events
    """
    sums = smooth(scores(logits, smoothing.score_bits), smoothing.shift, restarts)
    labels, lead = leads(sums, smoothing.background)
    frames = fire(lead, smoothing.threshold, smoothing.refractory)
    return Events(frames, labels[frames], lead[frames])
