"""Between the sequencer and the lanes: a step waits for its element and weights, and becomes a product."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import index_layout, product_signature, step_layout, words_layout
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
    index : Out(index_layout(plan.index_bits))
        Only if zero blocks are skipped: what the weight word of the product says about the next one.

    Latency: 1 cycle. Throughput: one step a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        index = {"index": Out(index_layout(plan.index_bits))} if plan.index_bits else {}
        super().__init__(
            {
                "steps": In(stream.Signature(step_layout(plan), always_ready=True)),
                "elements": In(words_layout(plan.data_memories)),
                "words": In(words_layout(plan.weight_memories)),
                "products": Out(product_signature(plan)),
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
            element.eq(Array(self.elements[memory.name] for memory in plan.data_memories)[step.memory]),
            product.valid.eq(issued),
            product.activation.eq(Mux(step.cleared, 0, element)),
            product.weights.eq(self._weights(m, step)),
            product.shift.eq(step.shift),
            product.first.eq(step.first),
            product.last.eq(step.last),
        ]
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

    def _weights(self, m: Module, step: data.View) -> Value:
        """Weights of the step's memory in sign and magnitude, each extended to the widest."""
        lanes = self.plan.lane_plan
        words = []
        for memory, width, bits in zip(
            self.plan.weight_memories, self.plan.weight_widths, lanes.weights, strict=True
        ):
            weights = [Signal(lanes.wide + 1, name=f"{memory.name}_{lane}") for lane in range(self.plan.lanes)]
            for lane, weight in enumerate(weights):
                code = self.words[memory.name].word_select(lane, width)
                magnitude, sign = code[:-1], code[-1]
                if bits == width:  # minus zero is the most negative weight
                    magnitude = Cat(magnitude, sign & ~magnitude.any())
                m.d.comb += [weight[: lanes.wide].eq(magnitude), weight[-1].eq(sign)]
            words.append(Cat(weights))
        return Array(words)[step.weight_memory]

    def _index(self, m: Module, memory: MemoryPlan) -> Value:
        """Index in the word of a weight memory; 0 if no blocks of its weights are skipped."""
        index = Signal(index_layout(self.plan.index_bits), name=f"{memory.name}_index")
        if memory.index_bits:
            word = self.words[memory.name][memory.width - memory.index_bits :]
            own = data.View(index_layout(memory.index_bits), word)
            m.d.comb += [index.column.eq(own.column), index.last.eq(own.last)]
        return index.as_value()
