"""Train a float network on Speech Commands, with quantization in the loop at the end.

DATA is the published dataset's own folder layout. The run writes checkpoints to OUT and goes on where it was if it is
started again. Needs PyTorch: pip install 'lmu-hw[train]'.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from lmu_kit.cli.console import console
from lmu_kit.inputs import need_torch

SUMMARY = "train a float network on recordings"
EXAMPLE = "lmu-hw train --data recordings --out build/training"


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
    result = train(dataclasses.replace(config, **given), cache=args.cache, console=console)
    for name, score in result.scores.items():
        console.print(f"{name}: {score}", markup=False)
    return {"scores": {name: score.to_dict() for name, score in result.scores.items()}, "out": str(args.out)}
