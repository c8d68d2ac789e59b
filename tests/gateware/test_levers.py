"""Choices that save energy: each computes the same, in as many cycles as planned, and is off unless asked for."""

import itertools
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import unsigned
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from lmu_hw.export.emit import to_verilog
from lmu_hw.flows.yosys import scratch_folder
from lmu_hw.gateware.lanes import Accumulators, Multipliers
from lmu_hw.gateware.memory import BankedReadOnly, BankedSinglePort
from lmu_hw.gateware.nonzero import NonzeroMap
from lmu_hw.gateware.operands import Operands
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.timing import all_zero, latency, stream_starts
from lmu_hw.power.rates import Rates
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import estimate
from lmu_hw.power.technology import load_technology
from lmu_hw.tools import find_yosys, run_tool
from lmu_sim.testing.random_models import random_model

SPOTTER = {"layers": ("lmu", "lmu", "dense"), "e_h": False, "w_h": False, "w_x": True, "activation": "relu"}


def planned(seed=1, lanes=4, options=SPOTTER, **config):
    model = random_model(np.random.default_rng(seed), units=21, **options)
    return make_plan(model, AcceleratorConfig(lanes=lanes, **config))


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6, if_exists=True)
    simulator.add_testbench(testbench)
    simulator.run()


# ---- zero elements -------------------------------------------------------------------------------------------------


def test_every_word_that_is_not_zero_is_found():
    plan = planned(skip_zero_elements=True)
    dut = NonzeroMap(plan)
    assert len(plan.skipping_memories) == 2
    assert dut.depth == 21
    rng = np.random.default_rng(2)

    async def bench(ctx):
        known = {index: np.zeros(21, dtype=bool) for index in plan.skipping_memories}
        for index, filled in itertools.product(plan.skipping_memories, (0.0, 0.2, 1.0, 0.6)):
            for place in rng.permutation(21).tolist():
                known[index][place] = rng.random() < filled
                ctx.set(dut.write, 1 << index)
                ctx.set(dut.address, place)
                ctx.set(dut.nonzero, int(known[index][place]))
                await ctx.tick()
            ctx.set(dut.write, 0)
            for memory in plan.skipping_memories:
                for _ in range(12):
                    start, stop = sorted(rng.integers(0, 21, 2).tolist())
                    for port, value in (("enable", 1), ("memory", memory), ("start", start), ("stop", stop)):
                        ctx.set(getattr(dut, port), value)
                    places = start + np.flatnonzero(known[memory][start : stop + 1])
                    assert ctx.get(dut.found) == (places[0] if places.size else 0)
                    assert ctx.get(dut.last) == (places.size < 2)

    simulate(dut, bench)


def test_zeros_of_relu_outputs_are_skipped_and_nothing_else():
    plan = planned(skip_zero_elements=True)
    sources = {
        (one.operation.target, term.source): laid.skips
        for one in plan.operations
        for term, laid in zip(one.operation.terms, one.terms, strict=True)
    }
    assert {source for (_, source), skips in sources.items() if skips} == {"layer0.h", "layer1.h"}
    assert not any(skips for (_, source), skips in sources.items() if source[-1] in "xum")
    linear = planned(options=SPOTTER | {"activation": "linear"}, skip_zero_elements=True)
    assert linear.skipping_memories == ()
    recurrent = planned(options=SPOTTER | {"layers": ("lmu",), "e_h": True, "w_h": True}, skip_zero_elements=True)
    assert recurrent.skipping_memories == ()


@pytest.mark.parametrize("seed", range(6))
def test_no_event_is_later_with_more_zeros(seed):
    rng = np.random.default_rng(seed)
    plan = planned(seed, int(rng.integers(1, 17)), skip_zero_elements=True)
    assert plan.skipping_memories
    phases = range(4 * plan.period)
    sizes = dict.fromkeys(all_zero(plan.schedule), 21)
    some = [{name: int(rng.integers(0, size + 1)) for name, size in sizes.items()} for _ in phases]
    fewer = [{name: int(rng.integers(0, count + 1)) for name, count in one.items()} for one in some]
    streams = [[all_zero(plan.schedule)] * len(phases), fewer, some, [{}] * len(phases), [sizes] * len(phases)]
    starts = np.array([stream_starts(plan.schedule, zip(phases, one, strict=True)) for one in streams])
    assert (np.diff(starts, axis=0) >= 0).all()
    assert_array_equal(starts[-1], starts[-2])
    assert starts[0, -1] < starts[1, -1] < starts[-1, -1]
    last = plan.period - 1
    times = [latency(plan.schedule, last, one[last]) for one in streams]
    assert times == sorted(times)
    assert times[0] == plan.shortest_frames[-1].latency
    assert times[-1] == plan.frames[-1].latency == planned(seed, plan.lanes).frames[-1].latency


def test_the_report_has_both_ends():
    plan = planned(skip_zero_elements=True)
    report = plan.report()
    assert report["least_cycles_per_frame"] < report["cycles_per_frame"] == planned().report()["cycles_per_frame"]
    assert report["least_latency_cycles"] == max(frame.latency for frame in plan.shortest_frames)
    assert "least_cycles_per_frame" not in planned().report()


# ---- lanes ---------------------------------------------------------------------------------------------------------


def four_bits(lanes, symmetric=False, **config):
    """Plan with weights of 4 bits and wider matrices of the memories, which need 2 rows only."""
    options = {"memories": [(2, 5.0)] * 3, "weight_width": 4, "symmetric": symmetric}
    return planned(3, lanes, SPOTTER | options, **config)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("lanes", [3, 9])
def test_every_weight_gives_its_product(lanes, symmetric):
    plan = four_bits(lanes, symmetric, isolate_operands=True)
    bits, rng = plan.lane_plan, np.random.default_rng(3)
    assert (bits.narrow, bits.wide_lanes) == (3 if symmetric else 4, 2)
    dut, most = Multipliers(plan), 7 if symmetric else 8

    async def bench(ctx):
        for weight in range(1 << bits.wide):
            weights = [weight if lane < 2 else weight % (most + 1) for lane in range(lanes)]
            for operand in ((1 << bits.operand) - 1, int(rng.integers(1 << bits.operand)), 0):
                ctx.set(dut.magnitudes, {f"lane{lane}": value for lane, value in enumerate(weights)})
                ctx.set(dut.operand, operand)
                products = ctx.get(dut.products)
                for lane, value in enumerate(weights):
                    assert products[f"lane{lane}"] == value * operand % (1 << bits.product_bits(lane))

    simulate(dut, bench)


def test_lanes_that_have_nothing_to_do_rest():
    """While weights are wide, the other lanes keep weights of 0; while they are narrow, the upper bits are 0."""
    plan = four_bits(9, isolate_operands=True)
    dut, bits, rng = Operands(plan), plan.lane_plan, np.random.default_rng(4)

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for wide in (1, 0, 0, 1, 1, 1, 0, 1, 0):
            magnitudes = rng.integers(1, 8, 9)
            magnitudes[:2] += rng.integers(1, 4, 2) * wide << bits.narrow
            magnitudes[2:] *= 1 - wide
            signs, activation = rng.integers(0, 2, 9), int(rng.integers(-9, 9))
            signs[2:] *= 1 - wide
            codes = magnitudes + (signs << bits.wide)
            ctx.set(dut.i.weights, sum(int(code) << lane * (bits.wide + 1) for lane, code in enumerate(codes)))
            ctx.set(dut.i.activation, activation)
            ctx.set(dut.i.wide, wide)
            before = ctx.get(dut.o.negative) >> 2
            rested = ctx.get(dut.o.wide)
            await ctx.tick()
            kept = ctx.get(dut.o.magnitudes)
            assert [kept[f"lane{lane}"] for lane in range(9)] == magnitudes.tolist()
            assert ctx.get(dut.o.operand) == abs(activation)
            negative = [int(sign) ^ (activation < 0) for sign in signs]
            assert [ctx.get(dut.o.negative) >> lane & 1 for lane in range(2)] == negative[:2]
            if wide and rested:
                assert ctx.get(dut.o.negative) >> 2 == before
            else:
                assert [ctx.get(dut.o.negative) >> lane & 1 for lane in range(2, 9)] == negative[2:]

    simulate(dut, bench)


def test_lanes_are_alike_where_weights_are_equally_wide():
    plan = planned(4, 2, {"layers": ("dense",)}, isolate_operands=True)
    assert (plan.lane_plan.wide_lanes, plan.lane_plan.narrow) == (0, plan.lane_plan.wide)


@pytest.mark.parametrize("isolated", [False, True])
def test_sums_of_either_sign_are_exact(isolated):
    plan = planned(5, 2, isolate_operands=isolated)
    dut, size, reach = Accumulators(plan), plan.accumulator_width, 1 << plan.lane_plan.narrow_product
    rng = np.random.default_rng(6)

    async def bench(ctx):
        for length in (1, 2, 3, 40, 5):
            products = rng.integers(-reach + 1, reach, (length, 2))
            products[rng.random((length, 2)) < 0.5] //= 1 << size // 2
            for place, pair in enumerate(products.tolist()):
                ctx.set(dut.products, {f"lane{lane}": abs(product) for lane, product in enumerate(pair)})
                ctx.set(dut.negative, (pair[0] < 0) | (pair[1] < 0) << 1)
                ctx.set(dut.valid, 1)
                ctx.set(dut.first, int(place == 0))
                ctx.set(dut.last, int(place == length - 1))
                await ctx.tick()
                ctx.set(dut.valid, 0)
                await ctx.tick().repeat(int(rng.integers(1, 3)))
            got = ctx.get(dut.sums)
            expected = (products.sum(axis=0) & (1 << size) - 1).tolist()
            assert [got & (1 << size) - 1, got >> size] == expected

    simulate(dut, bench)


def test_a_lane_has_one_adder_and_the_upper_half_of_its_sum_an_enable():
    """A negative product is inverted, and its sign is the carry in of the one adder."""
    plan = four_bits(9, isolate_operands=True)
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        (Path(folder) / "sums.v").write_text(verilog.convert(Accumulators(plan), name="sums"))
        script = "read_verilog sums.v; proc; opt; alumacc; opt; write_json sums.json"
        run_tool(find_yosys(), ["-q", "-p", script], Path(folder))
        cells = json.loads((Path(folder) / "sums.json").read_text())["modules"]["sums"]["cells"].values()
    adders = [cell for cell in cells if cell["type"] in ("$alu", "$macc", "$macc_v2", "$add", "$sub", "$neg")]
    assert [cell["type"] for cell in adders] == ["$alu"] * 9
    assert all(isinstance(cell["connections"]["CI"][0], int) for cell in adders)


# ---- resets --------------------------------------------------------------------------------------------------------


def reset_registers(verilog):
    """Names of registers whose next value is a constant in reset."""
    found = set()
    for module in verilog.split("\nendmodule"):
        constants = set(re.findall(r"if \(rst\) begin\s+(\S+)\s+= \d+'h", module))
        loads = re.findall(r"^\s+(\S+) <= (\S+?) ?;", module, re.MULTILINE)
        found |= {name for name, value in loads if value in constants}
    return found


def test_only_control_is_reset():
    every, control = (
        reset_registers(to_verilog(planned(options={"layers": ("dense",)}, control_reset=on))) for on in (False, True)
    )
    assert {"destination", "row_destination", "selected", "lane"} <= every - control
    assert {"rows", "row_valid", "busy", "running"} <= control < every


# ---- banks of constants --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "bank_words"), [(100, 16), (64, 64), (5, 8), (17, 8), (1, 8)])
def test_words_of_all_banks_are_read_and_stay(depth, bank_words):
    rng = np.random.default_rng(depth)
    words = rng.integers(0, 1 << 12, depth).tolist()
    dut = BankedReadOnly(unsigned(12), words, bank_words)

    async def bench(ctx):
        for address in [*range(depth), *rng.integers(0, depth, 50).tolist()]:
            ctx.set(dut.address, address)
            ctx.set(dut.read, 1)
            await ctx.tick()
            assert ctx.get(dut.r_data) == words[address]
            ctx.set(dut.read, 0)
            ctx.set(dut.address, int(rng.integers(depth)))
            await ctx.tick()
            assert ctx.get(dut.r_data) == words[address]

    simulate(dut, bench)


def test_a_read_moves_the_address_of_one_bank():
    dut = BankedReadOnly(unsigned(4), list(range(16)) * 2, 8)
    text = verilog.convert(dut, name="banks")
    assert len(re.findall(r"^module ", text, re.MULTILINE)) == 1 + 4
    # Registers are in the top alone, one address for each bank, so that no bank moves when another one is read.
    assert set(re.findall(r"^\s*(\S+) <= ", text, re.MULTILINE)) == {"chosen", *(f"address{bank}" for bank in range(4))}


# ---- banks of registers --------------------------------------------------------------------------------------------


def test_an_access_moves_one_bank_of_registers():
    dut = BankedSinglePort(unsigned(4), 64, 16, gated=False)
    ports = ("r_address", "w_address", "write", "w_data")

    def moved(ctx):
        return [{name for name in ports if ctx.get(getattr(bank, name)) != 0} for bank in dut.banks.banks]

    async def bench(ctx):
        still = [set()] * 4
        for address in (3, 17, 30, 63):
            ctx.set(dut.address, address)
            ctx.set(dut.w_data, 15)
            ctx.set(dut.write, 1)
            assert moved(ctx) == [{"w_address", "write", "w_data"} if bank == address // 16 else set()
                                  for bank in range(4)]  # fmt: skip
            await ctx.tick()
            ctx.set(dut.write, 0)
            ctx.set(dut.read, 1)
            assert moved(ctx) == still
            await ctx.tick()
            assert moved(ctx) == [{"r_address"} if bank == address // 16 else set() for bank in range(4)]
            ctx.set(dut.address, 0)
            await ctx.tick()
            assert moved(ctx) == still
            ctx.set(dut.read, 0)

    simulate(dut, bench)


# ---- off -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEVERS)
def test_a_lever_changes_the_verilog_only_where_it_is_asked_for(name):
    plain = AcceleratorConfig(lanes=4)
    asked = AcceleratorConfig(lanes=4, **{name: True})
    assert not getattr(plain, name)
    assert plain.to_dict() == {"lanes": 4, "weights": "rom", "state": "keep"}
    assert asked.to_dict() == plain.to_dict() | {name: True}
    assert AcceleratorConfig.from_dict(asked.to_dict()) == asked
    with pytest.raises(TypeError, match=f"{name} must be true or false, not 'yes'"):
        AcceleratorConfig(**{name: "yes"})


def test_levers_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="gate_blocks with the interface spi needs stop_clock"):
        AcceleratorConfig(gate_blocks=True, interface="spi")
    assert AcceleratorConfig(gate_blocks=True, stop_clock=True, interface="spi").gates_clock


def test_tables_refuse_what_they_were_not_measured_with():
    plan = planned(skip_zero_elements=True, control_reset=True)
    point = OperatingPoint(1e6, 50.0, plan.cycles_per_frame)
    with pytest.raises(ValueError, match="does not know the levers skip_zero_elements, control_reset, but none"):
        estimate(plan, load_technology("ihp-sg13g2"), point, Rates(1.0, 1.0, 1.0))
