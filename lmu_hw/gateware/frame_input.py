"""The input: collects a frame or a round of frames, checks lengths, and passes clears on."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import feature_layout, frame_layout, input_signature
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.plan import Plan

__all__ = ["FrameInput"]


class FrameInput(wiring.Component):
    """Accepts the elements of one frame at a time and writes them to memory.

    A frame has exactly ``plan.model.inputs`` elements, the last one marked. A frame of another length is dropped, up
    to its mark, and reported; its clear goes to the next frame. With `frames_per_fetch` the input accepts a whole round
    of frames and then offers it.

    Parameters
    ----------
    plan : Plan
        Frame size, format and state policy.

    Members
    -------
    i : In(stream of feature_layout(plan))
        Elements. Not ready while `frames` is valid.
    clear : In(1)
        Under the pulse policy: clear the state before the frame whose first element is accepted now or next.
    frames : Out(stream of frame_layout())
        A whole frame, or a whole round, is in memory. Ready means that it is not needed any more.
    frame_error : Out(1)
        A frame was dropped; one cycle.
    write : Out(input_signature(plan))
        Elements on their way to memory.

    Latency: `frames` is valid in the cycle after the last element. Throughput: one element a cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        super().__init__(
            {
                "i": In(stream.Signature(feature_layout(plan))),
                "clear": In(1),
                "frames": Out(stream.Signature(frame_layout())),
                "frame_error": Out(1),
                "write": Out(input_signature(plan)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        round_frames, element, offered = self.plan.config.frames_per_fetch, self.i.payload, self.frames
        count = Signal(range(max(2, self.plan.model.inputs)))
        frame = Signal(range(max(2, round_frames)))
        overrun = Signal()
        clear_next = Signal()
        accepted = Signal()
        complete = Signal()
        starts = Signal()
        carried = Signal()
        last = self.plan.model.inputs - 1
        fills = complete if round_frames == 1 else complete & (frame == round_frames - 1)
        marked_end = element.end if self.plan.config.state is StatePolicy.UTTERANCE else 0
        m.d.comb += [
            self.i.ready.eq(~offered.valid),
            accepted.eq(self.i.valid & ~offered.valid),
            starts.eq(accepted & (count == 0) & ~overrun),
            complete.eq(element.last & (count == last) & ~overrun),
            carried.eq(Mux(starts, clear_next | self.clear, offered.payload.clear)),
            self.write.valid.eq(accepted & ~overrun),
            self.write.address.eq(count if round_frames == 1 else Cat(frame, count)),
            self.write.data.eq(element.data),
        ]
        m.d.sync += self.frame_error.eq(accepted & element.last & ~complete)
        with m.If(starts):
            m.d.sync += [offered.payload.clear.eq(carried), clear_next.eq(0)]
        with m.Elif(self.clear):
            m.d.sync += clear_next.eq(1)
        with m.If(accepted):
            with m.If(element.last):
                m.d.sync += [count.eq(0), overrun.eq(0), offered.valid.eq(fills), offered.payload.end.eq(marked_end)]
                if round_frames > 1:
                    m.d.sync += frame.eq(frame + complete)
                with m.If(~complete & (marked_end | carried)):
                    m.d.sync += clear_next.eq(1)
            with m.Elif(count == last):
                m.d.sync += overrun.eq(1)
            with m.Else():
                m.d.sync += count.eq(count + 1)
        with m.If(offered.valid & offered.ready):
            m.d.sync += offered.valid.eq(0)
        return m
