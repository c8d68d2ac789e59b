"""Write the accelerator of a quantized model as Verilog.

--out gets NAME.v, NAME.json (manifest: hashes, versions, cycles, memories) and, with weights in RAM, NAME.weights, the
words for the load port; with --interface axi also NAME_axi.v, a wrapper around NAME.v. --bundle gets a replay of the
core that needs no Python: the Verilog, clips of a frames file (by default of the one shipped with the model), every
value expected of them, a test bench in Verilog and a Makefile.
"""

import argparse
from pathlib import Path
from typing import Any

from lmu_hw.bundle import write_bundle
from lmu_hw.cli.console import CommandError, console, stage, table
from lmu_hw.cli.inputs import accelerator_arguments, accelerator_config, model_frames, positive, quantized_model
from lmu_hw.config import Interface
from lmu_hw.emit import TOP, emit
from lmu_hw.plan import Plan, make_plan

SUMMARY = "write the accelerator as Verilog"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--out", type=Path, help="folder to write to")
    command.add_argument("--bundle", type=Path, metavar="DIR", help="folder to write a replay to")
    command.add_argument("--frames", type=Path, help="frames file of the replay (default: shipped with the model)")
    command.add_argument("--limit", type=positive, help="clips of the replay (default 1)")
    command.add_argument("--name", default=TOP, help=f"name of the top module and of the files (default {TOP})")
    accelerator_arguments(command)
    command.add_argument(
        "--interface",
        choices=[member.value for member in Interface],
        default="stream",
        help="the core's own streams, or NAME_axi.v around them: AXI4-Stream, AXI4-Lite registers (default stream)",
    )


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
    if args.out is None and args.bundle is None:
        raise CommandError("nothing to write: give --out, --bundle, or both")
    if args.bundle is None and (args.frames is not None or args.limit is not None):
        raise CommandError("--frames and --limit belong to --bundle")
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    print_plan(plan)
    files = []
    if args.out is not None:
        with stage(f"write {args.out / args.name}.v"):
            files += emit(plan, args.out, args.name)
    if args.bundle is not None:
        clips = model_frames(model, args.frames, args.limit or 1).frames
        with stage(f"write {args.bundle}, a replay of {len(clips)} clips"):
            files += write_bundle(plan, list(clips), args.bundle, args.name)
    return {"files": [str(file) for file in files], "plan": plan.report()}
