"""Measure what the operations of an accelerator cost in a technology, for the tiers `table` and `rtl` of `power`.

Small accelerators with the weights and the frames of a shipped network are mapped to the library and simulated gate by
gate; their energy, leakage and area by row are fitted to counts of their plans (non-negative least squares). Further
accelerators check the table, and their largest error is the error band that every figure of the table is printed with.

The library is that of --pdk (found under the environment's PDK_ROOT), the files of --liberty, or else Debian's cells
for 0.18 um. Results of every accelerator are cached, so that an interrupted run goes on where it was.
"""

import argparse
import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw import program_file
from lmu_hw.cli.console import console, stages, table
from lmu_hw.cli.inputs import writable
from lmu_hw.cli.libraries import find_library, library_arguments
from lmu_hw.cli.measure import Mapped, Progress, map_plan, rows_at, run_mapped
from lmu_hw.cli.sounds import find_sounds
from lmu_hw.config import AcceleratorConfig, WeightStore
from lmu_hw.flows.liberty import Library, cache_folder
from lmu_hw.flows.special import find_nand
from lmu_hw.plan import Plan, make_plan
from lmu_hw.power.designs import CHECKED, FITTED, WHOLE, Design, cut
from lmu_hw.power.features import Counts, cycle_counts
from lmu_hw.power.fit import fit_counts
from lmu_hw.power.rates import Rates, TypicalRates, find_rates
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import Built, build, counted_frame, counted_size, energy, estimate
from lmu_hw.power.technology import Check, MemoryCosts, Technology, save_technology
from lmu_hw.program import QuantizedModel
from lmu_hw.tensor_file import write_whole
from lmu_quantize import zoo

SUMMARY = "measure the energies of a technology for `power --tier table`"
EXAMPLE = "lmu-hw characterise --pdk ihp-sg13g2 --out ihp-sg13g2.json"

IntArray = NDArray[np.int64]

NETWORK = "kws361"
FRAME_RATE = 50.0
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


def _design(design: Design, model: QuantizedModel, frames: IntArray) -> tuple[Plan, IntArray]:
    """Plan of a design, and its frames."""
    if design.cut is not None:
        model = cut(model, design.cut)
        frames = frames[:, :, : design.cut.inputs]
    return make_plan(model, AcceleratorConfig(lanes=design.lanes, weights=WeightStore(design.weights))), frames


def _point(plan: Plan, resting: float = 0.0) -> OperatingPoint:
    return OperatingPoint(FRAME_RATE * (plan.cycles_per_frame + resting), FRAME_RATE, plan.cycles_per_frame)


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
    designs: tuple[Design, ...], library: Library, memories: MemoryCosts, frames: IntArray, told: Progress
) -> list[_Result]:
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    found = []
    for number, design in enumerate(designs, 1):
        plan, given = _design(design, model, frames)
        title = f"design {number} of {len(designs)}"

        def tell(stage: str, done: int, total: int, title: str = title) -> None:
            told(f"{title}, {stage}", done, total)

        clock = _point(plan).clock
        mapped = map_plan(plan, library, clock, tell)
        built, tool = build(plan, memories, clock), mapped.synthesis.tool
        found.append(_Result(design, plan, find_rates(plan, given), built, _measured(mapped, given, tell), tool))
    return found


def _fitted(results: list[_Result]) -> tuple[Counts, Counts, Counts, Counts]:
    """Energies of frames and cycles, leakage, area."""
    used = [one for one in results if one.design.fitted]
    frame = fit_counts(
        [counted_frame(one.plan, one.rates, one.built) for one in used], [one.measured.frame for one in used]
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
    typical = technology.rates["speech"].rates(result.plan)
    gates = energy(result.measured.frame, result.measured.leakage, FRAME_RATE)
    by_table, by_rtl = (
        estimate(result.plan, technology, _point(result.plan), rates).energy(FRAME_RATE)
        for rates in (typical, result.rates)
    )
    return Check(result.design.name, result.design.fitted, gates, by_table, by_rtl)


def _typical(lanes: int = 16) -> dict[str, TypicalRates]:
    """Rates of the whole network on every kind of sound."""
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    plan = make_plan(model, AcceleratorConfig(lanes=lanes))
    sounds = find_sounds(model, None, None, 1)
    return {kind: TypicalRates.of(plan, find_rates(plan, frames)) for kind, frames in sounds.items()}


def _characterise(args: argparse.Namespace, told: Progress) -> Technology:
    library, described = find_library(args)
    memories = MemoryCosts.of(library, described["macros_are_a_model"])
    model = program_file.load(zoo.path(NETWORK, "quantized.safetensors"))
    frames = find_sounds(model, None, None, 1)["speech"][:, :LENGTH]
    designs = (*FITTED, *CHECKED, *(WHOLE if args.whole else ()))
    results = _results(designs, library, memories, frames, told)
    frame, cycle, leakage, area = _fitted(results)
    nand = find_nand(library)
    technology = Technology(
        name=args.name or described["name"],
        node=described["node_nm"],
        voltage=library.voltage,
        temperature=library.temperature,
        frame=frame,
        cycle=cycle,
        leakage=leakage,
        area=area,
        memories=memories,
        gate_area=nand.area,
        rates=_typical(),
        checks=(),
        provenance={
            "corner": described["corner"],
            "files": described["files"],
            "synthesis": results[0].synthesis,
            "lmu_hw": importlib.metadata.version("lmu-hw"),
        },
    )
    return replace(technology, checks=tuple(_check(one, technology) for one in results))


def print_checks(technology: Technology) -> None:
    """Print the tiers against gates: errors of the whole energy, and of the dynamic part."""
    shown = table("design", "nJ per frame", "dynamic", "table", "dynamic", "rtl", "dynamic")
    for check in technology.checks:
        errors = (f"{100 * error:+.1f} %" for tier in ("table", "rtl") for error in check.errors(tier))
        whole, dynamic = check.gates.dynamic + check.gates.leakage, check.gates.dynamic
        name = check.design + (" (fitted)" if check.fitted else "")
        shown.add_row(name, f"{whole * 1e9:.4g}", f"{dynamic * 1e9:.4g}", *errors)
    console.print(shown)
    bands = (f"{tier} ± {100 * technology.band(tier):.1f} %" for tier in ("table", "rtl"))
    console.print(f"error band, the largest error of designs that were not fitted: {', '.join(bands)}")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, fit, check, write."""
    writable(args.out)
    with stages() as told:
        technology = _characterise(args, told)
    print_checks(technology)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_technology(technology, args.out)
    return technology.to_dict()
