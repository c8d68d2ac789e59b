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

from bench import lay_out, run_bench
from cost import Costs, cells_cost, cycles_per_frame, outside_cost, rams_cost
from layers import Dense, dense_layer, names
from lmu_hw.cells.liberty import Library
from lmu_hw.flows.mapping import Progress
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import make_plan
from lmu_hw.power.report import FRAME_RATE, OperatingPoint
from lmu_hw.tools import Tool, ToolError, run_tool
from lmu_kit.cli.console import CommandError, console, fail, stages, table
from lmu_kit.cli.libraries import find_library
from lmu_kit.cli.options import library_arguments
from lmu_kit.inputs import quantized_model
from lmu_kit.power import map_plan, measure
from lmu_kit.sounds import find_sounds
from rams import find_rams

WARM_UP = 20
"""Frames of the clip before those that are measured."""


@dataclass(frozen=True)
class Found:
    """A side of the comparison.

    Parameters
    ----------
    who : str
        For the table.
    cycles : float
        Per frame.
    parts : dict of str to Costs
        Of a frame; they add up.
    outside : Costs
        Of the memory outside, in no sum.
    """

    who: str
    cycles: float
    parts: Mapping[str, Costs]
    outside: Costs = field(default_factory=Costs)

    @property
    def total(self) -> Costs:
        """All parts."""
        return sum(self.parts.values(), Costs())


def nngen(layer: Dense, python: Path, parallel: tuple[int, int], library: Library, told: Progress) -> Found:
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
    told : callable
        Told of the progress.

    Raises
    ------
    CommandError
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
        verilog, found = (folder / "nngen.v").read_text(), json.loads((folder / "map.json").read_text())
        rams, rows = find_rams(verilog), len(layer.weights)
        layout = lay_out(found, layer.frames, width, rows)
        told("Icarus", 0, 1)
        trace = run_bench(verilog, rams, layout, len(layer.frames), rows, folder)
    if not np.array_equal(trace.sums, layer.sums):
        raise CommandError(f"{layer.name}: NNgen's sums are not NumPy's")
    cells, tree = cells_cost(verilog, rams, trace, library, FRAME_RATE, told)
    parts = {"cells": cells, "clock tree": tree, "memories": rams_cost(rams, trace, library, FRAME_RATE)}
    outside = outside_cost(-(-len(found["bytes"]) // 4), trace, library, FRAME_RATE)
    columns, wide_rows = parallel
    return Found(f"NNgen {columns} x {wide_rows}", cycles_per_frame(trace), parts, outside)


def ours(layer: Dense, config: AcceleratorConfig, library: Library, told: Progress) -> Found:
    """Our side; every sum is compared with the golden model, which is NumPy's product here."""
    plan = make_plan(layer.model(), config)
    point = OperatingPoint(FRAME_RATE * plan.cycles_per_frame, FRAME_RATE, plan.cycles_per_frame)
    mapped = map_plan(plan, library, point.clock, told)
    report = measure(mapped, {"speech": layer.frames[None]}, point, {}, told)
    every, tree = report.sums("speech", estimates=False), report.sums("speech", "clock tree")
    parts = {
        "cells and memories": Costs(every.dynamic, every.leakage, report.area.total),
        "clock tree": Costs(tree.dynamic, tree.leakage, report.row("speech", "clock tree").area),
    }
    return Found(f"lmu-hw {config.weights.value}", plan.cycles_per_frame, parts)


def _print(layer: Dense, sides: list[Found]) -> None:
    columns = ("cycles", "mm²", "dynamic, nJ", "leakage, nJ", "all, nJ", "ratio", "outside, nJ")
    shown = table(f"{layer.name}, {len(layer.weights)} x {layer.weights.shape[1]}", *columns)
    for side in sides:
        one = side.total
        nano = [f"{value * 1e9:.2f}" for value in (one.dynamic, one.leakage, one.energy)]
        ratio = f"{one.energy / sides[-1].total.energy:.1f}"
        shown.add_row(
            side.who, f"{side.cycles:.0f}", f"{one.area / 1e6:.3f}", *nano, ratio, f"{side.outside.energy * 1e9:.2f}"
        )
    console.print(shown)


def _arguments() -> argparse.Namespace:
    command = argparse.ArgumentParser(description="Dense layers of a network by NNgen and by lmu-hw.")
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    command.add_argument("--nngen", metavar="PYTHON", type=Path, required=True, help="Python with requirements.txt")
    command.add_argument("--layers", metavar="NAME", nargs="+", help="as layer0.w_m (default: all)")
    command.add_argument("--frames", metavar="N", type=int, default=8, help="frames of speech, default 8")
    command.add_argument("--parallel", metavar="N", type=int, nargs=2, default=(1, 1), help="of NNgen: columns, rows")
    command.add_argument("--lanes", metavar="N", type=int, default=16, help="of lmu-hw, default 16")
    command.add_argument("--json", metavar="FILE", type=Path, help="for all figures")
    library_arguments(command)
    return command.parse_args()


def main() -> None:
    """Compare layer by layer."""
    args = _arguments()
    if args.frames < 2:
        raise CommandError(f"--frames must be at least 2, as the first is not counted, not {args.frames}")
    if shutil.which(args.nngen) is None:
        raise CommandError(f"--nngen: no program {args.nngen}")
    model = quantized_model(args.model)
    library, _ = find_library(args.pdk, args.liberty, args.corner)
    clip = find_sounds(model, None, None, 1)["speech"][0][: WARM_UP + args.frames]
    result: dict[str, Any] = {}
    for name in args.layers or names(model):
        layer = dense_layer(model, name, clip)
        layer = replace(layer, frames=layer.frames[WARM_UP:])
        with stages() as told:
            peer = nngen(layer, args.nngen, tuple(args.parallel), library, told)
            configs = [AcceleratorConfig(lanes=args.lanes, weights=store) for store in ("ram", "rom")]
            sides = [peer, *(ours(layer, config, library, told) for config in configs)]
        _print(layer, sides)
        result[name] = [asdict(side) for side in sides]
        if args.json is not None:
            args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (CommandError, ToolError, ValueError) as error:
        sys.exit(fail(str(error)))
