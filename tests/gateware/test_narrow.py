"""The gateware's narrowing against the arithmetic contract: every value, every shift, every mode."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from lmu_hw.gateware.narrow import Narrow
from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding, requantize, shift_round


def narrowed(width, shifts, quantizers, saturates=True):
    """Outputs for every shift and every input value: array (quantizers, shifts, values), and the values."""
    m = Module()
    blocks = [Narrow(width, shifts, quantizer, saturates) for quantizer in quantizers]
    for index, block in enumerate(blocks):
        m.submodules[f"narrow{index}"] = block
    source = blocks[0]
    m.d.comb += [block.i.eq(source.i) for block in blocks[1:]]
    m.d.comb += [block.shift.eq(source.shift) for block in blocks[1:]]
    values = np.arange(-(1 << (width - 1)), 1 << (width - 1))
    found = np.zeros((len(blocks), len(shifts), values.size), np.int64)

    async def testbench(ctx):
        for row, shift in enumerate(shifts):
            ctx.set(source.shift, shift)
            for column, value in enumerate(values.tolist()):
                ctx.set(source.i, value)
                await ctx.delay(1e-9)
                found[:, row, column] = [ctx.get(block.o) for block in blocks]

    simulator = Simulator(m)
    simulator.add_testbench(testbench)
    simulator.run()
    return found, values


FORMATS = [Format(2, 0), Format(4, 1), Format(10, 3), Format(1, 0, False), Format(3, 2, False), Format(10, 0, False)]


@pytest.mark.parametrize("width", [2, 4, 7])
def test_every_value_shift_and_mode(width):
    shifts = range(width + 3)
    quantizers = [Quantizer(*one) for one in itertools.product(FORMATS, Rounding, Overflow)]
    found, values = narrowed(width, shifts, quantizers)
    for got, quantizer in zip(found, quantizers, strict=True):
        frac = np.array(shifts)[:, None] + quantizer.format.frac
        assert_array_equal(got, requantize(values, frac, quantizer), err_msg=str(quantizer))


def test_a_single_shift_and_shifts_with_gaps():
    quantizers = [Quantizer(Format(4, 0), rounding) for rounding in Rounding]
    for shifts in ([3], [0], [1, 4, 11]):
        found, values = narrowed(6, shifts, quantizers)
        for got, quantizer in zip(found, quantizers, strict=True):
            assert_array_equal(got, requantize(values, np.array(shifts)[:, None], quantizer), err_msg=str(quantizer))


def test_without_a_saturator_values_that_fit_are_the_same():
    quantizers = [Quantizer(fmt, rounding) for fmt in FORMATS for rounding in Rounding]
    shifts = range(9)
    found, values = narrowed(6, shifts, quantizers, saturates=False)
    for got, quantizer in zip(found, quantizers, strict=True):
        exact = shift_round(values, np.array(shifts)[:, None], quantizer.rounding)
        fits = (exact >= quantizer.format.min) & (exact <= quantizer.format.max)
        assert fits.any()
        assert_array_equal(got[fits], exact[fits], err_msg=str(quantizer))
