"""Find special cells of a library: clock gates, constants, and the smallest of a kind."""

import math
import re
from dataclasses import dataclass

from lmu_hw.cells.library import Cell, LibertyError, Library

__all__ = [
    "ClockGateCell",
    "FlipFlop",
    "FullAdder",
    "find_clock_gate",
    "find_constants",
    "find_driver",
    "find_flip_flop",
    "find_full_adder",
    "find_inverter",
    "find_nand",
    "is_inverter",
    "mean_leakage",
]

@dataclass(frozen=True)
class ClockGateCell:
    """An integrated clock gate that passes the clock while its enable, taken while the clock is low, is high.

    Parameters
    ----------
    cell : str
        Name.
    enable, clock, output : str
        Pins.
    test : str
        Scan enable, tied low; nothing if there is none.
    """

    cell: str
    enable: str
    clock: str
    output: str
    test: str


def find_clock_gate(library: Library) -> ClockGateCell | None:
    """Smallest integrated clock gate of a library for rising edges, also if the library marks it ``dont_use``.

    Libraries mark clock gates so to keep logic mapping from instantiating them; that is not how they are used here.

    Parameters
    ----------
    library : Library
        Any.

    Returns
    -------
    ClockGateCell or None
        None if there is none.
    """
    gates: list[tuple[bool, float, ClockGateCell]] = []
    for cell in library.cells.values():
        if not re.fullmatch(r"latch_posedge(_precontrol|_postcontrol)?", cell.clock_gating):
            continue
        roles = {pin.role: pin.name for pin in cell.pins.values() if pin.role}
        if not roles.keys() >= {"enable", "clock", "out"}:
            roles = _guessed_roles(cell)
        if roles.keys() >= {"enable", "clock", "out"}:
            gate = ClockGateCell(cell.name, roles["enable"], roles["clock"], roles["out"], roles.get("test", ""))
            gates.append((bool(gate.test), cell.area, gate))
    return min(gates, key=lambda entry: (entry[0], entry[1], entry[2].cell))[2] if gates else None


def _guessed_roles(cell: Cell) -> dict[str, str]:
    """Roles of a clock gate whose pins the library does not mark completely."""
    roles = {pin.role: pin.name for pin in cell.pins.values() if pin.role}
    inputs = [name for name in cell.inputs if name not in roles.values()]
    if "enable" not in roles and len(inputs) == 1:
        roles["enable"] = inputs[0]
    if "out" not in roles and len(cell.outputs) == 1:
        roles["out"] = cell.outputs[0]
    return roles


def find_constants(library: Library) -> dict[int, tuple[str, str]]:
    """Smallest cells that drive a constant.

    Parameters
    ----------
    library : Library
        Any.

    Returns
    -------
    dict of int to (str, str)
        Cell and pin for 0 and 1, as far as the library has them.
    """
    cells: dict[int, tuple[float, str, str]] = {}
    for cell in library.cells.values():
        if cell.inputs or cell.sequentials:
            continue
        for pin in cell.pins.values():
            text = pin.function.text.strip() if pin.function is not None else ""
            if pin.direction == "output" and text in ("0", "1"):
                entry = (cell.area, cell.name, pin.name)
                cells[int(text)] = min(cells.get(int(text), entry), entry)
    return {value: (name, pin) for value, (_, name, pin) in cells.items()}


@dataclass(frozen=True, eq=False)
class FlipFlop:
    """A flip-flop for rising edges.

    Parameters
    ----------
    cell : Cell
        It.
    clock : str
        Its clock pin.
    """

    cell: Cell
    clock: str


def _smallest_gate(library: Library, pins: int, truth: int) -> Cell | None:
    """Smallest cell that is a function of all of its inputs and has a single output."""
    gates = []
    for cell in library.cells.values():
        if len(cell.inputs) != pins or len(cell.outputs) != 1 or cell.sequentials or cell.dont_use:
            continue
        function = cell.pins[cell.outputs[0]].function
        if function is not None and set(function.pins) == set(cell.inputs) and function.truth == truth:
            gates.append((cell.area, cell.name, cell))
    return min(gates, key=lambda entry: entry[:2])[2] if gates else None


def _needed(cell: Cell | None, library: Library, what: str) -> Cell:
    if cell is None:
        raise LibertyError(f"the library {library.name} has no {what}")
    return cell


def find_inverter(library: Library) -> Cell:
    """Smallest inverter of a library.

    Raises
    ------
    LibertyError
        If there is none.
    """
    return _needed(_smallest_gate(library, 1, 0b01), library, "inverter")


def find_nand(library: Library) -> Cell:
    """Smallest NAND gate with two inputs of a library.

    Raises
    ------
    LibertyError
        If there is none.
    """
    return _needed(_smallest_gate(library, 2, 0b0111), library, "NAND gate with two inputs")


def find_driver(library: Library) -> Cell:
    """Smallest buffer of a library, else inverter.

    Raises
    ------
    LibertyError
        If there is neither.
    """
    buffer = _smallest_gate(library, 1, 0b10)
    return _needed(buffer or _smallest_gate(library, 1, 0b01), library, "buffer or inverter")


def find_flip_flop(library: Library) -> FlipFlop:
    """Smallest flip-flop of a library that takes a data pin at the rising edge of a clock pin.

    Raises
    ------
    LibertyError
        If there is none.
    """
    flip_flops = []
    for cell in library.cells.values():
        if cell.dont_use or len(cell.sequentials) != 1 or cell.sequentials[0].kind != "ff":
            continue
        state = cell.sequentials[0]
        if state.data is None or state.clock is None:
            continue
        plain = len(state.data.pins) == 1 and len(state.clock.pins) == 1 and state.clock.truth == 0b10
        if plain:
            flip_flops.append((cell.area, cell.name, FlipFlop(cell, state.clock.pins[0])))
    if not flip_flops:
        raise LibertyError(f"the library {library.name} has no flip-flop for rising edges")
    return min(flip_flops, key=lambda entry: entry[:2])[2]


@dataclass(frozen=True)
class FullAdder:
    """A cell that adds three bits.

    Parameters
    ----------
    cell : str
        Name.
    inputs : tuple of str
        Its three inputs, which are alike.
    sum, carry : str
        Output pins.
    """

    cell: str
    inputs: tuple[str, ...]
    sum: str
    carry: str


_SUM_TRUTH, _CARRY_TRUTH = 0b10010110, 0b11101000
"""Truth tables of the sum and the carry of three inputs; their order does not matter."""


def find_full_adder(library: Library) -> FullAdder | None:
    """Find the smallest full adder of a library, by its functions.

    Parameters
    ----------
    library : Library
        Any.

    Returns
    -------
    FullAdder or None
        None if no cell gives both the sum and the carry of three inputs, neither of them inverted.
    """
    adders: list[tuple[float, str, FullAdder]] = []
    for cell in library.cells.values():
        if len(cell.inputs) != 3 or len(cell.outputs) != 2 or cell.sequentials or cell.dont_use:
            continue
        outputs: dict[int, str] = {}
        for name in cell.outputs:
            function = cell.pins[name].function
            if function is not None and set(function.pins) == set(cell.inputs):
                outputs[function.truth] = name
        if outputs.keys() == {_SUM_TRUTH, _CARRY_TRUTH}:
            adder = FullAdder(cell.name, cell.inputs, outputs[_SUM_TRUTH], outputs[_CARRY_TRUTH])
            adders.append((cell.area, cell.name, adder))
    return min(adders, key=lambda entry: entry[:2])[2] if adders else None


def is_inverter(cell: Cell) -> bool:
    """Whether a cell is an inverter, also if the library asks synthesis to keep away from it."""
    if len(cell.inputs) != 1 or len(cell.outputs) != 1 or cell.sequentials:
        return False
    function = cell.pins[cell.outputs[0]].function
    return function is not None and function.pins == cell.inputs and function.truth == 0b01


def mean_leakage(cell: Cell) -> float:
    """Leakage of a cell in watt, whatever its state: the general figure, or the mean over the states of each supply."""
    if cell.leakage is not None:
        return cell.leakage
    by_supply: dict[str, list[float]] = {}
    for state in cell.leakages:
        if cell.supplies.get(state.supply, 1.0) > 0:
            by_supply.setdefault(state.supply, []).append(state.power)
    return math.fsum(sum(powers) / len(powers) for powers in by_supply.values())
