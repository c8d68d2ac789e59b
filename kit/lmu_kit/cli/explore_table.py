"""What `lmu-hw explore` prints of points."""

from collections.abc import Sequence
from pathlib import Path

from lmu_hw.explore.front import DesignPoint, coverage_order
from lmu_hw.explore.sweep import TOGETHER
from lmu_kit.cli.console import console, significant, table

__all__ = ["described", "print_confirmed", "print_front"]

SHOWN = 20
"""Points of a front that are printed."""


def _config(found: DesignPoint) -> str:
    """Choices of the configuration that say anything, in short."""
    config = found.point.config.to_dict()
    parts = [str(config.pop("lanes")), str(config.pop("weights"))]
    for name in ("all", "lean"):
        if set(TOGETHER[name]) <= config.keys():
            parts.append(f"{name} levers")
            config = {key: value for key, value in config.items() if key not in TOGETHER[name]}
    parts += [key if value is True else f"{key} {value}" for key, value in config.items() if key != "state"]
    return ", ".join(parts)


def _accuracy(found: DesignPoint) -> str:
    return "" if found.accuracy is None else f"{100 * found.accuracy:.2f}"


def described(found: DesignPoint) -> str:
    """One line on a point."""
    done, point = found.outcome, found.point
    accuracy = "" if found.accuracy is None else f", {_accuracy(found)} %"
    where = f"{Path(point.model).stem}, lanes and weights {_config(found)}, {Path(point.technology).stem}"
    return (
        f"{where}, {significant(done.clock / 1e3)} kHz: {significant(done.power * 1e6)} µW, "
        f"{significant(done.area / 1e6)} mm², {significant(done.latency * 1e3)} ms{accuracy}"
    )


def print_front(front: Sequence[DesignPoint]) -> None:
    """Print a table for each technology, the least power first."""
    for technology in dict.fromkeys(one.point.technology for one in front):
        members = [one for one in front if one.point.technology == technology]
        shown = table(
            "model", "lanes, weights", "kHz", "slowest", "ms", "µW", "mm²", "accuracy",
            title=f"Pareto front on {technology}, tier table",
        )  # fmt: skip
        for one in sorted(coverage_order(members)[:SHOWN], key=lambda one: one.outcome.power):
            done = one.outcome
            costs = done.clock / 1e3, done.slowest_clock / 1e3, done.latency * 1e3, done.power * 1e6, done.area / 1e6
            shown.add_row(Path(one.point.model).stem, _config(one), *map(significant, costs), _accuracy(one))
        console.print(shown)
        if len(members) > SHOWN:
            console.print(f"and {len(members) - SHOWN} more in points.csv")
    console.print("slowest: the slowest clock that keeps real time, kHz; ms: from the end of a frame to its decision")


def print_confirmed(found: Sequence[DesignPoint]) -> None:
    """Print what the gates say beside what the table had predicted."""
    if not found:
        return
    shown = table(
        "model", "lanes, weights", "technology", "nJ, table", "nJ, gates", "error", "mm²", "MHz, at most",
        title="confirmed by gates, per frame",
    )  # fmt: skip
    for one in found:
        if one.gates is None:
            continue
        known = one.gates.achievable_clock
        shown.add_row(
            Path(one.point.model).stem,
            _config(one),
            Path(one.point.technology).stem,
            significant(one.outcome.energy * 1e9),
            significant(one.gates.energy * 1e9),
            f"{100 * (one.outcome.energy / one.gates.energy - 1):+.1f} %",
            significant(one.gates.area / 1e6),
            "" if known is None else f"{known / 1e6:.1f}" + (" (too slow)" if known < one.gates.clock else ""),
        )
    console.print(shown)
