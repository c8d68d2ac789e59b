"""How well events match the keywords of a stream, and the smoothing that makes them match best.

A keyword is accepted by the first event of its label that comes from the start of its clip to `TOLERANCE_S` after the
end of the word; it is rejected if there is none. Every other event is a false accept.
"""

import bisect
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import Format
from lmu_hw.model.smoothing import Events, Smoothing, fire, leads, scores, smooth
from lmu_quantize.audio import SAMPLE_RATE
from lmu_quantize.score import wilson_interval
from lmu_quantize.stream import Stream

__all__ = ["TOLERANCE_S", "LogitClock", "StreamScore", "choose", "score_events"]

IntArray = NDArray[np.int64]

TOLERANCE_S = 1.0
"""How long after the end of a word its event may come."""
WIDTHS = (1, 2, 3)
"""Bits of a score above the point that are tried,"""
SHIFTS = (0, 1, 2, 3, 4, 5)
REFRACTORIES = (40, 60)
"""with these averages and refractory times."""
POINTS = 160
"""Thresholds, at most."""


@dataclass(frozen=True, eq=False)
class LogitClock:
    """When logits come.

    Parameters
    ----------
    window, hop : int
        Of the front end, in samples.
    period : int
        Frames from logits to logits.
    frames : ndarray of int64, shape (T_out,), optional
        Frames with logits, of a network that sleeps at times; every `period`-th if not given.
    """

    window: int
    hop: int
    period: int = 1
    frames: IntArray | None = None

    def sample(self, index: IntArray) -> IntArray:
        """First sample after those that the ``index``-th logits depend on, both counted from 0."""
        frames = (index + 1) * self.period - 1 if self.frames is None else self.frames[index]
        return frames * self.hop + self.window


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
        for keyword in order[label][max(last - 2, 0) : last].tolist() if last else ():
            if not taken[keyword] and time <= latest[keyword]:
                taken[keyword] = True
                delays.append((time - int(stream.ends[keyword])) / SAMPLE_RATE)
                break
    return StreamScore(stream.hours, len(taken), len(delays), len(times) - len(delays), np.array(delays))


def choose(
    logits: IntArray,
    logit: Format,
    background: tuple[int, ...],
    rates: Sequence[float],
    stream: Stream,
    clock: LogitClock,
    restarts: Sequence[int] | IntArray = (),
) -> list[Smoothing | None]:
    """Smoothing with the fewest false rejects at no more than a rate of false accepts, for each of several rates.

    For every width of the scores, average and refractory time, the lowest threshold that keeps the rate is found by
    bisection.

    Parameters
    ----------
    logits : ndarray of int64, shape (T, labels)
        Of the stream.
    logit : Format
        Of the logits.
    background : tuple of int
        As in `Smoothing`.
    rates : sequence of float
        Most false accepts in an hour.
    stream, clock
        As in `score_events`.
    restarts : sequence of int
        As in `lmu_hw.model.smoothing.smooth`.

    Returns
    -------
    list of Smoothing or None
        One for each rate, None where every smoothing exceeds it. Of equally good ones that with the narrowest scores,
        then the shortest average, then the shortest refractory time.
    """
    best: list[tuple[float, Smoothing] | None] = [None] * len(rates)
    widths = sorted({min(max(1, logit.frac + above), logit.width) for above in WIDTHS})
    for score_bits, shift in itertools.product(widths, SHIFTS):
        labels, lead = leads(smooth(scores(logits, score_bits), shift, restarts), background)
        thresholds = _thresholds(lead)
        for refractory in REFRACTORIES:
            score = functools.cache(functools.partial(_score, labels, lead, refractory, stream, clock))
            for index, per_hour in enumerate(rates):
                threshold = _lowest(score, thresholds, per_hour)
                former = best[index]
                if threshold and (former is None or score(threshold).false_rejects < former[0]):
                    smoothing = Smoothing(background, score_bits, shift, threshold, refractory)
                    best[index] = score(threshold).false_rejects, smoothing
    return [None if entry is None else entry[1] for entry in best]


def _thresholds(lead: IntArray) -> list[int]:
    """Rising thresholds that some frames reach, closer to each other where few do."""
    tail = np.geomspace(1.0, 0.5 / len(lead), POINTS)
    quantiles = np.ceil(np.quantile(lead, 1 - tail)).astype(np.int64)
    thresholds: list[int] = np.unique(quantiles.clip(min=1, max=lead.max())).tolist()
    return [threshold for threshold in thresholds if threshold]


def _lowest(score: Callable[[int], StreamScore], thresholds: list[int], per_hour: float) -> int | None:
    """Lowest threshold that keeps the rate of false accepts, None if none does."""

    def keeps_rate(threshold: int) -> bool:
        return score(threshold).false_accepts_per_hour <= per_hour

    index = bisect.bisect_left(thresholds, True, key=keeps_rate)
    return None if index == len(thresholds) else thresholds[index]


def _score(
    labels: IntArray, lead: IntArray, refractory: int, stream: Stream, clock: LogitClock, threshold: int
) -> StreamScore:
    frames = fire(lead, threshold, refractory)
    return score_events(Events(frames, labels[frames], lead[frames]), stream, clock)
