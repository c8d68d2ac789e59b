// Feeds weights and frames to an accelerator of any kind, and compares what comes out. `include "bench.vh" gives the
// widths, the counts and the instance.
`timescale 1ns / 1ps
module bench;
  `include "bench.vh"
  reg clk = 0, rst = 1;
  reg [INPUT_WIDTH-1:0] inputs[0:INPUTS-1];
  reg [LOGIT_WIDTH-1:0] logits[0:LOGITS-1];
  reg [DECISION_WIDTH-1:0] decisions[0:DECISIONS-1];
  reg [LOAD_WIDTH-1:0] loads[0:LOADS];
  integer n_loads = 0, n_inputs = 0, n_logits = 0, n_decisions = 0, wrong = 0, cycles = 0;
  wire i_ready, load_ready, logit_valid, decision_valid, frame_error;
  wire [LOGIT_WIDTH-1:0] logit;
  wire [DECISION_WIDTH-1:0] decision;
  wire load_valid = !rst && n_loads < LOADS;
  wire i_valid = !rst && n_loads == LOADS && n_inputs < INPUTS;
  wire [LOAD_WIDTH-1:0] load = loads[n_loads];
  wire [INPUT_WIDTH-1:0] i = inputs[n_inputs < INPUTS ? n_inputs : 0];
  `INSTANCE
  always #500 clk = !clk;
  initial begin
    $readmemh("inputs.hex", inputs);
    $readmemh("logits.hex", logits);
    $readmemh("decisions.hex", decisions);
    $readmemh("loads.hex", loads);
    repeat (4) @(negedge clk);
    rst = 0;
  end
  always @(negedge clk) begin
    cycles <= cycles + 1;
    if (load_valid && load_ready === 1) n_loads <= n_loads + 1;
    if (i_valid && i_ready === 1) n_inputs <= n_inputs + 1;
    if (!rst && frame_error !== 0) wrong = wrong + 1;
    if (!rst && logit_valid !== 0) begin
      if (logit !== logits[n_logits]) wrong = wrong + 1;
      n_logits = n_logits + 1;
    end
    if (!rst && decision_valid !== 0) begin
      if (decision !== decisions[n_decisions]) wrong = wrong + 1;
      n_decisions = n_decisions + 1;
    end
    if ((n_logits == LOGITS && n_decisions == DECISIONS) || cycles == 200000) begin
      $display("%0d logits, %0d decisions, %0d wrong", n_logits, n_decisions, wrong);
      $finish;
    end
  end
endmodule
