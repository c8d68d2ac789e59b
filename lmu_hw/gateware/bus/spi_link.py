"""SPI, mode 0: bits on pins become bytes, and bytes bits."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["SpiLink"]


class SpiLink(wiring.Component):
    """The device's end of an SPI bus, sampled by the clock.

    Members
    -------
    sck, cs_n, mosi : In(1)
        Pins; they pass two flip-flops each.
    miso : Out(1)
        Bit 7 of a byte first; changes after the falling edge of SCK.
    miso_enable : Out(1)
        A transfer is under way.
    start, stop : Out(1)
        A transfer starts or ends; one cycle.
    received : Out(1)
        A byte arrived; one cycle.
    byte : Out(8)
        With `received`: which.
    partial : Out(1)
        With `stop`: the last byte was incomplete.
    send : In(8)
        The next byte to send: taken with `start`, and between a byte and the next.

    From `received` to the cycle in which `send` is taken there are at least 3 cycles if SCK is high for
    `lmu_hw.host.spi.HALF_PERIOD_CYCLES`. MISO changes 3 to 4 cycles after the falling edge of SCK.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "sck": In(1),
                "cs_n": In(1),
                "mosi": In(1),
                "miso": Out(1),
                "miso_enable": Out(1),
                "start": Out(1),
                "stop": Out(1),
                "received": Out(1),
                "byte": Out(8),
                "partial": Out(1),
                "send": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sck = Signal()
        cs_n = Signal(init=1)
        mosi = Signal()
        m.submodules.sck = FFSynchronizer(self.sck, sck)
        m.submodules.cs_n = FFSynchronizer(self.cs_n, cs_n, init=1)
        m.submodules.mosi = FFSynchronizer(self.mosi, mosi)
        sck_before = Signal()
        cs_n_before = Signal(init=1)
        rises = Signal()
        falls = Signal()
        bits = Signal(3)
        shifted_in = Signal(7)
        shifted_out = Signal(8)
        m.d.sync += [sck_before.eq(sck), cs_n_before.eq(cs_n)]
        m.d.comb += [
            rises.eq(~cs_n & sck & ~sck_before),
            falls.eq(~cs_n & ~sck & sck_before),
            self.start.eq(~cs_n & cs_n_before),
            self.stop.eq(cs_n & ~cs_n_before),
            self.received.eq(rises & (bits == 7)),
            self.byte.eq(Cat(mosi, shifted_in)),
            self.partial.eq(bits != 0),
            self.miso.eq(shifted_out[7]),
            self.miso_enable.eq(~cs_n),
        ]
        with m.If(rises):
            m.d.sync += [shifted_in.eq(self.byte), bits.eq(bits + 1)]
        with m.If(falls):
            m.d.sync += shifted_out.eq(shifted_out << 1)
            with m.If(bits == 0):
                m.d.sync += shifted_out.eq(self.send)
        with m.If(self.start):
            m.d.sync += [bits.eq(0), shifted_out.eq(self.send)]
        return m
