"""Turn a float model into integers.

MODEL is a float model: our own safetensors, keras-lmu (.keras, .h5, .weights.h5), a PyTorch state dict, or a shipped
name. Formats are chosen on real frames, given as a frames file (--frames) or as a dataset folder (--data, validation
split). What the file of another tool does not hold is told by --load, --labels and --front-end; labels and front end go
into the quantized model, so that evaluate, frames and cosim can use recordings.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model import program_file
from lmu_hw.model.bounds import certify
from lmu_hw.model.fixed import Format
from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.console import CommandError, console, stage
from lmu_kit.cli.options import description_arguments, loader_options, positive
from lmu_kit.inputs import check_length, dataset_frames, described, float_model, matching, read_object, writable
from lmu_quantize import zoo
from lmu_quantize.calibrate import QuantizationResult, quantize_model, trained_formats
from lmu_quantize.frames_file import load_frames
from lmu_quantize.model import FloatModel
from lmu_quantize.quantization import QuantizationConfig

SUMMARY = "turn a float model into integers"
EXAMPLE = (
    "lmu-hw quantize net.weights.h5 --load order=6 --load theta=40 --load discretizer=zoh --load activation=relu "
    "--labels yes,no --front-end mfcc --data recordings --out q.safetensors"
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a float model, or the name of a shipped one")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="the quantized model to write")
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--frames", metavar="FILE", type=Path, help="calibration frames (default: those shipped with the model)"
    )
    source.add_argument(
        "--data", metavar="FOLDER", type=Path, help="Speech Commands folder; its validation split calibrates"
    )
    command.add_argument("--limit", metavar="N", type=positive, default=500, help="clips to calibrate on (default 500)")
    command.add_argument("--certificate", metavar="FILE", type=Path, help="write the overflow certificate as JSON")
    description_arguments(command)
    bits = command.add_argument_group("formats")
    bits.add_argument("--weight-bits", metavar="N", type=int, default=4, help="bits of a weight, 2 to 16 (default 4)")
    bits.add_argument("--activation-bits", type=int, default=7, choices=(7, 8), help="of a ReLU output (default 7)")
    bits.add_argument(
        "--state-bits", metavar="N", type=int, default=12, help="bits of the memory state, 8 to 24 (default 12)"
    )
    bits.add_argument(
        "--matrix-bits", metavar="N", type=int, default=10, help="bits of the memory matrices, 8 to 16 (default 10)"
    )
    bits.add_argument(
        "--formats", metavar="FILE", type=Path, help="JSON of the formats that training used (default: shipped)"
    )
    bits.add_argument(
        "--config", metavar="FILE", type=Path, help="JSON with any field of QuantizationConfig; overrides the options"
    )


FORMATS = 'formats of training, {"input": FORMAT, "layers": [{"u": FORMAT, "h": FORMAT}, ...]}'
"""What --formats should hold."""


def calibration_frames(model: FloatModel, args: argparse.Namespace) -> NDArray[np.float64]:
    """Real frames to calibrate on, from a file, a dataset or the shipped set."""
    if args.data is not None:
        return dataset_frames(model, args.data, "validation", args.limit)[0]
    path = args.frames
    if path is None:
        if model.name not in zoo.names():
            raise CommandError("give calibration frames: --frames FILE or --data FOLDER")
        path = zoo.path(model.name, "calibration.safetensors")
    found = matching(model, load_frames(path), path)
    check_length(model, found.frames.shape[1], str(path))
    return found.real()[: args.limit]


def shipped_formats(model: FloatModel, path: Path | None) -> dict[str, Format]:
    """Formats that training used, from a file or shipped with the model; empty if there are none."""
    if path is None:
        path = zoo.path(model.name, "formats.json") if model.name in zoo.names() else None
        if path is None or not path.is_file():
            return {}
    found = read_object(path, FORMATS)
    try:
        return trained_formats(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CommandError(f"{path}: expected {FORMATS}: {error}") from None


def quantization_config(model: FloatModel, args: argparse.Namespace) -> QuantizationConfig:
    """Configuration from the options."""
    fields: dict[str, Any] = {
        "weight_bits": args.weight_bits,
        "activation_bits": args.activation_bits,
        "state_bits": args.state_bits,
        "a_bits": args.matrix_bits,
        "b_bits": args.matrix_bits,
        "formats": {name: fmt.to_dict() for name, fmt in shipped_formats(model, args.formats).items()},
    }
    config = QuantizationConfig.from_dict(QuantizationConfig().to_dict() | fields)
    if args.config is None:
        return config
    what = "fields of QuantizationConfig, such as weight_bits"
    given = read_object(args.config, what)
    try:
        return QuantizationConfig.from_dict(config.to_dict() | given)
    except (ValueError, TypeError) as error:
        raise CommandError(f"{args.config}: expected {what}: {error}") from None


def summary(result: QuantizationResult) -> dict[str, Any]:
    """Key figures of a quantized model."""
    certificate = certify(result.model)
    plan = make_plan(result.model)
    return {
        "weight_kbit": result.model.weight_bits / 1000,
        "sha256": program_file.digest(result.model),
        "logits_sqnr_db": result.report.logits.sqnr_db,
        "memories_cannot_overflow": all(result.report.memories.values()),
        "accumulator_bits": plan.accumulator_width,
        "may_saturate": [name for name, bound in certificate.operations.items() if bound.overflows],
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Quantize, print the report, write the model."""
    for path in (args.out, args.certificate):
        if path is not None:
            writable(path)
    model = float_model(args.model, **loader_options(args.load or []))
    model = described(model, args.labels, args.front_end)
    config = quantization_config(model, args)
    frames = calibration_frames(model, args)
    with stage(f"quantize {model.name} on {len(frames)} clips"):
        result = quantize_model(model, frames, config)
    console.print(str(result.report), markup=False)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    program_file.save(result.model, args.out)
    if args.certificate is not None:
        args.certificate.parent.mkdir(parents=True, exist_ok=True)
        certify(result.model).save(args.certificate)
    figures = summary(result)
    console.print(
        f"{args.out}: {figures['weight_kbit']:.1f} kbit of weights, sums of {figures['accumulator_bits']} bits, "
        f"memory state {'cannot overflow' if figures['memories_cannot_overflow'] else 'may overflow (counted)'}",
        markup=False,
    )
    return figures | {"model": str(args.out), "report": result.report.to_dict()}
