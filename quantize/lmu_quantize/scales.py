"""The choice of power-of-two scales: formats of signals, and fraction bits of weight matrices row by row."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import Format
from lmu_hw.model.program import Weights

__all__ = ["WeightTerm", "finest_format", "floor_power", "format_by_error", "format_by_percentile", "quantize_terms"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FINER = 6
"""Finer scales that are tried, each clipping twice as much, beyond the finest one that clips nothing."""
COARSER = 3
"""Coarser scales that are tried for a row of weights that must follow the scale of another term."""
FRAC_LIMIT = 32
OFFSETS = 12
"""Offsets that are tried on either side of the middle one."""
TIE = 1 + 1e-9
POWER_FLOOR = 0.01
"""Smallest weight of a column in the choice of weight scales, relative to the mean over its vector."""


def finest_format(peak: float, width: int, signed: bool = True) -> Format:
    """Give the finest format of a width that holds magnitudes up to `peak` without clipping."""
    return Format(width, _finest_frac(peak, Format(width, 0, signed).max), signed)


def floor_power(power: FloatArray) -> FloatArray:
    """Raise the mean squares of a vector's elements, shape (size,), to at least 1 % of their mean."""
    return np.maximum(power, POWER_FLOOR * float(power.mean()))


def _finest_frac(peak: float, most: int) -> int:
    """Largest fraction bits with ``round(peak * 2**frac) <= most``; for a peak of 0 as for 1."""
    if peak <= 0 or not math.isfinite(math.log2(most / peak)):
        peak = 1.0
    frac = math.floor(math.log2((most + 0.5) / peak))
    if math.floor(math.ldexp(peak, frac) + 0.5) > most:
        frac -= 1
    return max(-FRAC_LIMIT, min(FRAC_LIMIT, frac))


def format_by_error(values: FloatArray, width: int, signed: bool = True) -> Format:
    """Give the format of a width with the smallest mean squared error on sample values; of ties the coarsest."""
    widest = finest_format(float(np.abs(values).max(initial=0.0)), width, signed)
    best, smallest = widest, math.inf
    for frac in range(widest.frac, min(widest.frac + FINER, FRAC_LIMIT) + 1):
        fmt = Format(width, frac, signed)
        error = float(np.square(fmt.real(fmt.quantize(values)) - values).sum())
        if error < smallest:
            best, smallest = fmt, error
    return best


def format_by_percentile(values: FloatArray, width: int, percentile: float, signed: bool = True) -> Format:
    """Give the finest format of a width that holds this percentage of the sample values' magnitudes."""
    peak = float(np.percentile(np.abs(values), percentile)) if values.size else 0.0
    return finest_format(peak, width, signed)


@dataclass(frozen=True, eq=False)
class WeightTerm:
    """A float matrix that is one term of a sum.

    Parameters
    ----------
    weights : ndarray of float64, shape (rows, columns)
        Real weights.
    bits : int
        Bits of an integer weight.
    power : ndarray of float64, shape (columns,) or (rows, columns)
        Mean square of each element that the matrix multiplies; the latter where every row reads other elements.
    source_frac : int
        Fraction bits of these elements.
    """

    weights: FloatArray
    bits: int
    power: FloatArray
    source_frac: int


def _limits(bits: int, symmetric: bool) -> tuple[int, int]:
    most = (1 << (bits - 1)) - 1
    return (-most if symmetric else -most - 1), most


def _integers(weights: FloatArray, frac: IntArray | int, low: int, high: int) -> IntArray:
    """Nearest integers at the given scales, clipped."""
    return np.clip(np.floor(np.ldexp(weights, frac) + 0.5), low, high).astype(np.int64)


def _row_errors(term: WeightTerm, fracs: range, symmetric: bool) -> FloatArray:
    """Squared error at the output of each row for each of the scales, shape (scales, rows)."""
    low, high = _limits(term.bits, symmetric)
    errors = np.empty((len(fracs), len(term.weights)))
    for index, frac in enumerate(fracs):
        difference = np.ldexp(_integers(term.weights, frac, low, high).astype(np.float64), -frac) - term.weights
        squares = np.square(difference)
        errors[index] = squares @ term.power if term.power.ndim == 1 else (squares * term.power).sum(axis=1)
    return errors


def _widest(term: WeightTerm, symmetric: bool) -> IntArray:
    """For each row that is not zero, the finest scale that clips nothing."""
    _, high = _limits(term.bits, symmetric)
    peaks = np.abs(term.weights).max(axis=1, initial=0.0)
    return np.array([_finest_frac(float(peak), high) for peak in peaks[peaks > 0]], dtype=np.int64)


def _candidates(terms: Sequence[WeightTerm], symmetric: bool) -> tuple[range, list[range]]:
    """Scales to try, and for each term but the first the offsets from it."""
    widest = [_widest(term, symmetric) for term in terms]
    finest = np.concatenate(widest)
    if finest.size == 0:
        return range(1), [range(1) for _ in terms[1:]]
    low, high = int(finest.min()) - COARSER, int(finest.max()) + FINER
    middle = [int(np.median(each)) if each.size else int(np.median(finest)) for each in widest]
    offsets = [range(each - middle[0] - OFFSETS, each - middle[0] + OFFSETS + 1) for each in middle[1:]]
    return range(max(low, -FRAC_LIMIT), min(high, FRAC_LIMIT) + 1), offsets


def quantize_terms(terms: Sequence[WeightTerm], symmetric: bool = True) -> list[Weights]:
    """Quantize the matrices of one sum together.

    The hardware brings all products of a sum to one scale with the same shift in every row, so the fraction bits must
    be ``base[row] + offset[term]``. All offsets near the middle of the matrices' own scales are tried. For each of
    them, every row takes the base with its smallest squared error, weighted with the power of the signals. The offsets
    with the smallest total error win. Among equal offsets those with the most similar product scales are taken, among
    equal bases the coarsest. A row of zeros takes the finest base of the others.

    Parameters
    ----------
    terms : sequence of WeightTerm
        One or more, of equally many rows.
    symmetric : bool
        Whether the most negative integer is left out.

    Returns
    -------
    list of Weights
        One for each term.
    """
    fracs, choices = _candidates(terms, symmetric)
    errors = [_row_errors(term, fracs, symmetric) for term in terms]
    best: tuple[float, int] = (math.inf, 0)
    bases, offsets = np.zeros(errors[0].shape[1], np.int64), tuple(0 for _ in terms)
    for choice in itertools.product(*choices):
        tried = (0, *choice)
        first, last = max(0, -min(tried)), min(len(fracs), len(fracs) - max(tried))
        if first >= last:
            continue
        parts = [error[first + offset : last + offset] for error, offset in zip(errors, tried, strict=True)]
        total = np.sum(parts, axis=0)
        rows = np.argmin(total, axis=0)
        error = float(np.take_along_axis(total, rows[None], axis=0).sum())
        scales = [offset + term.source_frac for offset, term in zip(tried, terms, strict=True)]
        spread = max(scales) - min(scales)
        if error * TIE < best[0] or (error <= best[0] * TIE and spread < best[1]):
            best, bases, offsets = (error, spread), rows + first + fracs.start, tried
    live = np.any([np.any(term.weights != 0, axis=1) for term in terms], axis=0)
    bases = np.where(live, bases, bases[live].max() if live.any() else 0)
    quantized = []
    for term, offset in zip(terms, offsets, strict=True):
        frac = bases + offset
        low, high = _limits(term.bits, symmetric)
        quantized.append(Weights(_integers(term.weights, frac[:, None], low, high), term.bits, frac))
    return quantized
