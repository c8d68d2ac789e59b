"""SRAM macros of a library: which pin does what."""

from dataclasses import dataclass

from lmu_hw.cells.library import Cell

__all__ = ["Macro", "find_macro"]

CLOCK, ENABLE, READ, WRITE = "A_CLK", "A_MEN", "A_REN", "A_WEN"
"""Pins of IHP's single-port macros, after the Verilog models and data sheets in ``libs.ref/sg13g2_sram`` of the
IHP-Open-PDK (Apache-2.0): all active high, as is ``A_BM``, which enables the write of each bit."""

TIED_HIGH = ("A_DLY",)
"""The data sheets ask for it: with the other setting of the internal delay some macros do not work."""


@dataclass(frozen=True)
class Macro:
    """A single-port memory macro.

    It acts at a rising edge of the clock while the enable is high. A high `write` stores the bits of the word whose
    mask is high. A high `read` puts the word on `data_out`, where it stays until the next read.

    Parameters
    ----------
    cell : str
        Name of the library's cell.
    depth, width : int
        Words, and bits of a word.
    clock, enable, read, write : str
        Pins, active high.
    address, data_in, data_out : tuple of str
        Pins by bit, lowest first.
    mask : tuple of str
        Write enable of each bit; empty if there are none.
    ties : dict of str to int
        All other inputs, and the level at which each is to be held: self-test off, delays as the data sheet asks.
    """

    cell: str
    depth: int
    width: int
    clock: str
    enable: str
    read: str
    write: str
    address: tuple[str, ...]
    data_in: tuple[str, ...]
    mask: tuple[str, ...]
    data_out: tuple[str, ...]
    ties: dict[str, int]


def _bus(cell: Cell, name: str, width: int) -> tuple[str, ...]:
    """Pins of a bus, lowest bit first; empty if one is missing."""
    pins = tuple(f"{name}[{bit}]" for bit in range(width))
    return pins if all(pin in cell.pins for pin in pins) else ()


def find_macro(cell: Cell) -> Macro | None:
    """Roles of the pins of a single-port SRAM macro.

    Parameters
    ----------
    cell : Cell
        Any.

    Returns
    -------
    Macro or None
        None if it is not a memory, or one whose pins are not known.
    """
    if cell.memory is None or cell.memory.kind != "ram":
        return None
    depth, width = 1 << cell.memory.address_width, cell.memory.word_width
    address = _bus(cell, "A_ADDR", cell.memory.address_width)
    data_in, mask, data_out = (_bus(cell, name, width) for name in ("A_DIN", "A_BM", "A_DOUT"))
    if not (address and data_in and data_out) or not cell.pins.keys() >= {CLOCK, ENABLE, READ, WRITE}:
        return None
    used = {CLOCK, ENABLE, READ, WRITE, *address, *data_in, *mask}
    ties = {pin: int(pin in TIED_HIGH) for pin in cell.inputs if pin not in used}
    return Macro(cell.name, depth, width, CLOCK, ENABLE, READ, WRITE, address, data_in, mask, data_out, ties)
