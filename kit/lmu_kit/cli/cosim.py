"""Check that the Verilog computes what the golden model computes, bit for bit.

Runs the accelerator of a quantized model in Icarus Verilog or Verilator under cocotb, on clips of a frames file
(--frames; by default those shipped with the model), on WAV files (--wav), and compares every element of every vector
in every frame with the golden model. Without stalls it also compares cycles with the plan.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.console import CommandError, console, print_saturated, stages, table
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, positive, seconds, smoothing_argument
from lmu_kit.inputs import model_frames, quantized_model, wav_frames
from lmu_sim.bench import STALLS
from lmu_sim.cosim import CosimOptions, cosimulate
from lmu_sim.result import CosimResult, MismatchError
from lmu_sim.runner import Simulator

SUMMARY = "compare the Verilog with the golden model, bit for bit"
EXAMPLE = "lmu-hw cosim kws361 --lanes 16 --limit 2 --simulator verilator --stalls random"

TIMEOUT_S = 600.0

MOST_SHOWN = 8
"""Different intervals of frames that are printed one by one."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--frames", metavar="FILE", type=Path, help="a frames file (default: the set shipped with the model)"
    )
    source.add_argument("--wav", metavar="FILE", type=Path, nargs="+", help="WAV files, one utterance each")
    command.add_argument("--resample", action="store_true", help="accept WAV files of other rates and more channels")
    command.add_argument("--limit", metavar="N", type=positive, default=4, help="clips of the frames file (default 4)")
    command.add_argument(
        "--simulator", choices=[one.value for one in Simulator], default="icarus", help="default icarus"
    )
    command.add_argument("--stalls", choices=STALLS, default="none", help="stall input and outputs (default none)")
    command.add_argument("--seed", metavar="N", type=int, default=1, help="of everything random (default 1)")
    command.add_argument("--waves", action="store_true", help="write waveforms (VCD); needs --build")
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT_S,
        help=f"how long the build, and the run, may take (default {TIMEOUT_S:g})",
    )
    command.add_argument(
        "--build",
        metavar="FOLDER",
        type=Path,
        help="write the trace, the log and the waveforms there (default: a temporary folder)",
    )
    group = accelerator_arguments(command)
    smoothing_argument(group, "add decision smoothing, and compare its events")


def print_result(result: CosimResult) -> None:
    """Print what was compared, and the first difference if there is one."""
    blocks = table("block", "values compared", "differ")
    for name, (compared, differing) in result.blocks.items():
        blocks.add_row(name, str(compared), str(differing))
    console.print(blocks)
    print_saturated(result.saturated)
    if result.intervals:
        intervals = [interval for interval, _ in result.intervals]
        measured = sorted(set(intervals))
        planned = "as planned" if result.as_planned else "NOT as planned"
        shown = ", ".join(map(str, measured))
        if len(measured) > MOST_SHOWN:
            shown = f"{measured[0]} to {measured[-1]}, mean {sum(intervals) / len(intervals):.0f}"
        console.print(f"cycles from frame to frame: {shown} ({planned})")
    if result.waves is not None:
        console.print(f"waveforms: {result.waves}", markup=False)
    console.print(", ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items()))
    console.print(f"{result.compared} values compared, {result.differing} differ")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate, compare, print."""
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    if args.wav:
        frames = wav_frames(model, args.wav, args.resample)
    else:
        frames = list(model_frames(model, args.frames, args.limit).frames)
    folder = [] if args.build else ["--build", "build/cosim"]
    options = CosimOptions(
        simulator=args.simulator,
        stalls=args.stalls,
        seed=args.seed,
        folder=args.build,
        waves=args.waves,
        replay=shlex.join(["lmu-hw", *args.words, *folder, "--waves"]),
        timeout_s=args.timeout,
    )
    with stages() as progress:
        result = cosimulate(plan, frames, options, progress=progress)
    print_result(result)
    try:
        return result.check().report()
    except MismatchError as error:
        raise CommandError(str(error), result.report()) from None
