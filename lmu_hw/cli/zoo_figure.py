"""Pictures of the zoo: accuracy against size, and against what a network costs per 20 ms of audio."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmu_quantize.zoo.peers import PUBLISHED, Peer

__all__ = ["draw_zoo"]

OURS, ELSEWHERE = "#4e79a7", "#777777"
COLOURS = {"gru": "#f28e2b", "lstm": "#e15759", "ds-cnn": "#59a14f"}
NAMES = {"gru": "GRU", "lstm": "LSTM", "ds-cnn": "DS-CNN, streaming"}


class Drawn(Protocol):
    """What is drawn of one of our networks, as in the entries of the list."""

    name: str
    labels: tuple[str, ...]
    kbits: float
    golden_accuracy: float | None
    golden_interval: tuple[float, float] | None
    multiplications: float
    weight_bits: float


def draw_zoo(entries: Sequence[Any], others: Sequence[Peer], path: Path) -> tuple[Path, Path]:
    """Draw two pictures: accuracy against kbit, and beside each other against products and weight bits.

    Parameters
    ----------
    entries : sequence of Drawn
        Our networks; those without a measurement are left out.
    others : sequence of Peer
        Networks of other kinds.
    path : Path
        SVG or PNG, by its suffix; the second picture has ``-cost`` in its name. The same results give the same bytes
        with the same version of matplotlib.

    Returns
    -------
    tuple of Path
        Both pictures.
    """
    drawn = [entry for entry in entries if entry.golden_accuracy is not None]
    second = path.with_name(f"{path.stem}-cost{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "lmu-hw", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, drawn, others, lambda each: each.kbits)
        kbits, accuracies = zip(*PUBLISHED, strict=True)
        label = "LMU, Blouw et al. 2021: published elsewhere, 12 labels, whole dataset"
        axes.plot(kbits, [100 * each for each in accuracies], "x", color=ELSEWHERE, label=label)
        _finish(figure, axes, "kbit of weights, biases not counted", path)
        figure = Figure(figsize=(10, 5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _points(left, drawn, others, lambda each: each.multiplications)
        _points(right, drawn, others, lambda each: each.weight_bits)
        left.set_xlabel("multiplications per 20 ms of audio")
        _decorate(left)
        _finish(figure, right, "bits of weights read per 20 ms of audio", second)
    return path, second


def _points(
    axes: Axes, entries: Sequence[Drawn], others: Sequence[Peer], where: Callable[[Any], float]
) -> None:
    """Draw our networks with their intervals and names, and the others."""
    for number, entry in enumerate(entries):
        accuracy, interval = 100 * (entry.golden_accuracy or 0), entry.golden_interval
        bars = None if interval is None else [[accuracy - 100 * interval[0]], [100 * interval[1] - accuracy]]
        label = "LMU, this zoo: integers, 95 % interval" if number == 0 else None
        axes.errorbar([where(entry)], [accuracy], yerr=bars, fmt="o", color=OURS, capsize=3, label=label)
        text = entry.name if len(entry.labels) == 10 else f"{entry.name} ({len(entry.labels)} labels)"
        axes.annotate(text, (where(entry), accuracy), (5, 4), textcoords="offset points", fontsize=7)
    for kind, colour in COLOURS.items():
        mine = [each for each in others if each.kind == kind]
        if mine:
            accuracies = [100 * each.quantized_accuracy for each in mine]
            label = f"{NAMES[kind]}: same data and recipe"
            axes.plot([where(each) for each in mine], accuracies, "s", color=colour, label=label)


def _decorate(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel("accuracy on the official test clips, %")


def _finish(figure: Figure, axes: Axes, name: str, path: Path) -> None:
    _decorate(axes)
    axes.set_xlabel(name)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
