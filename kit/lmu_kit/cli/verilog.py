"""Write the accelerator of a quantized model as Verilog.

--out gets NAME.v, NAME.json (manifest: hashes, versions, cycles, memories), NAME.core (FuseSoC), NAME.xml (IP-XACT)
and, with weights in RAM, NAME.weights, the image for the load port. --interface axi or spi adds NAME_axi.v or
NAME_spi.v, a wrapper around NAME.v. --bundle gets a replay that needs no Python: the Verilog, clips of a frames file
(by default the one shipped with the network), all expected values, a test bench in Verilog and a Makefile.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_kit.cli import options
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import QUANTIZED_MODEL

if TYPE_CHECKING:
    from lmu_hw.plan.plan import Plan

PROJECT = {"model": QUANTIZED_MODEL, "name": "flow.verilog.name", "smoothing": "accelerator.smoothing"}
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw verilog kws361 --lanes 16 --weights ram --name keywords --out rtl"

TOP = "lmu_accelerator"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    command.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write the Verilog to")
    command.add_argument("--bundle", type=Path, metavar="FOLDER", help="folder to write a replay to")
    options.frames_argument(command, "frames file of the replay (default: shipped with the network)")
    options.clips_argument(command, "clips of the replay (default 1)")
    command.add_argument(
        "--name", metavar="NAME", default=TOP, help=f"name of the top module and of the files (default {TOP})"
    )
    command.add_argument(
        "--board",
        choices=options.BOARDS,
        help="write the top module of a board, lmu_BOARD.v with the accelerator in it, and its constraints instead",
    )
    options.baud_argument(command)
    group = options.accelerator_arguments(command)
    options.smoothing_argument(group, "add decision smoothing, which gives events")
    command.add_argument(
        "--interface",
        choices=options.INTERFACES,
        help="the core's own streams, or a wrapper around them: axi (AXI4-Stream, AXI4-Lite registers) or spi (the "
        "same registers; default stream)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, print, write."""
    _check(args)
    model = lh.open_model(args.model)
    plan = lh.accelerator(model, options.accelerator_config(args, "frugal" if args.board is None else "plain"))
    print_plan(plan)
    files: list[Path] = []
    if args.board is not None:
        files += lh.write_board_top(plan, args.board, args.out, baud=args.baud or options.BAUD)
    elif args.out is not None:
        files += lh.write_verilog(plan, args.out, name=args.name)
    if args.bundle is not None:
        clips = lh.open_frames(model, args.frames, clips=args.clips or 1)
        files += lh.write_replay(plan, clips, args.bundle, name=args.name)
    console.written(*files)
    return {"files": [str(file) for file in files], "plan": plan.report()}


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if args.out is None and args.bundle is None:
        raise lh.InputError("nothing to write: give --out, --bundle, or both")
    if args.bundle is None and (args.frames is not None or args.clips is not None):
        raise lh.InputError("--frames and --clips belong to --bundle")
    if args.board is None and args.baud is not None:
        raise lh.InputError("--baud belongs to --board")
    if args.smoothing is not None and (args.bundle is not None or args.board is not None):
        raise lh.InputError("--smoothing is for --out without --board: the replay and the boards do not take events")
    if args.board is not None and args.out is None:
        raise lh.InputError("--board needs --out")


def print_plan(plan: "Plan") -> None:
    """Print cycles, memories and stored weights of an accelerator."""
    report = plan.report()
    console.print(
        f"{plan.lanes} lanes: {report['cycles_per_frame']:.0f} cycles per frame, "
        f"{100 * report['lane_utilisation']:.1f} % of lane cycles used, decision {report['latency_cycles']} cycles "
        f"after the frame, real time (50 frames/s) from {report['slowest_clock_hz_at_50_frames_per_s'] / 1000:.1f} kHz"
    )
    if "latency_frames" in report:
        console.print(f"a decision waits for up to {report['latency_frames']} more frames, computed together")
    if "least_cycles_per_frame" in report:
        console.print(
            f"these figures are without a zero to skip; with nothing but zeros: {report['least_cycles_per_frame']:.0f} "
            f"cycles per frame, decision {report['least_latency_cycles']} cycles after the frame"
        )
    if "stored_weight_bits" in report:
        weights, index = (report["stored_weight_bits"][name] / 1000 for name in ("weights", "index"))
        console.print(
            f"weights: {weights:.1f} kbit stored of {plan.model.weight_bits / 1000:.1f}, "
            f"{weights + index:.1f} kbit with the index that skips the rest"
        )
    elif plan.config.skip_zero_blocks:
        console.print("weights: all are stored, because an index would take more bits than the blocks of zeros")
    rows: list[list[str] | None] = [
        [memory.name, str(memory.depth), str(memory.width), str(memory.bits)] for memory in plan.memories
    ]
    total = ["total", "", "", str(sum(plan.memory_bits.values()))]
    console.table(["memory", "words", "bits per word", "bits"], [*rows, None, total])
