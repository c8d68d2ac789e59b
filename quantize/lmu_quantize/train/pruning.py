"""Structured pruning in training: blocks of weights that the hardware skips whole go to zero, the smallest first.

A block is one column of so many neighbouring rows of a weight matrix, as an accelerator with as many lanes multiplies
in one cycle (`lmu_hw.plan.sparsity`). At the start of each epoch the blocks with the smallest root mean square are
masked. Their share rises as ``fraction * (1 - (1 - t)**3)``, with t from 0 to 1 between the first and the last epoch of
pruning (Zhu & Gupta 2017, "To prune, or not to prune", arXiv:1710.01878). A masked block is exactly zero from then on,
in the float network, in the fine-tuned one, and on its grid.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmu_hw.checks import require_choice, require_int, require_number

__all__ = ["Pruner", "PruningConfig", "block_masks"]

MATRICES = ("e_x", "w_x", "w_m", "w")
RANKINGS = ("matrix", "network")
MAX_ROWS = 64
"""Most lanes of an accelerator."""


@dataclass(frozen=True)
class PruningConfig:
    """Which weights are pruned, and when.

    Parameters
    ----------
    fraction : float
        Part of the blocks of the chosen matrices that are zero in the end, above 0 and below 1.
    rows : int
        Rows of a block, 1 to 64: as many as the accelerator has lanes, or a multiple.
    first_epoch, last_epoch : int
        Float epochs between which the fraction rises from 0; from the last one on it is reached.
    matrices : tuple of {"e_x", "w_x", "w_m", "w"}
        Weight matrices, in every layer that has them.
    ranking : {"matrix", "network"}
        Whether the smallest blocks of each matrix are masked, or the smallest of all matrices together.
    """

    fraction: float = 0.8
    rows: int = 16
    first_epoch: int = 0
    last_epoch: int = 0
    matrices: tuple[str, ...] = ("w_x", "w_m")
    ranking: str = "matrix"

    def __post_init__(self) -> None:
        require_number("pruning fraction", self.fraction, 0, 1, above=True, below=True)
        require_int("pruning rows", self.rows, 1, MAX_ROWS)
        for name in ("first_epoch", "last_epoch"):
            require_int(f"pruning {name}", getattr(self, name), 0)
        if self.last_epoch < self.first_epoch:
            raise ValueError(
                f"pruning last_epoch must be at least first_epoch ({self.first_epoch}), not {self.last_epoch!r}"
            )
        object.__setattr__(self, "matrices", tuple(self.matrices))
        unknown = [name for name in self.matrices if name not in MATRICES]
        if unknown or not self.matrices or len(set(self.matrices)) != len(self.matrices):
            raise ValueError(f"pruning matrices must be some of {', '.join(MATRICES)}, not {self.matrices!r}")
        require_choice("pruning ranking", self.ranking, RANKINGS)

    def fraction_in(self, epoch: int) -> float:
        """Part of the blocks that is masked in an epoch."""
        if epoch < self.first_epoch:
            return 0.0
        part = min(1.0, (epoch - self.first_epoch + 1) / (self.last_epoch - self.first_epoch + 1))
        return self.fraction * (1 - (1 - part) ** 3)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def _block_norms(weights: Tensor, rows: int) -> Tensor:
    """Root mean square of each block, shape (groups of rows, columns); the last group may have fewer rows."""
    groups = -(-len(weights) // rows)
    squares = functional.pad(weights.detach().square(), (0, 0, 0, groups * rows - len(weights)))
    present = torch.full((groups, 1), float(rows), device=weights.device)
    present[-1] = len(weights) - (groups - 1) * rows
    return (squares.reshape(groups, rows, -1).sum(dim=1) / present).sqrt()


def _smallest(values: Tensor, fraction: float) -> Tensor:
    """Mark a part of the values, the smallest, of equal ones the first."""
    marked = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    marked[torch.argsort(values.flatten(), stable=True)[: round(fraction * values.numel())]] = True
    return marked.reshape(values.shape)


def block_masks(weights: list[Tensor], rows: int, fraction: float, ranking: str = "matrix") -> list[Tensor]:
    """Choose the blocks that stay.

    Parameters
    ----------
    weights : list of Tensor
        Matrices, each of shape (rows, columns).
    rows : int
        Rows of a block.
    fraction : float
        Part of the blocks that go, 0 to 1.
    ranking : {"matrix", "network"}
        As in `PruningConfig`.

    Returns
    -------
    list of Tensor
        For each matrix, in its shape, 1 where a weight stays and 0 where it is pruned.
    """
    norms = [_block_norms(each, rows) for each in weights]
    if ranking == "network":
        together = _smallest(torch.cat([each.flatten() for each in norms]), fraction)
        parts = together.split([each.numel() for each in norms])
        pruned = [part.reshape(each.shape) for part, each in zip(parts, norms, strict=True)]
    else:
        pruned = [_smallest(each, fraction) for each in norms]
    return [
        (~blocks).repeat_interleave(rows, dim=0)[: len(each)].to(each.dtype)
        for blocks, each in zip(pruned, weights, strict=True)
    ]


class Pruner:
    """The masks of a network in one epoch.

    Blocks that are masked are zero, and zero is the smallest, so masks chosen anew in the next epoch, after a resume or
    in fine-tuning hold all that were masked before.

    Parameters
    ----------
    config : PruningConfig or None
        None prunes nothing.
    network : Module
        An `LMUNetwork` or an `ExactNetwork`; its masked weights are set to zero.
    epoch : int
        Number of the epoch, those of fine-tuning counted on.
    """

    def __init__(self, config: PruningConfig | None, network: nn.Module, epoch: int) -> None:
        self.complete = config is None or epoch >= config.last_epoch
        self.parameters: list[nn.Parameter] = []
        self.masks: list[Tensor] = []
        if config is None:
            return
        named = [(name.split(".")[-1], parameter) for name, parameter in network.named_parameters()]
        self.parameters = [parameter for name, parameter in named if name in config.matrices]
        self.masks = block_masks(list(self.parameters), config.rows, config.fraction_in(epoch), config.ranking)
        self.hold()

    def mask_gradients(self) -> None:
        """Set the gradients of masked weights to zero, so that they do not count where gradients are clipped."""
        for parameter, mask in zip(self.parameters, self.masks, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def hold(self) -> None:
        """Set masked weights to zero."""
        for parameter, mask in zip(self.parameters, self.masks, strict=True):
            parameter.mul_(mask)
