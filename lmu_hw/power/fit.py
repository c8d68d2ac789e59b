"""Fit the table of a technology to measured accelerators, row by row, by non-negative least squares."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy.optimize import nnls

from lmu_hw.power.feature_names import Feature, FeatureCounts

__all__ = ["fit_counts", "weigh"]

KNOWN = {Feature.MACROS: 1.0}
"""Prices that need no fit: the Liberty files of memory macros give their energy, leakage and area."""

NONE: Mapping[str, Mapping[Feature, float]] = MappingProxyType({})

SMALL = 0.02
"""Part of the total below which a row's own error matters less and less."""


def weigh(counts: FeatureCounts, prices: FeatureCounts) -> dict[str, float]:
    """Sum counts times prices, by row.

    Parameters
    ----------
    counts : dict of str to dict of Feature to float
        Counts of an accelerator, by row.
    prices : dict of str to dict of Feature to float
        Joule, watt or square micrometre of each, by row.

    Returns
    -------
    dict of str to float
        Sums by row.

    Raises
    ------
    ValueError
        If a count has no price.
    """
    lacking = [
        f"{feature} ({row})"
        for row, features in counts.items()
        for feature, count in features.items()
        if count and feature not in prices.get(row, {})
    ]
    if lacking:
        raise ValueError(f"the table has no price for {', '.join(lacking)}")
    return {
        row: sum(count * prices[row][feature] for feature, count in features.items() if count)
        for row, features in counts.items()
    }


def fit_counts(
    counts: Sequence[FeatureCounts],
    measured: Sequence[Mapping[str, float]],
    given: Mapping[str, Mapping[Feature, float]] = NONE,
) -> FeatureCounts:
    """Find the price of each count by non-negative least squares.

    Errors are relative to the measured value. In rows that are small in their design they are relative to a bit more.
    No price is below 0, so that no part of an accelerator pays for another one.

    Parameters
    ----------
    counts : sequence of FeatureCounts
        Counts of each design, with the same rows. A feature that a design lacks counts 0 there.
    measured : sequence of mapping of str to float
        Measured value of each design, by row.
    given : mapping of str to mapping of Feature to float
        Prices that are known already, by row. They are kept, as are those of `KNOWN`.

    Returns
    -------
    FeatureCounts
        Price of each count, by row.
    """
    totals = np.array([sum(rows.values()) for rows in measured])
    prices: FeatureCounts = {}
    for row in counts[0]:
        features = dict.fromkeys(feature for design in counts for feature in design[row])
        known = {
            feature: price for feature, price in (KNOWN | dict(given.get(row, {}))).items() if feature in features
        }
        unknown = [feature for feature in features if feature not in known]
        matrix = np.array(
            [[design[row].get(feature, 0.0) for feature in unknown] for design in counts], dtype=np.float64
        )
        target = np.array([rows[row] for rows in measured])
        weight = 1 / (target + SMALL * totals)
        rest = target - [
            sum(design[row].get(feature, 0.0) * price for feature, price in known.items()) for design in counts
        ]
        scale = np.abs(matrix).max(axis=0)
        scale[scale == 0] = 1
        solution, _ = nnls(matrix / scale * weight[:, None], rest * weight)
        prices[row] = known | {
            feature: float(price) for feature, price in zip(unknown, solution / scale, strict=True)
        }
    return prices
