"""The command `zoo`: what it lists is what the shipped files hold."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.sparsity import StoredBits, stored_bits
from lmu_kit.cli.main import main
from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, SeparableLayer
from lmu_quantize.zoo.cost import cost


def test_every_network_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--json", str(tmp_path / "zoo.json")]) == 0
    printed = capsys.readouterr().out
    listed = json.loads((tmp_path / "zoo.json").read_text())["networks"]
    assert [each["name"] for each in listed] == zoo.names()
    for each in listed:
        model = program_file.load(zoo.path(each["name"], "quantized.safetensors"))
        assert each["name"] in printed
        assert each["labels"] == list(model.labels)
        pruned = "-pruned" in each["name"]
        stored = stored_bits(model, 16) if pruned else StoredBits(model.weight_bits, 0)
        assert (each["kbits"], each["index_kbits"]) == (stored.weights / 1000, stored.index / 1000)
        assert (stored.index > 0) == pruned
        for engine in ("float", "golden"):
            measured = json.loads(zoo.path(each["name"], f"{engine}.json").read_text())
            assert measured["engine"] == engine
            assert each[f"{engine}_accuracy"] == measured["accuracy"] == measured["correct"] / measured["clips"]


def test_cost_counts_every_product_of_a_frame() -> None:
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    update = 3 * 16 * 8 * (8 + 1)
    taken = cost(model)
    assert (taken.products, taken.weight_bits) == (model.weight_bits / 4 + update, model.weight_bits)


def test_products_are_counted_by_width() -> None:
    """The memory update multiplies 10 bits by 12 and by 8, `W_m` 4 by 12, the other matrices 4 by 8 or 7."""
    taken = cost(program_file.load(zoo.path("kws361", "quantized.safetensors")))
    encoded, read = 16 * (40 + 2 * 112), 3 * 112 * 128
    counts = {
        (10, 12): 3 * 16 * 64, (10, 8): 3 * 16 * 8, (4, 12): read, (4, 8): (16 + 112) * 40,
        (4, 7): encoded - 16 * 40 + 112 * 2 * 112 + 112 * 10,
    }  # fmt: skip
    assert {(each.weight_bits, each.operand_bits): each.count for each in taken.by_width} == counts
    assert list(counts) == [(each.weight_bits, each.operand_bits) for each in taken.by_width]
    assert taken.equivalent_products == sum(a * b * count for (a, b), count in counts.items()) / 28


def test_filters_of_a_separable_layer_cost_their_own_memory_only() -> None:
    model = separable(stride=2)
    taken = cost(model)
    always = 4 * 6 + 4 * 3 * (3 + 1)
    assert taken.products == always + (8 * 3 + 6 * 8 + 5 * 6) / 2
    assert taken.weight_bits == 4 * (4 * 6 + (8 * 3 + 6 * 8 + 5 * 6) / 2)
    counts = {(each.weight_bits, each.operand_bits): each.count for each in taken.by_width}
    assert counts == {(10, 12): 4 * 9, (10, 8): 4 * 3, (4, 12): 8 * 3 / 2, (4, 8): 24, (4, 7): (6 * 8 + 5 * 6) / 2}


def separable(**options: int) -> QuantizedModel:
    """A separable layer, 6 inputs, 4 memories of order 3 with 2 filters each and 6 units, and a dense layer of 5."""
    rng = np.random.default_rng(0)
    e_x, w_m, w_f, w = (rng.normal(size=shape) for shape in ((4, 6), (8, 3), (6, 8), (5, 6)))
    memories = (LegendreMemory(3, 4.0),) * 4
    layers = SeparableLayer(memories, e_x, w_m, w_f, residual=True, **options), DenseLayer(w)
    return quantize_model(FloatModel(layers), rng.normal(size=(3, 12, 6))).model


def test_layers_behind_a_stride_cost_less() -> None:
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    first, *others = model.layers
    slow = dataclasses.replace(model, layers=(dataclasses.replace(first, stride=2), *others))
    always = first.e_x.bits
    assert cost(slow).weight_bits == always + (model.weight_bits - always) / 2
    assert cost(slow).products == always / 4 + 16 * 8 * 9 + (model.weight_bits - always) / 8 + 16 * 8 * 9


def test_skipped_blocks_cost_nothing_but_the_index() -> None:
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    layers = []
    for layer in model.layers:
        ones = {name: np.ones_like(each.values) for name, each in layer.weights.items()}
        if "w_m" in ones:
            ones["w_m"][:, ::2] = 0
        made = {name: dataclasses.replace(layer.weights[name], values=values) for name, values in ones.items()}
        layers.append(dataclasses.replace(layer, **made))
    pruned = dataclasses.replace(model, layers=tuple(layers))
    skipped, dense = cost(pruned, 16), cost(pruned)
    zeros = 3 * 112 * 64
    assert dense.products - skipped.products == zeros
    inputs = 40 + 112 + 112
    words = inputs + 7 * (inputs + 3 * 64) + 112
    assert skipped.weight_bits == dense.weight_bits - 4 * zeros + 8 * words
    assert cost(model, 16) == cost(model)
