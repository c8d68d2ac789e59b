"""Power-of-two scaling of memories, without loss.

A memory is linear, so its input u may be scaled by ``2**s`` if all that read its state scale by ``2**-s``. The function
f_u (linear or ReLU) commutes with a positive factor. Powers of two change exponents only, so the scaled model gives the
same hidden states, bit for bit in floating point.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.model import MemoryLayer, SeparableLayer
from lmu_quantize.scales import format_by_error

__all__ = ["equalizing_shifts", "scale_memories"]

FloatArray = NDArray[np.float64]


def equalizing_shifts(u: FloatArray, bits: int) -> tuple[int, ...]:
    """Give shifts that bring all elements of u to one scale.

    Parameters
    ----------
    u : ndarray of float64, shape (..., M)
        The memory inputs on representative frames.
    bits : int
        Bits of the format that they will share.

    Returns
    -------
    tuple of int
        For each memory, s: its input is to be multiplied by ``2**s``. The middle one stays; so do silent ones.
    """
    columns = u.reshape(-1, u.shape[-1]).T
    fracs = np.array([format_by_error(column, bits).frac for column in columns])
    live = np.any(columns != 0, axis=1)
    if not live.any():
        return tuple(0 for _ in fracs)
    middle = int(np.median(fracs[live]))
    return tuple(int(frac) - middle if alive else 0 for frac, alive in zip(fracs, live, strict=True))


def scale_memories(layer: MemoryLayer, shifts: Sequence[int]) -> MemoryLayer:
    """Multiply the input of each memory by a power of two and divide by it where the memory is read.

    Parameters
    ----------
    layer : LMULayer or SeparableLayer
        The layer, with an encoder ``e_x``.
    shifts : sequence of int
        For each memory, the exponent of the factor.

    Returns
    -------
    LMULayer or SeparableLayer
        A layer with the same hidden states.
    """
    if layer.e_x is None:
        raise ValueError("a layer must have e_x to scale the inputs of its memories")
    if len(shifts) != len(layer.memories):
        raise ValueError(f"shifts must be {len(layer.memories)}, one for each memory, not {len(shifts)}")
    rows = np.array(shifts)
    if isinstance(layer, SeparableLayer):
        filters = np.repeat(rows, layer.filters)[:, None]
        return replace(layer, w_m=np.ldexp(layer.w_m, -filters), e_x=np.ldexp(layer.e_x, rows[:, None]))
    columns = np.repeat(rows, [memory.order for memory in layer.memories])
    scaled: dict[str, Any] = {"w_m": np.ldexp(layer.w_m, -columns), "e_x": np.ldexp(layer.e_x, rows[:, None])}
    if layer.e_h is not None:
        scaled["e_h"] = np.ldexp(layer.e_h, rows[:, None])
    if layer.e_m is not None:
        scaled["e_m"] = np.ldexp(layer.e_m, rows[:, None] - columns)
    if layer.b_u is not None:
        scaled["b_u"] = np.ldexp(layer.b_u, rows)
    return replace(layer, **scaled)
