"""ASIC flow: an accelerator mapped to the cells of a process, with the files that other tools need next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.cells.special import find_clock_gate
from lmu_hw.cells.sram_model import is_model
from lmu_hw.cells.timing import TOOL, find_timing
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.clock_gates import with_clock_gates
from lmu_hw.flows.librelane import PDKS, librelane_config
from lmu_hw.flows.macro_rtl import macro_model, macros_of, memory_tilings, with_macros
from lmu_hw.flows.mapping import Recipe, logic_files, mapping_commands, mapping_files
from lmu_hw.flows.sdc import sdc
from lmu_hw.flows.synth import RELAXED, Synthesis, synthesize
from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent

__all__ = ["AsicBuild", "AsicError", "build_asic", "map_accelerator", "yosys_script"]

LOGIC_SHARE = 0.6
"""Part of a short period that is given to ABC as the delay of logic: modules are mapped apart, and paths cross them."""

VERILOG, MODELS, SDC = f"{TOP}.v", "macro_models.v", f"{TOP}.sdc"


class AsicError(RuntimeError):
    """A netlist misses its clock.

    Parameters
    ----------
    message : str
        The reason.
    build : AsicBuild
        The netlist.
    """

    def __init__(self, message: str, build: "AsicBuild"):
        super().__init__(message)
        self.build = build


@dataclass(frozen=True, eq=False)
class AsicBuild:
    """A mapped accelerator.

    Parameters
    ----------
    synthesis : Synthesis
        The netlist.
    clock_hz : float
        The constraint.
    fmax_hz : float
        Highest clock by the library's delays, without wires.
    flip_flops, macros : int
        Instances.
    files : dict of str to str
        Texts that go with the netlist, by name.
    """

    synthesis: Synthesis
    clock_hz: float
    fmax_hz: float
    flip_flops: int
    macros: int
    files: dict[str, str]

    @property
    def macros_are_a_model(self) -> bool:
        """Whether a memory is made of `lmu_hw.cells.sram_model`, which no foundry confirms."""
        return any(is_model(name) for memory in self.synthesis.memories for name in memory.macros)

    @property
    def slack_s(self) -> float:
        """Time left in the clock's period in seconds, below zero if the clock is missed."""
        return 1 / self.clock_hz - 1 / self.fmax_hz

    def report(self) -> dict[str, Any]:
        """Key figures as JSON values."""
        return {
            "netlist": self.synthesis.key,
            "area_um2": self.synthesis.area,
            "cells": sum(self.synthesis.cells.values()),
            "flip_flops": self.flip_flops,
            "macros": self.macros,
            "memories": [
                {"name": memory.name, "words": memory.depth, "bits": memory.width, "built_of": memory.describe()}
                for memory in self.synthesis.memories
            ],
            "clock_hz": self.clock_hz,
            "fmax_hz": self.fmax_hz,
            "slack_s": self.slack_s,
            "timing": TOOL,
            "tools": {"yosys": self.synthesis.tool},
        }


def yosys_script(top: str, library: Library, sources: Sequence[str], delay: float = RELAXED) -> str:
    """Script that maps the accelerator with a plain Yosys: ``yosys -s synth.ys``.

    Parameters
    ----------
    top : str
        Name of the top module.
    library : Library
        Cells and macros; its files are named where they were read.
    sources : sequence of str
        Verilog files beside the script.
    delay : float
        Target delay between registers in seconds.

    Returns
    -------
    str
        Commands. The netlist does the same as that of `lmu_hw.flows.synth.synthesize`, but need not be equal to it.
    """
    names = {path: f"cells{index}.lib" for index, path in enumerate(library.files)}
    unpacked = [f"#   {'gunzip -c' if path.suffix == '.gz' else 'cat'} {path} > {name}" for path, name in names.items()]
    lines = [
        f"# {top} mapped to the cells of {library.name}. Before: the Liberty files beside this script, unpacked,",
        *unpacked,
        "# then: yosys -s synth.ys",
        *(f"read_liberty -lib -overwrite -ignore_miss_func {name}" for name in names.values()),
        *(f"read_verilog {source}" for source in sources),
        f"hierarchy -check -top {top}",
        f"synth -top {top} -run begin:fine",
        "opt_expr -mux_undef",
        "opt_clean",
        "setattr -unset init w:*",
        *mapping_commands(Recipe(library, True, delay), [names[path] for path in logic_files(library)]),
        "flatten",
        "opt_clean -purge",
        "check -mapped -assert",
        "tee -o cells.txt stat " + " ".join(f"-liberty {name}" for name in names.values()),
        "write_json netlist.json",
        "write_verilog -noattr netlist.v",
    ]
    return "\n".join(lines) + "\n"


def _target_delay(clock_hz: float) -> float:
    """Target delay of logic in seconds at a clock."""
    return min(RELAXED, LOGIC_SHARE / clock_hz)


def map_accelerator(
    plan: Plan, library: Library, clock_hz: float, usage: Mapping[str, MemoryUsage], progress: Progress = silent
) -> Synthesis:
    """Map an accelerator to a library: the one netlist that is built, weighed and placed.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    library : Library
        Cells, and macros if there are any.
    clock_hz : float
        The constraint.
    usage : mapping of str to MemoryUsage
        Use of the memories by name, from `lmu_hw.power.memory_use.usages`. It decides what they are made of.
    progress : callable
        Called with (stage, done, total).

    Raises
    ------
    SynthesisError
        If the library lacks a cell.
    ToolError
        If Yosys is missing or fails.
    """
    by_module = {module: used for name, used in usage.items() for module in (name, f"memory_{name}")}
    delay = _target_delay(clock_hz)
    return synthesize(to_verilog(plan), TOP, library, delay=delay, usage=by_module, progress=progress)


def _files(
    plan: Plan, library: Library, clock_hz: float, usage: Mapping[str, MemoryUsage], pdk: str
) -> dict[str, str]:
    delay = _target_delay(clock_hz)
    tilings = memory_tilings(plan, library, usage)
    macros = macros_of(tilings)
    unit = library.time_unit
    files = {
        VERILOG: with_macros(with_clock_gates(to_verilog(plan), find_clock_gate(library)), tilings),
        SDC: sdc(1 / clock_hz / unit, f"{clock_hz / 1e6:g} MHz in {'ns' if unit == 1e-9 else 'ps'}"),
        "synth.ys": yosys_script(TOP, library, [VERILOG], delay),
        **mapping_files(Recipe(library, True, delay)),
    }
    if macros:
        files[MODELS] = "".join(macro_model(macro) for macro in macros.values())
    if pdk in PDKS:
        files["config.json"] = librelane_config(TOP, VERILOG, SDC, clock_hz, macros)
    return files


def build_asic(
    plan: Plan,
    library: Library,
    clock_hz: float,
    usage: Mapping[str, MemoryUsage],
    pdk: str = "",
    progress: Progress = silent,
) -> AsicBuild:
    """Map an accelerator to a library, with the files that other tools need.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    library : Library
        Cells, and macros if the process has any.
    clock_hz : float
        The constraint.
    usage : mapping of str to MemoryUsage
        As for `map_accelerator`.
    pdk : str
        Name of the process; those of `lmu_hw.flows.librelane.PDKS` get a configuration of LibreLane.
    progress : callable
        Called with (stage, done, total).

    Returns
    -------
    AsicBuild
        A netlist that meets its clock.

    Raises
    ------
    AsicError
        If it misses the clock.
    SynthesisError
        If the library lacks a cell.
    ToolError
        If Yosys is missing or fails.
    """
    synthesis = map_accelerator(plan, library, clock_hz, usage, progress)
    netlist = read_netlist(synthesis.json, TOP, library)
    timing = find_timing(netlist)
    kinds = [library.cells[name] for name, count in synthesis.cells.items() for _ in range(count)]
    build = AsicBuild(
        synthesis=synthesis,
        clock_hz=clock_hz,
        fmax_hz=timing.clock,
        flip_flops=sum(any(sequential.kind == "ff" for sequential in cell.sequentials) for cell in kinds),
        macros=sum(cell.memory is not None for cell in kinds),
        files=_files(plan, library, clock_hz, usage, pdk),
    )
    if build.slack_s < 0:
        raise AsicError(
            f"too slow in {library.name}: {timing.clock / 1e6:.2f} MHz of {clock_hz / 1e6:g} MHz, "
            f"{-1e9 * build.slack_s:.2f} ns are missing",
            build,
        )
    return build
