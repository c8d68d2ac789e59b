"""The arithmetic of the lanes: bits of weights, operand and products, all in sign and magnitude.

A weight of n bits is stored as its sign, the highest bit, and n - 1 bits of magnitude. The code of minus zero stands
for -2**(n - 1), whose magnitude has n bits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.bounds import Certificate
from lmu_hw.plan.config import AcceleratorConfig, WeightStore
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.schedule import PlannedOperation

__all__ = ["LanePlan", "plan_lanes", "sign_and_magnitude"]


def sign_and_magnitude(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Stored codes of weights.

    Parameters
    ----------
    values : ndarray of int64
        Integers of `bits` bits, two's complement.
    bits : int
        Bits of a weight, at least 2.

    Returns
    -------
    ndarray of int64, shape as `values`
        Unsigned codes of `bits` bits: the sign in the highest one, the magnitude below. -2**(bits - 1) is minus zero.
    """
    return np.abs(values) | (values < 0).astype(np.int64) << bits - 1


@dataclass(frozen=True)
class LanePlan:
    """Bits of what the lanes multiply and add.

    Parameters
    ----------
    operand : int
        Magnitude of the operand that all lanes share, after its shift.
    weights : tuple of int
        Magnitude of the weights of each weight memory: one bit less than a weight has, and as many where a weight may
        be the most negative one. 0 for a memory that no operation of these lanes reads.
    is_wide : tuple of bool
        Whether the weights of each memory have more bits than those that are multiplied most often. False for all
        memories without `isolate_operands`.
    narrow, wide : int
        Magnitude of a weight in the lanes from `wide_lanes` on, and in the first `wide_lanes`.
    wide_lanes : int
        Lanes that get the widest weights. All others rest while weights are wide. 0 if all lanes are alike.
    narrow_product, wide_product : int
        Magnitude of a product in such lanes.
    """

    operand: int
    weights: tuple[int, ...]
    is_wide: tuple[bool, ...]
    narrow: int
    wide: int
    wide_lanes: int
    narrow_product: int
    wide_product: int

    def weight_bits(self, lane: int) -> int:
        """Magnitude of a lane's weight."""
        return self.wide if lane < self.wide_lanes else self.narrow

    def product_bits(self, lane: int) -> int:
        """Magnitude of a lane's product."""
        return self.wide_product if lane < self.wide_lanes else self.narrow_product


def plan_lanes(
    config: AcceleratorConfig,
    operations: Sequence[PlannedOperation],
    data_memories: Sequence[MemoryPlan],
    weight_widths: Sequence[int],
    certificate: Certificate,
) -> LanePlan:
    """Find the bits of operand, weights and products.

    Parameters
    ----------
    config : AcceleratorConfig
        Lanes, kind of weight memories, and whether operands are isolated.
    operations : sequence of PlannedOperation
        Those of the lanes, in order.
    data_memories : sequence of MemoryPlan
        By index.
    weight_widths : sequence of int
        Bits of a weight in each weight memory.
    certificate : Certificate
        Ranges of the vectors, which weights in RAM do not keep.
    """
    fixed = config.weights is WeightStore.ROM
    used = {planned.weight_memory for planned in operations}
    magnitudes = tuple(
        (width - 1 if fixed and not _reaches(operations, index, -(1 << width - 1)) else width) if index in used else 0
        for index, width in enumerate(weight_widths)
    )
    operand = max(
        _operand_bits(term.source, term.shift, data_memories[laid.location.memories[0]], certificate if fixed else None)
        for planned in operations
        for term, laid in zip(planned.operation.terms, planned.terms, strict=True)
    )
    widest = max(weight_widths[index] for index in used)
    frequent = _frequent(operations, weight_widths) if config.isolate_operands else widest
    is_wide = tuple(index in used and width > frequent for index, width in enumerate(weight_widths))
    narrow = max(bits for bits, wide in zip(magnitudes, is_wide, strict=True) if not wide)
    rows = (planned.rows_in(0, config.lanes) for planned in operations if is_wide[planned.weight_memory])
    wide_lanes = max(rows, default=0)
    return LanePlan(
        operand=operand,
        weights=magnitudes,
        is_wide=is_wide,
        narrow=narrow,
        wide=max(*magnitudes, narrow + 1) if wide_lanes else narrow,
        wide_lanes=wide_lanes,
        narrow_product=operand + frequent - 1,
        wide_product=operand + widest - 1,
    )


def _frequent(operations: Iterable[PlannedOperation], weight_widths: Sequence[int]) -> int:
    """Bits of the weights that are multiplied most often."""
    words = dict.fromkeys(weight_widths, 0)
    for planned in operations:
        words[weight_widths[planned.weight_memory]] += planned.operation.repeat * planned.words
    return max(words, key=lambda bits: words[bits])


def _reaches(operations: Iterable[PlannedOperation], memory: int, value: int) -> bool:
    """Whether a weight in a memory has a value."""
    own = (planned.operation.terms for planned in operations if planned.weight_memory == memory)
    return any(bool((term.weights == value).any()) for terms in own for term in terms)


def _operand_bits(source: str, shift: int, memory: MemoryPlan, certificate: Certificate | None) -> int:
    """Bits of the magnitude of a vector's elements, shifted: as proven, or else all that its memory holds."""
    if certificate is None:
        return memory.element_width + shift
    bound = certificate.vectors[source]
    return max(1, max(abs(bound.low), abs(bound.high)).bit_length()) + shift
