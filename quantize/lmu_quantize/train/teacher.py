"""A trained network as a teacher: another one learns its outputs (Hinton et al. 2015, arXiv:1503.02531)."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmu_hw.checks import require_number
from lmu_quantize import zoo
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.train.devices import CPU
from lmu_quantize.train.network import LMUNetwork

__all__ = ["Teacher", "TeacherConfig"]


@dataclass(frozen=True)
class TeacherConfig:
    """Which network is the teacher, and how much is learnt from it.

    Parameters
    ----------
    model : str
        Name of a shipped network, whose float parent teaches, or the file of a float model.
    weight : float
        Part of the loss that the teacher's outputs make, 0 to 1; the labels make the rest.
    temperature : float
        Divides the logits of both where they are compared, above 0.
    """

    model: str
    weight: float = 0.7
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"teacher model must be a shipped name or a file, not {self.model!r}")
        require_number("teacher weight", self.weight, 0, 1)
        require_number("teacher temperature", self.temperature, 0, above=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Teacher:
    """A network that gives logits for frames as the student sees them.

    Parameters
    ----------
    config : TeacherConfig
        Which network.
    labels : tuple of str
        Labels of the student: those of the teacher, or these and more words, which are ``unknown`` to it.
    front_end : FrontEnd
        Of the student; that of the teacher may differ in its normalisation only.
    period : int
        Input frames for one output of the student.
    device : torch.device
        Where the student's frames are.

    Raises
    ------
    ValueError
        The network has other labels, another front end, or no output in some of the student's frames.
    """

    def __init__(
        self,
        config: TeacherConfig,
        labels: tuple[str, ...],
        front_end: FrontEnd,
        period: int = 1,
        device: torch.device = CPU,
    ) -> None:
        file = Path(config.model)
        model = load_float(file if file.is_file() else zoo.path(config.model, "float-parent.safetensors"))
        groups = _groups(labels, model.labels)
        self.groups = None if groups is None else groups.to(device)
        if self.groups is None and model.labels != labels:
            raise ValueError(f"teacher {config.model!r} has the labels {', '.join(model.labels)}")
        own = FrontEnd.from_dict(model.front_end or {})
        if replace(own, offset=None, scale=None) != replace(front_end, offset=None, scale=None):
            raise ValueError(f"teacher {config.model!r} has another front end")
        self.network, self.period = LMUNetwork.from_float(model).eval().to(device), period
        if period % self.network.period:
            raise ValueError(
                f"teacher {config.model!r} has an output every {self.network.period} frames, the student every {period}"
            )
        student, teacher = _normalisation(front_end), _normalisation(own)
        self.scale = (teacher[1] / student[1]).to(device)
        self.offset = ((student[0] - teacher[0]) * teacher[1]).to(device)

    @torch.no_grad()
    def __call__(self, frames: Tensor, last: int) -> Tensor:
        """Compute the logits of the student's last outputs, float32, (batch, T, inputs) to (batch, last, labels)."""
        frames = frames[:, : frames.shape[1] // self.period * self.period]
        ratio = self.period // self.network.period
        logits: Tensor = self.network(frames * self.scale + self.offset, (last - 1) * ratio + 1)
        return logits[:, ::ratio].float()

    def merged(self, logits: Tensor) -> Tensor:
        """Give logits of the teacher's labels, (..., labels of the student) to (..., labels of the teacher).

        The probabilities of ``unknown`` and of the words that the teacher does not know are added up.
        """
        if self.groups is None:
            return logits
        return (logits.unsqueeze(-2) + self.groups).logsumexp(-1)


def _groups(student: tuple[str, ...], teacher: tuple[str, ...]) -> Tensor | None:
    """Mark which labels make up one of the teacher, 0 and -inf; None where they are the same or do not fit."""
    more = set(student) - set(teacher)
    if not more or "unknown" not in teacher or not set(teacher) <= set(student):
        return None
    names = ["unknown" if label in more else label for label in student]
    taken = torch.tensor([[name == label for name in names] for label in teacher])
    return torch.zeros(taken.shape).masked_fill(~taken, -torch.inf)


def _normalisation(front_end: FrontEnd) -> tuple[Tensor, Tensor]:
    """Offset and scale, which change nothing where a front end has none."""
    offset, scale = front_end.offset, front_end.scale
    if offset is None or scale is None:
        return torch.zeros(front_end.size), torch.ones(front_end.size)
    return torch.tensor(offset), torch.tensor(scale)
