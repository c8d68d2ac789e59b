"""The level gate: stands between the input and the sequencer, and drops the frames that are asleep."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import frame_layout
from lmu_hw.gateware.narrow import format_shape
from lmu_hw.model.gate import Gate
from lmu_hw.plan.plan import Plan

__all__ = ["LevelGate"]


class LevelGate(wiring.Component):
    """Adds up the elements of a frame while they are stored, and judges the whole frame in one cycle.

    Bit-exact against `lmu_hw.model.gate`. The frame that comes after one asleep carries a clear.

    Parameters
    ----------
    plan : Plan
        Frame size and format.
    gate : Gate
        The parameters, as constants.

    Members
    -------
    stored, first : In(1)
        An element is stored in this cycle; with `stored`, it is the first of its frame.
    element : In(input format)
        With `stored`: which.
    frames : In(stream of frame_layout())
        Whole frames. Ready in the first cycle for a frame that is asleep, else with `awake`.
    awake : Out(stream of frame_layout())
        The frames that are awake, offered from the same cycle on.
    asleep : Out(1)
        A frame is asleep; one cycle, the one in which it is judged.

    Latency: none. A frame that is asleep occupies the input for one cycle after its last element.
    """

    def __init__(self, plan: Plan, gate: Gate):
        self.plan = plan
        self.gate = gate
        super().__init__(
            {
                "stored": In(1),
                "first": In(1),
                "element": In(format_shape(plan.model.input)),
                "frames": In(stream.Signature(frame_layout())),
                "awake": Out(stream.Signature(frame_layout())),
                "asleep": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        gate, bound = self.gate, self.gate.bound(self.plan.model.inputs, self.plan.model.input)
        start = Const(gate.floor << gate.fraction_bits, signed(bound.floor_bits))
        level = Signal(signed(bound.level_bits), reset_less=self.plan.config.control_reset)
        floor = Signal(signed(bound.floor_bits), init=start.value)
        left = Signal(range(gate.hold + 1))
        known_awake = Signal()
        stale = Signal()
        judging = Signal()
        wakes = Signal()
        room = Signal.like(floor)
        difference = Signal(signed(bound.difference_bits))
        moved = Signal.like(floor)
        stays = Signal.like(left)
        cleared, ends = self.frames.payload.clear, self.frames.payload.end
        with m.If(self.stored):
            m.d.sync += level.eq(Mux(self.first, 0, level) + self.element)
        loud = difference >= gate.margin << gate.fraction_bits
        m.d.comb += [
            judging.eq(self.frames.valid & ~known_awake),
            room.eq(Mux(cleared, start, floor)),
            stays.eq(Mux(cleared, 0, left)),
            # Between frames the level counts as 0, so that nothing moves while it is added up.
            difference.eq((Mux(judging, level, 0) << gate.fraction_bits) - room),
            moved.eq(room + Mux(difference < 0, difference >> gate.fall, difference >> gate.rise)),
            wakes.eq(loud | (stays != 0)),
            self.asleep.eq(judging & ~wakes),
            self.awake.valid.eq(known_awake | (judging & wakes)),
            self.awake.payload.clear.eq(cleared | stale),
            self.awake.payload.end.eq(ends),
            self.frames.ready.eq(self.awake.ready | self.asleep),
        ]
        with m.If(judging):
            m.d.sync += [
                floor.eq(Mux(ends, start, moved)),
                left.eq(Mux(ends, 0, Mux(loud, gate.hold, Mux(stays != 0, stays - 1, 0)))),
                known_awake.eq(wakes),
            ]
        with m.If(self.asleep):
            m.d.sync += stale.eq(1)
        with m.If(self.awake.valid & self.awake.ready):
            m.d.sync += [known_awake.eq(0), stale.eq(0)]
        return m
