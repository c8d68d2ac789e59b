"""Frames from SPI: bytes become elements, and the end of a transfer the end of a frame."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import feature_layout, whole_bytes
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.plan import Plan

__all__ = ["SpiFrames"]


class SpiFrames(wiring.Component):
    """Makes elements of bytes; each is held back until it is known whether it is the frame's last one.

    A frame that ends within an element is given a wrong length, so that the core drops it. A frame that the core has no
    room for when its first element is passed on is dropped here.

    Parameters
    ----------
    plan : Plan
        The core's.

    Members
    -------
    frame : In(1)
        The transfer carries a frame.
    frame_end : In(1)
        With `frame`: the state is cleared after it (under the utterance policy).
    received, byte : In
        A byte of it.
    stop : In(1)
        The transfer ends.
    partial : In(1)
        With `stop`: within a byte.
    o : Out(stream of feature_layout(plan))
        Elements, for the core's input: its ready must stay high within a frame, and a valid waits for it.
    holding : Out(1)
        An element is held back.
    overrun : Out(1)
        A frame is dropped here; one cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "frame": In(1),
                "frame_end": In(1),
                "received": In(1),
                "byte": In(8),
                "stop": In(1),
                "partial": In(1),
                "o": Out(stream.Signature(feature_layout(plan))),
                "holding": Out(1),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = whole_bytes(self.plan.model.input.width) // 8
        inputs = self.plan.model.inputs
        element = Signal(8 * size)
        whole = Signal(8 * size)
        place = Signal(range(max(2, size)))
        held = Signal(self.plan.model.input.width)
        count = Signal(range(inputs + 2))
        complete = Signal()
        passes = Signal()
        ends = Signal()
        longer = Signal()  # all elements were there, and a part of one more: an element more makes the length wrong
        extra = Signal()
        begun = Signal()
        dropped = Signal()
        starts = self.received & self.frame
        m.d.comb += [
            whole.eq(Cat(element[8:], self.byte)),
            complete.eq(starts & (place == size - 1)),
            ends.eq(self.frame & self.stop & self.holding),
            passes.eq((complete & self.holding) | ends | extra),
            self.overrun.eq(passes & ~begun & ~self.o.ready),
            self.o.valid.eq(passes & ~dropped & ~self.overrun),
            self.o.payload.data.eq(held),
            longer.eq(ends & ((place != 0) | self.partial) & (count == inputs)),
            self.o.payload.last.eq(extra | (ends & ~longer)),
        ]
        if self.plan.config.state is StatePolicy.UTTERANCE:
            end = Signal()
            with m.If(self.frame):
                m.d.sync += end.eq(self.frame_end)
            m.d.comb += self.o.payload.end.eq(end)
        with m.If(starts):
            m.d.sync += [element.eq(whole), place.eq(place + 1)]
        with m.If(complete):
            m.d.sync += [place.eq(0), held.eq(whole), self.holding.eq(1)]
            with m.If(count != inputs + 1):
                m.d.sync += count.eq(count + 1)
        with m.If(passes):
            m.d.sync += [begun.eq(1), dropped.eq(dropped | self.overrun)]
        m.d.sync += extra.eq(longer)
        with m.If(extra | (self.frame & self.stop & ~longer)):
            m.d.sync += [place.eq(0), count.eq(0), self.holding.eq(0), begun.eq(0), dropped.eq(0)]
        return m
