"""A schedule: the operations of a network in order, and all that their timing depends on."""

import math
from dataclasses import dataclass

from lmu_hw.model.operations import Operation
from lmu_hw.plan.placement import Location

__all__ = ["PlannedOperation", "PlannedResidual", "PlannedTerm", "Schedule"]


@dataclass(frozen=True)
class PlannedTerm:
    """One pass over a source vector.

    Parameters
    ----------
    location : Location
        Of the source.
    layer : int
        Layer that owns the source, -1 for the input frame.
    state : {"", "m", "h"}
        Which state of that layer the source is, if the previous frame's value is read (zero after a clear).
    kind : {"x", "u", "m", "f", "h"}
        Kind of vector.
    offset : int
        First element read by block 0.
    step : int
        Elements from block to block.
    length : int
        Elements read.
    shift : int
        Left shift of the products.
    wait : bool
        Whether to wait until all elements are written, because one of them may go to a memory that is read.
    columns : tuple of tuple of int
        For each row group, the elements that are multiplied, in order; at least one. Where words have no index, they
        are neighbors.
    skips : bool
        Whether zero elements are skipped at run time; their weights then have no index.
    own : tuple of int
        For each row group, products with weights of the network, where the rows of a group read slices: the other
        products of the group's columns are with 0. Empty if every row reads all columns.
    """

    location: Location
    layer: int
    state: str
    kind: str
    offset: int
    step: int
    length: int
    shift: int
    wait: bool
    columns: tuple[tuple[int, ...], ...]
    skips: bool
    own: tuple[int, ...] = ()

    def row_products(self, group: int, rows: int, count: float) -> float:
        """Products of all rows of a group, each of which is multiplied ``count`` times, with weights of the network."""
        return self.own[group] if self.own else rows * count


@dataclass(frozen=True)
class PlannedResidual:
    """A vector that is added to the sums of an operation when they are finished, an element to each row.

    Parameters
    ----------
    location : Location
        Of the vector.
    layer : int
        Layer that owns it, -1 for the input frame.
    kind : {"x", "h"}
        Kind of vector.
    shift : int
        How much further left an element is shifted than its sum is shifted right afterwards; may be negative.
    frames : int
        Frames of the vector in a round for each frame of the operation.
    """

    location: Location
    layer: int
    kind: str
    shift: int
    frames: int


@dataclass(frozen=True, eq=False)
class PlannedOperation:
    """An operation with its memories and addresses.

    Parameters
    ----------
    operation : Operation
        What is computed.
    terms : tuple of PlannedTerm
        The passes.
    groups : int
        Row groups of a block.
    index_bits : int
        Bits of a word that give the column of the next word; 0 if the words are all columns in order.
    weight_memory : int
        Index among the weight memories.
    weight_base : int
        Address of the first word; all blocks of the operation share the words.
    parameter_base : int
        Address of the bias and shift of row 0; shared by the blocks.
    target : Location or None
        Where the elements are written; None if they are never read.
    narrow : int
        Index of the `NarrowStep`.
    output : bool
        Whether the elements are the logits.
    releases_input : bool
        Whether it is the last operation that reads the input frame.
    stride : int
        If above 1, the operation runs only in every ``stride``-th frame of its layer (or round, with
        `frames_per_fetch`); other frames end before it.
    frames : int
        Frames that it computes in each round (`lmu_hw.plan.rounds`); 1 without `frames_per_fetch`.
    together : bool
        Whether each weight word is fetched once for all of these frames and used in consecutive cycles. Otherwise the
        operation runs once for each frame.
    residual : PlannedResidual, optional
        What is added to the sums.
    parts : int
        Blocks that are computed at once, each in a part of the memory engine (`lmu_hw.plan.parts`); 1 in the lanes.
    """

    operation: Operation
    terms: tuple[PlannedTerm, ...]
    groups: int
    index_bits: int
    weight_memory: int
    weight_base: int
    parameter_base: int
    target: Location | None
    narrow: int
    output: bool
    releases_input: bool
    stride: int
    frames: int
    together: bool
    residual: PlannedResidual | None = None
    parts: int = 1

    @property
    def releases_late(self) -> bool:
        """Whether the input frame is needed until all elements are written, because they add elements of it."""
        return self.releases_input and self.residual is not None and self.residual.kind == "x"

    @property
    def blocks(self) -> int:
        """Blocks that are computed one after the other; with `parts`, so many at once count as one."""
        return self.operation.repeat // self.parts

    @property
    def sums(self) -> int:
        """Sums of each row: the frames for which each weight word is used in consecutive cycles."""
        return self.frames if self.together else 1

    @property
    def passes(self) -> int:
        """Runs in a round."""
        return 1 if self.together else self.frames

    @property
    def chained(self) -> bool:
        """Whether each pass but the first reads what the previous pass wrote."""
        return self.passes > 1 and self.operation.updates_memory

    @property
    def target_copies(self) -> int:
        """Words between neighbouring elements of the target."""
        return 1 if self.target is None else self.target.copies

    @property
    def target_start(self) -> int:
        """Address of the first element written; with `parts`, of the first word."""
        start = self.operation.start * self.target_copies + (0 if self.target is None else self.target.base)
        return start // self.parts

    def rows_in(self, group: int, lanes: int) -> int:
        """Rows of a group."""
        return min(lanes, self.operation.rows - group * lanes)

    def products_in(self, group: int) -> int:
        """Products of each row of a group."""
        return sum(len(term.columns[group]) for term in self.terms)

    @property
    def words(self) -> int:
        """Weight words, and so products of a lane in one block."""
        return sum(self.products_in(group) for group in range(self.groups))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Operations in the order in which the lanes run them.

    Parameters
    ----------
    operations : tuple of PlannedOperation
        In order.
    lanes : int
        Rows of a group.
    inputs, outputs : int
        Elements of an input frame, and logits.
    frames_per_fetch : int
        Input frames of a round.
    round_strides : tuple of int
        For each layer: its memory runs this many rounds for each round in which its hidden state is computed.
    write_latency : int
        Cycles between a group's last product and the write of its first row, not counting the write itself.
    weight_memories : tuple of str
        Names, by index.
    """

    operations: tuple[PlannedOperation, ...]
    lanes: int
    inputs: int
    outputs: int
    frames_per_fetch: int
    round_strides: tuple[int, ...]
    write_latency: int
    weight_memories: tuple[str, ...]

    @property
    def rounds(self) -> int:
        """Rounds after which the strides repeat."""
        return math.prod(self.round_strides)

    def executed(self, number: int) -> tuple[PlannedOperation, ...]:
        """Operations that run in a round, in order.

        Parameters
        ----------
        number : int
            Rounds since the last clear, 0 for the first. Without `frames_per_fetch` a round is a frame.
        """
        reach = number
        operations = []
        for planned in self.operations:
            if planned.stride > 1:
                reach, rest = divmod(reach, planned.stride)
                if rest != planned.stride - 1:
                    break
            operations.append(planned)
        return tuple(operations)
