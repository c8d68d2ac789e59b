"""Lengths of wires: half perimeters, and Steiner trees against the shortest ones and against spanning trees."""

import itertools

import numpy as np
import pytest

from lmu_hw.cells.steiner import LARGE, half_perimeters, steiner_lengths


def spanning_tree(points: np.ndarray) -> float:
    """Length of the shortest rectilinear tree without Steiner points, by Prim."""
    away, length = np.abs(points - points[0]).sum(1), 0.0
    waiting = np.arange(len(points)) > 0
    for _ in range(len(points) - 1):
        nearest = int(np.where(waiting, away, np.inf).argmin())
        length += away[nearest]
        waiting[nearest] = False
        away = np.minimum(away, np.abs(points - points[nearest]).sum(1))
    return length


def shortest_tree(points: np.ndarray) -> float:
    """Length of the shortest Steiner tree: every choice of Steiner points on Hanan's grid is tried."""
    grid = list(itertools.product(points[:, 0], points[:, 1]))
    chosen = itertools.chain.from_iterable(itertools.combinations(grid, count) for count in range(len(points) - 1))
    return min(spanning_tree(np.array([*points.tolist(), *added])) for added in chosen)


def lengths(points: np.ndarray) -> np.ndarray:
    """Estimated lengths, shape (nets,), of points of shape (nets, pins, 2)."""
    nets, pins, _ = points.shape
    return steiner_lengths(points[..., 0].ravel(), points[..., 1].ravel(), np.arange(nets + 1) * pins)


def test_a_cross_and_a_comb_by_hand():
    cross = np.array([[[0, 1], [2, 1], [1, 0], [1, 2]]], dtype=float)
    assert lengths(cross).tolist() == [4.0]
    # A spine along the middle with three teeth on either side.
    comb = np.array([[[x, y] for x in (0.0, 4.0, 8.0) for y in (0.0, 2.0)]])
    assert lengths(comb).tolist() == [14.0]


def test_nets_of_all_sizes_together():
    x, y = np.array([5.0, 0, 3, 0, 4, 2, 1, 0, 1, 2, 0]), np.array([5.0, 0, 4, 0, 0, 3, 1, 1, 0, 1, 2])
    starts = np.array([0, 0, 1, 3, 6, 11])  # none, one, two, three, five pins
    assert half_perimeters(x, y, starts).tolist() == [0, 0, 7, 7, 4]
    assert steiner_lengths(x, y, starts).tolist() == [0, 0, 7, 7, 4]
    assert half_perimeters(x[:0], y[:0], np.zeros(3, dtype=int)).tolist() == [0, 0]


@pytest.mark.parametrize(("pins", "nets", "least", "most"), [(3, 20, 0, 1e-12), (4, 40, 0, 1e-12), (5, 6, 0, 0.02)])
def test_small_trees_against_the_shortest(pins, nets, least, most):
    points = np.random.default_rng(0).random((nets, pins, 2))
    excess = lengths(points) / [shortest_tree(net) for net in points] - 1
    assert least - 1e-12 <= excess.min()
    assert excess.mean() <= most


@pytest.mark.parametrize(("pins", "nets"), [(10, 200), (30, 50), (100, 10)])
def test_large_trees_are_a_tenth_shorter_than_spanning_trees(pins, nets):
    points = np.random.default_rng(0).random((nets, pins, 2))
    saved = 1 - lengths(points).sum() / sum(map(spanning_tree, points))
    assert 0.09 < saved < 0.125
    assert (
        lengths(points) >= half_perimeters(points[..., 0].ravel(), points[..., 1].ravel(), np.arange(nets + 1) * pins)
    ).all()


def test_the_largest_nets_go_by_their_spanning_tree():
    """The length is that of the smaller nets but for a few per cent, by the square root of pins and area."""
    random = np.random.default_rng(0)
    below, above = (lengths(random.random((8, pins, 2))).mean() / np.sqrt(pins) for pins in (LARGE, LARGE + 1))
    assert above == pytest.approx(below, rel=0.03)
    net = random.random((1, 200, 2))
    assert lengths(net) == pytest.approx(0.9 * spanning_tree(net[0]))
    line = np.stack([np.arange(200.0), np.zeros(200)], axis=-1)[None]
    assert lengths(line) == pytest.approx(199)


def test_pins_at_one_place_need_no_wire():
    assert lengths(np.ones((2, 6, 2))).tolist() == [0.0, 0.0]
