"""A score label by label, as rows, CSV and Markdown."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from lmu_quantize.score import Score, wilson_interval

__all__ = ["LabelRow", "label_rows", "to_csv", "to_markdown"]

MISTAKES = 3
"""Most decisions that are named beside a label."""


@dataclass(frozen=True)
class LabelRow:
    """One label of a score.

    Parameters
    ----------
    label : str
        Its name.
    clips, correct : int
        Clips of this label, and those decided so.
    interval : tuple of float
        95 % Wilson interval of the recall, 0 to 1.
    decided : int
        Clips of all labels decided so.
    mistakes : tuple of (str, int)
        What its other clips were taken for most often, and how often.
    """

    label: str
    clips: int
    correct: int
    interval: tuple[float, float]
    decided: int
    mistakes: tuple[tuple[str, int], ...]

    @property
    def recall(self) -> float:
        """Share of its clips that were decided so, 0 to 1; 0 without clips."""
        return self.correct / max(1, self.clips)

    @property
    def precision(self) -> float:
        """Share of the clips decided so that are its own, 0 to 1; 0 without any."""
        return self.correct / max(1, self.decided)


def label_rows(score: Score) -> tuple[LabelRow, ...]:
    """Rows of a score, in the order of its labels."""
    rows = []
    for index, label in enumerate(score.labels):
        counts = score.confusion[index]
        clips, correct = int(counts.sum()), int(counts[index])
        order = [int(other) for other in np.argsort(-counts, kind="stable") if other != index and counts[other]]
        mistakes = tuple((score.labels[other], int(counts[other])) for other in order[:MISTAKES])
        decided = int(score.confusion[:, index].sum())
        rows.append(LabelRow(label, clips, correct, wilson_interval(correct, clips), decided, mistakes))
    return tuple(rows)


def to_csv(score: Score) -> str:
    """CSV text with a header; shares are 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "clips", "correct", "recall", "low", "high", "precision", "mistakes"])
    for row in label_rows(score):
        shares = [f"{value:.6f}" for value in (row.recall, *row.interval, row.precision)]
        mistakes = " ".join(f"{label}:{count}" for label, count in row.mistakes)
        writer.writerow([row.label, row.clips, row.correct, *shares, mistakes])
    return text.getvalue()


def to_markdown(score: Score) -> str:
    """Markdown table; shares in percent."""
    lines = ["| label | clips | recall % | 95 % interval | precision % | taken for |", "|---|---|---|---|---|---|"]
    for row in label_rows(score):
        low, high = (100 * value for value in row.interval)
        mistakes = ", ".join(f"{label} {count}" for label, count in row.mistakes) or "-"
        lines.append(
            f"| {row.label} | {row.clips} | {100 * row.recall:.1f} | {low:.1f} to {high:.1f} | "
            f"{100 * row.precision:.1f} | {mistakes} |"
        )
    return "\n".join(lines) + "\n"
