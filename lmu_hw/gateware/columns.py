"""The column of the product that the sequencer is at."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring

from lmu_hw.gateware.clock_gate import add_block
from lmu_hw.gateware.nonzero import NonzeroMap
from lmu_hw.gateware.step_signals import StepSignals, column_layout
from lmu_hw.plan.plan import Plan

__all__ = ["Columns"]


class Columns:
    """Drives `StepSignals.column`.

    Columns are counted. Where zero blocks are skipped, the weight word read before says which column comes next; the
    first product of a block is that of column 0. Where zero elements are skipped, the next column is searched for.

    Parameters
    ----------
    plan : Plan
        The schedule.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._count = Signal(column_layout(plan)["number"].shape, name="count", reset_less=plan.config.control_reset)

    def add(
        self, m: Module, now: StepSignals, index: data.View | None, write: wiring.PureInterface | None
    ) -> None:
        """Add the counter, the search or the index to the sequencer.

        Parameters
        ----------
        m : Module
            The sequencer's.
        now : StepSignals
            The present step.
        index : View of index_layout(plan.index_bits), optional
            What the weight word read last says about the next one, if zero blocks are skipped.
        write : Interface of write_signature(plan), optional
            Elements that are written, if zero elements are skipped.
        """
        count, const = self._count, now.const
        column = Signal(column_layout(self._plan), name="counted")
        m.d.comb += [column.number.eq(count), column.first.eq(count == 0), column.last.eq(count == const.length_last)]
        if write is not None:
            self._search(m, now, write, column)
        if self._plan.config.control_reset:
            with m.If(now.start):
                m.d.sync += count.eq(0)
        with m.If(now.issue):
            start = count if write is None else now.column.number
            m.d.sync += count.eq(Mux(now.ends.term, 0, start + now.ends.column))
        if index is None:
            m.d.comb += now.column.eq(column)
        else:
            self._follow(m, now, index, column)

    def _search(self, m: Module, now: StepSignals, write: wiring.PureInterface, column: data.View) -> None:
        """Replace the column by the next one whose element is not zero."""
        const = now.const
        nonzero = NonzeroMap(self._plan)
        written = Signal.like(write.memory)
        add_block(m, "nonzero", nonzero, written if self._plan.config.gate_blocks else None)
        m.d.comb += [
            written.eq(Mux(write.valid, write.memory, 0)),
            nonzero.write.eq(written),
            nonzero.address.eq(write.address),
            nonzero.nonzero.eq(write.data != 0),
            nonzero.enable.eq(const.skips),
            nonzero.memory.eq(now.selected.source),
            nonzero.start.eq(self._count),
            nonzero.stop.eq(const.length_last),
        ]
        with m.If(const.skips):
            m.d.comb += [column.number.eq(nonzero.found), column.last.eq(nonzero.last)]

    def _follow(self, m: Module, now: StepSignals, index: data.View, counted: data.View) -> None:
        """Replace the counted column by the one that the weight word read before names, where words have an index."""
        opens = Signal(init=1)
        begins = Signal(init=1)
        # A signal for each: a struct that is driven field by field has no event in Verilog until a field changes.
        number, last = Signal.like(counted.number, name="named"), Signal(name="named_last")
        with m.If(now.issue):
            m.d.sync += [opens.eq(now.ends.block), begins.eq(now.ends.term)]
        with m.If(now.const.indexed & opens):
            m.d.comb += [number.eq(0), last.eq(now.const.length_last == 0)]
        with m.Elif(now.const.indexed):
            m.d.comb += [number.eq(index.column), last.eq(index.last)]
        with m.Else():
            m.d.comb += [number.eq(counted.number), last.eq(counted.last)]
        m.d.comb += [now.column.number.eq(number), now.column.first.eq(begins), now.column.last.eq(last)]
