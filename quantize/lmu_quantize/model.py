"""Float models: the Legendre Memory Unit cell and networks of it, as equations in float64.

The cell, for one layer with memories ``k`` of order ``d_k`` (Voelker, Kajic and Eliasmith 2019, eqs 4, 6 and 7;
Blouw et al. 2021 section 2.1; Chilkuri and Eliasmith 2021 eqs 18 to 20)::

    u_t = f_u(e_x x_t + e_h h_{t-1} + e_m m_{t-1} + b_u)
    m_t = A m_{t-1} + B u_t                      for each memory on its own element of u
    h_t = f(w_x x_t + w_h h_{t-1} + w_m m_t + b_h)

A layer with ``stride`` s computes ``h`` only on every s-th of its input frames (the s-th, the 2s-th, ...). Then
``h_{t-1}`` is the hidden state computed last, and the layers above see only the computed frames.

The separable layer, with memories ``k`` that all have order d, and filters that each read one memory::

    u_t = e_x x_t, or x_t itself
    m_t = A m_{t-1} + B u_t                      for each memory on its own element of u
    f_t = relu(w_m m_t + b_f)                    for each memory the same number of filters
    h_t = f(w_f f_t + x_t + b_h)                 the term x_t is optional
"""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from lmu_hw.checks import require_choice, require_int, require_type
from lmu_hw.model.program import check_chain

__all__ = [
    "ACTIVATIONS",
    "DenseLayer",
    "FloatModel",
    "FloatState",
    "LMULayer",
    "LegendreMemory",
    "MemoryLayer",
    "SeparableLayer",
]

FloatArray = NDArray[np.float64]

ACTIVATIONS = ("linear", "relu", "tanh")
DISCRETIZERS = ("zoh", "euler")


def _tensor(name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, found NaN or infinity")
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class LegendreMemory:
    """One Legendre memory: a window of ``theta`` time steps kept in ``order`` coefficients.

    Parameters
    ----------
    order : int
        Number of Legendre coefficients, at least 1.
    theta : float
        Length of the window in time steps of the layer's input, above 0.
    discretizer : {"zoh", "euler"}
        Zero-order hold (matrix exponential) or forward Euler, both with a time step of 1.
    """

    order: int
    theta: float
    discretizer: str = "zoh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", require_int("memory order", self.order, 1))
        if isinstance(self.theta, bool) or not isinstance(self.theta, int | float | np.floating | np.integer):
            raise TypeError(f"memory theta must be a number, not {self.theta!r}")
        if not (np.isfinite(self.theta) and self.theta > 0):
            raise ValueError(f"memory theta must be a positive number of time steps, not {self.theta!r}")
        object.__setattr__(self, "theta", float(self.theta))
        require_choice("memory discretizer", self.discretizer, DISCRETIZERS)

    def continuous(self) -> tuple[FloatArray, FloatArray]:
        """Matrices of ``theta dm/dt = A m + B u`` (Voelker et al. 2019, eq. 2).

        Returns
        -------
        a : ndarray of float64, shape (order, order)
            ``(2i+1) * (-1 if i < j else (-1)**(i-j+1))``.
        b : ndarray of float64, shape (order,)
            ``(2i+1) * (-1)**i``.
        """
        i = np.arange(self.order)
        gain = (2 * i + 1).astype(np.float64)
        sign = np.where(i[:, None] < i[None, :], -1.0, (-1.0) ** (i[:, None] - i[None, :] + 1))
        return gain[:, None] * sign, gain * (-1.0) ** i

    def discretize(self) -> tuple[FloatArray, FloatArray]:
        """Matrices of ``m_t = A m_{t-1} + B u_t``.

        Returns
        -------
        a : ndarray of float64, shape (order, order)
            Discrete state matrix.
        b : ndarray of float64, shape (order,)
            Discrete input matrix.
        """
        a, b = self.continuous()
        if self.discretizer == "euler":
            return a / self.theta + np.eye(self.order), b / self.theta
        system = np.zeros((self.order + 1, self.order + 1))
        system[:-1, :-1], system[:-1, -1] = a / self.theta, b / self.theta
        exponential = expm(system)
        return exponential[:-1, :-1], exponential[:-1, -1]


def activate(name: str, value: FloatArray) -> FloatArray:
    """Apply an activation function by name."""
    if name == "relu":
        return np.maximum(value, 0.0)
    return np.tanh(value) if name == "tanh" else value


def _checked_memories(value: Any) -> tuple[LegendreMemory, ...]:
    memories = tuple(value)
    if not memories or not all(isinstance(memory, LegendreMemory) for memory in memories):
        raise ValueError(f"memories must be one or more LegendreMemory, not {value!r}")
    return memories


@dataclass(frozen=True, eq=False)
class LMULayer:
    """One LMU layer; see the module's equations.

    Parameters
    ----------
    memories : tuple of LegendreMemory
        M memories; the state is memory-major, D = sum of orders.
    e_x : array_like, shape (M, inputs)
        Encoder of the input.
    w_m : array_like, shape (units, D)
        Read-out of the memories.
    e_h : array_like, shape (M, units), optional
        Encoder of the previous hidden state.
    e_m : array_like, shape (M, D), optional
        Encoder of the previous memory state.
    b_u : array_like, shape (M,), optional
        Bias of u.
    w_x : array_like, shape (units, inputs), optional
        Weights from the input to the hidden state.
    w_h : array_like, shape (units, units), optional
        Weights from the previous to the present hidden state.
    b_h : array_like, shape (units,), optional
        Bias of the hidden state.
    activation : {"linear", "relu", "tanh"}
        The function f.
    u_activation : {"linear", "relu"}
        The function f_u.
    stride : int
        The hidden state is computed on every ``stride``-th input frame.
    """

    memories: tuple[LegendreMemory, ...]
    e_x: FloatArray
    w_m: FloatArray
    e_h: FloatArray | None = None
    e_m: FloatArray | None = None
    b_u: FloatArray | None = None
    w_x: FloatArray | None = None
    w_h: FloatArray | None = None
    b_h: FloatArray | None = None
    activation: str = "relu"
    u_activation: str = "linear"
    stride: int = 1

    def __post_init__(self) -> None:
        memories = _checked_memories(self.memories)
        object.__setattr__(self, "memories", memories)
        object.__setattr__(self, "stride", require_int("layer stride", self.stride, 1))
        require_choice("layer activation", self.activation, ACTIVATIONS)
        require_choice("layer u_activation", self.u_activation, ("linear", "relu"))
        e_x, w_m = np.asarray(self.e_x), np.asarray(self.w_m)
        if e_x.ndim != 2 or w_m.ndim != 2:
            raise ValueError(f"e_x and w_m must be matrices, not of shapes {e_x.shape} and {w_m.shape}")
        m, d, n, h = len(memories), self.state_size, e_x.shape[1], w_m.shape[0]
        shapes = {"e_x": (m, n), "w_m": (h, d), "e_h": (m, h), "e_m": (m, d), "b_u": (m,)}
        shapes |= {"w_x": (h, n), "w_h": (h, h), "b_h": (h,)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _tensor(name, getattr(self, name), shape))

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return int(self.e_x.shape[1])

    @property
    def units(self) -> int:
        """Elements of the hidden state."""
        return int(self.w_m.shape[0])

    @property
    def state_size(self) -> int:
        """Elements of the memory state, D."""
        return sum(memory.order for memory in self.memories)

    @property
    def tensors(self) -> dict[str, FloatArray]:
        """Trained tensors by name, those present only."""
        names = ("e_x", "e_h", "e_m", "b_u", "w_x", "w_h", "w_m", "b_h")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, eq=False)
class SeparableLayer:
    """A separable layer: filters of one memory each, mixed by one matrix; see the module's equations.

    Parameters
    ----------
    memories : tuple of LegendreMemory
        M memories of one order d; the state is memory-major, D = M * d.
    e_x : array_like, shape (M, inputs), or None
        Encoder of the input; without it there is one memory for each input.
    w_m : array_like, shape (M * F, d)
        Filters: row ``k * F + j`` is filter j of memory k.
    w_f : array_like, shape (units, M * F)
        Mix of the filters' outputs.
    b_f : array_like, shape (M * F,), optional
        Bias of the filters.
    b_h : array_like, shape (units,), optional
        Bias of the hidden state.
    residual : bool
        Whether the layer's input is added before the function f; then there are as many units as inputs.
    activation : {"linear", "relu"}
        The function f.
    stride : int
        Filters and hidden state are computed on every ``stride``-th input frame.
    """

    memories: tuple[LegendreMemory, ...]
    e_x: FloatArray | None
    w_m: FloatArray
    w_f: FloatArray
    b_f: FloatArray | None = None
    b_h: FloatArray | None = None
    residual: bool = False
    activation: str = "relu"
    stride: int = 1

    def __post_init__(self) -> None:
        memories = _checked_memories(self.memories)
        orders = sorted({memory.order for memory in memories})
        if len(orders) > 1:
            raise ValueError(f"the memories of a separable layer must have one order, not {orders}")
        object.__setattr__(self, "memories", memories)
        object.__setattr__(self, "stride", require_int("layer stride", self.stride, 1))
        require_type("layer residual", self.residual, bool)
        require_choice("layer activation", self.activation, ("linear", "relu"))
        count, w_m, w_f = len(memories), np.asarray(self.w_m), np.asarray(self.w_f)
        for name, matrix in (("w_m", w_m), ("w_f", w_f), ("e_x", self.e_x)):
            if matrix is not None and np.ndim(matrix) != 2:
                raise ValueError(f"{name} must be a matrix, not of shape {np.shape(matrix)}")
        if not len(w_m) or len(w_m) % count:
            raise ValueError(f"w_m must have as many rows for each of the {count} memories, not {len(w_m)} in all")
        inputs = count if self.e_x is None else np.shape(self.e_x)[1]
        shapes = {"e_x": (count, inputs), "w_m": (len(w_m), orders[0]), "b_f": (len(w_m),)}
        shapes |= {"w_f": (len(w_f), len(w_m)), "b_h": (len(w_f),)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _tensor(name, getattr(self, name), shape))
        if self.residual and self.units != self.inputs:
            raise ValueError(
                f"a layer with residual must have as many units as its {self.inputs} inputs, not {self.units}"
            )

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return len(self.memories) if self.e_x is None else int(self.e_x.shape[1])

    @property
    def units(self) -> int:
        """Elements of the hidden state."""
        return int(self.w_f.shape[0])

    @property
    def filters(self) -> int:
        """Filters of each memory, F."""
        return int(self.w_m.shape[0]) // len(self.memories)

    @property
    def state_size(self) -> int:
        """Elements of the memory state, D."""
        return sum(memory.order for memory in self.memories)

    @property
    def tensors(self) -> dict[str, FloatArray]:
        """Trained tensors by name, those present only."""
        names = ("e_x", "w_m", "b_f", "w_f", "b_h")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A dense layer, ``h_t = f(w x_t + b)``.

    Parameters
    ----------
    w : array_like, shape (units, inputs)
        Weights.
    b : array_like, shape (units,), optional
        Bias.
    activation : {"linear", "relu", "tanh"}
        The function f.
    """

    w: FloatArray
    b: FloatArray | None = None
    activation: str = "linear"

    def __post_init__(self) -> None:
        w = np.asarray(self.w)
        if w.ndim != 2:
            raise ValueError(f"w must be a matrix, not of shape {w.shape}")
        object.__setattr__(self, "w", _tensor("w", w, w.shape))
        if self.b is not None:
            object.__setattr__(self, "b", _tensor("b", self.b, (w.shape[0],)))
        require_choice("layer activation", self.activation, ACTIVATIONS)

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return int(self.w.shape[1])

    @property
    def units(self) -> int:
        """Elements of the output."""
        return int(self.w.shape[0])

    @property
    def tensors(self) -> dict[str, FloatArray]:
        """Trained tensors by name, those present only."""
        return {"w": self.w} | ({"b": self.b} if self.b is not None else {})


MemoryLayer = LMULayer | SeparableLayer
"""Layers with memories."""
Layer = MemoryLayer | DenseLayer


@dataclass
class FloatState:
    """State of a running model: per layer memory, hidden state and frames since the last output.

    The lists have one entry per layer. Dense layers hold empty arrays; only LMU layers hold a hidden state.
    """

    m: list[FloatArray]
    h: list[FloatArray]
    phase: list[int]


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A network of LMU, separable and dense layers.

    Parameters
    ----------
    layers : tuple of LMULayer, SeparableLayer or DenseLayer
        One or more; the inputs of each are the units of the one before.
    labels : tuple of str
        Names of the outputs, or empty.
    name : str
        Short name, for reports.
    front_end : dict, optional
        JSON form of the front end that makes the input frames.
    notes : dict
        Free JSON: data, recipe, seeds, hashes.
    """

    layers: tuple[Layer, ...]
    labels: tuple[str, ...] = ()
    name: str = "model"
    front_end: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"layers must be one or more LMULayer, SeparableLayer or DenseLayer, not {self.layers!r}")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "labels", check_chain(layers, self.labels))

    @property
    def inputs(self) -> int:
        """Elements of an input frame."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return self.layers[-1].units

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each layer; 1 for dense layers."""
        return tuple(layer.stride if isinstance(layer, MemoryLayer) else 1 for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Number of trained parameters, biases included."""
        return sum(tensor.size for layer in self.layers for tensor in layer.tensors.values())

    def initial_state(self, batch: int) -> FloatState:
        """Zero state for `batch` independent streams."""
        m = [np.zeros((batch, layer.state_size if isinstance(layer, MemoryLayer) else 0)) for layer in self.layers]
        h = [np.zeros((batch, layer.units if isinstance(layer, LMULayer) else 0)) for layer in self.layers]
        return FloatState(m, h, [0] * len(self.layers))

    def step(self, x: FloatArray, state: FloatState) -> dict[str, FloatArray]:
        """Run one frame and update `state` in place.

        Parameters
        ----------
        x : ndarray of float64, shape (batch, inputs)
            One frame of each stream.
        state : FloatState
            As `initial_state` makes it.

        Returns
        -------
        dict of str to ndarray
            ``layer{i}.u`` (batch, M), ``layer{i}.m`` (batch, D), ``layer{i}.f`` (batch, M * F) and ``layer{i}.h``
            (batch, units) of every layer that computed in this frame, those that the layer has. A layer in a frame that
            its stride skips has ``u`` and ``m`` only.
        """
        seen: dict[str, FloatArray] = {}
        value = x
        for index, layer in enumerate(self.layers):
            if isinstance(layer, MemoryLayer):
                self._remember(index, layer, value, state, seen)
                state.phase[index] = (state.phase[index] + 1) % layer.stride
                if state.phase[index] != 0:
                    return seen
            if isinstance(layer, DenseLayer):
                total = value @ layer.w.T + (0.0 if layer.b is None else layer.b)
            elif isinstance(layer, SeparableLayer):
                seen[f"layer{index}.f"] = f = _filter(layer, state.m[index])
                total = f @ layer.w_f.T + (0.0 if layer.b_h is None else layer.b_h)
                total = total + value if layer.residual else total
            else:
                total = _read_out(layer, value, state.m[index], state.h[index])
            value = activate(layer.activation, total)
            if isinstance(layer, LMULayer):
                state.h[index] = value
            seen[f"layer{index}.h"] = value
        return seen

    @staticmethod
    def _remember(
        index: int, layer: MemoryLayer, x: FloatArray, state: FloatState, seen: dict[str, FloatArray]
    ) -> None:
        """Advance the memories by one frame."""
        u = _encode(layer, x, state.m[index], state.h[index])
        parts, start = [], 0
        for k, memory in enumerate(layer.memories):
            a, b = _discretized(memory)
            parts.append(state.m[index][:, start : start + memory.order] @ a.T + u[:, k : k + 1] * b)
            start += memory.order
        state.m[index] = np.concatenate(parts, axis=1)
        if isinstance(layer, LMULayer) or layer.e_x is not None:
            seen[f"layer{index}.u"] = u
        seen[f"layer{index}.m"] = state.m[index]

    def run(self, frames: FloatArray) -> dict[str, FloatArray]:
        """Run whole sequences from the zero state.

        Parameters
        ----------
        frames : ndarray of float64, shape (batch, T, inputs)
            Input frames.

        Returns
        -------
        dict of str to ndarray
            Every intermediate of `step`, stacked over the frames in which it was computed: shape (batch, T_i, size);
            ``logits`` is the output of the last layer.
        """
        x = np.asarray(frames, dtype=np.float64)
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise ValueError(f"frames must have shape (batch, T, {self.inputs}), not {x.shape}")
        state = self.initial_state(x.shape[0])
        traces: dict[str, list[FloatArray]] = {}
        for t in range(x.shape[1]):
            for name, value in self.step(x[:, t], state).items():
                traces.setdefault(name, []).append(value)
        out = {name: np.stack(values, axis=1) for name, values in traces.items()}
        last = f"layer{len(self.layers) - 1}.h"
        out["logits"] = out.get(last, np.zeros((x.shape[0], 0, self.outputs)))
        return out


def _encode(layer: MemoryLayer, x: FloatArray, m: FloatArray, h: FloatArray) -> FloatArray:
    """Inputs of the memories, shape (batch, M)."""
    if isinstance(layer, SeparableLayer):
        return x if layer.e_x is None else x @ layer.e_x.T
    u = x @ layer.e_x.T + (0.0 if layer.b_u is None else layer.b_u)
    if layer.e_h is not None:
        u = u + h @ layer.e_h.T
    if layer.e_m is not None:
        u = u + m @ layer.e_m.T
    return activate(layer.u_activation, u)


def _filter(layer: SeparableLayer, m: FloatArray) -> FloatArray:
    """Outputs of the filters, shape (batch, M * F)."""
    count = len(layer.memories)
    filters = layer.w_m.reshape(count, layer.filters, -1)
    total = np.einsum("bkd,kjd->bkj", m.reshape(len(m), count, -1), filters).reshape(len(m), -1)
    return np.maximum(total + (0.0 if layer.b_f is None else layer.b_f), 0.0)


def _read_out(layer: LMULayer, x: FloatArray, m: FloatArray, h: FloatArray) -> FloatArray:
    """Sum of the hidden state, shape (batch, units)."""
    total = m @ layer.w_m.T + (0.0 if layer.b_h is None else layer.b_h)
    if layer.w_x is not None:
        total = total + x @ layer.w_x.T
    if layer.w_h is not None:
        total = total + h @ layer.w_h.T
    return total


@functools.cache
def _discretized(memory: LegendreMemory) -> tuple[FloatArray, FloatArray]:
    return memory.discretize()
