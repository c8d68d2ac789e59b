"""A layer frame by frame, for layers that feed their state back: nothing of them is parallel over time."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["recur"]


def recur(
    frames: int,
    stride: int,
    state: tuple[Tensor, Tensor],
    encode: Callable[[int, Tensor, Tensor], Tensor],
    remember: Callable[[Tensor, Tensor], Tensor],
    read_out: Callable[[int, Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer over a sequence, in the order of `lmu_quantize.model`.

    Parameters
    ----------
    frames : int
        Length of the sequence.
    stride : int
        The hidden state is computed in every ``stride``-th frame.
    state : tuple of two Tensors
        Memory and hidden state at the start, shapes (batch, states) and (batch, units).
    encode : callable
        From the number of a frame, the memory and the hidden state before it to u, shape (batch, memories).
    remember : callable
        From u and the memory to the new memory.
    read_out : callable
        From the number of a computed frame, counted among those only, the new memory and the hidden state before it to
        the new hidden state.

    Returns
    -------
    u : Tensor
        Of all frames, shape (batch, frames, memories).
    m, h : Tensor
        Of the frames that compute a hidden state, shapes (batch, frames // stride, states) and (..., units).
    """
    m, h = state
    every_u, kept_m, kept_h = [], [], []
    for now in range(frames):
        u = encode(now, m, h)
        m = remember(u, m)
        every_u.append(u)
        if (now + 1) % stride == 0:
            h = read_out(now // stride, m, h)
            kept_m.append(m)
            kept_h.append(h)
    return torch.stack(every_u, 1), torch.stack(kept_m, 1), torch.stack(kept_h, 1)
