"""A UART: bytes on one wire each way, 8 data bits, no parity, 1 stop bit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["SHORTEST_BIT", "UartReceiver", "UartTransmitter"]

SHORTEST_BIT = 4
"""Cycles of the shortest bit: the middle of a bit must be found to a quarter of it."""


class UartReceiver(wiring.Component):
    """Takes bytes from a wire, least significant bit first.

    A bit is looked at once, in its middle. A start bit that is gone by its middle is no start bit. After a stop bit
    that was 0 nothing is received until the wire was 1 again.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, at least `SHORTEST_BIT`.

    Members
    -------
    rx : In(1)
        The wire; asynchronous.
    data : Out(8)
        A byte, with `valid`.
    valid : Out(1)
        A byte was received; one cycle, in the middle of its stop bit.
    error : Out(1)
        The stop bit was 0; one cycle.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"rx": In(1), "data": Out(8), "valid": Out(1), "error": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))
        bit = Signal(range(8))
        m.d.sync += [self.valid.eq(0), self.error.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), bit.eq(0)]
                    with m.If(rx):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), bit.eq(bit + 1), self.data.eq(Cat(self.data[1:], rx))]
                    with m.If(bit == 7):
                        m.next = "STOP"
            with m.State("STOP"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    with m.If(rx):
                        m.d.sync += self.valid.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += self.error.eq(1)
                        m.next = "BREAK"
            with m.State("BREAK"):
                with m.If(rx):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Puts bytes on a wire, least significant bit first.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, at least `SHORTEST_BIT`.

    Members
    -------
    i : In(stream of 8 bits)
        Bytes; one is taken every ``10 * divisor`` cycles at most.
    tx : Out(1)
        The wire; 1 at rest.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(11))
        bits = Signal(9, init=-1)
        m.d.comb += self.i.ready.eq((left == 0) & (timer == 0))
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [self.tx.eq(bits[0]), bits.eq(Cat(bits[1:], 1)), left.eq(left - 1), timer.eq(self.divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [self.tx.eq(0), bits.eq(Cat(self.i.payload, 1)), left.eq(9), timer.eq(self.divisor - 1)]
        return m
