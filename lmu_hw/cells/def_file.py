"""DEF 5.8: placements, written with the names of `Netlist.to_verilog`, and read from any tool."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lmu_hw.cells.cell_placement import CellPlacement, CellRow, find_outlines
from lmu_hw.cells.layout_names import NameStyle, bit_names, port_bits
from lmu_hw.cells.lef import Lef
from lmu_hw.cells.netlist import HIGH, Netlist
from lmu_hw.cells.tokens import FileFormatError, Tokens

__all__ = ["read_def", "write_def"]

UNIT = 1000
"""Units per micrometre in the files that we write."""

ORIENTATIONS = ("N", "S", "E", "W", "FN", "FS", "FE", "FW")

PLACED = ("PLACED", "FIXED", "COVER")

SKIPPED = (
    "NETS", "SPECIALNETS", "BLOCKAGES", "VIAS", "REGIONS", "GROUPS", "FILLS", "NONDEFAULTRULES",
    "PROPERTYDEFINITIONS", "SCANCHAINS", "SLOTS", "STYLES", "PINPROPERTIES",
)  # fmt: skip
"""Sections without places of cells or pins."""


def write_def(netlist: Netlist, placement: CellPlacement) -> str:
    """Text of a DEF file.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    placement : CellPlacement
        Their places.

    Returns
    -------
    str
        Die, rows, components, pins and nets. Cells, nets and ports have the names of `Netlist.to_verilog`.
    """
    left, bottom, right, top = map(_unit, placement.die)
    lines = [
        "VERSION 5.8 ;",
        'DIVIDERCHAR "/" ;',
        'BUSBITCHARS "[]" ;',
        f"DESIGN {netlist.top} ;",
        f"UNITS DISTANCE MICRONS {UNIT} ;",
        f"DIEAREA ( {left} {bottom} ) ( {right} {top} ) ;",
    ]
    if placement.site is not None:
        site, step = placement.site.name, _unit(placement.site.width)
        lines += [
            f"ROW ROW_{index} {site} {_unit(row.x)} {_unit(row.y)} {'FS' if row.flipped else 'N'} "
            f"DO {row.sites} BY 1 STEP {step} 0 ;"
            for index, row in enumerate(placement.rows)
        ]
    lines.append(f"COMPONENTS {len(netlist.instances)} ;")
    for index, instance in enumerate(netlist.instances):
        state = "FIXED" if placement.fixed[index] else "PLACED"
        place = f"( {_unit(placement.x[index])} {_unit(placement.y[index])} ) {placement.orientations[index]}"
        lines.append(f"- i{index} {instance.cell.name} + {state} {place} ;")
    lines += ["END COMPONENTS", *_pins(netlist, placement), *_nets(netlist), "END DESIGN", ""]
    return "\n".join(lines)


def _unit(value: float) -> int:
    return round(value * UNIT)


def _pins(netlist: Netlist, placement: CellPlacement) -> Iterator[str]:
    bits = list(port_bits(netlist))
    yield f"PINS {len(bits)} ;"
    for direction, name, bit, net in bits:
        x, y = placement.ports[name][bit]
        yield (
            f"- {name}_{bit} + NET n{net} + DIRECTION {direction} + USE SIGNAL + PLACED ( {_unit(x)} {_unit(y)} ) N ;"
        )
    yield "END PINS"


def _nets(netlist: Netlist) -> Iterator[str]:
    ends: dict[int, list[str]] = {}
    for _, name, bit, net in port_bits(netlist):
        ends.setdefault(net, []).append(f"( PIN {name}_{bit} )")
    for index, instance in enumerate(netlist.instances):
        for pin, net in instance.nets.items():
            ends.setdefault(net, []).append(f"( i{index} {pin} )")
    nets = [net for net in sorted(ends) if net > HIGH]
    yield f"NETS {len(nets)} ;"
    for net in nets:
        yield f"- n{net} {' '.join(ends[net])} + USE SIGNAL ;"
    yield "END NETS"


class _DefFile:
    """Contents of a DEF file by the names that stand in it."""

    def __init__(self, path: str | Path):
        self.tokens = Tokens(path)
        self.style = NameStyle()
        self.die: tuple[float, float, float, float] | None = None
        self.rows: list[tuple[str, CellRow]] = []
        self.cells: dict[str, tuple[str, float, float, str, bool]] = {}
        self.lines: dict[str, int | None] = {}
        self.pins: dict[str, tuple[float, float]] = {}
        self._unit = 0.0
        self._read()

    def _read(self) -> None:
        tokens = self.tokens
        for word in tokens:
            if word == "END":
                if tokens.take() == "DESIGN":
                    return
            elif word == "UNITS":
                self._units()
            elif word == "DIVIDERCHAR":
                self.style = NameStyle(tokens.statement()[0].strip('"'), self.style.bus)
            elif word == "BUSBITCHARS":
                self.style = NameStyle(self.style.divider, tokens.statement()[0].strip('"'))
            elif word == "DIEAREA":
                self._die(tokens.statement())
            elif word == "ROW":
                self._row(tokens.statement())
            elif word == "COMPONENTS":
                self._items(word, self._component)
            elif word == "PINS":
                self._items(word, self._pin)
            elif word in SKIPPED:
                tokens.skip_to_end(word)
            elif word == "BEGINEXT":
                while tokens.take() != "ENDEXT":
                    pass
            elif word != ";":
                tokens.statement()
        raise tokens.error("END DESIGN was expected before the file ends")

    def _units(self) -> None:
        words = self.tokens.statement()
        try:
            self._unit = 1 / float(words[-1])
        except (IndexError, ValueError, ZeroDivisionError):
            raise self.tokens.error(
                f"UNITS DISTANCE MICRONS and a number were expected, not {' '.join(words)}"
            ) from None

    def _point(self, words: list[str]) -> tuple[float, float]:
        """A place from ``( x y )`` in micrometre."""
        if not self._unit:
            raise self.tokens.error("UNITS was expected before the first place")
        try:
            left, x, y, right = words[:4]
            place = float(x) * self._unit, float(y) * self._unit
        except ValueError:
            left = right = ""
        if (left, right) != ("(", ")"):
            raise self.tokens.error(f"a place ( x y ) was expected, not {' '.join(words[:4])}")
        return place

    def _die(self, words: list[str]) -> None:
        corners = [self._point(words[start : start + 4]) for start in range(0, len(words), 4)]
        xs, ys = zip(*corners, strict=True) if corners else ((), ())
        if len(corners) < 2 or min(xs) == max(xs) or min(ys) == max(ys):
            raise self.tokens.error("DIEAREA must have two corners or more")
        self.die = min(xs), min(ys), max(xs), max(ys)

    def _row(self, words: list[str]) -> None:
        try:
            _, site, x, y, orientation = words[:5]
            count = int(words[6]) * int(words[8]) if words[5:6] == ["DO"] else 1
            row = CellRow(float(x) * self._unit, float(y) * self._unit, count, orientation in ("FS", "S"))
        except (ValueError, IndexError):
            raise self.tokens.error(
                f"a ROW with site, place and orientation was expected, not {' '.join(words)}"
            ) from None
        self.rows.append((site, row))

    def _items(self, section: str, read: Callable[[list[str]], None]) -> None:
        self.tokens.statement()
        while (word := self.tokens.take()) != "END":
            if word != "-":
                raise self.tokens.error(f"- or END was expected in {section}, not {word}")
            read(self.tokens.statement())
        self.tokens.take(section)

    def _component(self, words: list[str]) -> None:
        if len(words) < 2:
            raise self.tokens.error("a component must have a name and a cell")
        name, cell = words[:2]
        state = _state(words)
        if name in self.cells:
            raise self.tokens.error(f"component {name} stands in line {self.lines[name]} too")
        self.lines[name] = self.tokens.line
        if state is None:
            self.cells[name] = cell, math.nan, math.nan, "N", False
            return
        x, y = self._point(words[state + 1 :])
        orientation = words[state + 5] if len(words) > state + 5 else ""
        if orientation not in ORIENTATIONS:
            raise self.tokens.error(
                f"the orientation of {name} must be one of {', '.join(ORIENTATIONS)}, not {orientation!r}"
            )
        self.cells[name] = cell, x, y, orientation, words[state] != "PLACED"

    def _pin(self, words: list[str]) -> None:
        state = _state(words)
        if words and state is not None:
            self.pins[self.style.plain(words[0])[0]] = self._point(words[state + 1 :])


def _state(words: list[str]) -> int | None:
    """Index of the word that says how an item is placed; None if it is not."""
    return next((index for index, word in enumerate(words) if word in PLACED and words[index - 1] == "+"), None)


def read_def(path: str | Path, netlist: Netlist, lef: Lef) -> CellPlacement:
    """Read the placement of a netlist.

    Parameters
    ----------
    path : path
        DEF file, plain or compressed with gzip. Components that the netlist lacks, such as fill cells, are left out.
    netlist : Netlist
        The netlist that was placed.
    lef : Lef
        Outlines of its cells.

    Returns
    -------
    CellPlacement
        Of all instances and ports of the netlist.

    Raises
    ------
    FileFormatError
        If the file cannot be read, or an instance or a port of the netlist is missing or not placed.
    OutlineError
        If the LEF files lack a cell or a pin.
    """
    file = _DefFile(path)
    find_outlines(netlist, lef)
    if file.die is None:
        raise FileFormatError(path, None, "has no DIEAREA")
    count = len(netlist.instances)
    x, y, fixed, orientations = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool), []
    known = {text: name for name in file.cells for text in file.style.plain(name)}
    for index, instance in enumerate(netlist.instances):
        name = known.get(instance.name)
        if name is None:
            raise FileFormatError(path, None, f"instance {instance.name} of the netlist is missing")
        cell, x[index], y[index], orientation, fixed[index] = file.cells[name]
        if math.isnan(x[index]):
            raise FileFormatError(path, file.lines[name], f"component {name} is not placed")
        if cell != instance.cell.name:
            raise FileFormatError(
                path, file.lines[name], f"component {name} is a {cell}, in the netlist a {instance.cell.name}"
            )
        orientations.append(orientation)
    names = {name for name, _ in file.rows}
    return CellPlacement(
        die=file.die,
        site=lef.sites.get(next(iter(names))) if len(names) == 1 else None,
        rows=tuple(row for _, row in file.rows),
        x=x,
        y=y,
        orientations=tuple(orientations),
        fixed=fixed,
        ports=_ports(file, netlist),
        source=f"placement of {Path(path).name}",
    )


def _ports(file: _DefFile, netlist: Netlist) -> dict[str, tuple[tuple[float, float], ...]]:
    ports: dict[str, tuple[tuple[float, float], ...]] = {}
    for name, nets in (netlist.inputs | netlist.outputs).items():
        places = []
        for bit in range(len(nets)):
            names = bit_names(name, bit, len(nets))
            place = next((file.pins[text] for text in names if text in file.pins), None)
            if place is None:
                raise FileFormatError(file.tokens.path, None, f"port bit {names[0]} is missing or not placed")
            places.append(place)
        ports[name] = tuple(places)
    return ports
