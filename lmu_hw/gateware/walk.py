"""Which frame a product belongs to and where its elements are, for frames that are computed one by one."""

from collections.abc import Mapping

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data
from amaranth.utils import bits_for

from lmu_hw.plan.placement import Location
from lmu_hw.plan.schedule import PlannedOperation, PlannedResidual, PlannedTerm

__all__ = ["FrameWalk", "select_copy"]


class FrameWalk:
    """Answers the sequencer's questions about frames, where frames are computed one by one.

    `lmu_hw.gateware.round_walk.RoundWalk` gives the answers for rounds of frames. A walk has no registers of its own.
    In all methods ``const`` is the present step's row of `constants_layout`, ``position`` the counters of
    `position_layout`, ``ends`` the flags of `ends_layout`, and ``selected`` the fields of `selection_layout`.
    """

    def constants(self, planned: PlannedOperation, number: int) -> dict[str, int]:
        """Constants of term ``number`` of an operation, beside those of single frames."""
        return {}

    def residual_constants(self, residual: PlannedResidual | None) -> dict[str, int]:
        """Constants of what an operation adds to its sums, beside those of single frames."""
        return {}

    def claiming_term(self, planned: PlannedOperation) -> int:
        """Term of the logits whose product claims the output."""
        return 0

    def counters(self) -> dict[str, Shape]:
        """Counters beside the step, the group and the block."""
        return {}

    def selection(self) -> dict[str, Shape]:
        """Fields of a selection beside those of single frames."""
        return {}

    def step_shapes(self) -> dict[str, Shape]:
        """Fields of a product step beside those of single frames."""
        return {}

    def group_shapes(self) -> dict[str, Shape]:
        """Fields of a row group beside those of single frames."""
        return {}

    def column_ends(self, const: data.View, position: data.View) -> Value:
        """Whether the product is the last one of its column."""
        return Const(1, 1)

    def operation_ends(self, const: data.View, position: data.View, blocks: Value) -> Value:
        """Whether the product is the last one of its operation; ``blocks`` if it is the last one of all blocks."""
        return blocks

    def advance(
        self, m: Module, counters: Mapping[str, Signal], const: data.View, ends: data.View, issue: Value
    ) -> None:
        """Add what moves the counters of `counters`."""

    def claims(self, ends: data.View, position: data.View, fresh: Value) -> Value:
        """Whether the product, if it is one of a logit, claims the output; ``fresh`` on the first one of a term."""
        return fresh

    def waits(self, const: data.View, position: data.View) -> Value:
        """Whether the first product of a term waits until all elements are written."""
        return const.wait

    def elements(self, const: data.View, rows: Value) -> Value:
        """Number of elements of a group."""
        return rows

    def words(self, const: data.View, rows: Value) -> Value:
        """Number of words of a group in each memory that is written."""
        return rows

    def address(self, const: data.View, offset: Value, column: Value, selected: data.View) -> Value:
        """Address of the element that is read."""
        return const.base + offset + column

    def added_address(self, const: data.View, row: Value, position: data.View) -> Value:
        """Address of the element that is added to a row."""
        return const.added_base + row

    def source(
        self, planned: PlannedOperation, term: PlannedTerm, turn: Value, position: data.View
    ) -> dict[str, Value]:
        """Index of the memory that is read, and the fields of `selection`; ``turn`` says which copy is the old one."""
        return {"source": select_copy(term.location, turn, old=bool(term.state))}

    def target(self, target: Location, turn: Value, position: data.View) -> Value:
        """Index of the memory that is written."""
        return select_copy(target, turn, old=False)

    def cleared(self, valid: Value, position: data.View) -> Value:
        """Whether a state that is read counts as zero; ``valid`` if it was written since it was cleared."""
        return ~valid

    def next_target(self, const: data.View, position: data.View, address: Value) -> Value:
        """Address of the first element of the next frame; ``address`` if the operation runs for one frame only."""
        return address

    def step_fields(self, const: data.View, position: data.View) -> dict[str, Value]:
        """Values of `step_shapes`."""
        return {}

    def group_fields(self, const: data.View) -> dict[str, Value]:
        """Values of `group_shapes`."""
        return {}


def select_copy(location: Location, turn: Value, *, old: bool) -> Value:
    """Index of the memory that holds the old or the new copy of a vector."""
    if len(location.memories) == 1:
        return Const(location.memories[0], bits_for(location.memories[0]))
    first, second = location.memories
    return Mux(turn, second, first) if old else Mux(turn, first, second)
