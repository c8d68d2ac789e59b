"""Narrowing in gateware: the same shift, rounding and saturation as `lmu_hw.model.fixed`."""

from collections.abc import Iterable

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding

__all__ = ["Narrow", "format_shape", "rounding_increment"]


def format_shape(fmt: Format) -> Shape:
    """Amaranth shape of a format."""
    return signed(fmt.width) if fmt.signed else unsigned(fmt.width)


def rounding_increment(rounding: Rounding, *, odd: Value, half: Value, rest: Value, negative: Value) -> Value:
    """Whether the floor of a shifted value is to be incremented.

    Parameters
    ----------
    rounding : Rounding
        The mode.
    odd : Value
        Last bit kept.
    half : Value
        First bit dropped.
    rest : Value
        Whether any bit after it is set.
    negative : Value
        Sign of the value.

    Returns
    -------
    Value
        One bit.
    """
    inexact = half | rest
    return {
        Rounding.FLOOR: Const(0, 1),
        Rounding.CEIL: inexact,
        Rounding.UP: inexact & ~negative,
        Rounding.DOWN: inexact & negative,
        Rounding.HALF_UP: half & (rest | ~negative),
        Rounding.HALF_DOWN: half & (rest | negative),
        Rounding.ROUND: half & (rest | odd),
    }[rounding]


class Narrow(wiring.Component):
    """Shift, round and saturate one integer; combinational.

    Parameters
    ----------
    width : int
        Bits of the signed input.
    shifts : iterable of int
        The shifts that can occur; a shift not among them gives an unspecified result.
    quantizer : Quantizer
        Target format and modes.
    saturates : bool
        Whether to build the saturator; leave it out only where a certificate says that the value fits.

    Members
    -------
    i : In(signed(width))
        The exact value.
    shift : In(range)
        How many bits to drop.
    o : Out(format_shape(quantizer.format))
        The narrowed value, equal to `lmu_hw.model.fixed.requantize`.
    """

    def __init__(self, width: int, shifts: Iterable[int], quantizer: Quantizer, saturates: bool = True):
        self.shifts = tuple(sorted({int(shift) for shift in shifts}))
        self.quantizer = quantizer
        self.saturates = saturates
        self.width = width
        super().__init__(
            {
                "i": In(signed(width)),
                "shift": In(range(max(2, self.shifts[-1] + 1))),
                "o": Out(format_shape(quantizer.format)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        floor = Signal(signed(self.width + 1))
        half = Signal()
        rest = Signal()
        with m.Switch(self.shift):
            for shift in self.shifts:
                with m.Case(shift):
                    self._drop(m, shift, floor, half, rest)
        rounded = Signal(signed(self.width + 1))
        increment = rounding_increment(
            self.quantizer.rounding, odd=floor[0], half=half, rest=rest, negative=self.i[-1]
        )
        m.d.comb += rounded.eq(floor + increment)
        m.d.comb += self.o.eq(self._fit(rounded))
        return m

    def _drop(self, m: Module, shift: int, floor: Signal, half: Signal, rest: Signal) -> None:
        """Split the input at a constant shift; bits beyond the input's width are copies of its sign."""
        sign = self.i[-1]
        m.d.comb += floor.eq(self.i >> shift)
        if shift > 0:
            m.d.comb += half.eq(self.i[shift - 1] if shift <= self.width else sign)
        if shift > 1:
            m.d.comb += rest.eq(self.i[: shift - 1].any())

    def _fit(self, value: Signal) -> Value:
        fmt = self.quantizer.format
        if self.quantizer.overflow is Overflow.WRAP or not self.saturates:
            return value  # the assignment keeps the low bits, and extends the sign where the format is the wider one
        low, high = self.quantizer.low, fmt.max
        return Mux(value > high, Const(high, format_shape(fmt)), Mux(value < low, Const(low, format_shape(fmt)), value))
