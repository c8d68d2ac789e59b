"""The estimated clock tree, against figures worked out by hand, and on a mapped design."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.power.activity import Activity
from lmu_hw.power.clock_tree import ClockTreeRule, find_clock_tree
from lmu_sim.testing.activity import random_activity

# Edges of 0.01 ns per fF. An inverter that drives four of its kind gives edges of 0.08 ns, so a rule of 1.25 allows 0.1
# ns: 10 fF. BUF spends 3 + 2 + 2 * 1 fJ for that, BUFX2 twice as much for no more.
LIBRARY = """
library (hand) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 1;
  lu_table_template (load) { variable_1 : total_output_net_capacitance; index_1 ("0, 100"); }
  cell (INV) { area : 1; cell_leakage_power : 1; pin (A) { direction : input; capacitance : 2; }
    pin (Y) { direction : output; function : "!A"; timing () { related_pin : A; timing_sense : negative_unate;
      rise_transition (load) { values ("0, 1"); } fall_transition (load) { values ("0, 1"); } } } }
  cell (BUF) { area : 7; cell_leakage_power : 5; pin (A) { direction : input; capacitance : 2; }
    pin (Y) { direction : output; function : "A"; timing () { related_pin : A; timing_sense : positive_unate;
      rise_transition (load) { values ("0, 1"); } fall_transition (load) { values ("0, 0.5"); } }
      internal_power () { related_pin : A; rise_power (scalar) { values (3); } fall_power (scalar) { values (2); } } } }
  cell (BUFX2) { area : 9; pin (A) { direction : input; capacitance : 2; }
    pin (Y) { direction : output; function : "A"; max_capacitance : 10;
      timing () { related_pin : A; timing_sense : positive_unate;
      rise_transition (load) { values ("0, 0.5"); } fall_transition (load) { values ("0, 0.5"); } }
      internal_power () { related_pin : A; rise_power (scalar) { values (9); } fall_power (scalar) { values (5); } } } }
  cell (DFF) { area : 16; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    pin (CK) { direction : input; clock : true; capacitance : 1; } pin (D) { direction : input; capacitance : 1; }
    pin (Q) { direction : output; function : "IQ"; } }
  cell (GATE) { area : 16; clock_gating_integrated_cell : "latch_posedge";
    pin (CK) { direction : input; clock_gate_clock_pin : true; capacitance : 3; }
    pin (E) { direction : input; clock_gate_enable_pin : true; capacitance : 1; }
    pin (Q) { direction : output; clock_gate_out_pin : true; } }
}
"""
CLK, D, G = 2, 3, 4
FEMTO = 1e-15
RULE = ClockTreeRule(wire=0.25e-15, utilisation=1.0, slew=1.25)


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "hand.lib"
    path.write_text(LIBRARY)
    return read_liberty(path)


def flip_flops(library, plain, gated=0):
    """Flip-flops at the clock, and behind a clock gate."""
    clocks = [CLK] * plain + [G] * gated
    cells = [Instance(f"f{index}", "", library.cells["DFF"], {"CK": clock, "D": D, "Q": 5 + index})
             for index, clock in enumerate(clocks)]  # fmt: skip
    if gated:
        cells.append(Instance("gate", "", library.cells["GATE"], {"CK": CLK, "E": D, "Q": G}))
    return Netlist("hand", {"clk": (CLK,), "d": (D,)}, {}, tuple(cells), 5 + len(clocks), {})


def moving(netlist, gate=0.0):
    toggles = np.zeros(netlist.nets)
    toggles[[CLK, G]] = 2, gate
    return Activity(1e-6, 100, toggles, np.zeros(netlist.nets), np.ones(netlist.nets, dtype=bool), "by hand")


def test_a_small_design_needs_wires_only(library):
    """4 flip-flops: 4 fF of pins; 64 um2 and 4 pins, so 16 um of wire, 4 fF. A buffer could drive that."""
    netlist = flip_flops(library, 4)
    tree = find_clock_tree(netlist, library, moving(netlist), rule=RULE)
    assert (tree.buffers, tree.buffer, tree.leakage, tree.area) == (0, "BUF", 0, 0)
    assert tree.wire == pytest.approx(16)
    assert tree.energy == pytest.approx((4 + 4) * FEMTO)


def test_levels_of_buffers(library):
    """16 flip-flops: 16 + 16 fF need 4 buffers of 8 fF each; their 8 fF and 32 um of wire, 8 fF, 2; these 4 fF and 5.7.

    Buffers: 7 fJ for 6 of them, and their pins 12 fF.
    """
    netlist = flip_flops(library, 16)
    tree = find_clock_tree(netlist, library, moving(netlist), rule=RULE)
    wire = 16 * 4 + 16 * 2 + 16 * np.sqrt(2)
    assert tree.buffers == 4 + 2
    assert tree.wire == pytest.approx(wire)
    assert tree.energy == pytest.approx((16 + 0.25 * wire + 6 * 2 + 6 * 5) * FEMTO)
    assert tree.leakage == pytest.approx(6 * 5e-9)
    assert tree.area == 6 * 7


def test_a_gated_tree_moves_with_its_gate(library):
    """9 flip-flops behind a gate: 9 fF that the gate's net has already, and 9 tenths of 160 um2."""
    netlist = flip_flops(library, 0, gated=9)
    wire = np.sqrt(9 * 160 * 9 / 10), np.sqrt(2 * 160 * 9 / 10), np.sqrt(160)
    assert 9 + wire[0] / 4 > 10  # two buffers
    branch = 2 * 5 + 2 * 2 + (wire[0] + wire[1]) / 4
    port = 3 + wire[2] / 4
    for gate in (0.0, 0.5, 2.0):
        tree = find_clock_tree(netlist, library, moving(netlist, gate), rule=RULE)
        assert tree.buffers == 2
        assert tree.energy == pytest.approx((port + 0.5 * gate * branch) * FEMTO)


def test_a_gate_behind_a_gate_is_in_the_area_of_both(library):
    """4 flip-flops behind a gate behind a gate, 1 behind the first: 112 um2 and 7 pins, 16 for each pin."""
    cells = library.cells
    flops = [Instance(f"f{index}", "", cells["DFF"], {"CK": clock, "D": D, "Q": 6 + index})
             for index, clock in enumerate([5, 5, 5, 5, G])]  # fmt: skip
    gates = [Instance(f"g{clock}", "", cells["GATE"], {"CK": clock, "E": D, "Q": out})
             for clock, out in ((CLK, G), (G, 5))]  # fmt: skip
    netlist = Netlist("hand", {"clk": (CLK,), "d": (D,)}, {}, (*flops, *gates), 11, {})
    toggles = np.zeros(11)
    toggles[[CLK, G, 5]] = 2, 1, 0.5
    activity = Activity(1e-6, 100, toggles, np.zeros(11), np.ones(11, dtype=bool), "by hand")
    tree = find_clock_tree(netlist, library, activity, rule=RULE)
    wires = np.sqrt(1 * 112 * 7 / 7), np.sqrt(2 * 112 * 6 / 7), np.sqrt(4 * 112 * 4 / 7)
    assert tree.wire == pytest.approx(sum(wires))
    port, first, second = (wire / 4 for wire in wires)
    assert tree.energy == pytest.approx((3 + port + 0.5 * first + 0.25 * second) * FEMTO)


def test_wires_that_need_more_buffers_than_pins_end(library):
    netlist = flip_flops(library, 2)
    tree = find_clock_tree(netlist, library, moving(netlist), rule=replace(RULE, wire=10e-15))
    assert tree.buffers == 9  # 80 + 2 fF


@pytest.mark.parametrize("name", ["ihp-sg13g2", "sky130A", "nangate45", "osu018"])
def test_a_tree_of_a_mapped_design_is_of_the_size_of_its_clock_pins(bench, name):
    library = bench.load_library(name)
    netlist = bench.mapped(bench.multiplier, "multiplier", library)
    activity = random_activity(netlist, "clk", 1e-6, np.random.default_rng(0))
    tree = find_clock_tree(netlist, library, activity)
    assert library.cells[tree.buffer].outputs
    assert tree.area < 0.1 * sum(one.cell.area for one in netlist.instances)
    assert 0.1 < tree.energy / bench.unguarded(netlist, activity).clock.sum() < 2
    wireless = find_clock_tree(netlist, library, activity, rule=ClockTreeRule(wire=0.0))
    assert wireless.energy < tree.energy


def test_what_cannot_be_estimated_is_refused(library):
    netlist = flip_flops(library, 4)
    only = {name: cell for name, cell in library.cells.items() if not name.startswith("BUF")}
    with pytest.raises(LibertyError, match="the library hand has no buffer that can drive two of its kind"):
        find_clock_tree(netlist, replace(library, cells=only), moving(netlist))
    with pytest.raises(ValueError, match="no input port 'ck'"):
        find_clock_tree(netlist, library, moving(netlist), "ck")
    for values, message in (
        ({"wire": -1e-15}, "wire must be a capacitance in farad per micrometre, not -1e-15"),
        ({"utilisation": 0.0}, r"utilisation must be above 0 and at most 1, not 0\.0"),
        ({"slew": 0.5}, r"slew must be at least 1, not 0\.5"),
    ):
        with pytest.raises(ValueError, match=message):
            ClockTreeRule(**values)
    assert ClockTreeRule().describe() == (
        "buffers with edges of up to 3 times a fan-out of four, wires of 0.2 fF/um and sqrt(pins x area) length, "
        "70% of the area used"
    )
