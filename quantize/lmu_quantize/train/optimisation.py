"""The optimiser and its learning rate."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["make_optimizer", "set_rate"]


def make_optimizer(modules: Sequence[nn.Module], rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the parameters of modules; weights decay, biases and normalisations do not."""
    parameters = list(itertools.chain.from_iterable(module.parameters() for module in modules))
    weights = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


def set_rate(optimizer: torch.optim.Optimizer, peak: float, part: float, warmup: float) -> float:
    """Set and give the learning rate at a part of the run, 0 to below 1: a linear rise, then half a cosine to 0."""
    if part < warmup:
        relative = (part + 1e-3) / (warmup + 1e-3)
    else:
        relative = 0.5 * (1 + math.cos(math.pi * (part - warmup) / (1 - warmup)))
    rate = peak * relative
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
