"""Boards that an accelerator runs on: their tops, pins and constraints, and the host's side of their link."""

from lmu_hw.boards.board import BAUD, BOARDS, Board
from lmu_hw.boards.client import BoardClient, BoardStatus, LinkError, Result
from lmu_hw.boards.constraints import constraints
from lmu_hw.boards.top import board_verilog, design_number
from lmu_hw.boards.write import write_board

__all__ = [
    "BAUD",
    "BOARDS",
    "Board",
    "BoardClient",
    "BoardStatus",
    "LinkError",
    "Result",
    "board_verilog",
    "constraints",
    "design_number",
    "write_board",
]
