"""The input: collects a frame, or a round of them, checks lengths, and carries the marks that clear the state."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import feature_layout
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.plan import Plan

__all__ = ["FrameInput"]


class FrameInput(wiring.Component):
    """Accepts the elements of one frame at a time and writes them to memory.

    A frame must have exactly ``plan.model.inputs`` elements, the last one marked. Another one is dropped whole, up to
    its mark, and reported; a clear that it carried is passed on to the next frame. With `frames_per_fetch` a whole
    round of frames is accepted before it is used.

    Parameters
    ----------
    plan : Plan
        Frame size, format and state policy.

    Members
    -------
    i : In(stream of feature_layout(plan))
        Elements. Not ready while a whole frame waits to be used.
    clear : In(1)
        Under the pulse policy: clear the state before the frame whose first element is accepted now or next.
    release : In(1)
        The frame is not needed any more.
    full : Out(1)
        A whole frame is there, or a whole round.
    frame_clear, frame_end : Out(1)
        With `full`: clear the state before or after it.
    frame_error : Out(1)
        A frame was dropped; one cycle.
    write : Out(1)
        Write an element.
    address : Out
        Where; the same element of all frames of a round is in neighbouring words.

    Latency: `full` rises in the cycle after the last element. One element a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "i": In(stream.Signature(feature_layout(plan))),
                "clear": In(1),
                "release": In(1),
                "full": Out(1),
                "frame_clear": Out(1),
                "frame_end": Out(1),
                "frame_error": Out(1),
                "write": Out(1),
                "address": Out(range(max(2, plan.model.inputs * plan.config.frames_per_fetch))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frames = self.plan.config.frames_per_fetch
        count = Signal(range(max(2, self.plan.model.inputs)))
        frame = Signal(range(max(2, frames)))
        overrun = Signal()
        clear_next = Signal()
        accepted = Signal()
        complete = Signal()
        starts = Signal()
        carried = Signal()
        full = self.plan.model.inputs - 1
        fills = complete if frames == 1 else complete & (frame == frames - 1)
        marked_end = self.i.payload.end if self.plan.config.state is StatePolicy.UTTERANCE else 0
        m.d.comb += [
            self.i.ready.eq(~self.full),
            accepted.eq(self.i.valid & ~self.full),
            starts.eq(accepted & (count == 0) & ~overrun),
            complete.eq(self.i.payload.last & (count == full) & ~overrun),
            carried.eq(Mux(starts, clear_next | self.clear, self.frame_clear)),
            self.write.eq(accepted & ~overrun),
            self.address.eq(count if frames == 1 else Cat(frame, count)),
        ]
        m.d.sync += self.frame_error.eq(accepted & self.i.payload.last & ~complete)
        with m.If(starts):
            m.d.sync += [self.frame_clear.eq(carried), clear_next.eq(0)]
        with m.Elif(self.clear):
            m.d.sync += clear_next.eq(1)
        with m.If(accepted):
            with m.If(self.i.payload.last):
                m.d.sync += [count.eq(0), overrun.eq(0), self.full.eq(fills), self.frame_end.eq(marked_end)]
                if frames > 1:
                    m.d.sync += frame.eq(frame + complete)
                with m.If(~complete & (marked_end | carried)):
                    m.d.sync += clear_next.eq(1)
            with m.Elif(count == full):
                m.d.sync += overrun.eq(1)
            with m.Else():
                m.d.sync += count.eq(count + 1)
        with m.If(self.release):
            m.d.sync += self.full.eq(0)
        return m
