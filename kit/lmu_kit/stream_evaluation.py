"""Hours of audio without a reset: events of the decision smoothing against keywords."""

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
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.models import front_end_of
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import quantize_frames
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.stream import make_stream, noise_part
from lmu_quantize.stream_score import LogitClock, StreamScore, choose, score_events

__all__ = ["BACKGROUND", "CurvePoint", "StreamEvaluation", "StreamOptions", "evaluate_stream"]

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
    """

    smoothing: Smoothing
    scores: dict[str, StreamScore]
    curve: tuple[CurvePoint, ...]
    clips: dict[str, Score]

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
    clips = {split: _clips(dataset, split) for split in SPLITS}
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
    clip_scores = _clip_scores(Golden(model), *clips["test"], options.seed, progress)
    return StreamEvaluation(smoothing, streams.score(smoothing), curve, clip_scores)


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
        golden, front_end = Golden(model), front_end_of(model)
        self.logit = golden.operations[-1].output
        self.clock = LogitClock(front_end.window, front_end.hop, math.prod(model.strides))
        progress("make the streams", 0, 0)
        self.streams = {}
        for number, split in enumerate(SPLITS):
            held_out = [noise_part(recording, split) for recording in noise]
            seed = 2 * options.seed + number
            self.streams[split] = make_stream(*clips[split], model.labels, held_out, options.hours, seed)
        audio = (stream.samples for stream in self.streams.values())
        frames = np.stack([quantize_frames(front_end.frames(samples), model.input) for samples in audio])
        logits = golden.run_long(frames, progress=lambda done: progress("golden model", done, frames.shape[1]))
        self.logits = dict(zip(SPLITS, logits, strict=True))

    def choose(self, background: tuple[int, ...], rates: Sequence[float]) -> list[Smoothing | None]:
        """Smoothing for each rate of false accepts, chosen on validation."""
        split = SPLITS[0]
        return choose(self.logits[split], self.logit, background, rates, self.streams[split], self.clock)

    def score(self, smoothing: Smoothing) -> dict[str, StreamScore]:
        """Score the events on both streams."""
        return {
            split: score_events(detect(self.logits[split], smoothing), stream, self.clock)
            for split, stream in self.streams.items()
        }


def _clips(dataset: SpeechCommands, split: str) -> LabelledClips:
    paths, labels = dataset.clips(split)
    loaded = load_clips(paths)
    for problem in loaded.problems:
        raise InputError(f"a clip cannot be used: {problem}")
    return loaded.clips, labels


def _to_dicts(scores: dict[str, StreamScore]) -> dict[str, Any]:
    return {split: score.to_dict() for split, score in scores.items()}


def _clip_scores(
    golden: Golden, clips: NDArray[np.int16], labels: IntArray, seed: int, progress: Progress
) -> dict[str, Score]:
    """Decisions at the end of each clip, from the zero state and in rows of clips without a reset."""
    model = golden.model
    front_end = front_end_of(model)
    parts = [front_end.frames_batch(clips[first : first + CHUNK]) for first in range(0, len(clips), CHUNK)]
    frames = quantize_frames(np.concatenate(parts), model.input)
    decisions = {
        "with reset": _decide_with_reset(golden, frames, progress),
        "without reset": _decide_without_reset(golden, frames, seed, progress),
    }
    return {name: score_decisions(decided, labels, model.labels) for name, decided in decisions.items()}


def _decide_with_reset(golden: Golden, frames: IntArray, progress: Progress) -> IntArray:
    parts = []
    for first in range(0, len(frames), CHUNK):
        progress("clips with reset", first, len(frames))
        parts.append(decide(golden.run_long(frames[first : first + CHUNK])[:, -1])[0])
    return np.concatenate(parts)


def _decide_without_reset(golden: Golden, frames: IntArray, seed: int, progress: Progress) -> IntArray:
    """Decide clips that follow each other in rows, in a random order."""
    model, count = golden.model, len(frames)
    rows = max(1, count // CHUNK)
    order = np.random.default_rng((seed, 7)).permutation(count)
    filled = np.resize(order, (rows, -(-count // rows)))
    following = frames[filled].reshape(rows, -1, model.inputs)
    logits = golden.run_long(
        following, progress=lambda done: progress("clips without reset", done, following.shape[1])
    )
    ends = np.arange(1, filled.shape[1] + 1) * frames.shape[1] // math.prod(model.strides) - 1
    decisions = np.empty(count, np.int64)
    decisions[filled.ravel()[:count]] = decide(logits[:, ends])[0].ravel()[:count]
    return decisions
