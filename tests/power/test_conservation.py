"""Energy of an accelerator that runs: it adds up over frames and rows, and rest costs clocks and leakage only."""

import numpy as np
import pytest

from lmu_hw.export.emit import to_verilog
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.activity import clock_nets
from lmu_hw.power.engine import find_power
from lmu_hw.power.guards import check_conserved, check_coverage
from lmu_hw.power.rows import power_rows
from lmu_kit.power import conditions_of
from lmu_sim.gates import GateSimulator
from lmu_sim.testing.random_models import random_frames, random_model

PERIOD = 1e-6
FRAMES = 4


class Bench:
    """A small accelerator that clears its state after an utterance of `FRAMES` frames."""

    def __init__(self, bench, library):
        model = random_model(
            np.random.default_rng(5), inputs=4, units=6, memories=[(4, 8.0)], activation="relu",
            u_activation="linear", stride=1, bias=False,
        )  # fmt: skip
        self.plan = make_plan(model, AcceleratorConfig(lanes=4, state="utterance"))
        self.netlist = bench.mapped(to_verilog(self.plan, "core"), "core", library)
        frames = random_frames(np.random.default_rng(1), model, 1, FRAMES)[0]
        self.random, self.zero = self.beats(frames), self.beats(np.zeros_like(frames))
        self.simulator = GateSimulator(self.netlist)
        self.simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
        self.simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
        self.energy(self.random)  # leaves registers as every later utterance leaves them

    def beats(self, frames):
        """Elements with the marks of the last of a frame, and of an utterance."""
        width = self.plan.model.input.width
        last, end = np.zeros_like(frames), np.zeros_like(frames)
        last[:, -1], end[-1, -1] = 1, 1
        return ((frames & ((1 << width) - 1)) | last << width | end << width + 1).reshape(-1)

    def energy(self, beats, repeats=1):
        """Power and activity while utterances run, and their joule."""
        frames = FRAMES * repeats
        self.simulator.start_counting()
        expected = {"o_logits": frames * self.plan.model.outputs, "o_decision": frames}
        self.simulator.stream("i", np.tile(beats, repeats), expected)
        activity = self.simulator.activity(PERIOD)
        power = find_power(self.netlist, activity, conditions_of(self.netlist), period=PERIOD, memories=[])
        return power, activity, power.total().dynamic * activity.cycles

    def rest(self, cycles=64):
        """Power and activity while nothing comes."""
        self.simulator.run({"i__valid": np.zeros(cycles, dtype=np.int64)}, cycles)
        self.simulator.start_counting()
        self.simulator.run({"i__valid": np.zeros(cycles, dtype=np.int64)}, cycles)
        activity = self.simulator.activity(PERIOD)
        return find_power(self.netlist, activity, conditions_of(self.netlist), period=PERIOD, memories=[]), activity


@pytest.fixture(scope="module")
def running(bench, standard_cells):
    return Bench(bench, standard_cells)


def test_rows_and_blocks_add_up(running):
    power, activity, energy = running.energy(running.random)
    check_conserved(power)
    assert check_coverage(running.netlist, activity) == 1
    rows = power_rows(power)
    held = {name for name, row in rows.items() if row.instances}
    gates = any(instance.cell.clock_gating for instance in running.netlist.instances)
    assert held - {"other"} == rows.keys() - {"other"} - (set() if gates else {"clock"})
    assert all(rows[name].dynamic > 0 and rows[name].leakage > 0 for name in held - {"other"})
    assert sum(row.dynamic for row in rows.values()) * activity.cycles == pytest.approx(energy, rel=1e-12)
    assert sum(block.dynamic for block in power.blocks().values()) * activity.cycles == pytest.approx(energy, rel=1e-12)


def test_twice_the_frames_give_twice_the_energy(running):
    _, once, energy = running.energy(running.random)
    _, twice, double = running.energy(running.random, repeats=2)
    assert energy > 0
    assert twice.cycles == pytest.approx(2 * once.cycles, rel=0.05)  # frames overlap a little more
    rest = running.rest()[0].total().dynamic
    # What differs are cycles in which nothing but the clock moves.
    assert double == pytest.approx(2 * energy + (twice.cycles - 2 * once.cycles) * rest, rel=0.02)


def test_rest_costs_clocks_and_leakage(running):
    power, activity = running.rest()
    assert set(np.flatnonzero(activity.toggles)) <= set(np.flatnonzero(clock_nets(running.netlist, "clk")))
    total = power.total()
    assert total.internal == pytest.approx(power.clock_internal.sum(), rel=1e-12)
    assert total.switching == pytest.approx(power.clock_switching.sum(), rel=1e-12)
    rows = power_rows(power)
    assert rows["clock"].dynamic == pytest.approx(total.dynamic, rel=1e-12)
    assert total.leakage == pytest.approx(running.energy(running.random)[0].total().leakage, rel=0.2)


def test_silence_costs_less_than_noise(running):
    noise, silence = (power_rows(running.energy(beats)[0]) for beats in (running.random, running.zero))
    assert silence["multipliers"].dynamic < 0.7 * noise["multipliers"].dynamic
    assert silence["clock"].dynamic == pytest.approx(noise["clock"].dynamic, rel=0.05)
