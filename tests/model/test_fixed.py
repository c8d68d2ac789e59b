import decimal
import itertools
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.model.fixed import (
    MAX_WIDTH,
    Format,
    Overflow,
    Quantizer,
    Rounding,
    exact_matmul,
    requantize,
    saturate,
    shift_round,
)

DECIMAL_MODES = {
    Rounding.ROUND: decimal.ROUND_HALF_EVEN,
    Rounding.CEIL: decimal.ROUND_CEILING,
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.UP: decimal.ROUND_UP,
    Rounding.DOWN: decimal.ROUND_DOWN,
    Rounding.HALF_UP: decimal.ROUND_HALF_UP,
    Rounding.HALF_DOWN: decimal.ROUND_HALF_DOWN,
}
EXTREMES = [-(2**62) + 1, -(2**61) - 1, -(2**61), -(2**40) - 3, -1, 0, 1, 2**40 + 3, 2**61 - 1, 2**61 + 1, 2**62 - 1]
FORMATS = [Format(width, 0, signed) for width in range(1, 6) for signed in (True, False) if width > 1 or not signed]


def decimal_round(value, shift, rounding):
    with decimal.localcontext(decimal.Context(prec=200)):
        quotient = Decimal(int(value)) / Decimal(2 ** int(shift))
        return int(quotient.quantize(Decimal(1), rounding=DECIMAL_MODES[rounding]))


def wrapped(value, fmt):
    while value > fmt.max:
        value -= 2**fmt.width
    while value < fmt.min:
        value += 2**fmt.width
    return value


@pytest.mark.parametrize("rounding", Rounding)
def test_rounding_exhaustive(rounding):
    values = np.arange(-(2**7), 2**7)
    for shift in range(6):
        expected = [decimal_round(value, shift, rounding) for value in values]
        assert_array_equal(shift_round(values, shift, rounding), expected)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("shift", [0, 1, 2, 39, 40, 60, 61, 62])
def test_rounding_of_wide_values(rounding, shift):
    expected = [decimal_round(value, shift, rounding) for value in EXTREMES]
    assert_array_equal(shift_round(EXTREMES, shift, rounding), expected)


def test_rounding_ties_by_name():
    ties = np.array([-5, -3, -1, 1, 3, 5])
    expected = {
        Rounding.ROUND: [-2, -2, 0, 0, 2, 2],
        Rounding.CEIL: [-2, -1, 0, 1, 2, 3],
        Rounding.FLOOR: [-3, -2, -1, 0, 1, 2],
        Rounding.UP: [-3, -2, -1, 1, 2, 3],
        Rounding.DOWN: [-2, -1, 0, 0, 1, 2],
        Rounding.HALF_UP: [-3, -2, -1, 1, 2, 3],
        Rounding.HALF_DOWN: [-2, -1, 0, 0, 1, 2],
    }
    for rounding, quotients in expected.items():
        assert_array_equal(shift_round(ties, 1, rounding), quotients)


@pytest.mark.parametrize("rounding", Rounding)
def test_rounding_error_is_the_largest(rounding):
    values = np.arange(-64, 64)
    errors = [abs(q - Fraction(int(v), 16)) for v, q in zip(values, shift_round(values, 4, rounding), strict=True)]
    assert Fraction(rounding.error) - Fraction(1, 16) <= max(errors) <= Fraction(rounding.error)


def test_shift_per_channel():
    rng = np.random.default_rng(1)
    values, shifts = rng.integers(-1000, 1000, (5, 3, 4)), np.array([0, 1, 3, 7])
    for rounding in Rounding:
        expected = [decimal_round(v, s, rounding) for v, s in zip(values.reshape(-1), np.tile(shifts, 15), strict=True)]
        assert_array_equal(shift_round(values, shifts, rounding), np.reshape(expected, values.shape))


@pytest.mark.parametrize("shift", [-1, MAX_WIDTH + 1])
def test_shift_out_of_range(shift):
    message = f"shift must be in 0 to 62, not {min(shift, 0)} to {max(shift, 0)}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        shift_round([1, 2], [0, shift], Rounding.FLOOR)


def test_shift_of_nothing():
    assert shift_round(np.zeros((2, 0), np.int64), np.zeros(0, np.int64), Rounding.UP).shape == (2, 0)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_saturation_exhaustive(fmt):
    values = range(-100, 101)
    assert_array_equal(saturate(values, fmt), [sorted((fmt.min, v, fmt.max))[1] for v in values])
    least = -fmt.max if fmt.signed else 0
    assert_array_equal(saturate(values, fmt, Overflow.SAT_SYM), [sorted((least, v, fmt.max))[1] for v in values])
    assert_array_equal(saturate(values, fmt, Overflow.WRAP), [wrapped(v, fmt) for v in values])


@pytest.mark.parametrize("overflow", Overflow)
def test_saturation_of_wide_values(overflow):
    for fmt in (Format(62, 0), Format(62, 0, False), Format(24, 0), Format(1, 0, False)):
        low = -fmt.max if fmt.signed and overflow is Overflow.SAT_SYM else fmt.min
        if overflow is Overflow.WRAP:
            expected = [(v - fmt.min) % 2**fmt.width + fmt.min for v in EXTREMES]
        else:
            expected = [max(low, min(v, fmt.max)) for v in EXTREMES]
        assert_array_equal(saturate(EXTREMES, fmt, overflow), expected)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", Overflow)
def test_requantize_is_rounding_then_saturation(rounding, overflow):
    values = np.arange(-200, 200)
    for frac, fmt in itertools.product((2, 5), (Format(4, 2), Format(3, 1, False), Format(5, -1))):
        to = Quantizer(fmt, rounding, overflow)
        rounded = [decimal_round(v, frac - fmt.frac, rounding) for v in values]
        if overflow is Overflow.WRAP:
            expected = [wrapped(v, fmt) for v in rounded]
        else:
            expected = [max(to.low, min(v, fmt.max)) for v in rounded]
        found = requantize(values, frac, to)
        assert_array_equal(found, expected)
        assert fmt.contains(found)


def test_requantize_per_channel():
    to = Quantizer(Format(8, 1))
    assert_array_equal(requantize([[6, 6, 6], [-6, -6, -6]], [1, 2, 3], to), [[6, 3, 2], [-6, -3, -2]])


def test_requantize_refuses_to_add_bits():
    with pytest.raises(ValueError, match="shift must be in 0 to 62"):
        requantize([1], 3, Quantizer(Format(8, 4)))


@pytest.mark.parametrize("fmt", [Format(6, 2), Format(6, 2, False), Format(5, -1), Format(3, 4)], ids=str)
def test_format_quantizes_to_the_nearest(fmt):
    real = np.arange(-70, 70) / 32
    nearest = [(Fraction(v) * Fraction(2) ** fmt.frac + Fraction(1, 2)).__floor__() for v in real.tolist()]
    assert_array_equal(fmt.quantize(real), [max(fmt.min, min(q, fmt.max)) for q in nearest])
    low = -fmt.max if fmt.signed else 0
    assert_array_equal(fmt.quantize(real, Overflow.SAT_SYM), [max(low, min(q, fmt.max)) for q in nearest])
    integers = np.arange(fmt.min, fmt.max + 1)
    assert_array_equal(fmt.quantize(fmt.real(integers)), integers)
    assert_array_equal(fmt.real(integers), [float(Fraction(int(i)) / Fraction(2) ** fmt.frac) for i in integers])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_format_quantizes_finite_values_only(value):
    with pytest.raises(ValueError, match="values to quantize must be finite, found NaN or infinity"):
        Format(8, 4).quantize([0.0, value])


def test_format_properties():
    fmt = Format(4, 2)
    assert (fmt.min, fmt.max, fmt.magnitude, fmt.lsb, fmt.signed_width, str(fmt)) == (-8, 7, 8, 0.25, 4, "s4.2")
    fmt = Format(4, -2, False)
    assert (fmt.min, fmt.max, fmt.magnitude, fmt.lsb, fmt.signed_width, str(fmt)) == (0, 15, 15, 4.0, 5, "u4.-2")
    assert Format(4, 0).contains([-8, 7])
    assert not Format(4, 0).contains([8])
    assert not Format(4, 0).contains([-9])
    assert Format(4, 0).contains([])
    assert type(Format(np.int64(4), np.int64(1)).width) is int


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, 0), ValueError, "format width must be in 2 to 62, not 1"),
        ((0, 0, False), ValueError, "format width must be in 1 to 62, not 0"),
        ((63, 0), ValueError, "format width must be in 2 to 62, not 63"),
        ((True, 0, False), TypeError, "format width must be an integer, not True"),
        ((8.0, 0), TypeError, "format width must be an integer, not 8.0"),
        ((8, 65), ValueError, "format frac must be in -64 to 64, not 65"),
        ((8, -65), ValueError, "format frac must be in -64 to 64, not -65"),
        ((8, "4"), TypeError, "format frac must be an integer, not '4'"),
        ((8, 4, 1), TypeError, "format signed must be true or false, not 1"),
    ],
)
def test_format_refuses(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Format(*arguments)


@pytest.mark.parametrize("fmt", [*FORMATS, Format(62, -64), Format(8, 64, False)], ids=str)
def test_format_dict_round_trip(fmt):
    assert Format.from_dict(fmt.to_dict()) == fmt


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the format must be an object, not None"),
        ([], "the format must be an object, not []"),
        ({"width": 8}, "the format lacks the key 'frac'"),
        ({"width": 8, "frac": 0}, "the format lacks the key 'signed'"),
        (
            {"width": 8, "frac": 0, "signed": True, "scale": 1},
            "unknown key 'scale' in the format, expected width, frac, signed",
        ),
    ],
)
def test_format_from_dict_refuses(data, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Format.from_dict(data)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", Overflow)
def test_quantizer_dict_round_trip(rounding, overflow):
    quantizer = Quantizer(Format(7, 3), rounding, overflow)
    assert Quantizer.from_dict(quantizer.to_dict()) == quantizer
    assert quantizer.low == (-63 if overflow is Overflow.SAT_SYM else -64)
    assert Quantizer(Format(7, 3, False), rounding, overflow).low == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounding": "NEAR"}, "rounding must be one of ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN, not 'NEAR'"),
        ({"rounding": None}, "rounding must be one of ROUND, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN, not None"),
        ({"overflow": "CLIP"}, "overflow must be one of SAT, SAT_SYM, WRAP, not 'CLIP'"),
        ({"more": 1}, "unknown key 'more' in the quantizer, expected width, frac, signed, rounding, overflow"),
        ({"width": 0}, "format width must be in 2 to 62, not 0"),
    ],
)
def test_quantizer_from_dict_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Quantizer.from_dict(Quantizer(Format(7, 3)).to_dict() | change)


def test_quantizer_from_dict_refuses_other_types():
    with pytest.raises(ValueError, match=r"^the quantizer must be an object, not \[1\]$"):
        Quantizer.from_dict([1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8,), "quantizer format must be a Format, not 8"),
        ((Format(8, 0), "FLOOR"), "quantizer rounding must be a Rounding, not 'FLOOR'"),
        ((Format(8, 0), Rounding.FLOOR, "SAT"), "quantizer overflow must be a Overflow, not 'SAT'"),
    ],
)
def test_quantizer_refuses(arguments, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Quantizer(*arguments)


def loop_matmul(a, b):
    return [[sum(int(x) * int(y) for x, y in zip(row, column, strict=True)) for column in b.T] for row in a]


@pytest.mark.parametrize("bits", [7, 22, 26, 29])
def test_exact_matmul(bits):
    rng = np.random.default_rng(bits)
    a, b = (rng.integers(-(2**bits), 2**bits, shape, endpoint=True) for shape in ((4, 7), (7, 5)))
    a[0], b[:, 0] = 2**bits, 2**bits
    found = exact_matmul(a, b)
    assert found.dtype == np.int64
    assert_array_equal(found, loop_matmul(a, b))


def test_exact_matmul_paths_meet():
    b = np.array([[1], [2]])
    for value in (2**53 // 3 - 1, 2**53 // 3, 2**53 // 3 + 1):
        a = np.array([[value, value], [-value, value - 1]])
        assert_array_equal(exact_matmul(a, b), loop_matmul(a, b))


def test_exact_matmul_of_batches_and_nothing():
    a, b = np.arange(24).reshape(2, 3, 4), np.arange(8).reshape(4, 2)
    assert_array_equal(exact_matmul(a, b), a @ b)
    assert_array_equal(exact_matmul(a[..., :0], b[:0]), np.zeros((2, 3, 2)))
    assert exact_matmul(a[:0], b).shape == (0, 3, 2)


def test_exact_matmul_refuses_overflow():
    with pytest.raises(OverflowError, match=f"^a sum of products may reach {2**62}, over 62 bits$"):
        exact_matmul(np.array([[2**31]]), np.array([[2**31]]))
    assert exact_matmul(np.array([[2**31]]), np.array([[-(2**31) + 1]])) == -(2**62) + 2**31
