"""The batch simulator: many clips through the compiled Verilog, every logit and decision compared."""

import contextlib
import importlib.resources
import itertools
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.export.emit import to_verilog, weight_image
from lmu_hw.export.names import TOP
from lmu_hw.model.golden import Golden, decide
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent
from lmu_sim.build_cache import BuildCache
from lmu_sim.verilated import SimulatedDesign, build_program

__all__ = ["BatchMismatch", "BatchReport", "BatchResult", "BatchSimulator", "compare_batch", "verify_batch"]

IntArray = NDArray[np.int64]

GOLDEN_CLIPS = 256
"""Clips that the golden model runs at once."""


@dataclass(frozen=True)
class BatchResult:
    """Outputs of a batch.

    Parameters
    ----------
    logits : ndarray of int64, shape (N, T_out, labels)
        Every logit of every clip.
    decisions : ndarray of int64, shape (N, T_out, 2)
        Label and score.
    cycles : ndarray of int64, shape (N,)
        Clock cycles of each clip, from its first transfer to its last.
    seconds : float
        Time that the simulation took, the build not counted.
    """

    logits: IntArray
    decisions: IntArray
    cycles: IntArray
    seconds: float

    @property
    def cycles_per_second(self) -> float:
        """Simulated clock cycles in a second, all processes together."""
        return float(self.cycles.sum()) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class BatchMismatch:
    """A value that differs from the golden model's.

    Parameters
    ----------
    kind : {"logit", "label", "score"}
        The value that differs.
    clip, frame : int
        Clip, and input frame of the clip, from 0.
    label : int
        Index of the logit; 0 for a label or a score.
    expected, got : int
        Values of the golden model and of the hardware.
    """

    kind: str
    clip: int
    frame: int
    label: int
    expected: int
    got: int

    def __str__(self) -> str:
        name = f"logit {self.label}" if self.kind == "logit" else self.kind
        return f"clip {self.clip}, frame {self.frame}, {name}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class BatchReport:
    """Verdict on a batch.

    Parameters
    ----------
    clips, frames : int
        Clips, and input frames of each.
    compared, differing : int
        Values compared (logits, labels, scores), and how many differ.
    first : BatchMismatch or None
        The first difference, by clip and frame.
    result : BatchResult
        Outputs of the hardware.
    """

    clips: int
    frames: int
    compared: int
    differing: int
    first: BatchMismatch | None
    result: BatchResult

    @property
    def passed(self) -> bool:
        """Whether values were compared and none differs."""
        return self.compared > 0 and self.differing == 0

    def __str__(self) -> str:
        speed = f"{self.result.cycles.sum():,} cycles at {self.result.cycles_per_second / 1e6:.1f} M/s"
        verdict = "all equal" if self.passed else f"{self.differing:,} differ"
        first = "" if self.first is None else f"; first: {self.first}"
        return f"{self.clips:,} clips of {self.frames} frames, {speed}: {self.compared:,} values, {verdict}{first}"


class BatchSimulator:
    """An accelerator compiled to a program that runs clips at full speed.

    Every clip starts from the zero state. Under the ``keep`` policy the accelerator is reset before each clip. Under
    ``pulse`` the first element of each clip comes with a pulse on ``clear``, and under ``utterance`` the last element
    of each is marked ``end``, with no reset between the clips. Inputs are always valid and outputs always ready. With
    `frames_per_fetch`, frames of zeros fill the last round of each clip; the outputs of these frames are dropped.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    verilog : str, optional
        Verilog to simulate, with the ports of the plan's accelerator; the emitted one if not given.
    cache : BuildCache, optional
        Where programs are kept; in the user's cache folder by default.

    Raises
    ------
    ToolError
        If Verilator or the C++ compiler is missing or fails.
    """

    def __init__(self, plan: Plan, *, verilog: str | None = None, cache: BuildCache | None = None):
        self.plan = plan
        text = to_verilog(plan) if verilog is None else verilog
        loop = importlib.resources.files("lmu_sim").joinpath("batch.cpp").read_text()
        self.program = build_program(SimulatedDesign("batch", text, TOP, _design_header(plan), loop), cache)

    def run(self, frames: ArrayLike, processes: int = 2, progress: Progress = silent) -> BatchResult:
        """Run clips.

        Parameters
        ----------
        frames : array_like of int, shape (N, T, inputs)
            Integers of the model's input format.
        processes : int
            Programs that run side by side, each with a part of the clips; at least 1.
        progress : callable
            Called with ``simulate``, the clips done, and all clips.

        Returns
        -------
        BatchResult
            Every output, in the order of the clips.

        Raises
        ------
        TypeError
            If the frames are not integers.
        ValueError
            If the frames have another shape or a value outside the input format.
        RuntimeError
            If the hardware hangs or gives more or fewer outputs than it should.
        """
        clips = _checked_frames(self.plan, frames)
        if processes < 1:
            raise ValueError(f"processes must be a positive integer, not {processes!r}")
        kept, labels = clips.shape[1] // self.plan.period, self.plan.model.outputs
        if not clips.shape[1]:
            count = len(clips)
            no_logits, no_decisions = np.zeros((count, 0, labels), np.int64), np.zeros((count, 0, 2), np.int64)
            return BatchResult(no_logits, no_decisions, np.zeros(count, np.int64), 0.0)
        clips = np.pad(clips, ((0, 0), (0, -clips.shape[1] % self.plan.config.frames_per_fetch), (0, 0)))
        begun = time.monotonic()
        records = self._records(clips, processes, progress)
        seconds = time.monotonic() - begun
        logits, decisions = (records[name][:, :kept].astype(np.int64) for name in ("logits", "decisions"))
        return BatchResult(logits, decisions, records["cycles"].astype(np.int64), seconds)

    def _records(self, clips: IntArray, processes: int, progress: Progress) -> NDArray[np.void]:
        """Run clips of whole rounds; a record for each clip, as the programs wrote them."""
        count, steps, _ = clips.shape
        due = steps // self.plan.period
        labels = self.plan.model.outputs
        record = np.dtype([("logits", "<i4", (due, labels)), ("decisions", "<i4", (due, 2)), ("cycles", "<i8")])
        bounds = np.linspace(0, count, min(processes, max(1, count)) + 1).astype(int).tolist()
        with tempfile.TemporaryDirectory(prefix="lmu-batch-") as name:
            folder = Path(name)
            clips.astype("<i4").tofile(folder / "frames")
            image = []
            if self.plan.config.weights is WeightStore.RAM:
                _load_words(self.plan).tofile(folder / "image")
                image = ["image"]
            commands = []
            for first, last in itertools.pairwise(bounds):
                numbers = (first, last - first, steps, due, _stall_limit(self.plan))
                commands.append([str(self.program), "frames", f"out{first}", *map(str, numbers), *image])
            _run_all(commands, folder, count, progress)
            records = np.concatenate([np.fromfile(folder / f"out{first}", record) for first in bounds[:-1]])
        if len(records) != count:
            raise RuntimeError(f"the simulation gave {len(records)} clips, not {count}")
        return records


def compare_batch(plan: Plan, frames: ArrayLike, result: BatchResult) -> BatchReport:
    """Compare every logit and decision with the golden model.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : array_like of int, shape (N, T, inputs)
        Its input frames.
    result : BatchResult
        Its outputs.

    Returns
    -------
    BatchReport
        The verdict.

    Raises
    ------
    ValueError
        If the outputs are not those of so many frames.
    """
    clips = _checked_frames(plan, frames)
    golden = Golden(plan.model)
    compared = differing = 0
    first = None
    for start in range(0, len(clips), GOLDEN_CLIPS):
        part = slice(start, start + GOLDEN_CLIPS)
        logits = golden.run(clips[part])["logits"]
        expected = np.concatenate([logits, np.stack(decide(logits), axis=-1)], axis=2)
        if result.logits[part].shape != logits.shape:
            raise ValueError(f"the logits must have shape {logits.shape}, not {result.logits[part].shape}")
        got = np.concatenate([result.logits[part], result.decisions[part]], axis=2)
        differs = got != expected
        compared += differs.size
        differing += int(np.count_nonzero(differs))
        if first is None and differs.any():
            clip, output, column = (int(index) for index in np.argwhere(differs)[0])
            labels = plan.model.outputs
            kind = "logit" if column < labels else ("label", "score")[column - labels]
            first = BatchMismatch(
                kind,
                start + clip,
                (output + 1) * plan.period - 1,
                column if column < labels else 0,
                int(expected[clip, output, column]),
                int(got[clip, output, column]),
            )
    return BatchReport(len(clips), clips.shape[1], compared, differing, first, result)


def verify_batch(
    plan: Plan,
    frames: ArrayLike,
    *,
    processes: int = 2,
    progress: Progress = silent,
    verilog: str | None = None,
    cache: BuildCache | None = None,
) -> BatchReport:
    """Run clips through the compiled Verilog and compare everything with the golden model.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : array_like of int, shape (N, T, inputs)
        Integers of the model's input format.
    processes : int
        Programs that run side by side.
    progress : callable
        Called with ``simulate``, the clips done, and all clips.
    verilog : str, optional
        Verilog to simulate; the emitted one if not given.
    cache : BuildCache, optional
        Where programs are kept.

    Returns
    -------
    BatchReport
        The verdict.
    """
    simulator = BatchSimulator(plan, verilog=verilog, cache=cache)
    return compare_batch(plan, frames, simulator.run(frames, processes, progress))


def _checked_frames(plan: Plan, frames: ArrayLike) -> IntArray:
    array = np.asarray(frames)
    if array.dtype.kind not in "iu":
        raise TypeError(f"frames must hold integers, not {array.dtype}")
    if array.ndim != 3 or array.shape[2] != plan.model.inputs:
        raise ValueError(f"frames must have shape (clips, T, {plan.model.inputs}), not {array.shape}")
    plan.model.input.check("frame values", array)
    return array.astype(np.int64)


def _design_header(plan: Plan) -> str:
    """C++ header with the ports of the accelerator, for the main loop."""
    state, model = plan.config.state, plan.model
    words = sum(memory.depth for memory in (*plan.weight_memories, plan.parameters))
    defines = {
        "DESIGN_LOADS": plan.config.weights is WeightStore.RAM,
        "DESIGN_PULSE": state is StatePolicy.PULSE,
    }
    constants = {
        "inputs": model.inputs,
        "outputs": model.outputs,
        "input_bits": model.input.width,
        "score_bits": plan.output.width,
        "label_bits": max(1, (model.outputs - 1).bit_length()),
        "load_words": -(-sum(_load_widths(plan)) // 32),
        "load_transfers": words,
    }
    flags = {
        "score_signed": plan.output.signed,
        "marks_end": state is StatePolicy.UTTERANCE,
        "clears_by_reset": state is StatePolicy.KEEP,
    }
    lines = ["#pragma once", *(f"#define {name}" for name, wanted in defines.items() if wanted), "namespace design {"]
    lines += [f"constexpr int {name} = {value};" for name, value in constants.items()]
    lines += [f"constexpr bool {name} = {str(value).lower()};" for name, value in flags.items()]
    return "\n".join([*lines, "}  // namespace design", ""])


def _load_widths(plan: Plan) -> tuple[int, int, int]:
    """Bits of a transfer on the load port: memory, address, data."""
    memories = (*plan.weight_memories, plan.parameters)
    return (
        max(1, (len(memories) - 1).bit_length()),
        max(1, (max(memory.depth for memory in memories) - 1).bit_length()),
        max(memory.width for memory in memories),
    )


def _load_words(plan: Plan) -> NDArray[np.uint32]:
    """The weight image as transfers of the load port, 32 bits a word, low word first."""
    index_bits, address_bits, _ = widths = _load_widths(plan)
    size = 4 * -(-sum(widths) // 32)
    transfers = bytearray()
    for line in weight_image(plan).splitlines():
        memory, address, word = (int(field, 16) for field in line.split())
        transfers += (memory | address << index_bits | word << (index_bits + address_bits)).to_bytes(size, "little")
    return np.frombuffer(bytes(transfers), "<u4")


def _stall_limit(plan: Plan) -> int:
    """Cycles in which something must move: more than a frame of any kind can take."""
    return 1000 + 2 * max(max(frame.interval, frame.latency) for frame in plan.frames)


@contextlib.contextmanager
def _started(commands: list[list[str]], folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Run programs side by side; whatever happens, none outlives the block."""
    running: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            running.append(
                subprocess.Popen(
                    command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
                )
            )
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _run_all(commands: list[list[str]], folder: Path, total: int, progress: Progress) -> None:
    """Run programs side by side to their end; each writes a line for every clip that is done."""
    with _started(commands, folder) as running, selectors.DefaultSelector() as selector:
        for process in running:
            selector.register(process.stdout, selectors.EVENT_READ, process)  # type: ignore[arg-type]
        done = 0
        while selector.get_map():
            for key, _ in selector.select():
                text = os.read(key.fd, 1 << 16)
                if text:
                    done += text.count(b"\n")
                    progress("simulate", done, total)
                else:
                    selector.unregister(key.fileobj)
                    _check_end(key.data)


def _check_end(process: subprocess.Popen[str]) -> None:
    messages = process.stderr.read().strip() if process.stderr is not None else ""
    if process.wait():
        reason = messages.splitlines()[-1] if messages else f"status {process.returncode}, no message"
        raise RuntimeError(f"the simulated accelerator failed: {reason}")
