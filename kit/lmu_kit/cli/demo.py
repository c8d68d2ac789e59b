"""Run the whole flow on a shipped network: quantization, Verilog, co-simulation on real speech.

Quantizes a shipped float network on shipped frames of real speech, measures float and integer accuracy, and writes the
Verilog. A simulator then compares every element of every vector in every frame with the golden model.
"""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import write_whole
from lmu_kit.cli import options
from lmu_kit.cli.console import console

if TYPE_CHECKING:
    from lmu_quantize.score import Score

EXAMPLE = "lmu-hw demo --lanes 8 --simulator icarus --clips 1"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command, "--model", default="kws361")
    command.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("build/demo"), help="folder for results (default build/demo)"
    )
    options.clips_argument(command, "clips to co-simulate", 4)
    options.simulator_argument(command, "verilator")
    options.accelerator_arguments(command)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run all stages, then print the summary."""
    start, out = time.perf_counter(), args.out
    config = options.accelerator_config(args)
    floats = lh.open_float(args.model)
    console.print(f"{args.model}: {floats.parameters} parameters, labels {', '.join(floats.labels)}")
    with console.stage("quantize on shipped clips of real speech"):
        quantized = lh.quantize(floats)
        lh.save_model(quantized.model, out / "quantized.safetensors")
        quantized.certificate.save(out / "certificate.json")
        write_whole(out / "quantization.txt", f"{quantized.report}\n".encode())
    with console.stage("accuracy of the float model and of the integers on official test clips") as progress:
        scores = {"float": lh.evaluate(floats, lh.open_frames(floats), progress=progress).score}
        golden = lh.evaluate(quantized.model, lh.open_frames(quantized.model), progress=progress)
        scores["golden"] = golden.score
    plan = lh.accelerator(quantized.model, config)
    with console.stage(f"write the Verilog, {plan.lanes} lanes"):
        files = lh.write_verilog(plan, out)
    setup = lh.CosimOptions(simulator=args.simulator, folder=out / "simulation")
    with console.stage(f"co-simulate {args.clips} clips in {args.simulator}, every element compared") as progress:
        frames = lh.open_frames(quantized.model, clips=args.clips).frames
        result = lh.cosimulate(plan, list(frames), setup, progress=progress).check()
    summary: dict[str, Any] = {
        "accuracy_float": scores["float"].to_dict(),
        "accuracy_golden": scores["golden"].to_dict(),
        "weight_kbit": quantized.model.weight_bits / 1000,
        "memories_cannot_overflow": all(quantized.report.memories.values()),
        "saturated": golden.saturated,
        "plan": plan.report(),
        "compared": result.compared,
        "differing": result.differing,
        "files": [str(file) for file in files],
        "seconds": time.perf_counter() - start,
    }
    write_whole(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    _print(summary, scores, [decision.word for decision in result.decisions])
    console.written(out)
    return summary


def _print(summary: dict[str, Any], scores: "dict[str, Score]", words: list[str]) -> None:
    plan = summary["plan"]
    state = "cannot overflow (proven)" if summary["memories_cannot_overflow"] else "may overflow (counted)"
    rows = {
        "accuracy, float": str(scores["float"]),
        "accuracy, integers": str(scores["golden"]),
        "weights": f"{summary['weight_kbit']:.1f} kbit",
        "memory state": state,
        "cycles per frame": f"{plan['cycles_per_frame']:.0f}",
        "lanes used": f"{100 * plan['lane_utilisation']:.1f} % of cycles",
        "real time from": f"{plan['slowest_clock_hz_at_50_frames_per_s'] / 1000:.0f} kHz",
        "decided": ", ".join(words),
        "Verilog against golden": f"{summary['compared']} values compared, {summary['differing']} differ",
        "time": f"{summary['seconds']:.0f} s",
    }
    console.print()
    for name, value in rows.items():
        console.print(f"  {name:<23} {value}")
