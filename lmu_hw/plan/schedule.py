"""A schedule: the operations of a network with their places in the hardware."""

import math
from dataclasses import dataclass

from lmu_hw.model.bounds import Certificate
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.operations import Operation
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.placement import Location, MemoryPlan
from lmu_hw.plan.rounds import round_strides

__all__ = ["NarrowStep", "PlannedOperation", "PlannedTerm", "Schedule"]


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
        Which state of that layer the source is, if its value from before the frame is read (zero after a clear).
    kind : {"x", "u", "m", "h"}
        What the source is.
    offset : int
        First element read by block 0.
    step : int
        Elements from block to block.
    length : int
        Elements read.
    shift : int
        Left shift of the products.
    wait : bool
        Whether an element still on its way when the operation starts may go to a memory that is read.
    columns : tuple of tuple of int
        For each row group, the elements that are multiplied, in order; at least one.
    skips : bool
        Whether elements that are zero are left out as they come, with their weights, which have no index.
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


@dataclass(frozen=True)
class NarrowStep:
    """How a class of operations turns an exact sum into an element.

    Parameters
    ----------
    quantizer : Quantizer
        Narrowing of the sum.
    saturates : bool
        Whether the certificate leaves the possibility that the value does not fit.
    activation : {"linear", "relu", "tanh"}
        What follows.
    output : Format
        Of the element.
    table_base : int
        First entry in the table memory, for tanh.
    """

    quantizer: Quantizer
    saturates: bool
    activation: str
    output: Format
    table_base: int = 0


@dataclass(frozen=True, eq=False)
class PlannedOperation:
    """An operation with its place in the hardware.

    Parameters
    ----------
    operation : Operation
        What is computed.
    terms : tuple of PlannedTerm
        The passes.
    groups : int
        Row groups of a block.
    index_bits : int
        Bits beside the weights of its words that say which column the next one is of; 0 if they are of all columns, in
        order.
    weight_memory : int
        Index among the weight memories.
    weight_base : int
        Address of the first word; all blocks of the operation share the words.
    parameter_base : int
        Address of the bias and shift of row 0; shared by the blocks.
    target : Location or None
        Where the elements are written, if they are read again.
    narrow : int
        Index of the `NarrowStep`.
    output : bool
        Whether the elements are the logits.
    releases_input : bool
        Whether the input frame is not needed any more after it.
    stride : int
        More than 1 if the operation runs in every ``stride``-th frame of its layer only, and the frame ends otherwise.
        With `frames_per_fetch`, in every ``stride``-th round.
    frames : int
        Frames that it computes in a round (`lmu_hw.plan.rounds`); 1 without `frames_per_fetch`.
    together : bool
        Whether each weight word is fetched once for all of these frames, and used in consecutive cycles; otherwise the
        operation runs for one frame after the other.
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

    @property
    def sums(self) -> int:
        """Frames for which each weight word is used in consecutive cycles; so many sums has each row."""
        return self.frames if self.together else 1

    @property
    def passes(self) -> int:
        """How often it runs in a round."""
        return 1 if self.together else self.frames

    @property
    def chained(self) -> bool:
        """Whether each pass but the first reads what the one before it wrote."""
        return self.passes > 1 and self.operation.updates_memory

    @property
    def target_copies(self) -> int:
        """Words between neighbouring elements of the target."""
        return 1 if self.target is None else self.target.copies

    @property
    def target_start(self) -> int:
        """Address of the first element written."""
        return self.operation.start * self.target_copies + (0 if self.target is None else self.target.base)

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
    """A network laid out on lanes and memories.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    config : AcceleratorConfig
        The configuration.
    certificate : Certificate
        Proven ranges.
    operations : tuple of PlannedOperation
        The schedule.
    data_memories, weight_memories : tuple of MemoryPlan
        By index.
    parameters : MemoryPlan
        Word: bias (low bits, signed), then shift.
    table : MemoryPlan or None
        tanh entries.
    output : MemoryPlan
        The logits.
    narrow_steps : tuple of NarrowStep
        By index.
    accumulator_width : int
        Bits of a lane's sum.
    bias_width, shift_width : int
        Fields of a parameter word.
    """

    model: QuantizedModel
    config: AcceleratorConfig
    certificate: Certificate
    operations: tuple[PlannedOperation, ...]
    data_memories: tuple[MemoryPlan, ...]
    weight_memories: tuple[MemoryPlan, ...]
    parameters: MemoryPlan
    table: MemoryPlan | None
    output: MemoryPlan
    narrow_steps: tuple[NarrowStep, ...]
    accumulator_width: int
    bias_width: int
    shift_width: int

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.config.lanes

    @property
    def write_latency(self) -> int:
        """Cycles from a group's last product to the write of its first row, less the row's own cycle."""
        return 3 if self.table is not None else 2

    @property
    def memories(self) -> tuple[MemoryPlan, ...]:
        """All memories."""
        table = () if self.table is None else (self.table,)
        sums = () if self.sums is None else (self.sums,)
        return (*self.data_memories, *self.weight_memories, self.parameters, *table, self.output, *sums)

    @property
    def sums(self) -> MemoryPlan | None:
        """Sums of decision smoothing, if it is asked for."""
        if self.config.smoothing is None:
            return None
        width = self.config.smoothing.score_bits + self.config.smoothing.shift
        return MemoryPlan("sums", self.output.depth, width, False, "sums")

    @property
    def memory_bits(self) -> dict[str, int]:
        """Bits of each memory by name."""
        return {memory.name: memory.bits for memory in self.memories}

    @property
    def activation_width(self) -> int:
        """Bits of the operand that all lanes share."""
        return max(memory.width if memory.signed else memory.width + 1 for memory in self.data_memories)

    @property
    def weight_widths(self) -> tuple[int, ...]:
        """Bits of a weight in each weight memory."""
        return tuple((memory.width - memory.index_bits) // self.lanes for memory in self.weight_memories)

    @property
    def narrow_width(self) -> int | None:
        """Bits of the weights that the lower part of a cut multiplier takes; None if multipliers are whole.

        Those of the memory whose weights are multiplied most often.
        """
        if not self.config.isolate_operands:
            return None
        words = dict.fromkeys(self.weight_widths, 0)
        for planned in self.operations:
            words[self.weight_widths[planned.weight_memory]] += planned.operation.repeat * planned.words
        width = max(words, key=lambda one: words[one])
        return width if width < max(words) else None

    @property
    def wide_lanes(self) -> int:
        """Lanes that get weights of more than `narrow_width` bits: the first ones, as many as a group has rows."""
        wide = (one for one in self.operations if self.weight_widths[one.weight_memory] > (self.narrow_width or 0))
        return max((one.rows_in(0, self.lanes) for one in wide), default=0)

    @property
    def operand_width(self) -> int:
        """Bits of the operand of the multipliers, after its shift if it is the operand that is shifted."""
        if not self.config.shift_operand:
            return self.activation_width
        signed = [memory.width if memory.signed else memory.width + 1 for memory in self.data_memories]
        terms = (term for planned in self.operations for term in planned.terms)
        return max(signed[term.location.memories[0]] + term.shift for term in terms)

    def register_bank(self, memory: MemoryPlan) -> int:
        """Words of the banks of registers that a memory is cut into; 0 if it is whole."""
        return self.config.state_bank_words if memory.kind == "data" else 0

    @property
    def index_bits(self) -> int:
        """Bits beside the weights of a word that say what the next word holds; 0 if no blocks are skipped."""
        return max(memory.index_bits for memory in self.weight_memories)

    @property
    def skipping_memories(self) -> tuple[int, ...]:
        """Data memories from which only elements that are not zero are read, by some operation."""
        terms = (term for planned in self.operations for term in planned.terms if term.skips)
        return tuple(sorted({term.location.memories[0] for term in terms}))

    @property
    def round_strides(self) -> tuple[int, ...]:
        """Strides of the layers in rounds of `frames_per_fetch` frames."""
        return round_strides(self.model, self.config.frames_per_fetch)

    @property
    def rounds(self) -> int:
        """Rounds after which the strides repeat."""
        return math.prod(self.round_strides)

    def executed(self, frame: int) -> tuple[PlannedOperation, ...]:
        """Operations that run in the given frame, counted from a clear; in the given round with `frames_per_fetch`."""
        reach = frame
        done = []
        for planned in self.operations:
            if planned.stride > 1:
                reach, rest = divmod(reach, planned.stride)
                if rest != planned.stride - 1:
                    break
            done.append(planned)
        return tuple(done)

    @property
    def period(self) -> int:
        """Frames after which the strides repeat."""
        return math.prod(self.model.strides)
