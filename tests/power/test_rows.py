"""Every cell of a real accelerator falls in a row of the report, and rows add up."""

import numpy as np
import pytest

from lmu_hw.cells.special import find_clock_gate
from lmu_hw.export.emit import to_verilog, wrapper_verilog
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.rows import OTHER, ROWS, core_path, power_rows, row_of
from lmu_sim.testing.activity import random_activity
from lmu_sim.testing.random_models import random_model


def small_plan(**config):
    """A model with every kind of memory and the table of tanh."""
    model = random_model(
        np.random.default_rng(3), layers=("lmu", "lmu", "dense"), inputs=3, units=4, memories=[(3, 8.0)], e_h=True,
        w_h=True, activation="tanh", stride=1,
    )  # fmt: skip
    return make_plan(model, AcceleratorConfig(lanes=2, **config))


@pytest.fixture(scope="module")
def library(bench):
    return bench.load_library("ihp-sg13g2")


@pytest.fixture(scope="module")
def netlist(bench, library):
    return bench.mapped(to_verilog(small_plan(), "core"), "core", library)


@pytest.fixture(scope="module")
def wrapped(bench, library):
    plan = small_plan(interface="axi", weights="ram")
    return bench.mapped(to_verilog(plan, "core") + wrapper_verilog(plan, "core"), "core_axi", library)


def test_every_cell_of_an_accelerator_has_a_row(netlist, wrapped):
    for one, core in ((netlist, ""), (wrapped, "core")):
        assert core_path(one) == core
        rows = {row_of(instance.block, instance.cell, core) for instance in one.instances}
        assert rows == set(ROWS)


def test_rows_of_blocks(library):
    gate, plain = (library.cells[name] for name in (find_clock_gate(library).cell, "sg13g2_inv_1"))
    expected = {
        "memory_weights3": "weight memory",
        "memory_parameters": "finish",
        "finish.table": "finish",
        "memory_m0.cells": "state memory",
        "memory_h1a": "state memory",
        "memory_x": "state memory",
        "lanes.operands": "multipliers",
        "lanes.multiply": "multipliers",
        "lanes.accumulate": "accumulators",
        "engine.multiply": "multipliers",
        "engine.accumulate": "accumulators",
        "sequencer.state": "control",
        "fetch": "control",
        "": "control",
        "input": "interface",
        "output.logits": "interface",
        "novelty": OTHER,
    }
    assert {block: row_of(block, plain) for block in expected} == expected
    assert {block: row_of(f"top.{block}".rstrip("."), plain, "top") for block in expected} == expected
    assert row_of("lanes.accumulate", gate) == row_of("sequencer", gate) == "clock"
    assert row_of("", plain, "core") == row_of("bus", plain, "core") == "interface"


def test_rows_add_up_and_the_clock_has_all_clock_pins(netlist, bench):
    power = bench.unguarded(netlist, random_activity(netlist, "clk", 1e-6, np.random.default_rng(0)))
    rows, total = power_rows(power), power.total()
    assert tuple(rows) == ROWS
    for name in ("internal", "switching", "leakage", "area", "instances"):
        assert sum(getattr(row, name) for row in rows.values()) == pytest.approx(getattr(total, name), rel=1e-12)
    assert rows["clock"].internal >= power.clock_internal.sum() * (1 - 1e-12)
    assert rows["clock"].switching >= power.clock_switching.sum() * (1 - 1e-12) > 0
    lanes = np.array([row_of(one.block, one.cell) == "accumulators" for one in netlist.instances])
    expected = (power.internal - power.clock_internal)[lanes].sum()
    assert rows["accumulators"].internal == pytest.approx(expected, rel=1e-12)
