"""Frames through the netlist of an accelerator: pieces side by side count what whole clips count, net by net."""

from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest

from lmu_hw.cells.conditions import Conditions, WireLoad
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.netlist import read_netlist
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.synth import synthesize
from lmu_hw.flows.tiling import MemoryUsage
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import clock_nets
from lmu_hw.power.engine import find_change_energies
from lmu_hw.power.guards import check_activity
from lmu_sim.energy import Sampling, _pieces, run_frames, sample_frames
from lmu_sim.frame_batches import FrameError, FrameSample
from lmu_sim.frame_gates import FrameGates
from lmu_sim.gates import GateError, GateSimulator
from lmu_sim.testing.random_models import random_frames, random_model

STRIDES = {
    "layers": ("lmu", "lmu", "dense"), "stride": 2, "e_h": True, "e_m": True, "w_h": False, "activation": "relu"
}  # fmt: skip
FORWARD = {"layers": ("lmu", "lmu", "dense"), "e_h": False, "e_m": False, "w_h": False}
CASES = {
    "recurrent, utterance": (2, {"lanes": 4, "state": "utterance"},
        {"layers": ("lmu", "dense"), "stride": 3, "w_h": True, "w_x": True, "activation": "tanh"}),
    "one cell": (3, {"lanes": 3}, {"layers": ("lmu",), "stride": 1, "e_h": True, "w_h": True}),
    "rounds": (6, {"lanes": 2, "frames_per_fetch": 2, "control_reset": True}, FORWARD | {"stride": 1}),
    "rounds, strides": (7, {"lanes": 3, "frames_per_fetch": 4, "isolate_operands": True}, FORWARD | {"stride": 2}),
    "weights in RAM": (4, {"lanes": 2, "weights": "ram"}, {"layers": ("lmu", "dense"), "stride": 1, "units": 2}),
    "clock gates": (8, {"lanes": 2, "stop_clock": True, "gate_blocks": True, "skip_zero_elements": True},
        {"layers": ("lmu", "dense"), "stride": 2, "units": 4, "activation": "relu"}),
    "state banks": (9, {"lanes": 2, "stop_clock": True, "gate_blocks": True, "state_bank_words": 4},
        {"layers": ("lmu", "dense"), "stride": 2, "units": 6, "activation": "relu"}),
    "memories at once": (10, {"lanes": 2, "memories_at_once": 2, "gate_blocks": True, "state_bank_words": 4},
        {"layers": ("lmu", "dense"), "stride": 2, "units": 4, "memories": [(2, 6.0)] * 2, "activation": "relu"}),
    "banks": (5, {"lanes": 2, "bank_words": 8, "skip_zero_elements": True, "control_reset": True},
        {"layers": ("lmu", "dense"), "stride": 2, "units": 4, "activation": "relu"}),
}  # fmt: skip


class Design:
    """A small accelerator, its netlist, and clips for it."""

    def __init__(self, seed, config, options, library, usage=None):
        options = {"inputs": 3, "units": 3, "memories": [(3, 8.0), (2, 6.0)], **options}
        self.plan = make_plan(random_model(np.random.default_rng(seed), **options), AcceleratorConfig(**config))
        done = synthesize(to_verilog(self.plan), TOP, library, usage=usage)
        self.netlist = read_netlist(done.json, TOP, library)
        self.clips = random_frames(np.random.default_rng(seed), self.plan.model, 2, 4 * self.plan.period + 3)


@pytest.fixture(scope="module")
def strides(standard_cells):
    return Design(1, {"lanes": 2, "state": "pulse"}, STRIDES, standard_cells)


@pytest.fixture(scope="module")
def gated_cells(pdk):
    """Cells with clock gates among them."""
    return read_liberty(pdk("ihp-sg13g2").cells)


def whole_clips(one, pace=None, delays=None):
    """Counts of the same frames, one after the other, `pace` cycles apart, each clip from reset."""
    found = []
    for clip in one.clips:
        gates = FrameGates(one.netlist, one.plan, delays)
        gates.window = gates.window if pace is None else pace
        simulator = GateSimulator(one.netlist)
        if one.plan.config.weights.value == "ram":
            load_weights(simulator, one.plan)
        simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
        simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
        for number, frames in enumerate(in_rounds(clip, gates.frames)):
            if number == gates.warm_up:
                simulator.use_delays(gates.delays)
                simulator.start_counting()
            gates.compute(simulator, frames[None])
        found.append(simulator.counts())
    return reduce(add, found)


def in_rounds(clip, size):
    return clip[: len(clip) // size * size].reshape(-1, size, clip.shape[1])


def load_weights(simulator, plan):
    """Fill the memories through the load port, as a host does."""
    images, words = plan.images(), []
    for number, spec in enumerate((*plan.weight_memories, plan.parameters)):
        words += [(number, address, word) for address, word in enumerate(images[spec.name])]
    memory, address = (max(word[k] for word in words).bit_length() for k in (0, 1))
    payload = [number | place << memory | word << memory + address for number, place, word in words]
    simulator.stream("i_load", np.array(payload), {}, cycles=len(words) + 4)
    simulator.run({"i_load__payload": np.zeros(1, dtype=np.int64)}, 1)


def same(counts, expected):
    assert counts.half_cycles == expected.half_cycles
    np.testing.assert_array_equal(counts.toggles, expected.toggles)
    np.testing.assert_array_equal(counts.high, expected.high)


def check_pieces(one, delays=None):
    run = run_frames(one.netlist, one.plan, {"noise": one.clips}, delays=delays, jobs=2)
    counts = run.kinds["noise"]
    period, labels, size = one.plan.period, one.plan.model.outputs, one.plan.config.frames_per_fetch
    length, warm_up = one.clips.shape[1] // size * size, size * FrameGates(one.netlist, one.plan).warm_up
    assert counts.frames == 2 * (length - warm_up)
    assert counts.busy.cycles == counts.frames * run.window
    outputs = sum(number % period == period - 1 for number in range(warm_up, length))
    assert counts.compared == 2 * outputs * (labels + 2)
    expected = whole_clips(one, delays=delays)
    same(counts.busy, expected)
    np.testing.assert_array_equal(counts.busy.glitches, expected.glitches)
    np.testing.assert_allclose(counts.busy.lost, expected.lost, rtol=1e-5, atol=1e-6)
    return run


def test_pieces_count_what_whole_clips_count(strides):
    check_pieces(strides)


DELAYS = Conditions(wires=WireLoad(per_fanout=2e-15), clock_slew=2e-10, longest_slew=1e-9)


def check_delays(one):
    """Delays add glitches, to data only, and leave all else as it is."""
    timed = check_pieces(one, DELAYS).kinds["noise"].busy
    settled = check_pieces(one).kinds["noise"].busy
    same(timed, settled)
    assert timed.glitches.sum() > 0.2 * timed.toggles.sum()
    assert not timed.glitches[clock_nets(one.netlist, "clk")].any()
    assert not settled.glitches.any()
    return timed, settled


def test_pieces_count_what_whole_clips_count_with_delays(gated_cells):
    one = Design(*CASES["clock gates"], gated_cells)
    check_delays(one)
    run = run_frames(one.netlist, one.plan, {"noise": one.clips}, delays=DELAYS)
    slow = int(run.window) + 50
    activity, expected = (done.activity("noise", slow, 1e-6) for done in (run, run_frames(
        one.netlist, one.plan, {"noise": one.clips})))  # fmt: skip
    np.testing.assert_array_equal(activity.settled.toggles, expected.toggles)
    np.testing.assert_array_equal(activity.duty, expected.duty)
    assert (activity.toggles >= activity.settled.toggles).all()
    assert 1e-9 < activity.settled_after < 1e-7
    check_activity(one.netlist, activity, "clk")


def test_pieces_count_what_whole_clips_count_with_delays_and_macros(pdk):
    ihp = pdk("ihp-sg13g2")
    library = read_liberty([*ihp.cells, *ihp.macros])
    one = Design(*CASES["weights in RAM"], library, usage=MemoryUsage(accesses=0.01))
    timed, settled = check_delays(one)
    assert timed.accesses
    for index, counts in timed.accesses.items():
        expected = settled.accesses[index]
        np.testing.assert_array_equal(counts.edges, expected.edges)
        assert (counts.changes, counts.enabled) == (expected.changes, expected.enabled)
        nets = one.netlist.instances[index].nets
        assert counts.glitches == {pin: timed.glitches[nets[pin]] for pin in counts.glitches}
    assert sum(sum(counts.glitches.values()) for counts in timed.accesses.values()) > 0
    macro = one.netlist.instances[next(iter(timed.accesses))]
    outputs = [macro.nets[pin] for pin in macro.cell.outputs]
    assert timed.toggles[outputs].sum() > 0
    assert not timed.glitches[outputs].any()


def weighed(one, counts):
    """Energy of counts by the energies of single changes."""
    energies = find_change_energies(one.netlist, DELAYS)
    total = energies.nets @ (counts.toggles + counts.glitches - counts.lost)
    return total + sum((counts.accesses[index].edges * edges).sum() for index, edges in energies.macros.items())


def test_frames_drawn_at_random_are_all_frames_in_the_end(standard_cells):
    one = Design(*CASES["one cell"], standard_cells)
    sampling = Sampling(DELAYS, interval=1e-9)
    drawn = sample_frames(one.netlist, one.plan, {"noise": one.clips}, sampling).kinds["noise"]
    every = run_frames(one.netlist, one.plan, {"noise": one.clips}, delays=DELAYS).kinds["noise"]
    assert (drawn.frames, drawn.compared) == (every.frames, every.compared)
    same(drawn.busy, every.busy)
    np.testing.assert_array_equal(drawn.busy.glitches, every.busy.glitches)
    assert drawn.sample.interval == 0
    assert drawn.sample.energies.sum() == pytest.approx(weighed(one, drawn.busy), rel=1e-5)
    assert every.sample is None


def test_frames_are_drawn_until_the_mean_is_known(strides):
    """As many of each phase, the same with the same seed; without delays too."""
    clips = np.concatenate([strides.clips] * 20)
    sampling = Sampling(DELAYS, interval=0.1)
    runs = [
        sample_frames(strides.netlist, strides.plan, {"noise": clips}, sampling, delays=delays, jobs=1)
        for delays in (True, True, False)
    ]
    first, again, settled = (run.kinds["noise"] for run in runs)
    assert first.frames == 64 < len(clips) * (clips.shape[1] - FrameGates(strides.netlist, strides.plan).warm_up)
    assert 0 < first.sample.interval < 0.1
    assert np.bincount(first.sample.phases).tolist() == [64 // strides.plan.rounds] * strides.plan.rounds
    same(first.busy, again.busy)
    same(first.busy, settled.busy)
    assert settled.sample.energies.sum() == pytest.approx(weighed(strides, settled.busy), rel=1e-5)
    assert settled.sample.energies.sum() < first.sample.energies.sum()


def test_the_interval_is_that_of_the_mean_over_the_phases():
    """Two phases of energies 1, 3 and 5, 7: variances 2, mean 4; 4 of 8 rounds were drawn."""
    sample = FrameSample(np.array([1.0, 5.0, 3.0, 7.0]), np.array([0, 1, 0, 1]), 8)
    assert sample.interval == pytest.approx(1.96 * np.sqrt((2 / 2 + 2 / 2) / 4 / 2) / 4)
    assert FrameSample(np.array([1.0, 5.0]), np.array([0, 1]), 8).interval == np.inf
    both = sample + FrameSample(np.array([2.0, 6.0, 2.0, 6.0]), np.array([0, 1, 0, 1]), 8)
    assert both.energies.size == 8
    assert both.interval == 0


@pytest.mark.parametrize("interval", [0, 1, -0.5])
def test_an_interval_that_makes_no_sense_is_refused(interval):
    with pytest.raises(ValueError, match=f"interval must be above 0 and below 1, not {interval}"):
        Sampling(DELAYS, interval)


def test_a_stopped_clock_moves_nothing_but_itself(gated_cells):
    one = Design(*CASES["clock gates"], gated_cells)
    clocks = np.flatnonzero(clock_nets(one.netlist, "clk"))
    port = one.netlist.inputs["clk"][0]
    gates, simulator = FrameGates(one.netlist, one.plan), GateSimulator(one.netlist)
    simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
    simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
    for frame in one.clips[0]:
        simulator.start_counting()
        gates.compute(simulator, frame[None, None])
    moved = simulator.counts().toggles[clocks]
    assert (moved > 0).sum() > 10
    simulator.start_counting()
    simulator.run({}, 50)
    assert np.flatnonzero(simulator.counts().toggles).tolist() == [port]
    gated = [one for one in one.netlist.instances if one.cell.clock_gating and one.nets[clock_pin(one)] == port]
    assert len(gated) == 1
    assert not any(one.cell.sequentials and port in one.nets.values() for one in one.netlist.instances)


def clock_pin(instance):
    return next(pin.name for pin in instance.cell.pins.values() if pin.role == "clock")


def test_pieces_of_rounds_count_what_whole_clips_count(standard_cells):
    one = Design(*CASES["rounds"], standard_cells)
    run = check_pieces(one)
    assert run.window == FrameGates(one.netlist, one.plan).window / 2


def test_pieces_count_what_whole_clips_count_with_macros(pdk):
    """Memories of macros, also where these are not worth it, as if they were seldom used."""
    ihp = pdk("ihp-sg13g2")
    library = read_liberty([*ihp.cells, *ihp.macros])
    one = Design(*CASES["weights in RAM"], library, usage=MemoryUsage(accesses=0.01))
    places = {index: instance.name for index, instance in enumerate(one.netlist.instances) if instance.cell.memory}
    assert {name.partition(".")[0] for name in places.values()} >= {"memory_m0", "memory_m1", "memory_weights8"}
    run = check_pieces(one)
    counts = run.kinds["noise"]
    expected = whole_clips(one).accesses
    assert counts.busy.accesses.keys() == expected.keys() == places.keys()
    for index, name in places.items():
        found = counts.busy.accesses[index]
        np.testing.assert_array_equal(found.edges, expected[index].edges, name)
        assert found.changes == expected[index].changes
        assert found.enabled == expected[index].enabled
    frame = one.plan.frames[0].accesses
    activity = run.activity("noise", run.window, 1e-6)
    reads, writes = (
        sum(getattr(activity.accesses[index], kind) for index, name in places.items() if "memory_m" in name)
        for kind in ("reads", "writes")
    )
    state = one.plan.model.layers[0].state_size
    assert writes * run.window == pytest.approx(state)
    assert state < reads * run.window < frame["data"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_pieces_count_what_whole_clips_count_in_other_cells(gated_cells, case):
    check_pieces(Design(*CASES[case], gated_cells))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asap7", "nangate45", "sky130A", "osu018"])
def test_pieces_count_what_whole_clips_count_in_other_libraries(pdk, name):
    check_pieces(Design(1, {"lanes": 2, "state": "pulse"}, STRIDES, read_liberty(pdk(name).cells)))


def test_nothing_but_the_clock_moves_between_frames(strides):
    run = run_frames(strides.netlist, strides.plan, {"noise": strides.clips[:1]})
    moving = run.kinds["noise"].idle.toggles > 0
    clocks = clock_nets(strides.netlist, "clk")
    assert moving.any()
    assert not (moving & ~clocks).any()


def test_the_activity_at_a_frame_rate_is_that_of_frames_so_far_apart(strides):
    run = run_frames(strides.netlist, strides.plan, {"noise": strides.clips})
    slow = int(run.window) + 1000
    found = run.activity("noise", slow, 1e-6)
    expected = whole_clips(strides, slow).activity(strides.netlist, 1e-6)
    assert found.cycles == slow
    assert found.period == 1e-6
    coverage = found.coverage(strides.netlist)
    assert coverage == 1
    np.testing.assert_allclose(found.toggles, expected.toggles, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.duty, expected.duty, rtol=1e-9, atol=1e-12)


def test_overlapping_frames_do_about_the_same_work(strides):
    run = run_frames(strides.netlist, strides.plan, {"noise": strides.clips})
    pace = max(frame.interval for frame in strides.plan.frames)
    clock = strides.netlist.inputs["clk"][0]
    assert pace < run.window
    found = run.activity("noise", pace, 1e-6)
    expected = whole_clips(strides, pace).activity(strides.netlist, 1e-6)
    assert found.toggles.sum() == pytest.approx(expected.toggles.sum(), rel=0.01)
    assert found.toggles[clock] == pytest.approx(2)


def test_a_network_with_other_weights_is_noticed(strides):
    layer = strides.plan.model.layers[0]
    values = layer.w_m.values.copy()
    values[0, 0] ^= 1
    other = replace(layer, w_m=replace(layer.w_m, values=values))
    model = replace(strides.plan.model, layers=(other, *strides.plan.model.layers[1:]))
    plan = make_plan(model, strides.plan.config)
    with pytest.raises(FrameError, match=r"frame \d+ of clip \d \(noise\): (logit \d is|the decision is) 0x"):
        run_frames(strides.netlist, plan, {"noise": strides.clips})


def test_frames_at_another_place_in_the_stride_period_are_noticed(strides, monkeypatch):
    monkeypatch.setattr(FrameGates, "control_frames", lambda self, frame: self.plan.period)
    with pytest.raises(FrameError, match=r"0 logits and 0 decisions came out, 3 and 1 were expected"):
        run_frames(strides.netlist, strides.plan, {"noise": strides.clips})


def test_wrong_clips_and_wrappers_are_refused(strides):
    with pytest.raises(ValueError, match="there must be clips of one kind at least"):
        run_frames(strides.netlist, strides.plan, {})
    with pytest.raises(ValueError, match=r"noise must have shape \(clips, frames, 3\) with more than 4 frames, not"):
        run_frames(strides.netlist, strides.plan, {"noise": strides.clips[:, :4]})
    wrapped = make_plan(strides.plan.model, AcceleratorConfig(interface="axi"))
    with pytest.raises(GateError, match="only the core is simulated, not its axi wrapper"):
        run_frames(strides.netlist, wrapped, {"noise": strides.clips})


def test_progress_is_told(strides):
    told = []
    run_frames(strides.netlist, strides.plan, {"noise": strides.clips}, progress=lambda *call: told.append(call))
    stages = {stage: [(done, total) for name, done, total in told if name == stage] for stage, *_ in told}
    assert list(stages) == ["set up the netlist", "frames through the netlist"]
    for calls in stages.values():
        assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]


@pytest.mark.parametrize(("clips", "length", "warm_up", "most"), [(1, 49, 1, 64), (3, 49, 1, 64), (70, 9, 4, 64)])
def test_pieces_cover_every_counted_frame_once(clips, length, warm_up, most):
    pieces = _pieces(clips, length, warm_up, most)
    covered = [(one.clip, frame) for one in pieces for frame in range(one.first, one.first + one.count)]
    assert sorted(covered) == [(clip, frame) for clip in range(clips) for frame in range(warm_up, length)]
    assert len(pieces) <= max(most, clips)
