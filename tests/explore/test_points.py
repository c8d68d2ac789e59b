"""Outcomes of points are those of the tier table."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from lmu_hw.explore.points import longest_latency, predict
from lmu_hw.explore.sweep import Point
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.report import OperatingPoint, frame_rate
from lmu_hw.power.table import report
from lmu_sim.testing.random_models import random_model


def test_a_point_costs_what_the_table_says(network, technologies):
    config = AcceleratorConfig(lanes=3, weights="ram")
    points = [Point("small", config, name, clock) for name in technologies for clock in ("auto", 2e6)]
    found = dict(predict(network, technologies, points))
    plan = make_plan(network.model, config)
    slowest, unwaiting = 50 * plan.cycles_per_frame, 50 * plan.paced_cycles
    assert unwaiting > slowest
    for point in points:
        clock = unwaiting if point.clock == "auto" else 2e6
        technology = technologies[point.technology]
        rates = {"speech": technology.energies(config).typical(plan)["speech"]}
        told = report(plan, technology, OperatingPoint(clock, 50.0, plan.cycles_per_frame), "table", rates)
        done = found[point.key]
        assert (done.clock, done.slowest_clock, done.cycles) == (clock, slowest, plan.cycles_per_frame)
        assert done.power == told.sums("speech").power
        assert done.energy == told.sums("speech").frame
        assert done.area == told.area.total
        waited = (plan.period - 1) / 50
        assert done.latency == pytest.approx(waited + plan.report()["latency_cycles"] / clock, rel=1e-3)
        assert done.utilisation == plan.utilisation


def test_latency_counts_the_frames_that_strides_wait_for():
    """Strides of 2 and 2, worked out by hand: one decision in four frames, whose long frame makes others wait."""
    model = random_model(np.random.default_rng(2), layers=("lmu", "lmu", "dense"), stride=2)
    plan = make_plan(model, AcceleratorConfig(lanes=2))
    assert [frame.output for frame in plan.frames] == [False, False, False, True]
    last = plan.frames[-1].latency
    fast = OperatingPoint(1e6, 50.0, plan.cycles_per_frame)
    assert longest_latency(plan, fast) == pytest.approx(3 / 50 + last / 1e6)
    slow = OperatingPoint(50 * plan.cycles_per_frame, 50.0, plan.cycles_per_frame)
    assert longest_latency(plan, slow) == pytest.approx(3 / 50 + last / slow.clock, rel=0.01)


def test_latency_counts_frames_that_wait_for_a_long_one():
    def timing(interval, output):
        return SimpleNamespace(interval=interval, latency=interval + 5, output=output)

    plan = SimpleNamespace(frames=(timing(300, True), timing(100, True)), config=AcceleratorConfig())
    point = OperatingPoint(10_000.0, 50.0, 200.0)
    # Frames every 200 cycles: the second of a pair starts 100 cycles late, and has caught up when the next one comes.
    assert longest_latency(plan, point) == pytest.approx(305 / 10_000)
    plan.frames = (timing(350, True), timing(50, True))
    assert longest_latency(plan, point) == pytest.approx(355 / 10_000)
    plan.frames = (timing(300, False), timing(100, True))
    assert longest_latency(plan, point) == pytest.approx((200 + 100 + 105) / 10_000)
    # Two frames together, every 400 cycles: the first of a pair waits for the second, 200 cycles.
    plan.frames, plan.config = (timing(350, True),), AcceleratorConfig(frames_per_fetch=2)
    assert longest_latency(plan, point) == pytest.approx((200 + 355) / 10_000)


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
