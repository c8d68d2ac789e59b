"""Run a board on real frames and compare it with the golden model, bit for bit.

The board must have been flashed with the accelerator of the same model and the same options (docs/boards.md). Frames
go over its serial port one by one; a packet that was lost or damaged on the line is sent again, and the board computes
each frame once only. With weights in RAM they are loaded first. The state is cleared before each clip.

--simulate takes a board in simulation instead: its whole top, pin by pin. --faults damages the bytes on its serial
line.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import serial
from numpy.typing import NDArray

from lmu_hw.boards import BAUD, BOARDS, BoardClient, BoardStatus, LinkError, design_number
from lmu_hw.export.emit import to_verilog
from lmu_hw.host.link import LinkLayout, image_chunks
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan, make_plan
from lmu_kit.cli.console import CommandError, console, progress, stage, table
from lmu_kit.cli.options import accelerator_arguments, accelerator_config, positive, seconds
from lmu_kit.inputs import check_length, dataset_frames, model_frames, quantized_model
from lmu_quantize.features import quantize_frames
from lmu_sim.batch import BatchReport, BatchResult, compare_batch
from lmu_sim.serial_bridge import LineFaults, SerialBridge

SUMMARY = "run a flashed board on real frames and compare it with the golden model"
EXAMPLE = "lmu-hw hil kws361 --port /dev/ttyUSB1 --lanes 16 --weights ram --limit 10"

TIMEOUT_S = 1.0
ATTEMPTS = 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("model", metavar="MODEL", help="a quantized model, or the name of a shipped one")
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", metavar="PORT", help="serial port of the board, e.g. /dev/ttyUSB1")
    place.add_argument("--simulate", metavar="BOARD", choices=tuple(BOARDS), help=f"one of {', '.join(BOARDS)}")
    command.add_argument(
        "--baud", metavar="N", type=positive, default=BAUD, help=f"bits a second, as flashed (default {BAUD})"
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--frames", metavar="FILE", type=Path, help="a frames file (default: the set shipped with the model)"
    )
    source.add_argument("--data", metavar="FOLDER", type=Path, help="a Speech Commands folder: its test clips")
    command.add_argument("--limit", metavar="N", type=positive, default=4, help="clips, spread evenly (default 4)")
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT_S,
        help=f"wait for a reply before a packet is sent again (default {TIMEOUT_S:g})",
    )
    command.add_argument(
        "--attempts",
        metavar="N",
        type=positive,
        default=ATTEMPTS,
        help=f"how often a packet is sent before that is an error (default {ATTEMPTS})",
    )
    accelerator_arguments(command, "accelerator, as flashed")
    group = command.add_argument_group("for --simulate only")
    group.add_argument(
        "--faults",
        metavar="P",
        type=float,
        default=0.0,
        help="probability that a bit of a byte is inverted; that a byte is dropped; that one is inserted (default 0)",
    )
    group.add_argument("--seed", metavar="N", type=int, default=1, help="of the faults (default 1)")


def _frames(args: argparse.Namespace, model: QuantizedModel) -> NDArray[np.int64]:
    if args.data is not None:
        floats, _ = dataset_frames(model, args.data, "test", args.limit)
        frames = quantize_frames(floats, model.input)
    else:
        frames = model_frames(model, args.frames, args.limit).frames
    check_length(model, frames.shape[1], str(args.data or args.frames or args.model))
    return frames


@contextmanager
def _opened(args: argparse.Namespace, plan: Plan) -> Iterator[serial.Serial]:
    """Serial port of the board, or of the simulated one."""
    with ExitStack() as stack:
        name = args.port
        if args.simulate is not None:
            faults = LineFaults(args.faults, args.faults, args.faults, args.seed)
            with stage(f"build the simulator of {args.simulate}"):
                bridge = SerialBridge(plan, args.simulate, faults)
            name = stack.enter_context(bridge).port
        try:
            port = serial.Serial(name, args.baud, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            raise CommandError(f"{name}: cannot be opened as a serial port ({error})") from None
        yield stack.enter_context(port)


def _greet(client: BoardClient, plan: Plan, design: int) -> BoardStatus:
    """Status of the board, which must hold the accelerator of the plan."""
    status = client.status()
    if status.design != design:
        raise CommandError(
            f"the board holds design {status.design:08x}, this model with these options is design {design:08x}: "
            "flash it, or give --lanes, --weights and --state as flashed"
        )
    return status


def run_clips(client: BoardClient, plan: Plan, frames: NDArray[np.int64]) -> BatchResult:
    """Run clips on a board, each from the zero state.

    Parameters
    ----------
    client : BoardClient
        After `status`, with its weights loaded.
    plan : Plan
        The accelerator's.
    frames : ndarray of int64, shape (clips, T, inputs)
        Integers of the model's input format.

    Returns
    -------
    BatchResult
        Every logit and decision; no cycles.
    """
    clips, steps, _ = frames.shape
    due = steps // plan.period
    logits = np.zeros((clips, due, plan.model.outputs), np.int64)
    decisions = np.zeros((clips, due, 2), np.int64)
    begun = time.monotonic()
    with progress("frames on the board", clips * steps) as done:
        for clip in range(clips):
            client.clear()
            for step in range(steps):
                result = client.frame(frames[clip, step])
                if (result is not None) != ((step + 1) % plan.period == 0):
                    raise LinkError(f"the board gave {'no ' * (result is None)}logits for frame {step} of clip {clip}")
                if result is not None:
                    logits[clip, step // plan.period] = result.logits
                    decisions[clip, step // plan.period] = result.label, result.score
                done(clip * steps + step + 1)
    return BatchResult(logits, decisions, np.zeros(clips, np.int64), time.monotonic() - begun)


def _print(report: BatchReport, result: dict[str, Any]) -> None:
    lines = table("board", "")
    lines.add_row("frames", str(result["frames"]))
    lines.add_row("frames a second", f"{result['frames_per_second']:.1f}")
    lines.add_row("packets sent again", str(result["repeated"]))
    lines.add_row("packets lost on the way to the board", str(result["lost"]))
    lines.add_row("packets damaged on the way back", str(result["damaged_replies"]))
    console.print(lines)
    console.print(f"{report.compared} values compared, {report.differing} differ")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, run, compare, print."""
    model = quantized_model(args.model)
    plan = make_plan(model, accelerator_config(args))
    layout = LinkLayout.of(plan)
    frames = _frames(args, model)
    with _opened(args, plan) as port:
        client = BoardClient(port, layout, args.timeout, args.attempts)
        with stage(f"find the board at {port.name}"):
            before = _greet(client, plan, design_number(to_verilog(plan)))
        if plan.config.weights is WeightStore.RAM:
            chunks = image_chunks(plan)
            with stage(f"load {layout.image_bytes} bytes of weights"), progress("weights", len(chunks)) as done:
                client.load(chunks, done)
        measured = run_clips(client, plan, frames)
        after = client.status()
    report = compare_batch(plan, frames, measured)
    count = frames.shape[0] * frames.shape[1]
    result = {
        "port": port.name,
        "simulated": args.simulate,
        "baud": args.baud,
        "design": f"{before.design:08x}",
        "clips": report.clips,
        "frames": count,
        "compared": report.compared,
        "differing": report.differing,
        "first": None if report.first is None else str(report.first),
        "seconds": measured.seconds,
        "frames_per_second": count / measured.seconds,
        "repeated": client.repeated,
        "lost": (after.damaged - before.damaged) % 65536 + (after.overflows - before.overflows) % 65536,
        "damaged_replies": client.damaged,
    }
    _print(report, result)
    if not report.passed:
        raise CommandError(f"the board and the golden model differ: {report.first}", result)
    return result
