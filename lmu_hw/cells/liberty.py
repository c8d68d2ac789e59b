"""Liberty files: what a cell costs, how it behaves, in SI units.

Read are areas, functions, capacitances, internal power, leakage, the delay and transition tables and setup times;
other constraints, noise and current-source models are not. What was read is kept in the user's cache folder by the
hash of the file, because text of 10 MB takes seconds.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression

__all__ = [
    "Cell",
    "InternalPower",
    "Leakage",
    "LibertyError",
    "Library",
    "MacroMemory",
    "Pin",
    "Sequential",
    "Setup",
    "Table",
    "TimingArc",
    "cache_folder",
    "read_liberty",
    "read_text",
]

FloatArray = NDArray[np.float64]

SCHEMA = 6
"""Of the cache files: raised whenever what is read or how it is stored changes."""


class LibertyError(ValueError):
    """A file is not Liberty, or misses what is needed."""


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
        """Bilinear value; beyond the ends the last two points of an axis are extended.

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
        row, across = _place(self.slews, np.asarray(slew, dtype=float))
        column, along = _place(self.loads, np.asarray(load, dtype=float))
        next_row = np.minimum(row + 1, self.values.shape[0] - 1)
        next_column = np.minimum(column + 1, self.values.shape[1] - 1)
        v = self.values
        near = (1 - along) * v[row, column] + along * v[row, next_column]
        far = (1 - along) * v[next_row, column] + along * v[next_row, next_column]
        return np.asarray((1 - across) * near + across * far)


def _place(axis: FloatArray, value: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Index of the axis point below a value, and its place between that and the next (0 to 1 within the axis)."""
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
    """A signal pin of a cell; pins of a bus are one by one, named ``BUS[i]``.

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
        Of inputs and state variables.
    clock : bool
        Whether the library calls it a clock.
    role : {"", "clock", "enable", "test", "out"}
        Of a pin of a clock gate.
    voltage : float
        Of its supply, in volt.
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
        Which one.
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
        By name.
    leakage : float or None
        ``cell_leakage_power`` in watt.
    leakages : tuple of Leakage
        By state.
    sequentials : tuple of Sequential
        Flip-flop or latch groups.
    clock_gating : str
        ``clock_gating_integrated_cell``, or nothing.
    dont_use : bool
        Whether the library asks synthesis to keep away.
    memory : MacroMemory or None
        Of a macro.
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
        Of the first file.
    voltage : float
        Nominal, in volt.
    temperature : float
        Nominal, in degrees Celsius.
    cells : dict of str to Cell
        By name.
    files : tuple of Path
        Where they were read.
    hashes : tuple of str
        SHA-256 of each file's text.
    process : float
        Nominal process factor, as the library counts it.
    corner : str
        Name of the default operating conditions, nothing if the library names none.
    """

    name: str
    voltage: float
    temperature: float
    cells: dict[str, Cell]
    files: tuple[Path, ...] = field(default=())
    hashes: tuple[str, ...] = field(default=())
    process: float = 1.0
    corner: str = ""


# Reading the text.

STATEMENT = re.compile(
    r"[\s;]*(?:"
    r"(?P<end>\})"
    r"|(?P<name>[A-Za-z_]\w*)\s*(?:"
    r"\((?P<arguments>(?:[^()\"]+|\"[^\"]*\")*)\)\s*(?P<open>\{)?"
    r"|:\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>[^;{}\n\"]*))"
    r"))"
)


class _Group:
    """A Liberty group: attributes by name (the last one wins) and groups in order."""

    __slots__ = ("arguments", "attributes", "groups", "kind")

    def __init__(self, kind: str, arguments: str):
        self.kind = kind
        self.arguments = arguments
        self.attributes: dict[str, str] = {}
        self.groups: list[_Group] = []

    @property
    def names(self) -> list[str]:
        return [part.strip().strip('"').strip() for part in self.arguments.split(",")]

    def all(self, *kinds: str) -> "Iterator[_Group]":
        return (group for group in self.groups if group.kind in kinds)

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")

    def number(self, name: str) -> float | None:
        text = self.attributes.get(name)
        return None if text is None or not text.strip() else float(text)

    def flag(self, name: str) -> bool:
        return self.get(name).strip().lower() == "true"


def _tree(text: str, where: str) -> _Group:
    """Read the text of a Liberty file."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).replace("\\\r\n", " ").replace("\\\n", " ")
    root = _Group("", "")
    stack = [root]
    place = 0
    while match := STATEMENT.match(text, place):
        place = match.end()
        if match["end"]:
            stack.pop()
            if not stack:
                break
        elif match["open"]:
            group = _Group(match["name"], match["arguments"])
            stack[-1].groups.append(group)
            stack.append(group)
        elif match["arguments"] is not None:
            stack[-1].attributes[match["name"]] = match["arguments"]
        else:
            quoted = match["quoted"]
            stack[-1].attributes[match["name"]] = match["plain"].strip() if quoted is None else quoted
    rest = text[place:].strip(" \t\r\n;")
    if rest or len(stack) != 1:
        line = text.count("\n", 0, place) + 1
        raise LibertyError(f"{where} is not a Liberty file that can be read: near line {line}, {rest[:40]!r}")
    library = next(root.all("library"), None)
    if library is None:
        raise LibertyError(f"{where} has no library group")
    return library


PREFIXES = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}


def _unit(library: _Group, name: str, unit: str, default: float) -> float:
    text = library.get(name)
    if not text:
        return default
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([fpnumk]?)" + unit, text.strip(), re.IGNORECASE)
    if match is None:
        raise LibertyError(f"cannot read {name} {text!r}")
    return float(match[1]) * PREFIXES[match[2].lower()]


class _Pool:
    """Numbers of all tables in one array."""

    def __init__(self) -> None:
        self.parts: list[FloatArray] = []
        self.size = 0
        self.known: dict[tuple[str, float], list[int]] = {}

    def add(self, text: str, scale: float) -> list[int]:
        """Start and length of the numbers of a text; equal texts are stored once."""
        key = (text, scale)
        if key not in self.known:
            numbers = np.array(text.replace('"', " ").replace(",", " ").split(), dtype=float) * scale
            self.known[key] = [self.size, numbers.size]
            self.parts.append(numbers)
            self.size += numbers.size
        return self.known[key]

    def array(self) -> FloatArray:
        return np.concatenate([np.zeros(0), *self.parts])


SLEW_AXES = ("input_net_transition", "input_transition_time", "related_pin_transition")
LOAD_AXES = ("total_output_net_capacitance",)
DATA_AXES = ("constrained_pin_transition",)
ROLES = {"clock": "clock_gate_clock_pin", "enable": "clock_gate_enable_pin", "test": "clock_gate_test_pin",
         "out": "clock_gate_out_pin"}  # fmt: skip


class _Reader:
    """From the group tree to a JSON-able description that refers to tables in a pool."""

    def __init__(self, library: _Group, where: str):
        self.library = library
        self.where = where
        self.pool = _Pool()
        self.time = _unit(library, "time_unit", "s", 1e-9)
        self.volt = _unit(library, "voltage_unit", "v", 1.0)
        self.watt = _unit(library, "leakage_power_unit", "w", 1.0)
        amount, _, unit = library.get("capacitive_load_unit").partition(",")
        unit = unit.strip().strip('"').strip().lower()
        if unit not in ("ff", "pf", "nf"):
            raise LibertyError(f"{where}: cannot read capacitive_load_unit {amount!r}, {unit!r}")
        self.farad = float(amount) * PREFIXES[unit[0]]
        self.joule = self.volt**2 * self.farad
        self.templates = {group.names[0]: group for group in library.all("lu_table_template", "power_lut_template")}
        self.voltages: dict[str, float] = {}
        self.nominal = (library.number("nom_voltage") or 0.0) * self.volt
        temperature = library.number("nom_temperature")
        for group in library.all("operating_conditions"):
            if group.names[0] == library.get("default_operating_conditions").strip():
                self.nominal = (group.number("voltage") or 0.0) * self.volt
                found = group.number("temperature")
                temperature = temperature if found is None else found
        self.temperature = 25.0 if temperature is None else temperature
        self.types = {group.names[0]: group for group in library.all("type")}

    def read(self, text: str) -> dict[str, Any]:
        for name, value in re.findall(r"voltage_map\s*\(\s*\"?([^\",]+)\"?\s*,\s*\"?([-\d.eE+]+)\"?\s*\)", text):
            self.voltages[name.strip()] = float(value) * self.volt
        return {
            "name": self.library.names[0],
            "voltage": self.nominal,
            "temperature": self.temperature,
            "process": self.library.number("nom_process") or 1.0,
            "corner": self.library.get("default_operating_conditions").strip(),
            "cells": [self.cell(group) for group in self.library.all("cell")],
        }

    def cell(self, group: _Group) -> dict[str, Any]:
        supplies = {
            one.names[0]: self.voltages.get(one.get("voltage_name").strip(), self.nominal)
            for one in group.all("pg_pin")
        }
        leakage = group.number("cell_leakage_power")
        memory = next(group.all("memory"), None)
        pins: dict[str, dict[str, Any]] = {}
        for one in group.all("pin", "bus", "bundle"):
            self.pin(one, pins, supplies)
        return {
            "name": group.names[0],
            "area": group.number("area") or 0.0,
            "pins": list(pins.values()),
            "leakage": None if leakage is None else leakage * self.watt,
            "leakages": [
                {
                    "power": (one.number("value") or 0.0) * self.watt,
                    "when": one.get("when"),
                    "supply": one.get("related_pg_pin").strip(),
                }
                for one in group.all("leakage_power")
            ],
            "sequentials": [self.sequential(one) for one in group.all("ff", "latch")],
            "clock_gating": group.get("clock_gating_integrated_cell").strip(),
            "dont_use": group.flag("dont_use"),
            "memory": None
            if memory is None
            else [memory.get("type").strip(), int(memory.get("address_width")), int(memory.get("word_width"))],
            "supplies": supplies,
            "has_state_table": any(group.all("statetable")),
        }

    @staticmethod
    def sequential(group: _Group) -> dict[str, Any]:
        data, clock = ("next_state", "clocked_on") if group.kind == "ff" else ("data_in", "enable")
        state, inverse = [*group.names, ""][:2]
        return {
            "kind": group.kind,
            "state": state,
            "inverse": inverse,
            "data": group.get(data),
            "clock": group.get(clock),
            "clear": group.get("clear"),
            "preset": group.get("preset"),
        }

    def bits(self, name: str, bus_type: str) -> list[str]:
        """Single pins that a name stands for."""
        span = re.fullmatch(r"(.+)\[(\d+):(\d+)\]", name)
        if span:
            ends = int(span[2]), int(span[3])
            return [f"{span[1]}[{index}]" for index in range(min(ends), max(ends) + 1)]
        kind = self.types.get(bus_type)
        if kind is None:
            return [name]
        ends = int(kind.get("bit_from")), int(kind.get("bit_to"))
        return [f"{name}[{index}]" for index in range(min(ends), max(ends) + 1)]

    def pin(self, group: _Group, pins: dict[str, dict[str, Any]], supplies: Mapping[str, float]) -> None:
        """Add the pins of a group, with what pins inside a bus say in addition."""
        names = [bit for name in group.names for bit in self.bits(name, group.get("bus_type").strip())]
        for name in names:
            pin = pins.setdefault(
                name,
                {
                    "name": name,
                    "direction": "",
                    "capacitance": [None, None],
                    "upper": [None, None],
                    "max_capacitance": None,
                    "max_transition": None,
                    "function": "",
                    "three_state": "",
                    "clock": False,
                    "role": "",
                    "voltage": self.nominal,
                    "power": [],
                    "timing": [],
                    "setup": [],
                },
            )
            self.describe(group, pin, supplies)
        for inner in group.all("pin"):
            self.pin(inner, pins, supplies)

    def describe(self, group: _Group, pin: dict[str, Any], supplies: Mapping[str, float]) -> None:
        pin["direction"] = group.get("direction").strip() or pin["direction"]
        both = group.number("capacitance")
        for index, name in enumerate(("rise_capacitance", "fall_capacitance")):
            value = group.number(name)
            value = both if value is None else value
            if value is not None:
                pin["capacitance"][index] = value * self.farad
            span = group.get(f"{name}_range").replace(",", " ").split()
            if span:
                pin["upper"][index] = float(span[-1].strip('"')) * self.farad
        for name, scale in (("max_capacitance", self.farad), ("max_transition", self.time)):
            limit = group.number(name)
            if limit is not None:
                pin[name] = limit * scale
        for name in ("function", "three_state"):
            pin[name] = group.get(name) or pin[name]
        pin["clock"] = pin["clock"] or group.flag("clock")
        for role, name in ROLES.items():
            if group.flag(name):
                pin["role"] = role
        pin["voltage"] = supplies.get(group.get("related_power_pin").strip(), pin["voltage"])
        for one in group.all("internal_power"):
            tables = [self.table(one, name, self.joule) for name in ("rise_power", "fall_power")]
            if tables == [None, None]:
                tables = [self.table(one, "power", self.joule)] * 2
            for related in one.get("related_pin").split() or [""]:
                pin["power"].append([related, one.get("when"), *tables, one.get("related_pg_pin").strip()])
        for one in group.all("timing"):
            kind = one.get("timing_type").strip() or "combinational"
            if kind in ("setup_rising", "setup_falling"):
                tables = [self.table(one, name, self.time) for name in ("rise_constraint", "fall_constraint")]
                for related in one.get("related_pin").split():
                    pin["setup"].append([related, kind == "setup_rising", *tables])
            if kind.startswith(
                ("setup", "hold", "recovery", "removal", "min_pulse", "minimum", "non_seq", "skew", "nochange")
            ):
                continue
            tables = [
                self.table(one, name, self.time)
                for name in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
            ]
            for related in one.get("related_pin").split():
                pin["timing"].append([related, one.get("timing_sense").strip(), kind, *tables])

    def table(self, group: _Group, kind: str, scale: float) -> list[Any] | None:
        """Pool references of slew axis, load axis and values, and whether the values go by load first."""
        found = next(group.all(kind), None)
        if found is None or not found.get("values"):
            return None
        template = self.templates.get(found.names[0])
        axes: dict[str, list[int]] = {}
        order = []
        for index in (1, 2):
            variable = "" if template is None else template.get(f"variable_{index}").strip()
            text = found.get(f"index_{index}") or ("" if template is None else template.get(f"index_{index}"))
            if not variable:
                continue
            if variable in SLEW_AXES:
                axes["slew"] = self.pool.add(text, self.time)
                order.append("slew")
            elif variable in LOAD_AXES:
                axes["load"] = self.pool.add(text, self.farad)
                order.append("load")
            elif variable in DATA_AXES:
                axes["load"] = self.pool.add(text, self.time)
                order.append("load")
            else:
                return None
        empty = [0, 0]
        values = self.pool.add(found.get("values"), scale)
        return [axes.get("slew", empty), axes.get("load", empty), values, order[:1] == ["load"] and len(order) == 2]


# From the description to the typed cells.


def _expression(text: str) -> Expression | None:
    return Expression(text) if text.strip() else None


class _Builder:
    def __init__(self, numbers: FloatArray):
        self.numbers = numbers
        numbers.flags.writeable = False

    def cut(self, place: list[int]) -> FloatArray:
        return self.numbers[place[0] : place[0] + place[1]]

    def table(self, reference: list[Any] | None) -> Table | None:
        if reference is None:
            return None
        slews, loads, values = (self.cut(place) for place in reference[:3])
        shape = max(slews.size, 1), max(loads.size, 1)
        if values.size != shape[0] * shape[1]:
            raise LibertyError(f"a table has {values.size} values for {shape[0]} transition times and {shape[1]} loads")
        return Table(slews, loads, values.reshape(shape[::-1]).T if reference[3] else values.reshape(shape))

    def pin(self, data: dict[str, Any]) -> Pin:
        rise, fall = (value or 0.0 for value in data["capacitance"])
        upper = (other if value is None else value for value, other in zip(data["upper"], (rise, fall), strict=True))
        upper_rise, upper_fall = upper
        return Pin(
            name=data["name"],
            direction=data["direction"],
            rise_capacitance=rise,
            fall_capacitance=fall,
            upper_rise_capacitance=upper_rise,
            upper_fall_capacitance=upper_fall,
            max_capacitance=data["max_capacitance"],
            max_transition=data["max_transition"],
            function=_expression(data["function"]),
            three_state=_expression(data["three_state"]),
            clock=data["clock"],
            role=data["role"],
            voltage=data["voltage"],
            power=tuple(
                InternalPower(related, _expression(when), self.table(rise), self.table(fall), supply)
                for related, when, rise, fall, supply in data["power"]
            ),
            timing=tuple(
                TimingArc(related, sense, kind, *(self.table(one) for one in tables))
                for related, sense, kind, *tables in data["timing"]
            ),
            setup=tuple(
                Setup(related, rising, *(self.table(one) for one in tables))
                for related, rising, *tables in data["setup"]
            ),
        )

    def cell(self, data: dict[str, Any]) -> Cell:
        return Cell(
            name=data["name"],
            area=data["area"],
            pins={pin["name"]: self.pin(pin) for pin in data["pins"]},
            leakage=data["leakage"],
            leakages=tuple(Leakage(one["power"], _expression(one["when"]), one["supply"]) for one in data["leakages"]),
            sequentials=tuple(
                Sequential(
                    kind=one["kind"],
                    state=one["state"],
                    inverse=one["inverse"],
                    **{name: _expression(one[name]) for name in ("data", "clock", "clear", "preset")},
                )
                for one in data["sequentials"]
            ),
            clock_gating=data["clock_gating"],
            dont_use=data["dont_use"],
            memory=None if data["memory"] is None else MacroMemory(*data["memory"]),
            supplies=data["supplies"],
            has_state_table=data["has_state_table"],
        )


def read_text(path: str | Path) -> str:
    """Text of a file that may be compressed with gzip.

    Raises
    ------
    LibertyError
        If there is no such file, or it is not text.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8", errors="replace")
    except (OSError, EOFError) as error:
        raise LibertyError(f"cannot read {path}: {error}") from None


def cache_folder() -> Path:
    """Folder for results that can be made again: ``$XDG_CACHE_HOME/lmu-hw``, ``~/.cache/lmu-hw`` by default."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lmu-hw"


def _described(text: str, where: str, key: str) -> tuple[dict[str, Any], FloatArray]:
    """Description and numbers of a file: from the cache, else read and put there."""
    place = cache_folder() / "liberty" / f"{key}-{SCHEMA}.npz"
    try:
        with np.load(place, allow_pickle=False) as stored:
            return json.loads(stored["header"].tobytes()), stored["numbers"]
    except (OSError, ValueError, KeyError):
        pass
    reader = _Reader(_tree(text, where), where)
    description = reader.read(text)
    numbers = reader.pool.array()
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(description).encode(), dtype=np.uint8), numbers=numbers)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(buffer.getvalue())
        Path(file.name).replace(place)
    except OSError:
        pass  # a read-only cache costs time, no more
    return description, numbers


def read_liberty(paths: str | Path | Iterable[str | Path]) -> Library:
    """Read Liberty files of one corner.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, plain or compressed with gzip.

    Returns
    -------
    Library
        All cells; of two with the same name the first.

    Raises
    ------
    LibertyError
        If a file cannot be read, or the files are of different voltages.
    """
    files = (Path(paths),) if isinstance(paths, str | Path) else tuple(Path(path) for path in paths)
    if not files:
        raise LibertyError("no Liberty file was given")
    cells: dict[str, Cell] = {}
    hashes = []
    first: dict[str, Any] = {}
    for path in files:
        text = read_text(path)
        key = hashlib.sha256(text.encode()).hexdigest()
        description, numbers = _described(text, str(path), key)
        first = first or description
        if abs(description["voltage"] - first["voltage"]) > 1e-6:
            raise LibertyError(
                f"{path} is for {description['voltage']:g} V, {files[0]} for {first['voltage']:g} V: "
                "give files of one corner"
            )
        builder = _Builder(numbers)
        for data in description["cells"]:
            cells.setdefault(data["name"], builder.cell(data))
        hashes.append(key)
    names = {name: first[name] for name in ("name", "voltage", "temperature", "process", "corner")}
    return Library(cells=cells, files=files, hashes=tuple(hashes), **names)
