"""A network that sleeps, as a netlist: outputs against the golden model, and what sleep saves."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.netlist import read_netlist
from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.flows.synth import synthesize
from lmu_hw.model.gate import Gate
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_sim.energy import run_frames
from lmu_sim.frame_batches import FrameError
from lmu_sim.testing.random_models import random_frames, random_model

OPTIONS = {"layers": ("lmu", "dense"), "stride": 1, "units": 3, "inputs": 3, "memories": [(3, 8.0), (2, 6.0)]}


@pytest.fixture(scope="module")
def design(standard_cells):
    """A small accelerator with a gate, its netlist, and clips: loud ones, and quiet ones after a loud start."""
    rng = np.random.default_rng(3)
    model = random_model(rng, **OPTIONS)
    low, high = model.inputs * model.input.min, model.inputs * model.input.max
    model = replace(model, gate=Gate((high - low) // 8, 2, 5, 2, low))
    plan = make_plan(model, AcceleratorConfig(lanes=2, stop_clock=True))
    done = synthesize(to_verilog(plan), TOP, standard_cells)
    speech = random_frames(rng, model, 3, 12)
    quiet = np.full_like(speech, model.input.min)
    quiet[:, :2] = model.input.max
    return plan, read_netlist(done.json, TOP, standard_cells), {"speech": speech, "silence": quiet}


def changes(run, kind):
    """Changes of all nets per frame."""
    counts = run.kinds[kind]
    return counts.busy.activity(run.netlist, 1.0, run.window).toggles.sum()


def test_every_output_of_clips_that_sleep_is_the_golden_one(design):
    plan, netlist, clips = design
    run = run_frames(netlist, plan, clips, jobs=1)
    awake = {kind: sum(int(plan.model.gate.awake(clip).sum()) for clip in frames) for kind, frames in clips.items()}
    assert awake["silence"] == 3 * 4
    for kind, counts in run.kinds.items():
        assert counts.compared == awake[kind] * (plan.model.outputs + 2)
        assert counts.frames == 3 * 12
    assert changes(run, "silence") < 0.7 * changes(run, "speech")


def test_held_open_every_frame_is_awake(design):
    plan, netlist, clips = design
    run = run_frames(netlist, plan, clips, jobs=1, held_open=True)
    for counts in run.kinds.values():
        assert counts.compared == 3 * 11 * (plan.model.outputs + 2)
    closed = run_frames(netlist, plan, {"silence": clips["silence"]}, jobs=1)
    assert changes(closed, "silence") < 0.6 * changes(run, "silence")


def test_another_gate_is_noticed(design):
    plan, netlist, clips = design
    other = replace(plan, model=replace(plan.model, gate=replace(plan.model.gate, hold=3)))
    message = "frame 4 of clip 0 .silence.: 0 logits and 0 decisions came out"
    with pytest.raises(FrameError, match=message):
        run_frames(netlist, other, {"silence": clips["silence"]}, jobs=1)
