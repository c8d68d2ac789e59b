"""A quantized model as a list of integer operations: what golden, bounds, plan and gateware all follow.

Every step of the network has one shape: an exact sum of products over a few *terms* plus a bias, narrowed row by row::

    y[r] = f(requantize(bias[r] + sum_terms (sum_c weights[r, c] * source[c]) << shift))

The memory update is such an operation repeated over equal memories (``repeat``), each block reading its own slices.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import MAX_WIDTH, Format, Quantizer
from lmu_hw.model.program import QuantizedLMU, QuantizedModel, Weights, table_quantizer

__all__ = [
    "Operation",
    "Term",
    "Vector",
    "lower",
    "output_name",
    "tanh_error",
    "tanh_errors",
    "tanh_table",
    "vectors",
]

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Vector:
    """A named vector of integers.

    Parameters
    ----------
    name : str
        ``x``, ``layer{i}.u``, ``layer{i}.m`` or ``layer{i}.h``.
    size : int
        Elements.
    format : Format
        Of every element.
    """

    name: str
    size: int
    format: Format


@dataclass(frozen=True, eq=False)
class Term:
    """One sum of products of an operation.

    Parameters
    ----------
    source : str
        The vector that is read.
    previous : bool
        Whether the source is the value from before this frame (state), not the one computed in it.
    weights : ndarray of int64, shape (rows, columns)
        Integers of `width` bits.
    width : int
        Bits of a weight.
    shift : int
        Left shift that brings the products to the scale of the sum, 0 or more.
    offset, step : int
        Block ``k`` reads the source from element ``offset + k * step`` on.
    """

    source: str
    previous: bool
    weights: IntArray
    width: int
    shift: int
    offset: int = 0
    step: int = 0


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of the network.

    Parameters
    ----------
    target : str
        The vector that is written.
    start : int
        First element written; block ``k`` writes from ``start + k * rows`` on.
    repeat : int
        Number of blocks.
    terms : tuple of Term
        In the order in which the hardware takes them.
    bias : ndarray of int64, shape (rows,)
        At the scale of the sum.
    frac : ndarray of int64, shape (rows,)
        Fraction bits of the sum, row by row; at least those of `narrow`.
    narrow : Quantizer
        How the sum is narrowed (for tanh: to the table's index).
    activation : {"linear", "relu", "tanh"}
        Applied after narrowing.
    output : Format
        Of the target.
    layer : int
        Index of the layer.
    """

    target: str
    start: int
    repeat: int
    terms: tuple[Term, ...]
    bias: IntArray
    frac: IntArray
    narrow: Quantizer
    activation: str
    output: Format
    layer: int

    @property
    def name(self) -> str:
        """Name that tells several operations on one vector apart."""
        return self.target if self.start == 0 else f"{self.target}[{self.start}]"

    @property
    def rows(self) -> int:
        """Elements that one block writes."""
        return int(self.bias.size)

    @property
    def columns(self) -> int:
        """Products per element."""
        return sum(int(term.weights.shape[1]) for term in self.terms)

    @property
    def shifts(self) -> IntArray:
        """Right shift of the sum, row by row."""
        return self.frac - self.narrow.format.frac

    @property
    def products(self) -> int:
        """Products of the whole operation."""
        return self.repeat * self.rows * self.columns

    @property
    def updates_memory(self) -> bool:
        """Whether this operation renews memory states."""
        return self.target.endswith(".m")

    @property
    def closes_stride(self) -> bool:
        """Whether this operation computes a hidden state, and so waits for its layer's stride."""
        return self.target.endswith(".h")


def output_name(model: QuantizedModel) -> str:
    """Name of the vector that holds the logits."""
    return f"layer{len(model.layers) - 1}.h"


def vectors(model: QuantizedModel) -> dict[str, Vector]:
    """All vectors of a model by name, in the order in which they are computed."""
    all_vectors = [Vector("x", model.inputs, model.input)]
    for index, layer in enumerate(model.layers):
        if isinstance(layer, QuantizedLMU):
            all_vectors.append(Vector(f"layer{index}.u", len(layer.matrix), layer.u.format))
            all_vectors.append(Vector(f"layer{index}.m", layer.state_size, layer.m.format))
        all_vectors.append(Vector(f"layer{index}.h", layer.units, layer.output.format))
    return {vector.name: vector for vector in all_vectors}


def _combine(
    parts: list[tuple[str, bool, Weights, Format]], bias: IntArray | None, to: Quantizer, where: str
) -> tuple[tuple[Term, ...], IntArray, IntArray]:
    """Bring terms to one scale per row: terms, bias, and fraction bits of the sum."""
    scales = np.array([weights.frac + source.frac for _, _, weights, source in parts])
    frac = scales.max(axis=0)
    frac = frac + max(0, int(to.format.frac - frac.min()))
    terms = []
    for (name, previous, weights, _), scale in zip(parts, scales, strict=True):
        shift = np.unique(frac - scale)
        if shift.size != 1:
            raise ValueError(
                f"{where}: the scales of the terms must differ by the same power of two in every row, "
                f"found shifts {shift.tolist()} for the term on {name}"
            )
        terms.append(Term(name, previous, weights.values, weights.width, int(shift[0])))
    return tuple(terms), np.zeros(len(frac), np.int64) if bias is None else bias, frac


def _memory_update(index: int, layer: QuantizedLMU) -> list[Operation]:
    """One operation for each run of neighbouring memories that share their matrices."""
    operations: list[Operation] = []
    first, start = 0, 0
    scale_a, scale_b = layer.a_format.frac + layer.m.format.frac, layer.b_format.frac + layer.u.format.frac
    frac = max(scale_a, scale_b, layer.m.format.frac)
    while first < len(layer.matrix):
        last = first
        while last < len(layer.matrix) and layer.matrix[last] == layer.matrix[first]:
            last += 1
        a, b = layer.a[layer.matrix[first]], layer.b[layer.matrix[first]]
        d, repeat = b.size, last - first
        width = max(layer.a_format.width, layer.b_format.width)
        terms = (
            Term(f"layer{index}.m", True, a, width, frac - scale_a, start, d),
            Term(f"layer{index}.u", False, b[:, None], width, frac - scale_b, first, 1),
        )
        bias, fracs = np.zeros(d, np.int64), np.full(d, frac)
        target = f"layer{index}.m"
        operations.append(
            Operation(target, start, repeat, terms, bias, fracs, layer.m, "linear", layer.m.format, index)
        )
        first, start = last, start + d * repeat
    return operations


def _check_width(op: Operation, known: dict[str, Vector]) -> None:
    """Refuse sums that the 64-bit arithmetic of the golden model might not hold."""
    if int(op.shifts.max()) > MAX_WIDTH:
        raise ValueError(f"{op.name}: narrowing must drop at most {MAX_WIDTH} bits, not {op.shifts.max()}")
    reach = np.abs(op.bias.astype(object))
    for term in op.terms:
        sums = np.abs(term.weights).sum(axis=1).astype(object)
        reach = reach + sums * (known[term.source].format.magnitude << term.shift)
    if max(reach) >= 1 << MAX_WIDTH:
        raise ValueError(f"{op.name}: a sum may reach {max(reach)}, over {MAX_WIDTH} bits")


def lower(model: QuantizedModel) -> tuple[Operation, ...]:
    """Operations of one frame, in order.

    Parameters
    ----------
    model : QuantizedModel
        The network.

    Returns
    -------
    tuple of Operation
        For each LMU layer: u, the memory update, the hidden state; for each dense layer: its output.

    Raises
    ------
    ValueError
        If the scales of the terms of one sum do not fit together, or a sum may exceed 62 bits.
    """
    operations: list[Operation] = []
    known = vectors(model)
    source = "x"
    for index, layer in enumerate(model.layers):
        x, name = known[source].format, f"layer{index}"
        if isinstance(layer, QuantizedLMU):
            parts = [(source, False, layer.e_x, x)]
            if layer.e_h is not None:
                parts.append((f"{name}.h", True, layer.e_h, layer.h.format))
            if layer.e_m is not None:
                parts.append((f"{name}.m", True, layer.e_m, layer.m.format))
            terms, bias, frac = _combine(parts, layer.b_u, layer.u, f"{name}.u")
            operations.append(
                Operation(f"{name}.u", 0, 1, terms, bias, frac, layer.u, layer.u_activation, layer.u.format, index)
            )
            operations.extend(_memory_update(index, layer))
            parts = [] if layer.w_x is None else [(source, False, layer.w_x, x)]
            if layer.w_h is not None:
                parts.append((f"{name}.h", True, layer.w_h, layer.h.format))
            parts.append((f"{name}.m", False, layer.w_m, layer.m.format))
            offset = layer.b_h
        else:
            parts, offset = [(source, False, layer.w, x)], layer.b
        narrow = layer.h if layer.table is None else table_quantizer(layer.table, layer.h)
        terms, bias, frac = _combine(parts, offset, narrow, f"{name}.h")
        operations.append(
            Operation(f"{name}.h", 0, 1, terms, bias, frac, narrow, layer.activation, layer.h.format, index)
        )
        source = f"{name}.h"
    for op in operations:
        _check_width(op, known)
    return tuple(operations)


def tanh_table(index: Format, output: Format) -> IntArray:
    """Table of tanh for non-negative indices; negative ones use the odd symmetry.

    Parameters
    ----------
    index : Format
        Signed format of the table's input, used over ``-max`` to ``max``.
    output : Format
        Signed format of the result.

    Returns
    -------
    ndarray of int64, shape (index.max + 1,)
        ``round(tanh(i * 2**-index.frac) * 2**output.frac)``, at most ``output.max``.
    """
    values = [math.tanh(i * index.lsb) for i in range(index.max + 1)]
    return np.minimum(output.quantize(values), output.max)


def tanh_error(index: Format, output: Format) -> float:
    """Largest error of the table over all real inputs, index rounding and saturation included.

    Between two indices tanh is monotonic, so the error is largest at the rounding thresholds half way between indices;
    beyond the last index it is largest at its ends.
    """
    table = output.real(tanh_table(index, output))
    i = np.arange(table.size)
    low = np.tanh(np.maximum(i - 0.5, 0) * index.lsb)
    high = np.append(np.tanh((i[:-1] + 0.5) * index.lsb), 1.0)
    return float(np.maximum(np.abs(table - low), np.abs(table - high)).max())


def tanh_errors(operations: Iterable[Operation]) -> dict[str, float]:
    """`tanh_error` of every vector that a tanh table makes, by name; rounded up to a millionth, as it is stated."""
    errors = {op.target: tanh_error(op.narrow.format, op.output) for op in operations if op.activation == "tanh"}
    return {name: math.ceil(error * 1e6) / 1e6 for name, error in errors.items()}
