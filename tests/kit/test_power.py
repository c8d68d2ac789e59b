"""What stands between a netlist and its report: wires, edges that place and route would mend."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.cells.conditions import WireLoad
from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.sram_model import add_sram_model
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.designs import PLAIN, Cut, cut
from lmu_hw.power.engine import find_power
from lmu_hw.power.guards import PowerRefused
from lmu_hw.power.report import OperatingPoint
from lmu_hw.power.table import energy, estimate
from lmu_hw.power.technology import load_technology
from lmu_hw.progress import silent
from lmu_kit.characterisation import with_network_wires
from lmu_kit.estimate import operating_point
from lmu_kit.power import CLOCK_EDGE, Mapped, map_plan, rows_at, run_mapped
from lmu_kit.sounds import find_sounds
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames


@pytest.fixture(scope="module")
def run(standard_cells):
    """A small accelerator of cells, and speech through it."""
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    plan = make_plan(cut(model, Cut(1, 6, 1, 4)), AcceleratorConfig(lanes=2))
    mapped = map_plan(plan, add_sram_model(standard_cells), operating_point(plan), silent)
    frames = load_frames(zoo.path("kws361", "test.safetensors")).frames[:1, :12, :6]
    return mapped, run_mapped(mapped, {"speech": frames, "nothing": np.zeros_like(frames)}, silent)


def point(mapped, factor: float = 1.0) -> OperatingPoint:
    cycles = mapped.plan.cycles_per_frame
    return OperatingPoint(50 * factor * cycles, 50, cycles)


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


def corrupted(done, **changes):
    """The run with other counts in the windows of frames."""
    speech = done.kinds["speech"]
    wrong = {name: change(getattr(speech.busy, name)) for name, change in changes.items()}
    return replace(done, kinds={"speech": replace(speech, busy=replace(speech.busy, **wrong))})


def of_net(net, change):
    """A change of the count of one net."""

    def changed(counts):
        counts = counts.copy()
        counts[net] = change(counts[net])
        return counts

    return changed


@pytest.mark.parametrize("factor", [1, 4])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("high", lambda count: 6.7 * count + 1e6, "of the time"),
        ("high", lambda count: -1 - count, "is high for -"),
        ("toggles", lambda count: 1e5 + count, "times per cycle, a net of a zero-delay netlist at most 2 times"),
        ("toggles", lambda count: -1 - count, "changes -.* times per cycle"),
    ],
)
def test_impossible_counts_are_refused(run, factor, name, change, message):
    """Of one net of thousands, where frames overlap and where they do not."""
    mapped, done = run
    net = mapped.netlist.outputs["o_logits__payload"][0]
    with pytest.raises(PowerRefused, match=message):
        rows_at(mapped, corrupted(done, **{name: of_net(net, change)}), "speech", point(mapped, factor))


def test_high_times_of_all_nets_that_are_too_long_or_negative_are_refused(run):
    mapped, done = run
    for factor in (6.7, -1.0):
        with pytest.raises(PowerRefused, match="of the time"):
            rows_at(mapped, corrupted(done, high=lambda high, f=factor: high * f), "speech", point(mapped))


@pytest.mark.parametrize("factor", [1, 4])
def test_a_trace_of_another_clock_is_refused(run, factor):
    """Clock edges that were counted, over the time that the frames take."""
    mapped, done = run
    with pytest.raises(PowerRefused, match=r"the edges of clk have a period of .* s in the activity, the constraint"):
        rows_at(mapped, replace(done, window=done.window + 3), "speech", point(mapped, factor))
    clock = mapped.netlist.inputs["clk"][0]
    with pytest.raises(PowerRefused, match=r"the clock clk changes .* times per cycle of the activity, not twice"):
        rows_at(mapped, corrupted(done, toggles=of_net(clock, lambda count: count // 2)), "speech", point(mapped))


def test_nets_that_were_not_counted_are_refused(run):
    mapped, done = run
    half = np.arange(mapped.netlist.nets) % 2 == 0
    with pytest.raises(PowerRefused, match=r"activity is known for \d\d\.\d% of the pins, 99% are needed"):
        rows_at(mapped, corrupted(done, counted=lambda counted: counted & half), "speech", point(mapped))


def test_a_netlist_with_too_many_slow_edges_is_refused(run, pdk):
    """Before transition times are limited to what the library allows, as place and route would."""
    pdk("ihp-sg13g2")  # whose cells have limits, and are those of the run
    mapped, done = run
    slow = Mapped(mapped.plan, mapped.library, mapped.synthesis)
    vars(slow)["netlist"] = mapped.netlist
    vars(slow)["conditions"] = replace(mapped.conditions, wires=WireLoad(fixed=2e-12))
    with pytest.raises(PowerRefused, match="of the nets have edges slower than the library allows"):
        rows_at(slow, done, "speech", point(mapped))


def test_a_memory_of_flip_flops_that_nobody_chose_is_refused(run):
    mapped, done = run
    memories = tuple(replace(memory, built_of="flip-flops", chosen=False) for memory in mapped.synthesis.memories)
    wrong = replace(mapped, synthesis=replace(mapped.synthesis, memories=memories))
    with pytest.raises(PowerRefused, match="built of flip-flops, as no chip would"):
        rows_at(wrong, done, "speech", point(mapped))


def test_no_edge_is_slower_than_the_conditions_say(run):
    mapped, _ = run
    limit = mapped.conditions.longest_slew
    assert mapped.conditions.clock_slew == pytest.approx(CLOCK_EDGE * limit)
    power = find_power(
        mapped.netlist,
        run[1].activity("speech", 200.0, 1e-6),
        replace(mapped.conditions, longest_slew=limit / 100, clock_slew=limit / 200),
        period=1e-6,
        memories=[],
    )
    assert power.slews.max() <= limit / 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ihp-sg13g2", "nangate45"])
def test_shipped_tables_still_agree_with_gates(pdk, name):
    """On a design that no table was made from: what characterisation found then is what comes out now.

    It is the design whose error is the band.
    """
    kit = pdk(name)
    design = next(design for design in PLAIN.designs if not design.fitted)
    library = add_sram_model(read_liberty((*kit.cells, *kit.macros)))
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    plan = make_plan(cut(model, design.cut), AcceleratorConfig(lanes=design.lanes))
    mapped = map_plan(plan, library, operating_point(plan), silent)
    mapped = replace(mapped, laid_out=with_network_wires(mapped.netlist))
    speech = find_sounds(model, clips=1)["speech"][:, :13, : plan.model.inputs]
    rows = rows_at(mapped, run_mapped(mapped, {"speech": speech}, silent), "speech", point(mapped))
    gates = energy(
        {name: row.frame for name, row in rows.items()}, {name: row.leakage for name, row in rows.items()}, 50
    )
    technology = load_technology(name)
    energies = technology.energies(plan.config)
    predicted = estimate(plan, technology, point(mapped), energies.typical(plan)["speech"]).energy(50)
    assert max(map(abs, predicted.errors(gates))) <= energies.band("table") + 1e-9
