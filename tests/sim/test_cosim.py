"""The accelerator in Icarus Verilog and in Verilator, bit for bit against the golden model."""

import re

import numpy as np
import pytest

from lmu_hw.export.emit import to_verilog
from lmu_hw.model.fixed import Overflow
from lmu_hw.model.golden import Golden
from lmu_hw.model.operations import output_name
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import fitted, shape
from lmu_sim.cosim import STALLS, cosim
from lmu_sim.faults import flip_bit
from lmu_sim.random_models import prune_blocks, random_frames, random_model
from lmu_sim.runner import Simulator
from lmu_sim.stimulus import Frame, reference, stimulus

MIXED = [(3, 5.0), (3, 5.0), (1, 4.0), (4, 9.5)]
FULL = {"stride": 1, "e_h": True, "e_m": True, "w_x": True, "w_h": True, "bias": True}
SPOTTER = {"stride": 1, "e_h": False, "e_m": False, "w_x": True, "w_h": False, "bias": True}

CASES = {
    "2019": (1, {"layers": ("lmu",), **FULL, "units": 5, "memories": [(5, 12.0)], "activation": "tanh"}, {"lanes": 4}),
    "strided": (2, {"layers": ("lmu", "dense", "lmu"), "stride": 3}, {"lanes": 3, "state": "utterance"}),
    "mixed": (3, {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "memories": MIXED}, {"lanes": 8, "state": "pulse"}),
    "dense": (4, {"layers": ("dense", "dense", "dense")}, {"lanes": 2, "weights": "ram"}),
    "one layer": (5, {"layers": ("dense",), "inputs": 1}, {"lanes": 1}),
    "ram": (6, {"layers": ("lmu", "dense"), **FULL}, {"lanes": 5, "weights": "ram", "state": "utterance"}),
    "wrapping": (7, {"layers": ("lmu", "lmu"), "overflow": Overflow.WRAP}, {"lanes": 7, "state": "pulse"}),
    "wide": (8, {"layers": ("lmu", "dense"), "unsigned": True}, {"lanes": 64}),
    "pruned": (10, {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 12}, {"lanes": 4, "state": "pulse"}),
    "pruned ram": (11, {"layers": ("lmu", "dense"), **FULL, "units": 11, "inputs": 6}, {"lanes": 3, "weights": "ram"}),
    "levers": (
        12,
        {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 20, "activation": "relu"},
        {"lanes": 4} | dict.fromkeys(LEVERS[1:], True),
    ),
    "levers ram": (
        13,
        {"layers": ("dense", "lmu", "lmu"), "units": 18, "inputs": 5, "activation": "relu", "e_h": True, "stride": 2},
        {"lanes": 3, "weights": "ram", "state": "utterance", "skip_zero_elements": True, "isolate_operands": True},
    ),
    "pruned levers": (14, {"layers": ("lmu", "dense"), **FULL, "units": 12}, {"lanes": 4, "control_reset": True}),
    "banks": (15, {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 20}, {"lanes": 4, "bank_words": 8}),
    "stopped": (16, {"layers": ("lmu", "dense"), **FULL}, {"lanes": 4, "state": "pulse", "stop_clock": True}),
    "gated": (17, {"layers": ("lmu", "lmu"), "stride": 2}, {"lanes": 3, "weights": "ram", "gate_blocks": True}),
    "stopped ram": (
        18,
        {"layers": ("lmu", "dense"), **FULL, "activation": "tanh"},
        {"lanes": 3, "weights": "ram", "state": "utterance", "stop_clock": True, "gate_blocks": True},
    ),
    "pruned zeros": (
        25,
        {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 20, "activation": "relu", "memories": [(4, 6.0)] * 2},
        {"lanes": 4, "skip_zero_elements": True, "control_reset": True},
    ),
    "pruned zeros ram": (
        30,
        {"layers": ("lmu", "lmu", "dense"), **SPOTTER, "units": 18, "inputs": 5, "activation": "relu"},
        {"lanes": 3, "weights": "ram", "state": "utterance", "skip_zero_elements": True},
    ),
    "state banks": (31, {"layers": ("lmu", "dense", "lmu"), **FULL, "units": 9}, {"lanes": 4, "state_bank_words": 4}),
    "state banks gated": (
        32,
        {"layers": ("lmu", "lmu"), "units": 10, "stride": 2, "activation": "relu"},
        {"lanes": 3, "weights": "ram", "state": "utterance", "state_bank_words": 8, "skip_zero_elements": True}
        | {"stop_clock": True, "gate_blocks": True, "control_reset": True},
    ),
    "any": (9, {"layers": ("dense", "lmu", "dense", "lmu")}, {"lanes": 4, "weights": "ram", "state": "pulse"}),
}
PRUNED = {
    "pruned": (0.8, None),
    "pruned levers": (0.8, None),
    "pruned ram": (0.91, None),
    "pruned zeros": (0.8, ("w_x", "w_m")),
    "pruned zeros ram": (0.8, ("w_x", "w_m")),
}
"""Fraction of the blocks that are zero, and skipped; and in which matrices, None for all."""

COMPILED = ("2019", "stopped ram")
"""Cases that Verilator runs in the quick tests; it builds each for many seconds."""


def quick_and_slow():
    for simulator in Simulator:
        for name in CASES:
            slow = simulator is Simulator.VERILATOR and name not in COMPILED
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(simulator, name, id=f"{simulator.value}-{name}", marks=marks)


def case(name, utterances=3, steps=6):
    seed, options, config = CASES[name]
    rng = np.random.default_rng(seed)
    model = random_model(rng, **options)
    if name in PRUNED:
        model = prune_blocks(rng, model, config["lanes"], *PRUNED[name])
    plan = make_plan(model, AcceleratorConfig(**config, skip_zero_blocks=name in PRUNED))
    assert (plan.index_bits > 0) == (name in PRUNED)
    searched = [one for one in plan.operations if any(term.skips for term in one.terms)]
    assert not any(one.index_bits for one in searched)
    if name.startswith("pruned zeros"):
        assert any(plan.weight_memories[one.weight_memory].index_bits for one in searched)
    return plan, random_frames(rng, plan.model, utterances, steps)


@pytest.fixture(scope="session")
def builds(tmp_path_factory):
    return tmp_path_factory.mktemp("builds")


def expected_count(plan, frames):
    """Values that a run must compare: every element of every vector, the decisions, and a verdict on each frame."""
    expected, _ = reference(plan.model, frames)
    output = output_name(plan.model)
    elements = sum(value.size for one in expected for name, value in one.values.items() if name != "logits")
    logits = sum(one.values["logits"].size + 2 for one in expected if output in one.values)
    return elements + logits + len(frames)


@pytest.mark.parametrize(("simulator", "name"), [*quick_and_slow()])
def test_exact_under_all_stalls(simulator, name, builds):
    plan, utterances = case(name)
    frames, verilog = stimulus(plan, utterances, seed=1), to_verilog(plan)
    for stalls in STALLS:
        result = cosim(plan, frames, simulator=simulator, stalls=stalls, seed=2, directory=builds, verilog=verilog)
        assert result.mismatch is None, str(result.mismatch)
        assert result.ok, result.report()
        assert (result.compared, result.differing) == (expected_count(plan, frames), 0)
        assert all(measured == planned for measured, planned in result.accesses.values())
        assert result.accesses


@pytest.mark.parametrize("name", CASES)
def test_cycles_are_the_planned_ones(name, builds):
    plan, utterances = case(name, utterances=1, steps=12)
    marks = {"ends": ()} if plan.config.state.value == "utterance" else {}
    verilog = to_verilog(plan)
    dense = cosim(plan, utterances, directory=builds, verilog=verilog, **marks)
    assert dense.ok, dense.report()
    assert len(dense.intervals) >= 11 - plan.period
    if plan.skipping_memories:
        assert len({planned for _, planned in dense.intervals}) > plan.period
    else:
        assert {planned for _, planned in dense.intervals} <= {frame.interval for frame in plan.frames}
    assert not dense.latencies
    spaced = cosim(plan, utterances, directory=builds, spaced=True, verilog=verilog, **marks)
    assert spaced.ok, spaced.report()
    assert len(spaced.latencies) == 12 // plan.period
    least, most = plan.shortest_frames[-1].latency, plan.frames[-1].latency
    assert all(least <= measured <= most for measured, _ in spaced.latencies)
    assert not spaced.intervals


@pytest.mark.parametrize("name", ["pruned ram", "pruned zeros ram"])
@pytest.mark.parametrize("fraction", [0.85, 1.0])
def test_an_accelerator_with_weights_in_ram_runs_networks_with_other_blocks(fraction, name, builds):
    plan, utterances = case(name)
    (seed, options, _), matrices = CASES[name], PRUNED[name][1]
    fuller = random_model(np.random.default_rng(seed), **options)
    loaded = prune_blocks(np.random.default_rng(1), fuller, plan.lanes, fraction, matrices)
    roomy = make_plan(prune_blocks(np.random.default_rng(2), fuller, plan.lanes, 0.5, matrices), plan.config)
    laid_out = fitted(make_plan(loaded, plan.config), shape(roomy))
    pruned = max(index for index, one in enumerate(roomy.operations) if matrices is None or one.index_bits)
    assert laid_out.operations[pruned].words < roomy.operations[pruned].words
    result = cosim(laid_out, utterances, stalls="random", seed=3, directory=builds, verilog=to_verilog(roomy))
    assert result.ok, result.report()
    assert (result.compared, result.differing) == (expected_count(plan, stimulus(plan, utterances, seed=3)), 0)


def test_tensors_of_the_models_have_different_formats():
    plan, _ = case("any")
    formats = [vector.format for vector in Golden(plan.model).vectors.values()]
    assert len(set(formats)) >= len(formats) - 1
    widths = {weights.width for layer in plan.model.layers for weights in layer.weights.values()}
    assert len(widths) > 2


@pytest.mark.parametrize("simulator", Simulator)
def test_reset_in_mid_frame(simulator, builds):
    plan, utterances = case("2019" if simulator is Simulator.VERILATOR else "mixed", utterances=1, steps=10)
    interval = round(plan.cycles_per_frame)
    verilog = to_verilog(plan)
    for after in (1, plan.model.inputs, interval // 2, interval, interval + plan.model.inputs + 5, 3 * interval):
        result = cosim(
            plan, utterances, simulator=simulator, stalls="none" if after % 2 else "random", seed=after,
            reset_in_frame={2: after, 6: after + 1}, directory=builds, verilog=verilog,
        )  # fmt: skip
        assert result.ok, (after, result.report())


def test_reset_in_mid_frame_where_only_control_is_reset(builds):
    plan, utterances = case("levers", utterances=1, steps=7)
    interval = plan.shortest_frames[0].interval
    resets = {1: 1, 2: interval // 3, 4: interval, 5: interval + plan.model.inputs + 5}
    result = cosim(plan, utterances, stalls="random", seed=4, reset_in_frame=resets, directory=builds)
    assert result.ok, result.report()


@pytest.mark.parametrize("name", ["2019", "strided", "mixed", "one layer"])
@pytest.mark.parametrize("stalls", ["none", "random"])
def test_malformed_frames_are_dropped_and_reported(name, stalls, builds):
    plan, utterances = case(name, utterances=2, steps=5)
    n, top = plan.model.inputs, plan.model.input.max
    lengths = [size for size in (n - 1, n + 1, 2 * n, 2 * n + 1, 1) if size not in (0, n)]
    wrong = [[top] * size for size in lengths]
    malformed = {0: wrong, 3: wrong[:1], 7: wrong[::-1]}
    result = cosim(plan, utterances, stalls=stalls, malformed=malformed, directory=builds)
    assert result.ok, result.report()
    assert result.frames == 10 + 2 * len(wrong) + 1
    assert result.blocks["frame_error"] == (result.frames, 0)


@pytest.mark.parametrize("name", ["strided", "mixed"])
def test_marks_on_malformed_frames_reach_the_next_one(name, builds):
    plan, utterances = case(name, utterances=1, steps=6)
    clear, end = (1, False) if name == "mixed" else (0, True)
    frames = [Frame(tuple(values)) for values in utterances[0].tolist()]
    short = frames[0].values[:-1] if plan.model.inputs > 1 else frames[0].values * 2
    frames.insert(4, Frame(short, clear, end))
    expected, _ = reference(plan.model, frames)
    assert [one.phase for one in expected] == [0, 1, 2, 3, 0, 1]
    result = cosim(plan, frames, directory=builds)
    assert result.ok, result.report()


def test_state_policies_differ_only_by_their_marks(builds):
    seed, options, config = CASES["mixed"]
    model = random_model(np.random.default_rng(seed), **options)
    utterances = random_frames(np.random.default_rng(1), model, 3, 5)
    logits = {}
    for state in ("keep", "pulse", "utterance"):
        plan = make_plan(model, AcceleratorConfig(lanes=config["lanes"], state=state))
        frames = stimulus(plan, utterances)
        assert cosim(plan, frames, directory=builds).ok
        values = [one.values for one in reference(model, frames)[0]]
        logits[state] = np.array([one["logits"] for one in values if "logits" in one])
    fresh = np.concatenate([Golden(model).run(one[None])["logits"][0] for one in utterances])
    np.testing.assert_array_equal(logits["keep"], Golden(model).run(np.concatenate(utterances)[None])["logits"][0])
    np.testing.assert_array_equal(logits["pulse"], fresh)
    np.testing.assert_array_equal(logits["utterance"], fresh)
    assert (logits["keep"] != fresh).any()


def test_both_simulators_take_the_same_cycles(builds):
    plan, utterances = case("2019")
    runs = [cosim(plan, utterances, simulator=one, stalls="random", seed=3, directory=builds) for one in Simulator]
    assert runs[0].ok
    assert runs[0].cycles == runs[1].cycles
    assert runs[0].blocks == runs[1].blocks


def vcd_value(path, scope, name, time):
    """Value of a vector in a VCD file just before a time, as an unsigned integer."""
    place, code, value = [], None, None
    with path.open() as lines:
        for line in lines:
            words = line.split()
            if words[:1] == ["$scope"]:
                place.append(words[2])
            elif words[:1] == ["$upscope"]:
                place.pop()
            elif words[:1] == ["$var"] and place[-len(scope) :] == scope and words[4] == name:
                code = words[3]
            elif line.startswith("#") and int(line[1:]) >= time:
                return value
            elif len(words) == 2 and words[0].startswith("b") and words[1] == code:
                value = int(words[0][1:], 2) if set(words[0][1:]) <= {"0", "1"} else None
    raise AssertionError("the waveform ends too early")


@pytest.mark.parametrize("simulator", Simulator)
def test_a_mismatch_is_reported_where_it_is(simulator, builds):
    plan, utterances = case("2019", utterances=2)
    planned = plan.operations[-1]
    memory = plan.weight_memories[planned.weight_memory]
    row, column = 2, 6
    lane_bits = memory.width // plan.lanes
    bad = flip_bit(to_verilog(plan), f"memory_{memory.name}", planned.weight_base + column, (row + 1) * lane_bits - 1)
    replay = "lmu-hw cosim MODEL --simulator {simulator} --seed {seed} --waves"
    result = cosim(
        plan, utterances, simulator=simulator, stalls="random", seed=5, directory=builds, verilog=bad, waves=True,
        replay=replay,
    )  # fmt: skip
    one = result.mismatch
    assert not result.ok
    assert not result.exact
    assert one is not None
    assert (one.block, one.element) == ("layer0.h", row)
    golden = np.array([frame.values["layer0.h"][row] for frame in reference(plan.model, stimulus(plan, utterances))[0]])
    assert one.expected == golden[one.frame]
    assert one.got != one.expected
    assert result.blocks["layer0.u"][1] <= result.blocks["layer0.u"][0]
    assert one.replay == f"lmu-hw cosim MODEL --simulator {simulator.value} --seed 5 --waves"
    fmt = plan.model.layers[0].h.format
    mask, digits = (1 << fmt.width) - 1, -(-fmt.width // 4)
    text = str(one)
    assert f"layer0.h[{row}] of frame {one.frame}" in text
    assert f"expected 0x{one.expected & mask:0{digits}x} ({fmt.real(one.expected):g})" in text
    assert f"got 0x{one.got & mask:0{digits}x} ({fmt.real(one.got):g})" in text
    assert f"at {one.time_ns} ns" in text
    assert one.replay in text
    seen = vcd_value(result.waves, ["dut", "finish"], "write_data", one.time_ns)
    assert seen is not None
    assert seen & mask == one.got & mask


def test_a_hanging_accelerator_ends_the_run(builds):
    plan, utterances = case("dense")
    stuck = to_verilog(plan).replace(".output_free(output_free)", ".output_free(1'h0)")
    assert stuck != to_verilog(plan)
    result = cosim(plan, utterances, directory=builds, verilog=stuck)
    assert result.hung
    assert not result.ok
    assert result.mismatch.got is None
    assert "got nothing" in str(result.mismatch)


def test_another_model_is_noticed_in_every_frame(builds):
    plan, utterances = case("one layer")
    other = case("one layer")[0].model
    weights = ~other.layers[0].w.values
    changed = type(other.layers[0].w)(weights, other.layers[0].w.width, other.layers[0].w.frac)
    layer = type(other.layers[0])(changed, other.layers[0].h, other.layers[0].b, other.layers[0].activation)
    model = type(other)((layer,), other.input)
    assert cosim(plan, utterances, directory=builds).ok
    assert not cosim(plan, utterances, directory=builds, model=model).exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stalls": "often"}, "stalls must be one of none, alternate, random, not 'often'"),
        ({"percent": 0}, "percent must be in 1 to 100, not 0"),
        ({"seed": -1}, "seed must be in 0"),
        ({"clear_before": [1]}, "pulses clear, but the state policy is keep"),
        ({"ends": [1]}, "marks an end, but the state policy is keep"),
        ({"reset_in_frame": {99: 1}}, "reset marks must be frames 0 to 17, not 99"),
        ({"malformed": {0: [[]]}}, "must have 1 to"),
        ({"malformed": {0: [[1 << 20]]}}, "must hold values of"),
    ],
)
def test_wrong_options_are_refused(options, message, builds):
    plan, utterances = case("2019")
    with pytest.raises(ValueError, match=message):
        cosim(plan, utterances, directory=builds, **options)


def test_wrong_frames_are_refused(builds):
    plan, utterances = case("2019")
    with pytest.raises(ValueError, match="an utterance must hold integers of shape"):
        cosim(plan, utterances[:, :, :-1], directory=builds)
    with pytest.raises(ValueError, match="frame values must be in"):
        cosim(plan, utterances + (1 << 20), directory=builds)
    with pytest.raises(ValueError, match="frames must be all Frame"):
        cosim(plan, stimulus(plan, utterances), clear_before=[1], directory=builds)


@pytest.mark.parametrize("name", ["dense", "2019"])
def test_combinational_blocks_are_evaluated_at_the_start(name):
    """Icarus Verilog in its SystemVerilog mode, which cocotb uses, sees no event in the value at a declaration."""
    verilog = to_verilog(case(name)[0])
    assert verilog.count("dump_module$") > 0
    assert not re.search(r"dump_module\$\d+\s+= 0", verilog)
    assert len(re.findall(r"initial \S+dump_module\$\d+ <= 0;", verilog)) == len(
        re.findall(r"reg \S+dump_module\$\d+ ;", verilog)
    )
