"""The lanes: each has a product and a sum; all share one operand."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import factor_signature, lane_layout, product_signature
from lmu_hw.gateware.operands import Operands
from lmu_hw.plan.plan import Plan

__all__ = ["Accumulators", "Lanes", "Multipliers"]


class Multipliers(wiring.Component):
    """Magnitudes of the products of all lanes.

    They are a module of their own, so that reports show energy and area of products and sums apart.

    Parameters
    ----------
    plan : Plan
        Lanes and widths.

    Members
    -------
    operand, magnitudes : In
        As in `factor_signature`.
    products : Out(lane_layout of `LanePlan.product_bits`)
        In the same cycle.

    Wide lanes with `isolate_operands` have a second multiplier for the bits that narrow weights do not have; these bits
    are 0 while weights are narrow.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        factors = factor_signature(plan).members
        super().__init__(
            {name: factors[name].flip() for name in ("operand", "magnitudes")}
            | {"products": Out(lane_layout(plan, plan.lane_plan.product_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.plan.lane_plan
        for lane in range(self.plan.lanes):
            magnitude = Signal(lanes.weight_bits(lane), name=f"magnitude{lane}")
            product = Signal(lanes.product_bits(lane), name=f"product{lane}")
            m.d.comb += [
                magnitude.eq(self.magnitudes[f"lane{lane}"]),
                product.eq(self._multiplied(magnitude)),
                self.products[f"lane{lane}"].eq(product),
            ]
        return m

    def _multiplied(self, magnitude: Signal) -> Value:
        """Product by a multiplier, or by two if the weight has bits that are mostly 0."""
        narrow = self.plan.lane_plan.narrow
        product = magnitude[:narrow] * self.operand
        if len(magnitude) == narrow:
            return product
        return product + ((magnitude[narrow:] * self.operand) << narrow)


class Accumulators(wiring.Component):
    """The sums of all lanes, running and finished.

    Parameters
    ----------
    plan : Plan
        Lanes and width.

    Members
    -------
    valid : In(1)
        A product in this cycle.
    first, last : In(1)
        The product starts or ends a sum.
    products : In(lane_layout of `LanePlan.product_bits`)
        Magnitudes of the products to add.
    negative : In(lanes)
        Their signs.
    wide : In(1)
        Only if lanes differ (`LanePlan.wide_lanes`): the others have no sum, and rest.
    frame : In(range(frames))
        Only with `frames_per_fetch`: index of the sum in each lane.
    sums : Out(lanes * signed(plan.accumulator_width))
        Finished sums, from the second cycle after `last` until the cycle after the next `last`; with `frames_per_fetch`
        all of lane 0 first.

    Each lane has one adder: a negative product is inverted, and its sign is the carry into the adder. With
    `isolate_operands` the upper half of a running sum is clocked only when it may change. It does when the product
    reaches into it, or when its lowest bit changes. The registers have no reset, because the first product of a sum
    starts it. So each has an enable only, and a clock gate can replace that.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        factors = factor_signature(plan).members
        names = ["valid", "first", "last", "negative", *(name for name in ("wide", "frame") if name in factors)]
        sums = unsigned(plan.config.frames_per_fetch * plan.lanes * plan.accumulator_width)
        super().__init__(
            {name: factors[name].flip() for name in names}
            | {"products": In(lane_layout(plan, plan.lane_plan.product_bits)), "sums": Out(sums)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, frames = self.plan.accumulator_width, self.plan.config.frames_per_fetch
        working, ended = self._enables(m)
        for lane in range(self.plan.lanes):
            narrow = 0 < self.plan.lane_plan.wide_lanes <= lane
            product, negative = self.products[f"lane{lane}"], self.negative[lane]
            running = self._registers(f"running{lane}")
            held = self._registers(f"held{lane}")
            present = running[0] if frames == 1 else Array(running)[self.frame]
            addend = Signal(width, name=f"addend{lane}")
            total = Signal(width, name=f"total{lane}")
            m.d.comb += [
                addend.eq(product ^ negative.replicate(width)),
                total.eq(Mux(self.first, 0, present) + addend + negative),
                *(self.sums.word_select(lane * frames + number, width).eq(kept) for number, kept in enumerate(held)),
            ]
            for number in range(frames):
                with m.If(working[narrow][number]):
                    self._keep(m, running[number], total, present, product)
                with m.If(ended[narrow][number]):  # the sum so far does not glitch, the new one does
                    m.d.sync += held[number].eq(running[number])
        return m

    def _enables(self, m: Module) -> tuple[list[list[Value]], list[list[Value]]]:
        """Whether a sum runs, and whether it ended in the cycle before: for all lanes or those that rest, by frame."""
        frames = self.plan.config.frames_per_fetch
        last = self.valid & self.last
        runs = [self.valid if frames == 1 else self.valid & (self.frame == number) for number in range(frames)]
        ends = [Signal(name=f"ends{number}") for number in range(frames)]
        m.d.sync += [ended.eq(running & self.last) for ended, running in zip(ends, runs, strict=True)]
        if not self.plan.lane_plan.wide_lanes:
            return [runs, runs], [ends, ends]
        rested = Signal(reset_less=True)
        with m.If(last):
            m.d.sync += rested.eq(self.wide)
        return [runs, [run & ~self.wide for run in runs]], [ends, [ended & ~rested for ended in ends]]

    def _registers(self, name: str) -> list[Signal]:
        """A register for each sum of a lane."""
        frames = self.plan.config.frames_per_fetch
        names = [name] if frames == 1 else [f"{name}_{number}" for number in range(frames)]
        return [Signal(self.plan.accumulator_width, name=register, reset_less=True) for register in names]

    def _keep(self, m: Module, running: Signal, total: Signal, present: Value, product: Value) -> None:
        """Store a running sum, of which `present` is the value so far."""
        if not self.plan.config.isolate_operands:
            m.d.sync += running.eq(total)
            return
        low = self.plan.accumulator_width // 2
        m.d.sync += running[:low].eq(total[:low])
        # If the product has no upper half, the upper half of the sum changes by one or not at all.
        with m.If(self.first | product[low:].any() | (total[low] ^ present[low])):
            m.d.sync += running[low:].eq(total[low:])


class Lanes(wiring.Component):
    """Sums of products, one row of a matrix in each lane.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and shifts of the operand.

    Members
    -------
    products : In(product_signature(plan))
        Operands of one product in each lane.
    sums : Out(lanes * signed(plan.accumulator_width))
        As for `Accumulators`.

    Latency: 3 cycles from the last product of a sum to the sum. Throughput: one product in each lane a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._operands = Operands(plan)
        self._multiply = Multipliers(plan)
        self._accumulate = Accumulators(plan)
        super().__init__(
            {
                "products": In(product_signature(plan)),
                "sums": Out(self._accumulate.signature.members["sums"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.operands = operands = self._operands
        m.submodules.multiply = multiply = self._multiply
        m.submodules.accumulate = accumulate = self._accumulate
        wiring.connect(m, wiring.flipped(self.products), operands.i)
        for block in (multiply, accumulate):
            shared = block.signature.members.keys() & operands.o.signature.members.keys()
            m.d.comb += [getattr(block, name).eq(getattr(operands.o, name)) for name in sorted(shared)]
        m.d.comb += [accumulate.products.eq(multiply.products), self.sums.eq(accumulate.sums)]
        return m
