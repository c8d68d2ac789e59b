"""The plan: a quantized model and a configuration become memories, a schedule, exact cycles and exact access counts.

The accelerator runs every operation of `lmu_hw.model.operations` on the same lanes. Lane ``i`` holds the sum of row ``g
* lanes + i`` of row group ``g``; in each cycle one element of a source vector is broadcast to all lanes, each with its
own weight. While the next group is summed, the finished one is narrowed, one row a cycle, and written.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lmu_hw.model.bounds import Certificate, certify
from lmu_hw.model.fixed import Format
from lmu_hw.model.operations import Operation, lower, output_name, tanh_errors, vectors
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan import images
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.placement import Location, MemoryPlan, place
from lmu_hw.plan.rounds import check_rounds, round_strides, vector_frames
from lmu_hw.plan.schedule import NarrowStep, PlannedOperation, PlannedTerm, Schedule
from lmu_hw.plan.sparsity import Columns, all_columns, columns_of, stored_bits, stored_columns, weight_width
from lmu_hw.plan.timing import FrameTiming, all_zero, steady_frames

__all__ = ["Plan", "make_plan"]


class Plan(Schedule):
    """Everything that the gateware is built from, and what it will take."""

    @property
    def cycles_per_frame(self) -> float:
        """Mean interval over the frames of a stride period."""
        return self._mean(frame.interval for frame in self.frames)

    @property
    def paced_cycles(self) -> float:
        """Cycles from frame to frame at the slowest clock, if none is given.

        They are `cycles_per_frame`. Where the clock stops at rest, and a cycle more costs next to nothing, there is
        room for each frame to come in, be computed and go out before the next one comes.
        """
        room = self.model.inputs + self.lanes + 2 * self.model.outputs + 8
        return self.cycles_per_frame + (room if self.config.stop_clock else 0)

    @property
    def utilisation(self) -> float:
        """Needed products over ``lanes * cycles``, in a steady stream."""
        return sum(f.products for f in self.frames) / (self.lanes * sum(f.interval for f in self.frames))

    @functools.cached_property
    def frames(self) -> tuple[FrameTiming, ...]:
        """Timing of each frame of a stride period, in the steady state; frame 0 is the first after a clear.

        With `skip_zero_elements` that of frames in which nothing is skipped: none takes longer. With
        `frames_per_fetch` there is one entry for each round of so many frames.
        """
        return steady_frames(self, {})

    @functools.cached_property
    def shortest_frames(self) -> tuple[FrameTiming, ...]:
        """As `frames`, of frames in which every element that may be skipped is zero: none is shorter."""
        return steady_frames(self, all_zero(self))

    def _mean(self, values: Iterable[int]) -> float:
        """Mean over frames of a figure that is known of each entry of `frames`."""
        return sum(values) / (self.rounds * self.config.frames_per_fetch)

    def images(self) -> dict[str, list[int]]:
        """Contents of the weight, parameter and table memories: unsigned words, in order of address."""
        return images.images(self)

    def report(self) -> dict[str, Any]:
        """Key figures, JSON-able.

        ``tanh_error`` (of each table, over all inputs) only for a model with tanh, ``stored_weight_bits`` (trained
        weights that are not skipped, and the index) only where blocks are skipped. Where zero elements are skipped,
        cycles are those of frames without one, and ``least_cycles_per_frame`` and ``least_latency_cycles`` are those of
        frames in which all are zero. With `frames_per_fetch`, ``latency_cycles`` is counted from the last frame of a
        round, and ``latency_frames`` are the frames that the first one waits for before.
        """
        figures = {
            "lanes": self.lanes,
            "cycles_per_frame": self.cycles_per_frame,
            "latency_cycles": max(frame.latency for frame in self.frames),
            "products_per_frame": self._mean(frame.products for frame in self.frames),
            "lane_utilisation": self.utilisation,
            "accumulator_bits": self.accumulator_width,
            "memory_bits": self.memory_bits,
            "slowest_clock_hz_at_50_frames_per_s": math.ceil(50 * self.cycles_per_frame),
        }
        if self.skipping_memories:
            least = self.shortest_frames
            figures["least_cycles_per_frame"] = self._mean(frame.interval for frame in least)
            figures["least_latency_cycles"] = max(frame.latency for frame in least)
        if self.config.frames_per_fetch > 1:
            figures["latency_frames"] = self.config.frames_per_fetch - 1
        if self.index_bits:
            searched = {one.operation.target for one in self.operations if any(term.skips for term in one.terms)}
            figures["stored_weight_bits"] = asdict(stored_bits(self.model, self.lanes, searched))
        errors = tanh_errors(planned.operation for planned in self.operations)
        return figures | {"tanh_error": errors} if errors else figures


_certified = functools.lru_cache(maxsize=4)(certify)
"""A sweep over configurations proves each model once."""


def make_plan(model: QuantizedModel, config: AcceleratorConfig | None = None) -> Plan:
    """Plan the accelerator for a model.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    config : AcceleratorConfig, optional
        The configuration; the default one if not given.

    Returns
    -------
    Plan
        Memories, schedule, widths.

    Raises
    ------
    ValueError
        If the network cannot be built so: its sums are too wide, or `frames_per_fetch` or the smoothing does not fit.
    """
    config = AcceleratorConfig() if config is None else config
    check_rounds(model, config.frames_per_fetch)
    certificate = _certified(model)
    operations = lower(model)
    known = vectors(model)
    frames = vector_frames(model, config.frames_per_fetch)
    memories, locations = place(model, known, frames)
    skipped = _skipped(operations, locations) if config.skip_zero_elements else set()
    searched = _searched(operations, skipped)
    stored = stored_columns(operations, config.lanes, config.skip_zero_blocks, searched)
    widths = list(stored)
    steps, table_entries = _narrow_steps(operations, certificate)
    depths = dict.fromkeys(widths, 0)
    parameter_base = 0
    planned = []
    strides = round_strides(model, config.frames_per_fetch)
    waits = _waits(strides, operations, locations)
    last_reader = max(i for i, op in enumerate(operations) if any(term.source == "x" for term in op.terms))
    for index, (op, columns) in enumerate(zip(operations, columns_of(operations, stored), strict=True)):
        width = weight_width(op)
        whole = op.target in searched and columns == all_columns(op, config.lanes)
        index_bits = 0 if whole else stored[width].index_bits
        planned.append(
            PlannedOperation(
                operation=op,
                terms=tuple(
                    _planned_term(op, n, locations, waits[index, n], columns, set() if index_bits else skipped)
                    for n in range(len(op.terms))
                ),
                groups=-(-op.rows // config.lanes),
                index_bits=index_bits,
                weight_memory=widths.index(width),
                weight_base=depths[width],
                parameter_base=parameter_base,
                target=locations.get(op.target),
                narrow=steps.index(_narrow_step(op, certificate, table_entries)),
                output=op.target == output_name(model),
                releases_input=index == last_reader,
                stride=strides[op.layer] if op.closes_stride else 1,
                frames=frames[op.target],
                together=frames[op.target] > 1 and not op.updates_memory and op.target != output_name(model),
            )
        )
        depths[width] += planned[-1].words
        parameter_base += op.rows
    bias_width = max(_signed_bits(int(op.bias.min()), int(op.bias.max())) for op in operations)
    shift_width = max(1, max(int(op.shifts.max()) for op in operations).bit_length())
    lanes = config.lanes
    table = None
    if table_entries:
        entries = sum(index.max + 1 for index, _ in table_entries)
        width = max(output.width - 1 for _, output in table_entries)
        table = MemoryPlan("tanh", entries, width, False, "table")
    logits = known[output_name(model)]
    if config.smoothing is not None:
        config.smoothing.check(model.outputs, logits.format)
    return Plan(
        model=model,
        config=config,
        certificate=certificate,
        operations=tuple(planned),
        data_memories=memories,
        weight_memories=tuple(
            MemoryPlan(
                f"weights{width}", depths[width], width * lanes + one.index_bits, False, "weights", one.index_bits
            )
            for width, one in stored.items()
        ),
        parameters=MemoryPlan("parameters", parameter_base, bias_width + shift_width, False, "parameters"),
        table=table,
        output=MemoryPlan("logits", logits.size, logits.format.width, logits.format.signed, "output"),
        narrow_steps=tuple(steps),
        accumulator_width=max(certificate.operations[op.name].accumulator_bits for op in operations),
        bias_width=bias_width,
        shift_width=shift_width,
    )


def _signed_bits(low: int, high: int) -> int:
    """Bits of a signed integer that holds a range, at least 2."""
    return max(2, (high if high >= 0 else ~high).bit_length() + 1, (low if low >= 0 else ~low).bit_length() + 1)


def _planned_term(
    op: Operation, number: int, places: dict[str, Location], wait: bool, columns: Columns, skipped: set[str]
) -> PlannedTerm:
    term = op.terms[number]
    owner, _, kind = term.source.rpartition(".")
    return PlannedTerm(
        location=places[term.source],
        layer=int(owner.removeprefix("layer")) if owner else -1,
        state=kind if term.previous else "",
        kind=kind,
        offset=term.offset,
        step=term.step,
        length=int(term.weights.shape[1]),
        shift=term.shift,
        wait=wait,
        columns=columns[number],
        skips=term.source in skipped and not term.previous,
    )


def _skipped(operations: tuple[Operation, ...], places: dict[str, Location]) -> set[str]:
    """Vectors of which only elements that are not zero are read: outputs of a ReLU, at the bottom of their memory."""
    found = {op.target for op in operations if op.activation == "relu" and op.closes_stride}
    return {name for name in found if name in places and places[name] == Location(places[name].memories[:1], 0)}


def _searched(operations: tuple[Operation, ...], skipped: set[str]) -> set[str]:
    """Targets of the operations that read vectors of which zeros may be skipped."""
    return {op.target for op in operations if any(term.source in skipped and not term.previous for term in op.terms)}


def _waits(
    strides: tuple[int, ...], operations: tuple[Operation, ...], places: dict[str, Location]
) -> dict[tuple[int, int], bool]:
    """For each term, whether an element on its way when the operation starts may go to a memory that the term reads.

    It may be an element of the source, or one of another vector in the same memory, whose write would take the port.
    """

    def written(op: Operation) -> set[int]:
        return set(places[op.target].memories) if op.target in places else set()

    pending = written(operations[-1])
    for index, op in enumerate(operations):
        if op.closes_stride and strides[op.layer] > 1:
            pending |= written(operations[index - 1])
    waits = {}
    for index, op in enumerate(operations):
        for number, term in enumerate(op.terms):
            waits[index, number] = not pending.isdisjoint(places[term.source].memories)
            if waits[index, number]:
                pending = set()
        pending = pending | written(op)
    return waits


Tables = dict[tuple[Format, Format], int]


def _narrow_step(op: Operation, certificate: Certificate, tables: Tables) -> NarrowStep:
    base = tables[op.narrow.format, op.output] if op.activation == "tanh" else 0
    return NarrowStep(op.narrow, certificate.operations[op.name].overflows, op.activation, op.output, base)


def _narrow_steps(operations: tuple[Operation, ...], certificate: Certificate) -> tuple[list[NarrowStep], Tables]:
    tables: Tables = {}
    entries = 0
    for op in operations:
        if op.activation == "tanh" and (op.narrow.format, op.output) not in tables:
            tables[op.narrow.format, op.output] = entries
            entries += op.narrow.format.max + 1
    steps: list[NarrowStep] = []
    for op in operations:
        step = _narrow_step(op, certificate, tables)
        if step not in steps:
            steps.append(step)
    return steps, tables
