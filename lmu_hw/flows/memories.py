"""Replace the memories of a design by macros, logic or flip-flops."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import Cost, MemoryUsage
from lmu_hw.cells.sram import has_macros
from lmu_hw.flows.elaborate import DesignMemory, Module, Modules, elaborate, find_memories, ports_only
from lmu_hw.flows.rows import LEAST_BITS, row_modules
from lmu_hw.flows.tiling import Tiling, choose
from lmu_hw.flows.wrapper import memory_verilog

__all__ = ["Choice", "choose_memories", "replace_memories"]

FLIP_FLOPS, MACROS, LOGIC = "flip-flops", "macros", "logic"


@dataclass(frozen=True)
class Choice:
    """Choice for a memory.

    Parameters
    ----------
    memory : DesignMemory
        The memory.
    built_of : {"flip-flops", "macros", "logic"}
        Kind of cells that it is made of.
    chosen : bool
        Whether that is the one that costs least, not the only one left.
    tiling : Tiling or None
        Its macros.
    cost : Cost or None
        Macros: after their Liberty. Flip-flops: an estimate, where there was a choice. Logic: None.
    """

    memory: DesignMemory
    built_of: str
    chosen: bool
    tiling: Tiling | None
    cost: Cost | None


def _usage(usage: MemoryUsage | Mapping[str, MemoryUsage], module: str) -> MemoryUsage:
    if isinstance(usage, MemoryUsage):
        return usage
    return usage.get(module.rpartition(".")[2], MemoryUsage())


def choose_memories(
    modules: Modules, library: Library, usage: MemoryUsage | Mapping[str, MemoryUsage]
) -> dict[str, Choice]:
    """Choose macros, logic or flip-flops for every memory of a design.

    Parameters
    ----------
    modules : dict of str to Module
        From `lmu_hw.flows.elaborate.elaborate`.
    library : Library
        Cells and macros.
    usage : MemoryUsage or mapping of str to MemoryUsage
        Usage of all memories, or by the last part of the name of the module that holds each; the default for others.

    Returns
    -------
    dict of str to Choice
        Choices by module and cell, joined by a slash.
    """
    choices = {}
    for memory in find_memories(modules):
        if not memory.writable:
            choice = Choice(memory, LOGIC, True, None, None)
        elif not memory.single_port or not has_macros(library):
            choice = Choice(memory, FLIP_FLOPS, False, None, None)
        else:
            tiling, cost = choose(library, memory.depth, memory.width, _usage(usage, memory.module))
            choice = Choice(memory, FLIP_FLOPS if tiling is None else MACROS, True, tiling, cost)
        choices[f"{memory.module}/{memory.cell}"] = choice
    return choices


def _instance(cell: Module, kind: str, *, writable: bool) -> Module:
    """Instance of a module that replaces a ``$mem_v2`` cell."""
    wires = cell["connections"]
    connections = {
        "clk": wires["RD_CLK"],
        "read": wires["RD_EN"],
        "address": wires["RD_ADDR"],
        "r_data": wires["RD_DATA"],
    }
    if writable:
        connections |= {"write": wires["WR_EN"][:1], "w_data": wires["WR_DATA"]}
    directions = {name: "output" if name == "r_data" else "input" for name in connections}
    return {
        "hide_name": 0,
        "type": kind,
        "parameters": {},
        "attributes": {},
        "port_directions": directions,
        "connections": connections,
    }


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def replace_memories(modules: Modules, choices: Mapping[str, Choice], library_ports: Modules) -> Modules:
    """Replace memories by macros, and by logic that reads by rows.

    Parameters
    ----------
    modules : dict of str to Module
        The design.
    choices : mapping of str to Choice
        From `choose_memories`.
    library_ports : dict of str to Module
        Ports of the macros.

    Returns
    -------
    dict of str to Module
        The design with the new modules that it uses; equal tilings share one.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """
    changed = dict(modules)
    parts: Modules = {}
    texts: dict[str, str] = {}
    for choice in choices.values():
        memory = choice.memory
        module = changed[memory.module]
        cell = module["cells"][memory.cell]
        if choice.tiling is not None:
            name = f"sram_{memory.depth}x{memory.width}_{_short_hash(repr(choice.tiling))}"
            texts[name] = memory_verilog(name, choice.tiling)
        elif not memory.writable and memory.single_port and memory.depth * memory.width >= LEAST_BITS:
            name = f"rom_{memory.depth}x{memory.width}_{_short_hash(cell['parameters']['INIT'])}"
            texts[name], row_parts = row_modules(name, cell)
            parts |= row_parts
        else:
            continue
        cells = {**module["cells"], memory.cell: _instance(cell, name, writable=memory.writable)}
        changed[memory.module] = {**module, "cells": cells}
    if texts:
        known = {**library_ports, **{name: ports_only(part) for name, part in parts.items()}}
        changed |= elaborate("\n".join(texts.values()), None, known)
    return {**changed, **parts}
