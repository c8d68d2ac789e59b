"""The output: collects the logits of a frame, finds the largest, and offers both."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import decision_layout, logit_layout
from lmu_hw.gateware.memory import SinglePort
from lmu_hw.plan.plan import Plan

__all__ = ["FrameOutput"]


class FrameOutput(wiring.Component):
    """Holds the logits and the decision of one frame until both were taken.

    Parameters
    ----------
    plan : Plan
        Labels and their format.

    Members
    -------
    claim : In(1)
        The logits of a frame are on their way.
    write : In(1)
        The next logit.
    data : In(shape of a logit)
        Its value.
    free : Out(1)
        Nothing is claimed or waiting.
    o_logits : Out(stream of logit_layout(plan))
        The logits in order; one every other cycle.
    o_decision : Out(stream of decision_layout(plan))
        The decision, offered in the cycle after the last logit was written.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "claim": In(1),
                "write": In(1),
                "data": In(logit_layout(plan)["data"].shape),
                "free": Out(1),
                "o_logits": Out(stream.Signature(logit_layout(plan))),
                "o_decision": Out(stream.Signature(decision_layout(plan))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        last = self.plan.model.outputs - 1
        m.submodules.logits = logits = SinglePort(Shape.cast(logit_layout(self.plan)["data"].shape), last + 1)
        index = Signal(range(max(2, last + 1)))
        decision = self.o_decision.payload
        if self.plan.config.control_reset:
            decision = Signal(decision_layout(self.plan), reset_less=True)
            m.d.comb += self.o_decision.payload.eq(decision)
        label, score = decision.label, decision.score
        sending = Signal()
        m.d.comb += [
            logits.address.eq(index),
            logits.w_data.eq(self.data),
            logits.write.eq(self.write),
            logits.read.eq(sending & ~self.o_logits.valid),
            self.o_logits.payload.data.eq(logits.r_data),
            self.o_logits.payload.last.eq(index == last),
        ]
        with m.If(self.write):
            m.d.sync += index.eq(index + 1)
            with m.If((index == 0) | (self.data > score)):
                m.d.sync += [label.eq(index), score.eq(self.data)]
            with m.If(index == last):
                m.d.sync += [index.eq(0), sending.eq(1), self.o_decision.valid.eq(1)]
        with m.If(self.o_decision.valid & self.o_decision.ready):
            m.d.sync += self.o_decision.valid.eq(0)
        with m.If(logits.read):
            m.d.sync += self.o_logits.valid.eq(1)
        with m.If(self.o_logits.valid & self.o_logits.ready):
            m.d.sync += [self.o_logits.valid.eq(0), index.eq(index + 1)]
            with m.If(index == last):
                m.d.sync += [index.eq(0), sending.eq(0)]
        claimed = Signal()
        sent = self.o_logits.valid & self.o_logits.ready & (index == last)
        decided = self.o_decision.valid & self.o_decision.ready
        m.d.comb += self.free.eq(~claimed)
        with m.If(self.claim):
            m.d.sync += claimed.eq(1)
        with m.Elif((sent & (~self.o_decision.valid | decided)) | (~sending & decided)):
            m.d.sync += claimed.eq(0)
        return m
