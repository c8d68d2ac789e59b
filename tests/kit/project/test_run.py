"""A project is followed from recordings to the report: killed, resumed, skipped where nothing changed, refused."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import lmu_hw as lh
from lmu_hw.model.program_file import digest
from lmu_kit.cli.main import main
from lmu_kit.project.run import ProjectRun
from lmu_kit.project.steps import STEPS
from lmu_quantize.frames_file import load_frames

YES, PLEASE = "نعم", "من فضلك"


class Finished(NamedTuple):
    """A run that was killed while it trained, and then went on to its end."""

    project: Path
    result: ProjectRun
    epochs_before: int
    epochs_after: list[int]


def killed_in_training(project: Path) -> int:
    """Start a run, kill it after an epoch, and count the epochs that it did."""
    command = [sys.executable, "-m", "lmu_kit.cli.main", "run", str(project)]
    train = project.parent / "build" / "train"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (train / "checkpoint.pt").is_file():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (train / "result.json").exists()
    with (train / "train.csv").open(newline="") as file:
        return len(list(csv.DictReader(file)))


@pytest.fixture(scope="module")
def finished(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    path = tmp_path_factory.mktemp("run") / "own.toml"
    path.write_text(tiny)
    before = killed_in_training(path)
    epochs: list[int] = []
    listeners = lh.Listeners(on_epoch=lambda result: epochs.append(result.epoch))
    return Finished(path, lh.run_project(lh.open_project(path), listeners=listeners), before, epochs)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """A project file with the results of its run beside it, for tests that change them."""
    shutil.copytree(finished.project.parent, tmp_path / "copy")
    return tmp_path / "copy" / "own.toml"


def steps(result: ProjectRun) -> list[str]:
    """Steps that were not skipped."""
    return [step.name for step in result.steps if step.reason]


def test_training_goes_on_after_a_kill(finished: Finished):
    assert finished.epochs_before >= 1
    assert finished.epochs_after == list(range(finished.epochs_after[0], 14))
    assert 1 <= finished.epochs_after[0] <= finished.epochs_before
    assert [step.name for step in finished.result.steps] == list(STEPS)
    assert finished.result.steps[0].reason == "not run yet"


def test_a_run_gives_verilog_that_equals_the_integers_and_joules(finished: Finished):
    assert finished.result.report is not None
    content = finished.result.report.content
    assert content["model"]["labels"] == [YES, PLEASE, "silence"]
    assert content["cosimulation"]["differing"] == 0
    assert content["cosimulation"]["compared"] > 100
    assert content["energy"]["sounds"]["speech"]["total_with_estimates"]["nJ_per_frame"] > 0
    assert content["accuracy"].keys() == {"float", "golden"}
    assert "accuracy" in finished.result.report.markdown()
    verilog = (finished.result.folder / "verilog" / "lmu_accelerator.v").read_text()
    assert "module lmu_accelerator" in verilog


def test_the_held_out_test_is_that_of_training(finished: Finished):
    """One split, one silence, one score: what training says of the test is what evaluate says."""
    folder = finished.result.folder
    trained = json.loads((folder / "train" / "result.json").read_text())["scores"]
    measured = json.loads((folder / "evaluate" / "evaluation.json").read_text())
    assert measured["float"]["confusion"] == trained["quantized.test"]["confusion"]
    assert measured["golden"]["confusion"] == trained["quantized.test"]["confusion"]
    assert [sum(row) for row in measured["golden"]["confusion"]] == [2, 2, 2]
    assert measured["golden"]["accuracy"] > 0.6


def test_the_integers_are_those_of_exact_training(finished: Finished):
    folder = finished.result.folder
    trained, quantized = (lh.open_model(folder / step / "quantized.safetensors") for step in ("train", "quantize"))
    assert digest(trained) == digest(quantized)


def test_the_resolved_project_lies_beside_every_output(finished: Finished):
    project = lh.open_project(finished.project)
    folders = [finished.result.folder, *(step.folder for step in finished.result.steps)]
    texts = {(folder / "project.toml").read_text() for folder in folders}
    assert len(texts) == 1
    resolved = lh.open_project(finished.result.folder / "project.toml")
    assert resolved.recipe == project.recipe
    assert (resolved.folder, resolved.recordings) == (project.folder, project.recordings)


def test_nothing_is_done_twice(finished: Finished):
    heard: list[tuple[str, str]] = []
    listeners = lh.Listeners(on_step=lambda name, reason: heard.append((name, reason)))
    manifest = (finished.result.folder / "manifest.json").read_text()
    result = lh.run_project(lh.open_project(finished.project), listeners=listeners)
    assert steps(result) == []
    assert heard == [(name, "") for name in STEPS]
    assert result.report is not None
    assert (finished.result.folder / "manifest.json").read_text() == manifest


def test_only_what_depends_on_a_change_is_done_again(copied: Path):
    changed = {"accelerator.lanes": 4, "flow.cosim.simulator": "icarus"}
    project = lh.open_project(copied, changed)
    (copied.parent / "build" / "verilog" / "stale.v").write_text("")
    result = lh.run_project(project, last="verilog")
    assert steps(result) == ["verilog"]
    assert result.steps[-1].reason == "accelerator"
    assert result.report is None
    assert not (result.folder / "verilog" / "stale.v").exists()
    fewer = lh.open_project(copied, changed | {"flow.evaluate.clips": 2})
    assert steps(lh.run_project(fewer, last="verilog")) == ["evaluate"]


def test_a_result_that_was_changed_is_made_again(copied: Path):
    file = copied.parent / "build" / "evaluate" / "evaluation.json"
    file.write_text("{}")
    result = lh.run_project(lh.open_project(copied), last="evaluate")
    reasons = {step.name: step.reason for step in result.steps}
    assert reasons == {"train": "", "quantize": "", "evaluate": "evaluate/evaluation.json"}
    assert json.loads(file.read_text())["golden"]["accuracy"] > 0.6


def test_new_recordings_and_another_recipe_train_again(copied: Path, recordings: Path, tmp_path: Path):
    shutil.copytree(recordings, tmp_path / "more")
    changes = {"data.folder": str(tmp_path / "more"), "recipe.epochs": 1, "recipe.quantized_epochs": 1}
    result = lh.run_project(lh.open_project(copied, changes), last="train")
    assert result.steps[0].reason == "recipe"
    shutil.copy(tmp_path / "more" / YES / "badr 0.wav", tmp_path / "more" / YES / "badr 7.wav")
    result = lh.run_project(lh.open_project(copied, changes), last="train")
    assert result.steps[0].reason == "data"


def test_a_step_is_done_again_on_request_only_where_the_earlier_ones_are_up_to_date(copied: Path):
    project = lh.open_project(copied)
    assert steps(lh.run_project(project, first="evaluate", last="verilog")) == ["evaluate", "verilog"]
    other = lh.open_project(copied, {"recipe.seed": 3})
    with pytest.raises(lh.InputError, match=r"^step train is not up to date \(recipe\); run it first$"):
        lh.run_project(other, first="verilog")
    with pytest.raises(lh.InputError, match=r"^the first step, cosim, comes after the last, train$"):
        lh.run_project(project, first="cosim", last="train")
    with pytest.raises(lh.InputError, match=r"^last must be one of train, .*, report, not 'tapeout'$"):
        lh.run_project(project, last="tapeout")
    with pytest.raises(lh.InputError, match=r"nothing: no such folder; data.folder names the recordings$"):
        lh.run_project(lh.open_project(copied, {"data.folder": "nothing"}))


def test_the_command(copied: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(copied), "--to", "verilog", "--set", "flow.verilog.name=words", "--json", "-"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert [step["step"] for step in result["steps"] if step["reason"]] == ["verilog"]
    assert captured.err.startswith("speakers: train 4, validation 1, test 1\n")
    assert "train: up to date" in captured.err
    assert "verilog: flow.verilog" in captured.err
    assert "golden: accuracy " in captured.err
    assert (copied.parent / "build" / "verilog" / "words.v").is_file()
    assert main(["run", str(copied), "--set", "lanes"]) == 1
    assert "--set takes KEY=VALUE, not 'lanes'" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_unknown_speakers_are_a_warning(
    tmp_path: Path, tiny: str, recordings: Path, capsys: pytest.CaptureFixture[str]
):
    for number in range(2):
        for word in (YES, PLEASE):
            take = tmp_path / "few" / word / f"{number}.wav"
            take.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(recordings / word / "badr 0.wav", take)
    (tmp_path / "own.toml").write_text(tiny.replace('["نعم", "من فضلك", "silence"]', '["نعم", "من فضلك"]'))
    assert main(["run", str(tmp_path / "own.toml"), "--set", "data.folder=few", "--set", "data.speaker=''"]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"lmu-hw: warning: {tmp_path / 'few'}: no speaker is known, so each take counts as its ")
    assert error == f"lmu-hw: error: {tmp_path / 'few' / PLEASE}: 2 take(s); 3 are needed, for every split one"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_other_commands_take_the_project(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = run(capsys, "evaluate", "--project", copied, "--out", tmp_path / "e")
    assert "quantize/quantized.safetensors, golden: accuracy" in " ".join(text.split())
    assert (tmp_path / "e" / "project.toml").is_file()
    text = run(capsys, "evaluate", "--project", copied, "--engine", "float")
    assert "train/float.safetensors, float: accuracy" in " ".join(text.split())
    text = run(capsys, "verilog", "--project", copied, "--lanes", 2, "--out", tmp_path / "v")
    assert text.startswith("2 lanes: ")
    assert lh.open_project(tmp_path / "v" / "project.toml").accelerator.lanes == 2
    run(capsys, "frames", "--project", copied, "--out", tmp_path / "f" / "frames.safetensors")
    assert load_frames(tmp_path / "f" / "frames.safetensors").clips == 6
    text = run(capsys, "quantize", "--project", copied, "--out", tmp_path / "q" / "q.safetensors")
    quantized = lh.open_model(tmp_path / "q" / "q.safetensors")
    assert digest(quantized) == digest(lh.open_model(copied.parent / "build" / "quantize" / "quantized.safetensors"))
    text = run(capsys, "power", "--project", copied, "--pdk", "sky130A", "--out", tmp_path / "p")
    assert lh.open_project(tmp_path / "p" / "project.toml").flow.power.technology == "sky130A"
    assert json.loads((tmp_path / "p" / "report.json").read_text())["technology"]["name"] == "sky130A"


def test_what_the_command_line_changes_is_checked(copied: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["verilog", "--project", str(copied), "--frames-per-fetch", "2", "--state", "pulse", "--out", "x"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "accelerator.state = \"pulse\", accelerator.frames_per_fetch = 2: frames_per_fetch of 2 needs the " in line
    assert main(["verilog", "--project", str(copied), "--config", "c.json", "--out", "x"]) == 1
    assert capsys.readouterr().err == "lmu-hw: error: give --config or --project, not both\n"


def test_train_takes_the_project(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short = tmp_path / "copy" / "short.toml"
    short.write_text(re.sub(r"epochs = \d+", "epochs = 1", copied.read_text()))
    text = " ".join(run(capsys, "train", "--project", short, "--seed", 5, "--out", tmp_path / "t").split())
    assert re.search(r"quantized\.test: accuracy \d+\.\d\d % \(\d of 6 clips, .*\), mean recall \d+\.\d\d %", text)
    recipe = lh.open_project(tmp_path / "t" / "project.toml").recipe
    assert recipe is not None
    assert (recipe.seed, recipe.epochs) == (5, 1)
