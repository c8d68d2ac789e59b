"""`lmu-hw train` and `lmu-hw search` refuse what they cannot do before anything is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("command", [("train", "--recipe", "tiny"), ("search", "joules")])
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Callable[..., str], command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out"
    message = refused(*command, "--data", tmp_path, "--out", out, "--device", "cuda")
    assert "device cuda was asked for, but PyTorch " in message
    assert not out.exists()


def test_an_unknown_device_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    message = refused("train", "--data", tmp_path, "--out", tmp_path / "out", "--device", "tpu")
    assert message.endswith("device must be one of auto, cpu, cuda, not 'tpu'")
