"""The accelerator's Verilog with SRAM macros for its memories, and models of the macros to simulate it."""

import re
from collections.abc import Mapping

from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.sram import Macro
from lmu_hw.flows.tiling import Tiling, choose
from lmu_hw.flows.wrapper import memory_verilog
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["macro_model", "macros_of", "memory_tilings", "with_macros"]

_CELLS = r"  reg \[\d+:0\] cells \[\d+:0\];\n.*?  assign r_data = _0_;\n"
"""In a module of `lmu_hw.gateware.memory.SinglePort`: from its array to its output."""

_INSTANCE = (
    "  sram_{} cells (.clk(clk), .read(read__en), .write(write__en), .address(read__addr), .w_data(write__data), "
    ".r_data(r_data));\n"
)


def memory_tilings(plan: Plan, library: Library, usage: Mapping[str, MemoryUsage]) -> dict[str, Tiling]:
    """Find the macros of an accelerator's writable memories, as `lmu_hw.flows.synth.synthesize` chooses them.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    library : Library
        Cells and macros.
    usage : mapping of str to MemoryUsage
        Usage of the memories by name; the default for others.

    Returns
    -------
    dict of str to Tiling
        Tilings by the last part of the name of the memory's module.
    """
    memories = {f"memory_{memory.name}": memory for memory in plan.data_memories if not plan.register_bank(memory)}
    memories["logits"] = plan.output
    if plan.config.weights is WeightStore.RAM:
        memories |= {f"memory_{memory.name}": memory for memory in (*plan.weight_memories, plan.parameters)}
    tilings = {
        name: choose(library, max(2, memory.depth), memory.width, usage.get(memory.name, MemoryUsage()))[0]
        for name, memory in memories.items()
    }
    return {name: tiling for name, tiling in tilings.items() if tiling is not None}


def with_macros(verilog: str, tilings: Mapping[str, Tiling]) -> str:
    """Replace memories by wrappers around macros.

    Parameters
    ----------
    verilog : str
        From `lmu_hw.export.emit.to_verilog`.
    tilings : mapping of str to Tiling
        From `memory_tilings`.

    Returns
    -------
    str
        The same modules and ports, and the wrappers ``sram_NAME``; the macros are not in it.

    Raises
    ------
    ValueError
        If a memory is not in the Verilog.
    """
    for name in tilings:
        module = rf"(^module \S*\.{name} \((?:(?!^endmodule).)*?){_CELLS}"
        verilog, count = re.subn(module, rf"\1{_INSTANCE.format(name)}", verilog, flags=re.DOTALL | re.MULTILINE)
        if count != 1:
            raise ValueError(f"the Verilog has {count} memories {name}, 1 was expected")
    return verilog + "".join(memory_verilog(f"sram_{name}", tiling) for name, tiling in tilings.items())


def macros_of(tilings: Mapping[str, Tiling]) -> dict[str, Macro]:
    """The macros that tilings use, by cell."""
    macros = (macro for tiling in tilings.values() for bank in tiling.banks for macro in bank.macros)
    return {macro.cell: macro for macro in sorted(macros, key=lambda macro: macro.cell)}


def _port(pins: tuple[str, ...] | str, direction: str) -> str:
    if isinstance(pins, str):
        return f"  {direction} {pins}"
    return f"  {direction} [{len(pins) - 1}:0] {pins[0].partition('[')[0]}"


def macro_model(macro: Macro) -> str:
    """Write the behaviour of a macro as plain Verilog, without delays.

    Contents and output are unknown until written and read; a cycle in which it is enabled with a level other than its
    wrapper ties stops the simulation.

    Parameters
    ----------
    macro : Macro
        From `lmu_hw.cells.sram.find_macro`.
    """
    bus = {role: getattr(macro, role)[0].partition("[")[0] for role in ("address", "data_in", "data_out")}
    mask = macro.mask[0].partition("[")[0] if macro.mask else ""
    tied: dict[str, dict[int, int]] = {}
    for pin, level in macro.ties.items():
        name, _, index = pin.rstrip("]").partition("[")
        tied.setdefault(name, {})[int(index or 0)] = level
    ports = [_port(pin, "input") for pin in (macro.clock, macro.enable, macro.read, macro.write)]
    ports += [_port(macro.address, "input"), _port(macro.data_in, "input")]
    ports += [_port(macro.mask, "input")] if mask else []
    ports += [_port(name if len(bits) == 1 else (name,) * len(bits), "input") for name, bits in tied.items()]
    ports.append(f"  output reg [{macro.width - 1}:0] {bus['data_out']}")
    levels = {name: "".join(str(bits[index]) for index in sorted(bits, reverse=True)) for name, bits in tied.items()}
    wrong = " || ".join(f"{name} !== {len(bits)}'b{bits}" for name, bits in levels.items())
    problem = f'$display("ERROR: {macro.cell}: an input that is to be tied is not"); $finish;'
    check = [f"      if ({wrong}) begin {problem} end"] if wrong else []
    word = f"cells[{bus['address']}]"
    value = f"({bus['data_in']} & {mask}) | ({word} & ~{mask})" if mask else bus["data_in"]
    lines = [
        f"module {macro.cell} (",
        ",\n".join(ports),
        ");",
        f"  reg [{macro.width - 1}:0] cells [0:{macro.depth - 1}];",
        f"  always @(posedge {macro.clock})",
        f"    if ({macro.enable}) begin",
        *check,
        f"      if ({macro.write}) {word} <= {value};",
        f"      if ({macro.read}) {bus['data_out']} <= {word};",
        "    end",
        "endmodule",
        "",
    ]
    return "\n".join(lines)
