from lmu_hw.flows.readmem import split_memories

MEMORY = """\
module memory;
  reg [31:0] cells [2:0];
  initial begin
    cells[0] = 32'd17;
    cells[1] = 32'h0000000a;
    cells[2] = 32'hxxxxxxxx;
  end
endmodule
"""


def test_words_go_to_a_file():
    verilog, files = split_memories(MEMORY + MEMORY.replace("32'd17", "32'd0"))
    assert files == {"memory0.hex": "11\n0000000a\nxxxxxxxx\n", "memory1.hex": "0\n0000000a\nxxxxxxxx\n"}
    assert verilog.count('initial $readmemh("memory0.hex", cells );') == 1
    assert verilog.count("initial begin") == 0


def test_other_blocks_stay():
    for text in (MEMORY.replace("cells[1]", "cells[3]"), MEMORY.replace("32'd17", "word"), "module a; endmodule\n"):
        assert split_memories(text) == (text, {})
