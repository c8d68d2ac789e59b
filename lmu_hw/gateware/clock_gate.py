"""A clock gate of ordinary parts, in a module of its own so that a better one can take its place."""

from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ClockGate"]


class ClockGate(wiring.Component):
    """Passes a clock's pulse, or does not: a flip-flop on the falling edge, and an AND gate.

    Members
    -------
    clk : In(1)
        The clock.
    enable : In(1)
        Whether the next rising edge passes; settles in the first half of the cycle before it.
    gated : Out(1)
        The clock, low where it does not pass; no pulse is cut.
    """

    clk: In(1)
    enable: In(1)
    gated: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.falling = falling = ClockDomain("falling", clk_edge="neg", reset_less=True, local=True)
        falling.clk = self.clk
        passes = Signal(init=1)
        m.d.comb += self.gated.eq(self.clk & passes)
        m.d.falling += passes.eq(self.enable)
        return m
