"""Operations laid out on memories: where weights, biases, sources and results are, and which columns are multiplied."""

from dataclasses import dataclass

from lmu_hw.model.operations import Operation, Term, output_name
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.narrowing import Narrowing
from lmu_hw.plan.placement import Location, MemoryPlan
from lmu_hw.plan.rounds import round_strides, vector_frames
from lmu_hw.plan.schedule import PlannedOperation, PlannedResidual, PlannedTerm
from lmu_hw.plan.sparsity import (
    Columns,
    MemoryColumns,
    all_columns,
    columns_of,
    own_weights,
    stored_columns,
    weight_width,
)

__all__ = ["Layout"]


@dataclass(frozen=True)
class _Base:
    """Where an operation starts in the weight memories and in the parameter memory."""

    weights: int
    parameters: int


class Layout:
    """A network's operations on the memories of an accelerator.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    config : AcceleratorConfig
        The configuration.
    operations : tuple of Operation
        The network's, in order.
    locations : dict of str to Location
        Of the vectors that are read.
    narrowing : Narrowing
        The operations' narrowing steps.

    Attributes
    ----------
    operations : tuple of PlannedOperation
        In order.
    weight_memories : tuple of MemoryPlan
        By ascending width of a weight.
    """

    def __init__(
        self,
        model: QuantizedModel,
        config: AcceleratorConfig,
        operations: tuple[Operation, ...],
        locations: dict[str, Location],
        narrowing: Narrowing,
    ):
        self._lanes = config.lanes
        self._locations = locations
        self._narrowing = narrowing
        self._logits = output_name(model)
        self._frames = vector_frames(model, config.frames_per_fetch)
        self._parts = config.memories_at_once
        self._strides = round_strides(model, config.frames_per_fetch)
        self._waits = _waits(self._strides, operations, locations)
        self._skipped = _skipped(operations, locations) if config.skip_zero_elements else set()
        self._searched = _searched(operations, self._skipped)
        self._stored = stored_columns(operations, config.lanes, config.skip_zero_blocks, self._searched)
        self._last_reader = max(index for index, op in enumerate(operations) if "x" in _sources(op))
        self.operations = self._planned_operations(operations)
        self.weight_memories = tuple(
            self._weight_memory(index, width, columns) for index, (width, columns) in enumerate(self._stored.items())
        )

    def _planned_operations(self, operations: tuple[Operation, ...]) -> tuple[PlannedOperation, ...]:
        """Weights of operations that share a memory, and parameters of all, one operation after the other."""
        depths = dict.fromkeys(self._stored, 0)
        parameters = 0
        planned = []
        for index, (op, columns) in enumerate(zip(operations, columns_of(operations, self._stored), strict=True)):
            width = weight_width(op)
            planned.append(self._planned_operation(index, op, columns, _Base(depths[width], parameters)))
            depths[width] += planned[-1].words
            parameters += op.rows
        return tuple(planned)

    def _planned_operation(self, index: int, op: Operation, columns: Columns, base: _Base) -> PlannedOperation:
        width = weight_width(op)
        whole = op.target in self._searched and columns == all_columns(op, self._lanes)
        index_bits = 0 if whole else self._stored[width].index_bits
        frames = self._frames[op.target]
        return PlannedOperation(
            operation=op,
            terms=tuple(
                self._planned_term(op, number, self._waits[index, number], columns[number], not index_bits)
                for number in range(len(op.terms))
            ),
            groups=-(-op.rows // self._lanes),
            index_bits=index_bits,
            weight_memory=list(self._stored).index(width),
            weight_base=base.weights,
            parameter_base=base.parameters,
            target=self._locations.get(op.target),
            narrow=self._narrowing.index(op),
            output=op.target == self._logits,
            releases_input=index == self._last_reader,
            stride=self._strides[op.layer] if op.closes_stride else 1,
            frames=frames,
            together=frames > 1 and not op.updates_memory and op.target != self._logits,
            parts=self._parts if op.updates_memory else 1,
            residual=self._planned_residual(op),
        )

    def _planned_residual(self, op: Operation) -> PlannedResidual | None:
        if op.residual is None:
            return None
        layer, kind = _owner(op.residual.source)
        return PlannedResidual(
            location=self._locations[op.residual.source],
            layer=layer,
            kind=kind,
            shift=int(op.residual.shifts[0] - op.shifts[0]),
            frames=self._frames[op.residual.source] // self._frames[op.target],
        )

    def _planned_term(
        self, op: Operation, number: int, wait: bool, columns: tuple[tuple[int, ...], ...], may_skip: bool
    ) -> PlannedTerm:
        term = op.terms[number]
        layer, kind = _owner(term.source)
        return PlannedTerm(
            location=self._locations[term.source],
            layer=layer,
            state=kind if term.previous else "",
            kind=kind,
            offset=term.offset,
            step=term.step,
            length=int(term.weights.shape[1]),
            shift=term.shift,
            wait=wait,
            columns=columns,
            skips=may_skip and _searches(op, term, self._skipped),
            own=tuple(own_weights(term, columns, self._lanes)) if term.slice_rows else (),
        )

    def _weight_memory(self, index: int, width: int, columns: MemoryColumns) -> MemoryPlan:
        depth = sum(planned.words for planned in self.operations if planned.weight_memory == index)
        word = width * self._lanes + columns.index_bits
        return MemoryPlan(f"weights{width}", depth, word, False, "weights", columns.index_bits)


def _owner(name: str) -> tuple[int, str]:
    """Layer and kind of a vector; layer -1 for the input frame."""
    owner, _, kind = name.rpartition(".")
    return int(owner.removeprefix("layer")) if owner else -1, kind


def _sources(op: Operation) -> list[str]:
    """Vectors that an operation reads."""
    return [term.source for term in op.terms] + ([] if op.residual is None else [op.residual.source])


def _searches(op: Operation, term: Term, skipped: set[str]) -> bool:
    """Whether zeros of a term may be skipped: it reads a whole vector of those from this frame."""
    return term.source in skipped and not term.previous and not op.updates_memory


def _skipped(operations: tuple[Operation, ...], locations: dict[str, Location]) -> set[str]:
    """Vectors whose zeros may be skipped: outputs of a ReLU that start at address 0 of one memory."""
    outputs = {op.target for op in operations if op.activation == "relu" and op.strided}
    return {
        name
        for name in outputs
        if name in locations and locations[name] == Location(locations[name].memories[:1], 0)
    }  # fmt: skip


def _searched(operations: tuple[Operation, ...], skipped: set[str]) -> set[str]:
    """Targets of the operations that read vectors whose zeros may be skipped."""
    return {op.target for op in operations if any(_searches(op, term, skipped) for term in op.terms)}


def _waits(
    strides: tuple[int, ...], operations: tuple[Operation, ...], locations: dict[str, Location]
) -> dict[tuple[int, int], bool]:
    """Whether the term of an operation, both by number, waits until all elements are written.

    It waits where an element that is not yet written when the operation starts may go to a memory that the term reads.
    The element may be one of the term's source, or of another vector in that memory: its write would take the port. So
    would the read of an element that is added to one not yet written.
    """

    def used(op: Operation) -> set[int]:
        written = set(locations[op.target].memories) if op.target in locations else set()
        return written if op.residual is None else written | set(locations[op.residual.source].memories)

    pending = used(operations[-1])
    for index, op in enumerate(operations):
        if op.closes_stride and strides[op.layer] > 1:
            pending |= used(operations[index - 1])
    waits = {}
    for index, op in enumerate(operations):
        for number, term in enumerate(op.terms):
            waits[index, number] = not pending.isdisjoint(locations[term.source].memories)
            if waits[index, number]:
                pending = set()
        pending = pending | used(op)
    return waits
