"""Designs, libraries and OpenSTA for the tests of this folder."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lmu_hw.config import AcceleratorConfig
from lmu_hw.emit import to_verilog
from lmu_hw.flows.liberty import Library, read_liberty, read_text
from lmu_hw.flows.pdk import find_pdk
from lmu_hw.flows.synth import synthesize
from lmu_hw.plan import make_plan
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.netlist import Netlist, read_netlist
from lmu_sim.random_models import random_model

PDK_ROOT = os.environ.get("PDK_ROOT") or Path(__file__).parents[2].parent / "shared" / "pdk"


def load_library(name: str) -> Library:
    return read_liberty(find_pdk(name, PDK_ROOT).cells)


def mapped(verilog: str, top: str, library: Library, **options) -> Netlist:
    done = synthesize(verilog, top, library, **options)
    return read_netlist(done.json, top, library)


MULTIPLIER = """
module multiplier(input clk, input signed [7:0] a, input signed [7:0] b, output reg signed [15:0] p);
  reg signed [7:0] ra, rb;
  always @(posedge clk) begin ra <= a; rb <= b; p <= ra * rb; end
endmodule
"""

MEMORY_UPDATE = """
module memory_update(input clk, input enable, input signed [7:0] u, output [47:0] m);
  reg run; reg signed [7:0] ru; reg signed [11:0] m0, m1, m2, m3;
  wire signed [23:0] s0 = 98 * m0 - 29 * m1 - 27 * m2 - 25 * m3 + 61 * ru;
  wire signed [23:0] s1 = 85 * m0 + 41 * m1 - 77 * m2 - 71 * m3 + 85 * ru;
  wire signed [23:0] s2 = -71 * m0 + 98 * m1 - 7 * m2 - 101 * m3 - 71 * ru;
  wire signed [23:0] s3 = 63 * m0 - 47 * m1 + 108 * m2 - 41 * m3 + 45 * ru;
  always @(posedge clk) begin
    run <= enable; ru <= u;
    if (run) begin m0 <= s0 >>> 7; m1 <= s1 >>> 7; m2 <= s2 >>> 7; m3 <= s3 >>> 7; end
  end
  assign m = {m3, m2, m1, m0};
endmodule
"""


def registered_accelerator() -> str:
    """Small accelerator, weights in ROM, flip-flops at its inputs: OpenSTA keeps activities only behind them."""
    rng = np.random.default_rng(3)
    model = random_model(
        rng, inputs=4, units=6, memories=[(4, 8.0), (4, 8.0)], activation="relu", u_activation="linear", stride=1
    )
    core = to_verilog(make_plan(model, AcceleratorConfig(lanes=4)), "core")
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);", core.partition("endmodule")[0], re.MULTILINE)
    heads, wires = [], []
    for direction, width, name in ports:
        heads.append(f"{direction} {width}{name}")
        if direction == "input" and name != "clk":
            wires.append(f"  reg {width}{name}_q; always @(posedge clk) {name}_q <= {name};")
    pins = ", ".join(
        f".{name}({name}_q)" if direction == "input" and name != "clk" else f".{name}({name})"
        for direction, _, name in ports
    )
    return (
        core + f"module registered({', '.join(heads)});\n" + "\n".join(wires) + f"\n  core core ({pins});\nendmodule\n"
    )


@pytest.fixture(scope="session")
def bench():
    """Designs, and functions that load libraries and map designs."""
    return SimpleNamespace(
        multiplier=MULTIPLIER,
        memory_update=MEMORY_UPDATE,
        registered_accelerator=registered_accelerator,
        load_library=load_library,
        mapped=mapped,
        pdk_root=PDK_ROOT,
    )


@pytest.fixture
def sta(tmp_path):
    """Function that runs OpenSTA 2.0.17 with an activity for every pin: internal, switching, leakage in watt."""
    program = shutil.which("sta")
    if program is None:
        pytest.fail("OpenSTA was not found: apt-get install opensta")

    def run(library: Library, netlist: Netlist, activity: Activity) -> np.ndarray:
        commands, unit = [], "1ns"
        for index, path in enumerate(library.files):
            # That version adds the library's default wires to every net; the comparison is without.
            text = re.sub(r"(?m)^\s*default_wire_load\w*\s*:.*$", "", read_text(path))
            text = re.sub(r"default_wire_load\w*", "comment", text)
            unit = re.search(r'time_unit\s*:\s*"(\w+)"', text)[1]
            (tmp_path / f"cells{index}.lib").write_text(text)
            commands.append(f"read_liberty cells{index}.lib")
        (tmp_path / "netlist.v").write_text(netlist.to_verilog())
        commands += [
            "read_verilog netlist.v",
            f"link_design {netlist.top}",
            f"create_clock -name clk -period {activity.period / {'1ns': 1e-9, '1ps': 1e-12}[unit]} [get_ports clk_0]",
            "set_propagated_clock [all_clocks]",
        ]
        clocks = clock_nets(netlist, "clk")
        for name, nets in netlist.inputs.items():
            for bit, net in enumerate(nets):
                if not clocks[net]:
                    values = f"-activity {activity.toggles[net]:.9g} -duty {activity.duty[net]:.9g}"
                    commands.append(f"set_power_activity -input_ports {name}_{bit} {values}")
        for index, instance in enumerate(netlist.instances):
            for pin, net in instance.nets.items():
                if not clocks[net]:
                    values = f"{activity.toggles[net]:.9g} {activity.duty[net]:.9g}"
                    commands.append(f"sta::set_power_pin_activity [get_pins i{index}/{pin}] {values}")
        commands.append("report_power -digits 8")
        (tmp_path / "run.tcl").write_text("\n".join(commands) + "\n")
        done = subprocess.run(
            [program, "-no_splash", "-exit", "run.tcl"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        (tmp_path / "sta.log").write_text(done.stdout + done.stderr)
        total = re.search(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s", done.stdout, re.MULTILINE)
        assert total, done.stdout[-2000:] + done.stderr[-2000:]
        return np.array([float(one) for one in total.groups()])

    return run
