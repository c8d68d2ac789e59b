"""Build an accelerator for an FPGA on its board, or map it to the cells of an ASIC process.

For an FPGA the top of its board (serial line, LEDs) is synthesised, placed, routed and made a bitstream; it must fit
and meet the clock of the board. For asic the accelerator itself becomes a netlist of the cells of --pdk, with SRAM
macros where the process has them, and with what it takes to go on: constraints, a script for Yosys, a configuration for
LibreLane, models of the macros. --out appears whole or not at all; a result of an earlier run in it is replaced. The
tools come with `pip install 'lmu-hw[flows]'`.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmu_hw.boards.board import BOARDS
from lmu_hw.flows.asic import AsicBuild, AsicError, build_asic
from lmu_hw.flows.devices import DEVICES, Device
from lmu_hw.flows.folder import MANIFEST, check_folder, write_folder
from lmu_hw.flows.fpga import FpgaBuild, FpgaDesign, FpgaError, board_design, build_fpga
from lmu_hw.flows.nearest import find_nearest
from lmu_hw.flows.yosys import scratch_folder
from lmu_hw.model.program_file import digest
from lmu_hw.plan.plan import Plan, make_plan
from lmu_kit.cli.console import CommandError, console, stage, table
from lmu_kit.cli.libraries import find_library
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, library_arguments
from lmu_kit.cli.quantity import FREQUENCY
from lmu_kit.inputs import quantized_model

SUMMARY = "build for an FPGA or an ASIC process"
EXAMPLE = "lmu-hw synth kws361 --target ice40-up5k --lanes 8 --weights ram --out build/up5k"

SCHEMA = "lmu-hw/synth"

ASIC = "asic"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--target", choices=[*DEVICES, ASIC], required=True, help="what to build for")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write; without it, reported only")
    accelerator_arguments(command)
    command.add_argument(
        "--no-nearest", action="store_true", help="FPGA: do not search for a configuration that fits if this does not"
    )
    library_arguments(command)
    command.add_argument(
        "--clock", metavar="HZ", type=FREQUENCY, help="ASIC: constraint (default: the slowest that keeps real time)"
    )


def _manifest(plan: Plan, report: dict[str, Any], contents: Mapping[str, bytes | Path]) -> dict[str, Any]:
    """What was built, and of what."""
    hashes = {
        name: hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()
        for name, content in sorted(contents.items())
    }
    return {
        "schema": SCHEMA,
        "version": 1,
        "model": {"name": plan.model.name, "sha256": digest(plan.model), "labels": list(plan.model.labels)},
        "config": plan.config.to_dict(),
        "plan": plan.report(),
        **report,
        "files": hashes,
    }


def _write(out: Path | None, plan: Plan, report: dict[str, Any], contents: dict[str, bytes | Path]) -> dict[str, Any]:
    manifest = _manifest(plan, report, contents)
    if out is not None:
        text = json.dumps(manifest, indent=2) + "\n"
        write_folder(out, {**contents, MANIFEST: text.encode()})
        console.print(f"written: {out}", markup=False)
    return manifest


def _print_build(build: FpgaBuild) -> None:
    used = table("block", "used", "available", "%")
    for one in build.usage:
        share = f"{100 * one.used / one.available:.0f}" if one.available else ""
        used.add_row(one.name, str(one.used), str(one.available), share)
    console.print(used)
    if build.fmax_hz is not None and build.slack_s is not None:
        console.print(
            f"clock: {build.fmax_hz / 1e6:.2f} MHz reached, {build.clock_hz / 1e6:g} MHz needed, slack "
            f"{1e9 * build.slack_s:.1f} ns (seed {build.seed})"
        )
        if build.device.untimed:
            console.print(f"not in this clock: {build.device.untimed}", markup=False)


def _fail(error: FpgaError, plan: Plan, device: Device, folder: Path, search: bool) -> CommandError:
    """The error with the nearest configuration that fits."""
    _print_build(error.build)
    report = error.build.report()
    if not search:
        return CommandError(str(error), report)
    with stage("search for the nearest configuration that fits"):
        nearest = find_nearest(plan, device, folder, timing=error.build.fmax_hz is not None)
    if nearest is None:
        return CommandError(f"{error}; none of the nearest configurations fits either", {**report, "nearest": None})
    report["nearest"] = {"config": nearest.config.to_dict(), "fmax_hz": nearest.fmax_hz, "text": str(nearest)}
    return CommandError(f"{error}; nearest that fits: {nearest}", report)


def _designed(plan: Plan, device: Device) -> FpgaDesign:
    try:
        return board_design(plan, device)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _fpga(args: argparse.Namespace, plan: Plan, device: Device) -> dict[str, Any]:
    clock = BOARDS[device.board].clock_hz
    needed = plan.report()["slowest_clock_hz_at_50_frames_per_s"]
    if needed > clock:
        raise CommandError(
            f"too slow for real time: {needed / 1e6:.2f} MHz are needed with {plan.lanes} lanes, the board has "
            f"{clock / 1e6:g} MHz; more --lanes need less"
        )
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="fpga-") as name:
        folder = Path(name)
        (folder / "build").mkdir()
        try:
            with stage(f"build for {device.title} on the board {device.board}"):
                build = build_fpga(_designed(plan, device), folder / "build")
        except FpgaError as error:
            raise _fail(error, plan, device, folder, not args.no_nearest) from None
        _print_build(build)
        report = {"target": device.name, **build.report(), "realtime_clock_hz": needed}
        return _write(args.out, plan, report, {file: folder / "build" / file for file in build.files})


def _print_asic(build: AsicBuild) -> None:
    memories = table("memory", "words", "bits a word", "built of")
    for memory in build.synthesis.memories:
        memories.add_row(memory.name, str(memory.depth), str(memory.width), memory.describe())
    console.print(memories)
    console.print(
        f"{sum(build.synthesis.cells.values())} cells, {build.flip_flops} flip-flops, {build.macros} macros, area "
        f"{build.synthesis.area:.0f} µm²"
    )
    console.print(
        f"clock: {build.fmax_hz / 1e6:.2f} MHz reached (no wires), {build.clock_hz / 1e6:g} MHz needed, slack "
        f"{1e9 * build.slack_s:.1f} ns"
    )


def _asic(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    needed = plan.report()["slowest_clock_hz_at_50_frames_per_s"]
    clock = float(needed) if args.clock is None else args.clock
    if clock < needed:
        raise CommandError(f"--clock must be {needed} Hz or more for real time with {plan.lanes} lanes, not {clock:g}")
    library, described = find_library(args.pdk, args.liberty, args.corner, sram_model=False)
    start = time.perf_counter()
    try:
        with stage(f"map to {described['name']}"):
            build = build_asic(plan, library, clock, described["name"])
    except AsicError as error:
        _print_asic(error.build)
        raise CommandError(f"{error}; real time needs {needed / 1e6:.2f} MHz", error.build.report()) from None
    _print_asic(build)
    report = {"target": ASIC, "library": described, **build.report(), "realtime_clock_hz": needed}
    report["seconds"] = {"synthesis": time.perf_counter() - start}
    files: dict[str, bytes | Path] = {name: text.encode() for name, text in build.files.items()}
    return _write(args.out, plan, report, {**files, "netlist.v": build.synthesis.verilog})


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that belong to the other kind of target."""
    if args.target != ASIC:
        for name in ("pdk", "liberty", "corner", "clock"):
            if getattr(args, name) is not None:
                raise CommandError(f"--{name} belongs to --target {ASIC}; the board of {args.target} has its own clock")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, build, report."""
    _check_options(args)
    if args.out is not None:
        check_folder(args.out, SCHEMA)
    start = time.perf_counter()
    plan = make_plan(quantized_model(args.model), accelerator_config(args))
    result = _asic(args, plan) if args.target == ASIC else _fpga(args, plan, DEVICES[args.target])
    return {**result, "run_time_s": time.perf_counter() - start}
