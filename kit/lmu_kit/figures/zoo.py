"""Pictures of the zoo: accuracy against size, and against what a network costs per 20 ms of audio."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lmu_kit.figures.drawing import open_frame, save, style
from lmu_quantize.zoo.peers import PUBLISHED, Peer

__all__ = ["draw_zoo"]

OURS, ELSEWHERE = "#4e79a7", "#777777"
COLOURS = {"lmu": OURS, "gru": "#f28e2b", "lstm": "#e15759", "ds-cnn": "#59a14f"}
BARS: dict[str, Any] = {"capsize": 2.5, "elinewidth": 1, "markersize": 5}
NAMES = {"lmu": "LMU", "gru": "GRU", "lstm": "LSTM", "ds-cnn": "DS-CNN, streaming"}


class Drawn(Protocol):
    """What is drawn of one of our networks, as in the entries of the list."""

    name: str
    labels: tuple[str, ...]
    kbits: float
    golden_accuracy: float | None
    golden_interval: tuple[float, float] | None
    equivalent_products: float
    weight_bits: float


def draw_zoo(entries: Sequence[Any], others: Sequence[Peer], path: Path) -> tuple[Path, Path]:
    """Draw two pictures: accuracy against kbit, and beside each other against products and weight bits.

    Parameters
    ----------
    entries : sequence of Drawn
        Our networks; those without a measurement are left out.
    others : sequence of Peer
        Networks to compare with.
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
    with style():
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, drawn, others, lambda each: each.kbits)
        kbits, accuracies = zip(*PUBLISHED, strict=True)
        label = "LMU, Blouw et al. 2021: published elsewhere, 12 labels, whole dataset"
        axes.plot(kbits, [100 * each for each in accuracies], "x", color=ELSEWHERE, label=label)
        _finish(figure, axes, "kbit of weights, biases not counted", path)
        figure = Figure(figsize=(10, 5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _points(left, drawn, others, lambda each: each.equivalent_products / 1000)
        _points(right, drawn, others, lambda each: each.weight_bits / 1000)
        left.set_xlabel("thousands of products of 4 x 7 bits per 20 ms of audio")
        _finish(figure, right, "kbit of weights read per 20 ms of audio", second)
    return path, second


def _points(
    axes: Axes, entries: Sequence[Drawn], others: Sequence[Peer], where: Callable[[Any], float]
) -> None:
    """Draw our networks with their intervals and names, and the others."""
    names = []
    for number, entry in enumerate(entries):
        accuracy = 100 * (entry.golden_accuracy or 0)
        label = "LMU, this zoo: integers, 95 % interval" if number == 0 else None
        bars = _bars(accuracy, entry.golden_interval)
        axes.errorbar([where(entry)], [accuracy], yerr=bars, fmt="o", color=OURS, label=label, **BARS)
        text = entry.name if len(entry.labels) == 10 else f"{entry.name} ({len(entry.labels)} labels)"
        names.append(axes.text(where(entry), accuracy, text, fontsize=7))
    for kind, colour in COLOURS.items():
        for number, other in enumerate(each for each in others if each.kind == kind):
            accuracy = 100 * other.quantized_accuracy
            label = f"{NAMES[kind]}: one recipe and data for all kinds" if number == 0 else None
            bars = _bars(accuracy, other.quantized_interval)
            axes.errorbar([where(other)], [accuracy], yerr=bars, fmt="s", color=colour, label=label, **BARS)
    _decorate(axes)
    adjust_text(
        names, ax=axes, only_move={"text": "xy", "static": "xy", "explode": "xy", "pull": "xy"}, expand=(1.15, 1.5),
        arrowprops={"arrowstyle": "-", "color": ELSEWHERE, "linewidth": 0.5}, iter_lim=500,
    )  # fmt: skip


def _bars(accuracy: float, interval: tuple[float, float] | None) -> list[list[float]] | None:
    """Lengths of the bars of an interval, which is 0 to 1, below and above an accuracy in percent."""
    return None if interval is None else [[accuracy - 100 * interval[0]], [100 * interval[1] - accuracy]]


def _decorate(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    open_frame(axes)
    axes.set_ylabel("accuracy on the official test clips, %")


def _finish(figure: Figure, axes: Axes, name: str, path: Path) -> None:
    axes.set_xlabel(name)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=7.5)
    save(figure, path)
