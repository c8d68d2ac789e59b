"""What stands between a netlist and its report: wires, edges that place and route would mend."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.sram_model import add_sram_model
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.designs import PLAIN, Cut, cut
from lmu_hw.power.guards import PowerRefused
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import energy, estimate
from lmu_hw.power.technology import load_technology
from lmu_kit import power as measure
from lmu_kit.power import map_plan, rows_at, run_mapped, wire_rule
from lmu_kit.sounds import find_sounds
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames


def silent(stage: str, done: int, total: int) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def run(standard_cells):
    """A small accelerator of cells, and speech through it."""
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    plan = make_plan(cut(model, Cut(1, 6, 1, 4)), AcceleratorConfig(lanes=2))
    mapped = map_plan(plan, standard_cells, 50 * plan.cycles_per_frame, silent)
    frames = load_frames(zoo.path("kws361", "test.safetensors")).frames[:1, :12, :6]
    return mapped, run_mapped(mapped, {"speech": frames, "nothing": np.zeros_like(frames)}, silent)


def point(mapped, factor: float = 1.0) -> OperatingPoint:
    cycles = mapped.plan.cycles_per_frame
    return OperatingPoint(50 * factor * cycles, 50, cycles)


def test_wires_grow_with_the_side_of_the_mean_cell():
    cells = [SimpleNamespace(area=area, memory=None) for area in (4.0, 12.0)]
    macro = SimpleNamespace(area=1e6, memory="an array")
    netlist = SimpleNamespace(instances=[SimpleNamespace(cell=cell) for cell in (*cells, macro)])
    assert wire_rule(netlist).per_fanout == pytest.approx(3 * math.sqrt(8) * 0.2e-15)


def test_idle_cycles_cost_what_the_clock_costs(run):
    """Other rows move a little: duties change with the time at rest, and so do the states that energies hold for."""
    mapped, done = run
    first, second, third = (rows_at(mapped, done, "speech", point(mapped, factor)) for factor in (4, 6, 8))
    for name in ("clock", "clock tree"):
        grown = second[name].frame - first[name].frame
        assert grown > 0
        assert third[name].frame - second[name].frame == pytest.approx(grown, rel=0.02)
    grown = {name: third[name].frame - first[name].frame for name in first}
    clocks = grown.pop("clock") + grown.pop("clock tree")
    assert sum(map(abs, grown.values())) < 0.2 * clocks


def test_zero_input_costs_leakage_clock_and_little_else(run):
    mapped, done = run
    speech, nothing = (rows_at(mapped, done, kind, point(mapped)) for kind in ("speech", "nothing"))
    assert nothing["multipliers"].frame < speech["multipliers"].frame
    assert nothing["clock"].frame == pytest.approx(speech["clock"].frame, rel=0.05)
    assert sum(row.leakage for row in nothing.values()) == pytest.approx(
        sum(row.leakage for row in speech.values()), rel=0.1
    )


def test_a_netlist_with_too_many_slow_edges_is_refused(run, monkeypatch):
    mapped, done = run
    monkeypatch.setattr(measure, "MOST_SLOW", -1.0)
    with pytest.raises(PowerRefused, match="of the nets have edges slower than the library allows"):
        rows_at(mapped, done, "speech", point(mapped))


def test_no_edge_is_slower_than_the_conditions_say(run):
    mapped, _ = run
    limit = mapped.conditions.longest_slew
    assert mapped.conditions.clock_slew == pytest.approx(measure.CLOCK_EDGE * limit)
    power = measure.find_power(
        mapped.netlist,
        run[1].activity("speech", 200.0, 1e-6),
        replace(mapped.conditions, longest_slew=limit / 100, clock_slew=limit / 200),
    )
    assert power.slews.max() <= limit / 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ihp-sg13g2", "nangate45"])
def test_shipped_tables_still_agree_with_gates(pdk, name):
    """On a design that no table was made from: what characterisation found then is what comes out now."""
    kit = pdk(name)
    design = next(one for one in PLAIN.designs if not one.fitted)
    library = add_sram_model(read_liberty((*kit.cells, *kit.macros)))
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    plan = make_plan(cut(model, design.cut), AcceleratorConfig(lanes=design.lanes))
    mapped = map_plan(plan, library, 50 * plan.cycles_per_frame, silent)
    speech = find_sounds(model, None, None, 1)["speech"][:, :13, : plan.model.inputs]
    rows = rows_at(mapped, run_mapped(mapped, {"speech": speech}, silent), "speech", point(mapped))
    gates = energy(*({row.name: getattr(row, what) for row in rows.values()} for what in ("frame", "leakage")), 50)
    technology = load_technology(name)
    energies = technology.energies(plan.config)
    found = estimate(plan, technology, point(mapped), energies.typical(plan)["speech"]).energy(50)
    assert max(map(abs, found.errors(gates))) <= energies.band("table")
