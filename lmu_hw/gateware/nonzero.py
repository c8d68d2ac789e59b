"""Which elements of a vector are not zero, so that only those are read."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from lmu_hw.plan.plan import Plan

__all__ = ["NonzeroMap"]

WORD = 16
"""Bits that share a clock gate."""


class NonzeroMap(wiring.Component):
    """A bit for each word of some data memories, set if the word is not zero, and a search for the next one.

    Parameters
    ----------
    plan : Plan
        With `skipping_memories`, which have a map.

    Members
    -------
    write : In(one bit for each data memory)
        Which memories a word is written to in this cycle.
    address : In
        Where.
    nonzero : In(1)
        Whether the word is not zero.
    enable : In(1)
        Search; without it all inputs of the search are still, so that it takes no energy.
    memory : In
        Index of the data memory to search, which must have a map.
    start, stop : In
        First and last word that count.
    found : Out
        The first word from `start` to `stop` that is not zero, in the same cycle; 0 if there is none.
    last : Out(1)
        There is no other behind it.

    A word written in a cycle is known from the next cycle on, as in the memory. The bits have no reset: nothing is
    searched that was not written. They are set by masks, not one by one, so that a word of them has one enable, which a
    clock gate takes.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        address = unsigned(bits_for(max(memory.depth for memory in plan.data_memories) - 1))
        self.depth = max(plan.data_memories[index].depth for index in plan.skipping_memories)
        place = unsigned(bits_for(self.depth - 1))
        super().__init__(
            {
                "write": In(unsigned(len(plan.data_memories))),
                "address": In(address),
                "nonzero": In(1),
                "enable": In(1),
                "memory": In(unsigned(bits_for(len(plan.data_memories) - 1))),
                "start": In(place),
                "stop": In(place),
                "found": Out(place),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        maps = [self._map(m, index) for index in self.plan.skipping_memories]
        live = Signal(self.depth)
        m.d.comb += live.eq(maps[0])
        for index, bits in zip(self.plan.skipping_memories[1:], maps[1:], strict=True):
            with m.If(self.memory == index):
                m.d.comb += live.eq(bits)
        counted = Signal(self.depth)
        every = Const(-1, self.depth)
        start = Mux(self.enable, self.start, 0)
        m.d.comb += counted.eq(Mux(self.enable, live, 0) & (every << start) & ~(every << 1 << self.stop))
        words = Array(counted[first : first + WORD] for first in range(0, self.depth, WORD))
        filled = Cat(word.any() for word in words)
        word = Signal(range(max(2, len(words))))
        chosen = Signal(WORD)
        bit = Signal(range(WORD))
        m.d.comb += [word.eq(_first(m, filled, "word")), chosen.eq(words[word]), bit.eq(_first(m, chosen, "bit"))]
        place = Cat(bit, word) if len(words) > 1 else bit
        m.d.comb += [self.found.eq(place), self.last.eq(~_several(filled) & ~_several(chosen))]
        return m

    def _map(self, m: Module, index: int) -> Value:
        """Bits of one memory."""
        memory = self.plan.data_memories[index]
        words = []
        for number, first in enumerate(range(0, memory.depth, WORD)):
            size = min(WORD, memory.depth - first)
            bits = Signal(size, name=f"{memory.name}_{number}", reset_less=True)
            place = Signal(size, name=f"{memory.name}_{number}_place")
            m.d.comb += place.eq(Const(1, size) << self.address[: ceil_log2(WORD)])
            with m.If(self.write[index] & (self.address[ceil_log2(WORD) :] == number)):
                m.d.sync += bits.eq((bits & ~place) | (place & self.nonzero.replicate(size)))
            words.append(bits)
        return Cat(words)


def _first(m: Module, bits: Value, name: str) -> Signal:
    """Index of the lowest bit that is set, 0 if none is."""
    first = Signal(range(max(2, len(bits))), name=f"first_{name}")
    for index in reversed(range(len(bits))):
        with m.If(bits[index]):
            m.d.comb += first.eq(index)
    return first


def _several(bits: Value) -> Value:
    """Whether more than one bit is set."""
    return (bits & (bits - 1)[: len(bits)]).any()
