"""The quantized model: layers, formats and integer tensors, and its file.

A `QuantizedModel` is the one parameter object behind the golden model, the bounds, the plan and the
gateware. The cell is the one of `lmu_quantize.model`; every tensor here is integers.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_choice, require_int
from lmu_hw.model.fixed import Format, Overflow, Quantizer

__all__ = [
    "ACTIVATIONS",
    "QuantizedDense",
    "QuantizedLMU",
    "QuantizedLayer",
    "QuantizedModel",
    "Weights",
    "check_chain",
    "check_strides",
]

IntArray = NDArray[np.int64]

ACTIVATIONS = ("linear", "relu", "tanh")
MAX_WEIGHT_WIDTH = 16
MAX_VALUE_WIDTH = 24
MAX_TABLE_WIDTH = 14
MAX_STRIDE = 1024
MAX_PERIOD = 4096
"""Most frames after which the strides of all layers repeat; the timing of each of them is worked out."""


def _integers(name: str, value: Any, shape: tuple[int, ...] | None = None) -> IntArray:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {array.dtype}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def _in_range(name: str, array: IntArray, fmt: Format) -> None:
    if not fmt.contains(array):
        worst = int(array.flat[np.argmax(np.abs(array))])
        raise ValueError(f"{name} must fit {fmt.width} bits ({fmt.min} to {fmt.max}), found {worst}")


def _width(name: str, fmt: Format, limit: int) -> None:
    if fmt.width > limit:
        raise ValueError(f"{name} must be at most {limit} bits wide, not {fmt.width}")


class ChainLayer(Protocol):
    """A layer as `check_chain` sees it."""

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""

    @property
    def units(self) -> int:
        """Elements of the output."""


def check_chain(layers: Sequence[ChainLayer], labels: Iterable[str]) -> tuple[str, ...]:
    """Check that each layer takes the outputs of the one before, and that labels name the outputs of the last.

    Parameters
    ----------
    layers : sequence
        One or more layers.
    labels : iterable of str
        One distinct name for each output, or none at all.

    Returns
    -------
    tuple of str
        The labels.

    Raises
    ------
    ValueError
        If the sizes of two layers, or the labels, do not fit.
    """
    for index, (below, above) in enumerate(itertools.pairwise(layers)):
        if below.units != above.inputs:
            raise ValueError(
                f"layer {index + 1} must take the {below.units} outputs of layer {index}, not {above.inputs} inputs"
            )
    names = tuple(labels)
    if names and (len(names) != layers[-1].units or len(set(names)) != len(names)):
        raise ValueError(f"labels must be {layers[-1].units} distinct names, not {names!r}")
    return names


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
class Weights:
    """A weight matrix as integers with a power-of-two scale per output channel.

    Parameters
    ----------
    values : array_like of int, shape (rows, columns)
        Integers of `width` bits, two's complement.
    width : int
        2 to 16.
    frac : array_like of int, shape (rows,)
        Fraction bits of each row.
    """

    values: IntArray
    width: int
    frac: IntArray

    def __post_init__(self) -> None:
        values = _integers("weight values", self.values)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"weight values must be a matrix, not of shape {values.shape}")
        width = require_int("weight width", self.width, 2, MAX_WEIGHT_WIDTH)
        _in_range("weight values", values, Format(width, 0))
        frac = _integers("weight frac", self.frac, (values.shape[0],))
        if frac.size and (frac.min() < -32 or frac.max() > 32):
            raise ValueError(f"weight frac must be in -32 to 32, not {frac.min()} to {frac.max()}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "frac", frac)

    @property
    def bits(self) -> int:
        """Bits that the values take."""
        return int(self.values.size) * self.width

    def real(self) -> NDArray[np.float64]:
        """Real values, shape (rows, columns)."""
        return np.ldexp(self.values.astype(np.float64), -self.frac[:, None])


def _check_weights(owner: Any, shapes: dict[str, tuple[int, int]]) -> None:
    for name, shape in shapes.items():
        weights = getattr(owner, name)
        if weights is None:
            continue
        if not isinstance(weights, Weights):
            raise TypeError(f"{name} must be Weights, not {weights!r}")
        if weights.values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {weights.values.shape}")


def _check_activation(layer: Any) -> None:
    require_choice("layer activation", layer.activation, ACTIVATIONS)
    if (layer.activation == "tanh") != (layer.table is not None):
        raise ValueError("a table format must be given exactly for activation tanh")
    if layer.table is not None:
        if not (layer.table.signed and layer.h.format.signed):
            raise ValueError("the table format and the format of h must be signed for tanh")
        _width("the table format", layer.table, MAX_TABLE_WIDTH)


@dataclass(frozen=True, eq=False)
class QuantizedLMU:
    """One LMU layer in integers.

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
    u, m, h : Quantizer
        How u, the memory state and the hidden state are narrowed; at most 24 bits.
    e_x, w_m : Weights
        Shapes (M, inputs) and (units, D).
    e_h, e_m, w_x, w_h : Weights, optional
        Shapes (M, units), (M, D), (units, inputs), (units, units).
    b_u, b_h : array_like of int, optional
        Biases of shapes (M,) and (units,), at the scales of the exact sums that they join.
    activation : {"linear", "relu", "tanh"}
        The function f.
    u_activation : {"linear", "relu"}
        The function on u.
    table : Format, optional
        Index format of the tanh table, with tanh only.
    stride : int
        Every how many input frames the hidden state is computed, 1 to 1024.
    """

    matrix: tuple[int, ...]
    a: tuple[IntArray, ...]
    b: tuple[IntArray, ...]
    a_format: Format
    b_format: Format
    u: Quantizer
    m: Quantizer
    h: Quantizer
    e_x: Weights
    w_m: Weights
    e_h: Weights | None = None
    e_m: Weights | None = None
    w_x: Weights | None = None
    w_h: Weights | None = None
    b_u: IntArray | None = None
    b_h: IntArray | None = None
    activation: str = "relu"
    u_activation: str = "linear"
    table: Format | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        self._check_memories()
        _check_activation(self)
        require_choice("layer u_activation", self.u_activation, ("linear", "relu"))
        check_strides((self.stride,))
        for name in ("u", "m", "h"):
            _width(f"the format of {name}", getattr(self, name).format, MAX_VALUE_WIDTH)
        m, d, n, h = len(self.matrix), self.state_size, self.inputs, self.units
        shapes = {"e_x": (m, n), "e_h": (m, h), "e_m": (m, d), "w_x": (h, n), "w_h": (h, h), "w_m": (h, d)}
        _check_weights(self, shapes)
        for name, size in (("b_u", m), ("b_h", h)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _integers(name, getattr(self, name), (size,)))

    def _check_memories(self) -> None:
        a = tuple(_integers("a", value) for value in self.a)
        b = tuple(_integers("b", value) for value in self.b)
        if not a or len(a) != len(b):
            raise ValueError(f"a and b must be equally many matrices, not {len(a)} and {len(b)}")
        for matrix_a, vector_b in zip(a, b, strict=True):
            order = vector_b.size
            if vector_b.ndim != 1 or not order or matrix_a.shape != (order, order):
                raise ValueError(f"a and b must have shapes (d, d) and (d,), not {matrix_a.shape} and {vector_b.shape}")
            _in_range("a", matrix_a, self.a_format)
            _in_range("b", vector_b, self.b_format)
        for name, fmt in (("a_format", self.a_format), ("b_format", self.b_format)):
            if not fmt.signed:
                raise ValueError(f"{name} must be signed")
            _width(name, fmt, MAX_WEIGHT_WIDTH)
        matrix = tuple(require_int("an index in matrix", index) for index in self.matrix)
        if not matrix or min(matrix) < 0 or max(matrix) >= len(a):
            raise ValueError(f"matrix must name one of the {len(a)} matrices for each memory, not {self.matrix!r}")
        for name, value in (("a", a), ("b", b), ("matrix", matrix)):
            object.__setattr__(self, name, value)

    @property
    def orders(self) -> tuple[int, ...]:
        """Order of each memory."""
        return tuple(int(self.b[index].size) for index in self.matrix)

    @property
    def state_size(self) -> int:
        """Elements of the memory state, D."""
        return sum(self.orders)

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return int(self.e_x.values.shape[1])

    @property
    def units(self) -> int:
        """Elements of the hidden state."""
        return int(self.w_m.values.shape[0])

    @property
    def output(self) -> Quantizer:
        """How the layer's output is narrowed."""
        return self.h

    @property
    def weights(self) -> dict[str, Weights]:
        """Trained weights by name, those present only."""
        names = ("e_x", "e_h", "e_m", "w_x", "w_h", "w_m")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, eq=False)
class QuantizedDense:
    """A dense layer in integers, ``h = f(w x + b)``.

    Parameters
    ----------
    w : Weights
        Shape (units, inputs).
    h : Quantizer
        How the output is narrowed; at most 24 bits.
    b : array_like of int, optional
        Bias of shape (units,), at the scale of the exact sum.
    activation : {"linear", "relu", "tanh"}
        The function f.
    table : Format, optional
        Index format of the tanh table, with tanh only.
    """

    w: Weights
    h: Quantizer
    b: IntArray | None = None
    activation: str = "linear"
    table: Format | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.w, Weights):
            raise TypeError(f"w must be Weights, not {self.w!r}")
        _check_activation(self)
        _width("the format of h", self.h.format, MAX_VALUE_WIDTH)
        if self.b is not None:
            object.__setattr__(self, "b", _integers("b", self.b, (self.units,)))

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return int(self.w.values.shape[1])

    @property
    def units(self) -> int:
        """Elements of the output."""
        return int(self.w.values.shape[0])

    @property
    def output(self) -> Quantizer:
        """How the layer's output is narrowed."""
        return self.h

    @property
    def weights(self) -> dict[str, Weights]:
        """Trained weights by name."""
        return {"w": self.w}


QuantizedLayer = QuantizedLMU | QuantizedDense


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A network in integers.

    Parameters
    ----------
    layers : tuple of QuantizedLMU or QuantizedDense
        One or more; the inputs of each are the units of the one before, the strides multiplied at most 4096.
    input : Format
        Format of the input frames, at most 24 bits.
    labels : tuple of str
        Names of the outputs, or empty.
    name : str
        Short name, for reports.
    front_end : dict, optional
        JSON form of the front end that makes the frames.
    notes : dict
        Free JSON: where the model came from, with hashes.
    """

    layers: tuple[QuantizedLayer, ...]
    input: Format
    labels: tuple[str, ...] = ()
    name: str = "model"
    front_end: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or not all(isinstance(layer, QuantizedLMU | QuantizedDense) for layer in layers):
            raise ValueError(f"layers must be one or more QuantizedLMU or QuantizedDense, not {self.layers!r}")
        labels = check_chain(layers, self.labels)
        check_strides(layer.stride for layer in layers if isinstance(layer, QuantizedLMU))
        _width("the input format", self.input, MAX_VALUE_WIDTH)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "labels", labels)

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return self.layers[-1].units

    @property
    def weight_bits(self) -> int:
        """Bits of all trained weights, biases not counted."""
        return sum(weights.bits for layer in self.layers for weights in layer.weights.values())

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each layer; 1 for dense layers."""
        return tuple(layer.stride if isinstance(layer, QuantizedLMU) else 1 for layer in self.layers)


def table_quantizer(fmt: Format, like: Quantizer) -> Quantizer:
    """How a pre-activation becomes a table index: symmetric, so that the table needs one sign only."""
    return Quantizer(fmt, like.rounding, Overflow.SAT_SYM)
