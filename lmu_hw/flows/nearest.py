"""Find the nearest configuration that fits an FPGA, when one does not."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lmu_hw.boards.board import BOARDS
from lmu_hw.flows.devices import Device
from lmu_hw.flows.fpga import DeviceUsage, FpgaError, board_design, build_fpga, large_memories, overfull, pack_fpga
from lmu_hw.plan.config import AcceleratorConfig, WeightStore
from lmu_hw.plan.plan import Plan, make_plan

__all__ = ["Nearest", "find_nearest", "memory_blocks", "neighbours"]

LANES = (1, 2, 4, 8, 16, 32, 64)

TRIES = 3
"""Configurations that are synthesised before the search is given up; each takes a minute or more."""

SMALL_BITS = 1024
"""Memories up to this size are not counted: Yosys may build them of logic."""


@dataclass(frozen=True)
class Nearest:
    """A configuration that fits.

    Parameters
    ----------
    config : AcceleratorConfig
        The configuration.
    usage : tuple of DeviceUsage
        Resources that it takes.
    fmax_hz : float or None
        Clock that it reaches with the first seed; None if it was packed only, not placed and routed.
    """

    config: AcceleratorConfig
    usage: tuple[DeviceUsage, ...]
    fmax_hz: float | None

    def __str__(self) -> str:
        options = f"--lanes {self.config.lanes} --weights {self.config.weights.value}"
        if self.fmax_hz is None:
            return f"{options} (an estimate: synthesised and packed, not routed)"
        return f"{options} (routed with one seed: {self.fmax_hz / 1e6:.2f} MHz)"


def memory_blocks(plan: Plan, device: Device) -> int:
    """Blocks of BRAM that the memories of a plan take, by their shapes alone.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    device : Device
        The FPGA.
    """
    large = large_memories(device, plan.weight_memories) if plan.config.weights is WeightStore.RAM else ()
    return sum(
        device.block_ram.blocks(memory.depth, memory.width)
        for memory in plan.memories
        if memory.name not in large and memory.bits > SMALL_BITS
    )


def neighbours(plan: Plan, device: Device) -> Iterator[Plan]:
    """List other configurations of the same model, the most similar first: other lanes, then other weight memories.

    Left out are those that are too slow for real time at the clock of the device's board, and those whose memories do
    not fit.
    """
    config = plan.config
    others = [
        replace(config, lanes=lanes, weights=weights)
        for lanes in LANES
        for weights in WeightStore
        if (lanes, weights) != (config.lanes, config.weights)
    ]

    def distance(other: AcceleratorConfig) -> tuple[bool, float, int]:
        return other.weights is not config.weights, abs(math.log2(other.lanes / config.lanes)), other.lanes

    for other in sorted(others, key=distance):
        candidate = make_plan(plan.model, other)
        fast = candidate.report()["slowest_clock_hz_at_50_frames_per_s"] <= BOARDS[device.board].clock_hz
        if fast and memory_blocks(candidate, device) <= device.available("BRAM"):
            yield candidate


def find_nearest(plan: Plan, device: Device, directory: Path, *, timing: bool = False) -> Nearest | None:
    """Find the nearest configuration that fits a device.

    Parameters
    ----------
    plan : Plan
        The accelerator that does not fit.
    device : Device
        The FPGA.
    directory : Path
        A folder for the tools; not under ``/tmp``.
    timing : bool
        Whether the clock must be met too: candidates are then placed and routed, with one seed.

    Returns
    -------
    Nearest or None
        None if none of the nearest few fits.

    Raises
    ------
    ToolError
        If a tool is missing or fails.
    """
    for number, candidate in enumerate(neighbours(plan, device)):
        if number == TRIES:
            break
        folder = directory / f"try{number}"
        folder.mkdir()
        design = board_design(candidate, device)
        if timing:
            try:
                build = build_fpga(design, folder, seeds=(1,))
            except FpgaError:
                continue
            return Nearest(candidate.config, build.usage, build.fmax_hz)
        usage = pack_fpga(design, folder)
        if not overfull(usage):
            return Nearest(candidate.config, usage, None)
    return None
