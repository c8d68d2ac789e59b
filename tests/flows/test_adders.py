"""Sums of full adders against integers, through Yosys and the gate-level simulator."""

import json

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.cells.special import FullAdder, find_full_adder
from lmu_hw.flows.adders import adder_commands, adder_files, longest_ripple
from lmu_hw.flows.mapping import Recipe, map_modules
from lmu_hw.flows.synth import synthesize
from lmu_hw.progress import silent
from lmu_sim.gates import GateSimulator

WIDTHS = (1, 2, 3, 4)
RUNS = 64


@pytest.mark.parametrize(
    ("name", "adder"),
    [
        ("sky130A", FullAdder("sky130_fd_sc_hd__fa_1", ("A", "B", "CIN"), "SUM", "COUT")),
        ("nangate45", FullAdder("FA_X1", ("A", "B", "CI"), "S", "CO")),
        ("osu018", FullAdder("FAX1", ("A", "B", "C"), "YS", "YC")),
        ("asap7", None),  # its outputs are inverted
        ("ihp-sg13g2", None),
    ],
)
def test_full_adders_are_found_by_their_functions(pdk, name, adder):
    library = read_liberty(pdk(name).cells)
    assert find_full_adder(library) == adder
    assert (longest_ripple(library, None) > 0) == (adder is not None)
    assert bool(adder_files(library, None)) == (adder is not None)


def alu_module():
    """Operators of the widths 1 to 4 in Yosys' JSON, each with ports of its own: they share nothing."""
    ports, cells, free = {"clk": {"direction": "input", "bits": [2]}}, {}, 3
    for width in WIDTHS:
        wires = {}
        for name in ("A", "B", "CI", "BI", "Y", "X", "CO"):
            wires[name] = list(range(free, free + (1 if name in ("CI", "BI") else width)))
            free += len(wires[name])
        directions = {name: "output" if name in ("Y", "X", "CO") else "input" for name in wires}
        ports |= {f"{name}{width}": {"direction": directions[name], "bits": bits} for name, bits in wires.items()}
        parameters = {f"{name}_WIDTH": f"{width:032b}" for name in "ABY"} | {
            f"{name}_SIGNED": f"{0:032b}" for name in "AB"
        }
        cells[f"alu{width}"] = {
            "hide_name": 0, "type": "$alu", "parameters": parameters, "attributes": {},
            "port_directions": directions, "connections": wires,
        }  # fmt: skip
    return {"attributes": {}, "ports": ports, "cells": cells, "netnames": {}}


@pytest.mark.parametrize("name", ["sky130A", "osu018"])
def test_operators_of_small_widths_add_and_subtract_everything(pdk, name, tmp_path, monkeypatch):
    library = read_liberty(pdk(name).cells)
    monkeypatch.setattr("lmu_hw.flows.mapping.cache_folder", lambda: tmp_path)
    mapped = map_modules({"top": alu_module()}, Recipe(library, True, 20e-9), silent)
    (tmp_path / "top.json").write_text(json.dumps({"modules": mapped}))
    netlist = read_netlist(tmp_path / "top.json", "top", library)
    adder = find_full_adder(library).cell
    assert sum(instance.cell.name == adder for instance in netlist.instances) == sum(WIDTHS)
    a, b, ci, bi = (part.ravel() for part in np.meshgrid(*map(np.arange, (16, 16, 2, 2))))
    inputs = {f"{name}{width}": values & (1 << width) - 1 for width in WIDTHS for name, values in (("A", a), ("B", b))}
    inputs |= {f"{name}{width}": values for width in WIDTHS for name, values in (("CI", ci), ("BI", bi))}
    outputs = {port: values.ravel() for port, values in GateSimulator(netlist).run(inputs, len(a)).items()}
    for width in WIDTHS:
        mask = (1 << width) - 1
        augend, addend = a & mask, (b ^ -bi) & mask
        lows = [(2 << bit) - 1 for bit in range(width)]
        carries = sum((((augend & low) + (addend & low) + ci) > low) << bit for bit, low in enumerate(lows))
        np.testing.assert_array_equal(outputs[f"Y{width}"], (augend + addend + ci) & mask)
        np.testing.assert_array_equal(outputs[f"X{width}"], augend ^ addend)
        np.testing.assert_array_equal(outputs[f"CO{width}"], carries)


OPERATORS = """
module top(
  input clk, input signed [3:0] a, input signed [3:0] b, input c, output [4:0] sum, output [3:0] next, output less,
  output most, output [7:0] product, output [3:0] both
);
  assign sum = $unsigned(a) + $unsigned(b) + c;
  assign next = a + 1;
  assign less = a < b;
  assign most = $unsigned(a) >= $unsigned(b);
  assign product = a * b;
  assign both = c ? a - b : a + b;
endmodule
"""


def test_sums_comparisons_and_products_equal_integers(pdk):
    library = read_liberty(pdk("sky130A").cells)
    netlist = read_netlist(synthesize(OPERATORS, "top", library).json, "top", library)
    a, b, c = (part.reshape(-1, RUNS) for part in np.meshgrid(*map(np.arange, (16, 16, 2)), indexing="ij"))
    outputs = GateSimulator(netlist, runs=RUNS).run({"a": a, "b": b, "c": c}, len(a))
    signed_a, signed_b = a - (a & 8) * 2, b - (b & 8) * 2
    expected = {
        "sum": a + b + c, "next": a + 1 & 15, "less": signed_a < signed_b, "most": a >= b,
        "product": signed_a * signed_b & 255, "both": np.where(c, a - b, a + b) & 15,
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values, err_msg=name)


EXPRESSIONS = {"a + b": 6, "a + 8'd1": 0, "a - 8'd77": 0, "{7'd0, a < b}": 0, "{7'd0, $signed(a) < $signed(b)}": 1}
"""Full adders of an expression. In a sum, the lowest bit has no carry in and the highest no carry out; a signed
comparison needs one sum, the sign."""


def test_only_bits_with_a_sum_and_a_carry_become_full_adders(pdk):
    library = read_liberty(pdk("sky130A").cells)
    text, wires = "", ", ".join(f"output [7:0] y{index}" for index in range(len(EXPRESSIONS)))
    top = f"module top(input [7:0] a, input [7:0] b, {wires});\n"
    for index, expression in enumerate(EXPRESSIONS):
        ports = "input [7:0] a, input [7:0] b, output [7:0] y"
        text += f"module part{index}({ports}); assign y = {expression}; endmodule\n"
        top += f"part{index} p{index}(a, b, y{index});\n"
    netlist = read_netlist(synthesize(f"{text}{top}endmodule", "top", library).json, "top", library)
    adders = [instance.block for instance in netlist.instances if instance.cell.name == "sky130_fd_sc_hd__fa_1"]
    assert [adders.count(f"p{index}") for index in range(len(EXPRESSIONS))] == list(EXPRESSIONS.values())


def test_carries_ripple_only_where_they_fit(pdk):
    library = read_liberty(pdk("sky130A").cells)
    bits = longest_ripple(library, 20e-9)
    assert 32 < bits < 64  # 0.3 ns a bit, three quarters of the delay
    assert longest_ripple(library, 10e-9) == pytest.approx(bits / 2, abs=1)
    assert adder_files(library, 0.1e-9) == {}
    assert adder_commands(library, 0.1e-9) == ["synth -run fine:check -noabc"]
    text = "module top(input [15:0] a, input [15:0] b, output [15:0] y); assign y = a + b; endmodule"
    assert synthesize(text, "top", library, delay=20e-9).cells["sky130_fd_sc_hd__fa_1"] >= 14
    assert "sky130_fd_sc_hd__fa_1" not in synthesize(text, "top", library, delay=0.1e-9).cells
