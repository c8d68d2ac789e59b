"""Which memories a step reads and writes, as the network's state has it."""

from amaranth.hdl import Const, Module, Signal

from lmu_hw.gateware.state import LayerState
from lmu_hw.gateware.step_constants import PlanStep, plan_steps
from lmu_hw.gateware.step_signals import StepSignals, selection_layout
from lmu_hw.gateware.walk import FrameWalk, select_copy
from lmu_hw.plan.plan import Plan

__all__ = ["Selection"]


class Selection:
    """Drives `StepSignals.selected`: old and new copies of states, cleared states, and layers with strides.

    Parameters
    ----------
    plan : Plan
        The schedule.
    walk : FrameWalk
        Chooses among the frames of a round.
    state : LayerState
        Whose flags decide.
    """

    def __init__(self, plan: Plan, walk: FrameWalk, state: LayerState):
        self._plan, self._walk, self._state = plan, walk, state
        # A signal for each: a struct whose field never changes has no event in Verilog, and stays unknown there.
        self._fields = {name: Signal(field.shape, name=name) for name, field in selection_layout(plan, walk)}

    def add(self, m: Module, now: StepSignals) -> None:
        """Add the choice to the sequencer."""
        with m.Switch(now.position.step):
            for index, step in enumerate(plan_steps(self._plan)):
                with m.Case(index):
                    self._choose(m, now, step)
        m.d.comb += [now.selected[name].eq(field) for name, field in self._fields.items()]

    def _choose(self, m: Module, now: StepSignals, step: PlanStep) -> None:
        planned, term, fields = step.planned, step.term, self._fields
        source = self._walk.source(planned, term, self._state.turn(term.layer, term.kind), now.position)
        m.d.comb += [fields[name].eq(value) for name, value in source.items()]
        if term.state:
            valid = self._state.valid(term.layer, term.state)
            m.d.comb += fields["cleared"].eq(self._walk.cleared(valid, now.position))
        if planned.target is not None:
            turn = self._state.turn(planned.operation.layer, planned.operation.target[-1])
            memory = self._walk.target(planned.target, turn, now.position)
            m.d.comb += fields["target"].eq(Const(1, len(fields["target"])) << memory)
        if planned.residual is not None:
            turn = self._state.turn(planned.residual.layer, planned.residual.kind)
            m.d.comb += fields["added"].eq(select_copy(planned.residual.location, turn, old=False))
        if planned.output:
            m.d.comb += fields["stops"].eq(1)
        elif step.after.stride > 1:
            m.d.comb += fields["stops"].eq(~self._state.closes[step.after.operation.layer])
