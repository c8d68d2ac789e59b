"""Whether the accelerator rests, seen from outside the core."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.plan.plan import Plan

__all__ = ["Rest"]

MARGIN = 16
"""Cycles beyond the longest computation of a frame."""


class Rest(wiring.Component):
    """Tells when no frame is being received, computed or delivered.

    After the core has released its latest frame, what is left takes at most one interval (or latency) of the plan,
    not counting the cycles in which results wait to be taken. So a counter starts at the release and stands still while
    something is offered; a result that is taken at once leaves up to two cycles for each logit uncounted, and these
    are added.

    Parameters
    ----------
    plan : Plan
        The core's.

    Members
    -------
    accepted : In(1)
        An element of a frame is accepted in this cycle.
    last : In(1)
        With `accepted`: the frame's last one.
    full : In(1)
        The core holds a whole frame.
    offering : In(1)
        The core offers a logit or a decision.
    asleep : In(1)
        With a level gate only: the frame that the core holds is asleep. Nothing comes after it.
    ended : Out(1)
        A frame's last element was accepted in the cycle before.
    busy : Out(1)
        Not at rest.
    """

    def __init__(self, plan: Plan):
        self.cycles = self.cycles_of(plan)
        self.gated = plan.model.gate is not None
        members = {"accepted": In(1), "last": In(1), "full": In(1), "offering": In(1)}
        if self.gated:
            members["asleep"] = In(1)
        super().__init__(members | {"ended": Out(1), "busy": Out(1)})

    @staticmethod
    def cycles_of(plan: Plan) -> int:
        """Cycles from the last sign of life to rest."""
        return max(max(one.interval, one.latency) for one in plan.frames) + 2 * plan.model.outputs + MARGIN

    def elaborate(self, platform: object) -> Module:
        m = Module()
        receiving = Signal()
        left = Signal(bits_for(self.cycles))
        with m.If(self.accepted):
            m.d.sync += receiving.eq(~self.last)
        m.d.sync += self.ended.eq(self.accepted & self.last)
        arriving = receiving | self.ended | self.full
        m.d.comb += self.busy.eq(arriving | self.offering | (left != 0))
        with m.If(self.full & ~self.asleep if self.gated else arriving):
            m.d.sync += left.eq(self.cycles)
        with m.Elif(~self.offering & (left != 0)):
            m.d.sync += left.eq(left - 1)
        return m
