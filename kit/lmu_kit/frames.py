"""Frames for a model: shipped ones, a frames file, recordings, or a Speech Commands folder."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.program import QuantizedModel
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.models import front_end_of
from lmu_quantize import zoo
from lmu_quantize.audio import read_wav
from lmu_quantize.dataset import SPLITS, SpeechCommands, SplitRule, load_clips
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.frames_file import FrameSet, load_frames
from lmu_quantize.model import FloatModel
from lmu_quantize.noise import test_silence

__all__ = ["Clips", "RealFrames", "as_clips", "check_length", "open_frames", "open_recordings", "spread_evenly"]

IntArray = NDArray[np.int64]

Clips = FrameSet | IntArray | Sequence[IntArray]
"""Clips as integers of the model's input format: a `FrameSet`, an array (clips, T, inputs), or arrays (T, inputs)."""

CHUNK = 256
"""Clips that are read at once."""

SHIPPED = {"test": "test.safetensors", "validation": "calibration.safetensors"}
"""Frames that ship with a network, by split."""

SOURCE = "Speech Commands (P. Warden, arXiv:1804.03209), CC BY 4.0; changed: turned into {kind} frames, {split} split"


@dataclass(frozen=True, eq=False)
class RealFrames:
    """Clips as real frames, for a float model.

    Parameters
    ----------
    frames : ndarray of float64, shape (clips, T, inputs)
        What the front end made.
    truth : ndarray of int64, shape (clips,)
        Indices into `labels`.
    labels : tuple of str
        Names.
    """

    frames: NDArray[np.float64]
    truth: IntArray
    labels: tuple[str, ...]

    @property
    def clips(self) -> int:
        """Number of clips."""
        return len(self.frames)


AnyFrames = TypeVar("AnyFrames", FrameSet, RealFrames)


@overload
def open_frames(
    model: QuantizedModel,
    source: str | os.PathLike[str] | FrameSet | None = None,
    *,
    split: str = "test",
    clips: int | None = None,
    rule: SplitRule | None = None,
    progress: Progress = silent,
) -> FrameSet: ...


@overload
def open_frames(
    model: FloatModel,
    source: str | os.PathLike[str] | FrameSet | None = None,
    *,
    split: str = "test",
    clips: int | None = None,
    rule: SplitRule | None = None,
    progress: Progress = silent,
) -> RealFrames: ...


def open_frames(
    model: FloatModel | QuantizedModel,
    source: str | os.PathLike[str] | FrameSet | None = None,
    *,
    split: str = "test",
    clips: int | None = None,
    rule: SplitRule | None = None,
    progress: Progress = silent,
) -> FrameSet | RealFrames:
    """Load labelled clips as frames that a model takes.

    Parameters
    ----------
    model : FloatModel or QuantizedModel
        Its labels set the order of the classes. Its front end turns recordings into frames.
    source : path-like or FrameSet, optional
        A frames file, or a folder of recordings: a folder for each word, or ``speech_commands/`` and
        ``speech_commands_test_set/``. Without one, the clips that ship with the network of this name.
    split : str
        ``"train"``, ``"validation"`` or ``"test"`` of a folder; ``"test"`` or ``"validation"`` of the shipped clips.
        A frames file has no splits. Where a test has no recordings of silence, they are made
        (`lmu_quantize.noise.test_silence`).
    clips : int, optional
        Take at most this many clips, spread evenly over the set.
    rule : SplitRule, optional
        How recordings are split that no list names.
    progress : callable, optional
        Called with the stage, the clips read, and the clips to read.

    Returns
    -------
    FrameSet or RealFrames
        Integers in the input format of a quantized model; reals for a float model.

    Raises
    ------
    InputError
        If the frames don't fit the model: other elements, labels, format or front end, or clips that end before the
        first logit.
    FramesFileError, DatasetError
        If the file or the folder cannot be used.
    """
    if clips is not None and clips < 1:
        raise InputError(f"clips must be a positive integer, not {clips!r}")
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        real = _dataset_frames(model, SpeechCommands(source, _labels(model), rule=rule), split, clips, progress)
        check_length(model, real.frames.shape[1], str(source))
        return real if isinstance(model, FloatModel) else _integers(model, real, split)
    frames, name = _frame_set(model, source, split)
    frames = spread_evenly(frames, clips)
    check_length(model, frames.frames.shape[1], name)
    if isinstance(model, FloatModel):
        return RealFrames(frames.real(), frames.truth, frames.labels)
    if frames.format != model.input:
        raise InputError(f"{name}: frames have format {frames.format}; the model takes {model.input}")
    return frames


def open_recordings(
    model: QuantizedModel, paths: Sequence[str | os.PathLike[str]], *, resample: bool = False
) -> list[IntArray]:
    """Turn WAV files into integer frames.

    Parameters
    ----------
    model : QuantizedModel
        Its front end makes the frames, in its input format.
    paths : sequence of path-like
        One utterance in each file.
    resample : bool
        Convert other sample rates and more channels; refuse them otherwise.

    Returns
    -------
    list of ndarray of int64, each of shape (T, inputs)
        T depends on the recording.

    Raises
    ------
    InputError
        If a recording is too short for one frame.
    SampleRateError
        If a recording has another rate or more channels, and `resample` is false.
    """
    front_end, utterances = front_end_of(model), []
    for path in paths:
        samples = read_wav(Path(path), resample=resample)
        if len(samples) < front_end.window:
            raise InputError(
                f"{path}: {len(samples)} samples are too short for one frame of {front_end.window} samples"
            )
        utterances.append(quantize_frames(front_end.frames(samples), model.input))
    return utterances


def spread_evenly(frames: AnyFrames, clips: int | None) -> AnyFrames:
    """Take some of the clips, spread evenly over the set.

    Parameters
    ----------
    frames : FrameSet or RealFrames
        From `open_frames`.
    clips : int or None
        How many at most; all of them if None.

    Returns
    -------
    FrameSet or RealFrames
        The same kind.
    """
    if clips is None or clips >= frames.clips:
        return frames
    chosen = np.linspace(0, frames.clips - 1, clips).round().astype(int)
    return replace(frames, frames=frames.frames[chosen], truth=frames.truth[chosen])


def as_clips(frames: Clips) -> list[IntArray]:
    """Clips as a list of arrays of shape (T, inputs); `InputError` if there are none."""
    clips = list(frames.frames if isinstance(frames, FrameSet) else frames)
    if not clips:
        raise InputError("no clips are given; at least 1 is needed")
    return clips


def check_length(model: FloatModel | QuantizedModel, frames: int, name: str) -> None:
    """Refuse clips that end before the first logit.

    Parameters
    ----------
    model : FloatModel or QuantizedModel
        A network with strides gives logits once in so many frames.
    frames : int
        Frames of each clip.
    name : str
        Of the clips, for the error.

    Raises
    ------
    InputError
        If the clips are too short.
    """
    period = math.prod(model.strides)
    if frames < period:
        raise InputError(
            f"{name}: clips of {frames} frames are too short; {model.name} gives its first logits after {period}"
        )


def _frame_set(
    model: FloatModel | QuantizedModel, source: str | os.PathLike[str] | FrameSet | None, split: str
) -> tuple[FrameSet, str]:
    """Frames of a file, or those shipped with the network; and their name for errors."""
    if isinstance(source, FrameSet):
        frames, name = source, "frames"
    else:
        if source is None:
            source = _shipped(model, split)
        frames, name = load_frames(Path(source)), str(source)
    _check_fit(model, frames, name)
    return _in_label_order(model, frames, name), name


def _shipped(model: FloatModel | QuantizedModel, split: str) -> Path:
    if model.name not in zoo.names():
        raise InputError(f"no frames are shipped for model {model.name!r}: give frames, recordings or a data folder")
    if split not in SHIPPED:
        raise InputError(f"shipped frames are {' and '.join(SHIPPED)} clips; there are none of split {split!r}")
    return Path(zoo.path(model.name, SHIPPED[split]))


def _check_fit(model: FloatModel | QuantizedModel, frames: FrameSet, name: str) -> None:
    """Refuse frames of another size, no frames, and those of another front end than the model's."""
    if frames.frames.shape[2] != model.inputs:
        raise InputError(f"{name}: frames have {frames.frames.shape[2]} elements; the model takes {model.inputs}")
    if not frames.clips or not frames.frames.shape[1]:
        raise InputError(
            f"{name}: holds {frames.clips} clips of {frames.frames.shape[1]} frames; at least 1 of 1 is needed"
        )
    if model.front_end and frames.front_end:
        ours, theirs = _whole(model.front_end), _whole(frames.front_end)
        differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
        if differing:
            raise InputError(
                f"{name}: these frames come from another front end than the model's; they differ in "
                f"{', '.join(differing)}"
            )


def _whole(front_end: dict[str, Any]) -> dict[str, Any]:
    """JSON form of a front end with all its defaults; unchanged if it is no front end of ours."""
    try:
        return FrontEnd.from_dict(front_end).to_dict()
    except (TypeError, ValueError):
        return front_end


def _in_label_order(model: FloatModel | QuantizedModel, frames: FrameSet, name: str) -> FrameSet:
    """Frames with the labels of the model, in the model's order."""
    if not model.labels or frames.labels == model.labels:
        return frames
    if sorted(frames.labels) != sorted(model.labels):
        raise InputError(
            f"{name}: its labels are {', '.join(frames.labels)}; those of the model are {', '.join(model.labels)}"
        )
    order = np.array([model.labels.index(label) for label in frames.labels])
    return replace(frames, truth=order[frames.truth], labels=model.labels)


def _labels(model: FloatModel | QuantizedModel) -> tuple[str, ...]:
    if not model.labels:
        raise InputError(f"model {model.name!r} has no labels: give its {model.outputs} labels in order")
    return model.labels


def _dataset_frames(
    model: FloatModel | QuantizedModel, dataset: SpeechCommands, split: str, clips: int | None, progress: Progress
) -> RealFrames:
    """Real frames of a split of recordings in folders, in the order of the labels."""
    front_end, data = front_end_of(model), dataset.words_folder
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    paths, truth = dataset.clips(split)
    if not paths:
        raise InputError(f"{data}: no clips in the {split} split")
    silences = _made_silence(dataset, truth) if split == "test" else np.zeros((0, 0), np.int16)
    if len(silences):
        truth = np.concatenate([truth, np.full(len(silences), dataset.labels.index("silence"))])
    chosen = np.arange(len(truth))
    if clips is not None and clips < len(truth):
        chosen = np.linspace(0, len(truth) - 1, clips).round().astype(int)
    recorded, made = chosen[chosen < len(paths)], chosen[chosen >= len(paths)] - len(paths)
    parts = []
    for start in range(0, len(recorded), CHUNK):
        progress("reading clips", start, len(chosen))
        loaded = load_clips([paths[index] for index in recorded[start : start + CHUNK]])
        for problem in loaded.problems:
            raise InputError(f"a clip cannot be used: {problem}")
        parts.append(front_end.frames_batch(loaded.clips))
    if len(made):
        parts.append(front_end.frames_batch(silences[made]))
    return RealFrames(np.concatenate(parts), truth[chosen], model.labels)


def _made_silence(dataset: SpeechCommands, truth: IntArray) -> NDArray[np.int16]:
    """Clips of silence for a test without recordings of it, as many as of a keyword."""
    if "silence" not in dataset.labels or (truth == dataset.labels.index("silence")).any():
        return np.zeros((0, 0), np.int16)
    keywords = [index for index, label in enumerate(dataset.labels) if label not in ("unknown", "silence")]
    count = round(float(np.mean([(truth == index).sum() for index in keywords]))) if keywords else 1
    return test_silence(dataset.background_noise(), max(1, count))


def _integers(model: QuantizedModel, real: RealFrames, split: str) -> FrameSet:
    front_end = dict(model.front_end or {})
    source = SOURCE.format(kind=front_end["kind"], split=split)
    return FrameSet(quantize_frames(real.frames, model.input), real.truth, model.input, real.labels, front_end, source)
