"""The default rules, against figures worked out by hand on a library of three cells."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions, WireLoad
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import HIGH, LOW, Instance, Netlist, NetlistError
from lmu_hw.cells.transitions import find_loads, find_transitions
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.engine import find_power as guarded_power

LIBRARY = """
library (hand) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 2;
  lu_table_template (two) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0, 1"); index_2 ("0, 1"); }
  cell (INV) { area : 1; cell_leakage_power : 9;
    leakage_power () { when : "A"; value : 2; } leakage_power () { when : "!A"; value : 6; }
    pin (A) { direction : input; capacitance : 0.1; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : A; timing_sense : negative_unate;
        rise_transition (two) { values ("0.2, 1.2", "0.7, 1.7"); }
        fall_transition (two) { values ("0.1, 0.6", "0.1, 0.6"); } }
      internal_power () { related_pin : A; rise_power (two) { values ("1, 1", "3, 3"); }
        fall_power (two) { values ("2, 2", "2, 2"); } } } }
  cell (XOR) { area : 3; cell_leakage_power : 10; leakage_power () { when : "A & !Y"; value : 50; }
    pin (A) { direction : input; capacitance : 0.2;
      internal_power () { when : "B & Y"; rise_power (scalar) { values (4); } fall_power (scalar) { values (6); } } }
    pin (B) { direction : input; capacitance : 0.2; }
    pin (Y) { direction : output; function : "A ^ B";
      timing () { related_pin : "A B"; timing_sense : non_unate;
        rise_transition (scalar) { values (0.3); } fall_transition (scalar) { values (0.4); } }
      internal_power () { related_pin : A; when : "B"; rise_power (scalar) { values (10); }
        fall_power (scalar) { values (20); } }
      internal_power () { related_pin : A; when : "!B"; rise_power (scalar) { values (30); }
        fall_power (scalar) { values (40); } }
      internal_power () { related_pin : B; rise_power (scalar) { values (50); }
        fall_power (scalar) { values (60); } } } }
  cell (DFF) { area : 5; cell_leakage_power : 1; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    leakage_power () { when : "Q & !QN"; value : 100; } leakage_power () { when : "!Q & QN"; value : 200; }
    leakage_power () { when : "Q & QN"; value : 1000; }
    pin (CK) { direction : input; clock : true; capacitance : 0.05;
      internal_power () { rise_power (scalar) { values (8); } fall_power (scalar) { values (4); } } }
    pin (D) { direction : input; capacitance : 0.1; }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : CK; timing_type : rising_edge; timing_sense : non_unate;
        rise_transition (scalar) { values (0.25); } fall_transition (scalar) { values (0.5); } }
      internal_power () { related_pin : CK; rise_power (scalar) { values (7); } fall_power (scalar) { values (9); } } }
    pin (QN) { direction : output; function : "IQN"; } }
}
"""
CLK, D, Q, QN, X, Y = 2, 3, 4, 5, 6, 7


@pytest.fixture
def netlist(tmp_path):
    """D -> flip-flop -> inverter -> X; Y = X ^ D."""
    path = tmp_path / "hand.lib"
    path.write_text(LIBRARY)
    cells = read_liberty(path).cells
    instances = (
        Instance("flop", "store", cells["DFF"], {"CK": CLK, "D": D, "Q": Q, "QN": QN}),
        Instance("inv", "store.inner", cells["INV"], {"A": Q, "Y": X}),
        Instance("xor", "", cells["XOR"], {"A": X, "B": D, "Y": Y}),
    )
    names = {CLK: "clk", D: "d", Q: "q", QN: "qn", X: "x", Y: "y"}
    return Netlist("hand", {"clk": (CLK,), "d": (D,)}, {"y": (Y,)}, instances, 8, names)


@pytest.fixture
def activity():
    toggles = np.array([0, 0, 2, 0.5, 0.4, 0.4, 0.4, 0.6])
    duty = np.array([0, 1, 0.5, 0.25, 0.75, 0.25, 0.25, 0.5])
    return Activity(1e-8, 100, toggles, duty, np.ones(8, dtype=bool), "by hand")


PICO = 1e-12


def find_power(netlist, activity, conditions=None):
    """Power at the clock of the activity, of a design without memories."""
    return guarded_power(netlist, activity, conditions, period=activity.period, memories=[])


def test_loads_and_transition_times(netlist):
    loads = find_loads(netlist)
    np.testing.assert_allclose(loads.rise[[CLK, D, Q, QN, X, Y]] / PICO, [0.05, 0.3, 0.1, 0, 0.2, 0])
    rise, fall = find_transitions(netlist, loads)
    np.testing.assert_allclose(rise[[Q, X, Y]] * 1e9, [0.25, 0.2 + 0.5 * 0.5 + 0.2, 0.3])
    np.testing.assert_allclose(fall[[Q, X, Y]] * 1e9, [0.5, 0.1 + 0.2 * 0.5, 0.4])
    wires = WireLoad(fixed=1e-15, per_fanout=2e-15, per_pin_area=3e-15)
    with_wires = find_loads(netlist, wires)
    np.testing.assert_allclose((with_wires.rise - loads.rise)[[D, Q, Y]] * 1e15, [1 + 4 + 18, 1 + 2 + 9, 1])
    assert "1 fF a net + 2 fF a fan-out" in wires.describe()
    assert WireLoad().describe() == "no wires"


def test_internal_energy(netlist, activity):
    power = find_power(netlist, activity)
    unit = PICO  # square of the voltage unit times capacitance unit, whatever the supply
    clock = 2 * (8 + 4) / 2
    flop = 0.4 * (7 + 9) / 2
    inverter = 0.4 * ((1 + 0.5 * 2) + 2) / 2  # the rising output comes from a fall of 0.5 ns
    hidden = 0.4 * (4 + 6) / 2 * 0.25 * 0.75  # B and not A
    causes = np.array([0.4 * 0.25, 0.4 * 0.75, 0.5])
    output = 0.6 * causes @ [15, 35, 55] / causes.sum()
    np.testing.assert_allclose(power.internal / unit, [clock + flop, inverter, hidden + output])
    np.testing.assert_allclose(power.clock / unit, [clock, 0, 0])


def test_switching_energy_and_ports(netlist, activity):
    power = find_power(netlist, activity)
    np.testing.assert_allclose(power.switching, 0.5 * 4 * PICO * np.array([0.4 * 0.1, 0.4 * 0.2, 0]))
    assert power.ports == pytest.approx({"clk": 0.5 * 4 * 2 * 0.05 * PICO, "d": 0.5 * 4 * 0.5 * 0.3 * PICO})
    wired = find_power(netlist, activity, Conditions(wires=WireLoad(fixed=1e-13)))
    np.testing.assert_allclose(wired.switching, 0.5 * 4 * PICO * np.array([0.4 * 0.3, 0.4 * 0.3, 0.6 * 0.1]))


def test_leakage_is_that_of_possible_states(netlist, activity):
    power = find_power(netlist, activity)
    flop = 0.75 * 100 + 0.25 * 200
    inverter = 0.75 * 2 + 0.25 * 6
    both = 0.25 * 0.25  # A, and not Y: A and B
    np.testing.assert_allclose(power.leakage * 1e9, [flop, inverter, both * 50 + (1 - both) * 10])


def test_blocks_add_up(netlist, activity):
    power = find_power(netlist, activity)
    blocks = power.blocks()
    assert list(blocks) == ["", "store", "store.inner"]
    total = power.total()
    assert sum(one.dynamic for one in blocks.values()) == pytest.approx(total.dynamic)
    assert (total.area, total.instances) == (9, 3)
    merged = power.blocks(lambda path: path.partition(".")[0])
    assert merged["store"].instances == 2
    internal, switching, leakage = power.watts()
    assert internal == pytest.approx(total.internal / 1e-8)
    assert switching == pytest.approx(total.switching / 1e-8)
    assert leakage == total.leakage


def test_energy_is_linear_in_activity_and_idle_costs_clock_and_leakage(netlist, activity):
    power = find_power(netlist, activity)
    toggles = 2 * activity.toggles
    toggles[CLK] = 2
    twice = find_power(netlist, replace(activity, toggles=toggles))
    np.testing.assert_allclose(twice.internal - twice.clock, 2 * (power.internal - power.clock))
    np.testing.assert_allclose(twice.clock, power.clock)
    np.testing.assert_allclose(twice.switching, 2 * power.switching)
    idle = np.zeros(8)
    idle[CLK] = 2
    quiet = find_power(netlist, replace(activity, toggles=idle, runs=2))
    np.testing.assert_allclose(quiet.internal, quiet.clock)
    assert not quiet.switching.any()
    np.testing.assert_allclose(quiet.leakage, power.leakage)


def test_a_clock_network_passes_cells_without_state(netlist):
    clocks = clock_nets(netlist, "clk")
    assert np.flatnonzero(clocks).tolist() == [CLK]
    assert np.flatnonzero(clock_nets(netlist, "d")).tolist() == [D, Y]
    with pytest.raises(ValueError, match="no input port 'ck' of one bit"):
        clock_nets(netlist, "ck")


def test_loops_and_double_drivers_are_refused(netlist, activity):
    cells = [one.cell for one in netlist.instances]
    loop = replace(netlist, instances=(Instance("a", "", cells[1], {"A": X, "Y": Y}),
                                       Instance("b", "", cells[1], {"A": Y, "Y": X})))  # fmt: skip
    with pytest.raises(NetlistError, match="combinational loop through a"):
        find_power(loop, activity)
    double = replace(netlist, instances=(Instance("a", "", cells[1], {"A": D, "Y": Y}),
                                         Instance("b", "", cells[1], {"A": D, "Y": Y})))  # fmt: skip
    with pytest.raises(NetlistError, match="net y has two drivers"):
        double.drivers()


def test_verilog_has_plain_names(netlist):
    text = netlist.to_verilog()
    assert text.startswith("module hand (clk_0, d_0, y_0);")
    assert f"  DFF i0 (.CK(n{CLK}), .D(n{D}), .Q(n{Q}), .QN(n{QN}));" in text
    assert f"assign n{LOW} = 1'b0;" in text
    assert f"assign n{HIGH} = 1'b1;" in text
    assert "\\" not in text
