"""The tier gates: map a plan to a cell library, simulate real frames, and report energy by row."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions, NetWires
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import Netlist, read_netlist
from lmu_hw.cells.special import find_nand
from lmu_hw.cells.sram import has_macros
from lmu_hw.cells.sram_model import is_model
from lmu_hw.cells.timing import find_timing
from lmu_hw.cells.transitions import longest_edge
from lmu_hw.export.names import TOP
from lmu_hw.flows.asic import map_accelerator
from lmu_hw.flows.synth import Synthesis
from lmu_hw.plan.plan import Plan
from lmu_hw.power.activity import Activity
from lmu_hw.power.clock_tree import ClockTree, ClockTreeRule, find_clock_tree, has_clock_tree
from lmu_hw.power.engine import find_power
from lmu_hw.power.evidence import Evidence
from lmu_hw.power.heat import find_heat
from lmu_hw.power.memory_use import usages
from lmu_hw.power.report import CLOCK_TREE, ESTIMATED, Area, OperatingPoint, Report, Row, Sleep, Sums
from lmu_hw.power.result import Power
from lmu_hw.power.rows import power_rows
from lmu_hw.progress import Progress
from lmu_kit.layout import LaidOut, rule_sides, sides_per_reader, wire_rule
from lmu_sim.energy import FrameRun, Sampling, run_frames, sample_frames

__all__ = ["FrameSimulation", "Mapped", "conditions_of", "map_plan", "measure", "rows_at", "run_mapped"]

IntArray = NDArray[np.int64]

CLOCK_EDGE = 0.25
"""Part of the longest transition time that the library allows, which a clock tree is built for."""


@dataclass(frozen=True)
class FrameSimulation:
    """How tier gates simulates frames.

    Parameters
    ----------
    delays : bool
        With the library's delays, so that glitches count. Without, nets only change from one settled value to another,
        and a run takes less time.
    interval : float or None
        Frames are drawn at random until half of the 95 % confidence interval of the mean dynamic energy is this part of
        the mean. Every frame is simulated if None.
    seed : int
        Of the random numbers.
    """

    delays: bool = True
    interval: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Mapped:
    """An accelerator in a cell library.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    library : Library
        Its cells and macros.
    synthesis : Synthesis
        Files, memories, key.
    laid_out : LaidOut or None
        Netlist and wires of a layout; None before place and route.
    """

    plan: Plan
    library: Library
    synthesis: Synthesis
    laid_out: LaidOut | None = None

    @functools.cached_property
    def netlist(self) -> Netlist:
        """The cells, read when first used: those of the layout if there is one."""
        if self.laid_out is not None:
            return self.laid_out.netlist
        return read_netlist(self.synthesis.json, TOP, self.library)

    @functools.cached_property
    def conditions(self) -> Conditions:
        """Conditions of the netlist: wires of the layout, or those that a rule gives before place and route."""
        return conditions_of(self.netlist, wires=None if self.laid_out is None else self.laid_out.wires)


def map_plan(plan: Plan, library: Library, point: OperatingPoint, progress: Progress) -> Mapped:
    """Synthesise the accelerator of a plan, or take it from the cache. It is the netlist that `synthesize_asic` writes.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    library : Library
        Cells, and macros if there are any.
    point : OperatingPoint
        Clock and frame rate. With the accesses of every memory, they decide what memories are made of.
    progress : callable
        Called with (stage, done, total).
    """
    synthesis = map_accelerator(plan, library, point.clock, usages(plan, point), progress)
    return Mapped(plan, library, synthesis)


def run_mapped(
    mapped: Mapped,
    sounds: Mapping[str, IntArray],
    progress: Progress,
    simulation: FrameSimulation | None = None,
    *,
    held_open: bool = False,
) -> FrameRun:
    """Run frames of every kind of sound through the netlist, and compare every output with the golden model."""
    chosen = simulation or FrameSimulation()
    netlist, plan, conditions = mapped.netlist, mapped.plan, mapped.conditions
    if chosen.interval is None:
        delays = conditions if chosen.delays else None
        return run_frames(netlist, plan, sounds, delays=delays, held_open=held_open, progress=progress)
    sampling = Sampling(conditions, chosen.interval, chosen.seed)
    return sample_frames(
        netlist, plan, sounds, sampling, delays=chosen.delays, held_open=held_open, progress=progress
    )


def rows_at(mapped: Mapped, run: FrameRun, kind: str, point: OperatingPoint) -> dict[str, Row]:
    """Energy by row for one kind of sound.

    Parameters
    ----------
    mapped : Mapped
        From `map_plan`.
    run : FrameRun
        From `run_mapped`.
    kind : str
        Kind of sound, a key of ``run.kinds``.
    point : OperatingPoint
        Clock and frame rate.

    Returns
    -------
    dict of str to Row
        By name: energy per frame in joule, leakage in watt. The row of the clock tree is an estimate.

    Raises
    ------
    PowerRefused
        If a guard refuses.
    """
    return _weigh(mapped, run, kind, point).rows


@dataclass(frozen=True, eq=False)
class _Weighed:
    """Energies of one kind of sound, and the activity that they are of."""

    rows: dict[str, Row]
    power: Power
    activity: Activity
    tree: ClockTree
    whole_swings: float | None
    """Dynamic energy of a frame in joule without the clock tree, if partial swings were whole; None without delays."""


def _weigh(mapped: Mapped, run: FrameRun, kind: str, point: OperatingPoint) -> _Weighed:
    cycles, period = point.clock / point.frame_rate, 1 / point.clock
    conditions, memories = mapped.conditions, mapped.synthesis.memories
    activity = run.activity(kind, cycles, period)
    accepted = [memory.name for memory in memories if memory.chosen or _may_be_registers(mapped, memory.name)]

    def weighed(counted: Activity) -> Power:
        return find_power(
            mapped.netlist, counted, conditions, period=period, memories=memories, accepted=accepted
        )

    power = weighed(activity)
    whole = None if activity.changes is None else weighed(activity.whole_swings()).total().dynamic * cycles
    settled = None if activity.settled is None else power_rows(weighed(activity.settled))
    rows = {}
    for name, block in power_rows(power).items():
        glitches = None if settled is None else (block.dynamic - settled[name].dynamic) * cycles
        rows[name] = Row(name, block.dynamic * cycles, block.leakage, block.area, glitches=glitches)
    tree = find_clock_tree(mapped.netlist, mapped.library, activity, conditions.clock)
    if not has_clock_tree(mapped.netlist, conditions.clock):
        none = None if settled is None else 0.0
        rows[CLOCK_TREE] = Row(CLOCK_TREE, tree.energy * cycles, tree.leakage, tree.area, ESTIMATED, none)
    return _Weighed(rows, power, activity, tree, whole)


def _may_be_registers(mapped: Mapped, name: str) -> bool:
    """Whether a memory is a bank of registers from `AcceleratorConfig.state_bank_words`, or no macro is to be had."""
    banks = tuple(f"memory_{memory.name}.banks.bank" for memory in mapped.plan.data_memories)
    return name.startswith(banks) or not has_macros(mapped.library)


def _without_macros(mapped: Mapped) -> list[str]:
    """Describe the writable memories that are flip-flops because the library has no macros."""
    if has_macros(mapped.library):
        return []
    memories = (memory for memory in mapped.synthesis.memories if memory.writable)
    return [f"{memory.name} ({memory.depth} x {memory.width} bits)" for memory in memories]


def conditions_of(netlist: Netlist, clock: str = "clk", wires: NetWires | None = None) -> Conditions:
    """Assume conditions of a netlist: no edge slower than the cells allow.

    Parameters
    ----------
    netlist : Netlist
        Netlist of any design.
    clock : str
        Its clock port, whose edges are `CLOCK_EDGE` of the slowest.
    wires : NetWires, optional
        Wires of a layout; those of `lmu_kit.layout.wire_rule` if not given.
    """
    slowest = longest_edge(netlist)
    wires = wire_rule(netlist, clock) if wires is None else wires
    return Conditions(wires=wires, clock=clock, clock_slew=CLOCK_EDGE * slowest, longest_slew=slowest)


def _clock_tree_source(mapped: Mapped) -> str:
    if has_clock_tree(mapped.netlist, mapped.conditions.clock):
        return "in the netlist"
    return ClockTreeRule().describe()


def _placed_details(mapped: Mapped, activity: Activity) -> dict[str, Any]:
    """What a placement says of the rule of thumb, all nets alike and weighted by toggles, and LEF of the wires."""
    laid_out = mapped.laid_out
    if laid_out is None or laid_out.lengths is None or laid_out.lef is None:
        return {}
    return {
        "sides_of_the_mean_cell_per_reader": {
            "rule": rule_sides(laid_out.netlist),
            "placed": sides_per_reader(laid_out),
            "placed_by_toggles": sides_per_reader(laid_out, activity.toggles),
        },
        "wire_to_substrate_fF_per_um": {layer.name: layer.wire_capacitance * 1e15 for layer in laid_out.lef.layers},
    }


def _area(mapped: Mapped) -> Area:
    """Area of the cells; NAND2 equivalents are those of the library's smallest two-input NAND."""
    cells = [instance.cell for instance in mapped.netlist.instances]
    macros = [cell for cell in cells if cell.memory is not None]
    total, large = sum(cell.area for cell in cells), sum(cell.area for cell in macros)
    gates = (total - large) / find_nand(mapped.library).area
    return Area(total, large, gates, any(is_model(cell.name) for cell in macros))


def _drawn(run: FrameRun, sounds: Mapping[str, IntArray], simulation: FrameSimulation) -> dict[str, Any] | None:
    """How the frames were drawn; None if all were simulated."""
    if simulation.interval is None:
        return None
    samples = {kind: counts.sample for kind, counts in run.kinds.items() if counts.sample is not None}
    return {
        "seed": simulation.seed,
        "clips": {kind: len(sounds[kind]) for kind in samples},
        "interval": {kind: sample.interval for kind, sample in samples.items()},
    }


def _find_sleep(
    mapped: Mapped,
    sounds: Mapping[str, IntArray],
    point: OperatingPoint,
    progress: Progress,
    simulation: FrameSimulation,
) -> Sleep | None:
    """Frames asleep, and the same netlist with its gate held open; None for a network without a gate."""
    gate = mapped.plan.model.gate
    if gate is None:
        return None
    asleep = {kind: 1 - float(np.mean([gate.awake(clip) for clip in clips])) for kind, clips in sounds.items()}
    run = run_mapped(mapped, sounds, progress, simulation, held_open=True)
    energies = {}
    for kind in sounds:
        rows = _weigh(mapped, run, kind, point).rows.values()
        glitches = [row.glitches for row in rows if row.glitches is not None]
        energies[kind] = Sums(
            sum(row.frame for row in rows),
            sum(row.leakage for row in rows) / point.frame_rate,
            point.frame_rate,
            sum(glitches) if glitches else None,
        )
    return Sleep(asleep, energies)


def measure(
    mapped: Mapped,
    sounds: Mapping[str, IntArray],
    point: OperatingPoint,
    technology: dict[str, Any],
    progress: Progress,
    hot: Sequence[Path] | None = None,
    simulation: FrameSimulation | None = None,
) -> Report:
    """Simulate every kind of sound and report its energy.

    Parameters
    ----------
    mapped : Mapped
        From `map_plan`.
    sounds : mapping of str to ndarray of int64, shape (clips, T, inputs)
        Frames by kind.
    point : OperatingPoint
        Clock and frame rate.
    technology : dict
        For the report.
    progress : callable
        Called with (stage, done, total).
    hot : sequence of Path, optional
        Liberty files of the same cells at another temperature, see `lmu_hw.power.heat.find_temperatures`.
    simulation : FrameSimulation, optional
        Every frame with delays if not given.

    Returns
    -------
    Report
        Report of the tier ``gates``.

    Raises
    ------
    PowerRefused
        If a guard refuses.
    """
    simulation = simulation or FrameSimulation()
    run = run_mapped(mapped, sounds, progress, simulation)
    weighed = {}
    for number, kind in enumerate(sounds):
        progress("energy", number, len(sounds))
        weighed[kind] = _weigh(mapped, run, kind, point)
    evidence = Evidence(
        netlist=mapped.netlist,
        library=mapped.library,
        conditions=mapped.conditions,
        activities={kind: sound.activity for kind, sound in weighed.items()},
        trees={kind: sound.tree for kind, sound in weighed.items()},
    )
    return Report(
        tier="gates",
        technology=technology,
        point=point,
        rows={kind: tuple(sound.rows.values()) for kind, sound in weighed.items()},
        area=_area(mapped),
        achievable_clock=find_timing(mapped.netlist, mapped.conditions).clock,
        missing=() if simulation.delays else ("glitches",),
        heat=find_heat(mapped.netlist, mapped.library, evidence.activities, evidence.trees, hot),
        sleep=_find_sleep(mapped, sounds, point, progress, simulation),
        evidence=evidence,
        details={
            "wires": mapped.conditions.wires.describe(),
            **_placed_details(mapped, next(iter(weighed.values())).activity),
            "clock_tree": _clock_tree_source(mapped),
            "nets_slower_than_allowed": max(sound.power.slow_part for sound in weighed.values()),
            "cells": len(mapped.netlist.instances),
            "netlist": mapped.synthesis.key,
            "flip_flops_for_want_of_macros": _without_macros(mapped),
            "settled_after_ns": max(sound.activity.settled_after for sound in weighed.values()) * 1e9 or None,
            "frames": {kind: counts.frames for kind, counts in run.kinds.items()},
            "frames_drawn": _drawn(run, sounds, simulation),
            "dynamic_nJ_per_frame_with_whole_swings": {
                kind: sound.whole_swings * 1e9 for kind, sound in weighed.items() if sound.whole_swings is not None
            },
            "values_compared_with_golden": sum(counts.compared for counts in run.kinds.values()),
        },
    )
