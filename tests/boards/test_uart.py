"""The UART: its wire bit by bit, other rates than its own, noise on the wire."""

import numpy as np
import pytest

from lmu_hw.gateware.serial.uart import UartReceiver, UartTransmitter


def wire_of(data, divisor):
    """Levels of the wire, cycle by cycle."""
    bits = [bit for byte in data for bit in (0, *(byte >> n & 1 for n in range(8)), 1)]
    return [bit for bit in bits for _ in range(divisor)]


def receive(simulate, divisor, levels):
    """Bytes, and errors as None, that a receiver finds on a wire."""
    dut = UartReceiver(divisor)
    found = []

    async def drive(ctx):
        for level in [1, 1, 1, *levels, *[1] * (3 * divisor)]:
            ctx.set(dut.rx, int(level))
            await ctx.tick()

    async def watch(ctx):
        while True:
            _, _, data, valid, error = await ctx.tick().sample(dut.data, dut.valid, dut.error)
            assert not (valid and error)
            if valid or error:
                found.append(data if valid else None)

    simulate(dut, drive, background=[watch])
    return found


@pytest.mark.parametrize("divisor", [4, 5, 26])
def test_the_wire_of_the_transmitter_cycle_by_cycle(simulate, divisor):
    dut = UartTransmitter(divisor)
    data = [0x00, 0xFF, 0x55, 0x7E, 0x81]
    levels = []

    async def send(ctx):
        for index, byte in enumerate(data):
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(1 + index * 3)
        await ctx.tick().repeat(12 * divisor)

    async def watch(ctx):
        while True:
            _, _, level = await ctx.tick().sample(dut.tx)
            levels.append(level)

    simulate(dut, send, background=[watch])
    text = "".join(map(str, levels))
    for byte in data:
        wanted = "".join(map(str, wire_of([byte], divisor)))
        assert text.lstrip("1").startswith(wanted)
        text = text.lstrip("1")[len(wanted) :]
    assert set(text) == {"1"}


@pytest.mark.parametrize("divisor", [4, 5, 7, 16, 52])
def test_the_receiver_takes_what_a_wire_carries(simulate, divisor):
    data = np.random.default_rng(divisor).integers(0, 256, 8).tolist()
    assert receive(simulate, divisor, wire_of(data, divisor)) == data


@pytest.mark.parametrize("factor", [0.96, 0.98, 1.02, 1.04])
def test_a_sender_whose_rate_is_a_little_off(simulate, factor):
    data = [0x00, 0xFF, 0x55, 0xAA, *np.random.default_rng(1).integers(0, 256, 4).tolist()]
    levels = wire_of(data, 1)
    period = 26 * factor
    stretched = [levels[int(cycle / period)] for cycle in range(int(len(levels) * period))]
    assert receive(simulate, 26, stretched) == data


def test_a_short_low_pulse_is_no_start_bit(simulate):
    levels = [0] * 4 + [1] * 20 + wire_of([0x42], 16)
    assert receive(simulate, 16, levels) == [0x42]


def test_a_stop_bit_of_zero_is_an_error_and_the_next_byte_is_taken_after_a_pause(simulate):
    broken = wire_of([0x42], 8)[:-8] + [0] * 8
    assert receive(simulate, 8, broken + [0] * 200 + [1] * 8 + wire_of([0x17], 8)) == [None, 0x17]


def test_the_receiver_recovers_from_any_noise(simulate):
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 2, 600).repeat(rng.integers(1, 12, 600)).tolist()
    found = receive(simulate, 8, [*noise, *[1] * 100, *wire_of([1, 2, 3], 8)])
    assert found[-3:] == [1, 2, 3]
    assert None in found
