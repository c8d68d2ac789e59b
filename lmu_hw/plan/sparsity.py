"""Which weights an accelerator stores and multiplies when it skips blocks of zeros.

A block is one column of a row group: the weights of one word, a weight for each lane. Blocks that are zero need no
word, no cycle and no product. The kept words are stored one after the other. Each holds the column of the next word,
and a bit that says whether that word is the last of its term. So the sequencer knows where to read when a word has
arrived, and needs no index memory.

Some blocks of zeros are kept, so that the sequencer needs no special cases. Each group keeps one block of every term.
The first group of an operation keeps column 0 of its first term and, if there are more, a second one, because no
previous word could name it.

Where zero elements are skipped too, the word that was read must not name the next one. An operation that reads outputs
of a ReLU and keeps more than half of its blocks therefore stores all of them, without an index, and skips zero
elements. One that keeps fewer skips blocks of zeros only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmu_hw.model.operations import Operation, lower
from lmu_hw.model.program import QuantizedModel

__all__ = [
    "Columns",
    "MemoryColumns",
    "StoredBits",
    "all_columns",
    "columns_of",
    "index_bits",
    "kept_columns",
    "memory_columns",
    "stored_bits",
    "stored_columns",
    "weight_counts",
    "weight_width",
    "word_count",
]

Columns = tuple[tuple[tuple[int, ...], ...], ...]
"""Of an operation: for each term, for each row group, the columns that are multiplied, in order."""


def all_columns(op: Operation, lanes: int) -> Columns:
    """Every column of every group."""
    groups = -(-op.rows // lanes)
    return tuple((tuple(range(term.weights.shape[1])),) * groups for term in op.terms)


def kept_columns(op: Operation, lanes: int) -> Columns:
    """Columns that are not zero in all rows of their group, and those that must stay.

    Parameters
    ----------
    op : Operation
        With `rows` of a block.
    lanes : int
        Rows of a group.

    Returns
    -------
    Columns
        At least one column for each group of each term.
    """
    groups = -(-op.rows // lanes)
    found = []
    for number, term in enumerate(op.terms):
        padded = np.zeros((groups * lanes, term.weights.shape[1]), np.int64)
        padded[: op.rows] = term.weights
        live = (padded.reshape(groups, lanes, -1) != 0).any(axis=1)
        if number == 0:
            live[0, 0] = True
            if live[0].sum() == 1:
                live[0, :2] = True
        live[~live.any(axis=1), 0] = True
        found.append(tuple(tuple(np.flatnonzero(group).tolist()) for group in live))
    return tuple(found)


def index_bits(op: Operation) -> int:
    """Bits beside the weights of a word: a column of the longest term, and whether it is the term's last."""
    return max(1, (max(term.weights.shape[1] for term in op.terms) - 1).bit_length()) + 1


@dataclass(frozen=True)
class MemoryColumns:
    """What one weight memory stores.

    Parameters
    ----------
    columns : tuple of Columns
        For each operation in the memory.
    index_bits : int
        Bits beside the weights of each word; 0 if every column is stored and no word needs an index.
    """

    columns: tuple[Columns, ...]
    index_bits: int


def word_count(columns: Columns) -> int:
    """Weight words of an operation."""
    return sum(len(group) for term in columns for group in term)


def memory_columns(
    operations: list[Operation], lanes: int, width: int, skip: bool, searched: Collection[str] = ()
) -> MemoryColumns:
    """Choose what a weight memory stores: the kept blocks with an index where that takes fewer bits, else all.

    Parameters
    ----------
    operations : list of Operation
        Those whose weights are in the memory.
    lanes : int
        Weights of a word.
    width : int
        Bits of a weight.
    skip : bool
        Whether blocks of zeros may be skipped.
    searched : collection of str
        Targets of the operations of which zero elements may be skipped, if they store all blocks.
    """
    dense = tuple(all_columns(op, lanes) for op in operations)
    if skip:
        index = max(index_bits(op) for op in operations)
        kept = tuple(
            whole if op.target in searched and 2 * word_count(some) > word_count(whole) else some
            for op, some, whole in zip(operations, (kept_columns(op, lanes) for op in operations), dense, strict=True)
        )
        if sum(map(word_count, kept)) * (lanes * width + index) < sum(map(word_count, dense)) * lanes * width:
            return MemoryColumns(kept, index)
    return MemoryColumns(dense, 0)


def weight_width(op: Operation) -> int:
    """Bits of a stored weight of an operation, those of its widest term."""
    return max(term.width for term in op.terms)


def stored_columns(
    operations: Sequence[Operation], lanes: int, skip: bool, searched: Collection[str] = ()
) -> dict[int, MemoryColumns]:
    """Choose what every weight memory stores, as `memory_columns`, by the bits of a weight in ascending order."""
    return {
        width: memory_columns([op for op in operations if weight_width(op) == width], lanes, width, skip, searched)
        for width in sorted({weight_width(op) for op in operations})
    }


def columns_of(operations: Sequence[Operation], stored: Mapping[int, MemoryColumns]) -> list[Columns]:
    """Columns of each operation, from `stored_columns` of the same operations."""
    left = {width: iter(one.columns) for width, one in stored.items()}
    return [next(left[weight_width(op)]) for op in operations]


def weight_counts(op: Operation, columns: Columns, lanes: int) -> list[int]:
    """Weights of each term in the blocks that are stored; rows that fill up a row group are not counted."""
    return [
        sum(len(kept) * min(lanes, op.rows - group * lanes) for group, kept in enumerate(groups)) for groups in columns
    ]


@dataclass(frozen=True)
class StoredBits:
    """Bits that the trained weights of a network take in an accelerator that skips blocks of zeros.

    Parameters
    ----------
    weights : int
        Of the weights in the blocks that are stored; rows that fill up a row group are not counted.
    index : int
        Of the index beside them.
    """

    weights: int
    index: int

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.index


def stored_bits(model: QuantizedModel, lanes: int, searched: Collection[str] = ()) -> StoredBits:
    """Count what an accelerator with `skip_zero_blocks` stores of a network's trained weights.

    The memory matrices are not counted, as in `QuantizedModel.weight_bits`, but for an index beside them.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    lanes : int
        Rows of a block.
    searched : collection of str
        As in `memory_columns`.
    """
    weights = index = 0
    operations = lower(model)
    stored = stored_columns(operations, lanes, True, searched)
    for op, columns in zip(operations, columns_of(operations, stored), strict=True):
        index += stored[weight_width(op)].index_bits * word_count(columns)
        if not op.target.endswith(".m"):
            counts = weight_counts(op, columns, lanes)
            weights += sum(count * term.width for count, term in zip(counts, op.terms, strict=True))
    return StoredBits(weights, index)
