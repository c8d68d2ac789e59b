"""What one inference costs: joules by tier, and the floor under them."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import Library
from lmu_hw.cells.pdk import find_pdk
from lmu_hw.cells.sram import why_unusable
from lmu_hw.cells.sram_model import add_sram_model, is_model
from lmu_hw.model.golden import Golden
from lmu_hw.plan.plan import Plan
from lmu_hw.power import table
from lmu_hw.power.floor import Floor, find_demand, find_floor, load_floor_costs
from lmu_hw.power.rates import find_rates
from lmu_hw.power.report import OperatingPoint, Report, frame_rate
from lmu_hw.power.technology import Technology, load_technology, shipped
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.gated_estimate import estimate_gated
from lmu_kit.layout import ChipLayout, LaidOut, find_wires
from lmu_kit.power import FrameSimulation, Mapped, map_plan, measure
from lmu_kit.sounds import Sounds, find_sounds

__all__ = [
    "DEFAULT_TECHNOLOGY",
    "HEADLINE_CLIPS",
    "HEADLINE_INTERVAL",
    "TIERS",
    "CellLibrary",
    "GateOptions",
    "TechnologySource",
    "estimate_power",
    "find_floors",
    "lay_out",
    "open_library",
    "operating_point",
]

TIERS = ("table", "rtl", "gates")

MACROS = ("kit", "model")
"""Choices of SRAM macros: those of the kit only, or a model for a kit without."""

DEBIAN_CELLS = "osu018"
"""Cells that Debian ships, for tier gates without a PDK."""

DEFAULT_TECHNOLOGY = "ihp-sg13g2"
"""Of the tiers table and rtl, whose tables ship with the product."""

HEADLINE_CLIPS = 18
"""Clips of each kind of sound that the frames of a headline are drawn from."""

HEADLINE_INTERVAL = 0.02
"""Half of the 95 % confidence interval of a headline's mean energy, as a part of it."""

CellLibrary = tuple[Library, dict[str, Any]]
"""Cells, and what a report says of them: name, node, corner, voltage, temperature, file hashes."""

TechnologySource = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Technology | CellLibrary


@dataclass(frozen=True)
class GateOptions:
    """How tier gates works.

    Parameters
    ----------
    simulation : FrameSimulation, optional
        With the library's delays or without, all frames or some. If not given, with delays: every frame of the sounds
        that are given, else as many as make the 95 % interval `HEADLINE_INTERVAL`.
    hot_liberty : sequence of path-like, optional
        Liberty files of the same cells, process corner and voltage at another temperature, for `Report.leakage_at`.
        Without them, files beside those of the library are taken if their names differ by the temperature only; then a
        rule, where the process has one.
    """

    simulation: FrameSimulation | None = None
    hot_liberty: Sequence[str | os.PathLike[str]] | None = None


def estimate_power(
    plan: Plan,
    technology: TechnologySource = DEFAULT_TECHNOLOGY,
    *,
    tier: str = "table",
    sounds: Sounds | None = None,
    point: OperatingPoint | None = None,
    place: ChipLayout | LaidOut | None = None,
    gates: GateOptions | None = None,
    progress: Progress = silent,
) -> Report:
    """Estimate the energy of an inference.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    technology : str, path-like, sequence of path-like, Technology, or what `open_library` returns
        Tiers table and rtl: the name of a shipped table, a table file that `characterise` made, or a `Technology`.
        Tier gates: the name of a PDK under the environment's ``PDK_ROOT``, Liberty files of one corner, or what
        `open_library` returns.
    tier : {"table", "rtl", "gates"}
        ``table``: exact counts of the plan times measured energies; needs nothing. ``rtl``: the same with the toggle
        rates of real frames. ``gates``: synthesis, real frames simulated gate by gate, every pin weighed.
    sounds : dict of str to ndarray of int64, shape (clips, T, inputs), optional
        Frames by kind, from `find_sounds`. Tier table takes none. If not given, tier rtl takes a clip of each kind, and
        tier gates draws frames from `HEADLINE_CLIPS` of each.
    point : OperatingPoint, optional
        Clock and frame rate; the slowest clock at which no frame waits if not given.
    place : ChipLayout or LaidOut, optional
        Tier gates: take wires from a placement, or from the user's layout of the netlist, instead of a rule of thumb.
        What `lay_out` returned for the same accelerator, library and clock saves doing it twice.
    gates : GateOptions, optional
        Tier gates: how to simulate, and where leakage at other temperatures comes from.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    Report
        Joules per frame by kind of sound and block, dynamic and leakage apart, area, clock. ``missing`` names what is
        in no figure. ``leakage_at`` gives the leakage at 25, 55 and 85 °C.

    Raises
    ------
    PowerRefused
        If a guard refuses the figure: an impossible activity, a trace with another clock, uncovered pins, edges slower
        than the library allows, a memory that became flip-flops, or a library that makes no sense.
    InputError
        If the inputs don't belong to the tier.
    ToolError
        If a tool is missing, too old, or fails; tier gates only.
    """
    if tier not in TIERS:
        raise InputError(f"tier must be {', '.join(TIERS[:-1])} or {TIERS[-1]}, not {tier!r}")
    gates = GateOptions() if gates is None else gates
    if tier != "gates" and gates.hot_liberty is not None:
        raise InputError("hot_liberty belongs to tier gates: a table has leakage at one temperature")
    if tier != "gates" and place is not None:
        raise InputError("place belongs to tier gates: the other tiers have no netlist")
    point = operating_point(plan) if point is None else point
    if tier == "gates":
        library, described = _library(technology)
        simulation = gates.simulation
        if sounds is None:
            sounds = find_sounds(plan.model, clips=HEADLINE_CLIPS)
            simulation = simulation or FrameSimulation(interval=HEADLINE_INTERVAL)
        mapped = map_plan(plan, library, point, progress)
        hot = None if gates.hot_liberty is None else [Path(path) for path in gates.hot_liberty]
        if place is not None:
            mapped = replace(mapped, laid_out=_laid_out(mapped, place, described["name"], progress))
        return measure(mapped, sounds, point, described, progress, hot, simulation)
    known = _technology(technology)
    if tier == "table" and sounds is not None:
        raise InputError("tier table knows no frames: sounds belong to the tiers rtl and gates")
    if plan.model.gate is not None:
        return estimate_gated(plan, known, point, tier, sounds)
    if tier == "table":
        rates = known.energies(plan.config).typical(plan)
    else:
        sounds = find_sounds(plan.model) if sounds is None else sounds
        rates = {kind: find_rates(plan, frames) for kind, frames in sounds.items()}
    return table.report(plan, known, point, tier, rates)


def lay_out(
    plan: Plan,
    technology: TechnologySource = DEFAULT_TECHNOLOGY,
    layout: ChipLayout | None = None,
    *,
    point: OperatingPoint | None = None,
    progress: Progress = silent,
) -> LaidOut:
    """Map an accelerator to gates and place it, or read the user's layout of it.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    technology : str, path-like, sequence of path-like, or what `open_library` returns
        See `estimate_power`, tier gates.
    layout : ChipLayout, optional
        How, or which files; a placement with the defaults of `PlaceOptions` if not given.
    point : OperatingPoint, optional
        Clock and frame rate, which decide what memories are made of; the slowest clock that keeps real time if not
        given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    LaidOut
        Netlist, places, wires. `estimate_power` takes it, and `write_layout` writes it.

    Raises
    ------
    InputError
        If a file cannot be used, with its name and line.
    ToolError
        If a tool is missing, too old, or fails; coloquinte among them.
    """
    point = operating_point(plan) if point is None else point
    library, described = _library(technology)
    mapped = map_plan(plan, library, point, progress)
    return _laid_out(mapped, ChipLayout() if layout is None else layout, described["name"], progress)


def _laid_out(mapped: Mapped, layout: ChipLayout | LaidOut, process: str, progress: Progress) -> LaidOut:
    if isinstance(layout, LaidOut):
        return layout
    return find_wires(mapped.netlist, mapped.library, layout, process, progress)


def operating_point(plan: Plan, *, clock: float | None = None, frame_rate_hz: float | None = None) -> OperatingPoint:
    """How fast an accelerator runs.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    clock : float, optional
        In hertz; the slowest at which no frame waits if not given.
    frame_rate_hz : float, optional
        Frames per second; that of the model's front end, else 50, if not given.

    Returns
    -------
    OperatingPoint
        Clock, frame rate, busy cycles of a frame.

    Raises
    ------
    ValueError
        If the clock is too slow for the frame rate.
    """
    rate = frame_rate(plan.model.front_end) if frame_rate_hz is None else frame_rate_hz
    hertz = rate * plan.paced_cycles if clock is None else clock
    return OperatingPoint(hertz, rate, plan.cycles_per_frame, plan.longest_frame)


def open_library(
    pdk: str | None = None,
    *,
    liberty: Sequence[str | os.PathLike[str]] | None = None,
    corner: str | None = None,
    macros: str = "kit",
) -> CellLibrary:
    """Open the cells of a process, for tier gates and `characterise`.

    Parameters
    ----------
    pdk : str, optional
        Folder under the environment's ``PDK_ROOT``: ``ihp-sg13g2``, ``sky130A``, ``nangate45``, ``asap7``. Without it
        and without `liberty`, Debian's OSU cells for 0.18 µm.
    liberty : sequence of path-like, optional
        Liberty files of one corner, instead of a PDK.
    corner : str, optional
        Part of the names of the PDK's Liberty files, such as a voltage.
    macros : {"kit", "model"}
        SRAM macros: only those of the kit, or a model of some for a process that has none. No foundry confirms the
        model. With ``kit``, memories of a process without macros become flip-flops.

    Returns
    -------
    library : Library
        Cells, and SRAM macros.
    described : dict
        Name, node, corner, voltage, temperature, file hashes; ``remarks`` has what the user must know, such as memory
        macros that cannot be used, and why.

    Raises
    ------
    InputError
        If both a PDK and Liberty files are given, or a corner with Liberty files, or `macros` is neither.
    PdkError
        If the PDK is missing, with the line that gets it.
    LibertyError
        If a file is damaged.
    """
    if macros not in MACROS:
        raise InputError(f"macros must be {' or '.join(MACROS)}, not {macros!r}")
    node: float | None = None
    if liberty is None:
        process = find_pdk(pdk or DEBIAN_CELLS, os.environ.get("PDK_ROOT"), corner)
        files, name, corner = (*process.cells, *process.macros), process.name, process.corner
        node = None if math.isnan(process.node) else process.node
    elif pdk is not None or corner is not None:
        raise InputError("Liberty files name the library themselves: leave the PDK and the corner out")
    else:
        files = tuple(Path(path) for path in liberty)
        name, corner = files[0].name, ""
    library = read_liberty(files)
    if macros == "model":
        library = add_sram_model(library)
    unusable = (f"memory macro {cell} is not used: {reason}" for cell, reason in why_unusable(library).items())
    hashes = {path.name: f"sha256:{digest}" for path, digest in zip(library.files, library.hashes, strict=True)}
    described = {
        "name": name,
        "node_nm": node,
        "corner": corner,
        "voltage_V": library.voltage,
        "temperature_C": library.temperature,
        "files": hashes,
        "macros_are_a_model": any(is_model(name) for name in library.cells),
        "remarks": [*library.remarks, *unusable],
    }
    return library, described


def find_floors(plan: Plan, report: Report, sounds: Mapping[str, Any] | None = None) -> dict[str, Floor]:
    """Energy that no accelerator of this network can go below, by kind of sound.

    Parameters
    ----------
    plan : Plan
        Of the accelerator.
    report : Report
        From `estimate_power`.
    sounds : mapping of str to ndarray of int64, shape (clips, T, inputs), optional
        The frames of the report; without them no element counts as zero.

    Returns
    -------
    dict of str to Floor
        Empty for a process or corner that the floor was not measured for, and for a network with a level gate: a frame
        that is asleep has no floor.
    """
    if plan.model.gate is not None:
        return {}
    technology = report.technology
    name = technology["name"]
    costs = load_floor_costs(name, technology["voltage_V"], technology["temperature_C"])
    if costs is None or name not in shipped():
        return {}
    memories, rate = load_technology(name).memories, report.point.frame_rate
    if sounds is None:
        return dict.fromkeys(report.rows, find_floor(find_demand(plan), costs, memories, rate))
    floors = {}
    for kind in report.rows:
        vectors = Golden(plan.model).run(sounds[kind]) | {"x": sounds[kind]}
        nonzero = {name: np.mean(values != 0, axis=(0, 1)) for name, values in vectors.items()}
        floors[kind] = find_floor(find_demand(plan, nonzero), costs, memories, rate)
    return floors


def _technology(source: TechnologySource) -> Technology:
    if isinstance(source, Technology):
        return source
    if isinstance(source, (str, os.PathLike)):
        return load_technology(str(source))
    raise InputError("tiers table and rtl take the name of a table, a table file or a Technology; Liberty needs gates")


def _library(source: TechnologySource) -> CellLibrary:
    if isinstance(source, tuple) and isinstance(source[0], Library):
        return cast(CellLibrary, source)
    if isinstance(source, Technology):
        raise InputError("tier gates takes a PDK or Liberty files; a table belongs to the tiers table and rtl")
    if isinstance(source, (str, os.PathLike)):
        return open_library(liberty=[source]) if Path(source).is_file() else open_library(str(source))
    return open_library(liberty=cast(Sequence[str], source))
