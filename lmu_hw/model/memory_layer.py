"""The part that layers with memories share: the memories' matrices, formats and stride."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_int
from lmu_hw.model.fixed import Format, Quantizer

__all__ = ["QuantizedMemoryLayer", "check_range", "check_strides", "check_width", "integers"]

IntArray = NDArray[np.int64]

MAX_WEIGHT_WIDTH = 16
MAX_VALUE_WIDTH = 24
MAX_STRIDE = 1024
MAX_PERIOD = 4096
"""Most frames after which the strides of all layers repeat; the timing of each of them is worked out."""


def integers(name: str, value: Any, shape: tuple[int, ...] | None = None) -> IntArray:
    """Convert to a read-only array of int64; refuse what holds no integers or has another shape."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {array.dtype}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def check_range(name: str, array: IntArray, fmt: Format) -> None:
    """Refuse values outside a format."""
    if not fmt.contains(array):
        worst = int(array.flat[np.argmax(np.abs(array))])
        raise ValueError(f"{name} must fit {fmt.width} bits ({fmt.min} to {fmt.max}), found {worst}")


def check_width(name: str, fmt: Format, limit: int) -> None:
    """Refuse a format of more than `limit` bits."""
    if fmt.width > limit:
        raise ValueError(f"{name} must be at most {limit} bits wide, not {fmt.width}")


def check_strides(strides: Iterable[int]) -> None:
    """Refuse strides that accelerators do not support.

    Raises
    ------
    TypeError
        If a stride is no integer.
    ValueError
        If a stride is not in 1 to 1024, or the strides multiplied exceed 4096.
    """
    checked = [require_int("layer stride", stride, 1, MAX_STRIDE) for stride in strides]
    if math.prod(checked) > MAX_PERIOD:
        raise ValueError(f"the strides multiplied must be at most {MAX_PERIOD}, not {math.prod(checked)}")


@dataclass(frozen=True, eq=False)
class QuantizedMemoryLayer:
    """A layer with Legendre memories, in integers.

    Parameters
    ----------
    matrix : tuple of int
        For each memory, which pair of `a` and `b` it uses.
    a : tuple of array_like of int, each of shape (order, order)
        Distinct discrete state matrices, in `a_format`.
    b : tuple of array_like of int, each of shape (order,)
        Distinct discrete input matrices, in `b_format`.
    a_format, b_format : Format
        Signed, at most 16 bits.
    m, h : Quantizer
        How the memory state and the hidden state are narrowed; at most 24 bits.
    stride : int
        Every how many input frames the hidden state is computed, 1 to 1024.
    """

    matrix: tuple[int, ...]
    a: tuple[IntArray, ...]
    b: tuple[IntArray, ...]
    a_format: Format
    b_format: Format
    m: Quantizer
    h: Quantizer
    stride: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        a = tuple(integers("a", value) for value in self.a)
        b = tuple(integers("b", value) for value in self.b)
        if not a or len(a) != len(b):
            raise ValueError(f"a and b must be equally many matrices, not {len(a)} and {len(b)}")
        for matrix_a, vector_b in zip(a, b, strict=True):
            order = vector_b.size
            if vector_b.ndim != 1 or not order or matrix_a.shape != (order, order):
                raise ValueError(f"a and b must have shapes (d, d) and (d,), not {matrix_a.shape} and {vector_b.shape}")
            check_range("a", matrix_a, self.a_format)
            check_range("b", vector_b, self.b_format)
        for name, fmt in (("a_format", self.a_format), ("b_format", self.b_format)):
            if not fmt.signed:
                raise ValueError(f"{name} must be signed")
            check_width(name, fmt, MAX_WEIGHT_WIDTH)
        matrix = tuple(require_int("an index in matrix", index) for index in self.matrix)
        if not matrix or min(matrix) < 0 or max(matrix) >= len(a):
            raise ValueError(f"matrix must name one of the {len(a)} matrices for each memory, not {self.matrix!r}")
        for name, value in (("a", a), ("b", b), ("matrix", matrix)):
            object.__setattr__(self, name, value)
        check_strides((self.stride,))
        for name in ("m", "h"):
            check_width(f"the format of {name}", getattr(self, name).format, MAX_VALUE_WIDTH)

    @property
    def orders(self) -> tuple[int, ...]:
        """Order of each memory."""
        return tuple(int(self.b[index].size) for index in self.matrix)

    @property
    def state_size(self) -> int:
        """Elements of the memory state, D."""
        return sum(self.orders)

    @property
    def output(self) -> Quantizer:
        """How the layer's output is narrowed."""
        return self.h
