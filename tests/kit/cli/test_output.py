"""What commands print: tables of 80 columns, files that were written, nothing with --quiet."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.boards import BAUD, BOARDS
from lmu_hw.explore.front import AIMS
from lmu_hw.explore.sweep import AUTO
from lmu_hw.export.names import TOP
from lmu_hw.flows.devices import DEVICES
from lmu_hw.model import program_file
from lmu_hw.plan import config
from lmu_hw.plan.config import LEVERS, AcceleratorConfig, Interface, StatePolicy, WeightStore
from lmu_kit.characterisation import LEVER_SETS
from lmu_kit.cli import characterise, explore, options, power, verilog
from lmu_kit.cli.console import Console
from lmu_kit.cli.main import COMMANDS, main, parser
from lmu_kit.estimate import DEFAULT_TECHNOLOGY, MACROS, TIERS
from lmu_kit.evaluation import ENGINES
from lmu_kit.project.steps import STEPS
from lmu_quantize.dataset import SPLITS
from lmu_quantize.features import FEATURE_KINDS
from lmu_quantize.frames_file import FrameSet, save_frames
from lmu_sim.cosim import STALLS
from lmu_sim.runner import Simulator
from lmu_sim.testing.random_models import random_frames, random_model


def test_choices_that_are_written_down_are_those_of_the_library():
    assert set(options.BOARDS) == set(BOARDS)
    assert set(options.DEVICES) == set(DEVICES)
    assert options.BAUD == BAUD
    assert set(options.ENGINES) == set(ENGINES)
    assert set(options.FEATURE_KINDS) == set(FEATURE_KINDS)
    assert list(options.INTERFACES) == [interface.value for interface in Interface]
    assert list(options.SIMULATORS) == [simulator.value for simulator in Simulator]
    assert options.SPLITS == SPLITS
    assert options.STALLS == STALLS
    assert list(options.STATE_POLICIES) == [policy.value for policy in StatePolicy]
    assert options.STEPS == tuple(STEPS)
    assert options.TIERS == TIERS
    assert list(options.WEIGHT_STORES) == [store.value for store in WeightStore]
    assert set(options.LEVER_HELP) == set(LEVERS)
    fields = {field.name for field in dataclasses.fields(AcceleratorConfig)}
    assert {*options.CHOICES, *options.LEVER_HELP, "smoothing"} == fields
    assert (explore.AUTO, set(explore.AIMS)) == (AUTO, set(AIMS))
    assert set(characterise.LEVER_SETS) == set(LEVER_SETS)
    assert (set(options.LEVER_SETS), options.MACROS) == (set(config.LEVER_SETS), MACROS)
    assert (verilog.TOP, power.DEFAULT_TECHNOLOGY) == (TOP, DEFAULT_TECHNOLOGY)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A small quantized model with labels, and frames for it."""
    folder, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(2)
    model = random_model(rng, layers=("lmu", "dense"), inputs=3, units=4, activation="relu")
    model = dataclasses.replace(model, labels=tuple(f"word{n}" for n in range(model.outputs)))
    program_file.save(model, folder / "model")
    frames = random_frames(rng, model, 3, 6)
    save_frames(FrameSet(frames, np.zeros(3, np.int64), model.input, model.labels, {}, "made up"), folder / "frames")
    return str(folder / "model"), str(folder / "frames")


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Lines that a command prints."""
    assert main(list(words)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


QUICK = {
    "zoo": ["zoo"],
    "doctor": ["doctor"],
    "power": ["power", "kws361", "--compare", "--scale-to", "22nm"],
    "power of rtl": ["power", "MODEL", "--tier", "rtl", "--frames", "FRAMES"],
    "verilog": ["verilog", "kws105-pruned", "--skip-zero-blocks", "--out", "OUT"],
    "quantize": ["quantize", "kws49", "--out", "OUT/q"],
    "float": ["evaluate", "kws49", "--engine", "float", "--clips", "5"],
    "golden": ["evaluate", "MODEL", "--frames", "FRAMES"],
    "rtl": ["evaluate", "MODEL", "--frames", "FRAMES", "--engine", "rtl", "--lanes", "2"],
    "cosim": ["cosim", "MODEL", "--frames", "FRAMES", "--build", "OUT/build"],
    "explore": ["explore", "kws49", "kws105", "--lanes", "4,8", "--clock", "auto,1Hz", "--out", "OUT/sweep"],
    "frames-per-fetch": ["verilog", "kws49", "--frames-per-fetch", "2", "--out", "OUT/v"],
}


def filled(words: list[str], small: tuple[str, str], out: Path) -> list[str]:
    names = {"MODEL": small[0], "FRAMES": small[1]}
    return [names.get(word, word.replace("OUT", str(out))) for word in words]


@pytest.mark.parametrize("name", QUICK)
def test_80_columns_are_enough_and_quiet_is_quiet(
    name: str,
    small: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("COLUMNS", "80")
    words = filled(QUICK[name], small, tmp_path)
    printed = lines(capsys, *words)
    paths = [line for line in printed if line.startswith("written: ")]
    assert [line for line in printed if len(line) > 80 and line not in paths] == []
    for line in paths:
        assert Path(line.removeprefix("written: ")).exists()
    for word in words:
        if word.startswith(str(tmp_path)):
            assert any(line.removeprefix("written: ").startswith(word) for line in paths), f"{word} is not named"
    assert lines(capsys, *words, "--quiet") == []


def test_quiet_may_stand_before_the_command(capsys: pytest.CaptureFixture[str]):
    assert lines(capsys, "--quiet", "zoo") == []
    assert main(["--quiet", "verilog", "kws49"]) == 1
    assert capsys.readouterr().err == "lmu-hw: error: nothing to write: give --out, --bundle, or both\n"


def test_a_table_that_is_too_wide_becomes_a_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    console, columns = Console(), ["design", "µW", "front end"]
    rows = [["first of all", "8.79", "yes"], None, ["second", "", "not mentioned anywhere"]]
    monkeypatch.setenv("COLUMNS", "44")
    console.table(columns, rows, title="Spotters")
    assert capsys.readouterr().out.splitlines() == [
        "Spotters",
        "design          µW               front end",
        "------------------------------------------",
        "first of all  8.79                     yes",
        "------------------------------------------",
        "second              not mentioned anywhere",
    ]
    monkeypatch.setenv("COLUMNS", "30")
    console.table(columns, rows)
    assert capsys.readouterr().out.splitlines() == [
        "first of all",
        "    µW 8.79; front end yes",
        "second",
        "    front end not mentioned",
        "    anywhere",
    ]


def test_long_lines_are_broken_between_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "20")
    Console().print("a line of seven words, and more\n  indented, and long enough\n\nshort")
    assert capsys.readouterr().out.split("\n") == [
        "a line of seven", "words, and more", "  indented, and long", "  enough", "", "short", "",
    ]  # fmt: skip


def test_a_configuration_file_is_the_same_in_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = tmp_path / "config.json"
    config.write_text('{"lanes": 4, "weights": "ram", "state": "pulse", "stop_clock": true}')
    commands = [
        ["verilog", "kws49", "--out", "x"], ["cosim", "kws49"], ["synth", "kws49", "--target", "asic"],
        ["evaluate", "kws49"], ["power", "kws49"], ["hil", "kws49", "--port", "x"], ["demo"],
    ]  # fmt: skip
    for words in commands:
        args = parser().parse_args([*words, "--config", str(config), "--lanes", "8"])
        expected = AcceleratorConfig(lanes=8, weights="ram", state="pulse", stop_clock=True)
        assert options.accelerator_config(args) == expected
    config.write_text('{"lanes": 99}')
    assert main(["verilog", "kws49", "--out", str(tmp_path / "v"), "--config", str(config)]) == 1
    assert capsys.readouterr().err == f"lmu-hw: error: {config}: lanes must be in 1 to 64, not 99\n"


@pytest.mark.parametrize("text", ["500kHz", "0.5MHz", "500k", "500000", "500 kHz"])
def test_a_frequency_is_the_same_in_every_command(text: str):
    for words in (["power", "kws49"], ["synth", "kws49", "--target", "asic"]):
        assert parser().parse_args([*words, "--clock", text]).clock == 500e3


@pytest.mark.parametrize("name", [(), *((name,) for name in COMMANDS)])
def test_help_fits_80_columns(
    name: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main([*name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out.partition("example:\n")[0]
    assert [line for line in text.splitlines() if len(line) > 80] == []
