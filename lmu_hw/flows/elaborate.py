"""Read Verilog into modules of operators, flip-flops and memories, before any cell of a library is chosen.

Modules are those of Yosys' JSON, with names and attributes that change from run to run taken out, so that a module that
is the same in two designs has the same text.
"""

import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.flows.readmem import split_memories
from lmu_hw.flows.yosys import run_yosys, scratch_folder

__all__ = ["DesignMemory", "Module", "Modules", "elaborate", "find_memories", "ports_only"]

Module = dict[str, Any]
Modules = dict[str, Module]

SCRIPT = """
read_json blackboxes.json
read_verilog design.v
hierarchy -check{top}
synth{top} -run begin:fine
opt_expr -mux_undef
opt_clean
setattr -unset init w:*
write_json modules.json
"""


@dataclass(frozen=True)
class DesignMemory:
    """A memory of a module, as Yosys found it.

    Parameters
    ----------
    module, cell : str
        Module that holds it, and its name there.
    depth, width : int
        Words, and bits of a word.
    writable : bool
        Whether it has a write port.
    single_port : bool
        Whether one read, taken at the rising edge of a clock, and at most one write, at the same clock and address,
        are all its ports.
    """

    module: str
    cell: str
    depth: int
    width: int
    writable: bool
    single_port: bool


def _is_blackbox(module: Module) -> bool:
    """Whether only the ports of a module are known."""
    return bool(int(str(module.get("attributes", {}).get("blackbox", "0")), 2))


def ports_only(module: Module) -> Module:
    """A module of which only the ports are known."""
    return {"attributes": {"blackbox": f"{1:032b}"}, "ports": module["ports"], "cells": {}, "netnames": {}}


def _tidy(module: Module) -> Module:
    """A module without what depends on the rest of the design: hidden names, places in the source."""
    number = itertools.count()
    cells = {}
    for name, cell in module["cells"].items():
        hidden = name.startswith("$")
        kind = re.sub(r"[^A-Za-z_].*", "", cell["type"].removeprefix("$"))
        cells[f"${kind}${next(number)}" if hidden else name] = {**cell, "attributes": {}}
    nets = {
        name: {**net, "attributes": {}} for name, net in module["netnames"].items() if not int(net.get("hide_name", 0))
    }
    return {"attributes": {}, "ports": module["ports"], "cells": cells, "netnames": nets}


def elaborate(verilog: str, top: str | None = None, blackboxes: Mapping[str, Module] | None = None) -> Modules:
    """Read a design.

    Parameters
    ----------
    verilog : str
        Text of all modules.
    top : str, optional
        Name of the top module; all modules are read if not given.
    blackboxes : mapping of str to Module, optional
        Modules that the design uses and of which only the ports are known.

    Returns
    -------
    dict of str to Module
        The top module and those that it uses, by name, without the black boxes.

    Raises
    ------
    ToolError
        If Yosys is missing, or does not understand the design.
    """
    text, files = split_memories(verilog)
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="run-") as name:
        folder = Path(name)
        for file, content in {**files, "design.v": text}.items():
            (folder / file).write_text(content)
        (folder / "blackboxes.json").write_text(json.dumps({"modules": blackboxes or {}}))
        run_yosys(SCRIPT.format(top="" if top is None else f" -top {top}"), folder)
        modules = json.loads((folder / "modules.json").read_text())["modules"]
    return {name: _tidy(module) for name, module in modules.items() if not _is_blackbox(module)}


def _constant(bits: list[int | str], value: str) -> bool:
    return all(bit == value for bit in bits)


def _single_port(cell: Module) -> bool:
    """Whether a ``$mem_v2`` cell has one port of the kind that block RAMs and SRAM macros have."""
    values, wires = cell["parameters"], cell["connections"]
    if int(values["RD_PORTS"], 2) != 1 or values["RD_CLK_ENABLE"] != "1" or values["RD_CLK_POLARITY"] != "1":
        return False
    if not _constant(wires["RD_SRST"], "0") or not _constant(wires["RD_ARST"], "0"):
        return False
    if int(values["WR_PORTS"], 2) == 0:
        return True
    same_clock = values["WR_CLK_ENABLE"] == values["WR_CLK_POLARITY"] == "1" and wires["WR_CLK"] == wires["RD_CLK"]
    one_write = int(values["WR_PORTS"], 2) == 1 and len(set(wires["WR_EN"])) == 1
    return same_clock and one_write and wires["WR_ADDR"] == wires["RD_ADDR"]


def find_memories(modules: Modules) -> Iterator[DesignMemory]:
    """All memories of the modules."""
    for module, content in modules.items():
        for name, cell in content["cells"].items():
            if cell["type"] == "$mem_v2":
                values = {key: int(cell["parameters"][key], 2) for key in ("SIZE", "WIDTH", "WR_PORTS")}
                writable = values["WR_PORTS"] > 0
                yield DesignMemory(module, name, values["SIZE"], values["WIDTH"], writable, _single_port(cell))
