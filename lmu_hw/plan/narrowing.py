"""How exact sums become elements: the narrowing steps that the hardware needs, and their tanh tables."""

from dataclasses import dataclass

from lmu_hw.model.bounds import Certificate
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.operations import Operation
from lmu_hw.plan.placement import MemoryPlan

__all__ = ["NarrowStep", "Narrowing"]


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


class Narrowing:
    """Distinct narrowing steps of a network's operations.

    Parameters
    ----------
    operations : tuple of Operation
        In order.
    certificate : Certificate
        Their proven ranges: an operation that cannot overflow needs no saturator.

    Attributes
    ----------
    steps : tuple of NarrowStep
        In the order in which operations need them first.
    table : MemoryPlan or None
        The tanh tables, one after the other.
    """

    def __init__(self, operations: tuple[Operation, ...], certificate: Certificate):
        self._certificate = certificate
        self._bases: dict[tuple[Format, Format], int] = {}
        entries = 0
        for op in operations:
            formats = op.narrow.format, op.output
            if op.activation == "tanh" and formats not in self._bases:
                self._bases[formats] = entries
                entries += op.narrow.format.max + 1
        self.steps = tuple(dict.fromkeys(map(self._step, operations)))
        self.table: MemoryPlan | None = None
        if entries:
            width = max(output.width - 1 for _, output in self._bases)
            self.table = MemoryPlan("tanh", entries, width, False, "table")

    def _step(self, op: Operation) -> NarrowStep:
        base = self._bases[op.narrow.format, op.output] if op.activation == "tanh" else 0
        overflows = self._certificate.operations[op.name].overflows
        return NarrowStep(op.narrow, overflows, op.activation, op.output, base)

    def index(self, op: Operation) -> int:
        """Index of an operation's step."""
        return self.steps.index(self._step(op))
