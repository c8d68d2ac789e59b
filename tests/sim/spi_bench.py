"""Runs inside the simulator for test_spi.py: the SPI wrapper with a host at many speeds."""

import json
import os
import random
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer

from lmu_hw.host.registers import OFFSETS, REGISTERS, Access
from lmu_hw.host.spi import HALF_PERIOD_CYCLES, Command
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden, decide
from lmu_sim.testing.spi import SpiHost

CASE = json.loads(Path(os.environ["LMU_SPI_CASE"]).read_text())
CYCLE = 10
FASTEST = HALF_PERIOD_CYCLES * CYCLE
HEARD, DROPPED, OVERRUN, RESULT = 1, 2, 4, 8
FOREIGN, ASLEEP = 4, 8
SIZE = -(-CASE["input_width"] // 8)


async def started(dut, seed, half_period=(FASTEST, FASTEST + 15), load=True):
    """Reset the accelerator while its clock runs, and load its weights."""
    rng = random.Random(seed)
    host = SpiHost(dut, rng, CYCLE, half_period)
    await Timer(rng.randrange(1, CYCLE), unit="ns")
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    await Timer(rng.randrange(1, CYCLE), unit="ns")
    dut.rst.value = 0
    await Timer(10 * CYCLE + rng.randrange(CYCLE), unit="ns")
    if load:
        await load_weights(host)
        if CASE["writes"]:
            assert await host.read(OFFSETS["LOAD_CRC"]) == CASE["crc"]
            assert not host.bit("refused")
    return host


async def load_weights(host, flip=None):
    """Load the weight image; values for one register go in one transfer."""
    runs = []
    for name, value in CASE["writes"]:
        if not runs or runs[-1][0] != name:
            runs.append((name, []))
        runs[-1][1].append(value)
    for number, (name, values) in enumerate(runs):
        await host.write(OFFSETS[name], *values, flip=flip if number == len(runs) - 1 else None)


async def get(host, name):
    return await host.read(OFFSETS[name])


async def rested(host):
    while await host.status("busy"):
        pass


async def latest(host):
    return await host.result(CASE["labels"], CASE["label_bytes"], CASE["score_bytes"], CASE["score_signed"])


async def send(host, frame, **options):
    if frame["clear"]:
        await host.write(OFFSETS["CONTROL"], 1)
    while not await host.status("room"):
        pass
    await host.frame(tuple(frame["values"]), SIZE, frame["end"], **options)


def expected(number, one):
    return (number % 256, one["label"], one["score"], one["logits"])


async def play(host, pause=0.0, nap=0):
    """Send all frames; read and compare every result."""
    due = {one["frame"]: one for one in CASE["results"]}
    number = 0
    for place, frame in enumerate(CASE["frames"]):
        await send(host, frame, pause=pause)
        await rested(host)
        if place in due:
            number += 1
            assert await latest(host) == expected(number, due[place]), f"frame {place}"
        await Timer(host.rng.randint(1, 1 + nap * CYCLE), unit="ns")
    assert await get(host, "DECISIONS") == number == len(due)
    if CASE["asleep"]:
        assert await get(host, "FRAMES_ASLEEP") == CASE["asleep"]
    assert host.violations == []


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def results_are_exact_at_any_speed(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    for seed, fast, slow in ((1, FASTEST, FASTEST), (2, FASTEST, FASTEST + 9), (3, 47, 47), (4, 40, 400)):
        host = await started(dut, CASE["seed"] + seed, (fast, slow), load=seed == 1)
        await play(host)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def results_are_exact_after_sleep(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"])
    naps = 2 * CASE["rest"]
    await play(host, pause=0.2, nap=naps)
    await Timer(naps * CYCLE, unit="ns")
    assert await get(host, "STATUS") == ASLEEP
    host = await started(dut, CASE["seed"], load=False)
    await Timer(naps * CYCLE, unit="ns")
    assert await get(host, "STATUS") & ASLEEP
    await load_weights(host)
    await Timer(naps * CYCLE, unit="ns")
    await play(host, nap=naps)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def transfers_cut_short_do_no_harm(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"])
    rng = host.rng
    await host.write(OFFSETS["THRESHOLD"], 0x12345678)
    before = await get(host, "THRESHOLD")
    due = {one["frame"]: one for one in CASE["results"]}
    number = errors = 0
    for place, frame in enumerate(CASE["frames"]):
        for _ in range(2):
            cut = rng.randrange(0, 48)
            data = bytes([Command.WRITE, OFFSETS["THRESHOLD"]]) + rng.randbytes(4)
            await host.transfer(data, bits=min(cut, 47))
            await host.transfer(bytes([Command.READ, OFFSETS["ID"]]), 4, bits=cut)
            await host.transfer(bytes([Command.RESULT]), 12, bits=rng.randrange(0, 104))
        if len(frame["values"]) == CASE["inputs"]:
            await rested(host)
            bits = rng.randrange(0, 8 * SIZE * CASE["inputs"])
            await host.frame(tuple(frame["values"]), SIZE, bits=bits)
            errors += bits >= 8 * SIZE
            await host.frame(tuple(frame["values"]), SIZE, bits=8 * SIZE * CASE["inputs"] + rng.randrange(1, 8 * SIZE))
            errors += 1
        else:
            errors += 1
        await send(host, frame)
        await rested(host)
        if place in due:
            number += 1
            assert await latest(host) == expected(number, due[place]), f"frame {place}"
    assert await get(host, "THRESHOLD") == before
    assert await get(host, "FRAME_ERRORS") == errors
    assert await get(host, "OVERRUNS") == 0
    assert host.violations == []


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_result_stays_while_it_is_read(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"], (FASTEST, FASTEST))
    seen = 0
    for frame in CASE["frames"]:
        await send(host, frame)
        await ClockCycles(dut.clk, host.rng.randint(1, CASE["latency"]))
        found = await latest(host)
        assert found[0] >= seen
        seen = found[0]
        assert not seen or found == expected(seen, CASE["results"][seen - 1])
    await rested(host)
    assert await latest(host) == expected(len(CASE["results"]), CASE["results"][-1])


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def frames_without_room_are_dropped_whole(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"], (FASTEST, FASTEST))
    golden = Golden(program_file.load(CASE["model"]))
    state = golden.initial_state()
    await host.write(OFFSETS["IRQ_ENABLE"], OVERRUN)
    whole = [frame["values"] for frame in CASE["frames"] if len(frame["values"]) == CASE["inputs"]]
    lost = number = 0
    result = None
    for _ in range(6):
        for values in whole[: host.rng.randint(2, 6)]:
            await host.frame(tuple(values), SIZE)
            await ClockCycles(dut.clk, 4)
            if int(dut.irq.value):
                lost += 1
                await host.write(OFFSETS["IRQ_STATUS"], OVERRUN)
                continue
            found = golden.step(np.array([values]), state)
            if "logits" in found:
                number += 1
                result = found["logits"][0]
        await rested(host)
    if result is not None:
        label, score = decide(result)
        want = (number % 256, int(label), int(score), [int(value) for value in result])
        assert await latest(host) == want
    assert await get(host, "OVERRUNS") == lost
    assert bool(lost) == CASE["overruns"]
    assert await get(host, "FRAME_ERRORS") == 0
    assert await get(host, "DECISIONS") == number


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def every_register_and_address(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"])
    fixed = CASE["constants"] | dict.fromkeys(("FRAMES", "FRAME_ERRORS", "DECISIONS", "OVERRUNS", "HEARD_LABEL"), 0)
    by_offset = {register.offset: register for register in REGISTERS if register.name in CASE["present"]}
    for address in range(0, 256, 4):
        register = by_offset.get(address)
        value = await host.read(address + host.rng.randrange(4))
        assert await host.status("refused") == (register is None)
        await host.write(address, ~value & 0xFFFFFFFF)
        refused = register is None or register.access is Access.READ
        assert await host.status("refused") == refused, hex(address)
        if register is None:
            assert value == 0
            continue
        if register.name in fixed:
            assert value == fixed[register.name], register.name
        again = await host.read(address)
        if register.access is Access.READ_WRITE:
            assert again == ~value & ((1 << CASE["widths"][register.name]) - 1), register.name
            await host.write(address, 1, 2, value)
            assert await host.read(address) == value
        elif register.name != "STATUS":
            assert again == value, register.name
    for command in (6, 0x55, 0xFF):
        await host.transfer(bytes([command]) + host.rng.randbytes(6))
        assert await host.status("refused")
        assert not await host.status("refused")
    assert host.violations == []


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def interrupts(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    host = await started(dut, CASE["seed"])
    decided = [(one["label"], one["score"]) for one in CASE["results"]]
    middle = sorted(score for _, score in decided)[len(decided) // 2]
    for threshold, mask in ((middle, (1 << CASE["labels"]) - 1), (middle + 1, 1 << decided[-1][0]), (middle, 0)):
        host = await started(dut, CASE["seed"], load=False)
        for register in range(-(-CASE["labels"] // 32)):
            await host.write(OFFSETS[f"LABEL_MASK{register}"], mask >> 32 * register & 0xFFFFFFFF)
        await host.write(OFFSETS["THRESHOLD"], threshold & 0xFFFFFFFF)
        await host.write(OFFSETS["IRQ_ENABLE"], HEARD)
        await play(host)
        heard = [(label, score) for label, score in decided if mask >> label & 1 and score >= threshold]
        assert int(dut.irq.value) == bool(heard) == await host.status("irq")
        assert await get(host, "IRQ_STATUS") == HEARD * bool(heard) | DROPPED | RESULT
        label, score = heard[-1] if heard else (0, 0)
        assert await get(host, "HEARD_LABEL") == label
        assert await get(host, "HEARD_SCORE") == score & 0xFFFFFFFF
        await host.write(OFFSETS["IRQ_ENABLE"], RESULT)
        assert int(dut.irq.value) == 1
        await host.write(OFFSETS["IRQ_STATUS"], RESULT)
        assert int(dut.irq.value) == 0
        assert await get(host, "IRQ_STATUS") == HEARD * bool(heard) | DROPPED
    assert not await host.status("result")
    while not await host.status("result"):
        values = next(frame["values"] for frame in CASE["frames"] if len(frame["values"]) == CASE["inputs"])
        await host.frame(tuple(values), SIZE)
        await rested(host)
    assert int(dut.irq.value) == 1
    await latest(host)
    assert not await host.status("result")


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def damaged_and_foreign_images_are_noticed(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    if not CASE["writes"]:
        return
    host = await started(dut, CASE["seed"], load=False)
    assert await get(host, "STATUS") & FOREIGN
    await host.write(OFFSETS["LOAD_DATA"], 0)
    assert await host.status("refused")
    for _ in range(3):
        await load_weights(host, flip=16 + host.rng.randrange(32))
        assert await get(host, "LOAD_CRC") != CASE["crc"]
    await host.write(OFFSETS["LOAD_SHAPE"], CASE["constants"]["SHAPE_ID"] ^ 1 << host.rng.randrange(32))
    assert await get(host, "STATUS") & FOREIGN
    await host.write(OFFSETS["LOAD_DATA"], 0)
    assert await host.status("refused")
    await load_weights(host)
    assert not await host.status("refused")
    assert await get(host, "LOAD_CRC") == CASE["crc"]
    await play(host)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_reset_in_the_middle_leaves_nothing(dut):
    Clock(dut.clk, CYCLE, unit="ns", impl="gpi").start()
    for number in range(4):
        host = await started(dut, CASE["seed"] + number, load=number == 0)
        for frame in CASE["frames"][: host.rng.randint(1, 4)]:
            await host.frame(tuple(frame["values"]), SIZE)
        cut = host.rng.randrange(1, 8 * (1 + SIZE * CASE["inputs"]))
        await host.transfer(bytes([Command.FRAME]) + host.rng.randbytes(SIZE * CASE["inputs"]), bits=cut)
        dut.rst.value = 1
        await RisingEdge(dut.clk)
    host = await started(dut, CASE["seed"], load=False)
    assert await get(host, "FRAMES") == 0
    await play(host)
