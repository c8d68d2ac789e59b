"""Updates of several memories at once: products and sums of their own, one memory in each part."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import update_signature
from lmu_hw.plan.plan import Plan

__all__ = ["MemoryEngine", "MemoryProducts", "MemorySums"]


def _product_layout(plan: Plan) -> data.ArrayLayout:
    """Magnitude and sign of the product of each row, those of part 0 first."""
    product = data.StructLayout({"magnitude": plan.memory_plan.narrow_product, "negative": 1})
    return data.ArrayLayout(product, plan.parts * plan.memory_rows)


class MemoryProducts(wiring.Component):
    """Products of the rows of several memories with equal matrices, in sign and magnitude.

    Parameters
    ----------
    plan : Plan
        With `memories_at_once`.

    Members
    -------
    updates : In(update_signature(plan))
        Operands of one product in each row of each part.
    products : Out
        In the next cycle.

    All that is multiplied comes out of registers. All parts share those of the weights.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__({"updates": In(update_signature(plan)), "products": Out(_product_layout(plan))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        weights, rows = self._weights(m), self.plan.memory_rows
        for part, (operand, negative) in enumerate(self._operands(m)):
            for row, (magnitude, minus) in enumerate(weights):
                product = Signal(self.plan.memory_plan.narrow_product, name=f"product{part}_{row}")
                m.d.comb += [
                    product.eq(magnitude * operand),
                    self.products[part * rows + row].magnitude.eq(product),
                    self.products[part * rows + row].negative.eq(minus ^ negative),
                ]
        return m

    def _weights(self, m: Module) -> list[tuple[Signal, Signal]]:
        """Register magnitude and sign of the weight of each row."""
        bits, registers = self.plan.memory_plan.narrow, []
        for row in range(self.plan.memory_rows):
            weight = self.updates.weights.word_select(row, bits + 1)
            magnitude = Signal(bits, name=f"magnitude{row}", reset_less=True)
            minus = Signal(name=f"minus{row}", reset_less=True)
            with m.If(self.updates.valid):
                m.d.sync += [magnitude.eq(weight[:-1]), minus.eq(weight[-1])]
            registers.append((magnitude, minus))
        return registers

    def _operands(self, m: Module) -> list[tuple[Signal, Signal]]:
        """Register the shifted magnitude and the sign of the operand of each part."""
        plan, registers = self.plan, []
        own = {term.shift for planned in plan.operations if planned.parts > 1 for term in planned.terms}
        for part in range(plan.parts):
            state = self.updates.states.word_select(part, plan.state_width)
            magnitude = Signal(plan.state_width, name=f"state_magnitude{part}")
            operand = Signal(plan.memory_plan.operand, name=f"operand{part}", reset_less=True)
            negative = Signal(name=f"negative{part}", reset_less=True)
            # Shifts that no memory needs are not built.
            shifted = Array(magnitude << (shift if shift in own else min(own)) for shift in plan.product_shifts)
            m.d.comb += magnitude.eq((state ^ state[-1].replicate(len(state))) + state[-1])
            with m.If(self.updates.valid):
                m.d.sync += [operand.eq(shifted[self.updates.shift]), negative.eq(state[-1])]
            registers.append((operand, negative))
        return registers


class MemorySums(wiring.Component):
    """Sums of the products of each row of each part.

    Parameters
    ----------
    plan : Plan
        With `memories_at_once`.

    Members
    -------
    valid, first, last : In(1)
        Products in this cycle; whether they start or end the sums.
    products : In
        From `MemoryProducts`.
    busy : Out(1)
        Needs the clock even if `valid` is low.
    sums : Out(parts * rows * signed(plan.state_sum_width))
        Finished sums, from the second cycle after `last` on until the next ones.

    Each row has one adder, as a lane of `lmu_hw.gateware.lanes.Accumulators` has.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "products": In(_product_layout(plan)),
                "busy": Out(1),
                "sums": Out(unsigned(plan.parts * plan.memory_rows * plan.state_sum_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, sums = self.plan.state_sum_width, []
        ends = Signal()
        m.d.comb += self.busy.eq(ends)
        m.d.sync += ends.eq(self.valid & self.last)
        for number in range(self.plan.parts * self.plan.memory_rows):
            product, negative = self.products[number].magnitude, self.products[number].negative
            total = Signal(width, name=f"total{number}")
            running = Signal(width, name=f"running{number}", reset_less=True)
            held = Signal(width, name=f"held{number}", reset_less=True)
            m.d.comb += total.eq(Mux(self.first, 0, running) + (product ^ negative.replicate(width)) + negative)
            with m.If(self.valid):
                m.d.sync += running.eq(total)
            with m.If(ends):
                m.d.sync += held.eq(running)
            sums.append(held)
        m.d.comb += self.sums.eq(Cat(sums))
        return m


class MemoryEngine(wiring.Component):
    """Sums of the rows of several memories with equal matrices.

    Parameters
    ----------
    plan : Plan
        With `memories_at_once`.

    Members
    -------
    updates : In(update_signature(plan))
        Operands of one product in each row of each part.
    busy : Out(1)
        Needs the clock even if no products come in.
    sums : Out(parts * rows * signed(plan.state_sum_width))
        Row 0 of part 0 in the low bits.

    Latency: 3 cycles from the last product of a sum to the sum, as in the lanes.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._products, self._sums = MemoryProducts(plan), MemorySums(plan)
        sums = self._sums.signature.members["sums"]
        super().__init__({"updates": In(update_signature(plan)), "busy": Out(1), "sums": sums})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiply = self._products
        m.submodules.accumulate = accumulate = self._sums
        wiring.connect(m, wiring.flipped(self.updates), self._products.updates)
        valid = Signal()
        first = Signal(reset_less=True)
        last = Signal(reset_less=True)
        m.d.sync += valid.eq(self.updates.valid)
        with m.If(self.updates.valid):
            m.d.sync += [first.eq(self.updates.first), last.eq(self.updates.last)]
        m.d.comb += [
            accumulate.valid.eq(valid),
            accumulate.first.eq(first),
            accumulate.last.eq(last),
            accumulate.products.eq(self._products.products),
            self.busy.eq(valid | accumulate.busy),
            self.sums.eq(accumulate.sums),
        ]
        return m
