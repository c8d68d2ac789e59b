"""Build an accelerator for an FPGA on its board, or map it to the cells of an ASIC process.

For an FPGA, the top module of its board (serial line, LEDs) is synthesised, placed and routed, and becomes a bitstream.
It must fit and meet the clock of the board. The energy of an FPGA is not estimated: `lmu-hw power` is for ASIC cells.
For asic, the accelerator becomes a netlist of the cells of --pdk, with SRAM macros where the process has them. Files
for the next steps come with it: constraints, a Yosys script, a LibreLane configuration, models of the macros. --out is
replaced as a whole, or not changed at all. `pip install 'lmu-hw[flows]'` installs the tools.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_kit.cli import options
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import QUANTIZED_MODEL
from lmu_kit.cli.quantity import FREQUENCY

if TYPE_CHECKING:
    from lmu_hw.flows.asic import AsicBuild
    from lmu_hw.flows.fpga import FpgaBuild

PROJECT = {"model": QUANTIZED_MODEL}
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw synth kws361 --target ice40-up5k --lanes 8 --weights ram --out build/up5k"

ASIC = "asic"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    command.add_argument("--target", choices=(*options.DEVICES, ASIC), required=True, help="what to build for")
    command.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder to write to; without it, results are only printed"
    )
    options.accelerator_arguments(command)
    command.add_argument(
        "--no-nearest",
        action="store_true",
        help="FPGA: if the accelerator does not fit, do not search for a configuration that does",
    )
    options.macros_argument(options.library_arguments(command))
    command.add_argument(
        "--clock",
        metavar="FREQUENCY",
        type=FREQUENCY,
        help="ASIC: clock constraint, such as 1.5MHz (default: the slowest at which no frame waits)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, build, print."""
    from lmu_hw.cells.sram import has_macros

    start = time.perf_counter()
    if args.target != ASIC:
        for name in ("pdk", "liberty", "corner", "macros", "clock"):
            if getattr(args, name) is not None:
                raise lh.InputError(
                    f"--{name} belongs to --target {ASIC}; the board of {args.target} has its own clock"
                )
    model, library = lh.open_model(args.model), None
    if args.target == ASIC:
        library = lh.open_library(args.pdk, liberty=args.liberty, corner=args.corner, macros=args.macros or "kit")
        for remark in library[1]["remarks"]:
            console.warning(remark)
        config = options.accelerator_config(args, macros=has_macros(library[0]))
    else:
        config = options.accelerator_config(args, "plain")
    plan = lh.accelerator(model, config)
    with console.progress() as progress:
        try:
            if library is not None:
                result = lh.synthesize_asic(plan, library, args.out, clock=args.clock, progress=progress)
            else:
                result = lh.synthesize(
                    plan, args.target, args.out, search_nearest=not args.no_nearest, progress=progress
                )
        except RuntimeError as error:
            if hasattr(error, "build"):
                _print(error.build, args.target)
            raise
    _print(result.build, args.target)
    if result.folder is not None:
        console.written(result.folder)
    return {**result.manifest, "run_time_s": time.perf_counter() - start}


def _print(build: Any, target: str) -> None:
    if target == ASIC:
        _print_asic(build)
    else:
        _print_fpga(build)


def _print_fpga(build: "FpgaBuild") -> None:
    rows = []
    for usage in build.usage:
        share = f"{100 * usage.used / usage.available:.0f}" if usage.available else ""
        rows.append([usage.name, str(usage.used), str(usage.available), share])
    console.table(["block", "used", "available", "%"], rows)
    if build.fmax_hz is not None and build.slack_s is not None:
        console.print(
            f"clock: {build.fmax_hz / 1e6:.2f} MHz reached, {build.clock_hz / 1e6:g} MHz needed, slack "
            f"{1e9 * build.slack_s:.1f} ns (seed {build.seed})"
        )
        if build.device.untimed:
            console.print(f"not covered by this clock: {build.device.untimed}")


def _print_asic(build: "AsicBuild") -> None:
    rows = [
        [memory.name, str(memory.depth), str(memory.width), memory.describe()] for memory in build.synthesis.memories
    ]
    console.table(["memory", "words", "bits per word", "built of"], rows)
    if build.macros_are_a_model:
        from lmu_hw.power.report import SRAM_MODEL

        console.print(SRAM_MODEL)
    console.print(
        f"{sum(build.synthesis.cells.values())} cells, {build.flip_flops} flip-flops, {build.macros} macros, area "
        f"{build.synthesis.area:.0f} µm²"
    )
    console.print(
        f"clock: {build.fmax_hz / 1e6:.2f} MHz reached without wires, {build.clock_hz / 1e6:g} MHz needed, slack "
        f"{1e9 * build.slack_s:.1f} ns"
    )
