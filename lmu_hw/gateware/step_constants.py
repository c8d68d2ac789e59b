"""What the plan fixes about each step of the sequencer: one term of one operation."""

import itertools
from dataclasses import dataclass

from amaranth.hdl import Module, Value, unsigned
from amaranth.lib import data
from amaranth.utils import bits_for

from lmu_hw.gateware.walk import FrameWalk
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation, PlannedTerm

__all__ = ["PlanStep", "StepConstants", "plan_steps"]


@dataclass(frozen=True, eq=False)
class PlanStep:
    """One term of one operation.

    Parameters
    ----------
    planned : PlannedOperation
        The operation.
    term : PlannedTerm
        The term.
    number : int
        Index of the term in its operation.
    first : int
        Index of the step of the operation's first term.
    after : PlannedOperation
        The operation that follows; the first one after the last.
    """

    planned: PlannedOperation
    term: PlannedTerm
    number: int
    first: int
    after: PlannedOperation


def plan_steps(plan: Plan) -> tuple[PlanStep, ...]:
    """Steps of a plan, in the order in which they run."""
    steps: list[PlanStep] = []
    for index, planned in enumerate(plan.operations):
        first = len(steps)
        after = plan.operations[(index + 1) % len(plan.operations)]
        steps.extend(PlanStep(planned, term, number, first, after) for number, term in enumerate(planned.terms))
    return tuple(steps)


class StepConstants:
    """Table of the plan's constants, one row for each step; one for each row group where the columns depend on it.

    Parameters
    ----------
    plan : Plan
        The schedule.
    walk : FrameWalk
        Adds the constants of rounds.

    Attributes
    ----------
    layout : StructLayout
        A row. It has these fields:

        - ``length_last``: last column that is multiplied, counted from the first one.
        - ``first_term``, ``second_term``, ``last_term``: position in the operation.
        - ``first_step``: step of the operation's first term.
        - ``groups_last``, ``repeat_last``: last row group and last block.
        - ``rows_last``: rows of the last group.
        - ``wait``: elements that are not written yet may be in the way.
        - ``opens_output``: claims the output.
        - ``releases``: the input frame is not needed after the operation.
        - ``base``: address of the first element in block 0, at the first column that is multiplied.
        - ``block_step0``, ``block_step1``: elements from block to block in the first and the second term.
        - ``shift``: index of the product shift.
        - ``weight_memory``: index of the weight memory.
        - ``weight_base``, ``parameter_base``: addresses at the start of a block.
        - ``weight_after``, ``parameter_after``, ``target_after``: addresses at the start of the next operation.
        - ``narrow``: index of the narrow step.
        - ``output``: the elements are logits.
        - ``operation``: index in the plan.
        - ``added_base``, ``releases_late``: only if elements are added to finished sums: address of the first one, and
          whether the input frame is needed until they are written.
        - ``skips``: only if zero elements are skipped.
        - ``indexed``: only if zero blocks are skipped.
        - ``at_once``: only with `memories_at_once`: the memory engine does it.
    """

    def __init__(self, plan: Plan, walk: FrameWalk):
        self._rows = [
            [_row(plan, walk, step, group) for group in range(step.planned.groups)] for step in plan_steps(plan)
        ]
        every = list(itertools.chain.from_iterable(self._rows))
        self.layout = data.StructLayout(
            {name: unsigned(bits_for(max(row[name] for row in every))) for name in every[0]}
        )

    def look_up(self, m: Module, position: data.View, const: data.View) -> None:
        """Drive ``const`` with the row of a step and its row group."""
        with m.Switch(position.step):
            for index, rows in enumerate(self._rows):
                with m.Case(index):
                    if all(row == rows[0] for row in rows):
                        m.d.comb += const.eq(self.layout.const(rows[0]))
                    else:
                        self._choose(m, position.group, rows, const)

    def _choose(self, m: Module, group: Value, rows: list[dict[str, int]], const: data.View) -> None:
        """Drive ``const`` with the row of a row group."""
        with m.Switch(group):
            for index, row in enumerate(rows):
                with m.Case(index):
                    m.d.comb += const.eq(self.layout.const(row))


def _row(plan: Plan, walk: FrameWalk, step: PlanStep, group: int) -> dict[str, int]:
    planned, term = step.planned, step.term
    columns = range(term.length) if planned.index_bits else term.columns[group]
    block_steps = [planned.parts * other.step for other in planned.terms] if planned.blocks > 1 else [0, 0]
    row = {
        "length_last": len(columns) - 1,
        "first_term": int(step.number == 0),
        "last_term": int(step.number == len(planned.terms) - 1),
        "second_term": int(step.number == 1),
        "first_step": step.first,
        "groups_last": planned.groups - 1,
        "rows_last": planned.rows_in(planned.groups - 1, plan.lanes),
        "repeat_last": planned.blocks - 1,
        "wait": int(term.wait),
        "opens_output": int(planned.output and step.number == walk.claiming_term(planned)),
        "releases": int(planned.releases_input),
        "base": term.location.base + (term.offset + columns[0]) * term.location.copies,
        "block_step0": block_steps[0],
        "block_step1": block_steps[1],
        "shift": plan.product_shifts.index(term.shift),
        "weight_memory": planned.weight_memory,
        "weight_base": planned.weight_base,
        "weight_after": step.after.weight_base,
        "parameter_base": planned.parameter_base,
        "parameter_after": step.after.parameter_base,
        "target_after": step.after.target_start,
        "narrow": planned.narrow,
        "output": int(planned.output),
        "operation": plan.operations.index(planned),
    }
    row |= walk.constants(planned, step.number)
    if plan.residual_memories:
        row["added_base"] = 0 if planned.residual is None else planned.residual.location.base
        row["releases_late"] = int(planned.releases_late)
        row |= walk.residual_constants(planned.residual)
    if plan.skipping_memories:
        row["skips"] = int(term.skips)
    if plan.parts > 1:
        row["at_once"] = int(planned.parts > 1)
    if plan.index_bits:
        row["indexed"] = int(planned.index_bits > 0)
    return row
