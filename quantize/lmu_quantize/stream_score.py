"""How well events match the keywords of a stream, and the smoothing that makes them match best.

A keyword is accepted by the first event of its label that comes from the start of its clip to `TOLERANCE_S` after the
end of the word; it is rejected if there is none. Every other event is a false accept.
"""

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.smoothing import Events, Smoothing, fire, margins, smooth
from lmu_quantize.audio import SAMPLE_RATE
from lmu_quantize.score import wilson_interval
from lmu_quantize.stream import Stream

__all__ = ["TOLERANCE_S", "Curve", "LogitClock", "StreamScore", "choose", "score_events", "sweep"]

IntArray = NDArray[np.int64]

TOLERANCE_S = 1.0
"""How long after the end of a word its event may come."""
SHIFTS = tuple(range(7))
REFRACTORIES = (40, 60, 80)
"""Averages and refractory times that are tried."""
POINTS = 60
"""Thresholds of a curve, at most, and one that nothing reaches."""


@dataclass(frozen=True)
class LogitClock:
    """When logits come.

    Parameters
    ----------
    window, hop : int
        Of the front end, in samples.
    period : int
        Frames from logits to logits.
    """

    window: int
    hop: int
    period: int = 1

    def sample(self, index: IntArray) -> IntArray:
        """First sample after those that the ``index``-th logits depend on, both counted from 0."""
        return ((index + 1) * self.period - 1) * self.hop + self.window


@dataclass(frozen=True, eq=False)
class StreamScore:
    """Events against keywords.

    Attributes
    ----------
    hours : float
        Length of the stream.
    keywords, accepted, false_accepts : int
        Keywords said, keywords with an event, events without a keyword.
    delays : ndarray of float64, shape (accepted,)
        Seconds from the end of each accepted word to its event; below 0 where the event came first.
    """

    hours: float
    keywords: int
    accepted: int
    false_accepts: int
    delays: NDArray[np.float64]

    @property
    def false_accepts_per_hour(self) -> float:
        """False accepts in an hour."""
        return self.false_accepts / self.hours

    @property
    def false_rejects(self) -> float:
        """Part of the keywords that have no event, 0 to 1."""
        return 1 - self.accepted / self.keywords if self.keywords else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form; delays by their median and 95 % quantile, None without any."""
        low, high = wilson_interval(self.keywords - self.accepted, self.keywords)
        median, late = np.quantile(self.delays, (0.5, 0.95)).tolist() if self.accepted else (None, None)
        return {
            "hours": self.hours,
            "keywords": self.keywords,
            "false_accepts": self.false_accepts,
            "false_accepts_per_hour": self.false_accepts_per_hour,
            "false_rejects": self.false_rejects,
            "false_rejects_interval": [low, high],
            "delay_median_s": median,
            "delay_95_s": late,
        }


@dataclass(frozen=True)
class Curve:
    """False rejects against false accepts, at rising thresholds.

    Attributes
    ----------
    thresholds : tuple of int
        As in `Smoothing`.
    scores : tuple of StreamScore
        One for each.
    """

    thresholds: tuple[int, ...]
    scores: tuple[StreamScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "threshold": list(self.thresholds),
            "false_accepts_per_hour": [one.false_accepts_per_hour for one in self.scores],
            "false_rejects": [one.false_rejects for one in self.scores],
        }


def score_events(events: Events, stream: Stream, clock: LogitClock) -> StreamScore:
    """Match events with the keywords of a stream.

    Parameters
    ----------
    events : Events
        Counted in frames that have logits, from the start of the stream.
    stream : Stream
        What was heard.
    clock : LogitClock
        When logits come.

    Returns
    -------
    StreamScore
    """
    times = clock.sample(events.frames).tolist()
    order = {int(label): np.flatnonzero(stream.labels == label) for label in np.unique(stream.labels)}
    starts = {label: stream.starts[own].tolist() for label, own in order.items()}
    latest = stream.ends + round(TOLERANCE_S * SAMPLE_RATE)
    taken = np.zeros(len(stream.labels), np.bool_)
    delays = []
    for time, label in zip(times, events.labels.tolist(), strict=True):
        last = bisect.bisect_right(starts.get(label, []), time)
        for place in order[label][max(last - 2, 0) : last].tolist() if last else ():
            if not taken[place] and time <= latest[place]:
                taken[place] = True
                delays.append((time - int(stream.ends[place])) / SAMPLE_RATE)
                break
    return StreamScore(stream.hours, len(taken), len(delays), len(times) - len(delays), np.array(delays))


def sweep(labels: IntArray, margin: IntArray, refractory: int, stream: Stream, clock: LogitClock) -> Curve:
    """Score a stream at thresholds that from a tenth of the frames to none reach.

    Parameters
    ----------
    labels, margin : ndarray of int64, shape (T,)
        From `lmu_hw.smoothing.margins`.
    refractory : int
        As in `Smoothing`.
    stream, clock
        As in `score_events`.

    Returns
    -------
    Curve
    """
    thresholds = _thresholds(margin)
    scores = [_score(labels, margin, threshold, refractory, stream, clock) for threshold in thresholds]
    return Curve(tuple(thresholds), tuple(scores))


def _thresholds(margin: IntArray) -> list[int]:
    """Rising thresholds, closer to each other where few frames reach them."""
    tail = np.geomspace(0.1, 0.5 / len(margin), POINTS)
    found: list[int] = np.unique([*np.ceil(np.quantile(margin, 1 - tail)).astype(np.int64), margin.max() + 1]).tolist()
    return found


def _score(
    labels: IntArray, margin: IntArray, threshold: int, refractory: int, stream: Stream, clock: LogitClock
) -> StreamScore:
    frames = fire(margin, threshold, refractory)
    return score_events(Events(frames, labels[frames], margin[frames]), stream, clock)


def choose(
    logits: IntArray, background: tuple[int, ...], per_hour: float, stream: Stream, clock: LogitClock
) -> Smoothing:
    """Smoothing with the fewest false rejects at no more than a rate of false accepts.

    For every average and refractory time the threshold falls until the rate is exceeded.

    Parameters
    ----------
    logits : ndarray of int64, shape (T, labels)
        Of the stream.
    background : tuple of int
        As in `Smoothing`.
    per_hour : float
        Most false accepts in an hour, 0 or more.
    stream, clock
        As in `score_events`.

    Returns
    -------
    Smoothing
        Of equally good ones that with the shortest average, then the shortest refractory time, then the highest
        threshold.
    """
    best: tuple[float, Smoothing] | None = None
    for shift in SHIFTS:
        labels, margin = margins(smooth(logits, shift), background)
        thresholds = _thresholds(margin)
        for refractory in REFRACTORIES:
            for threshold in reversed(thresholds):
                score = _score(labels, margin, threshold, refractory, stream, clock)
                if score.false_accepts_per_hour > per_hour:
                    break
                if best is None or score.false_rejects < best[0]:
                    best = score.false_rejects, Smoothing(background, shift, threshold, refractory)
    if best is None:
        raise ValueError(f"false accepts in an hour must be 0 or more, not {per_hour!r}")
    return best[1]
