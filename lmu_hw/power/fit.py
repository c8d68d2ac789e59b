"""From measured accelerators to the table of a technology: non-negative least squares, row by row."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy.optimize import nnls

from lmu_hw.power.features import FeatureCounts

__all__ = ["fit_counts", "weigh"]

MACROS = {"macros": 1.0}
"""What the Liberty of memory macros says of them counts as it is."""

NONE: Mapping[str, Mapping[str, float]] = MappingProxyType({})

SMALL = 0.02
"""Part of the total below which a row's own error matters less and less."""


def weigh(counts: FeatureCounts, energies: FeatureCounts) -> dict[str, float]:
    """Sum of counts times energies, by row; a count that the table does not have is an error."""
    return {
        row: sum(count * energies[row][name] for name, count in named.items() if count) for row, named in counts.items()
    }


def fit_counts(
    counts: Sequence[FeatureCounts],
    measured: Sequence[Mapping[str, float]],
    given: Mapping[str, Mapping[str, float]] = NONE,
) -> FeatureCounts:
    """Find what each count costs.

    Parameters
    ----------
    counts : sequence of FeatureCounts
        Of every design, with the same rows; a name that one does not have counts 0 there.
    measured : sequence of mapping of str to float
        Of every design, by row.
    given : mapping of str to mapping of str to float
        What some counts cost, by row, where that is known.

    Returns
    -------
    FeatureCounts
        None below 0, so that no part of an accelerator pays for another one, `given` and `MACROS` as they are; the sum
        of squares of the errors is the smallest, each as a part of the measured value (of rows that are small in their
        design, of a bit more).
    """
    totals = np.array([sum(one.values()) for one in measured])
    found: FeatureCounts = {}
    for row in counts[0]:
        named = dict.fromkeys(name for one in counts for name in one[row])
        known = {name: cost for name, cost in (MACROS | dict(given.get(row, {}))).items() if name in named}
        names = [name for name in named if name not in known]
        matrix = np.array([[one[row].get(name, 0.0) for name in names] for one in counts], dtype=np.float64)
        target = np.array([one[row] for one in measured])
        weight = 1 / (target + SMALL * totals)
        rest = target - [sum(one[row].get(name, 0.0) * cost for name, cost in known.items()) for one in counts]
        scale = np.abs(matrix).max(axis=0)
        scale[scale == 0] = 1
        solution, _ = nnls(matrix / scale * weight[:, None], rest * weight)
        found[row] = known | {name: float(value) for name, value in zip(names, solution / scale, strict=True)}
    return found
