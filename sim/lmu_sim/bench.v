// Bench around one accelerator: sends whole frames that are deposited in `slot`, stalls all streams as told, and writes what
// it sees to trace.txt. The generated header names the accelerator, its widths, its optional ports and its memories.
`include "lmu_bench_config.vh"

module lmu_bench;
  localparam DATA = `LMU_DATA_WIDTH;
  localparam SLOTS = `LMU_SLOTS;
  localparam MEMORIES = `LMU_MEMORIES;
  localparam QUIET = 256;
  localparam HEAD = 52;

  // One deposit per frame: turn (differs from `taken` while the slot is full), end, clear (1: in the cycle of the first
  // transfer, 2: in the first cycle of the offer), length, reset_after (cycles from the first transfer, 0: none), elements.
  reg [HEAD+SLOTS*DATA-1:0] slot /*verilator public_flat_rw*/ = 0;
  reg taken /*verilator public_flat_rw*/ = 0;
  reg stopped /*verilator public_flat_rw*/ = 0;

  wire slot_full = slot[0] != taken;
  wire [15:0] slot_length = slot[19:4];
  wire [31:0] slot_reset = slot[51:20];

  reg clk /*verilator public_flat_rw*/ = 0;
  reg rst = 1;

  // ---- settings and files -----------------------------------------------------------------------------------------------
  integer stalls, percent, seed, long_stall, limit, spaced, trace;
  reg [31:0] cycle = 0;
  reg [31:0] quiet = 0;  // cycles without any activity
  reg [31:0] lfsr_i, lfsr_logits, lfsr_decision, lfsr_load, lfsr_event;

  function [31:0] next_random(input [31:0] value);
    reg [31:0] v;
    begin
      v = value ^ (value << 13);
      v = v ^ (v >> 17);
      next_random = v ^ (v << 5);
    end
  endfunction

  function [31:0] seeded(input [31:0] stream);
    begin
      seeded = (seed * 32'd2654435761) ^ (stream * 32'h9e3779b9) ^ 32'h5bd1e995;
      if (seeded == 0) seeded = 32'd1;
      seeded = next_random(next_random(next_random(seeded)));
    end
  endfunction

  // Cycles to wait before the next transfer of a stream. Random stalls are mostly short; a few are up to `long_stall` cycles.
  function [31:0] gap_of(input [31:0] random);
    if (stalls == 0) gap_of = 0;
    else if (stalls == 1) gap_of = 1;
    else if ({24'd0, random[7:0]} * 100 >= percent * 256) gap_of = 0;
    else if (random[9:8] != 3) gap_of = 1 + {30'd0, random[11:10]};
    else if (random[14:12] != 0) gap_of = 1 + {28'd0, random[18:15]};
    else gap_of = 1 + {16'd0, random[31:16]} % long_stall;
  endfunction

  initial begin
    stalls = 0;
    percent = 50;
    seed = 1;
    long_stall = 64;
    limit = 1000000;
    spaced = 0;
    if ($value$plusargs("stalls=%d", stalls)) ;
    if ($value$plusargs("percent=%d", percent)) ;
    if ($value$plusargs("seed=%d", seed)) ;
    if ($value$plusargs("long=%d", long_stall)) ;
    if ($value$plusargs("limit=%d", limit)) ;
    if ($value$plusargs("spaced=%d", spaced)) ;
    lfsr_i = seeded(1);
    lfsr_logits = seeded(2);
    lfsr_decision = seeded(3);
    lfsr_load = seeded(4);
    lfsr_event = seeded(5);
    trace = $fopen("trace.txt", "w");
`ifdef LMU_WAVES
    $dumpfile("waves.vcd");
    $dumpvars(0, lmu_bench);
`endif
  end

  // ---- the accelerator --------------------------------------------------------------------------------------------------
  reg i_valid = 0;
  reg [`LMU_INPUT_WIDTH-1:0] i_payload = 0;
  wire i_ready;
  wire logits_valid, decision_valid, frame_error;
  wire [`LMU_LOGIT_WIDTH-1:0] logits_payload;
  wire [`LMU_DECISION_WIDTH-1:0] decision_payload;
  reg [31:0] logits_gap = 0, decision_gap = 0;
  wire logits_ready = logits_gap == 0;
  wire decision_ready = decision_gap == 0;
  reg fresh = 0, first = 0;
  reg [1:0] clear_mark = 0;
  wire clear = (clear_mark == 1 && first && i_valid && i_ready) || (clear_mark == 2 && fresh);

`ifdef LMU_LOAD
  reg load_valid = 0;
  reg [`LMU_LOAD_WIDTH-1:0] load_payload = 0;
  wire load_ready;
  reg loaded = 0;
`else
  wire loaded = 1;
`endif

`ifdef LMU_GATE
  wire asleep;
`else
  wire asleep = 0;
`endif

`ifdef LMU_EVENT
  wire event_valid;
  wire [`LMU_EVENT_WIDTH-1:0] event_payload;
  reg [31:0] event_gap = 0;
  wire event_ready = event_gap == 0;
`else
  wire event_valid = 0;
`endif

  `LMU_TOP dut (
    .clk(clk),
    .rst(rst),
`ifdef LMU_CLEAR
    .clear(clear),
`endif
`ifdef LMU_LOAD
    .i_load__valid(load_valid),
    .i_load__payload(load_payload),
    .i_load__ready(load_ready),
`endif
`ifdef LMU_GATE
    .asleep(asleep),
`endif
`ifdef LMU_EVENT
    .o_event__valid(event_valid),
    .o_event__payload(event_payload),
    .o_event__ready(event_ready),
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

  // ---- reset and input --------------------------------------------------------------------------------------------------
  reg [SLOTS*DATA-1:0] elements = 0;
  reg [15:0] remaining = 0;
  reg end_mark = 0, barrier = 0;
  reg [31:0] reset_after = 0, reset_in = 0, gap = 0, index = 0;
  wire transfer = i_valid && i_ready;
  wire [31:0] gap_now = transfer ? gap_of(lfsr_i) : gap;

  // Payload of an element; `ends` marks the frame's last one.
  function [`LMU_INPUT_WIDTH-1:0] element_payload(input [DATA-1:0] value, input ends, input marked);
`ifdef LMU_END
    element_payload = {marked && ends, ends, value};
`else
    element_payload = {ends, value};
`endif
  endfunction

  always @(posedge clk) begin
    fresh <= 0;
    if (transfer) lfsr_i <= next_random(lfsr_i);
    if (rst) begin
      rst <= cycle < 3;
      i_valid <= 0;
      remaining <= 0;
      gap <= 0;
      reset_in <= 0;
      reset_after <= 0;
    end else begin
      if (transfer) first <= 0;
      if (transfer && first && reset_after != 0) reset_in <= reset_after;
      else if (reset_in != 0) reset_in <= reset_in - 1;
      if (reset_in == 1) begin
        rst <= 1;
        barrier <= 0;
      end
      if (!i_valid || transfer) begin
        i_valid <= 0;
        i_payload <= ~i_payload;
        if (gap_now != 0) gap <= gap_now - 1;
        else begin
          gap <= 0;
          if (remaining != 0) begin
            i_valid <= 1;
            i_payload <= element_payload(elements[DATA-1:0], remaining == 1, end_mark);
            elements <= elements >> DATA;
            remaining <= remaining - 1;
          end else if (slot_full && !barrier && loaded && (spaced == 0 || (!i_valid && quiet >= spaced))) begin
            i_valid <= 1;
            i_payload <= element_payload(slot[HEAD+:DATA], slot_length == 1, slot[1]);
            elements <= slot >> (HEAD + DATA);
            remaining <= slot_length - 1;
            end_mark <= slot[1];
            clear_mark <= slot[3:2];
            reset_after <= slot_reset;
            barrier <= slot_reset != 0;
            fresh <= 1;
            first <= 1;
            taken <= slot[0];
            index <= index + 1;
          end
        end
      end
    end
  end

`ifdef LMU_LOAD
  integer image, fields;
  reg [31:0] load_gap = 0;
  reg [`LMU_LOAD_MEMORY-1:0] word_memory;
  reg [`LMU_LOAD_ADDRESS-1:0] word_address;
  reg [`LMU_LOAD_DATA-1:0] word_data;
  wire load_transfer = load_valid && load_ready;
  wire [31:0] load_gap_now = load_transfer ? gap_of(lfsr_load) : load_gap;
  initial image = $fopen("weights.txt", "r");
  always @(posedge clk) begin
    if (load_transfer) lfsr_load <= next_random(lfsr_load);
    if (!rst && !loaded && (!load_valid || load_transfer)) begin
      load_valid <= 0;
      if (load_gap_now != 0) load_gap <= load_gap_now - 1;
      else begin
        load_gap <= 0;
        fields = $fscanf(image, "%h %h %h\n", word_memory, word_address, word_data);
        if (fields == 3) begin
          load_valid <= 1;
          load_payload <= {word_data, word_address, word_memory};
        end else loaded <= 1;
      end
    end
  end
`endif

  // ---- stalls of the outputs --------------------------------------------------------------------------------------------
  always @(posedge clk) begin
    if (logits_valid) begin
      lfsr_logits <= next_random(lfsr_logits);
      logits_gap <= logits_ready ? gap_of(lfsr_logits) : logits_gap - 1;
    end
    if (decision_valid) begin
      lfsr_decision <= next_random(lfsr_decision);
      decision_gap <= decision_ready ? gap_of(lfsr_decision) : decision_gap - 1;
    end
  end

`ifdef LMU_EVENT
  reg event_held = 0;
  reg [`LMU_EVENT_WIDTH-1:0] event_before = 0;
  always @(posedge clk) begin
    if (event_valid) begin
      lfsr_event <= next_random(lfsr_event);
      event_gap <= event_ready ? gap_of(lfsr_event) : event_gap - 1;
      event_before <= event_payload;
    end
    event_held <= !rst && event_valid && !event_ready;
    if (!stopped && !rst) begin
      if (event_valid && event_ready) $fwrite(trace, "s %0d %h\n", cycle, event_payload);
      if (event_held && (!event_valid || event_payload !== event_before)) $fwrite(trace, "v %0d o_event\n", cycle);
      if (event_valid === 1'bx) $fwrite(trace, "v %0d control\n", cycle);
    end
  end
`endif

  // ---- monitors ---------------------------------------------------------------------------------------------------------
  wire [MEMORIES-1:0] reads = `LMU_READS;
  wire [MEMORIES-1:0] writes = `LMU_WRITES;
  wire issue = dut.sequencer.steps__valid;
  reg [31:0] counts [0:MEMORIES-1];  // reads of each memory; runs of equal cycles are added when they end
  reg [MEMORIES-1:0] reads_before = 0;
  reg [31:0] equal_reads = 0;
  reg [31:0] offered = 0;
  reg started = 0, logits_held = 0, decision_held = 0, decision_seen = 0;
  reg [`LMU_LOGIT_WIDTH-1:0] logits_before = 0;
  reg [`LMU_DECISION_WIDTH-1:0] decision_before = 0;
  integer k;
  wire waiting = (slot_full && !barrier) || i_valid;
  wire active = issue || dut.finish.write__valid || transfer || gap != 0 || reset_in != 0 || rst || !loaded || logits_valid
    || decision_valid || event_valid;
  initial for (k = 0; k < MEMORIES; k = k + 1) counts[k] = 0;

  always @(posedge clk) begin
    cycle <= cycle + 1;
    started <= !rst && (dut.sequencer.state.start || (started && !issue));
    logits_held <= !rst && logits_valid && !logits_ready;
    decision_held <= !rst && decision_valid && !decision_ready;
    decision_seen <= !rst && decision_valid && !decision_ready;
    if (logits_valid) logits_before <= logits_payload;
    if (decision_valid) decision_before <= decision_payload;
    quiet <= active ? 0 : quiet + 1;
    if (decision_valid && !decision_seen) offered <= cycle;
    if (!stopped && rst) begin
      if (cycle > 3) $fwrite(trace, "r %0d\n", cycle);
    end else if (!stopped) begin
      if (transfer && i_payload[DATA]) $fwrite(trace, "a %0d %0d\n", cycle, index - 1);
      if (frame_error) $fwrite(trace, "x %0d\n", cycle);
      if (asleep) $fwrite(trace, "q %0d\n", cycle);
      if (issue && started) $fwrite(trace, "p %0d\n", cycle);
`ifdef LMU_STATES
      if (dut.finish.write__valid && dut.finish.write__at_once)
        $fwrite(trace, "e %0d %0d %h\n", cycle, dut.finish.write__operation, dut.finish.write__states);
      else
`endif
      if (dut.finish.write__valid) $fwrite(trace, "e %0d %0d %h\n", cycle, dut.finish.write__operation, dut.finish.write__data);
      if (logits_valid && logits_ready) $fwrite(trace, "l %0d %h\n", cycle, logits_payload);
      if (decision_valid && decision_ready)
        $fwrite(trace, "d %0d %0d %h\n", cycle, decision_seen ? offered : cycle, decision_payload);
      if (logits_held && (!logits_valid || logits_payload !== logits_before)) $fwrite(trace, "v %0d o_logits\n", cycle);
      if (decision_held && (!decision_valid || decision_payload !== decision_before))
        $fwrite(trace, "v %0d o_decision\n", cycle);
      if (^{i_ready, logits_valid, decision_valid, frame_error, asleep} === 1'bx) $fwrite(trace, "v %0d control\n", cycle);
      if ((reads & writes) != 0) $fwrite(trace, "m %0d %b\n", cycle, reads & writes);
      if (reads == reads_before) equal_reads <= equal_reads + 1;
      else begin
        for (k = 0; k < MEMORIES; k = k + 1) if (reads_before[k]) counts[k] = counts[k] + equal_reads;
        reads_before <= reads;
        equal_reads <= 1;
      end
      if (cycle > 16 && ((quiet > QUIET) || cycle >= limit)) begin
        for (k = 0; k < MEMORIES; k = k + 1) $fwrite(trace, "n %0d %0d\n", k, counts[k]);
        $fwrite(trace, "z %0d %0d %0d %0d\n", cycle, cycle >= limit, waiting, $time);
        $fclose(trace);
        stopped <= 1;
      end
    end
  end
endmodule
