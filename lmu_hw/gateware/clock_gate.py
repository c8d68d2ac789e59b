"""A clock gate of ordinary parts, in a module of its own so that a better one can take its place."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FREE", "ClockGate", "add_block"]

FREE = "free"
"""Domain of the clock that never stops, where blocks are gated."""


class ClockGate(wiring.Component):
    """Passes a clock's pulse, or does not: a flip-flop on the falling edge, and an AND gate.

    A library's integrated clock gate of the kind with a latch does the same with `clk`, `enable` and `gated`.

    Parameters
    ----------
    behind : bool
        Whether the clock comes from another gate.

    Members
    -------
    clk : In(1)
        The clock.
    free : In(1)
        With `behind` only: the clock that never stops, of which `clk` has some pulses.
    enable : In(1)
        Whether the next rising edge passes; settles in the first half of the cycle before it.
    gated : Out(1)
        The clock, low where it does not pass; no pulse is cut.
    """

    def __init__(self, *, behind: bool = False):
        self.behind = behind
        super().__init__({"clk": In(1), "enable": In(1), "gated": Out(1)} | ({"free": In(1)} if behind else {}))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.falling = falling = ClockDomain("falling", clk_edge="neg", reset_less=True, local=True)
        falling.clk = self.free if self.behind else self.clk
        passes = Signal(init=1)
        m.d.comb += self.gated.eq(self.clk & passes)
        m.d.falling += passes.eq(self.enable)
        return m


def add_block(m: Module, name: str, block: wiring.Component, enable: Value | None) -> None:
    """Add a submodule, behind a clock gate if it has an enable.

    Parameters
    ----------
    m : Module
        With the domains ``sync`` and `FREE`.
    name : str
        Of the submodule.
    block : Component
        Of one domain, ``sync``.
    enable : Value or None
        At least one bit that is not 0 in each cycle at whose end a register of the block may change, but for reset;
        None for no gate.
    """
    if enable is None:
        m.submodules[name] = block
        return
    m.submodules[f"{name}_gate"] = gate = ClockGate(behind=True)
    domain = ClockDomain(name, local=True)
    m.domains += domain
    m.d.comb += [
        gate.clk.eq(ClockSignal()),
        gate.free.eq(ClockSignal(FREE)),
        gate.enable.eq(enable.any() | ResetSignal()),
        domain.clk.eq(gate.gated),
        domain.rst.eq(ResetSignal()),
    ]
    m.submodules[name] = DomainRenamer(name)(block)
