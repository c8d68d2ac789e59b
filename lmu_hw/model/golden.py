"""The golden model: a quantized model on integers, the reference for every bit of the hardware."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.fixed import exact_matmul, saturate, shift_round, shifter
from lmu_hw.model.gate import GateState, levels
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.operations import Operation, Term, lower, output_name, tanh_table, vectors
from lmu_hw.model.program import QuantizedModel

__all__ = ["Golden", "State", "decide"]

IntArray = NDArray[np.int64]

CHUNK = 2048
"""Frames of a long sequence that are run at once."""
EXACT_FLOAT = 1 << 53
"""Below this every integer is a float64."""


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
    gate : GateState or None
        Of the level gate, if the network has one.
    """

    values: dict[str, IntArray]
    phase: list[int]
    saturated: dict[str, int]
    gate: GateState | None = None


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

    A network with a level gate (`lmu_hw.model.gate`) runs one stream at a time. A frame that is asleep computes nothing
    and clears the state.

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
            if isinstance(layer, QuantizedMemoryLayer):
                values[f"layer{index}.m"] = np.zeros((batch, layer.state_size), np.int64)
        saturated = {name: 0 for name in self.vectors if name != "x"}
        gate = None if self.model.gate is None else self.model.gate.initial_state()
        return State(values, [0] * len(self.model.layers), saturated, gate)

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
            Every vector computed in this frame, by name; ``logits`` too if the last layer computed. Empty if the frame
            is asleep.

        Raises
        ------
        ValueError
            If the frame has another shape or a value outside the input format, or there are several streams and a gate.
        """
        frame = np.asarray(x)
        if frame.dtype.kind not in "iu":
            raise TypeError(f"frames must hold integers, not {frame.dtype}")
        if frame.ndim != 2 or frame.shape[1] != self.model.inputs:
            raise ValueError(f"a frame must have shape (batch, {self.model.inputs}), not {frame.shape}")
        self.model.input.check("frame values", frame)
        if not self._wakes(frame, state):
            return {}
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

    def _wakes(self, frame: IntArray, state: State) -> bool:
        """Whether a frame is awake; if not, clear the state of the network."""
        if self.model.gate is None or state.gate is None:
            return True
        if len(frame) != 1:
            raise ValueError(f"a network with a gate runs one stream at a time, not {len(frame)}")
        if self.model.gate.step(int(levels(frame)[0]), state.gate):
            return True
        state.values = {name: np.zeros_like(values) for name, values in state.values.items()}
        state.phase = [0] * len(state.phase)
        return False

    def _skips(self, op: Operation, state: State) -> bool:
        stride = self.model.strides[op.layer]
        state.phase[op.layer] = (state.phase[op.layer] + 1) % stride
        return state.phase[op.layer] != 0

    def _execute(
        self, op: Operation, seen: dict[str, IntArray], previous: dict[str, IntArray], state: State
    ) -> IntArray:
        total = np.broadcast_to(op.bias, (seen["x"].shape[0], op.repeat, op.rows))
        for term in op.terms:
            total = total + _products(op, term, (previous if term.previous else seen)[term.source])
        return self._finish(op, _add_residual(op, total, seen), state)

    def _finish(self, op: Operation, total: IntArray, state: State) -> IntArray:
        """Narrow sums of shape (batch, repeat, rows), count those that do not fit, activate."""
        exact = shift_round(total, op.shifts, op.narrow.rounding)
        value = saturate(exact, op.narrow.format, op.narrow.overflow)
        if op.activation == "relu":
            value, exact = np.maximum(value, 0), np.maximum(exact, 0)
        state.saturated[op.target] += int(np.count_nonzero(value != exact))
        if op.activation == "tanh":
            value = np.sign(value) * self._tables[op.name][np.abs(value)]
        return value.reshape(len(total), op.repeat * op.rows)

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
        array = self._sequences(frames)
        state = self.initial_state(array.shape[0]) if state is None else state
        traces: dict[str, list[IntArray]] = {}
        for t in range(array.shape[1]):
            for name, value in self.step(array[:, t], state).items():
                traces.setdefault(name, []).append(value)
        result = {name: np.stack(values, axis=1) for name, values in traces.items()}
        result.setdefault("logits", np.zeros((array.shape[0], 0, self.model.outputs), np.int64))
        return result

    def run_long(
        self, frames: ArrayLike, state: State | None = None, progress: Callable[[int], None] | None = None
    ) -> IntArray:
        """Logits of long sequences: the same integers as `run`, several times as fast, in bounded memory.

        Vector by vector instead of frame by frame, so that only the memories are stepped through, where nothing else
        reads what was computed in an earlier frame; frame by frame otherwise.

        Parameters
        ----------
        frames, state
            As in `run`.
        progress : callable, optional
            Called with the frames done.

        Returns
        -------
        ndarray of int64, shape (batch, T_out, labels)
            Logits of every frame in which the last layer computed.

        Raises
        ------
        ValueError
            As `step`, or if the network has a gate: `lmu_hw.model.stream.stream_logits` is as fast for one.
        """
        if self.model.gate is not None:
            raise ValueError("run_long does not judge frames: a network with a gate takes stream_logits")
        array = self._sequences(frames)
        self.model.input.check("frame values", array)
        state = self.initial_state(array.shape[0]) if state is None else state
        by_vector = set(self.model.strides) == {1} and all(map(_keeps_to_itself, self.operations))
        parts = []
        for start in range(0, array.shape[1], CHUNK):
            chunk = array[:, start : start + CHUNK]
            parts.append(self._vectors(chunk, state) if by_vector else self.run(chunk, state)["logits"])
            if progress is not None:
                progress(start + chunk.shape[1])
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(array), 0, self.model.outputs), np.int64)

    def _sequences(self, frames: ArrayLike) -> IntArray:
        array = np.asarray(frames)
        if array.ndim != 3 or array.shape[2] != self.model.inputs:
            raise ValueError(f"frames must have shape (batch, T, {self.model.inputs}), not {array.shape}")
        return array

    def _vectors(self, frames: IntArray, state: State) -> IntArray:
        """Run some frames vector by vector; the logits."""
        batch, steps, inputs = frames.shape
        seen = {"x": frames.astype(np.int64).reshape(batch * steps, inputs)}
        for op in self.operations:
            total = np.broadcast_to(op.bias, (batch * steps, op.repeat, op.rows))
            for term in op.terms:
                if not term.previous:
                    total = total + _products(op, term, seen[term.source])
            total = _add_residual(op, total, seen)
            recurrent = any(term.previous for term in op.terms)
            value = self._recur(op, total, state) if recurrent else self._finish(op, total, state)
            seen[op.target] = np.concatenate((seen[op.target], value), axis=1) if op.start else value
        for name in state.values:
            state.values[name] = seen[name].reshape(batch, steps, -1)[:, -1].copy()
        return seen[output_name(self.model)].reshape(batch, steps, -1)

    def _recur(self, op: Operation, total: IntArray, state: State) -> IntArray:
        """Step through the frames of a memory; `total` is what its sums have from elsewhere."""
        held = state.values[op.target][:, op.start : op.start + op.repeat * op.rows].reshape(-1, op.repeat, op.rows)
        totals = total.reshape(len(held), -1, op.repeat, op.rows)
        exact, narrowed = np.empty_like(totals), np.empty_like(totals)
        narrow, step = shifter(op.shifts, op.narrow.rounding), _step(op)
        for t in range(totals.shape[1]):
            exact[:, t] = narrow(totals[:, t] + step(held))
            held = narrowed[:, t] = saturate(exact[:, t], op.narrow.format, op.narrow.overflow)
        state.saturated[op.target] += int(np.count_nonzero(narrowed != exact))
        return narrowed.reshape(len(total), -1)


def _keeps_to_itself(op: Operation) -> bool:
    """Whether an operation reads nothing from before its frame, or is a memory that reads its own last state only."""
    terms = [term for term in op.terms if term.previous]
    own = all((term.source, term.offset, term.weights.shape[1]) == (op.target, op.start, op.rows) for term in terms)
    return not terms or (len(terms) == 1 and own and op.activation == "linear")


def _step(op: Operation) -> Callable[[IntArray], IntArray]:
    """Products of a memory's own last state, shape (batch, repeat, rows) in and out."""
    term = next(term for term in op.terms if term.previous)
    matrix = np.ascontiguousarray(term.weights.T)
    if op.output.magnitude * int(np.abs(matrix).sum(axis=0).max()) >= EXACT_FLOAT:
        return lambda held: exact_matmul(held, matrix) << term.shift
    floats = matrix.astype(np.float64)
    return lambda held: (held @ floats).astype(np.int64) << term.shift


def _add_residual(op: Operation, total: IntArray, seen: dict[str, IntArray]) -> IntArray:
    """Add what an operation takes without a product to its sums, shape (batch, repeat, rows)."""
    if op.residual is None:
        return total
    return total + (seen[op.residual.source] << op.residual.shifts)[:, None, :]


def _products(op: Operation, term: Term, source: IntArray) -> IntArray:
    """Sums of the products of one term, at the scale of the operation's sum, shape (batch, repeat, rows)."""
    columns = term.weights.shape[1]
    if op.repeat > 1 and term.step != columns:
        raise ValueError(f"{op.name}: blocks must read neighbouring slices of {term.source}")
    part = source[:, term.offset : term.offset + op.repeat * columns].reshape(len(source), op.repeat, columns)
    return exact_matmul(part, np.ascontiguousarray(term.weights.T)) << term.shift
