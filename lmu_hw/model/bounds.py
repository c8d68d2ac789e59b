"""Proofs of widths: the range of every sum and every vector, and whether narrowing can ever overflow.

The proof is interval arithmetic on exact integers, operation by operation. Only the memory is treated as a linear
system. In units of its last place it follows ``m_t = A m_{t-1} + B u_t + n_t``, with the *quantized* matrices and the
rounding error ``n_t``. So from the zero state, and as long as nothing was clipped,

    m_t[i] = sum_k (A^k B)[i] u_{t-k} + sum_k sum_j (A^k)[i, j] n_{t-k}[j]

The ranges of u and n, and the positive and negative parts of the responses, give bounds of this sum. If the bounds fit
the format of m then, by induction over the frames, nothing is ever clipped. This holds for every sequence of u. It also
holds with feedback through ``e_h``, ``e_m`` and ``w_h``, since u and h cannot leave their formats. The ranges proven in
one pass over the network are the premises of the next pass. This tightens the ranges of networks with feedback.

Partial sums may leave the range of the whole sum. In two's complement that is harmless: an accumulator needs only the
bits of the whole sum.
"""

import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.fixed import Overflow, Quantizer, Rounding, exact_matmul, shift_round
from lmu_hw.model.gate import GateBound
from lmu_hw.model.memory_layer import QuantizedMemoryLayer
from lmu_hw.model.operations import Operation, lower, tanh_table, vectors
from lmu_hw.model.program import QuantizedModel

__all__ = [
    "Certificate",
    "MemoryBound",
    "OperationBound",
    "VectorBound",
    "adversarial_input",
    "certify",
    "impulse_response_l1",
    "verify",
]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Ranges = dict[str, tuple[IntArray, IntArray]]

SCHEMA = "lmu-hw/certificate/1"
MAX_STEPS = 1 << 17
"""Most terms of an impulse response that are summed; a slower decay counts as unproven."""
NEGLIGIBLE = 2.0**-30
"""Norm of ``A^K`` at which the summation stops and the tail bound takes over."""
INFLATION = 1 + 2.0**-30
"""Covers the rounding of sums of up to `MAX_STEPS` non-negative numbers, which is below ``2**-35``."""
UNIT = 2.0**-53
PASSES = 8


@dataclass(frozen=True)
class OperationBound:
    """Range of one operation, over all of its elements and all frames.

    Attributes
    ----------
    sum_low, sum_high : int
        Range of the exact sum of products after the shifts, without the bias and the residual.
    accumulator_bits : int
        Bits of a signed number that holds the sum.
    total_bits : int
        The same with the bias and the residual added (the increment of the rounding not counted).
    low, high : int
        Range of the result, after narrowing and activation.
    below, above : bool
        Whether the rounded total can lie below, or above, what narrowing can represent. With ReLU and saturation a
        total below the range gives 0 either way; the golden model does not count it.
    overflowing : int
        Number of elements for which one of the two holds.
    """

    sum_low: int
    sum_high: int
    accumulator_bits: int
    total_bits: int
    low: int
    high: int
    below: bool
    above: bool
    overflowing: int

    @property
    def overflows(self) -> bool:
        """Whether narrowing can ever clip or wrap."""
        return self.below or self.above


@dataclass(frozen=True)
class VectorBound:
    """Range of a vector.

    Attributes
    ----------
    low, high : int
        Every element stays in this range; for memories and hidden states it contains the initial zero.
    lows, highs : tuple of int
        The same, element by element.
    """

    low: int
    high: int
    lows: tuple[int, ...]
    highs: tuple[int, ...]


@dataclass(frozen=True)
class MemoryBound:
    """The linear bound of one memory.

    Attributes
    ----------
    layer, memory : int
        Index of the layer, and of the memory in it.
    start : int
        First element of ``layer{i}.m`` that belongs to it; as many follow as `lows` has.
    spectral_radius : float
        Largest magnitude of an eigenvalue of the quantized state matrix.
    steps : int
        Terms of the responses that were summed; 0 if the sum could not be proven finite.
    input_low, input_high : int
        Range of the element of u that drives it, zero included.
    lows, highs : tuple of float
        Real bounds in units of the last place, safe against every rounding of their computation; empty if unproven.
    noise : float
        The part of the widest bound that comes from rounding errors, in units of the last place.
    fits : bool
        Whether the bounds fit the format, and so the memory cannot overflow.
    """

    layer: int
    memory: int
    start: int
    spectral_radius: float
    steps: int
    input_low: int
    input_high: int
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    noise: float
    fits: bool


@dataclass(frozen=True)
class Certificate:
    """Proven ranges of a model.

    Attributes
    ----------
    model : str
        Name of the model.
    operations : dict of str to OperationBound
        By `Operation.name`.
    vectors : dict of str to VectorBound
        By vector name.
    memories : tuple of MemoryBound
        Layer by layer.
    gate : GateBound or None
        Of the level gate, if the network has one.
    """

    model: str
    operations: dict[str, OperationBound]
    vectors: dict[str, VectorBound]
    memories: tuple[MemoryBound, ...]
    gate: GateBound | None = None

    @property
    def overflows(self) -> bool:
        """Whether any operation can ever clip or wrap."""
        return any(bound.overflows for bound in self.operations.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON form, which `verify` checks."""
        operations = {name: asdict(bound) | {"overflows": bound.overflows} for name, bound in self.operations.items()}
        certificate = {"schema": SCHEMA, "model": self.model, "overflows": self.overflows, "operations": operations}
        certificate["vectors"] = {name: asdict(bound) for name, bound in self.vectors.items()}
        certificate["memories"] = [asdict(bound) for bound in self.memories]
        if self.gate is not None:
            certificate["gate"] = asdict(self.gate)
        plain: dict[str, Any] = json.loads(json.dumps(certificate))
        return plain

    def save(self, path: str | Path) -> None:
        """Write the JSON form to a file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Powers:
    """Sums over the powers of a state matrix.

    Attributes
    ----------
    steps : int
        Powers that were summed.
    noise_up, noise_down : ndarray of float64, shape (d,)
        Row sums of the positive and of the negative parts of all powers, each safely rounded up.
    total : ndarray of float64, shape (d,)
        Row sums of the magnitudes of all powers, at least.
    """

    steps: int
    noise_up: FloatArray
    noise_down: FloatArray
    total: FloatArray


@dataclass(frozen=True)
class _Responses:
    """Sums of the positive and of the negative parts of a memory's responses, each safely rounded up."""

    steps: int
    up: FloatArray
    down: FloatArray
    noise_up: FloatArray
    noise_down: FloatArray


def _decays(a: FloatArray) -> bool:
    """Whether some power of two up to `MAX_STEPS` of a matrix is (numerically) negligible."""
    power, steps = a, 1
    with np.errstate(all="ignore"):
        while steps < MAX_STEPS:
            if np.abs(power).sum(axis=1).max() < NEGLIGIBLE:
                return True
            power, steps = power @ power, 2 * steps
        return bool(np.abs(power).sum(axis=1).max() < NEGLIGIBLE)


def _product_error(d: int) -> float:
    """Bound of the relative error of a dot product of `d` elements."""
    return d * UNIT / (1 - d * UNIT)


def _matrix(data: bytes) -> FloatArray:
    """Square matrix of float64 from its bytes."""
    values = np.frombuffer(data)
    size = math.isqrt(values.size)
    return values.reshape(size, size)


@functools.lru_cache(maxsize=64)
def _powers(matrix: bytes, negligible: float) -> _Powers | None:
    """Sum the powers of a matrix, or None if the sum cannot be proven finite.

    The powers ``P[k]`` are computed in floating point, ``P[k+1] = a P[k] + D[k]`` with ``|D[k]| <= g |a| |P[k]|``,
    where ``g`` bounds the relative error of a dot product. So ``a^k = P[k] - sum_j a^(k-1-j) D[j]``, and with S for the
    sum of all ``|a^k|`` the error of the whole sum is at most ``S sum_j |D[j]|``. The tail from K on is ``S |a^K|`` at
    most.

    Of every power only the sums of its rows and of their magnitudes are kept, whose half sum and half difference are
    the parts. All that costs time is then one product of matrices a step; it depends on the matrix only and is kept for
    the next memory, pass or proof with the same one.
    """
    a = _matrix(matrix)
    if not _decays(a):
        return None
    d = len(a)
    ones = np.ones(d)
    power, following, magnitude = np.eye(d), np.empty((d, d)), np.empty((d, d))
    row_sum, row_size = ones, ones
    sums, sizes = np.zeros(d), np.zeros(d)
    steps = 0
    while steps < MAX_STEPS and row_size.max() >= negligible:
        sums += row_sum
        sizes += row_size
        np.matmul(a, power, out=following)
        power, following = following, power
        np.abs(power, out=magnitude)
        row_sum, row_size = power @ ones, magnitude @ ones
        steps += 1
    tiny = np.finfo(np.float64).tiny * MAX_STEPS
    error = float((_product_error(d) * INFLATION * (np.abs(a) @ sizes)).max()) + d * tiny
    if not error < 0.5:
        return None
    partial = sizes * INFLATION / (1 - error)
    last = float(row_size.max()) * INFLATION + float(partial.max()) * error
    if not last < 0.5:
        return None
    total = partial / (1 - last)
    # Half sum and half difference cancel: their rounding is relative to the magnitudes.
    slack = total * (error + last) + sizes * (INFLATION - 1)
    up, down = (sizes + sums) / 2 + slack, (sizes - sums) / 2 + slack
    return _Powers(steps, up * INFLATION, down * INFLATION, total)


@functools.lru_cache(maxsize=64)
def _response_sums(matrix: bytes, drive: bytes, negligible: float) -> tuple[FloatArray, FloatArray] | None:
    """Sum the positive and the negative parts of ``a^k b``, with the errors and the tail bounded as in `_powers`.

    The vector is carried from step to step, which takes ``d**2`` products; the matrix powers are not needed for it.
    """
    powers = _powers(matrix, negligible)
    if powers is None:
        return None
    a, response = _matrix(matrix), np.frombuffer(drive)
    d = response.size
    up, down = np.zeros(d), np.zeros(d)
    for _ in range(powers.steps):
        up += np.maximum(response, 0)
        down += np.maximum(-response, 0)
        response = a @ response
    tiny = np.finfo(np.float64).tiny * MAX_STEPS
    error = float((_product_error(d) * INFLATION * (np.abs(a) @ (up + down))).max()) + tiny
    last = float(np.abs(response).max()) * INFLATION + float(powers.total.max()) * error
    slack = powers.total * (error + last)
    return (up + slack) * INFLATION, (down + slack) * INFLATION


def _responses(a: FloatArray, b: FloatArray) -> _Responses | None:
    """Sum the responses of ``m' = a m + b u`` over all time, or None if the sum cannot be proven finite."""
    matrix, drive = (np.ascontiguousarray(value, dtype=np.float64).tobytes() for value in (a, b))
    powers, sums = _powers(matrix, NEGLIGIBLE), _response_sums(matrix, drive, NEGLIGIBLE)
    if powers is None or sums is None:
        return None
    return _Responses(powers.steps, *sums, powers.noise_up, powers.noise_down)


@functools.lru_cache(maxsize=64)
def _spectral_radius(matrix: bytes) -> float:
    return float(np.abs(np.linalg.eigvals(_matrix(matrix))).max())


def impulse_response_l1(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Largest magnitude of each element of ``m' = a m + b u`` over all inputs with ``|u| <= 1``.

    Parameters
    ----------
    a : array_like of float, shape (d, d)
        State matrix, taken as exact.
    b : array_like of float, shape (d,)
        Input matrix, taken as exact.

    Returns
    -------
    ndarray of float64, shape (d,)
        ``sum_k |(a^k b)[i]|``, slightly rounded up to be safe; infinite if no finite sum could be proven.
    """
    matrix, vector = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if vector.ndim != 1 or matrix.shape != (vector.size, vector.size):
        raise ValueError(f"a and b must have shapes (d, d) and (d,), not {matrix.shape} and {vector.shape}")
    responses = _responses(matrix, vector)
    return np.full(vector.size, np.inf) if responses is None else responses.up + responses.down


def _rounding_error(rounding: Rounding, shift: int) -> tuple[float, float]:
    """Smallest and largest rounding error, in units of the last place, when `shift` bits are dropped."""
    if shift == 0:
        return 0.0, 0.0
    most = 1 - 2.0**-shift
    if rounding is Rounding.FLOOR:
        return -most, 0.0
    if rounding is Rounding.CEIL:
        return 0.0, most
    nearest = rounding.error == 0.5
    return (-0.5, 0.5) if nearest else (-most, most)


def _signed_bits(low: int, high: int) -> int:
    return max(high.bit_length(), (~low).bit_length() if low < 0 else 0) + 1


def _sum_range(op: Operation, ranges: Ranges) -> tuple[NDArray[Any], NDArray[Any]]:
    """Range of the sum of products by interval arithmetic; Python integers, shape (repeat, rows)."""
    low = np.zeros((op.repeat, op.rows), dtype=object)
    high = np.zeros((op.repeat, op.rows), dtype=object)
    for term in op.terms:
        columns = term.weights.shape[1]
        piece = slice(term.offset, term.offset + op.repeat * columns)
        least, most = (part[piece].reshape(op.repeat, columns) for part in ranges[term.source])
        positive = np.ascontiguousarray(np.maximum(term.weights, 0).T)
        negative = np.ascontiguousarray(np.minimum(term.weights, 0).T)
        scale = 1 << term.shift
        low = low + (exact_matmul(least, positive) + exact_matmul(most, negative)).astype(object) * scale
        high = high + (exact_matmul(most, positive) + exact_matmul(least, negative)).astype(object) * scale
    return low, high


def _round(total: NDArray[Any], op: Operation) -> IntArray:
    return shift_round(total.astype(np.int64), op.shifts, op.narrow.rounding)


def _narrow(low: IntArray, high: IntArray, to: Quantizer) -> tuple[IntArray, IntArray]:
    """Range after saturation or wrapping, element by element."""
    if to.overflow is Overflow.WRAP:
        leaves = (low < to.low) | (high > to.format.max)
        return np.where(leaves, to.low, low), np.where(leaves, to.format.max, high)
    return np.clip(low, to.low, to.format.max), np.clip(high, to.low, to.format.max)


def _activate(values: IntArray, op: Operation) -> IntArray:
    """Apply the activation, which is monotonic, to an end of a range."""
    if op.activation == "relu":
        return np.maximum(values, 0)
    if op.activation == "tanh":
        return np.sign(values) * tanh_table(op.narrow.format, op.output)[np.abs(values)]
    return values


def _state_matrices(op: Operation) -> tuple[FloatArray, FloatArray]:
    """Matrices of a memory update, exact in floating point, in units of the last place of m and u."""
    state, drive = op.terms
    shift = int(op.shifts[0])
    a = np.ldexp(state.weights.astype(np.float64), state.shift - shift)
    return a, np.ldexp(drive.weights[:, 0].astype(np.float64), drive.shift - shift)


class _Prover:
    """Ranges of all vectors, tightened pass by pass."""

    def __init__(self, model: QuantizedModel):
        self.operations = lower(model)
        known = vectors(model)
        self.ranges: Ranges = {"x": (np.full(model.inputs, model.input.min), np.full(model.inputs, model.input.max))}
        for op in self.operations:
            ends = (_activate(np.array([end]), op) for end in (op.narrow.low, op.narrow.format.max))
            low, high = (np.full(known[op.target].size, int(end[0])) for end in ends)
            self.ranges[op.target] = (low, high)
        self.gains = {op.name: _responses(*_state_matrices(op)) for op in self.operations if op.target.endswith(".m")}
        self.bounds: dict[str, OperationBound] = {}
        self.memories: dict[str, list[MemoryBound]] = {}

    def run(self) -> None:
        """Pass over the network until the ranges stay as they are."""
        for _ in range(PASSES):
            before = {name: (low.copy(), high.copy()) for name, (low, high) in self.ranges.items()}
            for op in self.operations:
                self._operation(op)
            if all(np.array_equal(before[name], self.ranges[name]) for name in before):
                break

    def _operation(self, op: Operation) -> None:
        low, high = _sum_range(op, self.ranges)
        if op.name in self.gains:
            low, high = self._memory(op, low, high)
        total_low, total_high = self._add(op, low, high)
        rounded_low, rounded_high = _round(total_low, op), _round(total_high, op)
        below, above = rounded_low < op.narrow.low, rounded_high > op.narrow.format.max
        ends = _narrow(rounded_low, rounded_high, op.narrow)
        result_low, result_high = (_activate(end, op).reshape(-1) for end in ends)
        self.bounds[op.name] = OperationBound(
            sum_low=int(low.min()),
            sum_high=int(high.max()),
            accumulator_bits=_signed_bits(int(low.min()), int(high.max())),
            total_bits=_signed_bits(int(total_low.min()), int(total_high.max())),
            low=int(result_low.min()),
            high=int(result_high.max()),
            below=bool(below.any()),
            above=bool(above.any()),
            overflowing=int(np.count_nonzero(below | above)),
        )
        known_low, known_high = self.ranges[op.target]
        piece = slice(op.start, op.start + op.repeat * op.rows)
        if not op.target.endswith((".u", ".f")):
            result_low, result_high = np.minimum(result_low, 0), np.maximum(result_high, 0)
        known_low[piece] = np.maximum(known_low[piece], result_low)
        known_high[piece] = np.minimum(known_high[piece], result_high)

    def _add(self, op: Operation, low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Add the bias and the residual to the sums."""
        low, high = low + op.bias.astype(object), high + op.bias.astype(object)
        if op.residual is None:
            return low, high
        scale = np.array([1 << int(shift) for shift in op.residual.shifts], dtype=object)
        source_low, source_high = (end.astype(object) * scale for end in self.ranges[op.residual.source])
        return low + source_low, high + source_high

    def _memory(self, op: Operation, low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Tighten the sums of those memories whose linear bound fits the format."""
        a, _ = _state_matrices(op)
        radius = _spectral_radius(np.ascontiguousarray(a).tobytes())
        gains, drive, shift = self.gains[op.name], op.terms[1], int(op.shifts[0])
        noise_low, noise_high = _rounding_error(op.narrow.rounding, shift)
        self.memories[op.name] = []
        low, high = low.copy(), high.copy()
        for block in range(op.repeat):
            element = drive.offset + block
            source_low, source_high = self.ranges[drive.source]
            least, most = min(0, int(source_low[element])), max(0, int(source_high[element]))
            lows: FloatArray = np.zeros(0)
            highs: FloatArray = np.zeros(0)
            noise, fits = 0.0, False
            if gains is not None:
                noise_below = gains.noise_up * -noise_low + gains.noise_down * noise_high
                noise_above = gains.noise_up * noise_high + gains.noise_down * -noise_low
                lows = -(gains.up * -least + gains.down * most + noise_below) * INFLATION
                highs = (gains.up * most + gains.down * -least + noise_above) * INFLATION
                noise = float(np.maximum(noise_below, noise_above).max())
                inner_low, inner_high = np.ceil(lows), np.floor(highs)
                fits = bool((inner_low >= op.narrow.low).all() and (inner_high <= op.narrow.format.max).all())
                if fits:
                    end_low = np.maximum(inner_low.astype(np.int64), _round(low[block], op))
                    end_high = np.minimum(inner_high.astype(np.int64), _round(high[block], op))
                    low[block] = np.maximum(low[block], _least_sum(end_low, op.narrow.rounding, shift))
                    high[block] = np.minimum(high[block], _most_sum(end_high, op.narrow.rounding, shift))
            self.memories[op.name].append(
                MemoryBound(
                    layer=op.layer,
                    memory=element,
                    start=op.start + block * op.rows,
                    spectral_radius=radius,
                    steps=0 if gains is None else gains.steps,
                    input_low=least,
                    input_high=most,
                    lows=tuple(lows.tolist()),
                    highs=tuple(highs.tolist()),
                    noise=noise,
                    fits=fits,
                )
            )
        return low, high


def _most_sum(ends: IntArray, rounding: Rounding, shift: int) -> IntArray:
    """Largest sums that round to at most `ends`; rounding is monotonic, so one of a few candidates is it."""
    base = ends << shift
    largest = base
    if shift:
        half = 1 << (shift - 1)
        for extra in (half - 1, half, 2 * half - 1):
            largest = np.where(shift_round(base + extra, shift, rounding) <= ends, base + extra, largest)
    return largest


def _least_sum(ends: IntArray, rounding: Rounding, shift: int) -> IntArray:
    """Smallest sums that round to at least `ends`: the mirror image, in which floor and ceiling change places."""
    mirrored = {Rounding.FLOOR: Rounding.CEIL, Rounding.CEIL: Rounding.FLOOR}.get(rounding, rounding)
    return -_most_sum(-ends, mirrored, shift)


def certify(model: QuantizedModel) -> Certificate:
    """Prove the range of every sum and every vector of a model.

    The ranges hold for all input sequences in the model's input format, of any length, from the zero state.

    Parameters
    ----------
    model : QuantizedModel
        The network.

    Returns
    -------
    Certificate
        The proven ranges.
    """
    prover = _Prover(model)
    prover.run()
    vectors = {}
    for name, (low, high) in prover.ranges.items():
        lows, highs = tuple(low.tolist()), tuple(high.tolist())
        vectors[name] = VectorBound(min(lows), max(highs), lows, highs)
    memories = tuple(bound for bounds in prover.memories.values() for bound in bounds)
    gate = None if model.gate is None else model.gate.bound(model.inputs, model.input)
    return Certificate(model.name, prover.bounds, vectors, memories, gate)


def _difference(claimed: Any, proven: Any, where: str) -> str | None:
    """Path of the first difference of two JSON values; floats may differ by 1 part in a million."""
    if isinstance(claimed, dict) and isinstance(proven, dict):
        if set(claimed) != set(proven):
            return where
        pairs = [(claimed[key], proven[key], f"{where}.{key}" if where else key) for key in proven]
    elif isinstance(claimed, list) and isinstance(proven, list):
        if len(claimed) != len(proven):
            return where
        pairs = [(*pair, f"{where}[{index}]") for index, pair in enumerate(zip(claimed, proven, strict=True))]
    elif isinstance(claimed, float) and isinstance(proven, float):
        return None if math.isclose(claimed, proven, rel_tol=1e-6, abs_tol=1e-6) else where
    else:
        return None if type(claimed) is type(proven) and claimed == proven else where
    differences = (_difference(*pair) for pair in pairs)
    return next((difference for difference in differences if difference is not None), None)


def verify(certificate: Any, model: QuantizedModel) -> None:
    """Prove a model anew and compare with a certificate.

    Parameters
    ----------
    certificate : dict
        JSON form of a certificate.
    model : QuantizedModel
        The network that it is about.

    Raises
    ------
    ValueError
        If it is no certificate, or a bound differs; the message names the first one.
    """
    if not isinstance(certificate, dict) or certificate.get("schema") != SCHEMA:
        raise ValueError(f"a certificate must have the schema {SCHEMA}")
    where = _difference(certificate, certify(model).to_dict(), "")
    if where is not None:
        raise ValueError(f"the certificate does not hold for model {model.name}: {where or 'its keys'} differs")


def adversarial_input(model: QuantizedModel, layer: int, element: int, *, highest: bool = True) -> IntArray:
    """Sequence of u that drives one element of a memory as far as any sequence can, rounding aside.

    The signs of the impulse response, reversed in time, choose between the smallest and the largest u that the
    certificate allows; the element is extreme after the last step.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    layer : int
        Index of a layer with memories.
    element : int
        Element of ``layer{i}.m``.
    highest : bool
        Drive it up if true, down otherwise.

    Returns
    -------
    ndarray of int64, shape (T,)
        Integers for the element that feeds the memory: of ``layer{i}.u``, or of the layer's input where it has no u.

    Raises
    ------
    ValueError
        If there is no such element, or its response does not decay.
    """
    chosen = model.layers[layer] if 0 <= layer < len(model.layers) else None
    if not isinstance(chosen, QuantizedMemoryLayer):
        raise ValueError(f"layer must be the index of a layer with memories, not {layer!r}")
    if not 0 <= element < chosen.state_size:
        raise ValueError(f"element must be in 0 to {chosen.state_size - 1}, not {element!r}")
    bounds = [bound for bound in certify(model).memories if bound.layer == layer and bound.start <= element]
    bound = bounds[-1]
    if bound.steps == 0:
        raise ValueError(f"the response of element {element} of layer {layer} does not decay")
    update = next(
        op
        for op in lower(model)
        if op.target == f"layer{layer}.m" and op.start <= element < op.start + op.repeat * op.rows
    )
    a, response = _state_matrices(update)
    row = element - bound.start
    signs = np.zeros(bound.steps)
    for step in range(bound.steps):
        signs[step] = response[row]
        response = a @ response
    if not highest:
        signs = -signs
    worst = np.where(signs > 0, bound.input_high, np.where(signs < 0, bound.input_low, 0))
    return worst[::-1].astype(np.int64)
