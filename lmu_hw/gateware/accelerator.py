"""The accelerator: a stream of feature frames in, logits and decisions out."""

from amaranth.hdl import Cat, ClockDomain, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from lmu_hw.gateware.clock_gate import FREE, ClockGate, add_block
from lmu_hw.gateware.fetch import Fetch
from lmu_hw.gateware.finish import Finish
from lmu_hw.gateware.frame_input import FrameInput
from lmu_hw.gateware.frame_output import FrameOutput
from lmu_hw.gateware.gate import LevelGate
from lmu_hw.gateware.lanes import Lanes
from lmu_hw.gateware.layouts import decision_layout, event_layout, feature_layout, load_layout, logit_layout
from lmu_hw.gateware.memory import BankedReadOnly, BankedSinglePort, ReadOnly, SinglePort
from lmu_hw.gateware.memory_engine import MemoryEngine
from lmu_hw.gateware.sequencer import Sequencer
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
    if plan.model.gate is not None:
        members["asleep"] = Out(1)
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
    asleep : Out(1)
        With a level gate only: one cycle for each frame that is asleep, the one after its last element was accepted.
        It gives no logits and no decision; the last ones stand.
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
        smoothing, gate = plan.config.smoothing, plan.model.gate
        self._input = FrameInput(plan)
        self._level_gate = None if gate is None else LevelGate(plan, gate)
        self._sequencer = Sequencer(plan)
        self._fetch = Fetch(plan)
        self._lanes = Lanes(plan)
        self._engine = MemoryEngine(plan) if plan.parts > 1 else None
        self._finish = Finish(plan)
        self._output = FrameOutput(plan)
        self._smoother = None if smoothing is None else Smoother(plan, smoothing)
        ports: dict[str, wiring.Member] = dict(accelerator_ports(plan).members)
        if plan.config.gates_clock:
            ports |= {"clk": In(1), "rst": In(1)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._add_blocks(m)
        self._connect_blocks(m)
        self._connect_output(m)
        self._add_data_memories(m)
        self._add_weight_memories(m)
        self._add_parameters(m)
        if self.plan.config.gates_clock:
            self._gate_clock(m)
        return m

    def _add_blocks(self, m: Module) -> None:
        """Add all blocks but the memories, each with its clock gate if blocks are gated."""
        source, finish, sink = self._input, self._finish, self._output
        gates = self.plan.config.gate_blocks
        taking = Cat(self.i.valid, source.frames.ready, source.frame_error, source.clear)
        add_block(m, "input", source, taking if gates else None)
        if self._level_gate is not None:
            judging = Cat(self._level_gate.stored, self._level_gate.frames.valid)
            add_block(m, "level_gate", self._level_gate, judging if gates else None)
        m.submodules.sequencer = self._sequencer
        m.submodules.fetch = self._fetch
        m.submodules.lanes = self._lanes
        if self._engine is not None:
            engine = self._engine
            add_block(m, "engine", engine, engine.updates.valid | engine.busy if gates else None)
        add_block(m, "finish", finish, finish.groups.valid | finish.busy if gates else None)
        add_block(m, "output", sink, sink.claim.valid | ~sink.claim.ready if gates else None)
        if self._smoother is not None:
            m.submodules.smoother = self._smoother

    def _connect_blocks(self, m: Module) -> None:
        """Connect the blocks from the input to the finish."""
        source, sequencer, fetch = self._input, self._sequencer, self._fetch
        wiring.connect(m, wiring.flipped(self.i), source.i)
        self._connect_frames(m)
        wiring.connect(m, sequencer.steps, fetch.steps)
        wiring.connect(m, fetch.products, self._lanes.products)
        wiring.connect(m, sequencer.groups, self._finish.groups)
        if self._engine is not None:
            wiring.connect(m, fetch.updates, self._engine.updates)
            m.d.comb += self._finish.state_sums.eq(self._engine.sums)
        if self.plan.skipping_memories:
            wiring.connect(m, self._finish.write, sequencer.write)
        if self.plan.index_bits:
            m.d.comb += sequencer.index.eq(fetch.index)
        pulse, loads = self.plan.config.state is StatePolicy.PULSE, self.plan.config.weights is WeightStore.RAM
        m.d.comb += [
            self.frame_error.eq(source.frame_error),
            source.clear.eq(self.clear if pulse else 0),
            sequencer.hold.eq(self.i_load.valid if loads else 0),
            self._finish.sums.eq(self._lanes.sums),
        ]
        if loads:
            m.d.comb += self.i_load.ready.eq(sequencer.idle)

    def _connect_frames(self, m: Module) -> None:
        """Connect the input with the sequencer, through the level gate if there is one."""
        source, gate = self._input, self._level_gate
        if gate is None:
            wiring.connect(m, source.frames, self._sequencer.frames)
            return
        wiring.connect(m, source.frames, gate.frames)
        wiring.connect(m, gate.awake, self._sequencer.frames)
        m.d.comb += [
            gate.stored.eq(source.write.valid),
            gate.first.eq(source.write.address == 0),
            gate.element.eq(source.write.data),
            self.asleep.eq(gate.asleep),
        ]

    def _connect_output(self, m: Module) -> None:
        """Connect the output, and the smoother if there is one; a frame claims both at once."""
        sink, smoother, claim, write = self._output, self._smoother, self._sequencer.claim, self._finish.write
        wiring.connect(m, sink.o_logits, wiring.flipped(self.o_logits))
        wiring.connect(m, sink.o_decision, wiring.flipped(self.o_decision))
        m.d.comb += [sink.i.valid.eq(write.valid & write.output), sink.i.payload.eq(write.data)]
        if smoother is None:
            wiring.connect(m, claim, sink.claim)
            return
        wiring.connect(m, smoother.o_event, wiring.flipped(self.o_event))
        m.d.comb += [
            sink.claim.valid.eq(claim.valid & smoother.claim.ready),
            smoother.claim.valid.eq(claim.valid & sink.claim.ready),
            claim.ready.eq(sink.claim.ready & smoother.claim.ready),
            smoother.logits.valid.eq(self.o_logits.valid & self.o_logits.ready),
            smoother.logits.payload.eq(self.o_logits.payload),
            smoother.largest.eq(self.o_decision.payload.score),
            smoother.cleared.eq(self._sequencer.cleared),
        ]

    def _add_data_memories(self, m: Module) -> None:
        """Add the memories of the elements, which steps and the finish read and the input or the finish writes."""
        steps = self._sequencer.steps
        banks, gates = self.plan.config.state_bank_words, self.plan.config.gate_blocks
        for index, memory in enumerate(self.plan.data_memories):
            shape = Shape(memory.width, memory.signed)
            cells: SinglePort | BankedSinglePort = (
                BankedSinglePort(shape, memory.depth, banks, gated=gates) if banks else SinglePort(shape, memory.depth)
            )
            add_block(m, f"memory_{memory.name}", cells, cells.read | cells.write if gates else None)
            is_input = memory.name == "x"
            write = self._input.write if is_input else self._finish.write
            if memory.elements > 1:
                self._add_words(m, index, memory, cells)
                continue
            read, address = steps.valid & (steps.payload.memory == index), steps.payload.address
            if index in self.plan.residual_memories:
                added = self._finish.added
                adds = added.read & (added.memory == index)
                read, address = read | adds, Mux(adds, added.address, address)
                m.d.comb += added.r_data[memory.name].eq(cells.r_data)
            m.d.comb += [
                cells.read.eq(read),
                cells.write.eq(write.valid if is_input else write.valid & write.memory[index]),
                cells.address.eq(Mux(cells.write, write.address, address)),
                cells.w_data.eq(write.data),
                self._fetch.elements[memory.name].eq(cells.r_data),
            ]

    def _add_words(self, m: Module, index: int, memory: MemoryPlan, cells: SinglePort | BankedSinglePort) -> None:
        """Drive a memory whose words have several elements: written whole, or with the last one of those in order."""
        steps, write = self._sequencer.steps, self._finish.write
        width, last, element = memory.element_width, memory.elements - 1, exact_log2(memory.elements)
        written = write.valid & write.memory[index]
        m.d.comb += [
            cells.read.eq(steps.valid & (steps.payload.memory == index)),
            cells.address.eq(steps.payload.address[element:]),
            self._fetch.elements[memory.name].eq(cells.r_data),
        ]
        if memory.name != "u":
            words = (write.states.word_select(part, self.plan.state_width)[:width] for part in range(last + 1))
            m.d.comb += [cells.write.eq(written), cells.w_data.eq(Cat(words))]
            with m.If(cells.write):
                m.d.comb += cells.address.eq(write.address)
            return
        before = Signal(last * width, name=f"{memory.name}_before", reset_less=True)
        m.d.comb += [
            cells.write.eq(written & (write.address[:element] == last)),
            cells.w_data.eq(Cat(before, write.data[:width])),
        ]
        with m.If(written):
            m.d.sync += before.eq(Cat(before, write.data[:width])[width:])
        with m.If(cells.write):
            m.d.comb += cells.address.eq(write.address[element:])

    def _add_weight_memories(self, m: Module) -> None:
        """Add the memories of the weights, which steps read; in a round the first step of those with equal weights."""
        steps = self._sequencer.steps
        fetches = steps.valid if self.plan.config.frames_per_fetch == 1 else steps.valid & steps.payload.fetch
        for index, memory in enumerate(self.plan.weight_memories):
            read = fetches & (steps.payload.weight_memory == index)
            word = self._constant_memory(m, memory, index, read, steps.payload.weight_address)
            m.d.comb += self._fetch.words[memory.name].eq(word)

    def _add_parameters(self, m: Module) -> None:
        """Add the memory of biases and shifts, which the finish reads."""
        port = self._finish.parameters
        index = len(self.plan.weight_memories)
        m.d.comb += port.r_data.eq(self._constant_memory(m, self.plan.parameters, index, port.read, port.address))

    def _constant_memory(self, m: Module, memory: MemoryPlan, index: int, read: Value, address: Value) -> Value:
        """Add a ROM, or a RAM that the load port fills as memory `index`. Returns the word read."""
        name, gates, shape = f"memory_{memory.name}", self.plan.config.gate_blocks, unsigned(memory.width)
        if self.plan.config.weights is WeightStore.ROM:
            words, banks = self.plan.images()[memory.name], self.plan.config.bank_words
            banked = banks > 0 and memory in self.plan.weight_memories
            rom = BankedReadOnly(shape, words, banks) if banked else ReadOnly(shape, words)
            add_block(m, name, rom, rom.read if gates and banked else None)
            m.d.comb += [rom.read.eq(read), rom.address.eq(address)]
            return rom.r_data
        ram = SinglePort(shape, memory.depth)
        add_block(m, name, ram, ram.read | ram.write if gates else None)
        load = self.i_load.payload
        write = self.i_load.valid & self.i_load.ready & (load.memory == index)
        m.d.comb += [
            ram.read.eq(read & ~write),  # never both; said here, so that synthesis sees that one port is enough
            ram.write.eq(write),
            ram.address.eq(Mux(write, load.address, address)),
            ram.w_data.eq(load.data),
        ]
        return ram.r_data

    def _gate_clock(self, m: Module) -> None:
        """Add the clock that never stops, and the clock of all blocks, which `stop_clock` stops between frames."""
        free, domain = ClockDomain(FREE, reset_less=True, local=True), ClockDomain("sync", local=True)
        m.domains += [free, domain]
        m.d.comb += [free.clk.eq(self.clk), domain.rst.eq(self.rst)]
        if not self.plan.config.stop_clock:
            m.d.comb += domain.clk.eq(self.clk)
            return
        m.submodules.gate = gate = ClockGate()
        source, claim = self._input, self._output.claim
        wakes = [self.rst, self.i.valid, source.frames.valid, source.frame_error, ~self._sequencer.idle, ~claim.ready]
        if self.plan.config.state is StatePolicy.PULSE:
            wakes.append(self.clear)
        if self.plan.config.weights is WeightStore.RAM:
            wakes.append(self.i_load.valid)
        if self._smoother is not None:
            wakes.append(self._smoother.busy)
        m.d.comb += [
            gate.clk.eq(self.clk),
            gate.enable.eq(Cat(wakes).any()),
            domain.clk.eq(gate.gated),
        ]
