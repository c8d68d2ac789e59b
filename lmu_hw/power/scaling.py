"""Scale dynamic energy to another node by a published rule; always shown beside the unscaled figure.

The rule is that of A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of CMOS device performance
from 180 nm to 7 nm", Integration 58 (2017) 74-81, doi:10.1016/j.vlsi.2017.02.002, Table 5. At every node the energy of
a chain of inverters, simulated with the predictive technology models, is a polynomial of the supply voltage. The rows
of 65 nm and 32 nm are confirmed by the authors' corrigendum; those of nodeScale (NanoCAD, UCLA), from which all are
taken, agree with hwcomponents (Accelergy project) wherever both have them.

The rule knows nothing of leakage, of memories, or of a library: see `RULE_ERROR`.
"""

import math
import re
from dataclasses import dataclass

__all__ = ["RULE", "RULE_ERROR", "Scaling", "ScalingError", "Target", "default_voltage", "parse_target", "scale_energy"]

RULE = "Stillmaker and Baas, Integration 58 (2017), Table 5; dynamic energy only"

COEFFICIENTS: dict[int, dict[str, tuple[float, float, float]]] = {
    180: {"bulk": (24.64, -17.98, 0.0)},
    130: {"bulk": (7.171, -6.709, 2.904)},
    90: {"bulk": (4.762, -4.781, 2.092)},
    65: {"bulk": (3.755, -4.398, 1.975)},
    45: {"fast": (1.018, -0.3107, 0.1539), "low power": (1.103, -0.362, 0.2767)},
    32: {"fast": (0.8367, -0.4341, 0.1701), "low power": (0.9559, -0.7823, 0.471)},
    20: {"fast": (0.373, -0.1582, 0.04104), "low power": (0.2632, -0.14, 0.06841)},
    16: {"fast": (0.2958, -0.1241, 0.03024), "low power": (0.2139, -0.1187, 0.05639)},
    14: {"fast": (0.2363, -0.09675, 0.02239), "low power": (0.1556, -0.06472, 0.03066)},
    10: {"fast": (0.2068, -0.09311, 0.02375), "low power": (0.1261, -0.0518, 0.02769)},
    7: {"fast": (0.1776, -0.09097, 0.02447), "low power": (0.09365, -0.03409, 0.02043)},
}
"""By node in nanometre and kind of transistor: energy is ``a V**2 + b V + c``, in a unit common to all."""

VOLTAGES = {180: 1.8, 130: 1.2, 90: 1.2, 65: 1.1, 45: 1.0, 32: 0.9, 20: 0.8, 16: 0.8, 14: 0.8, 10: 0.75, 7: 0.7}
"""Default supply in volt by node: the customary ones, not part of the rule."""

RULE_ERROR = 3.5
"""Smallest error of the rule that is assumed, as a factor up or down. Between the libraries that this project measured
the same network on, the rule is off by 1.2 to 2.8 (docs/power.md); these are few, so the band is wider."""


class ScalingError(ValueError):
    """A node or a voltage that the rule does not reach."""


@dataclass(frozen=True)
class Target:
    """Node and supply to scale to.

    Parameters
    ----------
    node : float
        In nanometre, 7 to 180.
    voltage : float
        In volt, 0.6 to 1.3 times the customary one.
    """

    node: float
    voltage: float

    def __post_init__(self) -> None:
        if not 7 <= self.node <= 180:
            raise ScalingError(f"the node must be in 7 to 180 nm, not {self.node:g} nm")
        usual = default_voltage(self.node)
        if not 0.6 * usual <= self.voltage <= 1.3 * usual:
            raise ScalingError(
                f"the rule does not reach {self.voltage:g} V at {self.node:g} nm, only {0.6 * usual:.2f} to "
                f"{1.3 * usual:.2f} V"
            )

    def __str__(self) -> str:
        return f"{self.node:g} nm, {self.voltage:g} V"


def _between(node: float) -> tuple[int, int, float]:
    """Neighbouring nodes of the rule, and the logarithmic position between the larger and the smaller, 0 to 1."""
    above = min(known for known in COEFFICIENTS if known >= node)
    below = max(known for known in COEFFICIENTS if known <= node)
    return above, below, 0.0 if above == below else math.log(above / node) / math.log(above / below)


def default_voltage(node: float) -> float:
    """Customary supply of a node in volt."""
    above, below, way = _between(node)
    return round(VOLTAGES[above] + way * (VOLTAGES[below] - VOLTAGES[above]), 2)


def parse_target(text: str) -> Target:
    """Read ``22nm`` or ``22nm@0.6V``.

    Raises
    ------
    ScalingError
        If it is something else, or out of reach.
    """
    match = re.fullmatch(r"([\d.]+) ?nm(?:@([\d.]+) ?V)?", text.strip())
    try:
        node = float(match[1]) if match else math.nan
        voltage = float(match[2]) if match and match[2] else math.nan
    except ValueError:
        node = math.nan
    if not match or math.isnan(node):
        raise ScalingError(f"a node like 22nm or 22nm@0.6V was expected, not {text!r}")
    if not 7 <= node <= 180:
        raise ScalingError(f"the node must be in 7 to 180 nm, not {node:g} nm")
    return Target(node, default_voltage(node) if math.isnan(voltage) else voltage)


def _energies(target: Target) -> list[float]:
    """Energy of the rule for each kind of transistor; between nodes the logarithm is interpolated."""
    above, below, way = _between(target.node)
    kinds = sorted(set(COEFFICIENTS[above]) | set(COEFFICIENTS[below]))
    energies = []
    for kind in kinds:
        if kind == "bulk" and len(kinds) > 1:
            continue
        logs = []
        for node in (above, below):
            a, b, c = COEFFICIENTS[node].get(kind, COEFFICIENTS[node].get("bulk", (0.0, 0.0, 0.0)))
            logs.append(math.log(a * target.voltage**2 + b * target.voltage + c))
        energies.append(math.exp(logs[0] + way * (logs[1] - logs[0])))
    return energies


@dataclass(frozen=True)
class Scaling:
    """Factor of the rule.

    Parameters
    ----------
    source, target : Target
        Nodes and supplies.
    factor, least, most : float
        Factor of dynamic energy, and the band that it is assumed to be in.
    """

    source: Target
    target: Target
    factor: float
    least: float
    most: float


def scale_energy(source: Target, target: Target) -> Scaling:
    """Find the factor of dynamic energy from one node and supply to another.

    Parameters
    ----------
    source, target : Target
        Nodes and supplies to scale from and to.

    Returns
    -------
    Scaling
        The geometric mean over the kinds of transistors of both nodes; the band is their spread, and at least
        `RULE_ERROR` up and down.
    """
    factors = [after / before for before in _energies(source) for after in _energies(target)]
    factor = math.exp(sum(map(math.log, factors)) / len(factors))
    if source == target:
        return Scaling(source, target, 1.0, 1.0, 1.0)
    return Scaling(
        source, target, factor, min(*factors, factor / RULE_ERROR), max(*factors, factor * RULE_ERROR)
    )
