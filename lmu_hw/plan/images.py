"""Contents of the memories that hold constants."""

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.operations import tanh_table
from lmu_hw.plan.schedule import PlannedOperation, Schedule

__all__ = ["images", "load_beats", "load_words"]


def images(plan: Schedule) -> dict[str, list[int]]:
    """Words of every weight memory, of the parameters and of the tanh table, by name of the memory."""
    found: dict[str, list[int]] = {memory.name: [0] * memory.depth for memory in plan.weight_memories}
    parameters = []
    for planned in plan.operations:
        memory = plan.weight_memories[planned.weight_memory]
        words = _weight_words(planned, plan.lanes, plan.weight_widths[planned.weight_memory])
        found[memory.name][planned.weight_base : planned.weight_base + len(words)] = words
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


def _weight_words(planned: PlannedOperation, lanes: int, bits: int) -> list[int]:
    """One word for each column of each row group: lane 0 in the low bits, absent rows zero.

    With an index, a word has in its highest bits the column of the next word of the operation, and above it whether
    that one is the last of its term.
    """
    words, places = [], []
    for group in range(planned.groups):
        for term, laid in zip(planned.operation.terms, planned.terms, strict=True):
            columns = laid.columns[group]
            words += _packed(term.weights[group * lanes : (group + 1) * lanes, columns], bits)
            places += [(column, column == columns[-1]) for column in columns]
    if not planned.index_bits:
        return words
    return [
        word | column << lanes * bits | last << lanes * bits + planned.index_bits - 1
        for word, (column, last) in zip(words, [*places[1:], (0, False)], strict=True)
    ]


def _packed(values: NDArray[np.int64], bits: int) -> list[int]:
    """One word for each column: two's complement, row 0 in the low bits."""
    unpacked = (values.T[:, :, None] >> np.arange(bits)) & 1
    packed = np.packbits(unpacked.reshape(len(unpacked), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row, "little") for row in packed]
