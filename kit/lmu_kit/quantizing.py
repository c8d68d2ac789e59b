"""From a float model to integers."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model import program_file
from lmu_hw.model.fixed import Format
from lmu_hw.model.program import QuantizedModel
from lmu_kit.errors import InputError
from lmu_kit.frames import RealFrames, open_frames
from lmu_kit.models import read_object
from lmu_quantize import zoo
from lmu_quantize.calibrate import QuantizationResult, quantize_model, trained_formats
from lmu_quantize.frames_file import FrameSet
from lmu_quantize.model import FloatModel
from lmu_quantize.quantization import QuantizationConfig

__all__ = ["CALIBRATION_CLIPS", "quantize", "read_formats", "save_model", "training_formats"]

CALIBRATION_CLIPS = 500
"""Clips that formats are chosen on, where the caller names no number."""

FORMATS = 'formats of training, {"input": FORMAT, "layers": [{"u": FORMAT, "h": FORMAT}, ...]}'


def quantize(
    model: FloatModel,
    frames: RealFrames | FrameSet | ArrayLike | None = None,
    config: QuantizationConfig | None = None,
) -> QuantizationResult:
    """Turn a float model into integers, with formats chosen on real frames.

    Parameters
    ----------
    model : FloatModel
        From `open_float` or training.
    frames : RealFrames, FrameSet or array_like of float, shape (clips, T, inputs), optional
        Calibration frames that describe what the network will hear. Without them, those that ship with the network.
    config : QuantizationConfig, optional
        Bits and rules. Without it, the defaults, with the formats of `training_formats`.

    Returns
    -------
    QuantizationResult
        ``model`` (the `QuantizedModel`), ``report`` (errors by tensor, against the float model), and ``certificate``
        (bounds of every sum and state: what cannot overflow is proven).

    Raises
    ------
    InputError
        If no frames are given and none ship with the network.
    ValueError
        If the frames have another shape or are not finite, or the config names what the model has not.
    """
    if frames is None:
        frames = open_frames(model, split="validation", clips=CALIBRATION_CLIPS)
    if config is None:
        config = QuantizationConfig(formats=training_formats(model))
    return quantize_model(model, _reals(frames), config)


def training_formats(model: FloatModel) -> dict[str, Format]:
    """Formats that a shipped network was trained with; empty for any other model.

    Parameters
    ----------
    model : FloatModel
        From `open_float`.

    Returns
    -------
    dict of str to Format
        By vector: ``x``, ``layer0.u`` and so on, for `QuantizationConfig.formats`.
    """
    if model.name not in zoo.names():
        return {}
    path = zoo.path(model.name, "formats.json")
    return read_formats(path) if path.is_file() else {}


def read_formats(path: str | os.PathLike[str]) -> dict[str, Format]:
    """Formats of training from the JSON file that training writes.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    content = read_object(path, FORMATS)
    try:
        return trained_formats(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: expected {FORMATS}: {error}") from None


def save_model(model: QuantizedModel, path: str | os.PathLike[str]) -> None:
    """Write a quantized model as safetensors: whole or not at all, equal models as equal bytes.

    Parameters
    ----------
    model : QuantizedModel
        Integers and formats.
    path : path-like
        The file; its folder is made if it does not exist.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    program_file.save(model, target)


def _reals(frames: RealFrames | FrameSet | ArrayLike) -> NDArray[np.float64]:
    if isinstance(frames, RealFrames):
        return frames.frames
    if isinstance(frames, FrameSet):
        return frames.real()
    return np.asarray(frames, np.float64)
