"""Operations on the elements of activations with gradients of their own, made of the few that PyTorch does fast.

On a CPU, PyTorch's batch normalisation takes twice as long as the passes over memory that it needs. Dropout and fake
quantization take 5 to 30 times as long. In a small network all of these together take longer than the matrix products.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Dropout", "RoundToGrid", "normalised_relu"]


class _NormalisedRelu(torch.autograd.Function):
    """ReLU of a normalised sum and, where there is one, a residual; also gives the mean and variance of the sum."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, gain: Tensor, bias: Tensor, residual: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = total.float()
        mean = values.mean(1, keepdim=True)
        centred = values - mean
        variance = torch.linalg.vector_norm(centred, dim=1, keepdim=True).square_().div_(total.shape[1])
        rate = (variance + eps).rsqrt_()
        centred.mul_(rate)
        result = (centred * gain[:, None]).add_(bias[:, None])
        if residual is not None:
            result.add_(residual)
        result = result.clamp_min_(0.0).to(total.dtype)
        ctx.has_residual = residual is not None
        ctx.save_for_backward(centred.to(total.dtype), result, gain[:, None] * rate)
        ctx.mark_non_differentiable(mean, variance)
        return result, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        centred, result, slope = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradients[0], result, 0)
        values, gradient = centred.float(), passed.float()
        if gradient is passed:
            gradient = gradient.clone()
        of_bias = gradient.sum(1, keepdim=True)
        of_gain = (gradient * values).sum(1, keepdim=True)
        count = centred.shape[1]
        gradient.sub_(of_bias / count).sub_(values * (of_gain / count)).mul_(slope)
        return gradient.to(passed.dtype), of_gain[:, 0], of_bias[:, 0], passed if ctx.has_residual else None, None


def normalised_relu(norm: nn.BatchNorm1d, total: Tensor, residual: Tensor | None = None) -> Tensor:
    """Batch normalisation, sum with a residual, ReLU.

    Parameters
    ----------
    norm : BatchNorm1d
        Parameters and running statistics, which training updates.
    total : Tensor
        Shape (channels, N); bfloat16 or float32, as the result.
    residual : Tensor, optional
        In the shape of `total`.

    Returns
    -------
    Tensor
        In the shape of `total`.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch normalisation must keep running statistics")
    if not norm.training:
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        result = total * gain[:, None] + (norm.bias - norm.running_mean * gain)[:, None]
        return torch.relu(result if residual is None else result + residual)
    result, mean, variance = _NormalisedRelu.apply(total, norm.weight, norm.bias, residual, norm.eps)
    count, step = total.shape[1], norm.momentum or 0.0
    with torch.no_grad():
        norm.running_mean.lerp_(mean[:, 0], step)
        norm.running_var.lerp_(variance[:, 0] * (count / (count - 1)), step)
    activated: Tensor = result
    return activated


class RoundToGrid(torch.autograd.Function):
    """Values rounded to multiples of ``2**-frac``, ties to even, and clipped; the gradient stops where they clip."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, frac: Tensor, low: int, high: int) -> Tensor:
        scaled = values * torch.exp2(frac.to(values.dtype))
        ctx.limits = low - 0.5, high + 0.5
        ctx.save_for_backward(scaled)
        return torch.round(scaled).clamp_(low, high).mul_(torch.exp2(-frac.to(values.dtype)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (scaled,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], scaled, *ctx.limits), None, None, None


class Dropout(nn.Module):
    """Dropout in steps of 1/256, with random bytes of NumPy, seeded by PyTorch's generator.

    Parameters
    ----------
    p : float
        Fraction of elements that become 0 in training, 0 to below 1; the others are scaled up.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        """Drop elements in training."""
        dropped = round(self.p * 256)
        if not self.training or not dropped:
            return values
        random = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
        noise = torch.frombuffer(bytearray(random.bytes(values.numel())), dtype=torch.uint8)
        kept = noise.to(values.device, values.dtype).sub_(dropped - 0.5).mul_(512.0).clamp_(0.0, 256 / (256 - dropped))
        order = sorted(range(values.ndim), key=values.stride, reverse=True)
        shape = [values.shape[axis] for axis in order]
        return values * kept.view(shape).permute(*np.argsort(order).tolist())
