"""Run a board on real frames and compare it with the golden model, bit for bit.

The board must be flashed with the accelerator of the same model and the same options (docs/boards.md). Frames go over
its serial port one at a time. A packet that is lost or damaged on the line is sent again; the board computes each frame
only once. With weights in RAM, they are loaded first. The state is cleared before each clip.

--simulate runs a board in simulation instead: its whole top module, pin by pin. --faults damages the bytes on its
serial line.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lmu_hw as lh
from lmu_kit.cli import options
from lmu_kit.cli.console import console
from lmu_kit.cli.project_options import QUANTIZED_MODEL

PROJECT = {"model": QUANTIZED_MODEL, "data": "data.folder"}
"""Keys of a project that options override."""

EXAMPLE = "lmu-hw hil kws361 --port /dev/ttyUSB1 --lanes 16 --weights ram --clips 10"

TIMEOUT_S = 1.0
ATTEMPTS = 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    options.model_argument(command)
    board = command.add_mutually_exclusive_group(required=True)
    board.add_argument("--port", metavar="PORT", help="serial port of the board, such as /dev/ttyUSB1")
    names = ", ".join(options.BOARDS)
    board.add_argument("--simulate", metavar="BOARD", choices=options.BOARDS, help=f"simulate a board: {names}")
    options.baud_argument(command, default=options.BAUD)
    source = command.add_mutually_exclusive_group()
    options.frames_argument(source)
    source.add_argument("--data", metavar="FOLDER", type=Path, help="Speech Commands folder: its test clips")
    options.clips_argument(command, "number of clips, spread evenly", 4)
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=options.seconds,
        default=TIMEOUT_S,
        help=f"time to wait for a reply before a packet is sent again (default {TIMEOUT_S:g})",
    )
    command.add_argument(
        "--attempts",
        metavar="N",
        type=options.positive,
        default=ATTEMPTS,
        help=f"give up after a packet was sent N times (default {ATTEMPTS})",
    )
    options.accelerator_arguments(command, "accelerator, as flashed")
    group = command.add_argument_group("for --simulate only")
    group.add_argument(
        "--faults",
        metavar="P",
        type=float,
        default=0.0,
        help="probability that a bit of a byte is inverted; that a byte is dropped; that one is inserted (default 0)",
    )
    group.add_argument("--seed", metavar="N", type=int, default=1, help="seed of the faults (default 1)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, run, compare, print."""
    model = lh.open_model(args.model)
    plan = lh.accelerator(model, options.accelerator_config(args, "plain"))
    link = lh.BoardOptions(args.baud, args.timeout, args.attempts)
    with ExitStack() as stack:
        progress = stack.enter_context(console.progress())
        frames = options.open_clips(args, model, "test", progress)
        port = args.port
        if args.simulate is not None:
            progress(f"build the simulator of {args.simulate}", 0, 0)
            board = lh.simulate_board(plan, args.simulate, faults=args.faults, seed=args.seed)
            port = stack.enter_context(board)
        board_run = lh.run_board(plan, frames, port, link, progress=progress)
    result = board_run.to_dict() | {"simulated": args.simulate, "baud": args.baud}
    rows = [
        ["frames", str(result["frames"])],
        ["frames per second", f"{result['frames_per_second']:.1f}"],
        ["packets sent again", str(result["repeated"])],
        ["packets lost on the way to the board", str(result["lost"])],
        ["packets damaged on the way back", str(result["damaged_replies"])],
    ]
    console.table([f"board at {port}", ""], rows)
    console.print(f"{result['compared']} values compared, {result['differing']} differ")
    board_run.check()
    return result
