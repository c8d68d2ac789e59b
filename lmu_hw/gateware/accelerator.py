"""The accelerator: a stream of feature frames in, logits and decisions out."""

from amaranth.hdl import Array, Cat, ClockDomain, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.clock_gate import FREE, ClockGate, add_block
from lmu_hw.gateware.finish import Finish
from lmu_hw.gateware.frame_input import FrameInput
from lmu_hw.gateware.frame_output import FrameOutput
from lmu_hw.gateware.lanes import Lanes
from lmu_hw.gateware.layouts import (
    decision_layout,
    event_layout,
    feature_layout,
    index_layout,
    load_layout,
    logit_layout,
)
from lmu_hw.gateware.memory import BankedReadOnly, BankedSinglePort, ReadOnly, SinglePort
from lmu_hw.gateware.sequencer import Sequencer, read_layout
from lmu_hw.gateware.smoothing import Smoother
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan

__all__ = ["Accelerator", "accelerator_ports"]


def accelerator_ports(plan: Plan) -> wiring.Signature:
    """Ports of the accelerator but clock and reset, as `Accelerator` describes them."""
    members = {
        "i": In(stream.Signature(feature_layout(plan))),
        "o_logits": Out(stream.Signature(logit_layout(plan))),
        "o_decision": Out(stream.Signature(decision_layout(plan))),
        "frame_error": Out(1),
    }
    if plan.config.state is StatePolicy.PULSE:
        members["clear"] = In(1)
    if plan.config.smoothing is not None:
        members["o_event"] = Out(stream.Signature(event_layout(plan)))
    if plan.config.weights is WeightStore.RAM:
        members["i_load"] = In(stream.Signature(load_layout(plan)))
    return wiring.Signature(members)


class Accelerator(wiring.Component):
    """A whole network on shared lanes, generated from a plan.

    Parameters
    ----------
    plan : Plan
        From `lmu_hw.plan.plan.make_plan`.

    Members
    -------
    i : In(stream of feature_layout(plan))
        Elements of the input frames, in order; a frame that has another length than the model's is dropped and
        reported.
    o_logits : Out(stream of logit_layout(plan))
        Logits of every frame in which the last layer computed, in order of the labels.
    o_decision : Out(stream of decision_layout(plan))
        Index of the largest logit, the lowest on a tie, and its value.
    o_event : Out(stream of event_layout(plan))
        With smoothing only: a keyword that was heard, and its lead.
    frame_error : Out(1)
        One cycle for each dropped frame.
    clear : In(1)
        Under the pulse policy only: return the state to zero before the frame whose first element is accepted in this
        cycle or later.
    i_load : In(stream of load_layout(plan))
        With weights in RAM only: words of the weight image. Accepted between frames; no frame starts while one is
        offered. All words must be loaded before the first frame.
    clk, rst : In(1)
        Clock and synchronous reset, with `stop_clock` or `gate_blocks`; else they are those of the domain ``sync``.

    One clock, synchronous reset, no combinational path from any input to an output stream's payload or valid, nor
    from an input's valid or payload to its ready. Latency and throughput: `Plan.frames`. The state is zero after
    reset, and lives on across frames; it is cleared as the state policy says, bit-exact against `lmu_hw.model.golden`.

    With `stop_clock` a clock gate closes while nothing is received, computed or delivered, and opens in the cycle in
    which a beat is offered, with nothing later than without. With `gate_blocks` others do so before blocks. With
    either, ``rst``, ``clear`` and the valid of input streams must settle in the first half of a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        ports: dict[str, wiring.Member] = dict(accelerator_ports(plan).members)
        if plan.config.gates_clock:
            ports |= {"clk": In(1), "rst": In(1)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self.plan
        source, sequencer, lanes, finish, sink = (
            kind(plan) for kind in (FrameInput, Sequencer, Lanes, Finish, FrameOutput)
        )
        gates = plan.config.gate_blocks
        taking = Cat(self.i.valid, source.release, source.frame_error, source.clear)
        add_block(m, "input", source, taking if gates else None)
        m.submodules.sequencer = sequencer
        m.submodules.lanes = lanes
        add_block(m, "finish", finish, finish.start | finish.busy if gates else None)
        add_block(m, "output", sink, sink.claim | ~sink.free if gates else None)
        wiring.connect(m, wiring.flipped(self.i), source.i)
        wiring.connect(m, sink.o_logits, wiring.flipped(self.o_logits))
        wiring.connect(m, sink.o_decision, wiring.flipped(self.o_decision))
        smoother = self._smoother(m, sequencer, sink)
        m.d.comb += [
            self.frame_error.eq(source.frame_error),
            source.clear.eq(self.clear if plan.config.state is StatePolicy.PULSE else 0),
            source.release.eq(sequencer.release),
            sequencer.frame.eq(source.full),
            sequencer.clear.eq(source.frame_clear),
            sequencer.end.eq(source.frame_end),
            sequencer.output_free.eq(sink.free if smoother is None else sink.free & smoother.free),
            sink.claim.eq(sequencer.claim),
            sink.write.eq(finish.write & finish.write_output),
            sink.data.eq(finish.write_data),
        ]
        issued = Signal()
        frames = plan.config.frames_per_fetch
        step = Signal(read_layout(plan), reset_less=plan.config.control_reset)
        m.d.sync += issued.eq(sequencer.issue)
        with m.If(sequencer.issue):
            m.d.sync += step.eq(sequencer.read)
        m.d.comb += [
            lanes.enable.eq(issued),
            lanes.first.eq(step.first),
            lanes.last.eq(step.last),
            lanes.shift.eq(step.shift),
            lanes.activation.eq(Mux(step.zero, 0, self._data(m, source, sequencer, finish, step))),
            lanes.weights.eq(self._weights(m, sequencer, lanes, step)),
            finish.sums.eq(lanes.sums),
            finish.start.eq(issued & (step.last if frames == 1 else step.finish)),
            finish.group.eq(sequencer.group),
        ]
        if frames > 1:
            m.d.comb += lanes.frame.eq(step.frame)
        if plan.narrow_width is not None:
            wide = Array(Const(width > plan.narrow_width, 1) for width in plan.weight_widths)
            m.d.comb += lanes.wide.eq(wide[step.weights])
        if plan.skipping_memories:
            m.d.comb += [
                sequencer.written.memory.eq(Mux(finish.write, finish.write_memory, 0)),
                sequencer.written.address.eq(finish.write_address),
                sequencer.written.nonzero.eq(finish.write_data != 0),
            ]
        self._parameters(m, sequencer, finish)
        self._load(m, sequencer)
        if plan.config.gates_clock:
            self._clocks(m, source, sequencer, sink, smoother)
        return m

    def _data(
        self, m: Module, source: FrameInput, sequencer: Sequencer, finish: Finish, step: Signal
    ) -> Value:
        """The data memories; the element of the present step."""
        elements = []
        banks, gates = self.plan.config.state_bank_words, self.plan.config.gate_blocks
        for index, spec in enumerate(self.plan.data_memories):
            shape = signed(spec.width) if spec.signed else unsigned(spec.width)
            cells: SinglePort | BankedSinglePort = (
                BankedSinglePort(shape, spec.depth, banks, gated=gates) if banks else SinglePort(shape, spec.depth)
            )
            add_block(m, f"memory_{spec.name}", cells, cells.read | cells.write if gates else None)
            read = sequencer.issue & (sequencer.read.memory == index)
            if spec.name == "x":
                write, address, value = source.write, source.address, source.i.payload.data
            else:
                write, address = finish.write & finish.write_memory[index], finish.write_address
                value = finish.write_data
            m.d.comb += [
                cells.read.eq(read),
                cells.write.eq(write),
                cells.address.eq(Mux(write, address, sequencer.read.address)),
                cells.w_data.eq(value),
            ]
            elements.append(cells.r_data)
        element = Signal(signed(self.plan.activation_width), name="element")
        m.d.comb += element.eq(Array(elements)[step.memory])
        return element

    def _weights(self, m: Module, sequencer: Sequencer, lanes: Lanes, step: Signal) -> Value:
        """The weight memories; a word for the lanes, every weight extended to the widest."""
        fetch = sequencer.issue if self.plan.config.frames_per_fetch == 1 else sequencer.issue & sequencer.read.fetch
        words = []
        indices: list[Value] = []
        for index, (spec, width) in enumerate(
            zip(self.plan.weight_memories, self.plan.weight_widths, strict=True)
        ):
            read = fetch & (sequencer.read.weights == index)
            word = self._constant_memory(m, spec, index, read, sequencer.read.weight_address)
            extended = [
                Signal(signed(lanes.weight_width), name=f"{spec.name}_{lane}") for lane in range(self.plan.lanes)
            ]
            for lane, signal in enumerate(extended):
                m.d.comb += signal.eq(word.word_select(lane, width).as_signed())
            words.append(Cat(extended))
            if self.plan.index_bits:
                indices.append(self._index(m, spec, word))
        if self.plan.index_bits:
            m.d.comb += sequencer.index.as_value().eq(Array(indices)[step.weights])
        return Array(words)[step.weights]

    def _index(self, m: Module, spec: MemoryPlan, word: Value) -> Value:
        """What a weight word says about the next one; nothing in a memory of which no blocks are skipped."""
        index = Signal(index_layout(self.plan.index_bits), name=f"{spec.name}_index")
        if spec.index_bits:
            own = data.View(index_layout(spec.index_bits), word[spec.width - spec.index_bits :])
            m.d.comb += [index.column.eq(own.column), index.last.eq(own.last)]
        return index.as_value()

    def _parameters(self, m: Module, sequencer: Sequencer, finish: Finish) -> None:
        spec = self.plan.parameters
        index = len(self.plan.weight_memories)
        m.d.comb += finish.parameter.eq(
            self._constant_memory(m, spec, index, finish.parameter_read, finish.parameter_address)
        )

    def _constant_memory(self, m: Module, spec: MemoryPlan, index: int, read: Value, address: Value) -> Value:
        """A ROM, or a RAM that the load port fills as memory `index`; the word read."""
        name, gates = f"memory_{spec.name}", self.plan.config.gate_blocks
        if self.plan.config.weights is WeightStore.ROM:
            words, banks = self.plan.images()[spec.name], self.plan.config.bank_words
            banked = banks > 0 and spec in self.plan.weight_memories
            shape = unsigned(spec.width)
            rom = BankedReadOnly(shape, words, banks) if banked else ReadOnly(shape, words)
            add_block(m, name, rom, rom.read if gates and banked else None)
            m.d.comb += [rom.read.eq(read), rom.address.eq(address)]
            return rom.r_data
        ram = SinglePort(Shape.cast(spec.width), spec.depth)
        add_block(m, name, ram, ram.read | ram.write if gates else None)
        word = self.i_load.payload
        write = self.i_load.valid & self.i_load.ready & (word.memory == index)
        m.d.comb += [
            ram.read.eq(read & ~write),  # never both; said here, so that synthesis sees that one port is enough
            ram.write.eq(write),
            ram.address.eq(Mux(write, word.address, address)),
            ram.w_data.eq(word.data),
        ]
        return ram.r_data

    def _smoother(self, m: Module, sequencer: Sequencer, sink: FrameOutput) -> Smoother | None:
        """Decision smoothing, if it is asked for, listening to the logits."""
        if self.plan.config.smoothing is None:
            return None
        m.submodules.smoother = smoother = Smoother(self.plan, self.plan.config.smoothing)
        wiring.connect(m, smoother.o_event, wiring.flipped(self.o_event))
        m.d.comb += [
            smoother.transfer.eq(self.o_logits.valid & self.o_logits.ready),
            smoother.logit.eq(self.o_logits.payload),
            smoother.largest.eq(self.o_decision.payload.score),
            smoother.cleared.eq(sequencer.cleared),
            smoother.claim.eq(sequencer.claim),
        ]
        return smoother

    def _clocks(
        self, m: Module, source: FrameInput, sequencer: Sequencer, sink: FrameOutput, smoother: Smoother | None
    ) -> None:
        """The clock that never stops; and all else's, which stops if it is to while nothing is under way or given."""
        free, domain = ClockDomain(FREE, reset_less=True, local=True), ClockDomain("sync", local=True)
        m.domains += [free, domain]
        m.d.comb += [free.clk.eq(self.clk), domain.rst.eq(self.rst)]
        if not self.plan.config.stop_clock:
            m.d.comb += domain.clk.eq(self.clk)
            return
        m.submodules.gate = gate = ClockGate()
        wakes = [self.rst, self.i.valid, source.full, source.frame_error, ~sequencer.idle, ~sink.free]
        if self.plan.config.state is StatePolicy.PULSE:
            wakes.append(self.clear)
        if self.plan.config.weights is WeightStore.RAM:
            wakes.append(self.i_load.valid)
        if smoother is not None:
            wakes.append(smoother.busy)
        m.d.comb += [
            gate.clk.eq(self.clk),
            gate.enable.eq(Cat(wakes).any()),
            domain.clk.eq(gate.gated),
        ]

    def _load(self, m: Module, sequencer: Sequencer) -> None:
        if self.plan.config.weights is WeightStore.RAM:
            m.d.comb += [self.i_load.ready.eq(sequencer.idle), sequencer.hold.eq(self.i_load.valid)]
