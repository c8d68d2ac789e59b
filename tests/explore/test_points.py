"""Outcomes of points are those of the tier table."""

import pickle

import pytest

from lmu_hw.config import AcceleratorConfig
from lmu_hw.explore.points import predict
from lmu_hw.explore.sweep import Point
from lmu_hw.plan import make_plan
from lmu_hw.power.report import OperatingPoint, frame_rate
from lmu_hw.power.table import report


def test_a_point_costs_what_the_table_says(network, technologies):
    config = AcceleratorConfig(lanes=3, weights="ram")
    points = [Point("small", config, name, clock) for name in technologies for clock in ("auto", 2e6)]
    found = dict(predict(network, technologies, points))
    plan = make_plan(network.model, config)
    slowest = 50 * plan.cycles_per_frame
    for point in points:
        clock = slowest if point.clock == "auto" else 2e6
        technology = technologies[point.technology]
        rates = {"speech": technology.rates["speech"].rates(plan)}
        told = report(plan, technology, OperatingPoint(clock, 50.0, plan.cycles_per_frame), "table", rates)
        done = found[point.key]
        assert (done.clock, done.slowest_clock, done.cycles) == (clock, slowest, plan.cycles_per_frame)
        assert done.power == told.sums("speech").power
        assert done.energy == told.sums("speech").frame
        assert done.area == told.area.total
        assert done.latency == plan.report()["latency_cycles"] / clock
        assert done.utilisation == plan.utilisation


def test_a_clock_that_is_too_slow_is_no_point(network, technologies):
    slow = Point("small", AcceleratorConfig(), "sky130A", 10.0)
    [(key, found)] = predict(network, technologies, [slow])
    assert key == slow.key
    assert "clock must be at least" in found


def test_a_configuration_that_does_not_fit_the_network_is_no_point(network, technologies, monkeypatch):
    def refuse(model, config):
        raise ValueError("smoothing does not fit")

    monkeypatch.setattr("lmu_hw.explore.points.make_plan", refuse)
    point = Point("small", AcceleratorConfig(), "sky130A", "auto")
    assert predict(network, technologies, [point]) == [(point.key, "smoothing does not fit")]


def test_copies_of_a_network_share_one_model(network, technologies, monkeypatch):
    planned = []
    monkeypatch.setattr(
        "lmu_hw.explore.points.make_plan", lambda model, config: planned.append(model) or make_plan(model, config)
    )
    for lanes in (2, 3):
        point = Point("small", AcceleratorConfig(lanes=lanes), "sky130A", "auto")
        predict(pickle.loads(pickle.dumps(network)), technologies, [point])
    assert planned[0] is planned[1]


def test_the_frame_rate_is_that_of_the_front_end():
    assert frame_rate({"sample_rate": 16000, "hop": 160}) == 100
    assert frame_rate(None) == pytest.approx(50)


def test_what_the_table_does_not_know_is_no_point(network, technologies, monkeypatch):
    def refuse(*arguments):
        raise ValueError("tables do not know it")

    monkeypatch.setattr("lmu_hw.explore.points.report", refuse)
    point = Point("small", AcceleratorConfig(), "sky130A", "auto")
    assert predict(network, technologies, [point]) == [(point.key, "tables do not know it")]
