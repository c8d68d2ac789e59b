
import pytest

from lmu_hw.flows import elaborate, mapping, synth
from lmu_hw.flows.synth import synthesize

LEAVES = """
module adder(input [3:0] a, input [3:0] b, output [4:0] y);
  wire [4:0] sum = a + b; assign y = sum;
endmodule
module {prefix}mixer(input clk, input [3:0] a, output reg [3:0] y);
  always @(posedge clk) case (a) 4'd0: y <= {value}; 4'd3: y <= 9; default: y <= y ^ a; endcase
endmodule
"""

TOP = """
module {prefix}top(input clk, input [3:0] a, input [3:0] b, output [4:0] y);
  wire [3:0] m; {prefix}mixer mix (clk, a, m); adder add (m, b, y);
endmodule
"""


def design(value: int, prefix: str = "") -> str:
    return (LEAVES + TOP).format(value=value, prefix=prefix)


@pytest.fixture
def mapped(monkeypatch, tmp_path):
    """Names of the modules that were mapped, not taken from an empty cache."""
    found: list[str] = []
    run = mapping._map_batch

    def spy(batch, modules, recipe):
        found.extend(batch)
        return run(batch, modules, recipe)

    monkeypatch.setattr(mapping, "_map_batch", spy)
    for module in (mapping, synth):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return found


def test_only_changed_modules_are_mapped_again(standard_cells, mapped):
    first = synthesize(design(5), "top", standard_cells, delay=21e-9)
    assert sorted(mapped) == ["adder", "mixer", "top"]
    mapped.clear()
    second = synthesize(design(6), "top", standard_cells, delay=21e-9)
    assert mapped == ["mixer"]
    assert second.key != first.key
    mapped.clear()
    # Another name of the top and of a module in it is no change.
    third = synthesize(design(6, "my_"), "my_top", standard_cells, delay=21e-9)
    assert mapped == []
    assert third.cells == second.cells


def test_progress_is_told_by_stage(standard_cells, mapped):
    told = []
    synthesize(design(7), "top", standard_cells, delay=22e-9, progress=lambda *step: told.append(step))
    assert told[0] == ("elaboration", 0, 1)
    assert [step for step in told if step[0] == "mapping"][-1] == ("mapping", 3, 3)
    assert told[-1] == ("assembly", 1, 1)


def test_modules_do_not_depend_on_the_rest_of_the_design():
    whole = elaborate.elaborate(design(5), "top")
    alone = elaborate.elaborate(LEAVES.format(value=5, prefix=""), "mixer")
    assert whole.keys() == {"top", "mixer", "adder"}
    assert alone == {"mixer": whole["mixer"]}


def test_batches_are_even():
    modules = elaborate.elaborate(design(5), "top")
    assert sorted(map(len, mapping._batches(modules, modules, 2))) == [1, 2]
    assert mapping._batches([], modules, 2) == []
