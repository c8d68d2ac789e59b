"""How an accelerator uses its memories, counted from its plan."""

import math
from dataclasses import dataclass

import numpy as np

from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan
from lmu_hw.power.rates import EVERY, Nonzero, issues, term_products
from lmu_hw.power.report import OperatingPoint

__all__ = ["FrameAccesses", "accesses", "is_constant", "row_of_memory", "usages"]


@dataclass(frozen=True)
class FrameAccesses:
    """Accesses of a memory in a frame.

    Parameters
    ----------
    reads, writes : float
        Per frame.
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


def accesses(plan: Plan, nonzero: Nonzero = EVERY) -> dict[str, FrameAccesses]:
    """Count the accesses of every memory: means over the frames of a stride period. A pair of memories shares its own.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    nonzero : mapping of str to float
        Elements that are not zero, for vectors whose zeros are skipped; all of them if not given.

    Returns
    -------
    dict of str to FrameAccesses
        Accesses by memory.
    """
    reads = dict.fromkeys((memory.name for memory in plan.memories), 0.0)
    writes = dict(reads)
    for number in range(plan.rounds):
        for planned in plan.schedule.executed(number):
            op = planned.operation
            rows = planned.frames * op.repeat * op.rows
            products = np.sum([term_products(planned, group, nonzero) for group in range(planned.groups)], axis=0)
            fetched = planned.passes * planned.blocks * float(products.sum())
            reads[plan.weight_memories[planned.weight_memory].name] += fetched
            reads[plan.parameters.name] += rows / planned.sums if planned.parts == 1 else 0
            if plan.table is not None and op.activation == "tanh":
                reads[plan.table.name] += rows
            for term, count in zip(planned.terms, products.tolist(), strict=True):
                names = [plan.data_memories[index].name for index in term.location.memories]
                for name in names:
                    reads[name] += planned.frames * planned.blocks * count / len(names)
            if planned.residual is not None:
                names = [plan.data_memories[index].name for index in planned.residual.location.memories]
                for name in names:
                    reads[name] += rows / len(names)
            targets = [plan.data_memories[index].name for index in planned.target.memories] if planned.target else []
            for name in targets:
                writes[name] += rows / planned.parts / len(targets)
            if planned.output:
                writes[plan.output.name] += rows
                reads[plan.output.name] += rows
    frames = plan.rounds * plan.config.frames_per_fetch
    writes["x"] += frames * plan.model.inputs
    return {name: FrameAccesses(reads[name] / frames, writes[name] / frames) for name in reads}


def usages(plan: Plan, point: OperatingPoint) -> dict[str, MemoryUsage]:
    """Find how every memory is used, rounded so that nearly equal clocks give the same memories.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    point : OperatingPoint
        Clock and frame rate. A clock that stops at rest counts as one that only runs while a frame is computed.
    """
    cycles = plan.cycles_per_frame if plan.config.stop_clock else point.clock / point.frame_rate
    clock = cycles * point.frame_rate
    decade = 10.0 ** math.floor(math.log10(clock))
    rounded = decade * min((1, 2, 5, 10), key=lambda step: abs(math.log(clock / decade / step)))
    by_memory = {}
    moving = min(1.0, math.ceil(16 * issues(plan) / cycles) / 16)
    data = {memory.name for memory in plan.data_memories}
    for name, accessed in accesses(plan).items():
        total = accessed.reads + accessed.writes
        busy = min(1.0, math.ceil(16 * total / cycles) / 16)
        writes = round(16 * accessed.writes / total) / 16 if total else 0.0
        # Data memories share their address, so that of each moves with every product.
        by_memory[name] = MemoryUsage(rounded, busy, writes, max(0.0, moving - busy) if name in data else 0.0)
    return by_memory
