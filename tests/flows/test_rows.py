import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.flows import rows, synth
from lmu_hw.flows.elaborate import elaborate
from lmu_hw.flows.mapping import blackboxes
from lmu_hw.flows.memories import choose_memories, replace_memories
from lmu_hw.flows.synth import synthesize
from lmu_hw.power.engine import find_power
from lmu_kit.power import conditions_of
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gates import GateSimulator

DEPTH, WIDTH = 419, 40


@pytest.fixture(scope="module")
def library(pdk):
    return read_liberty(pdk("ihp-sg13g2").cells)


@pytest.fixture(scope="module")
def words() -> list[int]:
    return np.random.default_rng(5).integers(0, 1 << WIDTH, DEPTH).tolist()


def design(words: list[int]) -> str:
    lines = "".join(f"    cells[{index}] = {WIDTH}'h{word:x};\n" for index, word in enumerate(words))
    return f"""module rom(input clk, input en, input [8:0] a, output reg [{WIDTH - 1}:0] q);
  reg [{WIDTH - 1}:0] cells [{len(words) - 1}:0];
  initial begin
{lines}  end
  always @(posedge clk) if (en) q <= cells[a];
endmodule
module top(input clk, input en, input [8:0] a, output [{WIDTH - 1}:0] q);
  rom weights (clk, en, a, q);
endmodule
"""


def test_words_read_are_those_of_the_memory(standard_cells, words):
    library = standard_cells
    done = synthesize(design(words), "top", library)
    assert [(one.name, one.depth, one.width, one.describe()) for one in done.memories] == [
        ("weights", DEPTH, WIDTH, "logic")
    ]
    netlist = read_netlist(done.json, "top", library)
    assert {one.block for one in netlist.instances if not one.cell.sequentials} >= {
        f"weights.cells.part{place}" for place in range(rows.ROW_WORDS)
    }
    order = np.random.default_rng(6).permutation(DEPTH)
    enable = np.arange(DEPTH) % 7 != 3
    simulator = GateSimulator(netlist)
    found = simulator.run({"en": enable.astype(np.int64), "a": order}, DEPTH)["q"].reshape(-1)
    held = np.maximum.accumulate(np.where(enable, np.arange(DEPTH), 0))
    # Taken at the end of a cycle: the word that the edge before it asked for.
    expected = np.array(words)[order[held]]
    np.testing.assert_array_equal(found[1:], expected[:-1])


@pytest.mark.parametrize(
    ("count", "read", "parts"),
    [(DEPTH, "if (en) q <= cells[a]", 4), (100, "if (en) q <= cells[a]", 0), (DEPTH, "q <= cells[a] + en", 0)],
)
def test_large_memories_that_are_read_at_an_edge_are_cut(standard_cells, words, count, read, parts):
    modules = elaborate(design(words[:count]).replace("if (en) q <= cells[a]", read), "top")
    choices = choose_memories(modules, standard_cells, MemoryUsage())
    changed = replace_memories(modules, choices, blackboxes(standard_cells))
    assert sum("_word" in name for name in changed) == parts
    assert len(changed) == len(modules) + parts + bool(parts)


def weight_memory() -> str:
    """Module of the large weight memory of the reference accelerator with constants."""
    text = (Path(__file__).parents[2] / "rtl" / "lmu_kws361_16_rom.v").read_text()
    found = re.search(r"^module \\lmu_kws361_16_rom\.memory_weights4 .*?^endmodule\n", text, re.MULTILINE | re.DOTALL)
    return found[0].replace("\\lmu_kws361_16_rom.memory_weights4 ", "weights ")


@pytest.mark.slow
def test_rows_save_energy_and_cost_area(library, monkeypatch):
    """Prints what docs/energy.md quotes."""
    reads, period = 4912, 1e-6
    found = {}
    for words in (1, 4, 8):
        monkeypatch.setattr(rows, "ROW_WORDS", words)
        monkeypatch.setattr(synth, "VERSION", f"test with {words} words")
        done = synthesize(weight_memory(), "weights", library)
        netlist = replace(read_netlist(done.json, "weights", library), outputs={})
        simulator, conditions = GateSimulator(netlist), conditions_of(netlist)
        simulator.use_delays(find_gate_delays(netlist, simulator.compiled, conditions))
        simulator.run({"read__en": np.ones(reads, dtype=np.int64), "read__addr": np.arange(reads)}, reads)
        activity = simulator.activity(period)
        internal, switching, leakage = find_power(
            netlist, activity, conditions, period=period, memories=done.memories
        ).watts()
        found[words] = (internal + switching) * period * 1e12, leakage * 1e6, done.area
        print("{} words: {:.1f} pJ a read, {:.2f} uW leakage, {:.0f} um2".format(words, *found[words]))
    assert found[8][0] < found[4][0] < 0.5 * found[1][0]
    assert found[1][2] < found[4][2] < 1.3 * found[1][2]
    assert found[1][1] < found[4][1] < 1.3 * found[1][1]
