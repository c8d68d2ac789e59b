"""The engine against OpenSTA, for the same netlist, Liberty, loads and activity of every pin.

Debian's OpenSTA is of 2019 and weighs transitions in a way that later versions dropped; `OpenSta2019Rules` has those
weights and everything else of the engine: tables, loads, transition times, supplies, activities.
"""

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions, NetWires
from lmu_hw.cells.layout_names import live_nets
from lmu_hw.cells.spef import write_spef
from lmu_hw.model import program_file
from lmu_hw.power.opensta import OpenSta2019Rules
from lmu_quantize import zoo
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gates import GateSimulator
from lmu_sim.testing.activity import random_activity

PERIOD = 10e-9
LIBRARIES = ["ihp-sg13g2", "sky130A", "nangate45"]
REQUIRED = 0.02
USUAL = 1e-4
"""What is met in fact, so that a smaller fault is seen too."""


def compare(sta, bench, name, verilog, top, tolerance=USUAL, **options):
    library = bench.load_library(name)
    return check(sta, bench, library, bench.mapped(verilog, top, library, **options), tolerance)


def check(sta, bench, library, netlist, tolerance, activity=None):
    constants = [net for one in netlist.instances if not one.cell.inputs for net in one.nets.values()]
    activity = activity or random_activity(netlist, "clk", PERIOD, np.random.default_rng(1), constants)
    expected = sta(library, netlist, activity)
    assert (expected > 0).all()
    ours = bench.unguarded(netlist, activity, Conditions(upper_capacitance=True), OpenSta2019Rules()).watts()
    assert tolerance <= REQUIRED
    np.testing.assert_allclose(ours, expected, rtol=tolerance)
    return netlist, activity, expected


@pytest.mark.parametrize("name", [*LIBRARIES, "osu018"])
def test_multiplier_agrees_with_opensta(sta, bench, name):
    compare(sta, bench, name, bench.multiplier, "multiplier")


@pytest.mark.parametrize("name", LIBRARIES)
def test_activity_with_glitches_agrees_with_opensta(sta, bench, name):
    """Products simulated with delays: more changes than settled values have, and parts of changes."""
    library = bench.load_library(name)
    netlist = bench.mapped(bench.multiplier, "multiplier", library)
    simulator = GateSimulator(netlist)
    simulator.use_delays(find_gate_delays(netlist, simulator.compiled, Conditions(upper_capacitance=True)))
    simulator.start_counting()
    rng = np.random.default_rng(0)
    simulator.run({port: rng.integers(-128, 128, 100) for port in "ab"}, 100)
    activity = simulator.activity(PERIOD)
    assert activity.toggles.sum() > 1.1 * activity.settled.toggles.sum()
    check(sta, bench, library, netlist, USUAL, activity)


@pytest.mark.parametrize("name", LIBRARIES)
def test_memory_update_agrees_with_opensta(sta, bench, name):
    netlist, *_ = compare(sta, bench, name, bench.memory_update, "memory_update")
    assert any(one.cell.clock_gating for one in netlist.instances)


@pytest.mark.parametrize("name", ["RM_IHPSG13_1P_256x8_c3_bm_bist", "RM_IHPSG13_1P_1024x64_c2_bm_bist"])
def test_memory_macro_agrees_with_opensta(sta, bench, name):
    library = bench.load_library("ihp-sg13g2", name)
    check(sta, bench, library, bench.macro_netlist(library, name), USUAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LIBRARIES, "asap7", "osu018"])
def test_whole_accelerator_agrees_with_opensta(sta, bench, name):
    # Constants that reach logic make that version overwrite the activities behind them; there are a few.
    compare(sta, bench, name, bench.registered_accelerator(), "registered", tolerance=REQUIRED)


@pytest.mark.slow
def test_accelerator_with_memory_macros_agrees_with_opensta(sta, bench):
    model = bench.small_model(inputs=8, units=24, memories=[(6, 16.0)] * 3)
    library = bench.load_library("ihp-sg13g2", "RM_")
    netlist = bench.mapped(bench.registered_accelerator(model, weights="ram"), "registered", library)
    assert sum(one.cell.memory is not None for one in netlist.instances) == 4
    check(sta, bench, library, netlist, REQUIRED)


@pytest.mark.slow
def test_the_networks_accelerator_agrees_with_opensta(sta, bench):
    """361 kbit, 16 lanes, weights in logic."""
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    compare(sta, bench, "ihp-sg13g2", bench.registered_accelerator(model, lanes=16), "registered", tolerance=REQUIRED)


def test_the_comparison_would_notice(sta, bench):
    """Other transition times at the inputs, or a thousandth more activity, are seen."""
    netlist, activity, expected = compare(sta, bench, "ihp-sg13g2", bench.multiplier, "multiplier")
    conditions = Conditions(upper_capacitance=True, input_slew=0.5e-9)
    internal, _, _ = bench.unguarded(netlist, activity, conditions, OpenSta2019Rules()).watts()
    assert abs(internal / expected[0] - 1) > 1e-3
    activity.toggles[:] *= 1.001
    _, switching, leakage = bench.unguarded(
        netlist, activity, Conditions(upper_capacitance=True), OpenSta2019Rules()
    ).watts()
    assert switching > expected[1] * (1 + USUAL)
    assert leakage == pytest.approx(expected[2], rel=USUAL)


def test_default_rules_charge_less_and_leak_the_same(sta, bench):
    """About half of that version's internal power, the same switching, leakage by state instead of the mean."""
    for name in LIBRARIES:
        netlist, activity, expected = compare(sta, bench, name, bench.multiplier, "multiplier")
        internal, switching, leakage = bench.unguarded(netlist, activity, Conditions(upper_capacitance=True)).watts()
        assert 0.3 < internal / expected[0] < 0.5
        assert switching == pytest.approx(expected[1], rel=1e-4)
        assert leakage == pytest.approx(expected[2], rel=0.1)


def test_wires_in_spef_agree_with_opensta(sta, bench, tmp_path):
    """It reads what we write: the wire of each net adds to its load, in transition times and energies."""
    library = bench.load_library("ihp-sg13g2")
    netlist = bench.mapped(bench.multiplier, "multiplier", library)
    constants = [net for one in netlist.instances if not one.cell.inputs for net in one.nets.values()]
    activity = random_activity(netlist, "clk", PERIOD, np.random.default_rng(1), constants)
    wires = NetWires(np.zeros(netlist.nets), "random")
    wires.capacitance[live_nets(netlist)] = np.random.default_rng(2).random(len(live_nets(netlist))) * 5e-15
    (tmp_path / "wires.spef").write_text(write_spef(netlist, wires))
    expected = sta(library, netlist, activity, "read_spef wires.spef")
    conditions = Conditions(upper_capacitance=True, wires=wires)
    ours = bench.unguarded(netlist, activity, conditions, OpenSta2019Rules()).watts()
    without = bench.unguarded(netlist, activity, Conditions(upper_capacitance=True), OpenSta2019Rules()).watts()
    assert ours[1] > 1.1 * without[1]
    np.testing.assert_allclose(ours, expected, rtol=2e-3)
