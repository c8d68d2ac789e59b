// Sends the same random input to two accelerators and compares every output in every cycle. The generated file declares
// the ports, both accelerators and the comparisons. The rates of stalls, bad frames, clears, loads and zeros change from
// time to time, so that each also meets long calm stretches.
module lockstep;
  integer cycles, state;
  integer cycle = 0;
  reg clk = 0;
  reg rst = 1;
  reg loaded = 0;  // every weight was written once

  always #1 clk = !clk;

`include "lockstep_ports.vh"

  initial begin
    cycles = 1000;
    state = 1;
    if ($value$plusargs("cycles=%d", cycles)) ;
    if ($value$plusargs("seed=%d", state)) ;
  end

  // ---- random numbers ---------------------------------------------------------------------------------------------------
  integer valid_percent = 100, ready_percent = 100, zero_percent = 0;
  integer error_every = 0, clear_every = 0, load_every = 0;  // elements or cycles between two, 0 for never
  integer quiet_bits = 0;  // high bits of the elements that are copies of the sign

  function [31:0] draw(input [31:0] bound);
    draw = $unsigned($random(state)) % bound;
  endfunction

  function chance(input [31:0] percent);
    chance = draw(100) < percent;
  endfunction

  function now(input [31:0] every);
    now = every != 0 && draw(every) == 0;
  endfunction

  function integer one_of(input integer a, input integer b, input integer c);
    case (draw(3))
      0: one_of = a;
      1: one_of = b;
      default: one_of = c;
    endcase
  endfunction

  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (cycle % RATE_CYCLES == 0) begin
      valid_percent <= one_of(100, 70, 20);
      ready_percent <= one_of(100, 60, 15);
      zero_percent <= one_of(0, 30, 90);
      error_every <= one_of(0, 20 * INPUTS, 4 * INPUTS);
      clear_every <= one_of(0, 4 * PERIOD_CYCLES, 20);
      load_every <= one_of(0, 4 * PERIOD_CYCLES, 20);
      quiet_bits <= one_of(0, 2, DATA_WIDTH / 2);
    end
    rst <= cycle < 5 || (loaded && draw(RESET_CYCLES) == 0) || (rst && chance(66));
  end

  // ---- input frames -----------------------------------------------------------------------------------------------------
  integer position = 0, next_position;  // of the offered element in its frame
  wire transfer = i__valid && old_i__ready && !rst;
  reg signed [DATA_WIDTH-1:0] element;
  reg last, marked;

  always @(posedge clk) begin
    next_position = position;
    if (rst) next_position = 0;
    else if (transfer) next_position = i__payload[DATA_WIDTH] ? 0 : position + 1;
    position <= next_position;
    if (rst || transfer || !i__valid) begin
      i__valid <= loaded && chance(valid_percent);
      element = $random(state);
      element = element >>> quiet_bits;
      if (chance(zero_percent)) element = 0;
      last = (next_position >= INPUTS - 1) ^ now(error_every);
      marked = chance(12);
      i__payload <= {marked, last, element};
    end
  end

  // ---- stalls of the outputs, and clears --------------------------------------------------------------------------------
  always @(posedge clk) begin
    o_logits__ready <= chance(ready_percent);
    o_decision__ready <= chance(ready_percent);
`ifdef LOCKSTEP_EVENT
    o_event__ready <= chance(ready_percent);
`endif
`ifdef LOCKSTEP_CLEAR
    clear <= now(clear_every);
`endif
  end

  // ---- weights: the image in order, then words of it at random, of which each fourth has a wrong bit -----------------------
`ifdef LOCKSTEP_LOAD
  reg [LOAD_WIDTH-1:0] image[0:WORDS-1];
  integer sent = 0;

  initial $readmemh("image.txt", image);

  always @(posedge clk)
    if (!rst && (!i_load__valid || old_i_load__ready)) begin
      if (sent < WORDS) begin
        i_load__valid <= 1;
        i_load__payload <= image[sent];
        sent <= sent + 1;
      end else begin
        loaded <= 1;
        i_load__valid <= loaded && now(load_every);
        i_load__payload <= image[draw(WORDS)] ^ (chance(25) ? 1'b1 << (LOAD_DATA + draw(LOAD_WIDTH - LOAD_DATA)) : 0);
      end
    end
`else
  always @(posedge clk) loaded <= 1;
`endif

  // ---- what happened ----------------------------------------------------------------------------------------------------
  integer inputs = 0, logits = 0, decisions = 0, events = 0, loads = 0, errors = 0, clears = 0, resets = 0, cut_frames = 0;
  reg rst_before = 1;

  always @(posedge clk) begin
    rst_before <= rst;
    if (rst && !rst_before) begin
      resets <= resets + 1;
      if (position != 0) cut_frames <= cut_frames + 1;
    end
    if (!rst) begin
      if (transfer) inputs <= inputs + 1;
      if (old_o_logits__valid && o_logits__ready) logits <= logits + 1;
      if (old_o_decision__valid && o_decision__ready) decisions <= decisions + 1;
      if (old_frame_error) errors <= errors + 1;
`ifdef LOCKSTEP_EVENT
      if (old_o_event__valid && o_event__ready) events <= events + 1;
`endif
`ifdef LOCKSTEP_LOAD
      if (i_load__valid && old_i_load__ready) loads <= loads + 1;
`endif
`ifdef LOCKSTEP_CLEAR
      if (clear) clears <= clears + 1;
`endif
    end
    if (cycle >= cycles || different) begin
      $display("counts %0d %0d %0d %0d %0d %0d %0d %0d %0d %0d", cycle, inputs, logits, decisions, events, loads, errors, clears,
        resets, cut_frames);
      $finish(0);
    end
  end
endmodule
