"""Turn recordings into a file of integer frames, for quantize, evaluate and cosim.

Takes clips of a Speech Commands folder, evenly over the labels' order, through the front end of the model, in the
model's input format.
"""

import argparse
from pathlib import Path
from typing import Any

from lmu_hw.model.program import QuantizedModel
from lmu_kit.cli.console import console
from lmu_kit.cli.options import positive
from lmu_kit.inputs import dataset_frames, quantized_model, writable
from lmu_quantize.dataset import SPLITS
from lmu_quantize.features import quantize_frames
from lmu_quantize.frames_file import FrameSet, save_frames

SUMMARY = "turn recordings into a file of integer frames"
EXAMPLE = "lmu-hw frames kws361 --data recordings --split validation --limit 500 --out calibration.safetensors"

SOURCE = "Speech Commands (P. Warden, arXiv:1804.03209), CC BY 4.0; changed: turned into {kind} frames, {split} split"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--data", metavar="FOLDER", type=Path, required=True, help="Speech Commands folder")
    command.add_argument("--split", choices=SPLITS, default="test", help="which clips (default test)")
    command.add_argument("--limit", metavar="N", type=positive, help="how many clips (default all)")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="the frames file to write")


def frame_set(model: QuantizedModel, data: Path, split: str, limit: int | None) -> FrameSet:
    """Integer frames of a split of the published dataset, at most `limit` clips, evenly over the labels' order."""
    floats, truth = dataset_frames(model, data, split, limit)
    front_end = dict(model.front_end or {})
    source = SOURCE.format(kind=front_end["kind"], split=split)
    return FrameSet(quantize_frames(floats, model.input), truth, model.input, model.labels, front_end, source)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read, compute, write."""
    writable(args.out)
    found = frame_set(quantized_model(args.model), args.data, args.split, args.limit)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_frames(found, args.out)
    console.print(f"{args.out}: {found.clips} clips of {found.frames.shape[1]} frames", markup=False)
    return {"frames": str(args.out), "clips": found.clips}
