"""From u to the state of a memory, parallel over time, with windows that are given or learnt.

The state of a frame is the sum over all earlier frames of ``A**k B u`` (Chilkuri and Eliasmith 2021, eq. 24), so the
states of several frames are one product of u with a Toeplitz matrix. If the window length is learnt (Voelker, Kajic and
Eliasmith 2019), the matrix is a function of it. A and B are then discretised again in every step, in float64, and the
gradient goes through the matrix exponential.
"""

import functools

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from lmu_quantize.model import LegendreMemory
from lmu_quantize.train.devices import CPU

__all__ = ["LearntWindows", "read_frames", "toeplitz"]


def read_frames(frames: int, last: int, stride: int) -> range:
    """Frames in which the state is read: the last ones of every `stride`-th, counted as `LMULayer` does.

    Parameters
    ----------
    frames : int
        Length of the sequence.
    last : int
        Frames wanted, counted from the end.
    stride : int
        The state is read in frames ``stride - 1``, ``2 * stride - 1`` and so on.

    Raises
    ------
    ValueError
        The sequence has fewer such frames, or none is wanted.
    """
    computed = range(stride - 1, frames, stride)
    if not 1 <= last <= len(computed):
        raise ValueError(f"last must be in 1 to {len(computed)} for {frames} frames and stride {stride}, not {last!r}")
    return computed[-last:]


@functools.lru_cache(maxsize=64)
def toeplitz(
    memory: LegendreMemory, frames: int, last: int, stride: int, device: torch.device = CPU
) -> Tensor:
    """Matrix from u of all frames to the state where it is read, float32, shape (last * order, frames).

    Parameters
    ----------
    memory : LegendreMemory
        Order, window and discretisation.
    frames, last, stride : int
        As `read_frames` takes them.
    device : torch.device
        Where the matrix is wanted.
    """
    a, b = memory.discretize()
    response = np.empty((frames, memory.order))
    state = b
    for lag in range(frames):
        response[lag] = state
        state = a @ state
    matrix = np.zeros((last, memory.order, frames))
    for position, now in enumerate(read_frames(frames, last, stride)):
        matrix[position, :, : now + 1] = response[now::-1].T
    return torch.from_numpy(matrix.reshape(last * memory.order, frames).astype(np.float32)).to(device)


class LearntWindows(nn.Module):
    """Memories of one order whose window lengths are parameters.

    Parameters
    ----------
    memories : tuple of LegendreMemory
        One for each window length, of equal order and discretisation; their windows are the first values. What is
        learnt is the logarithm of the factor by which a window has grown, so it stays above 0.
    """

    def __init__(self, memories: tuple[LegendreMemory, ...]) -> None:
        super().__init__()
        self.memories = memories
        self.growth = nn.Parameter(torch.zeros(len(memories)))

    @torch.no_grad()
    def start_from(self, thetas: tuple[float, ...]) -> None:
        """Set the window lengths, in frames, one for each memory."""
        self.growth.copy_(torch.log(self._float64(thetas) / self._start()))

    @torch.no_grad()
    def learnt(self) -> tuple[LegendreMemory, ...]:
        """Memories with the present window lengths."""
        factors = self.growth.double().exp().tolist()
        return tuple(
            LegendreMemory(memory.order, memory.theta * factor, memory.discretizer)
            for memory, factor in zip(self.memories, factors, strict=True)
        )

    def _float64(self, values: ArrayLike) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.growth.device)

    def _start(self) -> Tensor:
        return self._float64([memory.theta for memory in self.memories])

    def discretized(self) -> tuple[Tensor, Tensor]:
        """Give A and B of all memories, float64, shapes (memories, order, order) and (memories, order)."""
        first = self.memories[0]
        theta = self._start() * self.growth.double().exp()
        continuous = self._float64(np.column_stack(first.continuous()))
        scaled = continuous / theta[:, None, None]
        a, b = scaled[..., :-1], scaled[..., -1]
        if first.discretizer == "euler":
            return a + torch.eye(first.order, dtype=torch.float64, device=a.device), b
        exponential = torch.matrix_exp(functional.pad(scaled, (0, 0, 0, 1)))
        return exponential[:, :-1, :-1], exponential[:, :-1, -1]

    def toeplitz(self, frames: int, last: int, stride: int) -> Tensor:
        """Give `toeplitz` of every memory, float32, shape (memories, last * order, frames), with gradients."""
        power, state = self.discretized()
        response = state[:, None]
        while response.shape[1] < frames:  # lags 0 to n - 1 and A**n give those to 2 n - 1
            response = torch.cat([response, response @ power.transpose(1, 2)], dim=1)
            power = power @ power
        read = torch.tensor(read_frames(frames, last, stride), device=state.device)
        lags = read[:, None] - torch.arange(frames, device=state.device)
        responses = response.index_select(1, lags.clamp_min(0).flatten()) * (lags >= 0).flatten()[:, None]
        responses = responses.view(len(responses), last, frames, -1).transpose(2, 3)
        return responses.reshape(len(responses), -1, frames).float()
