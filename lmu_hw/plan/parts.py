"""Parts of the memory engine: several memories are updated at once.

With `AcceleratorConfig.memories_at_once` of P, an engine of its own updates memories: it has P parts of as many rows as
a memory has. The memories of a layer are cut into sets of P neighbors, and part ``p`` updates memory ``p`` of a set. A
word of the memories of u and of the states holds an element of each memory of a set. So a read gives every part its
operand, and a write takes a row of every part. The lanes do all other operations, on single elements of these words.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.operations import Operation, Term

__all__ = ["PartsError", "check_parts", "stored_order", "with_stored_order"]


class PartsError(ValueError):
    """The memories of a network cannot be updated several at once; the message says why."""


def check_parts(operations: Sequence[Operation], lanes: int, parts: int) -> None:
    """Refuse a network whose memories cannot be updated several at once.

    Parameters
    ----------
    operations : sequence of Operation
        The network's.
    lanes : int
        Of the accelerator.
    parts : int
        Memories at once.

    Raises
    ------
    PartsError
        If there is no memory, a memory has more rows than a weight word, or the memories with equal matrices are no
        multiple of `parts`. Or if memories read the input of their layer, without a u between.
    """
    if parts == 1:
        return
    updates = [op for op in operations if op.updates_memory]
    if not updates:
        raise PartsError(f"memories_at_once of {parts} needs a network with memories")
    for op in updates:
        if not op.terms[1].source.endswith(".u"):
            raise PartsError(f"memories_at_once of {parts} needs layers with e_x, layer {op.layer} has none")
    for op in updates:
        if op.rows > lanes:
            raise PartsError(
                f"memories_at_once of {parts} needs orders of at most {lanes}, the number of lanes, "
                f"layer {op.layer} has {op.rows}"
            )
        if op.repeat % parts:
            raise PartsError(
                f"memories_at_once of {parts} needs a multiple of {parts} memories with equal matrices, "
                f"layer {op.layer} has {op.repeat}"
            )


def stored_order(elements: int, order: int, parts: int) -> NDArray[np.int64]:
    """Elements of memory states in the order in which they are stored: row by row of each set of `parts` memories.

    Parameters
    ----------
    elements : int
        Elements of memories of the same order, memory by memory; whole sets.
    order : int
        Rows of a memory.
    parts : int
        Memories at once.

    Returns
    -------
    ndarray of int64, shape (elements,)
        Number of the element that is stored at each place.
    """
    return np.arange(elements).reshape(-1, parts, order).swapaxes(1, 2).ravel()


def with_stored_order(operations: Sequence[Operation], parts: int) -> tuple[Operation, ...]:
    """Operations that read memory states in the order in which they are stored.

    Parameters
    ----------
    operations : sequence of Operation
        The network's, which `check_parts` accepted.
    parts : int
        Memories at once.

    Returns
    -------
    tuple of Operation
        The same sums: the columns of weights that meet memory states are in the order of `stored_order`.
    """
    if parts == 1:
        return tuple(operations)
    orders: dict[str, NDArray[np.int64]] = {}
    for op in operations:
        if op.updates_memory:
            before = orders.get(op.target, np.zeros(0, np.int64))
            own = op.start + stored_order(op.repeat * op.rows, op.rows, parts)
            orders[op.target] = np.concatenate([before, own])

    def reordered(term: Term) -> Term:
        if term.source not in orders:
            return term
        # Filters read a memory each; as many rows share the run of columns of a set.
        return replace(term, weights=term.weights[:, orders[term.source]], slice_rows=parts * term.slice_rows)

    return tuple(
        op if op.updates_memory else replace(op, terms=tuple(map(reordered, op.terms))) for op in operations
    )
