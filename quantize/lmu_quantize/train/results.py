"""What a training run leaves: scores of the best networks, and the files of models, formats and notes."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmu_hw.model import program_file
from lmu_hw.plan.sparsity import stored_bits
from lmu_quantize.float_file import save_float
from lmu_quantize.model import FloatModel
from lmu_quantize.score import Score
from lmu_quantize.train.balance import unknown_offset
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import EvaluationSet, FrameSource, TrainingSet, prepare_evaluation
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LMUNetwork, storage_bits
from lmu_quantize.train.peers import PeerNetwork
from lmu_quantize.train.run import EpochResult, Run, make_network, quantized_network
from lmu_quantize.train.scoring import Network, evaluate, hidden_zeros, last_logits

__all__ = ["TrainResult", "finish_run"]

UNNOTED = ("data", "out", "threads", "device")
"""Keys of the configuration that the written models leave out."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """Result of a training run.

    Attributes
    ----------
    model : FloatModel or None
        The fine-tuned network with its weights on their grids; without fine-tuning the same as `parent`. None for a
        network that is no LMU.
    parent : FloatModel or None
        The float network of the best epoch.
    formats : dict
        As `LMUNetwork.formats` or `ExactNetwork.formats`; empty without fine-tuning.
    history : tuple of EpochResult
        One for each epoch.
    scores : dict of str to Score
        ``float.validation``, ``quantized.validation`` and, where there are test clips, ``float.test`` and
        ``quantized.test``.
    """

    model: FloatModel | None
    parent: FloatModel | None
    formats: dict[str, Any]
    history: tuple[EpochResult, ...]
    scores: dict[str, Score]


def finish_run(
    config: TrainConfig, run: Run, training: TrainingSet, validation: EvaluationSet, test: FrameSource | None
) -> TrainResult:
    """Score the best networks once, and write all files.

    Parameters
    ----------
    config : TrainConfig
        The run's configuration.
    run : Run
        After its last epoch.
    training : TrainingSet
        Training frames.
    validation : EvaluationSet
        Validation frames.
    test : FrameSource or None
        Where the test clips are; None scores no test clips.
    """
    networks = _best_networks(config, run, training)
    offsets = _balance(config, networks, validation)
    splits = {"validation": validation}
    if test is not None and test.speech.has_test:
        splits["test"] = prepare_evaluation(test, "test", training.front_end)
    scores = {
        f"{phase}.{split}": evaluate(network, data, config.labels)
        for phase, network in networks.items()
        for split, data in splits.items()
    }
    notes = _notes(config, training, scores) | {
        "unknown_offset": offsets,
        "zero_activations": {phase: hidden_zeros(network, validation) for phase, network in networks.items()},
    }
    sets: dict[str, TrainingSet | EvaluationSet] = {"train": training, **splits}
    skipped = {"skipped_clips": {split: list(data.problems) for split, data in sets.items()}}
    out, history = Path(config.out), tuple(run.history)
    parent = networks["float"]
    if isinstance(parent, PeerNetwork):
        bits = (config.scheme.weight_bits, config.scheme.input_bits, config.scheme.hidden_bits)
        _write_json(out / "result.json", parent.size(*bits) | notes | skipped)
        return TrainResult(None, None, {}, history, scores)
    models = _float_models(config, networks, training, notes)
    model = models.get("quantized", models["float"])
    save_float(models["float"], out / "float-parent.safetensors")
    save_float(model, out / "float.safetensors")
    formats, stored = _write_quantized(config, networks.get("quantized"), notes, out)
    weight_bits, everything = storage_bits(model, config.scheme)
    size = {"parameters": model.parameters, "weight_bits": weight_bits, "storage_bits": everything}
    _write_json(out / "result.json", size | notes | stored | skipped)
    return TrainResult(model, models["float"], formats, history, scores)


def _best_networks(config: TrainConfig, run: Run, training: TrainingSet) -> dict[str, Network]:
    """Networks with the weights of the best epoch of each phase."""
    parent = make_network(config)
    parent.load_state_dict(run.best["float"])
    parent.eval()
    networks: dict[str, Network] = {"float": parent}
    if config.quantized_epochs:
        networks["quantized"] = quantized_network(config, run.best, training)
        networks["quantized"].load_state_dict(run.best["quantized"])
    return networks


def _balance(
    config: TrainConfig, networks: Mapping[str, Network], validation: EvaluationSet
) -> dict[str, float]:
    """Shift the logit of ``unknown`` in each network where the recipe asks for it; the shifts by phase."""
    offsets: dict[str, float] = {}
    if config.balanced and "unknown" in config.labels:
        for phase, network in networks.items():
            offsets[phase] = unknown_offset(last_logits(network, validation), validation, config.labels)
            network.shift_logit(config.labels.index("unknown"), offsets[phase])
    return offsets


def _float_models(
    config: TrainConfig, networks: Mapping[str, Network], training: TrainingSet, notes: dict[str, Any]
) -> dict[str, FloatModel]:
    """Networks as equations, by phase."""
    front_end = training.front_end.to_dict()
    models = {}
    for phase, network in networks.items():
        if isinstance(network, LMUNetwork | ExactNetwork):
            weights = "float32" if phase == "float" else "fine-tuned, on their quantization grids"
            models[phase] = network.to_float_model(config.labels, config.name, front_end, notes | {"weights": weights})
    return models


def _write_quantized(
    config: TrainConfig, network: Network | None, notes: dict[str, Any], out: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the formats of the fine-tuned network and, after exact training, its integers; formats and more notes."""
    stored: dict[str, Any] = {}
    if isinstance(network, ExactNetwork):
        if config.pruning is not None:
            bits = stored_bits(network.to_quantized(), config.pruning.rows)
            stored["stored_weight_bits"] = dataclasses.asdict(bits)
        program_file.save(network.to_quantized(notes | stored), out / "quantized.safetensors")
    formats = network.formats() if isinstance(network, LMUNetwork | ExactNetwork) else {}
    if formats:
        _write_json(out / "formats.json", formats)
    return formats, stored


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _notes(config: TrainConfig, training: TrainingSet, scores: dict[str, Score]) -> dict[str, Any]:
    """Recipe, data and scores, for the files that a run writes."""
    return {
        "recipe": {name: value for name, value in config.to_dict().items() if name not in UNNOTED},
        "training_clips": dict(
            zip(config.labels, np.bincount(training.labels, minlength=len(config.labels)).tolist(), strict=True)
        ),
        "scores": {name: score.to_dict() for name, score in scores.items()},
    }
