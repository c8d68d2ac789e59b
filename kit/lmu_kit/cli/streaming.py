"""Evaluate a model on hours of stream, as it is used: events against keywords, its state never reset."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

from lmu_hw.files import write_whole
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import Smoothing, detect
from lmu_kit.cli.console import CommandError, console, progress, stage, table
from lmu_kit.cli.score_report import report_folder
from lmu_kit.figures.drawing import open_frame, save, style
from lmu_kit.inputs import front_end_of, read_smoothing
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import quantize_frames
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.stream import make_stream, noise_part
from lmu_quantize.stream_score import LogitClock, StreamScore, choose, score_events

__all__ = ["BACKGROUND", "evaluate_stream"]

IntArray = NDArray[np.int64]
Clips = tuple[NDArray[np.int16], IntArray]
"""Samples and labels."""
Scores = dict[str, StreamScore]
"""By split."""

BACKGROUND = ("unknown", "silence")
"""Labels that are no keyword."""
SMOOTHING, PICTURE = "smoothing.json", "stream.png"
CHUNK = 256
"""Clips run at once, and clips that follow each other without a reset."""
SPLITS = ("validation", "test")
RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""False accepts in an hour of validation at which the curve has its points."""


class _Streams:
    """Streams of validation and test clips, and the logits of a network on them."""

    def __init__(
        self, model: QuantizedModel, clips: dict[str, Clips], noise: list[NDArray[np.int16]], hours: float, seed: int
    ):
        golden, front_end = Golden(model), front_end_of(model)
        self.logit = golden.operations[-1].output
        self.clock = LogitClock(front_end.window, front_end.hop, math.prod(model.strides))
        with stage("make the streams"):
            self.streams = {}
            for number, split in enumerate(SPLITS):
                held_out = [noise_part(recording, split) for recording in noise]
                self.streams[split] = make_stream(*clips[split], model.labels, held_out, hours, 2 * seed + number)
        audio = (stream.samples for stream in self.streams.values())
        frames = np.stack([quantize_frames(front_end.frames(samples), model.input) for samples in audio])
        with progress("golden model", frames.shape[1]) as done:
            self.logits = dict(zip(SPLITS, golden.run_long(frames, progress=done), strict=True))

    def choose(self, background: tuple[int, ...], rates: Sequence[float]) -> list[Smoothing | None]:
        """Smoothing for each rate of false accepts, chosen on validation."""
        split = SPLITS[0]
        return choose(self.logits[split], self.logit, background, rates, self.streams[split], self.clock)

    def score(self, smoothing: Smoothing) -> Scores:
        """Score the events on both streams."""
        return {
            split: score_events(detect(self.logits[split], smoothing), stream, self.clock)
            for split, stream in self.streams.items()
        }


def _clips(dataset: SpeechCommands, split: str) -> Clips:
    paths, labels = dataset.clips(split)
    loaded = load_clips(paths)
    for problem in loaded.problems:
        raise CommandError(f"a clip cannot be used: {problem}")
    return loaded.clips, labels


def evaluate_stream(args: argparse.Namespace, model: QuantizedModel) -> dict[str, Any]:
    """Choose smoothing on a stream of validation clips, or take it, and score a stream of test clips.

    Parameters
    ----------
    args : Namespace
        With ``data``, ``hours``, ``false_accepts``, ``seed``, ``smoothing`` and ``report``.
    model : QuantizedModel
        The network, with labels.

    Returns
    -------
    dict
        JSON-able results.
    """
    background = tuple(place for place, name in enumerate(model.labels) if name in BACKGROUND)
    if not background:
        raise CommandError(f"--stream needs a label {' or '.join(BACKGROUND)} that keywords are compared with")
    smoothing = read_smoothing(args.smoothing)
    if smoothing is not None:
        smoothing.check(model.outputs, Golden(model).operations[-1].output)
    if args.report is not None:
        report_folder(args.report)
    dataset = SpeechCommands(args.data, model.labels)
    if dataset.test_folder is None:
        raise CommandError(f"{args.data}: the official test clips (speech_commands_test_set) are not there")
    with stage("read the clips"):
        clips = {split: _clips(dataset, split) for split in SPLITS}
    streams = _Streams(model, clips, dataset.background_noise(), args.hours, args.seed)
    with stage("choose the smoothing on validation"):
        *points, chosen = streams.choose(background, (*RATES, args.false_accepts))
    smoothing = chosen if smoothing is None else smoothing
    if smoothing is None:
        raise CommandError(f"no smoothing gives {args.false_accepts:g} false accepts in an hour of validation or fewer")
    scores = streams.score(smoothing)
    curve = [(rate, one, streams.score(one)) for rate, one in zip(RATES, points, strict=True) if one is not None]
    clip_scores = _clip_scores(Golden(model), *clips["test"], args.seed)
    _print(smoothing, model, scores, clip_scores)
    if args.report is not None:
        _write(args.report, f"{model.name}, {args.hours:g} h of stream", smoothing, scores, [one[2] for one in curve])
    return {
        "smoothing": smoothing.to_dict(),
        "stream": _to_dicts(scores),
        "curve": [{"most": rate, "smoothing": one.to_dict(), **_to_dicts(found)} for rate, one, found in curve],
        "clips": {name: score.to_dict() for name, score in clip_scores.items()},
    }


def _to_dicts(scores: Scores) -> dict[str, Any]:
    return {split: score.to_dict() for split, score in scores.items()}


def _clip_scores(golden: Golden, clips: NDArray[np.int16], labels: IntArray, seed: int) -> dict[str, Score]:
    """Decisions at the end of each clip, from the zero state and in rows of clips without a reset."""
    model = golden.model
    front_end = front_end_of(model)
    parts = [front_end.frames_batch(clips[first : first + CHUNK]) for first in range(0, len(clips), CHUNK)]
    frames = quantize_frames(np.concatenate(parts), model.input)
    with progress("clips with reset", len(frames)) as done:
        reset = []
        for first in range(0, len(frames), CHUNK):
            reset.append(decide(golden.run_long(frames[first : first + CHUNK])[:, -1])[0])
            done(min(first + CHUNK, len(frames)))
    rows = max(1, len(frames) // CHUNK)
    order = np.random.default_rng((seed, 7)).permutation(len(frames))
    filled = np.resize(order, (rows, -(-len(frames) // rows)))
    following = frames[filled].reshape(rows, -1, model.inputs)
    with progress("clips without reset", following.shape[1]) as done:
        logits = golden.run_long(following, progress=done)
    ends = np.arange(1, filled.shape[1] + 1) * frames.shape[1] // math.prod(model.strides) - 1
    kept = np.empty(len(frames), np.int64)
    kept[filled.ravel()[: len(frames)]] = decide(logits[:, ends])[0].ravel()[: len(frames)]
    found = {"with reset": np.concatenate(reset), "without reset": kept}
    return {name: score_decisions(decisions, labels, model.labels) for name, decisions in found.items()}


def _print(smoothing: Smoothing, model: QuantizedModel, scores: Scores, clips: dict[str, Score]) -> None:
    console.print(
        f"smoothing: scores of {smoothing.score_bits} bits, average over about {1 << smoothing.shift} frames, "
        f"threshold {smoothing.threshold}, refractory time {smoothing.refractory} frames, "
        f"background {', '.join(model.labels[place] for place in smoothing.background)}"
    )
    found = table("stream", "hours", "keywords", "false accepts/h", "false rejects %", "median delay s", "95 %")
    for name, score in scores.items():
        row = score.to_dict()
        delays = ["-" if row[key] is None else f"{row[key]:.2f}" for key in ("delay_median_s", "delay_95_s")]
        rates = f"{score.false_accepts_per_hour:.1f}", f"{100 * score.false_rejects:.1f}"
        found.add_row(name, f"{score.hours:g}", str(score.keywords), *rates, *delays)
    console.print(found)
    for name, clip_score in clips.items():
        console.print(f"test clips {name}: {clip_score}")


def _place(score: StreamScore) -> tuple[float, float]:
    """Place in the picture."""
    return score.false_accepts_per_hour, 100 * score.false_rejects


def _write(folder: Path, title: str, smoothing: Smoothing, scores: Scores, curve: list[Scores]) -> None:
    """Write the smoothing and the picture of the curves."""
    with style():
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for name, score in scores.items():
            rates, rejects = zip(*(_place(one) for one in (*(point[name] for point in curve), score)), strict=True)
            line = axes.plot(rates[:-1], rejects[:-1], ".-", label=name)[0]
            axes.plot(rates[-1], rejects[-1], "o", color=line.get_color())
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("false accepts per hour")
        axes.set_ylabel("false rejects, %")
        axes.set_title(title, loc="left", fontsize=9)
        open_frame(axes)
        axes.legend(frameon=False)
        save(figure, folder / PICTURE, 120)
    write_whole(folder / SMOOTHING, (json.dumps(smoothing.to_dict(), indent=2) + "\n").encode())
