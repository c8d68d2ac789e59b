"""The report of a stream: its smoothing, and the trade between false accepts and false rejects as a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from lmu_hw.files import write_whole
from lmu_hw.model.smoothing import Smoothing
from lmu_kit.figures.drawing import open_frame, save, style
from lmu_quantize.stream_score import StreamScore

__all__ = ["PICTURE", "SMOOTHING", "write_stream"]

SMOOTHING, PICTURE = "smoothing.json", "stream.png"

Scores = Mapping[str, StreamScore]
"""By split."""


def write_stream(
    smoothing: Smoothing, scores: Scores, curve: Sequence[Scores], title: str, folder: Path
) -> list[Path]:
    """Write ``smoothing.json`` and ``stream.png``.

    Parameters
    ----------
    smoothing : Smoothing
        What was chosen, or given.
    scores : mapping of str to StreamScore
        With this smoothing, by split.
    curve : sequence of mapping
        With the smoothing for each rate of false accepts.
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
    with style():
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for split, score in scores.items():
            points = [_position(point) for point in (*(step[split] for step in curve), score)]
            rates, rejects = zip(*points, strict=True)
            line = axes.plot(rates[:-1], rejects[:-1], ".-", label=split)[0]
            axes.plot(rates[-1], rejects[-1], "o", color=line.get_color())
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("false accepts per hour")
        axes.set_ylabel("false rejects, %")
        axes.set_title(title, loc="left", fontsize=9)
        open_frame(axes)
        axes.legend(frameon=False)
        save(figure, folder / PICTURE, 120)
    write_whole(folder / SMOOTHING, (json.dumps(smoothing.to_dict(), indent=2) + "\n").encode())
    return [folder / SMOOTHING, folder / PICTURE]


def _position(score: StreamScore) -> tuple[float, float]:
    return score.false_accepts_per_hour, 100 * score.false_rejects
