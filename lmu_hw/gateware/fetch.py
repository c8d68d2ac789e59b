"""Between the sequencer and the lanes: a step waits for its element and weights, and becomes a product."""

import itertools

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from lmu_hw.gateware.layouts import index_layout, product_signature, step_layout, update_signature, words_layout
from lmu_hw.plan.lanes import LanePlan
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan

__all__ = ["Fetch"]


class Fetch(wiring.Component):
    """Holds a step while the memories are read, and gives the words that were read to the lanes.

    Parameters
    ----------
    plan : Plan
        Memories and widths.

    Members
    -------
    steps : In(stream of step_layout(plan), always ready)
        A step whose element and weights are read in this cycle.
    elements : In(words_layout(plan.data_memories))
        The word read last from each data memory.
    words : In(words_layout(plan.weight_memories))
        The word read last from each weight memory.
    products : Out(product_signature(plan))
        The operands of a step.
    updates : Out(update_signature(plan))
        Only with `memories_at_once`: the operands of a step of the memory engine.
    index : Out(index_layout(plan.index_bits))
        Only if zero blocks are skipped: what the weight word of the product says about the next one.

    Latency: 1 cycle. Throughput: one step a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        index = {"index": Out(index_layout(plan.index_bits))} if plan.index_bits else {}
        updates = {"updates": Out(update_signature(plan))} if plan.parts > 1 else {}
        super().__init__(
            {
                "steps": In(stream.Signature(step_layout(plan), always_ready=True)),
                "elements": In(words_layout(plan.data_memories)),
                "words": In(words_layout(plan.weight_memories)),
                "products": Out(product_signature(plan)),
                **updates,
                **index,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, free = self.plan, self.plan.config.control_reset
        issued = Signal()
        step = Signal(step_layout(plan), reset_less=free)
        m.d.sync += issued.eq(self.steps.valid)
        with m.If(self.steps.valid):
            m.d.sync += step.eq(self.steps.payload)
        element = Signal(signed(plan.activation_width), name="element")
        product = self.products
        m.d.comb += [
            element.eq(Array(self._element(memory, step) for memory in plan.data_memories)[step.memory]),
            product.valid.eq(issued if plan.parts == 1 else issued & ~step.at_once),
            product.activation.eq(Mux(step.cleared, 0, element)),
            product.weights.eq(self._weights(m, step)),
            product.shift.eq(step.shift),
            product.first.eq(step.first),
            product.last.eq(step.last),
        ]
        if plan.parts > 1:
            self._update(m, issued, step)
        if plan.config.frames_per_fetch > 1:
            m.d.comb += product.frame.eq(step.frame)
        lanes = plan.lane_plan
        if lanes.wide_lanes:
            wide = Array(Const(is_wide, 1) for is_wide in lanes.is_wide)
            m.d.comb += product.wide.eq(wide[step.weight_memory])
        if plan.index_bits:
            indices = Array(self._index(m, memory) for memory in plan.weight_memories)
            m.d.comb += self.index.as_value().eq(indices[step.weight_memory])
        return m

    def _element(self, memory: MemoryPlan, step: data.View) -> Value:
        """Element that was read from a memory."""
        word = self.elements[memory.name]
        if memory.elements == 1:
            return word
        chosen = word.word_select(step.address[: exact_log2(memory.elements)], memory.element_width)
        return chosen.as_signed() if memory.signed else chosen

    def _update(self, m: Module, issued: Signal, step: data.View) -> None:
        """Give the memory engine the elements of a word, one for each part, and the weights of each row."""
        plan, update = self.plan, self.updates
        states = [Signal(signed(plan.state_width), name=f"state{part}") for part in range(plan.parts)]
        with m.If(~step.cleared), m.Switch(step.memory):
            for index in plan.state_memories:
                memory = plan.data_memories[index]
                with m.Case(index):
                    for part, state in enumerate(states):
                        element = self.elements[memory.name].word_select(part, memory.element_width)
                        m.d.comb += state.eq(element.as_signed() if memory.signed else element)
        m.d.comb += [
            update.valid.eq(issued & step.at_once),
            update.states.eq(Cat(states)),
            update.weights.eq(self._extended(m, step, plan.memory_plan, plan.memory_rows)),
            update.shift.eq(step.shift),
            update.first.eq(step.first),
            update.last.eq(step.last),
        ]

    def _weights(self, m: Module, step: data.View) -> Value:
        """Weights of the step's memory in sign and magnitude, each extended to the widest."""
        return self._extended(m, step, self.plan.lane_plan, self.plan.lanes)

    def _extended(self, m: Module, step: data.View, lanes: LanePlan, count: int) -> Value:
        """The first weights of the word of the step's memory, among the memories of such lanes."""
        prefix = "" if lanes is self.plan.lane_plan else "update_"
        words = []
        for memory, width, bits in zip(
            self.plan.weight_memories, self.plan.weight_widths, lanes.weights, strict=True
        ):
            if not bits:
                continue
            weights = [Signal(lanes.wide + 1, name=f"{prefix}{memory.name}_{lane}") for lane in range(count)]
            for lane, weight in enumerate(weights):
                code = self.words[memory.name].word_select(lane, width)
                magnitude, sign = code[:-1], code[-1]
                if bits == width:  # minus zero is the most negative weight
                    magnitude = Cat(magnitude, sign & ~magnitude.any())
                m.d.comb += [weight[: lanes.wide].eq(magnitude), weight[-1].eq(sign)]
            words.append(Cat(weights))
        used = list(itertools.accumulate(bool(bits) for bits in lanes.weights))
        # A memory that these lanes do not read stands for one of those that they do: nothing needs to move.
        return Array(words[max(0, number - 1)] for number in used)[step.weight_memory]

    def _index(self, m: Module, memory: MemoryPlan) -> Value:
        """Index in the word of a weight memory; 0 if no blocks of its weights are skipped."""
        index = Signal(index_layout(self.plan.index_bits), name=f"{memory.name}_index")
        if memory.index_bits:
            word = self.words[memory.name][memory.width - memory.index_bits :]
            own = data.View(index_layout(memory.index_bits), word)
            m.d.comb += [index.column.eq(own.column), index.last.eq(own.last)]
        return index.as_value()
