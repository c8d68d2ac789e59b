"""The lanes: one multiplier and one sum each, sharing one operand."""

from amaranth.hdl import Array, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.plan import Plan

__all__ = ["Accumulators", "Lanes", "Multipliers"]


class Multipliers(wiring.Component):
    """The products of all lanes, aligned for their sums.

    A module of its own, so that energy and area can be told apart from those of the sums.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and product shifts.

    Members
    -------
    shift : In(range)
        Index into `product_shifts`.
    activation : In(signed(plan.activation_width))
        Operand of all lanes.
    weights : In(lanes * signed(max weight width)), lane 0 in the low bits
        Operand of each lane.
    products : Out(lanes * signed(plan.accumulator_width))
        Shifted products, in the same cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.product_shifts = product_shifts(plan)
        self.weight_width = max(plan.weight_widths)
        super().__init__(
            {
                "shift": In(unsigned(bits_for(len(self.product_shifts) - 1))),
                "activation": In(signed(plan.activation_width)),
                "weights": In(unsigned(plan.lanes * self.weight_width)),
                "products": Out(unsigned(plan.lanes * plan.accumulator_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.plan.accumulator_width
        for lane in range(self.plan.lanes):
            weight = Signal(signed(self.weight_width), name=f"weight{lane}")
            product = Signal(signed(self.weight_width + self.plan.activation_width), name=f"product{lane}")
            m.d.comb += [
                weight.eq(self.weights.word_select(lane, self.weight_width)),
                product.eq(weight * self.activation),
                self.products.word_select(lane, width).eq(
                    Array(product << shift for shift in self.product_shifts)[self.shift]
                ),
            ]
        return m


class Accumulators(wiring.Component):
    """The sums of all lanes, running and finished.

    Parameters
    ----------
    plan : Plan
        Lanes and width.

    Members
    -------
    enable : In(1)
        A product in this cycle.
    first, last : In(1)
        The product starts or ends a sum.
    products : In(lanes * signed(plan.accumulator_width)), lane 0 in the low bits
        What to add.
    sums : Out(lanes * signed(plan.accumulator_width))
        Finished sums, from the cycle after `last` until the next `last`.

    The registers have no reset, since the first product of a sum starts it: so each has nothing but its enable, which
    clock gates take.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        lanes = unsigned(plan.lanes * plan.accumulator_width)
        super().__init__({"enable": In(1), "first": In(1), "last": In(1), "products": In(lanes), "sums": Out(lanes)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.plan.accumulator_width
        for lane in range(self.plan.lanes):
            product = Signal(signed(width), name=f"product{lane}")
            running = Signal(signed(width), name=f"running{lane}", reset_less=True)
            total = Signal(signed(width), name=f"total{lane}")
            held = Signal(signed(width), name=f"held{lane}", reset_less=True)
            m.d.comb += [
                product.eq(self.products.word_select(lane, width)),
                self.sums.word_select(lane, width).eq(held),
            ]
            with m.If(self.first):
                m.d.comb += total.eq(product)
            with m.Else():
                m.d.comb += total.eq(running + product)
            with m.If(self.enable & ~self.last):
                m.d.sync += running.eq(total)
            with m.If(self.enable & self.last):
                m.d.sync += held.eq(total)
        return m


class Lanes(wiring.Component):
    """Sums of products, one row of a matrix in each lane.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and product shifts.

    Members
    -------
    enable, first, last, sums
        As for `Accumulators`.
    shift, activation, weights
        As for `Multipliers`.

    Latency 1 cycle, one product in each lane a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.multiply = Multipliers(plan)
        self.accumulate = Accumulators(plan)
        self.product_shifts = self.multiply.product_shifts
        self.weight_width = self.multiply.weight_width
        operands = {name: self.multiply.signature.members[name] for name in ("shift", "activation", "weights")}
        sums = {name: self.accumulate.signature.members[name] for name in ("enable", "first", "last", "sums")}
        super().__init__(operands | sums)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiply = multiply = self.multiply
        m.submodules.accumulate = accumulate = self.accumulate
        m.d.comb += [
            multiply.shift.eq(self.shift),
            multiply.activation.eq(self.activation),
            multiply.weights.eq(self.weights),
            accumulate.enable.eq(self.enable),
            accumulate.first.eq(self.first),
            accumulate.last.eq(self.last),
            accumulate.products.eq(multiply.products),
            self.sums.eq(accumulate.sums),
        ]
        return m


def product_shifts(plan: Plan) -> tuple[int, ...]:
    """The distinct left shifts of products in a plan."""
    return tuple(sorted({term.shift for planned in plan.operations for term in planned.terms}))
