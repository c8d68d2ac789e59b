"""The gate-level simulator against arithmetic, the golden model, and the vendor's cell models, count for count."""

import gzip
import re
import subprocess

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.synth import synthesize
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_icarus
from lmu_sim.gates import GateError, GateSimulator
from lmu_sim.testing.random_models import random_frames, random_model

COUNTER = """
module counter(input clk, input rst, input en, input [3:0] step, output reg [7:0] count, output reg [7:0] last,
output odd);
  always @(posedge clk) begin
    if (rst) count <= 0; else if (en) count <= count + step;
    if (en) last <= count ^ {step, step};
  end
  assign odd = ^count;
endmodule
"""


STATES = """
module ihp_dff_r(output reg q = 0, input notifier, input clk, input d, input r, input unused);
  always @(posedge clk or posedge r) if (r) q <= 0; else q <= d;
endmodule
module ihp_latch(output reg q = 0, input notifier, input clk, input d);
  always @(clk or d) if (clk) q <= d;
endmodule
"""
"""The two primitives that IHP's models take from another file."""


def mapped(verilog, top, library, **options):
    return read_netlist(synthesize(verilog, top, library, **options).json, top, library)


def counter_model(rst, en, step):
    """Outputs at the end of each cycle; inputs count from the next edge on."""
    count = last = 0
    found = []
    inputs = zip(np.r_[0, rst[:-1]], np.r_[0, en[:-1]], np.r_[0, step[:-1]], strict=True)
    for r, e, s in inputs:
        if e:
            last = count ^ (s * 17)
        count = 0 if r else (count + s) & 255 if e else count
        found.append((count, last, bin(count).count("1") & 1))
    return np.array(found).T


LIBRARIES = [(name, gating) for name in ("ihp-sg13g2", "sky130A", "nangate45") for gating in (True, False)]


@pytest.mark.parametrize(("name", "clock_gating"), [*LIBRARIES, ("osu018", False)])
def test_a_counter_counts_in_every_run(pdk, name, clock_gating):
    netlist = mapped(COUNTER, "counter", read_liberty(pdk(name).cells), clock_gating=clock_gating)
    assert any(one.cell.clock_gating for one in netlist.instances) == clock_gating
    rng = np.random.default_rng(4)
    cycles, runs = 300, 5
    inputs = {"rst": rng.random((cycles, runs)) < 0.02, "en": rng.random((cycles, runs)) < 0.6}
    inputs = {key: value.astype(np.int64) for key, value in inputs.items()}
    inputs["step"] = rng.integers(0, 16, (cycles, runs))
    simulator = GateSimulator(netlist, runs=runs)
    found = simulator.run(inputs, cycles)
    for run in range(runs):
        count, last, odd = counter_model(*(inputs[key][:, run] for key in ("rst", "en", "step")))
        np.testing.assert_array_equal(found["count"][:, run], count)
        np.testing.assert_array_equal(found["last"][:, run], last)
        np.testing.assert_array_equal(found["odd"][:, run], odd)


def test_changes_and_time_at_one_are_exact(standard_cells):
    netlist = mapped(COUNTER, "counter", standard_cells)
    rng = np.random.default_rng(5)
    cycles, runs = 400, 3
    inputs = {"en": rng.integers(0, 2, (cycles, runs)), "step": rng.integers(0, 16, (cycles, runs))}
    simulator = GateSimulator(netlist, runs=runs)
    before = simulator.run({key: value[:100] for key, value in inputs.items()}, 100)
    simulator.start_counting()
    after = simulator.run({key: value[100:] for key, value in inputs.items()}, 300)
    activity = simulator.activity(1e-6)
    assert activity.cycles == 300
    assert activity.coverage(netlist) == 1
    clock = netlist.inputs["clk"][0]
    assert activity.toggles[clock] == 2
    assert activity.duty[clock] == 0.5
    for name, nets in netlist.outputs.items():
        values = np.concatenate([before[name][99:], after[name]])
        for bit, net in enumerate(nets):
            bits = values >> bit & 1
            assert activity.toggles[net] * 300 * runs == pytest.approx((bits[1:] != bits[:-1]).sum(), abs=1e-6)
            assert activity.duty[net] * 300 * runs == pytest.approx(bits[1:].sum(), abs=1e-6)
    for name, values in inputs.items():
        for bit, net in enumerate(netlist.inputs[name]):
            bits = values[99:] >> bit & 1
            assert activity.toggles[net] * 300 * runs == pytest.approx((bits[1:] != bits[:-1]).sum(), abs=1e-6)


@pytest.fixture(scope="module")
def accelerator(standard_cells):
    rng = np.random.default_rng(3)
    model = random_model(
        rng, inputs=4, units=6, memories=[(4, 8.0), (4, 8.0)], activation="relu", u_activation="linear", stride=1
    )
    plan = make_plan(model, AcceleratorConfig(lanes=4))
    return plan, mapped(to_verilog(plan), TOP, standard_cells)


@pytest.mark.parametrize(("runs", "steps", "pace"), [(1, 12, 100), (6, 5, 0)])
def test_the_accelerator_of_gates_is_bit_exact(accelerator, runs, steps, pace):
    plan, netlist = accelerator
    model = plan.model
    frames = random_frames(np.random.default_rng(runs), model, runs, steps)
    simulator = GateSimulator(netlist, runs=runs)
    simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
    simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
    width = model.input.width
    marks = np.zeros(frames.shape, dtype=np.int64)
    marks[:, :, -1] = 1
    beats = (frames & ((1 << width) - 1)) | (marks << width)
    earliest = np.repeat(np.arange(steps) * pace, model.inputs)
    expected = {"o_logits": steps * model.outputs, "o_decision": steps}
    found = simulator.stream("i", beats.reshape(runs, -1), expected, earliest=earliest)
    fmt = vectors(model)[output_name(model)].format
    logits = Golden(model).run(frames)["logits"].reshape(runs, -1)
    for run in range(runs):
        payload = np.array([beat.payload for beat in found["o_logits"][run]])
        np.testing.assert_array_equal(payload & ((1 << fmt.width) - 1), logits[run] & ((1 << fmt.width) - 1))
        cycles = [beat.cycle for beat in found["o_decision"][run]]
        assert len(cycles) == steps
        if pace:
            assert (np.diff(cycles) == pace).all()
    assert simulator.activity(1e-6).coverage(netlist) == 1


def test_missing_beats_are_reported(accelerator):
    plan, netlist = accelerator
    beats = np.zeros(plan.model.inputs - 1, dtype=np.int64)
    with pytest.raises(GateError, match=r"after 500 cycles o_decision gave 0 of 1 beats, 3 of 3 were accepted"):
        GateSimulator(netlist).stream("i", beats, {"o_decision": 1}, limit=500)


def test_wrong_ports_and_runs_are_refused(accelerator):
    _, netlist = accelerator
    with pytest.raises(GateError, match="runs must be in 1 to 64, not 65"):
        GateSimulator(netlist, runs=65)
    with pytest.raises(GateError, match="no input port 'ck' of one bit"):
        GateSimulator(netlist, clock="ck")
    simulator = GateSimulator(netlist)
    with pytest.raises(GateError, match="no data input 'nothing'"):
        simulator.run({"nothing": np.zeros(1, dtype=np.int64)}, 1)
    with pytest.raises(GateError, match="no input port 'x__payload'"):
        simulator.stream("x", np.zeros(1, dtype=np.int64), {})
    with pytest.raises(GateError, match="no cycle was run"):
        simulator.activity(1e-6)


def test_the_vendors_cell_models_agree(pdk, bench_folder):
    """Every output and every change of every net, in Icarus with IHP's own Verilog of the cells."""
    ihp = pdk("ihp-sg13g2")
    netlist = mapped(COUNTER, "counter", read_liberty(ihp.cells))
    rng = np.random.default_rng(6)
    cycles = 60
    inputs = {
        "rst": np.zeros(cycles, dtype=np.int64),
        "en": rng.integers(0, 2, cycles),
        "step": rng.integers(0, 16, cycles),
    }
    inputs["rst"][:3] = inputs["en"][:4] = 1
    simulator = GateSimulator(netlist)
    simulator.run({name: values[:10] for name, values in inputs.items()}, 10)
    simulator.start_counting()
    simulator.run({name: values[10:] for name, values in inputs.items()}, cycles - 10)
    activity = simulator.activity(1e-8)
    data = ihp.models.read_bytes()
    text = (gzip.decompress(data) if ihp.models.suffix == ".gz" else data).decode()
    # Icarus knows no delayed signals of timing checks: without the checks, the plain ones take their place.
    text = re.sub(r"\bspecify\b.*?\bendspecify\b", "", text, flags=re.DOTALL)
    text = re.sub(r"(?m)^\s*wire delayed_[^;]*;", "", text).replace("delayed_", "")
    text = re.sub(r"(?m)^\s*(ihp_dff_r|ihp_latch) \(", r"\1 state (", text)
    (bench_folder / "cells.v").write_text(text + STATES)
    (bench_folder / "netlist.v").write_text(netlist.to_verilog())
    ports = [(name, bit) for name in ("rst", "en", "step") for bit in range(len(netlist.inputs[name]))]
    vectors_text = "\n".join(
        "".join(str(int(inputs[name][cycle]) >> bit & 1) for name, bit in ports) for cycle in range(cycles)
    )
    (bench_folder / "vectors.txt").write_text(vectors_text)
    nets = range(2, netlist.nets)
    lines = ["`timescale 1ns/1ps", "module bench;", "  reg clk = 0, counting = 0;", "  integer k, total;"]
    lines += [f"  reg {name}_{bit} = 0;" for name, bit in ports]
    lines.append(f"  reg [{len(ports) - 1}:0] vectors [0:{cycles - 1}];")
    outs = [f"{name}_{bit}" for name, nets_of in netlist.outputs.items() for bit in range(len(nets_of))]
    pins = ", ".join(["clk_0"] + [f"{name}_{bit}" for name, bit in ports])
    connections = ", ".join(f".{pin}({'clk' if pin == 'clk_0' else pin})" for pin in pins.split(", "))
    lines.append(f"  counter dut ({connections}{''.join(f', .{pin}()' for pin in outs)});")
    for net in nets:
        lines.append(f"  integer c{net} = 0; always @(dut.n{net}) if (counting) c{net} = c{net} + 1;")
    assign = "{" + ", ".join(f"{name}_{bit}" for name, bit in ports) + "}"
    lines += [
        "  initial begin",
        '    $readmemb("vectors.txt", vectors);',
        f"    for (k = 0; k < {cycles}; k = k + 1) begin",
        "      if (k == 10) counting = 1;",
        f"      clk = 1; #1 {assign} = vectors[k]; #4 clk = 0; #5;",
        "    end",
        *(f'    $display("{net} %0d", c{net});' for net in nets),
        "    $finish;",
        "  end",
        "endmodule",
    ]
    (bench_folder / "bench.v").write_text("\n".join(lines))
    tool = find_icarus()
    subprocess.run(
        [*tool.command, "-g2012", "-s", "bench", "-o", "bench.vvp", "bench.v", "netlist.v", "cells.v"],
        cwd=bench_folder, env=tool.env, check=True, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=bench_folder, check=True, capture_output=True, text=True)
    counted = {
        int(net): int(count) for net, count in (line.split() for line in done.stdout.splitlines() if line[:1].isdigit())
    }
    assert set(counted) == set(nets)
    different = {
        net: (count, activity.toggles[net] * (cycles - 10))
        for net, count in counted.items()
        if abs(count - activity.toggles[net] * (cycles - 10)) > 0.5
    }
    state = {one.nets[pin] for one in netlist.instances if one.cell.sequentials for pin in one.cell.outputs}
    clock_and_state = state | {netlist.inputs["clk"][0]}
    assert len(state) == 16
    assert not clock_and_state & different.keys(), different
    # An event-driven simulator may count zero-width glitches of gates whose inputs change in one instant.
    assert all(count >= ours - 0.5 for count, ours in different.values()), different


@pytest.fixture
def bench_folder(tmp_path):
    return tmp_path
