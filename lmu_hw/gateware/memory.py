"""Memories with one port: a read or a write in a cycle, never both."""

from collections.abc import Sequence

from amaranth.hdl import Module, Shape
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReadOnly", "SinglePort"]


def _address_range(depth: int) -> range:
    return range(max(2, depth))


class SinglePort(wiring.Component):
    """A memory with a single port, as block RAM or as an SRAM macro has it.

    Parameters
    ----------
    shape : Shape
        Of a word.
    depth : int
        Words, at least 1.

    Members
    -------
    address : In(range(depth))
        For the read or the write.
    read : In(1)
        Read in this cycle; must be low while `write` is high.
    write : In(1)
        Write in this cycle.
    w_data : In(shape)
        What to write.
    r_data : Out(shape)
        The word read last, from the cycle after the read on; holds its value between reads.

    Contents are undefined until written. Latency 1 cycle, one access a cycle.
    """

    def __init__(self, shape: Shape, depth: int):
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "address": In(_address_range(depth)),
                "read": In(1),
                "write": In(1),
                "w_data": In(shape),
                "r_data": Out(shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cells = cells = memory.Memory(shape=self.shape, depth=max(2, self.depth), init=[])
        read = cells.read_port()
        write = cells.write_port()
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.read),
            self.r_data.eq(read.data),
            write.addr.eq(self.address),
            write.en.eq(self.write),
            write.data.eq(self.w_data),
        ]
        return m


class ReadOnly(wiring.Component):
    """A memory of constants.

    Parameters
    ----------
    shape : Shape
        Of a word.
    init : sequence of int
        The words, at least one.

    Members
    -------
    address : In(range(depth))
        For the read.
    read : In(1)
        Read in this cycle.
    r_data : Out(shape)
        The word read last, from the cycle after the read on.
    """

    def __init__(self, shape: Shape, init: Sequence[int]):
        self.shape = shape
        self.init = [int(word) for word in init]
        super().__init__({"address": In(_address_range(len(init))), "read": In(1), "r_data": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        padding = [0] * max(0, 2 - len(self.init))
        init = self.init + padding
        m.submodules.cells = cells = memory.Memory(shape=self.shape, depth=len(init), init=init)
        read = cells.read_port()
        m.d.comb += [read.addr.eq(self.address), read.en.eq(self.read), self.r_data.eq(read.data)]
        return m
