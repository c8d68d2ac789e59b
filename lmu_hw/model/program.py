"""The quantized model: layers, formats and integer tensors, and its file.

A `QuantizedModel` is the one parameter object behind the golden model, the bounds, the plan and the
gateware. The cell is the one of `lmu_quantize.model`; every tensor here is integers.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_choice, require_int, require_type
from lmu_hw.model.fixed import Format, Overflow, Quantizer
from lmu_hw.model.gate import Gate
from lmu_hw.model.memory_layer import (
    MAX_VALUE_WIDTH,
    MAX_WEIGHT_WIDTH,
    QuantizedMemoryLayer,
    check_range,
    check_strides,
    check_width,
    integers,
)

__all__ = [
    "ACTIVATIONS",
    "QuantizedDense",
    "QuantizedLMU",
    "QuantizedLayer",
    "QuantizedModel",
    "QuantizedSeparable",
    "Weights",
    "check_chain",
]

IntArray = NDArray[np.int64]

ACTIVATIONS = ("linear", "relu", "tanh")
MAX_TABLE_WIDTH = 14


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
        values = integers("weight values", self.values)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"weight values must be a matrix, not of shape {values.shape}")
        width = require_int("weight width", self.width, 2, MAX_WEIGHT_WIDTH)
        check_range("weight values", values, Format(width, 0))
        frac = integers("weight frac", self.frac, (values.shape[0],))
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
        _check_type(name, weights)
        if weights.values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {weights.values.shape}")


def _check_type(name: str, weights: Any) -> None:
    if not isinstance(weights, Weights):
        raise TypeError(f"{name} must be Weights, not {weights!r}")


def _set_biases(owner: Any, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if getattr(owner, name) is not None:
            object.__setattr__(owner, name, integers(name, getattr(owner, name), (size,)))


def _check_activation(layer: Any) -> None:
    require_choice("layer activation", layer.activation, ACTIVATIONS)
    if (layer.activation == "tanh") != (layer.table is not None):
        raise ValueError("a table format must be given exactly for activation tanh")
    if layer.table is not None:
        if not (layer.table.signed and layer.h.format.signed):
            raise ValueError("the table format and the format of h must be signed for tanh")
        check_width("the table format", layer.table, MAX_TABLE_WIDTH)


@dataclass(frozen=True, eq=False)
class QuantizedLMU(QuantizedMemoryLayer):
    """One LMU layer in integers.

    Parameters
    ----------
    matrix, a, b, a_format, b_format, m, h, stride
        As in `QuantizedMemoryLayer`.
    u : Quantizer
        How u is narrowed; at most 24 bits.
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
    """

    u: Quantizer
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

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_activation(self)
        require_choice("layer u_activation", self.u_activation, ("linear", "relu"))
        check_width("the format of u", self.u.format, MAX_VALUE_WIDTH)
        m, d, n, h = len(self.matrix), self.state_size, self.inputs, self.units
        shapes = {"e_x": (m, n), "e_h": (m, h), "e_m": (m, d), "w_x": (h, n), "w_h": (h, h), "w_m": (h, d)}
        _check_weights(self, shapes)
        _set_biases(self, {"b_u": m, "b_h": h})

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return int(self.e_x.values.shape[1])

    @property
    def units(self) -> int:
        """Elements of the hidden state."""
        return int(self.w_m.values.shape[0])

    @property
    def weights(self) -> dict[str, Weights]:
        """Trained weights by name, those present only."""
        names = ("e_x", "e_h", "e_m", "w_x", "w_h", "w_m")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, eq=False)
class QuantizedSeparable(QuantizedMemoryLayer):
    """One separable layer in integers: each memory has filters of its own, and one matrix mixes them.

    Memory k has an input of its own, element k of ``u_t = e_x x_t`` or, without `e_x`, of the input frame. Each of its
    F filters reads this memory only::

        f_t = relu(w_m m_t + b_f)              filter j of memory k is element k * F + j
        h_t = activation(w_f f_t + x_t + b_h)  with x_t only where the layer is residual

    Parameters
    ----------
    matrix, a, b, a_format, b_format, m, h, stride
        As in `QuantizedMemoryLayer`. All memories have the same order, d.
    f : Quantizer
        How the filters are narrowed; at most 24 bits.
    w_m : Weights
        Shape (M * F, d): the filters, memory by memory.
    w_f : Weights
        Shape (units, M * F).
    u : Quantizer, optional
        How u is narrowed, at most 24 bits; given exactly with `e_x`.
    e_x : Weights, optional
        Shape (M, inputs). Without it, each input element has its own memory.
    b_f, b_h : array_like of int, optional
        Biases of shapes (M * F,) and (units,), at the scales of the exact sums that they join.
    residual : bool
        Whether the input frame is added; it must then have as many elements as there are units. The frame is shifted
        to the scale of the sum, which is at least as fine as that of the frame.
    activation : {"linear", "relu"}
        Of the hidden state.
    """

    f: Quantizer
    w_m: Weights
    w_f: Weights
    u: Quantizer | None = None
    e_x: Weights | None = None
    b_f: IntArray | None = None
    b_h: IntArray | None = None
    residual: bool = False
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("layer activation", self.activation, ("linear", "relu"))
        require_type("layer residual", self.residual, bool)
        _check_type("w_m", self.w_m)
        _check_type("w_f", self.w_f)
        if (self.u is None) != (self.e_x is None):
            raise ValueError("u must be given exactly with e_x")
        for name in ("u", "f"):
            if getattr(self, name) is not None:
                check_width(f"the format of {name}", getattr(self, name).format, MAX_VALUE_WIDTH)
        orders = sorted(set(self.orders))
        if len(orders) > 1:
            raise ValueError(f"the memories of a separable layer must have the same order, not {orders}")
        m, rows = len(self.matrix), len(self.w_m.values)
        if rows % m:
            raise ValueError(f"w_m must have as many rows for each of the {m} memories, not {rows} in all")
        _check_weights(self, {"e_x": (m, self.inputs), "w_m": (rows, orders[0]), "w_f": (self.units, rows)})
        _set_biases(self, {"b_f": rows, "b_h": self.units})
        if self.residual and self.units != self.inputs:
            raise ValueError(f"a residual layer must have as many units as inputs, {self.inputs}, not {self.units}")

    @property
    def filters(self) -> int:
        """Filters of each memory, F."""
        return len(self.w_m.values) // len(self.matrix)

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return len(self.matrix) if self.e_x is None else int(self.e_x.values.shape[1])

    @property
    def units(self) -> int:
        """Elements of the hidden state."""
        return int(self.w_f.values.shape[0])

    @property
    def table(self) -> None:
        """A separable layer has no tanh."""
        return None

    @property
    def weights(self) -> dict[str, Weights]:
        """Trained weights by name, those present only."""
        encoder = {} if self.e_x is None else {"e_x": self.e_x}
        return {**encoder, "w_m": self.w_m, "w_f": self.w_f}


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
        _check_type("w", self.w)
        _check_activation(self)
        check_width("the format of h", self.h.format, MAX_VALUE_WIDTH)
        if self.b is not None:
            object.__setattr__(self, "b", integers("b", self.b, (self.units,)))

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


QuantizedLayer = QuantizedLMU | QuantizedSeparable | QuantizedDense
LAYERS = (QuantizedLMU, QuantizedSeparable, QuantizedDense)


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A network in integers.

    Parameters
    ----------
    layers : tuple of QuantizedLMU, QuantizedSeparable or QuantizedDense
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
    gate : Gate, optional
        Puts the network to sleep while nothing is louder than the room; it is always awake if not given.
    """

    layers: tuple[QuantizedLayer, ...]
    input: Format
    labels: tuple[str, ...] = ()
    name: str = "model"
    front_end: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    gate: Gate | None = None

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or not all(isinstance(layer, LAYERS) for layer in layers):
            names = ", ".join(kind.__name__ for kind in LAYERS)
            raise ValueError(f"layers must be one or more of {names}, not {self.layers!r}")
        labels = check_chain(layers, self.labels)
        check_strides(layer.stride for layer in layers if isinstance(layer, QuantizedMemoryLayer))
        check_width("the input format", self.input, MAX_VALUE_WIDTH)
        if self.gate is not None:
            if not isinstance(self.gate, Gate):
                raise TypeError(f"gate must be Gate or None, not {self.gate!r}")
            self.gate.check(layers[0].inputs, self.input)
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
        return tuple(layer.stride if isinstance(layer, QuantizedMemoryLayer) else 1 for layer in self.layers)


def table_quantizer(fmt: Format, like: Quantizer) -> Quantizer:
    """How a pre-activation becomes a table index: symmetric, so that the table needs one sign only."""
    return Quantizer(fmt, like.rounding, Overflow.SAT_SYM)
