"""A quantized model as a list of integer operations: what golden, bounds, plan and gateware all follow.

Every step of the network has one shape: an exact sum of products over a few *terms* plus a bias, narrowed row by row::

    y[r] = f(requantize(bias[r] + sum_terms (sum_c weights[r, c] * source[c]) << shift))

The memory update is such an operation repeated over equal memories (``repeat``), each block reading its own slices. In
a separable layer, the filters of a memory read its slice of the state only (``slice_rows``), and the hidden state may
add the layer's input without a product (`Residual`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import MAX_WIDTH, Format, Quantizer
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
    table_quantizer,
)

__all__ = [
    "Operation",
    "Residual",
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
        ``x``, ``layer{i}.u``, ``layer{i}.m``, ``layer{i}.f`` or ``layer{i}.h``.
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
    slice_rows : int
        Rows that read the same slice of the source; 0 if every row reads all columns. Row ``r`` reads slice ``r //
        slice_rows``, one of ``rows // slice_rows`` equal ones. Its weights for all other columns are 0, and no trained
        weights.
    """

    source: str
    previous: bool
    weights: IntArray
    width: int
    shift: int
    offset: int = 0
    step: int = 0
    slice_rows: int = 0

    @property
    def slice_columns(self) -> int:
        """Columns that a row reads."""
        rows, columns = self.weights.shape
        return columns * self.slice_rows // rows if self.slice_rows else columns

    def slice_of(self, first_row: int, last_row: int) -> range:
        """Columns that some rows read, from the first to the last one."""
        if not self.slice_rows:
            return range(self.weights.shape[1])
        first, last = first_row // self.slice_rows, last_row // self.slice_rows
        return range(first * self.slice_columns, (last + 1) * self.slice_columns)

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Which weights are the network's, shape (rows, columns): all, or those of the slice that the row reads."""
        rows, columns = (np.arange(size) for size in self.weights.shape)
        if not self.slice_rows:
            return np.ones(self.weights.shape, dtype=bool)
        return rows[:, None] // self.slice_rows == columns // self.slice_columns


@dataclass(frozen=True, eq=False)
class Residual:
    """A vector that an operation adds to its sums, element by element.

    Parameters
    ----------
    source : str
        The vector that is read; row ``r`` adds element ``r``.
    shifts : ndarray of int64, shape (rows,)
        Left shifts that bring the elements to the scales of the sums, 0 or more.
    """

    source: str
    shifts: IntArray


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
    residual : Residual, optional
        What is added without a product.
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
    residual: Residual | None = None

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
        return sum(term.slice_columns for term in self.terms)

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
    def strided(self) -> bool:
        """Whether this operation runs at its layer's stride: it computes filters or a hidden state."""
        return self.target.endswith((".f", ".h"))

    @property
    def closes_stride(self) -> bool:
        """Whether this operation is the first one of its layer that waits for the layer's stride."""
        return self.strided and all(term.source != f"layer{self.layer}.f" for term in self.terms)


def output_name(model: QuantizedModel) -> str:
    """Name of the vector that holds the logits."""
    return f"layer{len(model.layers) - 1}.h"


def vectors(model: QuantizedModel) -> dict[str, Vector]:
    """All vectors of a model by name, in the order in which they are computed."""
    all_vectors = [Vector("x", model.inputs, model.input)]
    for index, layer in enumerate(model.layers):
        if isinstance(layer, QuantizedLMU | QuantizedSeparable):
            if layer.u is not None:
                all_vectors.append(Vector(f"layer{index}.u", len(layer.matrix), layer.u.format))
            all_vectors.append(Vector(f"layer{index}.m", layer.state_size, layer.m.format))
        if isinstance(layer, QuantizedSeparable):
            all_vectors.append(Vector(f"layer{index}.f", len(layer.w_m.values), layer.f.format))
        all_vectors.append(Vector(f"layer{index}.h", layer.units, layer.output.format))
    return {vector.name: vector for vector in all_vectors}


@dataclass(frozen=True)
class _Part:
    """A term of a sum before its scale is known: the vector that is read, its format, and the weights."""

    source: str
    previous: bool
    weights: Weights
    format: Format


def _combine(
    parts: list[_Part], to: Quantizer, where: str, residual: Format | None = None
) -> tuple[tuple[Term, ...], IntArray]:
    """Bring terms to one scale per row: terms, and fraction bits of the sum."""
    scales = np.array([part.weights.frac + part.format.frac for part in parts])
    frac = scales.max(axis=0)
    finest = to.format.frac if residual is None else max(to.format.frac, residual.frac)
    frac = frac + max(0, int(finest - frac.min()))
    terms = []
    for part, scale in zip(parts, scales, strict=True):
        shift = np.unique(frac - scale)
        if shift.size != 1:
            raise ValueError(
                f"{where}: the scales of the terms must differ by the same power of two in every row, "
                f"found shifts {shift.tolist()} for the term on {part.source}"
            )
        terms.append(Term(part.source, part.previous, part.weights.values, part.weights.width, int(shift[0])))
    return tuple(terms), frac


def _bias(bias: IntArray | None, rows: int) -> IntArray:
    return np.zeros(rows, np.int64) if bias is None else bias


def _memory_update(index: int, layer: QuantizedMemoryLayer, drive: Vector) -> list[Operation]:
    """One operation for each run of neighbouring memories that share their matrices; ``drive`` is what they take in."""
    operations: list[Operation] = []
    first, start = 0, 0
    scale_a, scale_b = layer.a_format.frac + layer.m.format.frac, layer.b_format.frac + drive.format.frac
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
            Term(drive.name, False, b[:, None], width, frac - scale_b, first, 1),
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
    if op.residual is not None:
        magnitude = known[op.residual.source].format.magnitude
        reach = reach + np.array([magnitude << int(shift) for shift in op.residual.shifts], dtype=object)
    if max(reach) >= 1 << MAX_WIDTH:
        raise ValueError(f"{op.name}: a sum may reach {max(reach)}, over {MAX_WIDTH} bits")


class _Lowering:
    """Operations of one layer after the other.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    """

    def __init__(self, model: QuantizedModel):
        self.known = vectors(model)
        self.operations: list[Operation] = []
        self._source = self.known["x"]
        for index, layer in enumerate(model.layers):
            if isinstance(layer, QuantizedLMU):
                self._lmu(index, layer)
            elif isinstance(layer, QuantizedSeparable):
                self._separable(index, layer)
            else:
                self._dense(index, layer)
            self._source = self.known[f"layer{index}.h"]

    def _dense(self, index: int, layer: QuantizedDense) -> None:
        narrow = layer.h if layer.table is None else table_quantizer(layer.table, layer.h)
        self._add(index, "h", [self._part(self._source, layer.w)], layer.b, narrow, layer.activation)

    def _lmu(self, index: int, layer: QuantizedLMU) -> None:
        u, m, h = (self.known[f"layer{index}.{name}"] for name in "umh")
        encoders = [self._part(self._source, layer.e_x), self._part(h, layer.e_h, True), self._part(m, layer.e_m, True)]
        self._add(index, "u", encoders, layer.b_u, layer.u, layer.u_activation)
        self.operations += _memory_update(index, layer, u)
        kernels = [self._part(self._source, layer.w_x), self._part(h, layer.w_h, True), self._part(m, layer.w_m)]
        narrow = layer.h if layer.table is None else table_quantizer(layer.table, layer.h)
        self._add(index, "h", kernels, layer.b_h, narrow, layer.activation)

    def _separable(self, index: int, layer: QuantizedSeparable) -> None:
        drive = self._source
        if layer.u is not None:
            self._add(index, "u", [self._part(self._source, layer.e_x)], None, layer.u, "linear")
            drive = self.known[f"layer{index}.u"]
        self.operations += _memory_update(index, layer, drive)
        m, f = self.known[f"layer{index}.m"], self.known[f"layer{index}.f"]
        self._filters(index, layer, m)
        added = self._source if layer.residual else None
        self._add(index, "h", [self._part(f, layer.w_f)], layer.b_h, layer.h, layer.activation, added)

    def _filters(self, index: int, layer: QuantizedSeparable, m: Vector) -> None:
        """Add the filters of all memories as one operation, whose weight matrix is block diagonal."""
        (term,), frac = _combine([_Part(m.name, False, layer.w_m, m.format)], layer.f, f"layer{index}.f")
        memories = np.arange(len(layer.matrix))
        rows, order = term.weights.shape
        diagonal = np.zeros((len(memories), layer.filters, len(memories), order), np.int64)
        diagonal[memories, :, memories] = term.weights.reshape(len(memories), layer.filters, order)
        term = replace(term, weights=diagonal.reshape(rows, m.size), slice_rows=layer.filters)
        bias, output = _bias(layer.b_f, rows), layer.f.format
        self.operations.append(
            Operation(f"layer{index}.f", 0, 1, (term,), bias, frac, layer.f, "relu", output, index)
        )

    @staticmethod
    def _part(vector: Vector, weights: Weights | None, previous: bool = False) -> _Part | None:
        return None if weights is None else _Part(vector.name, previous, weights, vector.format)

    def _add(
        self,
        index: int,
        name: str,
        parts: list[_Part | None],
        bias: IntArray | None,
        narrow: Quantizer,
        activation: str,
        added: Vector | None = None,
    ) -> None:
        """Add an operation that computes a whole vector of a layer."""
        target = self.known[f"layer{index}.{name}"]
        present = [part for part in parts if part is not None]
        terms, frac = _combine(present, narrow, target.name, None if added is None else added.format)
        residual = None if added is None else Residual(added.name, frac - added.format.frac)
        bias = _bias(bias, target.size)
        self.operations.append(
            Operation(target.name, 0, 1, terms, bias, frac, narrow, activation, target.format, index, residual)
        )


def lower(model: QuantizedModel) -> tuple[Operation, ...]:
    """Operations of one frame, in order.

    Parameters
    ----------
    model : QuantizedModel
        The network.

    Returns
    -------
    tuple of Operation
        For each LMU layer: u, the memory update, the hidden state. For each separable layer: u (if it has `e_x`), the
        memory update, the filters, the hidden state. For each dense layer: its output.

    Raises
    ------
    ValueError
        If the scales of the terms of one sum do not fit together, or a sum may exceed 62 bits.
    """
    lowering = _Lowering(model)
    for op in lowering.operations:
        _check_width(op, lowering.known)
    return tuple(lowering.operations)


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
