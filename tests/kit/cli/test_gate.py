"""`lmu-hw gate` on real recordings, and what it writes in `evaluate`, `power` and `listen`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lmu_hw as lh
from lmu_hw.model import program_file
from lmu_kit.cli.main import main
from lmu_quantize import zoo

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def gated(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The model that one run writes, and what it gives."""
    folder = tmp_path_factory.mktemp("gate")
    stream = ["--hours", 0.02, "--false-accepts", 100, "--tolerance", 30]
    out = ["--out", folder / "gated.safetensors", "--json", folder / "gate.json"]
    assert main(["gate", "kws105", "--data", str(recordings), *map(str, (*stream, *out))]) == 0
    return folder / "gated.safetensors", json.loads((folder / "gate.json").read_text())


def test_the_chosen_gate_sleeps_most_of_those_that_miss_little(gated: tuple[Path, dict]) -> None:
    path, described = gated
    model = program_file.load(path)
    assert model.gate.to_dict() == described["gate"] == described["chosen"]["gate"]
    assert described["trials"][0] == described["trials"][0] | {"gate": None, "asleep": 0}
    most = described["trials"][0]["false_rejects"] + 0.3
    allowed = [trial for trial in described["trials"][1:] if trial["false_rejects"] <= most]
    assert described["chosen"]["asleep"] == max(trial["asleep"] for trial in allowed) > 0.05


def test_a_stream_and_clips_are_evaluated_with_the_gate(
    gated: tuple[Path, dict], recordings: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--stream", "--data", recordings, "--hours", 0.02, "--false-accepts", 100, "--json", "-"]
    assert main(["evaluate", str(gated[0]), *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert "frames asleep: " in captured.err
    assert result["asleep"]["validation"] == gated[1]["chosen"]["asleep"]
    model = program_file.load(gated[0])
    frames = lh.open_frames(model, recordings, clips=12)
    score = lh.evaluate(model, frames).score
    plain = lh.evaluate(replace(model, gate=None), frames).score
    assert abs(score.correct - plain.correct) <= 2
    with pytest.raises(lh.InputError, match="engine rtl takes a network without a gate"):
        lh.evaluate(model, frames, engine="rtl")


def test_parameters_are_taken_from_a_file(gated: tuple[Path, dict], refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps(gated[1]["gate"]))
    out = tmp_path / "gated.safetensors"
    assert main(["gate", "kws105", "--parameters", str(path), "--out", str(out)]) == 0
    assert out.read_bytes() == gated[0].read_bytes()
    path.write_text('{"margin": 3}')
    assert "the gate lacks the key 'hold'" in refused("gate", "kws105", "--parameters", path, "--out", out)
    message = refused("gate", "kws105", "--parameters", path, "--seed", "1", "--out", out)
    assert "--parameters gives a gate; --hours, --false-accepts, --seed and --tolerance choose one" in message


def test_a_tolerance_that_no_gate_keeps_is_refused(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = program_file.load(zoo.path("kws49", "quantized.safetensors"))
    with pytest.raises(ValueError, match="tolerance must be in 0 to 1, not 2"):
        lh.add_gate(model, recordings, tolerance=2)
    with pytest.raises(lh.InputError, match="a stream needs a label unknown or silence"):
        lh.add_gate(replace(model, labels=tuple("abcdefghij")), recordings)
    monkeypatch.setattr("lmu_kit.gating.MARGINS", (8.0,))
    monkeypatch.setattr("lmu_kit.gating.HOLDS_S", (0.02,))
    with pytest.raises(lh.InputError, match=r"every gate rejects too much: \d+\.\d % of the keywords without a gate"):
        lh.add_gate(model, recordings, lh.StreamOptions(hours=0.02, false_accepts=100))


def test_the_tiers_without_gates_say_what_is_asleep(
    gated: tuple[Path, dict], capsys: pytest.CaptureFixture
) -> None:
    model = program_file.load(gated[0])
    plan = lh.accelerator(model, lh.AcceleratorConfig(lanes=16))
    plain = lh.estimate_power(lh.accelerator(replace(model, gate=None), plan.config))
    table = lh.estimate_power(plan)
    assert table.sums("speech").dynamic == plain.sums("speech").dynamic
    assert table.asleep == "asleep: " + ", ".join(f"0 % of {kind}" for kind in table.rows)
    assert {"level gate", "frames asleep"} <= set(table.missing)
    assert main(["power", str(gated[0]), "--lanes", "16", "--tier", "table"]) == 0
    assert "held open" in capsys.readouterr().out
    sounds = {"speech": np.array(lh.find_sounds(replace(model, name="kws105"))["speech"])}
    sounds["silence"] = np.full_like(sounds["speech"], model.input.min)
    rtl = lh.estimate_power(plan, tier="rtl", sounds=sounds)
    assert rtl.sleep.asleep["silence"] == 1
    assert rtl.sums("silence").dynamic == 0
    share = rtl.sleep.asleep["speech"]
    assert 0 < share < 1
    assert rtl.sums("speech").dynamic == pytest.approx(
        (1 - share) * rtl.sleep.held_open["speech"].dynamic, rel=0.05
    )
    assert rtl.to_dict()["gate"]["asleep"] == dict(rtl.sleep.asleep)
