"""Fit the SRAM model to the macros of IHP SG13G2.

The model stands in for SRAM macros in processes that have none. The file that ships with the product is
lmu_hw/cells/sram_model.json. PDK_ROOT must hold ihp-sg13g2.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw sram --out sram_model.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="coefficients to write (JSON)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fit, print the largest errors, and write the coefficients."""
    from lmu_hw.cells.liberty import read_liberty
    from lmu_hw.cells.pdk import find_pdk
    from lmu_hw.cells.sram_fit import fit_sram_model
    from lmu_hw.files import check_writable, write_whole

    check_writable(args.out)
    kit = find_pdk("ihp-sg13g2")
    model = fit_sram_model(read_liberty((*kit.cells, *kit.macros)))
    for name, error in model["largest_error"].items():
        console.print(f"{name}: largest error {error:.1%}")
    write_whole(args.out, (json.dumps(model, indent=2) + "\n").encode())
    console.written(args.out)
    return model
