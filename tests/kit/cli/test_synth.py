"""`lmu-hw synth`: options, results written whole, failures with the nearest configuration."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.flows.devices import DEVICES
from lmu_hw.flows.fpga import DeviceUsage, FpgaBuild, FpgaError
from lmu_hw.flows.nearest import Nearest
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_kit.cli.main import main
from lmu_sim.testing.random_models import random_model

UP5K = DEVICES["ice40-up5k"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    small = random_model(
        np.random.default_rng(5), layers=("lmu", "dense"), inputs=4, units=6, memories=[(4, 8.0)], e_h=False, e_m=False,
        w_x=True, w_h=False, activation="relu", u_activation="linear", stride=1,
    )  # fmt: skip
    program_file.save(small, path)
    return path


def built(clock: float | None, seed: int = 1) -> FpgaBuild:
    return FpgaBuild(UP5K, 12e6, (DeviceUsage("LUT", 9, 5280), DeviceUsage("BRAM", 40, 30)), clock, seed)


@pytest.fixture
def fake(monkeypatch):
    """A build without tools, which writes one file or raises."""

    def install(error: Exception | None = None, nearest: Nearest | None = None) -> None:
        def build(design, folder: Path) -> FpgaBuild:
            if error is not None:
                raise error
            (folder / "design.bin").write_bytes(b"bits")
            return FpgaBuild(UP5K, 12e6, (DeviceUsage("LUT", 9, 5280),), 15e6, 2, {}, {}, ("design.bin",))

        monkeypatch.setattr("lmu_kit.synthesis.build_fpga", build)
        monkeypatch.setattr("lmu_kit.synthesis.find_nearest", lambda *args, **options: nearest)

    return install


def test_results_are_written_and_replaced_whole(model, fake, tmp_path):
    fake()
    out, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ["synth", str(model), "--target", "ice40-up5k", "--lanes", "2", "--out", str(out)]
    arguments += ["--json", str(report)]
    assert main(arguments) == 0
    (out / "stray").write_text("from an earlier run")
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["design.bin", "synth.json"]
    manifest = json.loads((out / "synth.json").read_text())
    assert manifest["config"]["lanes"] == 2
    assert manifest["fmax_hz"] == 15e6
    assert manifest["slack_s"] == pytest.approx(1 / 12e6 - 1 / 15e6)
    assert manifest["utilisation"]["LUT"] == {"used": 9, "available": 5280}
    assert json.loads(report.read_text()).items() >= manifest.items()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_other_folders_are_not_replaced(model, fake, tmp_path, refused):
    fake()
    (tmp_path / "thesis.tex").write_text("years of work")
    line = refused("synth", model, "--target", "ice40-up5k", "--out", tmp_path)
    assert "holds other files than a result of this command" in line
    assert "is a file, a folder is needed" in refused(
        "synth", model, "--target", "ice40-up5k", "--out", tmp_path / "thesis.tex"
    )


def test_a_design_that_does_not_fit_fails_with_the_nearest_that_does(model, fake, tmp_path, refused, capsys):
    nearest = Nearest(AcceleratorConfig(lanes=4, weights="ram"), (), None)
    fake(FpgaError("too large for the iCE40 UP5K: 40 of 30 BRAM", built(None)), nearest)
    out, report = tmp_path / "out", tmp_path / "report.json"
    line = refused("synth", model, "--target", "ice40-up5k", "--out", out, "--json", report)
    assert "40 of 30 BRAM; nearest that fits: --lanes 4 --weights ram (an estimate" in line
    assert not out.exists()
    found = json.loads(report.read_text())
    assert found["nearest"]["config"]["lanes"] == 4
    assert found["utilisation"]["BRAM"] == {"used": 40, "available": 30}
    fake(FpgaError("too large", built(None)))
    assert "none of the nearest configurations fits" in refused("synth", model, "--target", "ice40-up5k")
    assert "nearest" not in refused("synth", model, "--target", "ice40-up5k", "--no-nearest")


def test_clock_gates_are_refused_for_an_fpga(model, fake, tmp_path, refused):
    fake()
    for lever in ("--stop-clock", "--gate-blocks"):
        line = refused("synth", model, "--target", "ice40-up5k", "--out", tmp_path / "out", lever)
        assert line == "lmu-hw: error: stop_clock and gate_blocks are for chips, not for boards: an FPGA has few clocks"
    assert not (tmp_path / "out").exists()


def test_a_missed_clock_fails(model, fake, refused):
    nearest = Nearest(AcceleratorConfig(lanes=2), (), 13e6)
    fake(FpgaError("too slow on the iCE40 UP5K: 9.00 MHz of 12 MHz", built(9e6)), nearest)
    line = refused("synth", model, "--target", "ice40-up5k")
    assert "nearest that fits: --lanes 2 --weights rom (routed with one seed: 13.00 MHz)" in line


def test_what_the_clock_does_not_cover_is_said(model, monkeypatch, capsys):
    gowin = FpgaBuild(DEVICES["gw1nr-9"], 27e6, (DeviceUsage("LUT", 9, 8640),), 30e6, 1)
    monkeypatch.setattr("lmu_kit.synthesis.build_fpga", lambda design, folder: gowin)
    assert main(["synth", str(model), "--target", "gw1nr-9"]) == 0
    assert "not covered by this clock: paths through multipliers" in capsys.readouterr().out


def test_options_of_the_other_targets_are_refused(model, refused):
    line = refused("synth", model, "--target", "ecp5-25k", "--clock", "1M")
    assert "--clock belongs to --target asic" in line
    assert "for real time with 16 lanes" in refused("synth", model, "--target", "asic", "--clock", "10")


def test_a_missing_process_is_named(model, refused, monkeypatch, tmp_path):
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    assert "PDK_ROOT holds nothing" in refused("synth", model, "--target", "asic", "--pdk", "sky130A")


def test_a_board_that_is_too_slow_is_refused(model, refused, monkeypatch):
    monkeypatch.setattr("lmu_hw.boards.board.Board.clock_hz", 1000.0)
    line = refused("synth", model, "--target", "gw1nr-9", "--lanes", "1")
    assert "too slow for real time" in line


def test_a_bitstream_comes_of_the_tools(model, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["synth", str(model), "--target", "ice40-up5k", "--lanes", "2", "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"design.bin", "routed.asc", "netlist.v", "timing.json", "constraints.pcf", "synth.json"}
    assert (out / "design.bin").read_bytes()[:2] == b"\xff\x00"
    manifest = json.loads((out / "synth.json").read_text())
    assert manifest["fmax_hz"] >= manifest["clock_hz"] == 12e6
    report = json.loads((out / "timing.json").read_text())["utilization"]
    for resource in UP5K.resources:
        for bel in resource.bels:
            counted = manifest["utilisation"][resource.name]
            assert counted == {"used": report[bel]["used"], "available": report[bel]["available"]}


def test_a_process_gets_a_netlist_and_all_that_goes_with_it(pdk_in_environment, model, tmp_path):
    pdk_in_environment("ihp-sg13g2")
    out = tmp_path / "out"
    arguments = ["--pdk", "ihp-sg13g2", "--weights", "ram", "--lanes", "2", "--out", str(out)]
    assert main(["synth", str(model), "--target", "asic", *arguments]) == 0
    manifest = json.loads((out / "synth.json").read_text())
    assert set(manifest["files"]) == {
        "lmu_accelerator.v", "lmu_accelerator.sdc", "macro_models.v", "netlist.v", "synth.ys", "constraints",
        "config.json",
    }  # fmt: skip
    assert manifest["fmax_hz"] > manifest["clock_hz"] > manifest["realtime_clock_hz"]
    netlist, verilog = (out / "netlist.v").read_text(), (out / "lmu_accelerator.v").read_text()
    assert manifest["macros"] > 0
    assert netlist.count("  RM_IHPSG13") == verilog.count("  RM_IHPSG13") == manifest["macros"]
    assert "set PERIOD" in (out / "lmu_accelerator.sdc").read_text()
