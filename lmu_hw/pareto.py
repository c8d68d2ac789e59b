"""Pareto fronts: which of many candidates no other one beats in everything."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fronts", "order"]

FloatArray = NDArray[np.float64]


def fronts(values: FloatArray) -> NDArray[np.int64]:
    """Number of the Pareto front of each candidate: 0 where no other is as good in all and better in one, and so on.

    Parameters
    ----------
    values : ndarray of float64, shape (candidates, objectives)
        Values to minimize; no NaN.

    Returns
    -------
    ndarray of int64, shape (candidates,)
    """
    count = len(values)
    not_worse, better = np.ones((count, count), bool), np.zeros((count, count), bool)
    for column in values.T:
        not_worse &= column[:, None] <= column
        better |= column[:, None] < column
    dominates = not_worse & better
    numbers = np.full(count, -1, np.int64)
    number = 0
    while (numbers < 0).any():
        left = numbers < 0
        numbers[left & ~dominates[left].any(axis=0)] = number
        number += 1
    return numbers


def order(values: FloatArray) -> list[int]:
    """Positions of candidates, best first: by front, then by the distance to their neighbours on it.

    The order of NSGA-II (Deb et al., IEEE Trans. Evolutionary Computation 6, 2002), so that the first ones cover the
    whole front.

    Parameters
    ----------
    values : ndarray of float64, shape (candidates, objectives)
        As in `fronts`.
    """
    numbers = fronts(values)
    distance = np.zeros(len(values))
    for number in np.unique(numbers):
        members = np.flatnonzero(numbers == number)
        distance[members] = _crowding(values[members])
    return sorted(range(len(values)), key=lambda index: (numbers[index], -distance[index], index))


def _crowding(values: FloatArray) -> FloatArray:
    """Sum over the objectives of the distance between the two neighbours, relative to the range; ends are infinite."""
    distance = np.zeros(len(values))
    for column in values.T:
        ascending = np.argsort(column, kind="stable")
        spread = column[ascending[-1]] - column[ascending[0]]
        if spread > 0:
            distance[ascending[[0, -1]]] = np.inf
            distance[ascending[1:-1]] += (column[ascending[2:]] - column[ascending[:-2]]) / spread
    return distance
