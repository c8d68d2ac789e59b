"""Which frame a product belongs to, and where its elements are: one frame at a time, or a round of several."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import bits_for

from lmu_hw.plan.placement import Location
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation, PlannedTerm

__all__ = ["FrameWalk", "RoundWalk", "walk_of"]


class FrameWalk:
    """What the sequencer asks about frames, where it computes them one by one.

    ``const`` is what the plan fixes about the present term; other arguments are the sequencer's signals.
    """

    def constants(self, planned: PlannedOperation, number: int) -> dict[str, int]:
        """What the plan fixes about a term of an operation, beside what it does for single frames."""
        return {}

    def claiming_term(self, planned: PlannedOperation) -> int:
        """Term of the logits whose product claims the output."""
        return 0

    @property
    def counters(self) -> tuple[Signal, ...]:
        """Registers that start at zero."""
        return ()

    @property
    def turns(self) -> Value:
        """Whether the next product is one of another column."""
        return Const(1, 1)

    def ends_term(self, ends: Value) -> Value:
        """Whether the product is the last one of a term, ``ends`` if it is of the last column."""
        return ends

    def closes(self, const: data.View, ends: Value, ends_group: Value) -> Value:
        """Whether the product is the last one of its sums."""
        return ends_group

    def claims(self, fresh: Value, closes: Value, group: Value) -> Value:
        """Whether the product, if it is one of a logit, claims the output."""
        return fresh

    def waits(self, const: data.View) -> Value:
        """Whether the first product of a term waits until all elements are written."""
        return const.wait

    def complete(self, m: Module, const: data.View, issue: Value, ends_blocks: Value) -> Value:
        """Whether the operation is complete, ``ends_blocks`` if all its blocks are."""
        return ends_blocks

    def next_block(self, block: Value) -> Value:
        """Block that follows when all groups of one are done."""
        return block + 1

    def elements(self, const: data.View, rows: Value) -> Value:
        """Elements of a group."""
        return rows

    def words(self, const: data.View, rows: Value) -> Value:
        """Words of a group in each memory that is written."""
        return rows

    def address(self, const: data.View, offset: Value, column: Value) -> Value:
        """Where the element is that is read."""
        return const.base + offset + column

    def source(self, m: Module, planned: PlannedOperation, term: PlannedTerm, turn: Value) -> Value:
        """Index of the memory that is read; ``turn`` says which of two is the old one."""
        return _select(term.location, turn, bool(term.state))

    def target(self, planned: PlannedOperation, turn: Value) -> Value:
        """Index of the memory that is written."""
        return _select(planned.target, turn, old=False)

    def cleared(self, valid: Value) -> Value:
        """Whether a state that is read was cleared."""
        return ~valid


class RoundWalk(FrameWalk):
    """The same for rounds of frames (`lmu_hw.plan.rounds`).

    Where they are computed together, the frame changes with every product and the column with the last frame; other
    operations run once for each frame, a pass.

    Parameters
    ----------
    plan : Plan
        With `frames_per_fetch`.

    Attributes
    ----------
    number : Signal
        Of the frame, among those that the operation computes.
    ends_pass : Signal
        The operation is complete, for this frame or for all of them.
    """

    def __init__(self, plan: Plan):
        frames = range(plan.config.frames_per_fetch)
        self.number = Signal(frames, name="number", reset_less=plan.config.control_reset)
        self.ends_pass = Signal(name="ends_pass")
        self._slot = Signal(frames, name="slot")
        self._turns = Signal(name="turns")

    def constants(self, planned: PlannedOperation, number: int) -> dict[str, int]:
        """Shifts by ``sums`` and the spreads multiply by powers of two."""
        return {
            "frames_last": planned.frames - 1,
            "together": int(planned.together),
            "again": int(planned.chained and number == 0),
            "sums": _log(planned.sums),
            "spread": _log(planned.terms[number].location.copies),
            "target_spread": _log(planned.target_copies),
            "target_base": planned.target_start,
            "step": 1 if planned.together else planned.target_copies,
        }

    def claiming_term(self, planned: PlannedOperation) -> int:
        """The last one: the logits before are of the same round, and still on their way."""
        return len(planned.terms) - 1

    @property
    def counters(self) -> tuple[Signal, ...]:
        return (self.number,)

    @property
    def turns(self) -> Value:
        return self._turns

    def ends_term(self, ends: Value) -> Value:
        return ends & self._turns

    def closes(self, const: data.View, ends: Value, ends_group: Value) -> Value:
        return ends & const.last_term

    def claims(self, fresh: Value, closes: Value, group: Value) -> Value:
        return closes & (group == 0)

    def waits(self, const: data.View) -> Value:
        return Mux(self.number == 0, const.wait, const.again)

    def complete(self, m: Module, const: data.View, issue: Value, ends_blocks: Value) -> Value:
        last = self.number == const.frames_last
        m.d.comb += [self._turns.eq(~const.together | last), self.ends_pass.eq(ends_blocks)]
        with m.If(issue & (const.together | self.ends_pass)):
            m.d.sync += self.number.eq(Mux(last, 0, self.number + 1))
        return self.ends_pass & (const.together | last)

    def next_block(self, block: Value) -> Value:
        return Mux(self.ends_pass, 0, block + 1)

    def elements(self, const: data.View, rows: Value) -> Value:
        return rows << const.sums

    def words(self, const: data.View, rows: Value) -> Value:
        return rows << const.target_spread

    def address(self, const: data.View, offset: Value, column: Value) -> Value:
        return const.base + ((offset + column) << const.spread) + self._slot

    def source(self, m: Module, planned: PlannedOperation, term: PlannedTerm, turn: Value) -> Value:
        kept = _log(term.location.frames)
        if term.state:
            number = (self.number - 1)[:kept]
        else:  # the last of the frames that make one of the target's
            behind = kept - _log(planned.frames)
            number = Cat(Const((1 << behind) - 1, behind), self.number[: kept - behind])
        m.d.comb += self._slot.eq(number[_log(len(term.location.memories)) :])
        return super().source(m, planned, term, turn) if not kept else _of_frame(term.location, number)

    def target(self, planned: PlannedOperation, turn: Value) -> Value:
        kept = planned.target.frames > 1
        return _of_frame(planned.target, self.number) if kept else super().target(planned, turn)

    def cleared(self, valid: Value) -> Value:
        return ~valid & (self.number == 0)

    def next_target(self, const: data.View) -> Value:
        """Address of the first element of the next frame."""
        return const.target_base + (self.number + 1)[1:]


def walk_of(plan: Plan) -> FrameWalk:
    """How an accelerator walks its frames."""
    return RoundWalk(plan) if plan.config.frames_per_fetch > 1 else FrameWalk()


def _select(location: Location, turn: Value, old: bool) -> Value:
    """Index of the memory that holds the old or the new copy of a vector."""
    if len(location.memories) == 1:
        return Const(location.memories[0], bits_for(location.memories[0]))
    first, second = location.memories
    return Mux(turn, second, first) if old else Mux(turn, first, second)


def _of_frame(location: Location, number: Value) -> Value:
    """Index of the memory that holds a frame of a round: the first one those with even numbers."""
    return _select(location, number[0], old=True)


def _log(power: int) -> int:
    """Exponent of a power of two."""
    return power.bit_length() - 1
