"""What the energy, leakage and area of each row of an accelerator grow with, counted from its plan.

Every function gives, by row, named counts; a technology's table holds the joule, watt or square micrometre of each.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lmu_hw.config import WeightStore
from lmu_hw.flows.memory_cost import Usage
from lmu_hw.flows.rows import LEAST_BITS, ROW_WORDS
from lmu_hw.placement import MemoryPlan
from lmu_hw.plan import Plan
from lmu_hw.power.rates import Rates, issues, weight_toggles
from lmu_hw.power.report import CLOCK_TREE

__all__ = [
    "Accesses",
    "Counts",
    "accesses",
    "cycle_counts",
    "frame_counts",
    "is_constant",
    "row_of_memory",
    "size_counts",
    "usages",
]

Counts = dict[str, dict[str, float]]
"""By row, then by name."""

SHARING = 0.75
"""Area of a constant memory grows with this power of the number of rare bits of a column, as minterms are shared."""


@dataclass(frozen=True)
class Accesses:
    """Of a memory, per frame.

    Parameters
    ----------
    reads, writes : float
        Accesses.
    """

    reads: float
    writes: float


def is_constant(plan: Plan, memory: MemoryPlan) -> bool:
    """Whether a memory is logic: it has no write port."""
    return memory.kind == "table" or (
        memory.kind in ("weights", "parameters") and plan.config.weights is WeightStore.ROM
    )


def row_of_memory(memory: MemoryPlan) -> str:
    """Row of the report that a memory is in."""
    rows = {"weights": "weight memory", "data": "state memory", "output": "interface"}
    return rows.get(memory.kind, "finish")


def accesses(plan: Plan) -> dict[str, Accesses]:
    """Accesses of every memory, means over the frames of a stride period; a pair of memories shares its accesses."""
    reads = dict.fromkeys((memory.name for memory in plan.memories), 0.0)
    writes = dict(reads)
    for frame in range(plan.period):
        for planned in plan.executed(frame):
            op = planned.operation
            rows = op.repeat * op.rows
            reads[plan.weight_memories[planned.weight_memory].name] += op.repeat * planned.words
            reads[plan.parameters.name] += rows
            if plan.table is not None and op.activation == "tanh":
                reads[plan.table.name] += rows
            for term in planned.terms:
                names = [plan.data_memories[index].name for index in term.location.memories]
                for name in names:
                    reads[name] += op.repeat * sum(map(len, term.columns)) / len(names)
            targets = [plan.data_memories[index].name for index in planned.target.memories] if planned.target else []
            for name in targets:
                writes[name] += rows / len(targets)
            if planned.output:
                writes[plan.output.name] += rows
                reads[plan.output.name] += rows
    writes["x"] += plan.period * plan.model.inputs
    return {name: Accesses(reads[name] / plan.period, writes[name] / plan.period) for name in reads}


def usages(plan: Plan, clock: float) -> dict[str, Usage]:
    """How every memory is used, by its name: rounded, so that nearly equal clocks give the same memories.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    clock : float
        In hertz.
    """
    decade = 10.0 ** math.floor(math.log10(clock))
    rounded = decade * min((1, 2, 5, 10), key=lambda step: abs(math.log(clock / decade / step)))
    found = {}
    for name, one in accesses(plan).items():
        total = one.reads + one.writes
        busy = min(1.0, math.ceil(16 * total / plan.cycles_per_frame) / 16)
        found[name] = Usage(rounded, busy, round(16 * one.writes / total) / 16 if total else 0.0)
    return found


def _rare_bits(words: list[int], width: int, power: float) -> float:
    """Sum over the columns of the words: the number of ones or zeros, whichever is rarer, to a power."""
    if not words:
        return 0.0
    size = -(-width // 8)
    octets = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), dtype=np.uint8)
    ones = np.unpackbits(octets.reshape(-1, size), axis=1, bitorder="little")[:, :width].sum(axis=0, dtype=np.int64)
    return float((np.minimum(ones, len(words) - ones).astype(np.float64) ** power).sum())


@dataclass(frozen=True)
class _Constant:
    """A constant memory as logic.

    ``switched`` and ``placed`` say how much logic there is, for energy and for size; ``step`` is the number of words
    after which it moves: a large memory is cut into the words of a row (`lmu_hw.flows.rows`).
    """

    switched: float
    placed: float
    step: int


@functools.lru_cache(maxsize=4)
def _constants(plan: Plan) -> dict[str, _Constant]:
    """Every constant memory by its name."""
    images, found = plan.images(), {}
    for memory in plan.memories:
        if is_constant(plan, memory):
            step = ROW_WORDS if memory.bits >= LEAST_BITS else 1
            parts = [images[memory.name][first::step] for first in range(step)]
            switched, placed = (
                sum(_rare_bits(part, memory.width, power) for part in parts) for power in (1.0, SHARING)
            )
            found[memory.name] = _Constant(switched, placed, step)
    return found


def _flip_flops(plan: Plan, built_of: Mapping[str, str], row: str) -> list[MemoryPlan]:
    """Memories of a row that are made of flip-flops."""
    return [
        memory
        for memory in plan.memories
        if built_of[memory.name] == "flip-flops" and row_of_memory(memory) == row
    ]


def frame_counts(plan: Plan, rates: Rates, built_of: Mapping[str, str]) -> Counts:
    """What the dynamic energy of a frame grows with, from its first cycle to its last.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    rates : Rates
        Changes of operands, products and sums.
    built_of : mapping of str to {"logic", "flip-flops", "macros"}
        What each memory is made of; the energy of macros is not in here.

    Returns
    -------
    dict of str to dict of str to float
        Per frame.
    """
    found, logic, cycles, issued = accesses(plan), _constants(plan), plan.cycles_per_frame, issues(plan)
    weights = plan.lanes * max(plan.weight_widths)
    toggles = weight_toggles(plan)
    rows = found[plan.parameters.name].reads
    constant = [memory for memory in plan.weight_memories if is_constant(plan, memory)]
    moves = {name: found[name].reads / one.step for name, one in logic.items()}
    parameters = logic[plan.parameters.name].switched if plan.parameters.name in logic else 0.0
    loose = [memory for memory in plan.memories if built_of[memory.name] == "flip-flops"]
    held = [memory for memory in plan.memories if built_of[memory.name] != "macros"]
    counts: Counts = {
        "weight memory": {
            "changed word bits": sum(toggles[memory.name] for memory in constant),
            "moves by logic": sum(moves[memory.name] * logic[memory.name].switched for memory in constant),
            "moves by words": sum(moves[memory.name] * memory.depth for memory in constant),
            "bits selected from a row": sum(
                found[memory.name].reads * memory.width for memory in constant if logic[memory.name].step > 1
            ),
        },
        "state memory": {},
        "multipliers": {
            "changed product bits": rates.product,
            "changed sum bits": rates.total,
            "changed operand bits by weight bits": rates.operand * weights,
        },
        "accumulators": {
            "changed sum bits": rates.total,
            "changed product bits": rates.product,
            "products by sum bits": issued * plan.lanes * plan.accumulator_width,
        },
        "finish": {
            "cycles": cycles,
            "elements": rows,
            "elements by parameter logic": rows * parameters,
        },
        "control": {"cycles": cycles, "products by weight bits": issued * weights},
        "interface": {"cycles": cycles, "inputs": float(plan.model.inputs)},
        "clock": {
            "cycles": cycles,
            "cycles by gated words": cycles * sum(memory.depth for memory in loose),
            "products by sum bits": issued * plan.lanes * plan.accumulator_width,
            "read bits": sum(found[memory.name].reads * memory.width for memory in held),
        },
    }
    for row in ("weight memory", "state memory", "interface", "finish"):
        memories = _flip_flops(plan, built_of, row)
        counts[row] |= {
            "products by flip-flop words": issued * sum(memory.width * memory.depth**SHARING for memory in memories),
            "flip-flop reads": sum(found[memory.name].reads * memory.bits for memory in memories),
            "flip-flop writes": sum(found[memory.name].writes * memory.bits for memory in memories),
        }
    counts[CLOCK_TREE] = dict(counts["clock"])
    return counts


def cycle_counts(plan: Plan, built_of: Mapping[str, str]) -> Counts:
    """What the dynamic energy of a cycle between frames grows with: the clock runs on, gated or not."""
    loose = sum(memory.depth for memory in plan.memories if built_of[memory.name] == "flip-flops")
    named = {"cycles": 1.0, "gated words": float(loose)}
    return {"clock": named, CLOCK_TREE: dict(named)}


def size_counts(plan: Plan, built_of: Mapping[str, str]) -> Counts:
    """What leakage and area grow with."""
    logic = _constants(plan)
    constant = [memory for memory in plan.weight_memories if is_constant(plan, memory)]
    weights, sums = plan.lanes * max(plan.weight_widths), float(plan.lanes * plan.accumulator_width)
    loose = sum(memory.depth for memory in plan.memories if built_of[memory.name] == "flip-flops")
    parameters = logic[plan.parameters.name].placed if plan.parameters.name in logic else 0.0
    terms = sum(len(planned.terms) for planned in plan.operations)
    counts: Counts = {
        "weight memory": {
            "logic": sum(logic[memory.name].placed for memory in constant),
            "word bits": float(sum(memory.width for memory in constant)),
            "bits selected from a row": float(
                sum(memory.width for memory in constant if logic[memory.name].step > 1)
            ),
        },
        "state memory": {},
        "multipliers": {"weight by operand bits": float(weights * plan.activation_width), "sum bits": sums},
        "accumulators": {"sum bits": sums},
        "finish": {"one": 1.0, "sum bits": sums, "parameter logic": parameters},
        "control": {"one": 1.0, "weight bits": float(weights), "terms": float(terms)},
        "interface": {"one": 1.0},
        "clock": {"one": 1.0, "gated words": float(loose)},
    }
    for row in ("weight memory", "state memory", "interface", "finish"):
        bits = sum(memory.bits for memory in _flip_flops(plan, built_of, row))
        counts[row] |= {"flip-flop bits": float(bits)}
    counts[CLOCK_TREE] = {"one": 1.0, "gated words": float(loose), "sum bits": sums}
    return counts
