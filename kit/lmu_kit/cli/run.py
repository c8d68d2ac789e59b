"""Follow a project from recordings to Verilog and joules.

The steps are train, quantize, evaluate, verilog, cosim, power and report. A step is skipped if its settings, the
recordings and the results of earlier steps are those of its last run. After a kill the same command goes on: training
after its last epoch, another step from its start. Results, hashes and the resolved project are in the folder that
flow.out names.
"""

import argparse
import tomllib
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_kit.cli.console import console
from lmu_kit.cli.options import STEPS
from lmu_kit.cli.train import TrainingBar, print_skipped

EXAMPLE = "lmu-hw run words.toml --to evaluate --set recipe.epochs=20"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("project", metavar="PROJECT", type=Path, help="TOML file, from `lmu-hw init`")
    command.add_argument(
        "--from",
        dest="first",
        choices=STEPS,
        help="do this step and all after it again, even if nothing changed; earlier ones must be up to date",
    )
    command.add_argument("--to", dest="last", choices=STEPS, help="stop after this step")
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another value for a key of the project, such as accelerator.lanes=8; can be repeated",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Follow the project and print its report."""
    project = lh.open_project(args.project, dict(_change(text) for text in args.set))
    if project.recordings.is_dir() and (speakers := project.count_speakers()):
        console.print(f"speakers: {', '.join(f'{split} {count}' for split, count in speakers.items())}")
    with console.progress() as show:
        bar = TrainingBar(show)
        listeners = lh.Listeners(bar.progress, _print_step, print_skipped, bar.epoch)
        result = lh.run_project(project, first=args.first, last=args.last, listeners=listeners)
    if result.report is None:
        for engine, score in result.scores.items():
            console.print(f"{engine}: {score}")
    else:
        console.print()
        for name, value in result.report.rows().items():
            console.print(f"  {name:<23} {value}")
    console.written(result.folder)
    steps = [
        {"step": step.name, "reason": step.reason, "seconds": step.seconds, "folder": str(step.folder)}
        for step in result.steps
    ]
    return {"steps": steps, "folder": str(result.folder), "report": result.report and result.report.content}


def _print_step(name: str, reason: str) -> None:
    console.print(f"{name}: {reason or 'up to date'}")


def _change(text: str) -> tuple[str, Any]:
    """Key and value of ``KEY=VALUE``; a value that is not TOML is a text."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise lh.InputError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
