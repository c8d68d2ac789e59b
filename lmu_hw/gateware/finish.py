"""Finishing: bias, narrowing and activation of the lanes' sums, one row a cycle."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.layouts import group_layout
from lmu_hw.gateware.memory import ReadOnly
from lmu_hw.gateware.narrow import Narrow
from lmu_hw.plan.narrowing import NarrowStep
from lmu_hw.plan.plan import Plan

__all__ = ["Finish"]


class Finish(wiring.Component):
    """Turns the sums of a row group into elements and writes them in order.

    Parameters
    ----------
    plan : Plan
        Widths, narrow steps and the tanh table.

    Members
    -------
    sums : In(lanes * signed(plan.accumulator_width))
        From the lanes, stable while rows of the group remain; with `frames_per_fetch` so many for each lane.
    start : In(1)
        A group's last product is being added in this cycle.
    group : In(group_layout(plan))
        Where that group's rows go.
    parameter_address, parameter_read : Out
        Read of the bias and shift of the row; the word arrives one cycle later on `parameter`.
    parameter : In(plan.parameters.width)
        Bias in the low bits, shift above.
    write : Out(1)
        An element leaves in this cycle.
    write_memory : Out(one bit for each data memory)
        Which memories take it; zero for logits that nothing reads again.
    write_address : Out
        Where.
    write_data : Out(signed)
        The element.
    write_output : Out(1)
        It is a logit.
    write_operation : Out
        Index of the operation in the plan.
    busy : Out(1)
        With `gate_blocks` only: needs the clock even without `start`.

    Latency: row ``k`` is written ``k + 2`` cycles after `start`, one more if the model has tanh. A new group may
    start from the cycle of the selection of the last row on (``rows`` cycles after the last `start`). Where a row has
    several sums, they are written one after the other, and its bias and shift are read once.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        widths = [step.output.signed_width for step in plan.narrow_steps]
        layout = group_layout(plan)
        busy = {"busy": Out(1)} if plan.config.gate_blocks else {}
        super().__init__(
            {
                "sums": In(unsigned(plan.config.frames_per_fetch * plan.lanes * plan.accumulator_width)),
                "start": In(1),
                "group": In(layout),
                "parameter_address": Out(layout["parameter"].shape),
                "parameter_read": Out(1),
                "parameter": In(unsigned(plan.parameters.width)),
                "write": Out(1),
                "write_memory": Out(layout["memory"].shape),
                "write_address": Out(layout["address"].shape),
                "write_data": Out(signed(max(widths))),
                "write_output": Out(1),
                "write_operation": Out(layout["operation"].shape),
                **busy,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, width = self.plan, self.plan.accumulator_width
        rows = Signal.like(self.group.rows)
        free = plan.config.control_reset
        lane = Signal(range(max(2, plan.lanes)), reset_less=free)
        place = Signal(group_layout(plan), reset_less=free)
        selected = Signal(signed(width), reset_less=free)
        chosen, read, closes, step = self._sum(m, lane, rows, place)
        with m.If(self.start):
            m.d.sync += [rows.eq(self.group.rows), lane.eq(0), place.eq(self.group)]
        with m.Elif(rows != 0):
            m.d.sync += [
                rows.eq(rows - 1),
                lane.eq(lane + closes),
                place.parameter.eq(place.parameter + closes),
                place.address.eq(place.address + step),
            ]
        row_valid = Signal()
        row_place = Signal(group_layout(plan), reset_less=free)
        m.d.comb += [self.parameter_read.eq(read), self.parameter_address.eq(place.parameter)]
        m.d.sync += row_valid.eq(rows != 0)
        with m.If(rows != 0):
            m.d.sync += [
                selected.eq(Array(self.sums.word_select(i, width) for i in range(len(self.sums) // width))[chosen]),
                row_place.eq(place),
            ]
        if plan.config.gate_blocks:
            m.d.comb += self.busy.eq((rows != 0) | row_valid | self.write)
        element = self._narrow(m, selected, row_place.narrow)
        if plan.table is None:
            self._write(m, row_valid, row_place, element)
        else:
            self._look_up(m, row_valid, row_place, element)
        return m

    def _sum(self, m: Module, lane: Signal, rows: Signal, place: data.View) -> tuple[Value, Value, Value, Value]:
        """Which sum is selected, whether its parameters are read, whether it is the last of its row, and the step."""
        if self.plan.config.frames_per_fetch == 1:
            return lane, rows != 0, Const(1, 1), Const(1, 1)
        number = Signal.like(place.last_sum, name="number", reset_less=self.plan.config.control_reset)
        closes = number == place.last_sum
        with m.If(self.start):
            m.d.sync += number.eq(0)
        with m.Elif(rows != 0):
            m.d.sync += number.eq(Mux(closes, 0, number + 1))
        return Cat(number, lane), (rows != 0) & (number == 0), closes, place.step

    def _narrow(self, m: Module, selected: Signal, step: Value) -> Signal:
        """Add the bias and narrow by every step; the active one is selected."""
        plan = self.plan
        bias = Signal(signed(plan.bias_width))
        shift = Signal(plan.shift_width)
        operations = plan.operations
        total = Signal(signed(max(plan.certificate.operations[op.operation.name].total_bits for op in operations)))
        m.d.comb += [
            bias.eq(self.parameter[: plan.bias_width]),
            shift.eq(self.parameter[plan.bias_width :]),
            total.eq(selected + bias),
        ]
        results = []
        for index, one in enumerate(plan.narrow_steps):
            shifts = {int(s) for op in operations if op.narrow == index for s in op.operation.shifts}
            narrow = Narrow(len(total), shifts, one.quantizer, one.saturates)
            m.submodules[f"narrow{index}"] = narrow
            m.d.comb += [narrow.i.eq(total), narrow.shift.eq(shift)]
            results.append(_rectify(one, narrow.o))
        widths = [step.quantizer.format.signed_width for step in plan.narrow_steps]
        element = Signal(signed(max(widths)), name="element")
        m.d.comb += element.eq(Array(results)[step])
        return element

    def _write(self, m: Module, valid: Value, place: Value, element: Value) -> None:
        m.d.comb += [
            self.write.eq(valid),
            self.write_memory.eq(place.memory),
            self.write_address.eq(place.address),
            self.write_data.eq(element),
            self.write_output.eq(place.output),
            self.write_operation.eq(place.operation),
        ]

    def _look_up(self, m: Module, valid: Value, place: Value, element: Signal) -> None:
        """One more stage: the tanh table by magnitude, the sign put back; other elements pass."""
        table = self.plan.table
        m.submodules.table = rom = ReadOnly(unsigned(table.width), self.plan.images()["tanh"])
        tanh = Array(Const(step.activation == "tanh", 1) for step in self.plan.narrow_steps)[place.narrow]
        base = Array(
            Const(step.table_base, bits_for(table.depth - 1)) for step in self.plan.narrow_steps
        )[place.narrow]
        negative = element < 0
        magnitude = Mux(negative, -element, element)
        late_valid = Signal()
        free = self.plan.config.control_reset
        late_tanh = Signal(reset_less=free)
        late_negative = Signal(reset_less=free)
        late_place = Signal(group_layout(self.plan), reset_less=free)
        late_element = Signal.like(element, reset_less=free)
        m.d.comb += [rom.address.eq(base + magnitude), rom.read.eq(valid & tanh)]
        m.d.sync += late_valid.eq(valid)
        with m.If(valid):
            m.d.sync += [
                late_tanh.eq(tanh),
                late_negative.eq(negative),
                late_place.eq(place),
                late_element.eq(element),
            ]
        looked_up = Mux(late_negative, -rom.r_data, rom.r_data)
        self._write(m, late_valid, late_place, Mux(late_tanh, looked_up, late_element))


def _rectify(step: NarrowStep, value: Value) -> Value:
    return Mux(value < 0, 0, value) if step.activation == "relu" and step.quantizer.format.signed else value
