"""Networks train on any device: tried on PyTorch's meta device, whose tensors have shapes only."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lmu_quantize import zoo
from lmu_quantize.calibrate import quantize_model
from lmu_quantize.features import FrontEnd
from lmu_quantize.float_file import load_float
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.devices import choose_device
from lmu_quantize.train.exact import ExactNetwork
from lmu_quantize.train.network import LayerSpec, LMUNetwork
from lmu_quantize.train.peers import PeerNetwork, PeerSpec
from lmu_quantize.train.pruning import Pruner, PruningConfig
from lmu_quantize.train.regularisation import activity_loss, weight_loss
from lmu_quantize.train.teacher import Teacher, TeacherConfig

META = torch.device("meta")
SPECS = {
    "feed-forward": LayerSpec(units=12, memories=4, order=3, thetas=(10, 24), stride=2),
    "learnt windows": LayerSpec(units=12, memories=4, order=3, thetas=(10, 24), learn_theta=True),
    "feedback": LayerSpec(units=12, memories=4, order=3, hidden_feedback=True, memory_feedback=True),
}


@pytest.mark.parametrize(("asked", "seen", "device"), [
    ("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda"),
])  # fmt: skip
def test_a_gpu_is_taken_if_there_is_one(monkeypatch: pytest.MonkeyPatch, asked: str, seen: bool, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    assert choose_device(asked) == torch.device(device)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device cuda was asked for, but PyTorch \S+ sees no GPU; use cpu or auto$"):
        choose_device("cuda")
    with pytest.raises(ValueError, match=r"^device must be one of auto, cpu, cuda, not 'tpu'$"):
        TrainConfig(device="tpu")


def test_a_run_may_resume_on_another_device() -> None:
    config = TrainConfig(data="somewhere", out="elsewhere")
    assert config.identity() == dataclasses.replace(config, device="cuda", out="another").identity()
    assert config.identity() != dataclasses.replace(config, seed=1).identity()


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, which some operations on the meta device let pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.ndim]
        name = str(func)
        assert "copy" in name or len({each.device for each in tensors}) <= 1, name
        if "fake_quantize" in name and "backward" not in name:  # not there for the meta device
            return torch.empty_like(args[0]), torch.empty_like(args[0], dtype=torch.bool)
        return func(*args, **(kwargs or {}))


def step(network: torch.nn.Module, last: int) -> None:
    """One step of training on the meta device."""
    trace: dict[str, Tensor] = {}
    network.train()
    with OneDevice():
        pruner = Pruner(PruningConfig(0.5, rows=4, first_epoch=0, last_epoch=0), network, 0)
        logits = network(torch.zeros(3, 20, 7, device=META), last, trace)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        (logits.square().mean() + activity_loss(trace) + weight_loss(network.parameters())).backward()
    pruner.mask_gradients()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    pruner.hold()
    assert logits.device == META
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("kind", SPECS)
def test_float_network_stays_on_its_device(kind: str) -> None:
    network = LMUNetwork(7, (SPECS[kind], LayerSpec(units=8, memories=2, order=3)), 5, dropout=0.1)
    step(network.to(META), 3)


@pytest.mark.parametrize("kind", ["gru", "lstm", "ds-cnn"])
def test_network_of_another_kind_stays_on_its_device(kind: str) -> None:
    step(PeerNetwork(7, PeerSpec(kind, 8), 5).to(META), 3)


@pytest.mark.parametrize("kind", SPECS)
def test_exact_network_stays_on_its_device(kind: str) -> None:
    network = LMUNetwork(7, (SPECS[kind],), 5, batch_norm=False)
    frames = np.random.default_rng(0).standard_normal((3, 20, 7))
    exact = ExactNetwork(quantize_model(network.to_float_model(tuple("abcde")), frames), 20)
    exact.calibrate_weights(torch.from_numpy(frames.astype(np.float32)))
    step(exact.to(META), 3)


def test_teacher_is_where_the_student_is() -> None:
    model = load_float(zoo.path("kws361", "float-parent.safetensors"))
    front_end = dataclasses.replace(FrontEnd.from_dict(model.front_end), offset=(0.0,) * 40, scale=(1.0,) * 40)
    teacher = Teacher(TeacherConfig("kws361"), model.labels, front_end, 2, META)
    with OneDevice():
        assert teacher(torch.zeros(2, 49, 40, device=META), 3).shape == (2, 3, 10)
