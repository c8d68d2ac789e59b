"""Sweep networks, configurations, technologies and clocks, and choose.

Every combination of the lists is a point. The tier table predicts its power, area and latency; the accuracy is that of
the network's golden model on the official test clips (--accuracy gives that of your own). The command prints the Pareto
front of all four for each technology, and the point with the least power (--best) within the limits. --confirm N takes
N points of the fronts through tier gates, where PDK_ROOT has the cells. The clock auto is the slowest that keeps real
time.

OUT receives points.jsonl, by which a sweep that was stopped goes on where it was, points.csv with everything, and the
pictures front.svg and clock.svg. All cores are used; --dask takes the workers of a Dask cluster instead.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from lmu_hw.explore.front import AIMS, DesignPoint, Limits, best, coverage_order, order, row, write_csv
from lmu_hw.explore.points import Network, Outcome
from lmu_hw.explore.run import identity
from lmu_hw.explore.run import run as run_sweep
from lmu_hw.explore.store import Store
from lmu_hw.explore.sweep import AUTO, Sweep
from lmu_hw.files import parse_json
from lmu_hw.model import program_file
from lmu_hw.power.technology import Technology, load_technology
from lmu_kit.cli.console import CommandError, console, progress
from lmu_kit.cli.explore_table import described, print_confirmed, print_front
from lmu_kit.cli.options import positive
from lmu_kit.cli.quantity import AREA, FREQUENCY, POWER, TIME
from lmu_kit.confirm import confirm
from lmu_kit.inputs import quantized_model, read_object, writable
from lmu_kit.workers import cores, workers
from lmu_quantize import zoo

SUMMARY = "sweep configurations, technologies and clocks, and choose"
EXAMPLE = "lmu-hw explore kws361 kws105 --lanes 4,8,16,32 --max-latency 100ms --max-area 1mm2 --out build/explore"

FILES = ("points.csv", "front.svg", "clock.svg")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("models", metavar="MODEL", nargs="*", help="quantized models, or names of shipped ones")
    command.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="for the points and pictures")
    lists = command.add_argument_group("what is swept, each a list with commas")
    lists.add_argument("--sweep", metavar="FILE", type=Path, help="lists as JSON; the options replace those in it")
    lists.add_argument("--lanes", metavar="N,...", help="multipliers (default 4,8,16,32)")
    lists.add_argument("--weights", metavar="KIND,...", help="rom, ram")
    lists.add_argument(
        "--set",
        metavar="KEY=V,...",
        action="append",
        default=[],
        help="choices for another key of the configuration, e.g. state=keep,pulse, or for levers together "
        "(levers=none,lean,all); can be repeated",
    )
    lists.add_argument("--technology", metavar="NAME,...", help="shipped tables or files (default ihp-sg13g2)")
    lists.add_argument("--clock", metavar="HZ,...", help=f"e.g. {AUTO},500kHz,2MHz (default {AUTO})")
    choice = command.add_argument_group("what is chosen")
    choice.add_argument("--max-power", metavar="P", type=POWER, help="e.g. 50uW")
    choice.add_argument("--max-area", metavar="A", type=AREA, help="e.g. 0.5mm2")
    choice.add_argument("--max-latency", metavar="T", type=TIME, help="of a decision, e.g. 100ms")
    choice.add_argument("--min-accuracy", metavar="PERCENT", type=float, help="e.g. 93")
    choice.add_argument("--best", choices=AIMS, default="power", help="what the choice aims at (default power)")
    choice.add_argument(
        "--accuracy", metavar="MODEL=PERCENT", action="append", default=[], help="of a model that is not shipped"
    )
    gates = command.add_argument_group("confirmation by gates")
    gates.add_argument("--confirm", metavar="N", type=positive, default=0, help="points of the front, the best first")
    gates.add_argument("--frames", metavar="FILE", type=Path, help="a frames file (default: shipped with the model)")
    work = command.add_argument_group("who does the work")
    work.add_argument("--jobs", metavar="N", type=positive, default=cores(), help="processes (default: all cores)")
    work.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster, e.g. tcp://host:8786")


def _values(text: str) -> list[Any]:
    """Elements of a list with commas: JSON where they are, else text."""
    found: list[Any] = []
    for part in text.split(","):
        try:
            found.append(parse_json(part))
        except ValueError:
            found.append(part.strip())
    return found


def _clocks(text: str) -> list[float | str]:
    try:
        return [part if part == AUTO else FREQUENCY(part) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise CommandError(f"--clock: {error}, or {AUTO}") from None


def _sweep(args: argparse.Namespace) -> Sweep:
    """Lists of the file, replaced by those of the options."""
    data = read_object(args.sweep, "the lists of a sweep") if args.sweep is not None else {}
    if args.models:
        data["models"] = args.models
    if args.technology is not None:
        data["technologies"] = args.technology.split(",")
    if args.clock is not None:
        data["clocks"] = _clocks(args.clock)
    chosen = {key: _values(text) for key in ("lanes", "weights") if (text := getattr(args, key)) is not None}
    for text in args.set:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise CommandError(f"--set takes KEY=V,..., not {text!r}")
        chosen[key] = _values(values)
    if chosen and isinstance(data.setdefault("config", {}), dict):
        data["config"] = data["config"] | chosen
    try:
        return Sweep.from_dict(data)
    except ValueError as error:
        raise CommandError(f"{args.sweep}: {error}" if args.sweep is not None else str(error)) from None


def _accuracies(args: argparse.Namespace, sweep: Sweep) -> dict[str, float]:
    """Accuracies by model, 0 to 1; only of those whose accuracy is known."""
    found = {
        name: float(read_object(zoo.path(name, "golden.json"), "a measured accuracy")["accuracy"])
        for name in sweep.models
        if name in zoo.names()
    }
    for text in args.accuracy:
        name, _, percent = text.rpartition("=")
        try:
            value = float(percent) / 100
        except ValueError:
            value = 0.0
        if name not in sweep.models or not 0 < value <= 1:
            raise CommandError(f"--accuracy takes a MODEL of the sweep and its percent (MODEL=93.5), not {text!r}")
        found[name] = value
    return found


def _limits(args: argparse.Namespace) -> Limits:
    accuracy = None if args.min_accuracy is None else args.min_accuracy / 100
    return Limits(args.max_power, args.max_area, args.max_latency, accuracy)


def _run(
    sweep: Sweep,
    networks: dict[str, Network],
    technologies: dict[str, Technology],
    store: Store,
    args: argparse.Namespace,
) -> None:
    """Predict what is not done, in processes that start only if there is something."""
    if all(store.get(point.key) is not None for point in sweep.points()):
        return
    title = f"predicting {len(sweep)} points"
    with progress(title, len(sweep)) as told, workers(args.jobs, args.dask) as (pool, ahead):
        run_sweep(sweep, networks, technologies, store, pool, ahead=ahead, told=told)


def _found(sweep: Sweep, store: Store, accuracies: dict[str, float]) -> tuple[list[DesignPoint], list[str]]:
    """Points with outcomes, and the reasons why others have none."""
    found, refused = [], []
    for point in sweep.points():
        done, gates = store.get(point.key), store.get(point.key, "gates")
        if isinstance(done, Outcome):
            checked = gates if isinstance(gates, Outcome) else None
            found.append(DesignPoint(point, done, accuracies.get(point.model), checked))
        else:
            refused.append(f"{point.model}: {done}")
    return found, refused


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Sweep, choose, confirm, print, write."""
    sweep, limits = _sweep(args), _limits(args)
    accuracies = _accuracies(args, sweep)
    models = {name: quantized_model(name) for name in sweep.models}
    networks = {name: Network(name, program_file.digest(model), model) for name, model in models.items()}
    technologies = {name: load_technology(name) for name in sweep.technologies}
    texts = {name: json.dumps(one.to_dict(), sort_keys=True) for name, one in technologies.items()}
    tables = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    writable(args.out / "points.jsonl")
    args.out.mkdir(parents=True, exist_ok=True)
    with Store(args.out / "points.jsonl", identity(sweep, networks, tables)) as store:
        _run(sweep, networks, technologies, store, args)
        found, refused = _found(sweep, store, accuracies)
        if not found:
            raise CommandError(f"no point of the sweep can be built; the first: {refused[0]}")
        if args.confirm:
            confirm(_to_confirm(found, limits, args), models, store, args.frames)
            found, refused = _found(sweep, store, accuracies)
    return _told(args, sweep, found, refused, limits)


def _to_confirm(found: list[DesignPoint], limits: Limits, args: argparse.Namespace) -> list[DesignPoint]:
    """Points of the fronts that keep the limits: the best one, then others that cover the fronts."""
    front = [one for one, number in zip(found, order(found), strict=True) if number == 0 and limits.allow(one)]
    chosen = best(front, limits, args.best)
    rest = [one for one in coverage_order(front) if one is not chosen]
    return ([] if chosen is None else [chosen, *rest])[: args.confirm]


def _told(
    args: argparse.Namespace, sweep: Sweep, found: list[DesignPoint], refused: list[str], limits: Limits
) -> dict[str, Any]:
    """Write the files, print the front and the choice; the result."""
    from lmu_kit.figures.explore import write_clocks, write_front  # slow to import

    write_csv(found, args.out / "points.csv")
    write_front(found, args.out / "front.svg")
    write_clocks(found, args.out / "clock.svg")
    front = [one for one, number in zip(found, order(found), strict=True) if number == 0]
    print_front(front)
    print_confirmed([one for one in found if one.gates is not None])
    if any(one.accuracy is None for one in found):
        console.print("accuracy is not in the front: it is not known of every network (--accuracy)")
    console.print(f"{len(sweep)} points, {len(front)} on the fronts, {len(refused)} that cannot be", markup=False)
    for reason in sorted(set(refused))[:3]:
        console.print(f"  {reason}", markup=False)
    chosen = best(found, limits, args.best)
    if chosen is None:
        console.print("no point keeps the limits")
    else:
        console.print(f"best {args.best} within the limits: {described(chosen)}", markup=False)
    console.print(f"files: {', '.join(f'{args.out / name}' for name in FILES)}", markup=False)
    return {
        "sweep": sweep.to_dict(),
        "points": len(sweep),
        "refused": len(refused),
        "front": [row(one, 0) for one in front],
        "best": None if chosen is None else row(chosen, 0),
        "out": str(args.out),
    }
