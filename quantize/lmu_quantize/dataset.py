"""Read recordings in folders by word: which clip belongs to which split and label.

Own recordings need a folder for each word and nothing else; `SplitRule` says how they are split. The published layout
is that of the extracted archives of the Speech Commands dataset (P. Warden, "Speech
Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209)::

    ROOT/speech_commands/<word>/<speaker>_nohash_<n>.wav     training and validation clips
    ROOT/speech_commands/_background_noise_/<name>.wav
    ROOT/speech_commands/validation_list.txt                 optional
    ROOT/speech_commands/testing_list.txt                    optional
    ROOT/speech_commands_test_set/<label>/<name>.wav         the official test set, optional

Both folders may have the version in their names, as the archives have: ``speech_commands_v0.02``.
"""

import codecs
import functools
import hashlib
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmu_hw.checks import require_int, require_number
from lmu_quantize.audio import AudioError, read_wav

__all__ = [
    "KEYWORD_LABELS",
    "SPLITS",
    "DatasetError",
    "HiddenFileWarning",
    "LoadedClips",
    "SpeakerWarning",
    "SpeechCommands",
    "SplitRule",
    "check_labels",
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
_PUBLISHED = "_nohash_"
"""Follows the speaker in the published file names."""


class DatasetError(ValueError):
    """A dataset folder that lacks what was asked of it; the message names the folder."""


class HiddenFileWarning(UserWarning):
    """Files whose names start with a dot, as archivers of macOS leave them beside recordings."""


class SpeakerWarning(UserWarning):
    """Recordings whose speakers are not known, so that one speaker may be in training and test."""


@dataclass(frozen=True)
class SplitRule:
    """How recordings without lists are split.

    Parameters
    ----------
    speaker : str
        Regular expression that finds the speaker in a file name: its first group, or all that it matches. Where it is
        empty, published names (``SPEAKER_nohash_N.wav``) are split by the published rule. Of other names every take
        counts as its own speaker, with a `SpeakerWarning`.
    validation_percent : float
        Speakers for validation, above 0 and below 100; at least one.
    test_percent : float
        Speakers for the test, 0 to below 100; at least one, none at 0. The published rule takes 10 and 10 percent.

    Raises
    ------
    TypeError, ValueError
        If a value is refused, or both parts leave no speaker for training.
    """

    speaker: str = ""
    validation_percent: float = 10.0
    test_percent: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.speaker, str):
            raise TypeError(f"speaker must be a regular expression, not {self.speaker!r}")
        try:
            re.compile(self.speaker)
        except re.error as error:
            raise ValueError(f"speaker must be a regular expression, not {self.speaker!r} ({error})") from None
        require_number("validation_percent", self.validation_percent, 0, 100, above=True, below=True)
        require_number("test_percent", self.test_percent, 0, 100, below=True)
        if self.validation_percent + self.test_percent >= 100:
            raise ValueError(
                f"validation_percent and test_percent must leave some of 100 for training, not "
                f"{self.validation_percent!r} and {self.test_percent!r}"
            )

    def split(self, groups: Iterable[str]) -> dict[str, str]:
        """Give each of three or more groups a split: in the order of their hashes, so the same on every machine.

        Raises
        ------
        ValueError
            If there are too few groups for one in each split.
        """
        ordered = sorted(set(groups), key=lambda group: (hashlib.sha1(group.encode(), usedforsecurity=False).digest()))
        validation = max(1, round(len(ordered) * self.validation_percent / 100))
        test = max(1, round(len(ordered) * self.test_percent / 100)) if self.test_percent else 0
        if validation + test >= len(ordered):
            raise ValueError(f"{validation + test + 1} are needed, for every split one")
        names = ["validation"] * validation + ["test"] * test + ["train"] * (len(ordered) - validation - test)
        return dict(zip(ordered, names, strict=True))


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

    Other rates and more channels are converted by the rule of `lmu_quantize.audio.read_wav`. A
    shorter recording is padded with zeros at its end. Of a longer one the stretch with the most
    energy is taken, the first of equal ones. A file that cannot be used (unreadable, empty) is
    left out and named in ``problems``.

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
            recording = _loudest(read_wav(path, resample=True), samples)
        except AudioError as error:
            problems.append(str(error))
            continue
        clips[len(kept), : len(recording)] = recording
        kept.append(position)
    return LoadedClips(clips[: len(kept)], np.array(kept, dtype=np.int64), problems)


def _loudest(recording: NDArray[np.int16], samples: int) -> NDArray[np.int16]:
    """Cut the stretch with the most energy out of a recording that is longer than `samples`."""
    if len(recording) <= samples:
        return recording
    energy = np.concatenate([[0], np.cumsum(np.square(recording.astype(np.int64)))])
    start = int((energy[samples:] - energy[:-samples]).argmax())
    return recording[start : start + samples]


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
    speaker = name.split(_PUBLISHED, 1)[0]
    digest = hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()
    percent = int(digest, 16) % _HASH_RANGE * (100.0 / (_HASH_RANGE - 1))
    if percent < 10.0:
        return "validation"
    return "test" if percent < 20.0 else "train"


class SpeechCommands:
    """Recordings in folders by word, those of Speech Commands or one's own, by split and label.

    Labels other than ``"unknown"`` and ``"silence"`` are words and name a folder each, in any script and with blanks.
    Composed and decomposed letters are the same.

    - ``unknown`` is every word that is not a label; in the official test set its folder
      ``_unknown_``.
    - ``silence`` has no files in train and validation: it is cut from :meth:`background_noise` by
      the training code. In the official test set it is the folder ``_silence_``.
    - Folders of the official test set that are no label (``on`` and ``off`` with the default
      labels) are left out; 4,092 of its 4,890 clips remain.

    A word clip is in validation if ``validation_list.txt`` names it and in test if
    ``testing_list.txt`` does. Where a list is missing, the `SplitRule` decides instead of
    it; an existing list, even an empty one, always takes precedence. A list is UTF-8 text with a
    clip on each line, ``WORD/NAME.wav``; a line without a clip is refused. Hidden files are skipped,
    with a `HiddenFileWarning`. Without the official test set, the split ``"test"`` holds these held-out word
    clips and, as in train, no files for ``silence`` (`lmu_quantize.noise.test_silence` makes some).

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
    rule : SplitRule, optional
        How clips are split that no list names; its defaults if not given.

    Attributes
    ----------
    labels : tuple of str
        The labels; a label index is a position in it.
    words_folder : pathlib.Path
        The folder of train and validation.
    test_folder : pathlib.Path or None
        The folder of the official test set; ``None`` where there is none.
    rule : SplitRule
        As above.

    Raises
    ------
    DatasetError
        A folder is missing, a list names a clip that is not there, or the labels are not usable.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: Sequence[str] = KEYWORD_LABELS,
        *,
        test_root: str | os.PathLike[str] | None = None,
        rule: SplitRule | None = None,
    ) -> None:
        self.rule = SplitRule() if rule is None else rule
        self.labels = check_labels(labels)
        self._keywords = [name for name in self.labels if name not in _TEST_FOLDER_OF_LABEL]
        self.words_folder = self._find_words(Path(root))
        self.test_folder = self._find_test_set(None if test_root is None else Path(test_root))
        self._held_out = self._read_lists()
        self._warn_of_hidden_files()

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
                files = _wav_files(_folder(self.test_folder, _TEST_FOLDER_OF_LABEL.get(label, label)))
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
            One ``(n_samples,)`` int16 array at 16 kHz for each file, in the order of their names. Empty if there are
            no files and ``silence`` is no label.

        Raises
        ------
        DatasetError
            The folder ``_background_noise_`` is missing or has no WAV files, and ``silence`` is a label.
        lmu_quantize.audio.AudioError
            A recording cannot be used.
        """
        folder = self.words_folder / _NOISE_FOLDER
        files = _wav_files(folder)
        if not files and "silence" in self.labels:
            raise DatasetError(f"{folder}: no WAV files in it; the label silence is cut from recordings of noise")
        return [read_wav(file, resample=True) for file in files]

    @functools.cached_property
    def has_test(self) -> bool:
        """Whether there are test clips of every label but ``silence``, official or held out."""
        if self.test_folder is not None:
            return True
        return all(self._word_clips(label, "test") for label in self.labels if label != "silence")

    def count_speakers(self) -> dict[str, int]:
        """Count the speakers in each split of the word clips; empty where no speaker is known."""
        pattern = self.rule.speaker
        splits: dict[str, set[str]] = {split: set() for split in SPLITS}
        for clip in (clip for folder in self._word_folders() for clip in _wav_files(folder)):
            if not pattern and _PUBLISHED not in clip.name:
                return {}
            speaker = _speaker(pattern, clip.name) if pattern else clip.name.split(_PUBLISHED, 1)[0]
            splits[self._split_of(clip)].add(speaker or clip.name)
        return {split: len(speakers) for split, speakers in splits.items()}

    def _word_clips(self, label: str, split: str) -> list[Path]:
        """List the clips of a word, or of all words that are no label, in one split."""
        folders = [_folder(self.words_folder, label)]
        if label == "unknown":
            words = {_composed(word) for word in self._keywords}
            folders = [folder for folder in self._word_folders() if _composed(folder.name) not in words]
        return [
            clip
            for folder in folders
            for clip in _wav_files(folder)
            if self._split_of(clip) == split
        ]

    def _word_folders(self) -> list[Path]:
        folders = sorted(self.words_folder.iterdir())
        return [folder for folder in folders if folder.is_dir() and not folder.name.startswith(("_", "."))]

    @functools.cached_property
    def _own_splits(self) -> Mapping[Path, str] | None:
        """Split of every clip by the rule; None where the published rule is used."""
        clips = [clip for folder in self._word_folders() for clip in _wav_files(folder)]
        if not self.rule.speaker and any(_PUBLISHED in clip.name for clip in clips):
            return None
        if not self.rule.speaker:
            return self._splits_of_takes(clips)
        speakers = {clip: _speaker(self.rule.speaker, clip.name) for clip in clips}
        without = [clip for clip, speaker in speakers.items() if not speaker]
        if without:
            raise DatasetError(
                f"{self.words_folder}: {len(without)} file name(s) without a speaker by the pattern "
                f"{self.rule.speaker!r}, such as {without[0].parent.name}/{without[0].name}"
            )
        try:
            splits = self.rule.split(speakers.values())
        except ValueError as error:
            names = sorted(set(speakers.values()))
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise DatasetError(f"{self.words_folder}: {len(names)} speaker(s): {shown}; {error}") from None
        return {clip: splits[speaker] for clip, speaker in speakers.items()}

    def _splits_of_takes(self, clips: Sequence[Path]) -> Mapping[Path, str]:
        """Split the takes of each word where no speaker is known."""
        if None in self._held_out.values():
            warnings.warn(
                f"{self.words_folder}: no speaker is known, so each take counts as its own; one speaker may be in "
                "training and test, and the test is then too good (data.speaker takes a pattern)",
                SpeakerWarning,
                stacklevel=2,
            )
        splits: dict[Path, str] = {}
        for folder in dict.fromkeys(clip.parent for clip in clips):
            takes = {_composed(f"{folder.name}/{clip.name}"): clip for clip in clips if clip.parent == folder}
            try:
                chosen = self.rule.split(takes)
            except ValueError as error:
                raise DatasetError(f"{folder}: {len(takes)} take(s); {error}") from None
            splits |= {takes[take]: split for take, split in chosen.items()}
        return splits

    def _split_of(self, clip: Path) -> str:
        """Give the split of a word clip from the lists, or from the rule for a missing list."""
        relative = _composed(f"{clip.parent.name}/{clip.name}")
        for split, names in self._held_out.items():
            if names is not None and relative in names:
                return split
        by_rule = published_split(clip.name) if self._own_splits is None else self._own_splits[clip]
        replaced = by_rule in _LISTS and self._held_out[by_rule] is not None
        return "train" if replaced else by_rule

    def _read_lists(self) -> dict[str, frozenset[str] | None]:
        """Read the two lists of held-out clips; ``None`` stands for a list that is missing."""
        files = {split: self.words_folder / name for split, name in _LISTS.items()}
        lists = {split: _lines(file) for split, file in files.items() if file.is_file()}
        both = set(lists.get("validation", ())) & set(lists.get("test", ()))
        if both:
            raise DatasetError(
                f"{self.words_folder}: {len(both)} clip(s) in both validation_list.txt and "
                f"testing_list.txt, such as {min(both)}"
            )
        for split, lines in lists.items():
            missing = [name for name in lines if name not in self._clip_names] if lines else []
            if missing:
                more = f", nor those of {len(missing) - 1} other lines" if len(missing) > 1 else ""
                raise DatasetError(f"{files[split]}:{lines[missing[0]]}: there is no clip {missing[0]!r}{more}")
        return {split: frozenset(lists[split]) if split in lists else None for split in files}

    @functools.cached_property
    def _clip_names(self) -> frozenset[str]:
        """Names of all clips of words, as lists have them."""
        clips = (clip for folder in self._word_folders() for clip in _wav_files(folder))
        return frozenset(_composed(f"{clip.parent.name}/{clip.name}") for clip in clips)

    def _warn_of_hidden_files(self) -> None:
        folders = [*self._word_folders(), self.words_folder / _NOISE_FOLDER]
        if self.test_folder is not None:
            folders += [folder for folder in self.test_folder.iterdir() if folder.is_dir()]
        hidden = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob(".*.[wW][aA][vV]"))]
        if hidden:
            warnings.warn(
                f"{self.words_folder}: {len(hidden)} hidden files are skipped, such as {hidden[0].parent.name}/"
                f"{hidden[0].name}",
                HiddenFileWarning,
                stacklevel=3,
            )

    def _find_words(self, root: Path) -> Path:
        """Give the folder that holds the words, and check that no label's folder is missing."""
        if not root.is_dir():
            raise DatasetError(f"{root}: no such folder")
        is_words = any(_folder(root, name).is_dir() for name in (_NOISE_FOLDER, *self._keywords))
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


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Check labels.

    Parameters
    ----------
    labels : sequence of str
        Distinct names of folders in output order, in any script and with blanks.

    Returns
    -------
    tuple of str
        The labels.

    Raises
    ------
    DatasetError
        If they are something else.
    """
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
    missing = [name for name in names if not _folder(folder, name).is_dir()]
    if missing:
        raise DatasetError(f"{folder}: no folder for {', '.join(missing)}")


def _lines(file: Path) -> dict[str, int]:
    """Give the names in a list with their line numbers; blank lines, and blanks around a name, are left out."""
    names: dict[str, int] = {}
    for number, line in enumerate(file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            name = _composed(line.decode("utf-8").strip().replace("\\", "/").removeprefix("./"))
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{file}:{number}: byte {line[error.start]:#04x} is not UTF-8; save the list as UTF-8"
            ) from None
        if name:
            names.setdefault(name, number)
    return names


def _speaker(pattern: str, name: str) -> str:
    """Find the speaker in a file name; empty if the pattern does not match."""
    match = re.search(pattern, _composed(name))
    if match is None:
        return ""
    return (match.group(1) if match.re.groups else "") or match.group()


def _composed(name: str) -> str:
    """Write letters with marks as one character where there is one, as macOS does not."""
    return unicodedata.normalize("NFC", name)


def _folder(parent: Path, name: str) -> Path:
    """Give the folder of a name, also where its letters are written in another way."""
    folder = parent / name
    if folder.is_dir() or not parent.is_dir():
        return folder
    same = (other for other in sorted(parent.iterdir()) if _composed(other.name) == _composed(name))
    return next(same, folder)


def _wav_files(folder: Path) -> list[Path]:
    """List the WAV files of a folder by name, without hidden ones; a folder that is missing has none."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".wav" and file.name[0] != ".")
