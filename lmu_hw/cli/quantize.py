"""Turn a float model into integers.

MODEL is a float model: our own safetensors, keras-lmu (.keras, .h5, .weights.h5), a PyTorch state dict, or a shipped
name. Formats are chosen on real frames, given as a frames file (--frames) or as a dataset folder (--data, validation
split).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw import program_file
from lmu_hw.bounds import certify
from lmu_hw.cli.console import CommandError, console, stage
from lmu_hw.cli.inputs import dataset_frames, float_model, positive
from lmu_hw.fixed import Format
from lmu_hw.plan import make_plan
from lmu_quantize import zoo
from lmu_quantize.calibrate import QuantizationResult, quantize_model, trained_formats
from lmu_quantize.frames_file import load_frames
from lmu_quantize.model import FloatModel
from lmu_quantize.quantization import QuantizationConfig

SUMMARY = "turn a float model into integers"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a float model, or the name of a shipped one")
    command.add_argument("--out", type=Path, required=True, help="the quantized model to write")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--frames", type=Path, help="calibration frames (default: those shipped with the model)")
    source.add_argument("--data", type=Path, help="Speech Commands folder; its validation split calibrates")
    command.add_argument("--limit", type=positive, default=500, help="clips to calibrate on (default 500)")
    bits = command.add_argument_group("formats")
    bits.add_argument("--weight-bits", type=int, default=4, help="bits of a weight, 4 to 8 (default 4)")
    bits.add_argument("--activation-bits", type=int, default=7, choices=(7, 8), help="of a ReLU output (default 7)")
    bits.add_argument("--state-bits", type=int, default=12, help="bits of the memory state, 8 to 24 (default 12)")
    bits.add_argument("--matrix-bits", type=int, default=10, help="bits of the memory matrices, 8 to 16 (default 10)")
    bits.add_argument("--formats", type=Path, help="JSON of the formats that training used (default: shipped)")
    bits.add_argument("--config", type=Path, help="JSON with any field of QuantizationConfig; overrides the options")
    command.add_argument("--certificate", type=Path, help="write the overflow certificate as JSON")


def calibration_frames(model: FloatModel, args: argparse.Namespace) -> NDArray[np.float64]:
    """Real frames to calibrate on, from a file, a dataset or the shipped set."""
    if args.data is not None:
        return dataset_frames(model, args.data, "validation", args.limit)[0]
    path = args.frames
    if path is None:
        if model.name not in zoo.names():
            raise CommandError("give calibration frames: --frames FILE or --data FOLDER")
        path = zoo.path(model.name, "calibration.safetensors")
    found = load_frames(path)
    if found.frames.shape[2] != model.inputs:
        raise CommandError(f"{path}: frames have {found.frames.shape[2]} elements, the model takes {model.inputs}")
    return found.real()[: args.limit]


def shipped_formats(model: FloatModel, path: Path | None) -> dict[str, Format]:
    """Formats that training used, from a file or shipped with the model; empty if there are none."""
    if path is None:
        path = zoo.path(model.name, "formats.json") if model.name in zoo.names() else None
        if path is None or not path.is_file():
            return {}
    try:
        return trained_formats(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise CommandError(f"{path}: not JSON ({error})") from None


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
    if args.config is not None:
        try:
            fields |= json.loads(args.config.read_text())
        except json.JSONDecodeError as error:
            raise CommandError(f"{args.config}: not JSON ({error})") from None
    return QuantizationConfig.from_dict(QuantizationConfig().to_dict() | fields)


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
    model = float_model(args.model)
    frames = calibration_frames(model, args)
    with stage(f"quantize {model.name} on {len(frames)} clips"):
        result = quantize_model(model, frames, quantization_config(model, args))
    console.print(str(result.report), markup=False)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    program_file.save(result.model, args.out)
    if args.certificate is not None:
        certify(result.model).save(args.certificate)
    figures = summary(result)
    console.print(
        f"{args.out}: {figures['weight_kbit']:.1f} kbit of weights, sums of {figures['accumulator_bits']} bits, "
        f"memory state {'cannot overflow' if figures['memories_cannot_overflow'] else 'may overflow (counted)'}",
        markup=False,
    )
    return figures | {"model": str(args.out), "report": result.report.to_dict()}
