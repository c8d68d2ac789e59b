"""Few non-zero activations and weights: what is trained for, and what came of it."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["activity_loss", "density", "weight_loss", "zero_fractions"]

EPSILON = 1e-8
"""Added to a mean square, so that rows of zeros have a gradient."""


def density(values: Tensor) -> Tensor:
    """Mean magnitude over root mean square of each row.

    It is 1 where all elements of a row have one magnitude, and near 0 where few are not zero. It is the L1 norm, made
    free of scale by the L2 norm (Hoyer 2004, "Non-negative matrix factorization with sparseness constraints"). L1 alone
    would not work: a layer with smaller outputs under one with larger weights computes the same.

    Parameters
    ----------
    values : Tensor
        Shape (..., elements).

    Returns
    -------
    Tensor
        Shape (...), 0 to 1.
    """
    return values.abs().mean(-1) / (values.square().mean(-1) + EPSILON).sqrt()


def activity_loss(trace: Mapping[str, Tensor]) -> Tensor:
    """Mean `density` of the hidden states of all layers, each over the batch and its frames.

    Parameters
    ----------
    trace : mapping of str to Tensor
        As the networks fill it: ``layer{i}.h``, shape (batch, frames, units).
    """
    return torch.stack([density(h.flatten()) for name, h in trace.items() if name.endswith(".h")]).mean()


def weight_loss(parameters: Iterable[Tensor]) -> Tensor:
    """Mean `density` of the rows of every weight matrix; a row has a scale of its own. Vectors do not count."""
    return torch.stack([density(matrix).mean() for matrix in parameters if matrix.ndim >= 2]).mean()


@torch.no_grad()
def zero_fractions(trace: Mapping[str, Tensor]) -> dict[str, float]:
    """Fraction of zeros in the hidden states of each layer, by name: products that the layers above can skip."""
    return {name: float((h == 0).double().mean()) for name, h in trace.items() if name.endswith(".h")}
