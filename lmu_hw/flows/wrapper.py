"""Verilog of a memory that is made of SRAM macros."""

from collections import defaultdict
from collections.abc import Mapping

from lmu_hw.cells.sram import Macro
from lmu_hw.flows.tiling import Bank, Tiling

__all__ = ["memory_verilog"]


def _concatenated(bits: Mapping[int, str]) -> str:
    """Verilog of bits by index, the highest first."""
    return "{" + ", ".join(bits[index] for index in sorted(bits, reverse=True)) + "}"


def _ports(pins: Mapping[str, str]) -> str:
    """Connections of pins; those of a bus are one connection."""
    ports: dict[str, dict[int, str]] = defaultdict(dict)
    for pin, value in pins.items():
        name, _, index = pin.rstrip("]").partition("[")
        ports[name][int(index or 0)] = value
    return ",\n".join(f"    .{name}({_concatenated(bits)})" for name, bits in sorted(ports.items()))


def _address_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


def _instance(name: str, macro: Macro, width: int, first: int, address_bits: int, bank: int) -> str:
    """One macro: bits from `first` on of the words of a bank."""
    pins = {pin: f"1'b{level}" for pin, level in macro.ties.items()}
    pins |= dict.fromkeys(macro.mask, "1'b1")
    pins |= {macro.clock: "clk", macro.enable: f"access[{bank}]"}
    pins |= {macro.read: f"read_bank[{bank}]", macro.write: f"write_bank[{bank}]"}
    for bit, pin in enumerate(macro.address):
        pins[pin] = f"address[{bit}]" if bit < address_bits else "1'b0"
    for bit, pin in enumerate(macro.data_in):
        pins[pin] = f"w_data[{first + bit}]" if first + bit < width else "1'b0"
    connections = _ports(pins)
    output = macro.data_out[0].partition("[")[0]
    word = f"word{bank}[{first + macro.width - 1}:{first}]"
    return f"  {macro.cell} {name} (\n{connections},\n    .{output}({word})\n  );"


def _selected(bank: Bank, address_bits: int, banks: int) -> str:
    """Condition that an address is in a bank."""
    low = (bank.macros[0].depth - 1).bit_length()
    if banks == 1:
        return "1'b1"
    width = address_bits - low
    return f"address[{address_bits - 1}:{low}] == {width}'d{bank.start >> low}"


def memory_verilog(name: str, tiling: Tiling) -> str:
    """Verilog of a memory with one port, made of macros.

    Ports: ``clk``, ``read``, ``write``, ``address``, ``w_data`` and ``r_data``, which holds the word read last. Reading
    and writing in one cycle is not defined. Only the macros of the bank that is accessed are enabled.

    Parameters
    ----------
    name : str
        Name of the module.
    tiling : Tiling
        From `lmu_hw.flows.tiling.tile`.

    Returns
    -------
    str
        Text of the module; the macros are not in it.
    """
    address_bits, banks = _address_bits(tiling.depth), len(tiling.banks)
    lines = [
        f"module {name} (",
        "  input clk, input read, input write,",
        f"  input [{address_bits - 1}:0] address, input [{tiling.width - 1}:0] w_data,",
        f"  output [{tiling.width - 1}:0] r_data",
        ");",
        f"  wire [{banks - 1}:0] selected, access, read_bank, write_bank;",
        f"  assign read_bank = selected & {{{banks}{{read}}}};",
        f"  assign write_bank = selected & {{{banks}{{write}}}};",
        "  assign access = read_bank | write_bank;",
    ]
    for index, bank in enumerate(tiling.banks):
        total = sum(macro.width for macro in bank.macros)
        lines.append(f"  assign selected[{index}] = {_selected(bank, address_bits, banks)};")
        lines.append(f"  wire [{total - 1}:0] word{index};")
        first = 0
        for slice_index, macro in enumerate(bank.macros):
            instance = f"bank{index}_slice{slice_index}"
            lines.append(_instance(instance, macro, tiling.width, first, address_bits, index))
            first += macro.width
    top = f"[{tiling.width - 1}:0]"
    if banks == 1:
        lines.append(f"  assign r_data = word0{top};")
    else:
        lines.append(f"  reg [{banks - 1}:0] held;")
        lines.append("  always @(posedge clk) if (read) held <= selected;")
        words = " | ".join(f"({{{tiling.width}{{held[{index}]}}}} & word{index}{top})" for index in range(banks))
        lines.append(f"  assign r_data = {words};")
    return "\n".join([*lines, "endmodule", ""])
