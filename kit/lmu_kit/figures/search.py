"""The picture of a search: recall on validation against each cost, the Pareto front marked."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lmu_kit.figures.drawing import open_frame, save, style
from lmu_quantize.train.search import Trial, fronts

__all__ = ["write_picture"]

AXES = {
    "kbits": "kbit of weights",
    "multiplications": "multiplications per 20 ms",
    "weight_bits": "bits of weights read per 20 ms",
}


def write_picture(trials: Sequence[Trial], path: Path) -> None:
    """Draw the trials of one rung, one plot for each cost.

    Parameters
    ----------
    trials : sequence of Trial
        What to draw; one or more.
    path : Path
        SVG or PNG, by its suffix; the same trials give the same bytes with the same version of matplotlib.
    """
    best = fronts(trials) == 0
    with style():
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        plots = figure.subplots(1, len(AXES), sharey=True)
        for plot, (name, label) in zip(plots, AXES.items(), strict=True):
            for front, colour, title in ((False, "#bab0ac", "other networks"), (True, "#4e79a7", "Pareto front")):
                members = [trial for trial, on_front in zip(trials, best, strict=True) if on_front == front]
                costs = [getattr(trial, name) for trial in members]
                plot.scatter(costs, [100 * trial.recall for trial in members], color=colour, label=title, s=18)
                for trial, cost in zip(members, costs, strict=True):
                    if front:
                        plot.annotate(str(trial.candidate), (cost, 100 * trial.recall), (3, 3),
                                      textcoords="offset points", fontsize=7)  # fmt: skip
            plot.set_xlabel(label)
            open_frame(plot)
        plots[0].set_ylabel("% mean recall, validation")
        plots[0].legend(frameon=False, fontsize=8)
        save(figure, path)
