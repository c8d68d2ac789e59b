"""The training loop: float training, then quantization-aware fine-tuning, resumable after every epoch.

Every epoch is seeded by the configuration's seed and its own number, so a run that was interrupted and resumed gives
the same weights, bit for bit, as one that was not (on the same machine with the same number of threads).
"""

import csv
import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from lmu_quantize.dataset import KEYWORD_LABELS, SpeechCommands
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import save_float
from lmu_quantize.model import FloatModel
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.train.augment import AugmentConfig, mask_frames
from lmu_quantize.train.data import EvaluationSet, FrameSource, TrainingSet, prepare_evaluation, prepare_training
from lmu_quantize.train.network import LayerSpec, LMUNetwork, storage_bits
from lmu_quantize.train.quantizers import QuantizationScheme

__all__ = ["RECIPES", "TrainConfig", "TrainResult", "evaluate", "train"]

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that are shipped."""

CALIBRATION_CLIPS = 1024
EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run depends on.

    Parameters
    ----------
    data : str
        Folder of Speech Commands, as `SpeechCommands` takes it. Recipes leave it empty.
    out : str
        Folder of the results, the checkpoint and the frames. Recipes leave it empty.
    name : str
        Name of the model.
    labels : tuple of str
        Labels in output order.
    front_end : dict
        Parameters of `FrontEnd`, without normalisation.
    layers : tuple of LayerSpec
        LMU layers; a dense layer of logits follows.
    batch_norm : bool
        Batch normalisation in float training; folded into the weights before fine-tuning.
    dropout : float
        Fraction of hidden elements dropped in float training, 0 to below 1.
    augment : AugmentConfig
        Ranges of the augmentation.
    copies : int
        Augmented copies of each clip.
    limit : int or None
        Most clips of one label in each split; None takes all.
    unknown_ratio, silence_ratio, splice_ratio : float
        Clips of ``unknown`` (recorded), of silence and of spliced words in an epoch, as multiples of the mean number of
        clips of a keyword.
    loss_frames : int
        Last frames over which the loss is averaged.
    label_smoothing : float
        0 to below 1.
    batch : int
        Clips in a batch.
    epochs, quantized_epochs : int
        Epochs of float training and of fine-tuning.
    learning_rate, quantized_learning_rate : float
        Peaks of the two; each falls to 0 along a cosine.
    warmup : float
        Part of the steps of each over which the learning rate rises, 0 to below 1.
    weight_decay : float
        Of AdamW, on weight matrices only.
    scheme : QuantizationScheme
        Bits in fine-tuning.
    seed : int
        Seed of all choices.
    threads : int
        Threads of PyTorch.
    """

    data: str = ""
    out: str = ""
    name: str = "kws"
    labels: tuple[str, ...] = KEYWORD_LABELS
    front_end: dict[str, Any] = field(default_factory=lambda: {"kind": "log-mel", "n_mels": 40})
    layers: tuple[LayerSpec, ...] = (LayerSpec(),)
    batch_norm: bool = True
    dropout: float = 0.1
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    copies: int = 8
    limit: int | None = None
    unknown_ratio: float = 3.0
    silence_ratio: float = 1.0
    splice_ratio: float = 0.0
    loss_frames: int = 4
    label_smoothing: float = 0.05
    batch: int = 128
    epochs: int = 60
    quantized_epochs: int = 20
    learning_rate: float = 4e-3
    quantized_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    scheme: QuantizationScheme = field(default_factory=QuantizationScheme)
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers or not all(isinstance(layer, LayerSpec) for layer in self.layers):
            raise ValueError(f"layers must be one or more LayerSpec, not {self.layers!r}")
        for name, low in (
            ("copies", 1), ("loss_frames", 1), ("batch", 2), ("epochs", 1), ("quantized_epochs", 0), ("seed", 0),
            ("threads", 1), ("limit", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "limit" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name} must be an integer of at least {low}, not {value!r}")
        for name in ("dropout", "label_smoothing", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in 0 to below 1, not {getattr(self, name)!r}")
        for name in ("unknown_ratio", "silence_ratio", "splice_ratio", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number of 0 or more, not {getattr(self, name)!r}")
        for name in ("learning_rate", "quantized_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number above 0, not {getattr(self, name)!r}")
        FrontEnd.from_dict(self.front_end)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """JSON text, the same for equal configurations."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build a configuration from `to_dict`; absent keys take the defaults.

        Raises
        ------
        ValueError
            A key is unknown or a value is refused.
        """
        given = dict(values)
        _refuse_unknown("", given, cls)
        if "layers" in given:
            for layer in given["layers"]:
                _refuse_unknown("layers.", layer, LayerSpec)
            given["layers"] = tuple(LayerSpec(**layer) for layer in given["layers"])
        if "augment" in given:
            _refuse_unknown("augment.", given["augment"], AugmentConfig)
            given["augment"] = AugmentConfig(**given["augment"])
        if "scheme" in given:
            _refuse_unknown("scheme.", given["scheme"], QuantizationScheme)
            given["scheme"] = QuantizationScheme(**given["scheme"])
        return cls(**given)

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Build a configuration from JSON text.

        Raises
        ------
        ValueError
            The text is not a JSON object, a key is unknown, or a value is refused.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"a training configuration must be a JSON object, not {type(values).__name__}")
        return cls.from_dict(values)

    @classmethod
    def from_recipe(cls, recipe: str | Path, data: str | Path, out: str | Path) -> "TrainConfig":
        """Read a recipe and say where the data is and where results go.

        Parameters
        ----------
        recipe : str or Path
            A file, or the name of a shipped recipe with or without ``.json``.
        data, out : str or Path
            As in the class.

        Raises
        ------
        FileNotFoundError
            There is no such recipe.
        """
        shipped = RECIPES / f"{Path(recipe).name.removesuffix('.json')}.json"
        path = Path(recipe) if Path(recipe).is_file() else shipped
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.json")))
            raise FileNotFoundError(f"{recipe}: no such file, and no shipped recipe of that name (there are: {known})")
        return dataclasses.replace(cls.from_json(path.read_text()), data=str(data), out=str(out))


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a run gives.

    Attributes
    ----------
    model : FloatModel
        The fine-tuned network with its weights on their grids; without fine-tuning the same as `parent`.
    parent : FloatModel
        The float network of the best epoch.
    formats : dict
        As `LMUNetwork.formats`; empty without fine-tuning.
    history : list of dict
        One row for each epoch, as in ``train.csv``.
    scores : dict of str to Score
        ``float.validation``, ``quantized.validation`` and, where there are test clips, ``float.test`` and
        ``quantized.test``.
    """

    model: FloatModel
    parent: FloatModel
    formats: dict[str, Any]
    history: list[dict[str, Any]]
    scores: dict[str, Score]


@dataclass
class _Run:
    """State of a run between epochs; `save` and `load` keep it on disk."""

    network: LMUNetwork
    optimizer: torch.optim.AdamW
    epoch: int
    history: list[dict[str, Any]]
    best: dict[str, dict[str, Tensor]]
    best_score: dict[str, float]


def train(
    config: TrainConfig,
    *,
    console: Console | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> TrainResult:
    """Train a network, resuming where an earlier run of the same configuration stopped.

    Writes to ``config.out``: ``float-parent.safetensors``, ``float.safetensors`` (the fine-tuned weights),
    ``formats.json``, ``train.csv``, ``result.json``, ``config.json``; and, to resume, ``checkpoint.pt`` and ``frames``.

    Parameters
    ----------
    config : TrainConfig
        The run.
    console : rich.console.Console, optional
        Where progress is shown; none is shown without it.
    on_epoch : callable, optional
        Called with the row of each epoch after its checkpoint is written.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        ``config.data`` or ``config.out`` is empty, or the folder holds the checkpoint of another configuration.
    lmu_quantize.dataset.DatasetError
        The folder of recordings lacks something.
    """
    if not config.data or not config.out:
        raise ValueError(f"data and out must name folders, not {config.data!r} and {config.out!r}")
    source = _source(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(config.to_json())
    torch.set_num_threads(config.threads)
    text = TextColumn("{task.description}"), TextColumn("{task.percentage:3.0f} %")
    columns = (text[0], BarColumn(), text[1], TimeRemainingColumn())
    with torch.random.fork_rng(devices=[]), Progress(*columns, console=console, disable=console is None) as progress:
        preparing = progress.add_task("reading clips", total=1.0)
        training = prepare_training(
            source, out / "frames", lambda what, part: progress.update(preparing, description=what, completed=part)
        )
        progress.update(preparing, description="frames ready", completed=1.0)
        validation = prepare_evaluation(source, "validation", training.front_end)
        run = _start(config)
        _resume(config, out / "checkpoint.pt", run)
        total = config.epochs + config.quantized_epochs
        bar = progress.add_task("training", total=total, completed=run.epoch)
        while run.epoch < total:
            if run.epoch == config.epochs:
                _begin_fine_tuning(config, run, training)
            row = _epoch(config, run, training, validation)
            run.epoch += 1
            run.history.append(row)
            _write_history(out / "train.csv", run.history)
            _save(config, out / "checkpoint.pt", run)
            if on_epoch is not None:
                on_epoch(row)
            progress.update(
                bar,
                completed=run.epoch,
                description=f"{row['phase']} {row['epoch']}: {100 * row['validation_mean_recall']:.2f} % of validation",
            )
        return _finish(config, run, training, validation, source)


@torch.no_grad()
def evaluate(network: LMUNetwork, data: EvaluationSet, labels: tuple[str, ...]) -> Score:
    """Compare the last frame's logits with the labels.

    Parameters
    ----------
    network : LMUNetwork
        Left in evaluation mode.
    data : EvaluationSet
        Frames and labels.
    labels : tuple of str
        Names of the outputs.

    Returns
    -------
    Score
    """
    network.eval()
    found = np.concatenate(
        [
            network(torch.from_numpy(data.frames[start : start + EVALUATION_BATCH]))[:, -1].argmax(dim=1).numpy()
            for start in range(0, len(data.frames), EVALUATION_BATCH)
        ]
    )
    return score_decisions(found, data.labels, labels)


def _source(config: TrainConfig) -> FrameSource:
    return FrameSource(
        SpeechCommands(config.data, config.labels),
        FrontEnd.from_dict(config.front_end),
        config.augment,
        config.copies,
        config.limit,
        config.silence_ratio,
        config.splice_ratio,
        config.seed,
    )


def _network(config: TrainConfig) -> LMUNetwork:
    inputs = FrontEnd.from_dict(config.front_end).size
    return LMUNetwork(inputs, config.layers, len(config.labels), config.batch_norm, config.dropout)


def _optimizer(config: TrainConfig, network: LMUNetwork) -> torch.optim.AdamW:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _start(config: TrainConfig) -> _Run:
    torch.manual_seed(config.seed)
    network = _network(config)
    return _Run(network, _optimizer(config, network), 0, [], {}, {"float": -1.0, "quantized": -1.0})


def _begin_fine_tuning(config: TrainConfig, run: _Run, training: TrainingSet) -> None:
    """Go on from the best float network, folded and quantized."""
    run.network.load_state_dict(run.best["float"])
    run.network.eval()
    run.network.quantize(config.scheme)
    run.network.dropout.p = 0.0
    rng = np.random.default_rng((config.seed, 4))
    copies, clips = training.frames.shape[:2]
    chosen = rng.choice(clips, min(CALIBRATION_CLIPS, clips), replace=False)
    frames = training.frames[rng.integers(copies, size=len(chosen)), chosen].astype(np.float32)
    run.network.calibrate(torch.from_numpy(frames))
    run.optimizer = _optimizer(config, run.network)


def _epoch(config: TrainConfig, run: _Run, training: TrainingSet, validation: EvaluationSet) -> dict[str, Any]:
    """Train one epoch, evaluate, and keep the weights if they are the best so far."""
    began = time.monotonic()
    quantized = run.epoch >= config.epochs
    phase = "quantized" if quantized else "float"
    rng = np.random.default_rng((config.seed, 5, run.epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    clips = _draw(config, training, rng)
    copies = rng.integers(training.frames.shape[0], size=len(clips))
    batches = max(1, len(clips) // config.batch)
    first, peak = (config.epochs, config.quantized_learning_rate) if quantized else (0, config.learning_rate)
    steps = batches * (config.quantized_epochs if quantized else config.epochs)
    if quantized:
        run.network.calibrate_weights()
    run.network.train()
    loss_sum, correct = 0.0, 0
    rate = peak
    for number in range(batches):
        part = slice(number * config.batch, (number + 1) * config.batch)
        frames = training.frames[copies[part], clips[part]].astype(np.float32)
        mask_frames(frames, config.augment, rng)
        targets = torch.from_numpy(training.labels[clips[part]])
        rate = peak * _schedule(((run.epoch - first) * batches + number) / steps, config.warmup)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        logits = run.network(torch.from_numpy(frames), config.loss_frames)
        loss = functional.cross_entropy(
            logits.flatten(0, 1),
            targets.repeat_interleave(config.loss_frames),
            label_smoothing=config.label_smoothing,
        )
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
        run.optimizer.step()
        loss_sum += float(loss.detach())
        correct += int((logits[:, -1].argmax(dim=1) == targets).sum())
    score = evaluate(run.network, validation, config.labels)
    if score.mean_recall > run.best_score[phase]:
        run.best_score[phase] = score.mean_recall
        run.best[phase] = {name: value.clone() for name, value in run.network.state_dict().items()}
    return {
        "phase": phase,
        "epoch": run.epoch,
        "loss": loss_sum / batches,
        "train_accuracy": correct / min(len(clips), batches * config.batch),
        "validation_accuracy": score.accuracy,
        "validation_mean_recall": score.mean_recall,
        "learning_rate": rate,
        "seconds": time.monotonic() - began,
    }


def _draw(config: TrainConfig, training: TrainingSet, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the clips of one epoch in random order: all, but of recorded ``unknown`` so many as the ratio says."""
    drawn = np.flatnonzero(training.weights)
    always = np.flatnonzero(training.weights == 0)
    keywords = [i for i, name in enumerate(config.labels) if name not in ("unknown", "silence")]
    per_keyword = float(np.mean([(training.labels == index).sum() for index in keywords]))
    wanted = min(len(drawn), round(config.unknown_ratio * per_keyword))
    if wanted:
        weights = training.weights[drawn]
        always = np.concatenate([always, rng.choice(drawn, wanted, replace=False, p=weights / weights.sum())])
    return rng.permutation(always)


def _schedule(part: float, warmup: float) -> float:
    """Learning rate at a part of the run, 0 to below 1, relative to its peak."""
    if part < warmup:
        return (part + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (part - warmup) / (1 - warmup)))


def _save(config: TrainConfig, path: Path, run: _Run) -> None:
    state = {
        "config": _identity(config),
        "epoch": run.epoch,
        "history": run.history,
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best": run.best,
        "best_score": run.best_score,
        "rng": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(config: TrainConfig, path: Path, run: _Run) -> None:
    """Load the checkpoint, if there is one, into `run`."""
    if not path.exists():
        return
    state = torch.load(path, weights_only=True)
    if state["config"] != _identity(config):
        raise ValueError(f"{path}: made by another configuration; give another out folder, or remove it")
    run.epoch, run.history = state["epoch"], state["history"]
    run.best, run.best_score = state["best"], state["best_score"]
    if run.epoch > config.epochs:
        run.network.quantize(config.scheme)
        run.network.dropout.p = 0.0
        run.optimizer = _optimizer(config, run.network)
    run.network.load_state_dict(state["network"])
    run.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])


def _identity(config: TrainConfig) -> str:
    """Give the configuration without the folders, which may move."""
    return dataclasses.replace(config, data="", out="").to_json()


def _finish(
    config: TrainConfig, run: _Run, training: TrainingSet, validation: EvaluationSet, source: FrameSource
) -> TrainResult:
    """Score the best networks, once, and write everything."""
    parent = _network(config)
    parent.load_state_dict(run.best["float"])
    parent.eval()
    networks = {"float": parent}
    if config.quantized_epochs:
        final = _network(config)
        final.quantize(config.scheme)
        final.load_state_dict(run.best["quantized"])
        networks["quantized"] = final
    splits = {"validation": validation}
    if source.speech.test_folder is not None:
        splits["test"] = prepare_evaluation(source, "test", training.front_end)
    scores = {
        f"{kind}.{split}": evaluate(network, data, config.labels)
        for kind, network in networks.items()
        for split, data in splits.items()
    }
    notes = {
        "recipe": {name: value for name, value in config.to_dict().items() if name not in ("data", "out", "threads")},
        "training_clips": dict(
            zip(config.labels, np.bincount(training.labels, minlength=len(config.labels)).tolist(), strict=True)
        ),
        "scores": {name: score.to_dict() for name, score in scores.items()},
    }
    front_end = training.front_end.to_dict()
    models = {}
    for kind, network in networks.items():
        weights = "float32" if kind == "float" else "fine-tuned, on their quantization grids"
        models[kind] = network.to_float_model(config.labels, config.name, front_end, notes | {"weights": weights})
    out = Path(config.out)
    model = models.get("quantized", models["float"])
    formats = networks["quantized"].formats() if "quantized" in networks else {}
    save_float(models["float"], out / "float-parent.safetensors")
    save_float(model, out / "float.safetensors")
    if formats:
        (out / "formats.json").write_text(json.dumps(formats, indent=2) + "\n")
    size = {"parameters": model.parameters, "storage_bits": storage_bits(model, config.scheme.weight_bits)}
    (out / "result.json").write_text(json.dumps(size | notes, indent=2) + "\n")
    return TrainResult(model, models["float"], formats, run.history, scores)


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        writer.writeheader()
        for row in history:
            shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            writer.writerow(shown)


def _refuse_unknown(prefix: str, given: Mapping[str, Any], kind: type[Any]) -> None:
    known = [entry.name for entry in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            raise ValueError(f"unknown training configuration key {prefix + key!r}, expected {', '.join(known)}")
