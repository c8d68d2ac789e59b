"""Search over shapes of networks: accuracy against what the hardware stores, multiplies and reads.

SPACE is a JSON of choices, or the name of one that is shipped (joules). Candidates are trained shortly by one recipe,
the best of them longer. The search goes on where it was if it is started again. OUT receives trials.jsonl, trials.csv,
front.svg and the networks; the front is that of the last rung. Needs PyTorch: pip install 'lmu-hw[train]'.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmu_kit.cli.console import console, significant, stages, table
from lmu_kit.inputs import need_torch

if TYPE_CHECKING:
    from lmu_quantize.train.search import Trial

SUMMARY = "search for networks that cost little"
EXAMPLE = "lmu-hw search joules --data recordings --out build/search --threads 2"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("space", metavar="SPACE", help="a search JSON or a shipped name")
    command.add_argument(
        "--data", metavar="FOLDER", type=Path, required=True, help="folder with speech_commands/"
    )
    command.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="for the log, networks and pictures")
    command.add_argument("--threads", metavar="N", type=int, default=1, help="threads of PyTorch (default 1)")
    command.add_argument(
        "--device", metavar="DEVICE", default="auto", help="cpu, cuda, or auto: a GPU if there is one (default auto)"
    )
    command.add_argument(
        "--cache", metavar="FOLDER", type=Path, help="for augmented frames, as of lmu-hw train (default OUT)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Search, and print the front."""
    need_torch("training needs")
    from lmu_kit.figures.search import write_picture
    from lmu_quantize.train.search import SearchConfig, fronts, search, write_csv

    config = SearchConfig.load(args.space)
    with stages() as progress:
        trials = search(
            config, args.data, args.out, threads=args.threads, device=args.device, cache=args.cache, progress=progress,
            on_trial=_print_trial,
        )  # fmt: skip
    last = [trial for trial in trials if trial.rung == len(config.rungs) - 1]
    front = [trial for trial, number in zip(last, fronts(last), strict=True) if number == 0]
    write_csv(trials, args.out / "trials.csv")
    write_picture(last, args.out / "front.svg")
    _print_front(sorted(front, key=lambda trial: -trial.recall))
    console.print(f"all trials: {args.out / 'trials.csv'}; picture: {args.out / 'front.svg'}", markup=False)
    return {"front": [dataclasses.asdict(trial) for trial in front], "trials": len(trials), "out": str(args.out)}


def _print_trial(trial: "Trial") -> None:
    text = f"rung {trial.rung}, candidate {trial.candidate}: {100 * trial.recall:.2f} %, {trial.kbits:.1f} kbit, "
    console.print(text + f"{trial.multiplications:,.0f} multiplications, {trial.seconds:.0f} s", markup=False)


def _print_front(front: list["Trial"]) -> None:
    shown = table("no.", "recall %", "accuracy %", "kbit", "products", "bits read", "zeros %")
    for trial in front:
        shown.add_row(
            str(trial.candidate),
            f"{100 * trial.recall:.2f}",
            f"{100 * trial.accuracy:.2f}",
            significant(trial.kbits),
            f"{trial.multiplications:,.0f}",
            f"{trial.weight_bits:,.0f}",
            f"{100 * trial.zeros:.0f}",
        )
    console.print(shown)
    for trial in front:
        console.print(f"no. {trial.candidate}: {_choices(trial.changes)}", markup=False)
    console.print("recall and accuracy of the integers on validation; products and bits of weights read: per 20 ms")


def _choices(changes: dict[str, Any]) -> str:
    """Short text of what a candidate has of its own: every layer, then the recipe's keys."""
    own = {key: value for key, value in changes.items() if key != "layers"}
    parts = [", ".join(f"{key} {json.dumps(value)}" for key, value in each.items()) for each in changes["layers"]]
    return "; ".join([*parts, *(f"{key} {json.dumps(value)}" for key, value in own.items())])
