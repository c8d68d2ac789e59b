"""AXI4-Lite: reads and writes of registers, one at a time each."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.bus.register_bus import RegisterBus
from lmu_hw.host.registers import ADDRESS_WIDTH

__all__ = ["OKAY", "SLVERR", "AxiLite"]

OKAY, SLVERR = 0, 2
"""Values of a response."""


class AxiLite(wiring.Component):
    """Turns AXI4-Lite transactions into single cycles of a register bus.

    Members
    -------
    awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready : In or Out
        Write channels, named as in AXI4-Lite; 32 bits of data.
    araddr, arvalid, arready, rdata, rresp, rvalid, rready : In or Out
        Read channels.
    bus : Out(RegisterBus)
        The registers.

    Addresses and data of a write may come in any order. A response is offered two cycles after its request was accepted
    and the response before it was taken. No combinational path leads from an input of the bus to an output of it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": In(ADDRESS_WIDTH),
                "awvalid": In(1),
                "awready": Out(1),
                "wdata": In(32),
                "wstrb": In(4),
                "wvalid": In(1),
                "wready": Out(1),
                "bresp": Out(2),
                "bvalid": Out(1),
                "bready": In(1),
                "araddr": In(ADDRESS_WIDTH),
                "arvalid": In(1),
                "arready": Out(1),
                "rdata": Out(32),
                "rresp": Out(2),
                "rvalid": Out(1),
                "rready": In(1),
                "bus": Out(RegisterBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address_held = Signal()
        data_held = Signal()
        read_held = Signal()
        read = Signal()
        m.d.comb += [
            self.awready.eq(~address_held),
            self.wready.eq(~data_held),
            self.arready.eq(~read_held),
            self.bus.write.eq(address_held & data_held & ~self.bvalid),
            read.eq(read_held & ~self.rvalid),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [address_held.eq(1), self.bus.write_address.eq(self.awaddr[2:])]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [data_held.eq(1), self.bus.write_data.eq(self.wdata), self.bus.write_strobes.eq(self.wstrb)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(self.bus.write):
            m.d.sync += [
                address_held.eq(0),
                data_held.eq(0),
                self.bvalid.eq(1),
                self.bresp.eq(Mux(self.bus.write_error, SLVERR, OKAY)),
            ]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [read_held.eq(1), self.bus.read_address.eq(self.araddr[2:])]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(read):
            m.d.sync += [
                read_held.eq(0),
                self.rvalid.eq(1),
                self.rdata.eq(Mux(self.bus.read_error, 0, self.bus.read_data)),
                self.rresp.eq(Mux(self.bus.read_error, SLVERR, OKAY)),
            ]
        return m
