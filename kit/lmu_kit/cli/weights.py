"""Write the weight image of a network for an accelerator that another network was emitted for.

An accelerator with --weights ram computes every network of its shape. --for takes the manifest (NAME.json) that came
with its Verilog. A network that it cannot compute is refused, with what differs. --check tells whether an image is
whole and belongs to the accelerator.
"""

import argparse
from pathlib import Path
from typing import Any

from lmu_hw.files import write_whole
from lmu_hw.plan.config import AcceleratorConfig, WeightStore
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape_digest
from lmu_hw.plan.weight_file import Image, make_image, read_image
from lmu_kit.cli.console import CommandError, console
from lmu_kit.inputs import quantized_model, read_object, writable

SUMMARY = "write the weight image of another network of the same shape"
EXAMPLE = "lmu-hw weights other.safetensors --for rtl/keywords.json --out other.weights"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument(
        "model", metavar="MODEL", nargs="?", help="a quantized model, or the name of a shipped one"
    )
    command.add_argument(
        "--for", dest="accelerator", metavar="MANIFEST", type=Path, required=True, help="the accelerator's NAME.json"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="where to write the image")
    command.add_argument("--check", type=Path, metavar="FILE", help="an image to check instead")


def _accelerator(path: Path) -> tuple[AcceleratorConfig, dict[str, Any]]:
    """Configuration and shape of an accelerator from its manifest."""
    found = read_object(path, "the manifest of an accelerator")
    if found.get("schema") != "lmu-hw/accelerator":
        raise CommandError(f"{path}: not the manifest of an accelerator")
    try:
        config = AcceleratorConfig.from_dict(found.get("config"))
    except (TypeError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from None
    if config.weights is not WeightStore.RAM:
        raise CommandError(f"{path}: this accelerator has its weights as constants, emit it with --weights ram")
    described = found.get("shape")
    if not isinstance(described, dict) or shape_digest(described) != found.get("shape_sha256"):
        raise CommandError(f"{path}: its shape is missing or was altered, emit the accelerator again")
    return config, described


def _made(args: argparse.Namespace, config: AcceleratorConfig, accelerator: dict[str, Any]) -> Image:
    writable(args.out)
    plan = make_plan(quantized_model(args.model), config)
    try:
        image = make_image(fitted(plan, accelerator), accelerator)
    except ShapeError as error:
        raise CommandError(f"{args.model}: {error}") from None
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, image.text().encode())
    return image


def _checked(path: Path, accelerator: dict[str, Any]) -> Image:
    image = read_image(path)
    try:
        image.check(accelerator)
    except ShapeError as error:
        raise CommandError(f"{path}: {error}") from None
    return image


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write an image, or check one."""
    if (args.model is None) != (args.out is None) or (args.model is None) == (args.check is None):
        raise CommandError("give a model and --out to write an image, or --check to check one")
    config, accelerator = _accelerator(args.accelerator)
    if args.check is None:
        path, image = args.out, _made(args, config, accelerator)
    else:
        path, image = args.check, _checked(args.check, accelerator)
    console.print(
        f"{path}: {len(image.words)} words of {image.model}, checksum {image.crc32:08x}, "
        f"for accelerators of shape {image.shape[:8]}",
        markup=False,
    )
    return {
        "file": str(path),
        "model": {"name": image.model, "sha256": image.model_sha256},
        "shape_sha256": image.shape,
        "words": len(image.words),
        "crc32": f"{image.crc32:08x}",
    }
