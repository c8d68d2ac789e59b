"""Keeps the result of a frame, and gives it as bytes as often as it is asked for."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import decision_layout, logit_layout
from lmu_hw.gateware.memory import SinglePort
from lmu_hw.gateware.serial.packets import content_layout
from lmu_hw.host.link import LinkLayout
from lmu_hw.plan.plan import Plan

__all__ = ["ResultStore"]


class ResultStore(wiring.Component):
    """Logits and decision of the latest frame.

    Parameters
    ----------
    plan : Plan
        The accelerator's.

    Members
    -------
    logits, decision : In(streams of logit_layout(plan) and decision_layout(plan))
        From the accelerator; always ready. The next result may come when the one before was sent.
    whole : Out(1)
        A whole result came since `release`.
    release : In(1)
        Wait for the next result; what is stored stays until it comes.
    label : Out
        Of the decision that is stored.
    o : Out(stream of content_layout())
        The body of a reply: label, logits, score, in whole bytes each; again and again.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "logits": In(stream.Signature(logit_layout(plan))),
                "decision": In(stream.Signature(decision_layout(plan))),
                "whole": Out(1),
                "release": In(1),
                "label": Out(decision_layout(plan)["label"].shape),
                "o": Out(stream.Signature(content_layout())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outputs = self.plan.model.outputs
        size = LinkLayout.of(self.plan).score_bytes
        shape = Shape.cast(logit_layout(self.plan)["data"].shape)
        m.submodules.values = cells = SinglePort(shape, outputs)
        place = Signal(range(outputs + 1))
        score = Signal(shape)
        scored = Signal()
        decided = Signal()
        m.d.comb += [
            self.logits.ready.eq(1),
            self.decision.ready.eq(1),
            self.whole.eq(scored & decided),
            cells.w_data.eq(self.logits.payload.data),
            cells.write.eq(self.logits.valid),
            cells.address.eq(place),
        ]
        with m.If(self.release):
            m.d.sync += [scored.eq(0), decided.eq(0)]
        with m.If(self.logits.valid):
            m.d.sync += place.eq(place + 1)
            with m.If(self.logits.payload.last):
                m.d.sync += [place.eq(0), scored.eq(1)]
        with m.If(self.decision.valid):
            m.d.sync += [self.label.eq(self.decision.payload.label), score.eq(self.decision.payload.score)]
            m.d.sync += decided.eq(1)
        value = Signal(Shape(8 * size, shape.signed))
        byte = Signal(range(max(2, size)))
        with m.FSM():
            with m.State("LABEL"):
                m.d.comb += [self.o.valid.eq(self.whole), self.o.payload.data.eq(self.label)]
                with m.If(self.o.valid & self.o.ready):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += cells.read.eq(1)
                m.next = "TAKE"
            with m.State("TAKE"):
                last = place == outputs
                with m.If(last):
                    m.d.sync += value.eq(score)
                with m.Else():
                    m.d.sync += value.eq(cells.r_data)
                m.next = "VALUE"
            with m.State("VALUE"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(value.word_select(byte, 8)),
                    self.o.payload.last.eq((place == outputs) & (byte == size - 1)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += byte.eq(byte + 1)
                    with m.If(byte == size - 1):
                        m.d.sync += [byte.eq(0), place.eq(place + 1)]
                        m.next = "READ"
                    with m.If(self.o.payload.last):
                        m.d.sync += place.eq(0)
                        m.next = "LABEL"
        return m
