"""Where the sequencer is in the plan."""

from amaranth.hdl import Module, Mux, Signal, Value

from lmu_hw.gateware.step_signals import StepSignals, ends_layout, position_layout
from lmu_hw.gateware.walk import FrameWalk
from lmu_hw.plan.plan import Plan

__all__ = ["Position"]


class Position:
    """Counts steps, row groups and blocks; drives `StepSignals.position`, `ends` and `rows`.

    Parameters
    ----------
    plan : Plan
        The schedule.
    walk : FrameWalk
        Counts the frames of a round.
    """

    def __init__(self, plan: Plan, walk: FrameWalk):
        self._plan, self._walk = plan, walk
        self._counters = {
            name: Signal(field.shape, name=name, reset_less=plan.config.control_reset)
            for name, field in position_layout(plan, walk)
        }

    def add(self, m: Module, now: StepSignals) -> None:
        """Add the counters to the sequencer."""
        m.d.comb += [now.position[name].eq(counter) for name, counter in self._counters.items()]
        self._end(m, now)
        if self._plan.config.control_reset:  # a frame ends at these values; after a reset they are unknown
            with m.If(now.start):
                m.d.sync += [counter.eq(counter.init) for counter in self._counters.values()]
        with m.If(now.issue & now.ends.term):
            self._move(m, now)
        self._walk.advance(m, self._counters, now.const, now.ends, now.issue)

    def _end(self, m: Module, now: StepSignals) -> None:
        """Drive what the product ends. Each flag is a wire, so that no simulator sees a loop through the struct."""
        const, column, position = now.const, now.column, now.position
        ends = {name: Signal(name=f"ends_{name}") for name, _ in ends_layout()}
        last_group = Signal()
        conditions: dict[str, Value] = {
            "column": self._walk.column_ends(const, position),
            "term": column.last & ends["column"],
            "sum": column.last & const.last_term,
            "group": ends["term"] & const.last_term,
            "block": ends["group"] & last_group,
            "blocks": ends["block"] & (position.block == const.repeat_last),
            "operation": self._walk.operation_ends(const, position, ends["blocks"]),
            "frame": ends["operation"] & now.selected.stops,
        }
        m.d.comb += [
            last_group.eq(position.group == const.groups_last),
            *(ends[name].eq(condition) for name, condition in conditions.items()),
            *(now.ends[name].eq(flag) for name, flag in ends.items()),
            now.rows.eq(Mux(last_group, const.rows_last, self._plan.lanes)),
        ]

    def _move(self, m: Module, now: StepSignals) -> None:
        """Go to the next step, of the group, the block, the operation or the frame."""
        step, group, block = (self._counters[name] for name in ("step", "group", "block"))
        const, ends = now.const, now.ends
        with m.If(~ends.group):
            m.d.sync += step.eq(step + 1)
        with m.Elif(~ends.block):
            m.d.sync += [step.eq(const.first_step), group.eq(group + 1)]
        with m.Elif(~ends.operation):
            m.d.sync += [step.eq(const.first_step), group.eq(0), block.eq(Mux(ends.blocks, 0, block + 1))]
        with m.Else():
            m.d.sync += [step.eq(Mux(ends.frame, 0, step + 1)), group.eq(0), block.eq(0)]
