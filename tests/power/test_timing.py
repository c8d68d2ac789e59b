"""Longest paths, against figures worked out by hand and against OpenSTA."""

import re

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.cells.timing import find_delays, find_timing

LIBRARIES = ["ihp-sg13g2", "sky130A", "nangate45"]
TOLERANCE = 2e-3

LIBRARY = """
library (hand) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1;
  default_cell_leakage_power : 1;
  lu_table_template (load) { variable_1 : total_output_net_capacitance; index_1 ("0, 1"); }
  lu_table_template (check) { variable_1 : related_pin_transition; variable_2 : constrained_pin_transition;
    index_1 ("0, 1"); index_2 ("0, 1"); }
  cell (INV) { area : 1;
    pin (A) { direction : input; capacitance : 0.1; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : A; timing_sense : negative_unate;
        cell_rise (load) { values ("1, 3"); } cell_fall (load) { values ("2, 2"); }
        rise_transition (scalar) { values (0.25); } fall_transition (scalar) { values (0.5); } } } }
  cell (DFF) { area : 5; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    pin (CK) { direction : input; clock : true; capacitance : 0.05; }
    pin (D) { direction : input; capacitance : 0.2;
      timing () { related_pin : CK; timing_type : setup_rising;
        rise_constraint (check) { values ("0.1, 0.5", "0.2, 0.6"); }
        fall_constraint (check) { values ("0.3, 0.3", "0.3, 0.3"); } }
      timing () { related_pin : CK; timing_type : hold_rising;
        rise_constraint (check) { values ("9, 9", "9, 9"); } fall_constraint (check) { values ("9, 9", "9, 9"); } } }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : CK; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (scalar) { values (4); } cell_fall (scalar) { values (5); }
        rise_transition (scalar) { values (0.1); } fall_transition (scalar) { values (0.1); } } } }
}
"""
CLK, D, Q, X, Y, Z, N = range(2, 9)
NAMES = {CLK: "clk", D: "d", Q: "q", X: "x", Y: "y", Z: "z", N: "n"}


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "hand.lib"
    path.write_text(LIBRARY)
    return read_liberty(path).cells


def hand(cells, *instances):
    placed = tuple(Instance(f"i{index}", "", cells[name], nets) for index, (name, nets) in enumerate(instances))
    return Netlist("hand", {"clk": (CLK,), "d": (D,)}, {"z": (Z,)}, placed, 9, NAMES)


def test_path_between_flip_flops(cells):
    """q falls after 5, x rises after 1.2 (one inverter's load), y falls after 2, and is set up 0.3 before the clock."""
    netlist = hand(
        cells,
        ("DFF", {"CK": CLK, "D": D, "Q": Q}),
        ("INV", {"A": Q, "Y": X}),
        ("INV", {"A": X, "Y": Y}),
        ("DFF", {"CK": CLK, "D": Y, "Q": Z}),
    )
    timing = find_timing(netlist)
    path = timing.path
    # The other edge: q rises after 4, x falls after 2, y rises after 1 + 2 * 0.2, setup 0.1 + 0.4 * 0.25.
    assert path.period == pytest.approx(max(5 + 1.2 + 2 + 0.3, 4 + 2 + 1.4 + 0.2) * 1e-9)
    assert timing.clock == pytest.approx(1e9 / 8.5)
    assert [(step.name, step.pin, step.rising) for step in path.steps] == [
        ("clk", "", True), ("q", "Q", False), ("x", "Y", True), ("y", "Y", False), ("z", "D", False),
    ]  # fmt: skip
    np.testing.assert_allclose([step.arrival * 1e9 for step in path.steps], [0, 5, 6.2, 8.2, 8.2])
    assert (path.start, path.end, path.cells) == ("q", "z D", 3)
    assert path.describe() == "q to z D, 3 cells, 8.500 ns"
    assert (timing.endpoints, timing.untimed) == (3, 0)


def test_ports_are_ends_of_paths(cells):
    netlist = hand(cells, ("INV", {"A": D, "Y": X}), ("INV", {"A": X, "Y": Z}))
    path = find_timing(netlist).path
    assert path.period == pytest.approx((2 + 1.2) * 1e-9)  # d falls, x rises, z falls
    assert (path.start, path.end, path.setup) == ("d", "z", 0)


def test_a_late_clock_gives_time(cells):
    """Clocked by n, two inverters behind the clock: later by 2 + 1.1."""
    late = [("INV", {"A": CLK, "Y": X}), ("INV", {"A": X, "Y": N}), ("DFF", {"CK": N, "D": Q, "Q": Z})]
    netlist = hand(cells, ("DFF", {"CK": CLK, "D": D, "Q": Q}), *late)
    timing = find_timing(netlist)
    assert timing.path.end == "z"  # of the late flip-flop: 2 + 1.1 + 5
    assert timing.path.period == pytest.approx((2 + 1.1 + 5) * 1e-9)
    hidden = hand(cells, ("DFF", {"CK": CLK, "D": D, "Q": Q}), ("DFF", {"CK": X, "D": Q, "Q": Y}), late[0])
    assert find_timing(hidden).untimed == 2  # at the inverted clock, and the port that nothing drives


def test_nothing_to_time(cells):
    netlist = hand(cells, ("INV", {"A": CLK, "Y": X}))
    timing = find_timing(netlist)
    assert timing.path is None
    assert timing.clock == float("inf")


def test_delays_of_arcs(cells):
    netlist = hand(cells, ("DFF", {"CK": CLK, "D": D, "Q": Q}), ("INV", {"A": Q, "Y": X}), ("INV", {"A": X, "Y": Z}))
    first, *rest = find_delays(netlist)
    assert (first.instances.tolist(), first.related, first.output) == ([0], "CK", "Q")
    np.testing.assert_allclose([first.rise[0] * 1e9, first.fall[0] * 1e9], [4, 5])
    found = {index: (one.rise[place], one.fall[place]) for one in rest for place, index in enumerate(one.instances)}
    np.testing.assert_allclose(np.array([found[1], found[2]]) * 1e9, [[1.2, 2], [1, 2]])


def longest(opensta, library, netlist):
    """Shortest period by OpenSTA: every port timed, no wires."""
    commands = [
        "set_input_delay 0 -clock clk [all_inputs]",
        "set_output_delay 0 -clock clk [all_outputs]",
        "report_checks -path_delay max -digits 6",
    ]
    printed = opensta(library, netlist, 1e-6, commands)
    return 1e-6 - float(re.search(r"(-?[\d.]+)\s+slack", printed)[1]) * 1e-9


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("design", ["multiplier", "memory_update"])
def test_longest_path_agrees_with_opensta(opensta, bench, name, design):
    library = bench.load_library(name)
    netlist = bench.mapped(getattr(bench, design), design, library)
    timing = find_timing(netlist, Conditions(upper_capacitance=True))
    assert timing.untimed == 0
    assert timing.path.period == pytest.approx(longest(opensta, library, netlist), rel=TOLERANCE)
    delays = {(index, one.related, one.output): max(one.rise[place], one.fall[place])
              for one in find_delays(netlist, Conditions(upper_capacitance=True))
              for place, index in enumerate(one.instances.tolist())}  # fmt: skip
    steps = timing.path.steps[1:-1]
    assert len(steps) > 10
    assert np.diff([0, *(step.arrival for step in steps)]).max() <= max(delays.values())


def test_longest_path_through_a_macro_agrees_with_opensta(opensta, bench):
    name = "RM_IHPSG13_1P_256x8_c3_bm_bist"
    library = bench.load_library("ihp-sg13g2", name)
    netlist = bench.macro_netlist(library, name)
    timing = find_timing(netlist, Conditions(upper_capacitance=True))
    assert timing.path.start.startswith("A_DOUT")
    assert timing.path.period == pytest.approx(longest(opensta, library, netlist), rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_longest_path_of_an_accelerator_agrees_with_opensta(opensta, bench, name):
    library = bench.load_library(name)
    netlist = bench.mapped(bench.registered_accelerator(), "registered", library)
    timing = find_timing(netlist, Conditions(upper_capacitance=True))
    assert timing.path.period == pytest.approx(longest(opensta, library, netlist), rel=TOLERANCE)
