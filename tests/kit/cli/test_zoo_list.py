"""The command `zoo`: what it lists is what the shipped files hold."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import StoredBits, stored_bits
from lmu_kit.cli.main import main
from lmu_quantize import zoo
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
    assert cost(model) == (model.weight_bits / 4 + update, model.weight_bits)


def test_layers_behind_a_stride_cost_less() -> None:
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    first, *others = model.layers
    slow = dataclasses.replace(model, layers=(dataclasses.replace(first, stride=2), *others))
    always = first.e_x.bits
    assert cost(slow)[1] == always + (model.weight_bits - always) / 2
    assert cost(slow)[0] == always / 4 + 16 * 8 * 9 + (model.weight_bits - always) / 8 + 16 * 8 * 9


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
    assert dense[0] - skipped[0] == zeros
    inputs = 40 + 112 + 112
    words = inputs + 7 * (inputs + 3 * 64) + 112
    assert skipped[1] == dense[1] - 4 * zeros + 8 * words
    assert cost(model, 16) == cost(model)
