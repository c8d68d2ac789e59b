"""Which weights an accelerator stores and multiplies when it skips blocks of zeros.

A block is one column of a row group: the weights of one word, one for each lane. A block of zeros needs no word, no
cycle and no product. The other words are stored one after the other. Each also holds the column of the next word, and a
bit that marks the next word as the last of its term. So a word that arrives tells the sequencer what to read next, and
the sequencer needs no memory of its own.

To keep the sequencer simple, some blocks of zeros are stored:

- Each group keeps at least one block of every term.
- The first group of an operation keeps column 0 of its first term, since no earlier word can point to it. If the term
  has more columns, it also keeps a second block.

Where the rows of a group read slices of a vector (the filters of a separable layer), the blocks of other slices are no
weights of the network. They are left out in every accelerator, and need no index as long as nothing else is: the
columns of a group are then a run of neighbors, which follows from the group.

When zero elements are skipped too, the word that was read must not decide which word comes next. This matters for
operations that read outputs of a ReLU. If such an operation has to store more than half of its blocks, it stores all of
them without an index, and skips zero elements. Otherwise it only skips blocks of zeros.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmu_hw.model.operations import Operation, Term, lower
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
    "own_weights",
    "stored_bits",
    "stored_columns",
    "weight_counts",
    "weight_width",
    "word_count",
]

Columns = tuple[tuple[tuple[int, ...], ...], ...]
"""Columns of an operation that are multiplied, in order: by term, then by row group."""


def all_columns(op: Operation, lanes: int) -> Columns:
    """Every column of every group; where rows read slices, those of the rows' slices."""
    firsts = range(0, op.rows, lanes)
    return tuple(
        tuple(tuple(term.slice_of(first, min(first + lanes, op.rows) - 1)) for first in firsts) for term in op.terms
    )


def kept_columns(op: Operation, lanes: int) -> Columns:
    """Columns with a weight that is not zero in their group, and those that must be stored anyway.

    Parameters
    ----------
    op : Operation
        The operation.
    lanes : int
        Rows of a group.

    Returns
    -------
    Columns
        At least one column for each group of each term.
    """
    groups = -(-op.rows // lanes)
    kept = []
    for number, term in enumerate(op.terms):
        padded = np.zeros((groups * lanes, term.weights.shape[1]), np.int64)
        padded[: op.rows] = term.weights
        live = (padded.reshape(groups, lanes, -1) != 0).any(axis=1)
        if number == 0:
            live[0, 0] = True
            if live[0].sum() == 1:
                live[0, :2] = True
        live[~live.any(axis=1), 0] = True
        kept.append(tuple(tuple(np.flatnonzero(group).tolist()) for group in live))
    return tuple(kept)


def index_bits(op: Operation) -> int:
    """Bits of the index in a word: a column of the longest term, and whether it is the term's last."""
    return max(1, (max(term.weights.shape[1] for term in op.terms) - 1).bit_length()) + 1


@dataclass(frozen=True)
class MemoryColumns:
    """Blocks that one weight memory stores.

    Parameters
    ----------
    columns : tuple of Columns
        By operation.
    index_bits : int
        Bits of the index in each word; 0 if every column is stored.
    """

    columns: tuple[Columns, ...]
    index_bits: int


def word_count(columns: Columns) -> int:
    """Weight words of an operation."""
    return sum(len(group) for term in columns for group in term)


def memory_columns(
    operations: list[Operation], lanes: int, width: int, skip: bool, searched: Collection[str] = ()
) -> MemoryColumns:
    """Choose what a weight memory stores: some blocks with an index if that takes fewer bits, otherwise all.

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
        Targets of the operations that may skip zero elements if they store all blocks.
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
    """Choose what each weight memory stores, as `memory_columns`; by bits of a weight, ascending."""
    return {
        width: memory_columns([op for op in operations if weight_width(op) == width], lanes, width, skip, searched)
        for width in sorted({weight_width(op) for op in operations})
    }


def columns_of(operations: Sequence[Operation], stored: Mapping[int, MemoryColumns]) -> list[Columns]:
    """Columns of each operation, from `stored_columns` of the same operations."""
    left = {width: iter(memory.columns) for width, memory in stored.items()}
    return [next(left[weight_width(op)]) for op in operations]


def own_weights(term: Term, columns: Sequence[Sequence[int]], lanes: int) -> list[int]:
    """Weights of the network in the stored blocks of a term, by row group."""
    trained = term.trained
    return [int(trained[group * lanes : (group + 1) * lanes, list(kept)].sum()) for group, kept in enumerate(columns)]


def weight_counts(op: Operation, columns: Columns, lanes: int) -> list[int]:
    """Weights of each term in the stored blocks, without what fills up a row group or belongs to no row's slice."""
    return [sum(own_weights(term, groups, lanes)) for term, groups in zip(op.terms, columns, strict=True)]


@dataclass(frozen=True)
class StoredBits:
    """Bits that the trained weights of a network take in an accelerator that skips blocks of zeros.

    Parameters
    ----------
    weights : int
        Bits of the weights in the stored blocks, without what fills up a row group or belongs to no row's slice.
    index : int
        Bits of the index.
    """

    weights: int
    index: int

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.index


def stored_bits(model: QuantizedModel, lanes: int, searched: Collection[str] = ()) -> StoredBits:
    """Bits of a network's trained weights in an accelerator with `skip_zero_blocks`.

    As in `QuantizedModel.weight_bits`, the memory matrices do not count; their index does.

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
