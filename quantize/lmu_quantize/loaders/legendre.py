"""Find the order and window of a Legendre memory from its discrete matrices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from lmu_quantize.model import LegendreMemory

__all__ = ["AmbiguousWindow", "check_memory", "infer_memory", "stored_memory"]

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-5
"""Largest difference, of an element of A and of an element of B relative to its largest: float32 with room."""

COARSE = (8, 11)
"""Bits of the significand of types that are coarser than float32: bfloat16, float16."""

MOST_WINDOWS = 200
"""Whole windows that are compared with coarse matrices."""

ROUNDING = 1e-7
"""Two memories this near are the same in float32."""

SHORTEST, OCTAVES, PER_OCTAVE = 2.0**-3, 24, 8
NEWTON_STEPS = 30


class AmbiguousWindow(ValueError):
    """Matrices are rounded so coarsely that several windows fit them."""


def _rounded(values: FloatArray, bits: int) -> FloatArray:
    """Values with a significand of so many bits, as rounding of float32 numbers gives them."""
    significand, exponent = np.frexp(values.astype(np.float32).astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(significand, bits)), exponent - bits)


def _coarseness(a: FloatArray, b: FloatArray) -> int | None:
    """Bits of the significands of A, or of A less the identity, and B, if these are coarser than float32."""
    for bits in COARSE:
        matrices = (a, a - np.eye(len(a)))
        if np.array_equal(b, _rounded(b, bits)) and any(np.array_equal(m, _rounded(m, bits)) for m in matrices):
            return bits
    return None


def _tolerance(a: FloatArray, b: FloatArray) -> float:
    """Largest difference that the type of the elements allows, as `TOLERANCE`."""
    bits = _coarseness(a, b)
    return TOLERANCE if bits is None else 2.0 ** (1 - bits) * max(1.0, float(np.abs(a).max()))


def _whole_window(memory: LegendreMemory, a: FloatArray, b: FloatArray, bits: int) -> LegendreMemory:
    """The whole window whose rounded matrices are nearest to coarse ones, if it explains nearly all elements."""
    width = memory.theta * 2.0 ** (2 - bits) + 1
    if width > MOST_WINDOWS:
        raise AmbiguousWindow(f"A and B fit windows of {memory.theta - width:.0f} to {memory.theta + width:.0f} steps")
    best: list[LegendreMemory] = []
    least = a.size // 8 + 1
    for theta in range(max(1, round(memory.theta - width)), round(memory.theta + width) + 1):
        whole = LegendreMemory(memory.order, theta, memory.discretizer)
        exact_a, exact_b = (_rounded(matrix, bits) for matrix in whole.discretize())
        wrong = int(np.count_nonzero(exact_a != a) + np.count_nonzero(exact_b.reshape(-1) != b))
        if wrong < least:
            least, best = wrong, []
        if wrong == least:
            best.append(whole)
    if len(best) > 1:
        raise AmbiguousWindow(f"A and B fit windows of {best[0].theta:g} to {best[-1].theta:g} steps")
    return best[0] if best else memory


def _error(memory: LegendreMemory, a: FloatArray, b: FloatArray) -> float:
    a_again, b_again = memory.discretize()
    return float(max(np.abs(a_again - a).max(), np.abs(b_again - b).max() / np.abs(b_again).max()))


def _matrices(a: Any, b: Any) -> tuple[FloatArray, FloatArray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64).reshape(-1)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or b.shape != a.shape[:1]:
        raise ValueError(f"A and B must have shapes (order, order) and (order,), not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("A and B must be finite, found NaN or infinity")
    return a, b


def _euler_theta(a: FloatArray, b: FloatArray, order: int) -> float:
    """Least squares for 1/theta: both matrices are linear in it."""
    a_c, b_c = LegendreMemory(order, 1.0).continuous()
    weight = 1.0 / max(float(np.abs(b).max()), 1e-12) ** 2
    rate = (np.sum((a - np.eye(order)) * a_c) + weight * (b @ b_c)) / (np.sum(a_c * a_c) + weight * (b_c @ b_c))
    return float(1.0 / rate) if rate > 0 else np.nan


def _zoh_theta(a: FloatArray, b: FloatArray, order: int) -> float:
    """Gauss-Newton on ``expm(rate * [[A, B], [0, 0]])`` for rate = 1/theta, from the best of a geometric grid."""
    system, target = np.zeros((order + 1, order + 1)), np.eye(order + 1)
    system[:-1, :-1], system[:-1, -1] = LegendreMemory(order, 1.0).continuous()
    target[:-1, :-1], target[:-1, -1] = a, b
    scale = np.ones(order + 1)
    scale[-1] = 1.0 / max(float(np.abs(b).max()), 1e-12)
    best, rate = np.inf, 0.0
    for part in range(PER_OCTAVE):
        trial = 2.0 ** (-OCTAVES + part / PER_OCTAVE) / SHORTEST
        power = expm(trial * system)
        for _ in range(OCTAVES):
            error = float(np.abs((power - target) * scale).max())
            if error < best:
                best, rate = error, trial
            power, trial = power @ power, 2 * trial
    for _ in range(NEWTON_STEPS):
        power = expm(rate * system)
        slope = system @ power * scale
        step = float(np.sum((target - power) * scale * slope) / np.sum(slope * slope))
        rate += float(np.clip(step, -rate / 2, rate))
        if rate > 2 / SHORTEST or abs(step) <= 1e-13 * rate:
            break
    return 1.0 / rate


def infer_memory(a: Any, b: Any) -> LegendreMemory:
    """Find the memory whose discrete matrices these are.

    Parameters
    ----------
    a : array_like, shape (order, order)
        Discrete state matrix of ``m_t = A m_{t-1} + B u_t``, float32 or better.
    b : array_like, shape (order,), (order, 1) or (1, order)
        Discrete input matrix.

    Returns
    -------
    LegendreMemory
        The nearer of zero-order hold and Euler, which are the same at order 1; theta is a whole number where that
        fits as well.

    Raises
    ------
    AmbiguousWindow
        If the elements are float16 or bfloat16 numbers, and more than one whole window gives them.
    ValueError
        If no window reproduces A within 1e-5 and B within 1e-5 of its largest element (1e-3 and 8e-3 if all elements
        are float16 and bfloat16 numbers); windows from 1/8 to 2 million steps are searched.
    """
    a, b = _matrices(a, b)
    order = a.shape[0]
    memory = LegendreMemory(order, _zoh_theta(a, b, order), "zoh")
    error = _error(memory, a, b)
    theta = _euler_theta(a, b, order)
    if np.isfinite(theta):
        euler = LegendreMemory(order, theta, "euler")
        euler_error = _error(euler, a, b)
        if 2 * euler_error < error - ROUNDING:
            memory, error = euler, euler_error
    tolerance, bits = _tolerance(a, b), _coarseness(a, b)
    if error > tolerance:
        raise ValueError(
            f"A and B are not those of a Legendre memory of order {order}: "
            f"the nearest differs by {error:.2g}, over {tolerance:.2g}"
        )
    if error > TOLERANCE and bits is not None:
        return _whole_window(memory, a, b, bits)
    if round(memory.theta) >= 1:
        whole = LegendreMemory(order, round(memory.theta), memory.discretizer)
        if _error(whole, a, b) <= max(2 * error, 1e-12):
            return whole
    return memory


def check_memory(memory: LegendreMemory, a: Any, b: Any) -> LegendreMemory:
    """Return `memory` if its discrete matrices are `a` and `b` within the tolerance of their type, or raise."""
    a, b = _matrices(a, b)
    if a.shape[0] != memory.order:
        raise ValueError(f"A must have order {memory.order}, not {a.shape[0]}")
    error, tolerance = _error(memory, a, b), _tolerance(a, b)
    if error > tolerance:
        raise ValueError(
            f"A and B are not those of order {memory.order}, theta {memory.theta:g}, {memory.discretizer}: "
            f"they differ by {error:.2g}, over {tolerance:.2g}"
        )
    return memory


def stored_memory(
    a: Any, b: Any, *, order: int | None = None, theta: float | None = None, discretizer: str | None = None
) -> LegendreMemory:
    """Memory of a file that stores its discrete matrices.

    Parameters
    ----------
    a : array_like, shape (order, order)
        Discrete state matrix.
    b : array_like, shape (order,), (order, 1) or (1, order)
        Discrete input matrix.
    order, theta, discretizer : optional
        Of the memory, if known. Without `theta` the memory is found from the matrices, by `infer_memory`; otherwise
        the matrices are checked against it. The defaults are the order of `a` and ``zoh``.

    Raises
    ------
    ValueError
        If the matrices are not those of a Legendre memory, or of another one.
    """
    if theta is None:
        return infer_memory(a, b)
    return check_memory(LegendreMemory(order or np.asarray(a).shape[0], theta, discretizer or "zoh"), a, b)
