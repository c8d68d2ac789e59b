"""The sequencer: walks the plan's operations and issues one product step a cycle."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.clock_gate import add_block
from lmu_hw.gateware.columns import Columns
from lmu_hw.gateware.layouts import (
    claim_signature,
    frame_layout,
    group_layout,
    index_layout,
    step_layout,
    write_signature,
)
from lmu_hw.gateware.pointers import Pointers
from lmu_hw.gateware.position import Position
from lmu_hw.gateware.round_walk import walk_of
from lmu_hw.gateware.selection import Selection
from lmu_hw.gateware.state import LayerState
from lmu_hw.gateware.step_constants import StepConstants
from lmu_hw.gateware.step_signals import StepSignals
from lmu_hw.plan.plan import Plan

__all__ = ["Sequencer"]


class Sequencer(wiring.Component):
    """Issues the products of a frame, and keeps the flags of the network's state.

    With `frames_per_fetch` a frame is a round of frames (`lmu_hw.gateware.round_walk`). Its parts (`StepConstants`,
    `Selection`, `Position`, `Columns`, `Pointers`) share a `StepSignals`. They add their logic to this module and are
    no modules of their own, so that synthesis simplifies them together by the plan's constants.

    Parameters
    ----------
    plan : Plan
        The schedule.

    Members
    -------
    frames : In(stream of frame_layout())
        A whole input frame. Ready in the cycle in which it is read last.
    hold : In(1)
        No frame starts.
    claim : Out(claim_signature())
        The logits of this frame come next.
    steps : Out(stream of step_layout(plan), always ready)
        A product step.
    groups : Out(stream of group_layout(plan), always ready)
        Destination of a row group. Valid three cycles after the group's last step; the payload stays until the next.
    idle : Out(1)
        Between frames, all elements are written.
    index : In(index_layout(plan.index_bits))
        Only if zero blocks are skipped: what the weight word read last says about the next one.
    write : In(write_signature(plan))
        Only if zero elements are skipped: elements that are written to the data memories.
    cleared : Out(1)
        With smoothing only: the state is cleared in this cycle.

    Latency: a frame's first step is issued in the cycle after the frame is valid. Throughput: one step a cycle; it
    waits only where `lmu_hw.plan.timing` counts a wait, or for `claim`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._walk = walk_of(plan)
        index = {"index": In(index_layout(plan.index_bits))} if plan.index_bits else {}
        write = {"write": In(write_signature(plan))} if plan.skipping_memories else {}
        cleared = {} if plan.config.smoothing is None else {"cleared": Out(1)}
        super().__init__(
            {
                "frames": In(stream.Signature(frame_layout())),
                "hold": In(1),
                "claim": Out(claim_signature()),
                "steps": Out(stream.Signature(step_layout(plan), always_ready=True)),
                "groups": Out(stream.Signature(group_layout(plan), always_ready=True)),
                "idle": Out(1),
                **index,
                **write,
                **cleared,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, walk = self.plan, self._walk
        now = StepSignals(plan, walk, self.steps.valid)
        state = LayerState(plan)
        add_block(m, "state", state, Cat(state.start, state.finish) if plan.config.gate_blocks else None)
        StepConstants(plan, walk).look_up(m, now.position, now.const)
        Selection(plan, walk, state).add(m, now)
        index = self.index if plan.index_bits else None
        Columns(plan).add(m, now, index, self.write if plan.skipping_memories else None)
        Position(plan, walk).add(m, now)
        Pointers(plan, walk).add(m, now, self.steps.payload, self.groups)
        running = Signal()
        busy = self._issue(m, now, running)
        self._follow_frame(m, now, running, state, busy != 0)
        step = self.steps.payload
        m.d.comb += [
            step.memory.eq(now.selected.source),
            step.cleared.eq(now.selected.cleared),
            step.shift.eq(now.const.shift),
            step.first.eq(now.column.first & now.const.first_term),
            step.last.eq(now.ends.sum),
            *([step.at_once.eq(now.const.at_once)] if plan.parts > 1 else []),
            *(step[name].eq(value) for name, value in walk.step_fields(now.const, now.position).items()),
        ]
        return m

    def _issue(self, m: Module, now: StepSignals, running: Signal) -> Signal:
        """Issue the step, unless it must wait for elements, for the finish, or for the output.

        Returns the cycles until all elements are written.
        """
        walk, const, position, ends = self._walk, now.const, now.position, now.ends
        busy, unfinished = self._busy(m, now)
        fresh = Signal()
        claims = Signal()
        waits = Signal()
        m.d.comb += [
            fresh.eq(now.column.first & (position.group == 0) & (position.block == 0)),
            claims.eq(walk.claims(ends, position, fresh) & const.opens_output),
            waits.eq((fresh & walk.waits(const, position) & (busy != 0)) | (ends.sum & unfinished)),
            self.claim.valid.eq(running & ~waits & claims),
            now.issue.eq(running & ~waits & ~(claims & ~self.claim.ready)),
            self.idle.eq(~running & (busy == 0)),
        ]
        return busy

    def _busy(self, m: Module, now: StepSignals) -> tuple[Signal, Value]:
        """Cycles until the elements of all groups are written; whether the next group would come too early."""
        plan = self.plan
        most = plan.lanes * plan.config.frames_per_fetch
        busy = Signal(range(most + plan.schedule.write_latency + 1))
        with m.If(now.issue & now.ends.group):
            m.d.sync += busy.eq(self._walk.elements(now.const, now.rows) + plan.schedule.write_latency)
        with m.Elif(busy != 0):
            m.d.sync += busy.eq(busy - 1)
        # A group of one element is always finished before the next one.
        return busy, busy > plan.schedule.write_latency + 1 if most > 1 else Const(0, 1)

    def _follow_frame(self, m: Module, now: StepSignals, running: Signal, state: LayerState, writes: Value) -> None:
        """Start a frame, release its input, and tell the layers' flags; ``writes`` until all elements are written."""
        holds_input = Signal()
        ends_frame = now.issue & now.ends.frame
        releases = now.issue & holds_input & (now.ends.frame | (now.ends.operation & now.const.releases))
        starts = ~running & self.frames.valid & ~self.hold
        if any(planned.releases_late for planned in self.plan.operations):
            late = Signal()
            m.d.sync += late.eq((releases & now.const.releases_late) | (late & writes))
            releases, starts = (releases & ~now.const.releases_late) | (late & ~writes), starts & ~late
        m.d.comb += [
            now.start.eq(starts),
            self.frames.ready.eq(releases),
            state.start.eq(now.start),
            state.frame.eq(self.frames.payload),
            state.finish.eq(ends_frame),
        ]
        if self.plan.config.smoothing is not None:
            m.d.comb += self.cleared.eq(state.cleared)
        with m.If(now.start):
            m.d.sync += [running.eq(1), holds_input.eq(1)]
        with m.If(self.frames.ready):
            m.d.sync += holds_input.eq(0)
        with m.If(ends_frame):
            m.d.sync += running.eq(0)
