"""Measure the accuracy of a model on labelled clips.

Engines: float runs the float model in float64, golden the quantized one on integers, rtl the generated Verilog in a
compiled simulator, with every logit of every frame compared with golden. Clips come from a Speech Commands folder
(--data) or a frames file (--frames; by default the small set shipped with the model). A clip's decision is that of
its last frame. --stream makes hours of audio of the clips of --data instead, with noise and silence between them, and
scores the events of the decision smoothing on it; the state is never reset. --labels and --front-end stand in for what
a model does not tell itself, --load for what the float file of another tool does not hold.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.console import CommandError, console, print_saturated, progress, stage, table
from lmu_kit.cli.options import (
    accelerator_arguments,
    accelerator_config,
    description_arguments,
    loader_options,
    positive,
    smoothing_argument,
)
from lmu_kit.cli.score_report import write_report
from lmu_kit.cli.streaming import evaluate_stream
from lmu_kit.inputs import (
    Model,
    check_length,
    dataset_frames,
    described,
    float_model,
    model_frames,
    quantized_model,
    shipped_or_given,
)
from lmu_quantize.dataset import SPLITS
from lmu_quantize.features import quantize_frames
from lmu_quantize.model import FloatModel
from lmu_quantize.score import Score, score_decisions
from lmu_sim.batch import BatchSimulator, compare_batch

SUMMARY = "measure accuracy: float, golden or rtl"
EXAMPLE = "lmu-hw evaluate kws361 --engine rtl --lanes 16 --limit 20"

STREAM_ONLY = {"hours": 1.0, "false_accepts": 5.0, "seed": 0, "smoothing": None}
"""Options that belong to --stream, and their defaults."""

CHUNK = 256
"""Clips that the float and golden engines run at once."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a model file, or the name of a shipped one")
    command.add_argument("--engine", choices=("float", "golden", "rtl"), default="golden", help="default golden")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder")
    source.add_argument(
        "--frames", metavar="FILE", type=Path, help="a frames file (default: the set shipped with the model)"
    )
    command.add_argument("--split", choices=SPLITS, default="test", help="which clips of --data (default test)")
    command.add_argument("--limit", metavar="N", type=positive, help="at most so many clips, spread evenly")
    command.add_argument(
        "--report",
        metavar="FOLDER",
        type=Path,
        help="write a table label by label and the confusion matrix there; of a stream, the smoothing and its curve",
    )
    stream = command.add_argument_group("stream")
    stream.add_argument("--stream", action="store_true", help="measure events in hours of audio, with --data")
    stream.add_argument("--hours", metavar="H", type=hours, help="how long (default 1)")
    stream.add_argument(
        "--false-accepts",
        metavar="N",
        type=rate,
        help="most false accepts in an hour of validation, by which the smoothing is chosen (default 5)",
    )
    stream.add_argument("--seed", metavar="N", type=natural, help="of the stream (default 0)")
    smoothing_argument(stream, "smoothing, instead of choosing it")
    description_arguments(command)
    group = accelerator_arguments(command, "accelerator, for --engine rtl only")
    group.add_argument("--processes", metavar="N", type=positive, default=2, help="simulators at a time (default 2)")


def hours(text: str) -> float:
    """Argument type: hours, from which a stream of some clips can be made."""
    value = rate(text)
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be in 0.01 to 100, not {text!r}")
    return value


def rate(text: str) -> float:
    """Argument type: a number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, not {text!r}")
    return value


def natural(text: str) -> int:
    """Argument type: an integer of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of 0 or more, not {text!r}")
    return int(text)


def golden_decisions(model: QuantizedModel, frames: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Decisions of the golden model at the end of each clip, and its saturation counts.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : ndarray of int64, shape (clips, T, inputs)
        Integer frames.

    Returns
    -------
    decisions : ndarray of int64, shape (clips,)
        Indices of labels.
    saturated : dict of str to int
        By vector.
    """
    golden, parts = Golden(model), []
    counts: dict[str, int] = {}
    with progress("golden model", len(frames)) as done:
        for start in range(0, len(frames), CHUNK):
            chunk = frames[start : start + CHUNK]
            state = golden.initial_state(len(chunk))
            parts.append(decide(golden.run(chunk, state)["logits"][:, -1])[0])
            counts = {name: counts.get(name, 0) + count for name, count in state.saturated.items()}
            done(start + len(chunk))
    return np.concatenate(parts), counts


def float_decisions(model: FloatModel, frames: NDArray[np.float64]) -> NDArray[np.int64]:
    """Decisions of the float model at the end of each clip, shape (clips,)."""
    parts = []
    with progress("float model", len(frames)) as done:
        for start in range(0, len(frames), CHUNK):
            parts.append(model.run(frames[start : start + CHUNK])["logits"][:, -1].argmax(axis=1))
            done(start + CHUNK)
    return np.concatenate(parts)


def print_score(score: Score, title: str) -> None:
    """Print accuracy and recall by label."""
    console.print(f"{title}: ", end="", markup=False)
    console.print(f"[bold]{score}[/bold]")
    recalls = table("label", "recall %", "clips")
    for label, recall in score.recall.items():
        recalls.add_row(label, f"{100 * recall:.1f}", str(int(score.confusion[score.labels.index(label)].sum())))
    console.print(recalls)


def _labelled(model: Model) -> Model:
    """Refuse a model whose decisions have no names."""
    if not model.labels:
        raise CommandError(f"model {model.name!r} has no labels, give its {model.outputs} with --labels A,B,...")
    return model


def _source(args: argparse.Namespace) -> str:
    return str(args.data or args.frames or args.model)


def _float(args: argparse.Namespace) -> tuple[Score, dict[str, Any]]:
    model = float_model(args.model, **loader_options(args.load or []))
    model = _labelled(described(model, args.labels, args.front_end))
    if args.data is not None:
        frames, truth = dataset_frames(model, args.data, args.split, args.limit)
    else:
        found = shipped_or_given(model, args.frames, args.limit)
        frames, truth = found.real(), found.truth
    check_length(model, frames.shape[1], _source(args))
    return score_decisions(float_decisions(model, frames), truth, model.labels), {}


def _integers(args: argparse.Namespace) -> tuple[Score, dict[str, Any]]:
    if args.load:
        raise CommandError("--load is for float models of other tools: --engine float, or quantize first")
    model = _labelled(described(quantized_model(args.model), args.labels, args.front_end))
    if args.data is not None:
        floats, truth = dataset_frames(model, args.data, args.split, args.limit)
        frames = quantize_frames(floats, model.input)
    else:
        found = model_frames(model, args.frames, args.limit)
        frames, truth = found.frames, found.truth
    check_length(model, frames.shape[1], _source(args))
    if args.engine == "golden":
        decisions, saturated = golden_decisions(model, frames)
        print_saturated(saturated)
        return score_decisions(decisions, truth, model.labels), {"saturated": saturated}
    return _rtl(args, model, frames, truth)


def _stream(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate on a stream."""
    if args.engine != "golden" or args.data is None or args.limit is not None or args.split != "test" or args.load:
        raise CommandError("--stream runs the golden model on all clips of --data, without --limit, --split and --load")
    if args.smoothing is not None and args.false_accepts is not None:
        raise CommandError("--false-accepts chooses a smoothing, and --smoothing gives one")
    for name, value in STREAM_ONLY.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return evaluate_stream(args, _labelled(described(quantized_model(args.model), args.labels, args.front_end)))


def _rtl(
    args: argparse.Namespace, model: QuantizedModel, frames: NDArray[np.int64], truth: NDArray[np.int64]
) -> tuple[Score, dict[str, Any]]:
    plan = make_plan(model, accelerator_config(args))
    with stage("build the simulator"):
        simulator = BatchSimulator(plan)
    with progress("rtl simulation", len(frames)) as done:
        result = simulator.run(frames, args.processes, lambda _, count, __: done(count))
    with progress("compare with golden"):
        report = compare_batch(plan, frames, result)
    console.print(str(report), markup=False)
    first = None if report.first is None else str(report.first)
    more = {"compared": report.compared, "differing": report.differing, "first": first}
    return score_decisions(decide(result.logits[:, -1])[0], truth, model.labels), more


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate with the chosen engine and print the score."""
    start = time.perf_counter()
    if args.stream:
        return _stream(args) | {"seconds": time.perf_counter() - start}
    for name in STREAM_ONLY:
        if getattr(args, name) is not None:
            raise CommandError(f"--{name.replace('_', '-')} belongs to --stream")
    score, more = _float(args) if args.engine == "float" else _integers(args)
    print_score(score, f"{args.model}, {args.engine}")
    if args.report is not None:
        write_report(score, f"{args.model}, {args.engine}: {score}", args.report)
    result = {"engine": args.engine, "seconds": time.perf_counter() - start, **score.to_dict(), **more}
    if more.get("differing"):
        raise CommandError(f"the Verilog and the golden model differ: {more['first']}", result)
    return result
