"""How often each energy of the library is spent: the activity of pins, weighted by the states that it belongs to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression, Tree
from lmu_hw.cells.library import Cell, InternalPower, Pin
from lmu_hw.cells.sram import Macro
from lmu_hw.power.activity import MacroAccesses

__all__ = ["Group", "Rules", "StateRules"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """All instances of one cell.

    Parameters
    ----------
    cell : Cell
        The cell.
    instances : ndarray of int64, shape (n,)
        Their indices.
    nets : dict of str to ndarray of int64, shape (n,)
        Net of each pin.
    toggles : dict of str to ndarray of float64, shape (n,)
        Changes per cycle of each pin.
    duty : dict of str to ndarray of float64, shape (n,)
        Part of the time at 1 of each pin.
    is_clock : dict of str to ndarray of bool, shape (n,)
        Whether each pin is in the clock network.
    macro : Macro or None
        Pins of a memory macro.
    accesses : tuple of MacroAccesses, length n, or None
        Accesses of memory macros whose pins were observed jointly.
    """

    cell: Cell
    instances: IntArray
    nets: dict[str, IntArray]
    toggles: dict[str, FloatArray]
    duty: dict[str, FloatArray]
    is_clock: dict[str, BoolArray]
    macro: Macro | None
    accesses: tuple[MacroAccesses, ...] | None


class Rules(Protocol):
    """How states and transitions weigh the library's energies."""

    def input_rate(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        """How often in a cycle the sum of the rise and fall energy of an input pin is spent."""

    def output_rates(self, group: Group, pin: Pin) -> Sequence[FloatArray]:
        """How often in a cycle the sum of rise and fall energy is spent, for each energy of an output pin."""

    def leakage(self, group: Group) -> FloatArray:
        """Leakage in watt."""

    def inverted(self, pin: Pin, power: InternalPower) -> bool:
        """Whether a rising output comes from a falling related pin."""


def _substitute(tree: Tree, known: Mapping[str, Tree]) -> str:
    """Text of an expression with pins replaced by expressions."""
    if tree[0] == "pin":
        name = str(tree[1])
        return f"({_substitute(known[name], known)})" if name in known else name
    parts = [_substitute(part, known) for part in tree[1:]]
    match tree[0]:
        case "not":
            return f"!({parts[0]})"
        case "and":
            return f"({parts[0]})*({parts[1]})"
        case "or":
            return f"({parts[0]})+({parts[1]})"
        case "xor":
            return f"({parts[0]})^({parts[1]})"
        case "one":
            return "1"
        case _:
            return "0"


def _known_outputs(cell: Cell) -> dict[str, Tree]:
    """Outputs, and inverse states, as functions of inputs and states."""
    known: dict[str, Tree] = {
        pin.name: pin.function.tree
        for pin in cell.pins.values()
        if pin.direction == "output" and pin.function is not None and pin.three_state is None
    }
    for sequential in cell.sequentials:
        if sequential.inverse:
            known[sequential.inverse] = ("not", ("pin", sequential.state))
    return known


def _state_duty(group: Group) -> dict[str, FloatArray]:
    """Duties of pins and of the states behind flip-flop outputs."""
    duty = dict(group.duty)
    for sequential in group.cell.sequentials:
        state, inverse = sequential.state, sequential.inverse
        for pin in group.cell.pins.values():
            if pin.direction == "output" and pin.function is not None:
                if pin.function.tree == ("pin", state):
                    duty[state] = group.duty[pin.name]
                elif pin.function.tree in (("pin", inverse), ("not", ("pin", state))):
                    duty.setdefault(state, 1 - group.duty[pin.name])
    return duty


class StateRules:
    """The default rules: every change costs half of its rise and fall energies, in the states where it is likely.

    The energies of an input count with the probability of their conditions. A change of an output is attributed to its
    inputs, in proportion to how often each changes, times the probability that the output follows it in the state of
    the energy's condition. Leakage is that of each state, weighted by the probability of the state; the general figure
    of the cell covers the rest. Outputs in conditions are replaced by their functions, so that impossible states have
    no weight.

    The conditions of memory macros follow the accesses of the macro. Enable, write and read are taken together at the
    edges of the clock. Changes of other inputs are counted apart with and without the enable.
    """

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], Expression] = {}

    def _condition(self, group: Group, when: Expression) -> Expression:
        key = (group.cell.name, when.text)
        if key not in self.texts:
            self.texts[key] = Expression(_substitute(when.tree, _known_outputs(group.cell)))
        return self.texts[key]

    def _probability(self, group: Group, when: Expression | None) -> FloatArray:
        always = np.ones(group.instances.size)
        return always if when is None else always * self._condition(group, when).probability(_state_duty(group))

    def input_rate(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        if power.supply and not group.cell.supplies.get(power.supply, 1.0):
            return np.zeros(group.instances.size)
        if group.macro is not None and group.accesses is not None:
            return _access_rate(group, group.macro, group.accesses, pin, power.when)
        return 0.5 * group.toggles[pin.name] * self._probability(group, power.when)

    def _cause(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        """How often the output is likely to follow the related pin in the state of an energy."""
        size = group.instances.size
        if not power.related or (power.supply and not group.cell.supplies.get(power.supply, 1.0)):
            return np.zeros(size)
        toggles = group.toggles[power.related]
        function = pin.function
        if function is not None and power.related in function.pins:
            duty = _state_duty(group)
            rest = {name: duty[name] for name in function.pins}
            follows = np.ones(size) * function.sensitivity(power.related, rest)
            if power.when is None:
                return toggles * follows
            changed = _difference(function, power.related)
            both = Expression(f"({changed})*({self._condition(group, power.when).text})")
            return toggles * both.probability(duty)
        return toggles * self._probability(group, power.when)

    def output_rates(self, group: Group, pin: Pin) -> list[FloatArray]:
        causes = [self._cause(group, pin, power) for power in pin.power]
        rates = []
        for power, cause in zip(pin.power, causes, strict=True):
            if not power.related:
                rates.append(0.5 * group.toggles[pin.name] * self._probability(group, power.when))
                continue
            alike = [
                other
                for arc, other in zip(pin.power, causes, strict=True)
                if arc.related and arc.supply == power.supply
            ]
            total = np.sum(alike, axis=0)
            even = np.full(group.instances.size, 1 / len(alike))
            live = not power.supply or bool(group.cell.supplies.get(power.supply, 1.0))
            share = np.where(total > 0, cause / np.where(total > 0, total, 1), even if live else 0.0)
            rates.append(0.5 * group.toggles[pin.name] * share)
        return rates

    def leakage(self, group: Group) -> FloatArray:
        cell = group.cell
        size = group.instances.size
        supplied = [state for state in cell.leakages if not state.supply or cell.supplies.get(state.supply, 1.0)]
        power, covered = np.zeros(size), np.zeros(size)
        for supply in dict.fromkeys(state.supply for state in supplied):
            own = [state for state in supplied if state.supply == supply]
            known = np.zeros(size)
            for state in own:
                if state.when is not None:
                    chance = self._probability(group, state.when)
                    power += chance * state.power
                    known += chance
            if cell.leakage is None:
                power += np.clip(1 - known, 0, 1) * sum(state.power for state in own if state.when is None)
            covered = np.maximum(covered, known)
        return power + np.clip(1 - covered, 0, 1) * (cell.leakage or 0.0)

    def inverted(self, pin: Pin, power: InternalPower) -> bool:
        arcs = [arc for arc in pin.timing if arc.related == power.related]
        return bool(arcs) and arcs[0].sense == "negative_unate"


def _difference(function: Expression, pin: str) -> str:
    """Text of the Boolean difference."""

    def cofactor(tree: Tree, value: str) -> str:
        return _substitute(tree, {pin: ("one",) if value == "1" else ("zero",)})

    return f"({cofactor(function.tree, '1')})^({cofactor(function.tree, '0')})"


def _access_rate(
    group: Group, macro: Macro, accesses: Sequence[MacroAccesses], pin: Pin, when: Expression | None
) -> FloatArray:
    """How often in a cycle an input pin of a memory macro rises and falls in a state."""

    def chance(**levels: int) -> FloatArray:
        duty = group.duty | {getattr(macro, role): np.asarray(float(level)) for role, level in levels.items()}
        return np.ones(group.instances.size) * (1.0 if when is None else when.probability(duty))

    if pin.name == macro.clock:
        edges = np.array([access.edges for access in accesses])
        states = np.ndindex(2, 2, 2)
        return np.sum([edges[:, e, w, r] * chance(enable=e, write=w, read=r) for e, w, r in states], axis=0)
    enabled = np.array([access.enabled.get(pin.name, 0.0) for access in accesses])
    rest = group.toggles[pin.name] - enabled
    return 0.5 * (enabled * chance(enable=1) + rest * chance(enable=0))
