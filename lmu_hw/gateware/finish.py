"""Finishing: bias, narrowing and activation of the lanes' sums, one row a cycle."""

from collections.abc import Collection, Iterable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.clock_gate import add_block
from lmu_hw.gateware.layouts import added_signature, group_layout, write_signature
from lmu_hw.gateware.memory import ReadOnly, read_signature
from lmu_hw.gateware.memory_finish import MemoryFinish
from lmu_hw.gateware.narrow import Narrow
from lmu_hw.plan.narrowing import NarrowStep
from lmu_hw.plan.placement import MemoryPlan
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
    groups : In(stream of group_layout(plan), always ready)
        Destination of a row group. Valid in the cycle before the group's sums are.
    parameters : Out(read_signature of plan.parameters)
        Read port of the parameters: bias in the low bits, shift above.
    write : Out(write_signature(plan))
        Finished elements.
    added : Out(added_signature(plan))
        Only where elements are added to finished sums: read port of the data memories.
    state_sums : In(parts * rows * signed(plan.state_sum_width))
        Only with `memories_at_once`: from the memory engine, as ``sums`` from the lanes.
    busy : Out(1)
        With `gate_blocks` only: needs the clock even if `groups` is not valid.

    Latency: row ``k`` is written ``k + 2`` cycles after its group came in, one cycle later if the model has tanh.
    Throughput: one element a cycle; the next group may come in ``rows`` cycles after the last. A row with several sums
    is written sum by sum, and its bias and shift are read once.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        busy = {"busy": Out(1)} if plan.config.gate_blocks else {}
        added = {"added": Out(added_signature(plan))} if plan.residual_memories else {}
        states = {"state_sums": In(plan.parts * plan.memory_rows * plan.state_sum_width)} if plan.parts > 1 else {}
        super().__init__(
            {
                "sums": In(unsigned(plan.config.frames_per_fetch * plan.lanes * plan.accumulator_width)),
                "groups": In(stream.Signature(group_layout(plan), always_ready=True)),
                "parameters": Out(read_signature(unsigned(plan.parameters.width), plan.parameters.depth)),
                "write": Out(write_signature(plan)),
                **added,
                **states,
                **busy,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, width, group = self.plan, self.plan.accumulator_width, self.groups.payload
        rows = Signal.like(group.rows)
        free = plan.config.control_reset
        lane = Signal(range(max(2, plan.lanes)), reset_less=free)
        destination = Signal(group_layout(plan), reset_less=free)
        selected = Signal(signed(width), reset_less=free)
        row_destination = Signal(group_layout(plan), reset_less=free)
        number, read, closes, step = self._sum(m, lane, rows, destination)
        with m.If(self.groups.valid):
            m.d.sync += [rows.eq(group.rows), lane.eq(0), destination.eq(group)]
        with m.Elif(rows != 0):
            m.d.sync += [
                rows.eq(rows - 1),
                lane.eq(lane + closes),
                destination.parameter.eq(destination.parameter + closes),
                destination.address.eq(destination.address + step),
            ]
            if plan.residual_memories:
                m.d.sync += destination.added_address.eq(destination.added_address + self._added_step(destination))
        row_valid = Signal()
        states: Value = Const(0, 0)
        if plan.parts > 1:  # sums of the lanes, and what comes after them, rest
            number, read = Mux(destination.at_once, 0, number), read & ~destination.at_once
            states = self._add_states(m, (rows != 0) & destination.at_once, lane, row_destination)
        m.d.comb += [self.parameters.read.eq(read), self.parameters.address.eq(destination.parameter)]
        m.d.sync += row_valid.eq(rows != 0)
        with m.If(rows != 0):
            sums = Array(self.sums.word_select(index, width) for index in range(len(self.sums) // width))
            following = sums[number] if plan.parts == 1 else Mux(destination.at_once, selected, sums[number])
            m.d.sync += [selected.eq(following), row_destination.eq(destination)]
        if plan.config.gate_blocks:
            m.d.comb += self.busy.eq((rows != 0) | row_valid | self.write.valid)
        if plan.residual_memories:
            self._read_added(m, rows != 0, destination)
        element = self._narrow(m, selected, row_destination)
        if plan.table is None:
            self._write(m, row_valid, row_destination, element, states)
        else:
            self._look_up(m, plan.table, row_valid, row_destination, element, states)
        return m

    def _sum(self, m: Module, lane: Signal, rows: Signal, destination: data.View) -> tuple[Value, Value, Value, Value]:
        """Index of the sum; whether its parameters are read; whether it is the last of its row; step of the address."""
        if self.plan.config.frames_per_fetch == 1:
            return lane, rows != 0, Const(1, 1), Const(1, 1)
        number = Signal.like(destination.last_sum, name="number", reset_less=self.plan.config.control_reset)
        closes = number == destination.last_sum
        with m.If(self.groups.valid):
            m.d.sync += number.eq(0)
        with m.Elif(rows != 0):
            m.d.sync += number.eq(Mux(closes, 0, number + 1))
        return Cat(number, lane), (rows != 0) & (number == 0), closes, destination.step

    def _by_operation(self, values: Iterable[int], destination: data.View) -> Value:
        """Constant of the operation whose rows are finished."""
        constants = list(values)
        bits = bits_for(max(constants))
        return Array(Const(value, bits) for value in constants)[destination.operation]

    def _adds(self, destination: data.View) -> Value:
        """Whether an element is added to each sum."""
        return self._by_operation((int(op.residual is not None) for op in self.plan.operations), destination)

    def _added_step(self, destination: data.View) -> Value:
        """From one added element to the next."""
        residuals = ((planned.residual, planned.together) for planned in self.plan.operations)
        steps = (
            1 if residual is None else residual.frames if together else residual.location.copies
            for residual, together in residuals
        )
        return self._by_operation(steps, destination)

    def _read_added(self, m: Module, read: Value, destination: data.View) -> None:
        """Read the element that is added to a row's sum."""
        m.d.comb += [
            self.added.read.eq(read & self._adds(destination)),
            self.added.memory.eq(destination.added_memory),
            self.added.address.eq(destination.added_address),
        ]

    def _added(self, m: Module, shift: Value, destination: data.View) -> Value:
        """Element that is added to the sum, shifted to its scale; 0 where none is."""
        plan = self.plan
        element = Signal(signed(plan.activation_width), name="added_element")
        with m.If(self._adds(destination)), m.Switch(destination.added_memory):
            for index in plan.residual_memories:
                with m.Case(index):
                    m.d.comb += element.eq(self.added.r_data[plan.data_memories[index].name])
        operations = [(op, op.residual) for op in plan.operations if op.residual is not None]
        further = sorted({residual.shift for _, residual in operations})
        aligned = []
        for number, offset in enumerate(further):
            shifts = self._shifts({op.narrow for op, residual in operations if residual.shift == offset})
            lefts = {right: right + offset for right in sorted(shifts) if right + offset >= 0}
            aligned.append(Signal(signed(len(element) + max(lefts.values())), name=f"aligned{number}"))
            with m.Switch(shift):  # no row that adds an element has another shift
                for right, left in lefts.items():
                    with m.Case(right):
                        m.d.comb += aligned[-1].eq(element << left)
        of_operation = (0 if op.residual is None else further.index(op.residual.shift) for op in plan.operations)
        return Array(aligned)[self._by_operation(of_operation, destination)]

    def _shifts(self, steps: Collection[int]) -> set[int]:
        """Right shifts of the sums that are narrowed in these steps."""
        own = (op for op in self.plan.operations if op.narrow in steps and op.parts == 1)
        return {int(s) for op in own for s in op.operation.shifts}

    def _add_states(self, m: Module, valid: Value, row: Signal, destination: data.View) -> Value:
        """Add the narrowing of rows of several memories, and give the states that come out of it."""
        block = MemoryFinish(self.plan)
        add_block(m, "states", block, valid if self.plan.config.gate_blocks else None)
        m.d.comb += [
            block.sums.eq(self.state_sums),
            block.valid.eq(valid),
            block.row.eq(row),
            block.operation.eq(destination.operation),
        ]
        return block.states

    def _narrow(self, m: Module, selected: Signal, destination: data.View) -> Signal:
        """Add the bias and the residual, and narrow the sum in every way; the destination says which one counts."""
        plan = self.plan
        bias = Signal(signed(plan.bias_width))
        shift = Signal(plan.shift_width)
        operations = [planned for planned in plan.operations if planned.parts == 1]
        total = Signal(signed(max(plan.certificate.operations[op.operation.name].total_bits for op in operations)))
        m.d.comb += [
            bias.eq(self.parameters.r_data[: plan.bias_width]),
            shift.eq(self.parameters.r_data[plan.bias_width :]),
        ]
        if plan.residual_memories:
            m.d.comb += total.eq(selected + bias + self._added(m, shift, destination))
        else:
            m.d.comb += total.eq(selected + bias)
        results: list[Value] = []
        for index, narrow_step in enumerate(plan.narrow_steps):
            shifts = self._shifts([index])
            if not shifts:  # only memories are narrowed like this, elsewhere
                results.append(Const(0, 1))
                continue
            narrow = Narrow(len(total), shifts, narrow_step.quantizer, narrow_step.saturates)
            m.submodules[f"narrow{index}"] = narrow
            m.d.comb += [narrow.i.eq(total), narrow.shift.eq(shift)]
            results.append(_rectify(narrow_step, narrow.o))
        widths = [plan.narrow_steps[op.narrow].quantizer.format.signed_width for op in operations]
        element = Signal(signed(max(widths)), name="element")
        m.d.comb += element.eq(Array(results)[destination.narrow])
        return element

    def _write(self, m: Module, valid: Value, destination: data.View, element: Value, states: Value) -> None:
        write = self.write
        m.d.comb += [
            write.valid.eq(valid),
            write.memory.eq(destination.memory),
            write.address.eq(destination.address),
            write.data.eq(element),
            write.output.eq(destination.output),
            write.operation.eq(destination.operation),
        ]
        if self.plan.parts > 1:
            m.d.comb += [write.at_once.eq(destination.at_once), write.states.eq(states)]

    def _look_up(
        self, m: Module, table: MemoryPlan, valid: Value, destination: data.View, element: Signal, states: Value
    ) -> None:
        """Write one stage later: tanh by a table of magnitudes, with the sign put back; other elements pass."""
        m.submodules.table = rom = ReadOnly(unsigned(table.width), self.plan.images()["tanh"])
        tanh = Array(Const(step.activation == "tanh", 1) for step in self.plan.narrow_steps)[destination.narrow]
        base = Array(
            Const(step.table_base, bits_for(table.depth - 1)) for step in self.plan.narrow_steps
        )[destination.narrow]
        negative = element < 0
        magnitude = Mux(negative, -element, element)
        late_valid = Signal()
        free = self.plan.config.control_reset
        late_tanh = Signal(reset_less=free)
        late_negative = Signal(reset_less=free)
        late_destination = Signal(group_layout(self.plan), reset_less=free)
        late_element = Signal.like(element, reset_less=free)
        m.d.comb += [rom.address.eq(base + magnitude), rom.read.eq(valid & tanh)]
        m.d.sync += late_valid.eq(valid)
        with m.If(valid):
            m.d.sync += [
                late_tanh.eq(tanh),
                late_negative.eq(negative),
                late_destination.eq(destination),
                late_element.eq(element),
            ]
        looked_up = Mux(late_negative, -rom.r_data, rom.r_data)
        late_states = Signal(len(states), reset_less=True)
        if self.plan.parts > 1:
            with m.If(valid & destination.at_once):
                m.d.sync += late_states.eq(states)
        self._write(m, late_valid, late_destination, Mux(late_tanh, looked_up, late_element), late_states)


def _rectify(step: NarrowStep, value: Value) -> Value:
    return Mux(value < 0, 0, value) if step.activation == "relu" and step.quantizer.format.signed else value
