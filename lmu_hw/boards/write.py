"""Files of a board's top."""

from pathlib import Path

from lmu_hw.boards.board import BAUD
from lmu_hw.boards.constraints import SUFFIXES, VIVADO_SCRIPT, constraints
from lmu_hw.boards.top import board_verilog
from lmu_hw.files import write_whole
from lmu_hw.plan.plan import Plan

__all__ = ["write_board"]


def write_board(plan: Plan, board: str, directory: Path, baud: int = BAUD) -> list[Path]:
    """Write ``lmu_BOARD.v``, the constraints ``BOARD.SUFFIX`` and, for Vivado, ``BOARD.tcl``.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    board : str
        Name of the board.
    directory : Path
        Made if it does not exist.
    baud : int
        Bits a second on the serial line.

    Returns
    -------
    list of Path
        The files; each appears whole or not at all.
    """
    verilog, top = board_verilog(plan, board, baud)
    files = {f"{top}.v": verilog, f"{board}.{SUFFIXES[board]}": constraints(board)}
    if SUFFIXES[board] == "xdc":
        files[f"{board}.tcl"] = VIVADO_SCRIPT
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_whole(directory / name, text.encode())
    return [directory / name for name in files]
