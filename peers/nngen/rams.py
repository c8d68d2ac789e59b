"""The RAMs of NNgen's Verilog: found, taken out of the design, their accesses counted.

A RAM has two ports, which standard cells have only as flip-flops and IHP's macros not at all. So its signals become
ports of the design: the rest is mapped to cells, and the RAMs are charged as what their accesses cost in macros.
"""

import re
from dataclasses import dataclass

__all__ = ["Ram", "cut_rams", "find_rams"]

MODULE = re.compile(r"^module (ram_\w+)\s*\((.*?)\);.*?reg \[(\d+)-1:0\] mem \[0:(\d+)-1\];", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"(input|output) (?:\[(\d+)-1:0\] )?(\w+)")


@dataclass(frozen=True)
class Ram:
    """A RAM of NNgen's.

    Parameters
    ----------
    module : str
        Name of the module, which has one instance.
    depth, width : int
        Words, and bits of a word.
    signals : dict of str to (str, int)
        Direction as the RAM sees it, and bits, of each signal but the clock.
    """

    module: str
    depth: int
    width: int
    signals: dict[str, tuple[str, int]]

    @property
    def ports(self) -> tuple[str, ...]:
        """What the names of the signals of a port begin with."""
        return tuple(name.removesuffix("_addr") for name in self.signals if name.endswith("_addr"))


def find_rams(verilog: str) -> list[Ram]:
    """RAMs of a design.

    Parameters
    ----------
    verilog : str
        As NNgen writes it.
    """
    found = []
    for name, header, width, depth in MODULE.findall(verilog):
        ports = {port: (direction, int(bits or 1)) for direction, bits, port in PORT.findall(header)}
        found.append(Ram(name, int(depth), int(width), {port: one for port, one in ports.items() if port != "CLK"}))
    return found


def cut_rams(verilog: str, top: str, rams: list[Ram]) -> str:
    """The design without its RAMs: their outputs are inputs of the top module, and the other way round.

    Parameters
    ----------
    verilog : str
        As NNgen writes it.
    top : str
        Name of the top module.
    rams : list of Ram
        From `find_rams`.

    Returns
    -------
    str
        With a port ``cut_NAME`` for each signal of a RAM.

    Raises
    ------
    ValueError
        If a RAM has not one instance.
    """
    ports = []
    for ram in rams:
        wires = []
        for name, (direction, bits) in ram.signals.items():
            ports.append(f"  {'input' if direction == 'output' else 'output'} [{bits}-1:0] cut_{name},\n")
            target, source = (name, f"cut_{name}") if direction == "output" else (f"cut_{name}", name)
            wires.append(f"  assign {target} = {source};\n")
        instance = re.compile(rf"^  {ram.module}\n  inst_{ram.module}\n  \(.*?^  \);\n", re.MULTILINE | re.DOTALL)
        verilog, count = instance.subn("".join(wires), verilog)
        if count != 1:
            raise ValueError(f"{ram.module} must have one instance, not {count}")
        verilog = re.sub(rf"^module {ram.module}\b.*?^endmodule\n", "", verilog, flags=re.MULTILINE | re.DOTALL)
    return verilog.replace(f"module {top}\n(\n", f"module {top}\n(\n{''.join(ports)}", 1)
