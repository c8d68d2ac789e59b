"""Estimate the energy of an inference.

For speech, silence and noise: nanojoule per frame and per decision (a second of audio), average microwatt at the frame
rate, dynamic and leakage apart, row by row. Three tiers:

  table  exact counts of operations and accesses times energies that ship with the product; needs nothing
  rtl    the same with the toggle rates of the real frames
  gates  the Verilog mapped to a cell library, real frames simulated gate by gate, every pin weighed

The library of tier gates is that of --pdk (found under the environment's PDK_ROOT), the files of --liberty, or else
Debian's cells for 0.18 um. The other tiers take the table of --pdk (ihp-sg13g2 if not given) or of --table, which
`lmu-hw characterise` writes. --out gets report.json, power.svg and power.png.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from lmu_hw.files import write_whole
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.power import table as tables
from lmu_hw.power.published import published
from lmu_hw.power.rates import find_rates
from lmu_hw.power.report import ESTIMATED, MIX, OperatingPoint, Report, frame_rate
from lmu_hw.power.scaling import RULE, Scaling, ScalingError, Target, parse_target, scale_energy
from lmu_hw.power.technology import load_technology
from lmu_kit.cli.comparison import print_comparison
from lmu_kit.cli.console import CommandError, console, significant, stages, table
from lmu_kit.cli.floor import find_floors, floors_dict, print_floors
from lmu_kit.cli.libraries import find_library
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, library_arguments, positive
from lmu_kit.cli.quantity import FREQUENCY
from lmu_kit.inputs import quantized_model, writable
from lmu_kit.power import map_plan, measure
from lmu_kit.sounds import find_sounds

SUMMARY = "estimate the energy of an inference"
EXAMPLE = "lmu-hw power kws361 --lanes 16 --tier gates --pdk ihp-sg13g2 --out build/power"

Sounds = dict[str, NDArray[np.int64]]

TECHNOLOGY = "ihp-sg13g2"
"""Of the tiers table and rtl, where none is named."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--tier", choices=("table", "rtl", "gates"), default="table", help="default table")
    library = library_arguments(command)
    library.add_argument("--table", metavar="FILE", help="a table from `lmu-hw characterise`, for tiers table and rtl")
    sound = command.add_argument_group("sounds")
    sound.add_argument("--frames", metavar="FILE", type=Path, help="a frames file (default: shipped with the model)")
    sound.add_argument("--wav", metavar="FILE", type=Path, nargs="+", help="recordings to take as speech")
    sound.add_argument("--clips", metavar="N", type=positive, default=1, help="clips of each kind (default 1)")
    accelerator_arguments(command)
    point = command.add_argument_group("operating point")
    point.add_argument("--clock", metavar="HZ", type=FREQUENCY, help="default: the slowest that keeps real time")
    point.add_argument("--frame-rate", metavar="HZ", type=FREQUENCY, help="default: that of the front end, else 50")
    beside = command.add_argument_group("beside the figures")
    beside.add_argument("--scale-to", metavar="NODE", help="dynamic energy at another node: 22nm, or 22nm@0.6V")
    beside.add_argument("--compare", action="store_true", help="published keyword spotters")
    command.add_argument("--out", metavar="FOLDER", type=Path, help="for report.json, power.svg and power.png")


def _point(args: argparse.Namespace, plan: Plan) -> OperatingPoint:
    rate = args.frame_rate or frame_rate(plan.model.front_end)
    clock = args.clock
    if clock is None:
        clock = rate * plan.paced_cycles
    try:
        return OperatingPoint(clock, rate, plan.cycles_per_frame)
    except ValueError as error:
        raise CommandError(f"--clock: {error}") from None


def _gates(args: argparse.Namespace, plan: Plan, point: OperatingPoint) -> tuple[Report, Sounds]:
    """Figures, and the frames that they are of."""
    if args.table is not None:
        raise CommandError("--table belongs to the tiers table and rtl")
    library, technology = find_library(args.pdk, args.liberty, args.corner)
    sounds = find_sounds(plan.model, args.frames, recordings=args.wav or (), clips=args.clips)
    with stages() as told:
        mapped = map_plan(plan, library, point.clock, told)
        return measure(mapped, sounds, point, technology, told), sounds


def _tables(args: argparse.Namespace, plan: Plan, point: OperatingPoint) -> tuple[Report, Sounds | None]:
    """Figures, and the frames that they are of, if there are any."""
    if args.liberty is not None or args.corner is not None:
        raise CommandError("--liberty and --corner belong to the tier gates; `lmu-hw characterise` makes a --table")
    if args.table is not None and args.pdk is not None:
        raise CommandError("give --pdk or --table, not both")
    technology = load_technology(args.table or args.pdk or TECHNOLOGY)
    if args.tier == "table":
        if args.frames is not None or args.wav is not None:
            raise CommandError("--frames and --wav belong to the tiers rtl and gates: table knows no frames")
        sounds, rates = None, technology.energies(plan.config).typical(plan)
    else:
        sounds = find_sounds(plan.model, args.frames, recordings=args.wav or (), clips=args.clips)
        rates = {kind: find_rates(plan, frames) for kind, frames in sounds.items()}
    return tables.report(plan, technology, point, args.tier, rates), sounds


def _scaling(args: argparse.Namespace, report: Report) -> Scaling | None:
    """Where `--scale-to` leads from the report's technology."""
    if args.scale_to is None:
        return None
    node = report.technology["node_nm"]
    if node is None:
        raise CommandError("--scale-to: the node of this technology is not known")
    try:
        return scale_energy(Target(node, report.technology["voltage_V"]), parse_target(args.scale_to))
    except ScalingError as error:
        raise CommandError(f"--scale-to: {error}") from None


def _rows_table(report: Report) -> Table:
    kinds = list(report.rows)
    shown = table("nJ per frame", *(f"{kind}, dynamic" for kind in kinds), "leakage", "area, µm²")
    for name in report.names:
        first = report.row(kinds[0], name)
        sums = [report.sums(kind, name) for kind in kinds]
        shown.add_row(
            f"{name} (estimated)" if first.origin == ESTIMATED else name,
            *(f"{one.dynamic * 1e9:.3f}" for one in sums),
            f"{sums[0].leakage * 1e9:.3f}",
            f"{first.area:.0f}",
        )
    shown.add_section()
    for label, estimates in (("total", False), ("total with estimates", True)):
        if estimates and all(report.row(kinds[0], name).origin != ESTIMATED for name in report.names):
            continue
        sums = [report.sums(kind, estimates=estimates) for kind in kinds]
        area = "" if estimates else f"{report.area.total:.0f}"
        shown.add_row(label, *(f"{one.dynamic * 1e9:.3f}" for one in sums), f"{sums[0].leakage * 1e9:.3f}", area)
    return shown


def _totals_table(report: Report, scaling: Scaling | None) -> Table:
    band = "" if report.band is None else f" ± {100 * report.band:.0f} %"
    columns = [f"nJ per frame{band}", f"nJ per decision{band}", f"average µW{band}", "dynamic µW", "leakage µW"]
    if scaling is not None:
        columns.append(f"dynamic µW scaled to {scaling.target}")
    shown = table("sound", *columns)
    heard = {kind: report.sums(kind) for kind in report.rows}
    mixed = report.mixed()
    if mixed is not None:
        heard[" : ".join(f"{kind} {part}" for kind, part in MIX.items())] = mixed
    for kind, one in heard.items():
        dynamic = one.dynamic * one.frame_rate * 1e6
        leakage = one.leakage * one.frame_rate * 1e6
        energies = one.frame * 1e9, one.decision * 1e9
        cells = [significant(value) for value in (*energies, one.power * 1e6, dynamic, leakage)]
        if scaling is not None:
            low, most = dynamic * scaling.least, dynamic * scaling.most
            cells.append(f"{dynamic * scaling.factor:.3g} ({low:.2g} to {most:.2g})")
        shown.add_row(kind, *cells)
    return shown


def print_report(report: Report, scaling: Scaling | None, *, stops: bool) -> None:
    """Print the rows, then what a frame, a decision and a second cost."""
    console.print(_rows_table(report))
    console.print(_totals_table(report, scaling))
    point, area, technology = report.point, report.area, report.technology
    console.print(
        f"clock {point.clock / 1000:.1f} kHz, {point.busy_cycles:.0f} cycles a frame, {point.idle_cycles:.0f} between "
        f"frames with the clock {'stopped' if stops else 'running'}; {point.frame_rate:g} frames a second"
    )
    model = " (a model, not of this process)" if area.macro_model else ""
    achievable = "" if report.achievable_clock is None else f"; clock up to {report.achievable_clock / 1e6:.1f} MHz"
    console.print(
        f"area {area.total:.0f} µm²: gates {area.gates / 1000:.1f} kGE, memory macros {area.macros:.0f} µm²{model}"
        f"{achievable}, before place and route",
        markup=False,
    )
    console.print(
        f"tier {report.tier}, {technology['name']}, {technology['voltage_V']:g} V, {technology['temperature_C']:g} °C; "
        f"in no figure: {', '.join(report.missing) or 'nothing'}",
        markup=False,
    )
    if report.band is not None:
        console.print(f"± is the largest error of tier {report.tier} against gates, on designs not used for the table")
    if scaling is not None:
        console.print(f"scaled: {RULE}, between nodes interpolated; leakage is not scaled", markup=False)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Estimate, print, write."""
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    if args.scale_to is not None:
        parse_target(args.scale_to)
    if args.out is not None:
        writable(args.out / "report.json")
    point = _point(args, plan)
    report, sounds = _gates(args, plan, point) if args.tier == "gates" else _tables(args, plan, point)
    scaling = _scaling(args, report)
    print_report(report, scaling, stops=plan.config.stop_clock)
    floors = find_floors(plan, report, sounds)
    print_floors(floors, report)
    found = {"model": args.model, "config": plan.config.to_dict()} | report.to_dict()
    found["floor"] = floors_dict(floors, report)
    if scaling is not None:
        found["scaled"] = _scaled(report, scaling)
    if args.compare:
        print_comparison(model.name, report, scaling)
        found["published"] = [asdict(one) for one in published()]
    if args.out is not None:
        _write(args.out, report, found)
    return found


def _scaled(report: Report, scaling: Scaling) -> dict[str, Any]:
    """Scaled figures for the JSON result."""
    sums = {kind: report.sums(kind) for kind in report.rows}
    return {
        "rule": RULE,
        "to": str(scaling.target),
        "factor": scaling.factor,
        "least": scaling.least,
        "most": scaling.most,
        "dynamic_uW": {kind: one.dynamic * one.frame_rate * scaling.factor * 1e6 for kind, one in sums.items()},
    }


def _write(folder: Path, report: Report, found: dict[str, Any]) -> None:
    from lmu_kit.figures.power import write_picture  # slow to import, and not needed without --out

    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", (json.dumps(found, indent=2) + "\n").encode())
    title = f"{found['model']}, {report.technology['name']}, tier {report.tier}, {report.point.clock / 1000:.0f} kHz"
    for suffix in ("svg", "png"):
        write_picture(report, title, folder / f"power.{suffix}")
