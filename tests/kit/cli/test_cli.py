"""The command line as a user meets it: results on disk, one line and a nonzero status when something is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmu_hw.model import program_file
from lmu_hw.model.fixed import Format
from lmu_hw.plan.config import AcceleratorConfig
from lmu_kit.cli.main import COMMANDS, main
from lmu_quantize import zoo
from lmu_quantize.float_file import save_float
from lmu_quantize.frames_file import FrameSet, load_frames, save_frames
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, SeparableLayer

pytestmark = pytest.mark.filterwarnings("error")

FLOAT = zoo.path("kws361", "float.safetensors")
CALIBRATION = zoo.path("kws361", "calibration.safetensors")
QUANTIZED = zoo.path("kws361", "quantized.safetensors")


def write_wav(path: Path, rate: int = 16_000, seconds: float = 0.2, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).integers(-3000, 3000, int(rate * seconds)).astype("<i2")
    soundfile.write(path, samples, rate)
    return path


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail; its one line."""
    assert main([str(argument) for argument in arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("lmu-hw: error: ")
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert len(text.splitlines()) > 8


def test_doctor_finds_what_the_project_installs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--json", str(tmp_path / "d.json")]) == 0
    parts = {part["name"]: part for part in json.loads((tmp_path / "d.json").read_text())["parts"]}
    assert all(part["version"] for part in parts.values() if part["needed"])
    assert {"Icarus Verilog", "Verilator", "amaranth", "cocotb"} <= set(parts)
    assert "Verilator" in capsys.readouterr().out


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PATH", "/nonexistent")
    line = fails(capsys, "doctor")
    assert "Icarus Verilog" in line


def test_quantize_gives_the_shipped_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "q.safetensors"
    command = ["quantize", "kws361", "--out", out, "--certificate", tmp_path / "c.json", "--json", tmp_path / "r.json"]
    assert main([str(word) for word in command]) == 0
    assert program_file.digest(program_file.load(out)) == program_file.digest(program_file.load(QUANTIZED))
    assert json.loads((tmp_path / "r.json").read_text())["memories_cannot_overflow"] is True
    assert json.loads((tmp_path / "c.json").read_text())
    assert "cannot overflow (proven)" in capsys.readouterr().out


def test_a_separable_network_is_quantized_with_few_bits_and_emitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    e_x, w_m, w_f, w = (rng.normal(size=shape) / 2 for shape in ((4, 6), (8, 3), (6, 8), (3, 6)))
    memories = tuple(LegendreMemory(3, theta) for theta in (4.0, 4.0, 8.0, 8.0))
    layers = SeparableLayer(memories, e_x, w_m, w_f, residual=True, stride=2), DenseLayer(w)
    save_float(FloatModel(layers, ("a", "b", "c")), tmp_path / "float.safetensors")
    frames = rng.integers(-100, 100, (4, 12, 6))
    clips = FrameSet(frames, np.array([0, 1, 2, 0]), Format(8, 5), ("a", "b", "c"), {}, "random")
    save_frames(clips, tmp_path / "frames.safetensors")
    out = tmp_path / "q.safetensors"
    command = ["quantize", tmp_path / "float.safetensors", "--frames", tmp_path / "frames.safetensors", "--out", out]
    assert main([str(word) for word in [*command, "--state-bits", 9, "--matrix-bits", 7]]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("layer0.") and ":" not in line] == [
        f"layer0.{name}" for name in ("e_x", "w_m", "w_f", "a", "b", "u", "m", "f", "h")
    ]
    layer = program_file.load(out).layers[0]
    assert (layer.m.format.width, layer.a_format.width, layer.b_format.width) == (9, 7, 7)
    assert main(["verilog", str(out), "--out", str(tmp_path / "v"), "--lanes", "4"]) == 0


def test_evaluate_golden_on_shipped_frames(tmp_path: Path):
    assert main(["evaluate", "kws361", "--clips", "100", "--json", str(tmp_path / "e.json")]) == 0
    result = json.loads((tmp_path / "e.json").read_text())
    assert result["clips"] == 100
    assert result["accuracy"] > 0.85
    assert sum(map(sum, result["confusion"])) == 100


def test_evaluate_float_agrees_with_itself_from_file_and_name(tmp_path: Path):
    frames = zoo.path("kws361", "test.safetensors")
    for number, model in enumerate(("kws361", FLOAT)):
        json_file = tmp_path / f"{number}.json"
        command = ["evaluate", model, "--engine", "float", "--frames", frames, "--clips", "40", "--json", json_file]
        assert main([str(word) for word in command]) == 0
    first, second = (json.loads((tmp_path / f"{n}.json").read_text())["confusion"] for n in (0, 1))
    assert first == second


def test_verilog_writes_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["verilog", "kws361", "--out", str(tmp_path), "--lanes", "8", "--weights", "ram", "--name", "kws"]
    assert main(command) == 0
    endings = (".v", ".weights", ".core", ".xml", ".json")
    assert {path.name for path in tmp_path.iterdir()} == {f"kws{end}" for end in endings}
    manifest = json.loads((tmp_path / "kws.json").read_text())
    assert manifest["model"]["sha256"] == program_file.digest(program_file.load(QUANTIZED))
    assert manifest["config"] == AcceleratorConfig.frugal(lanes=8, weights="ram").to_dict()
    assert "cycles per frame" in capsys.readouterr().out


def test_cosim_of_a_wav_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wav = write_wav(tmp_path / "noise.wav")
    command = ["cosim", "kws49", "--wav", wav, "--build", tmp_path / "b", "--json", tmp_path / "c.json"]
    assert main([str(word) for word in command]) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["differing"] == 0
    assert result["frames"] == 9
    assert result["compared"] > 9 * 250
    assert f"{result['compared']} values compared, 0 differ" in capsys.readouterr().out


def test_frames_file_round_trip_is_byte_exact(tmp_path: Path):
    save_frames(load_frames(CALIBRATION), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == CALIBRATION.read_bytes()


@pytest.mark.parametrize("cut", [0, 5, 100, 5000])
def test_a_cut_frames_file_is_refused(cut: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(CALIBRATION.read_bytes()[:cut])
    assert "broken.safetensors" in fails(capsys, "evaluate", "kws361", "--frames", broken)


def test_wrong_input_ends_in_one_line_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.safetensors"
    assert "no such file" in fails(capsys, "quantize", tmp_path / "none.keras", "--out", out)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(FLOAT.read_bytes()[:-10])
    assert "broken.safetensors" in fails(capsys, "quantize", broken, "--out", out)
    assert "weight_bits" in fails(capsys, "quantize", "kws361", "--out", out, "--weight-bits", "99")
    assert "not JSON" in fails(capsys, "quantize", "kws361", "--out", out, "--quantization", FLOAT.with_name("card.md"))
    assert "lanes" in fails(capsys, "verilog", "kws361", "--out", tmp_path / "v", "--lanes", "65")
    assert "identifier" in fails(capsys, "verilog", "kws361", "--out", tmp_path / "v", "--name", "a b")
    assert "speech_commands" in fails(capsys, "evaluate", "kws361", "--data", tmp_path)
    wav = write_wav(tmp_path / "fast.wav", rate=44_100)
    assert "44100" in fails(capsys, "cosim", "kws361", "--wav", wav, "--build", tmp_path / "b").replace(" ", "")
    assert "give frames" in fails(capsys, "quantize", renamed_float(tmp_path), "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.safetensors", "fast.wav", "other.safetensors"]


def renamed_float(folder: Path) -> Path:
    """The shipped network under another name, for which no frames are shipped."""
    from dataclasses import replace

    from lmu_quantize.float_file import load_float, save_float

    path = folder / "other.safetensors"
    save_float(replace(load_float(FLOAT), name="other"), path)
    return path


def test_a_foreign_quantized_model_is_refused(capsys: pytest.CaptureFixture[str]):
    assert "this is a float model" in fails(capsys, "verilog", FLOAT, "--out", "nowhere")
    assert not Path("nowhere").exists()


@pytest.mark.slow
def test_demo_runs_the_main_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--json", str(tmp_path / "demo.json")]) == 0
    result = json.loads((tmp_path / "demo.json").read_text())
    assert result["cosimulation"]["differing"] == 0
    assert result["cosimulation"]["compared"] > 100_000
    assert result["accuracy"]["golden"]["accuracy"] > 0.88
    assert "values compared, 0 differ" in capsys.readouterr().out
    assert {"lmu_accelerator.v", "quantized.safetensors", "report.json", "report.md"} <= {
        path.name for path in (tmp_path / "demo").iterdir()
    }
