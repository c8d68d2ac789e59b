"""The shape of an accelerator: what its Verilog fixes about a network whose weights it loads."""

import hashlib
from dataclasses import replace
from typing import Any

from lmu_hw.files import canonical_json
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation

__all__ = ["ShapeError", "fitted", "identification", "shape", "shape_digest"]

ID_DIGITS = 8
"""Hexadecimal digits of a shape's digest that the register SHAPE_ID holds."""

CAPACITIES = ("accumulator_bits", "sum_bits", "bias_bits", "shift_bits")
"""Widths that a network may need less of than the accelerator has."""


class ShapeError(ValueError):
    """A network or an image does not belong to an accelerator; the message says what differs."""


def shape(plan: Plan) -> dict[str, Any]:
    """What the Verilog fixes, all but the contents of the memories that are loaded.

    Parameters
    ----------
    plan : Plan
        The accelerator.

    Returns
    -------
    dict
        JSON-able: ``lanes``, ``input`` (size and format), the widths of sums and parameters, and ``operations`` in the
        order of the schedule. An operation's ``shifts`` are all that its narrowing can do, and ``saturates`` says
        whether it has a saturator. Where blocks are skipped, ``index_bits`` of a weight word say what the next one
        holds, and an operation has room for ``words`` from address ``weight_base`` on.
    """
    certificate = plan.certificate
    return {
        "lanes": plan.lanes,
        "input": {"size": plan.model.inputs, "format": plan.model.input.to_dict()},
        "accumulator_bits": plan.accumulator_width,
        "sum_bits": max(certificate.operations[one.operation.name].total_bits for one in plan.operations),
        "bias_bits": plan.bias_width,
        "shift_bits": plan.shift_width,
        "operations": [_operation(plan, planned) | _place(plan, planned) for planned in plan.operations],
    }


def _place(plan: Plan, planned: PlannedOperation) -> dict[str, Any]:
    """Where the weight words of an operation are; without an index this follows from the rest."""
    if not plan.index_bits:
        return {}
    return {"index_bits": planned.index_bits, "words": planned.words, "weight_base": planned.weight_base}


def _operation(plan: Plan, planned: PlannedOperation) -> dict[str, Any]:
    op, step = planned.operation, plan.narrow_steps[planned.narrow]
    alike = [one.operation for one in plan.operations if one.narrow == planned.narrow]
    return {
        "name": op.name,
        "rows": op.rows,
        "repeat": op.repeat,
        "stride": planned.stride,
        "weight_bits": plan.weight_widths[planned.weight_memory],
        "terms": [
            {
                "source": term.source,
                "previous": term.previous,
                "columns": int(term.weights.shape[1]),
                "shift": term.shift,
                "offset": term.offset,
                "step": term.step,
            }
            for term in op.terms
        ],
        "narrow": step.quantizer.to_dict(),
        "shifts": sorted({int(shift) for one in alike for shift in one.shifts}),
        "saturates": step.saturates,
        "activation": step.activation,
        "output": step.output.to_dict(),
    }


def shape_digest(described: dict[str, Any]) -> str:
    """SHA-256 of a shape's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(described).encode()).hexdigest()


def identification(digest: str) -> int:
    """Value of the register SHAPE_ID for a shape's digest: its first 32 bits."""
    return int(digest[:ID_DIGITS], 16)


def fitted(plan: Plan, accelerator: dict[str, Any]) -> Plan:
    """Lay a network out as an accelerator of another network expects it.

    Parameters
    ----------
    plan : Plan
        Of the network, with as many lanes as the accelerator has.
    accelerator : dict
        The accelerator's `shape`.

    Returns
    -------
    Plan
        With parameter words as wide and weights at the same addresses as the accelerator's; its images belong to the
        accelerator.

    Raises
    ------
    ShapeError
        If the accelerator cannot compute this network; the message names the first difference.
    """
    own = shape(plan)
    difference = _difference(own, accelerator)
    if difference is not None:
        raise ShapeError(f"the network does not fit this accelerator: {difference}")
    bias, shift = accelerator["bias_bits"], accelerator["shift_bits"]
    fixed = replace(
        plan, bias_width=bias, shift_width=shift, parameters=replace(plan.parameters, width=bias + shift)
    )
    return _placed(fixed, accelerator["operations"]) if plan.index_bits else fixed


def _placed(plan: Plan, accelerator: list[dict[str, Any]]) -> Plan:
    """Weights at the addresses of an accelerator's operations, in memories as deep as its own."""
    depths = [0] * len(plan.weight_memories)
    operations = []
    for planned, theirs in zip(plan.operations, accelerator, strict=True):
        depths[planned.weight_memory] = theirs["weight_base"] + theirs["words"]
        operations.append(replace(planned, weight_base=theirs["weight_base"]))
    memories = tuple(replace(one, depth=depth) for one, depth in zip(plan.weight_memories, depths, strict=True))
    schedule = replace(plan.schedule, operations=tuple(operations))
    return replace(plan, schedule=schedule, weight_memories=memories)


def _difference(own: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Say what the accelerator has otherwise than the network needs."""
    for name in ("lanes", "input"):
        if own[name] != other[name]:
            return f"{name} {_shown(own[name])}, the accelerator has {_shown(other[name])}"
    names = [[one["name"] for one in described["operations"]] for described in (own, other)]
    if names[0] != names[1]:
        return f"it computes {', '.join(names[0])}, the accelerator {', '.join(names[1])}"
    for ours, theirs in zip(own["operations"], other["operations"], strict=True):
        found = _operation_difference(ours, theirs)
        if found is not None:
            return f"{ours['name']}: {found}"
    for name in CAPACITIES:
        if own[name] > other[name]:
            return f"{name} {own[name]} are needed, the accelerator has {other[name]}"
    return None


def _operation_difference(own: dict[str, Any], other: dict[str, Any]) -> str | None:
    if own.get("index_bits", 0) != other.get("index_bits", 0):
        return f"index_bits {own.get('index_bits', 0)}, the accelerator has {other.get('index_bits', 0)}"
    if own.get("words", 0) > other.get("words", 0):
        return f"{own['words']} weight words are needed, the accelerator has {other['words']}"
    for name in ("rows", "repeat", "stride", "weight_bits", "narrow", "activation", "output"):
        if own[name] != other[name]:
            return f"{name} {_shown(own[name])}, the accelerator has {_shown(other[name])}"
    if len(own["terms"]) != len(other["terms"]):
        return f"{len(own['terms'])} terms, the accelerator has {len(other['terms'])}"
    for ours, theirs in zip(own["terms"], other["terms"], strict=True):
        for name, value in ours.items():
            if value != theirs[name]:
                return f"{name} {value} of the term of {ours['source']}, the accelerator has {theirs[name]}"
    missing = sorted(set(own["shifts"]) - set(other["shifts"]))
    if missing:
        return f"sums are shifted by {_shown(missing)}, the accelerator can shift by {_shown(other['shifts'])}"
    if own["saturates"] and not other["saturates"]:
        return "elements may not fit their format, and the accelerator has no saturator there"
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(one)}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
