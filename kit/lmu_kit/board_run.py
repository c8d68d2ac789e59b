"""A board, or its simulation, on real frames, compared with the golden model."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import serial
from numpy.typing import NDArray

from lmu_hw.boards import BAUD, BoardClient, BoardStatus, LinkError, design_number
from lmu_hw.export.emit import to_verilog
from lmu_hw.host.link import LinkLayout, image_chunks
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.frames import check_length
from lmu_quantize.frames_file import FrameSet
from lmu_sim.batch import BatchReport, BatchResult, compare_batch
from lmu_sim.serial_bridge import LineFaults, SerialBridge

__all__ = ["BoardOptions", "BoardRun", "MismatchOnBoard", "run_board", "run_clips", "simulate_board"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class BoardOptions:
    """How to talk to a board.

    Parameters
    ----------
    baud : int
        Bits per second of the serial line, as flashed.
    timeout : float
        Seconds to wait for a reply before a packet is sent again.
    attempts : int
        How often a packet is sent before that is an error.
    """

    baud: int = BAUD
    timeout: float = 1.0
    attempts: int = 20


@dataclass(frozen=True, eq=False)
class BoardRun:
    """What a board gave.

    Parameters
    ----------
    port : str
        Serial port.
    design : int
        Number of the design that the board holds.
    comparison : BatchReport
        Every logit and decision against the golden model.
    frames : int
        Frames of all clips.
    seconds : float
        Time of all frames.
    repeated, lost, damaged_replies : int
        Packets sent again, lost or damaged on the way to the board, and damaged on the way back.
    """

    port: str
    design: int
    comparison: BatchReport
    frames: int
    seconds: float
    repeated: int
    lost: int
    damaged_replies: int

    def check(self) -> "BoardRun":
        """Return itself, or raise `MismatchOnBoard` if the board and the golden model differ."""
        if not self.comparison.passed:
            raise MismatchOnBoard(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        first = self.comparison.first
        return {
            "port": self.port,
            "design": f"{self.design:08x}",
            "clips": self.comparison.clips,
            "frames": self.frames,
            "compared": self.comparison.compared,
            "differing": self.comparison.differing,
            "first": None if first is None else str(first),
            "seconds": self.seconds,
            "frames_per_second": self.frames / self.seconds,
            "repeated": self.repeated,
            "lost": self.lost,
            "damaged_replies": self.damaged_replies,
        }


class MismatchOnBoard(RuntimeError):
    """The board and the golden model differ.

    Attributes
    ----------
    run : BoardRun
        With the first difference in ``comparison``.
    """

    def __init__(self, run: BoardRun):
        super().__init__(f"the board and the golden model differ: {run.comparison.first}")
        self.run = run

    @property
    def result(self) -> dict[str, Any]:
        """JSON form of the run."""
        return self.run.to_dict()


def run_board(
    plan: Plan,
    frames: FrameSet | IntArray,
    port: str,
    options: BoardOptions | None = None,
    *,
    progress: Progress = silent,
) -> BoardRun:
    """Run clips on a flashed board over its serial port and compare every logit with the golden model.

    Parameters
    ----------
    plan : Plan
        The accelerator that was flashed. With weights in RAM they are loaded first.
    frames : FrameSet or ndarray of int64, shape (clips, T, inputs)
        Integers of the model's input format; the state is cleared before each clip.
    port : str
        Serial port, such as ``/dev/ttyUSB1``; or that of `simulate_board`.
    options : BoardOptions, optional
        Baud rate, time limit, attempts.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    BoardRun
        The comparison, and how the line behaved; `BoardRun.check` raises if anything differs.

    Raises
    ------
    InputError
        If the port cannot be opened, or the board holds another design.
    LinkError
        If the board does not answer, or answers wrongly.
    """
    options = options or BoardOptions()
    clips = frames.frames if isinstance(frames, FrameSet) else np.asarray(frames)
    check_length(plan.model, clips.shape[1], "frames")
    layout = LinkLayout.of(plan)
    with _open_port(port, options.baud) as line:
        client = BoardClient(line, layout, options.timeout, options.attempts)
        progress(f"find the board at {port}", 0, 0)
        before = _greet(client, design_number(to_verilog(plan)))
        if plan.config.weights is WeightStore.RAM:
            chunks = image_chunks(plan)
            client.load(chunks, lambda done: progress("load the weights", done, len(chunks)))
        measured = run_clips(client, plan, clips, progress)
        after = client.status()
    return BoardRun(
        port=port,
        design=before.design,
        comparison=compare_batch(plan, clips, measured),
        frames=clips.shape[0] * clips.shape[1],
        seconds=measured.seconds,
        repeated=client.repeated,
        lost=(after.damaged - before.damaged) % 65536 + (after.overflows - before.overflows) % 65536,
        damaged_replies=client.damaged,
    )


@contextmanager
def simulate_board(
    plan: Plan,
    board: str,
    *,
    faults: float = 0.0,
    seed: int = 1,
) -> Iterator[str]:
    """Simulate the whole top of a board, pin by pin, behind a serial port.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    board : str
        One of `lmu_hw.boards.BOARDS`.
    faults : float
        Probability that a bit of a byte on the line is inverted; that a byte is dropped; that one is inserted.
    seed : int
        Of the faults.

    Yields
    ------
    str
        The serial port, for `run_board`.
    """
    with SerialBridge(plan, board, LineFaults(faults, faults, faults, seed)) as bridge:
        yield bridge.port


def run_clips(client: BoardClient, plan: Plan, frames: IntArray, progress: Progress = silent) -> BatchResult:
    """Run clips on a board, each from the zero state.

    Parameters
    ----------
    client : BoardClient
        After `BoardClient.status`, with its weights loaded.
    plan : Plan
        The accelerator's.
    frames : ndarray of int64, shape (clips, T, inputs)
        Integers of the model's input format.
    progress : callable, optional
        Called with the stage, the frames done, and all frames.

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
    for clip in range(clips):
        client.clear()
        for step in range(steps):
            result = client.frame(frames[clip, step])
            if (result is not None) != ((step + 1) % plan.period == 0):
                raise LinkError(f"the board gave {'no ' * (result is None)}logits for frame {step} of clip {clip}")
            if result is not None:
                logits[clip, step // plan.period] = result.logits
                decisions[clip, step // plan.period] = result.label, result.score
            progress("frames on the board", clip * steps + step + 1, clips * steps)
    return BatchResult(logits, decisions, np.zeros(clips, np.int64), time.monotonic() - begun)


@contextmanager
def _open_port(name: str, baud: int) -> Iterator[serial.Serial]:
    with ExitStack() as stack:
        try:
            line = serial.Serial(name, baud, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            raise InputError(f"{name}: cannot be opened as a serial port ({error})") from None
        yield stack.enter_context(line)


def _greet(client: BoardClient, design: int) -> BoardStatus:
    """Status of the board, which must hold this design."""
    status = client.status()
    if status.design != design:
        raise InputError(
            f"the board holds design {status.design:08x}; this model with these options is design {design:08x}: "
            "flash it, or give lanes, weights and state policy as flashed"
        )
    return status
