"""The tiers without gates: counts, fits, tables, and their agreement with gates."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.files import sealed
from lmu_hw.flows.tiling import choose
from lmu_hw.gateware import nonzero
from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.timing import steady_frames
from lmu_hw.power.designs import FRUGAL, PLAIN, Cut, cut
from lmu_hw.power.feature_names import Feature
from lmu_hw.power.features import MAP_WORD, cycle_counts, frame_counts, running_cycles, size_counts
from lmu_hw.power.fit import fit_counts, weigh
from lmu_hw.power.memory_use import accesses, is_constant, usages
from lmu_hw.power.rates import TypicalRates, find_rates, issues, skipped_elements, weight_toggles
from lmu_hw.power.report import CLOCK_TREE, OperatingPoint
from lmu_hw.power.rows import ROWS
from lmu_hw.power.table import build, estimate, report
from lmu_hw.power.technology import MemoryCosts, Technology, TechnologyError, load_technology, save_technology, shipped
from lmu_kit.characterisation import config_of
from lmu_quantize import zoo
from lmu_sim.testing.random_models import prune_blocks, random_frames, random_model

TECHNOLOGIES = ("asap7", "ihp-sg13g2", "nangate45", "sky130A")
BAND = 0.15


@pytest.fixture(scope="module")
def network():
    return program_file.load(zoo.path("kws361", "quantized.safetensors"))


def a_plan(seed: int, **options):
    rng = np.random.default_rng(seed)
    model = random_model(rng, **({"layers": ("lmu", "lmu", "dense")} | options))
    return make_plan(model, AcceleratorConfig(lanes=int(rng.integers(1, 6))))


def a_pruned_plan(seed: int):
    rng = np.random.default_rng(seed)
    model = random_model(rng, layers=("lmu", "lmu", "dense"), units=9, inputs=6)
    lanes = int(rng.integers(1, 6))
    plan = make_plan(prune_blocks(rng, model, lanes, 0.8), AcceleratorConfig(lanes=lanes, skip_zero_blocks=True))
    assert plan.index_bits
    return plan


def a_skipping_plan(seed: int):
    rng = np.random.default_rng(seed)
    layers = "lmu", "lmu", "dense", "dense"
    model = random_model(rng, layers=layers, units=9, inputs=6, activation="relu", e_h=False, w_h=False)
    plan = make_plan(model, AcceleratorConfig(lanes=int(rng.integers(1, 6)), skip_zero_elements=True))
    assert len(skipped_elements(plan)) == 3
    return plan


def a_pruned_skipping_plan(seed: int):
    rng = np.random.default_rng(seed)
    plain = {"e_h": False, "w_h": False, "e_m": False, "memories": [(4, 6.0)] * 2}
    model = random_model(rng, layers=("lmu", "lmu", "dense"), units=12, inputs=6, activation="relu", **plain)
    lanes = int(rng.integers(1, 5))
    model = prune_blocks(rng, model, lanes, 0.8, ("w_x", "w_m"))
    plan = make_plan(model, AcceleratorConfig(lanes=lanes, skip_zero_blocks=True, skip_zero_elements=True))
    assert plan.index_bits
    assert plan.skipping_memories
    return plan


def walk(plan, frames):
    """Operand, products and sums of all lanes, issue by issue, as plainly as can be."""
    golden, state = Golden(plan.model), None
    state = golden.initial_state(1)
    for number, frame in enumerate(frames):
        previous = dict(state.values)
        seen = golden.step(frame[None], state) | {"x": frame[None]}
        for planned in plan.schedule.executed(number):
            op = planned.operation
            for block in range(op.repeat):
                for group in range(planned.groups):
                    sums = [0] * plan.lanes
                    for number, term in enumerate(op.terms):
                        source = (previous if term.previous else seen)[term.source][0]
                        columns = planned.terms[number].columns[group]
                        if planned.terms[number].skips:
                            columns = np.flatnonzero(source).tolist() or [0]
                        for column in columns:
                            operand = int(source[term.offset + block * term.step + column])
                            products = []
                            for lane in range(plan.lanes):
                                row = group * plan.lanes + lane
                                weight = int(term.weights[row, column]) if row < op.rows else 0
                                products.append(weight * operand)
                                sums[lane] += products[-1] << term.shift
                            yield operand, products, list(sums)


def changes(values, width):
    mask = (1 << width) - 1
    return sum(bin((a ^ b) & mask).count("1") for a, b in pairwise(values))


@pytest.mark.parametrize("made", [a_plan, a_pruned_plan, a_skipping_plan, a_pruned_skipping_plan])
@pytest.mark.parametrize("seed", range(6))
def test_changes_are_those_of_the_schedule(seed: int, made):
    plan = made(seed)
    frames = random_frames(np.random.default_rng(seed), plan.model, 1, 2 * plan.period)
    steps = list(walk(plan, frames[0]))
    found = find_rates(plan, frames)
    count = frames.shape[1]
    assert (found.nonzero == {}) == (not plan.skipping_memories)
    if not found.nonzero:
        assert len(steps) == issues(plan) * count
    assert found.operand * count == pytest.approx(changes([step[0] for step in steps], plan.activation_width))
    width = plan.activation_width + max(plan.weight_widths)
    for which, bits, value in ((1, width, found.product), (2, plan.accumulator_width, found.total)):
        lanes = [changes([step[which][lane] for step in steps], bits) for lane in range(plan.lanes)]
        assert value * count == pytest.approx(sum(lanes))


def test_typical_rates_are_the_rates_of_the_plan_that_they_came_from():
    plan = a_plan(1)
    rates = find_rates(plan, random_frames(np.random.default_rng(1), plan.model, 2, 4))
    again = TypicalRates.of(plan, rates).rates(plan)
    changes = "operand", "product", "total"
    assert [getattr(again, one) for one in changes] == pytest.approx([getattr(rates, one) for one in changes])
    assert again.nonzero == rates.nonzero == {}


@pytest.mark.parametrize("seed", range(4))
def test_accesses_with_zeros_skipped_are_those_of_timing(seed: int):
    plan = a_skipping_plan(seed)
    rng = np.random.default_rng(seed)
    counts = {name: int(rng.integers(0, size + 1)) for name, size in skipped_elements(plan).items()}
    found, frames = accesses(plan, counts), steady_frames(plan.schedule, counts)
    for memory in (*plan.weight_memories, plan.parameters):
        assert found[memory.name].reads == pytest.approx(np.mean([one.accesses[memory.name] for one in frames]))
    assert sum(found[memory.name].reads for memory in plan.data_memories) == pytest.approx(issues(plan, counts))
    assert issues(plan, counts) == pytest.approx(np.mean([one.issued for one in frames]))
    assert accesses(plan) == accesses(plan, skipped_elements(plan))


def test_elements_that_are_not_zero_are_counted_where_they_are_read():
    plan = a_skipping_plan(3)
    frames = random_frames(np.random.default_rng(3), plan.model, 3, 2 * plan.period)
    values = Golden(plan.model).run(frames)
    expected = {name: np.count_nonzero(values[name], axis=-1).mean() for name in skipped_elements(plan)}
    assert plan.period == 1
    assert find_rates(plan, frames).nonzero == pytest.approx(expected)


def test_skipping_leaves_typical_rates_what_they_are():
    plan = a_skipping_plan(2)
    typical = TypicalRates(0.3, 0.2, 0.1, nonzero=0.4)
    again = TypicalRates.of(plan, typical.rates(plan))
    assert vars(again) == pytest.approx(vars(typical))
    sizes = skipped_elements(plan)
    assert typical.rates(plan).nonzero == pytest.approx({name: 0.4 * size for name, size in sizes.items()})


def test_fewer_elements_give_smaller_counts_of_what_moves():
    plan = a_skipping_plan(1)
    built = dict.fromkeys((memory.name for memory in plan.memories), "flip-flops")
    some, every = (
        frame_counts(plan, TypicalRates(0.3, 0.3, 0.1, part).rates(plan), built) for part in (0.5, 1.0)
    )
    fewer = {name for row in some for name, count in some[row].items() if count < every[row][name]}
    assert {"changed word bits", "moves by logic", "bits read out of turn", "searches by map bits"} <= fewer
    assert all(count <= every[row][name] for row in some for name, count in some[row].items())
    assert some["clock"]["cycles"] == every["clock"]["cycles"]


def test_banks_are_counted_as_the_gateware_builds_them(network):
    levers = dict.fromkeys(FRUGAL.levers, True)
    whole, banked = (
        make_plan(cut(network, Cut(1, 16, 4, 24)), AcceleratorConfig(lanes=8, bank_words=words, **levers))
        for words in (0, 16)
    )
    built = {memory.name: "logic" if is_constant(whole, memory) else "macros" for memory in whole.memories}
    rates = TypicalRates(0.3, 0.3, 0.1).rates(whole)
    plain, found = (frame_counts(plan, rates, built) for plan in (whole, banked))
    size = size_counts(banked, built)
    depths = {memory.name: memory.depth for memory in banked.weight_memories}
    widths = {memory.name: memory.width for memory in banked.weight_memories}
    reads = {name: accesses(banked)[name].reads for name in depths}
    banks = {name: -(-depth // 16) for name, depth in depths.items()}
    assert max(banks.values()) > 3
    selected = {name: widths[name] * (count - 1) for name, count in banks.items()}
    assert Feature.BANK_BITS not in plain["weight memory"]
    assert found["weight memory"][Feature.BANK_BITS] == pytest.approx(
        sum(reads[name] * selected[name] for name in depths)
    )
    assert size["weight memory"][Feature.BANK_BITS] == sum(selected.values())
    assert size["weight memory"]["word bits"] == sum(
        count * (min(16, depths[name]) - 1).bit_length() for name, count in banks.items()
    )
    # One bank moves at a time: as much as a memory of its words.
    assert found["weight memory"]["moves by words"] == pytest.approx(
        sum(reads[name] * min(16, depth) for name, depth in depths.items())
    )
    assert 0 < found["weight memory"]["moves by logic"] < plain["weight memory"]["moves by logic"]
    words = sum(reads[name] * (depths[name] - 1).bit_length() for name in depths)
    held = banked.parameters.width * accesses(banked)[banked.parameters.name].reads
    assert found["clock"]["read bits"] == pytest.approx(words + held)
    assert found["clock"]["cycles by gated words"] == pytest.approx(sum(reads[name] * banks[name] for name in depths))


def test_states_in_banks_are_counted_as_the_gateware_builds_them(network):
    levers = dict.fromkeys(FRUGAL.levers, True)
    whole, banked = (
        make_plan(cut(network, Cut(1, 16, 4, 24)), AcceleratorConfig(lanes=8, state_bank_words=words, **levers))
        for words in (0, 8)
    )
    memories = load_technology("ihp-sg13g2").memories
    built = build(banked, memories, OperatingPoint(1e5, 50, banked.cycles_per_frame)).built_of
    assert {built[memory.name] for memory in banked.data_memories} == {"flip-flops"}
    rates = TypicalRates(0.3, 0.3, 0.1).rates(whole)
    plain, found = (frame_counts(plan, rates, built) for plan in (whole, banked))
    plain_size, size = (size_counts(plan, built) for plan in (whole, banked))
    used = {memory: accesses(banked)[memory.name] for memory in banked.data_memories}
    banks = {memory: -(-memory.depth // 8) for memory in used}
    assert max(banks.values()) > 3
    selected = sum(used[memory].reads * memory.width * (count - 1) for memory, count in banks.items())
    row = found["state memory"]
    assert Feature.REGISTER_BANK_BITS not in plain["state memory"]
    assert row[Feature.REGISTER_BANK_BITS] == pytest.approx(selected)
    assert size["state memory"][Feature.REGISTER_BANK_BITS] == sum(
        memory.width * (count - 1) for memory, count in banks.items()
    )
    # One bank moves at a time, and none with the address of another memory.
    moved = {memory: memory.width * min(8, memory.depth) for memory in used}
    assert row["flip-flop reads"] == pytest.approx(sum(one.reads * moved[memory] for memory, one in used.items()))
    assert row["flip-flop writes"] == pytest.approx(sum(one.writes * moved[memory] for memory, one in used.items()))
    assert row["products by flip-flop words"] == 0 < plain["state memory"]["products by flip-flop words"]
    # A read clocks the address, a write the gates of the banks and of the words of one.
    bits = {memory: memory.width - (memory.depth - 1).bit_length() for memory in used}
    read = plain["clock"]["read bits"] - found["clock"]["read bits"]
    assert read == pytest.approx(sum(one.reads * bits[memory] for memory, one in used.items()))
    gates = sum(one.writes * (banks[memory] + min(8, memory.depth)) for memory, one in used.items())
    before = sum((one.reads + one.writes) * memory.depth for memory, one in used.items())
    clocked = plain["clock"]["cycles by gated words"] - found["clock"]["cycles by gated words"]
    assert clocked == pytest.approx(before - gates)
    assert size["state memory"]["flip-flop bits"] == plain_size["state memory"]["flip-flop bits"]
    assert size["clock"]["gated words"] - plain_size["clock"]["gated words"] == sum(banks.values())


def test_a_stopped_clock_counts_the_cycles_with_work():
    base = a_skipping_plan(1)
    plan = make_plan(base.model, replace(base.config, stop_clock=True, gate_blocks=True))
    built = dict.fromkeys((memory.name for memory in plan.memories), "flip-flops")
    half, every = (TypicalRates(0.3, 0.3, 0.1, part).rates(plan) for part in (0.5, 1.0))
    skipped = issues(plan, every.nonzero) - issues(plan, half.nonzero)
    assert skipped > 0
    assert running_cycles(base, half.nonzero) == base.cycles_per_frame
    assert running_cycles(plan, every.nonzero) == plan.cycles_per_frame
    assert running_cycles(plan, half.nonzero) == pytest.approx(plan.cycles_per_frame - skipped)
    assert frame_counts(plan, half, built)["clock"]["cycles"] == running_cycles(plan, half.nonzero)
    gated, free = (frame_counts(one, half, built)["clock"]["cycles by gated words"] for one in (plan, base))
    assert gated < 0.5 * free
    assert cycle_counts(plan, built)["clock"]["gated words"] == 0 < cycle_counts(base, built)["clock"]["gated words"]
    assert plan.paced_cycles > plan.longest_frame == base.paced_cycles


def test_the_map_of_zeros_counts_as_the_gateware_builds_it():
    assert MAP_WORD == nonzero.WORD


@pytest.mark.parametrize("made", [a_plan, a_pruned_plan])
@pytest.mark.parametrize("seed", range(4))
def test_accesses_are_those_of_the_plan(seed: int, made):
    plan = made(seed)
    found = accesses(plan)
    frames = plan.frames
    for memory in (*plan.weight_memories, plan.parameters):
        planned = sum(frame.accesses[memory.name] for frame in frames) / len(frames)
        assert found[memory.name].reads == pytest.approx(planned)
    data = [found[memory.name] for memory in plan.data_memories]
    assert sum(one.reads for one in data) == pytest.approx(issues(plan))
    used = usages(plan, OperatingPoint(270e3, 50, plan.cycles_per_frame))
    assert {one.clock for one in used.values()} == {200e3}
    assert all(0 <= one.accesses <= 1 and 0 <= one.writes <= 1 for one in used.values())


def test_weight_words_change_as_the_image_says(network):
    plan = make_plan(cut(network, Cut(1, 8, 2, 8)), AcceleratorConfig(lanes=4))
    images, words = plan.images(), {memory.name: [] for memory in plan.weight_memories}
    for planned in plan.schedule.executed(0):
        name = plan.weight_memories[planned.weight_memory].name
        size = planned.groups * planned.operation.columns
        words[name] += images[name][planned.weight_base : planned.weight_base + size] * planned.operation.repeat
    for memory in plan.weight_memories:
        found = words[memory.name]
        assert weight_toggles(plan)[memory.name] == changes([*found, found[0]], memory.width)


def test_a_fit_finds_what_counts_cost():
    rng = np.random.default_rng(2)
    truth = {"one": {"a": 2.0, "b": 0.0}, "two": {"c": 5.0}}
    counts = [
        {"one": {"a": rng.uniform(1, 9), "b": rng.uniform(1, 9)}, "two": {"c": rng.uniform(1, 9)}} for _ in range(8)
    ]
    measured = [weigh(one, truth) for one in counts]
    found = fit_counts(counts, measured)
    assert found["one"] == pytest.approx(truth["one"], abs=1e-9)
    assert found["two"] == pytest.approx(truth["two"])


def test_a_fit_knows_counts_that_only_some_designs_have():
    counts = [{"one": {"a": 1.0}}, {"one": {"a": 3.0, "b": 2.0}}, {"one": {"a": 2.0, "b": 5.0}}]
    found = fit_counts(counts, [weigh(one, {"one": {"a": 2.0, "b": 7.0}}) for one in counts])
    assert found["one"] == pytest.approx({"a": 2.0, "b": 7.0})


def test_a_fit_leaves_known_costs_as_they_are():
    counts = [{"one": {"macros": 3.0 * size, "a": float(size)}} for size in (1, 2, 5)]
    found = fit_counts(counts, [{"one": 5.0 * size} for size in (1, 2, 5)])
    assert found["one"] == pytest.approx({"macros": 1.0, "a": 2.0})
    assert fit_counts(counts, [{"one": 2.0 * size} for size in (1, 2, 5)])["one"] == {"macros": 1.0, "a": 0.0}


def test_a_count_without_a_price_is_refused():
    counts = {"clock": {Feature.CYCLES: 2.0, Feature.READ_BITS: 1.0, Feature.TERMS: 0.0}}
    assert weigh(counts, {"clock": {Feature.CYCLES: 3.0, Feature.READ_BITS: 4.0}}) == {"clock": 10.0}
    with pytest.raises(ValueError, match=r"the table has no price for read bits \(clock\)$"):
        weigh(counts, {"clock": {Feature.CYCLES: 3.0}})


@pytest.mark.parametrize("figure", ["frame", "cycle", "leakage", "area"])
def test_a_misspelt_feature_is_refused_when_the_table_is_read(figure):
    table = load_technology("ihp-sg13g2").to_dict()
    row = table["sets"][0][figure]["clock"]
    row["cylces"] = row.pop(next(iter(row)))
    with pytest.raises(ValueError, match=f"{figure} of clock has the unknown feature 'cylces'; known are changed word"):
        Technology.from_dict(table)


def test_every_row_has_counts(network):
    plan = make_plan(cut(network, Cut(2, 8, 2, 8)), AcceleratorConfig(lanes=4))
    rates = TypicalRates(0.3, 0.3, 0.1).rates(plan)
    built = dict.fromkeys((memory.name for memory in plan.memories), "flip-flops")
    assert set(frame_counts(plan, rates, built)) == set(size_counts(plan, built)) == {*ROWS, CLOCK_TREE}


def test_no_design_is_both_fitted_and_checked():
    for chosen in (PLAIN, FRUGAL):
        names = [one.name for one in chosen.designs]
        assert len(set(names)) == len(names)
        assert {one.fitted for one in chosen.designs} == {True, False}
        assert not any(one.fitted for one in chosen.whole)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (Cut(4, 8, 2, 8), "kws361 has 3 LMU layers and 40 inputs"),
        (Cut(1, 8, 17, 8), "a layer has 16 memories and 112 units"),
    ],
)
def test_networks_are_not_cut_larger(network, kept, message):
    with pytest.raises(ValueError, match=message):
        cut(network, kept)


def test_a_cut_keeps_something():
    with pytest.raises(ValueError, match="units must be a positive integer, not 0"):
        Cut(1, 8, 2, 0)


@pytest.mark.parametrize("name", ["ihp-sg13g2"])
def test_stored_memory_costs_choose_as_the_library_does(name, pdk):
    kit = pdk(name)
    library = read_liberty((*kit.cells, *kit.macros))
    costs = MemoryCosts.of(library, model=False)
    for depth, width in ((2, 7), (16, 8), (40, 8), (112, 7), (384, 12), (4912, 64)):
        for usage in (MemoryUsage(), MemoryUsage(2e5, 0.25, 0.5)):
            tiling, cost = choose(library, depth, width, usage)
            kind, found = costs.choose(depth, width, usage)
            assert (kind == "macros") == (tiling is not None)
            assert vars(found) == pytest.approx(vars(cost))


SETS = [(name, energies) for name in TECHNOLOGIES for energies in load_technology(name).sets]
NAMES = [f"{name}: {energies.name}" for name, energies in SETS]


@pytest.mark.parametrize(("name", "energies"), SETS, ids=NAMES)
def test_shipped_tables_are_within_their_band_of_gates(name: str, energies):
    checked = [check for check in energies.checks if not check.fitted]
    assert checked
    assert energies.band("table") <= BAND
    assert all(abs(error) <= energies.band("table") for check in checked for error in check.errors("table"))
    assert all(file.startswith("sha256:") for file in load_technology(name).provenance["files"].values())


@pytest.mark.parametrize(("name", "energies"), SETS, ids=NAMES)
def test_tables_give_what_they_were_checked_with(name: str, energies, network):
    technology = load_technology(name)
    by_name = {check.design: check for check in energies.checks}
    [chosen] = [one for one in (PLAIN, FRUGAL) if one.levers == energies.levers]
    for design in chosen.designs:
        if design.fitted:
            continue
        plan = make_plan(cut(network, design.cut), config_of(design, chosen.levers))
        point = OperatingPoint(50 * plan.paced_cycles, 50, plan.cycles_per_frame)
        figures = estimate(plan, technology, point, energies.typical(plan)["speech"])
        assert vars(figures.energy(50)) == pytest.approx(vars(by_name[design.name].table), rel=1e-6)


FRUGAL_ON = dict.fromkeys(FRUGAL.levers, True)


@pytest.mark.parametrize(
    ("config", "levers"),
    [
        ({}, ()),
        ({"skip_zero_blocks": True}, ()),
        (FRUGAL_ON, FRUGAL.levers),
        (FRUGAL_ON | {"bank_words": 64}, FRUGAL.levers),
        (FRUGAL_ON | {"state_bank_words": 16}, FRUGAL.levers),
        (FRUGAL_ON | {"skip_zero_blocks": True, "weights": "ram"}, FRUGAL.levers),
        (FRUGAL_ON | {"skip_zero_elements": True, "state": "pulse"}, FRUGAL.levers),
    ],
)
def test_energies_are_those_with_the_levers_of_a_configuration(config, levers):
    technology = load_technology("ihp-sg13g2")
    config = AcceleratorConfig.from_dict({"lanes": 4} | config)
    assert technology.energies(config).levers == levers


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"skip_zero_elements": True}, "does not know the levers skip_zero_elements, but none; or skip_zero_elements "),
        ({"isolate_operands": True}, "does not know the levers isolate_operands, but none"),
        ({"state_bank_words": 8}, "does not know the levers state_bank_words, but none; or skip_zero_elements "),
        ({"bank_words": 64, "lanes": 4}, "does not know the levers bank_words, but none; or skip_zero_elements "),
        ({"stop_clock": True, "gate_blocks": True}, "does not know the levers stop_clock, gate_blocks, but none"),
        ({"frames_per_fetch": 2}, "the table ihp-sg13g2 does not know frames_per_fetch: take the tier gates"),
    ],
)
def test_levers_that_were_not_measured_together_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        load_technology("ihp-sg13g2").energies(AcceleratorConfig(**config))


def test_levers_save_energy_by_the_table(network):
    technology = load_technology("ihp-sg13g2")
    totals = []
    for levers in ({}, FRUGAL_ON, FRUGAL_ON | {"skip_zero_elements": True}):
        plan = make_plan(cut(network, Cut(2, 24, 4, 32)), AcceleratorConfig(lanes=16, **levers))
        point = OperatingPoint(50 * plan.cycles_per_frame, 50, plan.cycles_per_frame)
        energies = technology.energies(plan.config)
        totals.append(estimate(plan, technology, point, energies.typical(plan)["speech"]).energy(50).dynamic)
    assert totals[0] > 1.2 * totals[1]
    assert totals[1] > 1.05 * totals[2]


def test_idle_cycles_cost_the_clock_only(network):
    technology = load_technology("ihp-sg13g2")
    plan = make_plan(cut(network, Cut(1, 8, 2, 8)), AcceleratorConfig(lanes=4))
    rates = technology.energies(plan.config).typical(plan)["speech"]
    cycles = plan.cycles_per_frame
    fast, slow = (
        estimate(plan, technology, OperatingPoint(50 * factor * cycles, 50, cycles), rates) for factor in (1, 1.01)
    )
    grown = {row for row in slow.frame if slow.frame[row] > fast.frame[row]}
    assert grown <= {"clock", "clock tree", "state memory"}
    assert "clock" in grown
    assert slow.leakage == fast.leakage


def test_larger_accelerators_cost_more(network):
    technology = load_technology("ihp-sg13g2")
    totals = []
    for kept in (Cut(1, 8, 2, 8), Cut(1, 16, 4, 24), Cut(2, 24, 4, 32)):
        plan = make_plan(cut(network, kept), AcceleratorConfig(lanes=8))
        point = OperatingPoint(50 * plan.cycles_per_frame, 50, plan.cycles_per_frame)
        figures = estimate(plan, technology, point, technology.energies(plan.config).typical(plan)["speech"])
        totals.append([sum(part.values()) for part in (figures.frame, figures.leakage, figures.area)])
    assert (np.diff(np.array(totals), axis=0) > 0).all()


def test_memories_of_a_plan_are_built_as_their_table_says(network):
    technology = load_technology("ihp-sg13g2")
    plan = make_plan(network, AcceleratorConfig(lanes=16))
    built = build(plan, technology.memories, OperatingPoint(273e3, 50, plan.cycles_per_frame))
    assert built.built_of["weights4"] == "logic"
    assert built.built_of["m0"] == built.built_of["m1"] == "macros"
    assert built.built_of["logits"] == "flip-flops"
    assert set(built.macros) == {name for name, kind in built.built_of.items() if kind == "macros"}


@pytest.mark.parametrize("lanes", [4, 6, 8, 12, 16, 24])
def test_small_memories_are_macros_on_any_number_of_lanes(lanes):
    """Flip-flops of 120 words move with the address that all data memories share, whatever the clock."""
    technology = load_technology("sky130A")
    plan = make_plan(program_file.load(zoo.path("kws49", "quantized.safetensors")), AcceleratorConfig(lanes=lanes))
    point = OperatingPoint(50 * plan.cycles_per_frame, 50, plan.cycles_per_frame)
    built_of = build(plan, technology.memories, point).built_of
    assert built_of["m0"] == built_of["m1"] == "macros"


def test_a_table_says_whether_glitches_are_in_it(tmp_path):
    """Tables from before delays were simulated lack the field, and the glitches."""
    data = json.loads(json.dumps(load_technology("ihp-sg13g2").to_dict()))
    plan = make_plan(program_file.load(zoo.path("kws49", "quantized.safetensors")), AcceleratorConfig(lanes=8))
    point = OperatingPoint(50 * plan.cycles_per_frame, 50, plan.cycles_per_frame)
    for energies in data["sets"]:
        energies.pop("glitches")
    for glitches, missing in ((None, ("glitches",)), (True, ())):
        for energies in data["sets"]:
            energies.update({} if glitches is None else {"glitches": glitches})
        (tmp_path / "table.json").write_text(json.dumps(sealed(data)))
        technology = load_technology(tmp_path / "table.json")
        rates = technology.energies(plan.config).typical(plan)
        assert report(plan, technology, point, "table", rates).missing == missing


def test_tables_are_written_and_read_again(tmp_path):
    technology = load_technology("ihp-sg13g2")
    path = tmp_path / "table.json"
    save_technology(technology, path)
    again = load_technology(path)
    assert again == technology
    save_technology(replace(again), tmp_path / "again.json")
    assert path.read_bytes() == (tmp_path / "again.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("memories"), "missing or unknown: memories"),
        (lambda data: data.update(schema="other"), r"expected the schema lmu-hw/technology version 3 \(or 2\)"),
        (lambda data: data.update(sets=[]), "sets must be one or more, no two with the same levers"),
        (lambda data: data["sets"].append(data["sets"][0]), "sets must be one or more, no two with the same levers"),
        (lambda data: data["sets"][0]["leakage"].pop("clock"), "leakage must hold the rows weight memory"),
        (lambda data: data["sets"][0]["checks"][0].pop("gates"), "a part of the table is not as expected"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, change, message):
    data = load_technology("ihp-sg13g2").to_dict()
    data = json.loads(json.dumps(data))
    change(data)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data))
    with pytest.raises(TechnologyError, match=message):
        load_technology(path)


def test_a_missing_table_is_told_with_those_there_are():
    with pytest.raises(TechnologyError, match="nowhere: no such table; these ship with the product: asap7"):
        load_technology("nowhere")
    assert set(TECHNOLOGIES) <= set(shipped())


def test_an_altered_table_is_refused(tmp_path):
    data = json.loads(json.dumps(load_technology("ihp-sg13g2").to_dict()))
    data["voltage"] = 1.1
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data))
    with pytest.raises(TechnologyError, match=r"table\.json: .*its sha256 does not match, the table was altered after"):
        load_technology(path)
    path.write_text(json.dumps({key: value for key, value in data.items() if key != "sha256"} | {"version": 2}))
    assert load_technology(path).voltage == 1.1
