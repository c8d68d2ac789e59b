"""The plan: a quantized model and a configuration become memories, a schedule, exact cycles and exact access counts.

The accelerator runs every operation of `lmu_hw.operations` on the same lanes. Lane ``i`` holds the sum of row ``g *
lanes + i`` of row group ``g``; in each cycle one element of a source vector is broadcast to all lanes, each with its
own weight. While the next group is summed, the finished one is narrowed, one row a cycle, and written.

Timing of the gateware, on which the cycle counts here rest, with ``r`` rows in a group whose last product is issued
in cycle ``t``: the rows are written in cycles ``t + 3`` to ``t + 2 + r`` (one later each in a model with tanh); the
next group may issue its last product from cycle ``t + r`` on; an element just written can be read from the cycle
after its write on.
"""

import enum
import functools
import itertools
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.bounds import Certificate, certify
from lmu_hw.fixed import Format, Quantizer
from lmu_hw.operations import Operation, Vector, lower, output_name, tanh_table, vectors
from lmu_hw.program import QuantizedLMU, QuantizedModel

__all__ = [
    "AcceleratorConfig",
    "FrameTiming",
    "MemoryPlan",
    "NarrowStep",
    "Plan",
    "PlannedOperation",
    "PlannedTerm",
    "StatePolicy",
    "WeightStore",
    "make_plan",
]

MAX_LANES = 64
MAX_SHIFT = 40


class StatePolicy(enum.Enum):
    """When the state of the network returns to zero (it always does on reset)."""

    KEEP = "keep"
    """Never."""
    PULSE = "pulse"
    """Before the first frame whose first element is accepted in the cycle of a pulse on ``clear``, or later."""
    UTTERANCE = "utterance"
    """After a frame whose last element was marked ``end``."""


class WeightStore(enum.Enum):
    """Where the weights live."""

    ROM = "rom"
    """Constants in the Verilog."""
    RAM = "ram"
    """Memories filled through the load port."""


@dataclass(frozen=True)
class AcceleratorConfig:
    """The choices that do not change any result.

    Parameters
    ----------
    lanes : int
        Multipliers, 1 to 64.
    weights : WeightStore or str
        ``rom`` or ``ram``.
    state : StatePolicy or str
        ``keep``, ``pulse`` or ``utterance``.
    """

    lanes: int = 8
    weights: WeightStore = WeightStore.ROM
    state: StatePolicy = StatePolicy.KEEP

    def __post_init__(self) -> None:
        try:
            lanes = operator.index(self.lanes)
        except TypeError:
            raise TypeError(f"lanes must be an integer, not {self.lanes!r}") from None
        if isinstance(self.lanes, bool) or not 1 <= lanes <= MAX_LANES:
            raise ValueError(f"lanes must be in 1 to {MAX_LANES}, not {self.lanes!r}")
        object.__setattr__(self, "lanes", lanes)
        for name, kind in (("weights", WeightStore), ("state", StatePolicy)):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, kind(value))
            except ValueError:
                choices = ", ".join(member.value for member in kind)
                raise ValueError(f"{name} must be one of {choices}, not {value!r}") from None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {"lanes": self.lanes, "weights": self.weights.value, "state": self.state.value}

    @classmethod
    def from_dict(cls, data: Any) -> "AcceleratorConfig":
        """Configuration from its JSON form; an unknown key is refused by name."""
        if not isinstance(data, dict):
            raise ValueError(f"a configuration must be an object, not {data!r}")
        for key in data:
            if key not in ("lanes", "weights", "state"):
                raise ValueError(f"unknown key {key!r} in the configuration, expected lanes, weights or state")
        return cls(**data)


@dataclass(frozen=True)
class MemoryPlan:
    """One physical memory, with a single port: one read or one write in a cycle.

    Parameters
    ----------
    name : str
        Name in the Verilog.
    depth : int
        Words.
    width : int
        Bits of a word.
    signed : bool
        Whether a word is a signed integer (data memories only).
    kind : {"data", "weights", "parameters", "table", "output"}
        What it holds.
    """

    name: str
    depth: int
    width: int
    signed: bool
    kind: str

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.depth * self.width


@dataclass(frozen=True)
class Location:
    """Where a vector lives.

    Parameters
    ----------
    memories : tuple of int
        Index of the data memory; two of them, old and new in turn, for a vector that is read while it is renewed.
    base : int
        Address of the first element.
    """

    memories: tuple[int, ...]
    base: int


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
        Whether the source may still be on its way when the operation starts.
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
    """

    operation: Operation
    terms: tuple[PlannedTerm, ...]
    groups: int
    weight_memory: int
    weight_base: int
    parameter_base: int
    target: Location | None
    narrow: int
    output: bool
    releases_input: bool
    stride: int

    def rows_in(self, group: int, lanes: int) -> int:
        """Rows of a group."""
        return min(lanes, self.operation.rows - group * lanes)


@dataclass(frozen=True)
class FrameTiming:
    """Exact timing of one frame in a steady stream, nothing stalled from outside.

    Parameters
    ----------
    interval : int
        Cycles from the first product of this frame to the first product of the next one.
    latency : int
        Cycles from the acceptance of the frame's last element to the cycle in which the decision is offered; 0 for a
        frame without output.
    issued : int
        Cycles with a product.
    products : int
        Products needed (idle lanes not counted).
    output : bool
        Whether the frame gives logits.
    accesses : dict of str to int
        Reads of each weight memory, ``parameters`` and ``data``, and writes of ``data``.
    """

    interval: int
    latency: int
    issued: int
    products: int
    output: bool
    accesses: dict[str, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that the gateware is built from.

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
        return (*self.data_memories, *self.weight_memories, self.parameters, *table, self.output)

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
        return tuple(memory.width // self.lanes for memory in self.weight_memories)

    @property
    def cycles_per_frame(self) -> float:
        """Mean interval over the frames of a stride period."""
        return sum(frame.interval for frame in self.frames) / len(self.frames)

    @property
    def utilisation(self) -> float:
        """Needed products over ``lanes * cycles``, in a steady stream."""
        return sum(f.products for f in self.frames) / (self.lanes * sum(f.interval for f in self.frames))

    @functools.cached_property
    def frames(self) -> tuple[FrameTiming, ...]:
        """Timing of each frame of a stride period, in the steady state; frame 0 is the first after a clear."""
        return _steady_frames(self)

    def executed(self, frame: int) -> tuple[PlannedOperation, ...]:
        """Operations that run in the given frame, counted from a clear."""
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

    def images(self) -> dict[str, list[int]]:
        """Contents of the weight, parameter and table memories: unsigned words, in order of address."""
        return _images(self)

    def report(self) -> dict[str, Any]:
        """Key figures, JSON-able."""
        return {
            "lanes": self.lanes,
            "cycles_per_frame": self.cycles_per_frame,
            "latency_cycles": max(frame.latency for frame in self.frames),
            "products_per_frame": sum(frame.products for frame in self.frames) / len(self.frames),
            "lane_utilisation": self.utilisation,
            "accumulator_bits": self.accumulator_width,
            "memory_bits": self.memory_bits,
            "slowest_clock_hz_at_50_frames_per_s": math.ceil(50 * self.cycles_per_frame),
        }


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
        If a shift of the model is beyond what the hardware carries.
    """
    config = AcceleratorConfig() if config is None else config
    certificate = certify(model)
    operations = lower(model)
    known = vectors(model)
    memories, locations = _place(model, known)
    widths = sorted({_weight_width(op) for op in operations})
    steps, table_entries = _narrow_steps(operations, certificate)
    depths = dict.fromkeys(widths, 0)
    parameter_base = 0
    planned = []
    waits = _waits(model, operations)
    last_reader = max(i for i, op in enumerate(operations) if any(term.source == "x" for term in op.terms))
    for index, op in enumerate(operations):
        groups = -(-op.rows // config.lanes)
        width = _weight_width(op)
        planned.append(
            PlannedOperation(
                operation=op,
                terms=tuple(_planned_term(op, n, locations, waits[index, n]) for n in range(len(op.terms))),
                groups=groups,
                weight_memory=widths.index(width),
                weight_base=depths[width],
                parameter_base=parameter_base,
                target=locations.get(op.target),
                narrow=steps.index(_narrow_step(op, certificate, table_entries)),
                output=op.target == output_name(model),
                releases_input=index == last_reader,
                stride=model.strides[op.layer] if op.closes_stride else 1,
            )
        )
        depths[width] += groups * op.columns
        parameter_base += op.rows
    bias_width = max(_signed_bits(int(op.bias.min()), int(op.bias.max())) for op in operations)
    shift = max(int(op.shifts.max()) for op in operations)
    if shift > MAX_SHIFT:
        raise ValueError(f"a sum must be narrowed by at most {MAX_SHIFT} bits, not {shift}")
    shift_width = max(1, shift.bit_length())
    lanes = config.lanes
    table = None
    if table_entries:
        entries = sum(index.max + 1 for index, _ in table_entries)
        width = max(output.width - 1 for _, output in table_entries)
        table = MemoryPlan("tanh", entries, width, False, "table")
    logits = known[output_name(model)]
    return Plan(
        model=model,
        config=config,
        certificate=certificate,
        operations=tuple(planned),
        data_memories=memories,
        weight_memories=tuple(
            MemoryPlan(f"weights{width}", depths[width], width * lanes, False, "weights") for width in widths
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


def _weight_width(op: Operation) -> int:
    return max(term.width for term in op.terms)


def _place(model: QuantizedModel, known: dict[str, Vector]) -> tuple[tuple[MemoryPlan, ...], dict[str, Location]]:
    """Give every vector that is read a place such that no memory is read and written in one cycle.

    The memory states of all layers share two memories, old and new. Outputs of layers alternate between two memories. A
    hidden state that its own layer reads while computing the next one has two memories of its own.
    """
    groups: dict[str, list[tuple[str, int]]] = {"x": [("x", 0)]}
    sizes: dict[str, int] = {"x": known["x"].size}
    pairs: dict[str, tuple[str, ...]] = {"x": ("x",)}
    bases: dict[str, int] = {"x": 0}

    def put(name: str, into: tuple[str, ...], exclusive: bool) -> None:
        base = sizes.get(into[0], 0) if exclusive else 0
        pairs[name], bases[name] = into, base
        for memory in into:
            sizes[memory] = max(sizes.get(memory, 0), base + known[name].size)
            groups.setdefault(memory, []).append((name, base))

    kept = []
    for index, layer in enumerate(model.layers):
        name = f"layer{index}.h"
        if isinstance(layer, QuantizedLMU):
            put(f"layer{index}.u", ("u",), exclusive=False)
            put(f"layer{index}.m", ("m0", "m1"), exclusive=True)
            if layer.w_h is not None:
                put(name, (f"h{index}a", f"h{index}b"), exclusive=False)
                continue
            if layer.e_h is not None:
                kept.append((name, index))
                continue
        if index < len(model.layers) - 1:
            put(name, (f"h{index % 2}",), exclusive=False)
    for name, index in kept:
        put(name, (f"h{index % 2}",), exclusive=True)
    memories: list[MemoryPlan] = []
    order: dict[str, int] = {}
    for memory, contents in groups.items():
        formats = [known[name].format for name, _ in contents]
        signed = any(fmt.signed for fmt in formats)
        width = max(fmt.signed_width if signed else fmt.width for fmt in formats)
        order[memory] = len(memories)
        memories.append(MemoryPlan(memory, sizes[memory], width, signed, "data"))
    places = {name: Location(tuple(order[memory] for memory in into), bases[name]) for name, into in pairs.items()}
    return tuple(memories), places


def _planned_term(op: Operation, number: int, places: dict[str, Location], wait: bool) -> PlannedTerm:
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
    )


def _waits(model: QuantizedModel, operations: tuple[Operation, ...]) -> dict[tuple[int, int], bool]:
    """For each term, whether its source may still be on its way to memory when the operation starts."""
    ends = {operations[-1].target}
    for index, op in enumerate(operations):
        if op.closes_stride and model.strides[op.layer] > 1:
            ends.add(operations[index - 1].target)
    pending = set(ends)
    waits = {}
    for index, op in enumerate(operations):
        for number, term in enumerate(op.terms):
            waits[index, number] = term.source in pending
            if term.source in pending:
                pending.clear()
        pending.add(op.target)
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


@dataclass
class _Clock:
    """Where the hardware is: next product, and from when on the resources that it shares are free.

    ``now`` is the cycle of the next product; from ``last_ok`` on a group may issue its last product; from ``settled``
    on all elements are in memory; from ``output_free`` on logits may be computed; ``released`` is the cycle in which
    the input frame was released.
    """

    now: int = 0
    last_ok: int = 0
    settled: int = 0
    output_free: int = 0
    released: int = 0


def _run_frame(plan: Plan, executed: tuple[PlannedOperation, ...], clock: _Clock) -> None:
    """Walk one frame whose first product may be issued in cycle ``clock.now``."""
    released = -1
    for planned in executed:
        if planned.output:
            clock.now = max(clock.now, clock.output_free)
        for block, group in itertools.product(range(planned.operation.repeat), range(planned.groups)):
            rows = planned.rows_in(group, plan.lanes)
            for term in planned.terms:
                if term.wait and block == 0 and group == 0:
                    clock.now = max(clock.now, clock.settled)
                clock.now += term.length
            clock.now = max(clock.now, clock.last_ok + 1)
            clock.last_ok = clock.now - 1 + rows
            clock.settled = clock.now + rows + plan.write_latency
        if planned.releases_input:
            released = clock.now - 1
        if planned.output:
            clock.output_free = clock.settled + 2 * plan.model.outputs
    clock.released = released if released >= 0 else clock.now - 1


def _steady_frames(plan: Plan) -> tuple[FrameTiming, ...]:
    """Timing over one period, after a first period has filled the pipeline."""
    clock = _Clock()
    timings = []
    for frame in range(2 * plan.period):
        executed = plan.executed(frame)
        start = clock.now
        _run_frame(plan, executed, clock)
        full = clock.released + plan.model.inputs + 1
        clock.now = max(clock.now, full) + 1
        # The last element is accepted two cycles before the first product.
        latency = clock.settled - (start - 2) if executed[-1].output else 0
        timings.append(_timing(plan, clock.now - start, latency, executed))
    return tuple(timings[plan.period :])


def _timing(plan: Plan, interval: int, latency: int, executed: tuple[PlannedOperation, ...]) -> FrameTiming:
    accesses = {memory.name: 0 for memory in plan.weight_memories}
    issued = products = written = 0
    for planned in executed:
        op = planned.operation
        reads = op.repeat * planned.groups * op.columns
        accesses[plan.weight_memories[planned.weight_memory].name] += reads
        issued += reads
        products += op.products
        written += op.repeat * op.rows
    accesses |= {"data": issued, "parameters": written, "data writes": written}
    return FrameTiming(interval, latency, issued, products, executed[-1].output, accesses)


def _images(plan: Plan) -> dict[str, list[int]]:
    images: dict[str, list[int]] = {memory.name: [] for memory in plan.weight_memories}
    parameters = []
    for planned in plan.operations:
        memory = plan.weight_memories[planned.weight_memory]
        images[memory.name].extend(_weight_words(planned.operation, planned.groups, plan.lanes, memory.width))
        for bias, shift in zip(planned.operation.bias, planned.operation.shifts, strict=True):
            word = int(bias) & ((1 << plan.bias_width) - 1)
            parameters.append(word | int(shift) << plan.bias_width)
    images["parameters"] = parameters
    if plan.table is not None:
        seen = {
            step.table_base: tanh_table(step.quantizer.format, step.output)
            for step in plan.narrow_steps
            if step.activation == "tanh"
        }
        images["tanh"] = [int(entry) for base in sorted(seen) for entry in seen[base]]
    return images


def _weight_words(op: Operation, groups: int, lanes: int, width: int) -> list[int]:
    """One word for each column of each row group: lane 0 in the low bits, absent rows zero."""
    bits = width // lanes
    columns = np.concatenate([term.weights for term in op.terms], axis=1)
    padded: NDArray[np.int64] = np.zeros((groups * lanes, columns.shape[1]), np.int64)
    padded[: op.rows] = columns & ((1 << bits) - 1)
    words = []
    for group in range(groups):
        for column in padded[group * lanes : (group + 1) * lanes].T.tolist():
            words.append(sum(value << (lane * bits) for lane, value in enumerate(column)))
    return words
