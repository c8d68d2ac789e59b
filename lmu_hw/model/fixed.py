"""The arithmetic contract: formats, rounding and saturation of integers.

A tensor is an array of integers plus a `Format`; the real value of an integer ``q`` is ``q * 2**-frac``.
Products and sums are exact. Only `requantize` narrows a value: shift, round, then saturate.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.checks import require_int, require_member, require_object, require_type

__all__ = [
    "Format",
    "Overflow",
    "Quantizer",
    "Rounding",
    "exact_matmul",
    "requantize",
    "saturate",
    "shift_round",
    "shifter",
]

IntArray = NDArray[np.int64]

MAX_WIDTH = 62
"""Widest integer that the int64 arithmetic of the golden model carries with a guard bit."""

FORMAT_KEYS = ("width", "frac", "signed")
"""Keys of a format's JSON form."""


class Rounding(enum.Enum):
    """How bits below the least significant one are dropped; names and meaning as QONNX has them."""

    ROUND = "ROUND"
    """To nearest, ties to even."""
    CEIL = "CEIL"
    """Towards plus infinity."""
    FLOOR = "FLOOR"
    """Towards minus infinity (truncation of two's complement)."""
    UP = "UP"
    """Away from zero."""
    DOWN = "DOWN"
    """Towards zero."""
    HALF_UP = "HALF_UP"
    """To nearest, ties away from zero."""
    HALF_DOWN = "HALF_DOWN"
    """To nearest, ties towards zero."""

    @property
    def error(self) -> float:
        """Largest magnitude of the rounding error, in units of the last place kept."""
        return 0.5 if self in (Rounding.ROUND, Rounding.HALF_UP, Rounding.HALF_DOWN) else 1.0


class Overflow(enum.Enum):
    """What happens to a value that does not fit its format."""

    SAT = "SAT"
    """Clip to the format's smallest and largest integer."""
    SAT_SYM = "SAT_SYM"
    """Clip to plus and minus the largest integer (the most negative integer is never produced)."""
    WRAP = "WRAP"
    """Keep the low bits, as two's complement does."""


@dataclass(frozen=True)
class Format:
    """A fixed-point format.

    Parameters
    ----------
    width : int
        Bits, sign included, 1 to 62 (at least 2 if signed).
    frac : int
        Fraction bits, -64 to 64; the weight of the last bit is ``2**-frac``.
    signed : bool
        Two's complement if true, unsigned otherwise.
    """

    width: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        require_type("format signed", self.signed, bool)
        for name, low, high in (("width", 2 if self.signed else 1, MAX_WIDTH), ("frac", -64, 64)):
            object.__setattr__(self, name, require_int(f"format {name}", getattr(self, name), low, high))

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.width}.{self.frac}"

    @property
    def min(self) -> int:
        """Smallest integer of the format."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """Largest integer of the format."""
        return (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1

    @property
    def magnitude(self) -> int:
        """Largest absolute value of an integer of the format."""
        return max(-self.min, self.max)

    @property
    def lsb(self) -> float:
        """Real weight of the last bit."""
        return 2.0**-self.frac

    @property
    def signed_width(self) -> int:
        """Bits of a signed number that holds every integer of the format."""
        return self.width if self.signed else self.width + 1

    def quantize(self, real: ArrayLike, overflow: Overflow = Overflow.SAT) -> IntArray:
        """Nearest integers to real values (ties towards plus infinity), saturated.

        Parameters
        ----------
        real : array_like of float
            Finite values.
        overflow : Overflow
            `SAT` or `SAT_SYM`.

        Raises
        ------
        ValueError
            If a value is not finite.
        """
        values = np.asarray(real, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values to quantize must be finite, found NaN or infinity")
        low = -self.max if overflow is Overflow.SAT_SYM and self.signed else self.min
        return np.clip(np.floor(np.ldexp(values, self.frac) + 0.5), low, self.max).astype(np.int64)

    def real(self, integers: ArrayLike) -> NDArray[np.float64]:
        """Real values of integers of this format."""
        return np.ldexp(np.asarray(integers, dtype=np.float64), -self.frac)

    def contains(self, integers: ArrayLike) -> bool:
        """Whether every integer fits the format."""
        array = np.asarray(integers)
        return array.size == 0 or (int(array.min()) >= self.min and int(array.max()) <= self.max)

    def check(self, name: str, integers: ArrayLike) -> None:
        """Refuse integers that do not fit the format.

        Parameters
        ----------
        name : str
            How the message calls them, in the plural.
        integers : array_like of int
            The integers.

        Raises
        ------
        ValueError
            If one does not fit; the message names the range and the value farthest from 0.
        """
        if not self.contains(integers):
            array = np.asarray(integers)
            farthest = max((int(array.min()), int(array.max())), key=abs)
            raise ValueError(f"{name} must be in {self.min} to {self.max}, found {farthest}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {"width": self.width, "frac": self.frac, "signed": self.signed}

    @classmethod
    def from_dict(cls, data: Any) -> "Format":
        """Format from its JSON form; `ValueError` names a missing or unknown key."""
        return cls(**require_object("the format", data, FORMAT_KEYS))


def shift_round(value: ArrayLike, shift: ArrayLike, rounding: Rounding) -> IntArray:
    """Divide integers by ``2**shift`` and round.

    Parameters
    ----------
    value : array_like of int64
        Magnitudes below ``2**62``.
    shift : array_like of int
        0 to 62, broadcast against `value`.
    rounding : Rounding
        What happens to the bits shifted out.

    Returns
    -------
    ndarray of int64
        Rounded quotients.
    """
    return shifter(shift, rounding)(np.asarray(value, dtype=np.int64))


def shifter(shift: ArrayLike, rounding: Rounding) -> Callable[[IntArray], IntArray]:
    """Function of `shift_round` for one shift and mode, for many small arrays.

    Parameters
    ----------
    shift, rounding
        As in `shift_round`.

    Returns
    -------
    callable
        From int64 values to their rounded quotients.
    """
    s = np.asarray(shift, dtype=np.int64)
    if s.size and (int(s.min()) < 0 or int(s.max()) > MAX_WIDTH):
        raise ValueError(f"shift must be in 0 to {MAX_WIDTH}, not {s.min()} to {s.max()}")
    dropped, full = (s > 0).astype(np.int64), (np.int64(1) << s) - 1
    half = ((full + 1) >> 1) * dropped
    functions: dict[Rounding, Callable[[IntArray], IntArray]] = {
        Rounding.FLOOR: lambda v: v >> s,
        Rounding.CEIL: lambda v: (v + full) >> s,
        Rounding.UP: lambda v: (v + full * (v > 0)) >> s,
        Rounding.DOWN: lambda v: (v + full * (v < 0)) >> s,
        Rounding.HALF_UP: lambda v: (v + half - dropped * (v < 0)) >> s,
        Rounding.HALF_DOWN: lambda v: (v + half - dropped * (v > 0)) >> s,
        Rounding.ROUND: lambda v: (v + half - dropped * (1 - ((v >> s) & 1))) >> s,
    }
    return functions[rounding]


def saturate(value: ArrayLike, fmt: Format, overflow: Overflow = Overflow.SAT) -> IntArray:
    """Bring integers into a format.

    Parameters
    ----------
    value : array_like of int64
        Integers at the format's own scale.
    fmt : Format
        The target.
    overflow : Overflow
        Clip, clip symmetrically, or wrap.

    Returns
    -------
    ndarray of int64
        Integers that `fmt` contains.
    """
    v = np.asarray(value, dtype=np.int64)
    if overflow is Overflow.WRAP:
        low = v & ((1 << fmt.width) - 1)
        return np.where(low > fmt.max, low - (1 << fmt.width), low) if fmt.signed else low
    low_bound = -fmt.max if overflow is Overflow.SAT_SYM and fmt.signed else fmt.min
    return np.clip(v, low_bound, fmt.max)


@dataclass(frozen=True)
class Quantizer:
    """How one tensor is narrowed: a format and the two modes.

    Parameters
    ----------
    format : Format
        The target.
    rounding : Rounding
        What happens to the bits below the last one.
    overflow : Overflow
        What happens to values beyond the format.
    """

    format: Format
    rounding: Rounding = Rounding.HALF_UP
    overflow: Overflow = Overflow.SAT

    def __post_init__(self) -> None:
        for name, expected in (("format", Format), ("rounding", Rounding), ("overflow", Overflow)):
            if not isinstance(getattr(self, name), expected):
                raise TypeError(f"quantizer {name} must be a {expected.__name__}, not {getattr(self, name)!r}")

    @property
    def low(self) -> int:
        """Smallest integer that is ever produced."""
        symmetric = self.overflow is Overflow.SAT_SYM and self.format.signed
        return -self.format.max if symmetric else self.format.min

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return self.format.to_dict() | {"rounding": self.rounding.value, "overflow": self.overflow.value}

    @classmethod
    def from_dict(cls, data: Any) -> "Quantizer":
        """Quantizer from its JSON form; `ValueError` names a missing or unknown key or a refused value."""
        values = require_object("the quantizer", data, (*FORMAT_KEYS, "rounding", "overflow"))
        rounding = require_member("rounding", values.pop("rounding"), Rounding)
        overflow = require_member("overflow", values.pop("overflow"), Overflow)
        return cls(Format.from_dict(values), rounding, overflow)


def requantize(value: ArrayLike, frac: ArrayLike, to: Quantizer) -> IntArray:
    """Narrow exact integers to a format: shift, round, saturate.

    Parameters
    ----------
    value : array_like of int64
        Exact sums.
    frac : array_like of int
        Fraction bits of `value`, at least those of the target; may differ per channel (broadcast).
    to : Quantizer
        The target format and the modes.

    Returns
    -------
    ndarray of int64
        Integers that the format contains.
    """
    rounded = shift_round(value, np.asarray(frac) - to.format.frac, to.rounding)
    return saturate(rounded, to.format, to.overflow)


def exact_matmul(a: IntArray, b: IntArray) -> IntArray:
    """Exact integer matrix product.

    Runs in floating point, much faster, where every partial sum is provably below ``2**53``, and in
    int64 otherwise; the result is the same.

    Parameters
    ----------
    a : ndarray of int64, shape (..., n, k)
        Left factor.
    b : ndarray of int64, shape (k, m)
        Right factor.

    Returns
    -------
    ndarray of int64, shape (..., n, m)
        The product.
    """
    if a.size == 0 or b.size == 0:
        return np.matmul(a, b)
    bound = int(np.abs(a).max()) * int(np.abs(b).sum(axis=0).max())
    if bound < 1 << 53:
        return np.rint(np.matmul(a.astype(np.float64), b.astype(np.float64))).astype(np.int64)
    if bound >= 1 << MAX_WIDTH:
        raise OverflowError(f"a sum of products may reach {bound}, over {MAX_WIDTH} bits")
    return np.matmul(a, b)
