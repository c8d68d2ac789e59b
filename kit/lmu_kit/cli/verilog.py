"""Write the accelerator of a quantized model as Verilog.

--out gets NAME.v, NAME.json (manifest: hashes, versions, cycles, memories), NAME.core (FuseSoC), NAME.xml (IP-XACT)
and, with weights in RAM, NAME.weights, the image for the load port; with --interface axi or spi also NAME_axi.v or
NAME_spi.v, a wrapper around NAME.v. --bundle gets a replay that needs no Python: the Verilog, clips of a frames file
(by default of the one shipped with the model), every value expected of them, a test bench in Verilog and a Makefile.
"""

import argparse
from pathlib import Path
from typing import Any

from lmu_hw.boards import BAUD, BOARDS, write_board
from lmu_hw.export.bundle import write_bundle
from lmu_hw.export.emit import emit
from lmu_hw.export.names import TOP, check_module_name
from lmu_hw.plan.config import AcceleratorConfig, Interface
from lmu_hw.plan.plan import Plan, make_plan
from lmu_kit.cli.console import CommandError, console, stage, table
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, positive, smoothing_argument
from lmu_kit.inputs import model_frames, quantized_model

SUMMARY = "write the accelerator as Verilog"
EXAMPLE = "lmu-hw verilog kws361 --lanes 16 --weights ram --name keywords --out rtl"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write")
    command.add_argument("--bundle", type=Path, metavar="DIR", help="folder to write a replay to")
    command.add_argument(
        "--frames", type=Path, metavar="FILE", help="frames file of the replay (default: shipped with the model)"
    )
    command.add_argument("--limit", type=positive, metavar="N", help="clips of the replay (default 1)")
    command.add_argument(
        "--name", metavar="NAME", default=TOP, help=f"name of the top module and of the files (default {TOP})"
    )
    command.add_argument(
        "--board",
        choices=tuple(BOARDS),
        help="write the top of a board with the accelerator in it, lmu_BOARD.v, and its constraints instead",
    )
    command.add_argument(
        "--baud", metavar="N", type=positive, help=f"bits a second of the board's serial line (default {BAUD})"
    )
    group = accelerator_arguments(command)
    smoothing_argument(group, "add decision smoothing, which gives events")
    default = AcceleratorConfig().interface.value
    command.add_argument(
        "--interface",
        choices=[member.value for member in Interface],
        default=default,
        help="the core's own streams, or a wrapper around them: NAME_axi.v with AXI4-Stream and AXI4-Lite registers, "
        f"NAME_spi.v with SPI and the same registers (default {default})",
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
    if "latency_frames" in report:
        console.print(f"a decision waits for up to {report['latency_frames']} more frames, computed together")
    if "least_cycles_per_frame" in report:
        console.print(
            f"that is without a zero to skip; with nothing but zeros {report['least_cycles_per_frame']:.0f} cycles per "
            f"frame, decision {report['least_latency_cycles']} cycles after it"
        )
    if "stored_weight_bits" in report:
        weights, index = (report["stored_weight_bits"][name] / 1000 for name in ("weights", "index"))
        console.print(
            f"weights: {weights:.1f} kbit stored of {plan.model.weight_bits / 1000:.1f}, "
            f"{weights + index:.1f} kbit with the index that skips the rest"
        )
    elif plan.config.skip_zero_blocks:
        console.print("weights: all are stored, an index would take more than the blocks of zeros")
    memories = table("memory", "words", "bits a word", "bits")
    for memory in plan.memories:
        memories.add_row(memory.name, str(memory.depth), str(memory.width), str(memory.bits))
    memories.add_row("total", "", "", str(sum(plan.memory_bits.values())))
    console.print(memories)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, print, write."""
    try:
        check_module_name(args.name)
    except ValueError as error:
        raise CommandError(f"--name: {error}") from None
    if args.out is None and args.bundle is None:
        raise CommandError("nothing to write: give --out, --bundle, or both")
    if args.bundle is None and (args.frames is not None or args.limit is not None):
        raise CommandError("--frames and --limit belong to --bundle")
    if args.board is None and args.baud is not None:
        raise CommandError("--baud belongs to --board")
    if args.smoothing is not None and (args.bundle is not None or args.board is not None):
        raise CommandError("--smoothing is for --out without --board: the replay and the boards do not take events")
    if args.board is not None and args.out is None:
        raise CommandError("--board needs --out")
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    print_plan(plan)
    files = []
    if args.board is not None:
        with stage(f"write the top of {args.board} to {args.out}"):
            files += write_board(plan, args.board, args.out, args.baud or BAUD)
    elif args.out is not None:
        with stage(f"write {args.out / args.name}.v"):
            files += emit(plan, args.out, args.name)
    if args.bundle is not None:
        clips = model_frames(model, args.frames, args.limit or 1).frames
        with stage(f"write {args.bundle}, a replay of {len(clips)} clips"):
            files += write_bundle(plan, list(clips), args.bundle, args.name)
    return {"files": [str(file) for file in files], "plan": plan.report()}
