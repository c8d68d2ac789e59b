"""Gates with delays: settled values, and toggles net by net against Icarus and a small event simulator.

Both others know nothing of words of 64 runs, waveforms or topological order. Icarus has one delay for each output, so
both sides get the longest over the arcs for that comparison; the event simulator in this file has a delay for each arc.
"""

import heapq
import subprocess
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions, WireLoad
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import HIGH, LOW, Instance, Netlist, read_netlist
from lmu_hw.cells.timing import find_delays
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.synth import synthesize
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import clock_nets
from lmu_hw.power.engine import find_edges
from lmu_hw.tools import find_icarus
from lmu_sim.gate_delays import RESOLUTION, GateDelays, find_gate_delays
from lmu_sim.gate_nodes import CompiledNetlist, GateError
from lmu_sim.gates import GateSimulator
from lmu_sim.testing.random_models import random_frames, random_model

MULTIPLIER = """
module multiplier(input clk, input signed [7:0] a, input signed [7:0] b, output reg signed [15:0] p);
  reg signed [7:0] ra, rb;
  always @(posedge clk) begin ra <= a; rb <= b; p <= ra * rb; end
endmodule
"""

LANES = """
module lanes(input clk, input first, input signed [7:0] x, input signed [11:0] w, output reg [59:0] sums);
  reg signed [7:0] rx; reg signed [11:0] rw; reg rfirst;
  wire [59:0] next;
  genvar k;
  generate for (k = 0; k < 3; k = k + 1) begin : lane
    wire signed [11:0] product = rx * $signed(rw[4*k +: 4]);
    assign next[20*k +: 20] = (rfirst ? 20'd0 : sums[20*k +: 20]) + {{8{product[11]}}, product};
  end endgenerate
  always @(posedge clk) begin rx <= x; rw <= w; rfirst <= first; sums <= next; end
endmodule
"""

CONDITIONS = Conditions(wires=WireLoad(per_fanout=2e-15), clock_slew=2e-10, longest_slew=1e-9)
PERIOD = 4_000_000
"""In steps of the resolution: 400 ns."""


def mapped(verilog: str, top: str, library) -> Netlist:
    return read_netlist(synthesize(verilog, top, library).json, top, library)


@pytest.fixture(scope="module")
def sky130(pdk):
    return read_liberty(pdk("sky130A").cells)


def random_inputs(netlist, cycles, runs=1, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 1 << len(nets), (cycles, runs)) for name, nets in netlist.inputs.items() if name != "clk"
    }


def timed(netlist, delays, inputs, cycles):
    """Counts of all changes of each net, and the outputs, with delays."""
    runs = next(iter(inputs.values())).shape[1]
    simulator = GateSimulator(netlist, runs=runs)
    simulator.use_delays(delays)
    simulator.start_counting()
    outputs = simulator.run(inputs, cycles)
    counts = simulator.counts()
    return counts, outputs


def for_outputs(compiled: CompiledNetlist, delays: GateDelays) -> GateDelays:
    """One delay for each output, the longest over its inputs."""
    first = compiled.first_input[:-1]
    longest = np.maximum.reduceat(delays.inputs[:-1], first, axis=0)
    spread = np.repeat(longest, np.diff(compiled.first_input), axis=0)
    return replace(delays, inputs=np.ascontiguousarray(np.concatenate([spread, delays.inputs[-1:]])))


OPERATORS = {"and": "&", "or": "|", "xor": "^"}
"""Of Verilog, which gets a delay for each output straight from the netlist."""

def verilog_text(tree, nets):
    parts = [verilog_text(part, nets) for part in tree[1:]] if tree[0] != "pin" else []
    match tree[0]:
        case "pin":
            return nets[tree[1]]
        case "not":
            return f"(~{parts[0]})"
        case "one":
            return "1'b1"
        case "zero":
            return "1'b0"
    return f"({parts[0]} {OPERATORS[tree[0]]} {parts[1]})"


def to_icarus(netlist, edges):
    """Lines of a bench: nets as wires with delays, flip-flops and latches of clock gates without."""
    lines = [f"  wire n{net};" for net in range(netlist.nets)]
    lines += [f"  assign n{LOW} = 0;", f"  assign n{HIGH} = 1;"]
    for index, instance in enumerate(netlist.instances):
        cell, nets = instance.cell, {pin: f"n{net}" for pin, net in instance.nets.items()}
        if cell.clock_gating:
            clock, enable, out = (
                nets[pin.name] for role in ("clock", "enable", "out") for pin in cell.pins.values() if pin.role == role
            )
            lines += [f"  reg s{index} = 0;", f"  always @({clock}, {enable}) if (!{clock}) s{index} = {enable};"]
            lines.append(f"  assign {out} = {clock} & s{index};")
            continue
        for number, element in enumerate(cell.sequentials):
            state = f"s{index}_{number}"
            nets[element.state], nets[element.inverse] = state, f"(~{state})"
            clock, data = (verilog_text(part.tree, nets) for part in (element.clock, element.data))
            lines += [f"  reg {state} = 0;", f"  always @(posedge {clock}) {state} <= {data};"]
        for pin in cell.outputs:
            function, net = cell.pins[pin].function, instance.nets[pin]
            rise, fall = edges.get((index, pin), (0, 0))
            lines.append(f"  assign #({rise}, {fall}) n{net} = {verilog_text(function.tree, nets)};")
    return lines


def icarus(folder, netlist, edges, inputs, cycles):
    """Changes of each net in Icarus over the same cycles, from the same start."""
    ports = [(name, bit) for name in inputs for bit in range(len(netlist.inputs[name]))]
    rows = ["".join(str(int(inputs[name][cycle, 0]) >> bit & 1) for name, bit in ports) for cycle in range(cycles)]
    (folder / "vectors.txt").write_text("\n".join(rows))
    clock = netlist.inputs["clk"][0]
    lines = ["`timescale 1ns/1ns", "module bench;", "  reg clk = 0, counting = 0;", "  integer k;"]
    lines += [f"  reg [{len(ports) - 1}:0] vectors [0:{cycles - 1}], now = 0;", *to_icarus(netlist, edges)]
    lines.append(f"  assign n{clock} = clk;")
    for place, (name, bit) in enumerate(ports):
        lines.append(f"  assign n{netlist.inputs[name][bit]} = now[{len(ports) - 1 - place}];")
    for net in range(netlist.nets):
        lines.append(f"  integer c{net} = 0; always @(n{net}) if (counting) c{net} = c{net} + 1;")
    lines += [
        "  initial begin",
        '    $readmemb("vectors.txt", vectors);',
        f"    #{PERIOD} counting = 1;",
        f"    for (k = 0; k < {cycles}; k = k + 1) begin",
        f"      clk = 1; now <= vectors[k]; #{PERIOD // 2} clk = 0; #{PERIOD // 2};",
        "    end",
        *(f'    $display("{net} %0d", c{net});' for net in range(netlist.nets)),
        "    $finish;",
        "  end",
        "endmodule",
    ]
    (folder / "bench.v").write_text("\n".join(lines))
    tool = find_icarus()
    command = [*tool.command, "-g2012", "-s", "bench", "-o", "bench.vvp", "bench.v"]
    subprocess.run(command, cwd=folder, env=tool.env, check=True, capture_output=True)
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True)
    counts = np.zeros(netlist.nets, dtype=np.int64)
    for line in done.stdout.splitlines():
        if line[:1].isdigit():
            net, count = map(int, line.split())
            counts[net] = count
    return counts


def output_edges(netlist, compiled, delays):
    """Delays by instance and output pin."""
    return {
        (pins.instance, pins.output): tuple(delays.inputs[first].tolist())
        for pins, first in zip(compiled.pins, compiled.first_input[:-1].tolist(), strict=True)
    }


def stream_inputs(plan, netlist, cycles):
    """Values of the ports of an accelerator, cycle by cycle, that send frames as fast as they are taken."""
    frames = random_frames(np.random.default_rng(0), plan.model, 1, 30)[0]
    width = plan.model.input.width
    beats = frames & ((1 << width) - 1)
    beats[:, -1] |= 1 << width
    simulator, beats, sent = GateSimulator(netlist), beats.ravel(), 0
    rows = []
    for cycle in range(cycles):
        row = {"rst": int(cycle < 2), "i__valid": 1, "i__payload": int(beats[sent])}
        row |= {name: 1 for name in netlist.inputs if name.endswith("__ready")}
        ready = simulator.run({name: np.array([value]) for name, value in row.items()}, 1)["i__ready"]
        sent += int(ready[0, 0] and cycle > 2)
        rows.append(row)
    assert sent > 3 * plan.model.inputs
    return {name: np.array([[row[name]] for row in rows]) for name in rows[0]}


def small_accelerator(library):
    model = random_model(
        np.random.default_rng(3), inputs=4, units=4, memories=[(4, 8.0)], activation="relu", stride=1, e_h=False
    )
    plan = make_plan(model, AcceleratorConfig(lanes=3))
    return plan, mapped(to_verilog(plan), TOP, library)


def designs(name, library):
    if name == "accelerator":
        plan, netlist = small_accelerator(library)
        return netlist, stream_inputs(plan, netlist, 200), 200
    netlist = mapped({"multiplier": MULTIPLIER, "lanes": LANES}[name], name, library)
    return netlist, random_inputs(netlist, 150), 150


@pytest.mark.parametrize("name", ["multiplier", "lanes", "accelerator"])
def test_toggles_equal_those_of_icarus_with_the_same_delays(sky130, tmp_path, name):
    netlist, inputs, cycles = designs(name, sky130)
    compiled = CompiledNetlist(netlist)
    delays = for_outputs(compiled, find_gate_delays(netlist, compiled, CONDITIONS))
    counts, _ = timed(netlist, delays, inputs, cycles)
    ours = counts.toggles + counts.glitches
    theirs = icarus(tmp_path, netlist, output_edges(netlist, compiled, delays), inputs, cycles)
    assert counts.glitches.sum() > 0.2 * counts.toggles.sum()
    assert abs(ours - theirs).sum() < 1e-3 * theirs.sum()


class EventSimulator:
    """A netlist of gates and flip-flops, event by event, one run, a delay for each arc; changes are counted."""

    def __init__(self, netlist, conditions):
        self.netlist = netlist
        self.arcs = {
            (index, arc.related, arc.output): tuple(round(edge[place] / RESOLUTION) for edge in (arc.fall, arc.rise))
            for arc in find_delays(netlist, conditions, find_edges(netlist, conditions))
            for place, index in enumerate(arc.instances.tolist())
        }
        self.level = [0] * netlist.nets
        self.level[HIGH] = 1
        self.state = {index: 0 for index, instance in enumerate(netlist.instances) if instance.cell.sequentials}
        self.readers = defaultdict(list)
        for index, instance in enumerate(netlist.instances):
            if index not in self.state:
                for pin in instance.cell.inputs:
                    self.readers[instance.nets[pin]].append(index)
        self.changes = np.zeros(netlist.nets, dtype=np.int64)
        self.wanted, self.due, self.queue = {}, {}, []
        for _ in netlist.instances:  # more passes than levels
            for index, instance in enumerate(netlist.instances):
                for pin in instance.cell.outputs:
                    self.level[instance.nets[pin]] = self.wanted[index, pin] = self.value(index, pin)
            if self.stable():
                break

    def stable(self):
        return all(
            self.level[instance.nets[pin]] == self.value(index, pin)
            for index, instance in enumerate(self.netlist.instances)
            for pin in instance.cell.outputs
        )

    def value(self, index, pin):
        instance = self.netlist.instances[index]
        levels = {name: self.level[net] for name, net in instance.nets.items()}
        for element in instance.cell.sequentials:
            levels[element.state], levels[element.inverse] = self.state[index], 1 - self.state[index]
        function = instance.cell.pins[pin].function
        return int(function.probability({name: np.float64(levels[name]) for name in function.pins}))

    def want(self, time, index, moved):
        """Evaluate the outputs of an instance some pins of which moved."""
        for pin in self.netlist.instances[index].cell.outputs:
            wanted = self.value(index, pin)
            if wanted == self.wanted[index, pin]:
                continue
            self.wanted[index, pin] = wanted
            if (index, pin) in self.due:
                del self.due[index, pin]  # it returns before it changed
                continue
            when = time + min(self.arcs[index, name, pin][wanted] for name in moved if (index, name, pin) in self.arcs)
            self.due[index, pin] = when
            heapq.heappush(self.queue, (when, index, pin))

    def cycle(self, inputs):
        sampled = []
        for index in self.state:
            cell, nets = self.netlist.instances[index].cell, self.netlist.instances[index].nets
            data = cell.sequentials[0].data
            levels = {name: np.float64(self.level[nets[name]]) for name in data.pins}
            sampled.append((index, int(data.probability(levels)), [*cell.sequentials[0].clock.pins]))
        moved = defaultdict(set)
        for name, number in inputs.items():
            for bit, net in enumerate(self.netlist.inputs[name]):
                self.move(net, number >> bit & 1, moved)
        for index, state, clock in sampled:
            self.state[index] = state
            moved[index].update(clock)
        self.evaluate(0, moved)
        while self.queue:
            time, moved = self.queue[0][0], defaultdict(set)
            while self.queue and self.queue[0][0] == time:
                _, index, pin = heapq.heappop(self.queue)
                if self.due.get((index, pin)) == time:
                    del self.due[index, pin]
                    self.move(self.netlist.instances[index].nets[pin], self.wanted[index, pin], moved)
            self.evaluate(time, moved)

    def move(self, net, level, moved):
        if self.level[net] != level:
            self.level[net] = level
            self.changes[net] += 1
            for index in self.readers[net]:
                pins = self.netlist.instances[index].nets.items()
                moved[index].update(pin for pin, other in pins if other == net)

    def evaluate(self, time, moved):
        for index, pins in moved.items():
            self.want(time, index, pins)


@pytest.mark.parametrize(("name", "cycles"), [("multiplier", 60), ("lanes", 40)])
def test_toggles_equal_those_of_an_event_simulator_with_a_delay_for_each_arc(sky130, name, cycles):
    netlist, inputs, _ = designs(name, sky130)
    inputs = {port: values[:cycles] for port, values in inputs.items()}
    counts, _ = timed(netlist, find_gate_delays(netlist, CompiledNetlist(netlist), CONDITIONS), inputs, cycles)
    reference = EventSimulator(netlist, CONDITIONS)
    for cycle in range(cycles):
        reference.cycle({port: int(values[cycle, 0]) for port, values in inputs.items()})
    data = ~clock_nets(netlist, "clk")
    ours = (counts.toggles + counts.glitches)[data]
    theirs = reference.changes[data]
    assert theirs.sum() > 5000
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["ihp-sg13g2", "sky130A", "nangate45", "osu018"])
def test_settled_values_are_those_without_delays(pdk, name):
    """In each of several runs, at every edge of the clock, and in every count of settled values."""
    library = read_liberty(pdk(name).cells)
    netlist = mapped(LANES, "lanes", library)
    inputs = random_inputs(netlist, 60, runs=5)
    counts, outputs = timed(netlist, find_gate_delays(netlist, CompiledNetlist(netlist), CONDITIONS), inputs, 60)
    settled, expected = timed(netlist, None, inputs, 60)
    np.testing.assert_array_equal(outputs["sums"], expected["sums"])
    np.testing.assert_array_equal(counts.toggles, settled.toggles)
    np.testing.assert_array_equal(counts.high, settled.high)
    assert counts.glitches.min() == 0 == settled.glitches.max()
    assert (counts.lost >= 0).all()
    assert (counts.lost <= counts.glitches).all()
    assert counts.settled_after > 0 == settled.settled_after


def test_runs_are_independent(sky130):
    """Glitches of five runs side by side are those of each alone."""
    netlist = mapped(LANES, "lanes", sky130)
    delays = find_gate_delays(netlist, CompiledNetlist(netlist), CONDITIONS)
    inputs = random_inputs(netlist, 40, runs=5)
    together, _ = timed(netlist, delays, inputs, 40)
    alone = [timed(netlist, delays, {name: values[:, run : run + 1] for name, values in inputs.items()}, 40)[0]
             for run in range(5)]  # fmt: skip
    np.testing.assert_array_equal(together.glitches, sum(counts.glitches for counts in alone))
    np.testing.assert_allclose(together.lost, sum(counts.lost for counts in alone), rtol=1e-5, atol=1e-6)


PULSES = """
library (pulses) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1;
  default_cell_leakage_power : 1;
  cell (INV) { area : 1;
    pin (A) { direction : input; capacitance : 0.1; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : A; timing_sense : negative_unate;
        cell_rise (scalar) { values (2); } cell_fall (scalar) { values (3); }
        rise_transition (scalar) { values (0.1); } fall_transition (scalar) { values (0.1); } } } }
  cell (XNOR) { area : 1;
    pin (A) { direction : input; capacitance : 0.1; } pin (B) { direction : input; capacitance : 0.1; }
    pin (Y) { direction : output; function : "!(A ^ B)";
      timing () { related_pin : "A B"; timing_sense : non_unate;
        cell_rise (scalar) { values (RISE); } cell_fall (scalar) { values (1); }
        rise_transition (scalar) { values (4); } fall_transition (scalar) { values (8); } } } }
  cell (DFF) { area : 5; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; clear : "!R"; }
    pin (CK) { direction : input; clock : true; capacitance : 0.05; }
    pin (D) { direction : input; capacitance : 0.2; } pin (R) { direction : input; capacitance : 0.2; }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : CK; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (scalar) { values (5); } cell_fall (scalar) { values (4); }
        rise_transition (scalar) { values (0.1); } fall_transition (scalar) { values (0.1); } } } }
  cell (BUF) { area : 1;
    pin (A) { direction : input; capacitance : 0.1; } pin (Y) { direction : output; function : "A"; } }
}
"""
CLK, D, Q, N, P = range(2, 7)


def pulses(tmp_path, rise="1", reset=HIGH, extra=()):
    """D of the port to a flip-flop; XNOR of its output and the inverse: at 0 but for a pulse after each change."""
    (tmp_path / "pulses.lib").write_text(PULSES.replace("RISE", rise))
    cells = read_liberty(tmp_path / "pulses.lib").cells
    placed = [("DFF", {"CK": CLK, "D": D, "R": reset, "Q": Q}), ("INV", {"A": Q, "Y": N})]
    placed += [("XNOR", {"A": Q, "B": N, "Y": P}), *extra]
    instances = tuple(Instance(f"i{index}", "", cells[name], nets) for index, (name, nets) in enumerate(placed))
    return Netlist("pulses", {"clk": (CLK,), "d": (D,)}, {"p": (P,)}, instances, 8, {})


def pulsed(netlist, cycles=10):
    """Counts while D changes in each cycle."""
    simulator = GateSimulator(netlist)
    simulator.use_delays(find_gate_delays(netlist, simulator.compiled, Conditions()))
    simulator.start_counting()
    simulator.run({"d": np.arange(cycles) % 2}, cycles)
    return simulator.counts()


def test_a_pulse_counts_as_the_part_of_a_swing_that_it_makes(tmp_path):
    """The pulse lasts as long as the inverter needs: 3 ns after a rising flip-flop, 2 ns after a falling one.

    The ramp up takes 4 ns: it gets to 3/4 and 1/2, and falls back as far.
    """
    counts = pulsed(pulses(tmp_path))
    assert counts.toggles[[Q, N, P]].tolist() == [8, 8, 0]
    assert counts.glitches[[Q, N, P]].tolist() == [0, 0, 16]
    assert counts.lost[P] == pytest.approx(4 * 2 * (1 - 3 / 4) + 4 * 2 * (1 - 1 / 2))
    assert counts.settled_after == pytest.approx((5 + 3 + 1) * 1e-9)


def test_a_pulse_shorter_than_the_delay_is_swallowed(tmp_path):
    """A rise after 2.5 ns is overtaken by a cause that goes away after 2 ns, not after 3 ns."""
    counts = pulsed(pulses(tmp_path, "2.5"))
    assert counts.glitches[P] == 8
    assert not pulsed(pulses(tmp_path, "3.5")).glitches.any()


def test_resets_out_of_delayed_logic_are_refused(tmp_path):
    netlist = pulses(tmp_path, extra=[("DFF", {"CK": CLK, "D": HIGH, "R": N, "Q": 7})])
    with pytest.raises(GateError, match="pulses has a clock, reset or preset that comes out of logic with delays"):
        pulsed(netlist)


def test_a_library_without_a_delay_is_refused(tmp_path):
    netlist = pulses(tmp_path, extra=[("BUF", {"A": P, "Y": 7})])
    with pytest.raises(GateError, match="the library has no delay from A to Y of BUF"):
        pulsed(netlist)
