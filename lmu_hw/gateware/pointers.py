"""Addresses of weights, parameters, elements read and elements written."""

import itertools

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.utils import exact_log2

from lmu_hw.gateware.layouts import group_layout, step_layout
from lmu_hw.gateware.step_signals import StepSignals
from lmu_hw.gateware.walk import FrameWalk
from lmu_hw.plan.plan import Plan

__all__ = ["Pointers"]


class Pointers:
    """Registers that hold the next addresses.

    Parameters
    ----------
    plan : Plan
        The schedule.
    walk : FrameWalk
        Places the frames of a round.
    """

    def __init__(self, plan: Plan, walk: FrameWalk):
        self._plan, self._walk = plan, walk
        self._free = plan.config.control_reset
        opening, step, group = plan.operations[0], step_layout(plan), group_layout(plan)
        self._weight = self._register("weight", step["weight_address"].shape, opening.weight_base)
        self._parameter = self._register("parameter", group["parameter"].shape, opening.parameter_base)
        self._target = self._register("address", group["address"].shape, opening.target_start)
        self._offsets = [self._register(f"offset{term}", step["address"].shape, 0) for term in range(2)]
        # First row of the group, where elements are added to finished sums.
        self._row = self._register("row", range(max(planned.operation.rows for planned in plan.operations)), 0)

    def _register(self, name: str, shape: object, init: int) -> Signal:
        return Signal(shape, name=name, init=init, reset_less=self._free)

    def add(self, m: Module, now: StepSignals, step: data.View, groups: stream.Interface) -> None:
        """Add the registers to the sequencer, and drive the addresses.

        Parameters
        ----------
        m : Module
            The sequencer's.
        now : StepSignals
            The present step.
        step : View of step_layout(plan)
            Whose ``address``, ``weight_memory`` and ``weight_address`` are driven.
        groups : stream of group_layout(plan), always ready
            Destinations of row groups, driven.
        """
        const, walk = now.const, self._walk
        offset = Mux(const.first_term, self._offsets[0], Mux(const.second_term, self._offsets[1], 0))
        word, moves, distance = self._weight_word(now)
        parts = self._plan.parts
        column = now.column.number
        if parts > 1:  # from word to word
            column = Mux(const.at_once, column << exact_log2(parts), column)
        m.d.comb += [
            step.address.eq(walk.address(const, offset, column, now.selected)),
            step.weight_memory.eq(const.weight_memory),
            step.weight_address.eq(word),
        ]
        registers = [self._weight, self._parameter, self._target, *self._offsets]
        if self._plan.residual_memories:
            registers.append(self._row)
        if self._free:  # a frame ends at these values; after a reset they are unknown
            with m.If(now.start):
                m.d.sync += [register.eq(register.init) for register in registers]
        with m.If(moves):
            m.d.sync += self._weight.eq(self._weight + distance)
        self._move(m, now)
        self._hand_on(m, now, groups)

    def _hand_on(self, m: Module, now: StepSignals, groups: stream.Interface) -> None:
        """Hand on the destination of a row group in the cycle before its sums leave the lanes."""
        layout = group_layout(self._plan)
        stages = [Signal(layout, name=f"group{stage}", reset_less=self._free) for stage in range(3)]
        valid = [now.issue & now.ends.group, *(Signal(name=f"ended{stage}") for stage in range(2)), groups.valid]
        fields = {
            "rows": self._walk.elements(now.const, now.rows),
            "memory": now.selected.target,
            "address": self._target,
            "parameter": self._parameter,
            "narrow": now.const.narrow,
            "output": now.const.output,
            "operation": now.const.operation,
            **({"at_once": now.const.at_once} if self._plan.parts > 1 else {}),
            **self._walk.group_fields(now.const),
        }
        if self._plan.residual_memories:
            fields["added_memory"] = now.selected.added
            fields["added_address"] = self._walk.added_address(now.const, self._row, now.position)
        m.d.comb += groups.payload.eq(stages[-1])
        m.d.sync += [after.eq(before) for before, after in itertools.pairwise(valid)]
        with m.If(valid[0]):
            m.d.sync += [stages[0][name].eq(value) for name, value in fields.items()]
        for before, (stage, following) in zip(valid[1:], itertools.pairwise(stages), strict=False):
            with m.If(before):
                m.d.sync += following.eq(stage)

    def _weight_word(self, now: StepSignals) -> tuple[Value, Value, Value]:
        """Address of the weights; whether the pointer moves in this cycle, and how far.

        The pointer is at that address; or, where elements may be skipped, at the first word of their term.
        """
        const, column = now.const, now.column.number
        if not self._plan.skipping_memories:
            return self._weight, now.issue, now.ends.column
        length = const.length_last + 1
        if not self._plan.index_bits:
            return self._weight + column, now.issue & now.ends.term, length
        indexed = const.indexed
        word = self._weight + Mux(indexed, 0, column)
        return word, now.issue & (now.ends.term | indexed), Mux(indexed, 1, length)

    def _move(self, m: Module, now: StepSignals) -> None:
        """Move the pointers at the ends of groups, blocks, frames of a round, and operations."""
        opening, const, ends, walk = self._plan.operations[0], now.const, now.ends, self._walk
        target = self._target
        with m.If(now.issue & ends.group):
            m.d.sync += [
                self._parameter.eq(self._parameter + self._plan.lanes),
                target.eq(target + walk.words(const, now.rows)),
            ]
        if self._plan.residual_memories:
            with m.If(now.issue & ends.group):
                m.d.sync += self._row.eq(Mux(ends.block, 0, self._row + self._plan.lanes))
        with m.If(now.issue & ends.block):
            m.d.sync += [
                self._weight.eq(const.weight_base),
                self._parameter.eq(const.parameter_base),
                self._offsets[0].eq(self._offsets[0] + const.block_step0),
                self._offsets[1].eq(self._offsets[1] + const.block_step1),
            ]
        with m.If(now.issue & ends.blocks):
            m.d.sync += [target.eq(walk.next_target(const, now.position, target)), *(o.eq(0) for o in self._offsets)]
        with m.If(now.issue & ends.operation):
            m.d.sync += [
                self._weight.eq(Mux(ends.frame, opening.weight_base, const.weight_after)),
                self._parameter.eq(Mux(ends.frame, opening.parameter_base, const.parameter_after)),
                target.eq(Mux(ends.frame, opening.target_start, const.target_after)),
            ]
