"""The golden model: a quantized model on integers, the reference for every bit of the hardware."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.fixed import exact_matmul, saturate, shift_round
from lmu_hw.operations import Operation, lower, output_name, tanh_table, vectors
from lmu_hw.program import QuantizedLMU, QuantizedModel

__all__ = ["Golden", "State", "decide"]

IntArray = NDArray[np.int64]


@dataclass
class State:
    """State of a running golden model.

    Attributes
    ----------
    values : dict of str to ndarray of int64, shape (batch, size)
        The latest value of each ``layer{i}.m`` and ``layer{i}.h``; zero at the start.
    phase : list of int
        Per layer, frames since its last hidden state.
    saturated : dict of str to int
        Per vector, how many elements were clipped or wrapped so far.
    """

    values: dict[str, IntArray]
    phase: list[int]
    saturated: dict[str, int]


def decide(logits: IntArray) -> tuple[IntArray, IntArray]:
    """Decision of the hardware: the index of the largest logit (the lowest on a tie), and that logit.

    Parameters
    ----------
    logits : ndarray of int64, shape (..., labels)
        Integers.

    Returns
    -------
    label, score : ndarray of int64, shape (...)
        Index and value.
    """
    return np.argmax(logits, axis=-1), np.max(logits, axis=-1)


class Golden:
    """Runs a quantized model on integers.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    """

    def __init__(self, model: QuantizedModel):
        self.model = model
        self.vectors = vectors(model)
        self.operations = lower(model)
        self._tables = {
            op.name: tanh_table(op.narrow.format, op.output) for op in self.operations if op.activation == "tanh"
        }

    def initial_state(self, batch: int = 1) -> State:
        """Zero state for `batch` independent streams."""
        values = {}
        for index, layer in enumerate(self.model.layers):
            values[f"layer{index}.h"] = np.zeros((batch, layer.units), np.int64)
            if isinstance(layer, QuantizedLMU):
                values[f"layer{index}.m"] = np.zeros((batch, layer.state_size), np.int64)
        return State(values, [0] * len(self.model.layers), {name: 0 for name in self.vectors if name != "x"})

    def step(self, x: ArrayLike, state: State) -> dict[str, IntArray]:
        """Run one frame and update `state` in place.

        Parameters
        ----------
        x : array_like of int, shape (batch, inputs)
            One frame of each stream, in the model's input format.
        state : State
            As `initial_state` makes it.

        Returns
        -------
        dict of str to ndarray of int64, shape (batch, size)
            Every vector computed in this frame, by name; ``logits`` too if the last layer computed.

        Raises
        ------
        ValueError
            If the frame has another shape or a value outside the input format.
        """
        frame = np.asarray(x)
        if frame.dtype.kind not in "iu":
            raise TypeError(f"frames must hold integers, not {frame.dtype}")
        if frame.ndim != 2 or frame.shape[1] != self.model.inputs:
            raise ValueError(f"a frame must have shape (batch, {self.model.inputs}), not {frame.shape}")
        if not self.model.input.contains(frame):
            raise ValueError(f"frame values must be in {self.model.input.min} to {self.model.input.max}")
        seen = {"x": frame.astype(np.int64)}
        previous = state.values
        for op in self.operations:
            if op.closes_stride and self._skips(op, state):
                break
            value = self._execute(op, seen, previous, state)
            seen[op.target] = np.concatenate((seen[op.target], value), axis=1) if op.start else value
        for name in seen:
            if name in state.values:
                state.values[name] = seen[name]
        if output_name(self.model) in seen:
            seen["logits"] = seen[output_name(self.model)]
        del seen["x"]
        return seen

    def _skips(self, op: Operation, state: State) -> bool:
        stride = self.model.strides[op.layer]
        state.phase[op.layer] = (state.phase[op.layer] + 1) % stride
        return state.phase[op.layer] != 0

    def _execute(
        self, op: Operation, seen: dict[str, IntArray], previous: dict[str, IntArray], state: State
    ) -> IntArray:
        batch = seen["x"].shape[0]
        total = np.broadcast_to(op.bias, (batch, op.repeat, op.rows))
        for term in op.terms:
            source = (previous if term.previous else seen)[term.source]
            columns = term.weights.shape[1]
            if op.repeat > 1 and term.step != columns:
                raise ValueError(f"{op.name}: blocks must read neighbouring slices of {term.source}")
            part = source[:, term.offset : term.offset + op.repeat * columns]
            part = part.reshape(batch, op.repeat, columns)
            total = total + (exact_matmul(part, np.ascontiguousarray(term.weights.T)) << term.shift)
        exact = shift_round(total, op.shifts, op.narrow.rounding)
        value = saturate(exact, op.narrow.format, op.narrow.overflow)
        if op.activation == "relu":
            value, exact = np.maximum(value, 0), np.maximum(exact, 0)
        state.saturated[op.target] += int(np.count_nonzero(value != exact))
        if op.activation == "tanh":
            value = np.sign(value) * self._tables[op.name][np.abs(value)]
        return value.reshape(batch, op.repeat * op.rows)

    def run(self, frames: ArrayLike, state: State | None = None) -> dict[str, IntArray]:
        """Run whole sequences.

        Parameters
        ----------
        frames : array_like of int, shape (batch, T, inputs)
            Input frames, in the model's input format.
        state : State, optional
            Where to start; updated in place. The zero state if not given.

        Returns
        -------
        dict of str to ndarray of int64
            Every vector by name, stacked over the frames in which it was computed: shape (batch, T_i, size).
            ``logits`` is always there.
        """
        array = np.asarray(frames)
        if array.ndim != 3 or array.shape[2] != self.model.inputs:
            raise ValueError(f"frames must have shape (batch, T, {self.model.inputs}), not {array.shape}")
        state = self.initial_state(array.shape[0]) if state is None else state
        traces: dict[str, list[IntArray]] = {}
        for t in range(array.shape[1]):
            for name, value in self.step(array[:, t], state).items():
                traces.setdefault(name, []).append(value)
        result = {name: np.stack(values, axis=1) for name, values in traces.items()}
        result.setdefault("logits", np.zeros((array.shape[0], 0, self.model.outputs), np.int64))
        return result
