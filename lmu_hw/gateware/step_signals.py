"""Signals of the product step that the sequencer is at, which its parts share."""

from amaranth.hdl import Signal, unsigned
from amaranth.lib import data
from amaranth.utils import bits_for

from lmu_hw.gateware.step_constants import StepConstants, plan_steps
from lmu_hw.gateware.walk import FrameWalk
from lmu_hw.plan.plan import Plan

__all__ = ["StepSignals", "column_layout", "ends_layout", "position_layout", "selection_layout"]


def position_layout(plan: Plan, walk: FrameWalk) -> data.StructLayout:
    """Counters: ``step``, row ``group`` and ``block`` of the operation; with `frames_per_fetch` also ``frame``."""
    steps = plan_steps(plan)
    return data.StructLayout(
        {
            "step": range(max(2, len(steps))),
            "group": range(max(2, *(step.planned.groups for step in steps))),
            "block": range(max(2, *(step.planned.blocks for step in steps))),
            **walk.counters(),
        }
    )


def column_layout(plan: Plan) -> data.StructLayout:
    """Column of the product in its term: ``number``; whether it is the ``first`` and the ``last`` that is issued."""
    longest = max(step.term.length for step in plan_steps(plan))
    return data.StructLayout({"number": range(max(2, longest)), "first": 1, "last": 1})


def ends_layout() -> data.StructLayout:
    """Whether the product is the last one: a flag for each of what it may end.

    The flags are ``column`` (of all frames that are computed together), ``term``, ``sum`` (of each lane), ``group``,
    ``block``, ``blocks``, ``operation`` and ``frame``. ``blocks`` ends all blocks of the operation, for one frame or
    for the frames computed together. With `frames_per_fetch` the frame stands for a round.
    """
    return data.StructLayout(
        dict.fromkeys(("column", "term", "sum", "group", "block", "blocks", "operation", "frame"), 1)
    )


def selection_layout(plan: Plan, walk: FrameWalk) -> data.StructLayout:
    """Choices that depend on the network's state.

    ``source`` (index of the data memory that is read), ``cleared`` (its state counts as zero), ``target`` (one bit for
    each data memory to write), ``stops`` (the frame ends after this operation). With `frames_per_fetch` also ``slot``
    (word of the frame among those of neighboring frames). Where elements are added to finished sums also ``added``
    (index of their data memory).
    """
    memories = len(plan.data_memories)
    added = {"added": unsigned(bits_for(memories - 1))} if plan.residual_memories else {}
    return data.StructLayout(
        {
            "source": unsigned(bits_for(memories - 1)),
            "cleared": 1,
            "target": unsigned(memories),
            "stops": 1,
            **walk.selection(),
            **added,
        }
    )


class StepSignals:
    """The step that the sequencer is at. Each signal is driven by one part of the sequencer.

    Parameters
    ----------
    plan : Plan
        The schedule.
    walk : FrameWalk
        Adds the fields of rounds.
    issue : Signal(1)
        The product of this step is issued.

    Attributes
    ----------
    start : Signal(1)
        A frame starts: its first step is the next one.
    const : Signal(StepConstants.layout)
        Row of the plan.
    position : Signal(position_layout)
        Counters.
    column : Signal(column_layout)
        Column of the product.
    ends : Signal(ends_layout)
        What the product ends.
    rows : Signal(range(lanes + 1))
        Rows of its group.
    selected : Signal(selection_layout)
        Choices that depend on the network's state.
    """

    def __init__(self, plan: Plan, walk: FrameWalk, issue: Signal):
        self.start = Signal()
        self.issue = issue
        self.const = Signal(StepConstants(plan, walk).layout)
        self.position = Signal(position_layout(plan, walk))
        self.column = Signal(column_layout(plan))
        self.ends = Signal(ends_layout())
        self.rows = Signal(range(plan.lanes + 1))
        self.selected = Signal(selection_layout(plan, walk))
