"""The weights of OpenSTA 2.0.17 (2019), the version in Debian 12: for comparison only.

That version charges a rise *and* a fall energy for each change at outputs with an inferred condition, at conditional
inputs and at clock pins. That is twice what the Liberty tables say. Later versions, and
`lmu_hw.power.rules.StateRules`, charge their mean. Tables, transition times, loads and activities are the same, so that
the comparison checks all of them.
"""

import numpy as np

from lmu_hw.cells.expression import Expression, Tree
from lmu_hw.cells.library import Cell, InternalPower, Pin
from lmu_hw.power.rules import FloatArray, Group

__all__ = ["OpenSta2019Rules"]


def _duty(tree: Tree, group: Group) -> FloatArray:
    """Probability of an expression, operator by operator: a pin that appears twice counts as two."""
    match tree[0]:
        case "pin":
            return group.duty.get(str(tree[1]), np.zeros(group.instances.size))
        case "one":
            return np.ones(group.instances.size)
        case "zero":
            return np.zeros(group.instances.size)
    parts = [_duty(part, group) for part in tree[1:]]
    match tree[0]:
        case "not":
            return 1 - parts[0]
        case "and":
            return parts[0] * parts[1]
        case "or":
            return 1 - (1 - parts[0]) * (1 - parts[1])
        case _:
            return parts[0] * (1 - parts[1]) + parts[1] * (1 - parts[0])


def _inferred(tree: Tree, pin: str) -> Tree | None:
    """Condition under which a function is taken to follow a pin that is an operand of its outermost operator."""
    own: tuple[Tree, Tree] = (("pin", pin), ("not", ("pin", pin)))
    match tree[0]:
        case "pin":
            return ("one",) if tree[1] == pin else None
        case "not":
            return _inferred(tree[1], pin)
        case "and" | "or" | "xor":
            _, left, right = tree
            other = right if left in own else left if right in own else None
            if other is None or tree[0] == "and":
                return other
            return other[1] if other[0] == "not" else ("not", other)
        case _:
            return None


def _lacks_states(cell: Cell, pin: Pin, supply: str) -> bool:
    """Whether the conditions of a pin's own energies are fewer than the states of their last one's pins."""
    own: list[Expression] = [
        power.when for power in pin.power if not power.related and power.supply == supply and power.when is not None
    ]
    return len(own) != (1 << len(own[-1].pins) if own else 1)


class OpenSta2019Rules:
    """Weights as that version has them; clocks count 2 changes a cycle whatever the activity says."""

    def _weight(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        size = group.instances.size
        related = power.related or pin.name
        if power.supply and not group.cell.supplies.get(power.supply, 1.0):
            if power.when is None or not _lacks_states(group.cell, pin, power.supply):
                return np.zeros(size)
        condition = None
        if power.related and power.when is None and pin.function is not None:
            condition = _inferred(pin.function.tree, power.related)
        if condition is not None:
            own = group.toggles[pin.name]
            ratio = np.divide(group.toggles[related], own, out=np.zeros(size), where=own > 0)
            return ratio * _duty(condition, group)
        if power.when is not None:
            return _duty(power.when.tree, group)
        return np.where(group.is_clock[related], 1.0, 0.5)

    def input_rate(self, group: Group, pin: Pin, power: InternalPower) -> FloatArray:
        return group.toggles[pin.name] * self._weight(group, pin, power)

    def output_rates(self, group: Group, pin: Pin) -> list[FloatArray]:
        return [group.toggles[pin.name] * self._weight(group, pin, power) for power in pin.power]

    def leakage(self, group: Group) -> FloatArray:
        cell = group.cell
        if cell.leakage is not None:
            watts = cell.leakage
        else:
            states = [state for state in cell.leakages if state.when is not None]
            watts = sum(state.power for state in cell.leakages)
            if states:
                watts = sum(
                    state.power * 2 * 0.5 ** sum(pin in cell.inputs for pin in state.when.pins)
                    for state in states
                    if state.when is not None
                )
        return np.full(group.instances.size, watts)

    def inverted(self, pin: Pin, power: InternalPower) -> bool:
        return False
