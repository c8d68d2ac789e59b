"""Estimate the energy of an inference.

For speech, silence and noise: nanojoules per frame and per decision (one second of audio), average microwatts at the
frame rate, dynamic energy and leakage apart, block by block. Three tiers:

  table  exact counts of operations and accesses, times energies that ship
  rtl    the same with the toggle rates of real frames
  gates  the Verilog in cells of a library, real frames simulated gate by gate

The library of tier gates is that of --pdk (a folder under PDK_ROOT), the files of --liberty, or else Debian's 0.18 um
cells. The other tiers use the table of --pdk (default ihp-sg13g2) or of --table, which `lmu-hw characterise` writes.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable, write_whole
from lmu_kit.cli import options
from lmu_kit.cli.console import console, significant
from lmu_kit.cli.project_options import QUANTIZED_MODEL
from lmu_kit.cli.quantity import FREQUENCY

if TYPE_CHECKING:
    from lmu_hw.power.floor import Floor
    from lmu_hw.power.report import Report, Sums
    from lmu_hw.power.scaling import Scaling
    from lmu_hw.power.technology import Technology
    from lmu_kit.comparison import PublishedComparison
    from lmu_kit.estimate import CellLibrary
    from lmu_kit.layout import ChipLayout, LaidOut

PROJECT = {
    "model": QUANTIZED_MODEL, "tier": "flow.power.tier", "pdk": "flow.power.technology",
    "table": "flow.power.technology", "liberty": "flow.power.liberty", "corner": "flow.power.corner",
    "macros": "flow.power.macros", "clips": "flow.power.clips", "interval": "flow.power.interval",
    "settled": "flow.power.settled", "clock": "flow.power.clock", "frame_rate": "flow.power.frame_rate",
}  # fmt: skip
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw power kws361 --lanes 16 --clock 1MHz --scale-to 22nm --out build/power"

DEFAULT_TECHNOLOGY = "ihp-sg13g2"
"""Table of the tiers table and rtl."""

LARGE = 100e-9
"""Energy of a frame in joule from which the rows are printed with one decimal."""

ESTIMATED = "estimated"
"""Origin of a row that was not measured."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    command.add_argument(
        "--tier", choices=options.TIERS, default="table", help="how to estimate (default table)"
    )
    library = options.library_arguments(command)
    options.macros_argument(library)
    library.add_argument("--table", metavar="FILE", help="a table from `lmu-hw characterise`, for tiers table and rtl")
    library.add_argument(
        "--hot-liberty",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="the same cells at another temperature, for leakage at 25, 55 and 85 °C; tier gates (default: files "
        "beside those of the library)",
    )
    _wire_arguments(command)
    sound = command.add_argument_group("sounds")
    options.frames_argument(sound)
    sound.add_argument("--wav", metavar="FILE", type=Path, nargs="+", help="recordings to use as speech")
    options.clips_argument(sound, "clips of each kind of sound, every frame (default 1; tier gates: draw from 18)")
    sound.add_argument(
        "--interval",
        metavar="PERCENT",
        type=float,
        help="draw frames at random until the 95 %% interval of the mean is within PERCENT; tier gates (default 2, all "
        "frames with --clips)",
    )
    options.accelerator_arguments(command)
    sound.add_argument(
        "--settled", action="store_true", help="simulate without delays, faster but without glitches; tier gates"
    )
    point = command.add_argument_group("operating point")
    point.add_argument(
        "--clock",
        metavar="FREQUENCY",
        type=FREQUENCY,
        help="such as 500kHz or 1.5MHz (default: the slowest at which no frame waits)",
    )
    point.add_argument(
        "--frame-rate", metavar="FREQUENCY", type=FREQUENCY, help="default: that of the front end, else 50"
    )
    beside = command.add_argument_group("comparison")
    beside.add_argument("--scale-to", metavar="NODE", help="dynamic energy at another node: 22nm, or 22nm@0.6V")
    beside.add_argument("--compare", action="store_true", help="list published keyword spotters")
    command.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="write report.json, power.svg and power.png there; tier gates also check/, with which anybody can check "
        "the figure in OpenSTA; of a layout also layout.v, layout.spef, layout.def and its picture",
    )


def _wire_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options that say where wires come from."""
    wires = command.add_argument_group("wires, tier gates", "by default a rule of thumb")
    wires.add_argument(
        "--place", action="store_true", help="place the cells with coloquinte (extra place) and take wires from it"
    )
    wires.add_argument("--density", type=float, metavar="PART", help="part of the rows that cells take (default 0.7)")
    wires.add_argument("--aspect", type=float, metavar="RATIO", help="height of the die over its width (default 1)")
    wires.add_argument("--place-seed", type=int, metavar="N", help="seed of the placer (default 1)")
    wires.add_argument("--netlist", metavar="FILE", type=Path, help="Verilog of your own layout of layout.v")
    wires.add_argument("--spef", metavar="FILE", type=Path, help="wires of --netlist")
    wires.add_argument("--def", metavar="FILE", type=Path, dest="placed", help="placement of --netlist")
    wires.add_argument(
        "--lef", metavar="FILE", type=Path, nargs="+", help="technology and cells (default: those of the PDK)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Estimate, print, write."""
    _check(args)
    model = lh.open_model(args.model)
    technology = _open_technology(args)
    plan = lh.accelerator(model, options.accelerator_config(args, macros=_has_macros(technology)))
    try:
        point = lh.operating_point(plan, clock=args.clock, frame_rate_hz=args.frame_rate)
    except ValueError as error:
        raise lh.InputError(f"--clock: {error}") from None
    sounds = None
    if args.tier != "table":
        from lmu_kit.estimate import HEADLINE_CLIPS

        clips = args.clips or (HEADLINE_CLIPS if args.tier == "gates" else 1)
        frames = args.frames if args.project is None or args.wav else options.open_test_clips(args, model, None)
        sounds = lh.find_sounds(model, frames, recordings=args.wav or (), clips=clips)
    with console.progress() as progress:
        layout = _layout(args)
        laid_out = None if layout is None else lh.lay_out(plan, technology, layout, point=point, progress=progress)
        report = lh.estimate_power(
            plan,
            technology,
            tier=args.tier,
            sounds=sounds,
            point=point,
            place=laid_out,
            gates=lh.GateOptions(_simulation(args), args.hot_liberty),
            progress=progress,
        )
    scaling = None if args.scale_to is None else lh.scale_report(report, args.scale_to)
    floors = lh.find_floors(plan, report, sounds)
    _print_rows(report)
    _print_totals(report, scaling)
    _print_heat(report)
    _print_remarks(report, scaling, stops=plan.config.stop_clock)
    _print_floor(floors, report)
    result = {"model": args.model, "config": plan.config.to_dict()} | report.to_dict()
    result["floor"] = {sound: floor.to_dict(report.sums(sound).frame) for sound, floor in floors.items()} or None
    if scaling is not None:
        result["scaled"] = lh.scaling_to_dict(report, scaling)
    if args.compare:
        comparison = lh.compare_with_published(model.name, report)
        _print_comparison(comparison)
        result["published"] = [asdict(figure) for figure in comparison.others]
    if args.out is not None:
        if args.tier == "gates":
            result["check"] = _write_check(args.out / "check", report)
        _write(args.out, report, result)
        if laid_out is not None:
            _write_layout(args.out, laid_out, report, args.model)
    return result


def _simulation(args: argparse.Namespace) -> "lh.FrameSimulation":
    """With delays or without; some frames, unless the number of clips is given and the interval is not."""
    from lmu_kit.estimate import HEADLINE_INTERVAL

    interval = args.interval
    if interval is None and args.clips is None:
        interval = 100 * HEADLINE_INTERVAL
    return lh.FrameSimulation(delays=not args.settled, interval=None if interval is None else interval / 100)


def _open_technology(args: argparse.Namespace) -> "CellLibrary | Technology":
    """The cells of tier gates, or the table of the other tiers."""
    from lmu_hw.power.technology import load_technology

    if args.tier == "gates":
        library = lh.open_library(args.pdk, liberty=args.liberty, corner=args.corner, macros=args.macros or "kit")
        for remark in library[1]["remarks"]:
            console.warning(remark)
        return library
    return load_technology(args.table or args.pdk or DEFAULT_TECHNOLOGY)


def _has_macros(technology: "CellLibrary | Technology") -> bool:
    """Whether memories can be SRAM macros, of the kit or of a model that was asked for."""
    from lmu_hw.cells.sram import has_macros

    if isinstance(technology, tuple):
        return has_macros(technology[0])
    return technology.memories.has_macros


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, before any work."""
    if args.tier == "gates" and args.table is not None:
        raise lh.InputError("--table belongs to the tiers table and rtl")
    if args.tier != "gates" and any(option is not None for option in (args.liberty, args.corner, args.macros)):
        raise lh.InputError(
            "--liberty, --corner and --macros belong to tier gates; `lmu-hw characterise` makes a --table"
        )
    if args.tier != "gates" and args.hot_liberty is not None:
        raise lh.InputError("--hot-liberty belongs to tier gates: a table has leakage at one temperature")
    if args.tier != "gates" and (args.settled or args.interval is not None):
        raise lh.InputError("--settled and --interval belong to tier gates")
    if args.interval is not None and not 0 < args.interval < 100:
        raise lh.InputError(f"--interval must be above 0 and below 100 percent, not {args.interval:g}")
    _check_layout(args)
    if args.table is not None and args.pdk is not None:
        raise lh.InputError("give --pdk or --table, not both")
    if args.tier == "table" and (args.frames is not None or args.wav is not None):
        raise lh.InputError("--frames and --wav belong to the tiers rtl and gates: tier table uses no frames")
    if args.scale_to is not None:
        from lmu_hw.power.scaling import parse_target

        parse_target(args.scale_to)
    if args.out is not None:
        check_writable(args.out / "report.json")
    if args.out is not None and args.tier == "gates":
        from lmu_hw.power.check_bundle import require_replaceable

        require_replaceable(args.out / "check")


LAYOUT_OPTIONS = ("place", "density", "aspect", "place_seed", "netlist", "spef", "placed", "lef")
"""Where the options about wires are kept."""


def _check_layout(args: argparse.Namespace) -> None:
    """Refuse options about wires that do not go together."""
    chosen = [name for name in LAYOUT_OPTIONS if getattr(args, name) not in (None, False)]
    names = ["--def" if name == "placed" else f"--{name.replace('_', '-')}" for name in chosen]
    if chosen and args.tier != "gates":
        raise lh.InputError(f"{names[0]} belongs to tier gates: the other tiers have no netlist")
    places = args.place and args.spef is None and args.placed is None
    if args.place and not places:
        raise lh.InputError("--place makes a placement, --spef and --def bring one: give one of them")
    for name, option in zip(chosen, names, strict=True):
        if name in ("density", "aspect", "place_seed") and not places:
            raise lh.InputError(f"{option} belongs to --place")
        if name == "lef" and not places and args.placed is None:
            raise lh.InputError("--lef belongs to --place or --def")
    if args.netlist is not None and not places and args.spef is None and args.placed is None:
        raise lh.InputError("--netlist needs --spef, --def or --place, for its wires")


def _layout(args: argparse.Namespace) -> "ChipLayout | None":
    """Where the wires come from; None for the rule of thumb."""
    if not args.place and args.netlist is None and args.spef is None and args.placed is None:
        return None
    chosen = {"density": args.density, "aspect": args.aspect, "seed": args.place_seed}
    try:
        placement = lh.PlaceOptions(**{name: value for name, value in chosen.items() if value is not None})
    except ValueError as error:
        raise lh.InputError(f"--place: {error}") from None
    return lh.ChipLayout(placement, tuple(args.lef or ()), args.netlist, args.spef, args.placed)


def _print_rows(report: "Report") -> None:
    """Print dynamic energy of every row by kind of sound; of the first kind, the glitches in it; and leakage."""
    sounds = list(report.rows)
    total = [report.sums(sound) for sound in sounds]
    decimals = 3 if max(energy.frame for energy in total) < LARGE else 1
    rows: list[list[str] | None] = []
    for name in report.names:
        first = report.row(sounds[0], name)
        sums = [report.sums(sound, name) for sound in sounds]
        label = f"{name} ({ESTIMATED})" if first.origin == ESTIMATED else name
        rows.append(_energies(label, sums, f"{first.area:.0f}", decimals))
    rows.append(None)
    sums = [report.sums(sound, estimates=False) for sound in sounds]
    rows.append(_energies("total", sums, f"{report.area.total:.0f}", decimals))
    if any(report.row(sounds[0], name).origin == ESTIMATED for name in report.names):
        rows.append(_energies("total with estimates", total, "", decimals))
    counted = total[0].glitches is not None
    title = f"nJ per frame: dynamic by kind of sound, {f'glitches in {sounds[0]}, ' if counted else ''}leakage; µm²"
    console.table(
        ["block", *sounds, *(["glitches"] if counted else []), "leakage", "area"], rows, title=title
    )


def _energies(label: str, sums: "list[Sums]", area: str, decimals: int) -> list[str]:
    values = [*(energy.dynamic for energy in sums), sums[0].glitches, sums[0].leakage]
    return [label, *(f"{value * 1e9:.{decimals}f}" for value in values if value is not None), area]


def _print_totals(report: "Report", scaling: "Scaling | None") -> None:
    from lmu_hw.power.report import MIX

    sums = {sound: report.sums(sound) for sound in report.rows}
    mixed = report.mixed()
    if mixed is not None:
        sums[", ".join(f"{part} {sound}" for sound, part in MIX.items())] = mixed
    columns = ["sound", "nJ/frame", "nJ/decision", "average µW", "dynamic µW", "leakage µW"]
    rows = []
    for sound, energy in sums.items():
        dynamic, leakage = (part * energy.frame_rate * 1e6 for part in (energy.dynamic, energy.leakage))
        values = energy.frame * 1e9, energy.decision * 1e9, energy.power * 1e6, dynamic, leakage
        rows.append([sound, *map(significant, values)])
    console.print()
    console.table(columns, rows)
    if report.caveat:
        console.print(report.caveat)
    _print_sleep(report)
    if scaling is not None:
        scaled = [
            [sound, *(f"{energy.dynamic * energy.frame_rate * 1e6 * factor:.3g}" for factor in _factors(scaling))]
            for sound, energy in sums.items()
        ]
        console.print()
        console.table(["sound", f"dynamic µW at {scaling.target}", "least", "most"], scaled)


def _print_sleep(report: "Report") -> None:
    """Print the frames asleep, and the energy with the gate held open beside the figure."""
    if report.sleep is None:
        return
    rows = []
    for sound, opened in report.sleep.held_open.items():
        energy = report.sums(sound)
        values = energy.dynamic * 1e9, opened.dynamic * 1e9, energy.power * 1e6, opened.power * 1e6
        rows.append([sound, f"{100 * report.sleep.asleep[sound]:.0f} %", *map(significant, values)])
    columns = ["sound", "asleep", "dynamic nJ/frame", "held open", "average µW", "held open"]
    console.print()
    console.table(columns, rows, title="the level gate, and the same with the gate held open")


def _factors(scaling: "Scaling") -> tuple[float, float, float]:
    return scaling.factor, scaling.least, scaling.most


def _print_heat(report: "Report") -> None:
    """Print leakage at several temperatures, or why there is none."""
    from lmu_hw.power.heat import TEMPERATURES, LeakageRefused

    heat = report.heat
    if heat is None:
        return
    rows = []
    for celsius in TEMPERATURES:
        try:
            leakage = {sound: report.leakage_at(sound, celsius) for sound in report.rows}
        except LeakageRefused:
            rows.append([f"{celsius:g} °C", *["refused"] * (len(report.rows) + 1)])
            continue
        frames = [next(iter(leakage.values()))]
        frames += [report.sums(sound).dynamic + watts for sound, watts in leakage.items()]
        rows.append([f"{celsius:g} °C", *(significant(energy * 1e9) for energy in frames)])
    console.print()
    console.table(["temperature", "leakage", *report.rows], rows, title="nJ per frame by temperature of the leakage")
    if heat.source:
        console.print(f"leakage by temperature: {heat.source}")
    if heat.memories:
        console.print(f"leakage of memory macros: {heat.memories}")
    for reason in dict.fromkeys(heat.refused.values()):
        refused = [f"{celsius:g}" for celsius, other in heat.refused.items() if other == reason]
        console.print(f"refused at {' and '.join(refused)} °C: {reason}")
    if heat.corner is not None:
        sound, watts = next(iter(heat.corner.watts.items()))
        console.print(
            f"another process corner, not this one made hot ({heat.corner.corner}): leakage "
            f"{significant(watts / report.point.frame_rate * 1e9)} nJ per frame ({sound})"
        )


def _print_remarks(report: "Report", scaling: "Scaling | None", *, stops: bool) -> None:
    from lmu_hw.power.report import left_out

    point, area, technology = report.point, report.area, report.technology
    console.print()
    if report.band is not None:
        console.print(
            f"error band: ± {100 * report.band:.0f} %, the largest error of tier {report.tier} against tier gates, on "
            "designs not used for the table"
        )
    waits = "frames wait for longer ones" if point.frames_wait else "no frame waits"
    console.print(
        f"clock {point.clock / 1000:.1f} kHz: {point.busy_cycles:.0f} cycles per frame, {point.idle_cycles:.0f} "
        f"between frames with the clock {'stopped' if stops else 'running'}; {point.frame_rate:g} frames per second; "
        f"{waits}"
    )
    model = " of an SRAM model" if area.macro_model else ""
    registers = report.details.get("flip_flops_for_want_of_macros")
    if registers:
        console.print(f"built of flip-flops, because the kit has no SRAM macros: {', '.join(registers)}")
    clock = "" if report.achievable_clock is None else f"; clock up to {report.achievable_clock / 1e6:.1f} MHz"
    console.print(
        f"area {area.total:.0f} µm² before place and route: gates {area.gates / 1000:.1f} kGE, memory macros "
        f"{area.macros:.0f} µm²{model}{clock}"
    )
    if "wires" in report.details:
        console.print(f"wires: {report.details['wires']}")
    sides = report.details.get("sides_of_the_mean_cell_per_reader")
    if sides is not None:
        console.print(
            f"wire per reader in sides of the mean cell: {sides['placed']:.2f}, weighted by toggles "
            f"{sides['placed_by_toggles']:.2f}; the rule of thumb has {sides['rule']:.2f}"
        )
    console.print(
        f"tier {report.tier}, {technology['name']}, {technology['voltage_V']:g} V, {technology['temperature_C']:g} °C; "
        f"not included: {left_out(report.missing)}"
    )
    whole = report.details.get("dynamic_nJ_per_frame_with_whole_swings")
    if whole:
        energies = ", ".join(f"{sound} {energy:.4g}" for sound, energy in whole.items())
        console.print(f"partial swings count as parts; if they were whole, the dynamic total would be {energies} nJ")
    drawn = report.details.get("frames_drawn")
    if drawn is not None:
        for sound, interval in drawn["interval"].items():
            frames, clips = report.details["frames"][sound], drawn["clips"][sound]
            console.print(
                f"{sound}: {frames} frames drawn at random from {clips} clips; "
                f"95 % interval of the mean dynamic energy ± {100 * interval:.2g} %"
            )
    if scaling is not None:
        from lmu_hw.power.scaling import RULE

        console.print(f"scaled by {RULE}, interpolated between nodes; leakage is not scaled")


def _print_floor(floors: "dict[str, Floor]", report: "Report") -> None:
    """Print the floor of the first kind of sound."""
    if not floors:
        console.print("floor: not measured for this process and corner")
        return
    sound, floor = next(iter(floors.items()))
    parts = ", ".join(f"{name} {value * 1e9:.1f}" for name, value in vars(floor).items())
    console.print(
        f"floor {floor.total * 1e9:.1f} nJ per frame ({sound}: {parts}); the total is "
        f"{report.sums(sound).frame / floor.total:.2f} times the floor{_bracketed(report.caveat)}"
    )


def _bracketed(caveat: str) -> str:
    return f" ({caveat})" if caveat else ""


def _print_comparison(comparison: "PublishedComparison") -> None:
    """Print our figure and the published ones, each as a short paragraph: their texts are too long for a table."""
    console.print()
    console.print("Published keyword spotters")
    for figure in (comparison.ours, *comparison.others):
        node = "" if figure.node_nm is None else f", {figure.node_nm:g} nm"
        power = "" if figure.power_uW is None else f"{significant(figure.power_uW)} µW"
        energy = "" if figure.energy_nJ is None else f"{significant(figure.energy_nJ)} nJ per {figure.per}"
        accuracy = "" if figure.accuracy_percent is None else f", {figure.accuracy_percent:g} %"
        console.print(f"{figure.design}{node}")
        console.print(f"    {', '.join(filter(None, (power, energy)))}; {figure.scope}, {figure.method}")
        console.print(f"    {figure.task}{accuracy}; front end included: {figure.front_end}")
    console.print()
    for sentence in comparison.remarks():
        console.print(sentence)


def _write_check(folder: Path, report: "Report") -> dict[str, Any]:
    """Write the folder for OpenSTA, and print how its sum becomes the figure; the steps by kind of sound."""
    steps = lh.write_check(report, folder)
    sound, of_sound = next(iter(steps.items()))
    rows, before = [], of_sound[0].frame
    for step in of_sound:
        rows.append([step.rule, f"{step.frame * 1e9:.3f}", f"{(step.frame - before) * 1e9:+.3f}"])
        before = step.frame
    console.print()
    console.table(["rule", "nJ/frame", "change"], rows, title=f"from OpenSTA's rules to the figure, {sound}")
    console.print(f"to check it: (cd {folder} && sta -no_splash -exit check.tcl); {folder}/README.md says more")
    return {kind: [step.to_dict() for step in of_kind] for kind, of_kind in steps.items()}


def _write(folder: Path, report: "Report", result: dict[str, Any]) -> None:
    from lmu_kit.figures.power import write_picture  # slow to import, and only needed with --out

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("report.json", "power.svg", "power.png")]
    write_whole(paths[0], (json.dumps(result, indent=2) + "\n").encode())
    title = f"{result['model']}, {report.technology['name']}, tier {report.tier}, {report.point.clock / 1000:.0f} kHz"
    title = "\n".join(filter(None, (title, report.caveat)))
    for path in paths[1:]:
        write_picture(report, title, path)
    console.written(*paths)


def _write_layout(folder: Path, laid_out: "LaidOut", report: "Report", model: str) -> None:
    from lmu_kit.figures.placement import write_placement

    paths = lh.write_layout(laid_out, folder)
    if laid_out.placement is not None and laid_out.lef is not None:
        side = laid_out.placement.die
        title = (
            f"{model}, {report.technology['name']}: {len(laid_out.netlist.instances)} cells on "
            f"{side[2] - side[0]:.0f} x {side[3] - side[1]:.0f} µm"
        )
        for path in (folder / "placement.svg", folder / "placement.png"):
            write_placement(laid_out.netlist, laid_out.lef, laid_out.placement, title, path)
            paths.append(path)
    console.written(*paths)
