"""What the network remembers beside its memories: valid states, old and new copies, strides."""

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.model.program import QuantizedLMU
from lmu_hw.plan.plan import Plan

__all__ = ["LayerState"]


class LayerState(wiring.Component):
    """One set of flags for each layer; they change between frames only, with `frames_per_fetch` between rounds.

    A state that was cleared is not overwritten: it is marked invalid and read as zero until it is written again, so
    that clearing takes no cycles.

    Parameters
    ----------
    plan : Plan
        The schedule.

    Members
    -------
    start : In(1)
        A frame starts.
    clear : In(1)
        With `start`: clear the state before it.
    end : In(1)
        With `start`: clear the state after it.
    finish : In(1)
        The frame's last product is issued.
    closes : Out(layers)
        Which layers compute their hidden state in this frame.
    cleared : Out(1)
        With smoothing only: the state is cleared in this cycle.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        layers = range(len(plan.model.layers))
        self._recurrent = [isinstance(layer, QuantizedLMU) for layer in plan.model.layers]
        self._valid = {(i, kind): Signal(name=f"valid{i}{kind}") for i in layers if self._recurrent[i] for kind in "mh"}
        self._turn = {(i, kind): Signal(name=f"turn{i}{kind}") for i in layers if self._recurrent[i] for kind in "mh"}
        cleared = {} if plan.config.smoothing is None else {"cleared": Out(1)}
        super().__init__(
            {"start": In(1), "clear": In(1), "end": In(1), "finish": In(1), "closes": Out(len(layers)), **cleared}
        )

    def valid(self, layer: int, kind: str) -> Value:
        """Whether the state ``m`` or ``h`` of a layer was written since it was cleared."""
        return self._valid[layer, kind]

    def turn(self, layer: int, kind: str) -> Value:
        """Which of the two memories of a state is the old one."""
        return self._turn.get((layer, kind), Const(0, 1))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ends = Signal()
        runs: Value = Const(1, 1)
        with m.If(self.start):
            m.d.sync += ends.eq(self.end)
        if self.plan.config.smoothing is not None:
            m.d.comb += self.cleared.eq((self.start & self.clear) | (self.finish & ends))
        for index, stride in enumerate(self.plan.schedule.round_strides):
            phase = Signal(range(max(2, stride)), name=f"phase{index}")
            closes = self.closes[index]
            m.d.comb += closes.eq(runs & (phase == stride - 1))
            with m.If(self.finish & runs):
                m.d.sync += phase.eq(phase + 1)
                if self._recurrent[index]:
                    m.d.sync += [self._valid[index, "m"].eq(1), self._turn[index, "m"].eq(~self._turn[index, "m"])]
            with m.If(self.finish & closes):
                m.d.sync += phase.eq(0)
                if self._recurrent[index]:
                    m.d.sync += [self._valid[index, "h"].eq(1), self._turn[index, "h"].eq(~self._turn[index, "h"])]
            with m.If((self.start & self.clear) | (self.finish & ends)):
                m.d.sync += phase.eq(0)
                if self._recurrent[index]:
                    m.d.sync += [self._valid[index, "m"].eq(0), self._valid[index, "h"].eq(0)]
            runs = closes
        return m
