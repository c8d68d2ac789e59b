"""Decision smoothing: listens to the logits and offers an event when a keyword was heard."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import claim_signature, decision_layout, event_layout, logit_layout
from lmu_hw.gateware.memory import SinglePort
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.plan import Plan

__all__ = ["Smoother"]


class Smoother(wiring.Component):
    """Averages the scores of labels as their logits are taken, and compares the two largest averages.

    Bit-exact against `lmu_hw.model.smoothing.detect`. Each label's sum is read in the cycle after a logit was taken and
    written in the cycle in which the next one is, so one port is enough.

    Parameters
    ----------
    plan : Plan
        Its configuration has a `Smoothing`.

    Members
    -------
    logits : In(stream of logit_layout(plan), always ready)
        Logits as they are taken from the output, at least two cycles apart.
    largest : In(shape of a logit)
        Largest logit of its frame.
    cleared : In(1)
        The state of the network was cleared: the sums start anew with the next claimed frame.
    claim : In(claim_signature())
        A frame asks for the output. A clear in the cycle of its claim comes after that frame. Ready while no event was
        kept waiting: the logits of one more frame may come before an event is taken, since the refractory time is one
        frame at least; those of a second may not.
    busy : Out(1)
        Needs the clock even if no logit is taken.
    o_event : Out(stream of event_layout(plan))
        Offered in the second cycle after the last logit was taken.
    """

    def __init__(self, plan: Plan, smoothing: Smoothing):
        self.plan = plan
        self.smoothing = smoothing
        super().__init__(
            {
                "logits": In(stream.Signature(logit_layout(plan), always_ready=True)),
                "largest": In(decision_layout(plan)["score"].shape),
                "cleared": In(1),
                "claim": In(claim_signature()),
                "busy": Out(1),
                "o_event": Out(stream.Signature(event_layout(plan))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        labels, bits, shift = self.plan.model.outputs, self.smoothing.score_bits, self.smoothing.shift
        width = event_layout(self.plan)["score"].width
        m.submodules.sums = sums = SinglePort(unsigned(width), labels)
        index = Signal(range(labels))
        fetched = Signal()
        pending = Signal(init=1)
        fresh = Signal()
        gap = Signal(self.plan.output.width)
        score = Signal(bits)
        held = Signal(width)
        total = Signal(width)
        m.d.comb += [
            gap.eq(self.largest - self.logits.payload.data),
            score.eq(Mux(gap[bits:].any(), 0, ~gap[:bits])),
            held.eq(Mux(fresh, 0, sums.r_data)),
            total.eq(held - (held >> shift) + score),
            sums.address.eq(index),
            sums.read.eq(~fetched & ~self.logits.valid),
            sums.write.eq(self.logits.valid),
            sums.w_data.eq(total),
        ]
        with m.If(self.logits.valid):
            m.d.sync += [fetched.eq(0), index.eq(Mux(self.logits.payload.last, 0, index + 1))]
        with m.Else():
            m.d.sync += fetched.eq(1)
        with m.If(self.claim.valid & self.claim.ready):
            m.d.sync += [fresh.eq(pending), pending.eq(0)]
        with m.If(self.cleared):
            m.d.sync += pending.eq(1)
        m.d.comb += self.busy.eq(~fetched | self._judge(m, index, total))
        return m

    def _judge(self, m: Module, index: Signal, total: Signal) -> Value:
        """Find the label that leads and how far; offer an event. Returns whether it is not done."""
        smoothing, event = self.smoothing, self.o_event
        best = Signal.like(total)
        second = Signal.like(total)
        label = Signal.like(event.payload.label)
        with m.If(self.logits.valid):
            with m.If((index == 0) | (total > best)):
                m.d.sync += [best.eq(total), second.eq(Mux(index == 0, 0, best)), label.eq(index)]
            with m.Elif(total > second):
                m.d.sync += second.eq(total)
        judging = Signal()
        lead = Signal.like(total)
        background = Signal()
        rest = Signal(range(smoothing.refractory + 1))
        late = Signal()
        mask = sum(1 << number for number in smoothing.background)
        m.d.comb += [
            lead.eq(best - second),
            background.eq(Const(mask, self.plan.model.outputs).bit_select(label, 1)),
            self.claim.ready.eq(~late),
        ]
        m.d.sync += [judging.eq(self.logits.valid & self.logits.payload.last), late.eq(event.valid & ~event.ready)]
        with m.If(event.valid & event.ready):
            m.d.sync += event.valid.eq(0)
        with m.If(judging):
            with m.If(rest != 0):
                m.d.sync += rest.eq(rest - 1)
            with m.Elif(~background & (lead >= smoothing.threshold)):
                m.d.sync += [
                    rest.eq(smoothing.refractory),
                    event.valid.eq(1),
                    event.payload.label.eq(label),
                    event.payload.score.eq(lead),
                ]
        return judging | late | event.valid
