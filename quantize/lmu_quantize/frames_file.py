"""Files of integer input frames: clips of one length with their labels, ready for golden model and hardware."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.files import FileTooLarge, canonical_json, parse_json, read_limited, write_whole
from lmu_hw.model.fixed import Format
from lmu_hw.model.tensor_file import AnyIntArray, TensorFileError, content_digest, pack, smallest, unpack

__all__ = ["FrameSet", "FramesFileError", "load_frames", "save_frames"]

SCHEMA = "lmu-hw/frames"
VERSION = "2"
"""Version 1, of lmu-hw 0.2 and earlier, has no ``sha256``; it is read too."""

MOST_BYTES = 1 << 30


class FramesFileError(ValueError):
    """A file does not hold input frames."""


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Clips as integer frames.

    Parameters
    ----------
    frames : ndarray of int, shape (clips, T, inputs)
        Integers of `format`.
    truth : ndarray of int64, shape (clips,)
        Indices into `labels`.
    format : Format
        Of the frames.
    labels : tuple of str
        Names.
    front_end : dict
        JSON form of the front end that made them.
    source : str
        Where the recordings came from, with their licence.

    Raises
    ------
    TypeError, ValueError
        If the parts do not fit each other, or a value is outside its range.
    """

    frames: NDArray[np.int64]
    truth: NDArray[np.int64]
    format: Format
    labels: tuple[str, ...]
    front_end: dict[str, Any]
    source: str

    def __post_init__(self) -> None:
        for name, ndim in (("frames", 3), ("truth", 1)):
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in "iu":
                raise TypeError(f"{name} must hold integers, not {array.dtype}")
            if array.ndim != ndim:
                raise ValueError(f"{name} must have {ndim} dimensions, not shape {array.shape}")
            object.__setattr__(self, name, array.astype(np.int64, copy=False))
        for name, expected in (("format", Format), ("front_end", dict), ("source", str)):
            if not isinstance(getattr(self, name), expected):
                raise TypeError(f"{name} must be a {expected.__name__}, not {getattr(self, name)!r}")
        labels = self.labels
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
            raise TypeError(f"labels must be texts, not {labels!r}")
        object.__setattr__(self, "labels", tuple(labels))
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels must be distinct, not {', '.join(labels)}")
        frames, truth, fmt = self.frames, self.truth, self.format
        if len(truth) != len(frames):
            raise ValueError(f"frames and truth do not fit, shapes {frames.shape} and {truth.shape}")
        if not fmt.contains(frames):
            raise ValueError(f"frames must be in {fmt.min} to {fmt.max}")
        if truth.size and not 0 <= truth.min() <= truth.max() < len(labels):
            raise ValueError(f"truth must be indices into the {len(labels)} labels")

    @property
    def clips(self) -> int:
        """Number of clips."""
        return int(self.frames.shape[0])

    def real(self) -> NDArray[np.float64]:
        """Real values of the frames, shape (clips, T, inputs)."""
        return self.format.real(self.frames)


def save_frames(frames: FrameSet, path: str | Path) -> None:
    """Write frames as safetensors, in the smallest integer types; equal frames give equal bytes.

    Parameters
    ----------
    frames : FrameSet
        Clips of one length with their labels.
    path : str or Path
        The file; it is written whole or not at all.
    """
    write_whole(Path(path), _encode(frames, VERSION))


def _encode(frames: FrameSet, version: str) -> bytes:
    metadata = {
        "schema": SCHEMA,
        "version": version,
        "format": canonical_json(frames.format.to_dict()),
        "labels": canonical_json(list(frames.labels)),
        "front_end": canonical_json(frames.front_end),
        "source": frames.source,
    }
    tensors: dict[str, AnyIntArray] = {"frames": smallest(frames.frames), "truth": smallest(frames.truth)}
    if version == VERSION:
        metadata["sha256"] = content_digest(tensors, metadata)
    return pack(tensors, metadata)


def load_frames(path: str | Path) -> FrameSet:
    """Read what `save_frames` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    FrameSet
        Clips of one length with their labels.

    Raises
    ------
    FramesFileError
        If the file is not one, is cut short or altered, or holds values outside its own format; one line that names the
        file.
    """
    path = Path(path)
    try:
        data = read_limited(path, MOST_BYTES)
    except OSError as error:
        raise FramesFileError(f"{path}: cannot be read ({error.strerror})") from None
    except FileTooLarge as error:
        raise FramesFileError(f"{path}: {error}") from None
    try:
        return _decode(data)
    except (TensorFileError, ValueError, TypeError) as error:
        raise FramesFileError(f"{path}: {error}") from None


def _decode(data: bytes) -> FrameSet:
    tensors, metadata = unpack(data)
    version = metadata.get("version", "")
    if metadata.get("schema") != SCHEMA or version not in ("1", VERSION):
        raise ValueError(
            f"schema must be {SCHEMA} version {VERSION} (or 1), not {metadata.get('schema')!r} version {version!r}"
        )
    if version == VERSION and metadata.get("sha256") != content_digest(tensors, metadata):
        raise ValueError("sha256 does not match the content, the file was altered after it was written")
    texts = {name: text for name, text in metadata.items() if version == "1" or name != "sha256"}
    for name, names, expected in (
        ("tensors", set(tensors), {"frames", "truth"}),
        ("metadata", set(texts), {"schema", "version", "format", "labels", "front_end", "source"}),
    ):
        if names != expected:
            raise ValueError(f"{name} must be {', '.join(sorted(expected))}, not {', '.join(sorted(names))}")
    frames, truth = (tensors[name].astype(np.int64) for name in ("frames", "truth"))
    fmt = Format.from_dict(parse_json(metadata["format"]))
    labels, front_end = (parse_json(metadata[name]) for name in ("labels", "front_end"))
    if not isinstance(labels, list):
        raise ValueError(f"labels must be a list, not {labels!r}")
    found = FrameSet(frames, truth, fmt, tuple(labels), front_end, metadata["source"])
    if version == VERSION and _encode(found, version) != data:
        raise ValueError("header: not in the form that this version writes, or altered after it was written")
    return found
