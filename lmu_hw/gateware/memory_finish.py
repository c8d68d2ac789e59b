"""Finishing of memory states: narrowing of a row of several memories at once."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.narrow import Narrow
from lmu_hw.plan.plan import Plan

__all__ = ["MemoryFinish"]


class MemoryFinish(wiring.Component):
    """Turns a row of sums of each part into states.

    Parameters
    ----------
    plan : Plan
        With `memories_at_once`.

    Members
    -------
    sums : In
        From `lmu_hw.gateware.memory_engine.MemoryEngine`.
    valid : In(1)
        A row is finished in this cycle.
    row : In(range(lanes))
        Which, in each part.
    operation : In
        In the cycle after: index of the operation in the plan.
    states : Out(parts * signed(plan.state_width))
        In the cycle after: the states, that of part 0 in the low bits.

    Sums of memories have no bias, and their shifts are not loaded: they are those of the plan.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._updates = {index: planned for index, planned in enumerate(plan.operations) if planned.parts > 1}
        super().__init__(
            {
                "sums": In(unsigned(plan.parts * plan.memory_rows * plan.state_sum_width)),
                "valid": In(1),
                "row": In(range(max(2, plan.lanes))),
                "operation": In(unsigned(bits_for(len(plan.operations) - 1))),
                "states": Out(unsigned(plan.parts * plan.state_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, width, rows = self.plan, self.plan.state_sum_width, self.plan.memory_rows
        states = []
        for part in range(plan.parts):
            sums = Array(self.sums.word_select(part * rows + row, width) for row in range(rows))
            selected = Signal(signed(width), name=f"selected{part}", reset_less=True)
            with m.If(self.valid):
                m.d.sync += selected.eq(sums[Mux(self.valid, self.row, 0)])
            states.append(self._narrow(m, part, selected))
        m.d.comb += self.states.eq(Cat(states))
        return m

    def _narrow(self, m: Module, part: int, selected: Signal) -> Signal:
        """Narrow a sum as its operation does."""
        state = Signal(signed(self.plan.state_width), name=f"state{part}")
        ways: dict[tuple[int, int], list[int]] = {}
        for index, planned in self._updates.items():
            (shift,) = {int(shift) for shift in planned.operation.shifts}
            ways.setdefault((planned.narrow, shift), []).append(index)
        with m.Switch(self.operation):
            for number, ((index, shift), operations) in enumerate(ways.items()):
                step = self.plan.narrow_steps[index]
                narrow = Narrow(len(selected), [shift], step.quantizer, step.saturates)
                m.submodules[f"narrow{part}_{number}"] = narrow
                m.d.comb += [narrow.i.eq(selected), narrow.shift.eq(Const(shift))]
                with m.Case(*operations) if number < len(ways) - 1 else m.Default():
                    m.d.comb += state.eq(narrow.o)
        return state
