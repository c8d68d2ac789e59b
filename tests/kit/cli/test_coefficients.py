"""`lmu-hw sram` and `lmu-hw floors`: the coefficients that ship with the product are measured again by command."""

import json
from importlib import resources

import pytest

from lmu_kit import floor_costs
from lmu_kit.cli.main import main


def test_the_sram_model_is_fitted_and_written(pdk_in_environment, tmp_path, capsys):
    pdk_in_environment("ihp-sg13g2")
    path = tmp_path / "model.json"
    assert main(["sram", "--out", str(path)]) == 0
    stored = json.loads((resources.files("lmu_hw.cells") / "sram_model.json").read_text())
    fitted = json.loads(path.read_text())
    assert fitted.keys() == stored.keys()
    for name, values in stored["coefficients"].items():
        assert fitted["coefficients"][name] == pytest.approx(values, rel=1e-4)
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"written: {path}"
    assert f"area: largest error {stored['largest_error']['area']:.1%}" in printed


def test_floor_costs_are_written_by_process(pdk_in_environment, tmp_path, monkeypatch):
    """What is measured is in tests/power/test_floor.py; here is what becomes of it."""
    pdk_in_environment("ihp-sg13g2")
    monkeypatch.setattr(floor_costs, "MEMORIES", ())
    monkeypatch.setattr(floor_costs, "FACTORS", ())
    path = tmp_path / "floors.json"
    assert main(["floors", "ihp-sg13g2", "--out", str(path)]) == 0
    stored = json.loads((resources.files("lmu_hw.power") / "floors.json").read_text())["ihp-sg13g2"]
    assert json.loads(path.read_text()) == {"ihp-sg13g2": stored | {"memories": [], "products": []}}


def test_a_process_that_is_not_there_is_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    for command in (["floors", "nowhere"], ["sram"]):
        assert main([*command, "--out", str(tmp_path / "out.json")]) == 1
        assert "was expected, PDK_ROOT holds nothing" in capsys.readouterr().err
        assert not (tmp_path / "out.json").exists()
