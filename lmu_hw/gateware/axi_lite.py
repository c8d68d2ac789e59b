"""AXI4-Lite: reads and writes of registers, one at a time each."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["OKAY", "SLVERR", "AxiLite"]

OKAY, SLVERR = 0, 2
"""Values of a response."""


class AxiLite(wiring.Component):
    """Turns AXI4-Lite transactions into single cycles of a register bus.

    Parameters
    ----------
    address_width : int
        Bits of a byte address.

    Members
    -------
    awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready : In or Out
        Write channels, named as in AXI4-Lite; 32 bits of data.
    araddr, arvalid, arready, rdata, rresp, rvalid, rready : In or Out
        Read channels.
    write : Out(1)
        In this cycle, write `write_data` to register `write_address`, or refuse with `write_error`.
    write_address, read_address : Out(address_width - 2)
        Number of a register.
    write_data : Out(32)
        The value.
    write_strobes : Out(4)
        The bytes of it to write.
    write_error : In(1)
        With `write`: refuse.
    read : Out(1)
        In this cycle, take `read_data` and `read_error` for register `read_address`.
    read_data : In(32)
        The value.
    read_error : In(1)
        With `read`: refuse.

    Addresses and data of a write may come in any order. A response is offered two cycles after its request was accepted
    and the response before it was taken. No combinational path leads from an input of the bus to an output of it.
    """

    def __init__(self, address_width: int):
        self.address_width = address_width
        super().__init__(
            {
                "awaddr": In(address_width),
                "awvalid": In(1),
                "awready": Out(1),
                "wdata": In(32),
                "wstrb": In(4),
                "wvalid": In(1),
                "wready": Out(1),
                "bresp": Out(2),
                "bvalid": Out(1),
                "bready": In(1),
                "araddr": In(address_width),
                "arvalid": In(1),
                "arready": Out(1),
                "rdata": Out(32),
                "rresp": Out(2),
                "rvalid": Out(1),
                "rready": In(1),
                "write": Out(1),
                "write_address": Out(address_width - 2),
                "write_data": Out(32),
                "write_strobes": Out(4),
                "write_error": In(1),
                "read": Out(1),
                "read_address": Out(address_width - 2),
                "read_data": In(32),
                "read_error": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address_held = Signal()
        data_held = Signal()
        read_held = Signal()
        m.d.comb += [
            self.awready.eq(~address_held),
            self.wready.eq(~data_held),
            self.arready.eq(~read_held),
            self.write.eq(address_held & data_held & ~self.bvalid),
            self.read.eq(read_held & ~self.rvalid),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [address_held.eq(1), self.write_address.eq(self.awaddr[2:])]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [data_held.eq(1), self.write_data.eq(self.wdata), self.write_strobes.eq(self.wstrb)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(self.write):
            m.d.sync += [
                address_held.eq(0),
                data_held.eq(0),
                self.bvalid.eq(1),
                self.bresp.eq(Mux(self.write_error, SLVERR, OKAY)),
            ]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [read_held.eq(1), self.read_address.eq(self.araddr[2:])]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                read_held.eq(0),
                self.rvalid.eq(1),
                self.rdata.eq(Mux(self.read_error, 0, self.read_data)),
                self.rresp.eq(Mux(self.read_error, SLVERR, OKAY)),
            ]
        return m
