"""List the shipped networks: size, accuracy, and what one network costs per 20 ms of audio.

Accuracies are those of `lmu-hw evaluate --data` on the official test clips, as they were written with --json when the
network was added. Multiplications and weight bits are counted in the integers that the hardware runs: every product of
one frame, those with the memory matrices too, and every bit of a trained weight that is read for it, layers at a
fraction of the frame rate in proportion.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

from lmu_hw import program_file
from lmu_hw.cli.console import console, table
from lmu_hw.operations import lower
from lmu_hw.program import QuantizedModel
from lmu_quantize import zoo
from lmu_quantize.features import FrontEnd

SUMMARY = "list the shipped networks"
EXAMPLE = "lmu-hw zoo --json zoo.json"

SPAN_S = 0.02
"""Seconds of audio that products and bits are counted for."""


@dataclass(frozen=True)
class Entry:
    """What the list says of a network.

    Parameters
    ----------
    name : str
        As commands take it.
    labels : tuple of str
        Names of the outputs.
    kbits : float
        Thousands of bits of trained weights, biases not counted.
    float_accuracy, golden_accuracy : float or None
        Of the float parent and of the integers, 0 to 1; None where no measurement is shipped.
    clips : int or None
        Test clips of the latter.
    multiplications, weight_bits : float
        Per 20 ms of audio.
    """

    name: str
    labels: tuple[str, ...]
    kbits: float
    float_accuracy: float | None
    golden_accuracy: float | None
    clips: int | None
    multiplications: float
    weight_bits: float


def add_arguments(command: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def cost(model: QuantizedModel) -> tuple[float, float]:
    """Multiplications and bits of trained weights that a network takes per 20 ms of audio.

    The memory of a layer is updated on each of the layer's input frames, the hidden state on every stride-th of them.
    """
    rates, rate = [], 1.0
    for stride in model.strides:
        rates.append((rate, rate / stride))
        rate /= stride
    products, bits = 0.0, 0.0
    for op in lower(model):
        share = rates[op.layer][op.closes_stride]
        products += share * op.products
        if not op.target.endswith(".m"):
            bits += share * op.repeat * op.rows * sum(term.weights.shape[1] * term.width for term in op.terms)
    frame_rate = 1 / SPAN_S if model.front_end is None else FrontEnd.from_dict(model.front_end).frame_rate
    return products * frame_rate * SPAN_S, bits * frame_rate * SPAN_S


def entry(name: str) -> Entry:
    """Read a shipped network and its measurements."""
    model = program_file.load(zoo.path(name, "quantized.safetensors"))
    scores: dict[str, dict[str, Any] | None] = {}
    for engine in ("float", "golden"):
        path = zoo.path(name, f"{engine}.json")
        scores[engine] = json.loads(path.read_text()) if path.is_file() else None
    golden, floats = scores["golden"], scores["float"]
    return Entry(
        name,
        model.labels,
        model.weight_bits / 1000,
        None if floats is None else floats["accuracy"],
        None if golden is None else golden["accuracy"],
        None if golden is None else golden["clips"],
        *cost(model),
    )


def run(_args: argparse.Namespace) -> dict[str, Any]:
    """Print the list."""
    entries = [entry(name) for name in zoo.names()]
    shown = table("network", "labels", "kbit", "float %", "golden %", "products", "bits read")
    for each in entries:
        accuracies = [
            "-" if value is None else f"{100 * value:.2f}" for value in (each.float_accuracy, each.golden_accuracy)
        ]
        costs = f"{each.multiplications:,.0f}", f"{each.weight_bits:,.0f}"
        shown.add_row(each.name, str(len(each.labels)), f"{each.kbits:.1f}", *accuracies, *costs)
    console.print(shown)
    console.print("products and bits of weights read: per 20 ms of audio; accuracies: official test clips")
    return {"networks": [asdict(each) for each in entries]}
