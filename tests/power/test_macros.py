"""Energy of SRAM macros, against figures read by hand in IHP's Liberty files."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.netlist import HIGH
from lmu_hw.cells.transitions import find_loads
from lmu_hw.power.activity import Activity, MacroAccesses
from lmu_hw.power.engine import find_power as guarded_power
from lmu_hw.power.guards import PowerRefused

PICO = 1e-12
# Energy of a clock edge in pJ (rise; the fall costs nothing) and leakage in nW, by macro.
TABLED = {
    "RM_IHPSG13_1P_1024x64_c2_bm_bist": {"read": 91.8272, "write": 110.9189, "both": 118.1095, "leakage": 792.062},
    "RM_IHPSG13_1P_256x8_c3_bm_bist": {"read": 10.2059, "write": 13.5065, "both": 13.2907, "leakage": 24.7519},
}
LARGE, SMALL = TABLED


def find_power(netlist, activity):
    """Power at the clock of the activity."""
    return guarded_power(netlist, activity, period=activity.period, memories=[])


@pytest.fixture(scope="module")
def memories(bench):
    """Netlists of a macro between flip-flops, and an activity in which nothing but the clock moves."""
    found = {}
    for name in TABLED:
        netlist = bench.macro_netlist(bench.load_library("ihp-sg13g2", name), name)
        toggles, duty = np.zeros(netlist.nets), np.zeros(netlist.nets)
        toggles[netlist.inputs["clk"][0]], duty[netlist.inputs["clk"][0]] = 2, 0.5
        duty[[HIGH, *(net for net, name in netlist.names.items() if name == "high")]] = 1
        known = np.ones(netlist.nets, dtype=bool)
        found[name] = netlist, Activity(1e-6, 100, toggles, duty, known, "by hand", runs=2)
    return found


def accessed(memory, edges, enabled=None):
    """Netlist, and the activity with some accesses of its macro."""
    netlist, activity = memory
    counts = np.zeros((2, 2, 2))
    for state, often in edges.items():
        counts[state] = often
    accesses = {len(netlist.instances) - 1: MacroAccesses(counts, enabled or {})}
    return netlist, replace(
        activity, toggles=activity.toggles.copy(), duty=activity.duty.copy(), accesses=accesses
    )


IDLE, READ, WRITE, BOTH = (0, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)


@pytest.mark.parametrize("name", TABLED)
def test_an_access_costs_what_the_liberty_file_says(memories, name):
    for state, kind in ((READ, "read"), (WRITE, "write"), (BOTH, "both")):
        power = find_power(*accessed(memories[name], {state: 1}))
        assert power.internal[-1] == pytest.approx(TABLED[name][kind] * PICO, rel=1e-12)
    assert find_power(*accessed(memories[name], {IDLE: 1})).internal[-1] == 0
    assert power.leakage[-1] == pytest.approx(TABLED[name]["leakage"] * 1e-9, rel=1e-12)


def test_accesses_are_weighted_jointly(memories, bench):
    """Enable and read always high together cost half of a read each cycle, not a quarter and more."""
    netlist, activity = accessed(memories[LARGE], {READ: 0.5, WRITE: 0.125, IDLE: 0.375})
    pins = netlist.instances[-1].nets
    for pin, duty in (("A_MEN", 0.625), ("A_REN", 0.5), ("A_WEN", 0.125)):
        activity.duty[pins[pin]] = duty
    joint = find_power(netlist, activity).internal[-1]
    assert joint == pytest.approx((0.5 * 91.8272 + 0.125 * 110.9189) * PICO, rel=1e-12)
    apart = bench.unguarded(netlist, replace(activity, accesses={})).internal[-1]
    assert abs(apart / joint - 1) > 0.2


def test_changes_of_inputs_are_told_apart_by_the_enable(memories):
    """An address bit of the small macro costs 33.3 and 21.4 fJ enabled, 16.9 and 1.7 fJ disabled."""
    netlist, activity = accessed(memories[SMALL], {IDLE: 1}, {"A_ADDR[3]": 0.3})
    net = netlist.instances[-1].nets["A_ADDR[3]"]
    activity.toggles[net], activity.duty[net] = 0.4, 0.5
    expected = 0.15 * (0.0333 + 0.0214) + 0.05 * (0.0169 + 0.0017)
    assert find_power(netlist, activity).internal[-1] == pytest.approx(expected * PICO, rel=1e-12)


def test_outputs_switch_their_loads(memories):
    netlist, activity = accessed(memories[SMALL], {IDLE: 1})
    net = netlist.instances[-1].nets["A_DOUT[5]"]
    activity.toggles[net], activity.duty[net] = 0.25, 0.5
    load = find_loads(netlist).largest[net]
    assert load > 1e-15  # the flip-flop behind it; the macro's own output has no capacitance
    assert find_power(netlist, activity).switching[-1] == pytest.approx(0.5 * load * 1.2**2 * 0.25, rel=1e-12)


def test_accesses_are_not_clock(memories):
    power = find_power(*accessed(memories[SMALL], {WRITE: 1}))
    assert power.clock[-1] == 0
    assert (power.clock[2:-1] > 0).all()


def test_accesses_that_are_missing_or_impossible_are_refused(memories):
    netlist, activity = accessed(memories[SMALL], {READ: 0.25, IDLE: 0.75}, {"A_ADDR[3]": 0.3})
    net = netlist.instances[-1].nets["A_ADDR[3]"]
    activity.toggles[net], activity.duty[net] = 0.4, 0.5
    assert find_power(netlist, activity).internal[-1] > 0
    with pytest.raises(PowerRefused, match=r"the accesses of memory \(RM_IHPSG13_1P_256x8_c3_bm_bist\) are not known"):
        find_power(netlist, replace(activity, accesses={}))
    with pytest.raises(PowerRefused, match=r"memory has accesses for 0\.25 clock edges a cycle, its clock has 1"):
        find_power(*accessed((netlist, activity), {READ: 0.25}))
    with pytest.raises(PowerRefused, match=r"A_ADDR\[3\] of memory changes 0\.5 times per cycle enabled, in all 0\.4"):
        find_power(*accessed((netlist, activity), {IDLE: 1}, {"A_ADDR[3]": 0.5}))
