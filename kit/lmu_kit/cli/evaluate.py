"""Measure the accuracy of a model on labelled clips.

Engines: float runs the float model in float64; golden runs the quantized model on integers; rtl runs the generated
Verilog in a compiled simulator and compares every logit of every frame with golden. Clips come from a Speech Commands
folder (--data) or a frames file (--frames; by default the small set shipped with the network). A clip's decision is
that of its last frame.

--stream joins the clips of --data to hours of audio with noise and silence between them, and scores the events of the
decision smoothing; the state is never reset. --labels and --front-end supply what a model file does not hold, --load
what the float file of another tool does not hold.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_kit.cli import options
from lmu_kit.cli.console import console, percent
from lmu_kit.cli.project_options import MODEL

if TYPE_CHECKING:
    from lmu_hw.model.program import QuantizedModel
    from lmu_kit.evaluation import Evaluation
    from lmu_kit.stream_evaluation import StreamEvaluation

PROJECT = {
    "model": MODEL, "data": "data.folder", "split": "flow.evaluate.split", "clips": "flow.evaluate.clips",
    "jobs": "flow.evaluate.jobs",
}  # fmt: skip
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw evaluate kws361 --engine rtl --lanes 16 --clips 20"

STREAM_ONLY = ("hours", "false_accepts", "seed", "smoothing")
"""Options that belong to --stream."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command, kind="float or quantized")
    command.add_argument("--engine", choices=options.ENGINES, default="golden", help="what decides (default golden)")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder")
    options.frames_argument(source)
    command.add_argument("--split", choices=options.SPLITS, default="test", help="which clips of --data (default test)")
    options.clips_argument(command, "number of clips, spread evenly (default all)")
    command.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="write results by label and the confusion matrix there; with --stream, the smoothing and its curve",
    )
    stream = command.add_argument_group("stream")
    stream.add_argument("--stream", action="store_true", help="measure events in hours of audio, with --data")
    options.hours_argument(stream)
    stream.add_argument(
        "--false-accepts",
        metavar="N",
        type=options.not_negative,
        help="choose the smoothing for at most N false accepts per hour of validation audio (default 5)",
    )
    stream.add_argument("--seed", metavar="N", type=options.natural, help="seed of the stream (default 0)")
    options.smoothing_argument(stream, "smoothing, instead of choosing it")
    options.description_arguments(command)
    group = options.accelerator_arguments(command, "accelerator, for --engine rtl only")
    options.jobs_argument(group, "simulators", 2)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate with the chosen engine and print the score."""
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise lh.InputError(f"{args.out}: is a file; --out takes a folder")
    start = time.perf_counter()
    if args.stream:
        return _stream(args) | {"seconds": time.perf_counter() - start}
    for name in STREAM_ONLY:
        if getattr(args, name) is not None:
            raise lh.InputError(f"--{name.replace('_', '-')} belongs to --stream")
    if args.engine != "float" and args.load:
        raise lh.InputError("--load is for float models of other tools: --engine float, or quantize first")
    model = options.open_float(args) if args.engine == "float" else options.open_described(args)
    if not model.labels:
        raise lh.InputError(f"model {model.name!r} has no labels: give {model.outputs} with --labels A,B,...")
    config = options.accelerator_config(args) if args.engine == "rtl" else None
    with console.progress() as progress:
        frames = options.open_clips(args, model, args.split, progress)
        evaluation = lh.evaluate(
            model, frames, engine=args.engine, config=config, jobs=args.jobs, progress=progress
        )
    title = f"{args.model}, {args.engine}"
    _print_score(evaluation, title)
    if args.out is not None:
        from lmu_kit.figures.score import write_score

        console.written(*write_score(evaluation.score, f"{title}: {evaluation.score}", args.out))
    evaluation.check()
    return evaluation.to_dict() | {"seconds": time.perf_counter() - start}


def _print_score(evaluation: "Evaluation", title: str) -> None:
    if evaluation.engine == "golden":
        saturated = ", ".join(f"{name} {count}" for name, count in evaluation.saturated.items() if count)
        console.print(f"saturated elements: {saturated or 'none'}")
    if evaluation.comparison is not None:
        console.print(str(evaluation.comparison))
    score = evaluation.score
    console.print(f"{title}: {score}")
    clips = dict(zip(score.labels, score.confusion.sum(axis=1).tolist(), strict=True))
    rows = [[label, percent(recall, 1), str(clips[label])] for label, recall in score.recall.items()]
    console.table(["label", "recall %", "clips"], rows)
    for warning in evaluation.warnings:
        console.warning(warning)


def _stream(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate on a stream."""
    if args.engine != "golden" or args.data is None or args.clips is not None or args.split != "test" or args.load:
        raise lh.InputError("--stream runs golden on all clips of --data: no --clips, --split or --load")
    if args.smoothing is not None and args.false_accepts is not None:
        raise lh.InputError("--false-accepts chooses a smoothing, and --smoothing gives one")
    names = ("hours", "false_accepts", "seed")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    chosen = lh.StreamOptions(**values, smoothing=options.read_smoothing(args.smoothing))
    model = options.open_described(args)
    with console.progress() as progress:
        result = lh.evaluate_stream(model, args.data, chosen, progress=progress)
    _print_stream(model, result)
    if args.out is not None:
        from lmu_kit.figures.stream import write_stream

        title, curve = f"{model.name}, {chosen.hours:g} h of stream", [point.scores for point in result.curve]
        console.written(*write_stream(result.smoothing, result.scores, curve, title, args.out))
    return result.to_dict()


def _print_stream(model: "QuantizedModel", result: "StreamEvaluation") -> None:
    smoothing = result.smoothing
    console.print(
        f"smoothing: scores of {smoothing.score_bits} bits, average over about {1 << smoothing.shift} frames, "
        f"threshold {smoothing.threshold}, refractory time {smoothing.refractory} frames, "
        f"background {', '.join(model.labels[index] for index in smoothing.background)}"
    )
    rows = []
    for split, score in result.scores.items():
        values = score.to_dict()
        delays = ["-" if values[key] is None else f"{values[key]:.2f}" for key in ("delay_median_s", "delay_95_s")]
        rates = f"{score.false_accepts_per_hour:.1f}", percent(score.false_rejects, 1)
        rows.append([split, f"{score.hours:g}", str(score.keywords), *rates, *delays])
    columns = ["stream", "hours", "keywords", "accepts/h", "rejects %", "delay s", "95 %"]
    console.table(columns, rows, title="false accepts per hour, false rejects, delay (median and 95 %)")
    if model.gate is not None:
        shares = ", ".join(f"{percent(share, 1)} % of {split}" for split, share in result.asleep.items())
        console.print(f"frames asleep: {shares}")
    for name, accuracy in result.clips.items():
        console.print(f"test clips {name}: {accuracy}")
