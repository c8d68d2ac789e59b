"""Payloads and interfaces that the blocks of the accelerator exchange."""

from collections.abc import Callable, Iterable

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.gateware.narrow import format_shape
from lmu_hw.gateware.round_walk import walk_of
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan

__all__ = [
    "added_signature",
    "claim_signature",
    "decision_layout",
    "event_layout",
    "factor_signature",
    "feature_layout",
    "frame_layout",
    "group_layout",
    "index_layout",
    "input_signature",
    "lane_layout",
    "load_layout",
    "logit_layout",
    "product_signature",
    "step_layout",
    "update_signature",
    "whole_bytes",
    "words_layout",
    "write_signature",
]


def feature_layout(plan: Plan) -> data.StructLayout:
    """One element of an input frame.

    ``data`` (input format), ``last`` (ends the frame) and, under the utterance policy, ``end`` (with ``last``: the
    state is cleared after this frame).
    """
    members = {"data": format_shape(plan.model.input), "last": unsigned(1)}
    if plan.config.state is StatePolicy.UTTERANCE:
        members["end"] = unsigned(1)
    return data.StructLayout(members)


def logit_layout(plan: Plan) -> data.StructLayout:
    """One logit: ``data`` (format of the last layer) and ``last`` (the last label)."""
    fmt = vectors(plan.model)[output_name(plan.model)].format
    return data.StructLayout({"data": format_shape(fmt), "last": unsigned(1)})


def decision_layout(plan: Plan) -> data.StructLayout:
    """``label`` (index of the largest logit, the lowest on a tie) and ``score`` (that logit)."""
    fmt = vectors(plan.model)[output_name(plan.model)].format
    return data.StructLayout({"label": unsigned(bits_for(plan.model.outputs - 1)), "score": format_shape(fmt)})


def event_layout(plan: Plan) -> data.StructLayout:
    """``label`` (index of the keyword heard) and ``score`` (its lead over the next label)."""
    if plan.sums is None:
        raise ValueError("events need a configuration with smoothing, not None")
    return data.StructLayout({"label": unsigned(bits_for(plan.model.outputs - 1)), "score": unsigned(plan.sums.width)})


def load_layout(plan: Plan) -> data.StructLayout:
    """One word of a weight image.

    ``memory`` (the weight memories in order, then the parameters), ``address`` in it, and ``data``.
    """
    memories = (*plan.weight_memories, plan.parameters)
    return data.StructLayout(
        {
            "memory": unsigned(bits_for(len(memories) - 1)),
            "address": unsigned(bits_for(max(memory.depth for memory in memories) - 1)),
            "data": unsigned(max(memory.width for memory in memories)),
        }
    )


def frame_layout() -> data.StructLayout:
    """A whole input frame, or a round of them: ``clear`` the state before it, ``end`` clears the state after it."""
    return data.StructLayout({"clear": 1, "end": 1})


def step_layout(plan: Plan) -> data.StructLayout:
    """One product step of all lanes.

    ``memory`` (index of the data memory), ``address`` in it, ``cleared`` (the element counts as zero),
    ``weight_memory`` (index), ``weight_address`` in it, ``shift`` (index in `Plan.product_shifts`), ``first`` and
    ``last`` of the sum. With `memories_at_once` also ``at_once`` (each part of the memory engine has an element of the
    word that is read); an address then counts elements, also where a word has several. With `frames_per_fetch` also
    ``frame`` (index of the sum in each lane) and ``fetch`` (the weights are not those of the step before).
    """
    return data.StructLayout(
        {
            "memory": unsigned(bits_for(len(plan.data_memories) - 1)),
            "address": _data_address(plan),
            "cleared": unsigned(1),
            "weight_memory": unsigned(bits_for(len(plan.weight_memories) - 1)),
            "weight_address": unsigned(bits_for(max(memory.depth for memory in plan.weight_memories) - 1)),
            "shift": unsigned(bits_for(len(plan.product_shifts) - 1)),
            "first": unsigned(1),
            "last": unsigned(1),
            **_at_once(plan),
            **walk_of(plan).step_shapes(),
        }
    )


def group_layout(plan: Plan) -> data.StructLayout:
    """Destination of the rows of a group.

    ``rows``
        Number of rows; with `frames_per_fetch` all sums of all rows.
    ``memory``
        One bit for each data memory to write.
    ``address``
        Address of the first row: of its element, or with ``at_once`` of its word.
    ``parameter``
        Address of the first row's bias and shift.
    ``narrow``
        Index of the narrow step.
    ``output``
        The rows are logits.
    ``operation``
        Index in the plan, for observers of the writes.
    ``at_once``
        With `memories_at_once` only: rows of several memories are finished at once.
    ``last_sum``
        With `frames_per_fetch` only: index of the last sum of a row.
    ``step``
        With `frames_per_fetch` only: from one written address to the next.
    ``added_memory``, ``added_address``
        Only where elements are added to finished sums: where the first one is.
    """
    added = {"added_memory": unsigned(bits_for(len(plan.data_memories) - 1)), "added_address": _data_address(plan)}
    return data.StructLayout(
        {
            "rows": unsigned(bits_for(plan.lanes * plan.config.frames_per_fetch)),
            "memory": unsigned(len(plan.data_memories)),
            "address": _data_address(plan),
            "parameter": unsigned(bits_for(plan.parameters.depth - 1)),
            "narrow": unsigned(bits_for(len(plan.narrow_steps) - 1)),
            "output": unsigned(1),
            "operation": unsigned(bits_for(len(plan.operations) - 1)),
            **_at_once(plan),
            **walk_of(plan).group_shapes(),
            **(added if plan.residual_memories else {}),
        }
    )


def index_layout(index_bits: int) -> data.StructLayout:
    """Index of an indexed weight word: ``column`` of the next word, and whether that is the ``last`` of its term."""
    return data.StructLayout({"column": unsigned(index_bits - 1), "last": unsigned(1)})


def words_layout(memories: Iterable[MemoryPlan]) -> data.StructLayout:
    """One word of each memory, by its name."""
    return data.StructLayout({memory.name: Shape(memory.width, memory.signed) for memory in memories})


def product_signature(plan: Plan) -> wiring.Signature:
    """Operands of one product in each lane.

    Members
    -------
    valid : Out(1)
        A product in this cycle.
    activation : Out(signed(plan.activation_width))
        Operand of all lanes.
    weights : Out(lanes * (plan.lane_plan.wide + 1)), lane 0 in the low bits
        Operand of each lane: its magnitude, and above it the sign.
    shift : Out
        Index in `Plan.product_shifts`.
    first, last : Out(1)
        The product starts or ends a sum.
    wide : Out(1)
        Only if lanes differ (`LanePlan.wide_lanes`): the weights have more bits than those of all lanes.
    frame : Out(range(frames))
        Only with `frames_per_fetch`: index of the sum in each lane.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "activation": Out(signed(plan.activation_width)),
            "weights": Out(plan.lanes * (plan.lane_plan.wide + 1)),
            "shift": Out(unsigned(bits_for(len(plan.product_shifts) - 1))),
            **_sum_members(plan),
        }
    )


def update_signature(plan: Plan) -> wiring.Signature:
    """Operands of one product in each row of several memories, with `memories_at_once`.

    Members
    -------
    valid : Out(1)
        Products in this cycle.
    states : Out(parts * plan.state_width)
        Signed operand of each part, part 0 in the low bits.
    weights : Out(rows * (plan.memory_plan.narrow + 1)), row 0 in the low bits
        Operand of each row of all parts: its magnitude, and above it the sign.
    shift : Out
        Index in `Plan.product_shifts`.
    first, last : Out(1)
        The products start or end sums.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "states": Out(plan.parts * plan.state_width),
            "weights": Out(plan.memory_rows * (plan.memory_plan.narrow + 1)),
            "shift": Out(unsigned(bits_for(len(plan.product_shifts) - 1))),
            "first": Out(1),
            "last": Out(1),
        }
    )


def factor_signature(plan: Plan) -> wiring.Signature:
    """Operands of one product in each lane, in registers.

    Members
    -------
    operand : Out(plan.lane_plan.operand)
        Magnitude of the operand of all lanes.
    magnitudes : Out(lane_layout of `LanePlan.weight_bits`)
        Magnitude of each lane's weight.
    negative : Out(lanes)
        Sign of each lane's product.
    valid, first, last, wide, frame
        As in `product_signature`.
    """
    lanes = plan.lane_plan
    return wiring.Signature(
        {
            "valid": Out(1),
            "operand": Out(unsigned(lanes.operand)),
            "magnitudes": Out(lane_layout(plan, lanes.weight_bits)),
            "negative": Out(unsigned(plan.lanes)),
            **_sum_members(plan),
        }
    )


def lane_layout(plan: Plan, bits: Callable[[int], int]) -> data.StructLayout:
    """A field for each lane, ``lane0`` in the low bits, of so many bits."""
    return data.StructLayout({f"lane{lane}": unsigned(bits(lane)) for lane in range(plan.lanes)})


def _sum_members(plan: Plan) -> dict[str, wiring.Member]:
    """Members that say which sum a product belongs to."""
    frames = plan.config.frames_per_fetch
    wide = {"wide": Out(1)} if plan.lane_plan.wide_lanes else {}
    frame = {"frame": Out(range(frames))} if frames > 1 else {}
    return {"first": Out(1), "last": Out(1), **wide, **frame}


def write_signature(plan: Plan) -> wiring.Signature:
    """A finished element.

    Members
    -------
    valid : Out(1)
        An element is written in this cycle.
    memory : Out(one bit for each data memory)
        Memories that take it; zero for logits that nothing reads again.
    address : Out
        Word in those memories.
    data : Out(signed)
        The element, in the widest format of all elements.
    output : Out(1)
        It is a logit.
    operation : Out
        Index of the operation in the plan.
    at_once : Out(1)
        Only with `memories_at_once`: it is a row of several memories, in ``states`` instead of ``data``.
    states : Out(parts * plan.state_width)
        Only with `memories_at_once`: signed elements, that of part 0 in the low bits.
    """
    group = group_layout(plan)
    states = {"at_once": Out(1), "states": Out(plan.parts * plan.state_width)} if plan.parts > 1 else {}
    return wiring.Signature(
        {
            "valid": Out(1),
            "memory": Out(group["memory"].shape),
            "address": Out(group["address"].shape),
            "data": Out(signed(plan.written_width)),
            "output": Out(1),
            "operation": Out(group["operation"].shape),
            **states,
        }
    )


def added_signature(plan: Plan) -> wiring.Signature:
    """Read port of the data memories for the elements that are added to finished sums.

    Members
    -------
    read : Out(1)
        Read in this cycle.
    memory : Out
        Index of the data memory.
    address : Out
        Word in it.
    r_data : In(words_layout of the memories in `Plan.residual_memories`)
        The word read last from each memory, from the cycle after the read on.
    """
    group = group_layout(plan)
    memories = [plan.data_memories[index] for index in plan.residual_memories]
    return wiring.Signature(
        {
            "read": Out(1),
            "memory": Out(group["added_memory"].shape),
            "address": Out(group["added_address"].shape),
            "r_data": In(words_layout(memories)),
        }
    )


def input_signature(plan: Plan) -> wiring.Signature:
    """An element of an input frame that is stored.

    Members
    -------
    valid : Out(1)
        An element is written in this cycle.
    address : Out
        Word in the memory of the input; the same element of all frames of a round is in neighboring words.
    data : Out(input format)
        The element.
    """
    words = plan.model.inputs * plan.config.frames_per_fetch
    return wiring.Signature(
        {"valid": Out(1), "address": Out(range(max(2, words))), "data": Out(format_shape(plan.model.input))}
    )


def claim_signature() -> wiring.Signature:
    """A request for the output, by a frame whose logits come next.

    Members
    -------
    valid : Out(1)
        The frame asks.
    ready : In(1)
        The output is free. It is the frame's from a cycle with both on, until all of its results were taken.
    """
    return wiring.Signature({"valid": Out(1), "ready": In(1)})


def _at_once(plan: Plan) -> dict[str, Shape]:
    """The field ``at_once`` with `memories_at_once`."""
    return {"at_once": unsigned(1)} if plan.parts > 1 else {}


def _data_address(plan: Plan) -> Shape:
    return unsigned(bits_for(max(memory.depth * memory.elements for memory in plan.data_memories) - 1))


def whole_bytes(width: int) -> int:
    """Bits of the bytes that hold so many bits."""
    return 8 * -(-width // 8)
