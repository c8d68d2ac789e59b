"""Packets in hardware against `lmu_hw.host.link`: the same packets are found between the same garbage."""

import numpy as np
import pytest

from lmu_hw.gateware.serial.packets import PacketReceiver, PacketTransmitter
from lmu_hw.host.link import Decoder, Packet, encode

LONGEST = 12


def some_packet(rng):
    body = rng.integers(0, 256, int(rng.integers(0, LONGEST + 1)))
    body[rng.random(len(body)) < 0.4] = rng.choice([0x7D, 0x7E])
    return Packet(int(rng.integers(256)), int(rng.choice([0, 0x7D, 0x7E, 0xFF])), body.astype(np.uint8).tobytes())


def receive(simulate, data, hold=0, errors=()):
    """Packets, and counts of damaged and overflown ones; a packet is held for some bytes, errors come before bytes."""
    dut = PacketReceiver(LONGEST)
    found, counts = [], [0, 0]

    async def drive(ctx):
        held = 0
        for index, byte in enumerate(data):
            ctx.set(dut.error, int(index in errors))
            await ctx.tick()
            ctx.set(dut.error, 0)
            ctx.set(dut.data, int(byte))
            ctx.set(dut.valid, 1)
            await ctx.tick()
            ctx.set(dut.valid, 0)
            await ctx.tick()
            held = held + 1 if ctx.get(dut.held) else 0
            if held > hold:
                found.append(await take(ctx))
        await ctx.tick().repeat(2)

    async def take(ctx):
        body = []
        for place in range(ctx.get(dut.length)):
            ctx.set(dut.address, place)
            await ctx.tick()
            body.append(ctx.get(dut.body))
        packet = Packet(ctx.get(dut.kind), ctx.get(dut.sequence), bytes(body))
        ctx.set(dut.release, 1)
        await ctx.tick()
        ctx.set(dut.release, 0)
        return packet

    async def watch(ctx):
        while True:
            _, _, damaged, overflow = await ctx.tick().sample(dut.damaged, dut.overflow)
            counts[0] += damaged
            counts[1] += overflow

    simulate(dut, drive, background=[watch])
    return found, *counts


@pytest.mark.parametrize("seed", range(4))
def test_the_receiver_finds_what_the_decoder_finds(simulate, seed):
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(40):
        data = bytearray(encode(some_packet(rng)))
        for place in np.flatnonzero(rng.random(len(data)) < rng.choice([0, 0.1])):
            data[place] ^= 1 << int(rng.integers(8))
        noise = rng.choice([0x7D, 0x7E, 0x00, 0x55], int(rng.integers(0, 5))).astype(np.uint8).tobytes()
        parts += [noise, b"\x7e", bytes(data)]
    data = b"".join(parts)
    decoder = Decoder()
    wanted = decoder.feed(data)
    found, damaged, overflows = receive(simulate, data)
    assert found == [packet for packet in wanted if len(packet.body) <= LONGEST]
    assert len(found) > 15
    assert damaged + overflows == decoder.damaged + len(wanted) - len(found)
    assert damaged > 0


def test_packets_that_are_too_long_or_come_too_early_are_lost_and_counted(simulate):
    first, second, third = (Packet(3, n, bytes([n] * LONGEST)) for n in range(3))
    long = Packet(3, 9, bytes(LONGEST + 1))
    data = encode(long) + encode(Packet(3, 9, bytes(300))) + encode(first)
    assert receive(simulate, data) == ([first], 0, 2)
    hold = len(encode(second)) // 2
    data = encode(first) + encode(second) + encode(third) + b"\x7e" * hold
    assert receive(simulate, data, hold) == ([first, third], 0, 1)
    data = encode(first) + b"\x7e" * 3 + encode(second) + b"\x7e" * 3
    assert receive(simulate, data, 2) == ([first, second], 0, 0)


def test_a_lost_byte_damages_the_packet_around_it_only(simulate):
    first, second = Packet(3, 1, b"abc"), Packet(3, 2, b"def")
    data = encode(first) + encode(second)
    size = len(encode(first))
    assert receive(simulate, data, errors={4}) == ([second], 1, 0)
    assert receive(simulate, data, errors={size - 1}) == ([second], 1, 0)
    assert receive(simulate, b"\x7e" + data, errors={0}) == ([first, second], 1, 0)


@pytest.mark.parametrize("seed", range(2))
def test_the_transmitter_writes_what_the_link_says(simulate, seed):
    rng = np.random.default_rng(seed)
    packets = [some_packet(rng) for _ in range(20)]
    dut = PacketTransmitter()
    written = bytearray()
    wanted = b"".join(encode(packet) for packet in packets)

    async def send(ctx):
        for packet in packets:
            content = bytes([packet.kind, packet.sequence]) + packet.body
            for index, byte in enumerate(content):
                while rng.random() < 0.3:
                    await ctx.tick()
                ctx.set(dut.i.payload.data, byte)
                ctx.set(dut.i.payload.last, int(index == len(content) - 1))
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)
        while len(written) < len(wanted):
            await ctx.tick()

    async def take(ctx):
        while True:
            ready = int(rng.random() < 0.5)
            ctx.set(dut.o.ready, ready)
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if ready and valid:
                written.append(byte)

    simulate(dut, send, background=[take])
    assert bytes(written) == wanted
