"""Measure the coefficients of the energy floor that `power` prints below its figures.

They are the costs of reading constant memories and of multiplying. Both are mapped to the cells of each process NAME
and simulated gate by gate. The file that ships with the product is lmu_hw/power/floors.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw floors ihp-sg13g2 sky130A --out floors.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("names", metavar="NAME", nargs="+", help="folder under PDK_ROOT: ihp-sg13g2, sky130A")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="coefficients to write (JSON)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every process, and write the coefficients."""
    from lmu_hw.cells.liberty import read_liberty
    from lmu_hw.cells.pdk import find_pdk
    from lmu_hw.files import check_writable, write_whole
    from lmu_kit.floor_costs import measure_floor_costs

    check_writable(args.out)
    libraries = {name: read_liberty(find_pdk(name).cells) for name in args.names}
    costs = {}
    for name, library in libraries.items():
        with console.stage(name) as progress:
            costs[name] = measure_floor_costs(library, progress)
    write_whole(args.out, (json.dumps(costs, indent=1) + "\n").encode())
    console.written(args.out)
    return costs
