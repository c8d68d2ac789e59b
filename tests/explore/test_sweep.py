"""What a sweep covers, and what it refuses."""

import pytest

from lmu_hw.explore.sweep import Sweep
from lmu_hw.plan.config import AcceleratorConfig


def test_a_sweep_has_every_combination_once(sweep):
    points = list(sweep.points())
    assert len(points) == len(sweep) == 1 * 6 * 2 * 2
    assert len({point.key for point in points}) == len(points)
    assert {point.config for point in points} == set(sweep.configs())
    accelerators = [(point.model, point.config) for point in points]
    assert accelerators == sorted(accelerators, key=accelerators.index)


def test_its_json_gives_it_back(sweep):
    assert Sweep.from_dict(sweep.to_dict()) == sweep
    assert Sweep.from_dict(sweep.to_dict() | {"clocks": ["auto", 1000000]}).to_dict() == sweep.to_dict()


def test_what_is_not_given_has_a_default():
    sweep = Sweep.from_dict({"models": ["kws361"]})
    assert [point.config for point in sweep.points()] == [AcceleratorConfig.frugal(lanes=n) for n in (4, 8, 16, 32)]
    assert {(point.technology, point.clock) for point in sweep.points()} == {("ihp-sg13g2", "auto")}


def test_any_key_of_the_configuration_can_be_swept():
    sweep = Sweep(("a",), {"skip_zero_blocks": (False, True), "state": ("keep", "pulse")})
    assert [(one.skip_zero_blocks, one.state.value) for one in sweep.configs()] == [
        (False, "keep"), (False, "pulse"), (True, "keep"), (True, "pulse"),
    ]  # fmt: skip


def test_levers_are_swept_together():
    sweep = Sweep(("a",), {"levers": ("plain", "frugal"), "lanes": (4,)})
    assert list(sweep.configs()) == [AcceleratorConfig(lanes=4), AcceleratorConfig.frugal(lanes=4)]
    assert Sweep.from_dict(sweep.to_dict()) == sweep


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": []}, r"models must be a list of one or more, not \[\]"),
        ({"models": "kws361"}, "models must be a list of one or more, not 'kws361'"),
        ({"models": ["a", "a"]}, "models has 'a' twice"),
        ({"models": [3]}, "models must be names or files, not 3"),
        ({"technologies": [""]}, "technologies must be names or files, not ''"),
        ({"clocks": []}, "clocks must be a list of one or more"),
        ({"clocks": ["fast"]}, "a clock must be 'auto' or a number of hertz above 0, not 'fast'"),
        ({"clocks": [0]}, "a clock must be 'auto' or a number of hertz above 0, not 0"),
        ({"clocks": [True]}, "a clock must be 'auto' or a number of hertz above 0, not True"),
        ({"clocks": [float("inf")]}, "a clock must be 'auto' or a number of hertz above 0, not inf"),
        ({"clocks": [5, 5]}, "clocks has 5 twice"),
        ({"config": []}, r"config must be an object of lists, not \[\]"),
        ({"config": {"lane": [1]}}, "unknown key 'lane' in config, expected lanes, weights"),
        ({"config": {"levers": ["some"]}}, "levers must be frugal or plain, not 'some'"),
        ({"config": {"weights": ["ram"], "bank_words": [0], "lanes": [4, 4.0]}}, "config lanes has 4.0 twice"),
        ({"config": {"lanes": 4}}, "config lanes must be a list of one or more, not 4"),
        ({"config": {"lanes": [4, 4]}}, "config lanes has 4 twice"),
        ({"config": {"lanes": [65]}}, r'config \{"lanes":65\}: lanes must be in 1 to 64, not 65'),
        ({"config": {"weights": ["flash"]}}, "weights must be one of rom, ram, not 'flash'"),
        ({"lanes": [4]}, "unknown key 'lanes' in the sweep, expected models, config, technologies, clocks"),
    ],
)
def test_a_wrong_list_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Sweep.from_dict({"models": ["a"]} | change)


def test_a_sweep_names_its_networks():
    with pytest.raises(ValueError, match="models is missing"):
        Sweep.from_dict({})
    with pytest.raises(ValueError, match=r"a sweep must be an object, not \[\]"):
        Sweep.from_dict([])
