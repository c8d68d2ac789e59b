"""Frames through NNgen's Verilog in Icarus: sums, cycles, and what went in and out in every cycle."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.tools import ToolError, find_icarus, run_tool
from rams import Ram

__all__ = ["CLOCK", "TOP", "Layout", "Trace", "lay_out", "part_names", "run_bench"]

IntArray = NDArray[np.int64]

CLOCK, TOP = "CLK", "nngen"
ALIGNED = 64
"""Bytes that frames and sums begin at a multiple of."""

PART = 32
"""Bits of a port that are one number."""

LIMIT = 1_000_000
"""Cycles after which a simulation is given up."""

PORT = re.compile(r"^  (input|output)(?: reg)? (?:\[(\d+)-1:0\] )?(\w+)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Trace:
    """What went in and out of the design without its RAMs.

    Parameters
    ----------
    frame : ndarray of int64, shape (cycles,)
        Number of the frame that is computed; -1 before the first.
    inputs, outputs : dict of str to ndarray of int64, shape (cycles,)
        By port of the design without RAMs, as unsigned numbers; -1 where the Verilog has an undefined bit. Ports of
        more than `PART` bits are in parts, the lowest first: see `part_names`.
    sums : ndarray of int64, shape (frames, rows)
        What the design computed.
    words_read, words_written : int
        Accesses to the memory outside, all frames together.
    """

    frame: IntArray
    inputs: dict[str, IntArray]
    outputs: dict[str, IntArray]
    sums: IntArray
    words_read: int
    words_written: int


@dataclass(frozen=True)
class Layout:
    """The memory outside.

    Parameters
    ----------
    words : ndarray of int64, shape (words,)
        Of 32 bits, with weights and frames in it.
    frame, frame_stride, sums, sums_stride : int
        Addresses and distances in bytes.
    """

    words: IntArray
    frame: int
    frame_stride: int
    sums: int
    sums_stride: int


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def lay_out(found: dict[str, Any], frames: IntArray, width: int, rows: int) -> Layout:
    """Put weights and frames into the memory outside, frames behind the weights, sums behind the frames.

    Parameters
    ----------
    found : dict
        ``map.json`` of `generate.py`.
    frames : ndarray of int64, shape (frames, columns)
        Integers.
    width : {8, 16}
        Bits of each.
    rows : int
        Of the weights.
    """
    stride, wide = _aligned(frames.shape[1] * width // 8), _aligned(4 * rows)
    first = _aligned(found["weights"] + len(found["bytes"]))
    sums = first + len(frames) * stride
    memory = np.zeros(sums + len(frames) * wide, dtype=np.uint8)
    memory[found["weights"] : found["weights"] + len(found["bytes"])] = found["bytes"]
    for index, frame in enumerate(frames):
        data = frame.astype(f"<i{width // 8}").view(np.uint8)
        memory[first + index * stride :][: data.size] = data
    return Layout(memory.view("<u4").astype(np.int64), first, stride, sums, wide)


def _signals(verilog: str, rams: list[Ram]) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
    """Inputs and outputs of the design without RAMs: name in the Verilog's hierarchy, and bits, by port."""
    header = re.search(rf"^module {TOP}\n\(\n(.*?)^\);", verilog, re.MULTILINE | re.DOTALL)
    if header is None:
        raise ValueError(f"the Verilog must hold a module {TOP}")
    sides: dict[str, dict[str, tuple[str, int]]] = {"input": {}, "output": {}}
    for direction, bits, name in PORT.findall(header[1]):
        if name != CLOCK:
            sides[direction][name] = (f"dut.{name}", int(bits or 1))
    for ram in rams:
        for name, (direction, bits) in ram.signals.items():
            side = "input" if direction == "output" else "output"
            sides[side][f"cut_{name}"] = (f"dut.{name}", bits)
    return sides["input"], sides["output"]


def part_names(name: str, bits: int) -> list[tuple[str, int, int]]:
    """Parts of a port: name, first bit, number of bits."""
    if bits <= PART:
        return [(name, 0, bits)]
    return [(f"{name}.{first // PART}", first, min(PART, bits - first)) for first in range(0, bits, PART)]


def _columns(text: NDArray[np.uint8], signals: dict[str, tuple[str, int]]) -> dict[str, IntArray]:
    """Numbers from binary digits, shape (cycles, digits), highest first."""
    digit, known = (text == ord("1")).astype(np.int64), np.isin(text, (ord("0"), ord("1")))
    found, end = {}, 0
    for port, (_, width) in signals.items():
        end += width
        for name, first, bits in part_names(port, width):
            part = slice(end - first - bits, end - first)
            values = digit[:, part] @ (np.int64(1) << np.arange(bits - 1, -1, -1, dtype=np.int64))
            found[name] = np.where(known[:, part].all(axis=1), values, -1)
    return found


def run_bench(verilog: str, rams: list[Ram], layout: Layout, frames: int, rows: int, folder: Path) -> Trace:
    """Simulate NNgen's Verilog, RAMs included.

    Parameters
    ----------
    verilog : str
        As NNgen writes it.
    rams : list of Ram
        Of it.
    layout : Layout
        From `lay_out`.
    frames, rows : int
        Number of frames, and of sums of each.
    folder : Path
        For the files of the simulation.

    Raises
    ------
    ToolError
        If Icarus is missing, or the simulation does not end.
    """
    inputs, outputs = _signals(verilog, rams)
    defines = {
        "FRAMES": frames, "WORDS": layout.words.size, "LIMIT": LIMIT,
        "FRAME": layout.frame, "FRAME_STRIDE": layout.frame_stride,
        "SUMS": layout.sums, "SUMS_STRIDE": layout.sums_stride,
    }  # fmt: skip
    listed = {"INPUTS": inputs, "OUTPUTS": outputs}
    lines = [f"`define {name} {value}" for name, value in defines.items()]
    lines += [f"`define {name} {{{', '.join(one for one, _ in side.values())}}}" for name, side in listed.items()]
    (folder / "trace.vh").write_text("\n".join(lines) + "\n")
    (folder / "memory.hex").write_text("".join(f"{word:08x}\n" for word in layout.words.tolist()))
    (folder / "nngen.v").write_text(verilog)
    shutil.copyfile(Path(__file__).with_name("bench.v"), folder / "bench.v")
    icarus = find_icarus()
    vvp = icarus._replace(command=[str(Path(icarus.command[0]).with_name("vvp"))])
    run_tool(icarus, ["-g2005", "-I.", "-s", "bench", "-o", "bench.vvp", "bench.v", "nngen.v"], folder)
    printed = run_tool(vvp, ["-n", "bench.vvp"], folder).splitlines()
    counts = printed[-1].split() if printed else []
    if len(counts) != 2:
        raise ToolError(f"the simulation of NNgen's design failed: {' '.join(printed[-1:])}")
    sums = [line for line in (folder / "sums.hex").read_text().splitlines() if not line.startswith("//")]
    words = np.array([int(word, 16) for line in sums for word in line.split()], dtype=np.uint32)
    lines = (folder / "trace.txt").read_bytes()
    text = np.frombuffer(lines, dtype=np.uint8).reshape(-1, lines.index(b"\n") + 1)
    split = 9 + sum(bits for _, bits in inputs.values())
    return Trace(
        frame=np.array([int(bytes(one)) for one in text[:, :8]]),
        inputs=_columns(text[:, 9:split], inputs),
        outputs=_columns(text[:, split + 1 : -1], outputs),
        sums=words.view(np.int32).reshape(frames, -1)[:, :rows].astype(np.int64),
        words_read=int(counts[0]),
        words_written=int(counts[1]),
    )
