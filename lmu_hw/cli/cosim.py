"""Check that the Verilog computes what the golden model computes, bit for bit.

Runs the accelerator of a quantized model in Icarus Verilog or Verilator under cocotb, on clips of a frames file
(--frames; by default those shipped with the model), on WAV files (--wav), and compares every element of every vector
in every frame with the golden model. Without stalls it also compares cycles with the plan.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from lmu_hw.cli.console import CommandError, console, stage, table
from lmu_hw.cli.inputs import (
    accelerator_arguments,
    accelerator_config,
    model_frames,
    positive,
    quantized_model,
    wav_frames,
)
from lmu_hw.plan import make_plan
from lmu_sim.cosim import STALLS, CosimResult, cosim
from lmu_sim.runner import Simulator

SUMMARY = "compare the Verilog with the golden model, bit for bit"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--frames", type=Path, help="a frames file (default: the set shipped with the model)")
    source.add_argument("--wav", type=Path, nargs="+", help="WAV files, one utterance each")
    command.add_argument("--resample", action="store_true", help="accept WAV files of other rates and more channels")
    command.add_argument("--limit", type=positive, default=4, help="clips of the frames file (default 4)")
    command.add_argument(
        "--simulator", choices=[one.value for one in Simulator], default="icarus", help="default icarus"
    )
    command.add_argument("--stalls", choices=STALLS, default="none", help="stall input and outputs (default none)")
    command.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    command.add_argument("--waves", action="store_true", help="write waveforms (VCD)")
    command.add_argument("--build", type=Path, default=Path("build/cosim"), help="folder for builds and runs")
    accelerator_arguments(command)


def replay_command(args: argparse.Namespace) -> str:
    """Command line that repeats a run and writes waveforms."""
    words = ["lmu-hw", "cosim", args.model]
    if args.wav:
        words += ["--wav", *map(str, args.wav), *(["--resample"] if args.resample else [])]
    else:
        words += [*(["--frames", str(args.frames)] if args.frames else []), "--limit", str(args.limit)]
    words += ["--lanes", str(args.lanes), "--weights", args.weights, "--state", args.state]
    words += ["--stalls", args.stalls, "--simulator", args.simulator, "--seed", str(args.seed)]
    return shlex.join([*words, "--build", str(args.build), "--waves"])


def print_result(result: CosimResult) -> None:
    """Print what was compared, and the first difference if there is one."""
    blocks = table("block", "values compared", "differ")
    for name, (compared, differing) in result.blocks.items():
        blocks.add_row(name, str(compared), str(differing))
    console.print(blocks)
    console.print(f"saturated elements: {result.saturated}", markup=False)
    if result.intervals:
        measured = sorted({interval for interval, _ in result.intervals})
        planned = "as planned" if result.as_planned else "NOT as planned"
        console.print(f"cycles from frame to frame: {', '.join(map(str, measured))} ({planned})")
    if result.waves is not None:
        console.print(f"waveforms: {result.waves}", markup=False)
    console.print(f"{result.compared} values compared, {result.differing} differ")


def check_result(result: CosimResult) -> None:
    """Raise the error of a run that was not exact."""
    if result.hung:
        raise CommandError("the accelerator stopped taking frames, or did not come to rest")
    if result.mismatch is not None:
        raise CommandError(f"first difference: {result.mismatch}")
    if result.violations:
        raise CommandError(f"a rule of the interfaces was broken: {result.violations[0]}")
    if not result.ok:
        raise CommandError("measured cycles or memory accesses are not the planned ones")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate, compare, print."""
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    if args.wav:
        frames = wav_frames(model, args.wav, args.resample)
    else:
        frames = list(model_frames(model, args.frames, args.limit).frames)
    count = sum(len(clip) for clip in frames)
    with stage(f"co-simulation of {count} frames in {args.simulator}, stalls: {args.stalls}"):
        result = cosim(
            plan,
            frames,
            simulator=args.simulator,
            stalls=args.stalls,
            seed=args.seed,
            directory=args.build,
            waves=args.waves,
            replay=replay_command(args),
        )
    print_result(result)
    check_result(result)
    return result.report()
