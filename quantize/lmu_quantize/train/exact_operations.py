"""The operations of exact training: what the golden model computes forward, straight through the roundings backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.memory_layer import QuantizedMemoryLayer

__all__ = [
    "EXACT", "ExactNarrow", "Memories", "NarrowedSum", "OnGrid", "RoundedMemory", "RoundedUpdate", "filtered",
    "memory_groups",
]  # fmt: skip

EXACT = 1 << 24
"""Integers up to this magnitude are exact in float32."""


def _half_away(values: Tensor) -> Tensor:
    """Nearest integers, ties away from zero: `Rounding.HALF_UP`."""
    return torch.trunc(values + torch.copysign(torch.full_like(values, 0.5), values))


@dataclass(frozen=True)
class ExactNarrow:
    """How a sum is narrowed.

    Parameters
    ----------
    quantizer : Quantizer
        Format and overflow; rounding is to nearest, ties away from zero.
    relu : bool
        Whether negative values become 0.
    """

    quantizer: Quantizer
    relu: bool = False


class NarrowedSum(torch.autograd.Function):
    """A narrowed sum of matrix products and a bias; gradients pass where nothing saturates.

    The bias is a vector, or in the shape of the sum.
    """

    @staticmethod
    def forward(ctx: Any, narrow: ExactNarrow, bias: Tensor, *pairs: Tensor) -> Tensor:
        total = bias.double()
        for source, weight in zip(pairs[::2], pairs[1::2], strict=True):
            total = total + torch.nn.functional.linear(source, weight).double()
        fmt = narrow.quantizer.format
        rounded = _half_away(total * 2.0**fmt.frac)
        value = rounded.clamp(narrow.quantizer.low, fmt.max)
        passed = value == rounded
        ctx.shared_bias = bias.ndim == 1
        if narrow.relu:
            value = value.clamp_min(0)
            passed &= total > 0
        ctx.save_for_backward(passed, *pairs)
        return (value * 2.0**-fmt.frac).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        passed, *pairs = ctx.saved_tensors
        gradient = gradients[0] * passed
        flat = gradient.flatten(0, -2)
        results: list[Tensor | None] = [None, flat.sum(0) if ctx.shared_bias else gradient]
        for source, weight in zip(pairs[::2], pairs[1::2], strict=True):
            results += [gradient @ weight, flat.T @ source.flatten(0, -2)]
        return tuple(results)


class OnGrid(torch.autograd.Function):
    """Values rounded to given fraction bits, ties towards plus infinity; the gradient passes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, frac: Tensor) -> Tensor:
        scale = torch.exp2(frac.double())
        return torch.floor(values.double() * scale + 0.5) / scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0].float(), None


def filtered(state: Tensor, weights: Tensor, filters: int) -> Tensor:
    """Products of each memory's state with the weights of its own filters.

    Parameters
    ----------
    state : Tensor
        float32, shape (batch, T, M * d).
    weights : Tensor
        float32, shape (M * filters, d).
    filters : int
        Filters of each memory.

    Returns
    -------
    Tensor
        float32, shape (batch, T, M * filters).
    """
    own = weights.unflatten(0, (-1, filters))
    return torch.einsum("btkd,kjd->btkj", state.unflatten(2, (len(own), -1)), own).flatten(2)


@dataclass(frozen=True, eq=False)
class Memories:
    """Neighbouring memories of one layer that share their matrices.

    ``a`` and ``b`` are scaled so that the sum is in steps of the state; ``u_frac`` and ``m_frac`` are the fraction bits
    of u and of the state.
    """

    count: int
    a: Tensor
    b: Tensor
    low: float
    high: float
    u_frac: int
    m_frac: int
    response: NDArray[np.float64]

    def run(self, u: Tensor, read: range) -> Tensor:
        """State in the frames that are read, shape (batch, len(read), count * order), of u, (batch, T, count)."""
        batch, frames, _ = u.shape
        a, b = self.a.to(u.device), self.b.to(u.device)
        order = len(b)
        driven = (u * 2.0**self.u_frac).transpose(0, 1).reshape(frames, batch * self.count, 1).to(b) * b
        half = torch.full((batch * self.count, order), 0.5, dtype=a.dtype, device=u.device)
        state = torch.zeros_like(half)
        kept = torch.empty((len(read), *state.shape), dtype=a.dtype, device=u.device)
        for now in range(read[-1] + 1):
            total = torch.addmm(driven[now], state, a)
            state = total.add_(torch.copysign(half, total)).trunc_().clamp_(self.low, self.high)
            if now in read:
                kept[read.index(now)] = state
        real = kept.float() * 2.0**-self.m_frac
        return real.view(len(read), batch, self.count * order).transpose(0, 1)

    def update(self, u: Tensor, state: Tensor) -> Tensor:
        """State after one frame, shape (batch, count * order), of u, (batch, count), and the state before it."""
        a, b = self.a.to(u.device), self.b.to(u.device)
        driven = (u * 2.0**self.u_frac).reshape(-1, 1).to(b) * b
        total = torch.addmm(driven, (state * 2.0**self.m_frac).view(-1, len(b)).to(a), a)
        rounded = _half_away(total).clamp(self.low, self.high)
        return (rounded.float() * 2.0**-self.m_frac).view_as(state)

    def toeplitz(self, frames: int, read: range) -> Tensor:
        """Matrix from u of all frames to the unrounded state where it is read, shape (frames, len(read) * order)."""
        matrix = np.zeros((frames, len(read), len(self.b)))
        for position, now in enumerate(read):
            matrix[: now + 1, position] = self.response[now::-1]
        return torch.from_numpy(matrix.reshape(frames, -1).astype(np.float32))


class RoundedMemory(torch.autograd.Function):
    """The rounded recurrence forward, the transposed impulse response backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, group: Memories, toeplitz: Tensor, read: range) -> Tensor:
        ctx.group, ctx.last = group, len(read)
        ctx.save_for_backward(toeplitz)
        return group.run(u, read)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (toeplitz,) = ctx.saved_tensors
        batch, last, count = len(gradients[0]), ctx.last, ctx.group.count
        order = gradients[0].shape[2] // count
        gradient = gradients[0].view(batch, last, count, order).transpose(1, 2).reshape(batch, count, last * order)
        return (gradient @ toeplitz.T).transpose(1, 2), None, None, None


class RoundedUpdate(torch.autograd.Function):
    """One frame of the rounded recurrence forward, its transposed matrices backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, state: Tensor, group: Memories) -> Tensor:
        ctx.group = group
        return group.update(u, state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        group: Memories = ctx.group
        gradient = gradients[0].view(len(gradients[0]), group.count, -1)
        a, b = group.a.to(gradient), torch.from_numpy(group.response[0]).to(gradient)
        return gradient @ b, (gradient @ a.T).flatten(1), None


def memory_groups(layer: QuantizedMemoryLayer, u: Format, frames: int) -> list[Memories]:
    """Runs of neighbouring memories that share their matrices, in order.

    Parameters
    ----------
    layer : QuantizedMemoryLayer
        The layer.
    u : Format
        Format of the memories' inputs.
    frames : int
        Length of the longest sequence.
    """
    groups: list[Memories] = []
    fmt_a, fmt_b, m = layer.a_format, layer.b_format, layer.m.format
    steps = max(fmt_a.frac, fmt_b.frac + u.frac - m.frac, 0)
    first = 0
    while first < len(layer.matrix):
        last = first
        while last < len(layer.matrix) and layer.matrix[last] == layer.matrix[first]:
            last += 1
        a, b = fmt_a.real(layer.a[layer.matrix[first]]), fmt_b.real(layer.b[layer.matrix[first]])
        scaled_b = np.ldexp(b, m.frac - u.frac)
        reach = np.abs(a).sum(axis=1) * m.magnitude + np.abs(scaled_b) * u.magnitude + 1
        dtype = torch.float32 if float(reach.max()) * 2.0**steps < EXACT else torch.float64
        response = np.empty((frames, b.size))
        state = b
        for lag in range(frames):
            response[lag] = state
            state = a @ state
        groups.append(
            Memories(
                last - first, torch.from_numpy(a.T.copy()).to(dtype), torch.from_numpy(scaled_b).to(dtype),
                float(layer.m.low), float(m.max), u.frac, m.frac, response,
            )
        )  # fmt: skip
        first = last
    return groups
