"""Constraints files of the boards, in the languages of their tools."""

from collections.abc import Callable

from lmu_hw.boards.board import BOARDS, Board

__all__ = ["SUFFIXES", "VIVADO_SCRIPT", "constraints"]

SUFFIXES = {"icebreaker": "pcf", "ulx3s": "lpf", "tangnano9k": "cst", "artya7": "xdc"}
"""Ends of the files' names."""


def constraints(board: str) -> str:
    """Text of ``constraints/BOARD.SUFFIX``: the pin of each port, and the clock where the language tells it.

    Parameters
    ----------
    board : str
        Name of a board.
    """
    definition = BOARDS[board]
    comment = "//" if SUFFIXES[board] == "cst" else "#"
    lines = [
        f"{comment} {definition.title}, {definition.device}: pins of the top lmu_{board}.",
        f"{comment} Made from lmu_hw/boards/board.py; never edited. Sources of the pins:",
        *(f"{comment}   {source}" for source in definition.sources),
        "",
    ]
    return "\n".join([*lines, *_WRITERS[SUFFIXES[board]](definition), ""])


def _pcf(board: Board) -> list[str]:
    """For nextpnr-ice40: `set_io`, and nextpnr's own `set_frequency` in MHz."""
    lines = [f"set_frequency clk {board.oscillator_hz / 1e6:g}"]
    for pin in board.pins:
        pull = " -pullup yes" if pin.pull == "up" else ""
        lines.append(f"set_io{pull} {pin.port} {pin.site}")
    return lines


def _lpf(board: Board) -> list[str]:
    """Lattice's preferences, for nextpnr-ecp5."""
    lines = [f'FREQUENCY PORT "clk" {board.oscillator_hz / 1e6:g} MHZ;']
    for pin in board.pins:
        pull = f" PULLMODE={pin.pull.upper() or 'NONE'}"
        lines.append(f'LOCATE COMP "{pin.port}" SITE "{pin.site}";')
        lines.append(f'IOBUF PORT "{pin.port}" IO_TYPE={pin.standard}{pull};')
    return lines


def _cst(board: Board) -> list[str]:
    """Gowin's physical constraints; nextpnr takes the clock on its command line."""
    lines = []
    for pin in board.pins:
        pull = f" PULL_MODE={pin.pull.upper() or 'NONE'}"
        lines.append(f'IO_LOC "{pin.port}" {pin.site};')
        lines.append(f'IO_PORT "{pin.port}" IO_TYPE={pin.standard}{pull};')
    return lines


def _xdc(board: Board) -> list[str]:
    """For Vivado; the divided clock is the last bit of the divider. Never run."""
    divided = f"[get_pins {{divided_reg[{board.divider.bit_length() - 2}]/Q}}]"
    lines = [
        "# This project has no Vivado: these constraints were never run.",
        f"create_clock -name oscillator -period {1e9 / board.oscillator_hz:g} [get_ports clk]",
        f"create_generated_clock -name divided -source [get_ports clk] -divide_by {board.divider} {divided}",
        "set_property CFGBVS VCCO [current_design]",
        "set_property CONFIG_VOLTAGE 3.3 [current_design]",
    ]
    for pin in board.pins:
        lines.append(
            f"set_property -dict {{PACKAGE_PIN {pin.site} IOSTANDARD {pin.standard}}} [get_ports {{{pin.port}}}]"
        )
    return lines


VIVADO_SCRIPT = """\
# Builds the top of the Arty A7: vivado -mode batch -source artya7.tcl, beside lmu_artya7.v and artya7.xdc, which
# `lmu-hw verilog MODEL --board artya7 --out DIR` writes. This project has no Vivado: the script was never run.
read_verilog lmu_artya7.v
read_xdc artya7.xdc
synth_design -top lmu_artya7 -part xc7a35ticsg324-1L
opt_design
place_design
route_design
report_utilization -file utilization.rpt
report_timing_summary -file timing.rpt
write_bitstream -force lmu_artya7.bit
"""
"""Text of ``constraints/artya7.tcl``, which is as untried as ``artya7.xdc``."""

_WRITERS: dict[str, Callable[[Board], list[str]]] = {"pcf": _pcf, "lpf": _lpf, "cst": _cst, "xdc": _xdc}
