"""The published rule, its corrigendum, its limits."""

import math
from itertools import permutations

import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.scaling import (
    COEFFICIENTS,
    RULE_ERROR,
    ScalingError,
    Target,
    default_voltage,
    parse_target,
    scale_energy,
)
from lmu_hw.power.table import estimate
from lmu_hw.power.technology import load_technology
from lmu_quantize import zoo


def energy(node: int, kind: str, voltage: float) -> float:
    a, b, c = COEFFICIENTS[node][kind]
    return a * voltage**2 + b * voltage + c


def test_the_example_of_the_authors_corrigendum():
    """From 65 nm at 1.3 V to 32 nm at 0.9 V: factors 2.604 and 0.4571, so that 1 pJ becomes 0.1755 pJ."""
    above, below = energy(65, "bulk", 1.3), energy(32, "fast", 0.9)
    assert round(above, 3) == 2.604
    assert round(below, 4) == 0.4571
    assert math.floor(below / above * 1e4) == 1755
    found = scale_energy(Target(65, 1.3), Target(32, 0.9))
    assert found.least <= below / above <= found.most


def test_there_and_back_is_nothing():
    one, two = Target(130, 1.2), Target(22, 0.8)
    assert scale_energy(one, two).factor * scale_energy(two, one).factor == pytest.approx(1)
    same = scale_energy(one, one)
    assert (same.factor, same.least, same.most) == (1, 1, 1)


def test_nodes_of_the_rule_are_its_own_and_others_lie_between():
    found = scale_energy(Target(130, 1.2), Target(20, 0.8))
    expected = [energy(20, kind, 0.8) / energy(130, "bulk", 1.2) for kind in ("fast", "low power")]
    assert found.factor == pytest.approx(math.sqrt(math.prod(expected)))
    factors = [scale_energy(Target(130, 1.2), Target(node, 0.8)).factor for node in (32, 28, 22, 20)]
    assert factors == sorted(factors, reverse=True)
    between, above = (scale_energy(Target(130, 1.2), Target(node, 1.1)).factor for node in (55, 65))
    assert between < above


def test_the_band_is_at_least_the_error_of_the_rule():
    found = scale_energy(Target(130, 1.2), Target(22, 0.8))
    assert found.least <= found.factor / RULE_ERROR
    assert found.most >= found.factor * RULE_ERROR


def test_the_band_holds_what_the_measured_libraries_say():
    """Dynamic energy of the same network on libraries whose supply the rule reaches."""
    plan = make_plan(program_file.load(zoo.path("kws361", "quantized.safetensors")), AcceleratorConfig(lanes=16))
    point = OperatingPoint(50 * plan.cycles_per_frame, 50, plan.cycles_per_frame)
    measured = {}
    for name in ("ihp-sg13g2", "nangate45", "asap7"):
        technology = load_technology(name)
        rates = technology.energies(plan.config).typical(plan)["speech"]
        place = Target(technology.node, technology.voltage)
        measured[place] = estimate(plan, technology, point, rates).energy(50).dynamic
    for one, two in permutations(measured, 2):
        found = scale_energy(one, two)
        assert found.least <= measured[two] / measured[one] <= found.most


@pytest.mark.parametrize(("text", "target"), [("22nm", Target(22, 0.82)), ("22 nm@0.6V", Target(22, 0.6))])
def test_targets_are_read(text: str, target: Target):
    assert parse_target(text) == target


def test_customary_voltages_lie_between_those_of_the_nodes():
    assert default_voltage(130) == 1.2
    assert default_voltage(20) <= default_voltage(22) <= default_voltage(32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("22", "a node like 22nm or 22nm@0.6V was expected, not '22'"),
        ("5nm", "the node must be in 7 to 180 nm, not 5 nm"),
        ("1.2.3nm", "a node like 22nm or 22nm@0.6V was expected, not '1.2.3nm'"),
        ("22nm@3V", "the rule does not reach 3 V at 22 nm, only 0.49 to 1.07 V"),
    ],
)
def test_wrong_targets_are_refused(text: str, message: str):
    with pytest.raises(ScalingError) as error:
        parse_target(text)
    assert str(error.value) == message
