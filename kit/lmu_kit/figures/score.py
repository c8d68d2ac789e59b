"""The report of a score: a table label by label, and the confusion matrix as a picture."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lmu_kit.figures.drawing import save, style
from lmu_quantize.score import Score
from lmu_quantize.score_table import label_rows, to_csv, to_markdown

__all__ = ["CONFUSION", "LABELS_CSV", "LABELS_MD", "draw_confusion", "write_score"]

CONFUSION = "confusion.png"
SMALLEST = 3.4
"""Least height in inches: room for the title and the names of few labels."""
LETTERS_PER_INCH = 16
LABELS_CSV, LABELS_MD = "labels.csv", "labels.md"


def draw_confusion(score: Score, title: str, path: Path) -> None:
    """Draw a confusion matrix: clips of a label in a row, shaded by their share of it; the recall beside it.

    Parameters
    ----------
    score : Score
        What to draw.
    title : str
        Above it.
    path : Path
        SVG or PNG, by its suffix; the same score gives the same bytes with the same version of matplotlib.
    """
    shading = score.confusion / score.confusion.sum(axis=1, keepdims=True).clip(min=1)
    size = max(SMALLEST, 1.6 + 0.45 * len(score.labels))
    shares = [[100 * share for share in (row.recall, *row.interval)] for row in label_rows(score)]
    recalls = ["{:.1f} ({:.1f} to {:.1f})".format(*row) for row in shares]
    with style(8):
        figure = Figure(figsize=(size + 1.3, size), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shading, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(score.confusion).tolist():
            colour = "white" if shading[row, column] > 0.5 else "black"
            axes.text(column, row, str(score.confusion[row, column]), ha="center", va="center", color=colour)
        places = range(len(score.labels))
        axes.set_xticks(places, score.labels, rotation=45, ha="right")
        axes.set_yticks(places, score.labels)
        beside = axes.secondary_yaxis("right")
        beside.set_yticks(places, recalls)
        beside.tick_params(length=0)
        beside.set_ylabel("recall, % (95 % interval)")
        axes.set_xlabel("decision")
        axes.set_ylabel("label")
        lines = textwrap.fill(title, int(LETTERS_PER_INCH * size))
        axes.set_title(lines, loc="left", x=-0.2, fontsize=8)
        save(figure, path, 100)


def write_score(score: Score, title: str, folder: Path) -> list[Path]:
    """Write ``labels.csv``, ``labels.md`` and ``confusion.png``.

    Parameters
    ----------
    score : Score
        What to report.
    title : str
        Above the picture.
    folder : Path
        Made if it does not exist.

    Returns
    -------
    list of Path
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LABELS_CSV).write_text(to_csv(score))
    (folder / LABELS_MD).write_text(to_markdown(score))
    draw_confusion(score, title, folder / CONFUSION)
    return [folder / name for name in (LABELS_CSV, LABELS_MD, CONFUSION)]
