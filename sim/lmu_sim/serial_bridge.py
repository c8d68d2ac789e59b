"""A simulated board behind a pseudo-terminal, which a host program opens as the serial port of a real board."""

import contextlib
import importlib.resources
import os
import select
import signal
import subprocess
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from lmu_hw.boards import BOARDS, board_verilog
from lmu_hw.plan.plan import Plan
from lmu_sim.build_cache import BuildCache
from lmu_sim.verilated import SimulatedDesign, build_program

__all__ = ["BoardLeds", "LineFaults", "SerialBridge"]

DIVISOR = 4
"""Cycles of a bit in simulation: the fewest that the UART works with."""

END_S = 60.0
"""How long the simulation may take to end."""


@dataclass(frozen=True)
class LineFaults:
    """Faults of a serial line, in both directions.

    Parameters
    ----------
    flip : float
        Probability that a bit of a byte is inverted.
    drop : float
        Probability that a byte is lost.
    insert : float
        Probability that a random byte comes before a byte.
    seed : int
        Seed of the faults.
    """

    flip: float = 0.0
    drop: float = 0.0
    insert: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("flip", "drop", "insert"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, not {value!r}")

    def line(self, number: int) -> Callable[[bytes], bytes]:
        """Function that sends bytes over a line with these faults; `number` tells the lines of a board apart."""
        rng = np.random.default_rng((self.seed, number))

        def send(data: bytes) -> bytes:
            sent = bytearray()
            for byte in data:
                inserts, drops, flips = rng.random(3) < (self.insert, self.drop, self.flip)
                if inserts:
                    sent.append(int(rng.integers(256)))
                if not drops:
                    sent.append(byte ^ (1 << int(rng.integers(8)) if flips else 0))
            return bytes(sent)

        return send


@dataclass(frozen=True)
class BoardLeds:
    """The LEDs of the board at its end.

    Parameters
    ----------
    word : int
        Number shown by the LEDs for the word: one more than the label, 0 for none.
    ready, trouble : bool
        Whether these LEDs are lit.
    cycles : int
        Clock cycles simulated, behind the board's divider.
    """

    word: int
    ready: bool
    trouble: bool
    cycles: int


class SerialBridge:
    """A simulated board: a context manager that runs it inside the block, and can be entered again.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    board : str
        Name of the board, one of `lmu_hw.boards.BOARDS`.
    faults : LineFaults, optional
        Faults of the line; none by default.
    cache : BuildCache, optional
        Where compiled boards are kept; in the user's cache folder by default.

    Attributes
    ----------
    faults : LineFaults
        As given; a change takes effect at the next start.
    port : str
        The serial port, while the board runs.
    leds : BoardLeds or None
        The LEDs at the end, after the block.
    """

    def __init__(
        self,
        plan: Plan,
        board: str = "icebreaker",
        faults: LineFaults = LineFaults(),
        *,
        cache: BuildCache | None = None,
    ):
        self.plan = plan
        self.board = BOARDS[board]
        verilog, top = board_verilog(plan, board, divisor=DIVISOR)
        loop = importlib.resources.files("lmu_sim").joinpath("serial_bridge.cpp").read_text()
        header = (
            f"#pragma once\n#define DESIGN_BUTTON {self.board.button}\nnamespace design {{\n"
            f"constexpr int divisor = {DIVISOR};\nconstexpr int divider = {self.board.divider};\n"
            f"constexpr int pressed = {int(not self.board.button_low)};\n}}\n"
        )
        self._program = build_program(SimulatedDesign("board", verilog, top, header, loop), cache)
        self._rest = 1000 + 2 * max(max(frame.interval, frame.latency) for frame in plan.frames)
        self.faults = faults
        self.port = ""
        self.leds: BoardLeds | None = None

    def __enter__(self) -> "SerialBridge":
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop = os.pipe()
        command = [str(self._program), str(self._rest)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._to_board, self._to_host)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop[1], b"x")
        for thread in self._threads:
            thread.join(END_S)
        try:
            self._process.wait(END_S)
            report = self._process.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
        finally:
            self._process.kill()
            self._process.communicate()
            for handle in (self._master, self._slave, *self._stop):
                os.close(handle)
        if kind is None:
            self.leds = self._read(report)

    def press_button(self) -> None:
        """Press the board's reset button and let it go."""
        self._process.send_signal(signal.SIGUSR1)

    def _to_board(self) -> None:
        """Forward what the host writes to the board, with faults, until the end."""
        line = self.faults.line(0)
        while self._stop[0] not in (ready := select.select([self._master, self._stop[0]], [], [])[0]):
            data = line(os.read(ready[0], 4096))
            with contextlib.suppress(BrokenPipeError):  # the board ended by itself: its host gets no reply
                self._process.stdin.write(data)  # type: ignore[union-attr]
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdin = None

    def _to_host(self) -> None:
        """Forward what the board sends to the host, with faults, until the board ends."""
        line = self.faults.line(1)
        while data := self._process.stdout.read(4096):  # type: ignore[union-attr]
            os.write(self._master, line(data))

    def _read(self, report: str) -> BoardLeds:
        words = report.split()
        if self._process.returncode or len(words) != 4:
            raise RuntimeError(f"the simulated board failed (status {self._process.returncode}): {report.strip()}")
        word, ready, trouble, cycles = (int(text) for text in words)
        board = self.board
        dark = (1 << board.word_leds) - 1 if board.led_low else 0
        return BoardLeds(word ^ dark, bool(ready) != board.sign_low, bool(trouble) != board.sign_low, cycles)
