"""Read the text of a Liberty file into a description that JSON can hold.

Areas, functions, capacitances, internal power, leakage, delay and transition tables, and setup times are read. Other
constraints, noise and current-source models are not.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.library import LibertyError

__all__ = ["LibertyGroup", "LibertyReader", "NumberPool", "parse_groups"]

FloatArray = NDArray[np.float64]

STATEMENT = re.compile(
    r"[\s;]*(?:"
    r"(?P<end>\})"
    r"|(?P<name>[A-Za-z_]\w*)\s*(?:"
    r"\((?P<arguments>(?:[^()\"]+|\"[^\"]*\")*)\)\s*(?P<open>\{)?"
    r"|:\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>[^;{}\n\"]*))"
    r"))"
)


class LibertyGroup:
    """A Liberty group: attributes by name (the last one counts), and inner groups in order."""

    __slots__ = ("arguments", "attributes", "groups", "kind")

    def __init__(self, kind: str, arguments: str):
        self.kind = kind
        self.arguments = arguments
        self.attributes: dict[str, str] = {}
        self.groups: list[LibertyGroup] = []

    @property
    def names(self) -> list[str]:
        """Arguments of the group, without quotes."""
        return [part.strip().strip('"').strip() for part in self.arguments.split(",")]

    def all(self, *kinds: str) -> "Iterator[LibertyGroup]":
        """Inner groups of some kinds."""
        return (group for group in self.groups if group.kind in kinds)

    def get(self, name: str) -> str:
        """Text of an attribute, empty without it."""
        return self.attributes.get(name, "")

    def number(self, name: str) -> float | None:
        """Number of an attribute, None without it."""
        text = self.attributes.get(name)
        return None if text is None or not text.strip() else float(text)

    def flag(self, name: str) -> bool:
        """Whether an attribute is true."""
        return self.get(name).strip().lower() == "true"


def parse_groups(text: str, where: str) -> LibertyGroup:
    """Read the text of a Liberty file into groups.

    Parameters
    ----------
    text : str
        The whole file.
    where : str
        Name of the file, for errors.

    Returns
    -------
    LibertyGroup
        The library group.

    Raises
    ------
    LibertyError
        If the text is not Liberty.
    """
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).replace("\\\r\n", " ").replace("\\\n", " ")
    root = LibertyGroup("", "")
    stack = [root]
    position = 0
    while match := STATEMENT.match(text, position):
        position = match.end()
        if match["end"]:
            stack.pop()
            if not stack:
                break
        elif match["open"]:
            group = LibertyGroup(match["name"], match["arguments"])
            stack[-1].groups.append(group)
            stack.append(group)
        elif match["arguments"] is not None:
            stack[-1].attributes[match["name"]] = match["arguments"]
        else:
            quoted = match["quoted"]
            stack[-1].attributes[match["name"]] = match["plain"].strip() if quoted is None else quoted
    rest = text[position:].strip(" \t\r\n;")
    if rest or len(stack) != 1:
        line = text.count("\n", 0, position) + 1
        raise LibertyError(f"{where} is not a Liberty file that can be read: near line {line}, {rest[:40]!r}")
    library = next(root.all("library"), None)
    if library is None:
        raise LibertyError(f"{where} has no library group")
    return library


PREFIXES = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}


def _unit(library: LibertyGroup, name: str, unit: str, default: float) -> float:
    text = library.get(name)
    if not text:
        return default
    match = re.fullmatch(r"\s*([\d.eE+-]+)\s*([fpnumk]?)" + unit, text.strip(), re.IGNORECASE)
    if match is None:
        raise LibertyError(f"cannot read {name} {text!r}")
    return float(match[1]) * PREFIXES[match[2].lower()]


class NumberPool:
    """The numbers of all tables, in one array."""

    def __init__(self) -> None:
        self.parts: list[FloatArray] = []
        self.size = 0
        self.known: dict[tuple[str, float], list[int]] = {}

    def add(self, text: str, scale: float) -> list[int]:
        """Store the numbers of a text; equal texts are stored once. Start and length in the array."""
        key = (text, scale)
        if key not in self.known:
            numbers = np.array(text.replace('"', " ").replace(",", " ").split(), dtype=float) * scale
            self.known[key] = [self.size, numbers.size]
            self.parts.append(numbers)
            self.size += numbers.size
        return self.known[key]

    def array(self) -> FloatArray:
        """All numbers, one after the other."""
        return np.concatenate([np.zeros(0), *self.parts])


SLEW_AXES = ("input_net_transition", "input_transition_time", "related_pin_transition")
LOAD_AXES = ("total_output_net_capacitance",)
DATA_AXES = ("constrained_pin_transition",)
ROLES = {"clock": "clock_gate_clock_pin", "enable": "clock_gate_enable_pin", "test": "clock_gate_test_pin",
         "out": "clock_gate_out_pin"}  # fmt: skip


CONSTRAINTS = ("setup", "hold", "recovery", "removal", "min_pulse", "minimum", "non_seq", "skew", "nochange")
"""Beginnings of the timing types that are not arcs to an output."""


class LibertyReader:
    """Turns the groups of a library into a description that JSON can hold. Its tables refer to numbers in a pool.

    Parameters
    ----------
    library : LibertyGroup
        From `parse_groups`.
    where : str
        Name of the file, for errors.

    Raises
    ------
    LibertyError
        If a unit cannot be read.
    """

    def __init__(self, library: LibertyGroup, where: str):
        self.library = library
        self.where = where
        self.pool = NumberPool()
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
                own = group.number("temperature")
                temperature = temperature if own is None else own
        self.temperature = 25.0 if temperature is None else temperature
        self.types = {group.names[0]: group for group in library.all("type")}

    def read(self, text: str) -> dict[str, Any]:
        """Describe the library; `text` is the file's, from which the voltages of the supplies are taken."""
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

    def cell(self, group: LibertyGroup) -> dict[str, Any]:
        """Describe a cell."""
        supplies = {
            supply.names[0]: self.voltages.get(supply.get("voltage_name").strip(), self.nominal)
            for supply in group.all("pg_pin")
        }
        leakage = group.number("cell_leakage_power")
        memory = next(group.all("memory"), None)
        pins: dict[str, dict[str, Any]] = {}
        for pin in group.all("pin", "bus", "bundle"):
            self.pin(pin, pins, supplies)
        return {
            "name": group.names[0],
            "area": group.number("area") or 0.0,
            "pins": list(pins.values()),
            "leakage": None if leakage is None else leakage * self.watt,
            "leakages": [
                {
                    "power": (state.number("value") or 0.0) * self.watt,
                    "when": state.get("when"),
                    "supply": state.get("related_pg_pin").strip(),
                }
                for state in group.all("leakage_power")
            ],
            "sequentials": [self.sequential(inner) for inner in group.all("ff", "latch")],
            "clock_gating": group.get("clock_gating_integrated_cell").strip(),
            "dont_use": group.flag("dont_use"),
            "memory": None
            if memory is None
            else [memory.get("type").strip(), int(memory.get("address_width")), int(memory.get("word_width"))],
            "supplies": supplies,
            "has_state_table": any(group.all("statetable")),
        }

    @staticmethod
    def sequential(group: LibertyGroup) -> dict[str, Any]:
        """Describe a flip-flop or latch."""
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
        """Names of the single pins that a name stands for."""
        span = re.fullmatch(r"(.+)\[(\d+):(\d+)\]", name)
        if span:
            ends = int(span[2]), int(span[3])
            return [f"{span[1]}[{index}]" for index in range(min(ends), max(ends) + 1)]
        bus = self.types.get(bus_type)
        if bus is None:
            return [name]
        ends = int(bus.get("bit_from")), int(bus.get("bit_to"))
        return [f"{name}[{index}]" for index in range(min(ends), max(ends) + 1)]

    def pin(self, group: LibertyGroup, pins: dict[str, dict[str, Any]], supplies: Mapping[str, float]) -> None:
        """Add the pins of a group; pins inside a bus may say more about theirs."""
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

    def describe(self, group: LibertyGroup, pin: dict[str, Any], supplies: Mapping[str, float]) -> None:
        """Add to the description of a pin."""
        pin["direction"] = group.get("direction").strip() or pin["direction"]
        self.capacitances(group, pin)
        for name in ("function", "three_state"):
            pin[name] = group.get(name) or pin[name]
        pin["clock"] = pin["clock"] or group.flag("clock")
        for role, name in ROLES.items():
            if group.flag(name):
                pin["role"] = role
        pin["voltage"] = supplies.get(group.get("related_power_pin").strip(), pin["voltage"])
        for power in group.all("internal_power"):
            tables = [self.table(power, name, self.joule) for name in ("rise_power", "fall_power")]
            if tables == [None, None]:
                tables = [self.table(power, "power", self.joule)] * 2
            for related in power.get("related_pin").split() or [""]:
                pin["power"].append([related, power.get("when"), *tables, power.get("related_pg_pin").strip()])
        for arc in group.all("timing"):
            self.timing(arc, pin)

    def capacitances(self, group: LibertyGroup, pin: dict[str, Any]) -> None:
        """Add the capacitances and limits of a pin."""
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

    def timing(self, arc: LibertyGroup, pin: dict[str, Any]) -> None:
        """Add a timing arc or a setup time of a pin; other constraints are left out."""
        kind = arc.get("timing_type").strip() or "combinational"
        if kind in ("setup_rising", "setup_falling"):
            tables = [self.table(arc, name, self.time) for name in ("rise_constraint", "fall_constraint")]
            for related in arc.get("related_pin").split():
                pin["setup"].append([related, kind == "setup_rising", *tables])
        if kind.startswith(CONSTRAINTS):
            return
        tables = [
            self.table(arc, name, self.time)
            for name in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
        ]
        for related in arc.get("related_pin").split():
            pin["timing"].append([related, arc.get("timing_sense").strip(), kind, *tables])

    def table(self, group: LibertyGroup, name: str, scale: float) -> list[Any] | None:
        """References to slew axis, load axis and values in the pool, and whether the values go by load first."""
        table = next(group.all(name), None)
        if table is None or not table.get("values"):
            return None
        template = self.templates.get(table.names[0])
        axes: dict[str, list[int]] = {}
        for index in (1, 2):
            variable = "" if template is None else template.get(f"variable_{index}").strip()
            text = table.get(f"index_{index}") or ("" if template is None else template.get(f"index_{index}"))
            if not variable:
                continue
            if variable in SLEW_AXES:
                axes["slew"] = self.pool.add(text, self.time)
            elif variable in LOAD_AXES:
                axes["load"] = self.pool.add(text, self.farad)
            elif variable in DATA_AXES:
                axes["load"] = self.pool.add(text, self.time)
            else:
                return None
        empty = [0, 0]
        values = self.pool.add(table.get("values"), scale)
        return [axes.get("slew", empty), axes.get("load", empty), values, list(axes) == ["load", "slew"]]
