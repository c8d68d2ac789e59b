// A design with the ports, registers and kind of RAM and queue that NNgen's have: it adds the four 16-bit elements of a frame.
module nngen
(
  input CLK,
  input RESETN,
  output reg irq,
  output reg [32-1:0] maxi_awaddr,
  output [8-1:0] maxi_awlen,
  output reg maxi_awvalid,
  input maxi_awready,
  output [32-1:0] maxi_wdata,
  output [4-1:0] maxi_wstrb,
  output maxi_wlast,
  output reg maxi_wvalid,
  input maxi_wready,
  input [2-1:0] maxi_bresp,
  input maxi_bvalid,
  output maxi_bready,
  output reg [32-1:0] maxi_araddr,
  output [8-1:0] maxi_arlen,
  output reg maxi_arvalid,
  input maxi_arready,
  input [32-1:0] maxi_rdata,
  input [2-1:0] maxi_rresp,
  input maxi_rlast,
  input maxi_rvalid,
  output maxi_rready,
  input [32-1:0] saxi_awaddr,
  input [4-1:0] saxi_awcache,
  input [3-1:0] saxi_awprot,
  input saxi_awvalid,
  output saxi_awready,
  input [32-1:0] saxi_wdata,
  input [4-1:0] saxi_wstrb,
  input saxi_wvalid,
  output saxi_wready,
  input saxi_bready,
  input [32-1:0] saxi_araddr,
  input [4-1:0] saxi_arcache,
  input [3-1:0] saxi_arprot,
  input saxi_arvalid,
  input saxi_rready
);

  reg [32-1:0] _saxi_register_5;
  reg [32-1:0] frame_address, sum;
  reg [32-1:0] queue [0:4-1];
  reg [2-1:0] head;
  wire [2-1:0] last = head - 1;
  reg [3-1:0] state;
  reg place, reading, seen;
  wire written;
  wire ram_w32_l2_id0_0_addr;
  wire [32-1:0] ram_w32_l2_id0_0_rdata;
  wire [32-1:0] ram_w32_l2_id0_0_wdata;
  wire ram_w32_l2_id0_0_wenable;
  wire ram_w32_l2_id0_0_enable;
  wire ram_w32_l2_id0_1_addr;
  wire [32-1:0] ram_w32_l2_id0_1_rdata;
  wire [32-1:0] ram_w32_l2_id0_1_wdata;
  wire ram_w32_l2_id0_1_wenable;
  wire ram_w32_l2_id0_1_enable;

  ram_w32_l2_id0
  inst_ram_w32_l2_id0
  (
    .CLK(CLK),
    .ram_w32_l2_id0_0_addr(ram_w32_l2_id0_0_addr),
    .ram_w32_l2_id0_0_rdata(ram_w32_l2_id0_0_rdata),
    .ram_w32_l2_id0_0_wdata(ram_w32_l2_id0_0_wdata),
    .ram_w32_l2_id0_0_wenable(ram_w32_l2_id0_0_wenable),
    .ram_w32_l2_id0_0_enable(ram_w32_l2_id0_0_enable),
    .ram_w32_l2_id0_1_addr(ram_w32_l2_id0_1_addr),
    .ram_w32_l2_id0_1_rdata(ram_w32_l2_id0_1_rdata),
    .ram_w32_l2_id0_1_wdata(ram_w32_l2_id0_1_wdata),
    .ram_w32_l2_id0_1_wenable(ram_w32_l2_id0_1_wenable),
    .ram_w32_l2_id0_1_enable(ram_w32_l2_id0_1_enable)
  );

  assign saxi_awready = state == 0 && saxi_awvalid && saxi_wvalid;
  assign saxi_wready = saxi_awready;
  assign written = saxi_awready;
  assign maxi_arlen = 1;
  assign maxi_awlen = 0;
  assign maxi_rready = 1;
  assign maxi_wdata = sum;
  assign maxi_wstrb = 15;
  assign maxi_wlast = 1;
  assign maxi_bready = 1;
  assign ram_w32_l2_id0_0_addr = place;
  assign ram_w32_l2_id0_0_wdata = 0;
  assign ram_w32_l2_id0_0_wenable = 0;
  assign ram_w32_l2_id0_0_enable = reading;
  assign ram_w32_l2_id0_1_addr = place;
  assign ram_w32_l2_id0_1_wdata = maxi_rdata;
  assign ram_w32_l2_id0_1_wenable = 1;
  assign ram_w32_l2_id0_1_enable = maxi_rvalid;

  always @(posedge CLK) begin
    if(!RESETN) begin
      state <= 0;
      _saxi_register_5 <= 0;
      irq <= 0;
      head <= 0;
      place <= 0;
      reading <= 0;
      seen <= 0;
      maxi_awvalid <= 0;
      maxi_wvalid <= 0;
      maxi_arvalid <= 0;
    end else case(state)
      0: if(written) case(saxi_awaddr)
        136: begin
          queue[head] <= saxi_wdata;
          head <= head + 1;
        end
        140: frame_address <= saxi_wdata;
        16: begin
          _saxi_register_5 <= 1;
          maxi_araddr <= frame_address;
          maxi_arvalid <= 1;
          sum <= 0;
          state <= 1;
        end
      endcase
      1: if(maxi_arready) begin
        maxi_arvalid <= 0;
        state <= 2;
      end
      2: if(maxi_rvalid) begin
        place <= !place;
        if(maxi_rlast) begin
          reading <= 1;
          state <= 3;
        end
      end
      3: begin
        place <= !place;
        if(place) reading <= 0;
        seen <= reading;
        if(seen) sum <= sum + {{16{ram_w32_l2_id0_0_rdata[15]}}, ram_w32_l2_id0_0_rdata[15:0]}
                            + {{16{ram_w32_l2_id0_0_rdata[31]}}, ram_w32_l2_id0_0_rdata[31:16]};
        if(seen && !reading) begin
          place <= 0;
          maxi_awaddr <= queue[last];
          maxi_awvalid <= 1;
          state <= 4;
        end
      end
      4: if(maxi_awready) begin
        maxi_awvalid <= 0;
        maxi_wvalid <= 1;
        state <= 5;
      end
      5: if(maxi_wready) begin
        maxi_wvalid <= 0;
        state <= 6;
      end
      6: if(maxi_bvalid) begin
        _saxi_register_5 <= 0;
        state <= 0;
      end
    endcase
  end
endmodule

module ram_w32_l2_id0
(
  input CLK,
  input [1-1:0] ram_w32_l2_id0_0_addr,
  output [32-1:0] ram_w32_l2_id0_0_rdata,
  input [32-1:0] ram_w32_l2_id0_0_wdata,
  input ram_w32_l2_id0_0_wenable,
  input ram_w32_l2_id0_0_enable,
  input [1-1:0] ram_w32_l2_id0_1_addr,
  output [32-1:0] ram_w32_l2_id0_1_rdata,
  input [32-1:0] ram_w32_l2_id0_1_wdata,
  input ram_w32_l2_id0_1_wenable,
  input ram_w32_l2_id0_1_enable
);

  reg [32-1:0] ram_w32_l2_id0_0_rdata_out;
  assign ram_w32_l2_id0_0_rdata = ram_w32_l2_id0_0_rdata_out;
  reg [32-1:0] ram_w32_l2_id0_1_rdata_out;
  assign ram_w32_l2_id0_1_rdata = ram_w32_l2_id0_1_rdata_out;
  reg [32-1:0] mem [0:2-1];

  always @(posedge CLK) begin
    if(ram_w32_l2_id0_0_enable) ram_w32_l2_id0_0_rdata_out <= mem[ram_w32_l2_id0_0_addr];
    if(ram_w32_l2_id0_1_enable && ram_w32_l2_id0_1_wenable) mem[ram_w32_l2_id0_1_addr] <= ram_w32_l2_id0_1_wdata;
  end
endmodule
