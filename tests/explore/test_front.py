"""Fronts, limits, the choice, and the CSV."""

import csv
from dataclasses import replace

import pytest

from lmu_hw.explore.front import DesignPoint, Limits, best, coverage_order, order, write_csv
from lmu_hw.explore.points import Outcome
from lmu_hw.explore.sweep import Point
from lmu_hw.plan.config import AcceleratorConfig

BASE = Outcome(1e6, 5e5, 50.0, 1e4, 0.01, 0.9, 1e-7, 0.0, 4e5)


def found(power, area, latency, accuracy=None, technology="ihp-sg13g2"):
    done = replace(BASE, dynamic=power / 50, area=area, latency=latency)
    return DesignPoint(Point("a", AcceleratorConfig(lanes=8), technology, "auto"), done, accuracy)


def test_power_is_energy_times_the_frame_rate():
    assert found(3e-6, 1, 1).outcome.power == pytest.approx(3e-6)
    assert replace(BASE, leakage=1e-7).power == pytest.approx(2 * BASE.power)


def test_accuracy_counts_where_all_are_known():
    points = [found(1, 1, 1, 0.9), found(2, 2, 2, 0.95), found(3, 3, 3, 0.95)]
    assert order(points).tolist() == [0, 0, 1]
    points[2] = found(3, 3, 3)
    assert order(points).tolist() == [0, 1, 2]


def test_technologies_do_not_compete():
    points = [found(1, 1, 1), found(2, 2, 2), found(5, 5, 5, technology="sky130A")]
    assert order(points).tolist() == [0, 1, 0]


def test_the_first_points_of_a_front_cover_it():
    points = [found(1, 10, 1), found(2, 9, 1), found(6, 3, 1), found(10, 0.1, 1)]
    assert coverage_order(points) == [points[0], points[3], points[2], points[1]]
    assert coverage_order([]) == []


def test_the_best_keeps_the_limits():
    points = [found(1, 4, 0.2, 0.9), found(2, 3, 0.1, 0.92), found(3, 2, 0.05, 0.94), found(4, 1, 0.02)]
    assert best(points, Limits()) is points[0]
    assert best(points, Limits(latency=0.1)) is points[1]
    assert best(points, Limits(accuracy=0.93)) is points[2]
    assert best(points, Limits(power=2.5), "area") is points[1]
    assert best(points, Limits(), "latency") is points[3]
    assert best(points, Limits(), "accuracy") is points[2]
    assert best(points, Limits(power=0.5)) is None
    with pytest.raises(ValueError, match="the aim must be one of power, area, latency, accuracy, not 'size'"):
        best(points, Limits(), "size")


@pytest.mark.parametrize("name", ["power", "area", "latency", "accuracy"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_is_above_0(name, value):
    with pytest.raises(ValueError, match=f"the limit of {name} must be a number above 0, not {value}"):
        Limits(**{name: value})


def test_an_accuracy_is_at_most_1():
    with pytest.raises(ValueError, match=r"the limit of accuracy must be at most 1, not 93\.0"):
        Limits(accuracy=93.0)


def test_the_csv_has_a_row_for_each_point(tmp_path):
    first = replace(found(1e-6, 1, 0.1, 0.9), gates=replace(BASE, dynamic=3e-8, achievable_clock=1e8))
    write_csv([first, found(2e-6, 2, 0.2)], tmp_path / "points.csv")
    with (tmp_path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["front"] for row in rows] == ["0", "1"]
    assert [row["accuracy"] for row in rows] == ["0.9", ""]
    assert [float(row["power_uW"]) for row in rows] == pytest.approx([1, 2])
    assert [row["lanes"] + row["weights"] + row["clock_is_auto"] for row in rows] == ["8romTrue"] * 2
    assert [row["gates_achievable_clock_Hz"] for row in rows] == ["100000000.0", ""]
    assert float(rows[0]["gates_power_uW"]) == pytest.approx(1.5)
