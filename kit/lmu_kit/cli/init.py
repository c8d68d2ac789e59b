"""Write a commented project file to start from: every setting from recordings to joules.

The labels are the word folders in --data, or those of --labels. `lmu-hw run FILE` then does all steps. The project file
is described in docs/project.md, the whole way in docs/own-words.md.
"""

import argparse
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw init words.toml --data recordings --speaker '^([a-z]+)-'"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("project", metavar="FILE", type=Path, help="TOML file to write")
    command.add_argument("--name", metavar="NAME", default="own", help="name of the model (default own)")
    command.add_argument(
        "--labels", metavar="A,B,...", help="what is told apart, in output order (default: the folders in --data)"
    )
    command.add_argument(
        "--data",
        metavar="FOLDER",
        default="recordings",
        help="recordings, a folder for each word, relative to FILE (default recordings)",
    )
    command.add_argument(
        "--speaker",
        metavar="PATTERN",
        default="",
        help="regular expression that finds the speaker in a file name: its first group, or all that it matches",
    )
    command.add_argument("--all", action="store_true", help="write every key, rarely changed ones as comments")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the file."""
    labels = None if args.labels is None else [label.strip() for label in args.labels.split(",")]
    path = lh.start_project(
        args.project, labels, name=args.name, recordings=args.data, speaker=args.speaker, whole=args.all
    )
    project = lh.open_project(path)
    console.print(f"labels: {', '.join(project.labels)}")
    console.written(path)
    return {"project": str(path), "labels": list(project.labels)}
