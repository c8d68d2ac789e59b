"""Measure what each lever saves, by tier gates with delays.

For each library: the plain accelerator, every lever alone, the set frugal, and frugal without each of its levers. The
frames are the first of one clip of speech. The result is a table in Markdown, as in docs/levers.md. Netlists come from
the cache if they were mapped before.

PDK_ROOT must hold the kits.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_hw.files import check_writable, write_whole
from lmu_kit.cli import options
from lmu_kit.cli.console import console

EXAMPLE = "lmu-hw levers kws49 --lanes 16 --pdk ihp-sg13g2 sky130A --out levers.md"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    group = command.add_argument_group("technology")
    group.add_argument("--pdk", metavar="NAME", nargs="+", required=True, help="folders under PDK_ROOT")
    options.macros_argument(group)
    command.add_argument("--lanes", metavar="N", type=options.positive, default=16, help="multipliers (default 16)")
    command.add_argument(
        "--weights", choices=options.WEIGHT_STORES, default="rom", help="weights as constants, or in RAM (default rom)"
    )
    options.frames_argument(command)
    command.add_argument(
        "--length", metavar="N", type=options.positive, default=24, help="first frames of the clip (default 24)"
    )
    command.add_argument("--settled", action="store_true", help="simulate without delays, faster but without glitches")
    command.add_argument("--out", metavar="FILE", type=Path, help="write the table there, in Markdown")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print, write."""
    from lmu_kit.lever_costs import COLUMNS, lever_rows, lever_table, measure_levers

    if args.out is not None:
        check_writable(args.out)
    start = time.perf_counter()
    model = lh.open_model(args.model)
    speech = lh.find_sounds(model, args.frames, clips=1)["speech"][:, : args.length]
    libraries = [lh.open_library(name, macros=args.macros or "kit") for name in args.pdk]
    for _, described in libraries:
        for remark in described["remarks"]:
            console.warning(remark)
    with console.progress() as progress:
        costs = measure_levers(
            model,
            libraries,
            {"speech": speech},
            lanes=args.lanes,
            weights=args.weights,
            delays=not args.settled,
            progress=progress,
        )
    for library, rows in lever_rows(costs).items():
        console.table(COLUMNS, rows, title=f"{library}: nJ per frame of speech")
    if args.out is not None:
        write_whole(args.out, lever_table(costs).encode())
        console.written(args.out)
    return {"costs": [asdict(cost) for cost in costs], "run_time_s": time.perf_counter() - start}
