import itertools
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import Cost, MemoryUsage, flip_flop_cost, macro_cost
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.cells.sram import find_macro
from lmu_hw.flows.elaborate import elaborate, find_memories
from lmu_hw.flows.synth import synthesize
from lmu_hw.flows.tiling import NEAR, choose, tile
from lmu_hw.flows.wrapper import memory_verilog
from lmu_hw.power.engine import find_power
from lmu_hw.power.guards import PowerRefused, check_memories
from lmu_sim.gates import GateSimulator


@pytest.fixture(scope="module")
def library(pdk):
    ihp = pdk("ihp-sg13g2")
    return read_liberty([*ihp.cells, *ihp.macros])


@pytest.fixture(scope="module")
def bare(pdk):
    return read_liberty(pdk("ihp-sg13g2").cells)


def test_energies_are_those_of_the_liberty_file(library):
    cell = library.cells["RM_IHPSG13_1P_1024x64_c2_bm_bist"]
    cost = macro_cost(cell, find_macro(cell))
    volts = 1.2**2
    clock = 3.80014e-15 * volts
    assert cost.idle == pytest.approx(clock)
    # The clock's edge, and half of ten address bits that change.
    assert cost.read == pytest.approx(91.8272e-12 + clock + 10 * (0.0107 + 0.0055) / 4 * 1e-12 + 54.1e-15, rel=1e-3)
    assert 110.9e-12 < cost.write < 110.9e-12 + 64 * 0.2e-12
    assert 0 < cost.aside < 0.1e-12
    assert cost.leakage == pytest.approx(792.062e-9)
    assert cost.area == pytest.approx(263946.1408)


@pytest.mark.parametrize(("depth", "width"), [(384, 12), (418, 17), (9824, 32), (4912, 64), (27, 80), (20000, 9)])
def test_a_tiling_holds_every_word(library, depth, width):
    tiling = tile(library, depth, width, MemoryUsage())
    assert sum(bank.words for bank in tiling.banks) == depth
    assert [bank.start for bank in tiling.banks] == list(
        itertools.accumulate((bank.words for bank in tiling.banks[:-1]), initial=0)
    )
    for bank in tiling.banks:
        assert {macro.depth for macro in bank.macros} == {bank.macros[0].depth}
        assert bank.start % bank.macros[0].depth == 0
        assert sum(macro.width for macro in bank.macros) >= width
    assert sum(tiling.counts.values()) == sum(len(bank.macros) for bank in tiling.banks)
    macros = sum(library.cells[name].area * count for name, count in tiling.counts.items())
    assert macros <= tiling.cost.area < 1.2 * macros


def test_no_single_kind_of_macro_takes_less_power(library):
    for depth, width, usage in [
        (384, 12, MemoryUsage(271e3)),
        (3000, 40, MemoryUsage(1e6, 0.5, 0.2)),
        (100, 30, MemoryUsage(1e3)),
    ]:
        best = tile(library, depth, width, usage).cost.power(usage)
        for cell in library.cells.values():
            macro = find_macro(cell)
            if macro is None:
                continue
            banks, slices = -(-depth // macro.depth), -(-width // macro.width)
            if banks > 8:
                continue
            one = macro_cost(cell, macro)
            total = Cost()
            for bank in range(banks):
                part = min(macro.depth, depth - bank * macro.depth) / depth
                for _ in range(slices):
                    total += one.accessed(part)
            assert best <= total.power(usage) * NEAR * 1.05  # multiplexers


def test_power_weighs_accesses_and_leakage():
    cost = Cost(read=10e-12, write=20e-12, idle=1e-12, leakage=5e-6, area=1)
    assert cost.power(MemoryUsage(1e6)) == pytest.approx(10e-6 + 5e-6)
    assert cost.power(MemoryUsage(1e6, accesses=0.5, writes=0.25)) == pytest.approx((0.5 * 12.5 + 0.5) * 1e-6 + 5e-6)
    apart = replace(cost, aside=2e-12)
    assert apart.power(MemoryUsage(1e6, 0.5, 0.25, moves=0.3)) == pytest.approx(
        (0.5 * 12.5 + 0.3 * 2 + 0.2) * 1e-6 + 5e-6
    )
    away = apart.accessed(0.25)
    assert (away.read, away.write, away.idle) == pytest.approx((4e-12, 6.5e-12, 1e-12))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clock": 0}, "clock must be a positive frequency in hertz, not 0"),
        ({"accesses": 1.5}, r"accesses must be in 0 to 1, not 1\.5"),
        ({"writes": -1}, "writes must be in 0 to 1, not -1"),
        ({"moves": 2}, "moves must be in 0 to 1, not 2"),
        ({"accesses": 0.75, "moves": 0.5}, r"accesses and moves must be at most 1 together, not 0\.75 and 0\.5"),
    ],
)
def test_impossible_uses_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MemoryUsage(**values)


def test_small_memories_stay_flip_flops(library, bare):
    assert choose(library, 16, 8, MemoryUsage())[0] is None
    assert choose(library, 384, 12, MemoryUsage())[0] is not None
    # Writing seldom and reading never, leakage decides, and macros leak less.
    assert choose(library, 112, 7, MemoryUsage(1.0, 0.0))[0] is not None
    tiling, cost = choose(bare, 384, 12, MemoryUsage())
    assert tiling is None
    assert cost == flip_flop_cost(bare, 384, 12)


# The Verilog of a tiling, with macros that do as IHP's Verilog models say.

MACRO = """
module {name} (input A_CLK, A_MEN, A_WEN, A_REN, A_DLY, input [{a}:0] A_ADDR, input [{d}:0] A_DIN, {mask}
  output reg [{d}:0] A_DOUT);
  reg [{d}:0] cells [{last}:0];
  wire [{d}:0] bits = {bits};
  always @(posedge A_CLK) if (A_MEN) begin
    if (A_DLY !== 1'b1) begin $display("A_DLY is low"); $finish; end
    if (A_WEN) cells[A_ADDR] <= (cells[A_ADDR] & ~bits) | (A_DIN & bits);
    if (A_REN) A_DOUT <= A_WEN ? (cells[A_ADDR] & ~bits) | (A_DIN & bits) : cells[A_ADDR];
  end
endmodule
"""

SELF_TEST = """input [{d}:0] A_BM, input A_BIST_CLK, A_BIST_EN, A_BIST_MEN, A_BIST_WEN, A_BIST_REN,
  input [{a}:0] A_BIST_ADDR, input [{d}:0] A_BIST_DIN, A_BIST_BM,"""

BENCH = """
module bench;
  reg clk = 0, read = 0, write = 0;
  reg [{a}:0] address = 0;
  reg [{d}:0] w_data = 0, expected = 0;
  wire [{d}:0] r_data;
  reg [{d}:0] words [{last}:0];
  integer k, seed = 7, kind, differ = 0, reads = 0;
  memory memory (clk, read, write, address, w_data, r_data);
  initial begin
    for (k = 0; k < {depth} + 4000; k = k + 1) begin
      kind = k < {depth} ? 0 : $unsigned($random(seed)) % 3;
      address = k < {depth} ? k : $unsigned($random(seed)) % {depth};
      w_data = {{$random(seed), $random(seed), $random(seed)}};
      write = kind == 0; read = kind == 1;
      #1 clk = 1;
      if (write) words[address] = w_data;
      if (read) begin expected = words[address]; reads = reads + 1; end
      #1 if (reads > 0 && r_data !== expected) differ = differ + 1;
      clk = 0;
    end
    $display("differ %0d of %0d reads", differ, reads);
    $finish;
  end
endmodule
"""


def behaviour(macro) -> str:
    sizes = {"a": len(macro.address) - 1, "d": macro.width - 1}
    mask = SELF_TEST.format(**sizes) if macro.mask else ""
    return MACRO.format(name=macro.cell, mask=mask, bits="A_BM" if mask else "~0", last=macro.depth - 1, **sizes)


@pytest.mark.parametrize(("depth", "width", "banks"), [(384, 12, 2), (40, 8, 1), (700, 17, 3), (2500, 72, 7)])
def test_wrappers_behave_as_the_memory(library, tmp_path, depth, width, banks):
    tiling = tile(library, depth, width, MemoryUsage())
    assert len(tiling.banks) == banks
    macros = {macro.cell: macro for bank in tiling.banks for macro in bank.macros}
    text = memory_verilog("memory", tiling) + "".join(map(behaviour, macros.values()))
    sizes = {"a": max(1, (depth - 1).bit_length()) - 1, "d": width - 1, "last": depth - 1, "depth": depth}

    def run(verilog: str) -> str:
        (tmp_path / "bench.v").write_text(verilog + BENCH.format(**sizes))
        subprocess.run(["iverilog", "-g2012", "-o", "bench", "bench.v"], cwd=tmp_path, check=True, timeout=60)
        done = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True)
        return done.stdout

    found = re.search(r"differ (\d+) of (\d+) reads", run(text))
    assert int(found[1]) == 0
    assert int(found[2]) > 1000
    if banks > 1:  # a fault in the bank that is read must be seen
        broken = text.replace("if (read) held <=", "held <=")
        assert broken != text
        assert int(re.search(r"differ (\d+)", run(broken))[1]) > 100


DESIGN = """
module store(input clk, input en, input we, input [8:0] address, input [11:0] d, output reg [11:0] q);
  reg [11:0] cells [383:0];
  always @(posedge clk) begin if (we) cells[address] <= d; if (en) q <= cells[address]; end
endmodule
module two(input clk, input en, input we, input [8:0] address, input [11:0] d, output [11:0] q, output [11:0] r,
           input [8:0] other, output [7:0] s);
  store left (clk, en, we & ~en, address, d, q);
  store right (clk, en, we & ~en, ~address, d, r);
  small tiny (clk, en, we, address[3:0], d[7:0], s);
endmodule
module small(input clk, input en, input we, input [3:0] address, input [7:0] d, output reg [7:0] q);
  reg [7:0] cells [15:0];
  always @(posedge clk) if (we) cells[address] <= d; else if (en) q <= cells[address];
endmodule
"""


def test_memories_of_a_design_become_what_is_cheapest(library, bare):
    done = synthesize(DESIGN, "two", library)
    assert {one.name: one.describe() for one in done.memories} == {
        "left": "macros: 2 x RM_IHPSG13_1P_256x16_c2_bm_bist",
        "right": "macros: 2 x RM_IHPSG13_1P_256x16_c2_bm_bist",
        "tiny": "flip-flops (less power than macros)",
    }
    assert done.cells["RM_IHPSG13_1P_256x16_c2_bm_bist"] == 4
    check_memories(done.memories)
    left = next(one for one in done.memories if one.name == "left")
    assert 14e-12 < left.cost.read < 15e-12
    netlist = read_netlist(done.json, "two", library)
    assert {one.block for one in netlist.instances if one.cell.memory} == {"left.cells", "right.cells"}
    silent = synthesize(DESIGN, "small", bare)
    assert not any(one.chosen for one in silent.memories)
    with pytest.raises(PowerRefused, match=r"cells \(16 x 8 bits\)"):
        check_memories(silent.memories)


def test_uses_go_by_the_name_of_the_module(library):
    done = synthesize(DESIGN, "two", library, usage={"small": MemoryUsage(1.0, 0.0)})
    assert [one.describe() for one in done.memories if one.name == "tiny"] == [
        "macros: 1 x RM_IHPSG13_1P_256x8_c3_bm_bist"
    ]


def test_memories_with_more_ports_are_not_taken_for_single_ports(library):
    two_addresses = DESIGN.replace("else if (en) q <= cells[address]", "else if (en) q <= cells[~address]")
    assert two_addresses != DESIGN
    found = {one.module: one.single_port for one in find_memories(elaborate(two_addresses, "two"))}
    assert found == {"store": True, "small": False}
    done = synthesize(two_addresses, "small", library, usage=MemoryUsage(1.0, 0.0))
    (memory,) = done.memories
    assert (memory.built_of, memory.chosen, memory.cost) == ("flip-flops", False, None)
    with pytest.raises(PowerRefused, match="cells"):
        check_memories(done.memories)


def test_the_estimate_of_flip_flops_is_near_what_gates_take(bare):
    depth, period = 40, 1e-6
    larger = DESIGN.replace("input [3:0] address", "input [5:0] address").replace("cells [15:0]", "cells [39:0]")
    done = synthesize(larger, "small", bare)
    simulator = GateSimulator(read_netlist(done.json, "small", bare))
    still, order = np.zeros(4 * depth, dtype=np.int64), np.arange(4 * depth) % depth
    words = np.random.default_rng(1).integers(0, 256, 4 * depth)
    simulator.run({"en": still, "we": still + 1, "address": order, "d": words}, 4 * depth)

    def energy(read: int, moved: int) -> float:
        simulator.start_counting()
        simulator.run({"en": still + read, "we": still, "address": order * moved, "d": still}, 4 * depth)
        internal, switching, _ = find_power(
            simulator.netlist, simulator.activity(period), period=period, memories=done.memories, accepted=["*"]
        ).watts()
        return (internal + switching) * period

    estimate = flip_flop_cost(bare, depth, 8)
    output = 8 * bare.cells["sg13g2_dfrbpq_1"].area
    assert done.area - output == pytest.approx(estimate.area, rel=0.3)
    leakage = sum(count * (bare.cells[name].leakage or 0) for name, count in done.cells.items())
    assert leakage == pytest.approx(estimate.leakage, rel=0.3)
    assert energy(1, 1) == pytest.approx(estimate.read, rel=0.3)
    assert energy(0, 1) == pytest.approx(estimate.aside, rel=0.3)
    assert energy(0, 0) == pytest.approx(estimate.idle, rel=0.5)
