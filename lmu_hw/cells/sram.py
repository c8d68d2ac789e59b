"""SRAM macros of a library: which pin does what."""

from dataclasses import dataclass

from lmu_hw.cells.library import Cell, Library

__all__ = ["Macro", "find_macro", "has_macros", "why_unusable"]

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


def _bus(name: str, width: int) -> tuple[str, ...]:
    """Pins of a bus, lowest bit first."""
    return tuple(f"{name}[{bit}]" for bit in range(width))


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
    if cell.memory is None or _missing(cell):
        return None
    depth, width = 1 << cell.memory.address_width, cell.memory.word_width
    address = _bus("A_ADDR", cell.memory.address_width)
    data_in, mask, data_out = (_bus(name, width) for name in ("A_DIN", "A_BM", "A_DOUT"))
    if not cell.pins.keys() >= set(mask):
        mask = ()
    used = {CLOCK, ENABLE, READ, WRITE, *address, *data_in, *mask}
    ties = {pin: int(pin in TIED_HIGH) for pin in cell.inputs if pin not in used}
    return Macro(cell.name, depth, width, CLOCK, ENABLE, READ, WRITE, address, data_in, mask, data_out, ties)


def _missing(cell: Cell) -> str:
    """What a memory lacks of a single-port macro of the known kind; empty if nothing."""
    assert cell.memory is not None
    if cell.memory.kind != "ram":
        return f"it is a {cell.memory.kind or 'memory without a type'}, not a ram"
    address, width = cell.memory.address_width, cell.memory.word_width
    needed = [CLOCK, ENABLE, READ, WRITE, *_bus("A_ADDR", address), *_bus("A_DIN", width), *_bus("A_DOUT", width)]
    missing = [pin for pin in needed if pin not in cell.pins]
    return f"it lacks the pins {', '.join(missing[:4])}{' and others' if len(missing) > 4 else ''}" if missing else ""


def has_macros(library: Library) -> bool:
    """Whether a library has memory macros that can be used, of the process or of a model."""
    return any(find_macro(cell) is not None for cell in library.cells.values())


def why_unusable(library: Library) -> dict[str, str]:
    """Reasons why memory macros of a library cannot be used, by cell."""
    return {
        cell.name: reason
        for cell in library.cells.values()
        if cell.memory is not None and (reason := _missing(cell))
    }
