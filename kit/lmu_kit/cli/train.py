"""Train a float network on Speech Commands, with quantization in the loop at the end.

DATA is the published dataset's own folder layout. The run writes checkpoints to OUT and goes on where it was if it is
started again. Needs PyTorch: pip install 'lmu-hw[train]'.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmu_hw.progress import Progress
from lmu_kit.cli.console import console, stages
from lmu_kit.inputs import need_torch

if TYPE_CHECKING:
    from lmu_quantize.train import EpochResult

SUMMARY = "train a float network on recordings"
EXAMPLE = "lmu-hw train --data recordings --out build/training"

SHOWN_CLIPS = 20
"""Skipped clips that are named on the console; ``result.json`` names all."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument(
        "--data", metavar="FOLDER", type=Path, required=True, help="folder with speech_commands/ (and its test set)"
    )
    command.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="for checkpoints, log and models")
    command.add_argument(
        "--recipe", metavar="RECIPE", default="kws361", help="a recipe JSON or a shipped name (default kws361)"
    )
    command.add_argument(
        "--cache",
        metavar="FOLDER",
        type=Path,
        help="for augmented frames, which runs of other networks and the same seed may share (default OUT)",
    )
    command.add_argument("--seed", metavar="N", type=int, help="seed of all choices (default the recipe's)")
    command.add_argument("--threads", metavar="N", type=int, help="threads of PyTorch (default the recipe's)")
    command.add_argument("--device", metavar="DEVICE", help="cpu, cuda or auto (default the recipe's)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train and print the scores."""
    need_torch("training needs")
    from lmu_quantize.train import TrainConfig, train

    config = TrainConfig.from_recipe(args.recipe, args.data, args.out)
    given = {name: getattr(args, name) for name in ("seed", "threads", "device") if getattr(args, name) is not None}
    config = dataclasses.replace(config, **given)
    with stages() as show:
        bar = _TrainingBar(show)
        result = train(config, cache=args.cache, progress=bar.progress, on_skipped=_print_skipped, on_epoch=bar.epoch)
    for name, score in result.scores.items():
        console.print(f"{name}: {score}", markup=False)
    return {"scores": {name: score.to_dict() for name, score in result.scores.items()}, "out": str(args.out)}


class _TrainingBar:
    """Shows the stage of a training, and in training the validation of the last epoch."""

    def __init__(self, show: Progress) -> None:
        self._show, self._last = show, ""

    def progress(self, stage: str, done: int, total: int) -> None:
        self._show(f"{stage}{self._last}", done, total)

    def epoch(self, result: "EpochResult") -> None:
        recall = 100 * result.validation_mean_recall
        self._last = f", {result.phase} epoch {result.epoch}: {recall:.2f} % recall on validation"


def _print_skipped(split: str, problems: tuple[str, ...]) -> None:
    console.print(f"{len(problems)} clips of {split} skipped:", markup=False)
    for problem in problems[:SHOWN_CLIPS]:
        console.print(f"  {problem}", markup=False)
    if len(problems) > SHOWN_CLIPS:
        console.print(f"  and {len(problems) - SHOWN_CLIPS} more", markup=False)
