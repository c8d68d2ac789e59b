// Plain Verilog test bench: replays recorded frames and compares every value that the accelerator computes with the
// expected one. tb.vh holds what belongs to this accelerator. The first difference ends the run with $stop, a run
// without one with $finish. With the plusarg +stall all streams are stalled at random.
`timescale 1ns / 1ns

module tb;
`include "tb.vh"

  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  // ---- stimulus and expectation -----------------------------------------------------------------------------------
  reg [INPUT_WIDTH:0] inputs [0:INPUTS];  // clear, payload
  reg [ELEMENT_FRAME+FRAME_WIDTH-1:0] elements [0:ELEMENTS];  // frame, index in the vector, operation, element
  reg [LOGIT_WIDTH+FRAME_WIDTH-1:0] logits [0:LOGITS];  // frame, payload
  reg [DECISION_WIDTH+FRAME_WIDTH-1:0] decisions [0:DECISIONS];
  reg stalls;

  initial begin
    stalls = $test$plusargs("stall") != 0;
    $readmemh("inputs.hex", inputs, 0, INPUTS);
    $readmemh("elements.hex", elements, 0, ELEMENTS);
    $readmemh("logits.hex", logits, 0, LOGITS);
    $readmemh("decisions.hex", decisions, 0, DECISIONS);
  end

  // ---- the accelerator --------------------------------------------------------------------------------------------
  reg [31:0] noise = 32'h2545f491;
  reg i_valid = 0, i_clear = 0;
  reg [INPUT_WIDTH-1:0] i_payload = 0;
  wire i_ready, logits_valid, decision_valid, frame_error;
  wire [LOGIT_WIDTH-1:0] logits_payload;
  wire [DECISION_WIDTH-1:0] decision_payload;
  wire logits_ready = !stalls || noise[7:6] == 0;
  wire decision_ready = !stalls || noise[15:12] == 0;

`ifdef TB_LOAD
  reg [LOAD_WIDTH-1:0] weights [0:LOADS];
  reg [LOAD_WIDTH-1:0] load_payload = 0;
  reg load_valid = 0, loaded = 0;
  wire load_ready;
  integer load_next = 0;

  initial $readmemh("weights.hex", weights, 0, LOADS);

  always @(posedge clk)
    if (!rst && (!load_valid || load_ready)) begin
      load_valid <= load_next != LOADS && !(stalls && noise[20]);
      loaded <= load_next == LOADS;
      if (load_next != LOADS && !(stalls && noise[20])) begin
        load_payload <= weights[load_next];
        load_next <= load_next + 1;
      end
    end
  wire load_moves = load_valid && load_ready;
`else
  wire loaded = 1, load_moves = 0;
`endif

  `TB_DUT dut (
    .clk(clk),
    .rst(rst),
`ifdef TB_GATE
    .asleep(),
`endif
`ifdef TB_CLEAR
    .clear(i_valid && i_clear),
`endif
`ifdef TB_LOAD
    .i_load__valid(load_valid),
    .i_load__payload(load_payload),
    .i_load__ready(load_ready),
`endif
    .i__valid(i_valid),
    .i__payload(i_payload),
    .i__ready(i_ready),
    .o_logits__valid(logits_valid),
    .o_logits__payload(logits_payload),
    .o_logits__ready(logits_ready),
    .o_decision__valid(decision_valid),
    .o_decision__payload(decision_payload),
    .o_decision__ready(decision_ready),
    .frame_error(frame_error)
  );

  // ---- drive ------------------------------------------------------------------------------------------------------
  integer cycle = 0, i_next = 0;
  reg checked = 0;

  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle < 3;
    noise <= {noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]};
    if (!rst && loaded) checked <= 1;
    if (checked && (!i_valid || i_ready)) begin
      i_valid <= i_next != INPUTS && !(stalls && noise[3]);
      if (i_next != INPUTS && !(stalls && noise[3])) begin
        {i_clear, i_payload} <= inputs[i_next];
        i_next <= i_next + 1;
      end
    end
  end

  // ---- compare ----------------------------------------------------------------------------------------------------
  integer n_words = 0, n_elements = 0, n_logits = 0, n_decisions = 0, quiet = 0;
  wire element_valid = `TB_CORE.finish.write__valid;
  wire [OPERATION_WIDTH+ELEMENT_WIDTH-1:0] element = {`TB_CORE.finish.write__operation, `TB_CORE.finish.write__data};
  wire [ELEMENT_FRAME+FRAME_WIDTH-1:0] element_due = elements[n_elements];
  wire [LOGIT_WIDTH+FRAME_WIDTH-1:0] logit_due = logits[n_logits];
  wire [DECISION_WIDTH+FRAME_WIDTH-1:0] decision_due = decisions[n_decisions];
  wire logit_moves = logits_valid && logits_ready;
  wire decision_moves = decision_valid && decision_ready;

  // The element that is due, as the report of a mismatch names it.
  task show_element;
    begin
      show_vector(element_due[ELEMENT_WIDTH+:OPERATION_WIDTH]);
      $write("[%0d] of frame %0d", element_due[OPERATION_WIDTH+ELEMENT_WIDTH+:INDEX_WIDTH],
        element_due[ELEMENT_FRAME+:FRAME_WIDTH]);
    end
  endtask

  // Every file ends with the word 1.
  task whole(input present);
    if (!present) begin
      $write("a file is cut short");
      fail;
    end
  endtask

  // End of the line that reports a failure, and of the run.
  task fail;
    begin
      $display(" (cycle %0d, after %0d equal values)", cycle, n_words + n_elements + n_logits + n_decisions);
      $display("FAIL");
      $stop;
    end
  endtask

  always @(posedge clk)
    if (!rst) begin
      if (loaded && !checked) begin
        whole(inputs[INPUTS] === 1);
        whole(elements[ELEMENTS] === 1);
        whole(logits[LOGITS] === 1);
        whole(decisions[DECISIONS] === 1);
`ifdef TB_LOAD
        whole(weights[LOADS] === 1);
`endif
        check_memories;
      end
      if (^{i_ready, logits_valid, decision_valid, frame_error, element_valid} === 1'bx) begin
        $write("unknown control signal");
        fail;
      end
      if (frame_error) begin
        $write("a frame was reported as malformed");
        fail;
      end
      if (element_valid) begin
        if (n_elements == ELEMENTS) begin
          $write("one element too many: %h", element);
          fail;
        end else if (element !== element_due[OPERATION_WIDTH+ELEMENT_WIDTH-1:0]) begin
          show_element;
          if (element[ELEMENT_WIDTH+:OPERATION_WIDTH] !== element_due[ELEMENT_WIDTH+:OPERATION_WIDTH])
            $write(": written by operation %0d instead", element[ELEMENT_WIDTH+:OPERATION_WIDTH]);
          else $write(": expected %h, got %h", element_due[ELEMENT_WIDTH-1:0], element[ELEMENT_WIDTH-1:0]);
          fail;
        end
        n_elements <= n_elements + 1;
      end
      if (logit_moves) begin
        if (n_logits == LOGITS) begin
          $write("one logit too many: %h", logits_payload);
          fail;
        end else if (logits_payload !== logit_due[LOGIT_WIDTH-1:0]) begin
          $write("logit %0d of frame %0d: expected (last, logit) %h, got %h", n_logits % LABELS,
            logit_due[LOGIT_WIDTH+:FRAME_WIDTH], logit_due[LOGIT_WIDTH-1:0], logits_payload);
          fail;
        end
        n_logits <= n_logits + 1;
      end
      if (decision_moves) begin
        if (n_decisions == DECISIONS) begin
          $write("one decision too many: %h", decision_payload);
          fail;
        end else if (decision_payload !== decision_due[DECISION_WIDTH-1:0]) begin
          $write("decision of frame %0d: expected (score, label) %h, got %h",
            decision_due[DECISION_WIDTH+:FRAME_WIDTH], decision_due[DECISION_WIDTH-1:0], decision_payload);
          fail;
        end
        n_decisions <= n_decisions + 1;
      end
      quiet <= element_valid || logit_moves || decision_moves || load_moves || (i_valid && i_ready) ? 0 : quiet + 1;
      if (quiet > DRAIN) begin
        if (n_elements != ELEMENTS) begin
          show_element;
          $write(": nothing came");
          fail;
        end else if (n_logits != LOGITS || n_decisions != DECISIONS) begin
          $write("%0d logits and %0d decisions did not come", LOGITS - n_logits, DECISIONS - n_decisions);
          fail;
        end else begin
          $display("%0d words of constant memories, %0d elements, %0d logits, %0d decisions, %0d cycles", n_words,
            n_elements, n_logits, n_decisions, cycle);
          $display("%0d values compared, 0 differ", n_words + n_elements + n_logits + n_decisions);
          $finish;
        end
      end
    end
endmodule
