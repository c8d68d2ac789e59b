"""Frames for training: augmented copies of every clip, computed once and kept on disk.

Frames cost more than a training step, so each clip is augmented `copies` times before training and the frames are
stored as float16; an epoch draws one copy of each clip and masks it anew. The files depend on the clips, the front end,
the augmentation and the seed only: a later run of the same configuration reuses them.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.progress import Progress, silent
from lmu_quantize.dataset import DatasetError, LoadedClips, SpeechCommands, load_clips
from lmu_quantize.features import FrontEnd
from lmu_quantize.noise import NoiseBank, noise_for_training, silence_clip, test_silence, unheard_noise
from lmu_quantize.train.augment import AugmentConfig, augment_clip

__all__ = ["EvaluationSet", "FrameSource", "TrainingSet", "prepare_evaluation", "prepare_training"]

SAMPLES = 16_000
CHUNK = 256
SPLICED, REVERSED, SILENCE = "_spliced_", "_reversed_", "_silence_"
RARITY = 0.5
"""Exponent of the weights: 0 would draw all clips of unknown words equally, 1 all words."""
MASKS = ("time_masks", "time_width", "mel_masks", "mel_width")
"""Parts of the augmentation that are drawn anew in every epoch, so the stored frames do not depend on them."""


@dataclass(frozen=True)
class FrameSource:
    """What frames are made from.

    Parameters
    ----------
    speech : SpeechCommands
        The clips.
    front_end : FrontEnd
        The features, without normalisation before `prepare_training`.
    augment : AugmentConfig
        Ranges of the augmentation.
    copies : int
        Augmented copies of each clip.
    limit : int or None
        Most clips of one label and split, drawn at random; None takes all.
    silence_ratio : float
        Clips of silence, as a multiple of the mean number of clips of a keyword.
    splice_ratio, reversal_ratio : float
        Extra clips of ``unknown`` in the same measure: the first half of one training word and the second half of
        another, and training words backwards; none of them is in validation. Each word is drawn equally often.
    held_out : tuple of str
        Words of ``unknown`` of which no clip is in training; their training clips are in validation.
    seed : int
        Seed of all choices.
    """

    speech: SpeechCommands
    front_end: FrontEnd
    augment: AugmentConfig
    copies: int
    limit: int | None
    silence_ratio: float
    splice_ratio: float
    reversal_ratio: float
    held_out: tuple[str, ...]
    seed: int


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Augmented frames.

    Attributes
    ----------
    frames : ndarray of float16, shape (copies, N, T, size)
        Normalised frames, mapped from disk.
    labels : ndarray of int64, shape (N,)
        Positions in the labels.
    weights : ndarray of float64, shape (N,)
        Relative frequency with which an epoch draws a recorded clip of ``unknown``; 0 for all others, which every
        epoch has.
    words : tuple of str
        What the clips say, finer than the labels: every label that is a word, every other word in alphabetical order,
        ``SPLICED``, ``REVERSED`` and ``SILENCE``.
    word_of : ndarray of int64, shape (N,)
        Positions in the words.
    label_of_word : ndarray of int64, shape (words,)
        For each word its position in the labels.
    front_end : FrontEnd
        With the normalisation of these frames.
    key : str
        Hash of all that the frames depend on.
    problems : tuple of str
        One line for each file that could not be used and was left out.
    """

    frames: NDArray[np.float16]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    words: tuple[str, ...]
    word_of: NDArray[np.int64]
    label_of_word: NDArray[np.int64]
    front_end: FrontEnd
    key: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Frames of unaltered clips.

    Attributes
    ----------
    frames : ndarray of float32, shape (N, T, size)
        Normalised frames.
    labels : ndarray of int64, shape (N,)
        Positions in the labels.
    words : ndarray of str, shape (N,)
        Name of each clip's folder; ``SILENCE`` of silence that was made.
    problems : tuple of str
        One line for each file that could not be used and was left out.
    """

    frames: NDArray[np.float32]
    labels: NDArray[np.int64]
    words: NDArray[np.str_]
    problems: tuple[str, ...] = ()


def prepare_training(source: FrameSource, folder: Path, progress: Progress = silent) -> TrainingSet:
    """Augment all training clips and compute their frames, or reuse those in `folder`.

    Parameters
    ----------
    source : FrameSource
        Clips, front end and augmentation.
    folder : Path
        Receives ``frames.npy`` and ``frames.json``; created if it does not exist.
    progress : callable, optional
        Called with the stage, the chunks of clips done and their number.

    Returns
    -------
    TrainingSet
        Frames of shape (copies, N, T, size), normalised by the mean and the deviation of the first copy.

    Raises
    ------
    lmu_quantize.dataset.DatasetError
        If the folder of recordings is incomplete, or no clip of a label can be used.
    """
    progress("reading clips", 0, 0)
    loaded, labels, words = _usable(source, "train")
    names = source.speech.labels
    per_keyword = _mean_keyword(labels, names)
    clips = _TrainingClips(
        source,
        loaded.clips,
        words,
        splices=round(source.splice_ratio * per_keyword) if "unknown" in names else 0,
        reversals=round(source.reversal_ratio * per_keyword) if "unknown" in names else 0,
        silences=round(source.silence_ratio * per_keyword) if "silence" in names else 0,
        bank=NoiseBank([noise_for_training(noise) for noise in source.speech.background_noise()], _rng(source.seed, 1)),
    )
    key = _key(clips)
    folder.mkdir(parents=True, exist_ok=True)
    if not _reusable(folder / "frames.json", key):
        _write_frames(clips, folder, key, progress)
    statistics = json.loads((folder / "frames.json").read_text())
    all_labels, weights = _labels_and_weights(clips, labels)
    spoken = words + [SPLICED] * clips.splices + [REVERSED] * clips.reversals + [SILENCE] * clips.silences
    known = _known_words(spoken, names)
    positions = {word: position for position, word in enumerate(known)}
    word_of = np.array([positions[word] for word in spoken], dtype=np.int64)
    label_of_word = np.zeros(len(known), dtype=np.int64)
    label_of_word[word_of] = all_labels
    return TrainingSet(
        frames=np.load(folder / "frames.npy", mmap_mode="r"),
        labels=all_labels,
        weights=weights,
        words=known,
        word_of=word_of,
        label_of_word=label_of_word,
        front_end=source.front_end.with_normalisation(statistics["mean"], statistics["std"]),
        key=key,
        problems=tuple(loaded.problems),
    )


@dataclass(frozen=True, eq=False)
class _TrainingClips:
    """Clips of one epoch: recorded ones first, then spliced words, then reversed ones, then silence.

    Parameters
    ----------
    source : FrameSource
        Front end, augmentation and seed.
    clips : ndarray of int16, shape (N, SAMPLES)
        Recorded clips.
    words : list of str
        Word of each recorded clip.
    splices, reversals, silences : int
        Clips that are made.
    bank : NoiseBank
        Noise that is mixed in.
    """

    source: FrameSource
    clips: NDArray[np.int16]
    words: list[str]
    splices: int
    reversals: int
    silences: int
    bank: NoiseBank

    @property
    def count(self) -> int:
        """Number of clips, recorded and made."""
        return len(self.clips) + self.splices + self.reversals + self.silences

    def frames(self, copy: int, start: int) -> NDArray[np.float64]:
        """Frames of one augmented copy of a chunk of clips, shape (up to CHUNK, T, size), not normalised."""
        rng = _rng(self.source.seed, 2, copy, start)
        indices = range(start, min(start + CHUNK, self.count))
        return self.source.front_end.frames_batch(np.stack([self._augmented(index, rng) for index in indices]))

    def _augmented(self, index: int, rng: np.random.Generator) -> NDArray[np.int16]:
        config = self.source.augment
        if index >= self.count - self.silences:
            return silence_clip(SAMPLES, self.bank, config.silence_rms, rng)
        if index < len(self.clips):
            return augment_clip(self.clips[index], self.bank, config, rng)
        first = self._drawn(rng)
        if index >= len(self.clips) + self.splices:
            return augment_clip(self.clips[first][::-1], self.bank, config, rng)
        second = self._drawn(rng)
        while self.words[second] == self.words[first]:
            second = self._drawn(rng)
        return augment_clip(_splice(self.clips[first], self.clips[second]), self.bank, config, rng)


    def _drawn(self, rng: np.random.Generator) -> int:
        """Draw a recorded clip: a word, then a clip of it."""
        clips = self._clips_of_word[int(rng.integers(len(self._clips_of_word)))]
        return int(clips[rng.integers(len(clips))])

    @functools.cached_property
    def _clips_of_word(self) -> list[NDArray[np.int64]]:
        """Positions of the clips of each word."""
        words = np.array(self.words)
        return [np.flatnonzero(words == word) for word in sorted(set(self.words))]


def _write_frames(clips: _TrainingClips, folder: Path, key: str, progress: Progress) -> None:
    """Compute the frames of all copies; ``frames.json`` is written last and marks them complete."""
    source, size = clips.source, clips.source.front_end.size
    complete = folder / "frames.json"
    complete.unlink(missing_ok=True)
    shape = (source.copies, clips.count, source.front_end.frames_in(SAMPLES), size)
    store = np.lib.format.open_memmap(folder / "frames.npy", mode="w+", dtype=np.float16, shape=shape)
    mean, std = np.zeros(size), np.ones(size)
    starts = range(0, clips.count, CHUNK)
    with ThreadPoolExecutor(2) as pool:
        for copy in range(source.copies):
            for number, frames in enumerate(pool.map(functools.partial(clips.frames, copy), starts)):
                store[copy, starts[number] : starts[number] + len(frames)] = frames
                progress("computing frames", copy * len(starts) + number + 1, source.copies * len(starts))
            if copy == 0:
                mean = store[0].mean(axis=(0, 1), dtype=np.float64)
                std = np.maximum(store[0].astype(np.float32).std(axis=(0, 1), dtype=np.float64), 1e-3)
            store[copy] = (store[copy].astype(np.float32) - mean) / std
    store.flush()
    complete.write_text(json.dumps({"key": key, "mean": mean.tolist(), "std": std.tolist()}))


def _labels_and_weights(
    clips: _TrainingClips, labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Label and weight of every clip, as in `TrainingSet`; `labels` are those of the recorded ones."""
    names = clips.source.speech.labels
    unknown, silence = (names.index(name) if name in names else -1 for name in ("unknown", "silence"))
    strangers = clips.splices + clips.reversals
    made = np.full(strangers, unknown), np.full(clips.silences, silence)
    weights = _word_weights(clips.words, labels == unknown), np.zeros(strangers + clips.silences)
    return np.concatenate([labels, *made]).astype(np.int64), np.concatenate(weights)


def prepare_evaluation(source: FrameSource, split: str, front_end: FrontEnd) -> EvaluationSet:
    """Frames of the clips of a split, as they were recorded.

    Where a split has no recordings of silence, they are cut from the last part of the noise recordings, which training
    does not use, and from coloured noise, at all levels.

    Parameters
    ----------
    source : FrameSource
        Clips.
    split : {"validation", "test"}
        Which clips.
    front_end : FrontEnd
        With normalisation.

    Returns
    -------
    EvaluationSet

    Raises
    ------
    lmu_quantize.dataset.DatasetError
        The folder of recordings lacks something, or no clip of a label can be used.
    """
    loaded, labels, words = _usable(source, split)
    clips = loaded.clips
    names = source.speech.labels
    if "silence" in names and not (labels == names.index("silence")).any():
        count = max(1, round(_mean_keyword(labels, names)))
        clips = np.concatenate([clips, _silences(source, split, count)])
        labels = np.concatenate([labels, np.full(count, names.index("silence"))])
        words += [SILENCE] * count
    frames = np.concatenate(
        [
            front_end.frames_batch(clips[start : start + CHUNK]).astype(np.float32)
            for start in range(0, len(clips), CHUNK)
        ]
    )
    return EvaluationSet(frames, labels.astype(np.int64), np.array(words), tuple(loaded.problems))


def _silences(source: FrameSource, split: str, count: int) -> NDArray[np.int16]:
    """Silence for a split without recordings of it."""
    recordings = source.speech.background_noise()
    if split == "test":
        return test_silence(recordings, count)
    rng = _rng(source.seed, 3)
    bank = NoiseBank([unheard_noise(recording) for recording in recordings], rng)
    return np.stack([silence_clip(SAMPLES, bank, source.augment.silence_rms, rng) for _ in range(count)])


def _splice(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.int16]:
    """Take the first half of one word and the second half of another, joined at their centres of energy."""
    centres = []
    for clip in (first, second):
        energy = np.square(clip.astype(np.float64))
        total = energy.sum()
        centres.append(int((energy @ np.arange(len(clip))) / total) if total else len(clip) // 2)
    fade = 160
    spliced = np.zeros(SAMPLES)
    head, tail = first[: centres[0]], second[centres[1] :]
    ramp = np.minimum(np.arange(len(head), 0, -1) / fade, 1.0)
    spliced[: len(head)] = head * ramp
    room = min(len(tail), SAMPLES - len(head))
    spliced[len(head) : len(head) + room] += tail[:room] * np.minimum(np.arange(1, room + 1) / fade, 1.0)
    return spliced.astype(np.int16)


def _usable(source: FrameSource, split: str) -> tuple[LoadedClips, NDArray[np.int64], list[str]]:
    """Read the clips of a split that can be used, with their labels and the names of their folders."""
    paths, labels = _limited(source, split)
    loaded = load_clips(paths, SAMPLES)
    kept = labels[loaded.kept]
    for index in sorted(set(labels.tolist()) - set(kept.tolist())):
        raise DatasetError(
            f"no {split} clip of label {source.speech.labels[index]!r} can be used; "
            f"of {len(loaded.problems)} such files the first is {loaded.problems[0]}"
        )
    return loaded, kept, [paths[index].parent.name for index in loaded.kept]


def _limited(source: FrameSource, split: str) -> tuple[list[Path], NDArray[np.int64]]:
    """Clips of a split, at most `limit` of each label."""
    paths, labels = _clips_of(source, split)
    if source.limit is None:
        return paths, labels
    rng = _rng(source.seed, 0)
    chosen: list[int] = []
    for label in np.unique(labels):
        clips = np.flatnonzero(labels == label)
        chosen += sorted(rng.permutation(clips)[: source.limit].tolist())
    return [paths[clip] for clip in chosen], labels[chosen]


def _clips_of(source: FrameSource, split: str) -> tuple[list[Path], NDArray[np.int64]]:
    """Clips of a split; training clips of words that are held out are in validation."""
    paths, labels = source.speech.clips(split)
    if not source.held_out or split == "test":
        return paths, labels
    trained, trained_labels = source.speech.clips("train")
    moved = np.array([path.parent.name in source.held_out for path in trained])
    if split == "train":
        return [path for path, out in zip(trained, moved, strict=True) if not out], trained_labels[~moved]
    paths = paths + [path for path, out in zip(trained, moved, strict=True) if out]
    return paths, np.concatenate([labels, trained_labels[moved]])


def _known_words(spoken: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Distinct words: labels first, then other words in alphabetical order, then those that are made."""
    rest = set(spoken)
    first = [name for name in names if name in rest]
    last = [name for name in (SPLICED, REVERSED, SILENCE) if name in rest]
    return (*first, *sorted(rest - set(first) - set(last)), *last)


def _mean_keyword(labels: NDArray[np.int64], names: Sequence[str]) -> float:
    keywords = [index for index, name in enumerate(names) if name not in ("unknown", "silence")]
    return float(np.mean([(labels == index).sum() for index in keywords])) if keywords else 0.0


def _word_weights(words: Sequence[str], unknown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights that make a word of ``unknown`` as frequent as its number of clips to the power ``1 - RARITY``."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    rarity = np.array([counts[word] ** -RARITY for word in words])
    return np.where(unknown, rarity, 0.0)


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _key(clips: _TrainingClips) -> str:
    """Hash of everything that the stored frames depend on."""
    source = clips.source
    settings: dict[str, Any] = {
        "front_end": source.front_end.to_dict(),
        "augment": {name: value for name, value in source.augment.to_dict().items() if name not in MASKS},
        "copies": source.copies,
        "seed": source.seed,
        "silences": clips.silences,
        "splices": clips.splices,
        "reversals": clips.reversals,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(clips.clips.tobytes())
    return digest.hexdigest()


def _reusable(complete: Path, key: str) -> bool:
    return complete.exists() and json.loads(complete.read_text())["key"] == key
