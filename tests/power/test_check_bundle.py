"""The folder with which others check a figure: OpenSTA must give its sums, and the steps must lead to the figure."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.sram_model import add_sram_model, is_model
from lmu_hw.model import program_file
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.check_bundle import write_check
from lmu_hw.power.check_steps import CheckStep
from lmu_hw.power.designs import Cut, cut
from lmu_hw.power.report import Report
from lmu_hw.progress import silent
from lmu_kit.estimate import operating_point
from lmu_kit.power import map_plan, measure
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames
from tests.power.test_report import a_report


def reported(kit, model, config: AcceleratorConfig, frames: int = 8) -> Report:
    """Report of tier gates, for speech and for silence of zeros."""
    library = add_sram_model(read_liberty((*kit.cells, *kit.macros)))
    plan = make_plan(model, config)
    point = operating_point(plan)
    speech = load_frames(zoo.path("kws361", "test.safetensors")).frames[:1, :frames, : model.inputs]
    sounds = {"speech": speech, "silence": np.zeros_like(speech)}
    return measure(map_plan(plan, library, point, silent), sounds, point, {"name": kit.name}, silent)


@dataclass(frozen=True)
class Checked:
    """A report, and the folder that was written for it."""

    report: Report
    folder: Path
    steps: dict[str, tuple[CheckStep, ...]]

    def copy(self, target: Path) -> Path:
        """A copy of the folder, to change."""
        return Path(shutil.copytree(self.folder, target / "check"))


@pytest.fixture(scope="module", params=["ihp-sg13g2", "sky130A"])
def small(pdk, request, tmp_path_factory) -> Checked:
    """A small accelerator: with foundry macros on IHP, of cells on SKY130."""
    model = program_file.load(zoo.path("kws361", "quantized.safetensors"))
    report = reported(pdk(request.param), cut(model, Cut(1, 6, 1, 4)), AcceleratorConfig(lanes=2))
    folder = tmp_path_factory.mktemp(request.param) / "check"
    return Checked(report, folder, write_check(report, folder))


def run_sta(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as its comment says."""
    program = shutil.which("sta")
    assert program, "OpenSTA was not found: apt-get install opensta"
    return subprocess.run(
        [program, "-no_splash", "-exit", "check.tcl"],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_opensta_gives_the_sums_for_every_sound(small):
    for sound in ("speech", "silence"):
        done = run_sta(small.folder, SOUND=sound)
        assert done.stdout.endswith("PASS: the sums agree within 0.2 %\n"), done.stdout + done.stderr
        assert not done.stderr
        assert f"nJ/frame, {sound}" in done.stdout
        assert float(re.search(r"largest difference: (\S+) %", done.stdout)[1]) < 0.02


def test_the_steps_lead_from_opensta_to_the_figure(small):
    readme = (small.folder / "README.md").read_text()
    settings = (small.folder / "settings.tcl").read_text()
    for kind, steps in small.steps.items():
        sums = small.report.sums(kind)
        assert steps[-1].dynamic == pytest.approx(sums.dynamic)
        assert steps[-1].leakage == pytest.approx(sums.leakage)
        assert steps[-2].frame == pytest.approx(small.report.sums(kind, estimates=False).frame)
        first = [float(text) for text in re.search(rf"set expected\({kind}\) {{(.*)}}", settings)[1].split()]
        assert sum(first) == pytest.approx(steps[0].frame * 1e9)
        assert f"| the estimated clock tree is added | {sums.dynamic * 1e9:.4f} | {sums.leakage * 1e9:.4f}" in readme
        table = readme.partition(f"### {kind}")[2].partition("###")[0]
        changes = re.findall(r"\| (-?\d+\.\d+) \|$", table, re.MULTILINE)
        assert sum(map(float, changes)) == pytest.approx((sums.frame - steps[0].frame) * 1e9, abs=1e-3)
        assert steps[-1].to_dict()["nJ_per_frame"] == pytest.approx(sums.frame * 1e9)


@pytest.mark.parametrize(
    ("name", "pattern", "text", "message"),
    [
        ("activity_speech.tcl", r"(?m)^a (\S+)", r"a [expr \1*1.01]", "the sums differ by more than 0.2 %"),
        ("wires.sdc", r"(?m)^set_load (\S+)", r"set_load [expr \1*1.2]", "the sums differ by more than 0.2 %"),
        ("netlist_opensta.v", r"(?s).+", "module other (); endmodule", "the netlist cannot be linked"),
        ("settings.tcl", "libs.ref", "moved", "couldn't open"),
    ],
)
def test_the_check_notices_what_was_changed(small, tmp_path, name, pattern, text, message):
    path = small.copy(tmp_path) / name
    path.write_text(re.sub(pattern, text, path.read_text()))
    done = run_sta(path.parent)
    assert f"FAIL: {message}" in done.stdout, done.stdout + done.stderr
    assert "PASS" not in done.stdout


def test_an_unknown_sound_is_named(small):
    assert "FAIL: SOUND must be one of speech silence, not thunder" in run_sta(small.folder, SOUND="thunder").stdout


def test_the_saif_file_holds_the_activity(small):
    text = (small.folder / "activity_speech.saif").read_text()
    evidence = small.report.evidence
    activity = evidence.activities["speech"]
    duration = int(re.search(r"\(DURATION (\d+)\)", text)[1])
    assert duration == pytest.approx(activity.period * 1e12 * 1e6)
    nets = re.findall(r"\(n(\d+) \(T0 (\d+)\) \(T1 (\d+)\) \(TX 0\) \(TC (\d+)\) \(IG 0\)\)", text)
    counts = np.array(nets, dtype=np.int64)
    assert (counts[:, 0] == np.arange(evidence.netlist.nets)).all()
    assert (counts[:, 1] + counts[:, 2] == duration).all()
    np.testing.assert_allclose(counts[:, 3] / 1e6, activity.toggles, atol=1e-6)
    np.testing.assert_allclose(counts[:, 2] / duration, activity.bounded().duty, atol=1e-6)
    assert text.count("(") == text.count(")")


def test_the_folder_holds_the_netlist_and_no_cells(small):
    assert sorted(path.name for path in small.folder.iterdir()) == [
        "README.md", "activity_silence.saif", "activity_silence.tcl", "activity_speech.saif", "activity_speech.tcl",
        "check.tcl", "constraints.sdc", "models.lib", "netlist.v", "netlist_opensta.v", "settings.tcl", "wires.sdc",
    ]  # fmt: skip
    assert (small.folder / "netlist.v").read_text() == small.report.evidence.netlist.to_verilog()


def test_an_earlier_check_is_replaced_whole(small, tmp_path, monkeypatch):
    """Without another look at the figures, which take seconds."""
    monkeypatch.setattr("lmu_hw.power.check_bundle.find_steps", lambda report, kind: small.steps[kind])
    folder = small.copy(tmp_path)
    (folder / "stray").touch()
    write_check(small.report, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in small.folder.iterdir()}


def test_folders_of_other_files_and_other_tiers_are_refused(small, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ValueError, match="mine: holds other files than an earlier check"):
        write_check(small.report, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match=r"a report of tier gates is needed, .* not one of tier table"):
        write_check(a_report(tier="table"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sky130A", "ihp-sg13g2"])
def test_opensta_gives_the_sums_of_a_shipped_network(pdk, tmp_path, name):
    """Weights in RAM: on SKY130 in macros of the SRAM model, whose Liberty is in the folder."""
    model = program_file.load(zoo.path("kws49", "quantized.safetensors"))
    report = reported(pdk(name), model, AcceleratorConfig(lanes=8, weights="ram"), frames=6)
    macros = {instance.cell.name for instance in report.evidence.netlist.instances if instance.cell.memory is not None}
    assert macros
    assert all(map(is_model, macros)) == (name == "sky130A")
    steps = write_check(report, tmp_path / "check")
    assert (tmp_path / "check" / "sram_models.lib").is_file() == (name == "sky130A")
    assert ("a model that no foundry confirms" in (tmp_path / "check" / "README.md").read_text()) == (name == "sky130A")
    done = run_sta(tmp_path / "check")
    assert done.stdout.endswith("PASS: the sums agree within 0.2 %\n"), done.stdout + done.stderr
    assert steps["speech"][-1].frame == pytest.approx(report.sums("speech").frame)
