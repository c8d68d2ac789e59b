"""The plan's predictions against the accelerator in simulation, and against the Verilog: cycles, accesses, memories."""

import dataclasses
import re

import numpy as np
import pytest
from amaranth.sim import Simulator
from numpy.testing import assert_array_equal

from lmu_hw.export.emit import to_verilog
from lmu_hw.gateware.accelerator import Accelerator
from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import tanh_error
from lmu_hw.model.program import QuantizedDense, QuantizedModel, Weights
from lmu_hw.plan.config import AcceleratorConfig, StatePolicy, WeightStore
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.rounds import round_strides, vector_frames
from lmu_sim.testing.random_models import prune_blocks, random_frames, random_model


class Watched(Accelerator):
    """An accelerator that keeps its parts, so that a testbench can look into them."""

    def elaborate(self, platform):
        self.parts = super().elaborate(platform).submodules
        return self.parts._builder


class Observation:
    """What an accelerator did with a stream of frames, cycle by cycle."""

    def __init__(self, plan, frames, gap=0):
        self.plan = plan
        self.issues, self.accepts, self.decisions, self.logits = [], [], [], []
        self.reads, self.writes = {}, {}
        self.cycle = 0
        self.executed = [plan.frames[n % plan.rounds] for n in range(len(frames) // plan.config.frames_per_fetch)]
        self.expected = sum(len(frame.latencies) for frame in self.executed)
        self.frames, self.gap = frames, gap
        self.dut = Watched(plan)
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._watch, background=True)
        simulator.add_testbench(self._drive)
        simulator.run()

    async def _drive(self, ctx):
        dut = self.dut
        ctx.set(dut.o_logits.ready, 1)
        ctx.set(dut.o_decision.ready, 1)
        deadline = 2000 + 2 * (len(self.frames) + 1) * (max(f.interval for f in self.plan.frames) + self.gap)
        for frame in self.frames.tolist():
            for index, element in enumerate(frame):
                ctx.set(dut.i.payload, {"data": element, "last": index == len(frame) - 1})
                ctx.set(dut.i.valid, 1)
                ready = False
                while not ready:
                    _, _, ready = await ctx.tick().sample(dut.i.ready)
                    assert self.cycle < deadline, "an input was not accepted in time"
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(self.gap) if self.gap else None
        issued = sum(frame.issued for frame in self.executed)
        logits = self.expected * self.plan.model.outputs
        while len(self.decisions) < self.expected or len(self.issues) < issued or len(self.logits) < logits:
            await ctx.tick()
            assert self.cycle < deadline, "the outputs did not come in time"
        await ctx.tick().repeat(4 * self.plan.lanes * self.plan.config.frames_per_fetch + 20)

    async def _watch(self, ctx):
        dut, parts = self.dut, self.dut.parts
        sequencer, finish = parts.sequencer, parts.finish
        memories = {m.name: parts[f"memory_{m.name}"] for m in self.plan.memories if m.kind not in ("table", "output")}
        signals = [sequencer.steps.valid, finish.write.valid, dut.i.valid & dut.i.ready & dut.i.payload.last]
        signals += [dut.o_decision.valid, dut.o_logits.valid, dut.o_logits.payload.data]
        signals += [memory.read for memory in memories.values()]
        signals += [getattr(memory, "write", memory.read) for memory in memories.values()]
        self.reads, self.writes = dict.fromkeys(memories, 0), dict.fromkeys(memories, 0)
        writable = {memory.name for memory in self.plan.data_memories}
        self.finished = 0
        while True:
            _, _, issue, write, accept, decision, logit, value, *ports = await ctx.tick().sample(*signals)
            if issue:
                self.issues.append(self.cycle)
            if accept:
                self.accepts.append(self.cycle)
            if decision:
                self.decisions.append(self.cycle)
            if logit:
                self.logits.append(value)
            self.finished += write
            for name, read, written in zip(memories, ports[: len(memories)], ports[len(memories) :], strict=True):
                self.reads[name] += read
                self.writes[name] += written
                assert not (read and written and name in writable), f"{name} is read and written in cycle {self.cycle}"
            self.cycle += 1


CASES = {
    "one_lane": (1, {"layers": ("lmu", "dense")}),
    "two_lanes_tanh": (2, {"layers": ("lmu",), "activation": "tanh"}),
    "three_lanes_strided": (3, {"layers": ("lmu", "lmu", "dense"), "stride": 2}),
    "four_lanes_2019": (4, {"layers": ("lmu",), "e_h": True, "e_m": True, "w_h": True, "activation": "tanh"}),
    "eight_lanes_spotter": (8, {"layers": ("lmu", "lmu", "dense"), "e_h": False, "w_h": False, "stride": 1}),
    "sixteen_lanes": (16, {"layers": ("dense", "lmu", "dense"), "inputs": 9, "units": 20, "stride": 3}),
    "dense_only": (4, {"layers": ("dense", "dense")}),
    "one_dense": (2, {"layers": ("dense",), "units": 1, "inputs": 1}),
    "many_memories": (4, {"layers": ("lmu", "dense"), "memories": [(3, 6.0)] * 4 + [(2, 5.0)] * 2, "units": 7}),
}


def planned(seed, lanes, options, **config):
    rng = np.random.default_rng(seed)
    model = random_model(rng, **options)
    return make_plan(model, AcceleratorConfig(lanes=lanes, **config)), rng


def check_against_simulation(plan, rng):
    model, period = plan.model, plan.rounds
    count = (2 * period + 3) * plan.config.frames_per_fetch
    frames = random_frames(rng, model, 1, count)
    seen = Observation(plan, frames[0])
    assert_array_equal(seen.logits, Golden(model).run(frames)["logits"].reshape(-1))

    executed = seen.executed
    firsts = np.array(seen.issues)[np.cumsum([0] + [frame.issued for frame in executed[:-1]])]
    assert_array_equal(np.diff(firsts)[period:], [frame.interval for frame in executed[period:-1]], "intervals")
    assert len(seen.issues) == sum(frame.issued for frame in executed)
    assert len(seen.accepts) == count

    def predicted(name):
        return sum(frame.accesses[name] for frame in executed)

    for memory in (*plan.weight_memories, plan.parameters):
        assert seen.reads[memory.name] == predicted(memory.name), memory.name
    assert sum(seen.reads[memory.name] for memory in plan.data_memories) == predicted("data")
    assert seen.finished == predicted("data writes")
    assert seen.writes["x"] == count * model.inputs


@pytest.mark.parametrize("name", ["one_lane", "three_lanes_strided", "sixteen_lanes", "many_memories"])
def test_cycles_and_accesses_are_exact(name):
    """Beside what `tests/sim/test_cosim.py` measures: writes, and that no memory is read and written in one cycle."""
    lanes, options = CASES[name]
    check_against_simulation(*planned(len(name), lanes, options))


def test_a_frame_that_ends_early_is_written_before_its_memory_is_read_again():
    # Layer 1 ends every other frame with its memory state, in the memory that holds the one of layer 0 too.
    plan, rng = planned(1031, 8, {"layers": ("lmu", "lmu")})
    assert plan.model.strides == (1, 2)
    check_against_simulation(plan, rng)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_cycles_and_accesses_are_exact_for_any_model(seed):
    layers = [("lmu", "dense"), ("lmu", "lmu"), ("dense", "lmu", "dense"), ("lmu",), ("dense", "dense")][seed % 5]
    check_against_simulation(*planned(1000 + seed, (1, 2, 3, 4, 5, 8, 16, 64)[seed % 8], {"layers": layers}))


def check_latencies(plan, rng):
    size = plan.config.frames_per_fetch
    gap = 2 * max(max(frame.interval, frame.latency) for frame in plan.frames) + 50
    seen = Observation(plan, random_frames(rng, plan.model, 1, 2 * plan.rounds * size)[0], gap)
    lasts = [last for last, frame in zip(seen.accepts[size - 1 :: size], seen.executed, strict=True)
             for _ in frame.latencies]  # fmt: skip
    planned = [latency for frame in seen.executed for latency in frame.latencies]
    assert_array_equal(np.array(seen.decisions) - lasts, planned)
    return planned


FORWARD = {"e_h": False, "e_m": False, "w_h": False}
ROUNDS = {
    "strides_in_a_round": (4, 4, {"layers": ("lmu", "lmu", "dense"), "stride": 2, "memories": 4}),
    "strides_beyond_a_round": (3, 2, {"layers": ("lmu", "dense"), "stride": 4, "activation": "tanh"}),
    "no_memory": (8, 8, {"layers": ("dense", "dense"), "units": 11}),
    "more_rows_than_columns": (16, 2, {"layers": ("lmu", "lmu", "dense"), "stride": 1, "units": 14, "inputs": 1}),
    "memory_in_the_last_layer": (5, 4, {"layers": ("lmu",), "stride": 1, "w_x": True}),
}


def in_rounds(name, **config):
    lanes, frames, options = ROUNDS[name]
    return planned(len(name), lanes, FORWARD | options, frames_per_fetch=frames, **config)


@pytest.mark.parametrize("name", [name for name in ROUNDS if name != "strides_in_a_round"])
def test_rounds_take_the_planned_cycles_and_accesses(name):
    check_against_simulation(*in_rounds(name))


@pytest.mark.parametrize("name", ["strides_in_a_round", "strides_beyond_a_round"])
def test_every_decision_of_a_round_has_the_planned_latency(name):
    plan, rng = in_rounds(name, control_reset=True)
    found = check_latencies(plan, rng)
    frames = plan.config.frames_per_fetch
    assert len(found) == 2 * plan.rounds * frames // plan.period
    assert plan.report()["latency_frames"] == frames - 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_rounds_of_any_model_take_the_planned_cycles_and_accesses(seed):
    layers = [("lmu", "dense"), ("lmu", "lmu"), ("dense", "lmu", "dense"), ("lmu",), ("dense", "dense")][seed % 5]
    options = FORWARD | {"layers": layers, "stride": (1, 2, 4)[seed % 3]}
    lanes = (1, 2, 3, 4, 5, 8, 16, 64)[seed % 8]
    check_against_simulation(*planned(3000 + seed, lanes, options, frames_per_fetch=(2, 4, 8)[seed // 3 % 3]))


def test_a_round_has_fewer_frames_behind_strides():
    model = random_model(np.random.default_rng(3), layers=("lmu", "lmu", "dense"), stride=2, **FORWARD)
    names = ["x", "layer0.u", "layer0.m", "layer0.h", "layer1.u", "layer1.m", "layer1.h", "layer2.h"]
    assert vector_frames(model, 8) == dict(zip(names, [8, 8, 8, 4, 4, 4, 2, 2], strict=True))
    assert vector_frames(model, 2) == dict(zip(names, [2, 2, 2, 1, 1, 1, 1, 1], strict=True))
    assert [round_strides(model, frames) for frames in (1, 2, 4, 8)] == [(2, 2, 1), (1, 2, 1), (1, 1, 1), (1, 1, 1)]


def test_rounds_that_do_not_fit_the_strides_are_refused():
    model = random_model(np.random.default_rng(3), layers=("lmu", "lmu"), stride=3, **FORWARD)
    with pytest.raises(ValueError, match="frames_per_fetch of 2 does not fit layers that run every 3 frames"):
        make_plan(model, AcceleratorConfig(frames_per_fetch=2))


def test_layers_behind_strides_may_be_recurrent():
    """Layer 1 runs in every round for one frame, so it may read its own results back."""
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=("lmu", "lmu"), stride=2, e_h=True, e_m=True, w_h=True)
    first = dataclasses.replace(model.layers[0], e_h=None, e_m=None, w_h=None)
    model = dataclasses.replace(model, layers=(first, *model.layers[1:]))
    plan = make_plan(model, AcceleratorConfig(lanes=3, frames_per_fetch=2))
    assert [one.frames for one in plan.operations if one.operation.layer] == [1] * (len(plan.operations) // 2)
    check_against_simulation(plan, rng)
    with pytest.raises(ValueError, match="frames_per_fetch of 4 needs layers without e_h, layer 1 has it"):
        make_plan(model, AcceleratorConfig(frames_per_fetch=4))


def test_weights_are_fetched_once_for_a_round():
    one, _ = planned(5, 4, FORWARD | {"layers": ("lmu", "lmu", "dense"), "stride": 1, "memories": 2})
    several = make_plan(one.model, dataclasses.replace(one.config, frames_per_fetch=4))
    assert [planned.together for planned in several.operations if planned.operation.target[-1] == "u"] == [True] * 2
    alone = [planned for planned in several.operations if not planned.together]
    assert {planned.operation.target[7:] for planned in alone} == {"m", "h"}  # the memory, and the logits
    repeated = sum(planned.operation.repeat * planned.words for planned in alone)
    words = sum(planned.operation.repeat * planned.words for planned in one.operations)
    fetched = sum(several.frames[0].accesses[memory.name] for memory in several.weight_memories)
    assert fetched == 4 * repeated + (words - repeated)
    assert several.frames[0].products == 4 * one.frames[0].products
    assert several.frames[0].issued == 4 * one.frames[0].issued
    frames = several.cycles_per_frame * 4, sum(frame.interval for frame in several.frames)
    assert frames[0] == frames[1]


@pytest.mark.parametrize(("name", "weights"), [*((name, "rom") for name in CASES), ("four_lanes_2019", "ram")])
def test_memory_bits_are_those_of_the_verilog(name, weights):
    lanes, options = CASES[name]
    plan, _ = planned(len(name), lanes, options, weights=weights)
    found = {}
    module = ""
    for line in to_verilog(plan).splitlines():
        if opened := re.match(r"module \\?(\S+)", line):
            module = opened[1].split(".")[-1].removeprefix("memory_")
        if array := re.match(r"\s*reg (?:\[(\d+):0\] )?\\?\S+ ?\[(\d+):0\];", line):
            found[module] = (int(array[1] or 0) + 1) * (int(array[2]) + 1)
    names = {"table": "tanh"}
    assert {names.get(module, module): bits for module, bits in found.items()} == plan.memory_bits


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_lanes_of_the_spotter_are_busy(spotter, lanes):
    plan = make_plan(spotter, AcceleratorConfig(lanes=lanes))
    assert plan.utilisation >= 0.90
    assert sum(plan.memory_bits[memory.name] for memory in plan.weight_memories) < 1.1 * spotter.weight_bits + 2000


def test_utilisation_counts_the_needed_products_only():
    plan, _ = planned(3, 5, {"layers": ("lmu", "dense")})
    products = sum(op.products for op in Golden(plan.model).operations)
    assert plan.frames[-1].products == products
    assert plan.utilisation == sum(f.products for f in plan.frames) / (5 * sum(f.interval for f in plan.frames))


PRUNED = [
    (0.5, 4, {"layers": ("lmu", "lmu"), "units": 9, "inputs": 8}),
    (0.8, 8, {"layers": ("lmu", "dense"), "units": 19, "inputs": 12, "memories": [(3, 6.0)] * 3, "stride": 2}),
    (0.91, 2, {"layers": ("dense", "lmu"), "units": 11, "inputs": 7, "activation": "tanh", "e_m": True}),
    (0.8, 1, {"layers": ("dense", "dense"), "units": 6, "inputs": 1}),
    (1.0, 3, {"layers": ("lmu", "lmu", "dense"), "units": 7, "inputs": 6}),
]


def check_pruned(seed, fraction, lanes, options):
    rng = np.random.default_rng(seed)
    model = prune_blocks(rng, random_model(rng, **options), lanes, fraction)
    dense = make_plan(model, AcceleratorConfig(lanes=lanes))
    plan = make_plan(model, AcceleratorConfig(lanes=lanes, skip_zero_blocks=True))
    check_against_simulation(plan, rng)
    assert plan.frames[-1].products <= dense.frames[-1].products
    return plan, dense


@pytest.mark.parametrize(("fraction", "lanes", "options"), PRUNED)
def test_skipped_blocks_take_no_cycle(fraction, lanes, options):
    plan, dense = check_pruned(1, fraction, lanes, options)
    assert plan.index_bits > 0 == dense.index_bits
    assert plan.frames[-1].issued < dense.frames[-1].issued
    assert sum(memory.bits for memory in plan.weight_memories) < sum(memory.bits for memory in dense.weight_memories)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_cycles_and_accesses_are_exact_for_any_pruned_model(seed):
    layers = [("lmu", "dense"), ("lmu", "lmu"), ("dense", "lmu", "dense"), ("lmu",), ("dense", "dense")][seed % 5]
    rng = np.random.default_rng(seed)
    options = {"layers": layers, "units": int(rng.integers(1, 20)), "inputs": int(rng.integers(1, 12))}
    check_pruned(2000 + seed, (0.5, 0.8, 0.91, 1.0)[seed % 4], (1, 2, 3, 4, 5, 8, 16)[seed % 7], options)


def test_nothing_is_skipped_where_the_index_would_take_more():
    rng = np.random.default_rng(5)
    model = random_model(rng, layers=("lmu", "dense"), units=8)
    plans = [make_plan(model, AcceleratorConfig(lanes=4, skip_zero_blocks=skip)) for skip in (False, True)]
    assert to_verilog(plans[0]) == to_verilog(plans[1])
    assert "stored_weight_bits" not in plans[1].report()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lanes": 0}, ValueError, r"lanes must be in 1 to 64, not 0"),
        ({"lanes": 65}, ValueError, r"lanes must be in 1 to 64, not 65"),
        ({"lanes": True}, TypeError, r"lanes must be an integer, not True"),
        ({"bank_words": 24}, ValueError, r"bank_words must be 0 or a power of two from 8 to 4096, not 24"),
        ({"bank_words": 16.0}, ValueError, r"bank_words must be 0 or a power of two from 8 to 4096, not 16.0"),
        ({"state_bank_words": 12}, ValueError, r"state_bank_words must be 0 or a power of two from 4 to 256, not 12$"),
        ({"state_bank_words": True}, ValueError, r"state_bank_words must be 0 or a power of two .*, not True"),
        ({"frames_per_fetch": 2.0}, ValueError, r"frames_per_fetch must be one of 1, 2, 4, 8, not 2.0"),
        ({"bank_words": True}, ValueError, r"bank_words must be 0 or a power of two from 8 to 4096, not True"),
        ({"bank_words": 16, "weights": "ram"}, ValueError, r"bank_words needs weights rom, not ram"),
        ({"lanes": 2.0}, TypeError, r"lanes must be an integer, not 2\.0"),
        ({"lanes": "8"}, TypeError, r"lanes must be an integer, not '8'"),
        ({"weights": "flash"}, ValueError, r"weights must be one of rom, ram, not 'flash'"),
        ({"skip_zero_blocks": 1}, TypeError, r"skip_zero_blocks must be true or false, not 1"),
        ({"frames_per_fetch": 3}, ValueError, r"frames_per_fetch must be one of 1, 2, 4, 8, not 3"),
        ({"frames_per_fetch": True}, ValueError, r"frames_per_fetch must be one of 1, 2, 4, 8, not True"),
        ({"frames_per_fetch": 2, "state": "pulse"}, ValueError, r"of 2 needs the state policy keep, not pulse"),
        ({"frames_per_fetch": 2, "interface": "spi"}, ValueError, r"of 2 needs the stream interface, not spi"),
        ({"frames_per_fetch": 4, "skip_zero_blocks": True}, ValueError, r"of 4 and skip_zero_blocks exclude each"),
        ({"frames_per_fetch": 4, "skip_zero_elements": True}, ValueError, r"of 4 and skip_zero_elements exclude each"),
        ({"state": "never"}, ValueError, r"state must be one of keep, pulse, utterance, not 'never'"),
    ],
)
def test_a_bad_configuration_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        AcceleratorConfig(**arguments)


def test_a_configuration_survives_json():
    config = AcceleratorConfig(lanes=2, skip_zero_blocks=True)
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    config = AcceleratorConfig(frames_per_fetch=4, state_bank_words=16)
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    config = AcceleratorConfig(np.int64(16), "ram", "utterance")
    assert config == AcceleratorConfig(16, WeightStore.RAM, StatePolicy.UTTERANCE)
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown key 'lane' in the configuration, expected lanes, weights, "):
        AcceleratorConfig.from_dict({"lane": 4})
    with pytest.raises(ValueError, match=r"the configuration must be an object, not \[4\]"):
        AcceleratorConfig.from_dict([4])


@pytest.mark.parametrize("weight_frac", [17, 26, 32])
def test_the_hardware_narrows_as_far_as_the_golden_model_does(weight_frac):
    """Shifts of up to 62 bits, with sums and biases of up to 61, of both signs."""
    rng = np.random.default_rng(weight_frac)
    x, shift = Format(24, 24), weight_frac + 30
    first = QuantizedDense(
        Weights(rng.integers(-32768, 32768, (5, 4)), 16, [weight_frac] * 5),
        Quantizer(Format(12, x.frac + weight_frac - shift)),
        rng.integers(-(1 << 60), 1 << 60, 5),
    )
    second = QuantizedDense(
        Weights(rng.integers(-8, 8, (3, 5)), 4, [2, 0, 1]), Quantizer(Format(16, first.h.format.frac))
    )
    plan = make_plan(QuantizedModel((first, second), x), AcceleratorConfig(lanes=2))
    assert max(int(planned.operation.shifts.max()) for planned in plan.operations) == shift
    check_against_simulation(plan, rng)


def test_the_longest_period_is_worked_out():
    rng = np.random.default_rng(7)
    model = random_model(rng, layers=("lmu", "lmu"), stride=64)
    first, second = model.layers
    model = dataclasses.replace(
        model, layers=(dataclasses.replace(first, stride=1024), dataclasses.replace(second, stride=4))
    )
    plan = make_plan(model)
    assert len(plan.frames) == plan.period == 4096
    assert [index for index, frame in enumerate(plan.frames) if frame.output] == [4095]
    assert plan.frames[0].latency == 0 < plan.frames[-1].latency


def test_the_report_states_the_error_of_tanh():
    plan, _ = planned(4, 2, {"layers": ("lmu", "dense"), "activation": "tanh"})
    errors = plan.report()["tanh_error"]
    assert list(errors) == ["layer0.h", "layer1.h"]
    for layer, error in zip(plan.model.layers, errors.values(), strict=True):
        exact = tanh_error(layer.table, layer.h.format)
        assert exact <= error <= exact + 1e-6
    plan, _ = planned(4, 2, {"layers": ("lmu", "dense"), "activation": "relu"})
    assert "tanh_error" not in plan.report()
