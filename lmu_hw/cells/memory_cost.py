"""Cost of memories: SRAM macros from their Liberty files, flip-flops estimated from the library's smallest cells.

The estimate is good enough to find the break-even, and used for nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lmu_hw.cells.library import Cell, Library, Pin
from lmu_hw.cells.special import find_clock_gate, find_flip_flop, find_nand, mean_leakage
from lmu_hw.cells.sram import Macro

__all__ = ["Cost", "MemoryUsage", "clock_energy", "flip_flop_cost", "macro_cost", "multiplexer_cost"]

SLEW = 50e-12
"""Input transition time in seconds at which energies are looked up; macros' do not depend on it."""

MUX_NANDS = 3
"""NAND gates that a 2:1 multiplexer is counted as."""


@dataclass(frozen=True)
class MemoryUsage:
    """Use of a memory.

    Parameters
    ----------
    clock : float
        Clock frequency in hertz.
    accesses : float
        Reads and writes per clock cycle, 0 to 1.
    writes : float
        Part of the accesses that are writes, 0 to 1.
    moves : float
        Clock cycles without an access in which the address moves all the same, because other memories are accessed
        with it, as a part of all cycles: 0 to 1, with the accesses.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    clock: float = 1e6
    accesses: float = 1.0
    writes: float = 0.0
    moves: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.clock < float("inf"):
            raise ValueError(f"clock must be a positive frequency in hertz, not {self.clock!r}")
        for name in ("accesses", "writes", "moves"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0 to 1, not {getattr(self, name)!r}")
        if self.accesses + self.moves > 1:
            raise ValueError(f"accesses and moves must be at most 1 together, not {self.accesses!r} and {self.moves!r}")


@dataclass(frozen=True)
class Cost:
    """Cost of a memory.

    Parameters
    ----------
    read, write : float
        Energy of an access in joule.
    idle : float
        Energy of a clock cycle in which nothing moves, in joule.
    aside : float
        Energy of a clock cycle in which only the address moves, for another bank or memory, in joule.
    leakage : float
        In watt.
    area : float
        In square micrometre, as the library counts it.
    """

    read: float = 0.0
    write: float = 0.0
    idle: float = 0.0
    aside: float = 0.0
    leakage: float = 0.0
    area: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def scaled(self, factor: float) -> "Cost":
        """Cost of several."""
        return Cost(*(factor * getattr(self, name) for name in self.__dataclass_fields__))

    def accessed(self, part: float) -> "Cost":
        """Cost as a bank that gets a part of the accesses."""
        away = (1 - part) * self.aside
        return replace(self, read=part * self.read + away, write=part * self.write + away)

    def power(self, usage: MemoryUsage) -> float:
        """Mean power in watt."""
        access = (1 - usage.writes) * self.read + usage.writes * self.write
        still = 1 - usage.accesses - usage.moves
        return usage.clock * (usage.accesses * access + usage.moves * self.aside + still * self.idle) + self.leakage


def _edges(pin: Pin, duty: Mapping[str, np.ndarray]) -> float:
    """Energy of one rising and one falling edge of an input, with the other pins at the given probabilities."""
    total = 0.0
    for power in pin.power:
        if power.related:
            continue
        known = power.when is None or all(name in duty for name in power.when.pins)
        part = 0.5 if not known else 1.0 if power.when is None else float(power.when.probability(duty))
        total += part * sum(float(table(SLEW, 0.0)) for table in (power.rise, power.fall) if table is not None)
    return total


def _capacitance(pin: Pin) -> float:
    return (pin.rise_capacitance + pin.fall_capacitance) / 2


def _moving(cell: Cell, pins: tuple[str, ...], duty: Mapping[str, np.ndarray], volts: float) -> float:
    """Energy of pins of which each changes with probability one half: in the cell, and of their capacitances."""
    inner = sum(_edges(cell.pins[name], duty) for name in pins) / 4
    return inner + sum(0.5 * _capacitance(cell.pins[name]) * volts for name in pins) / 2


def _duty(macro: Macro, enable: int, read: int, write: int) -> dict[str, np.ndarray]:
    levels = {**macro.ties, macro.enable: enable, macro.read: read, macro.write: write}
    return {name: np.asarray(float(level)) for name, level in levels.items()}


def clock_energy(cell: Cell, macro: Macro, enable: int, read: int, write: int) -> float:
    """Internal energy of one clock cycle of a macro in joule, with its control pins at the given levels."""
    return _edges(cell.pins[macro.clock], _duty(macro, enable, read, write))


def macro_cost(cell: Cell, macro: Macro) -> Cost:
    """Find the cost of a macro from its Liberty file: the clock edge in each state, half of address and data moving.

    Parameters
    ----------
    cell, macro : Cell, Macro
        The cell and its pins.

    Returns
    -------
    Cost
        Cost of one macro.
    """
    volts = cell.pins[macro.clock].voltage ** 2

    def state(enable: int, read: int, write: int) -> tuple[float, float, float]:
        """Energy of the clock, the address and the data."""
        duty = _duty(macro, enable, read, write)
        data = macro.width * _moving(cell, macro.data_in[:1], duty, volts)
        clock = clock_energy(cell, macro, enable, read, write) + _capacitance(cell.pins[macro.clock]) * volts
        return clock, _moving(cell, macro.address, duty, volts), data

    read, write, idle = state(1, 1, 0), state(1, 0, 1), state(0, 0, 0)
    return Cost(
        read=read[0] + read[1],
        write=sum(write),
        idle=idle[0],
        aside=idle[0] + idle[1],
        leakage=mean_leakage(cell),
        area=cell.area,
    )


def flip_flop_cost(library: Library, depth: int, width: int) -> Cost:
    """Estimate the cost of a memory of flip-flops: a gated clock for every word, a tree of multiplexers for reading.

    The address is taken to move by one: half of the multiplexers next to the flip-flops change their select input, and
    half of those their output.

    Parameters
    ----------
    library : Library
        Standard cells.
    depth, width : int
        Words, and bits of a word.

    Returns
    -------
    Cost
        Cost of the whole memory.
    """
    flop, gate, nand = find_flip_flop(library), find_clock_gate(library), find_nand(library)
    volts = library.voltage**2
    first = nand.pins[nand.inputs[0]]
    load = _capacitance(first)
    output = nand.pins[nand.outputs[0]]
    tables = [table for power in output.power for table in (power.rise, power.fall) if table is not None]
    change = float(np.mean([table(SLEW, load) for table in tables])) if tables else 0.0
    change += 0.5 * load * volts
    ticking = flop.cell.pins[flop.clock]
    tick = _edges(ticking, {}) + _capacitance(ticking) * volts
    bits = depth * width
    if gate is None:
        clock, count, gate_leakage, gate_area = bits * tick, 0, 0.0, 0.0
    else:
        cell = library.cells[gate.cell]
        pin = cell.pins[gate.clock]
        duty = {gate.enable: np.zeros(())}
        clock, count = depth * (_edges(pin, duty) + _capacitance(pin) * volts), depth
        gate_leakage, gate_area = mean_leakage(cell), cell.area
    multiplexers = bits - width
    moved = clock + multiplexers / 4 * MUX_NANDS * change  # whether the word is wanted or not
    return Cost(
        read=moved,
        write=clock + width * tick,
        idle=clock,
        aside=moved,
        leakage=bits * mean_leakage(flop.cell) + multiplexers * MUX_NANDS * mean_leakage(nand) + count * gate_leakage,
        area=bits * flop.cell.area + multiplexers * MUX_NANDS * nand.area + count * gate_area,
    )


def multiplexer_cost(library: Library, width: int) -> Cost:
    """Find the cost of one more bank at the read multiplexer, whose outputs move with half of the reads."""
    nand = find_nand(library)
    load = _capacitance(nand.pins[nand.inputs[0]])
    moved = width / 2 * MUX_NANDS * load * library.voltage**2
    return Cost(read=moved, leakage=width * MUX_NANDS * mean_leakage(nand), area=width * MUX_NANDS * nand.area)
