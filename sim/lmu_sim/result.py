"""What a co-simulation found: counts, the first difference, measured and planned timing, the words decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.model.fixed import Format
from lmu_sim.runner import Simulator

__all__ = ["ClipDecision", "CosimResult", "Mismatch", "MismatchError"]


class MismatchError(RuntimeError):
    """The accelerator did not do what the golden model and the plan say.

    Parameters
    ----------
    message : str
        One line: the first difference, or the rule that was broken.
    result : CosimResult
        Of the run.
    """

    def __init__(self, message: str, result: "CosimResult"):
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Mismatch:
    """The first value that differs between the accelerator and the golden model.

    Parameters
    ----------
    block : str
        Name of the vector, ``logits``, ``decision.label``, ``decision.score``, ``event.label``, ``event.score``, or
        ``frame_error``.
    frame : int
        Index among the frames sent, from 0.
    element : int
        Index in the vector, from 0.
    expected, got : int or None
        Integers in `format`. `expected` is None for an element that should not exist, `got` for one that never came.
    unknown : bool
        Whether the simulator gave an unknown value (x).
    format : Format
        Q-format of the vector.
    time_ns : int or None
        Simulated time in ns at which the element left the block; None if it never came.
    replay : str
        Command line that repeats the run and writes waveforms; empty if none was given.
    """

    block: str
    frame: int
    element: int
    expected: int | None
    got: int | None
    unknown: bool
    format: Format
    time_ns: int | None
    replay: str = ""

    def _text(self, value: int | None, unknown: bool = False) -> str:
        if value is None:
            return "unknown (x)" if unknown else "nothing"
        digits = -(-self.format.width // 4)
        pattern = value & ((1 << self.format.width) - 1)
        return f"0x{pattern:0{digits}x} ({self.format.real(value):g})"

    def __str__(self) -> str:
        expected, got = self._text(self.expected), self._text(self.got, self.unknown)
        time = "" if self.time_ns is None else f" at {self.time_ns} ns"
        replay = f"; replay with waveforms: {self.replay}" if self.replay else ""
        return f"{self.block}[{self.element}] of frame {self.frame}: expected {expected}, got {got}{time}{replay}"


@dataclass(frozen=True)
class ClipDecision:
    """What the accelerator decided at the end of a clip.

    Parameters
    ----------
    clip : int
        Index of the clip, from 0.
    frame : int
        Index among all frames sent of the frame that gave the decision: the clip's last one that gives logits.
    label : int
        Index of the label.
    word : str
        Name of the label; its index as text if the model names no labels.
    score : int
        The highest logit, in the format of the logits.
    """

    clip: int
    frame: int
    label: int
    word: str
    score: int


@dataclass(frozen=True)
class CosimResult:
    """Result of a co-simulation.

    Parameters
    ----------
    simulator : Simulator
        The simulator that ran.
    stalls : str
        How the streams were stalled.
    seed : int
        Of all random stalls.
    frames : int
        Frames sent.
    blocks : dict of str to (int, int)
        For each block: values compared, and values that differ, are missing, or are too many.
    mismatch : Mismatch or None
        The first difference.
    violations : tuple of str
        Broken rules of the streams and memories, each with its time.
    intervals : tuple of (int, int)
        Clock cycles from frame to frame, measured and planned. Empty if any stream was stalled or the accelerator was
        reset; gaps, dropped frames and clears end a run of measured intervals.
    latencies : tuple of (int, int)
        Clock cycles from a frame's last element to its decision, measured and planned. Only for spaced frames without
        stalls and resets.
    accesses : dict of str to (int, int)
        Reads of each memory, measured and planned; empty if the accelerator was reset.
    saturated : dict of str to int
        For each vector, elements that the golden model saturated or wrapped.
    decisions : tuple of ClipDecision
        The accelerator's last decision in each clip; clips without any are left out.
    cycles : int
        Clock cycles simulated.
    hung : bool
        Whether the accelerator stopped taking frames, or did not come to rest.
    waves : Path or None
        Waveform file (VCD).
    seconds : dict of str to float
        Wall-clock seconds of ``build``, ``simulate`` and ``compare``.
    """

    simulator: Simulator
    stalls: str
    seed: int
    frames: int
    blocks: dict[str, tuple[int, int]]
    mismatch: Mismatch | None
    violations: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]
    latencies: tuple[tuple[int, int], ...]
    accesses: dict[str, tuple[int, int]]
    saturated: dict[str, int]
    decisions: tuple[ClipDecision, ...]
    cycles: int
    hung: bool
    waves: Path | None
    seconds: dict[str, float]

    @property
    def compared(self) -> int:
        """Values compared."""
        return sum(compared for compared, _ in self.blocks.values())

    @property
    def differing(self) -> int:
        """Values that differ, are missing, or are too many."""
        return sum(differing for _, differing in self.blocks.values())

    @property
    def exact(self) -> bool:
        """Whether values were compared, all are equal, no rule was broken, and the accelerator came to rest."""
        return self.compared > 0 and not self.differing and not self.violations and not self.hung

    @property
    def as_planned(self) -> bool:
        """Whether every measured interval, latency and access count equals the planned one."""
        pairs = (*self.intervals, *self.latencies, *self.accesses.values())
        return all(measured == planned for measured, planned in pairs)

    @property
    def ok(self) -> bool:
        """Whether the run was exact and as planned."""
        return self.exact and self.as_planned

    def check(self) -> "CosimResult":
        """Refuse a run that was not exact, or not as planned.

        Returns
        -------
        CosimResult
            This result.

        Raises
        ------
        MismatchError
            With this result. The message is one line: that the accelerator hung, the first difference, or the first
            rule that was broken.
        """
        if self.ok:
            return self
        if self.hung:
            message = "the accelerator stopped taking frames, or did not come to rest"
        elif self.mismatch is not None:
            message = f"first difference: {self.mismatch}"
        elif self.violations:
            message = f"an interface rule was broken: {self.violations[0]}"
        elif not self.compared:
            message = "nothing was compared"
        else:
            message = f"not as planned: {self._unplanned()}"
        raise MismatchError(message, self)

    def _unplanned(self) -> str:
        """The first measured figure that differs from the plan."""
        for name, pairs in (("cycles from frame to frame", self.intervals), ("cycles of latency", self.latencies)):
            for measured, planned in pairs:
                if measured != planned:
                    return f"{measured} {name}, {planned} planned"
        name, (measured, planned) = next(item for item in self.accesses.items() if item[1][0] != item[1][1])
        return f"{measured} reads of {name}, {planned} planned"

    def report(self) -> dict[str, Any]:
        """Everything but the waveform's path, as JSON values."""
        return {
            "simulator": self.simulator.value,
            "stalls": self.stalls,
            "seed": self.seed,
            "frames": self.frames,
            "compared": self.compared,
            "differing": self.differing,
            "blocks": {name: list(counts) for name, counts in self.blocks.items()},
            "mismatch": None if self.mismatch is None else str(self.mismatch),
            "violations": list(self.violations),
            "hung": self.hung,
            "as_planned": self.as_planned,
            "intervals": [list(pair) for pair in self.intervals],
            "latencies": [list(pair) for pair in self.latencies],
            "accesses": {name: list(pair) for name, pair in self.accesses.items()},
            "saturated": self.saturated,
            "decisions": [
                {"clip": decision.clip, "frame": decision.frame, "word": decision.word, "score": decision.score}
                for decision in self.decisions
            ],
            "cycles": self.cycles,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }
