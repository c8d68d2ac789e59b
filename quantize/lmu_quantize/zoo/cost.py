"""What a network takes of the hardware per stretch of audio, counted in the integers that it runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmu_hw.model.operations import Operation, lower, vectors
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.sparsity import columns_of, stored_columns, weight_counts, weight_width, word_count
from lmu_hw.power.report import frame_rate

__all__ = ["REFERENCE_BITS", "SPAN_S", "Products", "SpanCost", "block_rows", "cost"]

SPAN_S = 0.02
"""Seconds of audio that products and bits are counted for."""
REFERENCE_BITS = 4 * 7
"""Bits of weight times bits of operand of the product that others are measured by."""


@dataclass(frozen=True)
class Products:
    """Products of one width.

    Parameters
    ----------
    weight_bits, operand_bits : int
        Bits of the weight, or of the element of a memory matrix, and of the vector's element that it multiplies.
    count : float
        Per `SPAN_S` seconds.
    """

    weight_bits: int
    operand_bits: int
    count: float


@dataclass(frozen=True)
class SpanCost:
    """What a network takes per 20 ms of audio.

    Parameters
    ----------
    by_width : tuple of Products
        Multiplications, widest first.
    weight_bits : float
        Bits of trained weights that are read.
    """

    by_width: tuple[Products, ...]
    weight_bits: float

    @property
    def products(self) -> float:
        """Multiplications of any width."""
        return sum(each.count for each in self.by_width)

    @property
    def equivalent_products(self) -> float:
        """Multiplications as so many of 4 x 7 bits: each counts bits of weight times bits of operand, over 28."""
        return sum(each.count * each.weight_bits * each.operand_bits for each in self.by_width) / REFERENCE_BITS


def cost(model: QuantizedModel, skipped: int | None = None) -> SpanCost:
    """Multiplications and bits of trained weights that a network takes per 20 ms of audio.

    The memory of a layer is updated on each of the layer's input frames, filters and hidden state on every stride-th of
    them. Products with the memory matrices count too; their bits do not, as they are not trained weights.

    Parameters
    ----------
    model : QuantizedModel
        The network; without a front end its frames are taken to be 20 ms apart.
    skipped : int, optional
        Rows of the blocks of zeros that the hardware skips (`lmu_hw.plan.sparsity`), which are not counted then; the
        index that is read beside the others is. Nothing is skipped if not given.
    """
    rates, rate = [], 1.0
    for stride in model.strides:
        rates.append((rate, rate / stride))
        rate /= stride
    frames = frame_rate(model.front_end) * SPAN_S
    known = vectors(model)
    counts: dict[tuple[int, int], float] = {}
    bits = 0.0
    operations = lower(model)
    for op, (multiplied, index) in zip(operations, _multiplied(operations, skipped), strict=True):
        share = rates[op.layer][op.strided] * op.repeat * frames
        bits += share * index
        for term, count in zip(op.terms, multiplied, strict=True):
            widths = term.width, known[term.source].format.width
            counts[widths] = counts.get(widths, 0.0) + share * count
            bits += 0.0 if op.updates_memory else share * count * term.width
    ordered = sorted(counts, key=lambda widths: (-math.prod(widths), widths))
    return SpanCost(tuple(Products(*widths, counts[widths]) for widths in ordered), bits)


def block_rows(model: QuantizedModel) -> int | None:
    """Rows of the blocks that the recipe of a network prunes; None for a network that is not pruned."""
    recipe = model.notes.get("recipe")
    pruning = recipe.get("pruning") if isinstance(recipe, dict) else None
    return int(pruning["rows"]) if pruning else None


def _multiplied(operations: Sequence[Operation], skipped: int | None) -> list[tuple[list[int], int]]:
    """Products of each term in a block of each operation, and bits of the index that are read for it."""
    if skipped is None:
        return [([op.rows * term.slice_columns for term in op.terms], 0) for op in operations]
    stored = stored_columns(operations, skipped, skip=True)
    return [
        (
            weight_counts(op, columns, skipped),
            0 if op.updates_memory else stored[weight_width(op)].index_bits * word_count(columns),
        )
        for op, columns in zip(operations, columns_of(operations, stored), strict=True)
    ]
