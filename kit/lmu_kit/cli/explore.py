"""Sweep networks, configurations, technologies and clocks, and pick the best design.

Every combination of the lists is a point. Tier table predicts its power, area and latency; its accuracy is that of the
network's golden model on the official test clips (--accuracy gives that of your own). The command prints the Pareto
front of all four for each technology, and the point with the least power (--best) within the limits. --confirm N
re-estimates N points of the fronts with tier gates, where PDK_ROOT has the cells. The clock auto is the slowest at
which no frame waits.

OUT receives points.jsonl, from which a stopped sweep resumes, points.csv with all points, and the pictures front.svg
and clock.svg. All cores are used; --dask uses the workers of a Dask cluster instead.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli.console import console, percent, significant
from lmu_kit.cli.options import frames_argument, jobs_argument, model_argument, parse_value, positive
from lmu_kit.cli.quantity import AREA, FREQUENCY, POWER, TIME

if TYPE_CHECKING:
    from lmu_hw.explore.front import DesignPoint, Limits
    from lmu_hw.explore.sweep import Sweep
    from lmu_kit.sweeps import SweepResult

EXAMPLE = "lmu-hw explore kws361 kws105 --lanes 4,8,16,32 --max-latency 100ms --max-area 1mm2 --out build/explore"

AUTO = "auto"
AIMS = ("power", "area", "latency", "accuracy")

SHOWN = 20
"""Points of a front that are printed."""

INFEASIBLE_SHOWN = 3
"""Reasons why points cannot be built that are printed."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    model_argument(command, "models", nargs="*")
    command.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder for points and pictures")
    lists = command.add_argument_group("what is swept: lists with commas")
    lists.add_argument("--sweep", metavar="FILE", type=Path, help="lists as JSON; the options replace those in it")
    lists.add_argument("--lanes", metavar="N,...", help="multipliers (default 4,8,16,32)")
    lists.add_argument("--weights", metavar="STORE,...", help="rom, ram (default rom)")
    lists.add_argument(
        "--set",
        metavar="KEY=V,...",
        action="append",
        default=[],
        help="choices for another key of the configuration, such as state=keep,pulse; levers=frugal,plain for sets of "
        "levers (default frugal); can be repeated",
    )
    lists.add_argument("--technology", metavar="NAME,...", help="shipped tables or files (default ihp-sg13g2)")
    lists.add_argument("--clock", metavar="FREQUENCY,...", help=f"such as {AUTO},500kHz,2MHz (default {AUTO})")
    choice = command.add_argument_group("what is chosen")
    choice.add_argument("--max-power", metavar="POWER", type=POWER, help="such as 50uW")
    choice.add_argument("--max-area", metavar="AREA", type=AREA, help="such as 0.5mm2")
    choice.add_argument("--max-latency", metavar="TIME", type=TIME, help="of a decision, such as 100ms")
    choice.add_argument("--min-accuracy", metavar="PERCENT", type=float, help="such as 93")
    choice.add_argument("--best", choices=AIMS, default="power", help="what the best point is best at (default power)")
    choice.add_argument(
        "--accuracy", metavar="MODEL=PERCENT", action="append", default=[], help="of a model that is not shipped"
    )
    gates = command.add_argument_group("confirmation by gates")
    gates.add_argument(
        "--confirm", metavar="N", type=positive, default=0, help="re-estimate N points of the fronts, the best first"
    )
    frames_argument(gates)
    work = command.add_argument_group("parallel work")
    jobs_argument(work, "processes")
    work.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster, such as tcp://host:8786")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Sweep, choose, confirm, print, write."""
    from lmu_hw.cells.pdk import PdkError

    lists, limits = _sweep(args), _limits(args)
    accuracies = _accuracies(args.accuracy, lists)
    check_writable(args.out / "points.jsonl")
    with console.progress() as progress:
        result = lh.sweep(
            lists, args.out, accuracies=accuracies, jobs=args.jobs, dask=args.dask, progress=progress
        )
        if args.confirm:
            try:
                result = lh.confirm(
                    result, args.confirm, limits=limits, aim=args.best, frames=args.frames, progress=progress
                )
            except PdkError as error:
                raise lh.InputError(f"--confirm: {error}") from None
    return _report(args, result, result.best(limits, args.best))


def _sweep(args: argparse.Namespace) -> "Sweep":
    """Lists of the file, replaced by those of the options."""
    from lmu_kit.models import read_object

    data = read_object(args.sweep, "the lists of a sweep") if args.sweep is not None else {}
    if args.models:
        data["models"] = args.models
    if args.technology is not None:
        data["technologies"] = args.technology.split(",")
    if args.clock is not None:
        data["clocks"] = _clocks(args.clock)
    chosen = {key: _list(text) for key in ("lanes", "weights") if (text := getattr(args, key)) is not None}
    for text in args.set:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise lh.InputError(f"--set takes KEY=V,..., not {text!r}")
        chosen[key] = _list(values)
    if chosen and isinstance(data.setdefault("config", {}), dict):
        data["config"] = data["config"] | chosen
    try:
        return lh.Sweep.from_dict(data)
    except ValueError as error:
        raise lh.InputError(f"{args.sweep}: {error}" if args.sweep is not None else str(error)) from None


def _list(text: str) -> list[Any]:
    return [parse_value(part.strip()) for part in text.split(",")]


def _clocks(text: str) -> list[float | str]:
    try:
        return [part if part == AUTO else FREQUENCY(part) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise lh.InputError(f"--clock: {error}; or {AUTO}") from None


def _limits(args: argparse.Namespace) -> "Limits":
    accuracy = None if args.min_accuracy is None else args.min_accuracy / 100
    return lh.Limits(args.max_power, args.max_area, args.max_latency, accuracy)


def _accuracies(texts: Sequence[str], lists: "Sweep") -> dict[str, float]:
    """Accuracies of ``--accuracy`` by model, 0 to 1."""
    accuracies = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            value = float(share) / 100
        except ValueError:
            value = 0.0
        if name not in lists.models or not 0 < value <= 1:
            raise lh.InputError(f"--accuracy takes a MODEL of the sweep and its percent (MODEL=93.5), not {text!r}")
        accuracies[name] = value
    return accuracies


def _report(args: argparse.Namespace, result: "SweepResult", best: "DesignPoint | None") -> dict[str, Any]:
    """Write the files, print the front and the choice; the JSON result."""
    from lmu_hw.explore.front import row, write_csv
    from lmu_kit.figures.explore import write_clocks, write_front  # slow to import

    files = [args.out / name for name in ("points.csv", "front.svg", "clock.svg")]
    for path, write in zip(files, (write_csv, write_front, write_clocks), strict=True):
        write(result.points, path)
    front = result.front
    _print_front(front)
    _print_confirmed(result.points)
    if any(point.accuracy is None for point in result.points):
        console.print("accuracy is not in the front: it is not known for every network (give --accuracy)")
    console.print(
        f"{len(result.sweep)} points: {len(front)} on the Pareto fronts, {len(result.infeasible)} infeasible"
    )
    for reason in sorted(set(result.infeasible))[:INFEASIBLE_SHOWN]:
        console.print(f"  {reason}")
    if best is None:
        console.print("no point keeps the limits")
    else:
        console.print(f"best {args.best} within the limits: {_describe(best)}")
    console.written(args.out / "points.jsonl", *files)
    return {
        "sweep": result.sweep.to_dict(),
        "points": len(result.sweep),
        "refused": len(result.infeasible),
        "front": [row(point, 0) for point in front],
        "best": None if best is None else row(best, 0),
        "out": str(args.out),
    }


def _choices(point: "DesignPoint") -> str:
    """Choices of the configuration, in short: the set of levers, and what differs from it."""
    from lmu_hw.plan.config import FRUGAL, LEVERS, PLAIN, choose_levers

    config = point.point.config.to_dict()
    frugal = {name: value for name, value in choose_levers(FRUGAL, config).items() if value}
    parts = [str(config.pop("lanes")), str(config.pop("weights"))]
    if frugal.keys() & LEVERS <= config.keys():
        parts.append(FRUGAL)
        config = {key: value for key, value in config.items() if frugal.get(key) != value}
    elif not config.keys() & {*LEVERS, "bank_words", "state_bank_words"}:
        parts.append(PLAIN)
    parts += [key if value is True else f"{key} {value}" for key, value in config.items() if key != "state"]
    return ", ".join(parts)


def _describe(point: "DesignPoint") -> str:
    """One line on a point."""
    outcome, chosen = point.outcome, point.point
    accuracy = "" if point.accuracy is None else f", {percent(point.accuracy)} %"
    return (
        f"{Path(chosen.model).stem}, lanes and weights {_choices(point)}, {Path(chosen.technology).stem}, "
        f"{significant(outcome.clock / 1e3)} kHz: {significant(outcome.power * 1e6)} µW, "
        f"{significant(outcome.area / 1e6)} mm², {significant(outcome.latency * 1e3)} ms{accuracy}"
    )


def _print_front(front: "Sequence[DesignPoint]") -> None:
    """Print a table for each technology, the least power first."""
    from lmu_hw.explore.front import coverage_order
    from lmu_hw.power.report import SRAM_MODEL
    from lmu_hw.power.technology import load_technology

    columns = ["model", "lanes, weights", "kHz", "slowest", "ms", "µW", "mm²", "accuracy"]
    for technology in dict.fromkeys(point.point.technology for point in front):
        members = [point for point in front if point.point.technology == technology]
        rows = []
        for point in sorted(coverage_order(members)[:SHOWN], key=lambda point: point.outcome.power):
            outcome = point.outcome
            costs = (
                outcome.clock / 1e3, outcome.slowest_clock / 1e3, outcome.latency * 1e3, outcome.power * 1e6,
                outcome.area / 1e6,
            )  # fmt: skip
            name = Path(point.point.model).stem
            rows.append([name, _choices(point), *map(significant, costs), percent(point.accuracy)])
        console.table(columns, rows, title=f"Pareto front on {technology}, tier table")
        if len(members) > SHOWN:
            console.print(f"and {len(members) - SHOWN} more in points.csv")
        if load_technology(technology).memories.model:
            console.print(SRAM_MODEL)
    console.print("slowest: slowest clock that keeps real time, kHz; ms: from the end of a frame to its decision")


def _print_confirmed(points: "Sequence[DesignPoint]") -> None:
    """Print the result of the gates beside the prediction of the table."""
    rows = []
    for point in points:
        gates = point.gates
        if gates is None:
            continue
        clock = gates.achievable_clock
        slow = " (too slow)" if clock is not None and clock < gates.clock else ""
        rows.append([
            Path(point.point.model).stem,
            _choices(point),
            Path(point.point.technology).stem,
            significant(point.outcome.energy * 1e9),
            significant(gates.energy * 1e9),
            f"{100 * (point.outcome.energy / gates.energy - 1):+.1f} %",
            significant(gates.area / 1e6),
            "" if clock is None else f"{clock / 1e6:.1f}{slow}",
        ])
    columns = ["model", "lanes, weights", "technology", "nJ, table", "nJ, gates", "error", "mm²", "most MHz"]
    if rows:
        console.table(columns, rows, title="confirmed by gates, per frame")
