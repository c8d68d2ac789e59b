"""The training loop: float training, then quantization-aware fine-tuning, resumable after every epoch.

Every epoch is seeded by the configuration's seed and its own number, so a run that was interrupted and resumed gives
the same weights, bit for bit, as one that was not (on the same machine with the same number of threads). A run may go
on on another device, with other bits. Networks are made, quantized for the first time and scored in the end on the CPU.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from lmu_hw.files import write_rows
from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.dataset import SpeechCommands
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float, save_float
from lmu_quantize.model import FloatModel
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.score import Score, score_decisions
from lmu_quantize.train.balance import unknown_offset
from lmu_quantize.train.batches import Batches
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import EvaluationSet, FrameSource, TrainingSet, prepare_evaluation, prepare_training
from lmu_quantize.train.devices import CPU, choose_device
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LMUNetwork, storage_bits
from lmu_quantize.train.objective import Objective
from lmu_quantize.train.optimisation import make_optimizer, set_rate
from lmu_quantize.train.peers import PeerNetwork
from lmu_quantize.train.pruning import Pruner
from lmu_quantize.train.regularisation import zero_fractions
from lmu_quantize.train.teacher import Teacher

__all__ = ["TrainResult", "evaluate", "train"]

CALIBRATION_CLIPS = 1024
EXACT_CALIBRATION_CLIPS = 256
"""Fewer, as the golden model runs on them."""
EVALUATION_BATCH = 512
UNNOTED = ("data", "out", "threads", "device")
"""Keys of the configuration that the written models do not name."""

NAMED = 20
"""Most files that are named where progress is shown."""

Network = LMUNetwork | ExactNetwork | PeerNetwork


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a run gives.

    Attributes
    ----------
    model : FloatModel or None
        The fine-tuned network with its weights on their grids; without fine-tuning the same as `parent`. None for a
        network of another kind than LMU.
    parent : FloatModel or None
        The float network of the best epoch.
    formats : dict
        As `LMUNetwork.formats` or `ExactNetwork.formats`; empty without fine-tuning.
    history : list of dict
        One row for each epoch, as in ``train.csv``.
    scores : dict of str to Score
        ``float.validation``, ``quantized.validation`` and, where there are test clips, ``float.test`` and
        ``quantized.test``.
    """

    model: FloatModel | None
    parent: FloatModel | None
    formats: dict[str, Any]
    history: list[dict[str, Any]]
    scores: dict[str, Score]


@dataclass
class _Run:
    """State of a run between epochs; `_save` and `_resume` keep it on disk. The best weights are on the CPU."""

    device: torch.device
    network: Network
    head: nn.Linear | None
    optimizer: torch.optim.AdamW
    epoch: int
    history: list[dict[str, Any]]
    best: dict[str, dict[str, Tensor]]
    best_score: dict[str, float]


def train(
    config: TrainConfig,
    *,
    cache: Path | None = None,
    console: Console | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    test: bool = True,
) -> TrainResult:
    """Train a network, resuming where an earlier run of the same configuration stopped.

    Writes to ``config.out``: ``float-parent.safetensors``, ``float.safetensors`` (the fine-tuned weights),
    ``formats.json``, ``train.csv``, ``result.json``, ``config.json``, after exact fine-tuning
    ``quantized.safetensors``; and, to resume, ``checkpoint.pt``. Of a network of another kind than LMU only
    ``train.csv``, ``result.json``, ``config.json`` and the checkpoint.

    Parameters
    ----------
    config : TrainConfig
        The run.
    cache : Path, optional
        Folder of the frames, which runs of other networks may share; ``config.out`` if not given.
    console : rich.console.Console, optional
        Where progress is shown; none is shown without it.
    on_epoch : callable, optional
        Called with the row of each epoch after its checkpoint is written.
    test : bool
        Whether the networks are scored on the test clips, where there are any.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        ``config.data`` or ``config.out`` is empty, a GPU is asked for where there is none, or the folder holds the
        checkpoint of another configuration.
    lmu_quantize.dataset.DatasetError
        The folder of recordings lacks something.
    """
    if not config.data or not config.out:
        raise ValueError(f"data and out must name folders, not {config.data!r} and {config.out!r}")
    device = choose_device(config.device)
    source = _source(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    cache = out if cache is None else cache
    (out / "config.json").write_text(config.to_json())
    torch.set_num_threads(config.threads)
    text = TextColumn("{task.description}"), TextColumn("{task.percentage:3.0f} %")
    columns = (text[0], BarColumn(), text[1], TimeRemainingColumn())
    kept = torch.random.fork_rng(devices=[] if device == CPU else [device])
    with kept, Progress(*columns, console=console, disable=console is None) as progress:
        preparing = progress.add_task("reading clips", total=1.0)
        training = prepare_training(
            source, cache / "frames", lambda what, part: progress.update(preparing, description=what, completed=part)
        )
        progress.update(preparing, description="frames ready", completed=1.0)
        validation = prepare_evaluation(source, "validation", training.front_end)
        if console is not None:
            _tell(console, {"train": training, "validation": validation})
        batches = Batches(config, training)
        taught = config.teacher
        teacher = None if taught is None else Teacher(taught, config.labels, training.front_end, config.period, device)
        run = _start(config, training, device)
        _resume(config, out / "checkpoint.pt", run, training)
        objective = Objective(config, batches, teacher, run.head, device)
        total = config.epochs + config.quantized_epochs
        bar = progress.add_task("training", total=total, completed=run.epoch)
        while run.epoch < total:
            if run.epoch == config.epochs:
                _begin_fine_tuning(config, run, training)
            row = _epoch(config, run, objective, batches, validation)
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
        return _finish(config, run, training, validation, source if test else None)


def evaluate(network: Network, data: EvaluationSet, labels: tuple[str, ...]) -> Score:
    """Compare the last frame's logits with the labels.

    Parameters
    ----------
    network : LMUNetwork, ExactNetwork or PeerNetwork
        Left in evaluation mode.
    data : EvaluationSet
        Frames and labels.
    labels : tuple of str
        Names of the outputs.

    Returns
    -------
    Score
    """
    return score_decisions(_logits(network, data).argmax(axis=1), data.labels, labels)


def _tell(console: Console, sets: Mapping[str, TrainingSet | EvaluationSet]) -> None:
    """Name the files that were left out; all of them are in ``result.json`` too."""
    for split, data in sets.items():
        if data.problems:
            console.print(f"{len(data.problems)} clips of {split} left out:", markup=False)
        for problem in data.problems[:NAMED]:
            console.print(f"  {problem}", markup=False)
        if len(data.problems) > NAMED:
            console.print(f"  and {len(data.problems) - NAMED} more", markup=False)


@torch.no_grad()
def _logits(network: Network, data: EvaluationSet) -> NDArray[np.float64]:
    """Compute the logits of the last frames, shape (clips, labels)."""
    network.eval()
    device = next(network.parameters()).device
    batches = torch.from_numpy(data.frames).split(EVALUATION_BATCH)
    return np.concatenate([network(batch.to(device))[:, -1].double().cpu().numpy() for batch in batches])


@torch.no_grad()
def _zeros(network: Network, data: EvaluationSet) -> dict[str, float]:
    """Give the fraction of zeros in the hidden states of every layer, on clips spread over a split."""
    trace: dict[str, Tensor] = {}
    frames = torch.from_numpy(data.frames[:: max(1, len(data.frames) // EVALUATION_BATCH)])
    network(frames, frames.shape[1] // network.period, trace)
    return zero_fractions(trace)


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


def _network(config: TrainConfig) -> LMUNetwork | PeerNetwork:
    inputs = FrontEnd.from_dict(config.front_end).size
    if config.network is not None:
        return PeerNetwork(inputs, config.network, len(config.labels), config.batch_norm, config.dropout)
    return LMUNetwork(inputs, config.layers, len(config.labels), config.batch_norm, config.dropout)


def _optimizer(config: TrainConfig, network: nn.Module, head: nn.Linear | None) -> torch.optim.AdamW:
    modules = (network,) if head is None else (network, head)
    return make_optimizer(modules, config.learning_rate, config.weight_decay)


def _start(config: TrainConfig, training: TrainingSet, device: torch.device) -> _Run:
    torch.manual_seed(config.seed)
    network = _network(config)
    if isinstance(network, LMUNetwork) and config.init:
        parent = load_float(zoo.path(config.init, "float-parent.safetensors"))
        network.start_from(parent, _samples(config, training, CALIBRATION_CLIPS))
    head = nn.Linear(network.w.shape[1], len(training.words)).to(device) if config.word_weight else None
    optimizer = _optimizer(config, network.to(device), head)
    return _Run(device, network, head, optimizer, 0, [], {}, {"float": -1.0, "quantized": -1.0})


def _begin_fine_tuning(config: TrainConfig, run: _Run, training: TrainingSet) -> None:
    """Go on from the best float network, folded and quantized."""
    run.network = _quantized(config, run.best["float"], training).to(run.device)
    run.optimizer = _optimizer(config, run.network, run.head)


def _quantized(config: TrainConfig, weights: dict[str, Tensor], training: TrainingSet) -> Network:
    """Quantize a float network, with its formats chosen on training frames."""
    network = _network(config)
    network.load_state_dict(weights)
    network.eval()
    network.dropout.p = 0.0
    frames = _samples(config, training, EXACT_CALIBRATION_CLIPS if config.scheme.exact else CALIBRATION_CLIPS)
    if isinstance(network, PeerNetwork) or not config.scheme.exact:
        network.quantize(config.scheme)
        network.calibrate(frames)
        return network
    bits = {name: getattr(config.scheme, name) for name in ("weight_bits", "input_bits", "u_bits")}
    floats = network.to_float_model(config.labels, config.name, training.front_end.to_dict())
    start = quantize_model(floats, frames.numpy(), QuantizationConfig(**bits))
    exact = ExactNetwork(start, frames.shape[1] + config.lead_frames)
    exact.calibrate_weights(frames)
    return exact


def _samples(config: TrainConfig, training: TrainingSet, most: int) -> Tensor:
    """Frames of clips drawn at random, one copy of each."""
    rng = np.random.default_rng((config.seed, 4))
    copies, clips = training.frames.shape[:2]
    chosen = rng.choice(clips, min(most, clips), replace=False)
    return torch.from_numpy(training.frames[rng.integers(copies, size=len(chosen)), chosen].astype(np.float32))


def _epoch(
    config: TrainConfig, run: _Run, objective: Objective, batches: Batches, validation: EvaluationSet
) -> dict[str, Any]:
    """Train one epoch, evaluate, and keep the weights if they are the best so far."""
    began = time.monotonic()
    quantized = run.epoch >= config.epochs
    phase = "quantized" if quantized else "float"
    rng = np.random.default_rng((config.seed, 5, run.epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    first, peak = (config.epochs, config.quantized_learning_rate) if quantized else (0, config.learning_rate)
    steps = batches.count * (config.quantized_epochs if quantized else config.epochs)
    pruner = Pruner(config.pruning, run.network, run.epoch)
    if quantized:
        run.network.calibrate_weights()
    run.network.train()
    loss_sum, correct = 0.0, 0
    rate = peak
    for number, (frames, clips) in enumerate(batches.epoch(rng)):
        rate = set_rate(run.optimizer, peak, ((run.epoch - first) * batches.count + number) / steps, config.warmup)
        frames = frames.to(run.device)
        trace: dict[str, Tensor] | None = {} if objective.traced else None
        hidden = run.network.hidden(frames, config.loss_outputs, trace)
        logits = run.network.logits(hidden)
        loss = objective(logits, hidden, frames, clips, trace, run.network.parameters())
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        pruner.mask_gradients()
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
        run.optimizer.step()
        pruner.hold()
        loss_sum += float(loss.detach())
        correct += _correct(logits, batches.training.labels[clips])
    score = evaluate(run.network, validation, config.labels)
    if pruner.complete and score.mean_recall > run.best_score[phase]:
        run.best_score[phase] = score.mean_recall
        run.best[phase] = {
            name: value.to(CPU, copy=True) for name, value in run.network.state_dict().items()
        }
    return {
        "phase": phase,
        "epoch": run.epoch,
        "loss": loss_sum / batches.count,
        "train_accuracy": correct / batches.clips,
        "validation_accuracy": score.accuracy,
        "validation_mean_recall": score.mean_recall,
        "learning_rate": rate,
        "seconds": time.monotonic() - began,
    }


def _correct(logits: Tensor, labels: NDArray[np.int64]) -> int:
    """Count the clips whose last frame decides for their label."""
    return int((logits[:, -1].argmax(dim=1).cpu() == torch.from_numpy(labels)).sum())


def _save(config: TrainConfig, path: Path, run: _Run) -> None:
    state = {
        "config": _identity(config),
        "epoch": run.epoch,
        "history": run.history,
        "network": run.network.state_dict(),
        "head": None if run.head is None else run.head.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best": run.best,
        "best_score": run.best_score,
        "rng": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(config: TrainConfig, path: Path, run: _Run, training: TrainingSet) -> None:
    """Load the checkpoint, if there is one, into `run`."""
    if not path.exists():
        return
    state = torch.load(path, map_location=CPU, weights_only=True)
    if _identity(TrainConfig.from_json(state["config"])) != _identity(config):
        raise ValueError(f"{path}: made by another configuration; give another out folder, or remove it")
    run.epoch, run.history = state["epoch"], state["history"]
    run.best, run.best_score = state["best"], state["best_score"]
    if run.head is not None:
        run.head.load_state_dict(state["head"])
    if run.epoch > config.epochs:
        _begin_fine_tuning(config, run, training)
    run.network.load_state_dict(state["network"])
    run.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])


def _identity(config: TrainConfig) -> str:
    """Give the configuration without the folders and the device, which may be others."""
    return dataclasses.replace(config, data="", out="", device="auto").to_json()


def _finish(
    config: TrainConfig, run: _Run, training: TrainingSet, validation: EvaluationSet, test: FrameSource | None
) -> TrainResult:
    """Score the best networks, once, and write everything; `test` is where test clips are, if they are wanted."""
    parent = _network(config)
    parent.load_state_dict(run.best["float"])
    parent.eval()
    networks: dict[str, Network] = {"float": parent}
    if config.quantized_epochs:
        networks["quantized"] = _quantized(config, run.best["float"], training)
        networks["quantized"].load_state_dict(run.best["quantized"])
    offsets = {}
    if config.balanced and "unknown" in config.labels:
        for kind, network in networks.items():
            offsets[kind] = unknown_offset(_logits(network, validation), validation, config.labels)
            network.shift_logit(config.labels.index("unknown"), offsets[kind])
    splits = {"validation": validation}
    if test is not None and test.speech.test_folder is not None:
        splits["test"] = prepare_evaluation(test, "test", training.front_end)
    scores = {
        f"{kind}.{split}": evaluate(network, data, config.labels)
        for kind, network in networks.items()
        for split, data in splits.items()
    }
    sets: dict[str, TrainingSet | EvaluationSet] = {"train": training, **splits}
    left_out = {"skipped_clips": {split: list(data.problems) for split, data in sets.items()}}
    notes = _notes(config, training, scores) | {
        "unknown_offset": offsets,
        "zero_activations": {kind: _zeros(network, validation) for kind, network in networks.items()},
    }
    out = Path(config.out)
    if isinstance(parent, PeerNetwork):
        _write_result(out, parent.size(config.scheme.weight_bits) | notes | left_out)
        return TrainResult(None, None, {}, run.history, scores)
    ours = {kind: network for kind, network in networks.items() if not isinstance(network, PeerNetwork)}
    front_end = training.front_end.to_dict()
    models = {}
    for kind, network in ours.items():
        weights = "float32" if kind == "float" else "fine-tuned, on their quantization grids"
        models[kind] = network.to_float_model(config.labels, config.name, front_end, notes | {"weights": weights})
    model = models.get("quantized", models["float"])
    formats = ours["quantized"].formats() if "quantized" in ours else {}
    save_float(models["float"], out / "float-parent.safetensors")
    save_float(model, out / "float.safetensors")
    final = ours.get("quantized")
    if isinstance(final, ExactNetwork):
        if config.pruning is not None:
            stored = stored_bits(final.to_quantized(), config.pruning.rows)
            notes["stored_weight_bits"] = dataclasses.asdict(stored)
        program_file.save(final.to_quantized(notes), out / "quantized.safetensors")
    if formats:
        (out / "formats.json").write_text(json.dumps(formats, indent=2) + "\n")
    size = {"parameters": model.parameters, "storage_bits": storage_bits(model, config.scheme.weight_bits)}
    _write_result(out, size | notes | left_out)
    return TrainResult(model, models["float"], formats, run.history, scores)


def _write_result(out: Path, result: dict[str, Any]) -> None:
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def _notes(config: TrainConfig, training: TrainingSet, scores: dict[str, Score]) -> dict[str, Any]:
    """Recipe, data and scores, for the files that a run writes."""
    return {
        "recipe": {name: value for name, value in config.to_dict().items() if name not in UNNOTED},
        "training_clips": dict(
            zip(config.labels, np.bincount(training.labels, minlength=len(config.labels)).tolist(), strict=True)
        ),
        "scores": {name: score.to_dict() for name, score in scores.items()},
    }


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    rows = [
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in history
    ]
    write_rows(rows, path)
