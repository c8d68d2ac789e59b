"""The trained network equals its equations, fake quantization stays on its grids, training resumes bit for bit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lmu_hw.model import program_file
from lmu_hw.model.fixed import Format, Overflow
from lmu_hw.model.golden import Golden, decide
from lmu_hw.plan.sparsity import stored_bits
from lmu_quantize import zoo
from lmu_quantize.dataset import SpeechCommands
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.frames_file import load_frames
from lmu_quantize.model import DenseLayer, FloatModel, LegendreMemory, LMULayer
from lmu_quantize.noise import NoiseBank, silence_clip
from lmu_quantize.score import score_decisions
from lmu_quantize.train import RECIPES, EpochResult, TrainConfig, TrainResult, train
from lmu_quantize.train.augment import AugmentConfig, augment_clip, mask_frames
from lmu_quantize.train.data import FrameSource, prepare_evaluation, prepare_training
from lmu_quantize.train.network import LayerSpec, LMUNetwork, storage_bits
from lmu_quantize.train.quantizers import (
    ActivationQuantizer,
    QuantizationScheme,
    WeightQuantizer,
    best_frac,
    fake_quantize,
)

LAYERS = (
    LayerSpec(units=12, memories=4, order=6, thetas=(10, 24)),
    LayerSpec(units=8, memories=3, order=4, thetas=(15,), input_weights=False),
    LayerSpec(units=16, memories=2, order=5, thetas=(60,), discretizer="euler"),
)


def network(seed: int = 0, **options: object) -> LMUNetwork:
    torch.manual_seed(seed)
    made = LMUNetwork(7, LAYERS, 5, **options)
    for block in made.hidden_blocks():
        if block.norm is not None:
            block.norm.running_mean.normal_()
            block.norm.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(block.norm.weight, 0.5, 2.0)
            torch.nn.init.normal_(block.norm.bias)
        torch.nn.init.normal_(block.b_h)
    return made.eval()


def frames(seed: int, batch: int = 6, length: int = 31) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, length, 7)).astype(np.float32)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_parallel_network_equals_the_recurrence(batch_norm: bool) -> None:
    made = network(batch_norm=batch_norm)
    x = frames(1)
    with torch.no_grad():
        everything = made(torch.from_numpy(x), x.shape[1]).numpy()
        last = made(torch.from_numpy(x), 3).numpy()
    model = made.to_float_model(labels=tuple("abcde"))
    out = model.run(x)
    np.testing.assert_allclose(everything, out["logits"], atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(last, out["logits"][:, -3:], atol=2e-5, rtol=2e-5)
    trace: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        made(torch.from_numpy(x), x.shape[1], trace)
    for layer in range(3):
        for name in ("u", "m", "h"):
            key = f"layer{layer}.{name}"
            np.testing.assert_allclose(trace[key].numpy(), out[key], atol=2e-5, rtol=2e-5)


def test_folding_keeps_the_function() -> None:
    made = network(batch_norm=True)
    x = torch.from_numpy(frames(2))
    with torch.no_grad():
        before = made(x, 31)
        made.fold()
        after = made(x, 31)
    assert all(block.norm is None for block in made.hidden_blocks())
    np.testing.assert_allclose(before.numpy(), after.numpy(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("low", "high", "frac"), [(-7, 7, 3), (-128, 127, 4), (0, 127, -2)])
def test_fake_quantized_values_are_those_of_the_format(low: int, high: int, frac: int) -> None:
    values = torch.linspace(-40, 40, 4001) * 2.0 ** (4 - frac)
    got = fake_quantize(values, torch.tensor(frac, dtype=torch.int32), low, high).numpy()
    integers = np.ldexp(got.astype(np.float64), frac)
    np.testing.assert_array_equal(integers, np.round(integers))
    fmt = Format(high.bit_length() + (low < 0), frac, signed=low < 0)
    ties = np.abs(np.ldexp(values.numpy().astype(np.float64), frac) % 1 - 0.5) < 1e-6
    overflow = Overflow.SAT_SYM if low == -high else Overflow.SAT
    np.testing.assert_array_equal(integers[~ties], fmt.quantize(values.numpy(), overflow)[~ties])


def test_gradient_passes_inside_the_limits_only() -> None:
    values = torch.tensor([-3.0, -0.9, -0.2, 0.0, 0.4, 0.87, 3.0], requires_grad=True)
    fake_quantize(values, torch.tensor(3, dtype=torch.int32), -7, 7).sum().backward()
    assert values.grad is not None
    np.testing.assert_array_equal(values.grad.numpy(), [0, 1, 1, 1, 1, 1, 0])


def test_scale_of_each_row_has_the_smallest_error() -> None:
    rows = torch.from_numpy(np.random.default_rng(3).standard_normal((5, 400)).astype(np.float32))
    rows *= torch.tensor([[1e-3], [0.1], [1.0], [30.0], [0.0]])
    chosen = best_frac(rows, -7, 7)
    for row, frac in zip(rows[:4], chosen[:4], strict=True):
        errors = {
            candidate: float((fake_quantize(row, torch.tensor(candidate), -7, 7) - row).square().sum())
            for candidate in range(int(frac) - 4, int(frac) + 5)
        }
        assert min(errors, key=errors.__getitem__) == int(frac)
    assert -24 <= int(chosen[4]) <= 24


@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_quantized_network_lies_on_its_grids(granularity: str) -> None:
    made = network(batch_norm=True)
    scheme = QuantizationScheme(weight_scale=granularity)
    made.quantize(scheme)
    x = torch.from_numpy(frames(4, 40))
    made.calibrate(x)
    formats = made.formats()
    assert formats["input"] == {"width": 8, "frac": int(made.x_quantizer.frac), "signed": True}
    model = made.to_float_model()
    for layer, entry in zip(model.layers, formats["layers"], strict=True):
        assert entry["type"] == ("lmu" if isinstance(layer, LMULayer) else "dense")
        for name, weights in entry["weights"].items():
            assert weights["bits"] == 4
            frac = np.array(weights["frac"])
            assert frac.shape == ((layer.tensors[name].shape[0],) if granularity == "row" else ())
            integers = np.ldexp(layer.tensors[name], frac[:, None] if granularity == "row" else frac)
            np.testing.assert_array_equal(integers, np.round(integers))
            assert np.abs(integers).max() <= 7
        if {"w_x", "w_m"} <= entry["weights"].keys():
            difference = np.subtract(entry["weights"]["w_x"]["frac"], entry["weights"]["w_m"]["frac"])
            assert np.unique(difference).size == 1
        if isinstance(layer, LMULayer):
            assert {name: entry[name]["width"] for name in ("u", "h")} == {"u": 8, "h": 7}
            assert (entry["u"]["signed"], entry["h"]["signed"]) == (True, False)
    made.train()
    made(x, 4).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in made.parameters())


def test_calibration_asks_for_quantization() -> None:
    with pytest.raises(ValueError, match=r"^quantize the network before its scales are calibrated$"):
        network().calibrate(torch.zeros(1, 5, 7))
    assert network().formats() == {}


def test_quantizer_formats() -> None:
    activation = ActivationQuantizer(7, signed=False)
    activation.calibrate(torch.rand(1000) * 15.9)
    assert activation.format == Format(7, 3, signed=False)
    assert float(activation(torch.tensor(100.0))) == 127 / 8
    assert float(activation(torch.tensor(-1.0))) == 0
    weight = WeightQuantizer(2, 4, per_row=True)
    weight.calibrate(torch.tensor([[7.0, -7.0], [0.875, 0.125]]))
    assert weight.frac.tolist() == [0, 3]


def test_storage_counts_equal_memories_once() -> None:
    layer = LMULayer((LegendreMemory(3, 10),) * 4, np.ones((4, 5)), np.ones((6, 12)))
    model = FloatModel((layer, DenseLayer(np.ones((2, 6)), np.ones(2))))
    weights = 4 * (20 + 72 + 12)
    assert storage_bits(model, QuantizationScheme(), 16, 10) == (weights, weights + 16 * 2 + 10 * 12)


@pytest.mark.parametrize("recipe", ["kws1683", "kws361", "kws361-tuned", "kws361-12", "kws105", "kws49", "kws49-theta"])
def test_shipped_recipe_fits_its_name(recipe: str) -> None:
    config = TrainConfig.from_recipe(recipe, "data", "out")
    made = LMUNetwork(40, config.layers, len(config.labels))
    everything = storage_bits(made.to_float_model(), config.scheme)[1]
    assert everything <= 1000 * int(recipe.removeprefix("kws").partition("-")[0])
    assert all(layer.units % 8 == 0 for layer in config.layers)


@pytest.mark.parametrize("recipe", [f"sep{size}{kind}" for size in (361, 105, 49) for kind in ("", "-frugal")])
def test_weights_of_a_separable_recipe_fit_its_name(recipe: str) -> None:
    config = TrainConfig.from_recipe(recipe, "data", "out")
    made = LMUNetwork(40, config.layers, len(config.labels))
    weights, _ = storage_bits(made.to_float_model(), config.scheme)
    assert weights <= 1000 * int(recipe.removeprefix("sep").partition("-")[0])


def test_silence_has_the_levels_asked_for() -> None:
    rng = np.random.default_rng(5)
    bank = NoiseBank([rng.integers(-50, 50, 40_000).astype(np.int16)], rng)
    levels = AugmentConfig().silence_rms
    clips = np.stack([silence_clip(16_000, bank, levels, rng) for _ in range(300)]).astype(np.float64) / 32768
    level = np.sqrt(np.square(clips).mean(axis=1))
    assert level.min() > 0.8e-4
    assert level.max() < 0.36
    assert np.mean(level < 1e-3) > 0.15
    assert np.mean(level > 0.05) > 0.15


def test_augmentation_is_repeatable_and_loses_nothing_when_off() -> None:
    bank = NoiseBank([], np.random.default_rng(6))
    clip = np.random.default_rng(7).integers(-9000, 9000, 16_000).astype(np.int16)
    variants = [augment_clip(clip, bank, AugmentConfig(), np.random.default_rng(seed)) for seed in (8, 8, 9)]
    np.testing.assert_array_equal(variants[0], variants[1])
    assert (variants[0] != variants[2]).any()
    off = AugmentConfig(shift_ms=0, speed=0, gain_db=(0, 0), noise_probability=0)
    np.testing.assert_array_equal(augment_clip(clip, bank, off, np.random.default_rng(8)), clip)


def test_reverberation_follows_the_sound_and_decays() -> None:
    click = np.zeros(16_000, dtype=np.int16)
    click[4000] = 20_000
    config = AugmentConfig(
        shift_ms=0, speed=0, gain_db=(0, 0), noise_probability=0,
        reverb_probability=1, reverb_seconds=(0.3, 0.3), reverb_db=(0, 0),
    )  # fmt: skip
    bank = NoiseBank([], np.random.default_rng(13))
    wet = augment_clip(click, bank, config, np.random.default_rng(14)).astype(np.float64)
    assert not wet[:4000].any()
    assert not wet[4000 + 4800 :].any()
    tail = np.square(wet[4001:8800])
    assert tail.sum() == pytest.approx(20_000**2, rel=0.1)
    assert tail[:2400].sum() > 500 * tail[2400:].sum()


def test_masks_are_no_wider_than_asked() -> None:
    values = np.ones((200, 20, 10), dtype=np.float32)
    mask_frames(values, AugmentConfig(time_masks=1, time_width=4, mel_masks=1, mel_width=3), np.random.default_rng(10))
    rows = (values.max(axis=2) == 0).sum(axis=1)
    columns = (values.max(axis=1) == 0).sum(axis=1)
    assert (rows.max(), columns.max()) == (4, 3)
    assert set(np.unique(values)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "^unknown key 'epoch' in the training configuration, expected data, out, "),
        ({"layers": [{"unit": 3}]}, r"^unknown key 'unit' in layers\[0\], expected units, "),
        ({"scheme": {"bits": 3}}, r"^unknown key 'bits' in scheme, expected weight_bits, "),
        ({"augment": {"gain": 3}}, r"^unknown key 'gain' in augment, expected shift_ms, "),
        ({"layers": [{"type": "gru"}]}, r"^layers\[0\] type must be one of lmu, separable, dense, not 'gru'$"),
        (
            {"rounded_epochs": 2},
            "^rounded_epochs need exact fine-tuning after them: an exact scheme and quantized_epochs$",
        ),
        ({"scheme": {"weight_overrides": {"layer0.w": 1}}}, "^weight_overrides layer0.w must be in 2 to 16, not 1$"),
        ({"held_out_words": ["cat", "yes"]}, r"^held_out_words must be no labels, found yes$"),
        ({"precision": "float16"}, r"^precision must be one of float32, bfloat16, not 'float16'$"),
        ({"layers": []}, r"^layers must be one or more layer shapes, not \(\)$"),
        ({"layers": [{"units": 0}]}, "^layer units must be at least 1, not 0$"),
        ({"layers": [{"memories": 4, "thetas": [1, 2, 3]}]}, "^layer thetas must divide the 4 memories evenly, not "),
        ({"layers": [{"thetas": [-1]}]}, "^memory theta must be a positive number of time steps, not -1.0$"),
        ({"epochs": 0}, "^epochs must be at least 1, not 0$"),
        ({"batch": 1}, "^batch must be at least 2, not 1$"),
        ({"seed": 1.5}, r"^seed must be an integer, not 1\.5$"),
        ({"limit": True}, "^limit must be an integer, not True$"),
        ({"lead_frames": -1}, "^lead_frames must be at least 0, not -1$"),
        ({"lead_frames": 3, "layers": [{"stride": 2}]}, "^lead_frames must be a multiple of 2, not 3$"),
        ({"dropout": 1}, "^dropout must be a finite number at least 0 and below 1, not 1$"),
        ({"learning_rate": 0}, "^learning_rate must be a finite number above 0, not 0$"),
        ({"splice_ratio": -1}, "^splice_ratio must be a finite number at least 0, not -1$"),
        ({"scheme": {"weight_bits": 1}}, "^weight_bits must be in 2 to 16, not 1$"),
        ({"scheme": {"state_bits": 3}}, "^state_bits must be in 4 to 24, not 3$"),
        ({"scheme": {"state_range": "wide"}}, "^state_range must be one of proven, frames, not 'wide'$"),
        ({"scheme": {"matrix_bits": 17}}, "^matrix_bits must be in 4 to 16, not 17$"),
        ({"scheme": {"exact": 1}}, "^exact must be true or false, not 1$"),
        ({"scheme": {"exact": True, "hidden_bits": 8}}, "^exact training has 7 hidden_bits and one weight_scale for "),
        ({"frame_augment": {"gain": 3}}, r"^unknown key 'gain' in frame_augment, expected "),
        ({"teacher": {"model": ""}}, "^teacher model must be a shipped name or a file, not ''$"),
        ({"teacher": {"model": "a", "weight": 2}}, "^teacher weight must be a finite number in 0 to 1, not 2$"),
        ({"teacher": {"model": "a", "temperature": 0}}, "^teacher temperature must be a finite number above 0, not 0$"),
        ({"balanced": 1}, "^balanced must be true or false, not 1$"),
        ({"word_weight": -1}, "^word_weight must be a finite number at least 0, not -1$"),
        ({"augment": {"reverb_seconds": [0, 1]}}, "^reverb_seconds must lie above 0 and at most 1, not "),
        ({"augment": {"reverb_probability": 2}}, "^reverb_probability must be a finite number in 0 to 1, not 2$"),
        ({"scheme": {"weight_scale": "column"}}, "^weight_scale must be one of row, tensor, not 'column'$"),
        ({"augment": {"gain_db": [3, -3]}}, r"^gain_db must be two numbers in ascending order, not \[3, -3\]$"),
        ({"augment": {"silence_rms": [0, 1]}}, "^silence_rms must lie above 0 and at most 1, not "),
        ({"augment": {"speed": 0.7}}, r"^speed must be a finite number in 0 to 0\.5, not 0\.7$"),
        ({"augment": {"mel_masks": -1}}, "^mel_masks must be at least 0, not -1$"),
        ({"front_end": {"n_mels": 40}}, "^the front end lacks the key 'kind'$"),
    ],
)
def test_configuration_is_checked(values: dict[str, object], message: str) -> None:
    wrong_type = any(expected in message for expected in ("an integer", "true or false", "a list of objects"))
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        TrainConfig.from_json(json.dumps(values))


def test_configuration_goes_through_json() -> None:
    for recipe in RECIPES.glob("*.json"):
        config = TrainConfig.from_recipe(recipe.stem, "somewhere", "elsewhere")
        assert (config.data, config.out) == ("somewhere", "elsewhere")
        assert TrainConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match=r"^the training configuration must be an object, not \[\]$"):
        TrainConfig.from_json("[]")
    with pytest.raises(FileNotFoundError, match=r"^huge: no such file, and .* \(there are: .*kws105, .*tiny.*\)$"):
        TrainConfig.from_recipe("huge", "", "")
    with pytest.raises(ValueError, match=r"^data and out must name folders, not '' and ''$"):
        train(TrainConfig())


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.int16), 16_000)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that are tones, in the layout of Speech Commands: learnt within seconds."""
    root = tmp_path_factory.mktemp("tones") / "speech_commands"
    rng = np.random.default_rng(11)
    validation = []
    for word, pitch in {"yes": 400, "no": 900, "bird": 2500, "cat": 4500}.items():
        for clip in range(24):
            name = f"{clip:08x}_nohash_0.wav"
            length = int(rng.integers(5000, 9000))
            tone = np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * np.arange(length) / 16_000)
            samples = rng.standard_normal(16_000) * 20
            samples[3000 : 3000 + length] += 6000 * tone
            write_wav(root / word / name, samples)
            validation += [f"{word}/{name}"] if clip % 4 == 0 else []
    write_wav(root / "_background_noise_" / "hiss.wav", rng.standard_normal(64_000) * 100)
    (root / "validation_list.txt").write_text("\n".join(validation))
    (root / "testing_list.txt").write_text("")
    return root.parent


def tone_config(data: Path, out: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "labels": ["yes", "no", "unknown", "silence"],
        "layers": [{"units": 16, "memories": 4, "order": 4, "thetas": [20]}],
        "copies": 2,
        "unknown_ratio": 1.0,
        "splice_ratio": 0.5,
        "batch": 16,
        "epochs": 3,
        "quantized_epochs": 3,
        "threads": 1,
        "device": "cpu",
    }
    return TrainConfig.from_dict(values | {"data": str(data), "out": str(out)} | changes)


def test_frames_are_normalised_and_kept_for_the_next_run(tones: Path, tmp_path: Path) -> None:
    source = FrameSource(
        SpeechCommands(tones, ("yes", "no", "unknown", "silence")),
        FrontEnd("log-mel", n_mels=20),
        AugmentConfig(),
        copies=2,
        limit=10,
        silence_ratio=0.5,
        splice_ratio=0.3,
        reversal_ratio=0.2,
        held_out=(),
        seed=12,
    )
    made = prepare_training(source, tmp_path)
    assert made.frames.shape == (2, 40, 49, 20)
    assert made.words == ("yes", "no", "bird", "cat", "_spliced_", "_reversed_", "_silence_")
    assert np.bincount(made.word_of).tolist() == [10, 10, *np.bincount(made.word_of)[2:4], 3, 2, 5]
    assert made.label_of_word.tolist() == [0, 1, 2, 2, 2, 2, 3]
    np.testing.assert_array_equal(made.label_of_word[made.word_of], made.labels)
    assert np.bincount(made.labels).tolist() == [10, 10, 15, 5]
    assert np.flatnonzero(made.weights).tolist() == list(range(20, 30))
    first = made.frames[0].astype(np.float64)
    np.testing.assert_allclose(first.mean(axis=(0, 1)), 0, atol=0.01)
    np.testing.assert_allclose(first.std(axis=(0, 1)), 1, atol=0.01)
    stamp = (tmp_path / "frames.npy").stat().st_mtime_ns
    again = prepare_training(source, tmp_path)
    assert (tmp_path / "frames.npy").stat().st_mtime_ns == stamp
    assert again.front_end == made.front_end
    prepare_training(dataclasses.replace(source, augment=AugmentConfig(time_width=3, mel_masks=2)), tmp_path)
    assert (tmp_path / "frames.npy").stat().st_mtime_ns == stamp
    held_out = prepare_evaluation(source, "validation", made.front_end)
    assert np.bincount(held_out.labels).tolist() == [6, 6, 10, 6]
    assert held_out.frames.shape == (28, 49, 20)
    prepare_training(dataclasses.replace(source, seed=13), tmp_path)
    assert (tmp_path / "frames.npy").stat().st_mtime_ns != stamp


def test_words_held_out_of_training_are_all_in_validation(tones: Path, tmp_path: Path) -> None:
    speech = SpeechCommands(tones, ("yes", "no", "unknown", "silence"))
    source = FrameSource(speech, FrontEnd("log-mel", n_mels=20), AugmentConfig(), 1, None, 0.5, 0.0, 0.0, (), 12)
    without = dataclasses.replace(source, held_out=("cat",))
    made = [prepare_training(each, tmp_path / str(index)) for index, each in enumerate((source, without))]
    assert "cat" in made[0].words
    assert "cat" not in made[1].words
    moved = len(made[0].labels) - len(made[1].labels)
    assert moved == sum(path.parent.name == "cat" for path in speech.clips("train")[0]) > 0
    before, after = (prepare_evaluation(each, "validation", made[0].front_end) for each in (source, without))
    assert (after.words == "cat").sum() == (before.words == "cat").sum() + moved
    assert (after.words != "cat").sum() == (before.words != "cat").sum()


class Stop(Exception):
    """Raised to end a run after an epoch."""


@pytest.fixture(scope="module")
def whole(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """Folder and result of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(tone_config(tones, out))


@pytest.mark.parametrize("kills", [(0,), (2,), (1, 4)])
def test_resumed_run_has_the_same_bits(
    whole: tuple[Path, TrainResult], tones: Path, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    out, result = whole

    def stop(result: EpochResult) -> None:
        if result.epoch in kills:
            raise Stop

    config = tone_config(tones, tmp_path / "parts")
    for _ in kills:
        with pytest.raises(Stop):
            train(config, on_epoch=stop)
    resumed = train(config)
    for name in ("float.safetensors", "float-parent.safetensors", "formats.json"):
        assert (out / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert {n: s.to_dict() for n, s in result.scores.items()} == {n: s.to_dict() for n, s in resumed.scores.items()}
    without_time = [[dataclasses.replace(row, seconds=0.0) for row in run.history] for run in (result, resumed)]
    assert without_time[0] == without_time[1]
    assert [row.phase for row in resumed.history] == ["float"] * 3 + ["quantized"] * 3


EXACT = {
    "scheme": {"exact": True, "state_bits": 11, "state_range": "frames", "matrix_bits": 9},
    "frame_augment": {},
    "balanced": True,
    "word_weight": 0.3,
    "epochs": 3,
    "quantized_epochs": 2,
    "learning_rate": 0.01,
    "lead_frames": 9,
}


FEEDBACK = {"hidden_feedback": True, "memory_feedback": True, "hidden_weights": True}


def trained_at_once_and_in_parts(
    tones: Path, folder: Path, settings: dict[str, object], stops: tuple[int, ...]
) -> TrainResult:
    """Train twice, the second time stopped after some epochs; the files must be the same."""
    whole = train(tone_config(tones, folder / "whole", **settings))

    def stop(result: EpochResult) -> None:
        if result.epoch in stops:
            raise Stop

    config = tone_config(tones, folder / "parts", **settings)
    for _ in stops:
        with pytest.raises(Stop):
            train(config, cache=folder / "whole", on_epoch=stop)
    train(config, cache=folder / "whole")
    assert not (folder / "parts" / "frames").exists()
    for name in ("float.safetensors", "float-parent.safetensors", "formats.json", "quantized.safetensors"):
        assert (folder / "whole" / name).read_bytes() == (folder / "parts" / name).read_bytes()
    return whole


def test_separable_training_resumes_in_every_phase(tones: Path, tmp_path: Path) -> None:
    layers = [
        {"type": "dense", "units": 12},
        {"type": "separable", "units": 12, "memories": 4, "thetas": [4, 8], "stride": 2},
        {"type": "separable", "units": 12, "memories": 6, "order": 3, "thetas": [6]},
    ]
    settings = EXACT | {
        "layers": layers, "rounded_epochs": 2, "average": 0.9, "precision": "bfloat16", "dropout": 0.1,
        "frames_seed": 3, "lead_frames": 10,
        "scheme": {"exact": True, "weight_overrides": {"layer1.w_m": 6, "layer3": 5}},
    }  # fmt: skip
    whole = trained_at_once_and_in_parts(tones, tmp_path, settings, (1, 3, 5))
    assert [result.phase for result in whole.history] == ["float"] * 3 + ["rounded"] * 2 + ["quantized"] * 2
    model = program_file.load(tmp_path / "whole" / "quantized.safetensors")
    widths = [{name: weights.width for name, weights in layer.weights.items()} for layer in model.layers]
    assert widths == [{"w": 4}, {"e_x": 4, "w_m": 6, "w_f": 4}, {"e_x": 4, "w_m": 4, "w_f": 4}, {"w": 5}]


@pytest.mark.parametrize("feedback", [{}, FEEDBACK])
def test_exact_training_resumes_and_exports_what_it_trained(
    tones: Path, tmp_path: Path, feedback: dict[str, bool]
) -> None:
    settings = EXACT | {"layers": [{"units": 16, "memories": 4, "order": 4, "thetas": [20]} | feedback]}
    whole = trained_at_once_and_in_parts(tones, tmp_path, settings, (1, 3))
    model = program_file.load(tmp_path / "whole" / "quantized.safetensors")
    first = model.layers[0]
    assert (first.m.format.width, first.a_format.width, first.b_format.width) == (11, 9, 9)
    assert all((name in model.layers[0].weights) == bool(feedback) for name in ("e_h", "e_m", "w_h"))
    assert all(weights.values.any() for weights in model.layers[0].weights.values())
    speech = SpeechCommands(tones, model.labels)
    source = FrameSource(speech, FrontEnd("log-mel"), AugmentConfig(), 2, None, 1.0, 0.5, 0.0, (), 0)
    clips = prepare_evaluation(source, "validation", FrontEnd.from_dict(model.front_end))
    decisions = decide(Golden(model).run(model.input.quantize(clips.frames))["logits"][:, -1])[0]
    score = score_decisions(decisions, clips.labels, model.labels)
    assert score.to_dict() == whole.scores["quantized.validation"].to_dict()


def test_pruned_training_resumes_and_exports_zeros(tones: Path, tmp_path: Path) -> None:
    pruning = {"fraction": 0.75, "rows": 4, "first_epoch": 1, "last_epoch": 2}
    config = tone_config(tones, tmp_path / "whole", **EXACT, pruning=pruning)
    train(config)

    def stop(result: EpochResult) -> None:
        if result.epoch in (1, 3):
            raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            train(dataclasses.replace(config, out=str(tmp_path / "parts")), cache=tmp_path / "whole", on_epoch=stop)
    train(dataclasses.replace(config, out=str(tmp_path / "parts")), cache=tmp_path / "whole")
    for name in ("float-parent.safetensors", "quantized.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    model = program_file.load(tmp_path / "whole" / "quantized.safetensors")
    for layer in model.layers[:-1]:
        for name in ("w_x", "w_m"):
            values = layer.weights[name].values
            live = [values[first : first + 4].any(axis=0) for first in range(0, len(values), 4)]
            assert 0.2 < np.mean(live) <= 0.25
        assert layer.e_x.values.any()
    stored = stored_bits(model, 4)
    assert model.notes["stored_weight_bits"] == {"weights": stored.weights, "index": stored.index}
    assert 0 < stored.total < model.weight_bits


def test_training_starts_from_a_shipped_network(tones: Path, tmp_path: Path) -> None:
    parent = load_float(zoo.path("kws361", "float-parent.safetensors"))
    config = TrainConfig.from_recipe("kws361", "data", "out")
    made = LMUNetwork(40, config.layers, 10)
    x = torch.from_numpy(load_frames(zoo.path("kws361", "test.safetensors")).real()[:40].astype(np.float32))
    made.start_from(parent, x)
    expected = parent.run(x.numpy())["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(made.eval()(x, 49).numpy(), expected, atol=1e-3)
        np.testing.assert_allclose(made.train()(x, 49).numpy(), expected, atol=2e-2)
    with pytest.raises(ValueError, match=r"^the layers of 'kws361' do not have the shapes of the recipe$"):
        LMUNetwork(40, config.layers, 11).start_from(parent, x)
    with pytest.raises(ValueError, match=r"^the layers of 'kws361' do not have the shapes of the recipe$"):
        train(tone_config(tones, tmp_path, init="kws361"))


def test_results_are_written_and_checkpoints_belong_to_one_configuration(tones: Path, tmp_path: Path) -> None:
    result = train(tone_config(tones, tmp_path, epochs=40, quantized_epochs=5, learning_rate=0.01))
    assert result.scores["float.validation"].accuracy > 0.75
    assert result.scores["quantized.validation"].accuracy > 0.75
    assert (tmp_path / "train.csv").read_text().startswith("phase,epoch,loss,train_accuracy,validation_accuracy,")
    assert len((tmp_path / "train.csv").read_text().splitlines()) == 46
    assert json.loads((tmp_path / "formats.json").read_text()) == result.formats
    written = load_float(tmp_path / "float.safetensors")
    assert written.labels == ("yes", "no", "unknown", "silence")
    assert written.front_end is not None
    assert len(written.front_end["offset"]) == 40
    for got, kept in zip(written.layers, result.model.layers, strict=True):
        for name, tensor in kept.tensors.items():
            np.testing.assert_array_equal(got.tensors[name], tensor)
    with pytest.raises(ValueError, match=r"made by another configuration; give another out folder, or remove it$"):
        train(tone_config(tones, tmp_path, epochs=41))


@pytest.fixture
def words(speech, tmp_path: Path) -> Path:
    """Some of the real recordings, in the layout of Speech Commands."""
    clips = []
    for split, most in {"train": 160, "validation": 40}.items():
        clips += [clip for word in speech.labels(split) for clip in speech.take(split, word, most)]
    speech.write(tmp_path, clips, speech.noise)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "least"), [("tiny", 0.6), ("tiny-recurrent", 0.5)])
def test_tiny_recipe_learns_words(words: Path, tmp_path: Path, recipe: str, least: float) -> None:
    result = train(TrainConfig.from_recipe(recipe, words, tmp_path / "out"))
    assert result.scores["float.validation"].mean_recall > least
    assert result.scores["quantized.validation"].mean_recall > least
