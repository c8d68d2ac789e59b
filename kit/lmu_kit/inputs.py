"""What the commands take: models, frames, recordings, accelerator options."""

import importlib.util
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmu_hw.files import parse_json
from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import Smoothing
from lmu_kit.cli.console import CommandError, progress
from lmu_quantize import zoo
from lmu_quantize.audio import SampleRateError, read_wav
from lmu_quantize.dataset import SpeechCommands, load_clips
from lmu_quantize.features import FEATURE_KINDS, FrontEnd, quantize_frames
from lmu_quantize.frames_file import FrameSet, load_frames
from lmu_quantize.loaders import LayerOrderError, MissingHyperparameters, load_model
from lmu_quantize.model import FloatModel, LMULayer

__all__ = [
    "Model",
    "check_length",
    "dataset_frames",
    "described",
    "float_model",
    "front_end_of",
    "matching",
    "model_frames",
    "need_torch",
    "quantized_model",
    "read_object",
    "read_smoothing",
    "shipped_or_given",
    "spread",
    "wav_frames",
    "writable",
]

Model = TypeVar("Model", FloatModel, QuantizedModel)
"""Either kind, the same in and out."""


def writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work; nothing is left behind."""
    if path.is_dir():
        raise CommandError(f"{path}: is a folder, a file to write is needed")
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"{path}: cannot be written ({folder}: {error.strerror})") from None


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object from a file; `what` says in errors what it should hold."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    except ValueError as error:
        raise CommandError(f"{path}: not JSON ({error}); expected {what}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{path}: must hold a JSON object with {what}, not {json.dumps(found)[:40]}")
    return found


def _front_end_option(text: str) -> dict[str, Any]:
    if text in FEATURE_KINDS:
        return FrontEnd(text).to_dict()
    found = read_object(Path(text), "the parameters of a front end (or give log-mel or mfcc)")
    try:
        return FrontEnd.from_dict(found).to_dict()
    except (TypeError, ValueError) as error:
        raise CommandError(f"{text}: {error}") from None


def described(model: Model, label_list: str | None, front_end_name: str | None) -> Model:
    """Give a model labels ("A,B,...") and a front end (a kind, or a JSON file), where they are given."""
    if label_list is not None:
        labels = tuple(part.strip() for part in label_list.split(","))
        if len(labels) != model.outputs or len(set(labels)) != len(labels) or not all(labels):
            raise CommandError(f"--labels must be {model.outputs} distinct names, the model's outputs, not {labels}")
        model = replace(model, labels=labels)
    if front_end_name is not None:
        front_end = _front_end_option(front_end_name)
        size = FrontEnd.from_dict(front_end).size
        if size != model.inputs:
            raise CommandError(
                f"--front-end {front_end_name}: its frames have {size} elements, the model takes {model.inputs}"
            )
        model = replace(model, front_end=front_end)
    return model


def float_model(name: str, **loader: Any) -> FloatModel:
    """Float model from a file of any known kind, or a shipped one by name.

    Parameters
    ----------
    name : str
        File or name.
    **loader
        Options of `load_model`.
    """
    path = zoo.path(name, "float.safetensors") if name in zoo.names() else _model_file(name)
    try:
        return load_model(path, **loader)
    except MissingHyperparameters as error:
        options = " ".join(f"--load {option}=VALUE" for option in error.names)
        raise CommandError(f"{error.problem}; give {options}") from None
    except LayerOrderError as error:
        raise CommandError(f"{error.problem}; give --load layers=NAME,... in order") from None
    except (ValueError, TypeError) as error:
        if _is_quantized(path):
            raise CommandError(f"{name}: this model is quantized already, a float model is needed") from None
        raise CommandError(str(error)) from None


def quantized_model(name: str) -> QuantizedModel:
    """Quantized model from a file, or a shipped one by name."""
    if name in zoo.names():
        return program_file.load(zoo.path(name, "quantized.safetensors"))
    path = _model_file(name)
    try:
        return program_file.load(path)
    except program_file.ProgramFileError:
        if _is_float(path):
            raise CommandError(f"{name}: this is a float model; quantize it first (lmu-hw quantize)") from None
        raise


def _model_file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise CommandError(f"{name}: is a folder, a model file or the name of a shipped model is needed")
    if not path.exists():
        known = ", ".join(zoo.names()) or "none"
        raise CommandError(f"{name}: no such file, and no shipped model of that name (there are: {known})")
    return path


def _is_float(path: Path) -> bool:
    try:
        return bool(load_model(path))
    except (MissingHyperparameters, LayerOrderError):
        return True
    except (ValueError, TypeError, OSError):
        return False


def _is_quantized(path: Path) -> bool:
    try:
        return bool(program_file.load(path))
    except (ValueError, TypeError, OSError):
        return False


def _normal(front_end: dict[str, Any]) -> dict[str, Any]:
    """JSON form of a front end with all its defaults; as it is if it is no front end of ours."""
    try:
        return FrontEnd.from_dict(front_end).to_dict()
    except (TypeError, ValueError):
        return front_end


def matching(model: FloatModel | QuantizedModel, frames: FrameSet, path: Path) -> FrameSet:
    """Check that frames were made for a model: elements, front end where both tell it.

    Parameters
    ----------
    model : FloatModel or QuantizedModel
        What will take them.
    frames : FrameSet
        From a file.
    path : Path
        Of that file, for errors.
    """
    if frames.frames.shape[2] != model.inputs:
        raise CommandError(f"{path}: frames have {frames.frames.shape[2]} elements, the model takes {model.inputs}")
    if not frames.clips or not frames.frames.shape[1]:
        raise CommandError(
            f"{path}: holds {frames.clips} clips of {frames.frames.shape[1]} frames, at least 1 of 1 is needed"
        )
    if model.front_end and frames.front_end:
        ours, theirs = _normal(model.front_end), _normal(frames.front_end)
        differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
        if differing:
            raise CommandError(
                f"{path}: these frames come from another front end than the model's, they differ in "
                f"{', '.join(differing)}"
            )
    return frames


def _same_labels(model: FloatModel | QuantizedModel, frames: FrameSet, path: Path) -> FrameSet:
    """Frames with the labels of the model in the model's order."""
    if not model.labels or frames.labels == model.labels:
        return frames
    if sorted(frames.labels) != sorted(model.labels):
        raise CommandError(
            f"{path}: its labels are {', '.join(frames.labels)}, those of the model {', '.join(model.labels)}"
        )
    places = np.array([model.labels.index(label) for label in frames.labels])
    return replace(frames, truth=places[frames.truth], labels=model.labels)


def shipped_or_given(model: FloatModel | QuantizedModel, path: Path | None, limit: int | None) -> FrameSet:
    """Frames from a file, those shipped with the model's name without one; at most `limit` clips, spread evenly.

    Their labels are put in the order of the model's; other labels, or another front end, are refused.
    """
    if path is None:
        if model.name not in zoo.names():
            raise CommandError(f"no frames are shipped for model {model.name!r}: give --frames, --wav or --data")
        path = zoo.path(model.name, "test.safetensors")
    return spread(_same_labels(model, matching(model, load_frames(path), path), path), limit)


def model_frames(model: QuantizedModel, path: Path | None, limit: int | None = None) -> FrameSet:
    """As `shipped_or_given`, in the input format of a quantized model."""
    found = shipped_or_given(model, path, limit)
    if found.format != model.input:
        raise CommandError(f"{path or model.name}: frames have format {found.format}, the model takes {model.input}")
    return found


def check_length(model: FloatModel | QuantizedModel, frames: int, where: str) -> None:
    """Refuse clips that end before the first logit."""
    if isinstance(model, QuantizedModel):
        period = math.prod(model.strides)
    else:
        period = math.prod(layer.stride for layer in model.layers if isinstance(layer, LMULayer))
    if frames < period:
        raise CommandError(
            f"{where}: clips of {frames} frames are too short, {model.name} gives its first logits after {period}"
        )


def spread(frames: FrameSet, limit: int | None) -> FrameSet:
    """At most `limit` clips, spread evenly over the set."""
    if limit is None or limit >= frames.clips:
        return frames
    chosen = np.linspace(0, frames.clips - 1, limit).round().astype(int)
    return replace(frames, frames=frames.frames[chosen], truth=frames.truth[chosen])


def front_end_of(model: FloatModel | QuantizedModel) -> FrontEnd:
    """Front end that makes the frames of a model; a model that does not name one is refused."""
    if model.front_end is None:
        raise CommandError(
            f"model {model.name!r} does not say which front end made its frames: give --front-end to quantize "
            "(evaluate takes it too), or --frames"
        )
    return FrontEnd.from_dict(model.front_end)


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
    front_end = front_end_of(model)
    if not model.labels:
        raise CommandError(f"model {model.name!r} has no labels: give --labels to quantize (evaluate takes it too)")
    dataset = SpeechCommands(data, model.labels)
    if split == "test" and dataset.test_folder is None:
        raise CommandError(f"{data}: the official test clips (speech_commands_test_set) are not there")
    paths, truth = dataset.clips(split)
    if limit is not None and limit < len(paths):
        chosen = np.linspace(0, len(paths) - 1, limit).round().astype(int)
        paths, truth = [paths[index] for index in chosen], truth[chosen]
    if not paths:
        raise CommandError(f"{data}: no clips in the {split} split")
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
    front_end, found = front_end_of(model), []
    for path in paths:
        try:
            samples = read_wav(path, resample=resample)
        except SampleRateError as error:
            raise CommandError(f"{error.problem}; give --resample to convert it") from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        if len(samples) < front_end.window:
            raise CommandError(f"{path}: {len(samples)} samples are too short for one frame of {front_end.window}")
        found.append(quantize_frames(front_end.frames(samples), model.input))
    return found


def need_torch(what: str) -> None:
    """Refuse to go on without PyTorch, an extra; `what` says what cannot be done, with its verb."""
    if importlib.util.find_spec("torch") is None:
        raise CommandError(f"{what} PyTorch: pip install 'lmu-hw[train]'")


def read_smoothing(path: Path | None) -> Smoothing | None:
    """Smoothing from its JSON, None without a file."""
    if path is None:
        return None
    found = read_object(path, "the parameters of decision smoothing")
    try:
        return Smoothing.from_dict(found)
    except (TypeError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from None
