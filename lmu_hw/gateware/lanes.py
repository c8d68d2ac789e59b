"""The lanes: each has a multiplier and a sum; all share one operand."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.layouts import product_signature
from lmu_hw.plan.plan import Plan

__all__ = ["Accumulators", "Lanes", "Multipliers"]


class Multipliers(wiring.Component):
    """Products of all lanes, aligned for their sums.

    They are a module of their own, so that reports show energy and area of products and sums apart.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and product shifts.

    Members
    -------
    shift : In(range)
        Index in `Plan.product_shifts`.
    activation : In(signed(plan.activation_width))
        Operand of all lanes.
    weights : In(lanes * signed(max weight width)), lane 0 in the low bits
        Operand of each lane.
    wide : In(1)
        Only with `Plan.narrow_width`: the weights have more bits than that.
    products : Out(lanes * signed(plan.accumulator_width))
        Shifted products, in the same cycle.

    With `Plan.narrow_width` a weight is a signed digit of that many bits and the rest, which is 0 for narrow weights.
    Both operands of the multiplier of the rest are 0 unless `wide`; only the first `Plan.wide_lanes` lanes have one.
    With `shift_operand` the operand is shifted once for all lanes, not each product.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.weight_width = max(plan.weight_widths)
        wide = {} if plan.narrow_width is None else {"wide": In(1)}
        super().__init__(
            {
                **wide,
                "shift": In(unsigned(bits_for(len(plan.product_shifts) - 1))),
                "activation": In(signed(plan.activation_width)),
                "weights": In(unsigned(plan.lanes * self.weight_width)),
                "products": Out(unsigned(plan.lanes * plan.accumulator_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.plan.accumulator_width
        operand = self._operand(m)
        upper = None if self.plan.narrow_width is None else self._wide_operand(m, operand)
        for lane in range(self.plan.lanes):
            weight = Signal(signed(self.weight_width), name=f"weight{lane}")
            product = Signal(signed(self.weight_width + self.plan.operand_width), name=f"product{lane}")
            m.d.comb += [
                weight.eq(self.weights.word_select(lane, self.weight_width)),
                product.eq(weight * operand if upper is None else self._cut(weight, operand, upper, lane)),
                self.products.word_select(lane, width).eq(self._shifted(product)),
            ]
        return m

    def _operand(self, m: Module) -> Signal:
        """The operand that all lanes share."""
        if not self.plan.config.shift_operand:
            return self.activation
        operand = Signal(signed(self.plan.operand_width), name="operand")
        m.d.comb += operand.eq(Array(self.activation << shift for shift in self.plan.product_shifts)[self.shift])
        return operand

    def _shifted(self, product: Signal) -> Value:
        """A product as it is added: aligned by its own shift, unless the operand was shifted."""
        if self.plan.config.shift_operand:
            return product
        return Array(product << shift for shift in self.plan.product_shifts)[self.shift]

    def _wide_operand(self, m: Module, operand: Signal) -> Signal:
        """The operand of the upper parts, which is 0 while weights are narrow."""
        wide_operand = Signal.like(operand, name="wide_operand")
        m.d.comb += wide_operand.eq(Mux(self.wide, operand, 0))
        return wide_operand

    def _cut(self, weight: Signal, operand: Signal, wide_operand: Signal, lane: int) -> Value:
        """Product in two parts, the lower one of a digit of `Plan.narrow_width` bits."""
        width = self.plan.narrow_width or 0
        digit = weight[:width].as_signed()
        if lane >= self.plan.wide_lanes:
            return digit * operand
        rest = Mux(self.wide, weight[width:], 0).as_signed() + (self.wide & weight[width - 1])
        return digit * operand + ((rest * wide_operand) << width)


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
        Products to add.
    frame : In(range(frames))
        Only with `frames_per_fetch`: index of the sum in each lane.
    sums : Out(lanes * signed(plan.accumulator_width))
        Finished sums, from the cycle after `last` until the next `last`; with `frames_per_fetch` all of lane 0 first.

    With `split_sums` the upper half of a running sum is clocked only when it changes, which is rare with small
    products. The registers have no reset, because the first product of a sum starts it. So each has an enable only, and
    a clock gate can replace that.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        lanes = unsigned(plan.lanes * plan.accumulator_width)
        frames = plan.config.frames_per_fetch
        frame = {"frame": In(range(frames))} if frames > 1 else {}
        sums = unsigned(frames * plan.lanes * plan.accumulator_width)
        super().__init__(
            {"enable": In(1), "first": In(1), "last": In(1), "products": In(lanes), "sums": Out(sums), **frame}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, frames = self.plan.accumulator_width, self.plan.config.frames_per_fetch
        for lane in range(self.plan.lanes):
            product = Signal(signed(width), name=f"product{lane}")
            running = self._registers(f"running{lane}")
            total = Signal(signed(width), name=f"total{lane}")
            held = self._registers(f"held{lane}")
            present = running[0] if frames == 1 else Array(running)[self.frame]
            m.d.comb += [
                product.eq(self.products.word_select(lane, width)),
                *(self.sums.word_select(lane * frames + number, width).eq(kept) for number, kept in enumerate(held)),
            ]
            with m.If(self.first):
                m.d.comb += total.eq(product)
            with m.Else():
                m.d.comb += total.eq(present + product)
            for number in range(frames):
                enable = self.enable if frames == 1 else self.enable & (self.frame == number)
                with m.If(enable & ~self.last):
                    self._keep(m, running[number], total, present)
                with m.If(enable & self.last):
                    m.d.sync += held[number].eq(total)
        return m

    def _registers(self, name: str) -> list[Signal]:
        """A register for each sum of a lane."""
        frames = self.plan.config.frames_per_fetch
        names = [name] if frames == 1 else [f"{name}_{number}" for number in range(frames)]
        return [Signal(signed(self.plan.accumulator_width), name=register, reset_less=True) for register in names]

    def _keep(self, m: Module, running: Signal, total: Signal, present: Value) -> None:
        """Store a running sum, of which `present` is the value so far."""
        low = self.plan.accumulator_width // 2
        if not self.plan.config.split_sums:
            m.d.sync += running.eq(total)
            return
        m.d.sync += running[:low].eq(total[:low])
        with m.If(self.first | (total[low:] != present[low:])):
            m.d.sync += running[low:].eq(total[low:])


class Lanes(wiring.Component):
    """Sums of products, one row of a matrix in each lane.

    Parameters
    ----------
    plan : Plan
        Lanes, widths and product shifts.

    Members
    -------
    products : In(product_signature(plan))
        Operands of one product in each lane.
    sums : Out(lanes * signed(plan.accumulator_width))
        As for `Accumulators`.

    Latency: 1 cycle from the last product of a sum to the sum. Throughput: one product in each lane a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.multiply = Multipliers(plan)
        self.accumulate = Accumulators(plan)
        self.weight_width = self.multiply.weight_width
        super().__init__(
            {
                "products": In(product_signature(plan)),
                "sums": Out(self.accumulate.signature.members["sums"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiply = multiply = self.multiply
        m.submodules.accumulate = accumulate = self.accumulate
        product = self.products
        m.d.comb += [
            multiply.shift.eq(product.shift),
            multiply.activation.eq(product.activation),
            multiply.weights.eq(product.weights),
            *([] if self.plan.narrow_width is None else [multiply.wide.eq(product.wide)]),
            *([] if self.plan.config.frames_per_fetch == 1 else [accumulate.frame.eq(product.frame)]),
            accumulate.enable.eq(product.valid),
            accumulate.first.eq(product.first),
            accumulate.last.eq(product.last),
            accumulate.products.eq(multiply.products),
            self.sums.eq(accumulate.sums),
        ]
        return m
