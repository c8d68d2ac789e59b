"""What the bytes of an SPI transfer mean."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.bus.register_bus import RegisterBus
from lmu_hw.host.spi import MARK, Command

__all__ = ["SpiCommands"]


class Phase(enum.Enum, shape=4):  # type: ignore[call-arg]
    """What the next byte of a transfer is."""

    COMMAND = 0
    WRITE_ADDRESS = 1
    WRITE = 2
    READ_ADDRESS = 3
    READ = 4
    FRAME = 5
    FRAME_END = 6
    RESULT = 7
    IGNORE = 8


AFTER = {
    Command.STATUS: Phase.IGNORE,
    Command.WRITE: Phase.WRITE_ADDRESS,
    Command.READ: Phase.READ_ADDRESS,
    Command.FRAME: Phase.FRAME,
    Command.FRAME_END: Phase.FRAME_END,
    Command.RESULT: Phase.RESULT,
}
"""What follows each command."""


class SpiCommands(wiring.Component):
    """Takes a transfer's command, and does or passes on what follows.

    Members
    -------
    stop, received, byte : In
        From `SpiLink`.
    send : Out(8)
        To it.
    irq, busy, room, result : In(1)
        For the status byte.
    bus : Out(RegisterBus)
        The registers.
    frame : Out(1)
        The bytes received belong to a frame.
    frame_end : Out(1)
        With `frame`: an utterance ends with it.
    open : Out(1)
        The latest result is asked for; one cycle.
    reading : Out(1)
        It is being sent.
    next : Out(1)
        Its next byte; one cycle.
    result_byte : In(8)
        The byte of it to send, from the cycle after `open` or `next` on.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "stop": In(1),
                "received": In(1),
                "byte": In(8),
                "send": Out(8),
                "irq": In(1),
                "busy": In(1),
                "room": In(1),
                "result": In(1),
                "bus": Out(RegisterBus()),
                "frame": Out(1),
                "frame_end": Out(1),
                "open": Out(1),
                "reading": Out(1),
                "next": Out(1),
                "result_byte": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        status = Signal(8)
        refused = Signal()
        fetch = Signal()
        phase = Signal(Phase)
        place = Signal(2)
        address = Signal.like(self.bus.read_address)
        word = Signal(32)
        m.d.comb += [
            status.eq(Cat(self.irq, self.busy, self.room, self.result, refused, Const(0, 1), Const(MARK, 2))),
            self.bus.write_address.eq(address),
            self.bus.read_address.eq(address),
            self.bus.write_data.eq(Cat(word[8:], self.byte)),
            self.bus.write_strobes.eq(0b1111),
        ]
        m.d.sync += fetch.eq(0)
        with m.If(fetch):
            m.d.sync += word.eq(self.bus.read_data)
            with m.If(self.bus.read_error):
                m.d.sync += refused.eq(1)
        with m.Switch(phase):
            with m.Case(Phase.COMMAND):
                m.d.comb += [self.send.eq(status), self.open.eq(self.received & (self.byte == Command.RESULT))]
                with m.If(self.received):
                    m.d.sync += place.eq(0)
                    self._choose(m, phase, refused)
            with m.Case(Phase.WRITE_ADDRESS):
                with m.If(self.received):
                    m.d.sync += [address.eq(self.byte[2:]), phase.eq(Phase.WRITE)]
            with m.Case(Phase.READ_ADDRESS):
                with m.If(self.received):
                    m.d.sync += [address.eq(self.byte[2:]), phase.eq(Phase.READ), fetch.eq(1)]
            with m.Case(Phase.WRITE):
                with m.If(self.received):
                    m.d.sync += [word.eq(self.bus.write_data), place.eq(place + 1)]
                    m.d.comb += self.bus.write.eq(place == 3)
                with m.If(self.bus.write & self.bus.write_error):
                    m.d.sync += refused.eq(1)
            with m.Case(Phase.READ):
                m.d.comb += self.send.eq(word[:8])
                with m.If(self.received):
                    m.d.sync += [word.eq(word >> 8), place.eq(place + 1), fetch.eq(place == 3)]
            with m.Case(Phase.RESULT):
                m.d.comb += [self.send.eq(self.result_byte), self.next.eq(self.received)]
        m.d.comb += [
            self.frame.eq((phase == Phase.FRAME) | (phase == Phase.FRAME_END)),
            self.frame_end.eq(phase == Phase.FRAME_END),
            self.reading.eq(phase == Phase.RESULT),
        ]
        with m.If(self.stop):
            m.d.sync += phase.eq(Phase.COMMAND)
        return m

    def _choose(self, m: Module, phase: Signal, refused: Signal) -> None:
        """Start what the command byte asks for."""
        m.d.sync += refused.eq(0)
        with m.Switch(self.byte):
            for command, follows in AFTER.items():
                with m.Case(command):
                    m.d.sync += phase.eq(follows)
            with m.Default():
                m.d.sync += [phase.eq(Phase.IGNORE), refused.eq(1)]
