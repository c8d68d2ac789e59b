"""Float models: the Legendre Memory Unit cell and networks of it, as equations in float64.

The cell, for one layer with memories ``k`` of order ``d_k`` (Voelker, Kajic and Eliasmith 2019, eqs 4, 6 and 7;
Blouw et al. 2021 section 2.1; Chilkuri and Eliasmith 2021 eqs 18 to 20)::

    u_t = f_u(e_x x_t + e_h h_{t-1} + e_m m_{t-1} + b_u)
    m_t = A m_{t-1} + B u_t                      for each memory on its own element of u
    h_t = f(w_x x_t + w_h h_{t-1} + w_m m_t + b_h)

A layer with ``stride`` s computes ``h`` only on every s-th of its input frames (the s-th, the 2s-th, ...). Then
``h_{t-1}`` is the hidden state computed last, and the layers above see only the computed frames.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from lmu_hw.checks import require_choice, require_int
from lmu_hw.model.program import check_chain

__all__ = ["ACTIVATIONS", "DenseLayer", "FloatModel", "FloatState", "LMULayer", "LegendreMemory"]

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
        memories = tuple(self.memories)
        if not memories or not all(isinstance(memory, LegendreMemory) for memory in memories):
            raise ValueError(f"memories must be one or more LegendreMemory, not {self.memories!r}")
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


Layer = LMULayer | DenseLayer


@dataclass
class FloatState:
    """State of a running model: per layer memory, hidden state and frames since the last output.

    The lists have one entry per layer; dense layers hold empty arrays.
    """

    m: list[FloatArray]
    h: list[FloatArray]
    phase: list[int]


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A network of LMU and dense layers.

    Parameters
    ----------
    layers : tuple of LMULayer or DenseLayer
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
        if not layers or not all(isinstance(layer, LMULayer | DenseLayer) for layer in layers):
            raise ValueError(f"layers must be one or more LMULayer or DenseLayer, not {self.layers!r}")
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
    def parameters(self) -> int:
        """Number of trained parameters, biases included."""
        return sum(tensor.size for layer in self.layers for tensor in layer.tensors.values())

    def initial_state(self, batch: int) -> FloatState:
        """Zero state for `batch` independent streams."""
        m = [np.zeros((batch, layer.state_size if isinstance(layer, LMULayer) else 0)) for layer in self.layers]
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
            ``layer{i}.u`` (batch, M), ``layer{i}.m`` (batch, D) and ``layer{i}.h`` (batch, units) of every layer that
            computed in this frame; a layer under a stride that did not come round has ``u`` and ``m`` only.
        """
        seen: dict[str, FloatArray] = {}
        value = x
        for index, layer in enumerate(self.layers):
            if isinstance(layer, DenseLayer):
                total = value @ layer.w.T + (0.0 if layer.b is None else layer.b)
            else:
                total = self._step_lmu(index, layer, value, state, seen)
                if state.phase[index] != 0:
                    return seen
            value = activate(layer.activation, total)
            if isinstance(layer, LMULayer):
                state.h[index] = value
            seen[f"layer{index}.h"] = value
        return seen

    def _step_lmu(
        self, index: int, layer: LMULayer, x: FloatArray, state: FloatState, seen: dict[str, FloatArray]
    ) -> FloatArray:
        m, h = state.m[index], state.h[index]
        u = x @ layer.e_x.T + (0.0 if layer.b_u is None else layer.b_u)
        if layer.e_h is not None:
            u = u + h @ layer.e_h.T
        if layer.e_m is not None:
            u = u + m @ layer.e_m.T
        u = activate(layer.u_activation, u)
        parts, start = [], 0
        for k, memory in enumerate(layer.memories):
            a, b = _discretized(memory)
            parts.append(m[:, start : start + memory.order] @ a.T + u[:, k : k + 1] * b)
            start += memory.order
        state.m[index] = m = np.concatenate(parts, axis=1)
        state.phase[index] = (state.phase[index] + 1) % layer.stride
        seen[f"layer{index}.u"], seen[f"layer{index}.m"] = u, m
        if state.phase[index] != 0:
            return m
        total = m @ layer.w_m.T + (0.0 if layer.b_h is None else layer.b_h)
        if layer.w_x is not None:
            total = total + x @ layer.w_x.T
        if layer.w_h is not None:
            total = total + h @ layer.w_h.T
        return total

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


@functools.cache
def _discretized(memory: LegendreMemory) -> tuple[FloatArray, FloatArray]:
    return memory.discretize()
