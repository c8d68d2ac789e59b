"""Each block of the accelerator on its own, the rules of its streams, and the structure of the whole netlist."""

import itertools
import json
import os
import time

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from lmu_hw.config import AcceleratorConfig
from lmu_hw.emit import to_verilog
from lmu_hw.fixed import Format, Quantizer
from lmu_hw.gateware.accelerator import Accelerator
from lmu_hw.gateware.frame_input import FrameInput
from lmu_hw.gateware.frame_output import FrameOutput
from lmu_hw.gateware.lanes import Lanes
from lmu_hw.gateware.memory import ReadOnly, SinglePort
from lmu_hw.gateware.state import LayerState
from lmu_hw.golden import Golden, decide
from lmu_hw.plan import make_plan
from lmu_hw.program import QuantizedDense, QuantizedModel, Weights
from lmu_sim.random_models import random_frames, random_model
from lmu_sim.tools import find_yosys, run_tool


def simulate(dut, *testbenches, cycles=20_000):
    """Run testbenches; the first ones may end, and the whole must within a number of cycles."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def deadline(ctx):
        await ctx.tick().repeat(cycles)
        raise TimeoutError(f"the simulation did not end within {cycles} cycles")

    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.add_testbench(deadline, background=True)
    simulator.run()


def dense_plan(inputs=3, outputs=4, score=None, **config):
    """Plan of one dense layer, the smallest accelerator that there is."""
    weights = Weights(np.ones((outputs, inputs), int), 2, np.zeros(outputs, int))
    layer = QuantizedDense(weights, Quantizer(score or Format(4, 0)))
    return make_plan(QuantizedModel((layer,), Format(5, 0)), AcceleratorConfig(**{"lanes": 2} | config))


# Memories


@pytest.mark.parametrize("shape", [signed(5), unsigned(7)])
@pytest.mark.parametrize("depth", [1, 2, 5, 16])
def test_a_single_port_reads_what_was_written_and_holds_it(shape, depth):
    rng = np.random.default_rng(depth)
    dut = SinglePort(shape, depth)
    low = -(1 << shape.width - 1) if shape.signed else 0

    async def testbench(ctx):
        kept, shown = {}, None
        for _ in range(200):
            address = int(rng.integers(depth))
            action = rng.choice(["read", "write", "none"]) if address in kept else "write"
            value = low + int(rng.integers(1 << shape.width))
            ctx.set(dut.address, address)
            ctx.set(dut.read, action == "read")
            ctx.set(dut.write, action == "write")
            ctx.set(dut.w_data, value)
            await ctx.tick()
            if action == "write":
                kept[address] = value
            elif action == "read":
                shown = kept[address]
            if shown is not None:
                assert ctx.get(dut.r_data) == shown

    simulate(dut, testbench)


@pytest.mark.parametrize("words", [[9], [3, 0], [1, 2, 3, 14, 15]])
def test_a_read_only_memory_has_its_words_and_holds_the_last(words):
    dut = ReadOnly(unsigned(4), words)

    async def testbench(ctx):
        for address, word in enumerate(words):
            ctx.set(dut.address, address)
            ctx.set(dut.read, 1)
            await ctx.tick()
            assert ctx.get(dut.r_data) == word
            ctx.set(dut.read, 0)
            ctx.set(dut.address, 0)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.r_data) == word

    simulate(dut, testbench)


# Input


class InputModel:
    """What `FrameInput` promises, from the accepted elements and the pulses."""

    def __init__(self, size, policy):
        self.size, self.policy = size, policy
        self.elements, self.clear, self.pending = [], False, False
        self.frames, self.errors = [], 0

    def cycle(self, accepted, element, last, end, pulse):
        pulse = pulse and self.policy == "pulse"
        if accepted and not self.elements:
            self.clear, self.pending = self.pending or pulse, False
        elif pulse:
            self.pending = True
        if accepted:
            self.elements.append(element)
        if accepted and last:
            end = end and self.policy == "utterance"
            if len(self.elements) == self.size:
                self.frames.append((self.elements, self.clear, end))
            else:
                self.errors += 1
                self.pending |= self.clear or end
            self.elements = []


@pytest.mark.parametrize("policy", ["keep", "pulse", "utterance"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_input_collects_frames_drops_wrong_ones_and_carries_the_marks(size, policy):
    rng = np.random.default_rng(size)
    dut = FrameInput(dense_plan(inputs=size, state=policy))
    model = InputModel(size, policy)
    wanted = 60

    async def testbench(ctx):
        used, errors, left, memory, waited = [], 0, 0, {}, 0
        offer = None
        while len(used) < wanted:
            if offer is None and rng.random() < 0.8:
                if left == 0:
                    left = size if rng.random() < 0.7 else int(rng.integers(1, 2 * size + 2))
                offer = {"data": int(rng.integers(-16, 16)), "last": left == 1}
                if policy == "utterance":
                    offer["end"] = bool(rng.random() < 0.3)
            pulse = policy == "pulse" and rng.random() < 0.1
            full = ctx.get(dut.full)
            waited = waited + 1 if full else 0
            release = bool(full and waited > 1 and rng.random() < 0.4)
            ctx.set(dut.i.valid, offer is not None)
            if offer is not None:
                ctx.set(dut.i.payload, offer)
            ctx.set(dut.clear, pulse)
            ctx.set(dut.release, release)
            ready = ctx.get(dut.i.ready)
            assert ready == (not full)
            accepted = bool(offer is not None and ready)
            if ctx.get(dut.write):
                assert accepted
                memory[ctx.get(dut.address)] = offer["data"]
            if full:
                elements, clear, end = model.frames[-1]
                assert [memory[i] for i in range(size)] == elements
                assert (ctx.get(dut.frame_clear), ctx.get(dut.frame_end)) == (clear, end)
                if release:
                    used.append(model.frames[-1])
            model.cycle(accepted, *([*offer.values(), False][:3] if offer else (0, False, False)), pulse)
            if accepted:
                left, offer = left - 1, None
            await ctx.tick()
            errors += ctx.get(dut.frame_error)
            assert errors == model.errors
            assert ctx.get(dut.full) == (len(model.frames) > len(used))
        assert used == model.frames[: len(used)]
        assert errors > 5
        if policy != "keep":
            assert len({frame[1:] for frame in used}) > 1

    simulate(dut, testbench)


# Output


@pytest.mark.parametrize("score", [Format(3, 0), Format(2, 0, signed=False), Format(9, 4)])
@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("stall", [0.0, 0.5, 0.9])
def test_output_gives_every_logit_and_decision_under_stalls(outputs, score, stall):
    rng = np.random.default_rng(outputs)
    plan = dense_plan(outputs=outputs, score=score)
    dut = FrameOutput(plan)
    frames = rng.integers(score.min, score.max, (25, outputs), endpoint=True)
    frames[3] = score.min
    frames[4] = score.max
    if score.signed:
        frames[5:8] = -np.abs(frames[5:8]) - (frames[5:8] == 0)
    logits, decisions = [], []

    async def write(ctx):
        for number, frame in enumerate(frames.tolist()):
            while not ctx.get(dut.free):
                await ctx.tick()
            assert (len(logits), len(decisions)) == (number * outputs, number)
            ctx.set(dut.claim, 1)
            await ctx.tick()
            ctx.set(dut.claim, 0)
            assert not ctx.get(dut.free)
            for value in frame:
                await ctx.tick().repeat(int(rng.integers(1, 4)))
                ctx.set(dut.write, 1)
                ctx.set(dut.data, value)
                await ctx.tick()
                ctx.set(dut.write, 0)
                ctx.set(dut.data, 0)
            assert ctx.get(dut.o_decision.valid)
        while not ctx.get(dut.free):
            await ctx.tick()

    def taker(port, found):
        async def take(ctx):
            held = None
            while True:
                ready = bool(rng.random() >= stall)
                ctx.set(port.ready, ready)
                _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
                assert held is None or (valid and payload == held), "a waiting beat was changed or withdrawn"
                held = payload if valid and not ready else None
                if valid and ready:
                    found.append(payload)

        return take

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(write)
    simulator.add_testbench(taker(dut.o_logits, logits), background=True)
    simulator.add_testbench(taker(dut.o_decision, decisions), background=True)

    async def deadline(ctx):
        await ctx.tick().repeat(20_000)
        raise TimeoutError("the outputs did not come")

    simulator.add_testbench(deadline, background=True)
    simulator.run()
    assert_array_equal([beat.data for beat in logits], frames.reshape(-1))
    assert_array_equal([beat.last for beat in logits], np.tile(np.arange(outputs) == outputs - 1, len(frames)))
    label, largest = decide(frames)
    assert_array_equal([beat.label for beat in decisions], label)
    assert_array_equal([beat.score for beat in decisions], largest)


# Lanes


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_lanes_sum_products_and_hold_the_sums(lanes):
    rng = np.random.default_rng(lanes)
    plan = make_plan(random_model(rng, layers=("lmu", "dense"), e_m=True, w_x=True), AcceleratorConfig(lanes=lanes))
    dut = Lanes(plan)
    width, accumulator = dut.weight_width, plan.accumulator_width
    limit = (1 << accumulator - 1) - 1

    async def testbench(ctx):
        held = [0] * lanes
        for _ in range(40):
            length = int(rng.integers(1, 6))
            total = [0] * lanes
            for index in range(length):
                while rng.random() < 0.3:
                    ctx.set(dut.enable, 0)
                    ctx.set(dut.last, int(rng.integers(2)))
                    await ctx.tick()
                shift = int(rng.integers(len(dut.product_shifts)))
                reach = limit // (6 << dut.product_shifts[shift] + width - 1)
                activation = int(np.clip(rng.integers(-128, 128), -reach, reach))
                weights = rng.integers(-(1 << width - 1), 1 << width - 1, lanes).tolist()
                ctx.set(dut.enable, 1)
                ctx.set(dut.first, index == 0)
                ctx.set(dut.last, index == length - 1)
                ctx.set(dut.shift, shift)
                ctx.set(dut.activation, activation)
                ctx.set(dut.weights, sum((w & ((1 << width) - 1)) << (lane * width) for lane, w in enumerate(weights)))
                total = [t + (w * activation << dut.product_shifts[shift]) for t, w in zip(total, weights, strict=True)]
                word = ctx.get(dut.sums)
                fields = [word >> (lane * accumulator) & ((1 << accumulator) - 1) for lane in range(lanes)]
                assert fields == [value & ((1 << accumulator) - 1) for value in held]
                await ctx.tick()
            held = total
            ctx.set(dut.enable, 0)

    simulate(dut, testbench)


# State


@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (3, 1), (1, 4)])
def test_layer_state_follows_strides_and_clears(strides):
    rng = np.random.default_rng(sum(strides))
    layers = [random_model(rng, layers=("lmu",), inputs=3, units=3, stride=s).layers[0] for s in strides]
    plan = make_plan(QuantizedModel(tuple(layers), Format(5, 0)), AcceleratorConfig(lanes=2))
    dut = LayerState(plan)
    kinds = list(itertools.product(range(len(strides)), "mh"))

    async def testbench(ctx):
        phase = [0] * len(strides)
        valid, turn = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
        for _ in range(150):
            clear, end = bool(rng.random() < 0.1), bool(rng.random() < 0.1)
            ctx.set(dut.start, 1)
            ctx.set(dut.clear, clear)
            ctx.set(dut.end, end)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.clear, bool(rng.integers(2)))
            ctx.set(dut.end, bool(rng.integers(2)))
            if clear:
                phase, valid = [0] * len(strides), dict.fromkeys(kinds, 0)
            closing, running = [], True
            for index, stride in enumerate(strides):
                closing.append(running and phase[index] == stride - 1)
                if running:
                    phase[index] = (phase[index] + 1) % stride
                    written = [(index, "m"), (index, "h")] if closing[index] else [(index, "m")]
                    turn |= {key: 1 - turn[key] for key in written}
                    valid_after = valid | dict.fromkeys(written, 1)
                else:
                    valid_after = valid
                running = closing[index]
                await ctx.tick().repeat(int(rng.integers(1, 3)))
                assert {key: ctx.get(dut.valid(*key)) for key in kinds} == before_finish(valid, index)
                pending[index] = valid_after
                valid = valid_after
            assert ctx.get(dut.closes) == sum(1 << index for index, closes in enumerate(closing) if closes)
            ctx.set(dut.finish, 1)
            await ctx.tick()
            ctx.set(dut.finish, 0)
            if end:
                phase, valid = [0] * len(strides), dict.fromkeys(kinds, 0)
            assert {key: ctx.get(dut.valid(*key)) for key in kinds} == valid
            assert {key: ctx.get(dut.turn(*key)) for key in kinds} == turn

    simulate(dut, testbench)
