"""What a network takes of the hardware per stretch of audio, counted in the integers that it runs."""

from collections.abc import Sequence

from lmu_hw.model.operations import Operation, lower
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.sparsity import columns_of, stored_columns, weight_counts, weight_width, word_count
from lmu_hw.power.report import frame_rate

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
        Rows of the blocks of zeros that the hardware skips (`lmu_hw.plan.sparsity`), which are not counted then; the
        index that is read beside the others is. Nothing is skipped if not given.

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
    for op, (multiplied, read) in zip(operations, _reads(operations, skipped), strict=True):
        share = rates[op.layer][op.strided] * op.repeat
        products += share * multiplied
        bits += share * read
    frames = frame_rate(model.front_end) * SPAN_S
    return products * frames, bits * frames


def block_rows(model: QuantizedModel) -> int | None:
    """Rows of the blocks that the recipe of a network prunes; None for a network that is not pruned."""
    recipe = model.notes.get("recipe")
    pruning = recipe.get("pruning") if isinstance(recipe, dict) else None
    return int(pruning["rows"]) if pruning else None


def _reads(operations: Sequence[Operation], skipped: int | None) -> list[tuple[int, int]]:
    """Products of a block of each operation, and bits of trained weights, with their index, that are read for it."""
    lanes = 1 if skipped is None else skipped
    stored = stored_columns(operations, lanes, skip=skipped is not None)
    reads = []
    for op, columns in zip(operations, columns_of(operations, stored), strict=True):
        counts = weight_counts(op, columns, lanes)
        bits = stored[weight_width(op)].index_bits * word_count(columns)
        bits += sum(count * term.width for count, term in zip(counts, op.terms, strict=True))
        reads.append((sum(counts), 0 if op.target.endswith(".m") else bits))
    return reads
