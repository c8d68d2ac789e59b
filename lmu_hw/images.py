"""Contents of the memories that hold constants."""


import numpy as np
from numpy.typing import NDArray

from lmu_hw.operations import Operation, tanh_table
from lmu_hw.schedule import Schedule

__all__ = ["images", "load_beats", "load_words"]


def images(plan: Schedule) -> dict[str, list[int]]:
    """Words of every weight memory, of the parameters and of the tanh table, by name of the memory."""
    found: dict[str, list[int]] = {memory.name: [] for memory in plan.weight_memories}
    parameters = []
    for planned in plan.operations:
        memory = plan.weight_memories[planned.weight_memory]
        found[memory.name].extend(_weight_words(planned.operation, planned.groups, plan.lanes, memory.width))
        for bias, shift in zip(planned.operation.bias, planned.operation.shifts, strict=True):
            word = int(bias) & ((1 << plan.bias_width) - 1)
            parameters.append(word | int(shift) << plan.bias_width)
    found["parameters"] = parameters
    if plan.table is not None:
        seen = {
            step.table_base: tanh_table(step.quantizer.format, step.output)
            for step in plan.narrow_steps
            if step.activation == "tanh"
        }
        found["tanh"] = [int(entry) for base in sorted(seen) for entry in seen[base]]
    return found


def load_words(plan: Schedule) -> list[tuple[int, int, int]]:
    """Words for the load port: memory (weight memories in order, then the parameters), address, data."""
    contents = images(plan)
    return [
        (index, address, word)
        for index, memory in enumerate((*plan.weight_memories, plan.parameters))
        for address, word in enumerate(contents[memory.name])
    ]


def load_beats(plan: Schedule) -> int:
    """32-bit pieces that a word for the load port is written in."""
    return -(-max(memory.width for memory in (*plan.weight_memories, plan.parameters)) // 32)


def _weight_words(op: Operation, groups: int, lanes: int, width: int) -> list[int]:
    """One word for each column of each row group: lane 0 in the low bits, absent rows zero."""
    bits = width // lanes
    columns = np.concatenate([term.weights for term in op.terms], axis=1)
    padded: NDArray[np.int64] = np.zeros((groups * lanes, columns.shape[1]), np.int64)
    padded[: op.rows] = columns & ((1 << bits) - 1)
    words = []
    for group in range(groups):
        for column in padded[group * lanes : (group + 1) * lanes].T.tolist():
            words.append(sum(value << (lane * bits) for lane, value in enumerate(column)))
    return words
