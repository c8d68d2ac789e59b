"""The floor of an energy figure: the work that no accelerator of the network can avoid, at the lowest measured cost.

Every weight that meets a nonzero operand is fetched once per frame, or once per `frames_per_fetch` frames. Every
product of a nonzero weight and a nonzero operand is computed and added. Every element that is read again is written
once and read once. The storage of weights and elements leaks.

The coefficients are measured on the same library (`lmu_kit.floor_costs`): constant memories made of logic, and products
between ports, both without registers and clock. Macros and flip-flops cost what the table of the technology says.
Control, clock, registers, sums and the interface are left out.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.model.operations import Operation, lower, vectors
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import STATE_BANK_WORDS
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation
from lmu_hw.power.technology import MemoryCosts

__all__ = ["Demand", "Floor", "FloorCosts", "find_demand", "find_floor", "load_floor_costs"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

FILE = "floors.json"

WORD = 64
"""Bits of a word of a weight memory."""


@dataclass(frozen=True)
class FloorCosts:
    """Coefficients measured on a library.

    Parameters
    ----------
    memories : tuple of (float, float, float)
        For constant memories made of logic: size in bits, joule per bit read, watt of leakage per bit.
    products : tuple of (float, float, float)
        For a product and its addition: bits of the weight times bits of the operand, joule, watt of leakage.

    Raises
    ------
    ValueError
        If one of the tuples is empty, or not in ascending order of bits.
    """

    memories: tuple[tuple[float, float, float], ...]
    products: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        for name in ("memories", "products"):
            bits = [entry[0] for entry in getattr(self, name)]
            if not bits or bits != sorted(set(bits)) or bits[0] <= 0:
                raise ValueError(f"{name} must hold one or more sizes in ascending order, not {bits}")

    def memory(self, bits: float) -> tuple[float, float]:
        """Joule and watt per bit of a constant memory: interpolated by the logarithm of the size, constant outside."""
        sizes, reads, leaks = np.array(self.memories).T
        size = np.log(bits)
        return float(np.interp(size, np.log(sizes), reads)), float(np.interp(size, np.log(sizes), leaks))

    def product(self, bits: float) -> tuple[float, float]:
        """Joule and watt of a product: interpolated between measured sizes, in proportion to the size outside."""
        sizes, energies, leaks = np.array(self.products).T
        inside = min(max(bits, sizes[0]), sizes[-1])
        grown = bits / inside
        return grown * float(np.interp(inside, sizes, energies)), grown * float(np.interp(inside, sizes, leaks))


def load_floor_costs(name: str, voltage: float, temperature: float) -> FloorCosts | None:
    """Load the coefficients of a process at a corner; None if they were not measured.

    Parameters
    ----------
    name : str
        Name of the process, such as ``ihp-sg13g2``.
    voltage, temperature : float
        In volt and degrees Celsius.
    """
    entry = json.loads((resources.files("lmu_hw.power") / FILE).read_text()).get(name)
    if entry is None or not math.isclose(entry["voltage"], voltage) or entry["temperature"] != temperature:
        return None
    products: dict[float, tuple[float, float]] = {}
    for product in entry["products"]:
        least = products.get(product["bits"], (math.inf, math.inf))
        products[product["bits"]] = min(least, (product["energy"], product["leakage"]))
    return FloorCosts(
        memories=tuple(
            (memory["bits"], memory["read_per_bit"], memory["leakage_per_bit"]) for memory in entry["memories"]
        ),
        products=tuple((bits, *products[bits]) for bits in sorted(products)),
    )


@dataclass(frozen=True)
class Demand:
    """Work that a frame needs, averaged over many frames.

    Parameters
    ----------
    weight_bits : float
        Bits of weights that are fetched.
    stored_bits : int
        Bits of all weights.
    products : dict of int to float
        Products by bits of weight times bits of operand.
    vectors : tuple of (int, int, float)
        For each vector that is read again: elements, bits of an element, elements written per frame.
    """

    weight_bits: float
    stored_bits: int
    products: dict[int, float]
    vectors: tuple[tuple[int, int, float], ...]


def find_demand(plan: Plan, nonzero: Mapping[str, FloatArray] | None = None) -> Demand:
    """Count the work that a frame needs.

    Parameters
    ----------
    plan : Plan
        An accelerator of the network. Weights in blocks of zeros are not stored, and do not count.
    nonzero : mapping of str to ndarray of float64, shape (elements,)
        Part of the time that each element is not zero, by vector. No element is ever zero if not given.
    """
    known = vectors(plan.model)
    parts = {name: np.ones(vector.size) for name, vector in known.items()} | dict(nonzero or {})
    read_again = {term.source for planned in plan.operations for term in planned.operation.terms}
    read_again |= {op.residual.source for op in lower(plan.model) if op.residual is not None}
    fetched, stored, products = 0.0, 0, defaultdict[int, float](float)
    written = defaultdict[str, float](float, x=float(plan.model.inputs))
    for planned in plan.operations:
        op = planned.operation
        rate = _rate(plan.model, op)
        written[op.target] += rate * op.repeat * op.rows
        for index, term in enumerate(op.terms):
            kept, present = _kept(planned, index, plan.lanes), _present(planned, index, parts[term.source])
            stored += term.width * int(kept.sum())
            fetches = min(rate, 1 / plan.config.frames_per_fetch)
            fetched += fetches * term.width * float((kept @ present.max(axis=0)).sum())
            bits = term.width * known[term.source].format.signed_width
            products[bits] += rate * float(((kept & (term.weights != 0)) @ present.sum(axis=0)).sum())
    kept_vectors = tuple(
        (known[name].size, known[name].format.width, count) for name, count in written.items() if name in read_again
    )
    return Demand(fetched, stored, dict(products), kept_vectors)


def _rate(model: QuantizedModel, op: Operation) -> float:
    """How often an operation runs, per frame: layers above a stride see fewer frames."""
    return 1 / math.prod(model.strides[: op.layer + op.strided])


def _kept(planned: PlannedOperation, index: int, lanes: int) -> BoolArray:
    """Which weights of a term are stored and are the network's, shape (rows, columns)."""
    kept = np.zeros(planned.operation.terms[index].weights.shape, dtype=bool)
    for group, columns in enumerate(planned.terms[index].columns):
        kept[group * lanes : (group + 1) * lanes, list(columns)] = True
    return kept & planned.operation.terms[index].trained


def _present(planned: PlannedOperation, index: int, part: FloatArray) -> FloatArray:
    """How often each element that a term reads is not zero, shape (blocks, columns)."""
    term = planned.operation.terms[index]
    starts = term.offset + term.step * np.arange(planned.operation.repeat)
    return part[starts[:, None] + np.arange(term.weights.shape[1])]


@dataclass(frozen=True)
class Floor:
    """Energy of a frame in joule.

    Parameters
    ----------
    weights : float
        Fetching weights.
    products : float
        Products and their additions.
    elements : float
        Writing and reading elements that are read again.
    leakage : float
        Leakage of weights, elements and one multiplier.
    """

    weights: float
    products: float
    elements: float
    leakage: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.weights + self.products + self.elements + self.leakage

    def to_dict(self, energy: float) -> dict[str, Any]:
        """JSON form, with the ratio of `energy`, that of a frame in joule, to the floor."""
        parts = {name: value * 1e9 for name, value in vars(self).items()}
        return {"nJ_per_frame": self.total * 1e9, "parts_nJ": parts, "ratio": energy / self.total}


def find_floor(demand: Demand, costs: FloorCosts, memories: MemoryCosts, frame_rate: float) -> Floor:
    """Find the least energy for the work that a frame needs.

    Parameters
    ----------
    demand : Demand
        From `find_demand`.
    costs : FloorCosts
        Costs of constant memories and products.
    memories : MemoryCosts
        Macros and flip-flops of the same technology.
    frame_rate : float
        Frames per second.
    """
    weights, leaking = _weights(demand, costs, memories, frame_rate)
    elements = 0.0
    for size, width, count in demand.vectors:
        access, leak = _elements(size, width, count * frame_rate, memories)
        elements += count * access
        leaking += leak
    leaking += costs.product(max(demand.products))[1]
    products = sum(count * costs.product(bits)[0] for bits, count in demand.products.items())
    return Floor(weights, products, elements, leaking / frame_rate)


def _elements(size: int, width: int, rate: float, memories: MemoryCosts) -> tuple[float, float]:
    """Joule of one write and one read, and watt, of a vector; `rate` elements are written and read per second.

    The least of macros, flip-flops, and banks of flip-flops. Of banks, one moves at a time, and a read clocks none;
    selecting a bank is not counted.
    """
    whole = memories.choose(max(2, size), width, MemoryUsage(2 * rate, 1.0, 0.5))[1]
    options = [(whole.read + whole.write, whole.leakage)]
    leakage = memories.flip_flops(size, width).leakage
    for words in STATE_BANK_WORDS:
        if 0 < words < size:
            bank = memories.flip_flops(words, width)
            options.append((bank.read - bank.idle + bank.write, leakage))
    return min(options, key=lambda option: option[0] * rate + option[1])


def _weights(demand: Demand, costs: FloorCosts, memories: MemoryCosts, frame_rate: float) -> tuple[float, float]:
    """Joule per frame and watt of the weights: the least of logic, banks of logic of a measured size, and macros.

    Of banks, one moves at a time; selecting a bank is not counted.
    """
    sizes = [demand.stored_bits, *(bits for bits, _, _ in costs.memories if bits < demand.stored_bits)]
    logic = [costs.memory(bits) for bits in sizes]
    options = [(demand.weight_bits * read, demand.stored_bits * leak) for read, leak in logic]
    if memories.macros:
        reads = demand.weight_bits / WORD
        usage = MemoryUsage(max(1.0, reads * frame_rate), 1.0, 0.0)
        built_of, cost = memories.choose(max(2, math.ceil(demand.stored_bits / WORD)), WORD, usage)
        if built_of == "macros":
            options.append((reads * cost.read, cost.leakage))
    return min(options, key=lambda option: option[0] + option[1] / frame_rate)
