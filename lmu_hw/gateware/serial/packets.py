"""Packets on a serial line, as `lmu_hw.host.link` defines them: framing, checksum, a buffer for one body."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from lmu_hw.host.link import ESCAPE, FLAG, INVERT, OVERHEAD

__all__ = ["PacketReceiver", "PacketTransmitter", "content_layout"]

CHECKSUM = catalog.CRC32_ISO_HDLC
CHECKSUM_BYTES = 4


def content_layout() -> data.StructLayout:
    """One byte of a packet between its flags, the checksum apart: ``data`` and ``last``."""
    return data.StructLayout({"data": 8, "last": 1})


class PacketReceiver(wiring.Component):
    """Takes the bytes of a line, and keeps a whole packet until it is released.

    Parameters
    ----------
    longest : int
        Bytes of the longest body.

    Members
    -------
    data : In(8)
        A byte, with `valid`.
    valid : In(1)
        Take it; two cycles or more from one to the next.
    error : In(1)
        A byte was lost: what is between the flags around it is damaged.
    kind, sequence : Out(8)
        Of the packet that is held.
    length : Out(range(longest + 1))
        Bytes of its body.
    held : Out(1)
        A whole packet with a right checksum is there.
    release : In(1)
        It is not needed any more.
    address : In(range(longest))
        Place in its body; the byte arrives one cycle later on `body`.
    body : Out(8)
        The byte.
    damaged : Out(1)
        One cycle: bytes between two flags were no packet.
    overflow : Out(1)
        One cycle: a packet was lost, as it was too long or began while another one was held.

    A packet is held from two cycles after its closing flag on.
    """

    def __init__(self, longest: int):
        self.longest = longest
        super().__init__(
            {
                "data": In(8),
                "valid": In(1),
                "error": In(1),
                "kind": Out(8),
                "sequence": Out(8),
                "length": Out(range(longest + 1)),
                "held": Out(1),
                "release": In(1),
                "address": In(range(max(2, longest))),
                "body": Out(8),
                "damaged": Out(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        most = self.longest + OVERHEAD
        count = Signal(range(most + 2))
        escaped = Signal()
        broken = Signal()
        lost = Signal()
        byte = Signal(8)
        take = Signal()
        flag = Signal()
        m.submodules.checksum = checksum = CHECKSUM(8).create()
        self._buffer(m, count, byte, take & ~self.held & ~lost)
        m.d.comb += [
            flag.eq(self.valid & (self.data == FLAG)),
            take.eq(self.valid & ~flag & (self.data != ESCAPE)),
            byte.eq(self.data ^ Mux(escaped, INVERT, 0)),
            checksum.data.eq(byte),
            checksum.valid.eq(take),
            checksum.start.eq(flag),
        ]
        m.d.sync += [self.damaged.eq(0), self.overflow.eq(0)]
        with m.If(self.release):
            m.d.sync += self.held.eq(0)
        with m.If(self.error):
            m.d.sync += broken.eq(1)
        with m.If(flag):
            m.d.sync += [count.eq(0), escaped.eq(0), broken.eq(0), lost.eq(0)]
            with m.If(lost):
                m.d.sync += self.overflow.eq(1)
            with m.Elif((count >= OVERHEAD) & checksum.match_detected & ~escaped & ~broken):
                m.d.sync += [self.held.eq(1), self.length.eq(count - OVERHEAD)]
            with m.Elif((count != 0) | escaped | broken):
                m.d.sync += self.damaged.eq(1)
        with m.Elif(self.valid):
            m.d.sync += escaped.eq(~take)
            with m.If(self.held | (take & (count == most))):
                m.d.sync += lost.eq(1)
            with m.Elif(take & ~lost):
                m.d.sync += count.eq(count + 1)
                with m.If(count == 0):
                    m.d.sync += self.kind.eq(byte)
                with m.If(count == 1):
                    m.d.sync += self.sequence.eq(byte)
        return m

    def _buffer(self, m: Module, count: Signal, byte: Signal, take: Signal) -> None:
        """Bytes from the third on, the checksum among them; what is not body is never read."""
        depth = self.longest + CHECKSUM_BYTES
        m.submodules.cells = cells = memory.Memory(shape=8, depth=depth, init=[])
        write = cells.write_port()
        read = cells.read_port()
        m.d.comb += [
            write.addr.eq(count - 2),
            write.data.eq(byte),
            write.en.eq(take & (count >= 2) & (count < depth + 2)),
            read.addr.eq(self.address),
            read.en.eq(1),
            self.body.eq(read.data),
        ]


class PacketTransmitter(wiring.Component):
    """Puts flags, checksum and escapes around and into the bytes of packets.

    Members
    -------
    i : In(stream of content_layout())
        Bytes of packets, at least one each.
    o : Out(stream of 8 bits)
        What goes on the line.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(content_layout())), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.checksum = checksum = CHECKSUM(8).create()
        byte = Signal(8)
        special = Signal()
        escaped = Signal()
        done = Signal()
        tail = Signal(range(CHECKSUM_BYTES))
        m.d.comb += [
            special.eq((byte == FLAG) | (byte == ESCAPE)),
            done.eq(self.o.ready & (escaped | ~special)),
            checksum.data.eq(self.i.payload.data),
        ]

        def send() -> None:
            """The byte, after an escape where it needs one."""
            m.d.comb += self.o.payload.eq(Mux(escaped, byte ^ INVERT, Mux(special, ESCAPE, byte)))
            with m.If(self.o.ready & self.o.valid):
                m.d.sync += escaped.eq(special & ~escaped)

        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [self.o.payload.eq(FLAG), self.o.valid.eq(self.i.valid), checksum.start.eq(1)]
                with m.If(self.i.valid & self.o.ready):
                    m.next = "CONTENT"
            with m.State("CONTENT"):
                m.d.comb += [
                    byte.eq(self.i.payload.data),
                    self.o.valid.eq(self.i.valid),
                    self.i.ready.eq(done),
                    checksum.valid.eq(self.i.valid & done),
                ]
                send()
                with m.If(self.i.valid & self.i.payload.last & done):
                    m.next = "CHECKSUM"
            with m.State("CHECKSUM"):
                m.d.comb += [byte.eq(checksum.crc.word_select(tail, 8)), self.o.valid.eq(1)]
                send()
                with m.If(done):
                    m.d.sync += tail.eq(tail + 1)
                    with m.If(tail == CHECKSUM_BYTES - 1):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [self.o.payload.eq(FLAG), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.next = "OPEN"
        return m
