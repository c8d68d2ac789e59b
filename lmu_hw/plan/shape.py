"""The shape of an accelerator with weights in RAM: what its Verilog fixes about the networks that it can load."""

import hashlib
from dataclasses import replace
from typing import Any

from lmu_hw.files import canonical_json
from lmu_hw.model.operations import Term
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation

__all__ = ["ShapeError", "fitted", "identification", "shape", "shape_digest"]

ID_DIGITS = 8
"""Hexadecimal digits of a shape's digest that the register SHAPE_ID holds."""

WEIGHTS, EARLIER_WEIGHTS = "sign and magnitude", "two's complement"
"""Code of weights in an image, now and in accelerators whose shape does not name it."""

CAPACITIES = ("accumulator_bits", "state_accumulator_bits", "sum_bits", "bias_bits", "shift_bits")
"""Widths of which a network may need less than the accelerator has."""


TERM_FIELDS = ("source", "previous", "columns", "shift", "offset", "step", "slice_rows")
"""Fields of a term, in the order in which they are compared."""


class ShapeError(ValueError):
    """A network or an image does not fit an accelerator; the message says what differs."""


def shape(plan: Plan) -> dict[str, Any]:
    """What the Verilog fixes: all but the contents of the loaded memories.

    Parameters
    ----------
    plan : Plan
        The accelerator.

    Returns
    -------
    dict
        JSON-able: ``lanes``, ``weights`` (their code), ``input`` (size and format), the widths of sums and parameters,
        and ``operations`` in the order of the schedule. An operation's ``shifts`` are those that its narrowing
        supports, and ``saturates`` says whether it has a saturator. Where blocks are skipped, ``index_bits`` is the
        width of the index in a weight word, and an operation has room for ``words`` words from address ``weight_base``
        on. ``gate`` has the parameters of a level gate, if there is one.
    """
    certificate = plan.certificate
    return {
        "lanes": plan.lanes,
        "weights": WEIGHTS,
        "input": {"size": plan.model.inputs, "format": plan.model.input.to_dict()},
        "accumulator_bits": plan.accumulator_width,
        **({"state_accumulator_bits": plan.state_sum_width} if plan.parts > 1 else {}),
        "sum_bits": max(certificate.operations[planned.operation.name].total_bits for planned in plan.operations),
        "bias_bits": plan.bias_width,
        "shift_bits": plan.shift_width,
        "operations": [_operation(plan, planned) | _weight_room(plan, planned) for planned in plan.operations],
    } | ({} if plan.model.gate is None else {"gate": plan.model.gate.to_dict()})


def _weight_room(plan: Plan, planned: PlannedOperation) -> dict[str, Any]:
    """Addresses of an operation's weight words; without an index they follow from the rest."""
    if not plan.index_bits:
        return {}
    return {"index_bits": planned.index_bits, "words": planned.words, "weight_base": planned.weight_base}


def _operation(plan: Plan, planned: PlannedOperation) -> dict[str, Any]:
    op, step = planned.operation, plan.narrow_steps[planned.narrow]
    alike = [other.operation for other in plan.operations if other.narrow == planned.narrow]
    if planned.parts > 1:  # its shifts are not loaded
        alike = [op]
    parts = {"at_once": planned.parts} if planned.parts > 1 else {}
    return {
        "name": op.name,
        "rows": op.rows,
        "repeat": op.repeat,
        **parts,
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
                **_slices(term),
            }
            for term in op.terms
        ],
        "narrow": step.quantizer.to_dict(),
        "shifts": sorted({int(shift) for other in alike for shift in other.shifts}),
        "saturates": step.saturates,
        "activation": step.activation,
        "output": step.output.to_dict(),
        **_residual(planned),
    }


def _slices(term: Term) -> dict[str, Any]:
    """Rows that share a slice of the source; nothing where every row reads all columns."""
    return {"slice_rows": term.slice_rows} if term.slice_rows else {}


def _residual(planned: PlannedOperation) -> dict[str, Any]:
    """Vector that is added to the sums, and its shift beside that of the sum; nothing without."""
    residual, laid = planned.operation.residual, planned.residual
    return {} if residual is None or laid is None else {"residual": {"source": residual.source, "shift": laid.shift}}


def shape_digest(described: dict[str, Any]) -> str:
    """SHA-256 of a shape's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(described).encode()).hexdigest()


def identification(digest: str) -> int:
    """Value of the register SHAPE_ID for a shape's digest: its first 32 bits."""
    return int(digest[:ID_DIGITS], 16)


def fitted(plan: Plan, accelerator: dict[str, Any]) -> Plan:
    """Lay a network out for an accelerator that was made for another network.

    Parameters
    ----------
    plan : Plan
        Plan of the network, with as many lanes as the accelerator has.
    accelerator : dict
        The accelerator's `shape`.

    Returns
    -------
    Plan
        Its parameter words have the accelerator's widths, and its weights the accelerator's addresses. So its images
        can be loaded.

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
    """Move weights to the addresses of an accelerator's operations, in memories as deep as the accelerator's."""
    depths = [0] * len(plan.weight_memories)
    operations = []
    for planned, theirs in zip(plan.operations, accelerator, strict=True):
        depths[planned.weight_memory] = theirs["weight_base"] + theirs["words"]
        operations.append(replace(planned, weight_base=theirs["weight_base"]))
    memories = tuple(replace(memory, depth=depth) for memory, depth in zip(plan.weight_memories, depths, strict=True))
    schedule = replace(plan.schedule, operations=tuple(operations))
    return replace(plan, schedule=schedule, weight_memories=memories)


def _difference(own: dict[str, Any], other: dict[str, Any]) -> str | None:
    """First difference between what the network needs and what the accelerator has; None if it fits."""
    code = other.get("weights", EARLIER_WEIGHTS)
    if own["weights"] != code:
        return f"its weights are in {own['weights']}, the accelerator takes {code}: generate its Verilog again"
    for name in ("lanes", "input"):
        if own[name] != other[name]:
            return f"{name} {_shown(own[name])}, the accelerator has {_shown(other[name])}"
    if own.get("gate") != other.get("gate"):
        return f"{_shown_gate(own)}, the accelerator has {_shown_gate(other)}"
    names = [[operation["name"] for operation in described["operations"]] for described in (own, other)]
    if names[0] != names[1]:
        return f"it computes {', '.join(names[0])}, the accelerator {', '.join(names[1])}"
    for ours, theirs in zip(own["operations"], other["operations"], strict=True):
        difference = _operation_difference(ours, theirs)
        if difference is not None:
            return f"{ours['name']}: {difference}"
    for name in CAPACITIES:
        if own.get(name, 0) > other.get(name, 0):
            return f"{name} {own[name]} are needed, the accelerator has {other[name]}"
    return None


def _operation_difference(own: dict[str, Any], other: dict[str, Any]) -> str | None:
    if own.get("index_bits", 0) != other.get("index_bits", 0):
        return f"index_bits {own.get('index_bits', 0)}, the accelerator has {other.get('index_bits', 0)}"
    if own.get("words", 0) > other.get("words", 0):
        return f"{own['words']} weight words are needed, the accelerator has {other['words']}"
    for name in ("rows", "repeat", "stride", "weight_bits", "narrow", "activation", "output", "residual"):
        if own.get(name) != other.get(name):
            return f"{name} {_shown(own.get(name))}, the accelerator has {_shown(other.get(name))}"
    if own.get("at_once", 1) != other.get("at_once", 1):
        return f"{own.get('at_once', 1)} memories at once, the accelerator has {other.get('at_once', 1)}"
    if len(own["terms"]) != len(other["terms"]):
        return f"{len(own['terms'])} terms, the accelerator has {len(other['terms'])}"
    for ours, theirs in zip(own["terms"], other["terms"], strict=True):
        for name in TERM_FIELDS:
            value, has = ours.get(name, 0), theirs.get(name, 0)
            if value != has:
                return f"{name} {value} of the term of {ours['source']}, the accelerator has {has}"
    missing = sorted(set(own["shifts"]) - set(other["shifts"]))
    if missing:
        return f"sums are shifted by {_shown(missing)}, the accelerator can shift by {_shown(other['shifts'])}"
    if own["saturates"] and not other["saturates"]:
        return "elements may not fit their format, and the accelerator has no saturator there"
    return None


def _shown_gate(described: dict[str, Any]) -> str:
    return f"a gate with {_shown(described['gate'])}" if "gate" in described else "no gate"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
