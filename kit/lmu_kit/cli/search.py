"""Search network shapes: accuracy against what the hardware stores, multiplies and reads.

SPACE is a JSON file of choices, or the name of a shipped one (joules). All candidates are trained briefly with one
recipe, the best of them longer. A search that was stopped resumes when it is started again. OUT receives trials.jsonl,
trials.csv, front.svg and the networks; the front is that of the last rung. Needs PyTorch:
pip install 'lmu-hw[train]'.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_kit.cli.console import console, percent, significant
from lmu_kit.cli.options import positive

if TYPE_CHECKING:
    from lmu_quantize.train.search import Trial

EXAMPLE = "lmu-hw search joules --data recordings --out build/search --threads 2"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("space", metavar="SPACE", help="a search JSON or a shipped name")
    command.add_argument(
        "--data", metavar="FOLDER", type=Path, required=True, help="folder with speech_commands/"
    )
    command.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="folder for the log, networks and pictures"
    )
    command.add_argument("--threads", metavar="N", type=positive, default=1, help="PyTorch threads (default 1)")
    command.add_argument(
        "--device", metavar="DEVICE", default="auto", help="cpu, cuda, or auto: a GPU if there is one (default auto)"
    )
    command.add_argument(
        "--cache", metavar="FOLDER", type=Path, help="folder for augmented frames, as for train (default OUT)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Search, and print the front."""
    with console.progress() as progress:
        result = lh.search(
            args.space, args.data, args.out, threads=args.threads, device=args.device, cache=args.cache,
            progress=progress, on_trial=_print_trial,
        )  # fmt: skip
    from lmu_kit.figures.search import write_picture
    from lmu_quantize.train.search import write_csv

    write_csv(result.trials, args.out / "trials.csv")
    write_picture(result.last, args.out / "front.svg")
    _print_front(sorted(result.front, key=lambda trial: -trial.recall))
    console.written(*(args.out / name for name in ("trials.jsonl", "trials.csv", "front.svg", "trials")))
    front = [dataclasses.asdict(trial) for trial in result.front]
    return {"front": front, "trials": len(result.trials), "out": str(args.out)}


def _print_trial(trial: "Trial") -> None:
    console.print(
        f"rung {trial.rung}, candidate {trial.candidate}: {percent(trial.recall)} %, {trial.kbits:.1f} kbit, "
        f"{trial.multiplications:,.0f} multiplications, {trial.seconds:.0f} s"
    )


def _print_front(front: "list[Trial]") -> None:
    rows = [
        [
            str(trial.candidate),
            percent(trial.recall),
            percent(trial.accuracy),
            significant(trial.kbits),
            f"{trial.multiplications:,.0f}",
            f"{trial.weight_bits:,.0f}",
            percent(trial.zeros, 0),
        ]
        for trial in front
    ]
    console.table(["no.", "mean recall %", "accuracy %", "kbit", "products", "bits read", "zeros %"], rows)
    for trial in front:
        console.print(f"no. {trial.candidate}: {_choices(trial.changes)}")
    console.print(
        "mean recall and accuracy: of the integers on validation; products and bits of weights read: per 20 ms of audio"
    )


def _choices(changes: dict[str, Any]) -> str:
    """Short text of the choices of a candidate: every layer, then the recipe's keys."""
    own = {key: value for key, value in changes.items() if key != "layers"}
    parts = [", ".join(f"{key} {json.dumps(value)}" for key, value in layer.items()) for layer in changes["layers"]]
    return "; ".join([*parts, *(f"{key} {json.dumps(value)}" for key, value in own.items())])
