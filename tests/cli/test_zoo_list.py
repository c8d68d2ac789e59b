"""The command `zoo`: what it lists is what the shipped files hold."""

import dataclasses
import json
from pathlib import Path

import pytest

from lmu_hw import program_file
from lmu_hw.cli.main import main
from lmu_hw.cli.zoo import cost
from lmu_quantize import zoo


def test_every_network_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "--json", str(tmp_path / "zoo.json")]) == 0
    printed = capsys.readouterr().out
    listed = json.loads((tmp_path / "zoo.json").read_text())["networks"]
    assert [each["name"] for each in listed] == zoo.names()
    for each in listed:
        model = program_file.load(zoo.path(each["name"], "quantized.safetensors"))
        assert each["name"] in printed
        assert each["labels"] == list(model.labels)
        assert each["kbits"] == model.weight_bits / 1000
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
