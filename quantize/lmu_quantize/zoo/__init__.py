"""Trained models that ship with the product, each with its card, log and integer frames of real speech."""

from pathlib import Path

__all__ = ["ROOT", "names", "path"]

ROOT = Path(__file__).parent
"""Holds a folder for each model."""


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(folder.name for folder in ROOT.iterdir() if (folder / "card.md").is_file())


def path(name: str, file: str) -> Path:
    """Path of a file of a shipped model.

    Parameters
    ----------
    name : str
        One of `names`.
    file : str
        ``float.safetensors``, ``quantized.safetensors``, ``calibration.safetensors``, ``test.safetensors``,
        ``card.md``.
    """
    return ROOT / name / file
