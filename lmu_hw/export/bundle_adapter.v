// Head of the adapter between the test bench and a wrapper. Its ports are those of the core. adapter.vh holds the widths
// and counts of this accelerator. tb.v must be read first: it defines TB_CLEAR, TB_END and TB_LOAD.
/* verilator lint_off WIDTHEXPAND */  // values are shorter than registers, and Verilog's extension is meant
`timescale 1ns / 1ns

module adapter (
  clk, rst,
`ifdef TB_CLEAR
  clear,
`endif
`ifdef TB_LOAD
  i_load__valid, i_load__payload, i_load__ready,
`endif
  i__valid, i__payload, i__ready, o_logits__valid, o_logits__payload, o_logits__ready,
  o_decision__valid, o_decision__payload, o_decision__ready, frame_error
);
`include "adapter.vh"
  input clk, rst, i__valid, o_logits__ready, o_decision__ready;
  input [INPUT_WIDTH+INPUT_FLAGS-1:0] i__payload;
  output i__ready, o_logits__valid, o_decision__valid, frame_error;
  output [SCORE_WIDTH:0] o_logits__payload;
  output [SCORE_WIDTH+LABEL_WIDTH-1:0] o_decision__payload;
`ifdef TB_CLEAR
  input clear;
`endif
`ifdef TB_LOAD
  input i_load__valid;
  input [MEMORY_WIDTH+ADDRESS_WIDTH+DATA_WIDTH-1:0] i_load__payload;
  output reg i_load__ready = 0;
`endif
