"""The main job on the shipped network: quantization, Verilog, co-simulation on real speech.

Takes the float network kws361 and integer frames of real speech that ship with it, quantizes the network, measures
float and integer accuracy on these clips, writes the Verilog, and compares it with the golden model in a
simulator: every element of every vector in every frame.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from lmu_hw.export.emit import emit
from lmu_hw.model import program_file
from lmu_hw.model.bounds import certify
from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.console import console, stage
from lmu_kit.cli.evaluate import float_decisions, golden_decisions
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, positive
from lmu_kit.cli.quantize import shipped_formats
from lmu_kit.inputs import float_model, spread
from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.frames_file import load_frames
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.score import score_decisions
from lmu_sim.cosim import CosimOptions, cosimulate
from lmu_sim.runner import Simulator

SUMMARY = "run the main job on the shipped network"
EXAMPLE = "lmu-hw demo --lanes 8 --simulator icarus --clips 1"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("--model", default="kws361", choices=zoo.names(), help="shipped network (default kws361)")
    command.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("build/demo"), help="for results (default build/demo)"
    )
    command.add_argument("--clips", metavar="N", type=positive, default=4, help="clips to co-simulate (default 4)")
    command.add_argument(
        "--simulator", choices=[one.value for one in Simulator], default="verilator", help="default verilator"
    )
    accelerator_arguments(command)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run all stages, then print the summary."""
    start = time.perf_counter()
    floats = float_model(args.model)
    calibration = load_frames(zoo.path(args.model, "calibration.safetensors"))
    clips = load_frames(zoo.path(args.model, "test.safetensors"))
    console.print(f"{args.model}: {floats.parameters} parameters, labels {', '.join(floats.labels)}", markup=False)

    with stage(f"quantize on {calibration.clips} clips of real speech"):
        config = QuantizationConfig(formats=shipped_formats(floats, None))
        result = quantize_model(floats, calibration.real(), config)
        args.out.mkdir(parents=True, exist_ok=True)
        program_file.save(result.model, args.out / "quantized.safetensors")
        certify(result.model).save(args.out / "certificate.json")
        (args.out / "quantization.txt").write_text(f"{result.report}\n")
    with stage(f"float model on {clips.clips} official test clips"):
        float_score = score_decisions(float_decisions(floats, clips.real()), clips.truth, floats.labels)
    with stage(f"golden model on {clips.clips} official test clips"):
        decisions, saturated = golden_decisions(result.model, clips.frames)
        golden_score = score_decisions(decisions, clips.truth, floats.labels)
    plan = make_plan(result.model, accelerator_config(args))
    with stage(f"write the Verilog, {plan.lanes} lanes"):
        files = emit(plan, args.out)
    with stage(f"co-simulation of {args.clips} clips in {args.simulator}, every element compared"):
        options = CosimOptions(args.simulator, folder=args.out / "simulation")
        checked = cosimulate(plan, list(spread(clips, args.clips).frames), options)
    checked.check()

    report = plan.report()
    summary: dict[str, Any] = {
        "accuracy_float": float_score.to_dict(),
        "accuracy_golden": golden_score.to_dict(),
        "weight_kbit": result.model.weight_bits / 1000,
        "memories_cannot_overflow": all(result.report.memories.values()),
        "saturated": saturated,
        "plan": report,
        "compared": checked.compared,
        "differing": checked.differing,
        "files": [str(file) for file in files],
        "seconds": time.perf_counter() - start,
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    verdict = "cannot overflow, proven" if summary["memories_cannot_overflow"] else "may overflow, counted"
    rows = {
        "accuracy, float": str(float_score),
        "accuracy, integers": str(golden_score),
        "weights": f"{summary['weight_kbit']:.1f} kbit; memory state {verdict}",
        "cycles per frame": f"{report['cycles_per_frame']:.0f} ({100 * report['lane_utilisation']:.1f} % of lane "
        f"cycles used); real time from {report['slowest_clock_hz_at_50_frames_per_s'] / 1000:.0f} kHz",
        "Verilog against golden": f"{checked.compared} values compared, {checked.differing} differ",
        "files": f"{args.out}/ ({files[0].name}, quantized.safetensors, certificate.json, summary.json)",
        "time": f"{summary['seconds']:.0f} s",
    }
    console.print()
    for name, value in rows.items():
        console.print(f"  {name:<23} {value}", markup=False)
    return summary
