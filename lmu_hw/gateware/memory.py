"""Memories with one port: a read or a write in a cycle, never both."""

from collections.abc import Sequence

from amaranth.hdl import Array, Module, Mux, Shape, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.clock_gate import add_block

__all__ = [
    "BankedReadOnly", "BankedSinglePort", "Constants", "ReadOnly", "RegisterBanks", "Registers", "SinglePort",
    "read_signature"
]  # fmt: skip


def _address_range(depth: int) -> range:
    return range(max(2, depth))


def _single_port(shape: Shape, depth: int) -> dict[str, wiring.Member]:
    return {
        "address": In(_address_range(depth)),
        "read": In(1),
        "write": In(1),
        "w_data": In(shape),
        "r_data": Out(shape),
    }


def read_signature(shape: Shape, depth: int) -> wiring.Signature:
    """Read port of a memory, as its user sees it.

    Members
    -------
    address : Out(range(depth))
        Word to read.
    read : Out(1)
        Read in this cycle.
    r_data : In(shape)
        The word read last, from the cycle after the read on.
    """
    return wiring.Signature({"address": Out(_address_range(depth)), "read": Out(1), "r_data": In(shape)})


def _registers(shape: Shape, depth: int) -> dict[str, wiring.Member]:
    return {
        "r_address": In(_address_range(depth)),
        "r_data": Out(shape),
        "w_address": In(_address_range(depth)),
        "write": In(1),
        "w_data": In(shape),
    }


def _cells(m: Module, shape: Shape, depth: int, domain: str) -> tuple[memory.ReadPort, memory.WritePort]:
    """Add a memory of two words at least, and give its ports; the read port is in that domain."""
    m.submodules.cells = cells = memory.Memory(shape=shape, depth=max(2, depth), init=[])
    read = cells.read_port(domain=domain)  # Amaranth names the ports after these variables
    write = cells.write_port()
    return read, write


def _constants(shape: Shape, words: list[int]) -> memory.Memory:
    """A memory that holds words from the start, two at least."""
    init = words + [0] * max(0, 2 - len(words))
    return memory.Memory(shape=shape, depth=len(init), init=init)


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
        super().__init__(_single_port(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        read, write = _cells(m, self.shape, self.depth, "sync")
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.read),
            self.r_data.eq(read.data),
            write.addr.eq(self.address),
            write.en.eq(self.write),
            write.data.eq(self.w_data),
        ]
        return m


class Registers(wiring.Component):
    """A memory whose words are read in the same cycle: registers, one clock gate for each word.

    Parameters
    ----------
    shape : Shape
        Of a word.
    depth : int
        Words, at least 1.

    Members
    -------
    r_address : In(range(depth))
        Of the word that is read.
    r_data : Out(shape)
        The word, in the same cycle.
    w_address : In(range(depth))
        Of the word that is written.
    write : In(1)
        Write in this cycle.
    w_data : In(shape)
        What to write.
    """

    def __init__(self, shape: Shape, depth: int):
        self.shape = shape
        self.depth = depth
        super().__init__(_registers(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        read, write = _cells(m, self.shape, self.depth, "comb")
        m.d.comb += [
            read.addr.eq(self.r_address),
            self.r_data.eq(read.data),
            write.addr.eq(self.w_address),
            write.en.eq(self.write),
            write.data.eq(self.w_data),
        ]
        return m


class RegisterBanks(wiring.Component):
    """`Registers` in banks: a read and a write move one bank each, the others are still.

    Parameters
    ----------
    shape : Shape
        Of a word.
    depth : int
        Words, at least 1.
    bank_words : int
        Words of a bank, a power of two; the last one may have fewer.
    gated : bool
        Whether each bank is behind a clock gate, open for writes to it.

    Members
    -------
    r_address, r_data, w_address, write, w_data
        As for `Registers`. Banks that are not read get the address 0, those that are not written address and data 0.
    """

    def __init__(self, shape: Shape, depth: int, bank_words: int, *, gated: bool):
        self.bank_words = bank_words
        self.gated = gated
        self.banks = [Registers(shape, min(bank_words, depth - start)) for start in range(0, depth, bank_words)]
        super().__init__(_registers(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low = self.bank_words.bit_length() - 1
        words = []
        for index, bank in enumerate(self.banks):
            writes = Signal(name=f"writes{index}")
            add_block(m, f"bank{index}", bank, writes if self.gated else None)
            m.d.comb += [
                writes.eq(self.write & (self.w_address[low:] == index)),
                bank.r_address.eq(Mux(self.r_address[low:] == index, self.r_address[:low], 0)),
                bank.w_address.eq(Mux(writes, self.w_address[:low], 0)),
                bank.write.eq(writes),
                bank.w_data.eq(Mux(writes, self.w_data, 0)),
            ]
            words.append(bank.r_data)
        m.d.comb += self.r_data.eq(Array(words)[self.r_address[low:]])
        return m


class BankedSinglePort(wiring.Component):
    """A memory of registers in banks in the place of a `SinglePort`, for elements that are read in the next cycle.

    Parameters
    ----------
    shape, depth, bank_words, gated
        As for `RegisterBanks`; with `gated` there is also a clock gate before them all, open for writes.

    Members
    -------
    address, read, write, w_data, r_data
        As for `SinglePort`, but that `r_data` changes if the word read last is written.
    """

    def __init__(self, shape: Shape, depth: int, bank_words: int, *, gated: bool):
        self.gated = gated
        self.banks = RegisterBanks(shape, depth, bank_words, gated=gated)
        super().__init__(_single_port(shape, depth))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal.like(self.address, reset_less=True)
        add_block(m, "banks", self.banks, self.write if self.gated else None)
        with m.If(self.read):
            m.d.sync += held.eq(self.address)
        m.d.comb += [
            self.banks.r_address.eq(held),
            self.banks.w_address.eq(self.address),
            self.banks.write.eq(self.write),
            self.banks.w_data.eq(self.w_data),
            self.r_data.eq(self.banks.r_data),
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
        m.submodules.cells = cells = _constants(self.shape, self.init)
        read = cells.read_port()
        m.d.comb += [read.addr.eq(self.address), read.en.eq(self.read), self.r_data.eq(read.data)]
        return m


class Constants(wiring.Component):
    """A table of constants: logic, without a register.

    Parameters
    ----------
    shape : Shape
        Of a word.
    init : sequence of int
        The words, at least one.

    Members
    -------
    address : In(range(depth))
        Of the word.
    data : Out(shape)
        The word, in the same cycle.
    """

    def __init__(self, shape: Shape, init: Sequence[int]):
        self.shape = shape
        self.init = [int(word) for word in init]
        super().__init__({"address": In(_address_range(len(init))), "data": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cells = cells = _constants(self.shape, self.init)
        read = cells.read_port(domain="comb")
        m.d.comb += [read.addr.eq(self.address), self.data.eq(read.data)]
        return m


class BankedReadOnly(wiring.Component):
    """A memory of constants in banks: a read moves the logic of one of them, the others keep their addresses.

    Parameters
    ----------
    shape : Shape
        Of a word.
    init : sequence of int
        The words, at least one.
    bank_words : int
        Words of a bank, a power of two; the last one may have fewer.

    Members
    -------
    address, read, r_data
        As for `ReadOnly`. The word comes out of logic behind a register of the address, not out of a register. That
        saves 64 registers for words of 64 bits, and makes a longer path in the cycle after the read.
    """

    def __init__(self, shape: Shape, init: Sequence[int], bank_words: int):
        self.shape = shape
        self.init = [int(word) for word in init]
        self.bank_words = bank_words
        super().__init__({"address": In(_address_range(len(init))), "read": In(1), "r_data": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low = self.bank_words.bit_length() - 1
        wanted = self.address[low:]
        starts = range(0, len(self.init), self.bank_words)
        chosen = Signal(range(max(2, len(starts))), reset_less=True)
        with m.If(self.read):
            m.d.sync += chosen.eq(wanted)
        words = []
        for index, start in enumerate(starts):
            bank = Constants(self.shape, self.init[start : start + self.bank_words])
            m.submodules[f"bank{index}"] = bank
            held = Signal.like(bank.address, name=f"address{index}", reset_less=True)
            with m.If(self.read & (wanted == index)):
                m.d.sync += held.eq(self.address)
            m.d.comb += bank.address.eq(held)
            words.append(bank.data)
        m.d.comb += self.r_data.eq(Array(words)[chosen])
        return m
