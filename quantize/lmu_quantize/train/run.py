"""The state of a training run between epochs: how it starts, how it is fine-tuned, and its checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.quantization import QuantizationConfig
from lmu_quantize.train.average import WeightAverage
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import TrainingSet
from lmu_quantize.train.devices import CPU
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LMUNetwork
from lmu_quantize.train.optimisation import make_optimizer
from lmu_quantize.train.peers import PeerNetwork
from lmu_quantize.train.scoring import Network

__all__ = ["EpochResult", "Run", "begin_phase", "make_network", "quantized_network", "start_run"]

CALIBRATION_CLIPS = 1024
EXACT_CALIBRATION_CLIPS = 256
"""Fewer, because the golden model runs on them."""


@dataclass(frozen=True)
class EpochResult:
    """Result of one epoch: a row of ``train.csv``.

    Attributes
    ----------
    phase : {"float", "rounded", "quantized"}
        Float training, training with fake quantization before the exact one, or fine-tuning with quantization.
    epoch : int
        Number from 0, counted on in fine-tuning.
    loss : float
        Mean over the batches.
    train_accuracy, validation_accuracy, validation_mean_recall : float
        Of the last frame's decision, 0 to 1.
    learning_rate : float
        That of the last batch.
    seconds : float
        Time of the epoch, with validation.
    """

    phase: str
    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    validation_mean_recall: float
    learning_rate: float
    seconds: float


@dataclass
class Run:
    """State of a run between epochs.

    Attributes
    ----------
    device : torch.device
        Where the network is trained.
    network : LMUNetwork, ExactNetwork or PeerNetwork
        The float network, or the quantized one in fine-tuning.
    head : Linear or None
        Outputs for words finer than the labels, used in training only.
    optimizer : AdamW
        Of the network and the head.
    average : WeightAverage
        Mean of the network over steps, which is validated.
    epoch : int
        Epochs done.
    history : list of EpochResult
        One for each epoch done.
    best : dict of str to dict
        Weights of the best epoch of each phase, on the CPU.
    best_score : dict of str to float
        Their mean recall on validation.
    """

    device: torch.device
    network: Network
    head: nn.Linear | None
    optimizer: torch.optim.AdamW
    average: WeightAverage[Network]
    epoch: int
    history: list[EpochResult]
    best: dict[str, dict[str, Tensor]]
    best_score: dict[str, float]

    def save(self, config: TrainConfig, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "config": config.identity(),
            "epoch": self.epoch,
            "history": [asdict(result) for result in self.history],
            "network": self.network.state_dict(),
            "head": None if self.head is None else self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "best": self.best,
            "best_score": self.best_score,
            "rng": torch.get_rng_state(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, config: TrainConfig, path: Path, training: TrainingSet) -> None:
        """Load the checkpoint if there is one; `ValueError` if it belongs to another configuration."""
        if not path.exists():
            return
        state = torch.load(path, map_location=CPU, weights_only=True)
        if TrainConfig.from_json(state["config"]).identity() != config.identity():
            raise ValueError(f"{path}: made by another configuration; give another out folder, or remove it")
        self.epoch, self.history = state["epoch"], [EpochResult(**row) for row in state["history"]]
        self.best, self.best_score = state["best"], state["best_score"]
        if self.head is not None:
            self.head.load_state_dict(state["head"])
        phase = config.phase(self.epoch - 1)
        if phase.name != "float":
            begin_phase(config, self, training, phase.name)
        self.network.load_state_dict(state["network"])
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])


def make_network(config: TrainConfig) -> LMUNetwork | PeerNetwork:
    """Make the float network of a configuration, with random weights."""
    inputs = FrontEnd.from_dict(config.front_end).size
    if config.network is not None:
        return PeerNetwork(inputs, config.network, len(config.labels), config.batch_norm, config.dropout)
    return LMUNetwork(inputs, config.layers, len(config.labels), config.batch_norm, config.dropout)


def start_run(config: TrainConfig, training: TrainingSet, device: torch.device) -> Run:
    """Make the network, head and optimiser before the first epoch."""
    torch.manual_seed(config.seed)
    network = make_network(config)
    if isinstance(network, LMUNetwork) and config.init:
        parent = load_float(zoo.path(config.init, "float-parent.safetensors"))
        network.start_from(parent, _samples(config, training, CALIBRATION_CLIPS))
    head = nn.Linear(network.w.shape[1], len(training.words)).to(device) if config.word_weight else None
    optimizer = _optimizer(config, network.to(device), head)
    average: WeightAverage[Network] = WeightAverage(network, config.average)
    scores = dict.fromkeys(("float", "rounded", "quantized"), -1.0)
    return Run(device, network, head, optimizer, average, 0, [], {}, scores)


def begin_phase(config: TrainConfig, run: Run, training: TrainingSet, phase: str) -> None:
    """Continue from the best network of the phase before, folded and quantized."""
    run.network = quantized_network(config, run.best, training, phase).to(run.device)
    run.average = WeightAverage(run.network, config.average)
    run.optimizer = _optimizer(config, run.network, run.head)


def quantized_network(
    config: TrainConfig, best: Mapping[str, dict[str, Tensor]], training: TrainingSet, phase: str = "quantized"
) -> Network:
    """Quantize the best network of the phase before, with formats chosen on training frames.

    Parameters
    ----------
    config : TrainConfig
        Bits.
    best : mapping of str to dict
        Weights of the best networks by phase.
    training : TrainingSet
        Where frames are drawn from.
    phase : {"rounded", "quantized"}
        What the network is for.
    """
    exact = config.scheme.exact and phase == "quantized"
    frames = _samples(config, training, EXACT_CALIBRATION_CLIPS if exact else CALIBRATION_CLIPS)
    network = make_network(config)
    network.load_state_dict(best["float"])
    network.eval()
    network.dropout.p = 0.0
    if isinstance(network, PeerNetwork) or not exact:
        network.quantize(config.scheme)
        network.calibrate(frames)
        return network
    if config.rounded_epochs:
        network.fold()
        latent = network.state_dict()
        network.load_state_dict({name: best["rounded"][name] for name in latent})
    return _exact_network(config, network, frames, training)


def _exact_network(
    config: TrainConfig, network: LMUNetwork, frames: Tensor, training: TrainingSet
) -> ExactNetwork:
    names = ("weight_bits", "weight_overrides", "input_bits", "u_bits", "state_bits", "state_range")
    bits = {name: getattr(config.scheme, name) for name in names}
    bits |= dict.fromkeys(("a_bits", "b_bits"), config.scheme.matrix_bits)
    floats = network.to_float_model(config.labels, config.name, training.front_end.to_dict())
    start = quantize_model(floats, frames.numpy(), QuantizationConfig(**bits))
    exact = ExactNetwork(start, frames.shape[1] + config.lead_frames)
    exact.calibrate_weights(frames)
    return exact


def _optimizer(config: TrainConfig, network: nn.Module, head: nn.Linear | None) -> torch.optim.AdamW:
    modules = (network,) if head is None else (network, head)
    return make_optimizer(modules, config.learning_rate, config.weight_decay)


def _samples(config: TrainConfig, training: TrainingSet, limit: int) -> Tensor:
    """Frames of at most `limit` clips drawn at random, one copy of each."""
    rng = np.random.default_rng((config.seed, 4))
    copies, clips = training.frames.shape[:2]
    chosen = rng.choice(clips, min(limit, clips), replace=False)
    return torch.from_numpy(training.frames[rng.integers(copies, size=len(chosen)), chosen].astype(np.float32))
