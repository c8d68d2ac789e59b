"""The mean of a network's weights over the last steps of training.

It is an exponential mean (Polyak and Juditsky 1992; "EMA"), which is nearer to the minimum than the last weights are
while the learning rate is large. Running statistics of batch normalisation are averaged too.
"""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]

Module = TypeVar("Module", bound=nn.Module)


class WeightAverage(Generic[Module]):
    """Keeps the mean of a network's floating-point state.

    Parameters
    ----------
    network : Module
        What is trained.
    decay : float
        Part of the mean that a step keeps, 0 to below 1; less in the first steps, which are soon forgotten. With 0 the
        mean is the network itself.
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.network = copy.deepcopy(network) if decay else network
        self._pairs = [
            (mean, value)
            for mean, value in zip(_state(self.network), _state(network), strict=True)
            if mean.is_floating_point()
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's present state into the mean."""
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for mean, value in self._pairs:
            mean.lerp_(value, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Give the mean and the number of steps, for a checkpoint."""
        return self.network.state_dict() | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take `state` back."""
        self.steps = int(state["steps"])
        self.network.load_state_dict({name: value for name, value in state.items() if name != "steps"})


def _state(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
