"""The compiled batch simulator: equal to the golden model, and able to find what is not."""

import dataclasses
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.export.emit import to_verilog
from lmu_hw.model.fixed import Overflow
from lmu_hw.model.golden import Golden, decide
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.batch import BatchResult, BatchSimulator, compare_batch, verify_batch
from lmu_sim.build_cache import BuildCache
from lmu_sim.testing.random_models import random_frames, random_model

FORWARD = {"e_h": False, "e_m": False, "w_h": False}
CASES = {
    "keep": ({"lanes": 4}, {"layers": ("lmu", "dense"), "stride": 2}),
    "pulse_ram": ({"lanes": 16, "weights": "ram", "state": "pulse"}, {"layers": ("lmu", "lmu"), "stride": 3}),
    "rounds": ({"lanes": 5, "frames_per_fetch": 4}, {"layers": ("lmu", "dense"), "stride": 2, **FORWARD}),
    "utterance_tanh": ({"lanes": 3, "state": "utterance"}, {"layers": ("lmu", "dense"), "activation": "tanh"}),
}


def make_case(name):
    config, options = CASES[name]
    rng = np.random.default_rng(len(name))
    return make_plan(random_model(rng, **options), AcceleratorConfig(**config)), rng


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "rounds" else []) for name in CASES]
)
def test_batch_is_golden(name):
    plan, rng = make_case(name)
    frames = random_frames(rng, plan.model, 9, 13)
    calls = []
    simulator = BatchSimulator(plan)
    result = simulator.run(frames, processes=2, progress=lambda *call: calls.append(call))
    logits = Golden(plan.model).run(frames)["logits"]
    assert logits.shape[1] == 13 // plan.period > 0
    assert_array_equal(result.logits, logits)
    assert_array_equal(result.decisions, np.stack(decide(logits), axis=2))
    assert calls[-1] == ("simulate", 9, 9)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)

    one = simulator.run(frames, processes=1)
    assert_array_equal(one.logits, result.logits)
    slowest = max(frame.interval for frame in plan.frames)
    assert (one.cycles < 14 * slowest + 2 * plan.model.inputs + 200).all()

    report = compare_batch(plan, frames, result)
    assert report.passed
    assert report.compared == logits.size + 2 * logits.shape[0] * logits.shape[1]
    assert "all equal" in str(report)
    assert "9 clips of 13 frames" in str(report)


def test_cycles_of_a_clip_are_those_of_the_plan():
    plan, rng = make_case("keep")
    period = sum(frame.interval for frame in plan.frames)
    short, long = (
        BatchSimulator(plan).run(random_frames(rng, plan.model, 3, steps)).cycles
        for steps in (4 * plan.period, 7 * plan.period)
    )
    assert_array_equal(long - short, [3 * period] * 3)


def test_a_program_is_built_once(tmp_path):
    plan, _ = make_case("keep")
    cache = BuildCache(tmp_path)
    first = BatchSimulator(plan, cache=cache).program
    stamp = first.stat().st_mtime_ns
    assert BatchSimulator(plan, cache=cache).program == first
    assert first.stat().st_mtime_ns == stamp
    assert [path.name for path in first.parent.iterdir()] == ["program"]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_flipped_weight_bit_is_found_and_named():
    rng = np.random.default_rng(3)
    model = random_model(rng, layers=("dense",), inputs=5, units=6, activation="linear", overflow=Overflow.SAT)
    plan = make_plan(model, AcceleratorConfig(lanes=4))
    frames = random_frames(rng, plan.model, 40, 6)
    memory = plan.weight_memories[0]
    text = to_verilog(plan)
    module = re.search(rf"module \\\S+memory_{memory.name} .*?endmodule", text, re.DOTALL)[0]
    for address in (0, memory.depth - 1):
        word = plan.images()[memory.name][address]
        line = re.search(rf"cells\[{address}\] = (\d+)'(\S+);", module)
        faulty = module.replace(line[0], f"cells[{address}] = {line[1]}'d{word ^ 1 << plan.weight_widths[0] - 1};")
        assert faulty != module
        report = verify_batch(plan, frames, verilog=text.replace(module, faulty))
        expected = Golden(plan.model).run(frames)["logits"]
        first = report.first
        wrong = np.argwhere((report.result.logits != expected).any(axis=2))
        assert report.differing >= len(wrong) > 0
        clip, output = wrong[0]
        assert (first.kind, first.clip, first.frame) == ("logit", clip, output)
        assert first.expected == expected[clip, output, first.label]
        assert first.got == report.result.logits[clip, output, first.label]
        assert f"clip {clip}, frame {output}, logit {first.label}: expected {first.expected}" in str(report)


def test_every_wrong_value_is_counted():
    plan, rng = make_case("keep")
    frames = random_frames(rng, plan.model, 4, 8)
    logits = Golden(plan.model).run(frames)["logits"]
    right = BatchResult(logits, np.stack(decide(logits), axis=2), np.full(4, 100), 1.0)
    assert compare_batch(plan, frames, right).passed

    decisions = right.decisions.copy()
    decisions[1, 2, 1] += 1
    decisions[3, 0, 0] += 1
    report = compare_batch(plan, frames, dataclasses.replace(right, decisions=decisions))
    assert (report.passed, report.differing) == (False, 2)
    assert (report.first.kind, report.first.clip, report.first.frame) == ("score", 1, 3 * plan.period - 1)
    with pytest.raises(ValueError, match="the logits must have shape"):
        compare_batch(plan, frames, dataclasses.replace(right, logits=logits[:, :-1], decisions=decisions[:, :-1]))


def test_no_clips_are_no_proof():
    plan, _ = make_case("keep")
    report = verify_batch(plan, np.zeros((0, 8, plan.model.inputs), int))
    assert not report.passed


@pytest.mark.parametrize("name", ["keep", "utterance_tanh"])
def test_clips_without_frames_or_too_short_give_nothing(name):
    plan, _ = make_case(name)
    for clips, steps in ((3, 0), (0, 0), (2, plan.period - 1)):
        report = verify_batch(plan, np.zeros((clips, steps, plan.model.inputs), int))
        assert report.result.logits.shape == (clips, 0, plan.model.outputs)
        assert report.result.decisions.shape == (clips, 0, 2)
        assert report.result.cycles.shape == (clips,)
        assert (report.passed, report.compared) == (False, 0)
        assert f"{clips} clips of {steps} frames" in str(report)


def test_a_design_that_hangs_is_reported():
    plan, rng = make_case("keep")
    text = to_verilog(plan)
    stuck = text.replace(".o_decision__valid(o_decision__valid)", ".o_decision__valid()", 1)
    assert stuck != text
    with pytest.raises(RuntimeError, match=r"the simulated accelerator failed: clip \d+: nothing moved for \d+ cycles"):
        BatchSimulator(plan, verilog=stuck).run(random_frames(rng, plan.model, 2, 8))


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((1, 4, 99), int), ValueError, r"frames must have shape \(clips, T, \d\), not \(1, 4, 99\)"),
        (np.zeros((1, 4)), TypeError, "frames must hold integers, not float64"),
        (None, ValueError, r"frame values must be in -?\d+ to \d+"),
    ],
)
def test_wrong_frames_are_refused(frames, error, message):
    plan, _ = make_case("keep")
    frames = np.full((1, 4, plan.model.inputs), 1 << 20) if frames is None else frames
    with pytest.raises(error, match=message):
        BatchSimulator(plan).run(frames)
