"""List the installed tools: versions, the oldest that will do, and the line that installs what is missing.

Ends with status 1 if something is missing or too old that quantization, Verilog or co-simulation needs.
"""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw doctor --json -"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments: none."""


class MissingParts(RuntimeError):
    """Something that is needed is missing or too old.

    Attributes
    ----------
    result : dict
        What was found, as JSON values.
    """

    def __init__(self, message: str, result: dict[str, Any]):
        super().__init__(message)
        self.result = result


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at everything, print a line for each part."""
    del args
    from lmu_kit.installation import installed_parts
    from lmu_quantize import zoo

    with console.progress() as progress:
        progress("looking for tools", 0, 0)
        parts = installed_parts()
    rows = []
    for part in parts:
        state = "ok" if part.version else "MISSING" if part.needed else "absent"
        rows.append([part.name, state, part.version, part.least])
    console.table(["part", "state", "version", "least"], rows)
    for part in parts:
        if part.problem:
            console.print(part.problem)
    console.print(f"shipped networks: {', '.join(zoo.names()) or 'none'}")
    console.print(f"Python at {sys.prefix}")
    missing = [part.name for part in parts if part.needed and not part.version]
    result = {"parts": [asdict(part) for part in parts], "models": zoo.names()}
    if missing:
        raise MissingParts(f"missing or too old: {', '.join(missing)}", result)
    return result
