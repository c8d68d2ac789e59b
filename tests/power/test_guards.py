from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.netlist import HIGH
from lmu_hw.flows.synth import MappedMemory, synthesize
from lmu_hw.power.engine import find_power
from lmu_hw.power.guards import (
    PowerRefused,
    check_activity,
    check_all,
    check_clock,
    check_conserved,
    check_coverage,
    check_edges,
    check_memories,
)
from lmu_sim.gates import GateSimulator

PERIOD = 1e-8


@pytest.fixture(scope="module")
def run(bench, standard_cells):
    """Netlist of a multiplier, its simulated activity, its power."""
    netlist = bench.mapped(bench.multiplier, "multiplier", standard_cells)
    simulator = GateSimulator(netlist)
    rng = np.random.default_rng(0)
    simulator.run({"a": rng.integers(-128, 128, 200), "b": rng.integers(-128, 128, 200)}, 200)
    activity = simulator.activity(PERIOD)
    return netlist, activity, find_power(netlist, activity)


def changed(activity, net, **values):
    """The activity with another value of a net."""
    arrays = {name: getattr(activity, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][net] = value
    return replace(activity, **arrays)


def test_a_simulated_activity_passes_every_guard(run):
    netlist, activity, power = run
    memories = [MappedMemory("w", 512, 64, False, "logic"), MappedMemory("s", 8, 8, True, "flip-flops")]
    assert check_all(netlist, activity, power, clock="clk", period=PERIOD, memories=memories) == 1.0


def test_unobserved_pins_are_refused(run):
    netlist, activity, _ = run
    few = activity.known.copy()
    few[2 + np.arange(30)] = False
    with pytest.raises(PowerRefused, match=r"activity is known for 9\d\.\d% of the pins, 99% are needed; missing are "):
        check_coverage(netlist, replace(activity, known=few))
    one = activity.known.copy()
    one[netlist.outputs["p"][0]] = False
    assert check_coverage(netlist, replace(activity, known=one)) > 0.99
    with pytest.raises(PowerRefused, match="the activity is of 3 nets, the netlist multiplier has"):
        check_coverage(netlist, replace(activity, toggles=np.zeros(3)))


def test_another_clock_is_refused(run):
    netlist, activity, _ = run
    check_clock(netlist, activity, "clk", PERIOD)
    with pytest.raises(PowerRefused, match="taken with a clock period of 1e-08 s, the constraint says 1e-05 s"):
        check_clock(netlist, activity, "clk", 1000 * PERIOD)
    halved = changed(activity, netlist.inputs["clk"][0], toggles=0.002)
    with pytest.raises(PowerRefused, match=r"the clock clk changes 0\.002 times per cycle of the activity, not twice"):
        check_clock(netlist, halved, "clk", PERIOD)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"toggles": 2.5}, r"changes 2\.5 times per cycle, a net of a zero-delay netlist at most 2 times"),
        ({"toggles": -0.5}, r"a net changes -0\.5 times per cycle"),
        ({"toggles": np.nan}, "values that are not numbers"),
        ({"duty": 1.2}, r"is high for 1\.2 of the time"),
        ({"toggles": 0.5, "duty": 0.0}, r"changes 0\.5 times per cycle but is high for 0 of the time"),
        ({"toggles": 0.5, "duty": 1.0}, r"changes 0\.5 times per cycle but is high for 1 of the time"),
    ],
)
def test_impossible_activities_are_refused(run, values, message):
    netlist, activity, _ = run
    check_activity(netlist, activity, "clk")
    with pytest.raises(PowerRefused, match=message):
        check_activity(netlist, changed(activity, netlist.outputs["p"][3], **values), "clk")


def test_a_moving_constant_is_refused(run):
    netlist, activity, _ = run
    with pytest.raises(PowerRefused, match="a constant changes"):
        check_activity(netlist, changed(activity, HIGH, toggles=0.1), "clk")


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
    assert [(one.name, one.depth, one.width, one.built_of) for one in done.memories] == [("cells", 32, 8, "flip-flops")]
    assert done.cells["sg13g2_dfrbpq_1"] >= 256
    with pytest.raises(PowerRefused, match=r"built of flip-flops, as no chip would: cells \(32 x 8 bits\); accept"):
        check_memories(done.memories)
    check_memories(done.memories, accepted=["cells"])
    check_memories(done.memories, accepted=["*"])
    check_memories(done.memories, small=256)


def test_edges_beyond_the_library_are_refused(run, bench):
    _, _, power = run
    check_edges(power)
    library = bench.load_library("sky130A")
    wide = """module wide(input clk, input d, output reg [199:0] q); reg r;
      always @(posedge clk) begin r <= d; q <= q ^ {200{r}}; end endmodule"""

    def power_of(netlist):
        simulator = GateSimulator(replace(netlist, outputs={}))
        simulator.run({"d": np.arange(50) & 1}, 50)
        return find_power(netlist, simulator.activity(PERIOD))

    with pytest.raises(PowerRefused, match=r"an edge takes \d+\.\d times as long as the library allows"):
        check_edges(power_of(bench.mapped(wide, "wide", library, delay=None)))
    check_edges(power_of(bench.mapped(wide, "wide", library)))


def test_energy_is_conserved(run):
    _, _, power = run
    check_conserved(power)
    check_conserved(power, lambda block: "all")
    total = power.total()
    assert total.internal > 0
    assert total.switching > 0
    assert total.leakage > 0
    broken = replace(power, internal=np.where(np.arange(power.internal.size) == 5, np.nan, power.internal))
    with pytest.raises(PowerRefused, match="the internal of the blocks adds up to nan"):
        check_conserved(broken)


def test_a_lost_block_is_refused(run):
    _, _, power = run

    class Lossy(type(power)):
        def blocks(self, label=str):
            return {"half": self.sum_of(np.arange(len(self.netlist.instances) // 2))}

    lossy = Lossy(**{name: getattr(power, name) for name in power.__dataclass_fields__})
    with pytest.raises(PowerRefused, match="of the blocks adds up to"):
        check_conserved(lossy)
