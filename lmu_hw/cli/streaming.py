"""Evaluate a model on hours of stream, as it is used: events against keywords, its state never reset."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lmu_hw.cli.console import CommandError, console, progress, stage, table
from lmu_hw.cli.inputs import front_end_of, read_smoothing
from lmu_hw.golden import Golden, decide
from lmu_hw.program import QuantizedModel
from lmu_hw.smoothing import Smoothing, detect, margins, smooth
from lmu_hw.tensor_file import write_whole
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import quantize_frames
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.stream import Stream, make_stream, noise_part
from lmu_quantize.stream_score import Curve, LogitClock, StreamScore, choose, score_events, sweep

__all__ = ["BACKGROUND", "evaluate_stream"]

IntArray = NDArray[np.int64]

BACKGROUND = ("unknown", "silence")
"""Labels that are no keyword."""
SMOOTHING, PICTURE = "smoothing.json", "stream.png"
CHUNK = 256
"""Clips run at once, and clips that follow each other without a reset."""
SPLITS = ("validation", "test")


class _Clips:
    """Clips of a split and the stream made from them."""

    def __init__(self, model: QuantizedModel, dataset: SpeechCommands, split: str, hours: float, seed: int):
        paths, labels = dataset.clips(split)
        loaded = load_clips(paths)
        for problem in loaded.problems:
            raise CommandError(f"a clip cannot be used: {problem}".replace(" (resample=True converts)", ""))
        self.clips, self.labels = loaded.clips, labels
        noise = [noise_part(recording, split) for recording in dataset.background_noise()]
        number = SPLITS.index(split)
        self.stream = make_stream(self.clips, labels, model.labels, noise, hours, 2 * seed + number)
        self.frames = quantize_frames(front_end_of(model).frames(self.stream.samples), model.input)


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
    given = read_smoothing(args.smoothing)
    dataset = SpeechCommands(args.data, model.labels)
    if dataset.test_folder is None:
        raise CommandError(f"{args.data}: the official test clips (speech_commands_test_set) are not there")
    with stage("make the streams"):
        made = {split: _Clips(model, dataset, split, args.hours, args.seed) for split in SPLITS}
    golden, front_end = Golden(model), front_end_of(model)
    clock = LogitClock(front_end.window, front_end.hop, math.prod(model.strides))
    frames = np.stack([one.frames for one in made.values()])
    with progress("golden model", frames.shape[1]) as done:
        logits = dict(zip(SPLITS, golden.run_long(frames, progress=done), strict=True))
    if given is None:
        with stage("choose the smoothing on validation"):
            given = choose(logits["validation"], background, args.false_accepts, made["validation"].stream, clock)
    given.check(model.outputs, golden.operations[-1].output)
    scores = {name: _score(logits[name], given, made[name].stream, clock) for name in SPLITS}
    curves = {name: _curve(logits[name], given, made[name].stream, clock) for name in SPLITS}
    clips = _clip_scores(golden, made["test"].clips, made["test"].labels, args.seed)
    _print(given, model, scores, clips)
    if args.report is not None:
        _write(args.report, f"{model.name}, {args.hours:g} h of stream", given, scores, curves)
    return {
        "smoothing": given.to_dict(),
        "stream": {name: score.to_dict() for name, score in scores.items()},
        "curve": {name: curve.to_dict() for name, curve in curves.items()},
        "clips": {name: score.to_dict() for name, score in clips.items()},
    }


def _score(logits: IntArray, smoothing: Smoothing, stream: Stream, clock: LogitClock) -> StreamScore:
    return score_events(detect(logits, smoothing), stream, clock)


def _curve(logits: IntArray, smoothing: Smoothing, stream: Stream, clock: LogitClock) -> Curve:
    labels, margin = margins(smooth(logits, smoothing.shift), smoothing.background)
    return sweep(labels, margin, smoothing.refractory, stream, clock)


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
            done(first)
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


def _print(
    smoothing: Smoothing, model: QuantizedModel, scores: dict[str, StreamScore], clips: dict[str, Score]
) -> None:
    console.print(
        f"smoothing: average over about {1 << smoothing.shift} frames, threshold {smoothing.threshold}, "
        f"refractory time {smoothing.refractory} frames, background {', '.join(map(str, _names(smoothing, model)))}"
    )
    found = table("stream", "hours", "keywords", "false accepts/h", "false rejects %", "delay s", "95 %")
    for name, score in scores.items():
        row = score.to_dict()
        delays = ["-" if row[key] is None else f"{row[key]:.2f}" for key in ("delay_median_s", "delay_95_s")]
        rates = f"{score.false_accepts_per_hour:.1f}", f"{100 * score.false_rejects:.1f}"
        found.add_row(name, f"{score.hours:g}", str(score.keywords), *rates, *delays)
    console.print(found)
    for name, clip_score in clips.items():
        console.print(f"test clips {name}: {clip_score}")


def _names(smoothing: Smoothing, model: QuantizedModel) -> list[str]:
    return [model.labels[place] for place in smoothing.background]


def _write(
    folder: Path, title: str, smoothing: Smoothing, scores: dict[str, StreamScore], curves: dict[str, Curve]
) -> None:
    """Write the smoothing and the picture of the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "lmu-hw", "font.size": 9}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for name, curve in curves.items():
            rates = [one.false_accepts_per_hour for one in curve.scores]
            line = axes.plot(rates, [100 * one.false_rejects for one in curve.scores], label=name)[0]
            chosen = scores[name]
            axes.plot(chosen.false_accepts_per_hour, 100 * chosen.false_rejects, "o", color=line.get_color())
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("false accepts per hour")
        axes.set_ylabel("false rejects, %")
        axes.set_title(title, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(folder / PICTURE, dpi=120)
    write_whole(folder / SMOOTHING, (json.dumps(smoothing.to_dict(), indent=2) + "\n").encode())
