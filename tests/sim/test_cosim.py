"""The accelerator in Icarus Verilog and in Verilator, bit for bit against the golden model."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.export.emit import to_verilog
from lmu_hw.model.fixed import Overflow
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.operations import output_name
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import fitted, shape
from lmu_sim.bench import STALLS
from lmu_sim.cosim import CosimOptions, cosimulate, cosimulate_variant
from lmu_sim.faults import flip_bit
from lmu_sim.result import ClipDecision, MismatchError
from lmu_sim.runner import Simulator, SimulatorError
from lmu_sim.stimulus import Frame, Marks, reference, stimulus
from lmu_sim.testing.random_models import prune_blocks, random_frames, random_model

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
    "pruned layer": (3, {"layers": ("dense",), "inputs": 5, "units": 8}, {"lanes": 4}),
    "separable": (
        40,
        {"layers": ("dense", "separable", "separable", "dense"), "units": 7, "memories": 3, "stride": 1}
        | {"encoder": True, "residual": True, "activation": "relu"},
        {"lanes": 4, "state": "pulse", "state_bank_words": 4} | dict.fromkeys(LEVERS[1:], True),
    ),
    "memory per channel": (
        41,
        {"layers": ("separable", "lmu"), "inputs": 3, "units": 5, "encoder": False, "residual": True, "stride": 2},
        {"lanes": 3, "weights": "ram", "state": "utterance"},
    ),
    "added input": (
        46,
        {"layers": ("separable",), "inputs": 5, "memories": 2, "encoder": True, "residual": True, "stride": 1},
        {"lanes": 4, "weights": "ram"},
    ),
    "pruned separable": (
        42,
        {"layers": ("lmu", "separable", "dense"), **FULL, "units": 12, "inputs": 6, "memories": 3, "filters": 3}
        | {"residual": True},
        {"lanes": 4, "skip_zero_elements": True},
    ),
    "any": (9, {"layers": ("dense", "lmu", "dense", "lmu")}, {"lanes": 4, "weights": "ram", "state": "pulse"}),
}
PRUNED = {
    "pruned": (0.8, None),
    "pruned layer": (0.6, None),
    "pruned levers": (0.8, None),
    "pruned ram": (0.91, None),
    "pruned separable": (0.8, None),
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


def expected_count(plan, frames):
    """Values that a run must compare: every element of every vector, the decisions, and a verdict on each frame."""
    expected = reference(plan.model, frames).expected
    output = output_name(plan.model)
    elements = sum(value.size for one in expected for name, value in one.values.items() if name != "logits")
    logits = sum(one.values["logits"].size + 2 for one in expected if output in one.values)
    return elements + logits + len(frames)


@pytest.mark.parametrize(("simulator", "name"), [*quick_and_slow()])
def test_exact_and_in_the_planned_cycles_under_all_stalls(simulator, name):
    """The first utterance is long enough for whole stride periods; the others follow a clear or an end."""
    plan, (stream,) = case(name, utterances=1, steps=21)
    frames, verilog = stimulus(plan, np.split(stream, (12, 18)), seed=1), to_verilog(plan)
    results = {}
    for stalls, spaced in (*((stalls, False) for stalls in STALLS), ("none", True)):
        options = CosimOptions(simulator, stalls, seed=2, spaced=spaced)
        result = results[stalls, spaced] = cosimulate_variant(plan, frames, options, verilog=verilog)
        assert result.mismatch is None, str(result.mismatch)
        assert result.ok, result.report()
        assert (result.compared, result.differing) == (expected_count(plan, frames), 0)
        assert all(measured == planned for measured, planned in result.accesses.values())
        assert result.accesses
        assert bool(result.intervals) == (stalls == "none" and not spaced)
        assert bool(result.latencies) == spaced
    intervals, latencies = results["none", False].intervals, results["none", True].latencies
    assert len(intervals) >= 11 - plan.period
    if plan.skipping_memories:
        assert len({planned for _, planned in intervals}) > plan.period
    else:
        assert {planned for _, planned in intervals} <= {frame.interval for frame in plan.frames}
    assert len(latencies) == results["none", True].blocks["decision.label"][0] >= 12 // plan.period
    least, most = plan.shortest_frames[-1].latency, plan.frames[-1].latency
    assert all(least <= measured <= most for measured, _ in latencies)


@pytest.mark.parametrize("name", ["pruned ram", "pruned zeros ram"])
@pytest.mark.parametrize("fraction", [0.85, 1.0])
def test_an_accelerator_with_weights_in_ram_runs_networks_with_other_blocks(fraction, name):
    plan, utterances = case(name)
    (seed, options, _), matrices = CASES[name], PRUNED[name][1]
    fuller = random_model(np.random.default_rng(seed), **options)
    loaded = prune_blocks(np.random.default_rng(1), fuller, plan.lanes, fraction, matrices)
    roomy = make_plan(prune_blocks(np.random.default_rng(2), fuller, plan.lanes, 0.5, matrices), plan.config)
    laid_out = fitted(make_plan(loaded, plan.config), shape(roomy))
    pruned = max(index for index, one in enumerate(roomy.operations) if matrices is None or one.index_bits)
    assert laid_out.operations[pruned].words < roomy.operations[pruned].words
    result = cosimulate_variant(laid_out, utterances, CosimOptions(stalls="random", seed=3), verilog=to_verilog(roomy))
    assert result.ok, result.report()
    assert (result.compared, result.differing) == (expected_count(plan, stimulus(plan, utterances, seed=3)), 0)


@pytest.mark.parametrize("fault", ["filter", "residual"])
def test_faults_of_a_separable_layer_are_noticed(fault):
    plan, utterances = case("separable", utterances=1)
    planned = next(planned for planned in plan.operations if planned.operation.target == "layer1.f")
    verilog = to_verilog(plan)
    if fault == "filter":
        memory = plan.weight_memories[planned.weight_memory].name
        bad = flip_bit(verilog, f"memory_{memory}", planned.weight_base, 1)
    else:
        bad = re.sub(r"added_element = \{.+\};", "added_element = 0;", verilog)
    assert bad != verilog
    result = cosimulate_variant(plan, utterances, verilog=bad)
    assert not result.exact
    assert str(result.mismatch).startswith(f"layer1.{'f' if fault == 'filter' else 'h'}[")


def test_tensors_of_the_models_have_different_formats():
    plan, _ = case("any")
    formats = [vector.format for vector in Golden(plan.model).vectors.values()]
    assert len(set(formats)) >= len(formats) - 1
    widths = {weights.width for layer in plan.model.layers for weights in layer.weights.values()}
    assert len(widths) > 2


@pytest.mark.parametrize("simulator", Simulator)
def test_reset_in_mid_frame(simulator):
    plan, utterances = case("2019" if simulator is Simulator.VERILATOR else "mixed", utterances=1, steps=10)
    interval = round(plan.cycles_per_frame)
    verilog = to_verilog(plan)
    for after in (1, plan.model.inputs, interval // 2, interval, interval + plan.model.inputs + 5, 3 * interval):
        frames = stimulus(plan, utterances, Marks(reset_in_frame={2: after, 6: after + 1}), seed=after)
        options = CosimOptions(simulator, "none" if after % 2 else "random", seed=after)
        result = cosimulate_variant(plan, frames, options, verilog=verilog)
        assert result.ok, (after, result.report())


def test_reset_in_mid_frame_where_only_control_is_reset():
    plan, utterances = case("levers", utterances=1, steps=7)
    interval = plan.shortest_frames[0].interval
    resets = {1: 1, 2: interval // 3, 4: interval, 5: interval + plan.model.inputs + 5}
    frames = stimulus(plan, utterances, Marks(reset_in_frame=resets), seed=4)
    result = cosimulate(plan, frames, CosimOptions(stalls="random", seed=4))
    assert result.ok, result.report()


@pytest.mark.parametrize("name", ["2019", "strided", "mixed", "one layer"])
def test_malformed_frames_are_dropped_and_reported(name):
    plan, utterances = case(name, utterances=2, steps=5)
    n, top = plan.model.inputs, plan.model.input.max
    lengths = [size for size in (n - 1, n + 1, 2 * n, 2 * n + 1, 1) if size not in (0, n)]
    wrong = [[top] * size for size in lengths]
    frames = stimulus(plan, utterances, Marks(malformed={0: wrong, 3: wrong[:1], 7: wrong[::-1]}))
    verilog = to_verilog(plan)
    for stalls in ("none", "random"):
        result = cosimulate_variant(plan, frames, CosimOptions(stalls=stalls), verilog=verilog)
        assert result.ok, result.report()
        assert result.frames == 10 + 2 * len(wrong) + 1
        assert result.blocks["frame_error"] == (result.frames, 0)


@pytest.mark.parametrize("name", ["strided", "mixed"])
def test_marks_on_malformed_frames_reach_the_next_one(name):
    plan, utterances = case(name, utterances=1, steps=6)
    clear, end = (1, False) if name == "mixed" else (0, True)
    frames = [Frame(tuple(values)) for values in utterances[0].tolist()]
    short = frames[0].values[:-1] if plan.model.inputs > 1 else frames[0].values * 2
    frames.insert(4, Frame(short, clear, end))
    expected = reference(plan.model, frames).expected
    assert [one.phase for one in expected] == [0, 1, 2, 3, 0, 1]
    result = cosimulate(plan, frames)
    assert result.ok, result.report()


def test_state_policies_differ_only_by_their_marks():
    seed, options, config = CASES["mixed"]
    model = random_model(np.random.default_rng(seed), **options)
    utterances = random_frames(np.random.default_rng(1), model, 3, 5)
    logits = {}
    for state in ("keep", "pulse", "utterance"):
        plan = make_plan(model, AcceleratorConfig(lanes=config["lanes"], state=state))
        frames = stimulus(plan, utterances)
        assert cosimulate(plan, frames).ok
        values = [one.values for one in reference(model, frames).expected]
        logits[state] = np.array([one["logits"] for one in values if "logits" in one])
    fresh = np.concatenate([Golden(model).run(one[None])["logits"][0] for one in utterances])
    np.testing.assert_array_equal(logits["keep"], Golden(model).run(np.concatenate(utterances)[None])["logits"][0])
    np.testing.assert_array_equal(logits["pulse"], fresh)
    np.testing.assert_array_equal(logits["utterance"], fresh)
    assert (logits["keep"] != fresh).any()


def test_both_simulators_take_the_same_cycles():
    plan, utterances = case("2019")
    runs = [cosimulate(plan, utterances, CosimOptions(name, "random", seed=3)) for name in Simulator]
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
def test_a_mismatch_is_reported_where_it_is(simulator, tmp_path):
    plan, utterances = case("2019", utterances=2)
    planned = plan.operations[-1]
    memory = plan.weight_memories[planned.weight_memory]
    row, column = 2, 6
    lane_bits = memory.width // plan.lanes
    bad = flip_bit(to_verilog(plan), f"memory_{memory.name}", planned.weight_base + column, (row + 1) * lane_bits - 1)
    replay = "lmu-hw cosim MODEL --waves"
    options = CosimOptions(simulator, "random", seed=5, folder=tmp_path, waves=True, replay=replay)
    result = cosimulate_variant(plan, utterances, options, verilog=bad)
    one = result.mismatch
    assert not result.ok
    assert not result.exact
    assert one is not None
    with pytest.raises(MismatchError) as caught:
        result.check()
    assert caught.value.result is result
    assert str(caught.value) == f"first difference: {one}"
    assert "\n" not in str(caught.value)
    assert (one.block, one.element) == ("layer0.h", row)
    expected = reference(plan.model, stimulus(plan, utterances)).expected
    golden = np.array([frame.values["layer0.h"][row] for frame in expected])
    assert one.expected == golden[one.frame]
    assert one.got != one.expected
    assert result.blocks["layer0.u"][1] <= result.blocks["layer0.u"][0]
    fmt = plan.model.layers[0].h.format
    mask, digits = (1 << fmt.width) - 1, -(-fmt.width // 4)
    text = str(one)
    assert f"layer0.h[{row}] of frame {one.frame}" in text
    assert f"expected 0x{one.expected & mask:0{digits}x} ({fmt.real(one.expected):g})" in text
    assert f"got 0x{one.got & mask:0{digits}x} ({fmt.real(one.got):g})" in text
    assert f"at {one.time_ns} ns" in text
    assert text.endswith(f"; replay with waveforms: {replay}")
    assert result.waves == tmp_path / "waves.vcd"
    seen = vcd_value(result.waves, ["dut", "finish"], "write__data", one.time_ns)
    assert seen is not None
    assert seen & mask == one.got & mask


def test_a_hanging_accelerator_ends_the_run():
    plan, utterances = case("dense")
    stuck = re.sub(r"( sequencer \([^;]*?\.claim__ready)\(claim__ready\)", r"\1(1'h0)", to_verilog(plan))
    assert stuck != to_verilog(plan)
    result = cosimulate_variant(plan, utterances, verilog=stuck)
    assert result.hung
    assert not result.ok
    assert result.mismatch.got is None
    assert "got nothing" in str(result.mismatch)
    with pytest.raises(MismatchError, match="the accelerator stopped taking frames, or did not come to rest"):
        result.check()


def test_another_model_is_noticed_in_every_frame():
    plan, utterances = case("one layer")
    other = case("one layer")[0].model
    weights = ~other.layers[0].w.values
    changed = type(other.layers[0].w)(weights, other.layers[0].w.width, other.layers[0].w.frac)
    layer = type(other.layers[0])(changed, other.layers[0].h, other.layers[0].b, other.layers[0].activation)
    model = type(other)((layer,), other.input)
    assert cosimulate(plan, utterances).ok
    assert not cosimulate_variant(plan, utterances, model=model).exact


@pytest.mark.parametrize("name", ["levers ram", "mixed"])
def test_the_last_decision_of_every_clip_is_told(name):
    plan, utterances = case(name, steps=7)
    model = replace(plan.model, labels=tuple(f"word{label}" for label in range(plan.model.outputs)))
    plan = make_plan(model, plan.config)
    stages = []
    result = cosimulate(plan, utterances, progress=lambda *stage: stages.append(stage)).check()
    expected = []
    for clip, utterance in enumerate(utterances):
        logits = Golden(model).run(utterance[None])["logits"][0]
        label, score = (int(value[-1]) for value in decide(logits))
        frame = 7 * clip + len(logits) * plan.period - 1
        expected.append(ClipDecision(clip, frame, label, f"word{label}", score))
    assert result.decisions == tuple(expected)
    assert result.report()["decisions"][2] == {
        "clip": 2, "frame": expected[2].frame, "word": expected[2].word, "score": expected[2].score
    }  # fmt: skip
    assert stages[:2] == [("build", 0, 0), ("simulate", 0, 21)]
    assert stages[-1] == ("compare", 0, 0)
    assert {stage[::2] for stage in stages[1:-1]} == {("simulate", 21)}


def test_labels_without_names_and_clips_without_decisions():
    plan, utterances = case("levers ram")
    short = utterances[0, : plan.period - 1]
    result = cosimulate(plan, [utterances[0], short, utterances[1]])
    assert [decision.clip for decision in result.decisions] == [0, 2]
    assert all(decision.word == str(decision.label) for decision in result.decisions)


def test_what_check_says():
    plan, utterances = case("one layer")
    result = cosimulate(plan, utterances)
    assert result.check() is result
    counts = dict.fromkeys(result.blocks, (0, 0))
    measured, planned = result.intervals[0]
    changes = {
        "an interface rule was broken: o_logits broke": {"violations": ("o_logits broke",)},
        "nothing was compared": {"blocks": counts},
        f"not as planned: {measured} cycles from frame to frame, {planned + 1} planned": {
            "intervals": ((measured, planned), (measured, planned + 1))
        },
        "not as planned: 7 cycles of latency, 8 planned": {"latencies": ((7, 8),)},
        "not as planned: 3 reads of data, 4 planned": {"accesses": {"weights": (1, 1), "data": (3, 4)}},
    }
    for message, change in changes.items():
        with pytest.raises(MismatchError, match=f"^{message}$"):
            replace(result, **change).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulator": "vcs"}, "simulator must be one of icarus, verilator, not 'vcs'"),
        ({"stalls": "often"}, "stalls must be one of none, alternate, random, not 'often'"),
        ({"stall_percent": 0}, "stall_percent must be in 1 to 100, not 0"),
        ({"stall_percent": 101}, "stall_percent must be in 1 to 100, not 101"),
        ({"seed": -1}, r"seed must be in 0 to 2\*\*31 - 1, not -1"),
        ({"seed": 1 << 31}, r"seed must be in 0 to 2\*\*31 - 1, not 2147483648"),
        ({"timeout_s": 0}, "timeout_s must be more than 0 seconds, not 0"),
        ({"waves": True}, "waves need a folder: a temporary one would be deleted with the waveforms"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CosimOptions(**options)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"clear_before": [1]}, "frame 1 pulses clear, but the state policy is keep"),
        ({"ends": [1]}, "frame 1 marks an end, but the state policy is keep"),
        ({"clear_before": [18]}, "clear marks must be frames 0 to 17, not 18"),
        ({"ends": [-1]}, "end marks must be frames 0 to 17, not -1"),
        ({"reset_in_frame": {99: 1}}, "reset marks must be frames 0 to 17, not 99"),
        ({"malformed": {18: [[0]]}}, "malformed marks must be frames 0 to 17, not 18"),
        ({"malformed": {0: [[]]}}, "must have 1 to"),
        ({"malformed": {0: [[1 << 20]]}}, "must hold values of"),
    ],
)
def test_wrong_marks_are_refused(marks, message):
    plan, utterances = case("2019")
    with pytest.raises(ValueError, match=message):
        stimulus(plan, utterances, Marks(**marks))


def test_wrong_frames_are_refused():
    plan, utterances = case("2019")
    with pytest.raises(ValueError, match="an utterance must hold integers of shape"):
        cosimulate(plan, utterances[:, :, :-1])
    with pytest.raises(ValueError, match="frame values must be in"):
        cosimulate(plan, utterances + (1 << 20))
    with pytest.raises(ValueError, match="frames must be all Frame, or all clips"):
        cosimulate(plan, [*stimulus(plan, utterances), utterances[0]])


def test_nothing_is_left_behind_without_a_folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    plan, utterances = case("one layer")
    cosimulate(plan, utterances).check()
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "work").iterdir())
    with pytest.raises(SimulatorError, match=r"took more than 0\.01 s to run, see (.+)/run.log") as caught:
        cosimulate(plan, utterances, CosimOptions(timeout_s=0.01))
    assert Path(str(caught.value).partition("see ")[2]).is_file()


def test_a_folder_keeps_the_latest_run(tmp_path):
    plan, utterances = case("one layer")
    cosimulate(plan, utterances, CosimOptions(folder=tmp_path / "run", waves=True)).check()
    assert (tmp_path / "run" / "waves.vcd").is_file()
    result = cosimulate(plan, utterances, CosimOptions(folder=tmp_path / "run")).check()
    assert result.waves is None
    assert not (tmp_path / "run" / "waves.vcd").exists()
    assert (tmp_path / "run" / "run.log").is_file()


@pytest.mark.parametrize("name", ["dense", "2019"])
def test_combinational_blocks_are_evaluated_at_the_start(name):
    """Icarus Verilog in its SystemVerilog mode, which cocotb uses, sees no event in the value at a declaration."""
    verilog = to_verilog(case(name)[0])
    assert verilog.count("dump_module$") > 0
    assert not re.search(r"dump_module\$\d+\s+= 0", verilog)
    assert len(re.findall(r"initial \S+dump_module\$\d+ <= 0;", verilog)) == len(
        re.findall(r"reg \S+dump_module\$\d+ ;", verilog)
    )
