"""Every guard, through the one function that gives a figure, with an activity or a design that is wrong in that way."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions, WireLoad
from lmu_hw.cells.netlist import HIGH, LOW
from lmu_hw.flows.synth import MappedMemory, synthesize
from lmu_hw.power.activity import SHORTEST
from lmu_hw.power.engine import find_power
from lmu_hw.power.guards import (
    MAX_CELL_LEAKAGE,
    PowerRefused,
    check_conserved,
    check_coverage,
    check_memories,
)
from lmu_kit.power import conditions_of
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gates import GateSimulator

PERIOD = 1e-8


def simulated(netlist, inputs, cycles):
    simulator = GateSimulator(netlist)
    simulator.run(inputs, cycles)
    return simulator


def multiplied(netlist):
    rng = np.random.default_rng(0)
    return simulated(netlist, {"a": rng.integers(-128, 128, 200), "b": rng.integers(-128, 128, 200)}, 200)


@pytest.fixture(scope="module")
def simulator(bench, standard_cells):
    """A multiplier after 200 products of random numbers."""
    return multiplied(bench.mapped(bench.multiplier, "multiplier", standard_cells))


@pytest.fixture(scope="module")
def netlist(simulator):
    return simulator.netlist


@pytest.fixture(scope="module")
def activity(simulator):
    return simulator.activity(PERIOD)


def power_of(netlist, activity, conditions=None, *, period=PERIOD, memories=(), accepted=()):
    """Power of a design without memories, unless some are given."""
    return find_power(netlist, activity, conditions, period=period, memories=memories, accepted=accepted)


def changed(activity, net, **values):
    """The activity with another value of a net."""
    arrays = {name: getattr(activity, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][net] = value
    return replace(activity, **arrays)


def test_a_simulated_activity_passes_every_guard(netlist, activity):
    memories = [MappedMemory("w", 512, 64, False, "logic"), MappedMemory("s", 8, 8, True, "flip-flops")]
    power = power_of(netlist, activity, memories=memories)
    assert power.total().dynamic > 0
    assert power.slow_part == 0
    assert check_coverage(netlist, activity) == 1


def test_pins_that_were_not_counted_are_refused(simulator, netlist, activity):
    counts = simulator.counts()
    few = counts.counted.copy()
    few[2 + np.arange(30)] = False
    lacking = replace(counts, counted=few).activity(netlist, PERIOD)
    with pytest.raises(PowerRefused, match=r"activity is known for 9\d\.\d% of the pins, 99% are needed; missing are "):
        power_of(netlist, lacking)
    one = counts.counted.copy()
    one[netlist.outputs["p"][0]] = False
    assert power_of(netlist, replace(counts, counted=one).activity(netlist, PERIOD)).total().dynamic > 0
    with pytest.raises(PowerRefused, match="the activity is of 3 nets, the netlist multiplier has"):
        power_of(netlist, replace(activity, toggles=np.zeros(3)))


def test_another_clock_is_refused(netlist, activity):
    with pytest.raises(
        PowerRefused, match="the edges of clk have a period of 1e-08 s in the activity, the constraint says 1e-05 s"
    ):
        power_of(netlist, activity, period=1000 * PERIOD)
    halved = changed(activity, netlist.inputs["clk"][0], toggles=0.002)
    with pytest.raises(PowerRefused, match=r"the clock clk changes 0\.002 times per cycle of the activity, not twice"):
        power_of(netlist, halved)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"toggles": 2.5}, r"changes 2\.5 times per cycle, a net of a zero-delay netlist at most 2 times"),
        ({"toggles": -0.5}, r"changes -0\.5 times per cycle"),
        ({"toggles": np.nan}, "values that are not numbers"),
        ({"duty": 1.2}, r"is high for 1\.2 of the time"),
        ({"duty": 1 + 1e-6}, "is high for 1 of the time"),
        ({"duty": -1e-6}, "is high for -1e-06 of the time"),
        ({"toggles": 0.5, "duty": 0.0}, r"changes 0\.5 times per cycle but is high for 0 of the time"),
        ({"toggles": 0.5, "duty": 1.0}, r"changes 0\.5 times per cycle but is high for 1 of the time"),
        ({"toggles": 0.0, "duty": 0.25}, r"never changes but is high for 0\.25 of the time"),
    ],
)
def test_impossible_activities_are_refused(netlist, activity, values, message):
    with pytest.raises(PowerRefused, match=message):
        power_of(netlist, changed(activity, netlist.outputs["p"][3], **values))


@pytest.fixture(scope="module")
def timed(netlist):
    """Activity of the same products with delays."""
    simulator = GateSimulator(netlist)
    simulator.use_delays(find_gate_delays(netlist, simulator.compiled, Conditions()))
    rng = np.random.default_rng(0)
    simulator.run({"a": rng.integers(-128, 128, 200), "b": rng.integers(-128, 128, 200)}, 200)
    return simulator.activity(PERIOD)


def test_glitches_cost_energy(netlist, activity, timed):
    np.testing.assert_array_equal(timed.settled.toggles, activity.toggles)
    with_glitches, without = (power_of(netlist, one).total().dynamic for one in (timed, timed.settled))
    assert without == power_of(netlist, activity).total().dynamic
    assert with_glitches > 1.1 * without


def test_impossible_glitches_are_refused(netlist, timed):
    net = netlist.outputs["p"][3]
    fewer = changed(timed, net, toggles=0.001)
    with pytest.raises(PowerRefused, match=r"changes 0\.001 times per cycle with glitches, 0\.\d+ times without"):
        power_of(netlist, fewer)
    with pytest.raises(PowerRefused, match="values that are not numbers"):
        power_of(netlist, changed(timed, net, toggles=np.nan))
    with pytest.raises(PowerRefused, match="a constant changes"):
        power_of(netlist, changed(timed, HIGH, toggles=0.1))
    wrong = replace(timed, settled=changed(timed.settled, net, toggles=2.5))
    with pytest.raises(PowerRefused, match="times per cycle"):
        power_of(netlist, changed(wrong, net, toggles=3.0))


def test_nets_that_settle_after_the_next_edge_are_refused(netlist, timed):
    half = timed.settled_after * 1e9
    fast = replace(timed, period=1.9 * timed.settled_after)
    message = f"nets change up to {half:.4g} ns after an edge of the clock, the next edge comes after "
    with pytest.raises(PowerRefused, match=rf"{message}{0.95 * half:.4g} ns: choose a slower clock"):
        power_of(netlist, fast, period=fast.period)
    slow = replace(timed, period=2.1 * timed.settled_after)
    assert power_of(netlist, slow, period=slow.period).total().dynamic > 0


def test_a_net_can_stand_still_at_other_levels_in_several_runs(netlist, activity):
    still = changed(activity, netlist.outputs["p"][3], toggles=0.0, duty=0.25)
    assert power_of(netlist, replace(still, runs=2)).total().dynamic > 0


def test_constants_that_move_or_have_another_level_are_refused(netlist, activity):
    with pytest.raises(PowerRefused, match="a constant changes"):
        power_of(netlist, changed(activity, HIGH, toggles=0.1))
    for net, duty in ((LOW, 1.0), (HIGH, 0.0)):
        with pytest.raises(PowerRefused, match=f"the constant {net} is high for {duty:g} of the time"):
            power_of(netlist, changed(activity, net, duty=duty))


def combined(activity, weight):
    """A run of which idle time, in which nothing but the clock moves, was taken off or added."""
    idle = replace(activity, toggles=np.where(activity.toggles == 2, 2.0, 0.0), duty=activity.duty.round())
    idle.duty[activity.toggles == 2] = 0.5
    parts = ((weight, activity), (1 - weight, idle))
    sums = {name: sum(part * getattr(one, name) for part, one in parts) for name in ("toggles", "duty")}
    return replace(activity, **sums, parts=parts, runs=2)


@pytest.mark.parametrize("weight", [0.25, 1.25])
def test_a_sum_of_activities_is_checked_in_its_parts(netlist, activity, weight):
    net = netlist.outputs["p"][3]
    total = combined(activity, weight)
    assert power_of(netlist, total).total().dynamic > 0
    with pytest.raises(PowerRefused, match=r"the duty of .* is 0\.1, its parts add up to 0\."):
        power_of(netlist, changed(total, net, duty=0.1))
    with pytest.raises(PowerRefused, match=r"the toggles of .* is 0\.1, its parts add up to 0\."):
        power_of(netlist, changed(total, net, toggles=0.1))
    wrong = combined(changed(activity, net, duty=1.01), weight)
    with pytest.raises(PowerRefused, match=r"is high for 1\.01 of the time"):
        power_of(netlist, wrong)


def test_duties_outside_the_range_are_clipped_where_idle_time_was_taken_off(netlist, activity):
    """An output that is high most of the time, and low in all of the idle time."""
    net, none = netlist.outputs["p"][3], np.zeros(netlist.nets)
    busy = changed(activity, net, duty=0.9)
    idle = replace(activity, toggles=np.where(activity.toggles == 2, 2.0, 0.0), duty=none.copy(), runs=2)
    idle.duty[HIGH], idle.duty[activity.toggles == 2] = 1, 0.5
    parts = ((1.25, busy), (-0.25, idle))
    sums = {name: sum(weight * getattr(part, name) for weight, part in parts) for name in ("toggles", "duty")}
    power = power_of(netlist, replace(activity, **sums, parts=parts, runs=2))
    assert sums["duty"][net] == pytest.approx(1.125)
    longest = np.where(sums["toggles"] > 0, 1 - SHORTEST, 1.0)
    clipped = replace(activity, toggles=sums["toggles"], duty=np.clip(sums["duty"], 1 - longest, longest), runs=2)
    np.testing.assert_allclose(power.leakage, power_of(netlist, clipped).leakage, rtol=1e-5)


MEMORY = """
module memory(input clk, input write, input [4:0] address, input [7:0] value, output reg [7:0] found);
  reg [7:0] cells [31:0];
  always @(posedge clk) begin
    if (write) cells[address] <= value; else found <= cells[address];
  end
endmodule
"""


def test_a_memory_of_flip_flops_is_refused_unless_named(bench):
    done = synthesize(MEMORY, "memory", bench.load_library("ihp-sg13g2"))
    (memory,) = done.memories
    assert (memory.name, memory.depth, memory.width, memory.built_of) == ("cells", 32, 8, "flip-flops")
    assert done.cells["sg13g2_dfrbpq_1"] >= 256
    with pytest.raises(PowerRefused, match=r"built of flip-flops, as no chip would: cells \(32 x 8 bits\); accept"):
        check_memories(done.memories)
    check_memories(done.memories, accepted=["cells"])
    check_memories(done.memories, accepted=["*"])
    check_memories(done.memories, small=256)


def test_memories_are_checked_on_the_way_to_a_figure(netlist, activity):
    memory = MappedMemory("cells", 32, 8, True, "flip-flops")
    with pytest.raises(PowerRefused, match=r"built of flip-flops, as no chip would: cells \(32 x 8 bits\); accept"):
        power_of(netlist, activity, memories=[memory])
    assert power_of(netlist, activity, memories=[memory], accepted=["cells"]).total().dynamic > 0


def test_edges_beyond_the_library_are_refused(bench):
    library = bench.load_library("sky130A")
    wide = """module wide(input clk, input d, output reg [199:0] q); reg r;
      always @(posedge clk) begin r <= d; q <= q ^ {200{r}}; end endmodule"""

    def slow(netlist):
        netlist = replace(netlist, outputs={})
        return netlist, simulated(netlist, {"d": np.arange(50) & 1}, 50).activity(PERIOD)

    with pytest.raises(PowerRefused, match=r"an edge takes \d+\.\d times as long as the library allows"):
        power_of(*slow(bench.mapped(wide, "wide", library, delay=None)))
    assert power_of(*slow(bench.mapped(wide, "wide", library))).total().dynamic > 0


def test_edges_are_checked_before_they_are_clipped(bench):
    """Conditions that promise fast edges everywhere do not hide a netlist that is slow everywhere."""
    simulator = multiplied(bench.mapped(bench.multiplier, "multiplier", bench.load_library("ihp-sg13g2")))
    netlist, activity = simulator.netlist, simulator.activity(PERIOD)
    conditions = replace(conditions_of(netlist), wires=WireLoad(fixed=2e-12))
    with pytest.raises(
        PowerRefused, match=r"\d\d\.\d% of the nets have edges slower than the library allows, more than the 5%"
    ):
        power_of(netlist, activity, conditions)


def test_slow_nets_that_place_and_route_mends_are_counted(netlist, activity):
    limit = conditions_of(netlist).longest_slew
    raw = power_of(netlist, activity, Conditions(wires=WireLoad(fixed=5e-15))).slews
    assert raw.max() < limit
    power = power_of(netlist, activity, replace(conditions_of(netlist), longest_slew=limit / 100))
    assert power.slews.max() <= limit / 100
    assert power.slow_part == 0


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (-1.0, r"leaks -\S+ W: the library makes no sense"),
        (0.0, "no cell leaks: the library gives no leakage"),
        (1e9, f"the mean cell leaks .* W, a real one less than {MAX_CELL_LEAKAGE:g} W: the library makes no sense"),
    ],
)
def test_leakage_that_makes_no_sense_is_refused(netlist, activity, scale, message):
    cells = {instance.cell.name: instance.cell for instance in netlist.instances}
    scaled = {
        name: replace(
            cell,
            leakage=None if cell.leakage is None else cell.leakage * scale,
            leakages=tuple(replace(state, power=state.power * scale) for state in cell.leakages),
        )
        for name, cell in cells.items()
    }
    instances = tuple(replace(instance, cell=scaled[instance.cell.name]) for instance in netlist.instances)
    with pytest.raises(PowerRefused, match=message):
        power_of(replace(netlist, instances=instances), activity)


def test_energy_is_conserved(netlist, activity):
    power = power_of(netlist, activity)
    check_conserved(power)
    check_conserved(power, lambda block: "all")
    total = power.total()
    assert total.internal > 0
    assert total.switching > 0
    assert total.leakage > 0
    broken = replace(power, internal=np.where(np.arange(power.internal.size) == 5, np.nan, power.internal))
    with pytest.raises(PowerRefused, match="the internal of the blocks adds up to nan"):
        check_conserved(broken)


def test_a_lost_block_is_refused(netlist, activity):
    power = power_of(netlist, activity)

    class Lossy(type(power)):
        def blocks(self, label=str):
            return {"half": self.sum_of(np.arange(len(self.netlist.instances) // 2))}

    lossy = Lossy(**{name: getattr(power, name) for name in power.__dataclass_fields__})
    with pytest.raises(PowerRefused, match="of the blocks adds up to"):
        check_conserved(lossy)
