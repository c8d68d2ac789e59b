"""The plan: a quantized model and a configuration become memories, a schedule, exact cycles and exact access counts.

The accelerator runs every operation of `lmu_hw.model.operations` on the same lanes. Lane ``i`` holds the sum of row ``g
* lanes + i`` of row group ``g``. In each cycle one element of a source vector is broadcast to all lanes, and each lane
multiplies it by its own weight. While the next group is summed, the finished group is narrowed and written, one row a
cycle.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from lmu_hw.model.bounds import Certificate, certify
from lmu_hw.model.operations import lower, output_name, tanh_errors, vectors
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.images import parameter_words, table_words, weight_words
from lmu_hw.plan.lanes import LanePlan, plan_lanes
from lmu_hw.plan.layout import Layout
from lmu_hw.plan.narrowing import Narrowing, NarrowStep
from lmu_hw.plan.parts import check_parts, with_stored_order
from lmu_hw.plan.placement import MemoryPlan, place
from lmu_hw.plan.rounds import check_rounds, round_strides, vector_frames
from lmu_hw.plan.schedule import PlannedOperation, Schedule
from lmu_hw.plan.sparsity import stored_bits
from lmu_hw.plan.timing import FrameTiming, all_zero, steady_frames

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that the gateware is built from, and what it will take.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    config : AcceleratorConfig
        The configuration.
    certificate : Certificate
        Proven ranges.
    schedule : Schedule
        The operations in order.
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
    schedule: Schedule
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
    def operations(self) -> tuple[PlannedOperation, ...]:
        """Operations of the schedule."""
        return self.schedule.operations

    @property
    def rounds(self) -> int:
        """Rounds after which the strides repeat."""
        return self.schedule.rounds

    @property
    def period(self) -> int:
        """Frames after which the strides repeat."""
        return math.prod(self.model.strides)

    @property
    def parts(self) -> int:
        """Memories that are updated at once, each in a part of the memory engine (`lmu_hw.plan.parts`)."""
        return self.config.memories_at_once

    @property
    def state_memories(self) -> tuple[int, ...]:
        """Data memories with several elements in a word."""
        return tuple(index for index, memory in enumerate(self.data_memories) if memory.elements > 1)

    @property
    def state_width(self) -> int:
        """Bits of a signed number that holds every element of `state_memories`."""
        return max(self.data_memories[index].signed_width for index in self.state_memories)

    @property
    def sums(self) -> MemoryPlan | None:
        """Sums of decision smoothing; None without smoothing."""
        if self.config.smoothing is None:
            return None
        width = self.config.smoothing.score_bits + self.config.smoothing.shift
        return MemoryPlan("sums", self.output.depth, width, False, "sums")

    @property
    def memories(self) -> tuple[MemoryPlan, ...]:
        """All memories."""
        table = () if self.table is None else (self.table,)
        sums = () if self.sums is None else (self.sums,)
        return (*self.data_memories, *self.weight_memories, self.parameters, *table, self.output, *sums)

    @property
    def memory_bits(self) -> dict[str, int]:
        """Bits of each memory by name."""
        return {memory.name: memory.bits for memory in self.memories}

    @property
    def weight_widths(self) -> tuple[int, ...]:
        """Bits of a weight in each weight memory."""
        return tuple((memory.width - memory.index_bits) // self.lanes for memory in self.weight_memories)

    @property
    def index_bits(self) -> int:
        """Bits of a weight word that say what the next word holds; 0 if no blocks are skipped."""
        return max(memory.index_bits for memory in self.weight_memories)

    @property
    def product_shifts(self) -> tuple[int, ...]:
        """Distinct left shifts of the operand."""
        return tuple(sorted({term.shift for planned in self.operations for term in planned.terms}))

    @property
    def activation_width(self) -> int:
        """Bits of the operand that all lanes share."""
        return max(memory.signed_width for memory in self.data_memories)

    @functools.cached_property
    def lane_plan(self) -> LanePlan:
        """Bits of operand, weights and products in the lanes."""
        own = [planned for planned in self.operations if planned.parts == 1]
        return plan_lanes(self.config, own, self.data_memories, self.weight_widths, self.certificate)

    @functools.cached_property
    def memory_plan(self) -> LanePlan:
        """Bits of operand, weights and products in the rows of the memory engine."""
        config = replace(self.config, isolate_operands=False)
        return plan_lanes(config, self._updates, self.data_memories, self.weight_widths, self.certificate)

    @property
    def _updates(self) -> list[PlannedOperation]:
        """Operations of the memory engine."""
        return [planned for planned in self.operations if planned.parts > 1]

    @property
    def memory_rows(self) -> int:
        """Rows of each part of the memory engine."""
        return max(planned.operation.rows for planned in self._updates)

    @property
    def written_width(self) -> int:
        """Bits of a signed number that holds every element that is finished row by row."""
        used = {planned.narrow for planned in self.operations if planned.parts == 1}
        return max(self.narrow_steps[index].output.signed_width for index in used)

    @property
    def state_sum_width(self) -> int:
        """Bits of a sum in the memory engine."""
        return max(self.certificate.operations[planned.operation.name].accumulator_bits for planned in self._updates)

    @property
    def skipping_memories(self) -> tuple[int, ...]:
        """Data memories from which some operation reads only the elements that are not zero."""
        terms = (term for planned in self.operations for term in planned.terms if term.skips)
        return tuple(sorted({term.location.memories[0] for term in terms}))

    @property
    def residual_memories(self) -> tuple[int, ...]:
        """Data memories from which elements are added to finished sums."""
        residuals = (planned.residual for planned in self.operations if planned.residual is not None)
        return tuple(sorted({memory for residual in residuals for memory in residual.location.memories}))

    def register_bank(self, memory: MemoryPlan) -> int:
        """Words of the register banks that a memory is split into; 0 if it is whole."""
        return self.config.state_bank_words if memory.kind == "data" else 0

    def images(self) -> dict[str, list[int]]:
        """Contents of the weight, parameter and table memories, by name: unsigned words, in order of address."""
        words = {
            memory.name: weight_words(
                memory, (planned for planned in self.operations if planned.weight_memory == index), self.lanes
            )
            for index, memory in enumerate(self.weight_memories)
        }
        words[self.parameters.name] = parameter_words(self.operations, self.bias_width)
        if self.table is not None:
            words[self.table.name] = table_words(self.narrow_steps)
        return words

    @functools.cached_property
    def frames(self) -> tuple[FrameTiming, ...]:
        """Timing of each frame of a stride period, in the steady state; frame 0 is the first after a clear.

        With `skip_zero_elements` it is the timing of frames in which nothing is skipped: no frame takes longer. With
        `frames_per_fetch` there is one entry for each round of that many frames.
        """
        return steady_frames(self.schedule, {})

    @functools.cached_property
    def shortest_frames(self) -> tuple[FrameTiming, ...]:
        """As `frames`, with every element zero that may be skipped: no frame is shorter."""
        return steady_frames(self.schedule, all_zero(self.schedule))

    @property
    def cycles_per_frame(self) -> float:
        """Mean interval over the frames of a stride period."""
        return self._mean(frame.interval for frame in self.frames)

    @property
    def asleep_cycles(self) -> int:
        """Cycles that a frame asleep occupies the input of an accelerator with a level gate; 0 without one."""
        return 0 if self.model.gate is None else self.model.inputs + 1

    @property
    def longest_frame(self) -> float:
        """Cycles of the longest frame in a steady stream; with `frames_per_fetch`, its share of the longest round."""
        return max(frame.interval for frame in self.frames) / self.config.frames_per_fetch

    @property
    def paced_cycles(self) -> float:
        """Cycles from frame to frame at the slowest clock at which no frame waits for another one to be computed.

        The longest frame decides: with strides, it takes more cycles than the mean one. Where the clock stops at rest,
        an idle cycle costs almost nothing. Then there is also room for each frame to come in, be computed and go out
        before the next one comes.
        """
        room = self.model.inputs + self.lanes + 2 * self.model.outputs + 8
        return self.longest_frame + (room if self.config.stop_clock else 0)

    @property
    def utilisation(self) -> float:
        """Needed products over ``multipliers * cycles``, in a steady stream; multipliers of lanes and memory engine."""
        multipliers = self.lanes + (self.parts * self.memory_rows if self.parts > 1 else 0)
        return sum(f.products for f in self.frames) / (multipliers * sum(f.interval for f in self.frames))

    def _mean(self, values: Iterable[int]) -> float:
        """Average a value that each entry of `frames` has over all input frames."""
        return sum(values) / (self.rounds * self.config.frames_per_fetch)

    def report(self) -> dict[str, Any]:
        """Key figures, JSON-able.

        ``tanh_error`` (of each table, over all inputs) is there only for a model with tanh. ``stored_weight_bits``
        (trained weights that are not skipped, and the index) is there only where blocks are skipped. Where zero
        elements are skipped, cycles are those of frames without a zero element; ``least_cycles_per_frame`` and
        ``least_latency_cycles`` are those of frames in which all are zero. With `frames_per_fetch`, ``latency_cycles``
        counts from the last frame of a round, and the first frame waits for ``latency_frames`` more.
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
        if self.model.gate is not None:
            figures["asleep_cycles"] = self.asleep_cycles
        if self.config.frames_per_fetch > 1:
            figures["latency_frames"] = self.config.frames_per_fetch - 1
        if self.index_bits:
            searched = {
                planned.operation.target for planned in self.operations if any(term.skips for term in planned.terms)
            }
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
        Memories, schedule, widths. Its timing is that of frames that are awake.

    Raises
    ------
    ValueError
        If the network cannot be built like this: its sums are too wide, or `frames_per_fetch`, `memories_at_once` or
        the smoothing does not fit.
    """
    config = AcceleratorConfig() if config is None else config
    check_rounds(model, config.frames_per_fetch)
    certificate, known, parts = _certified(model), vectors(model), config.memories_at_once
    check_parts(lower(model), config.lanes, parts)
    operations = with_stored_order(lower(model), parts)
    logits = known[output_name(model)]
    if config.smoothing is not None:
        config.smoothing.check(model.outputs, logits.format)
    data_memories, locations = place(model, known, vector_frames(model, config.frames_per_fetch), parts)
    narrowing = Narrowing(operations, certificate)
    layout = Layout(model, config, operations, locations, narrowing)
    schedule = Schedule(
        operations=layout.operations,
        lanes=config.lanes,
        inputs=model.inputs,
        outputs=model.outputs,
        frames_per_fetch=config.frames_per_fetch,
        round_strides=round_strides(model, config.frames_per_fetch),
        write_latency=4 if narrowing.table is None else 5,
        weight_memories=tuple(memory.name for memory in layout.weight_memories),
    )
    bias_width = max(_signed_bits(int(op.bias.min()), int(op.bias.max())) for op in operations)
    shift_width = max(1, max(int(op.shifts.max()) for op in operations).bit_length())
    rows = sum(op.rows for op in operations)
    return Plan(
        model=model,
        config=config,
        certificate=certificate,
        schedule=schedule,
        data_memories=data_memories,
        weight_memories=layout.weight_memories,
        parameters=MemoryPlan("parameters", rows, bias_width + shift_width, False, "parameters"),
        table=narrowing.table,
        output=MemoryPlan("logits", logits.size, logits.format.width, logits.format.signed, "output"),
        narrow_steps=narrowing.steps,
        accumulator_width=max(
            certificate.operations[op.name].accumulator_bits for op in operations if parts == 1 or not op.updates_memory
        ),
        bias_width=bias_width,
        shift_width=shift_width,
    )


def _signed_bits(low: int, high: int) -> int:
    """Bits of a signed integer that holds a range, at least 2."""
    return max(2, (high if high >= 0 else ~high).bit_length() + 1, (low if low >= 0 else ~low).bit_length() + 1)
