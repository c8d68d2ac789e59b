"""Contents of the memories that hold constants: unsigned words, in order of address."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.operations import tanh_table
from lmu_hw.plan.lanes import sign_and_magnitude
from lmu_hw.plan.narrowing import NarrowStep
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.schedule import PlannedOperation

__all__ = ["parameter_words", "table_words", "weight_words"]


def weight_words(memory: MemoryPlan, operations: Iterable[PlannedOperation], lanes: int) -> list[int]:
    """Words of a weight memory.

    Parameters
    ----------
    memory : MemoryPlan
        The memory.
    operations : iterable of PlannedOperation
        Those whose weights it holds.
    lanes : int
        Weights of a word.
    """
    words = [0] * memory.depth
    for planned in operations:
        own = _operation_words(planned, lanes, (memory.width - memory.index_bits) // lanes)
        words[planned.weight_base : planned.weight_base + len(own)] = own
    return words


def parameter_words(operations: Iterable[PlannedOperation], bias_width: int) -> list[int]:
    """Words of the parameter memory: the bias of each row in the low bits, then its shift."""
    return [
        int(bias) & ((1 << bias_width) - 1) | int(shift) << bias_width
        for planned in operations
        for bias, shift in zip(planned.operation.bias, planned.operation.shifts, strict=True)
    ]


def table_words(steps: Iterable[NarrowStep]) -> list[int]:
    """Entries of the tanh tables, one table after the other."""
    tables = {
        step.table_base: tanh_table(step.quantizer.format, step.output) for step in steps if step.activation == "tanh"
    }
    return [int(entry) for base in sorted(tables) for entry in tables[base]]


def _operation_words(planned: PlannedOperation, lanes: int, bits: int) -> list[int]:
    """One word for each column of each row group: lane 0 in the low bits, absent rows zero.

    With an index, the highest bits of a word hold the column of the operation's next word. One more bit above them
    marks the next word as the last of its term.
    """
    words, followers = [], []
    for group in range(planned.groups):
        for term, laid in zip(planned.operation.terms, planned.terms, strict=True):
            columns = laid.columns[group]
            words += _packed(term.weights[group * lanes : (group + 1) * lanes, columns], bits)
            followers += [(column, column == columns[-1]) for column in columns]
    if not planned.index_bits:
        return words
    return [
        word | column << lanes * bits | last << lanes * bits + planned.index_bits - 1
        for word, (column, last) in zip(words, [*followers[1:], (0, False)], strict=True)
    ]


def _packed(values: NDArray[np.int64], bits: int) -> list[int]:
    """One word for each column: sign and magnitude of each row, row 0 in the low bits."""
    unpacked = (sign_and_magnitude(values.T, bits)[:, :, None] >> np.arange(bits)) & 1
    packed = np.packbits(unpacked.reshape(len(unpacked), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row, "little") for row in packed]
