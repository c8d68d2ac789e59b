"""The sequencer: walks the plan's operations and says, cycle by cycle, what is read and multiplied."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.clock_gate import add_block
from lmu_hw.gateware.lanes import product_shifts
from lmu_hw.gateware.layouts import group_layout, index_layout, written_layout
from lmu_hw.gateware.nonzero import NonzeroMap
from lmu_hw.gateware.round_walk import RoundWalk, walk_of
from lmu_hw.gateware.state import LayerState
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation, PlannedTerm

__all__ = ["Sequencer", "read_layout"]


def read_layout(plan: Plan) -> data.StructLayout:
    """One product step.

    ``memory`` (index of the data memory), ``address`` in it, ``zero`` (the state was cleared: read as zero),
    ``weights`` (index of the weight memory), ``weight_address``, ``shift`` (index of the product shift), ``first``
    and ``last`` of the sum. With `frames_per_fetch` also ``frame`` (to which sum of the lanes), ``fetch`` (the weights
    are not those of the step before) and ``finish`` (the group is complete).
    """
    frames = plan.config.frames_per_fetch
    several = {"frame": range(frames), "fetch": unsigned(1), "finish": unsigned(1)} if frames > 1 else {}
    return data.StructLayout(
        {
            "memory": unsigned(bits_for(len(plan.data_memories) - 1)),
            "address": unsigned(bits_for(max(memory.depth for memory in plan.data_memories) - 1)),
            "zero": unsigned(1),
            "weights": unsigned(bits_for(len(plan.weight_memories) - 1)),
            "weight_address": unsigned(bits_for(max(memory.depth for memory in plan.weight_memories) - 1)),
            "shift": unsigned(bits_for(len(product_shifts(plan)) - 1)),
            "first": unsigned(1),
            "last": unsigned(1),
            **several,
        }
    )


@dataclass(frozen=True, eq=False)
class _Step:
    """One term of one operation, the unit by which the sequencer's constants are stored.

    ``number`` is the term's place in its operation, ``first`` the step of the operation's first term, ``after`` the
    operation that follows (the first one after the last).
    """

    planned: PlannedOperation
    term: PlannedTerm
    number: int
    first: int
    after: PlannedOperation


def _steps(plan: Plan) -> list[_Step]:
    steps: list[_Step] = []
    for index, planned in enumerate(plan.operations):
        first = len(steps)
        after = plan.operations[(index + 1) % len(plan.operations)]
        steps.extend(_Step(planned, term, number, first, after) for number, term in enumerate(planned.terms))
    return steps


class Sequencer(wiring.Component):
    """Issues the products of a frame, keeps track of the network's state, and hands finished groups on.

    With `frames_per_fetch` a frame is a round of so many (`lmu_hw.gateware.round_walk`).

    Parameters
    ----------
    plan : Plan
        The schedule.

    Members
    -------
    frame : In(1)
        A whole input frame is there.
    clear : In(1)
        Clear the state before that frame.
    end : In(1)
        Clear the state after that frame.
    hold : In(1)
        Do not start a frame.
    output_free : In(1)
        The logits and the decision of the frame before were taken.
    idle : Out(1)
        Between frames, all elements written.
    release : Out(1)
        The input frame is not needed any more; one cycle.
    claim : Out(1)
        The logits of this frame are on their way; one cycle.
    issue : Out(1)
        A product step in this cycle.
    read : Out(read_layout(plan))
        The step.
    group : Out(group_layout(plan))
        Where the rows go of the group whose last product was issued in the cycle before.
    index : In(index_layout(plan.index_bits))
        Only if blocks are skipped: what the weight word read last says about the next one.
    written : In(written_layout(plan))
        Only if zero elements are skipped: what is written to the data memories in this cycle.
    cleared : Out(1)
        With smoothing only: the state is cleared in this cycle.

    Throughput: one step a cycle; it waits only where `lmu_hw.plan.plan` counts a wait, or for `output_free`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._walk = walk_of(plan)
        index = {"index": In(index_layout(plan.index_bits))} if plan.index_bits else {}
        written = {"written": In(written_layout(plan))} if plan.skipping_memories else {}
        cleared = {} if plan.config.smoothing is None else {"cleared": Out(1)}
        super().__init__(
            {
                "frame": In(1),
                "clear": In(1),
                "end": In(1),
                "hold": In(1),
                "output_free": In(1),
                "idle": Out(1),
                "release": Out(1),
                "claim": Out(1),
                "issue": Out(1),
                "read": Out(read_layout(plan)),
                "group": Out(group_layout(plan)),
                **index,
                **written,
                **cleared,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, steps = self.plan, _steps(self.plan)
        state, gates = LayerState(plan), plan.config.gate_blocks
        add_block(m, "state", state, Cat(state.start, state.finish) if gates else None)
        running = Signal()
        holds_input = Signal()
        most = plan.lanes * plan.config.frames_per_fetch
        busy = Signal(range(most + plan.schedule.write_latency + 1))
        free, walk = plan.config.control_reset, self._walk
        step = Signal(range(max(2, len(steps))), reset_less=free)
        count = Signal(range(max(2, *(one.term.length for one in steps))), name="column", reset_less=free)
        group = Signal(range(max(2, *(one.planned.groups for one in steps))), reset_less=free)
        block = Signal(range(max(2, *(one.planned.operation.repeat for one in steps))), reset_less=free)
        const = self._constants(m, steps, step)
        last_column, last_group, ends_group, ends_block, ends_operation, ends_frame = (
            Signal(name=name)
            for name in ("last_column", "last_group", "ends_group", "ends_block", "ends_operation", "ends_frame")
        )
        target = Signal(len(plan.data_memories))
        stops = Signal()
        zero = Signal()
        with m.Switch(step):
            for index, one in enumerate(steps):
                with m.Case(index):
                    self._state_dependent(m, one, state, target, stops, zero)

        column, begins, ends = self._column(m, const, count, last_column, ends_block)
        fresh = Signal()
        waits = Signal()
        start = Signal()
        rows = Signal(range(plan.lanes + 1))
        elements = walk.elements(const, rows)
        # A group of one element is always finished before the next one.
        unfinished = busy > plan.schedule.write_latency + 1 if most > 1 else Const(0, 1)
        closes = walk.closes(const, ends, ends_group)
        claims = walk.claims(fresh, closes, group)
        m.d.comb += [
            last_column.eq(walk.ends_term(ends)),
            last_group.eq(group == const.groups_last),
            ends_group.eq(last_column & const.last_term),
            ends_block.eq(ends_group & last_group),
            ends_operation.eq(walk.complete(m, const, self.issue, ends_block & (block == const.repeat_last))),
            ends_frame.eq(ends_operation & stops),
            fresh.eq(begins & (group == 0) & (block == 0)),
            rows.eq(Mux(last_group, const.rows_last, plan.lanes)),
            waits.eq(
                (fresh & walk.waits(const) & (busy != 0))
                | (closes & unfinished)
                | (claims & const.opens_output & ~self.output_free)
            ),
            self.issue.eq(running & ~waits),
            self.idle.eq(~running & (busy == 0)),
            self.claim.eq(self.issue & claims & const.opens_output),
            self.release.eq(self.issue & holds_input & (ends_frame | (ends_operation & const.releases))),
            start.eq(~running & self.frame & ~self.hold),
            state.start.eq(start),
            state.clear.eq(self.clear),
            state.end.eq(self.end),
            state.finish.eq(self.issue & ends_frame),
        ]
        if plan.config.smoothing is not None:
            m.d.comb += self.cleared.eq(state.cleared)
        with m.If(start):
            m.d.sync += [running.eq(1), holds_input.eq(1)]
            if free:  # after a reset; they are there anyway after a frame
                m.d.sync += [place.eq(place.init) for place in (step, count, group, block, *walk.counters)]
        with m.If(self.release):
            m.d.sync += holds_input.eq(0)
        with m.If(self.issue & ends_frame):
            m.d.sync += running.eq(0)
        with m.If(self.issue & ends_group):
            m.d.sync += busy.eq(elements + plan.schedule.write_latency)
        with m.Elif(busy != 0):
            m.d.sync += busy.eq(busy - 1)

        with m.If(self.issue):
            with m.If(~last_column):
                m.d.sync += count.eq((column if plan.skipping_memories else count) + walk.turns)
            with m.Else():
                m.d.sync += count.eq(0)
                self._next_step(m, const, step, group, block, ends_group, ends_block, ends_operation, ends_frame)
        self._pointers(m, const, start, column, rows, target, ends, ends_group, ends_block, ends_operation, ends_frame)
        m.d.comb += [
            self.read.zero.eq(zero),
            self.read.first.eq(begins & const.first_term),
            self.read.last.eq(closes),
        ]
        if isinstance(walk, RoundWalk):
            m.d.comb += [
                self.read.frame.eq(Mux(const.together, walk.number, 0)),
                self.read.fetch.eq(~const.together | (walk.number == 0)),
                self.read.finish.eq(ends_group),
            ]
        return m

    def _constants(self, m: Module, steps: list[_Step], step: Signal) -> data.View:
        """What the plan fixes, looked up by the present step."""
        plan = self.plan
        shifts, skips = product_shifts(plan), plan.index_bits > 0
        rows = []
        for one in steps:
            planned, term = one.planned, one.term
            block_steps = [other.step for other in planned.terms] if planned.operation.repeat > 1 else [0, 0]
            rows.append(
                {
                    "length_last": term.length - 1,
                    "first_term": int(one.number == 0),
                    "last_term": int(one.number == len(planned.terms) - 1),
                    "second_term": int(one.number == 1),
                    "first_step": one.first,
                    "groups_last": planned.groups - 1,
                    "rows_last": planned.rows_in(planned.groups - 1, plan.lanes),
                    "repeat_last": planned.operation.repeat - 1,
                    "wait": int(term.wait),
                    "opens_output": int(planned.output and one.number == self._walk.claiming_term(planned)),
                    "releases": int(planned.releases_input),
                    "base": term.location.base + term.offset * term.location.copies,
                    "block_step0": block_steps[0],
                    "block_step1": block_steps[1],
                    "shift": shifts.index(term.shift),
                    "weights": planned.weight_memory,
                    "weight_base": planned.weight_base,
                    "weight_after": one.after.weight_base,
                    "parameter_base": planned.parameter_base,
                    "parameter_after": one.after.parameter_base,
                    "target_after": one.after.target_start,
                    "narrow": planned.narrow,
                    "output": int(planned.output),
                    "operation": plan.operations.index(planned),
                }
                | self._walk.constants(planned, one.number)
                | ({"skips": int(term.skips)} if plan.skipping_memories else {})
                | ({"indexed": int(planned.index_bits > 0)} if skips else {})
            )
        layout = data.StructLayout({name: unsigned(bits_for(max(row[name] for row in rows))) for name in rows[0]})
        const = Signal(layout, name="const")
        with m.Switch(step):
            for index, row in enumerate(rows):
                with m.Case(index):
                    m.d.comb += const.eq(layout.const(row))
        return const

    def _column(
        self, m: Module, const: data.View, count: Signal, last_column: Value, ends_block: Value
    ) -> tuple[Value, Value, Value]:
        """Column of the present product in its term, and whether it is the term's first and its last.

        It is counted; or, where blocks are skipped, was read with the weights of the product before, the first product
        of an operation being that of column 0; or, where zero elements are skipped, is searched.
        """
        column, ends = count, count == const.length_last
        if self.plan.skipping_memories:
            column, ends = self._search(m, const, count)
        if not self.plan.index_bits:
            return column, count == 0, ends
        opens = Signal(init=1)
        begins = Signal(init=1)
        kept_column = Signal.like(count)
        kept_ends = Signal(name="ends")
        with m.If(self.issue):
            m.d.sync += [opens.eq(ends_block), begins.eq(last_column)]
        with m.If(~const.indexed):
            m.d.comb += [kept_column.eq(column), kept_ends.eq(ends)]
        with m.Elif(opens):
            m.d.comb += kept_ends.eq(const.length_last == 0)
        with m.Else():
            m.d.comb += [kept_column.eq(self.index.column), kept_ends.eq(self.index.last)]
        return kept_column, begins, kept_ends

    def _search(self, m: Module, const: data.View, count: Signal) -> tuple[Value, Value]:
        """The next column that is not zero from `count` on, and whether it is the last one."""
        nonzero = NonzeroMap(self.plan)
        add_block(m, "nonzero", nonzero, self.written.memory if self.plan.config.gate_blocks else None)
        column = Signal.like(count, name="kept_column")
        ends = Signal()
        m.d.comb += [
            nonzero.write.eq(self.written.memory),
            nonzero.address.eq(self.written.address),
            nonzero.nonzero.eq(self.written.nonzero),
            nonzero.enable.eq(const.skips),
            nonzero.memory.eq(self.read.memory),
            nonzero.start.eq(count),
            nonzero.stop.eq(const.length_last),
            column.eq(Mux(const.skips, nonzero.found, count)),
            ends.eq(Mux(const.skips, nonzero.last, count == const.length_last)),
        ]
        return column, ends

    def _state_dependent(
        self, m: Module, one: _Step, state: LayerState, target: Signal, stops: Signal, zero: Signal
    ) -> None:
        """What also depends on which memory is the old one, on cleared states and on the strides."""
        planned, term = one.planned, one.term
        m.d.comb += self.read.memory.eq(self._walk.source(m, planned, term, state.turn(term.layer, term.kind)))
        if term.state:
            m.d.comb += zero.eq(self._walk.cleared(state.valid(term.layer, term.state)))
        if planned.target is not None:
            layer, kind = planned.operation.layer, planned.operation.target[-1]
            chosen = self._walk.target(planned, state.turn(layer, kind))
            m.d.comb += target.eq(Const(1, len(target)) << chosen)
        if planned.output:
            m.d.comb += stops.eq(1)
        elif one.after.stride > 1:
            m.d.comb += stops.eq(~state.closes[one.after.operation.layer])

    def _next_step(
        self,
        m: Module,
        const: data.View,
        step: Signal,
        group: Signal,
        block: Signal,
        ends_group: Value,
        ends_block: Value,
        ends_operation: Value,
        ends_frame: Value,
    ) -> None:
        with m.If(~ends_group):
            m.d.sync += step.eq(step + 1)
        with m.Elif(~ends_block):
            m.d.sync += [step.eq(const.first_step), group.eq(group + 1)]
        with m.Elif(~ends_operation):
            m.d.sync += [step.eq(const.first_step), group.eq(0), block.eq(self._walk.next_block(block))]
        with m.Else():
            m.d.sync += [step.eq(Mux(ends_frame, 0, step + 1)), group.eq(0), block.eq(0)]

    def _weight_steps(self, const: data.View, weight: Value, column: Value, ends: Value) -> tuple[Value, Value, Value]:
        """Address of the present weights; whether the pointer moves in this cycle, and how far.

        The pointer is at that address; or, where elements may be left out, at the first word of their term.
        """
        whole = const.length_last + 1
        if not self.plan.skipping_memories:
            return weight, self.issue, self._walk.turns
        if not self.plan.index_bits:
            return weight + column, self.issue & ends, whole
        here = const.indexed
        return weight + Mux(here, 0, column), self.issue & (ends | here), Mux(here, 1, whole)

    def _pointers(
        self,
        m: Module,
        const: data.View,
        start: Value,
        column: Value,
        rows: Value,
        target: Value,
        ends: Value,
        ends_group: Value,
        ends_block: Value,
        ends_operation: Value,
        ends_frame: Value,
    ) -> None:
        """Addresses of weights, parameters, elements read and elements written."""
        opening = self.plan.operations[0]
        free, walk = self.plan.config.control_reset, self._walk
        weight = Signal.like(self.read.weight_address, init=opening.weight_base, reset_less=free)
        parameter = Signal.like(self.group.parameter, init=opening.parameter_base, reset_less=free)
        address = Signal.like(self.group.address, init=opening.target_start, reset_less=free)
        offset0, offset1 = (Signal.like(self.read.address, name=f"offset{n}", reset_less=free) for n in range(2))
        group = Signal(group_layout(self.plan), reset_less=True) if free else self.group
        word, moves, ahead = self._weight_steps(const, weight, column, ends)
        offset = Mux(const.first_term, offset0, Mux(const.second_term, offset1, 0))
        m.d.comb += [
            self.read.address.eq(walk.address(const, offset, column)),
            self.read.weights.eq(const.weights),
            self.read.weight_address.eq(word),
            self.read.shift.eq(const.shift),
        ]
        if free:
            with m.If(start):
                m.d.sync += [place.eq(place.init) for place in (weight, parameter, address, offset0, offset1)]
        with m.If(moves):
            m.d.sync += weight.eq(weight + ahead)
        with m.If(self.issue & ends_group):
            m.d.sync += [
                group.rows.eq(walk.elements(const, rows)),
                group.memory.eq(target),
                group.address.eq(address),
                group.parameter.eq(parameter),
                group.narrow.eq(const.narrow),
                group.output.eq(const.output),
                group.operation.eq(const.operation),
                parameter.eq(parameter + self.plan.lanes),
                address.eq(address + walk.words(const, rows)),
            ]
            if isinstance(walk, RoundWalk):
                m.d.sync += [group.last_sum.eq(Mux(const.together, const.frames_last, 0)), group.step.eq(const.step)]
        if free:
            m.d.comb += self.group.eq(group)
        with m.If(self.issue & ends_block):
            m.d.sync += [
                weight.eq(const.weight_base),
                parameter.eq(const.parameter_base),
                offset0.eq(offset0 + const.block_step0),
                offset1.eq(offset1 + const.block_step1),
            ]
        if isinstance(walk, RoundWalk):
            with m.If(self.issue & walk.ends_pass):
                m.d.sync += [address.eq(walk.next_target(const)), offset0.eq(0), offset1.eq(0)]
        with m.If(self.issue & ends_operation):
            m.d.sync += [
                weight.eq(Mux(ends_frame, opening.weight_base, const.weight_after)),
                parameter.eq(Mux(ends_frame, opening.parameter_base, const.parameter_after)),
                address.eq(Mux(ends_frame, opening.target_start, const.target_after)),
                offset0.eq(0),
                offset1.eq(0),
            ]
