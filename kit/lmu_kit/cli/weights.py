"""Write the weight image of a network for an accelerator that was generated for another network.

An accelerator with --weights ram computes every network of its shape. --for takes the manifest (NAME.json) that came
with its Verilog. A network of another shape is refused, with the differences. --check verifies that an image is
complete and belongs to the accelerator.
"""

import argparse
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli.console import console
from lmu_kit.cli.options import model_argument

EXAMPLE = "lmu-hw weights other.safetensors --for rtl/keywords.json --out other.weights"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    model_argument(command, nargs="?")
    command.add_argument(
        "--for", dest="accelerator", metavar="MANIFEST", type=Path, required=True, help="the accelerator's NAME.json"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="image to write")
    command.add_argument("--check", type=Path, metavar="FILE", help="check this image instead")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write an image, or check one."""
    if (args.model is None) != (args.out is None) or (args.model is None) == (args.check is None):
        raise lh.InputError("give a model and --out to write an image, or --check to check one")
    if args.check is None:
        check_writable(args.out)
        image = lh.write_weights(lh.open_model(args.model), args.accelerator, args.out)
    else:
        image = lh.check_weights(args.check, args.accelerator)
    console.print(
        f"{len(image.words)} words of {image.model}, checksum {image.crc32:08x}, for accelerators of shape "
        f"{image.shape[:8]}"
    )
    if args.check is None:
        console.written(args.out)
    return {
        "file": str(args.out or args.check),
        "model": {"name": image.model, "sha256": image.model_sha256},
        "shape_sha256": image.shape,
        "words": len(image.words),
        "crc32": f"{image.crc32:08x}",
    }
