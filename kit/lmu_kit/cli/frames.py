"""Turn recordings into a file of integer frames, for quantize, evaluate and cosim.

Takes clips of a Speech Commands folder, spread evenly over the labels, through the front end of the model, in the
model's input format.
"""

import argparse
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli.console import console
from lmu_kit.cli.options import SPLITS, clips_argument, model_argument, open_clips
from lmu_kit.cli.project_options import QUANTIZED_MODEL

PROJECT = {"model": QUANTIZED_MODEL, "data": "data.folder", "split": "flow.evaluate.split"}
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw frames kws361 --data recordings --split validation --clips 500 --out calibration.safetensors"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    model_argument(command)
    command.add_argument("--data", metavar="FOLDER", type=Path, required=True, help="Speech Commands folder")
    command.add_argument("--split", choices=SPLITS, default="test", help="which clips (default test)")
    clips_argument(command, "number of clips (default all)")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="frames file to write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read, compute, write."""
    check_writable(args.out)
    model = lh.open_model(args.model)
    with console.progress() as progress:
        frames = open_clips(args, model, args.split, progress)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lh.save_frames(frames, args.out)
    console.print(f"{frames.clips} clips of {frames.frames.shape[1]} frames")
    console.written(args.out)
    return {"frames": str(args.out), "clips": frames.clips}
