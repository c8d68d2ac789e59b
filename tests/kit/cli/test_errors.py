"""What goes wrong ends in one line that says what was expected; a failed check is written all the same."""

import dataclasses
import functools
import importlib
import inspect
import json
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_kit.cli.main import COMMANDS, main, parser
from lmu_quantize import zoo
from lmu_quantize.frames_file import FrameSet, load_frames, save_frames
from lmu_sim.batch import BatchSimulator
from lmu_sim.cosim import cosimulate_variant
from lmu_sim.runner import SimulatorError
from lmu_sim.testing.random_models import random_frames, random_model

pytestmark = pytest.mark.filterwarnings("error")

TEST = zoo.path("kws361", "test.safetensors")

Refused = Callable[..., str]


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A small quantized model with a stride of 2, and frames for it."""
    rng = np.random.default_rng(2)
    model = random_model(rng, layers=("lmu", "dense"), inputs=3, units=4, activation="relu", stride=2)
    model = dataclasses.replace(model, labels=tuple(f"word{n}" for n in range(model.outputs)))
    program_file.save(model, tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors", write_frames(tmp_path / "frames", model, random_frames(rng, model, 3, 6))


def write_frames(path: Path, model: QuantizedModel, frames: np.ndarray) -> Path:
    truth = np.zeros(len(frames), np.int64)
    save_frames(FrameSet(frames, truth, model.input, model.labels, {}, "made up"), path)
    return path


def wrong(model: QuantizedModel) -> QuantizedModel:
    """The model with other weights in its last layer."""
    last = model.layers[-1]
    weights = dataclasses.replace(last.w, values=-1 - last.w.values)
    return dataclasses.replace(model, layers=(*model.layers[:-1], dataclasses.replace(last, w=weights)))


def test_a_failing_cosim_names_difference_and_replay_and_is_written(
    small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Refused
):
    model = program_file.load(small[0])
    variant = functools.partial(cosimulate_variant, model=wrong(model))
    monkeypatch.setattr("lmu_sim.cosim.cosimulate", variant)
    out = tmp_path / "c.json"
    words = ["cosim", small[0], "--frames", small[1], "--lanes", 2, "--build", tmp_path / "b"]
    line = refused(*words, "--timeout", 300, "--json", out)
    assert re.search(r"first difference: layer1\.h\[\d\] of frame 1: expected 0x", line)
    replay = shlex.join(map(str, ["lmu-hw", *words, "--timeout", 300, "--json", out, "--waves"]))
    assert f"replay with waveforms: {replay}" in line
    result = json.loads(out.read_text())
    assert result["differing"] > 0
    assert result["mismatch"].startswith("layer1.h[")
    assert "first difference" in result["error"]
    assert stat.S_IMODE(out.stat().st_mode) & 0o044 == 0o044

    again = line.partition("replay with waveforms: lmu-hw ")[2]
    assert "first difference" in refused(*again.split())
    assert list((tmp_path / "b").glob("waves.vcd"))


def test_a_differing_rtl_evaluation_is_written(
    small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Refused
):
    class Wrong(BatchSimulator):
        def run(self, *given, **more):
            result = super().run(*given, **more)
            result.logits[1, 0, 0] += 1
            return result

    words = ["evaluate", small[0], "--engine", "rtl", "--frames", small[1], "--lanes", 2]
    assert main([str(word) for word in words]) == 0
    monkeypatch.setattr("lmu_kit.evaluation.BatchSimulator", Wrong)
    line = refused(*words, "--json", tmp_path / "e.json")
    assert "clip 1, frame 1, logit 0" in line
    result = json.loads((tmp_path / "e.json").read_text())
    assert (result["differing"], result["clips"]) == (1, 3)


def test_doctor_writes_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Refused):
    monkeypatch.setenv("PATH", "/nonexistent")
    line = refused("doctor", "--json", tmp_path / "d.json")
    assert all(name in line for name in ("Icarus Verilog", "g++", "make", "perl"))
    parts = {part["name"]: part for part in json.loads((tmp_path / "d.json").read_text())["parts"]}
    assert parts["g++"]["version"] == ""
    assert parts["g++"]["problem"] == "g++ 10 or newer was not found: apt install g++"
    assert parts["g++"]["least"] == "10"
    assert parts["numpy"]["version"]
def test_json_on_the_standard_output_is_all_there_is(capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "kws361", "--clips", "20", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["clips"] == 20
    assert "label" in err
    assert main(["evaluate", "kws361", "--clips", "20"]) == 0
    out, err = capsys.readouterr()
    assert "label" in out
    assert err == ""


@pytest.mark.parametrize("error", [IndexError("list index out of range"), KeyError("x"), SimulatorError("no\nend")])
def test_no_traceback_unless_asked_for(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Refused
):
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lmu_sim.cosim.cosimulate", broken)
    words = ["cosim", "kws361", "--clips", "1", "--build", str(tmp_path)]
    line = refused(*words)
    assert ("--traceback" in line) == (not isinstance(error, SimulatorError))
    assert "no end" in line or type(error).__name__ in line
    for given in (["--traceback", *words], [*words, "--traceback"]):
        with pytest.raises(type(error)):
            main(given)


def test_a_timeout_of_the_simulator_is_one_line(small: tuple[Path, Path], tmp_path: Path, refused: Refused):
    words = ["cosim", small[0], "--frames", small[1], "--build", tmp_path / "b", "--timeout"]
    assert re.search("took more than 0.01 s to (build|run)", refused(*words, "0.01"))
    for text in ("0", "-1", "x", "inf"):
        with pytest.raises(SystemExit):
            main([str(word) for word in [*words, text]])


def test_clips_too_short_or_none_at_all(small: tuple[Path, Path], tmp_path: Path, refused: Refused):
    model = program_file.load(small[0])
    short = write_frames(tmp_path / "short", model, np.zeros((2, 1, model.inputs), np.int64))
    for engine in ("golden", "rtl"):
        line = refused("evaluate", small[0], "--engine", engine, "--frames", short)
        assert "short: clips of 1 frames are too short" in line
        assert "after 2" in line
    for shape in ((2, 0), (0, 6)):
        empty = write_frames(tmp_path / "empty", model, np.zeros((*shape, model.inputs), np.int64))
        for command in ("evaluate", "cosim"):
            line = refused(command, small[0], "--frames", empty)
            assert f"empty: holds {shape[0]} clips of {shape[1]} frames" in line
    assert not (tmp_path / "b").exists()

    found = load_frames(TEST)
    save_frames(dataclasses.replace(found, frames=found.frames[:, :0]), tmp_path / "none")
    line = refused("quantize", "kws361", "--frames", tmp_path / "none", "--out", tmp_path / "q")
    assert "none: holds" in line


def write_wav(path: Path, samples: int, rate: int = 16_000) -> Path:
    soundfile.write(path, np.zeros(samples, np.int16), rate)
    return path


def test_recordings_too_short_or_of_another_rate(tmp_path: Path, refused: Refused):
    short, fast = write_wav(tmp_path / "short.wav", 639), write_wav(tmp_path / "fast.wav", 9000, 44_100)
    line = refused("cosim", "kws361", "--wav", short, "--build", tmp_path / "b")
    assert "short.wav: 639 samples are too short for one frame of 640" in line
    line = refused("cosim", "kws361", "--wav", fast, "--build", tmp_path / "b")
    assert "--resample" in line
    assert "resample=True" not in line


@pytest.mark.parametrize("option", ["--quantization", "--formats"])
@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "must hold a JSON object"), ("{", "not JSON"), ('{"wieght_bits": 4}', "have|unknown"), (None, "read")],
)
def test_json_of_the_wrong_kind(
    option: str, content: str | None, message: str, tmp_path: Path, refused: Refused
):
    path = tmp_path / "given.json"
    if content is not None:
        path.write_text(content)
    line = refused("quantize", "kws361", "--out", tmp_path / "q", option, path)
    assert "given.json: " in line
    assert any(part in line for part in message.split("|"))
    assert "weight_bits" in line or "FORMAT" in line
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    "content",
    ['{"input": 3, "layers": []}', '{"input": {"width": 8, "frac": 4, "signed": true}, "layers": 3}', '{"layers": {}}'],
)
def test_formats_of_the_wrong_form(content: str, tmp_path: Path, refused: Refused):
    (tmp_path / "formats.json").write_text(content)
    line = refused("quantize", "kws361", "--out", tmp_path / "q", "--formats", tmp_path / "formats.json")
    assert 'formats.json: expected formats of training, {"input": FORMAT' in line


def test_models_that_are_none(tmp_path: Path, refused: Refused):
    quantized = zoo.path("kws361", "quantized.safetensors")
    out = tmp_path / "q"
    assert "is quantized already" in refused("quantize", quantized, "--out", out)
    assert "is quantized already" in refused("evaluate", quantized, "--engine", "float")
    for command in (["quantize", tmp_path, "--out", out], ["verilog", tmp_path, "--out", out], ["cosim", tmp_path]):
        assert "is a folder; a model file" in refused(*command)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
):
    monkeypatch.setattr("lmu_kit.quantizing.quantize_model", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").write_text("")
    for option in ("--out", "--certificate", "--json"):
        words = ["quantize", "kws361", *(["--out", tmp_path / "q"] if option != "--out" else [])]
        assert "cannot be written" in refused(*words, option, tmp_path / "file" / "below")
        assert "cannot be written" in refused(*words, option, "/proc/none/q")
        assert "is a folder" in refused(*words, option, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["module", "logic", "größe", "1a", "a-b", "a b", "", "a$", "a\n"])
def test_names_that_verilog_does_not_take(name: str, tmp_path: Path, refused: Refused):
    assert "identifier" in refused("verilog", "kws361", "--out", tmp_path / "v", "--name", name)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses_and_no_doubled_names(name: str, capsys: pytest.CaptureFixture[str]):
    module = importlib.import_module(f"lmu_kit.cli.{name}")
    words = shlex.split(module.EXAMPLE)
    assert words[:2] == ["lmu-hw", name]
    args = parser().parse_args(words[1:])
    assert inspect.unwrap(args.run) is module.run
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert " ".join(module.EXAMPLE.split()) in text
    for option in ("frames", "data", "out", "clips", "lanes", "build", "wav", "seed", "config", "formats"):
        assert f"--{option} {option.upper()} " not in text


def test_evaluate_says_which_options_are_for_rtl(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "accelerator, for --engine rtl only:" in capsys.readouterr().out


def test_saturated_elements_are_named_or_none(small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(small[0]), "--frames", str(small[1]), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    counts = {name: count for name, count in json.loads(out)["saturated"].items() if count}
    assert counts
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    assert f"saturated elements: {shown}" in " ".join(err.split())
    assert main(["evaluate", "kws49", "--clips", "20"]) == 0
    assert "saturated elements: none\n" in capsys.readouterr().out


@pytest.mark.slow
def test_rtl_of_the_shipped_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["evaluate", "kws361", "--engine", "rtl", "--clips", "2"]
    assert main([str(word) for word in [*words, "--json", tmp_path / "e.json"]]) == 0
    result = json.loads((tmp_path / "e.json").read_text())
    assert result["differing"] == 0
    assert result["compared"] == 2 * 49 * 12
    assert "1,176 values, all equal" in capsys.readouterr().out
