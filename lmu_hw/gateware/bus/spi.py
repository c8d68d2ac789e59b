"""The accelerator behind SPI, for a microcontroller: a wrapper around the unchanged core, which sleeps at rest."""

from amaranth.hdl import Cat, ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.bus.core_instance import core_instance
from lmu_hw.gateware.bus.register_block import RegisterBlock
from lmu_hw.gateware.bus.rest import Rest
from lmu_hw.gateware.bus.result_buffer import ResultBuffer
from lmu_hw.gateware.bus.spi_commands import SpiCommands
from lmu_hw.gateware.bus.spi_frames import SpiFrames
from lmu_hw.gateware.bus.spi_link import SpiLink
from lmu_hw.gateware.clock_gate import ClockGate
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["SpiAccelerator", "spi_ports"]


def spi_ports(plan: Plan) -> wiring.Signature:
    """Ports of the wrapper, as `SpiAccelerator` describes them; the same for every plan."""
    return wiring.Signature(
        {
            "clk": In(1),
            "rst": In(1),
            "sck": In(1),
            "cs_n": In(1),
            "mosi": In(1),
            "miso": Out(1),
            "miso_enable": Out(1),
            "irq": Out(1),
        }
    )


class SpiAccelerator(wiring.Component):
    """The accelerator with SPI pins, an interrupt, and a core whose clock stands still at rest.

    Parameters
    ----------
    plan : Plan
        The core's; one that `lmu_hw.host.registers.check` accepts.
    core : str
        Name of the core's Verilog module, from `lmu_hw.export.emit.to_verilog`.

    Members
    -------
    clk, rst : In(1)
        Clock, and synchronous reset.
    sck, cs_n, mosi : In(1)
        SPI, mode 0; timing and commands are in `lmu_hw.host.spi`.
    miso, miso_enable : Out(1)
        Data to the host, and whether to drive it.
    irq : Out(1)
        High while a bit of IRQ_STATUS is set that IRQ_ENABLE has too.

    The core's clock runs only in the cycles in which the core has something to do or to take. Whatever moves between
    the wrapper and the core moves in a cycle in which both run. With `stop_clock` the core gates its own clock, and the
    wrapper has no clock gate.
    """

    def __init__(self, plan: Plan, core: str):
        self.plan = plan
        self.core = core
        super().__init__(spi_ports(plan))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self.plan
        m.domains.sync = domain = ClockDomain("sync")
        m.submodules.link = link = SpiLink()
        m.submodules.commands = commands = SpiCommands()
        m.submodules.registers = registers = RegisterBlock(plan)
        gated = Signal()
        m.submodules.core, core = core_instance(plan, self.core, gated, domain.rst)
        m.d.comb += [
            domain.clk.eq(self.clk),
            domain.rst.eq(self.rst),
            link.sck.eq(self.sck),
            link.cs_n.eq(self.cs_n),
            link.mosi.eq(self.mosi),
            self.miso.eq(link.miso),
            self.miso_enable.eq(link.miso_enable),
            self.irq.eq(registers.irq),
            commands.received.eq(link.received),
            commands.byte.eq(link.byte),
            commands.stop.eq(link.stop),
            link.send.eq(commands.send),
            commands.irq.eq(registers.irq),
            registers.frame_error.eq(core.frame_error),
        ]
        wiring.connect(m, commands.bus, registers.bus)
        self._frames(m, link, commands, registers, core)
        self._results(m, commands, registers, core)
        awake = self._sleep(m, commands, registers, core)
        self._clock(m, gated, awake)
        return m

    def _frames(
        self,
        m: Module,
        link: SpiLink,
        commands: SpiCommands,
        registers: RegisterBlock,
        core: wiring.PureInterface,
    ) -> None:
        """From the commands to the core's input."""
        m.submodules.frames = frames = SpiFrames(self.plan)
        wiring.connect(m, frames.o, core.i)
        m.d.comb += [
            frames.frame.eq(commands.frame),
            frames.frame_end.eq(commands.frame_end),
            frames.received.eq(link.received),
            frames.byte.eq(link.byte),
            frames.stop.eq(link.stop),
            frames.partial.eq(link.partial),
            commands.room.eq(core.i.ready & ~frames.holding),
            registers.overrun.eq(frames.overrun),
        ]

    def _results(
        self, m: Module, commands: SpiCommands, registers: RegisterBlock, core: wiring.PureInterface
    ) -> None:
        """From the core's outputs to the commands."""
        m.submodules.results = results = ResultBuffer(self.plan)
        wiring.connect(m, core.o_logits, results.i_logits)
        wiring.connect(m, core.o_decision, results.i_decision)
        m.d.comb += [
            results.open.eq(commands.open),
            results.reading.eq(commands.reading),
            results.next.eq(commands.next),
            commands.result_byte.eq(results.byte),
            registers.decided.eq(core.o_decision.valid & core.o_decision.ready),
            registers.decision.eq(core.o_decision.payload),
            registers.result.eq(results.new),
        ]
        with m.If(commands.open):
            m.d.sync += commands.result.eq(0)
        with m.If(results.new):
            m.d.sync += commands.result.eq(1)

    def _sleep(
        self,
        m: Module,
        commands: SpiCommands,
        registers: RegisterBlock,
        core: wiring.PureInterface,
    ) -> Signal:
        """Whether the core needs its clock: it is not at rest, or is given something in this cycle."""
        m.submodules.rest = rest = Rest(self.plan)
        awake = Signal()
        wakes = Signal()
        given = [core.i.valid]
        if self.plan.config.state is StatePolicy.PULSE:
            m.d.comb += core.clear.eq(registers.clear)
            given.append(registers.clear)
        if self.plan.config.weights is WeightStore.RAM:
            wiring.connect(m, registers.o_load, core.i_load)
            given.append(registers.o_load.valid)
        m.d.comb += [
            rest.accepted.eq(core.i.valid & core.i.ready),
            rest.last.eq(core.i.payload.last),
            rest.full.eq(~core.i.ready),
            rest.offering.eq(core.o_logits.valid | core.o_decision.valid),
            wakes.eq(Cat(given).any()),
            awake.eq(self.rst | rest.busy | wakes),
            registers.busy.eq(rest.busy),
            commands.busy.eq(rest.busy),
            registers.ended.eq(rest.ended),
            registers.asleep.eq(~awake),
        ]
        if self.plan.model.gate is not None:
            m.d.comb += [registers.slept.eq(core.asleep), rest.asleep.eq(core.asleep)]
        return awake

    def _clock(self, m: Module, gated: Signal, awake: Signal) -> None:
        """The core's clock, which it stops itself if it can."""
        if self.plan.config.stop_clock:
            m.d.comb += gated.eq(self.clk)
            return
        m.submodules.gate = gate = ClockGate()
        m.d.comb += [gate.clk.eq(self.clk), gate.enable.eq(awake), gated.eq(gate.gated)]
