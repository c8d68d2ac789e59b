"""Each block of the accelerator on its own, the rules of its streams, and the structure of the whole netlist."""

import itertools
import json
import os
import time

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Module, signed, unsigned
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from lmu_hw.export.emit import to_verilog
from lmu_hw.gateware.accelerator import Accelerator
from lmu_hw.gateware.clock_gate import FREE
from lmu_hw.gateware.frame_input import FrameInput
from lmu_hw.gateware.frame_output import FrameOutput
from lmu_hw.gateware.lanes import Lanes
from lmu_hw.gateware.memory import BankedSinglePort, ReadOnly, SinglePort
from lmu_hw.gateware.state import LayerState
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedDense, QuantizedModel, Weights
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.tools import find_yosys, run_tool
from lmu_sim.testing.random_models import random_frames, random_model


def simulate(dut, *testbenches, background=(), cycles=20_000):
    """Run testbenches to their end, which must come within a number of cycles."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def deadline(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise TimeoutError(f"the simulation did not end within {cycles} cycles")

    for testbench in (*background, deadline):  # before the others, which look at what was taken
        simulator.add_testbench(testbench, background=True)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run()


def taker(rng, stall, port, found):
    """A testbench that takes beats, with stalls, and checks that a waiting beat stays as it is."""

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


def dense_plan(inputs=3, outputs=4, score=None, **config):
    """Plan of one dense layer, the smallest accelerator that there is."""
    weights = Weights(np.ones((outputs, inputs), int), 2, np.zeros(outputs, int))
    layer = QuantizedDense(weights, Quantizer(score or Format(4, 0)))
    return make_plan(QuantizedModel((layer,), Format(5, 0)), AcceleratorConfig(**{"lanes": 2} | config))


# Memories


async def random_accesses(ctx, dut, shape, depth, count):
    """Reads of what was written, writes, and cycles with neither; after each its kind, address, and all contents."""
    rng = np.random.default_rng(depth)
    low = -(1 << shape.width - 1) if shape.signed else 0
    kept = {}
    for _ in range(count):
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
        yield action, address, kept


@pytest.mark.parametrize("shape", [signed(5), unsigned(7)])
@pytest.mark.parametrize("depth", [1, 2, 5, 16])
def test_a_single_port_reads_what_was_written_and_holds_it(shape, depth):
    dut = SinglePort(shape, depth)

    async def testbench(ctx):
        shown = None
        async for action, address, kept in random_accesses(ctx, dut, shape, depth, 200):
            if action == "read":
                shown = kept[address]
            if shown is not None:
                assert ctx.get(dut.r_data) == shown

    simulate(dut, testbench)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("depth", "bank_words"), [(40, 16), (16, 16), (9, 8), (70, 4), (1, 4), (2, 8)])
def test_a_banked_memory_reads_what_was_written(depth, bank_words, gated):
    dut = BankedSinglePort(signed(6), depth, bank_words, gated=gated)
    top = Module()
    top.domains += ClockDomain(FREE, reset_less=True)
    top.d.comb += ClockSignal(FREE).eq(ClockSignal())
    top.submodules.dut = dut

    async def testbench(ctx):
        async for action, address, kept in random_accesses(ctx, dut, signed(6), depth, 6 * depth + 40):
            if action == "read":
                assert ctx.get(dut.r_data) == kept[address]
        assert set(kept) <= set(range(depth))
        for address, value in kept.items():
            ctx.set(dut.address, address)
            ctx.set(dut.read, 1)
            ctx.set(dut.write, 0)
            await ctx.tick()
            assert ctx.get(dut.r_data) == value

    simulate(top, testbench)


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
            full = ctx.get(dut.frames.valid)
            waited = waited + 1 if full else 0
            release = bool(full and waited > 1 and rng.random() < 0.4)
            ctx.set(dut.i.valid, offer is not None)
            if offer is not None:
                ctx.set(dut.i.payload, offer)
            ctx.set(dut.clear, pulse)
            ctx.set(dut.frames.ready, release)
            ready = ctx.get(dut.i.ready)
            assert ready == (not full)
            accepted = bool(offer is not None and ready)
            if ctx.get(dut.write.valid):
                assert accepted
                assert ctx.get(dut.write.data) == offer["data"]
                memory[ctx.get(dut.write.address)] = offer["data"]
            if full:
                elements, clear, end = model.frames[-1]
                assert [memory[i] for i in range(size)] == elements
                assert (ctx.get(dut.frames.payload.clear), ctx.get(dut.frames.payload.end)) == (clear, end)
                if release:
                    used.append(model.frames[-1])
            model.cycle(accepted, *([*offer.values(), False][:3] if offer else (0, False, False)), pulse)
            if accepted:
                left, offer = left - 1, None
            await ctx.tick()
            errors += ctx.get(dut.frame_error)
            assert errors == model.errors
            assert ctx.get(dut.frames.valid) == (len(model.frames) > len(used))
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
            while not ctx.get(dut.claim.ready):
                await ctx.tick()
            assert (len(logits), len(decisions)) == (number * outputs, number)
            ctx.set(dut.claim.valid, 1)
            await ctx.tick()
            ctx.set(dut.claim.valid, 0)
            assert not ctx.get(dut.claim.ready)
            for value in frame:
                await ctx.tick().repeat(int(rng.integers(1, 4)))
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload, value)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.i.payload, 0)
            assert ctx.get(dut.o_decision.valid)
        while not ctx.get(dut.claim.ready):
            await ctx.tick()

    takers = (taker(rng, stall, dut.o_logits, logits), taker(rng, stall, dut.o_decision, decisions))
    simulate(dut, write, background=takers)
    assert_array_equal([beat.data for beat in logits], frames.reshape(-1))
    assert_array_equal([beat.last for beat in logits], np.tile(np.arange(outputs) == outputs - 1, len(frames)))
    label, largest = decide(frames)
    assert_array_equal([beat.label for beat in decisions], label)
    assert_array_equal([beat.score for beat in decisions], largest)


# Lanes


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_lanes_sum_products_and_hold_the_sums(lanes, isolated):
    rng = np.random.default_rng(lanes)
    model = random_model(rng, layers=("lmu", "dense"), memories=[(2, 5.0)], weight_width=4, e_m=True, w_x=True)
    plan = make_plan(model, AcceleratorConfig(lanes=lanes, isolate_operands=isolated))
    dut, bits = Lanes(plan), plan.lane_plan
    width, accumulator = bits.wide + 1, plan.accumulator_width
    limit = (1 << accumulator - 1) - 1

    async def testbench(ctx):
        held = [0] * lanes
        for number in range(40):
            length, wide = int(rng.integers(1, 6)), bool(bits.wide_lanes and number % 3)
            working = bits.wide_lanes if wide else lanes
            total = [0] * lanes
            for index in range(length):
                while rng.random() < 0.3:
                    ctx.set(dut.products.valid, 0)
                    ctx.set(dut.products.last, int(rng.integers(2)))
                    await ctx.tick()
                shift = int(rng.integers(len(plan.product_shifts)))
                magnitudes = (1 << bits.wide) - 1 if wide or not bits.wide_lanes else 8
                reach = min(limit // (6 * magnitudes), (1 << bits.operand) - 1) >> plan.product_shifts[shift]
                activation = int(np.clip(rng.integers(-128, 128), -reach, reach))
                weights = rng.integers(-magnitudes, magnitudes, lanes, endpoint=True)
                weights[working:] = 0
                word = sum(
                    int(abs(weight) | (weight < 0) << bits.wide) << lane * width for lane, weight in enumerate(weights)
                )
                operands = {"shift": shift, "activation": activation, "weights": word}
                if bits.wide_lanes:
                    operands["wide"] = wide
                ctx.set(dut.products.valid, 1)
                for name, value in (operands | {"first": index == 0, "last": index == length - 1}).items():
                    ctx.set(getattr(dut.products, name), value)
                products = [int(weight) * activation << plan.product_shifts[shift] for weight in weights]
                total = [t + product for t, product in zip(total, products, strict=True)]
                await ctx.tick()
                word = ctx.get(dut.sums)
                fields = [word >> (lane * accumulator) & ((1 << accumulator) - 1) for lane in range(lanes)]
                assert fields == [value & ((1 << accumulator) - 1) for value in held]
            held = total[:working] + held[working:]
            ctx.set(dut.products.valid, 0)
            await ctx.tick().repeat(2)

    simulate(dut, testbench)


# State


@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (3, 1), (1, 4)])
def test_layer_state_follows_strides_and_clears(strides):
    rng = np.random.default_rng(sum(strides))
    options = {"layers": ("lmu",), "inputs": 3, "units": 3, "e_h": True, "w_h": True}
    layers = [random_model(rng, stride=stride, **options).layers[0] for stride in strides]
    plan = make_plan(QuantizedModel(tuple(layers), Format(5, 0)), AcceleratorConfig(lanes=2))
    dut = LayerState(plan)
    kinds = list(itertools.product(range(len(strides)), "mh"))

    async def testbench(ctx):
        phase = [0] * len(strides)
        valid, turn = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
        for _ in range(150):
            clear, end = bool(rng.random() < 0.1), bool(rng.random() < 0.1)
            ctx.set(dut.start, 1)
            ctx.set(dut.frame, {"clear": clear, "end": end})
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.frame, {"clear": bool(rng.integers(2)), "end": bool(rng.integers(2))})
            if clear:
                phase, valid = [0] * len(strides), dict.fromkeys(kinds, 0)
            closing, written, running = [], [], True
            for index, stride in enumerate(strides):
                closing.append(running and phase[index] == stride - 1)
                if running:
                    phase[index] = (phase[index] + 1) % stride
                    written += [(index, "m"), (index, "h")] if closing[index] else [(index, "m")]
                running = closing[index]
            await ctx.tick().repeat(int(rng.integers(1, 4)))
            assert ctx.get(dut.closes) == sum(1 << index for index, closes in enumerate(closing) if closes)
            assert {key: ctx.get(dut.valid(*key)) for key in kinds} == valid
            assert {key: ctx.get(dut.turn(*key)) for key in kinds} == turn
            turn |= {key: 1 - turn[key] for key in written}
            valid |= dict.fromkeys(written, 1)
            ctx.set(dut.finish, 1)
            await ctx.tick()
            ctx.set(dut.finish, 0)
            if end:
                phase, valid = [0] * len(strides), dict.fromkeys(kinds, 0)
            assert {key: ctx.get(dut.valid(*key)) for key in kinds} == valid
            assert {key: ctx.get(dut.turn(*key)) for key in kinds} == turn

    simulate(dut, testbench)


# The whole


def stream_utterances(plan, utterances, rng, stall):
    """Logits and decisions of utterances sent with pauses and stalls, the state cleared in between."""
    dut = Accelerator(plan)
    logits, decisions = [], []
    policy, inputs = plan.config.state.value, plan.model.inputs
    expected = sum(len(frames) // plan.period for frames in utterances)

    async def load(ctx):
        for index, memory in enumerate((*plan.weight_memories, plan.parameters)):
            for address, word in enumerate(plan.images()[memory.name]):
                ctx.set(dut.i_load.payload, {"memory": index, "address": address, "data": word})
                ctx.set(dut.i_load.valid, 1)
                await ctx.tick().until(dut.i_load.ready)
                ctx.set(dut.i_load.valid, 0)

    async def send(ctx):
        if plan.config.weights.value == "ram":
            await load(ctx)
        for frames in utterances:
            for index, element in enumerate(frames.reshape(-1).tolist()):
                await ctx.tick().repeat(int(rng.integers(1, 4))) if rng.random() < stall else None
                beat = {"data": element, "last": index % inputs == inputs - 1}
                if policy == "utterance":
                    beat["end"] = index == frames.size - 1
                else:
                    ctx.set(dut.clear, index == 0)
                ctx.set(dut.i.payload, beat)
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)
                if policy == "pulse":
                    ctx.set(dut.clear, 0)
        while len(decisions) < expected or len(logits) < expected * plan.model.outputs:
            await ctx.tick()
        await ctx.tick().repeat(200)

    takers = (taker(rng, stall, dut.o_logits, logits), taker(rng, stall, dut.o_decision, decisions))
    simulate(dut, send, background=takers, cycles=200_000)
    return logits, decisions


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize(("state", "weights"), [("pulse", "rom"), ("utterance", "ram")])
def test_stalls_and_clears_change_no_bit(state, weights, stall):
    rng = np.random.default_rng(7)
    model = random_model(rng, layers=("lmu", "lmu"), e_h=True, w_h=True, e_m=True, stride=2)
    plan = make_plan(model, AcceleratorConfig(4, weights, state))
    utterances = [random_frames(rng, model, 1, steps)[0] for steps in (5, 8, 4, 3)]
    logits, decisions = stream_utterances(plan, utterances, rng, stall)
    golden = [Golden(model).run(frames[None])["logits"][0] for frames in utterances]
    expected = np.concatenate(golden)
    assert_array_equal([beat.data for beat in logits], expected.reshape(-1))
    assert [beat.last for beat in logits] == [i == model.outputs - 1 for i in range(model.outputs)] * len(expected)
    assert_array_equal([(beat.label, beat.score) for beat in decisions], np.stack(decide(expected), axis=-1))


# Structure


@pytest.fixture(scope="module", params=[("rom", "keep"), ("rom", "pulse"), ("ram", "utterance")], ids="-".join)
def netlist(request):
    """Flattened netlist of an accelerator with every feature, as Yosys's JSON."""
    weights, state = request.param
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=("lmu", "dense"), activation="tanh", e_h=True, w_h=True, stride=2)
    folder = request.config.rootpath / "build" / f"netlist-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    (folder / "design.v").write_text(to_verilog(make_plan(model, AcceleratorConfig(4, weights, state))))
    script = (
        "read_verilog design.v; hierarchy -check -top lmu_accelerator; proc; flatten; opt_clean; write_json design.json"
    )
    try:
        run_tool(find_yosys(), ["-Q", "-p", script], folder)
        design = json.loads((folder / "design.json").read_text())
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    return design["modules"]["lmu_accelerator"]


def is_register(cell):
    return cell["type"] in ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce")


def test_no_output_depends_on_an_input_in_the_same_cycle(netlist):
    drivers = {}
    for name, cell in netlist["cells"].items():
        for port, direction in cell["port_directions"].items():
            if direction == "output":
                drivers |= dict.fromkeys(cell["connections"][port], name)
    inputs = {
        bit: name for name, port in netlist["ports"].items() if port["direction"] == "input" for bit in port["bits"]
    }
    outputs = {name: port["bits"] for name, port in netlist["ports"].items() if port["direction"] == "output"}
    assert {"i__ready", "o_logits__valid", "o_decision__payload", "frame_error"} <= set(outputs)
    for name, bits in outputs.items():
        reached, seen, open_bits = set(), set(), [bit for bit in bits if isinstance(bit, int)]
        assert open_bits, name
        while open_bits:
            bit = open_bits.pop()
            if bit in inputs:
                reached.add(inputs[bit])
            if bit not in drivers or drivers[bit] in seen or is_register(netlist["cells"][drivers[bit]]):
                continue
            cell = netlist["cells"][drivers[bit]]
            seen.add(drivers[bit])
            for port, direction in cell["port_directions"].items():
                if direction == "input":
                    open_bits += [one for one in cell["connections"][port] if isinstance(one, int)]
        assert not reached, f"{name} depends on {reached}"


def test_there_is_one_clock_and_no_asynchronous_reset(netlist):
    clock = netlist["ports"]["clk"]["bits"]
    kinds = {cell["type"] for cell in netlist["cells"].values()}
    assert not [kind for kind in kinds if "latch" in kind or kind.startswith(("$adff", "$aldff", "$dffsr", "$sr"))]
    clocked = 0
    for cell in netlist["cells"].values():
        if is_register(cell) or cell["type"].startswith("$memwr"):
            assert cell["connections"]["CLK"] == clock
            assert int(cell["parameters"]["CLK_POLARITY"], 2) == 1
            clocked += 1
        else:
            assert clock[0] not in itertools.chain.from_iterable(cell["connections"].values())
    assert clocked > 50
