"""Turn a float model into integers.

MODEL is a float model: our own safetensors, keras-lmu (.keras, .h5, .weights.h5), a PyTorch state dict, or the name of
a shipped network. Formats are chosen on real frames: a frames file (--frames), the validation split of a dataset folder
(--data), or the clips shipped with the network. --load, --labels and --front-end supply what the files of other tools
do not hold. Labels and front end are stored in the quantized model, so that evaluate, frames and cosim can use
recordings.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli import options
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import FLOAT_MODEL

if TYPE_CHECKING:
    from lmu_quantize.model import FloatModel
    from lmu_quantize.quantization import QuantizationConfig

PROJECT = {
    "model": FLOAT_MODEL, "data": "data.folder", "clips": "flow.quantize.clips",
    "weight_bits": "quantization.weight_bits", "activation_bits": "quantization.activation_bits",
    "state_bits": "quantization.state_bits", "matrix_bits": ("quantization.a_bits", "quantization.b_bits"),
}  # fmt: skip
"""Keys of a project that options override."""

EXAMPLE = (
    "lmu-hw quantize net.weights.h5 --load order=6 --load theta=40 --load discretizer=zoh --load activation=relu "
    "--labels yes,no --front-end mfcc --data recordings --out q.safetensors"
)

BITS = {
    "weight_bits": "bits of a weight, 2 to 16 (default 4)",
    "activation_bits": "bits of a ReLU output, 7 or 8 (default 7)",
    "state_bits": "bits of the memory state, 4 to 24 (default 12)",
    "matrix_bits": "bits of the memory matrices, 4 to 16 (default 10)",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command, kind="float")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="quantized model to write")
    source = command.add_mutually_exclusive_group()
    options.frames_argument(source, "calibration frames (default: those shipped with the network)")
    source.add_argument(
        "--data", metavar="FOLDER", type=Path, help="Speech Commands folder; its validation split calibrates"
    )
    options.clips_argument(command, "calibration clips, spread evenly", 500)
    command.add_argument("--certificate", metavar="FILE", type=Path, help="write the overflow certificate as JSON")
    options.description_arguments(command)
    bits = command.add_argument_group("formats")
    for name, text in BITS.items():
        bits.add_argument(f"--{name.replace('_', '-')}", metavar="N", type=int, help=text)
    bits.add_argument(
        "--formats",
        metavar="FILE",
        type=Path,
        help="formats that training used, as JSON (default: those shipped with the network)",
    )
    bits.add_argument(
        "--quantization",
        metavar="FILE",
        type=Path,
        help="quantization configuration as JSON, any field of QuantizationConfig; overrides the options",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Quantize, print the report, write the model."""
    for path in (args.out, args.certificate):
        if path is not None:
            check_writable(path)
    model = options.open_float(args)
    config = None if args.project is not None else _config(args, model)
    with console.progress() as progress:
        frames = options.open_clips(args, model, "validation", progress)
    with console.stage(f"quantize {model.name} on {frames.clips} clips"):
        if args.project is not None:
            result = lh.quantize_project(args.project, model, frames)
        else:
            result = lh.quantize(model, frames, config)
    console.print(str(result.report))
    lh.save_model(result.model, args.out)
    if args.certificate is not None:
        args.certificate.parent.mkdir(parents=True, exist_ok=True)
        result.certificate.save(args.certificate)
    from lmu_hw.model.program_file import digest

    safe = all(result.report.memories.values())
    plan = lh.accelerator(result.model)
    console.print(
        f"{result.model.weight_bits / 1000:.1f} kbit of weights, {plan.accumulator_width}-bit accumulators, "
        f"memory state {'cannot overflow' if safe else 'may overflow (counted)'}"
    )
    console.written(*(path for path in (args.out, args.certificate) if path is not None))
    if result.report.warnings:
        console.warning(f"the quantized model is doubtful: {'; '.join(result.report.warnings)}")
    return {
        "model": str(args.out),
        "sha256": digest(result.model),
        "weight_kbit": result.model.weight_bits / 1000,
        "logits_sqnr_db": result.report.logits.sqnr_db,
        "memories_cannot_overflow": safe,
        "accumulator_bits": plan.accumulator_width,
        "may_saturate": [name for name, bound in result.certificate.operations.items() if bound.overflows],
        "report": result.report.to_dict(),
    }


def _config(args: argparse.Namespace, model: "FloatModel") -> "QuantizationConfig":
    """Configuration from the options, then from the file."""
    from lmu_kit.models import read_object
    from lmu_kit.quantizing import read_formats

    formats = lh.training_formats(model) if args.formats is None else read_formats(args.formats)
    fields: dict[str, Any] = {"formats": {vector: format.to_dict() for vector, format in formats.items()}}
    for option, names in (
        ("weight_bits", ("weight_bits",)), ("activation_bits", ("activation_bits",)), ("state_bits", ("state_bits",)),
        ("matrix_bits", ("a_bits", "b_bits")),
    ):  # fmt: skip
        if getattr(args, option) is not None:
            fields |= dict.fromkeys(names, getattr(args, option))
    config = lh.QuantizationConfig.from_dict(lh.QuantizationConfig().to_dict() | fields)
    if args.quantization is None:
        return config
    content = "fields of QuantizationConfig, such as weight_bits"
    try:
        return lh.QuantizationConfig.from_dict(config.to_dict() | read_object(args.quantization, content))
    except lh.InputError:
        raise
    except (ValueError, TypeError) as error:
        raise lh.InputError(f"{args.quantization}: expected {content}: {error}") from None
