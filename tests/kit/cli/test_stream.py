"""`lmu-hw evaluate --stream` on real recordings, and the smoothing that it writes in `cosim` and `verilog`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.smoothing import Smoothing, detect
from lmu_kit.cli.main import main
from lmu_quantize import zoo
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.stream import make_stream, noise_part
from lmu_quantize.stream_score import LogitClock, score_events

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def result(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """What one run gives and writes."""
    report = tmp_path_factory.mktemp("report")
    arguments = ["--data", recordings, "--hours", 0.02, "--false-accepts", 100, "--out", report]
    assert main(["evaluate", "kws105", "--stream", *map(str, arguments), "--json", str(report / "stream.json")]) == 0
    return json.loads((report / "stream.json").read_text()), report


def test_the_figures_are_those_of_a_run_frame_by_frame(result: tuple[dict, Path], recordings: Path) -> None:
    model = program_file.load(zoo.path("kws105", "quantized.safetensors"))
    front_end, dataset = FrontEnd.from_dict(model.front_end), SpeechCommands(recordings, model.labels)
    paths, labels = dataset.clips("test")
    clips = load_clips(paths).clips
    noise = [noise_part(recording, "test") for recording in dataset.background_noise()]
    stream = make_stream(clips, labels, model.labels, noise, 0.02, 1)
    frames = quantize_frames(front_end.frames(stream.samples), model.input)
    logits = Golden(model).run(frames[None])["logits"][0]
    smoothing = Smoothing.from_dict(result[0]["smoothing"])
    score = score_events(detect(logits, smoothing), stream, LogitClock(front_end.window, front_end.hop))
    assert score.to_dict() == result[0]["stream"]["test"]
    assert (score.keywords, score.accepted > 0) == (12, True)
    found = quantize_frames(front_end.frames_batch(clips), model.input)
    correct = decide(Golden(model).run(found)["logits"][:, -1])[0] == labels
    assert result[0]["clips"]["with reset"]["correct"] == np.count_nonzero(correct)
    assert result[0]["clips"]["without reset"]["clips"] == len(clips)


def test_the_rate_is_kept_on_validation_and_files_are_written(result: tuple[dict, Path]) -> None:
    found, report = result
    assert found["stream"]["validation"]["false_accepts_per_hour"] <= 100
    assert Smoothing.from_dict(json.loads((report / "smoothing.json").read_text())).to_dict() == found["smoothing"]
    assert found["smoothing"]["background"] == [8, 9]
    assert (report / "stream.png").read_bytes()[:4] == b"\x89PNG"
    for point in found["curve"]:
        assert point["validation"]["false_accepts_per_hour"] <= point["most"]
        assert Smoothing.from_dict(point["smoothing"]).background == (8, 9)
    assert [point["most"] for point in found["curve"]][-2:] == [100, 200]
    assert found["curve"][-2] == {"most": 100, "smoothing": found["smoothing"], **found["stream"]}
    rejects = [point["validation"]["false_rejects"] for point in found["curve"]]
    assert rejects == sorted(rejects, reverse=True)


def test_a_given_smoothing_is_used(result: tuple[dict, Path], recordings: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "kws105", "--stream", "--data", recordings, "--hours", 0.02]
    smoothing = result[1] / "smoothing.json"
    assert main([*map(str, arguments), "--smoothing", str(smoothing), "--json", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert {**again, "seconds": 0} == {**result[0], "seconds": 0}


def test_verilog_takes_the_smoothing(result: tuple[dict, Path], tmp_path: Path) -> None:
    smoothing = str(result[1] / "smoothing.json")
    assert main(["verilog", "kws105", "--smoothing", smoothing, "--out", str(tmp_path)]) == 0
    made = json.loads((tmp_path / "lmu_accelerator.json").read_text())
    assert made["config"]["smoothing"] == result[0]["smoothing"]
    assert "o_event__payload" in (tmp_path / "lmu_accelerator.v").read_text()
    assert "o_event__valid" in (tmp_path / "lmu_accelerator.xml").read_text()


def test_wrong_options_are_refused(result: tuple[dict, Path], tmp_path: Path, refused: Refused) -> None:
    smoothing = result[1] / "smoothing.json"
    stream = ("evaluate", "kws105", "--stream")
    assert "--stream runs golden on all clips of --data" in refused(*stream)
    assert "no --clips" in refused(*stream, "--data", tmp_path, "--clips", 3)
    assert "--hours belongs to --stream" in refused("evaluate", "kws105", "--hours", 1)
    assert "--smoothing belongs to --stream" in refused("evaluate", "kws105", "--smoothing", smoothing)
    both = ("--smoothing", smoothing, "--false-accepts", 1)
    assert "--false-accepts chooses a smoothing" in refused(*stream, "--data", tmp_path, *both)
    assert "smoothing needs the stream interface, not axi" in refused(
        "verilog", "kws105", "--smoothing", smoothing, "--interface", "axi", "--out", tmp_path
    )
    for option in ("--bundle", tmp_path / "b"), ("--board", "ulx3s", "--out", tmp_path / "b"):
        assert "do not take events" in refused("verilog", "kws105", "--smoothing", smoothing, *option)
    broken = tmp_path / "broken.json"
    broken.write_text('{"shift": 3}')
    assert f"{broken}: the smoothing lacks the key 'background'" in refused("cosim", "kws105", "--smoothing", broken)
    broken.write_text(json.dumps(Smoothing((99,), 2, 1, 1, 1).to_dict()))
    for command in ("cosim", "kws105"), (*stream, "--data", tmp_path):
        assert "background label 99 is none of the 10 labels" in refused(*command, "--smoothing", broken)
    assert f"{broken}: is a file; --out takes a folder" in refused(
        *stream, "--data", tmp_path, "--out", broken
    )
    assert not (tmp_path / "lmu_accelerator.v").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--hours", "0.001", "must be in 0.01 to 100, not '0.001'"),
        ("--false-accepts", "-1", "must be a number of 0 or more, not '-1'"),
        ("--false-accepts", "few", "must be a number of 0 or more, not 'few'"),
        ("--seed", "-1", "must be an integer of 0 or more, not '-1'"),
    ],
)
def test_arguments_are_checked(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "kws105", "--stream", f"{option}={value}"])
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_events_of_a_shipped_network_in_the_verilog(result: tuple[dict, Path], tmp_path: Path) -> None:
    smoothing = tmp_path / "smoothing.json"
    smoothing.write_text(json.dumps({**result[0]["smoothing"], "threshold": 1, "refractory": 10}))
    arguments = ["cosim", "kws105", "--smoothing", smoothing, "--clips", 2, "--simulator", "verilator"]
    report = ["--stalls", "random", "--build", tmp_path / "build", "--json", tmp_path / "cosim.json"]
    assert main(list(map(str, [*arguments, *report]))) == 0
    blocks = json.loads((tmp_path / "cosim.json").read_text())["blocks"]
    assert blocks["event.label"][0] > 1
    assert blocks["event.label"][1] == 0
