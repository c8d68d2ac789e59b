"""The batches of an epoch: which clips are drawn, and their frames, augmented anew."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmu_quantize.train.augment import mask_frames
from lmu_quantize.train.config import TrainConfig
from lmu_quantize.train.data import RARITY, SILENCE, TrainingSet
from lmu_quantize.train.frame_augment import augment_frames

__all__ = ["Batches"]


class Batches:
    """Draws epochs from a training set.

    Parameters
    ----------
    config : TrainConfig
        Labels, ratios, augmentation and size of a batch.
    training : TrainingSet
        Frames of all clips.

    Attributes
    ----------
    count : int
        Batches of an epoch.
    clips : int
        Clips of an epoch, those of a last incomplete batch left out.
    """

    def __init__(self, config: TrainConfig, training: TrainingSet) -> None:
        self.config, self.training = config, training
        self._weights = np.where(training.weights > 0, training.weights ** (config.unknown_rarity / RARITY), 0.0)
        self._drawn = np.repeat(np.flatnonzero(training.weights), config.unknown_repeats)
        self._always = np.flatnonzero(training.weights == 0)
        keywords = [i for i, name in enumerate(config.labels) if name not in ("unknown", "silence")]
        per_keyword = float(np.mean([(training.labels == index).sum() for index in keywords]))
        self._wanted = min(len(self._drawn), round(config.unknown_ratio * per_keyword))
        total = len(self._always) + self._wanted
        self.count = max(1, total // config.batch)
        self.clips = min(total, self.count * config.batch)
        self._noise: Tensor | None = None

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Give the batches of one epoch: frames, float32 (batch, T, size), and the numbers of their clips.

        The frames of the clips come last, after ``config.lead_frames`` of others.
        """
        config, training = self.config, self.training
        clips = self._draw(rng)
        copies = rng.integers(training.frames.shape[0], size=len(clips))
        generator = torch.Generator()
        if config.frame_augment is not None:
            generator.manual_seed(int(rng.integers(2**62)))
        for number in range(self.count):
            part = slice(number * config.batch, (number + 1) * config.batch)
            frames = self._frames(copies[part], clips[part], generator)
            mask_frames(frames, config.augment, rng)
            if config.lead_frames:
                frames = np.concatenate([self._lead(clips, len(frames), rng, generator), frames], axis=1)
            yield torch.from_numpy(frames), clips[part]

    def frequencies(self) -> NDArray[np.float64]:
        """Mean number of times that each clip is in an epoch, as if those drawn did not exclude each other."""
        weights = self._weights
        drawn = np.minimum(weights / max(weights.sum(), 1e-30) * self._wanted, self.config.unknown_repeats)
        return np.where(weights > 0, drawn, 1.0)

    def _draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the clips of one epoch in random order: all, but of recorded ``unknown`` so many as the ratio says."""
        chosen = self._always
        if self._wanted:
            weights = self._weights[self._drawn]
            drawn = rng.choice(self._drawn, self._wanted, replace=False, p=weights / weights.sum())
            chosen = np.concatenate([chosen, drawn])
        return rng.permutation(chosen)

    def _frames(
        self, copies: NDArray[np.int64], clips: NDArray[np.int64], generator: torch.Generator
    ) -> NDArray[np.float32]:
        """Frames of the given copies of clips, augmented, shape (clips, T, size)."""
        frames = self.training.frames[copies, clips].astype(np.float32)
        return frames if self.config.frame_augment is None else self._augmented(frames, generator)

    def _lead(
        self, clips: NDArray[np.int64], count: int, rng: np.random.Generator, generator: torch.Generator
    ) -> NDArray[np.float32]:
        """Frames that come before `count` clips: those of clips of the epoch in a row, cut anywhere."""
        copies, _, each, _ = self.training.frames.shape
        lead = self.config.lead_frames
        row = [
            self._frames(rng.integers(copies, size=count), rng.choice(clips, count), generator)
            for _ in range(lead // each + 1)
        ]
        joined = np.concatenate(row, axis=1)
        start = int(rng.integers(joined.shape[1] - lead, endpoint=True))
        return joined[:, start : start + lead]

    def _augmented(self, frames: NDArray[np.float32], generator: torch.Generator) -> NDArray[np.float32]:
        """Augment normalised frames as log energies."""
        front_end, config = self.training.front_end, self.config.frame_augment
        if config is None or front_end.offset is None or front_end.scale is None:
            raise ValueError("frames must be normalised to be augmented")
        offset, scale = torch.tensor(front_end.offset), torch.tensor(front_end.scale)
        if self._noise is None:
            silent = self.training.word_of == self._silence()
            noise = np.concatenate([copy[silent] for copy in self.training.frames]).astype(np.float32)
            self._noise = torch.from_numpy(noise) / scale + offset
        floor = math.log(front_end.log_epsilon)
        energies = augment_frames(torch.from_numpy(frames) / scale + offset, self._noise, floor, config, generator)
        result: NDArray[np.float32] = ((energies - offset) * scale).contiguous().numpy()
        return result

    def _silence(self) -> int:
        if SILENCE not in self.training.words:
            raise ValueError("frame_augment adds noise from the clips of silence: give a label and a ratio of it")
        return self.training.words.index(SILENCE)
