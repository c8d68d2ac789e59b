"""Large memories of constants as logic that reads several words at once.

Weights are read in address order. Logic that has every address bit at its inputs moves at every read. Cut into one part
for each word of a row, it moves only when the row changes; only multiplexers move at every read. The price is area,
because the parts share less logic. The parts are also mapped in parallel.
"""

from lmu_hw.flows.elaborate import Module, Modules

__all__ = ["LEAST_BITS", "ROW_WORDS", "row_modules"]

ROW_WORDS = 4
"""Words of a row, a power of two. Measured on the weights of a real network, see docs/energy.md."""

LEAST_BITS = 1 << 14
"""Size in bits from which a memory is cut; smaller ones are parameters that are read now and then."""


def _part(cell: Module, words: list[str]) -> Module:
    """Module without a clock that holds some words of a ``$mem_v2`` cell."""
    width, bits = len(words[0]), max(1, (len(words) - 1).bit_length())
    address = list(range(2, 2 + bits))
    data = list(range(2 + bits, 2 + bits + width))
    parameters = {
        **cell["parameters"],
        "ABITS": f"{bits:032b}",
        "SIZE": f"{len(words):032b}",
        "INIT": "".join(reversed(words)),
        "MEMID": "\\words",
        "RD_CLK_ENABLE": "0",
    }
    connections = {
        **{name: [] for name in ("WR_ADDR", "WR_CLK", "WR_DATA", "WR_EN")},
        **{name: ["0"] for name in ("RD_ARST", "RD_SRST", "RD_CLK")},
        "RD_EN": ["1"],
        "RD_ADDR": address,
        "RD_DATA": data,
    }
    ports = {
        "address": {"direction": "input", "bits": address},
        "data": {"direction": "output", "bits": data},
    }
    nets = {name: {"hide_name": 0, "bits": port["bits"], "attributes": {}} for name, port in ports.items()}
    memory = {**cell, "hide_name": 0, "parameters": parameters, "connections": connections}
    return {"attributes": {}, "ports": ports, "cells": {"words": memory}, "netnames": nets}


def _selected(words: list[str], bit: int) -> str:
    """Verilog of a tree of multiplexers: the lowest address bit, which moves most, at the root."""
    if len(words) == 1:
        return words[0]
    even, odd = _selected(words[::2], bit + 1), _selected(words[1::2], bit + 1)
    return f"(address[{bit}] ? {odd} : {even})"


def row_modules(name: str, cell: Module) -> tuple[str, Modules]:
    """Cut a memory of constants into the words of its rows.

    Parameters
    ----------
    name : str
        Name of the module that replaces the memory.
    cell : Module
        ``$mem_v2`` cell with one read at a clock edge and no write.

    Returns
    -------
    verilog : str
        That module, with ports ``clk``, ``read``, ``address`` and ``r_data``.
    modules : dict of str to Module
        The parts that it uses.
    """
    values = cell["parameters"]
    width, depth, bits = int(values["WIDTH"], 2), int(values["SIZE"], 2), int(values["ABITS"], 2)
    contents = values["INIT"]
    words = [contents[(depth - 1 - index) * width : (depth - index) * width] for index in range(depth)]
    low = (ROW_WORDS - 1).bit_length()
    modules = {f"{name}_word{column}": _part(cell, words[column::ROW_WORDS]) for column in range(ROW_WORDS)}
    lines = [
        f"module {name} (",
        f"  input clk, input read, input [{bits - 1}:0] address, output reg [{width - 1}:0] r_data",
        ");",
    ]
    for column, module in enumerate(modules):
        high = len(modules[module]["ports"]["address"]["bits"])
        lines.append(f"  wire [{width - 1}:0] word{column};")
        upper = f"address[{low + high - 1}:{low}]"
        lines.append(f"  {module} part{column} (.address({upper}), .data(word{column}));")
    chosen = _selected([f"word{column}" for column in range(ROW_WORDS)], 0)
    lines += [f"  always @(posedge clk) if (read) r_data <= {chosen};", "endmodule", ""]
    return "\n".join(lines), modules
