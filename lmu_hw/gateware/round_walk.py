"""Which frame a product belongs to and where its elements are, for rounds of frames."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data

from lmu_hw.gateware.walk import FrameWalk, select_copy
from lmu_hw.plan.placement import Location
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation, PlannedResidual, PlannedTerm

__all__ = ["RoundWalk", "walk_of"]


class RoundWalk(FrameWalk):
    """Answers the sequencer's questions about frames, for rounds of frames (`lmu_hw.plan.rounds`).

    An operation that computes its frames together changes the frame with every product, and the column after the last
    frame. Other operations run once for each frame, a pass. The counter ``frame`` is the number of the frame among
    those that the operation computes.

    Parameters
    ----------
    plan : Plan
        With `frames_per_fetch`.
    """

    def __init__(self, plan: Plan):
        self._frames = Shape.cast(range(plan.config.frames_per_fetch))

    def constants(self, planned: PlannedOperation, number: int) -> dict[str, int]:
        """Constants of a term; shifts by ``sums`` and the spreads multiply by powers of two."""
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

    def residual_constants(self, residual: PlannedResidual | None) -> dict[str, int]:
        """Spread of the elements; frames of the vector for each of the operation's, and the last of these."""
        if residual is None:
            return {"added_spread": 0, "added_frames": 0, "added_slot": 0}
        return {
            "added_spread": _log(residual.location.copies),
            "added_frames": _log(residual.frames),
            "added_slot": residual.frames - 1,
        }

    def claiming_term(self, planned: PlannedOperation) -> int:
        """The last one: the logits before are of the same round, and not yet written."""
        return len(planned.terms) - 1

    def counters(self) -> dict[str, Shape]:
        return {"frame": self._frames}

    def selection(self) -> dict[str, Shape]:
        return {"slot": self._frames}

    def step_shapes(self) -> dict[str, Shape]:
        return {"frame": self._frames, "fetch": unsigned(1)}

    def group_shapes(self) -> dict[str, Shape]:
        return {"last_sum": self._frames, "step": self._frames}

    def column_ends(self, const: data.View, position: data.View) -> Value:
        return ~const.together | (position.frame == const.frames_last)

    def operation_ends(self, const: data.View, position: data.View, blocks: Value) -> Value:
        return blocks & (const.together | (position.frame == const.frames_last))

    def advance(
        self, m: Module, counters: Mapping[str, Signal], const: data.View, ends: data.View, issue: Value
    ) -> None:
        frame = counters["frame"]
        with m.If(issue & (const.together | ends.blocks)):
            m.d.sync += frame.eq(Mux(frame == const.frames_last, 0, frame + 1))

    def claims(self, ends: data.View, position: data.View, fresh: Value) -> Value:
        return ends.sum & (position.group == 0)

    def waits(self, const: data.View, position: data.View) -> Value:
        return Mux(position.frame == 0, const.wait, const.again)

    def elements(self, const: data.View, rows: Value) -> Value:
        return rows << const.sums

    def words(self, const: data.View, rows: Value) -> Value:
        return rows << const.target_spread

    def address(self, const: data.View, offset: Value, column: Value, selected: data.View) -> Value:
        return const.base + ((offset + column) << const.spread) + selected.slot

    def added_address(self, const: data.View, row: Value, position: data.View) -> Value:
        frame = Mux(const.together, 0, position.frame)
        return const.added_base + (row << const.added_spread) + (frame << const.added_frames) + const.added_slot

    def source(
        self, planned: PlannedOperation, term: PlannedTerm, turn: Value, position: data.View
    ) -> dict[str, Value]:
        kept = _log(term.location.frames)
        if term.state:
            frame = (position.frame - 1)[:kept]
        else:  # the last of the frames that make one of the target's
            behind = kept - _log(planned.frames)
            frame = Cat(Const((1 << behind) - 1, behind), position.frame[: kept - behind])
        fields = {"source": select_copy(term.location, frame[0], old=True)} if kept else super().source(
            planned, term, turn, position
        )
        return {**fields, "slot": frame[_log(len(term.location.memories)) :]}

    def target(self, target: Location, turn: Value, position: data.View) -> Value:
        several = target.frames > 1
        return select_copy(target, position.frame[0], old=True) if several else super().target(target, turn, position)

    def cleared(self, valid: Value, position: data.View) -> Value:
        return ~valid & (position.frame == 0)

    def next_target(self, const: data.View, position: data.View, address: Value) -> Value:
        return const.target_base + (position.frame + 1)[1:]

    def step_fields(self, const: data.View, position: data.View) -> dict[str, Value]:
        return {
            "frame": Mux(const.together, position.frame, 0),
            "fetch": ~const.together | (position.frame == 0),
        }

    def group_fields(self, const: data.View) -> dict[str, Value]:
        return {"last_sum": Mux(const.together, const.frames_last, 0), "step": const.step}


def walk_of(plan: Plan) -> FrameWalk:
    """Walk of an accelerator: by rounds if it fetches a weight once for several frames, else by frames."""
    return RoundWalk(plan) if plan.config.frames_per_fetch > 1 else FrameWalk()


def _log(power: int) -> int:
    """Exponent of a power of two."""
    return power.bit_length() - 1
