"""The lanes: one multiplier and one sum each, sharing one operand."""

from amaranth.hdl import Array, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.plan import Plan

__all__ = ["Lanes"]


class Lanes(wiring.Component):
    """Sums of products, one row of a matrix in each lane.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and product shifts.

    Members
    -------
    enable : In(1)
        A product in this cycle.
    first, last : In(1)
        The product starts or ends a sum.
    shift : In(range)
        Index into `product_shifts`.
    activation : In(signed(plan.activation_width))
        Operand of all lanes.
    weights : In(lanes * signed(max weight width)), lane 0 in the low bits
        Operand of each lane.
    sums : Out(lanes * signed(plan.accumulator_width))
        Finished sums, from the cycle after `last` until the next `last`.

    Latency 1 cycle, one product in each lane a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.product_shifts = product_shifts(plan)
        self.weight_width = max(plan.weight_widths)
        super().__init__(
            {
                "enable": In(1),
                "first": In(1),
                "last": In(1),
                "shift": In(unsigned(bits_for(len(self.product_shifts) - 1))),
                "activation": In(signed(plan.activation_width)),
                "weights": In(unsigned(plan.lanes * self.weight_width)),
                "sums": Out(unsigned(plan.lanes * plan.accumulator_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.plan.accumulator_width
        for lane in range(self.plan.lanes):
            weight = Signal(signed(self.weight_width), name=f"weight{lane}")
            product = Signal(signed(self.weight_width + self.plan.activation_width), name=f"product{lane}")
            aligned = Signal(signed(width), name=f"aligned{lane}")
            running = Signal(signed(width), name=f"running{lane}")
            total = Signal(signed(width), name=f"total{lane}")
            held = Signal(signed(width), name=f"held{lane}")
            m.d.comb += [
                weight.eq(self.weights.word_select(lane, self.weight_width)),
                product.eq(weight * self.activation),
                aligned.eq(Array(product << shift for shift in self.product_shifts)[self.shift]),
                self.sums.word_select(lane, width).eq(held),
            ]
            with m.If(self.first):
                m.d.comb += total.eq(aligned)
            with m.Else():
                m.d.comb += total.eq(running + aligned)
            with m.If(self.enable & ~self.last):
                m.d.sync += running.eq(total)
            with m.If(self.enable & self.last):
                m.d.sync += held.eq(total)
        return m


def product_shifts(plan: Plan) -> tuple[int, ...]:
    """The distinct left shifts of products in a plan."""
    return tuple(sorted({term.shift for planned in plan.operations for term in planned.terms}))
