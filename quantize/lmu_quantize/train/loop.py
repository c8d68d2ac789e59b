"""The training loop: float training, then quantization-aware fine-tuning, resumable after every epoch.

Every epoch is seeded by the configuration's seed and its own number. An interrupted and resumed run therefore gives
the same weights, bit for bit, as one that was not interrupted (on the same machine with the same number of threads). A
run can resume on another device, but the bits then differ. Networks are made, quantized for the first time and scored
in the end on the CPU.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmu_hw.files import write_rows
from lmu_hw.progress import Progress, silent
from lmu_quantize.dataset import SpeechCommands
from lmu_quantize.features import FrontEnd
from lmu_quantize.train.batches import Batches
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import EvaluationSet, FrameSource, prepare_evaluation, prepare_training
from lmu_quantize.train.devices import CPU, choose_device
from lmu_quantize.train.objective import Objective
from lmu_quantize.train.optimisation import set_rate
from lmu_quantize.train.pruning import Pruner
from lmu_quantize.train.results import TrainResult, finish_run
from lmu_quantize.train.run import EpochResult, Run, begin_phase, start_run
from lmu_quantize.train.scoring import evaluate
from lmu_quantize.train.teacher import Teacher

__all__ = ["train"]

GRADIENT_NORM = 5.0
"""Gradients are clipped to this norm."""


def train(
    config: TrainConfig,
    *,
    cache: Path | None = None,
    test: bool = True,
    progress: Progress = silent,
    on_skipped: Callable[[str, tuple[str, ...]], None] | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> TrainResult:
    """Train a network, resuming where an earlier run of the same configuration stopped.

    Writes to ``config.out``: ``float-parent.safetensors``, ``float.safetensors`` (the fine-tuned weights),
    ``formats.json``, ``train.csv``, ``result.json``, ``config.json``, after exact fine-tuning
    ``quantized.safetensors``; and, to resume, ``checkpoint.pt``. A network that is no LMU gets only ``train.csv``,
    ``result.json``, ``config.json`` and the checkpoint.

    Parameters
    ----------
    config : TrainConfig
        The run.
    cache : Path, optional
        Folder of the frames, which runs of other networks may share; ``config.out`` by default.
    test : bool
        Whether to score the networks on the test clips, where there are any.
    progress : callable, optional
        Called with the stage (``reading clips``, ``computing frames``, ``training``), the steps done and their number;
        the steps of ``training`` are epochs.
    on_skipped : callable, optional
        Called before training with the split (``train`` or ``validation``) and one line for each clip that could not be
        used, where there are any.
    on_epoch : callable, optional
        Called with the result of each epoch after its checkpoint is written.

    Returns
    -------
    TrainResult
        Models, history and scores.

    Raises
    ------
    ValueError
        If ``config.data`` or ``config.out`` is empty, there is no GPU but one is asked for, or the folder holds the
        checkpoint of another configuration.
    lmu_quantize.dataset.DatasetError
        If the folder of recordings is incomplete.
    """
    if not config.data or not config.out:
        raise ValueError(f"data and out must name folders, not {config.data!r} and {config.out!r}")
    device = choose_device(config.device)
    source = _source(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(config.to_json())
    torch.set_num_threads(config.threads)
    with torch.random.fork_rng(devices=[] if device == CPU else [device]):
        training = prepare_training(source, (out if cache is None else cache) / "frames", progress)
        validation = prepare_evaluation(source, "validation", training.front_end)
        for split, problems in (("train", training.problems), ("validation", validation.problems)):
            if problems and on_skipped is not None:
                on_skipped(split, problems)
        batches = Batches(config, training)
        teacher = None
        if config.teacher is not None:
            teacher = Teacher(config.teacher, config.labels, training.front_end, config.period, device)
        run = start_run(config, training, device)
        run.resume(config, out / "checkpoint.pt", training)
        objective = Objective(config, batches, teacher, run.head, device)
        total = config.all_epochs
        progress("training", run.epoch, total)
        while run.epoch < total:
            phase = config.phase(run.epoch)
            if run.epoch == phase.first and phase.name != "float":
                begin_phase(config, run, training, phase.name)
            result = _epoch(config, run, objective, batches, validation)
            run.epoch += 1
            run.history.append(result)
            _write_history(out / "train.csv", run.history)
            run.save(config, out / "checkpoint.pt")
            if on_epoch is not None:
                on_epoch(result)
            progress("training", run.epoch, total)
        return finish_run(config, run, training, validation, source if test else None)


def _source(config: TrainConfig) -> FrameSource:
    return FrameSource(
        SpeechCommands(config.data, config.labels, rule=config.split),
        FrontEnd.from_dict(config.front_end),
        config.augment,
        config.copies,
        config.limit,
        config.silence_ratio,
        config.splice_ratio,
        config.reversal_ratio,
        config.held_out_words,
        config.seed if config.frames_seed is None else config.frames_seed,
    )


def _epoch(
    config: TrainConfig, run: Run, objective: Objective, batches: Batches, validation: EvaluationSet
) -> EpochResult:
    """Train one epoch, evaluate, and keep the weights if they are the best so far."""
    start = time.monotonic()
    phase = config.phase(run.epoch)
    rng = np.random.default_rng((config.seed, 5, run.epoch))
    torch.manual_seed(int(rng.integers(2**62)))
    steps = batches.count * phase.epochs
    pruner = Pruner(config.pruning, run.network, run.epoch)
    if phase.name != "float":
        run.network.calibrate_weights()
    run.network.train()
    rate, loss_sum, correct = 0.0, 0.0, 0
    for number, (frames, clips) in enumerate(batches.epoch(rng)):
        rate = set_rate(
            run.optimizer, phase.rate, ((run.epoch - phase.first) * batches.count + number) / steps, config.warmup
        )
        loss, logits = _step(config, run, objective, pruner, frames.to(run.device), clips)
        loss_sum += loss
        correct += _correct(logits, batches.training.labels[clips])
    validated = run.average.network
    if phase.name != "float" and validated is not run.network:
        validated.calibrate_weights()
    score = evaluate(validated, validation, config.labels)
    if pruner.complete and score.mean_recall > run.best_score[phase.name]:
        run.best_score[phase.name] = score.mean_recall
        run.best[phase.name] = {name: value.to(CPU, copy=True) for name, value in validated.state_dict().items()}
    return EpochResult(
        phase=phase.name,
        epoch=run.epoch,
        loss=loss_sum / batches.count,
        train_accuracy=correct / batches.clips,
        validation_accuracy=score.accuracy,
        validation_mean_recall=score.mean_recall,
        learning_rate=rate,
        seconds=time.monotonic() - start,
    )


def _step(
    config: TrainConfig, run: Run, objective: Objective, pruner: Pruner, frames: Tensor, clips: NDArray[np.int64]
) -> tuple[float, Tensor]:
    """Take one step of the optimiser; the loss, and the logits before the step."""
    trace: dict[str, Tensor] | None = {} if objective.traced else None
    low = config.precision == "bfloat16" and config.phase(run.epoch).name != "quantized"
    with torch.autocast(run.device.type, torch.bfloat16, enabled=low):
        hidden = run.network.hidden(frames, config.loss_outputs, trace).float()
    logits = run.network.logits(hidden)
    loss = objective(logits, hidden, frames, clips, trace, run.network.parameters())
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    pruner.mask_gradients()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), GRADIENT_NORM)
    run.optimizer.step()
    pruner.hold()
    run.average.update()
    return float(loss.detach()), logits


def _correct(logits: Tensor, labels: NDArray[np.int64]) -> int:
    """Count the clips whose last frame decides for their label."""
    return int((logits[:, -1].argmax(dim=1).cpu() == torch.from_numpy(labels)).sum())


def _write_history(path: Path, history: list[EpochResult]) -> None:
    rows = [
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in asdict(result).items()}
        for result in history
    ]
    write_rows(rows, path)
