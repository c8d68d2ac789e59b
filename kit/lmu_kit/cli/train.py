"""Train a float network on Speech Commands, with quantization in the loop at the end.

DATA has the published dataset's own folder layout. The run writes checkpoints to OUT; started again, it resumes from
there. Needs PyTorch: pip install 'lmu-hw[train]'.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.progress import Progress
from lmu_kit.cli.console import console
from lmu_kit.cli.options import positive

if TYPE_CHECKING:
    from lmu_quantize.train import EpochResult

EXAMPLE = "lmu-hw train --data recordings --out build/training"

PROJECT = {
    "data": "data.folder", "recipe": "recipe.base", "seed": "recipe.seed", "threads": "recipe.threads",
    "device": "recipe.device",
}  # fmt: skip
"""Keys of a project that options override."""

SHOWN_CLIPS = 5
"""Clips that could not be used, printed for each split."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument(
        "--data", metavar="FOLDER", type=Path, required=True, help="folder with speech_commands/ and its test set"
    )
    command.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="folder for checkpoints, log and models"
    )
    command.add_argument(
        "--recipe", metavar="RECIPE", default="kws361", help="a recipe JSON or a shipped name (default kws361)"
    )
    command.add_argument(
        "--cache",
        metavar="FOLDER",
        type=Path,
        help="folder for augmented frames, which runs of other networks with the same seed can share (default OUT)",
    )
    command.add_argument("--seed", metavar="N", type=int, help="seed of everything random (default: the recipe's)")
    command.add_argument("--threads", metavar="N", type=positive, help="PyTorch threads (default: the recipe's)")
    command.add_argument("--device", metavar="DEVICE", help="cpu, cuda or auto (default: the recipe's)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train and print the scores."""
    changes = {name: getattr(args, name) for name in ("seed", "threads", "device") if getattr(args, name) is not None}
    recipe = args.recipe
    if args.project is not None:
        recipe, changes = args.project.recipe, {}
    with console.progress() as show:
        bar = TrainingBar(show)
        result = lh.train(
            args.data,
            args.out,
            recipe,
            cache=args.cache,
            progress=bar.progress,
            on_skipped=print_skipped,
            on_epoch=bar.epoch,
            **changes,
        )
    for name, score in result.scores.items():
        console.print(f"{name}: {score}")
    console.written(args.out)
    return {"scores": {name: score.to_dict() for name, score in result.scores.items()}, "out": str(args.out)}


class TrainingBar:
    """Shows the stage of a training, and the validation result of the last epoch."""

    def __init__(self, show: Progress) -> None:
        self._show, self._last = show, ""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show a stage."""
        self._show(f"{stage}{self._last}", done, total)

    def epoch(self, result: "EpochResult") -> None:
        """Show the result of an epoch from now on."""
        accuracy, recall = 100 * result.validation_accuracy, 100 * result.validation_mean_recall
        self._last = (
            f", {result.phase} epoch {result.epoch}: validation accuracy {accuracy:.2f} %, mean recall {recall:.2f} %"
        )


def print_skipped(split: str, problems: tuple[str, ...]) -> None:
    """Print the clips of a split that could not be used."""
    console.print(f"{len(problems)} clips of {split} skipped:")
    for problem in problems[:SHOWN_CLIPS]:
        console.print(f"  {problem}")
    if len(problems) > SHOWN_CLIPS:
        console.print(f"  and {len(problems) - SHOWN_CLIPS} more")
