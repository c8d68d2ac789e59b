"""Check that the Verilog computes what the golden model computes, bit for bit.

Runs the accelerator of a quantized model in Icarus Verilog or Verilator under cocotb, on clips of a frames file
(--frames; by default those shipped with the network) or on WAV files (--wav). It compares every element of every
vector in every frame with the golden model and, without stalls, the cycles with the plan. It prints the word that the
accelerator decided for each clip.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmu_hw as lh
from lmu_kit.cli import options
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import QUANTIZED_MODEL

if TYPE_CHECKING:
    from lmu_hw.model.program import QuantizedModel
    from lmu_sim.result import CosimResult

PROJECT = {
    "model": QUANTIZED_MODEL, "simulator": "flow.cosim.simulator", "stalls": "flow.cosim.stalls",
    "seed": "flow.cosim.seed", "waves": "flow.cosim.waves", "timeout": "flow.cosim.timeout_s",
    "clips": "flow.cosim.clips", "smoothing": "accelerator.smoothing",
}  # fmt: skip
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw cosim kws361 --lanes 16 --clips 2 --simulator verilator --stalls random"

TIMEOUT_S = 600.0

MOST_SHOWN = 8
"""Different intervals between frames that are printed one by one; and clips whose word is."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    source = command.add_mutually_exclusive_group()
    options.frames_argument(source)
    source.add_argument("--wav", metavar="FILE", type=Path, nargs="+", help="WAV files, one utterance each")
    command.add_argument("--resample", action="store_true", help="accept WAV files of other rates and more channels")
    options.clips_argument(command, "clips of the frames file, spread evenly", 4)
    options.simulator_argument(command)
    command.add_argument(
        "--stalls", choices=options.STALLS, default="none", help="stall the input and output streams (default none)"
    )
    command.add_argument("--seed", metavar="N", type=int, default=1, help="seed of everything random (default 1)")
    command.add_argument("--waves", action="store_true", help="write waveforms (VCD)")
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=options.seconds,
        default=TIMEOUT_S,
        help=f"longest time for the build, and for the run (default {TIMEOUT_S:g})",
    )
    command.add_argument(
        "--build",
        metavar="FOLDER",
        type=Path,
        default=Path("build/cosim"),
        help="folder for the trace, the log and the waveforms (default build/cosim)",
    )
    group = options.accelerator_arguments(command)
    options.smoothing_argument(group, "add decision smoothing, and compare its events")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate, compare, print."""
    model = lh.open_model(args.model)
    plan = lh.accelerator(model, options.accelerator_config(args))
    frames = _recordings(args, model) if args.wav else options.open_test_clips(args, model, args.clips).frames
    setup = lh.CosimOptions(
        simulator=args.simulator,
        stalls=args.stalls,
        seed=args.seed,
        folder=args.build,
        waves=args.waves,
        replay=shlex.join(["lmu-hw", *args.words, *([] if args.waves else ["--waves"])]),
        timeout_s=args.timeout,
    )
    with console.progress() as progress:
        result = lh.cosimulate(plan, list(frames), setup, progress=progress)
    _print(result, args.build)
    result.check()
    return result.report()


def _recordings(args: argparse.Namespace, model: "QuantizedModel") -> Any:
    from lmu_quantize.audio import SampleRateError

    try:
        return lh.open_recordings(model, args.wav, resample=args.resample)
    except SampleRateError as error:
        raise lh.InputError(f"{error.problem}; give --resample to convert it") from None


def _print(result: "CosimResult", folder: Path) -> None:
    """Print what was compared, the words that were decided, and the first difference if there is one."""
    rows = [[name, str(compared), str(differing)] for name, (compared, differing) in result.blocks.items()]
    console.table(["block", "values compared", "differ"], rows)
    saturated = ", ".join(f"{name} {count}" for name, count in result.saturated.items() if count)
    console.print(f"saturated elements: {saturated or 'none'}")
    words = ", ".join(decision.word for decision in result.decisions[:MOST_SHOWN])
    more = len(result.decisions) - MOST_SHOWN
    console.print(f"decided, clip by clip: {words or 'nothing'}{f', and {more} more' if more > 0 else ''}")
    if result.intervals:
        intervals = [interval for interval, _ in result.intervals]
        measured = sorted(set(intervals))
        shown = ", ".join(map(str, measured))
        if len(measured) > MOST_SHOWN:
            shown = f"{measured[0]} to {measured[-1]}, mean {sum(intervals) / len(intervals):.0f}"
        console.print(
            f"cycles from frame to frame: {shown} ({'as planned' if result.as_planned else 'NOT as planned'})"
        )
    console.print(", ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items()))
    console.print(f"{result.compared} values compared, {result.differing} differ")
    console.written(folder if result.waves is None else result.waves)
