"""A finished run becomes a network of the zoo: files, measurements and card agree; what is unfit is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_kit.cli.main import main
from lmu_quantize import zoo
from lmu_quantize.frames_file import load_frames
from lmu_quantize.score import Score
from lmu_quantize.train import TrainConfig, config, train
from lmu_quantize.zoo.cost import cost

RECIPE = {
    "name": "tones",
    "labels": ["yes", "no", "unknown", "silence"],
    "layers": [{"units": 8, "memories": 2, "order": 4, "thetas": [20]}],
    "copies": 1,
    "unknown_ratio": 1.0,
    "balanced": True,
    "batch": 16,
    "epochs": 1,
    "quantized_epochs": 1,
    "learning_rate": 0.01,
    "scheme": {"exact": True},
    "threads": 1,
}
LAYER = {"units": 8, "memories": 2, "order": 4, "thetas": [20]}
PRUNED = RECIPE | {
    "name": "tones-pruned",
    "layers": [LAYER, LAYER | {"stride": 2}],
    "pruning": {"fraction": 0.5, "rows": 4, "matrices": ["w_x", "w_m"]},
}
PEER = RECIPE | {"name": "tones-gru", "network": {"kind": "gru", "units": 6}, "scheme": {}}
PITCHES = {"yes": 400, "no": 900, "bird": 2500}

Refused = Callable[..., str]
Listed = Callable[..., dict[str, Any]]


def write_tone(path: Path, pitch: float, rng: np.random.Generator) -> None:
    samples = rng.standard_normal(16_000) * 20
    samples[4000:11_000] += 6000 * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * np.arange(7000) / 16_000)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.int16), 16_000)


def change(run: Path, out: Path, **recipe: object) -> Path:
    shutil.copytree(run, out)
    result = json.loads((run / "result.json").read_text())
    result["recipe"] |= recipe
    (out / "result.json").write_text(json.dumps(result))
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that are tones, with an official test set."""
    root, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(3)
    words, tests = root / "speech_commands", root / "speech_commands_test_set"
    for word, pitch in PITCHES.items():
        for clip in range(16):
            write_tone(words / word / f"{clip:08x}_nohash_0.wav", pitch, rng)
        for clip in range(5):
            write_tone(tests / ("_unknown_" if word == "bird" else word) / f"{clip:08x}_nohash_0.wav", pitch, rng)
    write_tone(words / "_background_noise_" / "hum.wav", 50, rng)
    write_tone(tests / "_silence_" / "quiet.wav", 50, rng)
    names = [f"{word}/{clip:08x}_nohash_0.wav" for word in PITCHES for clip in range(4)]
    (words / "validation_list.txt").write_text("\n".join(names))
    (words / "testing_list.txt").write_text("")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that all runs share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def runs(data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run with seed 0, and a copy of it with another seed and score in its result."""
    first, second = (tmp_path_factory.mktemp("runs") / str(seed) for seed in range(2))
    train(TrainConfig.from_dict(RECIPE | {"data": str(data), "out": str(first)}), cache=cache)
    change(first, second, seed=1)
    result = json.loads((second / "result.json").read_text())
    result["scores"]["quantized.test"]["accuracy"] = 0.625
    (second / "result.json").write_text(json.dumps(result))
    return [first, second]


@pytest.fixture(scope="module")
def peer(data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a network of another kind."""
    out = tmp_path_factory.mktemp("runs") / "peer"
    train(TrainConfig.from_dict(PEER | {"data": str(data), "out": str(out)}), cache=cache)
    return out


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the recipes of the runs be the only ones that are shipped."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for recipe in (RECIPE, PRUNED, PEER):
        (folder / f"{recipe['name']}.json").write_text(json.dumps(recipe))
    monkeypatch.setattr(config, "RECIPES", folder)
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    return folder


@pytest.fixture
def listed(into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Listed:
    """List the new zoo as if it were the shipped one."""

    def run(*options: object) -> dict[str, Any]:
        monkeypatch.setattr(zoo, "ROOT", into)
        assert main(["zoo", "--json", str(tmp_path / "zoo.json"), *map(str, options)]) == 0
        found: dict[str, Any] = json.loads((tmp_path / "zoo.json").read_text())
        return found

    return run


def test_a_run_becomes_a_network_of_the_zoo(data: Path, runs: list[Path], into: Path, tmp_path: Path) -> None:
    (tmp_path / "remarks.md").write_text("Tones are no words.\n")
    options = ["--seeds", runs[1], "--remarks", tmp_path / "remarks.md", "--json", tmp_path / "add.json"]
    words = ["zoo", "--add", runs[0], "--data", data, "--into", into, *options]
    assert main([str(word) for word in words]) == 0
    added = json.loads((tmp_path / "add.json").read_text())
    folder = into / "tones"
    assert [each.name for each in into.iterdir()] == ["tones"]
    assert (added["name"], added["folder"]) == ("tones", str(folder))
    copied = ("float-parent.safetensors", "float.safetensors", "quantized.safetensors", "formats.json", "train.csv")
    for file in copied:
        assert (folder / file).read_bytes() == (runs[0] / file).read_bytes()
    result = json.loads((runs[0] / "result.json").read_text())
    for engine, trained in (("float", "float.test"), ("golden", "quantized.test")):
        measured = json.loads((folder / f"{engine}.json").read_text())
        assert measured["engine"] == engine
        assert measured["confusion"] == result["scores"][trained]["confusion"] == added[engine]["confusion"]
        assert measured["clips"] == 16
    assert load_frames(folder / "test.safetensors").clips == 16
    assert load_frames(folder / "calibration.safetensors").clips == 12
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    seeds = json.loads((folder / "seeds.json").read_text())
    accuracies = [result["scores"][key]["accuracy"] for key in ("float.test", "quantized.test", "quantized.validation")]
    assert [each["seed"] for each in seeds] == [0, 1]
    assert [seeds[0][key] for key in ("float", "golden", "validation")] == accuracies
    assert seeds[1]["golden"] == 0.625


def test_the_card_says_what_was_measured(data: Path, runs: list[Path], into: Path) -> None:
    assert main(["zoo", "--add", str(runs[0]), "--data", str(data), "--into", str(into)]) == 0
    card = (into / "tones" / "card.md").read_text()
    golden = json.loads((into / "tones" / "golden.json").read_text())
    score = Score(tuple(golden["labels"]), np.array(golden["confusion"]))
    assert max(map(len, card.splitlines())) <= 130
    assert "\n\n\n" not in card
    assert f"| {100 * score.accuracy:.2f} % | {100 * score.interval[0]:.2f} to" in card
    assert f" | {100 * score.mean_recall:.2f} % | `lmu-hw evaluate" in card
    assert f"| yes | 5 | {100 * score.recall['yes']:.1f} |" in card
    assert "| layer 0 | 2 memories of order 4, ZOH, θ = 20 frames; 8 relu units; `e_x`, `W_x`, `W_m`, bias |" in card
    bits = 4 * (2 * 40 + 8 * 40 + 8 * 8 + 4 * 8)
    assert f"| weights | {bits / 1000:.1f} kbit at 4 bits" in card
    assert f"{bits / 1000 + 16 * (8 + 4 + 4 * 4 + 4) / 1000:.1f} kbit with biases" in card
    assert f"| per 20 ms of audio | {bits // 4 + 2 * 4 * 5:,} products, {bits:,} weight bits read |" in card
    assert "Seed 0. 1 float epochs, and 1 in which" in " ".join(card.split())
    assert '- Few training clips here: 12 of "yes", 12 of "no"' in card
    assert "- One seed (0)." in card
    assert not (into / "tones" / "seeds.json").exists()


def test_the_list_has_mean_and_spread_of_the_seeds(
    data: Path, runs: list[Path], into: Path, listed: Listed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "--add", str(runs[0]), "--data", str(data), "--into", str(into), "--seeds", str(runs[1])]) == 0
    golden = json.loads((into / "tones" / "golden.json").read_text())["accuracy"]
    seeds = listed()["networks"][0]["seeds"]
    assert (seeds["count"], seeds["mean"]) == (2, (golden + 0.625) / 2)
    assert seeds["deviation"] == pytest.approx(abs(golden - 0.625) / 2**0.5)
    assert (seeds["low"], seeds["high"]) == (min(golden, 0.625), max(golden, 0.625))
    assert f"tones, golden over 2 seeds: {seeds['text']}" in " ".join(capsys.readouterr().out.split())
    card = (into / "tones" / "card.md").read_text()
    assert "Over 2 seeds (`seeds.json`)" in card
    assert f"| 0 | {100 * json.loads((into / 'tones' / 'float.json').read_text())['accuracy']:.2f} % |" in card
    assert f"| {seeds['text']} |" in card
    assert "One seed" not in card


def test_a_pruned_network_with_strides_is_added(data: Path, cache: Path, into: Path, listed: Listed) -> None:
    run = into.parent / "pruned"
    train(TrainConfig.from_dict(PRUNED | {"data": str(data), "out": str(run)}), cache=cache)
    assert main(["zoo", "--add", str(run), "--data", str(data), "--into", str(into)]) == 0
    model = program_file.load(into / "tones-pruned" / "quantized.safetensors")
    trained = json.loads((run / "result.json").read_text())["scores"]
    for engine, phase in (("float", "float"), ("golden", "quantized")):
        measured = json.loads((into / "tones-pruned" / f"{engine}.json").read_text())
        assert measured["confusion"] == trained[f"{phase}.test"]["confusion"]
    stored, taken = stored_bits(model, 4), cost(model, 4)
    assert stored.weights < model.weight_bits
    assert taken.products < cost(model).products
    entry = listed()["networks"][0]
    assert (entry["kbits"], entry["index_kbits"]) == (stored.weights / 1000, stored.index / 1000)
    assert (entry["multiplications"], entry["weight_bits"]) == (taken.products, taken.weight_bits)
    card = " ".join((into / "tones-pruned" / "card.md").read_text().split())
    assert f"{stored.weights / 1000:.1f} kbit of weights are stored, {stored.total / 1000:.1f} kbit with their" in card
    assert f"{taken.products:,.0f} products, {taken.weight_bits:,.0f} weight bits read, blocks of zeros skipped" in card
    assert "8 relu units, every 2 frames; " in card
    drop = 100 * (entry["float_accuracy"] - entry["golden_accuracy"])
    assert f"- The integers are {abs(drop):.2f} points {'below' if drop >= 0 else 'above'} their float parent." in card


def test_a_network_of_another_kind_is_kept_beside(
    data: Path, peer: Path, into: Path, listed: Listed, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "--add", str(peer), "--into", str(into)]) == 0
    assert sorted(path.name for path in (into / "peers").iterdir()) == ["tones-gru.csv", "tones-gru.json"]
    assert (into / "peers" / "tones-gru.csv").read_bytes() == (peer / "train.csv").read_bytes()
    result = json.loads((peer / "result.json").read_text())
    assert json.loads((into / "peers" / "tones-gru.json").read_text()) == result
    found = listed()
    assert found["networks"] == []
    assert len(found["peers"]) == 1
    weights = 3 * 6 * (40 + 6) + 3 * 6 * 12 + 4 * 6
    entry = found["peers"][0]
    assert (entry["name"], entry["kind"], entry["kbits"]) == ("tones-gru", "gru", 4 * weights / 1000)
    assert (entry["multiplications"], entry["weight_bits"]) == (weights + 2 * 3 * 6, 4 * weights)
    inputs, cells = 3 * 6 * 40, 2 * 3 * 6
    assert entry["equivalent_products"] == (4 * (inputs * 8 + (weights - inputs) * 7) + cells * 49) / 28
    assert entry["quantized_accuracy"] == result["scores"]["quantized.test"]["accuracy"]
    assert "\ntones-gru " in capsys.readouterr().out
    assert refused("zoo", "--add", peer, "--into", into).endswith("replace it to put this run in its place")
    assert main(["zoo", "--add", str(peer), "--into", str(into), "--replace"]) == 0
    changed = change(peer, into.parent / "changed", epochs=7)
    assert refused("zoo", "--add", changed, "--into", into).endswith("the shipped recipe tones-gru in epochs")
    (changed / "train.csv").unlink()
    assert refused("zoo", "--add", changed, "--into", into).endswith("changed: lacks train.csv")
    del result["scores"]["quantized.test"]
    (changed / "result.json").write_text(json.dumps(result))
    message = refused("zoo", "--add", changed, "--into", into)
    assert message.endswith("not the result of a network to compare with, with its test clips ('quantized.test')")
    assert "no such folder, that of a zoo" in refused("zoo", "--add", peer, "--into", into.parent / "nowhere")


def test_one_of_ours_is_compared_with_the_others(
    runs: list[Path], into: Path, listed: Listed, refused: Refused
) -> None:
    assert main(["zoo", "--add", str(runs[0]), "--compare", "--into", str(into)]) == 0
    found = listed()
    assert found["networks"] == []
    entry, model = found["peers"][0], program_file.load(runs[0] / "quantized.safetensors")
    assert (entry["name"], entry["kind"], entry["kbits"]) == ("tones", "lmu", model.weight_bits / 1000)
    taken = cost(model)
    assert (entry["multiplications"], entry["weight_bits"]) == (taken.products, taken.weight_bits)
    assert entry["equivalent_products"] == taken.equivalent_products
    scores = json.loads((runs[0] / "result.json").read_text())["scores"]
    assert entry["quantized_accuracy"] == scores["quantized.test"]["accuracy"]
    assert "lacks result.json, quantized.safetensors" in refused("zoo", "--add", into, "--compare", "--into", into)


def test_the_list_is_drawn(
    data: Path, runs: list[Path], peer: Path, into: Path, listed: Listed, refused: Refused
) -> None:
    assert main(["zoo", "--add", str(runs[0]), "--data", str(data), "--into", str(into)]) == 0
    first, second = into.parent / "drawn" / "zoo.svg", into.parent / "drawn" / "zoo-cost.svg"
    listed("--out", first)
    alone = first.read_text(), second.read_text()
    listed("--out", first)
    assert (first.read_text(), second.read_text()) == alone
    for text in alone:
        assert "<!-- tones (4 labels) -->" in text
        assert "GRU" not in text
    assert "published elsewhere" in alone[0]
    assert main(["zoo", "--add", str(peer), "--into", str(into)]) == 0
    listed("--out", first)
    for path in (first, second):
        assert "<!-- GRU: one recipe and data for all kinds -->" in path.read_text()
    assert refused("zoo", "--out", "zoo.txt").endswith("--out must end in .svg or .png, not 'zoo.txt'")


def test_a_network_is_replaced_on_request_only(data: Path, runs: list[Path], into: Path, refused: Refused) -> None:
    words = ["zoo", "--add", runs[0], "--data", data, "--into", into]
    assert main([str(word) for word in words]) == 0
    before = (into / "tones" / "card.md").read_bytes()
    message = refused(*words)
    assert message.endswith(f"{into / 'tones'}: exists already; replace it to put this run in its place")
    (into / "tones" / "card.md").write_text("old")
    assert main([str(word) for word in (*words, "--replace")]) == 0
    assert (into / "tones" / "card.md").read_bytes() == before
    assert [each.name for each in into.iterdir()] == ["tones"]


def test_nothing_is_left_of_a_run_that_cannot_be_measured(
    data: Path, runs: list[Path], into: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run" / "quantized.safetensors").write_bytes(b"x" * 100)
    refused("zoo", "--add", tmp_path / "run", "--data", data, "--into", into)
    assert list(into.iterdir()) == []


def test_unfit_runs_are_refused(data: Path, runs: list[Path], into: Path, tmp_path: Path, refused: Refused) -> None:
    def message(*words: object) -> str:
        return refused("zoo", "--into", into, "--add", *words)

    assert message(runs[0]).endswith("--add measures the network: give --data, the Speech Commands folder")
    assert "empty: lacks result.json, float-parent.safetensors" in message(tmp_path / "empty", "--data", data)
    other = change(runs[0], tmp_path / "other", batch=8, seed=7)
    assert message(other, "--data", data).endswith("differs from the shipped recipe tones in batch, seed")
    unshipped = change(runs[0], tmp_path / "unshipped", name="huge")
    assert "no shipped recipe repeats this run (huge: no such file" in message(unshipped, "--data", data)
    assert message(runs[0], "--data", data, "--seeds", runs[0]).endswith("must have different seeds, not 0, 0")
    assert message(runs[0], "--data", data, "--seeds", other).endswith("differs from the recipe tones in batch")
    result = json.loads((runs[0] / "result.json").read_text())
    untested = change(runs[0], tmp_path / "untested")
    del result["scores"]["float.test"]
    (untested / "result.json").write_text(json.dumps(result))
    assert "holds no score float.test; train with the official" in message(untested, "--data", data)
    (untested / "result.json").write_text("{}")
    assert message(untested, "--data", data).endswith("result.json: holds no recipe")
    assert "no such folder, that of a zoo is needed" in refused(
        "zoo", "--add", runs[0], "--data", data, "--into", tmp_path / "nowhere"
    )
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("option", ["--data folder", "--seeds folder", "--remarks file", "--replace", "--compare"])
def test_options_of_adding_need_a_run(option: str, refused: Refused) -> None:
    assert refused("zoo", *option.split()).endswith(f"{option.split()[0]} goes with --add")

