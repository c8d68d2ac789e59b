"""Read the published Speech Commands folders: which clip belongs to which split and label.

The layout is that of the extracted archives of the Speech Commands dataset (P. Warden, "Speech
Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209)::

    ROOT/speech_commands/<word>/<speaker>_nohash_<n>.wav     training and validation clips
    ROOT/speech_commands/_background_noise_/<name>.wav
    ROOT/speech_commands/validation_list.txt                 optional
    ROOT/speech_commands/testing_list.txt                    optional
    ROOT/speech_commands_test_set/<label>/<name>.wav         the official test set, optional

Both folders may have the version in their names, as the archives have: ``speech_commands_v0.02``.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_int
from lmu_quantize.audio import AudioError, SampleRateError, read_wav

__all__ = [
    "KEYWORD_LABELS",
    "SPLITS",
    "DatasetError",
    "LoadedClips",
    "SpeechCommands",
    "load_clips",
    "published_split",
]

SPLITS = ("train", "validation", "test")
KEYWORD_LABELS = (
    "yes", "no", "up", "down", "left", "right", "stop", "go", "unknown", "silence",
)  # fmt: skip
"""Eight keywords, every other word, and no word: the default labels, in output order."""

_WORDS_FOLDER = "speech_commands"
_VERSIONS = ("", "_v0.01", "_v0.02")
_TEST_FOLDER = "speech_commands_test_set"
_NOISE_FOLDER = "_background_noise_"
_TEST_FOLDER_OF_LABEL = {"unknown": "_unknown_", "silence": "_silence_"}
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_HASH_RANGE = 1 << 27


class DatasetError(ValueError):
    """A dataset folder that lacks what was asked of it; the message names the folder."""


class LoadedClips(NamedTuple):
    """Clips in memory, and every file that could not be used.

    Attributes
    ----------
    clips : numpy.ndarray
        ``(N, samples)`` int16, 16 kHz.
    kept : numpy.ndarray
        ``(N,)`` int64: ``clips[i]`` came from ``paths[kept[i]]``, so its label is
        ``labels[kept[i]]``.
    problems : list of str
        One line for each skipped file, naming it and the reason; its length is their number.
    """

    clips: NDArray[np.int16]
    kept: NDArray[np.int64]
    problems: list[str]


def load_clips(paths: Sequence[str | os.PathLike[str]], samples: int = 16_000) -> LoadedClips:
    """Read clips of one length into one array.

    A shorter recording is padded with zeros at its end, a longer one loses its end. A file that
    cannot be used (unreadable, empty, not mono 16 kHz) is left out and named in ``problems``.

    Parameters
    ----------
    paths : sequence of path-like
        WAV files.
    samples : int
        Length of every clip, in samples at 16 kHz; at least 1.

    Returns
    -------
    LoadedClips
        The clips in the order of ``paths``, the kept positions and the problems.

    Raises
    ------
    ValueError
        If ``samples`` is not positive.
    """
    require_int("samples", samples, 1)
    clips = np.zeros((len(paths), samples), dtype=np.int16)
    kept: list[int] = []
    problems: list[str] = []
    for position, path in enumerate(paths):
        try:
            recording = read_wav(path)[:samples]
        except AudioError as error:
            problems.append(error.problem if isinstance(error, SampleRateError) else str(error))
            continue
        clips[len(kept), : len(recording)] = recording
        kept.append(position)
    return LoadedClips(clips[: len(kept)], np.array(kept, dtype=np.int64), problems)


def published_split(name: str) -> str:
    """Give the split that the dataset's published rule assigns to a file name.

    The speaker part of the name (all before ``_nohash_``; the whole name where that is absent) is
    hashed, ``p = (SHA1 mod 2**27) * 100 / (2**27 - 1)``: ``p < 10`` is validation, ``p < 20`` is
    test, the rest is train. All clips of one speaker so fall into one split.

    Parameters
    ----------
    name : str
        File name without folders, such as ``0a7c2a8d_nohash_0.wav``.

    Returns
    -------
    str
        ``"train"``, ``"validation"`` or ``"test"``.
    """
    speaker = name.split("_nohash_", 1)[0]
    digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
    percent = int(digest, 16) % _HASH_RANGE * (100.0 / (_HASH_RANGE - 1))
    if percent < 10.0:
        return "validation"
    return "test" if percent < 20.0 else "train"


class SpeechCommands:
    """The clips of Speech Commands by split and label.

    Labels other than ``"unknown"`` and ``"silence"`` are words and name a folder each.

    - ``unknown`` is every word that is not a label; in the official test set its folder
      ``_unknown_``.
    - ``silence`` has no files in train and validation: it is cut from :meth:`background_noise` by
      the training code. In the official test set it is the folder ``_silence_``.
    - Folders of the official test set that are no label (``on`` and ``off`` with the default
      labels) are left out; 4,092 of its 4,890 clips remain.

    A word clip is in validation if ``validation_list.txt`` names it and in test if
    ``testing_list.txt`` does. Where a list is missing, :func:`published_split` decides instead of
    it; an existing list, even an empty one, always takes precedence. Names in a list that have no
    file are ignored. Without the official test set, the split ``"test"`` holds these held-out word
    clips and, as in train, no files for ``silence``.

    Parameters
    ----------
    root : path-like
        The folder that holds ``speech_commands``, or the folder that holds the words themselves
        (recognised by its ``_background_noise_`` or by a label's folder).
    labels : sequence of str
        Distinct labels in output order.
    test_root : path-like, optional
        The official test set; by default ``speech_commands_test_set`` beside the words' folder, of
        the same version where the names have one.

    Attributes
    ----------
    labels : tuple of str
        The labels; a label index is a position in it.
    words_folder : pathlib.Path
        The folder of train and validation.
    test_folder : pathlib.Path or None
        The folder of the official test set; ``None`` where there is none.

    Raises
    ------
    DatasetError
        A folder is missing, or the labels are not usable.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: Sequence[str] = KEYWORD_LABELS,
        *,
        test_root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.labels = _checked_labels(labels)
        self._keywords = [name for name in self.labels if name not in _TEST_FOLDER_OF_LABEL]
        self.words_folder = self._find_words(Path(root))
        self.test_folder = self._find_test_set(None if test_root is None else Path(test_root))
        self._held_out = self._read_lists()

    def clips(self, split: str) -> tuple[list[Path], NDArray[np.int64]]:
        """List the clips of one split.

        Parameters
        ----------
        split : str
            ``"train"``, ``"validation"`` or ``"test"``.

        Returns
        -------
        paths : list of pathlib.Path
            WAV files: by label, and by path within a label; the same on every machine.
        labels : numpy.ndarray
            ``(len(paths),)`` int64, the position of each clip's label in :attr:`labels`.

        Raises
        ------
        DatasetError
            A label that must have clips in this split has none.
        ValueError
            There is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
        paths: list[Path] = []
        indices: list[int] = []
        for index, label in enumerate(self.labels):
            if split == "test" and self.test_folder is not None:
                files = _wav_files(self.test_folder / _TEST_FOLDER_OF_LABEL.get(label, label))
            elif label == "silence":
                continue
            else:
                files = self._word_clips(label, split)
            if not files:
                raise DatasetError(
                    f"{self._folder_of(split)}: no {split} clips for label {label!r}"
                )
            paths += files
            indices += [index] * len(files)
        return paths, np.array(indices, dtype=np.int64)

    def background_noise(self) -> list[NDArray[np.int16]]:
        """Read the recordings of background noise, from which silence is cut.

        Returns
        -------
        list of numpy.ndarray
            One ``(n_samples,)`` int16 array at 16 kHz for each file, in the order of their names.

        Raises
        ------
        DatasetError
            The folder ``_background_noise_`` is missing or has no WAV files.
        lmu_quantize.audio.AudioError
            A recording cannot be used.
        """
        folder = self.words_folder / _NOISE_FOLDER
        files = _wav_files(folder)
        if not files:
            raise DatasetError(f"{folder}: no WAV files in it")
        return [read_wav(file) for file in files]

    def _word_clips(self, label: str, split: str) -> list[Path]:
        """List the clips of a word, or of all words that are no label, in one split."""
        folders = [self.words_folder / label]
        if label == "unknown":
            folders = [
                folder
                for folder in sorted(self.words_folder.iterdir())
                if folder.is_dir()
                and not folder.name.startswith(("_", "."))
                and folder.name not in self._keywords
            ]
        return [
            clip
            for folder in folders
            for clip in _wav_files(folder)
            if self._split_of(clip) == split
        ]

    def _split_of(self, clip: Path) -> str:
        """Give the split of a word clip from the lists, or from the rule for a missing list."""
        relative = f"{clip.parent.name}/{clip.name}"
        for split, names in self._held_out.items():
            if names is not None and relative in names:
                return split
        by_rule = published_split(clip.name)
        replaced = by_rule in _LISTS and self._held_out[by_rule] is not None
        return "train" if replaced else by_rule

    def _read_lists(self) -> dict[str, frozenset[str] | None]:
        """Read the two lists of held-out clips; ``None`` stands for a list that is missing."""
        lists: dict[str, frozenset[str] | None] = {}
        for split, name in _LISTS.items():
            file = self.words_folder / name
            lists[split] = None
            if file.is_file():
                lists[split] = frozenset(file.read_text(encoding="utf-8").split())
        both = (lists["validation"] or frozenset()) & (lists["test"] or frozenset())
        if both:
            raise DatasetError(
                f"{self.words_folder}: {len(both)} clip(s) in both validation_list.txt and "
                f"testing_list.txt, such as {min(both)}"
            )
        return lists

    def _find_words(self, root: Path) -> Path:
        """Give the folder that holds the words, and check that no label's folder is missing."""
        if not root.is_dir():
            raise DatasetError(f"{root}: no such folder")
        is_words = any((root / name).is_dir() for name in (_NOISE_FOLDER, *self._keywords))
        folder = root if is_words else _versioned(root)
        _check_folders(folder, self._keywords)
        return folder

    def _find_test_set(self, folder: Path | None) -> Path | None:
        """Give the folder of the official test set, checked for all labels, or ``None``."""
        if folder is None:
            version = self.words_folder.name.removeprefix(_WORDS_FOLDER)
            beside = self.words_folder.parent
            candidates = [beside / f"{_TEST_FOLDER}{each}" for each in (version, "") if each in _VERSIONS]
            folder = next((candidate for candidate in candidates if candidate.is_dir()), None)
            if folder is None:
                return None
        elif not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")
        _check_folders(folder, [_TEST_FOLDER_OF_LABEL.get(label, label) for label in self.labels])
        return folder

    def _folder_of(self, split: str) -> Path:
        """Give the folder that a message about a split should name."""
        return self.test_folder if split == "test" and self.test_folder else self.words_folder


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Check that labels are distinct folder names."""
    if isinstance(labels, str) or not labels:
        raise DatasetError(f"labels must be a sequence of at least one name, not {labels!r}")
    for label in labels:
        if not isinstance(label, str) or not label or label.startswith(("_", ".")) or "/" in label:
            raise DatasetError(f"a label must be a plain word, not {label!r}")
    if len(set(labels)) < len(labels):
        raise DatasetError(f"labels must be distinct, not {', '.join(labels)}")
    return tuple(labels)


def _versioned(root: Path) -> Path:
    """Give the words' folder in a folder, whatever its version."""
    folders = [root / f"{_WORDS_FOLDER}{version}" for version in _VERSIONS]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise DatasetError(f"{root}: expected a folder {_WORDS_FOLDER}, or word folders, in it")
    if len(folders) > 1:
        names = " and ".join(folder.name for folder in folders)
        raise DatasetError(f"{root}: holds {names}; give one of these folders")
    return folders[0]


def _check_folders(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder that lacks one of the named folders."""
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise DatasetError(f"{folder}: no folder for {', '.join(missing)}")


def _wav_files(folder: Path) -> list[Path]:
    """List the WAV files of a folder by name; a folder that is missing has none."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".wav")
