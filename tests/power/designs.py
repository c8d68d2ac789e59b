"""Designs and libraries for the tests of this folder."""

import os
import re
from pathlib import Path

import numpy as np

from lmu_hw.emit import to_verilog
from lmu_hw.flows.liberty import Library, read_liberty
from lmu_hw.flows.pdk import find_pdk
from lmu_hw.flows.synth import synthesize
from lmu_hw.plan import AcceleratorConfig, make_plan
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
    """Verilog of a small accelerator, ROM weights, with flip-flops at its inputs (OpenSTA keeps activities only behind them)."""
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
    return core + f"module registered({', '.join(heads)});\n" + "\n".join(wires) + f"\n  core core ({pins});\nendmodule\n"
