"""Scores of a network on the clips of a split."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmu_quantize.score import Score, score_decisions
from lmu_quantize.train.data import EvaluationSet
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LMUNetwork
from lmu_quantize.train.peers import PeerNetwork
from lmu_quantize.train.regularisation import zero_fractions

__all__ = ["Network", "evaluate", "hidden_zeros", "last_logits"]

EVALUATION_BATCH = 512

Network = LMUNetwork | ExactNetwork | PeerNetwork


def evaluate(network: Network, data: EvaluationSet, labels: tuple[str, ...]) -> Score:
    """Score the decision at the last frame of each clip.

    Parameters
    ----------
    network : LMUNetwork, ExactNetwork or PeerNetwork
        Put into evaluation mode.
    data : EvaluationSet
        Frames and labels.
    labels : tuple of str
        Names of the outputs.

    Returns
    -------
    Score
    """
    return score_decisions(last_logits(network, data).argmax(axis=1), data.labels, labels)


@torch.no_grad()
def last_logits(network: Network, data: EvaluationSet) -> NDArray[np.float64]:
    """Compute the logits of each clip's last frame, shape (clips, labels); puts the network into evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    batches = torch.from_numpy(data.frames).split(EVALUATION_BATCH)
    return np.concatenate([network(batch.to(device))[:, -1].double().cpu().numpy() for batch in batches])


@torch.no_grad()
def hidden_zeros(network: Network, data: EvaluationSet) -> dict[str, float]:
    """Fraction of zeros in the hidden states of each layer, by name, on up to about 512 clips spread over a split."""
    trace: dict[str, Tensor] = {}
    frames = torch.from_numpy(data.frames[:: max(1, len(data.frames) // EVALUATION_BATCH)])
    network(frames, frames.shape[1] // network.period, trace)
    return zero_fractions(trace)
