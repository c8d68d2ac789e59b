"""Decision smoothing: listens to the logits and offers an event when a keyword was heard."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import event_layout, logit_layout
from lmu_hw.gateware.memory import SinglePort
from lmu_hw.gateware.narrow import format_shape
from lmu_hw.operations import output_name, vectors
from lmu_hw.plan import Plan
from lmu_hw.smoothing import Smoothing, sum_format

__all__ = ["Smoother"]


class Smoother(wiring.Component):
    """Averages the logits as they are taken, and compares the best keyword with the best background label.

    Bit-exact against `lmu_hw.smoothing.detect`. Each label's sum is read in the cycle after a logit was taken and
    written in the cycle in which the next one is, so one port is enough.

    Parameters
    ----------
    plan : Plan
        Its configuration has a `Smoothing`.

    Members
    -------
    transfer : In(1)
        A logit is taken in this cycle; logits are at least two cycles apart.
    logit : In(logit_layout(plan))
        That logit.
    cleared : In(1)
        The state of the network was cleared: the sums start anew with the next claimed frame.
    claim : In(1)
        The logits of a frame are on their way. A clear in the same cycle is one after that frame.
    free : Out(1)
        No event was kept waiting. The logits of one more frame may come before an event is taken, since the refractory
        time is one frame at least; those of a second may not.
    o_event : Out(stream of event_layout(plan))
        Offered in the second cycle after the last logit was taken.
    """

    def __init__(self, plan: Plan, smoothing: Smoothing):
        self.plan = plan
        self.smoothing = smoothing
        super().__init__(
            {
                "transfer": In(1),
                "logit": In(logit_layout(plan)),
                "cleared": In(1),
                "claim": In(1),
                "free": Out(1),
                "o_event": Out(stream.Signature(event_layout(plan))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        labels, shift = self.plan.model.outputs, self.smoothing.shift
        shape = format_shape(sum_format(vectors(self.plan.model)[output_name(self.plan.model)].format, shift))
        m.submodules.sums = sums = SinglePort(shape, labels)
        index = Signal(range(labels))
        fetched = Signal()
        pending = Signal(init=1)
        fresh = Signal()
        held = Signal(shape)
        total = Signal(shape)
        m.d.comb += [
            held.eq(Mux(fresh, 0, sums.r_data)),
            total.eq(held - (held >> shift) + self.logit.data),
            sums.address.eq(index),
            sums.read.eq(~fetched & ~self.transfer),
            sums.write.eq(self.transfer),
            sums.w_data.eq(total),
        ]
        with m.If(self.transfer):
            m.d.sync += [fetched.eq(0), index.eq(Mux(self.logit.last, 0, index + 1))]
        with m.Else():
            m.d.sync += fetched.eq(1)
        with m.If(self.claim):
            m.d.sync += [fresh.eq(pending), pending.eq(0)]
        with m.If(self.cleared):
            m.d.sync += pending.eq(1)
        self._judge(m, index, total)
        return m

    def _judge(self, m: Module, index: Signal, total: Signal) -> None:
        """Find the best keyword and the best background label; offer an event."""
        smoothing, event = self.smoothing, self.o_event
        background = Signal()
        keyword_seen = Signal()
        background_seen = Signal()
        keyword = Signal.like(total)
        other = Signal.like(total)
        label = Signal.like(event.payload.label)
        mask = sum(1 << number for number in smoothing.background)
        m.d.comb += background.eq(Const(mask, self.plan.model.outputs).bit_select(index, 1))
        with m.If(self.transfer & background):
            m.d.sync += background_seen.eq(1)
            with m.If(~background_seen | (total > other)):
                m.d.sync += other.eq(total)
        with m.If(self.transfer & ~background):
            m.d.sync += keyword_seen.eq(1)
            with m.If(~keyword_seen | (total > keyword)):
                m.d.sync += [keyword.eq(total), label.eq(index)]
        judging = Signal()
        margin = Signal(signed(len(total) + 2))
        rest = Signal(range(smoothing.refractory + 1))
        late = Signal()
        m.d.comb += [margin.eq(keyword - other), self.free.eq(~late)]
        m.d.sync += [judging.eq(self.transfer & self.logit.last), late.eq(event.valid & ~event.ready)]
        with m.If(event.valid & event.ready):
            m.d.sync += event.valid.eq(0)
        with m.If(judging):
            m.d.sync += [keyword_seen.eq(0), background_seen.eq(0)]
            with m.If(rest != 0):
                m.d.sync += rest.eq(rest - 1)
            with m.Elif(margin >= smoothing.threshold):
                m.d.sync += [
                    rest.eq(smoothing.refractory),
                    event.valid.eq(1),
                    event.payload.label.eq(label),
                    event.payload.score.eq(margin),
                ]
