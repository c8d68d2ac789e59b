"""Find the parameters of a level gate on validation recordings."""

import functools
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.gate import Gate, levels
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import detect
from lmu_hw.model.stream import stream_logits
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.models import front_end_of
from lmu_kit.stream_evaluation import BACKGROUND, StreamOptions, load_split
from lmu_quantize.audio import SAMPLE_RATE
from lmu_quantize.dataset import SpeechCommands
from lmu_quantize.features import FrontEnd, quantize_frames
from lmu_quantize.stream import Stream, make_stream, noise_part
from lmu_quantize.stream_score import TOLERANCE_S, LogitClock, choose, score_events

__all__ = ["TOLERANCE", "GateTrial", "GatedModel", "add_gate", "find_floor"]

IntArray = NDArray[np.int64]

TOLERANCE = 0.002
"""False rejects that a gate may add, as a part of the keywords."""

MARGINS = (1 / 16, 1 / 12, 1 / 8, 1 / 6)
"""Margins that are tried, as parts of how far words rise above the background,"""
HOLDS_S = (TOLERANCE_S, 1.3 * TOLERANCE_S)
"""with these holds, in seconds: a network must not sleep while the event of a word may still come."""
RISE_S, FALL_S = 0.64, 0.32
"""Times in which the floor follows a higher and a lower level."""

RATES = (0.5, 1.0, 2.0)
"""Rates of false accepts, as multiples of the one asked for. False rejects are means over them: one rate alone hangs on
a few words."""

SOFTEST = 0.05
"""Part of the frames of words that are softer than the level that wakes the network after a reset."""


@dataclass(frozen=True)
class GateTrial:
    """What a gate gives on the validation stream.

    Parameters
    ----------
    gate : Gate or None
        The parameters; None for the network without a gate.
    asleep : float
        Part of the frames that are asleep, 0 to 1.
    false_rejects : float
        Part of the keywords without an event, 0 to 1: mean over the smoothing that is best for half the rate of false
        accepts, for the rate, and for twice the rate.
    """

    gate: Gate | None
    asleep: float
    false_rejects: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        gate = None if self.gate is None else self.gate.to_dict()
        return {"gate": gate, "asleep": self.asleep, "false_rejects": self.false_rejects}


@dataclass(frozen=True)
class GatedModel:
    """A network with a gate, and how it was found.

    Parameters
    ----------
    model : QuantizedModel
        The network with the chosen gate.
    chosen : GateTrial
        What it gives.
    trials : tuple of GateTrial
        Everything that was tried, first the network without a gate.
    """

    model: QuantizedModel
    chosen: GateTrial
    trials: tuple[GateTrial, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without the network."""
        return {"chosen": self.chosen.to_dict(), "trials": [trial.to_dict() for trial in self.trials]}


def add_gate(
    model: QuantizedModel,
    data: str | os.PathLike[str],
    options: StreamOptions | None = None,
    *,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
) -> GatedModel:
    """Add a level gate to a network, with the parameters that let it sleep most and miss hardly a word.

    The parameters are chosen on a stream of validation clips (`evaluate_stream`): of all that reject at most
    `tolerance` more of the keywords than the network without a gate does, those with which it sleeps most.

    Parameters
    ----------
    model : QuantizedModel
        With labels, one of them ``unknown`` or ``silence``, and a front end. A gate that it has is replaced.
    data : path-like
        Speech Commands folder.
    options : StreamOptions, optional
        Hours, rate of false accepts, and seed.
    tolerance : float
        Most false rejects that the gate may add, as a part of the keywords, 0 to 1.
    progress : callable, optional
        Called with the stage, the gates tried, and all gates.

    Returns
    -------
    GatedModel

    Raises
    ------
    InputError
        If the model or the folder does not serve, or every gate misses too much.
    ValueError
        If the tolerance is out of its range.
    """
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be in 0 to 1, not {tolerance!r}")
    options = StreamOptions() if options is None else options
    plain = replace(model, gate=None)
    background = tuple(index for index, label in enumerate(model.labels) if label in BACKGROUND)
    if not background:
        raise InputError(f"a stream needs a label {' or '.join(BACKGROUND)} that keywords are compared with")
    room = _Room(plain, background, SpeechCommands(Path(data), model.labels), options)
    gates = _gates(plain, room)
    trials = [room.listen(None)]
    for done, gate in enumerate(gates):
        progress("try gates", done, len(gates))
        trials.append(room.listen(gate))
    allowed = [trial for trial in trials[1:] if trial.false_rejects <= trials[0].false_rejects + tolerance]
    if not allowed:
        best = min(trial.false_rejects for trial in trials[1:])
        raise InputError(
            f"every gate rejects too much: {100 * trials[0].false_rejects:.1f} % of the keywords without a gate, "
            f"{100 * best:.1f} % or more with one"
        )
    chosen = max(allowed, key=lambda trial: trial.asleep)
    return GatedModel(replace(plain, gate=chosen.gate), chosen, tuple(trials))


class _Room:
    """A stream of validation clips, and what a network makes of it."""

    def __init__(
        self, model: QuantizedModel, background: tuple[int, ...], dataset: SpeechCommands, options: StreamOptions
    ):
        self.model, self.background, self.options = model, background, options
        self.front_end: FrontEnd = front_end_of(model)
        clips, labels = load_split(dataset, "validation")
        noise = [noise_part(recording, "validation") for recording in dataset.background_noise()]
        self.stream: Stream = make_stream(clips, labels, model.labels, noise, options.hours, 2 * options.seed)
        self.frames = quantize_frames(self.front_end.frames(self.stream.samples), model.input)

    def listen(self, gate: Gate | None) -> GateTrial:
        """Frames asleep and false rejects with a gate."""
        heard = stream_logits(replace(self.model, gate=gate), self.frames)
        if not len(heard.logits):
            return GateTrial(gate, 1 - heard.awake, 1.0)
        clock = LogitClock(self.front_end.window, self.front_end.hop, frames=heard.frames)
        logit, rates = Golden(self.model).operations[-1].output, [self.options.false_accepts * part for part in RATES]
        rejects = []
        for smoothing in choose(heard.logits, logit, self.background, rates, self.stream, clock, heard.restarts):
            if smoothing is None:
                rejects.append(1.0)
                continue
            events = detect(heard.logits, smoothing, heard.restarts)
            rejects.append(score_events(events, self.stream, clock).false_rejects)
        return GateTrial(gate, 1 - heard.awake, float(np.mean(rejects)))

    @functools.cached_property
    def words(self) -> list[IntArray]:
        """Levels of the frames of each keyword, from the start of its clip to the end of the word."""
        hop, sums = self.front_end.hop, levels(self.frames)
        bounds = zip(self.stream.starts // hop, self.stream.ends // hop, strict=True)
        return [sums[start:end] for start, end in bounds if end > start]


def find_floor(words: Sequence[IntArray], margin: int) -> int:
    """Floor after a reset: a network wakes at once for all but the softest frames of words."""
    return int(np.quantile(np.concatenate(words), SOFTEST)) - margin


def _gates(model: QuantizedModel, room: _Room) -> list[Gate]:
    """Gates to try, in units that do not depend on the network: seconds, and how far words rise."""
    rise = float(np.median([np.quantile(word, 0.95) - np.quantile(word, 0.1) for word in room.words]))
    frame = room.front_end.hop / SAMPLE_RATE
    low, high = model.inputs * model.input.min, model.inputs * model.input.max
    gates = []
    for part, hold in itertools.product(MARGINS, HOLDS_S):
        margin = min(max(1, round(part * rise)), high - low)
        floor = min(max(find_floor(room.words, margin), low), high)
        gates.append(Gate(margin, max(1, round(hold / frame)), _shift(RISE_S / frame), _shift(FALL_S / frame), floor))
    return list(dict.fromkeys(gates))


def _shift(frames: float) -> int:
    """Shift of an average over about so many frames."""
    return max(0, round(float(np.log2(max(frames, 1.0)))))
