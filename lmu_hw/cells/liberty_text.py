"""Read the groups of a Liberty file into a description that JSON can hold.

Areas, functions, capacitances, internal power, leakage, delay and transition tables, and setup times are read. Other
constraints, noise and current-source models are not. What is read must make sense: units are there, the voltage and
every input capacitance are above 0, tables fit their axes.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression
from lmu_hw.cells.liberty_groups import LibertyGroup

__all__ = ["LibertyReader", "NumberPool"]

FloatArray = NDArray[np.float64]

PREFIXES = {"": 1.0, "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}

HIGHEST_VOLTAGE = 20.0
"""In volt. A library with more has another voltage unit than it says."""

WIDEST = 1 << 16
"""Bits of a bus, and of a word of a memory, at most."""


def _unit(library: LibertyGroup, name: str, unit: str) -> float:
    text = library.get(name).strip()
    if not text:
        raise library.error(f"{name} is missing; a unit such as 1n{unit.upper() if unit != 's' else unit} was expected")
    match = re.fullmatch(r"([\d.eE+-]+)\s*([afpnumk]?)" + unit, text, re.IGNORECASE)
    amount = 0.0 if match is None else library.parse_number(name, match[1])
    if match is None or amount <= 0:
        raise library.error(f"cannot read {name} {text!r}")
    return amount * PREFIXES[match[2].lower()]


def _load_unit(library: LibertyGroup) -> float:
    """Unit of capacitances in farad."""
    amount, _, unit = (part.strip().strip('"').strip() for part in library.get("capacitive_load_unit").partition(","))
    match = re.fullmatch(r"([afpnu])f", unit, re.IGNORECASE)
    if not amount:
        raise library.error("capacitive_load_unit is missing; a unit such as (1, pf) was expected")
    value = library.parse_number("capacitive_load_unit", amount)
    if match is None or value <= 0:
        raise library.error(f"cannot read capacitive_load_unit {amount!r}, {unit!r}")
    return value * PREFIXES[match[1].lower()]


class NumberPool:
    """The numbers of all tables, in one array."""

    def __init__(self) -> None:
        self.parts: list[FloatArray] = []
        self.size = 0
        self.known: dict[tuple[str, float], list[int]] = {}

    def add(self, text: str, scale: float) -> list[int]:
        """Store the numbers of a text; equal texts are stored once. Start and length in the array.

        Raises
        ------
        ValueError
            If a word is not a finite number.
        """
        key = (text, scale)
        if key not in self.known:
            numbers = np.array(text.replace('"', " ").replace(",", " ").split(), dtype=float) * scale
            if not np.isfinite(numbers).all():
                raise ValueError("not finite")
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
        From `lmu_hw.cells.liberty_groups.parse_groups`.

    Raises
    ------
    LibertyFileError
        If a unit or the voltage is missing, or makes no sense.
    """

    def __init__(self, library: LibertyGroup):
        self.library = library
        self.pool = NumberPool()
        self.time = _unit(library, "time_unit", "s")
        self.volt = _unit(library, "voltage_unit", "v")
        self.farad = _load_unit(library)
        self.joule = self.volt**2 * self.farad
        self.templates = {group.names[0]: group for group in library.all("lu_table_template", "power_lut_template")}
        self.voltages = {}
        for name, arguments in library.calls:
            if name == "voltage_map":
                supply, _, volts = (part.strip().strip('"').strip() for part in arguments.partition(","))
                self.voltages[supply] = library.parse_number(f"voltage_map of {supply}", volts) * self.volt
        self.corner = library.get("default_operating_conditions").strip().strip('"').strip()
        conditions = self._conditions()
        self.nominal = self._condition(conditions, "voltage", None) * self.volt
        if not 0 < self.nominal <= HIGHEST_VOLTAGE:
            raise library.error(
                f"the voltage must be above 0 and at most {HIGHEST_VOLTAGE:g} V, not {self.nominal:g} V"
            )
        self.temperature = self._condition(conditions, "temperature", 25.0)
        self.types = {group.names[0]: group for group in library.all("type")}

    def _conditions(self) -> LibertyGroup | None:
        """The operating conditions that the library is for: the default ones, else the only ones."""
        groups = {group.names[0]: group for group in self.library.all("operating_conditions")}
        if self.corner:
            return groups.get(self.corner)
        return next(iter(groups.values())) if len(groups) == 1 else None

    def _condition(self, conditions: LibertyGroup | None, name: str, default: float | None) -> float:
        """A figure of the operating conditions; the nominal one if they do not have it, or have no default."""
        own = None if conditions is None or not self.corner else conditions.number(name)
        nominal = self.library.number(f"nom_{name}")
        only = None if conditions is None else conditions.number(name)
        value = next((number for number in (own, nominal, only, default) if number is not None), None)
        if value is None:
            named = f" {self.corner!r}" if self.corner else ""
            raise self.library.error(f"nom_{name} is missing, and there are no operating_conditions{named} with one")
        return value

    @functools.cached_property
    def watt(self) -> float:
        """Unit of leakage in watt; a library that gives leakage must name it."""
        return _unit(self.library, "leakage_power_unit", "w")

    def read(self) -> dict[str, Any]:
        """Describe the library."""
        names: set[str] = set()
        for group in self.library.all("cell"):
            if group.names[0] in names:
                raise group.error("is the second cell of this name")
            names.add(group.names[0])
        return {
            "name": self.library.names[0],
            "voltage": self.nominal,
            "temperature": self.temperature,
            "process": self.library.number("nom_process") or 1.0,
            "corner": self.corner,
            "time_unit": self.time,
            "cells": [self.cell(group) for group in self.library.all("cell")],
        }

    def cell(self, group: LibertyGroup) -> dict[str, Any]:
        """Describe a cell."""
        supplies = {supply.names[0]: self._supply(supply) for supply in group.all("pg_pin")}
        pins: dict[str, dict[str, Any]] = {}
        for pin in group.all("pin", "bus", "bundle"):
            self.pin(pin, pins, supplies)
        self._complete_pins(group, pins)
        area = group.number("area") or 0.0
        if area < 0:
            raise group.error(f"area must be at least 0, not {area:g}")
        return {
            "name": group.names[0],
            "area": area,
            "pins": list(pins.values()),
            "sequentials": [self.sequential(inner) for inner in group.all("ff", "latch")],
            "clock_gating": group.get("clock_gating_integrated_cell").strip(),
            "dont_use": group.flag("dont_use"),
            "memory": self._memory(group),
            "supplies": supplies,
            "has_state_table": any(group.all("statetable")),
            **self._leakage(group, supplies, area),
        }

    def _supply(self, group: LibertyGroup) -> float:
        """Voltage of a supply pin: by the map of voltages; else 0 for a ground, and the nominal one for others."""
        unmapped = 0.0 if "ground" in group.get("pg_type") else self.nominal
        return self.voltages.get(group.get("voltage_name").strip(), unmapped)

    def _leakage(self, group: LibertyGroup, supplies: dict[str, float], area: float) -> dict[str, Any]:
        """Leakage of a cell in watt, in all and by state; supplies that it names are added to those of the cell."""
        whole = group.number("cell_leakage_power")
        states: list[dict[str, Any]] = []
        for state in group.all("leakage_power"):
            value, supply = state.number("value"), state.get("related_pg_pin").strip()
            if value is None:
                raise state.error("value is missing; a number was expected")
            if supply and supply not in supplies:
                if supply not in self.voltages:
                    raise state.error(f"related_pg_pin {supply!r} is no pg_pin of the cell and not in voltage_map")
                supplies[supply] = self.voltages[supply]
            states.append({"power": value, "when": self.expression(state, "when"), "supply": supply})
        if whole is None and not states:
            whole = self.library.number("default_cell_leakage_power")
            density = self.library.number("default_leakage_power_density")
            if not whole and density is not None:
                whole = density * area
        scale = self.watt if whole or states else 0.0
        return {
            "leakage": None if whole is None else whole * scale,
            "leakages": [{**state, "power": state["power"] * scale} for state in states],
        }

    @staticmethod
    def _memory(group: LibertyGroup) -> list[Any] | None:
        """Kind, address width and word width of a memory macro; None for other cells."""
        memory = group.only("memory")
        if memory is None:
            return None
        widths = memory.integer("address_width", 1, 32), memory.integer("word_width", 1, WIDEST)
        return [memory.get("type").strip(), *widths]

    def _complete_pins(self, group: LibertyGroup, pins: dict[str, dict[str, Any]]) -> None:
        """Give pins the library's default capacitances, and refuse an input without capacitance."""
        for pin in pins.values():
            default = self.library.number(f"default_{pin['direction']}_pin_cap")
            if default is not None:
                pin["capacitance"] = [default * self.farad if own is None else own for own in pin["capacitance"]]
            values = pin["capacitance"]
            if pin["direction"] == "input" and not all(value is not None and value > 0 for value in values):
                told = " and ".join("none" if value is None else f"{value:g} F" for value in values)
                raise group.error(f"capacitance of input {pin['name']} (rise and fall) must be above 0, not {told}")

    @staticmethod
    def expression(group: LibertyGroup, name: str) -> str:
        """Text of a Boolean expression, empty without it."""
        text = group.get(name).strip()
        try:
            if text:
                Expression(text).tree  # noqa: B018 (parses)
        except (ValueError, RecursionError):
            raise group.error(f"{name} must be a Boolean expression, not {text[:60]!r}") from None
        return text

    def sequential(self, group: LibertyGroup) -> dict[str, Any]:
        """Describe a flip-flop or latch."""
        data, clock = ("next_state", "clocked_on") if group.kind == "ff" else ("data_in", "enable")
        state, inverse = [*group.names, ""][:2]
        return {
            "kind": group.kind,
            "state": state,
            "inverse": inverse,
            "data": self.expression(group, data),
            "clock": self.expression(group, clock),
            "clear": self.expression(group, "clear"),
            "preset": self.expression(group, "preset"),
        }

    def bits(self, name: str, bus_type: str) -> list[str]:
        """Names of the single pins that a name stands for."""
        span = re.fullmatch(r"(.+)\[(\d{1,9}):(\d{1,9})\]", name)
        if span:
            name, ends = span[1], (int(span[2]), int(span[3]))
        else:
            bus = self.types.get(bus_type)
            if bus is None:
                return [name]
            ends = bus.integer("bit_from", 0, WIDEST), bus.integer("bit_to", 0, WIDEST)
        if abs(ends[0] - ends[1]) >= WIDEST:
            raise self.library.error(f"{name} has {abs(ends[0] - ends[1]) + 1} bits; at most {WIDEST} are read")
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
            pin[name] = self.expression(group, name) or pin[name]
        pin["clock"] = pin["clock"] or group.flag("clock")
        for role, name in ROLES.items():
            if group.flag(name):
                pin["role"] = role
        pin["voltage"] = supplies.get(group.get("related_power_pin").strip(), pin["voltage"])
        for power in group.all("internal_power"):
            tables = [self.table(power, name, self.joule) for name in ("rise_power", "fall_power")]
            if tables == [None, None]:
                tables = [self.table(power, "power", self.joule)] * 2
            when, supply = self.expression(power, "when"), power.get("related_pg_pin").strip()
            for related in power.get("related_pin").split() or [""]:
                pin["power"].append([related, when, *tables, supply])
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
                pin["upper"][index] = group.parse_number(f"{name}_range", span[-1]) * self.farad
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
        table = group.only(name)
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
                axes["slew"] = self.axis(table, f"index_{index}", text, self.time)
            elif variable in LOAD_AXES:
                axes["load"] = self.axis(table, f"index_{index}", text, self.farad)
            elif variable in DATA_AXES:
                axes["load"] = self.axis(table, f"index_{index}", text, self.time)
            else:
                return None
        empty = [0, 0]
        values = self.numbers(table, "values", table.get("values"), scale)
        slews, loads = (max(axes.get(axis, empty)[1], 1) for axis in ("slew", "load"))
        if values[1] != slews * loads:
            raise table.error(f"a table has {values[1]} values for {slews} transition times and {loads} loads")
        return [axes.get("slew", empty), axes.get("load", empty), values, list(axes) == ["load", "slew"]]

    def axis(self, table: LibertyGroup, name: str, text: str, scale: float) -> list[int]:
        """Start and length in the pool of the numbers of an axis, which must rise."""
        known = (text, scale) in self.pool.known
        span = self.numbers(table, name, text, scale)
        if not known and (np.diff(self.pool.parts[-1]) <= 0).any():
            raise table.error(f"{name} must rise, not {text.strip()!r}")
        return span

    def numbers(self, table: LibertyGroup, name: str, text: str, scale: float) -> list[int]:
        """Start and length in the pool of numbers."""
        try:
            return self.pool.add(text, scale)
        except ValueError:
            raise table.error(f"{name} must be finite numbers, not {text.strip()[:60]!r}") from None
