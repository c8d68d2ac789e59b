"""Write the accelerator of a quantized model as Verilog.

Writes NAME.v, NAME.json (manifest: hashes, versions, cycles, memories) and, with weights in RAM, NAME.weights, the
words for the load port.
"""

import argparse
from pathlib import Path
from typing import Any

from lmu_hw.cli.console import console, stage, table
from lmu_hw.cli.inputs import accelerator_arguments, accelerator_config, quantized_model
from lmu_hw.emit import TOP, emit
from lmu_hw.plan import Plan, make_plan

SUMMARY = "write the accelerator as Verilog"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.add_argument("--name", default=TOP, help=f"name of the top module and of the files (default {TOP})")
    accelerator_arguments(command)


def print_plan(plan: Plan) -> None:
    """Print what the accelerator takes."""
    report = plan.report()
    console.print(
        f"{plan.lanes} lanes: {report['cycles_per_frame']:.0f} cycles per frame, "
        f"{100 * report['lane_utilisation']:.1f} % of lane cycles used, "
        f"decision {report['latency_cycles']} cycles after the frame, "
        f"real time (50 frames/s) from {report['slowest_clock_hz_at_50_frames_per_s'] / 1000:.1f} kHz"
    )
    memories = table("memory", "words", "bits a word", "bits")
    for memory in plan.memories:
        memories.add_row(memory.name, str(memory.depth), str(memory.width), str(memory.bits))
    memories.add_row("total", "", "", str(sum(plan.memory_bits.values())))
    console.print(memories)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, print, write."""
    if not args.name.isidentifier():
        raise ValueError(f"--name must be a Verilog identifier, not {args.name!r}")
    plan = make_plan(quantized_model(args.model), accelerator_config(args))
    print_plan(plan)
    with stage(f"write {args.out / args.name}.v"):
        files = emit(plan, args.out, args.name)
    return {"files": [str(file) for file in files], "plan": plan.report()}
