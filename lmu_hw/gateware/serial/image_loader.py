"""Puts the bytes of a weight image together to words for the load port."""

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.layouts import load_layout
from lmu_hw.host.link import LinkLayout
from lmu_hw.plan.plan import Plan

__all__ = ["ImageLoader"]


class ImageLoader(wiring.Component):
    """Fills the memories of the accelerator in the order of the weight image.

    Parameters
    ----------
    plan : Plan
        One with weights in RAM.

    Members
    -------
    begin : In(1)
        Start again with the first byte of the image.
    i : In(stream of 8 bits)
        Bytes of the image; those after the last one are taken and ignored.
    o_load : Out(stream of load_layout(plan))
        Words.
    whole : Out(1)
        The last word was taken.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "begin": In(1),
                "i": In(stream.Signature(8)),
                "o_load": Out(stream.Signature(load_layout(plan))),
                "whole": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        image = LinkLayout.of(self.plan).image
        word = self.o_load.payload
        data = Signal(8 * max(size for _, size in image))
        byte = Signal(range(max(2, max(size for _, size in image))))
        last_byte = Signal.like(byte)
        last_address = Signal.like(word.address)
        memory = Signal.like(word.memory)
        address = Signal.like(word.address)
        m.d.comb += [
            last_byte.eq(Array(Const(size - 1, bits_for(size - 1)) for _, size in image)[memory]),
            last_address.eq(Array(Const(words - 1, bits_for(words - 1)) for words, _ in image)[memory]),
            word.memory.eq(memory),
            word.address.eq(address),
            word.data.eq(data),
            self.i.ready.eq(~self.o_load.valid),
        ]
        with m.If(self.begin):
            m.d.sync += [self.whole.eq(0), memory.eq(0), address.eq(0), byte.eq(0), self.o_load.valid.eq(0)]
        with m.Elif(self.o_load.valid & self.o_load.ready):
            m.d.sync += [self.o_load.valid.eq(0), address.eq(address + 1)]
            with m.If(address == last_address):
                m.d.sync += [address.eq(0), memory.eq(memory + 1), self.whole.eq(memory == len(image) - 1)]
        with m.Elif(self.i.valid & self.i.ready & ~self.whole):
            m.d.sync += [data.word_select(byte, 8).eq(self.i.payload), byte.eq(byte + 1)]
            with m.If(byte == last_byte):
                m.d.sync += [byte.eq(0), self.o_load.valid.eq(1)]
        return m
