"""The latest result, for a host that reads it when it likes."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import decision_layout, logit_layout, whole_bytes
from lmu_hw.plan.plan import Plan

__all__ = ["ResultBuffer"]


class ResultBuffer(wiring.Component):
    """Holds the label, the score and the logits of the latest frame, and takes in those of the next one meanwhile.

    Parameters
    ----------
    plan : Plan
        The core's.

    Members
    -------
    i_logits : In(stream of logit_layout(plan))
        Logits of a frame.
    i_decision : In(stream of decision_layout(plan))
        Its decision.
    open : In(1)
        Start reading the latest result; one cycle.
    reading : In(1)
        From the cycle after `open` on while it is read: it is not replaced.
    next : In(1)
        Go to its next byte; one cycle, and at least 3 cycles apart.
    byte : Out(8)
        Number of the result modulo 256, label, score and logits in whole bytes, lowest byte first; then zeros. From the
        cycle after `open` or `next` on.
    new : Out(1)
        Another result is the latest from the next cycle on; one cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "i_logits": In(stream.Signature(logit_layout(plan))),
                "i_decision": In(stream.Signature(decision_layout(plan))),
                "open": In(1),
                "reading": In(1),
                "next": In(1),
                "byte": Out(8),
                "new": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        labels = self.plan.model.outputs
        shape = Shape.cast(logit_layout(self.plan)["data"].shape)
        back = Signal()
        taken = Signal(range(max(2, labels)))
        logits_whole = Signal()
        decided = Signal()
        waiting = Signal(decision_layout(self.plan))
        latest = Signal(decision_layout(self.plan))
        number = Signal(8)
        m.submodules.logits = logits = memory.Memory(shape=shape, depth=2 << (len(taken)), init=[])
        write = logits.write_port()
        read = logits.read_port()
        m.d.comb += [
            self.i_logits.ready.eq(~logits_whole),
            self.i_decision.ready.eq(~decided),
            write.addr.eq(Cat(taken, back)),
            write.data.eq(self.i_logits.payload.data),
            write.en.eq(self.i_logits.valid & self.i_logits.ready),
            self.new.eq(logits_whole & decided & ~self.open & ~self.reading),
        ]
        with m.If(write.en):
            m.d.sync += [taken.eq(Mux(self.i_logits.payload.last, 0, taken + 1))]
            m.d.sync += logits_whole.eq(self.i_logits.payload.last)
        with m.If(self.i_decision.valid & self.i_decision.ready):
            m.d.sync += [waiting.eq(self.i_decision.payload), decided.eq(1)]
        with m.If(self.new):
            m.d.sync += [
                back.eq(~back),
                latest.eq(waiting),
                number.eq(number + 1),
                logits_whole.eq(0),
                decided.eq(0),
            ]
        self._read(m, read, ~back, number, latest)
        return m

    def _read(self, m: Module, read: memory.ReadPort, front: Signal, number: Signal, latest: Signal) -> None:
        """Bytes of the result: first the head, then one logit after the other."""
        layout = decision_layout(self.plan)
        label = Signal(whole_bytes(layout["label"].width))
        shape = Shape.cast(layout["score"].shape)
        score = Signal(Shape(whole_bytes(shape.width), shape.signed))
        logit = Signal.like(score)
        head = Cat(number, label, score)
        word = Signal(len(head))
        left = Signal(range(len(head) // 8))
        place = Signal(range(self.plan.model.outputs + 1))
        m.d.comb += [
            label.eq(latest.label),
            score.eq(latest.score),
            logit.eq(read.data),
            read.addr.eq(Cat(place[: len(read.addr) - 1], front)),
            self.byte.eq(word[:8]),
        ]
        with m.If(self.open):
            m.d.sync += [word.eq(head), left.eq(len(head) // 8 - 1), place.eq(0)]
        with m.Elif(self.next):
            m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
            with m.If((left == 0) & (place != self.plan.model.outputs)):
                m.d.sync += [word.eq(logit.as_unsigned()), left.eq(len(logit) // 8 - 1), place.eq(place + 1)]
