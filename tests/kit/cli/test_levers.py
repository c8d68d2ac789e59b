"""Options of the choices that save energy."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.plan.config import LEVERS, AcceleratorConfig
from lmu_kit.cli.main import main, parser
from lmu_kit.cli.options import LEVER_HELP, accelerator_arguments, accelerator_config
from lmu_sim.testing.random_models import random_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = random_model(np.random.default_rng(1), layers=("dense", "dense"), activation="relu", units=9, inputs=3)
    program_file.save(made, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_defaults_are_those_of_the_library() -> None:
    given = parser().parse_args(["verilog", "kws361"])
    assert accelerator_config(given) == AcceleratorConfig.frugal()
    assert accelerator_config(given, "plain") == AcceleratorConfig()
    assert accelerator_config(given, macros=False) == AcceleratorConfig.frugal(state_bank_words=16)
    assert AcceleratorConfig().lanes == 16


def test_the_set_of_levers_is_a_default_that_options_and_files_override(tmp_path: Path) -> None:
    def config(*arguments: str) -> AcceleratorConfig:
        return accelerator_config(parser().parse_args(["verilog", "kws361", *arguments]))

    assert config("--levers", "plain") == AcceleratorConfig()
    assert config("--no-stop-clock", "--bank-words", "0") == AcceleratorConfig.frugal(stop_clock=False, bank_words=0)
    assert config("--weights", "ram").bank_words == 0
    assert not config("--frames-per-fetch", "2").skip_zero_elements
    path = tmp_path / "config.json"
    path.write_text('{"lanes": 4, "weights": "rom", "control_reset": true}')  # as 0.1 and 0.2 wrote it
    assert config("--config", str(path)) == AcceleratorConfig(lanes=4, control_reset=True)
    assert config("--config", str(path), "--levers", "frugal") == AcceleratorConfig.frugal(lanes=4)
    path.write_text('{"lanes": 4, "levers": "frugal", "gate_blocks": false}')
    assert config("--config", str(path)) == AcceleratorConfig.frugal(lanes=4, gate_blocks=False)
    assert config("--config", str(path), "--levers", "plain") == AcceleratorConfig(lanes=4)


def test_every_lever_has_an_option() -> None:
    assert set(LEVER_HELP) == set(LEVERS)
    options = argparse.ArgumentParser()
    accelerator_arguments(options)
    for name in LEVERS:
        config = accelerator_config(options.parse_args(["--levers", "plain", f"--{name.replace('_', '-')}"]))
        assert [other for other in LEVERS if getattr(config, other)] == [name]


def test_verilog_says_what_zeros_save(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verilog", str(model), "--lanes", "4", "--skip-zero-elements", "--out", str(tmp_path)]) == 0
    assert "without a zero to skip; with nothing but zeros" in " ".join(capsys.readouterr().out.split())
    manifest = json.loads((tmp_path / "lmu_accelerator.json").read_text())
    assert manifest["config"]["skip_zero_elements"] is True


def test_verilog_says_how_long_a_round_waits(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verilog", str(model), "--lanes", "4", "--frames-per-fetch", "4", "--out", str(tmp_path)]) == 0
    assert "a decision waits for up to 3 more frames" in " ".join(capsys.readouterr().out.split())
    manifest = json.loads((tmp_path / "lmu_accelerator.json").read_text())
    assert (manifest["config"]["frames_per_fetch"], manifest["plan"]["latency_frames"]) == (4, 3)


def test_rounds_that_cannot_be_are_refused(model: Path, refused: Callable[..., str]) -> None:
    three = refused("verilog", model, "--frames-per-fetch", "3", "--out", model.parent)
    assert three.endswith("frames_per_fetch must be one of 1, 2, 4, 8, not 3")
    cleared = refused("verilog", model, "--frames-per-fetch", "2", "--state", "pulse", "--out", model.parent)
    assert cleared.endswith("frames_per_fetch of 2 needs the state policy keep, not pulse")
    assert "does not know the levers state_bank_words, but" in refused(
        "power", model, "--levers", "plain", "--state-bank-words", "16"
    )
    assert "does not know frames_per_fetch: take the tier gates" in refused("power", model, "--frames-per-fetch", "2")


def test_tables_without_a_lever_refuse_it(model: Path, refused: Callable[..., str]) -> None:
    assert "does not know the levers isolate_operands, but none" in refused(
        "power", model, "--levers", "plain", "--isolate-operands"
    )
