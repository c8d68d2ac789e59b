"""Dense layers of a network as NNgen makes them and as lmu-hw does: cycles, area, energy, with the same library.

    python compare.py kws105 --nngen VENV/bin/python --pdk ihp-sg13g2

NNgen runs in an environment of its own (requirements.txt), everything else in that of lmu-hw. What is measured and
what is left out is in docs/peers.md.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lmu_hw as lh
from bench import lay_out, run_bench
from cost import Costs, cells_cost, cycles_per_frame, outside_cost, rams_cost
from layers import Dense, dense_layer, names
from lmu_hw.cells.library import Library
from lmu_hw.power.report import FRAME_RATE
from lmu_hw.progress import Progress, silent
from lmu_hw.tools import Tool, ToolError, run_tool
from rams import find_rams

WARM_UP = 20
"""Frames of the clip before those that are measured."""


@dataclass(frozen=True)
class Side:
    """A side of the comparison.

    Parameters
    ----------
    design : str
        Name for the table.
    cycles : float
        Per frame.
    parts : dict of str to Costs
        Of a frame; they add up.
    outside : Costs
        Of the memory outside, in no sum.
    """

    design: str
    cycles: float
    parts: Mapping[str, Costs]
    outside: Costs = field(default_factory=Costs)

    @property
    def total(self) -> Costs:
        """All parts."""
        return sum(self.parts.values(), Costs())


def nngen(layer: Dense, python: Path, parallel: tuple[int, int], library: Library, progress: Progress) -> Side:
    """NNgen's side.

    Parameters
    ----------
    layer : Dense
        With its frames.
    python : Path
        Of the environment with NNgen.
    parallel : (int, int)
        Columns and rows of the weights that are multiplied at a time.
    library : Library
        Cells and macros.
    progress : callable
        Called with the stage, the steps done, and all steps.

    Raises
    ------
    lh.InputError
        If a sum differs from NumPy's.
    """
    wide = not (-128 <= layer.frame_format.min and layer.frame_format.max <= 127)
    width = 16 if wide else 8
    spec = {
        "weights": layer.weights.tolist(), "weight_width": layer.weight_width, "input_width": width,
        "sum_width": layer.sum_width, "parallel": parallel,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(json.dumps(spec))
        script = Path(__file__).with_name("generate.py").resolve()
        run_tool(Tool([str(python)], dict(os.environ), "NNgen"), [str(script), "spec.json", "."], folder)
        verilog, addresses = (folder / "nngen.v").read_text(), json.loads((folder / "map.json").read_text())
        rams, rows = find_rams(verilog), len(layer.weights)
        layout = lay_out(addresses, layer.frames, width, rows)
        progress("Icarus", 0, 1)
        trace = run_bench(verilog, rams, layout, len(layer.frames), rows, folder)
    if not np.array_equal(trace.sums, layer.sums):
        raise lh.InputError(f"{layer.name}: NNgen's sums are not NumPy's")
    cells, tree = cells_cost(verilog, rams, trace, library, FRAME_RATE, progress)
    parts = {"cells": cells, "clock tree": tree, "memories": rams_cost(rams, trace, library, FRAME_RATE)}
    outside = outside_cost(-(-len(addresses["bytes"]) // 4), trace, library, FRAME_RATE)
    columns, wide_rows = parallel
    return Side(f"NNgen {columns} x {wide_rows}", cycles_per_frame(trace), parts, outside)


def ours(layer: Dense, config: lh.AcceleratorConfig, library: lh.CellLibrary, progress: Progress) -> Side:
    """Our side; every sum is compared with the golden model, which is NumPy's product here."""
    plan = lh.accelerator(layer.model(), config)
    point = lh.operating_point(plan, frame_rate_hz=FRAME_RATE)
    sounds = {"speech": layer.frames[None]}
    report = lh.estimate_power(plan, library, tier="gates", sounds=sounds, point=point, progress=progress)
    cells, tree = report.sums("speech", estimates=False), report.sums("speech", "clock tree")
    parts = {
        "cells and memories": Costs(cells.dynamic, cells.leakage, report.area.total),
        "clock tree": Costs(tree.dynamic, tree.leakage, report.row("speech", "clock tree").area),
    }
    return Side(f"lmu-hw {config.weights.value}", plan.cycles_per_frame, parts)


def _print(layer: Dense, sides: list[Side]) -> None:
    columns = ("cycles", "mm²", "dynamic, nJ", "leakage, nJ", "all, nJ", "ratio", "outside, nJ")
    table = Table(f"{layer.name}, {len(layer.weights)} x {layer.weights.shape[1]}", *columns)
    for side in sides:
        total = side.total
        nano = [f"{value * 1e9:.2f}" for value in (total.dynamic, total.leakage, total.energy)]
        ratio = f"{total.energy / sides[-1].total.energy:.1f}"
        area, outside = f"{total.area / 1e6:.3f}", f"{side.outside.energy * 1e9:.2f}"
        table.add_row(side.design, f"{side.cycles:.0f}", area, *nano, ratio, outside)
    Console().print(table)


def _arguments() -> argparse.Namespace:
    command = argparse.ArgumentParser(description="Dense layers of a network by NNgen and by lmu-hw.")
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--nngen", metavar="PYTHON", type=Path, required=True, help="Python with requirements.txt")
    command.add_argument("--layers", metavar="NAME", nargs="+", help="as layer0.w_m (default: all)")
    command.add_argument("--frames", metavar="N", type=int, default=8, help="frames of speech, default 8")
    command.add_argument("--parallel", metavar="N", type=int, nargs=2, default=(1, 1), help="of NNgen: columns, rows")
    command.add_argument("--lanes", metavar="N", type=int, default=16, help="of lmu-hw, default 16")
    command.add_argument("--json", metavar="FILE", type=Path, help="for all figures")
    command.add_argument("--pdk", metavar="NAME", help="folder under PDK_ROOT: ihp-sg13g2, sky130A")
    command.add_argument("--liberty", metavar="FILE", type=Path, nargs="+", help="Liberty files of one corner")
    command.add_argument("--corner", metavar="TEXT", help="part of the names of the PDK's Liberty files")
    return command.parse_args()


def main() -> None:
    """Compare layer by layer."""
    args = _arguments()
    if args.frames < 2:
        raise lh.InputError(f"--frames must be at least 2, as the first is not counted, not {args.frames}")
    if shutil.which(args.nngen) is None:
        raise lh.InputError(f"--nngen: no program {args.nngen}")
    model = lh.open_model(args.model)
    library = lh.open_library(args.pdk, liberty=args.liberty, corner=args.corner, macros="model")
    clip = lh.find_sounds(model)["speech"][0][: WARM_UP + args.frames]
    result: dict[str, Any] = {}
    for name in args.layers or names(model):
        layer = dense_layer(model, name, clip)
        layer = replace(layer, frames=layer.frames[WARM_UP:])
        peer = nngen(layer, args.nngen, tuple(args.parallel), library[0], silent)
        configs = [lh.AcceleratorConfig(lanes=args.lanes, weights=store) for store in ("ram", "rom")]
        sides = [peer, *(ours(layer, config, library, silent) for config in configs)]
        _print(layer, sides)
        result[name] = [asdict(side) for side in sides]
        if args.json is not None:
            args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (ToolError, ValueError) as error:
        sys.exit(f"compare: error: {error}")
