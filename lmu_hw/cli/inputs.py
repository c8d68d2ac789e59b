"""What the commands take: models, frames, recordings, accelerator options."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw import program_file
from lmu_hw.cli.console import CommandError, progress
from lmu_hw.config import AcceleratorConfig, StatePolicy, WeightStore
from lmu_hw.program import QuantizedModel
from lmu_quantize import zoo
from lmu_quantize.audio import read_wav
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.frames_file import FrameSet, load_frames
from lmu_quantize.loaders import load_model
from lmu_quantize.model import FloatModel

__all__ = [
    "accelerator_arguments",
    "accelerator_config",
    "dataset_frames",
    "float_model",
    "model_frames",
    "positive",
    "quantized_model",
    "shipped_or_given",
    "spread",
    "wav_frames",
]


def positive(text: str) -> int:
    """Argument type: an integer above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def float_model(name: str) -> FloatModel:
    """Float model from a file of any known kind, or a shipped one by name."""
    if name in zoo.names():
        return load_model(zoo.path(name, "float.safetensors"))
    if not Path(name).is_file():
        raise _unknown(name)
    return load_model(name)


def quantized_model(name: str) -> QuantizedModel:
    """Quantized model from a file, or a shipped one by name."""
    if name in zoo.names():
        return program_file.load(zoo.path(name, "quantized.safetensors"))
    if not Path(name).is_file():
        raise _unknown(name)
    try:
        return program_file.load(name)
    except program_file.ProgramFileError:
        if _is_float(name):
            raise CommandError(f"{name}: this is a float model; quantize it first (lmu-hw quantize)") from None
        raise


def _is_float(name: str) -> bool:
    try:
        return bool(load_model(name))
    except (ValueError, TypeError, OSError):
        return False


def _unknown(name: str) -> CommandError:
    known = ", ".join(zoo.names()) or "none"
    return CommandError(f"{name}: no such file, and no shipped model of that name (there are: {known})")


def shipped_or_given(model: FloatModel | QuantizedModel, path: Path | None, limit: int | None) -> FrameSet:
    """Frames from a file, those shipped with the model's name without one; at most `limit` clips, spread evenly."""
    if path is None:
        if model.name not in zoo.names():
            raise CommandError(f"no frames are shipped for model {model.name!r}: give --frames, --wav or --data")
        path = zoo.path(model.name, "test.safetensors")
    found = load_frames(path)
    if found.frames.shape[2] != model.inputs:
        raise CommandError(f"{path}: frames have {found.frames.shape[2]} elements, the model takes {model.inputs}")
    return spread(found, limit)


def model_frames(model: QuantizedModel, path: Path | None, limit: int | None = None) -> FrameSet:
    """As `shipped_or_given`, in the input format of a quantized model."""
    found = shipped_or_given(model, path, limit)
    if found.format != model.input:
        raise CommandError(f"frames have format {found.format}, the model takes {model.input}")
    return found


def spread(frames: FrameSet, limit: int | None) -> FrameSet:
    """At most `limit` clips, spread evenly over the set."""
    if limit is None or limit >= frames.clips:
        return frames
    chosen = np.linspace(0, frames.clips - 1, limit).round().astype(int)
    return replace(frames, frames=frames.frames[chosen], truth=frames.truth[chosen])


def _front_end(front_end: dict[str, object] | None, name: str) -> FrontEnd:
    if front_end is None:
        raise CommandError(f"model {name!r} does not say which front end made its frames: give --frames instead")
    return FrontEnd.from_dict(front_end)


def dataset_frames(
    model: FloatModel | QuantizedModel, data: Path, split: str, limit: int | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Float frames and labels of a split of the published dataset.

    Returns
    -------
    frames : ndarray of float64, shape (clips, T, inputs)
        In the order of the dataset; with `limit` that many clips spread evenly over it.
    truth : ndarray of int64, shape (clips,)
        Indices into the model's labels.
    """
    front_end = _front_end(model.front_end, model.name)
    dataset = SpeechCommands(data, model.labels)
    if split == "test" and dataset.test_folder is None:
        raise CommandError(f"{data}: the official test clips (speech_commands_test_set) are not there")
    paths, truth = dataset.clips(split)
    if limit is not None and limit < len(paths):
        chosen = np.linspace(0, len(paths) - 1, limit).round().astype(int)
        paths, truth = [paths[index] for index in chosen], truth[chosen]
    parts, kept = [], []
    with progress(f"reading {len(paths)} clips", len(paths)) as done:
        for start in range(0, len(paths), 256):
            loaded = load_clips(paths[start : start + 256])
            for problem in loaded.problems:
                raise CommandError(f"a clip cannot be used: {problem}")
            parts.append(front_end.frames_batch(loaded.clips))
            kept.append(truth[start : start + 256][loaded.kept])
            done(start)
    return np.concatenate(parts), np.concatenate(kept)


def wav_frames(model: QuantizedModel, paths: list[Path], resample: bool) -> list[NDArray[np.int64]]:
    """Integer frames of WAV files, each of shape (T, inputs)."""
    front_end = _front_end(model.front_end, model.name)
    return [quantize_frames(front_end.frames(read_wav(path, resample=resample)), model.input) for path in paths]


def accelerator_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of `AcceleratorConfig`."""
    group = command.add_argument_group("accelerator")
    group.add_argument("--lanes", type=positive, default=16, help="multipliers (default 16)")
    group.add_argument(
        "--weights",
        choices=[member.value for member in WeightStore],
        default="rom",
        help="weights as constants, or in RAM with a load port (default rom)",
    )
    group.add_argument(
        "--state",
        choices=[member.value for member in StatePolicy],
        default="keep",
        help="when the state returns to zero: never, on a pulse, at the end of an utterance (default keep)",
    )


def accelerator_config(args: argparse.Namespace) -> AcceleratorConfig:
    """Read the options of `accelerator_arguments`."""
    return AcceleratorConfig(lanes=args.lanes, weights=args.weights, state=args.state)
