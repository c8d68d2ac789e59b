"""Decision smoothing: averages of the logits, a threshold and a refractory time turn a stream of logits into events.

An event says that a keyword was heard. With ``x[t, j]`` the logit of label ``j`` in the ``t``-th frame that has logits:

1. ``s[t, j] = s[t-1, j] - floor(s[t-1, j] / 2**shift) + x[t, j]``, a first-order exponential average times ``2**shift``
   (``s`` is 0 at the start and after the state was cleared). If logits have ``w`` bits, ``w + shift`` are enough for
   ``s``: ``s - floor(s / 2**shift)`` never decreases with ``s``, and ``2**shift`` times the largest (least) logit stays
   what it is.
2. ``margin = max over keywords of s - max over background labels of s``.
3. The margin gives an event if it is at least the threshold and if none of the ``refractory`` frames before gave one.
   The event's label is the keyword with the largest ``s``, the lowest on a tie.

All is integer; the gateware, `lmu_hw.gateware.smoothing`, gives the same bits. An average over the last ``n`` frames
would hold ``n`` logits of each label, this one holds one sum of each.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.fixed import Format

__all__ = ["Events", "Smoothing", "detect", "fire", "margins", "smooth", "sum_format"]

IntArray = NDArray[np.int64]

MAX_SHIFT = 12
MAX_REFRACTORY = 65535
_KEYS = ("background", "shift", "threshold", "refractory")


@dataclass(frozen=True)
class Smoothing:
    """Parameters of decision smoothing.

    Parameters
    ----------
    background : tuple of int
        Labels that are no keyword, by index; kept in ascending order.
    shift : int
        The average forgets ``2**-shift`` of itself in each frame, 0 to 12; 0 takes the logits as they are.
    threshold : int
        Least margin of an event, in units of ``2**-shift`` of a logit's last place.
    refractory : int
        Frames after an event that give none, 1 to 65535.
    """

    background: tuple[int, ...]
    shift: int
    threshold: int
    refractory: int

    def __post_init__(self) -> None:
        if isinstance(self.background, str) or not isinstance(self.background, Iterable):
            raise TypeError(f"background must be indices of labels, not {self.background!r}")
        found = sorted(_integer("an index in background", index) for index in self.background)
        if not found or len(set(found)) < len(found) or found[0] < 0:
            raise ValueError(f"background must be one or more distinct indices of labels, not {self.background!r}")
        object.__setattr__(self, "background", tuple(found))
        for name, low, high in (("shift", 0, MAX_SHIFT), ("refractory", 1, MAX_REFRACTORY)):
            value = _integer(name, getattr(self, name))
            if not low <= value <= high:
                raise ValueError(f"{name} must be in {low} to {high}, not {value}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "threshold", _integer("threshold", self.threshold))

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
            If a background label does not exist, no label is a keyword, or no margin, or every one, reaches the
            threshold.
        """
        if self.background[-1] >= labels:
            raise ValueError(f"background label {self.background[-1]} is none of the {labels} labels")
        if len(self.background) == labels:
            raise ValueError(f"all {labels} labels are background, at least one must be a keyword")
        most = (logit.max - logit.min) << self.shift
        if not -most < self.threshold <= most:
            raise ValueError(f"threshold must be in {1 - most} to {most} for logits of {logit}, not {self.threshold}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {name: getattr(self, name) for name in _KEYS} | {"background": list(self.background)}

    @classmethod
    def from_dict(cls, data: Any) -> "Smoothing":
        """Parameters from their JSON form; a key that is unknown or missing is refused by name."""
        if not isinstance(data, dict):
            raise ValueError(f"smoothing must be an object, not {data!r}")
        for key in data:
            if key not in _KEYS:
                raise ValueError(f"unknown key {key!r} in smoothing, expected {', '.join(_KEYS)}")
        for key in _KEYS:
            if key not in data:
                raise ValueError(f"smoothing lacks {key!r}")
        return cls(**data)


def _integer(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    return number


class Events(NamedTuple):
    """Events of a run, in order.

    Attributes
    ----------
    frames : ndarray of int64, shape (events,)
        Frames, counting those that have logits.
    labels : ndarray of int64, shape (events,)
        Indices of keywords.
    scores : ndarray of int64, shape (events,)
        Margins.
    """

    frames: IntArray
    labels: IntArray
    scores: IntArray


def sum_format(logit: Format, shift: int) -> Format:
    """Format of the sums: ``shift`` more bits than a logit, all of them below the point."""
    return Format(logit.width + shift, logit.frac + shift, logit.signed)


def smooth(logits: ArrayLike, shift: int, restarts: Iterable[int] = ()) -> IntArray:
    """Averages of the logits, times ``2**shift``.

    Parameters
    ----------
    logits : array_like of int, shape (T, labels)
        Of successive frames.
    shift : int
        As in `Smoothing`.
    restarts : iterable of int
        Frames before which the sums return to zero, as they are before frame 0.

    Returns
    -------
    ndarray of int64, shape (T, labels)
        ``s`` of each frame.
    """
    array = np.asarray(logits, np.int64)
    fresh = np.zeros(len(array), np.bool_)
    fresh[list(restarts)] = True
    sums = np.empty_like(array)
    held = np.zeros(array.shape[1], np.int64)
    for t, frame in enumerate(array):
        held = frame if fresh[t] else held - (held >> shift) + frame
        sums[t] = held
    return sums


def margins(sums: IntArray, background: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Best keyword of each frame, and its margin over the best background label.

    Parameters
    ----------
    sums : ndarray of int64, shape (T, labels)
        From `smooth`.
    background : tuple of int
        As in `Smoothing`.

    Returns
    -------
    labels, margins : ndarray of int64, shape (T,)
        Index of the label, and the margin.
    """
    keywords = np.setdiff1d(np.arange(sums.shape[1]), background)
    heard = sums[:, keywords]
    return keywords[heard.argmax(axis=1)], heard.max(axis=1) - sums[:, list(background)].max(axis=1)


def fire(margin: IntArray, threshold: int, refractory: int) -> IntArray:
    """Frames that give an event.

    Parameters
    ----------
    margin : ndarray of int64, shape (T,)
        From `margins`.
    threshold, refractory : int
        As in `Smoothing`.

    Returns
    -------
    ndarray of int64, shape (events,)
        Frames in ascending order.
    """
    candidates = np.flatnonzero(margin >= threshold)
    found: list[int] = []
    place = 0
    while place < len(candidates):
        found.append(int(candidates[place]))
        place = int(np.searchsorted(candidates, found[-1] + refractory, side="right"))
    return np.array(found, np.int64)


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
    labels, margin = margins(smooth(logits, smoothing.shift, restarts), smoothing.background)
    frames = fire(margin, smoothing.threshold, smoothing.refractory)
    return Events(frames, labels[frames], margin[frames])
