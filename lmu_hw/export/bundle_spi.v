
  // A host on SPI: it collects the elements of a frame, sends them as one transfer, and reads each result when it is
  // there. Weight words and clears become register writes.
  reg taking = 0, logit_valid = 0, decision_valid = 0;
  reg [SCORE_WIDTH:0] logit = 0;
  reg [SCORE_WIDTH+LABEL_WIDTH-1:0] decision = 0;
  assign i__ready = taking;
  assign o_logits__valid = logit_valid;
  assign o_logits__payload = logit;
  assign o_decision__valid = decision_valid;
  assign o_decision__payload = decision;

  reg sck = 0, cs_n = 1, mosi = 0;
  wire miso, miso_enable, irq;
  assign frame_error = wrapper.core.frame_error;

  `TB_WRAPPER wrapper (
    .clk(clk),
    .rst(rst),
    .sck(sck),
    .cs_n(cs_n),
    .mosi(mosi),
    .miso(miso),
    .miso_enable(miso_enable),
    .irq(irq)
  );

  // ---- transfers --------------------------------------------------------------------------------------------------
  reg [7:0] got, status;
  integer place;

  task exchange(input [7:0] value);
    for (place = 7; place >= 0; place = place - 1) begin
      mosi <= value[place];
      repeat (HALF_PERIOD) @(posedge clk);
      got[place] <= miso;
      sck <= 1;
      repeat (HALF_PERIOD) @(posedge clk);
      sck <= 0;
    end
  endtask

  task start(input [7:0] command);
    begin
      cs_n <= 0;
      exchange(command);
      status <= got;
      @(posedge clk);
      if (status[7:6] != 2'b10 || status[4]) begin
        $display("status byte %h: no mark, or something was refused\nFAIL", status);
        $stop;
      end
    end
  endtask

  task stop;
    begin
      repeat (HALF_PERIOD) @(posedge clk);
      cs_n <= 1;
      repeat (CS_HIGH) @(posedge clk);
    end
  endtask

  task poll;
    begin
      start(8'h00);
      stop;
    end
  endtask

  task value(input [31:0] word);
    begin
      exchange(word[7:0]);
      exchange(word[15:8]);
      exchange(word[23:16]);
      exchange(word[31:24]);
    end
  endtask

  task write(input [7:0] address, input [31:0] word);
    begin
      start(8'h01);
      exchange(address);
      value(word);
      stop;
    end
  endtask

  // ---- weights ----------------------------------------------------------------------------------------------------
`ifdef TB_LOAD
  reg begun = 0, open = 0;
  reg [MEMORY_WIDTH-1:0] memory = 0;
  reg [ADDRESS_WIDTH-1:0] address = 0;
  integer beat;
  wire [MEMORY_WIDTH-1:0] to_memory = i_load__payload[MEMORY_WIDTH-1:0];
  wire [ADDRESS_WIDTH-1:0] to_address = i_load__payload[MEMORY_WIDTH+:ADDRESS_WIDTH];
  wire [32*BEATS-1:0] word = i_load__payload[MEMORY_WIDTH+ADDRESS_WIDTH+:DATA_WIDTH];

  // Words that follow each other go in one transfer.
  task load;
    begin
      if (!begun) write(8'h4c, SHAPE_ID);
      if (!begun || to_memory != memory || to_address != address) begin
        if (open) stop;
        write(8'h38, to_memory);
        write(8'h3c, to_address);
        start(8'h01);
        exchange(8'h40);
      end
      begun <= 1;
      open <= 1;
      for (beat = 0; beat < BEATS; beat = beat + 1) value(word[32*beat+:32]);
      memory <= to_memory;
      address <= to_address + 1;
      i_load__ready <= 1;
      @(posedge clk);
      i_load__ready <= 0;
      @(posedge clk);
    end
  endtask
`endif

  // ---- frames and results -----------------------------------------------------------------------------------------
  reg [8*INPUT_BYTES-1:0] elements [0:INPUTS-1];
  reg cleared, ended, whole;
  integer count, index;

  task collect;
    begin
      count = 0;
      cleared = 0;
      whole = 0;
      taking <= 1;
      while (!whole) begin
        @(posedge clk);
        if (i__valid && taking) begin
`ifdef TB_CLEAR
          if (clear) cleared = 1;
`endif
          elements[count] = i__payload[INPUT_WIDTH-1:0];
          whole = i__payload[INPUT_WIDTH];
          ended = i__payload[INPUT_WIDTH+INPUT_FLAGS-1] && INPUT_FLAGS == 2;
          count = count + 1;
          if (whole) taking <= 0;
        end
      end
    end
  endtask

  task send;
    begin
      if (cleared) write(8'h10, 1);
      poll;
      while (!status[2]) poll;
      start(ended ? 8'h04 : 8'h03);
      for (count = 0; count < INPUTS; count = count + 1)
        for (index = 0; index < INPUT_BYTES; index = index + 1) exchange(elements[count][8*index+:8]);
      stop;
      poll;
      while (status[1]) poll;
    end
  endtask

  reg [8*SCORE_BYTES-1:0] score;
  reg [8*LABEL_BYTES-1:0] label;

  task read_score;
    for (index = 0; index < SCORE_BYTES; index = index + 1) begin
      exchange(0);
      @(posedge clk) score[8*index+:8] = got;
    end
  endtask

  task read_result;
    begin
      start(8'h05);
      exchange(0);
      for (index = 0; index < LABEL_BYTES; index = index + 1) begin
        exchange(0);
        @(posedge clk) label[8*index+:8] = got;
      end
      read_score;
      decision <= {score[SCORE_WIDTH-1:0], label[LABEL_WIDTH-1:0]};
      decision_valid <= 1;
      @(posedge clk);
      while (!o_decision__ready) @(posedge clk);
      decision_valid <= 0;
      for (count = 0; count < LABELS; count = count + 1) begin
        read_score;
        logit <= {count == LABELS - 1, score[SCORE_WIDTH-1:0]};
        logit_valid <= 1;
        @(posedge clk);
        while (!o_logits__ready) @(posedge clk);
        logit_valid <= 0;
      end
      stop;
    end
  endtask

  always begin
    @(posedge clk);
`ifdef TB_LOAD
    if (!rst && i_load__valid) load;
    if (!rst && i__valid && open) begin
      stop;
      open <= 0;
    end
`endif
    if (!rst && i__valid) begin
      collect;
      send;
      if (status[3]) read_result;
    end
  end
endmodule
