"""The registers before the arithmetic of the lanes: operand and weights in sign and magnitude."""

from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import factor_signature, product_signature
from lmu_hw.plan.plan import Plan

__all__ = ["Operands"]


class Operands(wiring.Component):
    """Registers what the lanes multiply, so that the inputs of the arithmetic change once a cycle.

    Before the registers, the operand is turned into a shifted magnitude. Its sign turns the sign of each weight into
    that of the product.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and shifts of the operand.

    Members
    -------
    i : In(product_signature(plan))
        Operands of one product in each lane.
    o : Out(factor_signature(plan))
        The same one cycle later, ready to be multiplied.

    Where lanes differ (`LanePlan.wide_lanes`), some bits rest. Those that only wide weights have are 0 while weights
    are narrow. Lanes that have no such bits keep weights of 0 while weights are wide. Both are clocked while they are
    in use, and once more to become 0.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__({"i": In(product_signature(plan)), "o": Out(factor_signature(plan))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, i, o = self.plan, self.i, self.o
        free = plan.config.control_reset
        valid = Signal()
        m.d.sync += valid.eq(i.valid)
        m.d.comb += o.valid.eq(valid)
        for name in ("first", "last", *(["frame"] if plan.config.frames_per_fetch > 1 else [])):
            kept = Signal.like(getattr(i, name), name=name, reset_less=free)
            with m.If(i.valid):
                m.d.sync += kept.eq(getattr(i, name))
            m.d.comb += getattr(o, name).eq(kept)
        self._operand(m)
        self._weights(m)
        return m

    def _operand(self, m: Module) -> None:
        """Register the magnitude of the operand."""
        lanes, activation = self.plan.lane_plan, self.i.activation.as_unsigned()
        negative = activation[-1]
        magnitude = Signal(len(activation))
        operand = Signal(lanes.operand, reset_less=True)
        m.d.comb += [
            magnitude.eq((activation ^ negative.replicate(len(activation))) + negative),
            self.o.operand.eq(operand),
        ]
        with m.If(self.i.valid):
            shifted = Array(magnitude << shift for shift in self.plan.product_shifts)
            m.d.sync += operand.eq(shifted[self.i.shift])

    def _weights(self, m: Module) -> None:
        """Register the magnitude of each lane's weight, and the sign of its product."""
        lanes, i, o = self.plan.lane_plan, self.i, self.o
        narrows: Value = i.valid
        widens: Value = i.valid
        if lanes.wide_lanes:
            wide = Signal(init=1)
            with m.If(i.valid):
                m.d.sync += wide.eq(i.wide)
            m.d.comb += o.wide.eq(wide)
            narrows, widens = i.valid & ~(i.wide & wide), i.valid & (i.wide | wide)
        for lane in range(self.plan.lanes):
            weight = i.weights.word_select(lane, lanes.wide + 1)
            magnitude = Signal(lanes.weight_bits(lane), name=f"magnitude{lane}", reset_less=True)
            negative = Signal(name=f"negative{lane}", reset_less=True)
            m.d.comb += [o.magnitudes[f"lane{lane}"].eq(magnitude), o.negative[lane].eq(negative)]
            with m.If(i.valid if lane < lanes.wide_lanes else narrows):
                m.d.sync += [
                    magnitude[: lanes.narrow].eq(weight[: lanes.narrow]),
                    negative.eq(weight[-1] ^ i.activation[-1]),
                ]
            if lane < lanes.wide_lanes:
                with m.If(widens):
                    m.d.sync += magnitude[lanes.narrow :].eq(weight[lanes.narrow : lanes.wide])
