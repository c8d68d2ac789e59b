"""Measure what the operations of an accelerator cost in a technology, for the tiers table and rtl of `power`.

Small accelerators with the weights and frames of a shipped network are mapped to the library and simulated gate by
gate. Their energy, leakage and area by block are fitted to counts of their plans. More accelerators check the table;
their largest error is the error band that is printed with every figure.

The library is that of --pdk (a folder under PDK_ROOT), the files of --liberty, or else Debian's 0.18 um cells. The
results of every accelerator are cached, so that an interrupted run resumes.

A table holds energies for accelerators without levers, and for those with all levers that can be combined. --levers
measures one of the two sets; the other one is then taken from FILE, if it exists.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_hw.files import check_writable
from lmu_kit.cli.console import console
from lmu_kit.cli.options import library_arguments

if TYPE_CHECKING:
    from lmu_hw.power.technology import Energies

EXAMPLE = "lmu-hw characterise --pdk ihp-sg13g2 --out ihp-sg13g2.json"

LEVER_SETS = ("plain", "frugal")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    group = library_arguments(command)
    group.add_argument("--name", metavar="TEXT", help="name of the technology (default: of the PDK or the first file)")
    command.add_argument("--out", metavar="FILE", type=Path, required=True, help="table to write (JSON)")
    command.add_argument(
        "--whole", action="store_true", help="check with the whole network kws361 too, which takes minutes"
    )
    command.add_argument(
        "--levers", choices=LEVER_SETS, help="measure one set of levers only, and keep the other one of FILE"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, fit, check, write."""
    from lmu_hw.power.technology import load_technology

    check_writable(args.out)
    library = lh.open_library(args.pdk, liberty=args.liberty, corner=args.corner, macros="model")
    for remark in library[1]["remarks"]:
        console.warning(remark)
    earlier = load_technology(args.out) if args.levers is not None and args.out.exists() else None
    levers = LEVER_SETS if args.levers is None else (args.levers,)
    with console.progress() as progress:
        technology = lh.characterise(
            library, name=args.name, levers=levers, whole=args.whole, earlier=earlier, progress=progress
        )
    for energies in technology.sets:
        _print_checks(energies)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lh.save_technology(technology, args.out)
    console.written(args.out)
    return technology.to_dict()


def _print_checks(energies: "Energies") -> None:
    """Print the tiers against gates: errors of the whole energy, and of the dynamic part."""
    rows = []
    for check in energies.checks:
        errors = (f"{100 * error:+.1f} %" for tier in ("table", "rtl") for error in check.errors(tier))
        whole, dynamic = check.gates.dynamic + check.gates.leakage, check.gates.dynamic
        name = check.design + (" (fitted)" if check.fitted else "")
        rows.append([name, f"{whole * 1e9:.4g}", f"{dynamic * 1e9:.4g}", *errors])
    columns = ["design", "nJ/frame", "dynamic", "table", "dynamic", "rtl", "dynamic"]
    console.table(columns, rows, title=f"levers: {energies.name}")
    bands = (f"{tier} ± {100 * energies.band(tier):.1f} %" for tier in ("table", "rtl"))
    console.print(f"error band (largest error of the designs that were not fitted): {', '.join(bands)}")
