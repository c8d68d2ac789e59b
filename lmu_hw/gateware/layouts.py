"""Payloads and bundles that the blocks of the accelerator exchange."""

from amaranth.hdl import unsigned
from amaranth.lib import data
from amaranth.utils import bits_for

from lmu_hw.gateware.narrow import format_shape
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.plan.config import StatePolicy
from lmu_hw.plan.plan import Plan

__all__ = [
    "decision_layout",
    "event_layout",
    "feature_layout",
    "group_layout",
    "index_layout",
    "load_layout",
    "logit_layout",
    "whole_bytes",
    "written_layout",
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


def group_layout(plan: Plan) -> data.StructLayout:
    """Where the rows of a finished group go.

    ``rows`` (how many), ``memory`` (one bit for each data memory to write), ``address`` (of the first row),
    ``parameter`` (address of the first row's bias and shift), ``narrow`` (index of the narrow step), ``output`` (the
    rows are logits) and ``operation`` (index in the plan, for whoever observes the writes). With `frames_per_fetch`
    also ``last_sum`` (index of the last sum of a row; ``rows`` counts all sums of all rows) and ``step`` (from one
    written address to the next).
    """
    frames = plan.config.frames_per_fetch
    sums = {"last_sum": range(frames), "step": range(frames)} if frames > 1 else {}
    return data.StructLayout(
        {
            "rows": unsigned(bits_for(plan.lanes * frames)),
            "memory": unsigned(len(plan.data_memories)),
            "address": unsigned(bits_for(max(memory.depth for memory in plan.data_memories) - 1)),
            "parameter": unsigned(bits_for(plan.parameters.depth - 1)),
            "narrow": unsigned(bits_for(len(plan.narrow_steps) - 1)),
            "output": unsigned(1),
            "operation": unsigned(bits_for(len(plan.operations) - 1)),
            **sums,
        }
    )


def index_layout(index_bits: int) -> data.StructLayout:
    """What a word of an indexed weight memory says about the next one: ``column``, ``last`` (of its term)."""
    return data.StructLayout({"column": unsigned(index_bits - 1), "last": unsigned(1)})


def written_layout(plan: Plan) -> data.StructLayout:
    """An element that is written: ``memory`` (one bit for each data memory), ``address``, ``nonzero``."""
    group = group_layout(plan)
    return data.StructLayout(
        {"memory": group["memory"].shape, "address": group["address"].shape, "nonzero": unsigned(1)}
    )


def whole_bytes(width: int) -> int:
    """Bits of the bytes that hold so many bits."""
    return 8 * -(-width // 8)
