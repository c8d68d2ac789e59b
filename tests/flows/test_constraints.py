"""The constraints are taken by OpenSTA, and constrain every port of a mapped design."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.pdk import find_pdk
from lmu_hw.flows.synth import synthesize

SDC = Path(__file__).parents[2] / "constraints" / "accelerator.sdc"

DESIGN = """
module stage(input clk, input rst, input i__valid, input [1:0] i__payload, output i__ready, output reg o__payload);
  reg full;
  assign i__ready = ~full;
  always @(posedge clk) full <= i__valid & ~rst;
  always @(posedge clk) o__payload <= i__payload[0] ^ i__payload[1];
endmodule
"""


@pytest.mark.parametrize("period", [None, 50.0])
def test_every_port_is_constrained(tmp_path: Path, period: float | None):
    if shutil.which("sta") is None:
        pytest.fail("OpenSTA was not found: apt-get install opensta")
    cells = find_pdk("osu018").cells
    netlist = synthesize(DESIGN, "stage", read_liberty(cells))
    script = tmp_path / "check.tcl"
    lines = [f"read_liberty {cell}" for cell in cells]
    lines += [f"read_verilog {netlist.verilog}", "link_design stage"]
    lines += [] if period is None else [f"set PERIOD {period}"]
    lines += [f"source {SDC}", "check_setup -verbose", "report_clock_properties", "report_checks", "exit"]
    script.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["sta", "-no_splash", str(script)], capture_output=True, text=True, timeout=300, check=False)
    text = done.stdout + done.stderr
    assert "Error" not in text, text
    assert "unconstrained" not in text.lower(), text
    assert "no input delay" not in text.lower(), text
    assert f"{period or 1000.0:.2f}" in text
    assert "slack (MET)" in text
