"""Check that the Verilog computes what the golden model computes, bit for bit.

Runs the accelerator of a quantized model in Icarus Verilog or Verilator under cocotb, on clips of a frames file
(--frames; by default those shipped with the model), on WAV files (--wav), and compares every element of every vector
in every frame with the golden model. Without stalls it also compares cycles with the plan.
"""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from lmu_hw.plan.plan import make_plan
from lmu_kit.cli.console import CommandError, console, print_saturated, stage, table
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, positive, seconds, smoothing_argument
from lmu_kit.inputs import model_frames, quantized_model, wav_frames
from lmu_sim.cosim import STALLS, CosimResult, cosim
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
    command.add_argument("--waves", action="store_true", help="write waveforms (VCD)")
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
        default=Path("build/cosim"),
        help="for builds and runs (default build/cosim)",
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


def check_result(result: CosimResult) -> None:
    """Raise the error of a run that was not exact."""
    if result.ok:
        return
    if result.hung:
        message = "the accelerator stopped taking frames, or did not come to rest"
    elif result.mismatch is not None:
        message = f"first difference: {result.mismatch}"
    elif result.violations:
        message = f"a rule of the interfaces was broken: {result.violations[0]}"
    elif not result.compared:
        message = "nothing was compared"
    else:
        message = "measured cycles or memory accesses are not the planned ones"
    raise CommandError(message, result.report())


def phase(folder: Path, since: float, frames: int) -> str:
    """Say what a co-simulation is doing, from the files that it writes.

    Parameters
    ----------
    folder : Path
        Of builds and runs.
    since : float
        Time when it began, in seconds of `time.time`.
    frames : int
        How many it sends.
    """
    try:
        logs = [log for log in folder.glob("*/run-*/run.log") if log.stat().st_mtime >= since]
        if not logs:
            return "build"
        place = max(logs, key=lambda log: log.stat().st_mtime).parent
        if (place / "results.xml").is_file():
            return "compare"
        trace = place / "trace.txt"
        known = trace.is_file() and trace.stat().st_mtime >= since
        taken = sum(line.startswith("a ") for line in trace.read_text().splitlines()) if known else 0
    except OSError:  # a file went away meanwhile
        return "run"
    return f"run, {min(taken, frames)} of {frames} frames"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate, compare, print."""
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    if args.wav:
        frames = wav_frames(model, args.wav, args.resample)
    else:
        frames = list(model_frames(model, args.frames, args.limit).frames)
    count = sum(len(clip) for clip in frames)
    title, start = f"co-simulation of {count} frames in {args.simulator}, stalls: {args.stalls}", time.time()
    with stage(title, lambda: phase(args.build, start, count)):
        result = cosim(
            plan,
            frames,
            simulator=args.simulator,
            stalls=args.stalls,
            seed=args.seed,
            directory=args.build,
            waves=args.waves,
            replay=shlex.join(["lmu-hw", *args.words, "--waves"]),
            timeout=args.timeout,
        )
    print_result(result)
    check_result(result)
    return result.report()
