"""A cell library: what cells cost and how they behave, in SI units."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression

__all__ = [
    "Cell",
    "InternalPower",
    "Leakage",
    "LibertyError",
    "LibertyFileError",
    "Library",
    "MacroMemory",
    "Pin",
    "Sequential",
    "Setup",
    "Table",
    "TimingArc",
]

FloatArray = NDArray[np.float64]


class LibertyError(ValueError):
    """A file is not Liberty, or lacks something that is needed."""


class LibertyFileError(LibertyError):
    """A Liberty file was refused at a place.

    Parameters
    ----------
    path : str or Path
        The file.
    line : int or None
        Line number from 1; None for the file as a whole.
    problem : str
        What is wrong there, and what was expected.
    """

    def __init__(self, path: str | Path, line: int | None, problem: str):
        super().__init__(f"{path}: {problem}" if line is None else f"{path}:{line}: {problem}")
        self.path = Path(path)
        self.line = line
        self.problem = problem


@dataclass(frozen=True, eq=False)
class Table:
    """A value over input transition time and output load.

    Parameters
    ----------
    slews : ndarray of float64, shape (s,)
        Input transition times in seconds, rising; empty if the value does not depend on them.
    loads : ndarray of float64, shape (l,)
        Output loads in farad, rising; empty if the value does not depend on them.
    values : ndarray of float64, shape (max(s, 1), max(l, 1))
        In joule (internal power) or seconds (transition, delay).
    """

    slews: FloatArray
    loads: FloatArray
    values: FloatArray

    def __call__(self, slew: FloatArray | float, load: FloatArray | float) -> FloatArray:
        """Interpolate bilinearly; beyond the ends of an axis its last two points are extended.

        Parameters
        ----------
        slew : ndarray of float64 or float
            Input transition time in seconds.
        load : ndarray of float64 or float
            Output load in farad.

        Returns
        -------
        ndarray of float64
            In the shape of the arguments.
        """
        row, across = _find_interval(self.slews, np.asarray(slew, dtype=float))
        column, along = _find_interval(self.loads, np.asarray(load, dtype=float))
        next_row = np.minimum(row + 1, self.values.shape[0] - 1)
        next_column = np.minimum(column + 1, self.values.shape[1] - 1)
        v = self.values
        near = (1 - along) * v[row, column] + along * v[row, next_column]
        far = (1 - along) * v[next_row, column] + along * v[next_row, next_column]
        return np.asarray((1 - across) * near + across * far)


def _find_interval(axis: FloatArray, value: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Index of the axis point below a value, and its position between that and the next (0 to 1 within the axis)."""
    if axis.size < 2:
        return np.zeros(value.shape, dtype=np.int64), np.zeros(value.shape)
    index = np.clip(np.searchsorted(axis, value, side="right") - 1, 0, axis.size - 2)
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])


@dataclass(frozen=True, eq=False)
class InternalPower:
    """Energy that a cell turns into heat inside when a pin changes.

    Parameters
    ----------
    related : str
        Input pin whose change caused it, or nothing (the pin itself is an input).
    when : Expression or None
        State of the other pins that this energy belongs to.
    rise, fall : Table or None
        Energy in joule of one rising or falling edge of the pin.
    supply : str
        Supply pin that it is drawn from, or nothing.
    """

    related: str
    when: Expression | None
    rise: Table | None
    fall: Table | None
    supply: str


@dataclass(frozen=True, eq=False)
class TimingArc:
    """Delay and transition time from an input to an output.

    Parameters
    ----------
    related : str
        The input.
    sense : str
        ``positive_unate``, ``negative_unate`` or ``non_unate``; nothing if not given.
    kind : str
        Liberty's ``timing_type``, ``combinational`` if not given.
    delay_rise, delay_fall, slew_rise, slew_fall : Table or None
        Delay to, and transition time of, the output's rising and falling edge, in seconds.
    """

    related: str
    sense: str
    kind: str
    delay_rise: Table | None
    delay_fall: Table | None
    slew_rise: Table | None
    slew_fall: Table | None


@dataclass(frozen=True, eq=False)
class Setup:
    """How long before a clock edge an input must be stable.

    Parameters
    ----------
    related : str
        The clock pin.
    rising : bool
        Whether the clock's rising edge is meant, not the falling one.
    rise, fall : Table or None
        Seconds, for a rising and a falling input; over the transition time of the clock (`Table.slews`) and that of the
        input (in the place of `Table.loads`).
    """

    related: str
    rising: bool
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True, eq=False)
class Pin:
    """A signal pin of a cell. Each pin of a bus is one of its own, named ``BUS[i]``.

    Parameters
    ----------
    name : str
        Name.
    direction : {"input", "output", "inout", "internal"}
        Direction.
    rise_capacitance, fall_capacitance : float
        In farad.
    upper_rise_capacitance, upper_fall_capacitance : float
        Upper ends of the ranges over input conditions, in farad; the same again if the library has no ranges.
    max_capacitance : float or None
        Largest load in farad.
    max_transition : float or None
        Longest transition time in seconds.
    function, three_state : Expression or None
        Functions of inputs and state variables.
    clock : bool
        Whether the library calls it a clock.
    role : {"", "clock", "enable", "test", "out"}
        Role of the pin in a clock gate.
    voltage : float
        Voltage of its supply, in volt.
    power : tuple of InternalPower
        Energies.
    timing : tuple of TimingArc
        Arcs that end here.
    setup : tuple of Setup
        Setup times.
    """

    name: str
    direction: str
    rise_capacitance: float
    fall_capacitance: float
    upper_rise_capacitance: float
    upper_fall_capacitance: float
    max_capacitance: float | None
    max_transition: float | None
    function: Expression | None
    three_state: Expression | None
    clock: bool
    role: str
    voltage: float
    power: tuple[InternalPower, ...]
    timing: tuple[TimingArc, ...]
    setup: tuple[Setup, ...]


@dataclass(frozen=True, eq=False)
class Leakage:
    """Leakage power in a state.

    Parameters
    ----------
    power : float
        In watt.
    when : Expression or None
        The state, all states if None.
    supply : str
        Supply pin that it is drawn from, or nothing.
    """

    power: float
    when: Expression | None
    supply: str


@dataclass(frozen=True, eq=False)
class Sequential:
    """State of a flip-flop or latch.

    Parameters
    ----------
    kind : {"ff", "latch"}
        Flip-flop or latch.
    state, inverse : str
        Names of the state variable and its complement in functions.
    data : Expression or None
        Next state.
    clock : Expression or None
        A flip-flop takes `data` when it becomes true, a latch follows while it is true.
    clear, preset : Expression or None
        Force the state to 0 or 1 while true.
    """

    kind: str
    state: str
    inverse: str
    data: Expression | None
    clock: Expression | None
    clear: Expression | None
    preset: Expression | None


@dataclass(frozen=True)
class MacroMemory:
    """A memory macro.

    Parameters
    ----------
    kind : str
        Liberty's ``type``, ``ram`` or ``rom``.
    address_width, word_width : int
        In bits.
    """

    kind: str
    address_width: int
    word_width: int


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A cell.

    Parameters
    ----------
    name : str
        Name.
    area : float
        In square micrometre, as the library counts it.
    pins : dict of str to Pin
        Pins by name.
    leakage : float or None
        ``cell_leakage_power`` in watt.
    leakages : tuple of Leakage
        Leakage by state.
    sequentials : tuple of Sequential
        Flip-flop or latch groups.
    clock_gating : str
        ``clock_gating_integrated_cell``, or nothing.
    dont_use : bool
        Whether the library asks synthesis to keep away.
    memory : MacroMemory or None
        Size of the memory, for a macro.
    supplies : dict of str to float
        Voltage of each supply pin.
    has_state_table : bool
        Whether its behaviour is given by a ``statetable``.
    """

    name: str
    area: float
    pins: dict[str, Pin]
    leakage: float | None
    leakages: tuple[Leakage, ...]
    sequentials: tuple[Sequential, ...]
    clock_gating: str
    dont_use: bool
    memory: MacroMemory | None
    supplies: dict[str, float]
    has_state_table: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input pins."""
        return tuple(pin.name for pin in self.pins.values() if pin.direction in ("input", "inout"))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output pins."""
        return tuple(pin.name for pin in self.pins.values() if pin.direction in ("output", "inout"))


@dataclass(frozen=True, eq=False, repr=False)
class Library:
    """Cells of one or more files at one corner.

    Parameters
    ----------
    name : str
        Name of the first file.
    voltage : float
        Nominal, in volt.
    temperature : float
        Nominal, in degrees Celsius.
    cells : dict of str to Cell
        Cells by name.
    files : tuple of Path
        Files that were read.
    hashes : tuple of str
        SHA-256 of each file's text.
    process : float
        Nominal process factor, as the library counts it.
    corner : str
        Name of the default operating conditions, nothing if the library names none.
    time_unit : float
        Time unit of the first file, in seconds.
    remarks : tuple of str
        What a user must know of the files: macros of another temperature, cells that are in two files.
    """

    name: str
    voltage: float
    temperature: float
    cells: dict[str, Cell]
    files: tuple[Path, ...] = field(default=())
    hashes: tuple[str, ...] = field(default=())
    process: float = 1.0
    corner: str = ""
    time_unit: float = 1e-9
    remarks: tuple[str, ...] = ()
