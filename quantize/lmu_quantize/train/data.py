"""Frames for training: augmented copies of every clip, computed once and kept on disk.

Frames cost more than a training step, so each clip is augmented `copies` times before training and the frames are
stored as float16; an epoch draws one copy of each clip and masks it anew. The files depend on the clips, the front end,
the augmentation and the seed only: a later run of the same configuration reuses them.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_quantize.dataset import DatasetError, LoadedClips, SpeechCommands, load_clips
from lmu_quantize.features import FrontEnd
from lmu_quantize.train.augment import AugmentConfig, NoiseBank, augment_clip, silence_clip

__all__ = ["EvaluationSet", "FrameSource", "TrainingSet", "prepare_evaluation", "prepare_training"]

SAMPLES = 16_000
CHUNK = 256
SPLICED, SILENCE = "_spliced_", "_silence_"
NOISE_FOR_VALIDATION = 0.2
"""Last part of every noise recording, kept for the silence of validation."""
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
    splice_ratio : float
        Extra clips of ``unknown`` in the same measure, each the first half of one training word and the second half
        of another; none of them is in validation.
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
        ``SPLICED`` and ``SILENCE``.
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


def prepare_training(
    source: FrameSource, folder: Path, progress: Callable[[str, float], None] | None = None
) -> TrainingSet:
    """Augment all training clips and compute their frames, or reuse those in `folder`.

    Parameters
    ----------
    source : FrameSource
        Clips, front end and augmentation.
    folder : Path
        Where the frames are kept; made where it is missing.
    progress : callable, optional
        Called with what is being done and the part done, 0 to 1.

    Returns
    -------
    TrainingSet

    Raises
    ------
    lmu_quantize.dataset.DatasetError
        The folder of recordings lacks something, or no clip of a label can be used.
    """
    report = progress or _silent
    report("reading clips", 0.0)
    loaded, labels, words = _usable(source, "train")
    names = source.speech.labels
    per_keyword = _mean_keyword(labels, names)
    silences = round(source.silence_ratio * per_keyword) if "silence" in names else 0
    splices = round(source.splice_ratio * per_keyword) if "unknown" in names else 0
    recordings = source.speech.background_noise()
    bank = NoiseBank([_part(recording, False) for recording in recordings], _rng(source.seed, 1))
    key = _key(source, loaded.clips, silences, splices)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "frames.json"
    count = len(labels) + splices + silences
    frame_count, size = source.front_end.frames_in(SAMPLES), source.front_end.size
    shape = (source.copies, count, frame_count, size)
    if not _reusable(done, key):
        done.unlink(missing_ok=True)
        store = np.lib.format.open_memmap(folder / "frames.npy", mode="w+", dtype=np.float16, shape=shape)
        mean, std = np.zeros(size), np.ones(size)

        def fill(copy: int, start: int) -> NDArray[np.float64]:
            rng = _rng(source.seed, 2, copy, start)
            clips = np.stack(
                [
                    _variant(loaded.clips, words, index, splices, bank, source.augment, rng)
                    for index in range(start, min(start + CHUNK, count))
                ]
            )
            return source.front_end.frames_batch(clips)

        starts = range(0, count, CHUNK)
        with ThreadPoolExecutor(2) as pool:
            for copy in range(source.copies):
                for number, frames in enumerate(pool.map(functools.partial(fill, copy), starts)):
                    start = starts[number]
                    store[copy, start : start + len(frames)] = frames
                    report("computing frames", (copy + (number + 1) / len(starts)) / source.copies)
                if copy == 0:
                    mean = store[0].mean(axis=(0, 1), dtype=np.float64)
                    std = np.maximum(store[0].astype(np.float32).std(axis=(0, 1), dtype=np.float64), 1e-3)
                store[copy] = (store[copy].astype(np.float32) - mean) / std
        store.flush()
        done.write_text(json.dumps({"key": key, "mean": mean.tolist(), "std": std.tolist()}))
    made = json.loads(done.read_text())
    unknown = names.index("unknown") if "unknown" in names else -1
    silence = names.index("silence") if "silence" in names else -1
    all_labels = np.concatenate([labels, np.full(splices, unknown), np.full(silences, silence)]).astype(np.int64)
    weights = np.concatenate([_word_weights(words, labels == unknown), np.zeros(splices + silences)])
    frames = np.load(folder / "frames.npy", mmap_mode="r")
    said = words + [SPLICED] * splices + [SILENCE] * silences
    known = _known_words(said, names)
    places = {word: place for place, word in enumerate(known)}
    word_of = np.array([places[word] for word in said], dtype=np.int64)
    label_of_word = np.zeros(len(known), dtype=np.int64)
    label_of_word[word_of] = all_labels
    front_end = source.front_end.with_normalisation(made["mean"], made["std"])
    problems = tuple(loaded.problems)
    return TrainingSet(frames, all_labels, weights, known, word_of, label_of_word, front_end, key, problems)


def prepare_evaluation(source: FrameSource, split: str, front_end: FrontEnd) -> EvaluationSet:
    """Frames of the clips of a split, as they were recorded.

    Validation has no recordings of silence: they are cut from the last part of the noise recordings, which training
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
        rng = _rng(source.seed, 3)
        bank = NoiseBank([_part(recording, True) for recording in source.speech.background_noise()], rng)
        count = max(1, round(_mean_keyword(labels, names)))
        silences = [silence_clip(SAMPLES, bank, source.augment, rng) for _ in range(count)]
        clips = np.concatenate([clips, np.stack(silences)])
        labels = np.concatenate([labels, np.full(count, names.index("silence"))])
        words += [SILENCE] * count
    frames = np.concatenate(
        [
            front_end.frames_batch(clips[start : start + CHUNK]).astype(np.float32)
            for start in range(0, len(clips), CHUNK)
        ]
    )
    return EvaluationSet(frames, labels.astype(np.int64), np.array(words), tuple(loaded.problems))


def _variant(
    clips: NDArray[np.int16],
    words: Sequence[str],
    index: int,
    splices: int,
    bank: NoiseBank,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Clip `index`, spliced word ``index - len(clips)``, or silence, augmented."""
    if index >= len(clips) + splices:
        return silence_clip(SAMPLES, bank, config, rng)
    if index < len(clips):
        return augment_clip(clips[index], bank, config, rng)
    first = int(rng.integers(len(clips)))
    second = int(rng.integers(len(clips)))
    while words[second] == words[first]:
        second = int(rng.integers(len(clips)))
    return augment_clip(_splice(clips[first], clips[second]), bank, config, rng)


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
    paths, labels = source.speech.clips(split)
    if source.limit is None:
        return paths, labels
    rng = _rng(source.seed, 0)
    chosen: list[int] = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        chosen += sorted(rng.permutation(places)[: source.limit].tolist())
    return [paths[place] for place in chosen], labels[chosen]


def _known_words(said: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """All that is said, without repeats: labels first, then other words, then what is no word."""
    rest = set(said)
    first = [name for name in names if name in rest]
    last = [name for name in (SPLICED, SILENCE) if name in rest]
    return (*first, *sorted(rest - set(first) - set(last)), *last)


def _mean_keyword(labels: NDArray[np.int64], names: Sequence[str]) -> float:
    keywords = [index for index, name in enumerate(names) if name not in ("unknown", "silence")]
    return float(np.mean([(labels == index).sum() for index in keywords])) if keywords else 0.0


def _word_weights(words: Sequence[str], unknown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights that make a word of ``unknown`` as frequent as the square root of its clips."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    rarity = np.array([counts[word] ** -0.5 for word in words])
    return np.where(unknown, rarity, 0.0)


def _part(recording: NDArray[np.int16], validation: bool) -> NDArray[np.int16]:
    cut = len(recording) - max(SAMPLES + 1, int(len(recording) * NOISE_FOR_VALIDATION))
    return recording[cut:] if validation else recording[:cut]


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _key(source: FrameSource, clips: NDArray[np.int16], silences: int, splices: int) -> str:
    """Hash of all that the stored frames depend on."""
    settings: dict[str, Any] = {
        "front_end": source.front_end.to_dict(),
        "augment": {name: value for name, value in source.augment.to_dict().items() if name not in MASKS},
        "copies": source.copies,
        "seed": source.seed,
        "silences": silences,
        "splices": splices,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(clips.tobytes())
    return digest.hexdigest()


def _reusable(done: Path, key: str) -> bool:
    return done.exists() and json.loads(done.read_text())["key"] == key


def _silent(_what: str, _part_done: float) -> None:
    return
