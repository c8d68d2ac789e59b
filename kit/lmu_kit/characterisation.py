"""Measure what the operations of an accelerator cost in a technology, for the tiers table and rtl.

Small accelerators with the weights and the frames of a shipped network are mapped to the library and simulated gate by
gate, with delays, so that glitches count. Their energy, leakage and area by row are fitted to counts of their plans
(non-negative least squares). Further accelerators check the table; their largest error is the error band that every
figure of the table carries.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.special import find_nand
from lmu_hw.files import cache_folder, write_whole
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import Plan, make_plan
from lmu_hw.power.designs import FRUGAL, PLAIN, Design, DesignSet, cut
from lmu_hw.power.feature_names import Feature, FeatureCounts
from lmu_hw.power.features import cycle_counts
from lmu_hw.power.fit import fit_counts
from lmu_hw.power.rates import Rates, TypicalRates, find_rates
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import Built, build, counted_frame, counted_size, energy, estimate
from lmu_hw.power.technology import Check, Energies, MemoryCosts, Technology
from lmu_hw.progress import Progress, silent
from lmu_hw.version import VERSION
from lmu_kit.errors import InputError
from lmu_kit.estimate import CellLibrary
from lmu_kit.layout import SIDES, LaidOut, wire_rule
from lmu_kit.models import open_model
from lmu_kit.power import Mapped, map_plan, rows_at, run_mapped
from lmu_kit.sounds import find_sounds

__all__ = ["LEVER_SETS", "NETWORK", "characterise", "config_of", "with_network_wires"]

IntArray = NDArray[np.int64]

LEVER_SETS = {chosen.name: chosen for chosen in (PLAIN, FRUGAL)}
"""Sets of energies in a table: accelerators without levers, and with all levers that go together."""

NETWORK = "kws361"
"""The network whose weights and frames are measured."""

FRAME_RATE = 50.0
ROM = (Feature.CHANGED_WORD_BITS, Feature.MOVES_BY_LOGIC, Feature.MOVES_BY_WORDS, Feature.ROW_BITS)
"""Counts of constant weight memories."""

LENGTH = 13
"""Frames of a clip; the first ones of a stride period are not counted."""

RESTING = 1000
"""Cycles by which a second operating point is slower, to see what a cycle between frames costs."""

NETWORK_CELLS = 40_000
"""Cells of a network for whose wires the small designs are measured: between those of `kws49` and `kws361`."""

RECIPE = 6
"""Raised when the measurement of a design changes, so that older results are not taken from the cache."""


@dataclass(frozen=True)
class _Measurement:
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


def characterise(
    library: CellLibrary,
    *,
    name: str | None = None,
    levers: Sequence[str] = ("plain", "frugal"),
    whole: bool = False,
    earlier: Technology | None = None,
    progress: Progress = silent,
) -> Technology:
    """Make the energy table of a technology; takes minutes to hours, and resumes from its cache.

    Parameters
    ----------
    library : tuple of Library and dict
        From `open_library`.
    name : str, optional
        Of the technology; that of the PDK or the first Liberty file if not given.
    levers : sequence of str
        Sets to measure, of `LEVER_SETS`.
    whole : bool
        Check with the whole network `NETWORK` too, which takes minutes more.
    earlier : Technology, optional
        A table of the same Liberty files; its sets that are not measured again are kept.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    Technology
        Energies, leakage and area by row, with checks and error band; `save_technology` writes it.

    Raises
    ------
    InputError
        If a set is unknown, or `earlier` was made from other files.
    PowerRefused
        If a guard refuses a measurement.
    """
    unknown = [text for text in levers if text not in LEVER_SETS]
    if unknown or not levers:
        raise InputError(f"levers must be among {', '.join(LEVER_SETS)}, not {', '.join(unknown) or 'nothing'}")
    cells, described = library
    memories = MemoryCosts.of(cells, described["macros_are_a_model"])
    kept = _kept(earlier, levers, described["files"])
    model = open_model(NETWORK)
    frames = find_sounds(model)["speech"][:, :LENGTH]
    results = {
        chosen.levers: _results(chosen, whole, cells, memories, frames, progress)
        for chosen in LEVER_SETS.values()
        if chosen.name in levers
    }
    measured: list[Energies] = []
    for chosen in LEVER_SETS.values():
        if chosen.levers in results:
            plain = next((known for known in (*kept, *measured) if not known.levers), None)
            measured.append(_energies(chosen, results[chosen.levers], plain))
    technology = Technology(
        name=name or described["name"],
        node=described["node_nm"],
        voltage=cells.voltage,
        temperature=cells.temperature,
        sets=tuple(sorted((*kept, *measured), key=lambda energies: len(energies.levers))),
        memories=memories,
        gate_area=find_nand(cells).area,
        provenance={
            "corner": described["corner"],
            "files": described["files"],
            "synthesis": next(iter(results.values()))[0].synthesis,
            "lmu_hw": VERSION,
        },
    )
    checked = [
        replace(energies, checks=tuple(_check(result, technology) for result in results[energies.levers]))
        if energies.levers in results
        else energies
        for energies in technology.sets
    ]
    return replace(technology, sets=tuple(checked))


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
    clock = FRAME_RATE * (plan.paced_cycles + resting)
    return OperatingPoint(clock, FRAME_RATE, plan.cycles_per_frame, plan.longest_frame)


def _measured(mapped: Mapped, frames: IntArray, progress: Progress) -> _Measurement:
    """Figures of a design, from the cache if it was measured before."""
    key = hashlib.sha256(f"{RECIPE} {mapped.synthesis.key} ".encode() + frames.tobytes()).hexdigest()[:32]
    cached = cache_folder() / "characterise" / f"{key}.json"
    if cached.is_file():
        return _Measurement(**json.loads(cached.read_text()))
    run = run_mapped(mapped, {"speech": frames}, progress)
    busy, slow = (rows_at(mapped, run, "speech", _point(mapped.plan, rest)) for rest in (0.0, RESTING))
    measurement = _Measurement(
        frame={name: row.frame for name, row in busy.items()},
        cycle={name: (slow[name].frame - row.frame) / RESTING for name, row in busy.items()},
        leakage={name: row.leakage for name, row in busy.items()},
        area={name: row.area for name, row in busy.items()},
    )
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cached, json.dumps(asdict(measurement)).encode())
    return measurement


@dataclass(frozen=True)
class _Result:
    """A design with what was measured and counted of it."""

    design: Design
    plan: Plan
    rates: Rates
    built: Built
    measured: _Measurement
    synthesis: str


def _results(
    chosen: DesignSet, whole: bool, library: Library, memories: MemoryCosts, frames: IntArray, progress: Progress
) -> list[_Result]:
    model = open_model(NETWORK)
    designs = (*chosen.designs, *(chosen.whole if whole else ()))
    results = []
    for number, design in enumerate(designs, 1):
        plan, clips = _design(design, chosen.levers, model, frames)
        title = f"{chosen.name}, design {number} of {len(designs)}"

        def tell(stage: str, done: int, total: int, title: str = title) -> None:
            progress(f"{title}, {stage}", done, total)

        point = _point(plan)
        mapped = map_plan(plan, library, point, tell)
        if design not in chosen.whole:
            mapped = replace(mapped, laid_out=with_network_wires(mapped.netlist))
        built, tool = build(plan, memories, point), mapped.synthesis.tool
        measured = _measured(mapped, clips, tell)
        results.append(_Result(design, plan, find_rates(plan, clips), built, measured, tool))
    return results


def with_network_wires(netlist: Netlist) -> LaidOut:
    """Give a small design wires as long as in a network of `NETWORK_CELLS` cells, since tables are for networks.

    Parameters
    ----------
    netlist : Netlist
        Of the small design.

    Returns
    -------
    LaidOut
        The netlist with these wires.
    """
    return LaidOut(netlist, wire_rule(netlist, sides=SIDES * NETWORK_CELLS ** (1 / 3)))


def _fitted(
    results: list[_Result], plain: Energies | None
) -> tuple[FeatureCounts, FeatureCounts, FeatureCounts, FeatureCounts]:
    """Energies of frames and cycles, leakage, area; constant memories are the same logic as in a plain accelerator."""
    used = [result for result in results if result.design.fitted]
    same = {} if plain is None else {"weight memory": {name: plain.frame["weight memory"][name] for name in ROM}}
    frame = fit_counts(
        [counted_frame(result.plan, result.rates, result.built) for result in used],
        [result.measured.frame for result in used],
        same,
    )
    cycle = fit_counts(
        [cycle_counts(result.plan, result.built.built_of) for result in used],
        [result.measured.cycle for result in used],
    )
    sizes = {
        quantity: fit_counts(
            [counted_size(result.plan, result.built, quantity) for result in used],
            [getattr(result.measured, quantity) for result in used],
        )
        for quantity in ("leakage", "area")
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
    model = open_model(NETWORK)
    plan = make_plan(model, AcceleratorConfig(lanes=lanes, skip_zero_elements=skips))
    sounds = find_sounds(model)
    return {kind: TypicalRates.of(plan, find_rates(plan, frames)) for kind, frames in sounds.items()}


def _energies(chosen: DesignSet, results: list[_Result], plain: Energies | None) -> Energies:
    """Energies of designs with the same levers, not yet checked."""
    frame, cycle, leakage, area = _fitted(results, plain)
    skips = any(result.design.skips for result in results)
    return Energies(
        levers=chosen.levers,
        frame=frame,
        cycle=cycle,
        leakage=leakage,
        area=area,
        rates=_typical(skips=False),
        skipping=_typical(skips=True) if skips else {},
        checks=(),
        glitches=True,
    )


def _kept(earlier: Technology | None, levers: Sequence[str], files: dict[str, str]) -> tuple[Energies, ...]:
    """Sets of an earlier table that are not measured again."""
    if earlier is None:
        return ()
    others = [chosen.levers for name, chosen in LEVER_SETS.items() if name not in levers]
    kept = tuple(energies for energies in earlier.sets if energies.levers in others)
    if kept and earlier.provenance.get("files") != files:
        raise InputError(f"{earlier.name}: this table was made from other Liberty files; measure all sets anew")
    if not all(energies.glitches for energies in kept):
        raise InputError(f"{earlier.name}: this table has no glitches in it; measure all sets anew")
    return kept
