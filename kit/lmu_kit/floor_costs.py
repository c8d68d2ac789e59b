"""Measure what the floor of `lmu-hw power` is made of: ``PDK_ROOT=... python -m lmu_kit.floor_costs FILE NAME...``.

Constant memories with the weights of a shipped network, read one word after the other, as logic; and one multiplication
with its addition, without register and clock, on a network's own weights and operands. Both are mapped to the cells of
each named process, run gate by gate, and weighed without the energy of clock pins.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.cells.pdk import find_pdk
from lmu_hw.files import write_whole
from lmu_hw.flows.synth import synthesize
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedLMU
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.engine import find_power
from lmu_kit.power import conditions_of
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames
from lmu_sim.gates import GateSimulator

__all__ = ["OperationCost", "constant_memory", "factors", "main", "measure_memory", "measure_product", "weight_words"]

IntArray = NDArray[np.int64]

PERIOD = 1e-6
"""Of the clock; energies do not depend on it."""

MEMORIES = ("kws1683", 256), ("kws1683", 512), ("kws1683", 1024), ("kws1683", 2048), ("kws361", 4912)
"""Networks whose first words are in a constant memory, and how many: all of the last."""

WIDTH = 64
"""Bits of a word: 16 weights."""

FACTORS = ("kws105", "layer0.w_x"), ("kws105", "layer1.w_x"), ("kws105", "layer1.w_m"), ("kws105", "layer1.a")
"""Networks and the factors that are multiplied: 8, 7 and 12 bits by 4, and 12 by 10."""

FRAMES = slice(20, 24)
ROWS = 16
"""Of a clip and of the weights: what is multiplied."""


@dataclass(frozen=True)
class OperationCost:
    """Cost of one read or one product, from a netlist that ran.

    Parameters
    ----------
    energy : float
        Joule a read or product, without clock pins.
    clock : float
        Joule at clock pins a read or product.
    leakage : float
        Watt.
    area : float
        Square micrometre.
    """

    energy: float
    clock: float
    leakage: float
    area: float


def _run(verilog: str, top: str, library: Library, inputs: dict[str, IntArray]) -> OperationCost:
    """Map a design, and run one read or product a cycle."""
    mapped = synthesize(verilog, top, library)
    netlist = replace(read_netlist(mapped.json, top, library), outputs={})
    simulator = GateSimulator(netlist)
    simulator.run(inputs, len(next(iter(inputs.values()))))
    power = find_power(
        netlist, simulator.activity(PERIOD), conditions_of(netlist), period=PERIOD, memories=mapped.memories
    )
    total, clock = power.total(), float(power.clock.sum())
    return OperationCost(total.dynamic - clock, clock, total.leakage, total.area)


def weight_words(network: str, lanes: int) -> list[int]:
    """Words of the largest weight memory of a shipped network, in the order in which they are read."""
    plan = make_plan(program_file.load(zoo.path(network, "quantized.safetensors")), AcceleratorConfig(lanes=lanes))
    memory = max(plan.weight_memories, key=lambda one: one.bits)
    return plan.images()[memory.name]


def constant_memory(words: Sequence[int], width: int) -> str:
    """Verilog of a memory of constants that is read at each clock edge, module ``weights``."""
    bits = (len(words) - 1).bit_length()
    lines = "".join(f"    words[{index}] = {width}'h{word:x};\n" for index, word in enumerate(words))
    return f"""module weights(input clk, input [{bits - 1}:0] address, output reg [{width - 1}:0] data);
  reg [{width - 1}:0] words [{len(words) - 1}:0];
  initial begin
{lines}  end
  always @(posedge clk) data <= words[address];
endmodule
"""


def measure_memory(words: Sequence[int], width: int, library: Library) -> OperationCost:
    """A constant memory as logic, read from the first word to the last, register of the data included.

    Parameters
    ----------
    words : sequence of int
        Contents, unsigned.
    width : int
        Bits of a word.
    library : Library
        Of the cells.
    """
    order = np.arange(2 * len(words)) % len(words)
    return _run(constant_memory(words, width), "weights", library, {"address": order})


def factors(network: str, name: str) -> tuple[IntArray, IntArray, int, int]:
    """Weights and operands of products in the order of one lane after the other, and their widths.

    Parameters
    ----------
    network : str
        A shipped one.
    name : str
        As ``layer1.w_m``; ``layer1.a`` for the memory update, the same matrix for every memory.
    """
    model = program_file.load(zoo.path(network, "quantized.safetensors"))
    clip = load_frames(zoo.path(network, "test.safetensors")).frames[0]
    index, part = int(name.removeprefix("layer").partition(".")[0]), name.partition(".")[2]
    layer, values = model.layers[index], Golden(model).run(clip[None])
    if not isinstance(layer, QuantizedLMU):
        raise ValueError(f"{name} must be of an LMU layer")
    if part == "a":
        weights, width, source = layer.a[0], layer.a_format.width, layer.m.format
        given = values[f"layer{index}.m"][0, FRAMES][:, : layer.orders[0]]
    elif part == "w_m":
        weights, width, source = layer.w_m.values, layer.w_m.width, layer.m.format
        given = values[f"layer{index}.m"][0, FRAMES]
    else:
        chosen = layer.weights[part]
        weights, width = chosen.values, chosen.width
        source = model.input if index == 0 else model.layers[index - 1].output.format
        given = (clip if index == 0 else values[f"layer{index - 1}.h"][0])[FRAMES]
    rows = weights[:ROWS]
    pairs = np.broadcast_arrays(rows[None], given[:, None])
    return pairs[0], pairs[1], width, source.signed_width


def measure_product(network: str, name: str, library: Library) -> tuple[OperationCost, int, int]:
    """A product that is added to a sum: ports in, ports out, no register.

    Returns
    -------
    cost : OperationCost
        Of a product.
    weight_width, operand_width : int
        Bits, both signed.
    """
    weights, operands, wide, long = factors(network, name)
    sums = np.cumsum(weights * operands, axis=-1)
    before = sums - weights * operands
    width = int(np.abs(sums).max()).bit_length() + 1
    verilog = f"""module product(
  input clk, input signed [{wide - 1}:0] w, input signed [{long - 1}:0] x, input signed [{width - 1}:0] s,
  output signed [{width - 1}:0] q
);
  assign q = s + w * x;
endmodule
"""
    inputs = {"w": weights.ravel(), "x": operands.ravel(), "s": before.ravel()}
    return _run(verilog, "product", library, inputs), wide, long


def _describe(name: str) -> dict[str, Any]:
    """Costs of a process."""
    pdk = find_pdk(name, os.environ.get("PDK_ROOT"))
    library = read_liberty(pdk.cells)
    memories, products = [], []
    for network, depth in MEMORIES:
        one, bits = measure_memory(weight_words(network, 16)[:depth], WIDTH, library), WIDTH * depth
        memories.append(
            {
                "words": f"{depth} of {network}",
                "bits": bits,
                "read_per_bit": one.energy / WIDTH,
                "leakage_per_bit": one.leakage / bits,
            }
        )
    for network, part in FACTORS:
        one, wide, long = measure_product(network, part, library)
        products.append(
            {"factors": f"{network} {part}", "bits": wide * long, "energy": one.energy, "leakage": one.leakage}
        )
    return {
        "voltage": library.voltage,
        "temperature": library.temperature,
        "files": {path.name: f"sha256:{key}" for path, key in zip(library.files, library.hashes, strict=True)},
        "memories": memories,
        "products": products,
    }


def main(arguments: list[str] | None = None) -> None:
    """Write the costs."""
    parser = argparse.ArgumentParser(description="Measure what the floor of an energy figure is made of.")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("names", nargs="+", help="folders under PDK_ROOT")
    args = parser.parse_args(arguments)
    found = {name: _describe(name) for name in args.names}
    write_whole(args.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
