"""Runs inside the simulator for test_axi.py: the AXI wrapper with agents on all of its channels."""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from lmu_hw.gateware.bus.axi_lite import OKAY, SLVERR
from lmu_hw.host.registers import OFFSETS, REGISTERS, Access
from lmu_sim.testing.axi import AxiBench

CASE = json.loads(Path(os.environ["LMU_AXI_CASE"]).read_text())
HEARD, DROPPED = 1, 2
FOREIGN = 4


async def started(dut, stall, seed):
    bench = AxiBench(dut, stall, seed)
    await bench.start()
    for name, value in CASE["writes"]:
        assert await bench.write(OFFSETS[name], value) == OKAY, name
    if CASE["writes"]:
        assert await get(bench, "LOAD_CRC") == CASE["crc"]
    return bench


async def get(bench, name):
    value, response = await bench.read(OFFSETS[name])
    assert response == OKAY, name
    return value


async def put(bench, name, value):
    assert await bench.write(OFFSETS[name], value) == OKAY, name


async def play(bench):
    """Send all frames, with their marks, and wait until the accelerator says that it rests."""
    for frame in CASE["frames"]:
        if frame["clear"]:
            await bench.sent()
            await put(bench, "CONTROL", 1)
        bench.send(frame["values"], frame["end"])
    await bench.sent()
    while await get(bench, "STATUS") & 1:
        pass


def compare(bench):
    assert bench.violations == []
    last, width = CASE["labels"] - 1, 8 * CASE["score_bytes"]
    mask = (1 << width) - 1
    assert bench.logits.taken == [
        (value & mask, int(place == last)) for one in CASE["results"] for place, value in enumerate(one["logits"])
    ]
    shift = 8 * CASE["label_bytes"]
    assert bench.decisions.taken == [(one["label"] | (one["score"] & mask) << shift, 1) for one in CASE["results"]]


async def pestering(bench, seed):
    """Read and write registers all the time; what is written changes nothing in the streams."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.5:
            await bench.read(rng.randrange(256))
        else:
            name = rng.choice(["THRESHOLD", "LABEL_MASK0", "IRQ_ENABLE", "IRQ_STATUS", "FRAMES"])
            await bench.write(OFFSETS[name], rng.getrandbits(32), rng.choice([0, 7, 15]))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def streams_are_exact(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    for number, stall in enumerate((0.0, 0.3, 0.8)):
        bench = await started(dut, stall, 10 * CASE["seed"] + number)
        assert await get(bench, "STATUS") == 0
        disturbance = cocotb.start_soon(pestering(bench, number))
        await play(bench)
        disturbance.cancel()
        compare(bench)
        await ClockCycles(dut.aclk, 40)
        bench.stop()
        await ClockCycles(dut.aclk, 2)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_reset_in_the_middle_leaves_nothing(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    rng = random.Random(CASE["seed"])
    for number in range(6):
        bench = await started(dut, 0.3, CASE["seed"] + number)
        disturbance = cocotb.start_soon(pestering(bench, number))
        for frame in CASE["frames"]:
            bench.send(frame["values"], frame["end"])
        await ClockCycles(dut.aclk, rng.randrange(2, 3 * CASE["cycles"]))
        disturbance.cancel()
        assert bench.violations == []
        bench.stop()
    bench = await started(dut, 0.1, CASE["seed"])
    await play(bench)
    compare(bench)
    assert await get(bench, "DECISIONS") == len(CASE["results"])


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def counters_and_rest(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    bench = await started(dut, 0.2, CASE["seed"])
    errors = sum(len(frame["values"]) != CASE["inputs"] for frame in CASE["frames"])
    bench.send(CASE["frames"][0]["values"][:1] * (CASE["inputs"] + 1))
    await bench.sent()
    # Where frames may be asleep, rest is only waited for after frames that are awake.
    assert await get(bench, "STATUS") & 1 != bool(CASE["asleep"])
    await play(bench)
    assert await get(bench, "STATUS") == 0
    assert len(bench.decisions.taken) == len(CASE["results"]) == await get(bench, "DECISIONS")
    assert await get(bench, "FRAMES") == len(CASE["frames"]) - errors
    assert await get(bench, "FRAME_ERRORS") == errors + 1
    if CASE["asleep"]:
        assert await get(bench, "FRAMES_ASLEEP") == CASE["asleep"]
    assert bench.violations == []


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_register_and_address(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    bench = await started(dut, 0.3, CASE["seed"])
    constants = CASE["constants"] | {
        "FRAMES": 0, "DECISIONS": 0, "FRAME_ERRORS": 0, "HEARD_LABEL": 0, "HEARD_SCORE": 0, "STATUS": 0,
        "CONTROL": 0, "LOAD_DATA": 0, "IRQ_STATUS": 0, "LOAD_CRC": 0,
    }  # fmt: skip
    by_offset = {register.offset: register for register in REGISTERS if register.name in CASE["present"]}
    widths = CASE["widths"]
    for address in range(256):
        register = by_offset.get(address & ~3)
        value, response = await bench.read(address)
        if register is None:
            assert (value, response) == (0, SLVERR), hex(address)
            assert await bench.write(address, 0xFFFFFFFF) == SLVERR, hex(address)
            continue
        assert response == OKAY, register.name
        before = value
        if register.name in constants:
            assert value == constants[register.name], register.name
        if register.access is Access.READ:
            assert await bench.write(address, ~value & 0xFFFFFFFF) == SLVERR, register.name
            assert (await bench.read(address))[0] == value, register.name
            continue
        for strobes in range(15):
            assert await bench.write(address, 0xFFFFFFFF, strobes) == SLVERR
        assert (await bench.read(address))[0] == before, register.name
        if register.access is Access.READ_WRITE:
            for pattern in (0xFFFFFFFF, 0, 0xA5A5A5A5, 0x5A5A5A5A):
                assert await bench.write(address, pattern) == OKAY
                assert (await bench.read(address))[0] == pattern & ((1 << widths[register.name]) - 1), register.name
            assert await bench.write(address, 0) == OKAY
    assert bench.violations == []


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def interrupts(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    decided = [(one["label"], one["score"]) for one in CASE["results"]]
    scores = sorted(score for _, score in decided)
    heard_labels = {label for label, _ in decided}
    middle = scores[len(scores) // 2]
    everything = (1 << CASE["labels"]) - 1
    settings = [
        (0, -(1 << 31)),
        (everything, 0x7FFFFFFF),
        (everything, middle),
        (everything, middle + 1),
        *((1 << label, scores[0]) for label in sorted(heard_labels)[-3:]),
        (everything & ~(1 << max(heard_labels)), -(1 << 31)),
    ]
    for number, (mask, threshold) in enumerate(settings):
        bench = await started(dut, 0.1, CASE["seed"] + number)
        for register in range(-(-CASE["labels"] // 32)):
            await put(bench, f"LABEL_MASK{register}", mask >> 32 * register & 0xFFFFFFFF)
        await put(bench, "THRESHOLD", threshold & 0xFFFFFFFF)
        await put(bench, "IRQ_ENABLE", HEARD)
        assert int(dut.irq.value) == 0
        await play(bench)
        heard = [(label, score) for label, score in decided if mask >> label & 1 and score >= threshold]
        errors = any(len(frame["values"]) != CASE["inputs"] for frame in CASE["frames"])
        assert await get(bench, "IRQ_STATUS") == HEARD * bool(heard) | DROPPED * errors
        assert int(dut.irq.value) == bool(heard)
        label, score = heard[-1] if heard else (0, 0)
        assert await get(bench, "HEARD_LABEL") == label
        assert await get(bench, "HEARD_SCORE") == score & 0xFFFFFFFF
        await put(bench, "IRQ_STATUS", DROPPED)
        assert await get(bench, "IRQ_STATUS") == HEARD * bool(heard)
        await put(bench, "IRQ_STATUS", 0)
        assert await get(bench, "IRQ_STATUS") == HEARD * bool(heard)
        await put(bench, "IRQ_STATUS", HEARD)
        assert await get(bench, "IRQ_STATUS") == 0
        assert int(dut.irq.value) == 0
        await put(bench, "IRQ_ENABLE", DROPPED)
        bench.send([0] * (CASE["inputs"] + 1))
        await bench.sent()
        await ClockCycles(dut.aclk, 4)
        assert int(dut.irq.value) == 1
        assert await get(bench, "IRQ_STATUS") == DROPPED
        await put(bench, "IRQ_ENABLE", 0)
        assert int(dut.irq.value) == 0
        assert bench.violations == []
        bench.stop()
        await ClockCycles(dut.aclk, 2)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def loading_waits_for_the_frame(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    bench = await started(dut, 0.0, CASE["seed"])
    if not CASE["writes"]:
        for name in ("LOAD_SHAPE", "LOAD_MEMORY", "LOAD_ADDRESS", "LOAD_DATA"):
            assert await bench.write(OFFSETS[name], 0) == SLVERR
        return
    bench.decisions.stall = bench.logits.stall = 1.0  # what is not taken keeps the next frame waiting
    giving = next(frame["values"] for frame in CASE["frames"] if len(frame["values"]) == CASE["inputs"])
    for _ in range(3 * CASE["period"]):
        bench.send(giving)
    await ClockCycles(dut.aclk, CASE["cycles"] * 3 * CASE["period"])
    address = CASE["last"][1]
    await put(bench, "LOAD_MEMORY", CASE["last"][0])
    await put(bench, "LOAD_ADDRESS", address)
    for _, value in CASE["writes"][-CASE["beats"] :]:
        await put(bench, "LOAD_DATA", value)
    assert await get(bench, "STATUS") == 3
    for name in ("LOAD_DATA", "LOAD_ADDRESS", "LOAD_MEMORY", "LOAD_SHAPE"):
        assert await bench.write(OFFSETS[name], 0) == SLVERR
    assert await get(bench, "LOAD_ADDRESS") == address
    bench.decisions.stall = bench.logits.stall = 0.0
    await bench.sent()
    while await get(bench, "STATUS"):
        pass
    assert await get(bench, "LOAD_ADDRESS") == (address + 1) % (1 << CASE["widths"]["LOAD_ADDRESS"])
    assert await get(bench, "DECISIONS") == 3
    assert bench.violations == []


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_foreign_image_is_refused(dut):
    Clock(dut.aclk, 10, unit="ns", impl="gpi").start()
    bench = await started(dut, 0.2, CASE["seed"])
    if not CASE["writes"]:
        return
    shape = CASE["constants"]["SHAPE_ID"]
    for wrong in (shape ^ 1, shape ^ 1 << 31, 0):
        await put(bench, "LOAD_SHAPE", wrong)
        assert await get(bench, "STATUS") == FOREIGN
        for name, value in CASE["writes"][1 : 3 + CASE["beats"]]:
            assert await bench.write(OFFSETS[name], value) == (SLVERR if name == "LOAD_DATA" else OKAY)
        assert await get(bench, "STATUS") == FOREIGN
        assert await get(bench, "LOAD_ADDRESS") == 0
    await put(bench, "LOAD_SHAPE", shape)
    assert await get(bench, "STATUS") == 0
    assert await get(bench, "LOAD_CRC") == 0
    await play(bench)
    compare(bench)
