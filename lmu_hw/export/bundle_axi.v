
  // Streams become AXI4-Stream. Weight words and clears become register writes.
  wire stream_ready, logits_last, decision_last;
  wire [8*SCORE_BYTES-1:0] logits_data;
  wire [8*(LABEL_BYTES+SCORE_BYTES)-1:0] decision_data;
  wire awready, wready, bvalid, arready, rvalid;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;
  wire irq;
  reg awvalid = 0, wvalid = 0;
  reg [7:0] awaddr = 0;
  reg [31:0] wdata = 0;
  reg [3:0] clears_wanted = 0, clears_done = 0;

`ifdef TB_CLEAR
  wire waits = clear && clears_wanted == clears_done;
`else
  wire waits = 0;
`endif

  wire [8*INPUT_BYTES-1:0] element = i__payload[INPUT_WIDTH-1:0];
  assign i__ready = stream_ready && !waits;
  assign o_logits__payload = {logits_last, logits_data[SCORE_WIDTH-1:0]};
  assign o_decision__payload = {decision_data[8*LABEL_BYTES+:SCORE_WIDTH], decision_data[LABEL_WIDTH-1:0]};
  assign frame_error = wrapper.core.frame_error;

  `TB_WRAPPER wrapper (
    .aclk(clk),
    .aresetn(!rst),
    .irq(irq),
    .s_axis_tdata(element),
    .s_axis_tvalid(i__valid && !waits),
    .s_axis_tlast(i__payload[INPUT_WIDTH]),
`ifdef TB_END
    .s_axis_tuser(i__payload[INPUT_WIDTH+1]),
`endif
    .s_axis_tready(stream_ready),
    .m_axis_logits_tdata(logits_data),
    .m_axis_logits_tvalid(o_logits__valid),
    .m_axis_logits_tlast(logits_last),
    .m_axis_logits_tready(o_logits__ready),
    .m_axis_decision_tdata(decision_data),
    .m_axis_decision_tvalid(o_decision__valid),
    .m_axis_decision_tlast(decision_last),
    .m_axis_decision_tready(o_decision__ready),
    .s_axil_awaddr(awaddr),
    .s_axil_awprot(3'b0),
    .s_axil_awvalid(awvalid),
    .s_axil_awready(awready),
    .s_axil_wdata(wdata),
    .s_axil_wstrb(4'b1111),
    .s_axil_wvalid(wvalid),
    .s_axil_wready(wready),
    .s_axil_bresp(bresp),
    .s_axil_bvalid(bvalid),
    .s_axil_bready(1'b1),
    .s_axil_araddr(8'b0),
    .s_axil_arprot(3'b0),
    .s_axil_arvalid(1'b0),
    .s_axil_arready(arready),
    .s_axil_rdata(rdata),
    .s_axil_rresp(rresp),
    .s_axil_rvalid(rvalid),
    .s_axil_rready(1'b1)
  );

  task write(input [7:0] address, input [31:0] value);
    begin
      awaddr <= address;
      wdata <= value;
      awvalid <= 1;
      wvalid <= 1;
      @(posedge clk);
      while (!bvalid) begin
        if (awready) awvalid <= 0;
        if (wready) wvalid <= 0;
        @(posedge clk);
      end
      if (bresp != 0) begin
        $display("a write to register %h was refused\nFAIL", address);
        $stop;
      end
    end
  endtask

`ifdef TB_CLEAR
  always @(posedge clk) if (!rst && i__valid && i__ready && clear) clears_wanted <= clears_wanted + 1;
`endif

`ifdef TB_LOAD
  reg begun = 0;
  integer beat;
  wire [32*BEATS-1:0] word = i_load__payload[MEMORY_WIDTH+ADDRESS_WIDTH+:DATA_WIDTH];

  task load;
    begin
      if (!begun) write(8'h4c, SHAPE_ID);
      begun <= 1;
      write(8'h38, i_load__payload[MEMORY_WIDTH-1:0]);
      write(8'h3c, i_load__payload[MEMORY_WIDTH+:ADDRESS_WIDTH]);
      for (beat = 0; beat < BEATS; beat = beat + 1) write(8'h40, word[32*beat+:32]);
      i_load__ready <= 1;
      @(posedge clk);
      i_load__ready <= 0;
    end
  endtask
`endif

  always begin
    @(posedge clk);
`ifdef TB_LOAD
    if (!rst && i_load__valid && !i_load__ready) load;
`endif
`ifdef TB_CLEAR
    if (!rst && i__valid && waits) begin
      write(8'h10, 1);
      clears_done <= clears_done + 1;
      @(posedge clk);
    end
`endif
  end
endmodule
