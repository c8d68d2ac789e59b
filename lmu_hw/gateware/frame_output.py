"""The output: collects the logits of a frame, finds the largest, and offers both."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import claim_signature, decision_layout, logit_layout
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
    claim : In(claim_signature())
        A frame asks for the output. Ready while nothing is claimed or waiting.
    i : In(stream of a logit's shape, always ready)
        Logits of the frame, in order of the labels.
    o_logits : Out(stream of logit_layout(plan))
        The logits in order of the labels; one every other cycle.
    o_decision : Out(stream of decision_layout(plan))
        The decision, offered in the cycle after the last logit came in.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "claim": In(claim_signature()),
                "i": In(stream.Signature(logit_layout(plan)["data"].shape, always_ready=True)),
                "o_logits": Out(stream.Signature(logit_layout(plan))),
                "o_decision": Out(stream.Signature(decision_layout(plan))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        last = self.plan.model.outputs - 1
        index = Signal(range(max(2, last + 1)))
        sending = Signal()
        sent = self._send(m, index, sending)
        with m.If(self.i.valid):
            m.d.sync += index.eq(index + 1)
            with m.If(index == last):
                m.d.sync += [index.eq(0), sending.eq(1), self.o_decision.valid.eq(1)]
        self._decide(m, index)
        with m.If(self.o_logits.valid & self.o_logits.ready):
            m.d.sync += index.eq(Mux(index == last, 0, index + 1))
        with m.If(sent):
            m.d.sync += sending.eq(0)
        claimed = Signal()
        decided = self.o_decision.valid & self.o_decision.ready
        m.d.comb += self.claim.ready.eq(~claimed)
        with m.If(self.claim.valid & self.claim.ready):
            m.d.sync += claimed.eq(1)
        with m.Elif((sent & (~self.o_decision.valid | decided)) | (~sending & decided)):
            m.d.sync += claimed.eq(0)
        return m

    def _send(self, m: Module, index: Signal, sending: Signal) -> Value:
        """Store the logits, and offer them one after the other. Returns whether the last one is taken."""
        shape = Shape.cast(logit_layout(self.plan)["data"].shape)
        m.submodules.logits = logits = SinglePort(shape, self.plan.model.outputs)
        last = index == self.plan.model.outputs - 1
        m.d.comb += [
            logits.address.eq(index),
            logits.w_data.eq(self.i.payload),
            logits.write.eq(self.i.valid),
            logits.read.eq(sending & ~self.o_logits.valid),
            self.o_logits.payload.data.eq(logits.r_data),
            self.o_logits.payload.last.eq(last),
        ]
        with m.If(logits.read):
            m.d.sync += self.o_logits.valid.eq(1)
        with m.If(self.o_logits.valid & self.o_logits.ready):
            m.d.sync += self.o_logits.valid.eq(0)
        return self.o_logits.valid & self.o_logits.ready & last

    def _decide(self, m: Module, index: Signal) -> None:
        """Keep the largest logit, the first on a tie; its offer ends when it is taken."""
        decision = self.o_decision.payload
        if self.plan.config.control_reset:
            decision = Signal(decision_layout(self.plan), reset_less=True)
            m.d.comb += self.o_decision.payload.eq(decision)
        with m.If(self.i.valid & ((index == 0) | (self.i.payload > decision.score))):
            m.d.sync += [decision.label.eq(index), decision.score.eq(self.i.payload)]
        with m.If(self.o_decision.valid & self.o_decision.ready):
            m.d.sync += self.o_decision.valid.eq(0)
