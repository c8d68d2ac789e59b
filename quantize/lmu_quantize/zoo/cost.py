"""What a network takes of the hardware per stretch of audio, counted in the integers that it runs."""

from collections.abc import Sequence

from lmu_hw.operations import Operation, lower
from lmu_hw.program import QuantizedModel
from lmu_hw.sparsity import memory_columns, weight_width
from lmu_quantize.features import FrontEnd

__all__ = ["SPAN_S", "block_rows", "cost"]

SPAN_S = 0.02
"""Seconds of audio that products and bits are counted for."""


def cost(model: QuantizedModel, skipped: int | None = None) -> tuple[float, float]:
    """Multiplications and bits of trained weights that a network takes per 20 ms of audio.

    The memory of a layer is updated on each of the layer's input frames, the hidden state on every stride-th of them.
    Products with the memory matrices count too; their bits do not, as they are not trained weights.

    Parameters
    ----------
    model : QuantizedModel
        The network; without a front end its frames are taken to be 20 ms apart.
    skipped : int, optional
        Rows of the blocks of zeros that the hardware skips (`lmu_hw.sparsity`), which are not counted then; the index
        that is read beside the others is. Nothing is skipped if not given.

    Returns
    -------
    products, bits : float
        Per `SPAN_S` seconds.
    """
    rates, rate = [], 1.0
    for stride in model.strides:
        rates.append((rate, rate / stride))
        rate /= stride
    products, bits = 0.0, 0.0
    operations = lower(model)
    reads = _reads(operations) if skipped is None else _unskipped(operations, skipped)
    for op, (multiplied, read) in zip(operations, reads, strict=True):
        share = rates[op.layer][op.closes_stride] * op.repeat
        products += share * multiplied
        bits += share * read
    frame_rate = 1 / SPAN_S if model.front_end is None else FrontEnd.from_dict(model.front_end).frame_rate
    return products * frame_rate * SPAN_S, bits * frame_rate * SPAN_S


def block_rows(model: QuantizedModel) -> int | None:
    """Rows of the blocks that the recipe of a network prunes; None for a network that is not pruned."""
    recipe = model.notes.get("recipe")
    pruning = recipe.get("pruning") if isinstance(recipe, dict) else None
    return int(pruning["rows"]) if pruning else None


def _reads(operations: Sequence[Operation]) -> list[tuple[int, int]]:
    """Products of a block of each operation, and bits of the trained weights that are read for it."""
    found = []
    for op in operations:
        bits = 0 if op.target.endswith(".m") else sum(term.weights.size * term.width for term in op.terms)
        found.append((op.rows * op.columns, bits))
    return found


def _unskipped(operations: Sequence[Operation], lanes: int) -> list[tuple[int, int]]:
    """Give the same where blocks of zeros of so many rows are skipped, with the bits of the index."""
    found = {}
    for width in {weight_width(op) for op in operations}:
        mine = [op for op in operations if weight_width(op) == width]
        stored = memory_columns(mine, lanes, width, skip=True)
        for op, columns in zip(mine, stored.columns, strict=True):
            products = bits = 0
            for term, groups in zip(op.terms, columns, strict=True):
                for group, kept in enumerate(groups):
                    rows = min(lanes, op.rows - group * lanes)
                    products += len(kept) * rows
                    bits += len(kept) * (rows * term.width + stored.index_bits)
            found[op.name] = products, 0 if op.target.endswith(".m") else bits
    return [found[op.name] for op in operations]
