"""The registers: what a host reads and writes, whatever interface it comes through."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import crc, stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.bus.register_bus import RegisterBus
from lmu_hw.gateware.layouts import decision_layout, load_layout
from lmu_hw.host.registers import OFFSETS, Access, constants, irq_bits, present
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.load_port import load_beats
from lmu_hw.plan.plan import Plan

__all__ = ["RegisterBlock"]


class RegisterBlock(wiring.Component):
    """All registers of `lmu_hw.host.registers` that an accelerator has.

    Parameters
    ----------
    plan : Plan
        The core's; one that `lmu_hw.host.registers.check` accepts.

    Members
    -------
    bus : In(RegisterBus)
        Reads and writes; the answer is combinational.
    busy : In(1)
        The accelerator is not at rest.
    ended : In(1)
        A frame's last element was accepted in the cycle before.
    frame_error : In(1)
        The core's: that frame was dropped.
    decided : In(1)
        A decision is taken in this cycle.
    decision : In(decision_layout(plan))
        With `decided`: which.
    asleep, overrun, result : In(1)
        Behind SPI only: the core's clock stands still; a frame is dropped because the one before waits; a new result
        can be read from the next cycle on.
    slept : In(1)
        With a level gate only: the core dropped a frame that is asleep.
    clear : Out(1)
        Return the state to zero before the next frame; one cycle.
    o_load : Out(stream of load_layout(plan))
        With weights in RAM only: words of the weight image.
    irq : Out(1)
        Interrupt.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._ram = plan.config.weights is WeightStore.RAM
        self._spi = irq_bits(plan) > 2
        members = {
            "bus": In(RegisterBus()),
            "busy": In(1),
            "ended": In(1),
            "frame_error": In(1),
            "decided": In(1),
            "decision": In(decision_layout(plan)),
            "clear": Out(1),
            "irq": Out(1),
        }
        if self._spi:
            members |= {"asleep": In(1), "overrun": In(1), "result": In(1)}
        if plan.model.gate is not None:
            members["slept"] = In(1)
        if self._ram:
            members["o_load"] = Out(stream.Signature(load_layout(plan)))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loading = Signal()
        foreign = Signal()
        values: dict[str, Value | int] = dict(constants(self.plan))
        values["STATUS"] = self.busy | loading << 1 | foreign << 2 | (self.asleep << 3 if self._spi else 0)
        m.d.comb += self.clear.eq(self._written("CONTROL") & self.bus.write_data[0])
        if self._ram:
            self._load(m, values, loading, foreign)
        self._count(m, values)
        self._interrupt(m, values, self._hear(m, values))
        self._access(m, values, loading, foreign)
        return m

    def _written(self, name: str) -> Value:
        """Whether a register is written in this cycle."""
        return self.bus.write & ~self.bus.write_error & (self.bus.write_address == OFFSETS[name] >> 2)

    def _access(self, m: Module, values: dict[str, Value | int], loading: Signal, foreign: Signal) -> None:
        """The value of every register, or an error where there is none."""
        bus = self.bus
        m.d.comb += [bus.read_error.eq(1), bus.write_error.eq(1)]
        with m.Switch(bus.read_address):
            for register in present(self.plan):
                with m.Case(register.offset >> 2):
                    m.d.comb += [bus.read_error.eq(0), bus.read_data.eq(values.get(register.name, 0))]
        parts = ~bus.write_strobes.all()
        with m.Switch(bus.write_address):
            for register in present(self.plan):
                if register.access is not Access.READ:
                    refused = parts | loading if register.loading else parts
                    with m.Case(register.offset >> 2):
                        m.d.comb += bus.write_error.eq(refused | foreign if register.name == "LOAD_DATA" else refused)

    def _load(self, m: Module, values: dict[str, Value | int], loading: Signal, foreign: Signal) -> None:
        """The window to the load port: some writes make a word, which waits until the core takes it."""
        beats = load_beats(self.plan)
        data = self.bus.write_data
        word = self.o_load.payload
        shape = Signal(32, name="load_shape")
        memory = Signal.like(word.memory, name="load_memory")
        address = Signal.like(word.address, name="load_address")
        pieces = Signal(32 * beats)
        beat = Signal(range(max(2, beats)))
        m.submodules.checksum = checksum = crc.catalog.CRC32_ETHERNET(32).create()
        m.d.comb += [
            foreign.eq(shape != values["SHAPE_ID"]),
            self.o_load.valid.eq(loading),
            word.memory.eq(memory),
            word.address.eq(address),
            word.data.eq(pieces),
            checksum.start.eq(self._written("LOAD_SHAPE")),
            checksum.data.eq(data),
            checksum.valid.eq(
                self._written("LOAD_MEMORY") | self._written("LOAD_ADDRESS") | self._written("LOAD_DATA")
            ),
        ]
        with m.If(loading & self.o_load.ready):
            m.d.sync += [loading.eq(0), address.eq(address + 1)]
        for name, field in (("LOAD_SHAPE", shape), ("LOAD_MEMORY", memory), ("LOAD_ADDRESS", address)):
            values[name] = field
            with m.If(self._written(name)):
                m.d.sync += [field.eq(data), beat.eq(0)]
        with m.If(self._written("LOAD_DATA")):
            m.d.sync += [pieces.word_select(beat, 32).eq(data), beat.eq(beat + 1)]
            with m.If(beat == beats - 1):
                m.d.sync += [beat.eq(0), loading.eq(1)]
        values["LOAD_CRC"] = checksum.crc

    def _count(self, m: Module, values: dict[str, Value | int]) -> None:
        """Counters of frames and decisions."""
        counted = {
            "FRAMES": self.ended & ~self.frame_error,
            "FRAME_ERRORS": self.frame_error,
            "DECISIONS": self.decided,
        }
        if self._spi:
            counted["OVERRUNS"] = self.overrun
        if self.plan.model.gate is not None:
            counted["FRAMES_ASLEEP"] = self.slept
        for name, event in counted.items():
            values[name] = counter = Signal(32, name=name.lower())
            with m.If(event):
                m.d.sync += counter.eq(counter + 1)

    def _hear(self, m: Module, values: dict[str, Value | int]) -> Signal:
        """Decisions that count as heard; one is taken in this cycle."""
        layout = decision_layout(self.plan)
        label = Signal(unsigned(layout["label"].width), name="heard_label")
        score = Signal(Shape.cast(layout["score"].shape), name="heard_score")
        threshold = Signal(signed(32))
        mask = Signal(self.plan.model.outputs)
        heard = Signal()
        m.d.comb += heard.eq(
            self.decided & mask.bit_select(self.decision.label, 1) & (self.decision.score >= threshold)
        )
        with m.If(heard):
            m.d.sync += [label.eq(self.decision.label), score.eq(self.decision.score)]
        self._written_fields(m, values, {"THRESHOLD": threshold})
        masks = {f"LABEL_MASK{at // 32}": mask[at : at + 32] for at in range(0, len(mask), 32)}
        self._written_fields(m, values, masks)
        extended = Signal(signed(32))
        m.d.comb += extended.eq(score)
        values |= {"HEARD_LABEL": label, "HEARD_SCORE": extended}
        return heard

    def _interrupt(self, m: Module, values: dict[str, Value | int], heard: Signal) -> None:
        """What happened, and whether to tell."""
        enable = Signal(irq_bits(self.plan))
        status = Signal(irq_bits(self.plan))
        events = heard | self.frame_error << 1
        if self._spi:
            events = events | self.overrun << 2 | self.result << 3
        cleared = Mux(self._written("IRQ_STATUS"), self.bus.write_data[: len(status)], 0)
        m.d.sync += status.eq((status & ~cleared) | events)
        m.d.comb += self.irq.eq((enable & status).any())
        self._written_fields(m, values, {"IRQ_ENABLE": enable})
        values["IRQ_STATUS"] = status

    def _written_fields(self, m: Module, values: dict[str, Value | int], fields: dict[str, Value]) -> None:
        """Registers that hold what was written."""
        for name, field in fields.items():
            values[name] = field
            with m.If(self._written(name)):
                m.d.sync += field.eq(self.bus.write_data)
