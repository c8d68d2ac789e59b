// Runs frames through NNgen's design: a host on its AXI4-Lite port, a memory that answers at once on its AXI4 port.
// trace.vh defines FRAMES, WORDS, the addresses and strides of frames and sums in bytes, and the signals of the trace.
`include "trace.vh"

module bench;
  reg clk = 0;
  reg resetn = 0;
  always #5 clk = !clk;

  // The memory.
  reg [31:0] memory [0:`WORDS-1];
  wire [31:0] araddr, awaddr, wdata;
  wire [7:0] arlen, awlen;
  wire [3:0] wstrb;
  wire arvalid, awvalid, wvalid, wlast, rready, bready;
  reg [31:0] read_address = 0, write_address = 0, rdata = 0;
  reg [8:0] left = 0;
  reg rvalid = 0, rlast = 0, bvalid = 0, writing = 0;
  integer words_read = 0, words_written = 0;
  wire arready = !rvalid;
  wire awready = !writing && !bvalid;

  always @(posedge clk) begin
    if (arvalid && arready) begin
      rdata <= memory[araddr[31:2]];
      read_address <= araddr + 4;
      left <= arlen;
      rvalid <= 1;
      rlast <= arlen == 0;
    end else if (rvalid && rready) begin
      words_read <= words_read + 1;
      rdata <= memory[read_address[31:2]];
      read_address <= read_address + 4;
      left <= left - 1;
      rvalid <= left != 0;
      rlast <= left == 1;
    end
    if (awvalid && awready) begin
      write_address <= awaddr;
      writing <= 1;
    end else if (writing && wvalid) begin
      words_written <= words_written + 1;
      memory[write_address[31:2]] <= wdata;
      write_address <= write_address + 4;
      if (wlast) begin
        writing <= 0;
        bvalid <= 1;
      end
    end
    if (bvalid && bready) bvalid <= 0;
  end

  // The host.
  reg [31:0] host_address = 0, host_data = 0;
  reg address_valid = 0, data_valid = 0;
  wire address_ready, data_ready;
  integer frame = -1;

  nngen dut (
    .CLK(clk), .RESETN(resetn),
    .maxi_awaddr(awaddr), .maxi_awlen(awlen), .maxi_awvalid(awvalid), .maxi_awready(awready),
    .maxi_wdata(wdata), .maxi_wstrb(wstrb), .maxi_wlast(wlast), .maxi_wvalid(wvalid), .maxi_wready(writing),
    .maxi_bresp(2'b0), .maxi_bvalid(bvalid), .maxi_bready(bready),
    .maxi_araddr(araddr), .maxi_arlen(arlen), .maxi_arvalid(arvalid), .maxi_arready(arready),
    .maxi_rdata(rdata), .maxi_rresp(2'b0), .maxi_rlast(rlast), .maxi_rvalid(rvalid), .maxi_rready(rready),
    .saxi_awaddr(host_address), .saxi_awcache(4'b0), .saxi_awprot(3'b0),
    .saxi_awvalid(address_valid), .saxi_awready(address_ready),
    .saxi_wdata(host_data), .saxi_wstrb(4'b1111), .saxi_wvalid(data_valid), .saxi_wready(data_ready),
    .saxi_bready(1'b1),
    .saxi_araddr(32'b0), .saxi_arcache(4'b0), .saxi_arprot(3'b0), .saxi_arvalid(1'b0), .saxi_rready(1'b1)
  );

  task write(input [31:0] address, input [31:0] data);
    begin
      host_address <= address;
      host_data <= data;
      address_valid <= 1;
      data_valid <= 1;
      @(posedge clk);
      while (address_valid || data_valid) begin
        if (address_ready) address_valid <= 0;
        if (data_ready) data_valid <= 0;
        @(posedge clk);
      end
    end
  endtask

  // Register numbers as NNgen's log names them: start, busy, addresses of the output and of the placeholder.
  initial begin
    $readmemh("memory.hex", memory);
    repeat (10) @(posedge clk);
    resetn <= 1;
    repeat (40) @(posedge clk);
    for (frame = 0; frame < `FRAMES; frame = frame + 1) begin
      write(136, `SUMS + frame * `SUMS_STRIDE);
      write(140, `FRAME + frame * `FRAME_STRIDE);
      write(16, 1);
      while (!dut._saxi_register_5[0]) @(posedge clk);
      while (dut._saxi_register_5[0]) @(posedge clk);
    end
    @(posedge clk);
    $writememh("sums.hex", memory, `SUMS / 4, (`SUMS + `FRAMES * `SUMS_STRIDE) / 4 - 1);
    $display("%0d %0d", words_read, words_written);
    $finish;
  end

  initial begin
    #(`LIMIT * 10);
    $display("no end after %0d cycles, in frame %0d", `LIMIT, frame);
    $finish;
  end

  // What goes in and out in every cycle, with the RAMs counted as outside.
  integer trace;
  initial trace = $fopen("trace.txt", "w");
  always @(negedge clk) $fwrite(trace, "%08d %b %b\n", frame, `INPUTS, `OUTPUTS);
endmodule
