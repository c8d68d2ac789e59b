"""Random valid models, to fuzz the hardware with: every feature of the cell, formats drawn tensor by tensor."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.program import QuantizedDense, QuantizedLayer, QuantizedLMU, QuantizedModel, Weights

__all__ = ["legendre_memory", "prune_blocks", "random_frames", "random_model"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


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
    i = np.arange(order)
    scale = (2 * i + 1) / theta
    system = np.zeros((order + 1, order + 1))
    system[:order, :order] = np.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1)) * scale[:, None]
    system[:order, order] = (-1.0) ** i * scale
    discrete = expm(system)
    return discrete[:order, :order], discrete[:order, order]


def random_frames(rng: np.random.Generator, model: QuantizedModel, batch: int, steps: int) -> IntArray:
    """Draw input frames for a model: uniform noise, with stretches of the format's ends and zeros.

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
    held = rng.choice([model.input.min, 0, model.input.max], shape)
    kind = np.repeat(rng.integers(0, 3, (batch, -(-steps // 4), 1)), 4, axis=1)[:, :steps]
    return np.where(kind == 0, held, noise)


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
        Of the blocks of every weight matrix, 0 to 1; those of the memory matrices stay.
    names : collection of str, optional
        Weight matrices to prune, such as ``w_m``; all if not given.

    Returns
    -------
    QuantizedModel
        The same network otherwise.
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


class _Draw:
    """Draws tensors and formats; options that are None are drawn too."""

    def __init__(self, rng: np.random.Generator, rounding: Rounding | None, overflow: Overflow | None):
        self.rng = rng
        self.rounding = rounding
        self.overflow = overflow

    def flag(self, option: bool | None) -> bool:
        return bool(self.rng.integers(2)) if option is None else option

    def format(self, unsigned: bool | None = False, low: int = 4, high: int = 9) -> Format:
        """Format whose range is about one."""
        width = int(self.rng.integers(low, high, endpoint=True))
        signed = not self.flag(unsigned)
        return Format(width, width - signed - int(self.rng.integers(0, 2, endpoint=True)), signed)

    def quantizer(self, fmt: Format) -> Quantizer:
        rounding, overflow = self.rng.integers(len(Rounding)), self.rng.integers(len(Overflow))
        return Quantizer(
            fmt, self.rounding or list(Rounding)[int(rounding)], self.overflow or list(Overflow)[int(overflow)]
        )

    def sum_of(self, rows: int, sources: dict[str, tuple[int, Format]]) -> dict[str, Weights]:
        """Weights of one sum over some sources: scales differ row by row, equally in all of its terms."""
        jitter = self.rng.integers(0, 2, rows, endpoint=True)
        found = {}
        for name, (columns, _) in sources.items():
            width = int(self.rng.integers(2, 8, endpoint=True))
            fmt = Format(width, 0)
            values = self.rng.integers(fmt.min, fmt.max, (rows, columns), endpoint=True)
            values[self.rng.random(values.shape) < 0.2] = 0
            spread = int(np.ceil(np.log2(columns) / 2))
            found[name] = Weights(values, width, width - 2 + spread + jitter + int(self.rng.integers(-2, 2)))
        return found

    def bias(
        self, weights: dict[str, Weights], sources: dict[str, tuple[int, Format]], to: Format, option: bool | None
    ) -> IntArray | None:
        """Bias of magnitude one half at most, at the scale of the sum."""
        if not self.flag(option):
            return None
        frac = np.max([weights[name].frac + fmt.frac for name, (_, fmt) in sources.items()], axis=0)
        frac = frac + max(0, to.frac - int(frac.min()))
        return np.floor(self.rng.uniform(-0.5, 0.5, frac.size) * 2.0**frac).astype(np.int64)

    def memories(self, count: int | None) -> list[tuple[int, float]]:
        """Order and window of each memory; neighbours are often equal."""
        found: list[tuple[int, float]] = []
        for _ in range(int(self.rng.integers(1, 4, endpoint=True)) if count is None else count):
            if not found or self.rng.random() < 0.5:
                found.append((int(self.rng.integers(1, 5, endpoint=True)), float(self.rng.uniform(4, 16))))
            else:
                found.append(found[int(self.rng.integers(len(found)))])
        return found


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
        if all(np.abs(np.linalg.eigvals(a_format.real(one))).max() < 0.995 for one in a):
            break
    else:
        raise ValueError(f"no 16-bit state matrix is stable for all of the memories {distinct}")
    b_format = Format(b_format.width - 1, b_format.frac - 1)
    b = tuple(b_format.quantize(b) for _, b in exact)
    return tuple(distinct.index(memory) for memory in memories), a, b, a_format, b_format


def _random_lmu(
    draw: _Draw,
    source: tuple[int, Format],
    memories: Sequence[tuple[int, float]],
    units: int,
    cell: dict[str, bool | None],
    activation: str,
    u_activation: str,
    stride: int,
) -> QuantizedLMU:
    unsigned_h = False if activation == "tanh" else cell["unsigned"] if activation == "relu" else False
    unsigned_u = cell["unsigned"] if u_activation == "relu" else False
    u, h = draw.quantizer(draw.format(unsigned_u)), draw.quantizer(draw.format(unsigned_h))
    m = draw.quantizer(draw.format(low=6, high=12))
    size = sum(order for order, _ in memories)
    inputs = {"e_x": source, "e_h": (units, h.format), "e_m": (size, m.format)}
    inputs = {name: value for name, value in inputs.items() if name == "e_x" or draw.flag(cell[name])}
    hidden = {"w_x": source, "w_h": (units, h.format), "w_m": (size, m.format)}
    hidden = {name: value for name, value in hidden.items() if name == "w_m" or draw.flag(cell[name])}
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
        b_u=draw.bias(encoders, inputs, u.format, cell["bias"]),
        b_h=draw.bias(kernels, hidden, h.format if table is None else table, cell["bias"]),
        activation=activation,
        u_activation=u_activation,
        table=table,
        stride=stride,
    )


def _random_dense(
    draw: _Draw, source: tuple[int, Format], units: int, activation: str, cell: dict[str, bool | None]
) -> QuantizedDense:
    h = draw.quantizer(draw.format(cell["unsigned"] if activation == "relu" else False))
    table = draw.format(low=4, high=9) if activation == "tanh" else None
    weights = draw.sum_of(units, {"w": source})
    bias = draw.bias(weights, {"w": source}, h.format if table is None else table, cell["bias"])
    return QuantizedDense(weights["w"], h, bias, activation, table)


def random_model(
    rng: np.random.Generator,
    *,
    layers: Sequence[str] = ("lmu", "dense"),
    inputs: int | None = None,
    units: int | None = None,
    memories: Sequence[tuple[int, float]] | int | None = None,
    e_h: bool | None = None,
    e_m: bool | None = None,
    w_x: bool | None = None,
    w_h: bool | None = None,
    bias: bool | None = None,
    unsigned: bool | None = None,
    activation: str | None = None,
    u_activation: str | None = None,
    stride: int | None = None,
    rounding: Rounding | None = None,
    overflow: Overflow | None = None,
) -> QuantizedModel:
    """Draw a small valid model with Legendre memories.

    Every option left at None is drawn at random, anew in every layer.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same model.
    layers : sequence of {"lmu", "dense"}
        Kinds of the layers, from the input on.
    inputs : int, optional
        Elements of an input frame.
    units : int, optional
        Units of every layer.
    memories : sequence of (int, float), or int, optional
        Order and window of each memory, in every LMU layer; or their number only.
    e_h, e_m, w_x, w_h : bool, optional
        Whether LMU layers have these terms.
    bias : bool, optional
        Whether there are biases.
    unsigned : bool, optional
        Whether the input and the outputs of ReLU are unsigned.
    activation : {"linear", "relu", "tanh"}, optional
        Of every layer.
    u_activation : {"linear", "relu"}, optional
        Of u.
    stride : int, optional
        Of every LMU layer; drawn from 1 to 3.
    rounding : Rounding, optional
        Of every narrowing.
    overflow : Overflow, optional
        Of every narrowing.

    Returns
    -------
    QuantizedModel
        A model that the golden model, the plan and the gateware accept.
    """
    draw = _Draw(rng, rounding, overflow)
    cell = {"e_h": e_h, "e_m": e_m, "w_x": w_x, "w_h": w_h, "bias": bias, "unsigned": unsigned}
    input_format = draw.format(unsigned)
    source = (int(rng.integers(1, 5, endpoint=True)) if inputs is None else inputs, input_format)
    found: list[QuantizedLayer] = []
    for kind in layers:
        size = int(rng.integers(1, 6, endpoint=True)) if units is None else units
        function = str(rng.choice(["linear", "relu", "tanh"])) if activation is None else activation
        if kind == "dense":
            found.append(_random_dense(draw, source, size, function, cell))
        elif kind == "lmu":
            chosen = draw.memories(memories) if memories is None or isinstance(memories, int) else memories
            on_u = str(rng.choice(["linear", "relu"])) if u_activation is None else u_activation
            every = int(rng.integers(1, 3, endpoint=True)) if stride is None else stride
            found.append(_random_lmu(draw, source, chosen, size, cell, function, on_u, every))
        else:
            raise ValueError(f"a layer must be lmu or dense, not {kind!r}")
        source = (size, found[-1].output.format)
    return QuantizedModel(tuple(found), input_format, name="random")
