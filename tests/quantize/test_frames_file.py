"""Files of integer frames: equal content gives equal bytes, and what is not whole is refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model.fixed import Format
from lmu_hw.model.tensor_file import content_digest, pack, unpack
from lmu_quantize.frames_file import FrameSet, FramesFileError, load_frames, save_frames


@pytest.fixture
def frames() -> FrameSet:
    rng = np.random.default_rng(3)
    fmt = Format(8, 5)
    values = rng.integers(fmt.min, fmt.max + 1, (4, 6, 5))
    return FrameSet(values, np.array([0, 1, 1, 0]), fmt, ("a", "b"), {"kind": "log-mel"}, "made up")


def test_round_trip(frames: FrameSet, tmp_path: Path):
    save_frames(frames, tmp_path / "one")
    found = load_frames(tmp_path / "one")
    np.testing.assert_array_equal(found.frames, frames.frames)
    np.testing.assert_array_equal(found.truth, frames.truth)
    assert (found.format, found.labels, found.front_end) == (frames.format, frames.labels, frames.front_end)
    assert found.source == "made up"
    np.testing.assert_array_equal(found.real(), frames.frames / 32)
    save_frames(found, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def altered(frames: FrameSet, folder: Path, **changes: object) -> Path:
    """A frames file with some metadata or tensors replaced (None: left out)."""
    save_frames(frames, folder / "good")
    tensors, metadata = unpack((folder / "good").read_bytes())
    for name, value in changes.items():
        target = tensors if isinstance(value, np.ndarray) else metadata
        if value is None:
            target.pop(name)
        else:
            target[name] = value
    if metadata.get("version") == "2":
        metadata["sha256"] = content_digest(tensors, metadata)
    (folder / "bad").write_bytes(pack(tensors, metadata))
    return folder / "bad"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "other"}, r"bad: schema must be lmu-hw/frames version 2 \(or 1\), not 'other' version '2'$"),
        ({"version": "3"}, r"bad: schema must be lmu-hw/frames version 2 .*, not 'lmu-hw/frames' version '3'$"),
        ({"version": "1"}, r"bad: metadata must be format, front_end, labels, schema, source, version, not .*sha256"),
        ({"source": None}, r"bad: metadata must be format, front_end, .*, not "),
        ({"more": np.zeros(1, np.int8)}, r"bad: tensors must be frames, truth, not frames, more, truth"),
        ({"format": "{}"}, r"bad: the format lacks the key 'width'"),
        ({"format": "["}, r"bad: "),
        ({"format": '{"width":4,"frac":0,"signed":true}'}, r"bad: frames must be in -8 to 7"),
        ({"truth": np.array([0, 1, 2, 0], np.int8)}, r"bad: truth must be indices into the 2 labels"),
        ({"truth": np.array([0, 1], np.int8)}, r"bad: frames and truth do not fit"),
    ],
)
def test_refusals(frames: FrameSet, changes: dict[str, object], message: str, tmp_path: Path):
    with pytest.raises(FramesFileError, match=message):
        load_frames(altered(frames, tmp_path, **changes))


def test_no_flipped_bit_is_taken(frames: FrameSet, tmp_path: Path):
    save_frames(frames, tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "bad").write_bytes(damaged)
        with pytest.raises(FramesFileError, match="bad: "):
            load_frames(tmp_path / "bad")


def test_files_of_version_1_are_read(frames: FrameSet, tmp_path: Path):
    save_frames(frames, tmp_path / "new")
    tensors, metadata = unpack((tmp_path / "new").read_bytes())
    del metadata["sha256"]
    (tmp_path / "old").write_bytes(pack(tensors, metadata | {"version": "1"}))
    np.testing.assert_array_equal(load_frames(tmp_path / "old").frames, frames.frames)


def test_cut_and_missing_files_are_refused(frames: FrameSet, tmp_path: Path):
    save_frames(replace(frames, source="x"), tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for cut in (0, 7, 40, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(FramesFileError, match="cut: "):
            load_frames(tmp_path / "cut")
    with pytest.raises(FramesFileError, match="none: cannot be read"):
        load_frames(tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"frames": np.zeros((4, 6), np.int64)}, ValueError, "frames must have 3 dimensions"),
        ({"frames": np.zeros((4, 6, 5))}, TypeError, "frames must hold integers, not float64"),
        ({"frames": np.full((4, 6, 5), 128)}, ValueError, "frames must be in -128 to 127"),
        ({"frames": np.zeros((3, 6, 5), np.int64)}, ValueError, "frames and truth do not fit"),
        ({"truth": np.array([0, 1, 2, 0])}, ValueError, "truth must be indices into the 2 labels"),
        ({"truth": np.array([0, 1, -1, 0])}, ValueError, "truth must be indices into the 2 labels"),
        ({"truth": np.zeros((4, 1), np.int64)}, ValueError, "truth must have 1 dimensions"),
        ({"labels": ("a", 1)}, TypeError, "labels must be texts"),
        ({"labels": "ab"}, TypeError, "labels must be texts"),
        ({"labels": ("a", "a")}, ValueError, "labels must be distinct"),
        ({"front_end": None}, TypeError, "front_end must be a dict"),
        ({"source": None}, TypeError, "source must be a str"),
        ({"format": "q"}, TypeError, "format must be a Format"),
    ],
)
def test_what_cannot_be_loaded_cannot_be_made(
    frames: FrameSet, changes: dict[str, object], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        replace(frames, **changes)  # type: ignore[arg-type]


def test_smaller_integers_and_lists_of_labels_will_do(frames: FrameSet, tmp_path: Path):
    given = replace(frames, frames=frames.frames.astype(np.int16), labels=["a", "b"])  # type: ignore[arg-type]
    assert (given.frames.dtype, given.labels) == (np.int64, ("a", "b"))
    for name, one in (("one", frames), ("two", given)):
        save_frames(one, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("labels", ['{"a":0}', '"ab"', "3"])
def test_labels_of_another_kind_are_refused(frames: FrameSet, labels: str, tmp_path: Path):
    with pytest.raises(FramesFileError, match="bad: labels must be a list"):
        load_frames(altered(frames, tmp_path, labels=labels))
