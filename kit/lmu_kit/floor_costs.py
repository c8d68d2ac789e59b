"""Measure the coefficients of the energy floor.

One is the cost of reading constant memories made of logic; they hold the weights of a shipped network and are read in
order. The other is the cost of a multiplication with its addition, without register and clock, on a network's own
weights and operands. Both are mapped to a cell library and simulated gate by gate. The energy of clock pins is left
out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.flows.synth import synthesize
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedLMU
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.engine import find_power
from lmu_hw.progress import Progress, silent
from lmu_kit.power import conditions_of
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gates import GateSimulator

__all__ = [
    "OperationCost",
    "constant_memory",
    "factors",
    "measure_floor_costs",
    "measure_memory",
    "measure_product",
    "weight_words",
]

IntArray = NDArray[np.int64]

PERIOD = 1e-6
"""Clock period in seconds; energies do not depend on it."""

MEMORIES = ("kws1683", 256), ("kws1683", 512), ("kws1683", 1024), ("kws1683", 2048), ("kws361", 4912)
"""Networks, and how many of their first words the constant memory holds: all of them in the last."""

WIDTH = 64
"""Bits of a word, which holds 16 weights."""

FACTORS = ("kws105", "layer0.w_x"), ("kws105", "layer1.w_x"), ("kws105", "layer1.w_m"), ("kws105", "layer1.a")
"""Networks and matrices that are multiplied: operands of 8, 7 and 12 bits by weights of 4, and 12 by 10."""

FRAMES = slice(20, 24)
ROWS = 16
"""Frames of a clip and rows of the weights that are multiplied."""


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
    """Map a design and run one read or product per cycle."""
    mapped = synthesize(verilog, top, library)
    netlist = replace(read_netlist(mapped.json, top, library), outputs={})
    simulator, conditions = GateSimulator(netlist), conditions_of(netlist)
    simulator.use_delays(find_gate_delays(netlist, simulator.compiled, conditions))
    simulator.run(inputs, len(next(iter(inputs.values()))))
    activity = simulator.activity(PERIOD)
    power = find_power(netlist, activity, conditions, period=PERIOD, memories=mapped.memories)
    total, clock = power.total(), float(power.clock.sum())
    return OperationCost(total.dynamic - clock, clock, total.leakage, total.area)


def weight_words(network: str, lanes: int) -> list[int]:
    """Words of the largest weight memory of a shipped network, in the order of reading."""
    plan = make_plan(program_file.load(zoo.path(network, "quantized.safetensors")), AcceleratorConfig(lanes=lanes))
    memory = max(plan.weight_memories, key=lambda memory: memory.bits)
    return plan.images()[memory.name]


def constant_memory(words: Sequence[int], width: int) -> str:
    """Verilog of a constant memory, module ``weights``, that is read at each clock edge."""
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
    """Measure a constant memory made of logic, read from the first word to the last; its data register is included.

    Parameters
    ----------
    words : sequence of int
        Contents, unsigned.
    width : int
        Bits of a word.
    library : Library
        Cells at one corner.
    """
    order = np.arange(2 * len(words)) % len(words)
    return _run(constant_memory(words, width), "weights", library, {"address": order})


def factors(network: str, name: str) -> tuple[IntArray, IntArray, int, int]:
    """Weights and operands of the products that one lane after the other computes, and their widths in bits.

    Parameters
    ----------
    network : str
        Name of a shipped network.
    name : str
        Matrix, such as ``layer1.w_m``; ``layer1.a`` is that of the memory update.

    Returns
    -------
    weights, operands : ndarray of int64, shape (frames, rows, columns)
        The two factors of each product.
    weight_width, operand_width : int
        Bits, both signed.

    Raises
    ------
    ValueError
        If the layer is not an LMU layer.
    """
    model = program_file.load(zoo.path(network, "quantized.safetensors"))
    clip = load_frames(zoo.path(network, "test.safetensors")).frames[0]
    index, part = int(name.removeprefix("layer").partition(".")[0]), name.partition(".")[2]
    layer, values = model.layers[index], Golden(model).run(clip[None])
    if not isinstance(layer, QuantizedLMU):
        raise ValueError(f"{name} must be of an LMU layer")
    if part == "a":
        weights, width, source = layer.a[0], layer.a_format.width, layer.m.format
        operands = values[f"layer{index}.m"][0, FRAMES][:, : layer.orders[0]]
    elif part == "w_m":
        weights, width, source = layer.w_m.values, layer.w_m.width, layer.m.format
        operands = values[f"layer{index}.m"][0, FRAMES]
    else:
        matrix = layer.weights[part]
        weights, width = matrix.values, matrix.width
        source = model.input if index == 0 else model.layers[index - 1].output.format
        operands = (clip if index == 0 else values[f"layer{index - 1}.h"][0])[FRAMES]
    rows = weights[:ROWS]
    pairs = np.broadcast_arrays(rows[None], operands[:, None])
    return pairs[0], pairs[1], width, source.signed_width


def measure_product(network: str, name: str, library: Library) -> tuple[OperationCost, int, int]:
    """Measure a product that is added to a sum: from ports to ports, without a register.

    The factors are magnitudes, and the sign of the product is a bit of its own, as in the lanes of the accelerator.
    Products that are 0 are left out, as the floor counts none.

    Returns
    -------
    cost : OperationCost
        Cost of one product.
    weight_width, operand_width : int
        Bits, both signed.
    """
    weights, operands, weight_width, operand_width = factors(network, name)
    products = weights * operands
    sums = np.cumsum(products, axis=-1)
    inputs = {"w": np.abs(weights), "x": np.abs(operands), "negative": products < 0, "s": sums - products}
    w, x, s = (int(np.abs(values).max()).bit_length() for values in (weights, operands, sums))
    verilog = f"""module product(
  input clk, input [{w - 1}:0] w, input [{x - 1}:0] x, input negative, input signed [{s}:0] s,
  output signed [{s}:0] q
);
  wire [{s}:0] magnitude = w * x;
  assign q = s + (magnitude ^ {{{s + 1}{{negative}}}}) + negative;
endmodule
"""
    columns = {port: values[products != 0].astype(np.int64) for port, values in inputs.items()}
    return _run(verilog, "product", library, columns), weight_width, operand_width


def measure_floor_costs(library: Library, progress: Progress = silent) -> dict[str, Any]:
    """Measure the coefficients of the energy floor for a cell library.

    Parameters
    ----------
    library : Library
        Cells at one corner.
    progress : callable
        Called with (stage, done, total).

    Returns
    -------
    dict
        The entry of a process in ``lmu_hw/power/floors.json``: voltage, temperature, hashes of the files, and energy in
        joule and leakage in watt of memories (per bit) and products.

    Raises
    ------
    PowerRefused
        If a guard refuses a measurement.
    """
    total = len(MEMORIES) + len(FACTORS)
    memories, products = [], []
    for done, (network, depth) in enumerate(MEMORIES):
        progress("constant memories", done, total)
        cost, bits = measure_memory(weight_words(network, 16)[:depth], WIDTH, library), WIDTH * depth
        memories.append(
            {
                "words": f"{depth} of {network}",
                "bits": bits,
                "read_per_bit": cost.energy / WIDTH,
                "leakage_per_bit": cost.leakage / bits,
            }
        )
    for done, (network, part) in enumerate(FACTORS, len(MEMORIES)):
        progress("products", done, total)
        cost, weight_width, operand_width = measure_product(network, part, library)
        products.append(
            {
                "factors": f"{network} {part}",
                "bits": weight_width * operand_width,
                "energy": cost.energy,
                "leakage": cost.leakage,
            }
        )
    return {
        "voltage": library.voltage,
        "temperature": library.temperature,
        "files": {path.name: f"sha256:{key}" for path, key in zip(library.files, library.hashes, strict=True)},
        "memories": memories,
        "products": products,
    }
