"""Hours of audio without a reset: events of the decision smoothing against keywords."""

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import Smoothing, detect
from lmu_hw.model.stream import StreamLogits, clip_logits, stream_logits
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.models import front_end_of, silence_label
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import quantize_frames
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.stream import Stream, make_stream, noise_part
from lmu_quantize.stream_score import LogitClock, StreamScore, choose, score_events

__all__ = ["BACKGROUND", "CurvePoint", "StreamEvaluation", "StreamOptions", "evaluate_stream", "load_split"]

IntArray = NDArray[np.int64]
LabelledClips = tuple[NDArray[np.int16], IntArray]
"""Samples and labels."""

BACKGROUND = ("unknown", "silence")
"""Labels that are no keyword."""

CHUNK = 256
"""Clips that run at once, and clips that follow each other without a reset."""

SPLITS = ("validation", "test")

RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""False accepts in an hour of validation at which the curve has its points."""


@dataclass(frozen=True)
class StreamOptions:
    """What to listen to, and how the smoothing is chosen.

    Parameters
    ----------
    hours : float
        Length of each stream, 0.01 to 100.
    false_accepts : float
        Most false accepts in an hour of validation; the smoothing with the fewest false rejects is chosen.
    seed : int
        Of the streams, 0 or more.
    smoothing : Smoothing or None
        Take this one instead of choosing.
    """

    hours: float = 1.0
    false_accepts: float = 5.0
    seed: int = 0
    smoothing: Smoothing | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.hours <= 100:
            raise ValueError(f"hours must be in 0.01 to 100, not {self.hours!r}")
        if not 0 <= self.false_accepts < math.inf:
            raise ValueError(f"false_accepts must be a number of 0 or more, not {self.false_accepts!r}")
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed must be an integer of 0 or more, not {self.seed!r}")


@dataclass(frozen=True)
class CurvePoint:
    """A smoothing chosen for a rate of false accepts on validation, and what it gives.

    Parameters
    ----------
    most : float
        Most false accepts in an hour of validation.
    smoothing : Smoothing
        What was chosen.
    scores : dict of str to StreamScore
        By split.
    """

    most: float
    smoothing: Smoothing
    scores: dict[str, StreamScore]


@dataclass(frozen=True)
class StreamEvaluation:
    """Events on a stream.

    Parameters
    ----------
    smoothing : Smoothing
        Chosen on validation, or given.
    scores : dict of str to StreamScore
        False accepts, false rejects and delays on the streams of ``validation`` and ``test``.
    curve : tuple of CurvePoint
        The trade between false accepts and false rejects.
    clips : dict of str to Score
        Accuracy on the test clips ``with reset`` and ``without reset``.
    asleep : dict of str to float
        Part of the frames of each stream that were asleep, 0 to 1; 0 without a gate.
    """

    smoothing: Smoothing
    scores: dict[str, StreamScore]
    curve: tuple[CurvePoint, ...]
    clips: dict[str, Score]
    asleep: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "smoothing": self.smoothing.to_dict(),
            "stream": _to_dicts(self.scores),
            "curve": [
                {"most": point.most, "smoothing": point.smoothing.to_dict(), **_to_dicts(point.scores)}
                for point in self.curve
            ],
            "clips": {name: score.to_dict() for name, score in self.clips.items()},
            "asleep": self.asleep,
        }


def evaluate_stream(
    model: QuantizedModel,
    data: str | os.PathLike[str],
    options: StreamOptions | None = None,
    *,
    progress: Progress = silent,
) -> StreamEvaluation:
    """Make hours of audio from labelled clips and noise, and score the events of the golden model on it.

    The state is never reset. Smoothing is chosen on a stream of validation clips; a stream of test clips reports it.

    Parameters
    ----------
    model : QuantizedModel
        With labels, one of them ``unknown`` or ``silence``, and a front end.
    data : path-like
        Speech Commands folder with the official test clips.
    options : StreamOptions, optional
        Hours, rate of false accepts, seed, smoothing.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    StreamEvaluation
        Smoothing, scores by split, the curve, and accuracy on clips with and without a reset.

    Raises
    ------
    InputError
        If the model or the folder does not serve, or no smoothing is good enough.
    """
    options = StreamOptions() if options is None else options
    background = tuple(index for index, label in enumerate(model.labels) if label in BACKGROUND)
    if not background:
        raise InputError(f"a stream needs a label {' or '.join(BACKGROUND)} that keywords are compared with")
    if options.smoothing is not None:
        options.smoothing.check(model.outputs, Golden(model).operations[-1].output)
    dataset = SpeechCommands(Path(data), model.labels)
    if dataset.test_folder is None:
        raise InputError(f"{data}: the official test clips (speech_commands_test_set) are missing")
    progress("read the clips", 0, 0)
    clips = {split: load_split(dataset, split) for split in SPLITS}
    streams = _Streams(model, clips, dataset.background_noise(), options, progress)
    progress("choose the smoothing on validation", 0, 0)
    *points, chosen = streams.choose(background, (*RATES, options.false_accepts))
    smoothing = chosen if options.smoothing is None else options.smoothing
    if smoothing is None:
        raise InputError(
            f"no smoothing gives {options.false_accepts:g} false accepts in an hour of validation or fewer"
        )
    curve = tuple(
        CurvePoint(rate, point, streams.score(point))
        for rate, point in zip(RATES, points, strict=True)
        if point is not None
    )
    clip_scores = _clip_scores(model, *clips["test"], options.seed, progress)
    return StreamEvaluation(smoothing, streams.score(smoothing), curve, clip_scores, streams.asleep)


class _Streams:
    """Streams of validation and test clips, and the logits of a network on them."""

    def __init__(
        self,
        model: QuantizedModel,
        clips: dict[str, LabelledClips],
        noise: list[NDArray[np.int16]],
        options: StreamOptions,
        progress: Progress,
    ):
        front_end = front_end_of(model)
        self.logit = Golden(model).operations[-1].output
        progress("make the streams", 0, 0)
        self.streams: dict[str, Stream] = {}
        self.heard: dict[str, StreamLogits] = {}
        for number, split in enumerate(SPLITS):
            held_out = [noise_part(recording, split) for recording in noise]
            seed = 2 * options.seed + number
            stream = make_stream(*clips[split], model.labels, held_out, options.hours, seed)
            frames = quantize_frames(front_end.frames(stream.samples), model.input)
            self.streams[split] = stream
            done_of = functools.partial(_golden_progress, progress, len(frames))
            self.heard[split] = stream_logits(model, frames, done_of)
        self.clocks = {
            split: LogitClock(front_end.window, front_end.hop, frames=heard.frames)
            for split, heard in self.heard.items()
        }

    @property
    def asleep(self) -> dict[str, float]:
        """Part of the frames of each stream that were asleep."""
        return {split: 1 - heard.awake for split, heard in self.heard.items()}

    def choose(self, background: tuple[int, ...], rates: Sequence[float]) -> list[Smoothing | None]:
        """Smoothing for each rate of false accepts, chosen on validation."""
        split = SPLITS[0]
        heard = self.heard[split]
        return choose(
            heard.logits, self.logit, background, rates, self.streams[split], self.clocks[split], heard.restarts
        )

    def score(self, smoothing: Smoothing) -> dict[str, StreamScore]:
        """Score the events on both streams."""
        scores = {}
        for split, heard in self.heard.items():
            events = detect(heard.logits, smoothing, heard.restarts)
            scores[split] = score_events(events, self.streams[split], self.clocks[split])
        return scores


def _golden_progress(progress: Progress, frames: int, done: int) -> None:
    progress("golden model", done, frames)


def load_split(dataset: SpeechCommands, split: str) -> LabelledClips:
    """Clips of a split and their labels; `InputError` if one cannot be used."""
    paths, labels = dataset.clips(split)
    loaded = load_clips(paths)
    for problem in loaded.problems:
        raise InputError(f"a clip cannot be used: {problem}")
    return loaded.clips, labels


def _to_dicts(scores: dict[str, StreamScore]) -> dict[str, Any]:
    return {split: score.to_dict() for split, score in scores.items()}


def _clip_scores(
    model: QuantizedModel, clips: NDArray[np.int16], labels: IntArray, seed: int, progress: Progress
) -> dict[str, Score]:
    """Decisions at the end of each clip, from the zero state and in rows of clips without a reset."""
    front_end = front_end_of(model)
    parts = [front_end.frames_batch(clips[first : first + CHUNK]) for first in range(0, len(clips), CHUNK)]
    frames = quantize_frames(np.concatenate(parts), model.input)
    silence = silence_label(model)
    decisions = {
        "with reset": _decide_with_reset(model, frames, silence, progress),
        "without reset": _decide_without_reset(model, frames, silence, seed, progress),
    }
    return {name: score_decisions(decided, labels, model.labels) for name, decided in decisions.items()}


def _decide_with_reset(model: QuantizedModel, frames: IntArray, silence: int, progress: Progress) -> IntArray:
    parts = []
    for first in range(0, len(frames), CHUNK):
        progress("clips with reset", first, len(frames))
        parts.append(decide(clip_logits(model, frames[first : first + CHUNK], silence))[0])
    return np.concatenate(parts)


def _decide_without_reset(
    model: QuantizedModel, frames: IntArray, silence: int, seed: int, progress: Progress
) -> IntArray:
    """Decide clips that follow each other in rows, in a random order."""
    count = len(frames)
    rows = max(1, count // CHUNK)
    order = np.random.default_rng((seed, 7)).permutation(count)
    filled = np.resize(order, (rows, -(-count // rows)))
    following = frames[filled].reshape(rows, -1, model.inputs)
    lasts = np.arange(1, filled.shape[1] + 1) * frames.shape[1] - 1
    decisions = np.empty(count, np.int64)
    decided = []
    for row, stream in enumerate(following):
        progress("clips without reset", row, rows)
        heard = stream_logits(model, stream)
        standing = np.searchsorted(heard.frames, lasts, side="right") - 1
        labels = decide(heard.logits)[0] if len(heard.logits) else np.zeros(1, np.int64)
        decided.append(np.where(standing < 0, silence, labels[standing]))
    decisions[filled.ravel()[:count]] = np.concatenate(decided)[:count]
    return decisions
