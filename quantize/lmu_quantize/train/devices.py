"""Where PyTorch computes."""

import torch

__all__ = ["CPU", "DEVICES", "choose_device"]

CPU = torch.device("cpu")

DEVICES = ("auto", "cpu", "cuda")
"""Names of devices; ``auto`` is the GPU if PyTorch sees one."""


def choose_device(name: str) -> torch.device:
    """Find a device.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        What is asked for.

    Raises
    ------
    ValueError
        A GPU is asked for and PyTorch sees none.
    """
    seen = torch.cuda.is_available()
    if name == "cuda" and not seen:
        raise ValueError(f"device cuda was asked for, but PyTorch {torch.__version__} sees no GPU; use cpu or auto")
    return torch.device("cuda" if seen and name != "cpu" else "cpu")
