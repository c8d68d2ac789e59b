"""Measure what the operations of an accelerator cost in a technology, for the tiers `table` and `rtl` of `power`.

Small accelerators with the weights and the frames of a shipped network are mapped to the library and simulated gate by
gate; their energy, leakage and area by row are fitted to counts of their plans (non-negative least squares). Further
accelerators check the table, and their largest error is the error band that every figure of the table is printed with.

The library is that of --pdk (found under the environment's PDK_ROOT), the files of --liberty, or else Debian's cells
for 0.18 um. Results of every accelerator are cached, so that an interrupted run goes on where it was.

A table holds a set of energies for accelerators without levers and one for those with all that go together. --levers
measures one of them; the other is then taken from FILE, if it is there.
"""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.library import Library
from lmu_hw.cells.special import find_nand
from lmu_hw.files import cache_folder, write_whole
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.power.designs import LEAN, PLAIN, Design, DesignSet, cut
from lmu_hw.power.feature_names import Feature, FeatureCounts
from lmu_hw.power.features import cycle_counts
from lmu_hw.power.fit import fit_counts
from lmu_hw.power.rates import Rates, TypicalRates, find_rates
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import Built, build, counted_frame, counted_size, energy, estimate
from lmu_hw.power.technology import Check, Energies, MemoryCosts, Technology, load_technology, save_technology
from lmu_hw.version import VERSION
from lmu_kit.cli.console import CommandError, console, stages, table
from lmu_kit.cli.libraries import find_library
from lmu_kit.cli.options import library_arguments
from lmu_kit.inputs import writable
from lmu_kit.power import Mapped, Progress, map_plan, rows_at, run_mapped
from lmu_kit.sounds import find_sounds
from lmu_quantize import zoo

SUMMARY = "measure the energies of a technology for `power --tier table`"
EXAMPLE = "lmu-hw characterise --pdk ihp-sg13g2 --out ihp-sg13g2.json"

IntArray = NDArray[np.int64]

SETS = {one.name: one for one in (PLAIN, LEAN)}

NETWORK = "kws361"
FRAME_RATE = 50.0
ROM = (Feature.CHANGED_WORD_BITS, Feature.MOVES_BY_LOGIC, Feature.MOVES_BY_WORDS, Feature.ROW_BITS)
"""Counts of constant weight memories."""

LENGTH = 13
"""Frames of a clip; the first ones of a stride period are not counted."""

RESTING = 1000
"""Cycles by which a second operating point is slower, to see what a cycle between frames costs."""

RECIPE = 4
"""Raised when the measurement of a design changes, so that older results are not taken from the cache."""


@dataclass(frozen=True)
class Measured:
    """A design from gates, by row.

    Parameters
    ----------
    frame : dict of str to float
        Joule from the first cycle of a frame to its last.
    cycle : dict of str to float
        Joule of a cycle between frames.
    leakage : dict of str to float
        Watt.
    area : dict of str to float
        Square micrometre.
    """

    frame: dict[str, float]
    cycle: dict[str, float]
    leakage: dict[str, float]
    area: dict[str, float]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    group = library_arguments(command)
    group.add_argument("--name", metavar="TEXT", help="of the technology (default: of the PDK or the first file)")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="table to write (JSON)")
    command.add_argument(
        "--whole", action="store_true", help=f"check with the whole network {NETWORK} too, which takes minutes"
    )
    command.add_argument(
        "--levers", choices=tuple(SETS), help="measure one set of levers only, and keep the other one of FILE"
    )


def config_of(design: Design, levers: tuple[str, ...]) -> AcceleratorConfig:
    """Configuration of a design of a set with the given levers."""
    on = (*levers, "skip_zero_elements") if design.skips else levers
    chosen = {name: getattr(design, name) for name in ("lanes", "weights", "bank_words", "state_bank_words")}
    return AcceleratorConfig.from_dict(chosen | dict.fromkeys(on, True))


def _design(
    design: Design, levers: tuple[str, ...], model: QuantizedModel, frames: IntArray
) -> tuple[Plan, IntArray]:
    """Plan of a design, and its frames."""
    if design.cut is not None:
        model = cut(model, design.cut)
        frames = frames[:, :, : design.cut.inputs]
    return make_plan(model, config_of(design, levers)), frames


def _point(plan: Plan, resting: float = 0.0) -> OperatingPoint:
    return OperatingPoint(FRAME_RATE * (plan.paced_cycles + resting), FRAME_RATE, plan.cycles_per_frame)


def _measured(mapped: Mapped, frames: IntArray, told: Progress) -> Measured:
    """Figures of a design, from the cache if it was measured before."""
    key = hashlib.sha256(f"{RECIPE} {mapped.synthesis.key} ".encode() + frames.tobytes()).hexdigest()[:32]
    place = cache_folder() / "characterise" / f"{key}.json"
    if place.is_file():
        return Measured(**json.loads(place.read_text()))
    done = run_mapped(mapped, {"speech": frames}, told)
    busy, slow = (rows_at(mapped, done, "speech", _point(mapped.plan, rest)) for rest in (0.0, RESTING))
    found = Measured(
        frame={name: row.frame for name, row in busy.items()},
        cycle={name: (slow[name].frame - row.frame) / RESTING for name, row in busy.items()},
        leakage={name: row.leakage for name, row in busy.items()},
        area={name: row.area for name, row in busy.items()},
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, json.dumps(asdict(found)).encode())
    return found


@dataclass(frozen=True)
class _Result:
    """A design with what was measured and counted of it."""

    design: Design
    plan: Plan
    rates: Rates
    built: Built
    measured: Measured
    synthesis: str


def _results(
    chosen: DesignSet, whole: bool, library: Library, memories: MemoryCosts, frames: IntArray, told: Progress
) -> list[_Result]:
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    designs = (*chosen.designs, *(chosen.whole if whole else ()))
    found = []
    for number, design in enumerate(designs, 1):
        plan, given = _design(design, chosen.levers, model, frames)
        title = f"{chosen.name}, design {number} of {len(designs)}"

        def tell(stage: str, done: int, total: int, title: str = title) -> None:
            told(f"{title}, {stage}", done, total)

        clock = _point(plan).clock
        mapped = map_plan(plan, library, clock, tell)
        built, tool = build(plan, memories, clock), mapped.synthesis.tool
        found.append(_Result(design, plan, find_rates(plan, given), built, _measured(mapped, given, tell), tool))
    return found


def _fitted(
    results: list[_Result], plain: Energies | None
) -> tuple[FeatureCounts, FeatureCounts, FeatureCounts, FeatureCounts]:
    """Energies of frames and cycles, leakage, area; constant memories are the same logic as in a plain accelerator."""
    used = [one for one in results if one.design.fitted]
    same = {} if plain is None else {"weight memory": {name: plain.frame["weight memory"][name] for name in ROM}}
    frame = fit_counts(
        [counted_frame(one.plan, one.rates, one.built) for one in used],
        [one.measured.frame for one in used],
        same,
    )
    cycle = fit_counts(
        [cycle_counts(one.plan, one.built.built_of) for one in used], [one.measured.cycle for one in used]
    )
    sizes = {
        what: fit_counts(
            [counted_size(one.plan, one.built, what) for one in used], [getattr(one.measured, what) for one in used]
        )
        for what in ("leakage", "area")
    }
    return frame, cycle, sizes["leakage"], sizes["area"]


def _check(result: _Result, technology: Technology) -> Check:
    typical = technology.energies(result.plan.config).typical(result.plan)["speech"]
    gates = energy(result.measured.frame, result.measured.leakage, FRAME_RATE)
    by_table, by_rtl = (
        estimate(result.plan, technology, _point(result.plan), rates).energy(FRAME_RATE)
        for rates in (typical, result.rates)
    )
    return Check(result.design.name, result.design.fitted, gates, by_table, by_rtl)


def _typical(*, skips: bool, lanes: int = 16) -> dict[str, TypicalRates]:
    """Rates of the whole network on every kind of sound."""
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    plan = make_plan(model, AcceleratorConfig(lanes=lanes, skip_zero_elements=skips))
    sounds = find_sounds(model)
    return {kind: TypicalRates.of(plan, find_rates(plan, frames)) for kind, frames in sounds.items()}


def _energies(chosen: DesignSet, results: list[_Result], plain: Energies | None) -> Energies:
    """Energies of designs with the same levers, not yet checked."""
    frame, cycle, leakage, area = _fitted(results, plain)
    skips = any(one.design.skips for one in results)
    return Energies(
        levers=chosen.levers,
        frame=frame,
        cycle=cycle,
        leakage=leakage,
        area=area,
        rates=_typical(skips=False),
        skipping=_typical(skips=True) if skips else {},
        checks=(),
    )


def _kept(args: argparse.Namespace, files: dict[str, str]) -> tuple[Energies, ...]:
    """Sets of the table that is there, but the one to be measured."""
    if args.levers is None or not args.out.exists():
        return ()
    there = load_technology(args.out)
    if there.provenance.get("files") != files:
        raise CommandError(f"{args.out}: was made from other Liberty files; without --levers both sets are measured")
    others = [one.levers for name, one in SETS.items() if name != args.levers]
    return tuple(one for one in there.sets if one.levers in others)


def _characterise(args: argparse.Namespace, told: Progress) -> Technology:
    library, described = find_library(args.pdk, args.liberty, args.corner)
    memories = MemoryCosts.of(library, described["macros_are_a_model"])
    sets = _kept(args, described["files"])
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    frames = find_sounds(model)["speech"][:, :LENGTH]
    results = {
        one.levers: _results(one, args.whole, library, memories, frames, told)
        for one in SETS.values()
        if args.levers in (None, one.name)
    }
    measured: list[Energies] = []
    for one in (PLAIN, LEAN):
        if one.levers in results:
            plain = next((known for known in (*sets, *measured) if not known.levers), None)
            measured.append(_energies(one, results[one.levers], plain))
    technology = Technology(
        name=args.name or described["name"],
        node=described["node_nm"],
        voltage=library.voltage,
        temperature=library.temperature,
        sets=tuple(sorted((*sets, *measured), key=lambda one: len(one.levers))),
        memories=memories,
        gate_area=find_nand(library).area,
        provenance={
            "corner": described["corner"],
            "files": described["files"],
            "synthesis": next(iter(results.values()))[0].synthesis,
            "lmu_hw": VERSION,
        },
    )
    checked = [
        replace(one, checks=tuple(_check(result, technology) for result in results[one.levers]))
        if one.levers in results
        else one
        for one in technology.sets
    ]
    return replace(technology, sets=tuple(checked))


def print_checks(energies: Energies) -> None:
    """Print the tiers against gates: errors of the whole energy, and of the dynamic part."""
    shown = table(
        "design", "nJ per frame", "dynamic", "table", "dynamic", "rtl", "dynamic", title=f"levers: {energies.name}"
    )
    for check in energies.checks:
        errors = (f"{100 * error:+.1f} %" for tier in ("table", "rtl") for error in check.errors(tier))
        whole, dynamic = check.gates.dynamic + check.gates.leakage, check.gates.dynamic
        name = check.design + (" (fitted)" if check.fitted else "")
        shown.add_row(name, f"{whole * 1e9:.4g}", f"{dynamic * 1e9:.4g}", *errors)
    console.print(shown)
    bands = (f"{tier} ± {100 * energies.band(tier):.1f} %" for tier in ("table", "rtl"))
    console.print(f"error band, the largest error of designs that were not fitted: {', '.join(bands)}")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, fit, check, write."""
    writable(args.out)
    with stages() as told:
        technology = _characterise(args, told)
    for energies in technology.sets:
        print_checks(energies)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_technology(technology, args.out)
    return technology.to_dict()
