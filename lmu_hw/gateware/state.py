"""Flags of the layers: which states are valid, which copy of a state is the old one, and which layers compute."""

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import frame_layout
from lmu_hw.plan.plan import Plan

__all__ = ["LayerState"]


class LayerState(wiring.Component):
    """Flags of each layer, which change between frames only; with `frames_per_fetch` between rounds.

    A clear writes no memory: it marks the state invalid, which is then read as zero until it is written. So it takes no
    cycles.

    Parameters
    ----------
    plan : Plan
        Layers and their strides.

    Members
    -------
    start : In(1)
        A frame starts.
    frame : In(frame_layout())
        With `start`: whether to clear the state before the frame, and after it.
    finish : In(1)
        The frame's last product is issued.
    closes : Out(layers)
        Layers that compute their hidden state in this frame.
    valid0m, valid0h, ... : Out(1)
        For each state that is read from the frame before: it was written since it was cleared.
    turn0m, turn0h, ... : Out(1)
        For each vector with an old and a new copy: index of the old one.
    cleared : Out(1)
        With smoothing only: the state is cleared in this cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._flags = _flags(plan)
        cleared = {} if plan.config.smoothing is None else {"cleared": Out(1)}
        super().__init__(
            {
                "start": In(1),
                "frame": In(frame_layout()),
                "finish": In(1),
                "closes": Out(len(plan.model.layers)),
                **{flag: Out(1) for flag in self._flags},
                **cleared,
            }
        )

    def valid(self, layer: int, kind: str) -> Value:
        """Whether the state ``m`` or ``h`` of a layer was written since it was cleared."""
        return getattr(self, f"valid{layer}{kind}")

    def turn(self, layer: int, kind: str) -> Value:
        """Index of the old one of the two copies of a vector; 0 if it has one copy."""
        return getattr(self, f"turn{layer}{kind}", Const(0, 1))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ends = Signal()
        clears = (self.start & self.frame.clear) | (self.finish & ends)
        with m.If(self.start):
            m.d.sync += ends.eq(self.frame.end)
        if self.plan.config.smoothing is not None:
            m.d.comb += self.cleared.eq(clears)
        runs: Value = Const(1, 1)
        for layer, stride in enumerate(self.plan.schedule.round_strides):
            phase = Signal(range(max(2, stride)), name=f"phase{layer}")
            closes = self.closes[layer]
            m.d.comb += closes.eq(runs & (phase == stride - 1))
            with m.If(self.finish & runs):
                m.d.sync += phase.eq(phase + 1)
                self._renew(m, layer, "m")
            with m.If(self.finish & closes):
                m.d.sync += phase.eq(0)
                self._renew(m, layer, "h")
            with m.If(clears):
                m.d.sync += phase.eq(0)
                m.d.sync += [self.valid(layer, kind).eq(0) for kind in "mh" if f"valid{layer}{kind}" in self._flags]
            runs = closes
        return m

    def _renew(self, m: Module, layer: int, kind: str) -> None:
        """Mark a state that was written as valid, and swap its copies."""
        valid, turn = f"valid{layer}{kind}", f"turn{layer}{kind}"
        if valid in self._flags:
            m.d.sync += self.valid(layer, kind).eq(1)
        if turn in self._flags:
            m.d.sync += self.turn(layer, kind).eq(~self.turn(layer, kind))


def _flags(plan: Plan) -> tuple[str, ...]:
    """Names of the flags that some step reads. Rounds choose between two copies by the frame, not by a turn."""
    flags = set()
    for planned in plan.operations:
        vectors = [(term.location, term.layer, term.kind) for term in planned.terms]
        if planned.target is not None:
            vectors.append((planned.target, planned.operation.layer, planned.operation.target[-1]))
        flags |= {f"turn{layer}{kind}" for at, layer, kind in vectors if len(at.memories) == 2 and at.frames == 1}
        flags |= {f"valid{term.layer}{term.state}" for term in planned.terms if term.state}
    return tuple(sorted(flags))
