"""The floor under an energy figure, against counts and sums made by hand."""

import json
import math
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.memory_cost import Cost, MemoryUsage
from lmu_hw.model.fixed import Format, Overflow, Quantizer, Rounding
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, Weights
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.floor import Demand, Floor, FloorCosts, find_demand, find_floor, load_floor_costs
from lmu_hw.power.technology import MemoryCosts, load_technology
from lmu_kit.cli.main import main
from lmu_kit.floor_costs import measure_memory, measure_product, weight_words

COSTS = FloorCosts(memories=((100, 2.0, 0.1), (10_000, 4.0, 0.3)), products=((32, 8.0, 1.0), (64, 24.0, 2.0)))


def quantizer(width: int, frac: int = 0) -> Quantizer:
    return Quantizer(Format(width, frac), Rounding.HALF_UP, Overflow.SAT)


def weights(values: list[list[int]], width: int = 4) -> Weights:
    return Weights(np.array(values), width, np.zeros(len(values), np.int64))


def dense() -> QuantizedModel:
    """Two rows of three columns, one weight zero, inputs of 8 bits."""
    return QuantizedModel((QuantizedDense(weights([[1, 0, 2], [3, -1, 5]]), quantizer(16)),), Format(8, 0))


def recurrent() -> QuantizedModel:
    """Two memories of order 2 that share a matrix without zeros, two inputs, one unit that reads the four states."""
    layer = QuantizedLMU(
        matrix=(0, 0), a=(np.array([[100, 1], [2, 90]]),), b=(np.array([3, 4]),),
        a_format=Format(10, 9), b_format=Format(10, 9), u=quantizer(8), m=quantizer(12), h=quantizer(8),
        e_x=weights([[1, 2], [3, 4]]), w_m=weights([[1, 2, 3, 4]]),
    )  # fmt: skip
    return QuantizedModel((layer,), Format(8, 0))


def test_costs_between_and_beyond_what_was_measured():
    assert COSTS.memory(1000) == pytest.approx((3.0, 0.2))
    assert COSTS.memory(10) == (2.0, 0.1)
    assert COSTS.memory(1e6) == (4.0, 0.3)
    assert COSTS.product(48) == pytest.approx((16.0, 1.5))
    assert COSTS.product(16) == pytest.approx((4.0, 0.5))
    assert COSTS.product(128) == pytest.approx((48.0, 4.0))


@pytest.mark.parametrize("sizes", [(), (2, 1), (1, 1), (0, 1)])
def test_costs_must_be_in_order(sizes):
    entries = tuple((size, 1.0, 1.0) for size in sizes)
    with pytest.raises(ValueError, match="memories must hold one or more sizes in ascending order, not"):
        FloorCosts(entries, COSTS.products)
    with pytest.raises(ValueError, match="products must hold"):
        FloorCosts(COSTS.memories, entries)


def test_demand_of_a_dense_layer():
    plan = make_plan(dense(), AcceleratorConfig(lanes=2))
    assert find_demand(plan) == Demand(6 * 4, 6 * 4, {4 * 8: 5.0}, ((3, 8, 3.0),))
    # The second element is never there, the third half of the time: 1 + 3 and half of 2 + 5.
    found = find_demand(plan, {"x": np.array([1.0, 0.0, 0.5])})
    assert found == Demand(4 * (2 + 1.0), 24, {32: 2 + 1.0}, ((3, 8, 3.0),))


def test_demand_of_a_memory_fetches_its_matrix_once():
    plan = make_plan(recurrent(), AcceleratorConfig(lanes=2))
    found = find_demand(plan)
    own, shared = 4 * 4 + 4 * 4, 10 * (4 + 2)
    assert found.weight_bits == found.stored_bits == own + shared
    # x and e_x; m and w_m; m and a, for each of two memories; u and b.
    assert found.products == {32: 4.0, 48: 4.0, 120: 8.0, 80: 4.0}
    assert sorted(found.vectors) == sorted([(2, 8, 2.0), (2, 8, 2.0), (4, 12, 4.0)])


def test_demand_is_a_mean_over_strides():
    strided = replace(recurrent().layers[0], stride=2)
    plan = make_plan(QuantizedModel((strided,), Format(8, 0)), AcceleratorConfig(lanes=2))
    found = find_demand(plan)
    assert found.products[48] == 2.0
    assert found.weight_bits == 4 * 4 + 4 * 4 / 2 + 60
    assert found.stored_bits == 92


def test_one_fetch_may_do_for_several_frames():
    once, twice = (find_demand(make_plan(dense(), AcceleratorConfig(lanes=2, frames_per_fetch=n))) for n in (1, 2))
    assert twice == replace(once, weight_bits=once.weight_bits / 2)


def test_blocks_that_are_not_stored_are_not_needed():
    model = QuantizedModel((QuantizedDense(weights([[1, 0, 2], [3, 0, 5]]), quantizer(16)),), Format(8, 0))
    for skipped, columns in ((False, 3), (True, 2)):
        plan = make_plan(model, AcceleratorConfig(lanes=2, skip_zero_blocks=skipped))
        found = find_demand(plan)
        assert (found.weight_bits, found.stored_bits, found.products) == (8.0 * columns, 8 * columns, {32: 4.0})


def test_floor_by_hand():
    memories = MemoryCosts(
        macros=(), model=False, multiplexer=Cost(), column=Cost(), word=Cost(),
        bit=Cost(read=1.0, write=2.0, leakage=0.5),
    )  # fmt: skip
    demand = Demand(weight_bits=50, stored_bits=100, products={32: 3.0, 64: 1.0}, vectors=((4, 2, 5.0),))
    found = find_floor(demand, COSTS, memories, frame_rate=10.0)
    # 5 elements written and read in 8 bits of flip-flops; leakage of 100 bits, of the flip-flops, of one product.
    expected = Floor(50 * 2.0, 3 * 8.0 + 24.0, 5 * 8 * (1.0 + 2.0), (100 * 0.1 + 8 * 0.5 + 2.0) / 10)
    assert vars(found) == pytest.approx(vars(expected))
    assert found.total == pytest.approx(100 + 48 + 120 + 1.6)
    shown = found.to_dict(2 * found.total)
    assert shown["ratio"] == pytest.approx(2.0)
    assert sum(shown["parts_nJ"].values()) == pytest.approx(shown["nJ_per_frame"])


def test_weights_are_in_banks_where_these_take_less():
    none = MemoryCosts(macros=(), model=False, multiplexer=Cost(), bit=Cost(), column=Cost(), word=Cost())
    demand = Demand(weight_bits=10.0, stored_bits=10_000, products={32: 0.0}, vectors=())
    # Whole: 4 a bit read, 0.3 a bit of leakage. In banks of 100 bits: 2 and 0.1.
    found = find_floor(demand, COSTS, none, frame_rate=1e3)
    assert (found.weights, found.leakage) == pytest.approx((10 * 2.0, (10_000 * 0.1 + 1.0) / 1e3))
    leaky = FloorCosts(memories=((100, 2.0, 0.3), (10_000, 4.0, 0.1)), products=COSTS.products)
    for rate, weights, leak in ((1.0, 4.0, 0.1), (99.0, 4.0, 0.1), (101.0, 2.0, 0.3)):
        found = find_floor(demand, leaky, none, rate)
        assert (found.weights, found.leakage) == pytest.approx((10 * weights, (10_000 * leak + 1.0) / rate))


def test_elements_are_in_banks_of_flip_flops_where_these_take_less():
    memories = MemoryCosts(
        macros=(), model=False, multiplexer=Cost(), column=Cost(), word=Cost(),
        bit=Cost(read=1.0, write=1.5, idle=0.25, leakage=0.5),
    )  # fmt: skip
    found = find_floor(Demand(0.0, 100, {32: 0.0}, ((32, 2, 5.0),)), COSTS, memories, 10.0)
    # Of banks of 4 words one moves, and a read clocks none; all leak.
    assert found.elements == pytest.approx(5 * 8 * (1.0 - 0.25 + 1.5))
    assert found.leakage == pytest.approx((100 * 0.1 + 64 * 0.5 + 1.0) / 10)
    macros = load_technology("ihp-sg13g2").memories
    found = find_floor(Demand(0.0, 100, {32: 0.0}, ((256, 12, 64.0),)), COSTS, macros, 50.0)
    built_of, cost = macros.choose(256, 12, MemoryUsage(2 * 64 * 50.0, 1.0, 0.5))
    assert built_of == "macros"
    assert found.elements == pytest.approx(64 * (cost.read + cost.write))


def test_weights_are_macros_where_these_take_less():
    technology = load_technology("ihp-sg13g2")
    leaky = FloorCosts(memories=((64, 1.0, 1.0),), products=COSTS.products)
    bits = 64 * 4096
    found = find_floor(Demand(float(bits), bits, {32: 1.0}, ()), leaky, technology.memories, 50.0)
    cost = technology.memories.choose(4096, 64, MemoryUsage(4096 * 50.0, 1.0, 0.0))[1]
    assert found.weights == pytest.approx(4096 * cost.read)
    assert found.leakage == pytest.approx((cost.leakage + COSTS.product(32)[1]) / 50)


def test_what_was_measured_ships_by_process_and_corner():
    for name in ("ihp-sg13g2", "sky130A"):
        technology = load_technology(name)
        assert load_floor_costs(name, technology.voltage, technology.temperature) is not None
        assert load_floor_costs(name, technology.voltage + 0.1, technology.temperature) is None
        assert load_floor_costs(name, technology.voltage, 125.0) is None
    assert load_floor_costs("osu018", 1.8, 25.0) is None


def test_the_least_of_equally_wide_products_counts():
    found = json.loads((resources.files("lmu_hw.power") / "floors.json").read_text())["ihp-sg13g2"]
    costs = load_floor_costs("ihp-sg13g2", found["voltage"], found["temperature"])
    energies = [one["energy"] for one in found["products"] if one["bits"] == 32]
    assert len(energies) == 2
    assert costs.product(32)[0] == min(energies)
    assert all(math.isfinite(value) for one in (*costs.memories, *costs.products) for value in one)


def told(tmp_path, *arguments):
    path = tmp_path / "result.json"
    assert main(["power", "kws49", *arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_the_command_says_how_far_above_the_floor_it_is(tmp_path, capsys):
    tiers = {tier: told(tmp_path, "--tier", tier) for tier in ("table", "rtl")}
    printed = capsys.readouterr().out
    for found in tiers.values():
        assert list(found["floor"]) == list(found["sounds"])
        for kind, floor in found["floor"].items():
            energy = found["sounds"][kind]["total_with_estimates"]["nJ_per_frame"]
            assert floor["ratio"] == pytest.approx(energy / floor["nJ_per_frame"])
            assert floor["ratio"] > 1
    speech = tiers["table"]["floor"]["speech"]
    assert f"floor {speech['nJ_per_frame']:.1f} nJ per frame (speech: weights" in printed
    assert f"the total is {speech['ratio']:.2f} times the floor" in printed
    # The frames are known to the tier rtl: elements that are zero need nothing.
    rtl, table = (tiers[tier]["floor"]["speech"] for tier in ("rtl", "table"))
    assert rtl["parts_nJ"]["products"] < table["parts_nJ"]["products"]
    assert rtl["parts_nJ"]["elements"] == table["parts_nJ"]["elements"]
    assert rtl["nJ_per_frame"] < table["nJ_per_frame"]


def test_the_command_says_where_no_floor_is_known(tmp_path, capsys):
    assert told(tmp_path, "--pdk", "asap7", "--levers", "plain")["floor"] is None
    assert "floor: not measured for this process and corner" in capsys.readouterr().out


@pytest.mark.slow
def test_measured_again_the_costs_are_those_that_ship(pdk):
    library = read_liberty(pdk("ihp-sg13g2").cells)
    found = json.loads((resources.files("lmu_hw.power") / "floors.json").read_text())["ihp-sg13g2"]
    product, wide, long = measure_product("kws105", "layer1.w_m", library)
    known = next(one for one in found["products"] if one["factors"] == "kws105 layer1.w_m")
    assert (wide * long, product.energy, product.leakage) == pytest.approx(
        (known["bits"], known["energy"], known["leakage"])
    )
    memory = measure_memory(weight_words("kws1683", 16)[:256], 64, library)
    assert memory.energy / 64 == pytest.approx(found["memories"][0]["read_per_bit"])
