"""Which blocks of weights are stored when zeros are skipped, and the bits that this takes."""

from dataclasses import replace

import numpy as np
import pytest

from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.operations import lower
from lmu_hw.model.program import QuantizedDense, QuantizedModel, Weights
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.sparsity import all_columns, index_bits, kept_columns, memory_columns, stored_bits
from lmu_sim.testing.random_models import prune_blocks, random_model


def dense(values, width=4):
    weights = Weights(np.array(values), width, [2] * len(values))
    return QuantizedModel((QuantizedDense(weights, Quantizer(Format(8, 4))),), Format(8, 4))


def kept(values, lanes):
    return kept_columns(lower(dense(values))[0], lanes)


def test_blocks_of_zeros_are_left_out():
    values = [[1, 0, 0, 2], [0, 0, 0, 0], [0, 0, 3, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert kept(values, 2) == (((0, 3), (1, 2), (3,)),)
    assert kept(values, 5) == (((0, 1, 2, 3),),)
    assert kept(values, 1) == (((0, 3), (0,), (2,), (1,), (3,)),)


def test_blocks_that_the_sequencer_needs_stay():
    assert kept([[0, 0, 0, 1], [1, 0, 0, 0]], 1) == (((0, 3), (0,)),)
    assert kept([[1, 0, 0, 0], [0, 0, 1, 0]], 1) == (((0, 1), (2,)),)
    assert kept([[0, 0, 0], [0, 0, 0]], 1) == (((0, 1), (0,)),)
    assert kept([[0], [0]], 2) == (((0,),),)


def test_every_product_that_is_not_zero_is_kept():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lanes = int(rng.integers(1, 7))
        model = prune_blocks(rng, random_model(rng, layers=("lmu", "dense"), units=11), lanes, 0.7)
        for op in lower(model):
            for term, groups in zip(op.terms, kept_columns(op, lanes), strict=True):
                for group, columns in enumerate(groups):
                    rows = term.weights[group * lanes : (group + 1) * lanes]
                    assert list(columns) == sorted(set(columns))
                    assert not np.delete(rows, columns, axis=1).any()


def test_an_index_names_every_column_of_the_longest_term():
    for columns, bits in ((1, 2), (2, 2), (3, 3), (64, 7), (65, 8)):
        assert index_bits(lower(dense(np.ones((3, columns), int)))[0]) == bits


def test_a_memory_has_an_index_only_where_that_saves_bits():
    # Of 16 words of 8 bits, an index takes 5 bits each: 9 words are fewer bits, 10 are more.
    for columns, skips in ((9, True), (10, False)):
        values = np.ones((2, 16), int)
        values[:, columns:] = 0
        (op,) = lower(dense(values))
        stored = memory_columns([op], 2, 4, skip=True)
        assert stored.index_bits == (5 if skips else 0)
        assert stored.columns == ((kept_columns if skips else all_columns)(op, 2),)
        assert memory_columns([op], 2, 4, skip=False).columns == (all_columns(op, 2),)


def test_an_operation_whose_zero_elements_can_be_skipped_stores_all_blocks_where_most_must_be_stored():
    for columns, whole in ((4, False), (5, True)):
        values = np.ones((2, 8), int)
        values[:, columns:] = 0
        (op,) = lower(dense(values))
        sparse = replace(op, target="sparse", terms=(replace(op.terms[0], weights=np.zeros((2, 64), np.int64)),))
        stored = memory_columns([op, sparse], 2, 4, True, {op.target, "sparse"})
        assert stored.columns == ((all_columns if whole else kept_columns)(op, 2), kept_columns(sparse, 2))
        assert stored.index_bits == index_bits(sparse)
        without = memory_columns([op, sparse], 2, 4, True, {"sparse"})
        assert without.columns == (kept_columns(op, 2), kept_columns(sparse, 2))


def test_stored_bits_are_those_of_the_memories():
    rng = np.random.default_rng(1)
    model = random_model(rng, layers=("lmu", "dense"), units=12, inputs=10, memories=[(4, 6.0)] * 4)
    assert stored_bits(model, 4).total == stored_bits(model, 4).weights == model.weight_bits
    model = prune_blocks(rng, model, 4, 0.8)
    plan = make_plan(model, AcceleratorConfig(lanes=4, skip_zero_blocks=True))
    found = stored_bits(model, 4)
    assert plan.report()["stored_weight_bits"] == {"weights": found.weights, "index": found.index}
    assert found.total == found.weights + found.index < model.weight_bits
    words = [memory.depth * memory.index_bits for memory in plan.weight_memories]
    assert found.index == sum(words) > 0
    kept = sum(
        len(columns) * min(4, one.operation.rows - 4 * group) * term.width
        for one in plan.operations
        if not one.operation.target.endswith(".m")
        for term, laid in zip(one.operation.terms, one.terms, strict=True)
        for group, columns in enumerate(laid.columns)
    )
    assert found.weights == kept


def test_a_word_names_the_column_of_the_next_one():
    values = [[1, 0, 0, 2, 0, 0], [0, 0, 3, 0, 0, -1], [0, 0, 0, 0, 0, 0]]
    plan = make_plan(dense(values, width=8), AcceleratorConfig(lanes=1, skip_zero_blocks=True))
    (memory,) = plan.weight_memories
    assert (memory.depth, memory.width, memory.index_bits) == (5, 12, 4)
    words = plan.images()[memory.name]
    assert [word & 255 for word in words] == [1, 2, 3, 129, 0]  # sign and magnitude
    assert [(word >> 8 & 7, word >> 11) for word in words[:-1]] == [(3, 1), (2, 0), (5, 1), (0, 1)]


@pytest.mark.parametrize("fraction", [0.0, 0.8, 1.0])
def test_the_fraction_of_blocks_is_pruned(fraction):
    rng = np.random.default_rng(3)
    model = random_model(rng, layers=("dense",), units=12, inputs=20)
    (layer,) = model.layers
    full = replace(layer, w=replace(layer.w, values=np.ones_like(layer.w.values)))
    (layer,) = prune_blocks(rng, replace(model, layers=(full,)), 5, fraction).layers
    live = [layer.w.values[rows].any(axis=0) for rows in (slice(0, 5), slice(5, 10), slice(10, 12))]
    assert np.sum(live) == round((1 - fraction) * 60)
