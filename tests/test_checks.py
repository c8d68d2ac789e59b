"""Checks of values from outside: what passes is returned, messages name the value and what was expected."""

import enum
import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest

from lmu_hw.checks import (
    from_json,
    require_choice,
    require_int,
    require_list,
    require_member,
    require_number,
    require_object,
    require_schema,
    require_type,
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Pixel:
    x: int
    color: Color = Color.RED
    near: tuple[int, ...] = field(default_factory=tuple)
    hidden: int = field(default=3, init=False)


def refused(error, message):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("value", [0, 3, np.int8(3), np.uint64(7)])
def test_integers_pass_as_int(value):
    found = require_int("n", value, 0, 7)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], np.float64(1)])
def test_what_is_no_integer_is_refused(value):
    with refused(TypeError, f"n must be an integer, not {value!r}"):
        require_int("n", value)


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ((1, 64), 65, "n must be in 1 to 64, not 65"),
        ((1, 64), 0, "n must be in 1 to 64, not 0"),
        ((0, 2**31 - 1), -1, "n must be in 0 to 2147483647, not -1"),
        ((0,), -1, "n must be at least 0, not -1"),
        ((-math.inf, 5), 6, "n must be at most 5, not 6"),
    ],
)
def test_integers_out_of_range_are_refused(limits, value, message):
    with refused(ValueError, message):
        require_int("n", value, *limits)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_numbers_pass_as_they_are(value):
    assert require_number("r", value, 0, 1) is value


@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_what_is_no_number_is_refused(value):
    with refused(TypeError, f"r must be a number, not {value!r}"):
        require_number("r", value)


@pytest.mark.parametrize(
    ("limits", "ends", "value", "message"),
    [
        ((0, 1), {}, 1.5, "in 0 to 1, not 1.5"),
        ((0, 1), {"below": True}, 1, "at least 0 and below 1, not 1"),
        ((0, 100), {"above": True}, 0, "above 0 and at most 100, not 0"),
        ((0, 1), {"above": True, "below": True}, 0.0, "above 0 and below 1, not 0.0"),
        ((0,), {"above": True}, 0, "above 0, not 0"),
        ((0,), {}, -1, "at least 0, not -1"),
        ((-math.inf, 3), {"below": True}, 3, "below 3, not 3"),
        ((0,), {}, math.inf, "at least 0, not inf"),
        ((0, 1), {}, math.nan, "in 0 to 1, not nan"),
    ],
)
def test_numbers_out_of_range_are_refused(limits, ends, value, message):
    with refused(ValueError, f"r must be a finite number {message}"):
        require_number("r", value, *limits, **ends)


def test_numbers_without_limits_are_finite():
    assert require_number("r", -1e300) == -1e300
    with refused(ValueError, "r must be a finite number, not inf"):
        require_number("r", math.inf)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (bool, 1, "true or false"), (int, True, "an integer"), (str, 1, "a text"), (dict, [], "an object"),
        (list, (), "a list"),
    ],
)  # fmt: skip
def test_other_types_are_refused(kind, value, expected):
    assert require_type("v", kind(), kind) == kind()
    with refused(TypeError, f"v must be {expected}, not {value!r}"):
        require_type("v", value, kind)


@pytest.mark.parametrize("value", ["ab", None, [1, "a"], [True], (1, 2)])
def test_what_is_no_list_of_the_type_is_refused(value):
    assert require_list("v", [1, 2], int) == (1, 2)
    with refused(TypeError, f"v must be a list of integers, not {value!r}"):
        require_list("v", value, int)


@pytest.mark.parametrize("value", ["c", 1, None, [], {}])
def test_what_is_no_choice_is_refused(value):
    assert require_choice("v", "a", ("a", "b")) == "a"
    with refused(ValueError, f"v must be one of a, b, not {value!r}"):
        require_choice("v", value, ("a", "b"))


def test_a_choice_has_its_type():
    assert require_choice("v", 1, (0, 1)) == 1
    for value in (True, 1.0, "1"):
        with refused(ValueError, f"v must be one of 0, 1, not {value!r}"):
            require_choice("v", value, (0, 1))


def test_members_are_given_by_value_or_themselves():
    assert require_member("v", "red", Color) is require_member("v", Color.RED, Color) is Color.RED
    for value in ("RED", None, [], {}):
        with refused(ValueError, f"v must be one of red, blue, not {value!r}"):
            require_member("v", value, Color)


def test_objects_are_copied():
    data = {"x": 1}
    found = require_object("the pixel", data, ("x", "y"), ("x",))
    assert found == data
    assert found is not data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([4], "the pixel must be an object, not [4]"),
        ({"x": 1, "z": 2}, "unknown key 'z' in the pixel, expected x, y"),
        ({"x": 1}, "the pixel lacks the key 'y'"),
    ],
)
def test_wrong_objects_are_refused(data, message):
    with refused(ValueError, message):
        require_object("the pixel", data, ("x", "y"))


def test_the_rest_of_a_schema_is_returned():
    assert require_schema("the file", {"schema": "s", "version": 1, "x": 2}, "s", 1) == {"x": 2}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the file must be an object, not None"),
        ({}, "schema of the file must be 's', not None"),
        ({"schema": "t", "version": 1}, "schema of the file must be 's', not 't'"),
        ({"schema": "s", "version": 2}, "version of the file must be 1, not 2"),
        ({"schema": "s", "version": True}, "version of the file must be 1, not True"),
        ({"schema": "s", "version": "1"}, "version of the file must be 1, not '1'"),
    ],
)
def test_another_schema_or_version_is_refused(data, message):
    with refused(ValueError, message):
        require_schema("the file", data, "s", 1)


def test_dataclasses_are_made_of_objects():
    assert from_json(Pixel, "the pixel", {"x": 1}) == Pixel(1)
    found = from_json(Pixel, "the pixel", {"x": 1, "color": "blue", "near": [2]}, color=Color, near=tuple)
    assert found == Pixel(1, Color.BLUE, (2,))
    assert from_json(Pixel, "the pixel", {"x": 1, "color": None}, color=Color).color is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("x", "the pixel must be an object, not 'x'"),
        ({"x": 1, "hidden": 2}, "unknown key 'hidden' in the pixel, expected x, color, near"),
        ({"color": "red"}, "the pixel lacks the key 'x'"),
        ({"x": 1, "color": "green"}, "'green' is not a valid Color"),
    ],
)
def test_wrong_objects_make_no_dataclass(data, message):
    with refused(ValueError, message):
        from_json(Pixel, "the pixel", data, color=Color)
