"""Random valid models that fuzz the hardware: every feature of the cell, formats drawn tensor by tensor."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.program import (
    QuantizedDense,
    QuantizedLayer,
    QuantizedLMU,
    QuantizedModel,
    QuantizedSeparable,
    Weights,
)

__all__ = ["RandomShape", "legendre_memory", "prune_blocks", "random_frames", "random_model"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_Source = tuple[int, Format]
"""Number of elements, and format, of a vector that a layer reads."""


def legendre_memory(order: int, theta: float) -> tuple[FloatArray, FloatArray]:
    """Discrete Legendre memory, zero-order hold.

    Parameters
    ----------
    order : int
        Number of state elements.
    theta : float
        Window in time steps.

    Returns
    -------
    a : ndarray of float64, shape (order, order)
        State matrix.
    b : ndarray of float64, shape (order,)
        Input matrix.
    """
    index = np.arange(order)
    scale = (2 * index + 1) / theta
    system = np.zeros((order + 1, order + 1))
    signs = np.where(index[:, None] < index, -1.0, (-1.0) ** (index[:, None] - index + 1))
    system[:order, :order] = signs * scale[:, None]
    system[:order, order] = (-1.0) ** index * scale
    discrete = expm(system)
    return discrete[:order, :order], discrete[:order, order]


def random_frames(rng: np.random.Generator, model: QuantizedModel, batch: int, steps: int) -> IntArray:
    """Draw input frames for a model: uniform noise, and stretches of zeros, minima and maxima of the format.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    model : QuantizedModel
        The network.
    batch, steps : int
        Streams, and frames of each.

    Returns
    -------
    ndarray of int64, shape (batch, steps, inputs)
        Integers of the model's input format.
    """
    shape = (batch, steps, model.inputs)
    noise = rng.integers(model.input.min, model.input.max, shape, endpoint=True)
    extremes = rng.choice([model.input.min, 0, model.input.max], shape)
    stretch = np.repeat(rng.integers(0, 3, (batch, -(-steps // 4), 1)), 4, axis=1)[:, :steps]
    return np.where(stretch == 0, extremes, noise)


def prune_blocks(
    rng: np.random.Generator, model: QuantizedModel, rows: int, fraction: float, names: Collection[str] | None = None
) -> QuantizedModel:
    """Set blocks of weights to zero, drawn at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    model : QuantizedModel
        The network.
    rows : int
        Rows of a block, which has one column.
    fraction : float
        Part of the blocks of every weight matrix that become zero, 0 to 1. The memory matrices stay as they are.
    names : collection of str, optional
        Weight matrices to prune, such as ``w_m``; all if not given.

    Returns
    -------
    QuantizedModel
        The pruned network.
    """

    def pruned(weights: Weights) -> Weights:
        height, columns = weights.values.shape
        blocks = -(-height // rows)
        gone = rng.permutation(blocks * columns) < round(fraction * blocks * columns)
        mask = np.repeat(gone.reshape(blocks, columns), rows, axis=0)[:height]
        return dataclasses.replace(weights, values=np.where(mask, 0, weights.values))

    layers = []
    for layer in model.layers:
        changed: dict[str, Any] = {
            name: pruned(weights) for name, weights in layer.weights.items() if names is None or name in names
        }
        layers.append(dataclasses.replace(layer, **changed))
    return dataclasses.replace(model, layers=tuple(layers))


@dataclass(frozen=True)
class RandomShape:
    """Shape of a random model. Everything left at None is drawn at random, anew in every layer.

    Parameters
    ----------
    layers : sequence of {"lmu", "separable", "dense"}
        Kinds of the layers, from the input on.
    inputs : int, optional
        Elements of an input frame; drawn from 1 to 5.
    units : int, optional
        Units of every layer; drawn from 1 to 6.
    memories : sequence of (int, float), or int, optional
        Order and window θ in time steps of each memory, in every layer with memories; or only their number. A
        separable layer without `encoder` has one for each input; it takes the first ones, repeated.
    filters : int, optional
        Filters of each memory of separable layers; drawn from 1 to 3.
    encoder : bool, optional
        Whether separable layers have e_x.
    residual : bool, optional
        Whether separable layers add their input; the drawn units are then as many as the inputs.
    e_h, e_m, w_x, w_h : bool, optional
        Whether LMU layers have these terms.
    bias : bool, optional
        Whether there are biases.
    unsigned : bool, optional
        Whether the input and the outputs of ReLU are unsigned.
    activation : {"linear", "relu", "tanh"}, optional
        Of every layer; separable ones with ``tanh`` take ``relu``.
    u_activation : {"linear", "relu"}, optional
        Of u.
    stride : int, optional
        Of every layer with memories; drawn from 1 to 3.
    weight_width : int, optional
        Bits of every weight but those of Ā and B̄; drawn from 2 to 8 for each matrix.
    symmetric : bool
        Whether no weight is the most negative number of its format. Ā and B̄ are as they come out.
    rounding : Rounding, optional
        Of every narrowing.
    overflow : Overflow, optional
        Of every narrowing.

    Raises
    ------
    ValueError
        If a layer is of another kind.
    """

    layers: Sequence[str] = ("lmu", "dense")
    inputs: int | None = None
    units: int | None = None
    memories: Sequence[tuple[int, float]] | int | None = None
    filters: int | None = None
    encoder: bool | None = None
    residual: bool | None = None
    e_h: bool | None = None
    e_m: bool | None = None
    w_x: bool | None = None
    w_h: bool | None = None
    bias: bool | None = None
    unsigned: bool | None = None
    activation: str | None = None
    u_activation: str | None = None
    stride: int | None = None
    weight_width: int | None = None
    symmetric: bool = False
    rounding: Rounding | None = None
    overflow: Overflow | None = None

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer not in ("lmu", "separable", "dense"):
                raise ValueError(f"a layer must be lmu, separable or dense, not {layer!r}")


class _Draw:
    """Draws tensors and formats for a shape."""

    def __init__(self, rng: np.random.Generator, shape: RandomShape):
        self.rng, self.shape = rng, shape

    def flag(self, option: bool | None) -> bool:
        return bool(self.rng.integers(2)) if option is None else option

    def integer(self, option: int | None, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True)) if option is None else option

    def choice(self, option: str | None, *choices: str) -> str:
        return str(self.rng.choice(choices)) if option is None else option

    def format(self, unsigned: bool | None = False, low: int = 4, high: int = 9) -> Format:
        """Format whose range is about one."""
        width = int(self.rng.integers(low, high, endpoint=True))
        signed = not self.flag(unsigned)
        return Format(width, width - signed - int(self.rng.integers(0, 2, endpoint=True)), signed)

    def quantizer(self, fmt: Format) -> Quantizer:
        rounding, overflow = int(self.rng.integers(len(Rounding))), int(self.rng.integers(len(Overflow)))
        return Quantizer(
            fmt, self.shape.rounding or list(Rounding)[rounding], self.shape.overflow or list(Overflow)[overflow]
        )

    def sum_of(self, rows: int, sources: dict[str, _Source]) -> dict[str, Weights]:
        """Weights of one sum over some sources: scales differ row by row, equally in all of its terms."""
        jitter = self.rng.integers(0, 2, rows, endpoint=True)
        weights = {}
        for name, (columns, _) in sources.items():
            width = self.integer(self.shape.weight_width, 2, 8)
            fmt = Format(width, 0)
            values = self.rng.integers(fmt.min + self.shape.symmetric, fmt.max, (rows, columns), endpoint=True)
            values[self.rng.random(values.shape) < 0.2] = 0
            growth = int(np.ceil(np.log2(columns) / 2))
            weights[name] = Weights(values, width, width - 2 + growth + jitter + int(self.rng.integers(-2, 2)))
        return weights

    def bias(self, weights: dict[str, Weights], sources: dict[str, _Source], finest: int) -> IntArray | None:
        """Bias of magnitude one half at most, at the scale of the sum, which has at least `finest` fraction bits."""
        if not self.flag(self.shape.bias):
            return None
        frac = np.max([weights[name].frac + fmt.frac for name, (_, fmt) in sources.items()], axis=0)
        frac = frac + max(0, finest - int(frac.min()))
        return np.floor(self.rng.uniform(-0.5, 0.5, frac.size) * 2.0**frac).astype(np.int64)

    def memories(self) -> Sequence[tuple[int, float]]:
        """Order and window of each memory; neighbours are often equal."""
        option = self.shape.memories
        if option is not None and not isinstance(option, int):
            return option
        memories: list[tuple[int, float]] = []
        for _ in range(self.integer(option, 1, 4)):
            if not memories or self.rng.random() < 0.5:
                memories.append((int(self.rng.integers(1, 5, endpoint=True)), float(self.rng.uniform(4, 16))))
            else:
                memories.append(memories[int(self.rng.integers(len(memories)))])
        return memories


    def equal_memories(self, count: int | None) -> Sequence[tuple[int, float]]:
        """Memories of one order, that of the first one, with windows of their own; as many as drawn if not given."""
        memories = self.memories()
        count = len(memories) if count is None else count
        return [(memories[0][0], memories[index % len(memories)][1]) for index in range(count)]


def _quantized_memories(
    draw: _Draw, memories: Sequence[tuple[int, float]]
) -> tuple[tuple[int, ...], tuple[IntArray, ...], tuple[IntArray, ...], Format, Format]:
    """Distinct matrices and their formats, with enough fraction bits that every quantized memory is stable."""
    distinct = sorted(set(memories))
    exact = [legendre_memory(order, theta) for order, theta in distinct]
    for width in range(int(draw.rng.integers(7, 12)), 17):
        formats = []
        for reach in (max(np.abs(a).max() for a, _ in exact), max(np.abs(b).max() for _, b in exact)):
            formats.append(Format(width, width - 1 - max(0, int(np.ceil(np.log2(reach + 2.0**-width))))))
        a_format, b_format = formats
        a = tuple(a_format.quantize(a) for a, _ in exact)
        if all(np.abs(np.linalg.eigvals(a_format.real(matrix))).max() < 0.995 for matrix in a):
            break
    else:
        raise ValueError(f"no 16-bit state matrix is stable for all of the memories {distinct}")
    b_format = Format(b_format.width - 1, b_format.frac - 1)
    b = tuple(b_format.quantize(b) for _, b in exact)
    return tuple(distinct.index(memory) for memory in memories), a, b, a_format, b_format


def _random_lmu(draw: _Draw, source: _Source, units: int, activation: str) -> QuantizedLMU:
    shape = draw.shape
    memories = draw.memories()
    u_activation = draw.choice(shape.u_activation, "linear", "relu")
    stride = draw.integer(shape.stride, 1, 3)
    u = draw.quantizer(draw.format(shape.unsigned if u_activation == "relu" else False))
    h = draw.quantizer(draw.format(shape.unsigned if activation == "relu" else False))
    m = draw.quantizer(draw.format(low=6, high=12))
    size = sum(order for order, _ in memories)
    inputs = {"e_x": source, "e_h": (units, h.format), "e_m": (size, m.format)}
    inputs = {name: term for name, term in inputs.items() if name == "e_x" or draw.flag(getattr(shape, name))}
    hidden = {"w_x": source, "w_h": (units, h.format), "w_m": (size, m.format)}
    hidden = {name: term for name, term in hidden.items() if name == "w_m" or draw.flag(getattr(shape, name))}
    encoders, kernels = draw.sum_of(len(memories), inputs), draw.sum_of(units, hidden)
    table = draw.format(low=4, high=9) if activation == "tanh" else None
    matrix, a, b, a_format, b_format = _quantized_memories(draw, memories)
    return QuantizedLMU(
        matrix=matrix,
        a=a,
        b=b,
        a_format=a_format,
        b_format=b_format,
        u=u,
        m=m,
        h=h,
        e_x=encoders["e_x"],
        e_h=encoders.get("e_h"),
        e_m=encoders.get("e_m"),
        w_x=kernels.get("w_x"),
        w_h=kernels.get("w_h"),
        w_m=kernels["w_m"],
        b_u=draw.bias(encoders, inputs, u.format.frac),
        b_h=draw.bias(kernels, hidden, (h.format if table is None else table).frac),
        activation=activation,
        u_activation=u_activation,
        table=table,
        stride=stride,
    )


def _random_separable(draw: _Draw, source: _Source, units: int, activation: str) -> QuantizedSeparable:
    shape, inputs = draw.shape, source[0]
    encoder, residual = draw.flag(shape.encoder), draw.flag(shape.residual)
    memories = draw.equal_memories(None if encoder else inputs)
    units = inputs if residual else units
    activation = "linear" if activation == "linear" else "relu"
    u = draw.quantizer(draw.format()) if encoder else None
    m = draw.quantizer(draw.format(low=6, high=12))
    f = draw.quantizer(draw.format(shape.unsigned))
    h = draw.quantizer(draw.format(shape.unsigned if activation == "relu" else False))
    order, rows = memories[0][0], len(memories) * draw.integer(shape.filters, 1, 3)
    kernels = draw.sum_of(rows, {"w_m": (order, m.format)})
    mix = draw.sum_of(units, {"w_f": (rows, f.format)})
    finest = max(h.format.frac, source[1].frac) if residual else h.format.frac
    matrix, a, b, a_format, b_format = _quantized_memories(draw, memories)
    return QuantizedSeparable(
        matrix=matrix,
        a=a,
        b=b,
        a_format=a_format,
        b_format=b_format,
        u=u,
        m=m,
        f=f,
        h=h,
        e_x=draw.sum_of(len(memories), {"e_x": source})["e_x"] if encoder else None,
        w_m=kernels["w_m"],
        w_f=mix["w_f"],
        b_f=draw.bias(kernels, {"w_m": (order, m.format)}, f.format.frac),
        b_h=draw.bias(mix, {"w_f": (rows, f.format)}, finest),
        residual=residual,
        activation=activation,
        stride=draw.integer(shape.stride, 1, 3),
    )


def _random_dense(draw: _Draw, source: _Source, units: int, activation: str) -> QuantizedDense:
    h = draw.quantizer(draw.format(draw.shape.unsigned if activation == "relu" else False))
    table = draw.format(low=4, high=9) if activation == "tanh" else None
    weights = draw.sum_of(units, {"w": source})
    bias = draw.bias(weights, {"w": source}, (h.format if table is None else table).frac)
    return QuantizedDense(weights["w"], h, bias, activation, table)


RANDOM_LAYERS: dict[str, Callable[[_Draw, _Source, int, str], QuantizedLayer]] = {
    "lmu": _random_lmu,
    "separable": _random_separable,
    "dense": _random_dense,
}


def random_model(rng: np.random.Generator, **shape: Any) -> QuantizedModel:
    """Draw a small valid model with Legendre memories.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same model.
    **shape
        Fields of `RandomShape`.

    Returns
    -------
    QuantizedModel
        A model that the golden model, the plan and the gateware accept.

    Raises
    ------
    TypeError
        If `RandomShape` has no such field.
    ValueError
        If a layer is neither ``lmu`` nor ``separable`` nor ``dense``.
    """
    draw = _Draw(rng, RandomShape(**shape))
    input_format = draw.format(draw.shape.unsigned)
    source = (draw.integer(draw.shape.inputs, 1, 5), input_format)
    layers: list[QuantizedLayer] = []
    for kind in draw.shape.layers:
        units = draw.integer(draw.shape.units, 1, 6)
        activation = draw.choice(draw.shape.activation, "linear", "relu", "tanh")
        layers.append(RANDOM_LAYERS[kind](draw, source, units, activation))
        source = (layers[-1].units, layers[-1].output.format)
    return QuantizedModel(tuple(layers), input_format, name="random")
