"""From a quantized model to a planned accelerator, and from there to Verilog."""

import os
from pathlib import Path

from lmu_hw.boards import BAUD, write_board
from lmu_hw.export.bundle import write_bundle
from lmu_hw.export.emit import TOP, emit
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.plan.plan import Plan, make_plan
from lmu_kit.frames import Clips, as_clips

__all__ = ["accelerator", "write_board_top", "write_replay", "write_verilog"]


def accelerator(model: QuantizedModel, config: AcceleratorConfig | None = None) -> Plan:
    """Plan an accelerator: what it computes, where every word lies, and in which cycle it is read.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    config : AcceleratorConfig, optional
        Lanes, memories, interface and levers; `AcceleratorConfig.frugal` (16 lanes, weights as constants) if not given.

    Returns
    -------
    Plan
        Exact cycles, accesses and memory bits; `Plan.report` gives them as a dict.

    Raises
    ------
    ValueError
        If the model and the configuration exclude each other.
    """
    return make_plan(model, AcceleratorConfig.frugal() if config is None else config)


def write_verilog(plan: Plan, folder: str | os.PathLike[str], *, name: str = TOP) -> list[Path]:
    """Write the accelerator as Verilog.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    folder : path-like
        Made if it does not exist.
    name : str
        Name of the top module and of the files: a plain Verilog identifier that is no keyword.

    Returns
    -------
    list of Path
        ``NAME.v``, a wrapper (AXI or SPI interface), ``NAME.weights`` (weights in RAM), ``NAME.core`` (FuseSoC),
        ``NAME.xml`` (IP-XACT) and ``NAME.json`` (manifest); each is written whole or not at all, the manifest last.

    Raises
    ------
    ValueError
        If the name is none, or the wrapper has no room for the model.
    """
    return emit(plan, Path(folder), name)


def write_board_top(plan: Plan, board: str, folder: str | os.PathLike[str], *, baud: int = BAUD) -> list[Path]:
    """Write the top of a board with the accelerator in it, and the board's constraints.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    board : str
        One of `lmu_hw.boards.BOARDS`.
    folder : path-like
        Made if it does not exist.
    baud : int
        Bits per second of the serial line.

    Returns
    -------
    list of Path
        The files.
    """
    return write_board(plan, board, Path(folder), baud)


def write_replay(plan: Plan, frames: Clips, folder: str | os.PathLike[str], *, name: str = TOP) -> list[Path]:
    """Write a replay that needs no Python: Verilog, frames, every expected value, a test bench and a Makefile.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    frames : FrameSet, ndarray or sequence of ndarray
        Clips, each of shape (T, inputs).
    folder : path-like
        Made if it does not exist.
    name : str
        Name of the accelerator's module.

    Returns
    -------
    list of Path
        The files.
    """
    return write_bundle(plan, as_clips(frames), Path(folder), name)
