"""Our figures beside published ones, with what each covers."""

import json

from lmu_hw.power.published import Published, published
from lmu_hw.power.report import Report
from lmu_hw.power.scaling import Scaling
from lmu_kit.cli.console import console, significant, table
from lmu_quantize import zoo

__all__ = ["print_comparison"]

SOUND = "speech"


def _accuracy(name: str) -> tuple[str, float | None]:
    """Task of a shipped network, and its accuracy in per cent of the official test clips."""
    measured = zoo.path(name, "golden.json")
    if name not in zoo.names() or not measured.is_file():
        return "not known", None
    found = json.loads(measured.read_text())
    return f"Speech Commands, {len(found['labels'])} labels", round(100 * found["accuracy"], 2)


def _ours(name: str, report: Report) -> Published:
    """Our figure as a row of the table."""
    kind = SOUND if SOUND in report.rows else next(iter(report.rows))
    one = report.sums(kind)
    task, accuracy = _accuracy(name)
    return Published(
        design=f"this accelerator, {name}",
        node_nm=report.technology["node_nm"],
        scope="accelerator",
        method=f"estimated, tier {report.tier}",
        task=task,
        accuracy_percent=accuracy,
        power_uW=one.power * 1e6,
        energy_nJ=one.frame * 1e9,
        per="frame",
        front_end="no",
        source="",
    )


def _figure(value: float | None) -> str:
    return "" if value is None else significant(value)


def _lost(ours: Published, others: tuple[Published, ...]) -> list[str]:
    """Where we lose, in sentences."""
    power = [one.design for one in others if one.power_uW is not None and one.power_uW < (ours.power_uW or 0)]
    found = [f"Less power than ours, as it is: {'; '.join(power) or 'none'}."]
    if ours.accuracy_percent is not None:
        better = [one.design for one in others if (one.accuracy_percent or 0) > ours.accuracy_percent]
        found.append(f"More accurate on its task: {'; '.join(better) or 'none'}.")
    silicon = [one.design for one in others if one.method.startswith("measured")]
    found.append(f"Measured on silicon, which ours is not: {len(silicon)} of {len(others)}.")
    included = [one.design for one in others if one.front_end.startswith("yes")]
    found.append(f"With the front end in the figure, which ours has not: {len(included)} of {len(others)}.")
    return found


def print_comparison(name: str, report: Report, scaling: Scaling | None) -> None:
    """Print our figures and published ones.

    Parameters
    ----------
    name : str
        Of the network.
    report : Report
        Ours.
    scaling : Scaling or None
        For the column of scaled dynamic power, which published figures have not.
    """
    columns = ["node, nm", "scope", "method", "task", "accuracy, %", "front end", "µW", "nJ", "per"]
    if scaling is not None:
        columns.append(f"dynamic µW at {scaling.target}, scaled")
    shown = table("design", *columns)
    ours, others = _ours(name, report), published()
    for one in (ours, *others):
        cells = [
            _figure(one.node_nm),
            one.scope,
            one.method,
            one.task,
            _figure(one.accuracy_percent),
            one.front_end,
            _figure(one.power_uW),
            _figure(one.energy_nJ),
            one.per,
        ]
        if scaling is not None:
            sums = report.sums(SOUND if SOUND in report.rows else next(iter(report.rows)))
            scaled = sums.dynamic * sums.frame_rate * scaling.factor * 1e6
            cells.append(f"{scaled:.3g}" if one is ours else "")
        shown.add_row(one.design, *cells)
    console.print(shown)
    for sentence in _lost(ours, others):
        console.print(sentence, markup=False)
