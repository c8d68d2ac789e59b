"""A flat netlist of library cells."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.library import Cell, Library

__all__ = ["HIGH", "LOW", "Instance", "Netlist", "NetlistError", "read_netlist"]

LOW, HIGH = 0, 1
"""Nets of the constants."""


class NetlistError(ValueError):
    """A netlist has cells that the library lacks, or is not connected correctly."""


@dataclass(frozen=True, eq=False)
class Instance:
    """A placed cell.

    Parameters
    ----------
    name : str
        Name in the source of the netlist.
    block : str
        Path of the module instance that it belongs to, parts joined by dots; nothing for the top.
    cell : Cell
        Cell of the library.
    nets : dict of str to int
        Net of each connected pin.
    """

    name: str
    block: str
    cell: Cell
    nets: dict[str, int]


@dataclass(frozen=True, eq=False, repr=False)
class Netlist:
    """Instances and nets.

    Parameters
    ----------
    top : str
        Name of the module.
    inputs, outputs : dict of str to tuple of int
        Nets of each port, lowest bit first.
    instances : tuple of Instance
        All cells.
    nets : int
        Number of nets; nets `LOW` and `HIGH` are the constants.
    names : dict of int to str
        A name of each net that has one in the source.
    aliases : dict of str to int
        Net of every name in the source, ``bus[3]`` for a bit: a net may have several.
    """

    top: str
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    instances: tuple[Instance, ...]
    nets: int
    names: dict[int, str]
    aliases: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Netlist {self.top}: {len(self.instances)} instances, {self.nets} nets>"

    def pins(self) -> int:
        """Number of connected signal pins of all instances."""
        return sum(len(instance.nets) for instance in self.instances)

    def readers(self) -> NDArray[np.int64]:
        """Input pins of cells on each net, shape (nets,)."""
        readers = np.zeros(self.nets, dtype=np.int64)
        for instance in self.instances:
            for pin, net in instance.nets.items():
                readers[net] += instance.cell.pins[pin].direction != "output"
        return readers

    def drivers(self) -> dict[int, tuple[int, str]]:
        """Instance and pin that drive each net, without ports and constants."""
        drivers: dict[int, tuple[int, str]] = {}
        for index, instance in enumerate(self.instances):
            for pin in instance.cell.outputs:
                if pin in instance.nets:
                    net = instance.nets[pin]
                    if net in drivers:
                        raise NetlistError(f"net {self.names.get(net, net)} has two drivers")
                    drivers[net] = (index, pin)
        return drivers

    def blocks(self) -> tuple[str, ...]:
        """Paths of all blocks, sorted."""
        return tuple(sorted({instance.block for instance in self.instances}))

    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Indices of the instances of each cell."""
        groups: dict[str, list[int]] = defaultdict(list)
        for index, instance in enumerate(self.instances):
            groups[instance.cell.name].append(index)
        return {name: np.array(indices) for name, indices in sorted(groups.items())}

    def levels(self) -> NDArray[np.int64]:
        """Level of each instance: 0 if it depends on no other instance through timing arcs within a cycle.

        Returns
        -------
        ndarray of int64
            One more than the highest level among the drivers of the pins that arcs start at. Arcs from the clock of a
            flip-flop count.

        Raises
        ------
        NetlistError
            If there is a loop without a flip-flop in it.
        """
        drivers = self.drivers()
        start = {LOW, HIGH, *(net for nets in self.inputs.values() for net in nets)}
        waiting = np.zeros(len(self.instances), dtype=np.int64)
        readers: dict[int, list[int]] = defaultdict(list)
        for index, instance in enumerate(self.instances):
            for net in {instance.nets[pin] for pin in causes(instance.cell) if pin in instance.nets}:
                if net not in start and net in drivers:
                    readers[drivers[net][0]].append(index)
                    waiting[index] += 1
        level = np.zeros(len(self.instances), dtype=np.int64)
        ready = [int(index) for index in np.flatnonzero(waiting == 0)]
        done = 0
        while ready:
            index = ready.pop()
            done += 1
            for reader in readers[index]:
                level[reader] = max(level[reader], level[index] + 1)
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if done != len(self.instances):
            stuck = self.instances[int(np.flatnonzero(waiting)[0])]
            raise NetlistError(f"there is a combinational loop through {stuck.name} ({stuck.cell.name})")
        return level

    def to_verilog(self) -> str:
        """Structural Verilog with plain names: nets ``n0``, ``n1`` ..., instances ``i0``, ``i1`` ..., ports by bit.

        The ports of bit ``k`` of port ``p`` are called ``p_k``; all names can be given to any tool without escaping.
        """
        ports = [
            f"{name}_{bit}"
            for group in (self.inputs, self.outputs)
            for name in group
            for bit in range(len(group[name]))
        ]
        lines = [f"module {self.top} ({', '.join(ports)});"]
        for kind, group in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"  {kind} {name}_{bit};" for name in group for bit in range(len(group[name]))]
        lines += [f"  wire n{net};" for net in range(self.nets)]
        lines += [f"  assign n{LOW} = 1'b0;", f"  assign n{HIGH} = 1'b1;"]
        lines += [
            f"  assign n{net} = {name}_{bit};" for name, nets in self.inputs.items() for bit, net in enumerate(nets)
        ]
        lines += [
            f"  assign {name}_{bit} = n{net};" for name, nets in self.outputs.items() for bit, net in enumerate(nets)
        ]
        for index, instance in enumerate(self.instances):
            lines.append(f"  {instance.cell.name} i{index} ({', '.join(_connections(instance))});")
        return "\n".join([*lines, "endmodule", ""])


def _connections(instance: Instance) -> Iterator[str]:
    """Connections of an instance in Verilog: pins, and buses (``A[0]``, ``A[1]`` ...) from their highest bit."""
    buses: dict[str, list[tuple[int, int]]] = {}
    for pin, net in instance.nets.items():
        name, bracket, bit = pin.partition("[")
        if bracket:
            buses.setdefault(name, []).append((int(bit.rstrip("]")), net))
        else:
            yield f".{pin}(n{net})"
    for name, bits in buses.items():
        yield f".{name}({{{', '.join(f'n{net}' for _, net in sorted(bits, reverse=True))}}})"


def causes(cell: Cell) -> set[str]:
    """Input pins that timing arcs to outputs start at."""
    return {arc.related for pin in cell.pins.values() if pin.direction in ("output", "inout") for arc in pin.timing}


def _block(name: str) -> str:
    """Path of the module instance that a flattened cell came from."""
    if not name.startswith("$flatten"):
        return "" if name.startswith("$") else name.rpartition(".")[0]
    parts = []
    rest = name.removeprefix("$flatten")
    while rest.startswith("\\"):
        part, _, rest = rest[1:].partition(".")
        parts.append(part)
    return ".".join(parts)


def read_netlist(path: str | Path, top: str, library: Library) -> Netlist:
    """Read a flat netlist from Yosys' JSON.

    Parameters
    ----------
    path : path
        File of Yosys.
    top : str
        Name of the module.
    library : Library
        The cells.

    Returns
    -------
    Netlist
        All cells and nets; undefined constant bits are taken as 0, and an output that nothing reads gets a net too.

    Raises
    ------
    NetlistError
        If a cell is not in the library, an input is open, or a bit is driven to ``z``.
    """
    module = json.loads(Path(path).read_text())["modules"][top]
    known: dict[int | str, int] = {"0": LOW, "1": HIGH, "x": LOW}

    def net(bit: int | str) -> int:
        if bit == "z":
            raise NetlistError("the netlist has an open bit (z)")
        return known.setdefault(bit, 2 + len(known) - 3)

    inputs: dict[str, tuple[int, ...]] = {}
    outputs: dict[str, tuple[int, ...]] = {}
    for name, port in module["ports"].items():
        group = {"input": inputs, "output": outputs}.get(port["direction"])
        if group is None:
            raise NetlistError(f"port {name} is {port['direction']}, only inputs and outputs are known")
        group[name] = tuple(net(bit) for bit in port["bits"])
    instances = []
    for name, data in module["cells"].items():
        cell = library.cells.get(data["type"])
        if cell is None:
            raise NetlistError(f"the library has no cell {data['type']} (instance {name})")
        nets = {}
        for port, bits in data["connections"].items():
            for index, bit in enumerate(bits):
                pin = port if port in cell.pins else f"{port}[{index}]"
                if pin not in cell.pins:
                    raise NetlistError(f"cell {cell.name} has no pin {pin}")
                nets[pin] = net(bit)
        for pin in cell.inputs:
            if pin not in nets:
                raise NetlistError(f"input {pin} of {name} ({cell.name}) is not connected")
        for pin in cell.outputs:
            if pin not in nets:
                nets[pin] = net(f"{name}/{pin}")
        instances.append(Instance(name, _block(name), cell, nets))
    names: dict[int, str] = {}
    aliases: dict[str, int] = {}
    for name, data in module["netnames"].items():
        for bit, text in zip(data["bits"], _bit_names(name, data), strict=True):
            if bit in known:
                aliases[text] = known[bit]
                if known[bit] > HIGH and (not name.startswith("$") or known[bit] not in names):
                    names[known[bit]] = text
    return Netlist(top, inputs, outputs, tuple(instances), len(known) - 1, names, aliases)


def _bit_names(name: str, data: dict[str, Any]) -> list[str]:
    """Names of the bits of a wire, with the numbers that they have in the source."""
    count = len(data["bits"])
    first = data.get("offset", 0)
    if count == 1 and not first:
        return [name]
    numbers = range(first + count - 1, first - 1, -1) if data.get("upto") else range(first, first + count)
    return [f"{name}[{number}]" for number in numbers]
