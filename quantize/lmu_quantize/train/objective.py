"""What a network is trained for: labels, words, the outputs of a teacher, and few activations and weights."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lmu_quantize.train.batches import Batches
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import TrainingSet
from lmu_quantize.train.devices import CPU
from lmu_quantize.train.regularisation import activity_loss, weight_loss
from lmu_quantize.train.teacher import Teacher

__all__ = ["Objective", "label_offset", "word_offset"]

RAREST = 1e-4
"""Least frequency of a label or word that is reckoned with."""


def label_offset(batches: Batches) -> Tensor:
    """Logarithm of how much more frequent each label is in training than equally frequent ones, shape (labels,)."""
    training, labels = batches.training, len(batches.config.labels)
    return _log_ratio(training.labels, batches.frequencies(), np.full(labels, 1 / labels))


def word_offset(batches: Batches) -> Tensor:
    """Give the same for words, where the words of one label share its frequency, shape (words,)."""
    training, labels = batches.training, len(batches.config.labels)
    words = np.bincount(training.label_of_word, minlength=labels)[training.label_of_word]
    return _log_ratio(training.word_of, batches.frequencies(), 1 / (labels * words))


def _log_ratio(classes: NDArray[np.int64], weights: NDArray[np.float64], target: NDArray[np.float64]) -> Tensor:
    actual = np.bincount(classes, weights, minlength=len(target)) / weights.sum()
    return torch.from_numpy(np.log(np.maximum(actual, RAREST) / target).astype(np.float32))


class Objective:
    """The loss of one batch.

    Parameters
    ----------
    config : TrainConfig
        Weights of the parts.
    batches : Batches
        Where the clips come from.
    teacher : Teacher or None
        Gives outputs to learn.
    head : torch.nn.Linear or None
        From hidden states to words.
    device : torch.device
        Where the network is.
    """

    def __init__(
        self,
        config: TrainConfig,
        batches: Batches,
        teacher: Teacher | None,
        head: nn.Linear | None,
        device: torch.device = CPU,
    ) -> None:
        self.config, self.teacher, self.head = config, teacher, head
        self.training: TrainingSet = batches.training
        zero = torch.zeros(())
        self.label_offset = (label_offset(batches) if config.balanced else zero).to(device)
        self.word_offset = (word_offset(batches) if config.balanced else zero).to(device)

    def __call__(
        self,
        logits: Tensor,
        hidden: Tensor,
        frames: Tensor,
        clips: NDArray[np.int64],
        trace: Mapping[str, Tensor] | None = None,
        parameters: Iterable[Tensor] = (),
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        logits : Tensor
            float32, shape (batch, last, labels).
        hidden : Tensor
            float32, shape (batch, last, units).
        frames : Tensor
            float32, shape (batch, T, inputs), as the student sees them; the teacher does not see the
            ``config.lead_frames`` first ones.
        clips : ndarray of int64, shape (batch,)
            Numbers of the clips in the training set.
        trace : mapping of str to Tensor, optional
            What the network computed; asked for where `traced`.
        parameters : iterable of Tensor
            Of the network.

        Returns
        -------
        Tensor
            A scalar.
        """
        targets = torch.from_numpy(self.training.labels[clips]).to(logits.device)
        loss = self._hard(logits + self.label_offset, targets)
        if self.teacher is not None and self.config.teacher is not None:
            part, heat = self.config.teacher.weight, self.config.teacher.temperature
            learnt = self.teacher.merged(logits / heat)
            with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
                wanted = self.teacher(frames[:, self.config.lead_frames :], logits.shape[1])
            loss = (1 - part) * loss + part * _divergence(learnt, wanted / heat, heat)
        if self.head is not None:
            words = torch.from_numpy(self.training.word_of[clips]).to(logits.device)
            loss = loss + self.config.word_weight * self._hard(self.head(hidden) + self.word_offset, words)
        if trace is not None and self.traced:
            loss = loss + self.config.activity_density * activity_loss(trace)
        if self.config.weight_density:
            loss = loss + self.config.weight_density * weight_loss(parameters)
        return loss

    @property
    def traced(self) -> bool:
        """Whether the loss depends on hidden states of all layers."""
        return self.config.activity_density > 0

    def _hard(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits.flatten(0, 1),
            targets.repeat_interleave(logits.shape[1]),
            label_smoothing=self.config.label_smoothing,
        )


def _divergence(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened outputs from the wanted ones, scaled to keep its gradients' size."""
    target = functional.softmax(wanted, -1)
    divergence = functional.kl_div(functional.log_softmax(logits, -1), target, reduction="none")
    return divergence.sum(-1).mean() * temperature**2
