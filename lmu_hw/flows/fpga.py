"""FPGA flow: from Verilog to a routed design and a bitstream with Yosys, nextpnr and the packer of the family."""

import fnmatch
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lmu_hw.boards.board import BOARDS
from lmu_hw.boards.constraints import SUFFIXES, constraints
from lmu_hw.boards.top import board_verilog
from lmu_hw.flows.devices import Device
from lmu_hw.flows.nextpnr import Placement, place_and_route
from lmu_hw.flows.readmem import split_memories
from lmu_hw.flows.yosys import run_yosys
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan
from lmu_hw.tools import find_flow_tool, find_yosys, run_tool

__all__ = [
    "SEEDS",
    "DeviceUsage",
    "FpgaBuild",
    "FpgaDesign",
    "FpgaError",
    "board_design",
    "build_fpga",
    "large_memories",
    "overfull",
    "pack_fpga",
    "synthesize_fpga",
]

SEEDS = (1, 2, 3)
"""Of nextpnr's placer, tried in this order until the clock is met."""


@dataclass(frozen=True, eq=False)
class FpgaDesign:
    """Design to build.

    Parameters
    ----------
    device : Device
        The FPGA.
    verilog : str
        Text of all modules.
    top : str
        Name of the top module.
    constraints : str
        Text of the constraints file: a pin for each port.
    clock_hz : float
        Clock frequency in hertz.
    large : tuple of str
        Memories that go to large blocks, from `large_memories`.
    dsp : bool
        Whether multipliers become DSP blocks.
    """

    device: Device
    verilog: str
    top: str
    constraints: str
    clock_hz: float
    large: tuple[str, ...] = ()
    dsp: bool = True


@dataclass(frozen=True)
class DeviceUsage:
    """Blocks of a kind that a design takes.

    Parameters
    ----------
    name : str
        Name of the resource, as in `lmu_hw.flows.devices.Resource`.
    used, available : int
        Blocks.
    """

    name: str
    used: int
    available: int


@dataclass(frozen=True)
class FpgaBuild:
    """A design on an FPGA: routed, if it has a clock.

    Parameters
    ----------
    device : Device
        The FPGA.
    clock_hz : float
        The constraint.
    usage : tuple of DeviceUsage
        Every kind of block.
    fmax_hz : float or None
        Highest clock of the routed design in hertz.
    seed : int or None
        Seed of nextpnr.
    seconds : dict of str to float
        Run time of each step.
    tools : dict of str to str
        Versions.
    files : tuple of str
        Names of the results in the folder.
    """

    device: Device
    clock_hz: float
    usage: tuple[DeviceUsage, ...]
    fmax_hz: float | None = None
    seed: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def slack_s(self) -> float | None:
        """Time left in the clock's period in seconds, below zero if the clock is missed."""
        return None if self.fmax_hz is None else 1 / self.clock_hz - 1 / self.fmax_hz

    def report(self) -> dict[str, Any]:
        """Key figures as JSON values."""
        return {
            "device": self.device.name,
            "board": self.device.board,
            "utilisation": {
                resource.name: {"used": resource.used, "available": resource.available} for resource in self.usage
            },
            "clock_hz": self.clock_hz,
            "fmax_hz": self.fmax_hz,
            "slack_s": self.slack_s,
            "untimed": self.device.untimed,
            "seed": self.seed,
            "seconds": self.seconds,
            "tools": self.tools,
        }


class FpgaError(RuntimeError):
    """A design does not fit a device, or misses its clock.

    Parameters
    ----------
    message : str
        The reason.
    build : FpgaBuild
        The build, as far as it is known.
    """

    def __init__(self, message: str, build: FpgaBuild):
        super().__init__(message)
        self.build = build


def large_memories(device: Device, memories: Sequence[MemoryPlan]) -> tuple[str, ...]:
    """Memories that go to the large blocks of a device, which have no initial contents.

    Parameters
    ----------
    device : Device
        The FPGA.
    memories : sequence of MemoryPlan
        Those that the load port fills.

    Returns
    -------
    tuple of str
        Names, largest memory first, while blocks are left; a memory that few ordinary blocks hold stays in those.
    """
    if device.large_ram is None:
        return ()
    left = device.available("SPRAM")
    chosen = []
    for memory in sorted(memories, key=lambda memory: -memory.bits):
        large = device.large_ram.blocks(memory.depth, memory.width)
        if large <= left and device.block_ram.blocks(memory.depth, memory.width) > 2 * large:
            chosen.append(memory.name)
            left -= large
    return tuple(chosen)


def board_design(plan: Plan, device: Device) -> FpgaDesign:
    """The top of the device's board around an accelerator; lanes are DSP blocks if there are enough for all.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    device : Device
        The FPGA.
    """
    verilog, top = board_verilog(plan, device.board)
    loaded = plan.weight_memories if plan.config.weights is WeightStore.RAM else ()
    return FpgaDesign(
        device=device,
        verilog=verilog,
        top=top,
        constraints=constraints(device.board),
        clock_hz=BOARDS[device.board].clock_hz,
        large=large_memories(device, loaded),
        dsp=plan.lanes <= device.available("DSP"),
    )


def _script(design: FpgaDesign) -> str:
    """Yosys commands.

    Memories that are written have no defined contents before; Verilog has zeros, which would keep large blocks out.
    """
    device = design.device
    run = f"{device.synthesis}{device.with_dsp if design.dsp else device.without_dsp} -top {design.top} -run"
    return "\n".join(
        [
            "read_verilog design.v",
            f"{run} begin:map_ram",
            "setparam -set INIT 1'bx t:$mem_v2 r:WR_PORTS>0 %i",
            *(f'setattr -set ram_style "huge" t:$mem_v2 c:*memory_{name}.* %i' for name in design.large),
            f"{run} map_ram:{device.last_step}",
            "tee -q -o cells.json stat -json",
            "write_json netlist.json",
            "write_verilog -noattr netlist.v",
            "",
        ]
    )


def synthesize_fpga(design: FpgaDesign, directory: Path) -> tuple[DeviceUsage, ...]:
    """Map a design to the cells of its FPGA.

    Parameters
    ----------
    design : FpgaDesign
        Design to build.
    directory : Path
        Gets ``netlist.json`` and ``netlist.v``; not under ``/tmp``.

    Returns
    -------
    tuple of DeviceUsage
        Cells of the netlist; nextpnr may need more.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """
    text, files = split_memories(design.verilog)
    for name, words in {"design.v": text, **files}.items():
        (directory / name).write_text(words)
    run_yosys(_script(design), directory)
    cells = json.loads((directory / "cells.json").read_text())["design"]["num_cells_by_type"]
    usage = []
    for resource in design.device.resources:
        taken = [
            count * weight
            for pattern, weight in resource.cells.items()
            for cell, count in cells.items()
            if fnmatch.fnmatchcase(cell, pattern)
        ]
        usage.append(DeviceUsage(resource.name, sum(taken), resource.available))
    return tuple(usage)


def _placed(device: Device, cells: Sequence[DeviceUsage], placement: Placement) -> tuple[DeviceUsage, ...]:
    """Usage after packing: nextpnr's counts where it has them, those of the netlist elsewhere."""
    usage = []
    for resource, cell_usage in zip(device.resources, cells, strict=True):
        used = sum(placement.used.get(bel, 0) for bel in resource.bels) if resource.bels else cell_usage.used
        usage.append(DeviceUsage(cell_usage.name, used, cell_usage.available))
    return tuple(usage)


def overfull(usage: Sequence[DeviceUsage]) -> str:
    """Resources that are too few, in words; empty if all fits."""
    over = [resource for resource in usage if resource.used > resource.available]
    return ", ".join(f"{resource.used} of {resource.available} {resource.name}" for resource in over)


def pack_fpga(design: FpgaDesign, directory: Path) -> tuple[DeviceUsage, ...]:
    """Count the blocks that a design takes, without placing it.

    Parameters
    ----------
    design : FpgaDesign
        Design to build.
    directory : Path
        An empty folder for the tools; not under ``/tmp``.

    Returns
    -------
    tuple of DeviceUsage
        Usage after packing by nextpnr; that of the netlist if it has too many cells already.

    Raises
    ------
    ToolError
        If a tool is missing or fails.
    """
    cells = synthesize_fpga(design, directory)
    if overfull(cells):
        return cells
    (directory / "constraints").write_text(design.constraints)
    placement = place_and_route(design.device, directory, design.clock_hz, SEEDS[0], pack_only=True)
    return _placed(design.device, cells, placement)


def build_fpga(design: FpgaDesign, directory: Path, seeds: Sequence[int] = SEEDS) -> FpgaBuild:
    """Synthesise, place and route a design, and make its bitstream.

    Parameters
    ----------
    design : FpgaDesign
        Design to build.
    directory : Path
        An empty folder that gets everything; not under ``/tmp``.
    seeds : sequence of int
        Seeds of nextpnr. The next one is tried if the clock is missed.

    Returns
    -------
    FpgaBuild
        A design that meets its clock.

    Raises
    ------
    FpgaError
        If it does not fit, or misses the clock with every seed.
    ToolError
        If a tool is missing or fails.
    """
    device = design.device
    tools = {program: find_flow_tool(program).version for program in (device.tool, device.pack[0])}
    start = time.perf_counter()
    cells = synthesize_fpga(design, directory)
    seconds = {"synthesis": time.perf_counter() - start}
    build = FpgaBuild(device, design.clock_hz, cells, seconds=seconds, tools={"yosys": find_yosys().version, **tools})
    if short := overfull(cells):
        raise FpgaError(f"too large for the {device.title}: {short}", build)
    (directory / "constraints").write_text(design.constraints)
    start = time.perf_counter()
    build = _route(build, directory, seeds)
    seconds["place and route"] = time.perf_counter() - start
    start = time.perf_counter()
    run_tool(find_flow_tool(device.pack[0]), list(device.pack[1:]), directory)
    seconds["bitstream"] = time.perf_counter() - start
    named = f"constraints.{SUFFIXES[device.board]}"
    (directory / "constraints").rename(directory / named)
    return replace(build, files=(device.bitstream, device.routed[1], "netlist.v", "timing.json", named))


def _route(build: FpgaBuild, directory: Path, seeds: Sequence[int]) -> FpgaBuild:
    """Route with the first seed that meets the clock."""
    best = build
    for seed in seeds:
        placement = place_and_route(build.device, directory, build.clock_hz, seed)
        usage = _placed(build.device, build.usage, placement)
        attempt = replace(build, usage=usage, fmax_hz=placement.fmax_hz, seed=seed)
        if placement.fmax_hz is None:
            short = overfull(usage) or placement.problem
            raise FpgaError(f"too large for the {build.device.title}: {short}", attempt)
        if placement.fmax_hz >= build.clock_hz:
            return attempt
        if best.fmax_hz is None or placement.fmax_hz > best.fmax_hz:
            best = attempt
    reached, missing = (best.fmax_hz or 0.0) / 1e6, -1e9 * (best.slack_s or 0.0)
    raise FpgaError(
        f"too slow on the {build.device.title}: {reached:.2f} MHz of {build.clock_hz / 1e6:g} MHz with the best of "
        f"{len(seeds)} seeds, {missing:.1f} ns are missing",
        best,
    )
