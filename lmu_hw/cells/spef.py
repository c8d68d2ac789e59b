"""SPEF (IEEE 1481): capacitance of the wires of a layout, net by net.

The total of each net counts as wire, as extractors write it: pins are added from the library. Resistances are not used.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmu_hw.cells.conditions import NetWires
from lmu_hw.cells.layout_names import NameStyle, find_net, live_nets, port_bits
from lmu_hw.cells.netlist import HIGH, Netlist
from lmu_hw.cells.tokens import FileFormatError, read_plain_text
from lmu_hw.version import VERSION

__all__ = ["LEAST_COVERAGE", "read_spef", "write_spef"]

LEAST_COVERAGE = 0.99
"""Part of the nets with a driver and a reader that a file must have."""

FARAD = {"F": 1.0, "MF": 1e-3, "UF": 1e-6, "NF": 1e-9, "PF": 1e-12, "FF": 1e-15}
"""Units of capacitance."""

RESISTANCE = 1e-3
"""Ohm between the driver and each reader in the files that we write: it joins the pins and adds no delay."""


class _SpefFile:
    """Totals of nets in farad, and their lines, by name as it stands in the file."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.style = NameStyle()
        self.totals: dict[str, float] = {}
        self.lines: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._farad: float | None = None
        self._in_map = False
        for number, words in self._words():
            self._read(number, words)
        if not self.totals:
            raise FileFormatError(self.path, None, "has no net (*D_NET)")

    def _words(self) -> Iterator[tuple[int, list[str]]]:
        first = True
        for number, line in enumerate(read_plain_text(self.path).splitlines(), 1):
            words = line.partition("//")[0].split()
            if words:
                if first and words[0] != "*SPEF":
                    raise self.error(number, f"*SPEF was expected first, not {words[0]}")
                first = False
                yield number, words

    def error(self, number: int, problem: str) -> FileFormatError:
        return FileFormatError(self.path, number, problem)

    def _read(self, number: int, words: list[str]) -> None:
        word = words[0]
        if self._in_map and word[1:].isdigit():
            if len(words) != 2:
                raise self.error(number, f"an index and a name were expected, not {' '.join(words)}")
            self._names[word] = words[1]
            return
        self._in_map = self._in_map and not word.startswith("*")
        if word == "*NAME_MAP":
            self._in_map = True
        elif word == "*DIVIDER":
            self.style = NameStyle(self._argument(number, words), self.style.bus)
        elif word == "*BUS_DELIMITER":
            self._argument(number, words)
            self.style = NameStyle(self.style.divider, "".join(words[1:]))
        elif word == "*C_UNIT":
            self._farad = self._unit(number, words)
        elif word in ("*D_NET", "*R_NET"):
            self._net(number, words)
        elif word in ("*DEFINE", "*PDEFINE"):
            raise self.error(number, f"{word} (a SPEF of parts) is not supported: write one of the whole design")

    def _argument(self, number: int, words: list[str]) -> str:
        if len(words) < 2:
            raise self.error(number, f"{words[0]} has no value")
        return words[1]

    def _number(self, number: int, name: str, text: str) -> float:
        """A number, or the typical one of three."""
        parts = text.split(":")
        try:
            value = float(parts[len(parts) // 2])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise self.error(number, f"{name} must be a number of at least 0, not {text}")
        return value

    def _unit(self, number: int, words: list[str]) -> float:
        if len(words) != 3 or words[2].upper() not in FARAD:
            raise self.error(
                number, f"*C_UNIT must be a number and one of {', '.join(FARAD)}, not {' '.join(words[1:])}"
            )
        return self._number(number, "*C_UNIT", words[1]) * FARAD[words[2].upper()]

    def _net(self, number: int, words: list[str]) -> None:
        if self._farad is None:
            raise self.error(number, f"*C_UNIT was expected before {words[0]}")
        if len(words) < 3:
            raise self.error(number, f"{words[0]} must have a net and its capacitance")
        name = words[1]
        if name.startswith("*") and name not in self._names:
            raise self.error(number, f"net {name} is not in the name map")
        name = self._names.get(name, name)
        if name in self.totals:
            raise self.error(number, f"net {name} stands in line {self.lines[name]} too")
        self.totals[name] = self._number(number, f"the capacitance of net {name}", words[2]) * self._farad
        self.lines[name] = number


def read_spef(path: str | Path, netlist: Netlist) -> NetWires:
    """Read the wires of a layout.

    Parameters
    ----------
    path : path
        SPEF file, plain or compressed with gzip. Names may be mapped, escaped, and divided by any sign.
    netlist : Netlist
        The netlist of the layout, with `Netlist.aliases`.

    Returns
    -------
    NetWires
        Total capacitance of each net. Nets of the netlist that the file lacks get the mean for each reader.

    Raises
    ------
    FileFormatError
        If the file cannot be read, or has less than `LEAST_COVERAGE` of the nets that have a driver and a reader.
    """
    file = _SpefFile(path)
    capacitance = np.full(netlist.nets, np.nan)
    for name, total in file.totals.items():
        net = find_net(netlist, file.style, name)
        if net is not None and net > HIGH:
            if not math.isnan(capacitance[net]):
                raise file.error(file.lines[name], f"net {name} is a net that the file has under another name too")
            capacitance[net] = total
    live = live_nets(netlist)
    known = ~np.isnan(capacitance)
    covered = int(known[live].sum())
    if covered < LEAST_COVERAGE * len(live):
        missing = next(netlist.names.get(net, str(net)) for net in live if not known[net])
        raise FileFormatError(
            path,
            None,
            f"has {covered} of the {len(live)} nets of the netlist ({covered / len(live):.1%}), at least "
            f"{LEAST_COVERAGE:.0%} are needed; {missing} is missing",
        )
    readers = netlist.readers()
    mean = capacitance[known].sum() / max(1.0, readers[known].sum())
    wires = np.where(known, capacitance, 0.0)
    others = [net for net in live if not known[net]]
    wires[others] = mean * readers[others]
    return NetWires(wires, f"wires of {file.path.name}, {covered / len(live):.1%} of the nets")


def write_spef(netlist: Netlist, wires: NetWires, design: str | None = None) -> str:
    """Text of a SPEF file with the names of `Netlist.to_verilog`.

    Each net has its whole capacitance at its driver, and `RESISTANCE` to each reader.

    Parameters
    ----------
    netlist : Netlist
        The cells.
    wires : NetWires
        Wire of each net.
    design : str, optional
        Name of the module; that of the netlist if not given.

    Returns
    -------
    str
        SPEF of all nets that have a driver and a reader, in fF.
    """
    lines = [
        '*SPEF "IEEE 1481-1998"',
        f'*DESIGN "{netlist.top if design is None else design}"',
        '*DATE ""',
        '*VENDOR "lmu-hw"',
        '*PROGRAM "lmu-hw"',
        f'*VERSION "{VERSION}"',
        '*DESIGN_FLOW ""',
        "*DIVIDER /",
        "*DELIMITER :",
        "*BUS_DELIMITER [ ]",
        "*T_UNIT 1 NS",
        "*C_UNIT 1 FF",
        "*R_UNIT 1 OHM",
        "*L_UNIT 1 HENRY",
        "",
        "*PORTS",
        *(f"{name}_{bit} {direction[0]}" for direction, name, bit, _ in port_bits(netlist)),
        "",
    ]
    ends = _ends(netlist)
    for net in live_nets(netlist):
        drivers, readers = ends[net]
        total = f"{wires.capacitance[net] * 1e15:.12g}"
        lines += [f"*D_NET n{net} {total}", "*CONN"]
        # A port that drives a net is an input; a pin of a cell that does is an output.
        lines += [f"{kind} {pin} {'I' if kind == '*P' else 'O'}" for kind, pin in drivers]
        lines += [f"{kind} {pin} {'O' if kind == '*P' else 'I'}" for kind, pin in readers]
        lines += ["*CAP", f"1 {drivers[0][1]} {total}", "*RES"]
        lines += [f"{k} {drivers[0][1]} {pin} {RESISTANCE:g}" for k, (_, pin) in enumerate(readers, 1)]
        lines += ["*END", ""]
    return "\n".join(lines)


def _ends(netlist: Netlist) -> dict[int, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """Drivers and readers of each net: ``*I`` and pin of an instance, or ``*P`` and port."""
    ends: dict[int, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = defaultdict(lambda: ([], []))
    for direction, name, bit, net in port_bits(netlist):
        ends[net][direction == "OUTPUT"].append(("*P", f"{name}_{bit}"))
    for index, instance in enumerate(netlist.instances):
        for pin, net in instance.nets.items():
            is_reader = instance.cell.pins[pin].direction != "output"
            ends[net][is_reader].append(("*I", f"i{index}:{pin}"))
    return ends
