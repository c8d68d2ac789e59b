"""`lmu-hw search` on words that are tones: it trains, goes on after a kill, and prints the front."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmu_hw.model import program_file
from lmu_kit.cli.main import main
from lmu_quantize.train.search import SearchConfig, Trial, search
from lmu_quantize.zoo.cost import cost

SPACE = {
    "recipe": "kws49",
    "kbits": [1, 5],
    "layers": [{"units": [8, 12], "memories": [2, 4], "order": [3, 4], "thetas": [[20]], "stride": [1, 2]}],
    "changes": {
        "teacher": None, "labels": ["yes", "no", "unknown", "silence"], "copies": 1, "batch": 16, "unknown_ratio": 1.0,
        "splice_ratio": 0, "learning_rate": 0.01,
    },
    "choices": {"activity_density": [0, 0.1]},
    "rungs": [{"trials": 2, "epochs": 1, "quantized_epochs": 1}, {"trials": 1, "epochs": 2, "quantized_epochs": 1}],
}  # fmt: skip


def write_tone(path: Path, pitch: float, rng: np.random.Generator) -> None:
    samples = rng.standard_normal(16_000) * 20
    samples[4000:11_000] += 6000 * np.sin(2 * np.pi * pitch * np.arange(7000) / 16_000)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.int16), 16_000)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(3)
    words, pitches = root / "speech_commands", {"yes": 400, "no": 900, "bird": 2500}
    for word, pitch in pitches.items():
        for clip in range(16):
            write_tone(words / word / f"{clip:08x}_nohash_0.wav", pitch * rng.uniform(0.95, 1.05), rng)
    write_tone(words / "_background_noise_" / "hum.wav", 50, rng)
    names = [f"{word}/{clip:08x}_nohash_0.wav" for word in pitches for clip in range(4)]
    (words / "validation_list.txt").write_text("\n".join(names))
    (words / "testing_list.txt").write_text("")
    return root


class Stop(Exception):
    """Raised to end a search after a training."""


def test_a_search_goes_on_after_a_kill_and_prints_its_front(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, out, whole = tmp_path / "space.json", tmp_path / "parts", tmp_path / "whole"
    space.write_text(json.dumps(SPACE))
    stages: list[str] = []
    trials = search(SearchConfig.load(space), data, whole, progress=lambda stage, done, total: stages.append(stage))
    assert "rung 0, candidate 1: training" in stages
    assert [(trial.candidate, trial.rung) for trial in trials[:2]] == [(0, 0), (1, 0)]
    assert len(trials) == 3
    assert not list(whole.rglob("checkpoint.pt"))

    def stop(trial: Trial) -> None:
        raise Stop

    with pytest.raises(Stop):
        search(SearchConfig.load(space), data, out, cache=whole, on_trial=stop)
    log = out / "trials.jsonl"
    log.write_text(log.read_text() + log.read_text()[:40])
    arguments = ["search", space, "--data", data, "--out", out, "--cache", whole, "--json", out / "result.json"]
    assert main([str(argument) for argument in arguments]) == 0
    without_time = [[{**vars(trial), "seconds": 0} for trial in trials]]
    without_time.append([json.loads(line) | {"seconds": 0} for line in log.read_text().splitlines()])
    assert without_time[0] == without_time[1]

    shown = capsys.readouterr().out
    assert "rung 0, candidate 0" not in shown
    assert "rung 0, candidate 1" in shown
    best = trials[-1]
    assert json.loads((out / "result.json").read_text())["front"][0]["candidate"] == best.candidate
    assert f"\n{best.candidate} " in shown
    model = program_file.load(out / "trials" / f"1-{best.candidate:03}" / "quantized.safetensors")
    taken = cost(model)
    assert (best.multiplications, best.weight_bits) == (taken.products, taken.weight_bits)
    assert best.kbits == model.weight_bits / 1000
    with (out / "trials.csv").open() as file:
        assert [row["rung"] for row in csv.DictReader(file)] == ["0", "0", "1"]
    assert (out / "front.svg").read_text().startswith("<?xml")


def test_a_folder_belongs_to_one_search(data: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    space = tmp_path / "space.json"
    space.write_text(json.dumps(SPACE | {"seed": 1}))
    (tmp_path / "search.json").write_text("{}")
    message = refused("search", space, "--data", data, "--out", tmp_path)
    assert message.endswith("search.json: made by another search; give another out folder, or remove it")
    assert "no such file, and no shipped search" in refused("search", "huge", "--data", data, "--out", tmp_path)
    space.write_text("{")
    assert "Expecting property name" in refused("search", space, "--data", data, "--out", tmp_path)
