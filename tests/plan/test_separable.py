"""Separable layers in the plan: filters multiply their own columns only, and the residual takes no cycle."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lmu_hw.model.golden import Golden
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape
from lmu_hw.plan.weight_file import make_image
from lmu_hw.power.floor import find_demand
from lmu_hw.power.memory_use import accesses
from lmu_sim.testing.random_models import prune_blocks, random_model


def network(layers=("dense", "separable", "dense"), **options):
    options = {"units": 6, "inputs": 5, "memories": [(3, 6.0)] * 5, "filters": 2, "stride": 1, "bias": True} | options
    options = {"encoder": True, "residual": True, "activation": "relu"} | options
    return random_model(np.random.default_rng(7), layers=layers, **options)


def operation(plan, kind):
    (planned,) = [planned for planned in plan.operations if planned.operation.target == f"layer1.{kind}"]
    return planned


@pytest.mark.parametrize(
    ("filters", "lanes", "memories"),
    [(2, 4, [(0, 2), (2, 4), (4, 5)]), (3, 4, [(0, 2), (1, 3), (2, 4), (4, 5)]), (1, 8, [(0, 5)]), (3, 1, None)],
)
def test_a_group_of_filters_multiplies_the_states_of_its_memories_only(filters, lanes, memories):
    plan = make_plan(network(filters=filters), AcceleratorConfig(lanes=lanes))
    memories = [(row // filters, row // filters + 1) for row in range(5 * filters)] if memories is None else memories
    planned = operation(plan, "f")
    (term,) = planned.terms
    assert term.columns == tuple(tuple(range(3 * first, 3 * end)) for first, end in memories)
    assert planned.words == sum(3 * (end - first) for first, end in memories)
    assert sum(term.own) == planned.operation.products == 5 * filters * 3
    assert planned.index_bits == 0
    products = sum(op.products for op in Golden(plan.model).operations)
    assert [frame.products for frame in plan.frames] == [products]
    assert plan.utilisation == products / (lanes * plan.cycles_per_frame)


def test_words_of_filters_are_zero_where_a_row_belongs_to_another_memory():
    plan = make_plan(network(filters=2), AcceleratorConfig(lanes=4, weights="ram"))
    planned, layer = operation(plan, "f"), plan.model.layers[1]
    memory = plan.weight_memories[planned.weight_memory]
    words = plan.images()[memory.name][planned.weight_base :][: planned.words]
    bits = memory.width // 4
    codes = np.array([[word >> lane * bits & (1 << bits) - 1 for lane in range(4)] for word in words])
    magnitudes = codes & (1 << bits - 1) - 1 | (codes == 1 << bits - 1) * (1 << bits - 1)
    expected = np.zeros((15, 4), np.int64)
    for row, weights in enumerate(layer.w_m.values):
        expected[3 * (row // 2) :][:3, row % 4] = np.abs(weights)
    assert_array_equal(magnitudes, expected)


def test_filters_in_ram_take_the_same_words_whatever_the_weights():
    config = AcceleratorConfig(lanes=4, weights="ram")
    plan = make_plan(network(), config)
    layer = plan.model.layers[1]
    zeros = replace(layer.w_m, values=np.zeros_like(layer.w_m.values))
    emptied = replace(plan.model, layers=(plan.model.layers[0], replace(layer, w_m=zeros), plan.model.layers[2]))
    laid_out = fitted(make_plan(emptied, config), shape(plan))
    first, second = make_image(plan), make_image(laid_out, shape(plan))
    assert [word[:2] for word in first.words] == [word[:2] for word in second.words]
    assert first.words != second.words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": False}, r"layer1\.h: residual none, the accelerator has source=layer0\.h shift=-?\d+$"),
        ({"encoder": False}, r"it computes .*, the accelerator layer0\.h, layer1\.u, layer1\.m, layer1\.f, "),
    ],
)
def test_a_network_of_another_shape_is_refused(changes, message):
    config = AcceleratorConfig(lanes=4, weights="ram")
    described = shape(make_plan(network(weight_width=4), config))
    with pytest.raises(ShapeError, match=message):
        fitted(make_plan(network(weight_width=4, **changes), config), described)


def test_filters_of_other_memories_are_another_shape():
    """As many filters and states, but 5 memories with 2 filters and 3 states do not read as a dense matrix does."""
    config = AcceleratorConfig(lanes=4, weights="ram")
    plan = make_plan(network(), config)
    described = shape(plan)
    term = next(one for one in described["operations"] if one["name"] == "layer1.f")["terms"][0]
    assert term["slice_rows"] == 2
    term["slice_rows"] = 5
    with pytest.raises(ShapeError, match=r"layer1\.f: slice_rows 2 of the term of layer1\.m, the accelerator has 5$"):
        fitted(plan, described)


def test_the_residual_takes_a_read_for_each_row_and_no_cycle():
    with_residual = make_plan(network(), AcceleratorConfig(lanes=4))
    layers = list(with_residual.model.layers)
    layers[1] = replace(layers[1], residual=False)
    without = make_plan(replace(with_residual.model, layers=tuple(layers)), AcceleratorConfig(lanes=4))
    assert with_residual.cycles_per_frame == without.cycles_per_frame
    assert with_residual.frames[0].latency == without.frames[0].latency
    read, fewer = with_residual.frames[0].accesses, without.frames[0].accesses
    assert read == fewer | {"data": fewer["data"] + 6}
    source = with_residual.data_memories[with_residual.residual_memories[0]].name
    reads, least = accesses(with_residual), accesses(without)
    assert reads[source].reads == least[source].reads + 6
    assert all(reads[name] == least[name] for name in reads if name != source)
    assert without.residual_memories == ()


def test_an_input_that_is_added_is_released_when_all_elements_are_written():
    plan = make_plan(network(("separable", "dense"), units=5), AcceleratorConfig(lanes=4))
    adds = next(planned for planned in plan.operations if planned.residual is not None)
    assert (adds.operation.target, adds.residual.kind, adds.releases_input, adds.releases_late) == (
        "layer0.h", "x", True, True,
    )  # fmt: skip
    assert not any(planned.releases_late for planned in make_plan(network()).operations)


def test_zeros_of_filters_are_skipped_like_those_of_hidden_states():
    plan = make_plan(network(), AcceleratorConfig(lanes=4, skip_zero_elements=True))
    skipped = {term.location for planned in plan.operations for term in planned.terms if term.skips}
    names = {plan.data_memories[location.memories[0]].name for location in skipped}
    assert names == {"h0", "f", "h1"}
    channels = make_plan(network(encoder=False), AcceleratorConfig(lanes=4, skip_zero_elements=True))
    updates = [planned for planned in channels.operations if planned.operation.updates_memory]
    assert not any(term.skips for planned in updates for term in planned.terms)


def test_weights_that_are_counted_are_the_networks():
    model = network(weight_width=4)
    plan = make_plan(model, AcceleratorConfig(lanes=4))
    layer = model.layers[1]
    updates = [planned.operation for planned in plan.operations if planned.operation.updates_memory]
    matrices = sum(op.rows * op.columns for op in updates)
    width = max(layer.a_format.width, layer.b_format.width)
    assert find_demand(plan).stored_bits == model.weight_bits + matrices * width
    sparse = prune_blocks(np.random.default_rng(1), model, 4, 0.8)
    pruned = make_plan(sparse, AcceleratorConfig(lanes=4, skip_zero_blocks=True))
    stored = pruned.report()["stored_weight_bits"]
    assert 0 < stored["weights"] < model.weight_bits
